//! TLS for connections to mail servers: rustls with ring, the machine's certificate authorities, and one more from a file if asked for.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A client configuration; the error is a sentence.
pub fn client(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, String> {
    static MACHINE: OnceLock<RootCertStore> = OnceLock::new();
    let machine = MACHINE.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        for cert in rustls_native_certs::load_native_certs().certs {
            // A machine's store may hold certificates rustls does not understand; the others still count.
            let _ = roots.add(cert);
        }
        roots
    });
    let mut roots = machine.clone();
    if let Some(path) = ca_file {
        let told = |e: &dyn std::fmt::Display| format!("smtp.ca_file {}: {e}", path.display());
        for cert in CertificateDer::pem_file_iter(path).map_err(|e| told(&e))? {
            roots.add(cert.map_err(|e| told(&e))?).map_err(|e| told(&e))?;
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Begin TLS on an open connection, checking the server's certificate against `host`.
pub async fn handshake(
    config: Arc<ClientConfig>,
    host: &str,
    stream: TcpStream,
) -> Result<TlsStream<TcpStream>, String> {
    let name = ServerName::try_from(host.to_owned()).map_err(|e| format!("{host}: {e}"))?;
    TlsConnector::from(config).connect(name, stream).await.map_err(|e| format!("TLS with {host}: {e}"))
}
