//! TLS by rustls: its blocking `Stream` goes over this crate's streams as it is, on both sides, and before nginx, which is
//! killed in the middle: an error to the client that waits, and no mere end of the data.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
};
use wouldblock::net::{TcpListener, TcpStream};
use wouldblock::{green, group::gather};

/// Sends each line back, until the client closes the connection.
fn serve(listener: TcpListener, config: Arc<ServerConfig>) {
    for stream in listener.incoming().flatten() {
        let config = config.clone();
        green::spawn(move || -> io::Result<()> {
            stream.set_nodelay(true)?; // Else the last word of a handshake delays the first of the data by 40 ms.
            stream.set_read_timeout(Some(Duration::from_secs(30)))?;
            echo(stream, config)
        });
    }
}

fn echo(stream: impl Read + Write, config: Arc<ServerConfig>) -> io::Result<()> {
    let tls = ServerConnection::new(config).map_err(io::Error::other)?;
    let mut stream = BufReader::new(StreamOwned::new(tls, stream));
    let mut line = String::new();
    while stream.read_line(&mut line)? > 0 {
        stream.get_mut().write_all(line.as_bytes())?;
        line.clear();
    }
    stream.get_mut().conn.send_close_notify();
    stream.get_mut().flush()
}

fn client(server: SocketAddr, config: Arc<ClientConfig>, text: &str) -> io::Result<String> {
    let stream = TcpStream::connect(server)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut stream = BufReader::new(secured(stream, config)?);
    writeln!(stream.get_mut(), "{text}")?;
    let mut line = String::new();
    stream.read_line(&mut line)?;
    Ok(line)
}

fn secured<S: Read + Write>(
    stream: S,
    config: Arc<ClientConfig>,
) -> io::Result<StreamOwned<ClientConnection, S>> {
    let name = ServerName::try_from("localhost").expect("a name");
    let tls = ClientConnection::new(config, name).map_err(io::Error::other)?;
    Ok(StreamOwned::new(tls, stream))
}

type Certificate = rcgen::CertifiedKey<rcgen::KeyPair>;

/// A certificate that signs itself.
fn certificate() -> Certificate {
    rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap()
}

/// For both sides.
fn configs(made: &Certificate) -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let certificate = CertificateDer::from(made.cert.der().to_vec());
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let server =
        ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key);
    let client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    (Arc::new(server.unwrap()), Arc::new(client))
}

#[test]
fn many_clients_and_one_that_trusts_another() {
    recipes::run(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (server, trusting) = configs(&certificate());
        let server = green::spawn(move || serve(listener, server));
        let tasks = (0..20).map(|n| {
            let trusting = trusting.clone();
            green::spawn(move || client(address, trusting, &format!("hello {n}")))
        });
        for (n, line) in green::wait(gather(tasks)).into_iter().enumerate() {
            assert_eq!(line.unwrap().unwrap(), format!("hello {n}\n"));
        }
        let (_, distrusting) = configs(&certificate());
        let refused = client(address, distrusting, "hello").unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidData, "{refused}");
        server.cancel();
    });
}

fn request(server: SocketAddr, config: Arc<ClientConfig>, path: &str) -> io::Result<String> {
    let stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut stream = secured(stream, config)?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut response = String::new();
    stream.read_to_string(&mut response)?;
    Ok(response)
}

#[test]
fn a_killed_server_is_an_error_and_no_end_of_data() {
    recipes::run(|| {
        let made = certificate();
        let (_, config) = configs(&made);
        let get = move |server, path: &str| request(server, config.clone(), path);
        recipes::kill_nginx_tls(&made.cert.pem(), &made.signing_key.serialize_pem(), get);
    });
}

#[test]
fn cost_beside_threads() {
    const CONNECTIONS: u32 = 20;
    const LINES: u32 = 50;
    fn lines(stream: impl Read + Write, config: Arc<ClientConfig>) {
        let mut stream = BufReader::new(secured(stream, config).unwrap());
        for _ in 0..LINES {
            stream.get_mut().write_all(b"hello\n").unwrap();
            stream.read_line(&mut String::new()).unwrap();
        }
        stream.get_mut().conn.send_close_notify();
        stream.get_mut().flush().unwrap();
    }
    recipes::run(|| {
        let (server, client) = configs(&certificate());
        let (their_server, their_client) = (server.clone(), client.clone());
        let ours = || {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            green::scope(|scope| {
                for _ in 0..CONNECTIONS {
                    scope.spawn(|| {
                        let stream = TcpStream::connect(address).unwrap();
                        stream.set_nodelay(true).unwrap();
                        lines(stream, client.clone());
                    });
                    let (stream, _) = listener.accept().unwrap();
                    stream.set_nodelay(true).unwrap();
                    scope.spawn(|| echo(stream, server.clone()).unwrap());
                }
            });
        };
        let theirs = move || {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            std::thread::scope(|scope| {
                for _ in 0..CONNECTIONS {
                    scope.spawn(|| {
                        let stream = std::net::TcpStream::connect(address).unwrap();
                        stream.set_nodelay(true).unwrap();
                        lines(stream, their_client.clone());
                    });
                    let (stream, _) = listener.accept().unwrap();
                    stream.set_nodelay(true).unwrap();
                    scope.spawn(|| echo(stream, their_server.clone()).unwrap());
                }
            });
        };
        let what = "rustls, a line there and back";
        recipes::beside(what, CONNECTIONS * LINES, ours, "threads", theirs);
    });
}
