//! A name server on loopback that answers from a table (RFC 1035), for tests of what asks the DNS.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

/// One record.
#[derive(Debug, Clone)]
pub enum Data {
    Txt(String),
    Mx(u16, &'static str),
    A(Ipv4Addr),
    /// The server cannot tell now (SERVFAIL).
    Trouble,
}

/// The records of each name.
pub type Zone = BTreeMap<String, Vec<Data>>;

/// A running name server; ends when dropped.
pub struct NameServer {
    pub addr: SocketAddr,
    serving: JoinHandle<()>,
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl NameServer {
    /// Serve these records on a free port. What is not among them does not exist.
    pub async fn start(zone: Zone) -> NameServer {
        let socket = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port is free"));
        let addr = socket.local_addr().expect("a bound socket has an address");
        let serving = tokio::spawn(async move {
            let mut question = [0; 4_096];
            while let Ok((n, from)) = socket.recv_from(&mut question).await {
                if let Some(answer) = answer(&zone, &question[..n]) {
                    // A client that has gone needs no answer.
                    let _ = socket.send_to(&answer, from).await;
                }
            }
        });
        NameServer { addr, serving }
    }
}

/// The answer to one question (§4.1); `None` when it is not one.
fn answer(zone: &Zone, question: &[u8]) -> Option<Vec<u8>> {
    let mut at = 12;
    let mut labels = Vec::new();
    while let length @ 1.. = usize::from(*question.get(at)?) {
        labels.push(String::from_utf8_lossy(question.get(at + 1..at + 1 + length)?).to_ascii_lowercase());
        at += 1 + length;
    }
    let kind = u16::from_be_bytes([*question.get(at + 1)?, *question.get(at + 2)?]);
    let end = at + 5;
    let records = zone.get(&labels.join("."));
    let found: Vec<Vec<u8>> = records.into_iter().flatten().filter_map(|data| rdata(data, kind)).collect();
    let mut out = question.get(..2)?.to_vec();
    let trouble = records.is_some_and(|r| r.iter().any(|data| matches!(data, Data::Trouble)));
    let code = if trouble { 2 } else { u8::from(records.is_none()) * 3 };
    out.extend([0x85, 0x80 | code, 0, 1]); // an authoritative answer to one question
    out.extend((found.len() as u16).to_be_bytes());
    out.extend([0; 4]);
    out.extend(question.get(12..end)?);
    for data in found {
        out.extend([0xc0, 12]); // the name of the question
        out.extend(kind.to_be_bytes());
        out.extend([0, 1, 0, 0, 0, 60]);
        out.extend((data.len() as u16).to_be_bytes());
        out.extend(data);
    }
    Some(out)
}

fn rdata(data: &Data, kind: u16) -> Option<Vec<u8>> {
    match (data, kind) {
        (Data::A(address), 1) => Some(address.octets().to_vec()),
        (Data::Mx(preference, host), 15) => {
            let mut out = preference.to_be_bytes().to_vec();
            for label in host.split('.').filter(|l| !l.is_empty()) {
                out.push(label.len() as u8);
                out.extend(label.as_bytes());
            }
            out.push(0);
            Some(out)
        }
        (Data::Txt(text), 16) => {
            Some(text.as_bytes().chunks(255).flat_map(|piece| [&[piece.len() as u8][..], piece].concat()).collect())
        }
        _ => None,
    }
}
