//! Whom to trust, in the words of rustls and of ureq; and a certificate for the embedded server.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::error::Error;
use crate::target::Target;

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

    pub fn these(certificates: Vec<CertificateDer<'static>>) -> Result<Trust, rustls::Error> {
        let mut roots = RootCertStore::empty();
        for certificate in &certificates {
            roots.add(certificate.clone())?;
        }
        Ok(Trust { certificates: Some(certificates), config: config(roots) })
    }

    /// For the sequential way and the async way.
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

/// Whom the certificate has to be for.
pub fn server_name(target: &Target) -> Result<ServerName<'static>, Error> {
    Ok(ServerName::try_from(target.host.clone())?)
}

/// A certificate that is its own authority, and the configuration of a server that shows it.
pub struct Identity {
    pub certificate: CertificateDer<'static>,
    pub pem: String,
    pub config: Arc<ServerConfig>,
}

impl Identity {
    /// For `localhost`, the loopback addresses, and `address`.
    pub fn new(address: IpAddr) -> Result<Identity, Box<dyn std::error::Error>> {
        let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into_iter();
        let names: Vec<_> = names.chain([address.to_string()]).collect();
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names)?;
        let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der());
        let config = ServerConfig::builder().with_no_client_auth();
        let config = config.with_single_cert(vec![cert.der().clone()], key.into())?;
        Ok(Identity { certificate: cert.der().clone(), pem: cert.pem(), config: Arc::new(config) })
    }
}
