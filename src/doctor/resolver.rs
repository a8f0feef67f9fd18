//! The seam to the DNS: one method, so that a test answers from a table.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::future::BoxFuture;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, RecordType};

/// How long one question waits for its answer, and how often it is put.
const TIMEOUT: Duration = Duration::from_secs(3);
const ATTEMPTS: usize = 2;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Txt,
    Mx,
    /// A and AAAA.
    Address,
}

/// One record of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// All strings of a TXT record, joined.
    Txt(String),
    /// A mail exchanger, without the dot at the end; empty for the null MX (RFC 7505).
    Mx {
        preference: u16,
        host: String,
    },
    Address(IpAddr),
}

/// The DNS gave no answer, which is not the same as the answer that there is nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the DNS does not answer for {name}: {why}")]
pub struct Unanswered {
    pub name: String,
    pub why: String,
}

/// Whoever answers questions of the DNS.
pub trait Resolver: Send + Sync {
    /// The records of a kind under a name; empty when there are none, or no such name.
    fn ask<'a>(&'a self, name: &'a str, kind: Kind) -> BoxFuture<'a, Result<Vec<Record>, Unanswered>>;
}

/// The TXT records of a name.
pub(super) async fn txt(resolver: &dyn Resolver, name: &str) -> Result<Vec<String>, Unanswered> {
    let records = resolver.ask(name, Kind::Txt).await?.into_iter();
    Ok(records.filter_map(|r| if let Record::Txt(text) = r { Some(text) } else { None }).collect())
}

/// The real DNS.
pub struct Dns(TokioResolver);

impl Dns {
    /// The name servers that this machine uses, or one of one's own.
    pub fn new(server: Option<SocketAddr>) -> Result<Dns, String> {
        let builder = match server {
            None => TokioResolver::builder_tokio(),
            Some(server) => {
                let with_port = |mut connection: ConnectionConfig| {
                    connection.port = server.port();
                    connection
                };
                let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(with_port).to_vec();
                let server = NameServerConfig::new(server.ip(), true, connections);
                let config = ResolverConfig::from_name_servers(vec![server]);
                Ok(TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()))
            }
        };
        let mut builder = builder.map_err(|e| e.to_string())?;
        let options = builder.options_mut();
        (options.timeout, options.attempts) = (TIMEOUT, ATTEMPTS);
        builder.build().map(Dns).map_err(|e| e.to_string())
    }

    async fn answer(&self, name: &str, kind: RecordType) -> Result<Vec<Record>, Unanswered> {
        // With a dot at the end no search list of this machine is tried.
        match self.0.lookup(format!("{name}."), kind).await {
            Ok(lookup) => Ok(lookup.answers().iter().filter_map(|r| record(&r.data)).collect()),
            Err(e) if e.is_no_records_found() => Ok(Vec::new()),
            Err(e) => Err(Unanswered { name: name.to_owned(), why: e.to_string() }),
        }
    }
}

impl Resolver for Dns {
    fn ask<'a>(&'a self, name: &'a str, kind: Kind) -> BoxFuture<'a, Result<Vec<Record>, Unanswered>> {
        Box::pin(async move {
            match kind {
                Kind::Txt => self.answer(name, RecordType::TXT).await,
                Kind::Mx => self.answer(name, RecordType::MX).await,
                Kind::Address => {
                    let mut addresses = self.answer(name, RecordType::A).await?;
                    addresses.extend(self.answer(name, RecordType::AAAA).await?);
                    Ok(addresses)
                }
            }
        })
    }
}

fn record(data: &RData) -> Option<Record> {
    Some(match data {
        RData::TXT(txt) => {
            let bytes: Vec<u8> = txt.txt_data.iter().flat_map(|piece| piece.iter().copied()).collect();
            Record::Txt(String::from_utf8_lossy(&bytes).into_owned())
        }
        RData::MX(mx) => {
            let host = mx.exchange.to_ascii().trim_end_matches('.').to_ascii_lowercase();
            Record::Mx { preference: mx.preference, host }
        }
        RData::A(a) => Record::Address(a.0.into()),
        RData::AAAA(a) => Record::Address(a.0.into()),
        _ => return None,
    })
}
