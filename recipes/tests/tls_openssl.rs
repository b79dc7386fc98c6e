//! TLS by OpenSSL: the crate `openssl` on streams of this crate, on both sides, and before nginx.
//!
//! `SslStream` goes over a stream of this crate's as it is. But a task that waits in the middle of a call of OpenSSL's lets
//! others call it, and OpenSSL keeps its errors in a queue of the thread's. So this gives it a stream that never waits, and
//! waits between two calls: some thirty lines.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use openssl::error::ErrorStack;
use openssl::pkey::PKey;
use openssl::ssl::{self, ErrorCode, Ssl, SslAcceptor, SslConnector, SslMethod, SslStream};
use openssl::x509::X509;
use wouldblock::green::wait;
use wouldblock::net::{TcpListener, TcpStream};
use wouldblock::{green, group::gather};

/// Reads and writes without waiting.
struct Trying(TcpStream);

impl Read for Trying {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buf)
    }
}

impl Write for Trying {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.try_write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A TLS connection. `green::deadline` limits its calls.
struct Tls(SslStream<Trying>);

impl Tls {
    fn connect(config: &SslConnector, name: &str, stream: TcpStream) -> io::Result<Tls> {
        let ssl = config.configure()?.into_ssl(name)?;
        Tls::new(ssl, stream, SslStream::connect)
    }

    fn accept(config: &SslAcceptor, stream: TcpStream) -> io::Result<Tls> {
        Tls::new(Ssl::new(config.context())?, stream, SslStream::accept)
    }

    fn new(
        ssl: Ssl,
        stream: TcpStream,
        handshake: impl FnMut(&mut SslStream<Trying>) -> Result<(), ssl::Error>,
    ) -> io::Result<Tls> {
        stream.set_nodelay(true)?; // Else the last word of a handshake delays the first of the data by 40 ms.
        let mut tls = Tls(SslStream::new(ssl, Trying(stream))?);
        tls.until_done(handshake)?;
        Ok(tls)
    }

    /// Repeats a call of OpenSSL's until it need not wait.
    fn until_done<T>(
        &mut self,
        mut call: impl FnMut(&mut SslStream<Trying>) -> Result<T, ssl::Error>,
    ) -> io::Result<T> {
        loop {
            let error = match call(&mut self.0) {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            let stream = &self.0.get_ref().0;
            match error.code() {
                ErrorCode::WANT_READ => wait(stream.readable())?,
                ErrorCode::WANT_WRITE => wait(stream.writable())?,
                _ => return Err(error.into_io_error().unwrap_or_else(io::Error::other)),
            }
        }
    }

    /// Says that nothing more comes.
    fn close(&mut self) -> io::Result<()> {
        self.until_done(SslStream::shutdown).map(drop)
    }
}

impl Read for Tls {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.until_done(|tls| match tls.ssl_read(buf) {
            Err(e) if e.code() == ErrorCode::ZERO_RETURN => Ok(0), // The other side has said so. A mere end is an error.
            read => read,
        })
    }
}

impl Write for Tls {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.until_done(|tls| tls.ssl_write(buf))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Sends each line back, until the client closes the connection.
fn serve(listener: TcpListener, config: SslAcceptor) {
    for stream in listener.incoming().flatten() {
        let config = config.clone();
        green::spawn(move || {
            let mut tls = BufReader::new(Tls::accept(&config, stream)?);
            let mut line = String::new();
            while tls.read_line(&mut line)? > 0 {
                tls.get_mut().write_all(line.as_bytes())?;
                line.clear();
            }
            tls.get_mut().close()
        });
    }
}

fn client(server: SocketAddr, config: &SslConnector, lines: &[&str]) -> io::Result<Vec<String>> {
    green::deadline(Duration::from_secs(10), || {
        let stream = TcpStream::connect(server)?;
        let mut tls = BufReader::new(Tls::connect(config, "localhost", stream)?);
        let mut answers = Vec::new();
        for text in lines {
            tls.get_mut().write_all(format!("{text}\n").as_bytes())?;
            let mut line = String::new();
            tls.read_line(&mut line)?;
            answers.push(line);
        }
        tls.get_mut().close()?;
        Ok(answers)
    })
}

/// A certificate that signs itself, and its key, as PEM.
fn certificate() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

fn acceptor((certificate, key): &(String, String)) -> Result<SslAcceptor, ErrorStack> {
    let mut config = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
    config.set_certificate(X509::from_pem(certificate.as_bytes())?.as_ref())?;
    config.set_private_key(PKey::private_key_from_pem(key.as_bytes())?.as_ref())?;
    Ok(config.build())
}

/// Trusts one certificate.
fn connector((certificate, _): &(String, String)) -> Result<SslConnector, ErrorStack> {
    let mut config = SslConnector::builder(SslMethod::tls_client())?;
    config.cert_store_mut().add_cert(X509::from_pem(certificate.as_bytes())?)?;
    Ok(config.build())
}

#[test]
fn many_clients_and_one_that_trusts_another() {
    recipes::run(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let ours = certificate();
        let (accepting, trusting) = (acceptor(&ours).unwrap(), connector(&ours).unwrap());
        let distrusting = connector(&certificate()).unwrap();
        let server = green::spawn(move || serve(listener, accepting));
        // Failures among them disturb no other.
        let tasks = (0..40).map(|n| {
            let config = if n % 4 == 0 { &distrusting } else { &trusting }.clone();
            green::spawn(move || client(address, &config, &[&format!("hello {n}"), "bye"]))
        });
        for (n, answers) in wait(gather(tasks)).into_iter().enumerate() {
            match answers.unwrap() {
                Ok(answers) => assert_eq!(answers, [format!("hello {n}\n"), "bye\n".into()]),
                Err(e) => assert!(n % 4 == 0 && e.to_string().contains("verify failed"), "{e}"),
            }
        }
        server.cancel();
    });
}

fn request(server: SocketAddr, config: &SslConnector, path: &str) -> io::Result<String> {
    green::deadline(Duration::from_secs(10), || {
        let stream = TcpStream::connect(server)?;
        let mut tls = Tls::connect(config, "localhost", stream)?;
        write!(tls, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
        let mut response = String::new();
        tls.read_to_string(&mut response)?;
        Ok(response)
    })
}

#[test]
fn a_killed_server_is_an_error_and_no_end_of_data() {
    recipes::run(|| {
        let ours = certificate();
        let config = connector(&ours).unwrap();
        let get = move |server, path: &str| request(server, &config, path);
        recipes::kill_nginx_tls(&ours.0, &ours.1, get);
    });
}

#[test]
fn cost_beside_threads() {
    const CONNECTIONS: u32 = 20;
    const LINES: usize = 50;
    recipes::run(|| {
        let ours = certificate();
        let (accepting, trusting) = (acceptor(&ours).unwrap(), connector(&ours).unwrap());
        let (their_accepting, their_trusting) = (accepting.clone(), trusting.clone());
        let ours = || {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let accepting = accepting.clone();
            let server = green::spawn(move || serve(listener, accepting));
            green::scope(|scope| {
                for _ in 0..CONNECTIONS {
                    scope.spawn(|| client(address, &trusting, &["hello"; LINES]).unwrap());
                }
            });
            server.cancel();
        };
        let theirs = move || threads(&their_accepting, &their_trusting, CONNECTIONS, LINES);
        let what = "OpenSSL, a line there and back";
        recipes::beside(what, CONNECTIONS * LINES as u32, ours, "threads", theirs);
    });
}

/// The same with a thread for each side of each connection.
fn threads(accepting: &SslAcceptor, trusting: &SslConnector, connections: u32, lines: usize) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..connections {
            scope.spawn(|| {
                let stream = std::net::TcpStream::connect(address).unwrap();
                stream.set_nodelay(true).unwrap();
                let mut tls = BufReader::new(trusting.connect("localhost", stream).unwrap());
                for _ in 0..lines {
                    tls.get_mut().write_all(b"hello\n").unwrap();
                    tls.read_line(&mut String::new()).unwrap();
                }
                tls.get_mut().shutdown().unwrap();
            });
            let (stream, _) = listener.accept().unwrap();
            scope.spawn(move || {
                stream.set_nodelay(true).unwrap();
                let mut tls = BufReader::new(accepting.accept(stream).unwrap());
                let mut line = String::new();
                while tls.read_line(&mut line).unwrap() > 0 {
                    tls.get_mut().write_all(line.as_bytes()).unwrap();
                    line.clear();
                }
            });
        }
    });
}
