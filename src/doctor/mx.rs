//! Where bounces go: the mail exchangers of the return path's domain (RFC 5321 §5.1).

use super::resolver::{Answer, Kind, Record, Resolver, Unanswered};
use super::{Area, Finding};

const LOST: &str = "bounces do not come back, and many receivers refuse mail from a domain that takes none";

/// The exchangers of the domain, and whether they have addresses.
pub(super) async fn look(resolver: &dyn Resolver, domain: &str) -> Result<Vec<Finding>, Unanswered> {
    let Answer { records, no_such_name } = resolver.ask(domain, Kind::Mx).await?;
    let mut hosts: Vec<(u16, String)> = records
        .into_iter()
        .filter_map(|r| if let Record::Mx { preference, host } = r { Some((preference, host)) } else { None })
        .collect();
    hosts.sort();
    let publish = format!("publish an MX record at {domain} that names the server of your bounce mailbox");
    if hosts.iter().any(|(_, host)| host.is_empty()) {
        let finding = format!("{domain}, where bounces go, says that it takes no mail (null MX, RFC 7505)");
        return Ok(vec![Finding::problem(Area::Dns, finding, LOST, publish)]);
    }
    if hosts.is_empty() {
        if no_such_name {
            let finding = format!("{domain}, where bounces go, has no MX record (the DNS knows no such name)");
            return Ok(vec![Finding::problem(Area::Dns, finding, LOST, publish)]);
        }
        let implicit = !resolver.ask(domain, Kind::Address).await?.records.is_empty();
        let finding = format!("{domain}, where bounces go, has no MX record");
        return Ok(vec![if implicit {
            let meaning = "bounces are tried at the address of the name itself, which seldom takes mail";
            Finding::warn(Area::Dns, finding, meaning, publish)
        } else {
            Finding::problem(Area::Dns, finding, LOST, publish)
        }]);
    }
    let mut findings = Vec::new();
    for (_, host) in &hosts {
        let found = resolver.ask(host, Kind::Address).await?;
        if found.records.is_empty() {
            let why = if found.no_such_name { " (the DNS knows no such name)" } else { "" };
            let finding = format!("the MX {host} of {domain} has no address{why}");
            let meaning = "whoever tries it first waits, or gives up";
            let remedy = "mend the name in the MX record, or give it an A or AAAA record";
            findings.push(Finding::problem(Area::Dns, finding, meaning, remedy));
        }
    }
    if findings.is_empty() {
        let names: Vec<&str> = hosts.iter().map(|(_, host)| host.as_str()).collect();
        findings.push(Finding::ok(Area::Dns, format!("MX of {domain}, where bounces go: {}", names.join(", "))));
    }
    Ok(findings)
}
