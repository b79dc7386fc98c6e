//! Where Redis is, how to reach it, and who asks: `HOST:PORT`, or a URL with a password, a database, TLS.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo, cmd};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use wouldblock::green;
use wouldblock::net::TcpStream;

/// A Redis server, and with what to reach it. Shown, it is host and port, without the password.
#[derive(Clone)]
pub struct Server {
    host: String,
    port: u16,
    tls: Option<Arc<ClientConfig>>,
    login: RedisConnectionInfo,
}

/// A socket, with TLS on it or without.
pub trait Stream: Read + Write {}
impl<S: Read + Write> Stream for S {}

impl Server {
    /// `address`: `HOST:PORT`, or `redis://[USER]:PASSWORD@HOST:PORT[/DATABASE]`; with `rediss`, by TLS. `authorities`: a
    /// file with the certificates, PEM, that the server's has to come from; `None`: Mozilla's list.
    ///
    /// # Errors
    ///
    /// When the address is none, or is of a kind that is not supported; when the file is none of certificates.
    pub fn new(address: &str, authorities: Option<&Path>) -> io::Result<Server> {
        let (scheme, rest) = address.split_once("://").unwrap_or(("redis", address));
        let tls = match scheme {
            "redis" => false,
            "rediss" => true,
            _ => {
                return Err(wrong(&format!(
                    "{scheme}:// is not supported: redis:// and rediss:// are"
                )));
            }
        };
        if rest.contains('#') {
            return Err(wrong("what stands behind a # is not supported; in a password, it is %23"));
        }
        // The redis crate knows the URLs, but not TLS, which it would bring with sockets of its own.
        let info = format!("redis://{rest}").into_connection_info();
        let info = info.map_err(|e| wrong(&e.to_string()))?;
        let ConnectionAddr::Tcp(host, port) = info.addr().clone() else {
            return Err(wrong("it names no host"));
        };
        let tls = tls.then(|| config(authorities)).transpose()?;
        Ok(Server { host, port, tls, login: info.redis_settings().clone() })
    }

    /// Opens a connection, by TLS if it is to be so. `limit`: for opening it, and for each read and write.
    ///
    /// # Errors
    ///
    /// The operating system's; of the kind `InvalidData`: TLS's.
    pub fn connect(&self, limit: Duration) -> io::Result<Box<dyn Stream>> {
        green::timeout(limit, || {
            let mut socket = TcpStream::connect((&*self.host, self.port))?;
            socket.set_nodelay(true)?;
            socket.set_read_timeout(Some(limit))?;
            socket.set_write_timeout(Some(limit))?;
            let Some(config) = &self.tls else { return Ok(Box::new(socket) as Box<dyn Stream>) };
            let name = ServerName::try_from(self.host.clone());
            let name = name.map_err(|e| wrong(&format!("no TLS with {}: {e}", self.host)))?;
            let mut tls = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
            tls.complete_io(&mut socket)?;
            Ok(Box::new(StreamOwned::new(tls, socket)) as Box<dyn Stream>)
        })?
    }

    /// The commands with which a connection begins; none, without a password and with the database 0.
    pub fn hello(&self) -> Vec<Cmd> {
        let mut hello = Vec::new();
        if let Some(password) = self.login.password() {
            let mut auth = cmd("AUTH");
            auth.arg(self.login.username()).arg(password);
            hello.push(auth);
        }
        if self.login.db() != 0 {
            let mut select = cmd("SELECT");
            select.arg(self.login.db());
            hello.push(select);
        }
        hello
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, format!("the address of Redis: {what}"))
}

fn config(authorities: Option<&Path>) -> io::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(path) = authorities {
        let cannot = |e: &dyn fmt::Display| {
            io::Error::other(format!("cannot take the certificates in {}: {e}", path.display()))
        };
        let certificates = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
        let certificates: Vec<_> = certificates.map_err(|e| cannot(&e))?;
        if certificates.is_empty() {
            return Err(cannot(&"there is none"));
        }
        roots = RootCertStore::empty();
        for certificate in certificates {
            roots.add(certificate).map_err(|e| cannot(&e))?;
        }
    }
    Ok(Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()))
}

#[cfg(test)]
mod tests {
    use super::Server;

    fn server(address: &str) -> Result<(String, Vec<u8>), String> {
        let server = Server::new(address, None).map_err(|error| error.to_string())?;
        let hello: Vec<_> = server.hello().iter().map(redis::Cmd::get_packed_command).collect();
        Ok((server.to_string(), hello.concat()))
    }

    #[test]
    fn an_address_is_a_host_or_a_url() {
        assert_eq!(server("a.example:6400"), Ok(("a.example:6400".into(), vec![])));
        assert_eq!(server("a.example").unwrap().0, "a.example:6379");
        assert_eq!(server("rediss://[::1]:7/0"), Ok(("::1:7".into(), vec![])));
        let (shown, hello) = server("redis://:p%23ss@a.example:6400/2").unwrap();
        assert_eq!(shown, "a.example:6400", "no password is shown");
        let hello = String::from_utf8(hello).unwrap();
        assert_eq!(hello, "*2\r\n$4\r\nAUTH\r\n$4\r\np#ss\r\n*2\r\n$6\r\nSELECT\r\n$1\r\n2\r\n");
        let (_, hello) = server("redis://me:secret@a.example").unwrap();
        assert!(String::from_utf8(hello).unwrap().contains("AUTH\r\n$2\r\nme\r\n$6\r\nsecret"));
    }

    #[test]
    fn what_is_not_supported_is_named() {
        assert!(server("unix:///run/redis.sock").unwrap_err().contains("unix:// is not supported"));
        assert!(server("rediss://a.example/#insecure").unwrap_err().contains("behind a #"));
        assert!(server("redis://:6379").is_err());
    }
}
