//! Which authorities https relies on, in the words of rustls and of ureq; rustls' connection as it is driven by hand; and
//! the certificate of the embedded server.

use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::error::Error;
use crate::job::Job;
use crate::target::Target;

/// As much as may be read for rustls at once, in bytes: it takes no more while it has plain bytes to give.
const PIECE: usize = 4096;

/// The embedded server's certificate and key, which anyone may read: for loopback addresses, where a run of this
/// program shows it to itself.
pub const CERTIFICATE: &str = include_str!("localhost.pem");
const KEY: &str = include_str!("localhost.key");

/// The certificates that an https server's must come from.
#[derive(Clone)]
pub struct Trust {
    /// `None`: Mozilla's list.
    certificates: Option<Vec<CertificateDer<'static>>>,
    config: Arc<ClientConfig>,
}

impl Trust {
    pub fn mozilla() -> Trust {
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        Trust { certificates: None, config: config(roots) }
    }

    /// Those in a file, and no others.
    pub fn file(path: &Path) -> Result<Trust, String> {
        let certificates = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
        let certificates: Vec<_> = certificates
            .map_err(|e| format!("cannot read the certificates in {}: {e}", path.display()))?;
        if certificates.is_empty() {
            return Err(format!("no certificate in {}: it should be a PEM file", path.display()));
        }
        Trust::these(certificates).map_err(|e| format!("a certificate in {}: {e}", path.display()))
    }

    /// The embedded server's own.
    pub fn own() -> Trust {
        let own = CertificateDer::from_pem_slice(CERTIFICATE.as_bytes());
        Trust::these(vec![own.expect("a file of ours")]).expect("a certificate of ours")
    }

    fn these(certificates: Vec<CertificateDer<'static>>) -> Result<Trust, rustls::Error> {
        let mut roots = RootCertStore::empty();
        for certificate in &certificates {
            roots.add(certificate.clone())?;
        }
        Ok(Trust { certificates: Some(certificates), config: config(roots) })
    }

    /// For the ways that use rustls themselves.
    pub fn rustls(&self) -> Arc<ClientConfig> {
        self.config.clone()
    }

    /// For the green way.
    pub fn ureq(&self) -> TlsConfig {
        let own = |certificate: &CertificateDer<'_>| Certificate::from_der(certificate).to_owned();
        let roots = self.certificates.as_ref();
        let roots = roots.map_or(RootCerts::WebPki, |roots| roots.iter().map(own).into());
        TlsConfig::builder().root_certs(roots).build()
    }
}

fn config(roots: RootCertStore) -> Arc<ClientConfig> {
    Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
}

/// The name that the certificate has to be for.
pub fn server_name(target: &Target) -> Result<ServerName<'static>, Error> {
    ServerName::try_from(target.host().to_owned()).map_err(|e| Error::Tls(e.to_string()))
}

/// rustls without I/O, where the URL says https.
pub fn session(job: &Job<'_>) -> Result<Option<ClientConnection>, Error> {
    if !job.target.https() {
        return Ok(None);
    }
    Ok(Some(ClientConnection::new(job.trust().rustls(), server_name(&job.target)?)?))
}

/// Bytes as they go over the connection: those of the session's records, with what it has to say besides.
pub fn seal(session: &mut Option<ClientConnection>, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let Some(session) = session else { return Ok(bytes.to_vec()) };
    session.writer().write_all(bytes)?;
    let mut records = Vec::new();
    while session.wants_write() {
        session.write_tls(&mut records)?;
    }
    Ok(records)
}

/// Takes plain bytes out of a session; `None` if it has none.
pub fn plain(
    session: &mut Option<ClientConnection>,
    chunk: &mut [u8],
) -> io::Result<Option<usize>> {
    match session.as_mut().map(|session| session.reader().read(chunk)) {
        None => Ok(None),
        Some(Err(e)) if e.kind() == ErrorKind::WouldBlock => Ok(None),
        Some(read) => read.map(Some),
    }
}

/// Where to read to: a session takes no more than [`PIECE`] at once.
pub fn room<'a>(session: &Option<ClientConnection>, chunk: &'a mut [u8]) -> &'a mut [u8] {
    let most = if session.is_some() { PIECE.min(chunk.len()) } else { chunk.len() };
    &mut chunk[..most]
}

/// Gives a session what has been read from its socket; nothing is the end of the connection.
pub fn feed(session: &mut ClientConnection, mut records: &[u8]) -> Result<(), Error> {
    loop {
        session.read_tls(&mut records)?;
        session.process_new_packets()?;
        if records.is_empty() {
            return Ok(());
        }
    }
}

/// For the embedded server.
pub fn server_config() -> io::Result<Arc<ServerConfig>> {
    let certificate =
        CertificateDer::from_pem_slice(CERTIFICATE.as_bytes()).map_err(io::Error::other)?;
    let key = PrivateKeyDer::from_pem_slice(KEY.as_bytes()).map_err(io::Error::other)?;
    let config = ServerConfig::builder().with_no_client_auth();
    let config = config.with_single_cert(vec![certificate], key).map_err(io::Error::other)?;
    Ok(Arc::new(config))
}
