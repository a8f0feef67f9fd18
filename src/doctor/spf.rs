//! SPF (RFC 7208): whether the record of a domain can be evaluated, and what it ends in.
//!
//! Which address mail leaves from is known to the mail server, not here, so nothing is evaluated: every term is walked through as for a
//! sender that matches none. That is the most lookups a receiver may need.

use std::collections::VecDeque;
use std::net::IpAddr;

use super::resolver::{Kind, Resolver, Unanswered, txt};
use super::{Area, Finding};

/// §4.6.4: terms that ask the DNS, over all records together.
const LOOKUPS_MAX: usize = 10;
/// §4.6.4: questions that come back with nothing.
const VOIDS_MAX: usize = 2;
/// Where this walk ends, so that records that include each other do not keep it for ever.
const LOOKUPS_WALKED_MAX: usize = 40;

const UNKNOWN_SENDER: &str = "receivers cannot tell your mail server from anyone who writes in your name";
const PERMERROR: &str =
    "receivers stop with a permanent error and treat the mail as if the domain had not authorised it";

/// A domain whose record is still to be read.
#[derive(Debug)]
struct Waiting {
    domain: String,
    /// The domains that led to it.
    via: Vec<String>,
    /// Whether its `all` is the one that counts: that of the first record, or of what that redirects to. The `all` of an included record
    /// only says whether the include matches.
    decides: bool,
}

/// What a walk through the records came to.
#[derive(Debug, Default)]
struct Walk {
    lookups: usize,
    voids: Vec<String>,
    faults: Vec<String>,
    /// The qualifier of the `all` that counts.
    all: Option<char>,
    waiting: VecDeque<Waiting>,
    deprecated: bool,
}

/// The record of a domain and all it leads to.
pub(super) async fn look(resolver: &dyn Resolver, domain: &str) -> Result<Vec<Finding>, Unanswered> {
    let records = records(resolver, domain).await?;
    let publish = format!(
        "publish one TXT record at {domain}: \"v=spf1 include:… -all\", with the name your mail provider gives for include"
    );
    let record = match records.as_slice() {
        [record] => record,
        [] => {
            let finding = format!("{domain} has no SPF record");
            return Ok(vec![Finding::problem(Area::Dns, finding, UNKNOWN_SENDER, publish)]);
        }
        several => {
            let finding = format!("{domain} has {} SPF records, where one belongs", several.len());
            return Ok(vec![Finding::problem(Area::Dns, finding, PERMERROR, "join them into one")]);
        }
    };
    let mut walk = Walk::default();
    let first = Waiting { domain: domain.to_owned(), via: Vec::new(), decides: true };
    walk.read(resolver, record, first).await?;
    while let Some(next) = walk.waiting.pop_front() {
        if walk.lookups > LOOKUPS_WALKED_MAX {
            break;
        }
        match self::records(resolver, &next.domain).await?.as_slice() {
            [record] => walk.read(resolver, record, next).await?,
            [] => walk.faults.push(format!("{} points to {}, which has no SPF record", told(&next.via), next.domain)),
            several => walk.faults.push(format!("{} has {} SPF records", next.domain, several.len())),
        }
    }
    Ok(walk.findings(domain))
}

impl Walk {
    /// Take up the terms of one record.
    async fn read(&mut self, resolver: &dyn Resolver, record: &str, of: Waiting) -> Result<(), Unanswered> {
        let Waiting { domain, via: mut chain, decides } = of;
        chain.push(domain.clone());
        let mut redirect = None;
        let mut has_all = false;
        for term in record.split_ascii_whitespace().skip(1) {
            let (qualifier, rest) = match term.chars().next() {
                Some(q @ ('+' | '-' | '~' | '?')) => (q, &term[1..]),
                _ => ('+', term),
            };
            let name_ends = rest.find([':', '/', '=']).unwrap_or(rest.len());
            let (name, argument) = rest.split_at(name_ends);
            let is_modifier = argument.starts_with('=');
            let target = argument.strip_prefix([':', '=']).unwrap_or_default();
            match (name.to_ascii_lowercase().as_str(), is_modifier) {
                ("all", false) => {
                    has_all = true;
                    if decides {
                        self.all = Some(qualifier);
                    }
                    break; // §5.1: what follows is never reached
                }
                ("include", false) => self.follow(target, &chain, false),
                ("redirect", true) => redirect = Some(target),
                ("a" | "mx", false) => {
                    self.lookups += 1;
                    let host = target.split('/').next().filter(|h| !h.is_empty()).unwrap_or(&domain);
                    let kind = if name.eq_ignore_ascii_case("a") { Kind::Address } else { Kind::Mx };
                    if self.lookups <= LOOKUPS_WALKED_MAX
                        && !host.contains('%')
                        && resolver.ask(host, kind).await?.is_empty()
                    {
                        self.voids.push(format!("`{term}` of {domain}"));
                    }
                }
                ("exists", false) => self.lookups += 1,
                ("ptr", false) => {
                    self.lookups += 1;
                    self.deprecated = true;
                }
                (kind @ ("ip4" | "ip6"), false) => {
                    let address = target.split('/').next().and_then(|a| a.parse::<IpAddr>().ok());
                    if address.is_none_or(|a| a.is_ipv4() != (kind == "ip4")) {
                        self.faults.push(format!("`{term}` of {domain} is not an address"));
                    }
                }
                (_, true) => {} // §6: unknown modifiers are ignored
                _ => self.faults.push(format!("`{term}` of {domain} is no mechanism that SPF knows")),
            }
        }
        if let Some(target) = redirect.filter(|_| !has_all) {
            // §6.1: the record pointed to stands in for this one.
            self.follow(target, &chain, decides);
        }
        Ok(())
    }

    /// Note a domain to be read.
    fn follow(&mut self, target: &str, chain: &[String], decides: bool) {
        self.lookups += 1;
        if target.is_empty() {
            self.faults.push(format!("{} names no domain to go on with", told(chain)));
        } else if chain.iter().any(|c| c.eq_ignore_ascii_case(target)) {
            self.faults.push(format!("{} includes itself again: {target}", told(chain)));
        } else if !target.contains('%') {
            self.waiting.push_back(Waiting { domain: target.to_ascii_lowercase(), via: chain.to_vec(), decides });
        }
    }

    fn findings(self, domain: &str) -> Vec<Finding> {
        let mut findings = Vec::new();
        for fault in &self.faults {
            let finding = format!("SPF of {domain}: {fault}");
            findings.push(Finding::problem(Area::Dns, finding, PERMERROR, "mend or remove the term"));
        }
        if self.lookups > LOOKUPS_MAX {
            let finding = format!("SPF of {domain} takes {} lookups; {LOOKUPS_MAX} are allowed", self.lookups);
            let remedy = "remove what no longer sends for you, or send under a subdomain with a record of its own";
            findings.push(Finding::problem(Area::Dns, finding, PERMERROR, remedy));
        }
        if self.voids.len() > VOIDS_MAX {
            let finding = format!("SPF of {domain} asks for names that do not exist: {}", self.voids.join(", "));
            let meaning = "receivers may stop after two of those, with a permanent error";
            findings.push(Finding::warn(Area::Dns, finding, meaning, "remove these terms"));
        }
        if self.deprecated {
            let finding = format!("SPF of {domain} uses `ptr`");
            let meaning = "it is slow, and large receivers skip it (§5.5)";
            findings.push(Finding::warn(Area::Dns, finding, meaning, "name addresses instead"));
        }
        let ending = "end it with -all or ~all";
        match self.all {
            Some('+') => {
                let finding = format!("SPF of {domain} lets everybody send in its name (+all)");
                findings.push(Finding::problem(Area::Dns, finding, UNKNOWN_SENDER, ending));
            }
            None | Some('?') if self.faults.is_empty() => {
                let finding = format!("SPF of {domain} does not say what to do with other senders");
                findings.push(Finding::warn(Area::Dns, finding, UNKNOWN_SENDER, ending));
            }
            _ => {}
        }
        if findings.is_empty() {
            let all = self.all.map_or_else(String::new, |q| format!("{q}all"));
            let told = format!(
                "SPF of {domain}: {} of {LOOKUPS_MAX} lookups, ends in {all}; that it names your mail server's addresses is not checked",
                self.lookups
            );
            findings.push(Finding::ok(Area::Dns, told));
        }
        findings
    }
}

/// A chain of domains as a sentence has it.
fn told(chain: &[String]) -> String {
    chain.join(" → ")
}

/// The SPF records of a domain (§4.5).
async fn records(resolver: &dyn Resolver, domain: &str) -> Result<Vec<String>, Unanswered> {
    let is_spf = |text: &String| text.split(' ').next().is_some_and(|version| version.eq_ignore_ascii_case("v=spf1"));
    Ok(txt(resolver, domain).await?.into_iter().filter(is_spf).collect())
}
