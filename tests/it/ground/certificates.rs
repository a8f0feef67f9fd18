//! Certificates of mail servers, good and bad.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;

/// A certificate for `localhost`, signed by itself, as the server uses it and as a file to trust.
pub fn certificate(dir: &Path) -> (Arc<ServerConfig>, PathBuf) {
    signed(dir, "ca", parameters("localhost"))
}

/// The same for another host.
pub fn of_another_host(dir: &Path) -> (Arc<ServerConfig>, PathBuf) {
    signed(dir, "another", parameters("mx.example.net"))
}

/// The same, too old.
pub fn expired(dir: &Path) -> (Arc<ServerConfig>, PathBuf) {
    let mut old = parameters("localhost");
    (old.not_before, old.not_after) = (date_time_ymd(2019, 1, 1), date_time_ymd(2020, 1, 1));
    signed(dir, "expired", old)
}

fn parameters(host: &str) -> CertificateParams {
    CertificateParams::new(vec![host.to_owned()]).expect("a host's name may stand in a certificate")
}

fn signed(dir: &Path, name: &str, parameters: CertificateParams) -> (Arc<ServerConfig>, PathBuf) {
    let key = KeyPair::generate().expect("keys can be made");
    let signed = parameters.self_signed(&key).expect("a key signs its own certificate");
    let ca_file = dir.join(format!("{name}.pem"));
    std::fs::write(&ca_file, signed.pem()).expect("files can be written");
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key that was just made");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider knows them")
        .with_no_client_auth()
        .with_single_cert(vec![signed.der().clone()], key)
        .expect("the key is the certificate's");
    (Arc::new(config), ca_file)
}
