//! The seam to the DNS: one method, so that a test answers from a table.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::future::BoxFuture;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
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

/// What the DNS says of a kind under a name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    pub records: Vec<Record>,
    /// There is no such name, with whatever kind of record (NXDOMAIN, RFC 2308 §2.1). Else a name without records of this kind is there for
    /// another's sake, or for the names below it.
    pub no_such_name: bool,
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
    /// The records of a kind under a name; or that there are none.
    fn ask<'a>(&'a self, name: &'a str, kind: Kind) -> BoxFuture<'a, Result<Answer, Unanswered>>;
}

/// The TXT records of a name; or why there are none, for the end of a sentence that says so.
pub(super) struct Texts {
    pub texts: Vec<String>,
    no_such_name: bool,
}

impl Texts {
    /// `(there is no name _dmarc.example.com)`: the difference between a name that was never made, or misspelled, and a record that is missing.
    pub fn why_none(&self, name: &str) -> String {
        match (self.no_such_name, self.texts.len()) {
            (true, _) => format!("(the DNS knows no name {name})"),
            (false, 0) => format!("({name} is there, without any TXT record)"),
            (false, 1) => format!("({name} has a TXT record, about something else)"),
            (false, n) => format!("({name} has {n} TXT records, all about something else)"),
        }
    }
}

/// The TXT records of a name.
pub(super) async fn txt(resolver: &dyn Resolver, name: &str) -> Result<Texts, Unanswered> {
    let Answer { records, no_such_name } = resolver.ask(name, Kind::Txt).await?;
    let text = |r| if let Record::Txt(text) = r { Some(text) } else { None };
    Ok(Texts { texts: records.into_iter().filter_map(text).collect(), no_such_name })
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

    async fn answer(&self, name: &str, kind: RecordType) -> Result<Answer, Unanswered> {
        // With a dot at the end no search list of this machine is tried.
        match self.0.lookup(format!("{name}."), kind).await {
            Ok(lookup) => {
                let records = lookup.answers().iter().filter_map(|r| record(&r.data)).collect();
                Ok(Answer { records, no_such_name: false })
            }
            Err(e) if e.is_no_records_found() => Ok(Answer { records: Vec::new(), no_such_name: e.is_nx_domain() }),
            Err(e) => Err(Unanswered { name: name.to_owned(), why: why(&e) }),
        }
    }
}

impl Resolver for Dns {
    fn ask<'a>(&'a self, name: &'a str, kind: Kind) -> BoxFuture<'a, Result<Answer, Unanswered>> {
        Box::pin(async move {
            match kind {
                Kind::Txt => self.answer(name, RecordType::TXT).await,
                Kind::Mx => self.answer(name, RecordType::MX).await,
                Kind::Address => {
                    let mut of_four = self.answer(name, RecordType::A).await?;
                    let of_six = self.answer(name, RecordType::AAAA).await?;
                    of_four.records.extend(of_six.records);
                    Ok(Answer { no_such_name: of_four.no_such_name && of_six.no_such_name, ..of_four })
                }
            }
        })
    }
}

/// A name server that is there and cannot tell is told from one that is silent.
fn why(error: &NetError) -> String {
    match error {
        NetError::Dns(DnsError::ResponseCode(code)) => format!("the name server says `{code}`"),
        other => other.to_string(),
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
