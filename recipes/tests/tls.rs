//! TLS by rustls: its blocking `Stream` goes over this crate's streams as it is, on both sides.

use std::io::{self, BufRead, BufReader, Write};
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
            let tls = ServerConnection::new(config).map_err(io::Error::other)?;
            let mut stream = BufReader::new(StreamOwned::new(tls, stream));
            let mut line = String::new();
            while stream.read_line(&mut line)? > 0 {
                stream.get_mut().write_all(line.as_bytes())?;
                line.clear();
            }
            stream.get_mut().conn.send_close_notify();
            stream.get_mut().flush()
        });
    }
}

fn client(server: SocketAddr, config: Arc<ClientConfig>, text: &str) -> io::Result<String> {
    let stream = TcpStream::connect(server)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let name = ServerName::try_from("localhost").expect("a name");
    let tls = ClientConnection::new(config, name).map_err(io::Error::other)?;
    let mut stream = BufReader::new(StreamOwned::new(tls, stream));
    writeln!(stream.get_mut(), "{text}")?;
    let mut line = String::new();
    stream.read_line(&mut line)?;
    Ok(line)
}

/// A certificate that signs itself, for both sides.
fn configs() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
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
        let (server, trusting) = configs();
        let server = green::spawn(move || serve(listener, server));
        let tasks = (0..20).map(|n| {
            let trusting = trusting.clone();
            green::spawn(move || client(address, trusting, &format!("hello {n}")))
        });
        for (n, line) in green::wait(gather(tasks)).into_iter().enumerate() {
            assert_eq!(line.unwrap().unwrap(), format!("hello {n}\n"));
        }
        let (_, distrusting) = configs();
        let refused = client(address, distrusting, "hello").unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidData, "{refused}");
        server.cancel();
    });
}
