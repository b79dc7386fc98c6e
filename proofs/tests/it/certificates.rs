//! Certificates for tests: an authority made on the spot, and what it signs.

use std::sync::{Arc, LazyLock};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, PKCS_ECDSA_P256_SHA256,
};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// The authority that the tests of a file trust.
pub static AUTHORITY: LazyLock<Authority> = LazyLock::new(Authority::new);

pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority(CertifiedIssuer::self_signed(params, key()).unwrap())
    }

    /// Its own certificate.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A server on loopback.
    pub fn server(&self) -> Arc<ServerConfig> {
        self.server_that(|_| {})
    }

    /// A server on loopback whose certificate has a peculiarity.
    pub fn server_that(&self, change: impl FnOnce(&mut CertificateParams)) -> Arc<ServerConfig> {
        let mut params = CertificateParams::new(["127.0.0.1".into(), "localhost".into()]).unwrap();
        change(&mut params);
        let key = key();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let chain = vec![certificate.der().clone()];
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key);
        Arc::new(config.unwrap())
    }

    /// A client that trusts nobody else.
    pub fn client(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
    }
}

fn key() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap()
}
