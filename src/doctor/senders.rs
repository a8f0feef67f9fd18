//! Whether SPF lets a mail server send (RFC 7208 §4), asked for the addresses at which we reach it.
//!
//! A server that hands our mail to receivers itself does so from these. A provider's may leave from others, which only the provider knows: so
//! what is found here is told and is no problem by itself.

use std::net::IpAddr;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::resolver::{Kind, Record, Resolver, Unanswered};
use super::spf::{self, Term};

/// §4.6.4: terms that ask the DNS.
const LOOKUPS_MAX: u32 = 10;

/// What a record says about an address (§2.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Pass,
    /// `-`, `~` or `?`, or nothing that matches.
    Other,
    /// It cannot be told without a message at hand (macros, `exists`, `ptr`), or the record cannot be evaluated.
    Unclear,
}

/// The end of the sentence "SPF of …", about the mail servers by these names.
pub(super) async fn told(resolver: &dyn Resolver, domain: &str, servers: &[String]) -> Result<String, Unanswered> {
    let (mut named, mut astray) = (Vec::new(), Vec::new());
    for server in servers {
        for address in addresses(resolver, server).await?.into_iter().filter(is_public) {
            let mut lookups = 0;
            let of = |list: &mut Vec<String>| list.push(format!("{server} ({address})"));
            match judge(resolver, domain, address, &mut lookups).await? {
                Verdict::Pass => of(&mut named),
                Verdict::Other => of(&mut astray),
                Verdict::Unclear => {}
            }
        }
    }
    Ok(match (named.is_empty(), astray.is_empty()) {
        (true, true) => "that it names your mail server's addresses is not checked".to_owned(),
        (false, true) => format!("it lets {} send", named.join(", ")),
        (_, false) => {
            format!("it does not let {} send: well if your provider sends from other addresses", astray.join(", "))
        }
    })
}

/// The addresses of a name, or the one that it is.
async fn addresses(resolver: &dyn Resolver, host: &str) -> Result<Vec<IpAddr>, Unanswered> {
    if let Ok(address) = host.trim_matches(['[', ']']).parse() {
        return Ok(vec![address]);
    }
    let records = resolver.ask(host, Kind::Address).await?.records.into_iter();
    Ok(records.filter_map(|r| if let Record::Address(a) = r { Some(a) } else { None }).collect())
}

/// Whether mail can reach the world from there.
fn is_public(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(a) => !a.is_loopback() && !a.is_private() && !a.is_link_local() && !a.is_unspecified(),
        IpAddr::V6(a) => !a.is_loopback() && !a.is_unique_local() && !a.is_unicast_link_local() && !a.is_unspecified(),
    }
}

/// check_host() of §4, for an address.
fn judge<'a>(
    resolver: &'a dyn Resolver,
    domain: &'a str,
    address: IpAddr,
    lookups: &'a mut u32,
) -> BoxFuture<'a, Result<Verdict, Unanswered>> {
    async move {
        let records = spf::records(resolver, domain).await?;
        let [record] = records.texts.as_slice() else { return Ok(Verdict::Unclear) };
        let terms: Vec<Term<'_>> = spf::terms(record).collect();
        if terms.iter().any(|t| t.fault().is_some()) {
            return Ok(Verdict::Unclear);
        }
        for term in terms.iter().filter(|t| !t.is_modifier()) {
            match matches(resolver, term, domain, address, lookups).await? {
                None => return Ok(Verdict::Unclear),
                Some(false) => {}
                Some(true) if term.qualifier == '+' => return Ok(Verdict::Pass),
                Some(true) => return Ok(Verdict::Other),
            }
        }
        match terms.iter().find(|t| t.is_modifier() && t.name == "redirect") {
            Some(term) if asks(term, lookups) => judge(resolver, term.target(), address, lookups).await,
            Some(_) => Ok(Verdict::Unclear),
            None => Ok(Verdict::Other),
        }
    }
    .boxed()
}

/// Counts a term that asks the DNS; false when it cannot be asked, or not any more.
fn asks(term: &Term<'_>, lookups: &mut u32) -> bool {
    *lookups += 1;
    *lookups <= LOOKUPS_MAX && !term.argument.contains('%')
}

/// Whether a mechanism matches the address (§5); `None` when that cannot be told.
async fn matches(
    resolver: &dyn Resolver,
    term: &Term<'_>,
    domain: &str,
    address: IpAddr,
    lookups: &mut u32,
) -> Result<Option<bool>, Unanswered> {
    let prefixes = term.prefixes().unwrap_or_default();
    let within = |network: IpAddr| is_within(address, network, prefixes);
    match term.name.as_str() {
        "all" => return Ok(Some(true)),
        "ip4" | "ip6" => {
            // The one length there is stands in the first place, whichever kind of address it is of.
            let length = (prefixes.0, prefixes.0);
            return Ok(term.target().parse().ok().map(|network| is_within(address, network, length)));
        }
        "a" | "mx" | "include" if asks(term, lookups) => {}
        _ => return Ok(None),
    }
    let host = Some(term.target()).filter(|h| !h.is_empty()).unwrap_or(domain);
    if term.name == "include" {
        return Ok(match judge(resolver, host, address, lookups).await? {
            Verdict::Pass => Some(true),
            Verdict::Other => Some(false),
            Verdict::Unclear => None,
        });
    }
    let hosts: Vec<String> = if term.name == "a" {
        vec![host.to_owned()]
    } else {
        let records = resolver.ask(host, Kind::Mx).await?.records.into_iter();
        records.filter_map(|r| if let Record::Mx { host, .. } = r { Some(host) } else { None }).collect()
    };
    for host in hosts.iter().filter(|h| !h.is_empty()) {
        if addresses(resolver, host).await?.into_iter().any(within) {
            return Ok(Some(true));
        }
    }
    Ok(Some(false))
}

/// Whether an address lies in a network, whose prefixes are so long (of IPv4, of IPv6); all of it where nothing is said.
fn is_within(address: IpAddr, network: IpAddr, (of_four, of_six): (Option<u32>, Option<u32>)) -> bool {
    let same = |a: u128, b: u128, bits: u32, length: u32| {
        let rest = bits - length.min(bits);
        a.checked_shr(rest).unwrap_or(0) == b.checked_shr(rest).unwrap_or(0)
    };
    match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(n)) => same(a.to_bits().into(), n.to_bits().into(), 32, of_four.unwrap_or(32)),
        (IpAddr::V6(a), IpAddr::V6(n)) => same(a.to_bits(), n.to_bits(), 128, of_six.unwrap_or(128)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_hold_what_they_should() {
        for (address, network, lengths, expected) in [
            ("192.0.2.7", "192.0.2.0", (Some(24), None), true),
            ("192.0.3.7", "192.0.2.0", (Some(24), None), false),
            ("192.0.2.7", "192.0.2.7", (None, None), true),
            ("192.0.2.7", "192.0.2.6", (None, None), false),
            ("192.0.2.7", "10.0.0.0", (Some(0), None), true),
            ("2001:db8::1", "2001:db8::", (None, Some(32)), true),
            ("2001:db9::1", "2001:db8::", (None, Some(32)), false),
            ("2001:db8::1", "::", (None, Some(0)), true),
            ("192.0.2.7", "::", (None, Some(0)), false),
        ] {
            let (a, n) = (address.parse().unwrap(), network.parse().unwrap());
            assert_eq!(is_within(a, n, lengths), expected, "{address} in {network}");
        }
    }

    #[test]
    fn only_addresses_that_reach_the_world_are_judged() {
        let public = |a: &str| is_public(&a.parse().unwrap());
        assert!(public("192.0.2.1") && public("2001:db8::1"));
        assert!(!["127.0.0.1", "10.1.2.3", "169.254.1.1", "::1", "fd00::1", "fe80::1"].iter().any(|a| public(a)));
    }
}
