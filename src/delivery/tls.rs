//! TLS for connections to mail servers: rustls with ring, the machine's certificate authorities, and one more from a file if asked for.
//!
//! A certificate that is not accepted is told with what to do about it: trying again does not help.

use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::clock::{self, Millis};

/// Why TLS did not begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoTls {
    Broken(String),
    /// The server's certificate is not one that is accepted for this host.
    Distrusted(Distrust),
}

/// What is wrong with a certificate, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distrust {
    pub why: String,
    pub remedy: String,
}

impl std::fmt::Display for Distrust {
    /// In one line.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.why, self.remedy)
    }
}

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
) -> Result<TlsStream<TcpStream>, NoTls> {
    let name = ServerName::try_from(host.to_owned()).map_err(|e| NoTls::Broken(format!("{host}: {e}")))?;
    TlsConnector::from(config).connect(name, stream).await.map_err(|e| match certificate_error(&e) {
        Some(error) => NoTls::Distrusted(distrust(host, error)),
        None => NoTls::Broken(format!("TLS with {host}: {e}")),
    })
}

fn certificate_error(error: &io::Error) -> Option<&CertificateError> {
    match error.get_ref()?.downcast_ref()? {
        rustls::Error::InvalidCertificate(error) => Some(error),
        _ => None,
    }
}

fn distrust(host: &str, error: &CertificateError) -> Distrust {
    use CertificateError::*;
    let day = |at: &UnixTime| {
        let at = Millis::try_from(at.as_secs()).unwrap_or(Millis::MAX / clock::SECOND) * clock::SECOND;
        clock::date_in(at, &jiff::tz::TimeZone::UTC)
    };
    let (why, remedy) = match error {
        NotValidForNameContext { presented, .. } => (
            format!("the server's certificate is for {}, not for {host}", names(presented)),
            "write the host as the certificate has it, or ask who runs the server for one that names this host".to_owned(),
        ),
        NotValidForName => (
            format!("the server's certificate is not for {host}"),
            "write the host as the certificate has it, or ask who runs the server for one that names this host".to_owned(),
        ),
        ExpiredContext { not_after, .. } => (
            format!("the server's certificate expired on {}", day(not_after)),
            "whoever runs the server must renew it; see that the clock of this machine is right".to_owned(),
        ),
        NotValidYetContext { not_before, .. } => (
            format!("the server's certificate is not valid before {}", day(not_before)),
            "see that the clock of this machine is right".to_owned(),
        ),
        UnknownIssuer => (
            "nobody whom this machine trusts vouches for the server's certificate".to_owned(),
            "name the file of its certificate authority in smtp.ca_file, or see that this machine's own are there (ca-certificates)"
                .to_owned(),
        ),
        other => (
            format!("the server's certificate is not accepted: {other}"),
            "ask who runs the server for another one".to_owned(),
        ),
    };
    Distrust { why, remedy }
}

/// The names that a certificate presents, as people write them: rustls has them as `DnsName("mail.example.com")`.
fn names(presented: &[String]) -> String {
    let name = |text: &String| text.split('"').nth(1).unwrap_or(text).to_owned();
    match presented {
        [] => "nobody".to_owned(),
        names => names.iter().map(name).collect::<Vec<_>>().join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_that_is_not_accepted_is_told_in_words() {
        let told = |error: &CertificateError| distrust("mail.example.com", error).why;
        let at = |secs| UnixTime::since_unix_epoch(std::time::Duration::from_secs(secs));
        let wrong = CertificateError::NotValidForNameContext {
            expected: ServerName::try_from("mail.example.com").unwrap(),
            presented: vec!["DnsName(\"mx.example.net\")".to_owned(), "IpAddress(192.0.2.1)".to_owned()],
        };
        assert_eq!(
            told(&wrong),
            "the server's certificate is for mx.example.net, IpAddress(192.0.2.1), not for mail.example.com"
        );
        let expired = CertificateError::ExpiredContext { time: at(1_800_000_000), not_after: at(1_577_836_800) };
        assert_eq!(told(&expired), "the server's certificate expired on 2020-01-01");
        let early = CertificateError::NotValidYetContext { time: at(0), not_before: at(1_577_836_800) };
        assert_eq!(told(&early), "the server's certificate is not valid before 2020-01-01");
        assert!(told(&CertificateError::Revoked).starts_with("the server's certificate is not accepted: "));
    }
}
