//! SPF (RFC 7208): whether the record of a domain can be evaluated, and what it ends in.
//!
//! Every term is walked through as for a sender that matches none: that is the most lookups a receiver may need. Whether it lets our mail servers
//! send is asked in `senders.rs`.

use std::collections::VecDeque;
use std::net::IpAddr;

use super::resolver::{Kind, Resolver, Unanswered, txt};
use super::{Area, Finding, Names, senders};

/// §4.6.4: terms that ask the DNS, over all records together.
const LOOKUPS_MAX: usize = 10;
/// §4.6.4: questions that come back with nothing.
const VOIDS_MAX: usize = 2;
/// §4.6.4: exchangers of one `mx`.
const EXCHANGERS_MAX: usize = 10;
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

/// One term of a record (§4.6.1): `-ip4:192.0.2.0/24`, `redirect=example.net`.
#[derive(Debug)]
pub(super) struct Term<'r> {
    text: &'r str,
    pub qualifier: char,
    /// In small letters.
    pub name: String,
    /// What follows the name, with the character that separates them.
    pub argument: &'r str,
}

impl<'r> Term<'r> {
    fn read(text: &'r str) -> Term<'r> {
        let (qualifier, rest) = match text.chars().next() {
            Some(q @ ('+' | '-' | '~' | '?')) => (q, &text[1..]),
            _ => ('+', text),
        };
        let (name, argument) = rest.split_at(rest.find([':', '/', '=']).unwrap_or(rest.len()));
        Term { text, qualifier, name: name.to_ascii_lowercase(), argument }
    }

    pub fn is_modifier(&self) -> bool {
        self.argument.starts_with('=')
    }

    /// The domain or address it names, without the length of a prefix.
    pub fn target(&self) -> &'r str {
        let target = self.argument.strip_prefix([':', '=']).unwrap_or_default();
        // A macro may hold a `/`; it is not looked into.
        if target.contains('%') { target } else { target.split('/').next().unwrap_or_default() }
    }

    /// The lengths of prefixes behind it, of IPv4 and of IPv6 addresses: `/24//64`. `None` when they cannot be read.
    pub fn prefixes(&self) -> Option<(Option<u32>, Option<u32>)> {
        let number = |text: &str| text.parse().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()));
        let Some((_, lengths)) = self.argument.split_once('/') else { return Some((None, None)) };
        let (of_four, of_six) = match lengths.split_once("/") {
            None => (Some(lengths), None),
            Some(("", of_six)) => (None, Some(of_six)),
            Some((of_four, of_six)) => (Some(of_four), Some(of_six.strip_prefix('/')?)),
        };
        let read = |text: Option<&str>| text.map_or(Some(None), |t| number(t).map(Some));
        Some((read(of_four)?, read(of_six)?))
    }

    /// Why it cannot be read; the end of a sentence.
    pub fn fault(&self) -> Option<&'static str> {
        let is_qualified = self.text.len() > self.name.len() + self.argument.len();
        if self.is_modifier() {
            return is_qualified.then_some("has a sign in front, which only mechanisms have");
        }
        if self.argument.starts_with(':') && self.target().is_empty() {
            return Some("names nothing after its colon");
        }
        match self.name.as_str() {
            "all" if self.argument.is_empty() => None,
            "all" => Some("says more than `all`"),
            "ptr" => None,
            "exists" | "include" if self.target().is_empty() => Some("names no domain"),
            "exists" | "include" => None,
            "a" | "mx" if self.argument.contains('%') => None,
            "a" | "mx" => {
                let fits = |(four, six): (Option<u32>, Option<u32>)| four.unwrap_or(0) <= 32 && six.unwrap_or(0) <= 128;
                (!self.prefixes().is_some_and(fits)).then_some(NO_PREFIX)
            }
            kind @ ("ip4" | "ip6") => {
                let address: Option<IpAddr> = self.target().parse().ok();
                if address.is_none_or(|a| a.is_ipv4() != (kind == "ip4")) {
                    return Some("is not an address");
                }
                let longest = if kind == "ip4" { 32 } else { 128 };
                let fits =
                    |(length, more): (Option<u32>, Option<u32>)| length.unwrap_or(0) <= longest && more.is_none();
                (!self.prefixes().is_some_and(fits)).then_some(NO_PREFIX)
            }
            _ => Some("is no mechanism that SPF knows"),
        }
    }
}

const NO_PREFIX: &str = "ends in no length of a prefix";

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

/// The record of the envelope's domain and all it leads to.
pub(super) async fn look(resolver: &dyn Resolver, names: &Names) -> Result<Vec<Finding>, Unanswered> {
    let domain = names.envelope.as_str();
    let records = records(resolver, domain).await?;
    let publish = format!(
        "publish one TXT record at {domain}: \"v=spf1 include:… -all\", with the name your mail provider gives for include"
    );
    let record = match records.texts.as_slice() {
        [record] => record,
        [] => {
            let finding = format!("{domain} has no SPF record {}", records.why_none);
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
        let records = self::records(resolver, &next.domain).await?;
        match records.texts.as_slice() {
            [record] => walk.read(resolver, record, next).await?,
            [] => {
                let (via, domain, why) = (told(&next.via), &next.domain, &records.why_none);
                walk.faults.push(format!("{via} points to {domain}, which has no SPF record {why}"));
            }
            several => walk.faults.push(format!("{} has {} SPF records", next.domain, several.len())),
        }
    }
    let mut findings = walk.findings(domain);
    if findings.is_empty() {
        let senders = senders::told(resolver, domain, &names.servers).await?;
        findings.push(Finding::ok(Area::Dns, format!("SPF of {domain}: {}; {senders}", walk.told())));
    }
    Ok(findings)
}

impl Walk {
    /// Take up the terms of one record.
    async fn read(&mut self, resolver: &dyn Resolver, record: &str, of: Waiting) -> Result<(), Unanswered> {
        let Waiting { domain, via: mut chain, decides } = of;
        chain.push(domain.clone());
        let mut redirect = None;
        let (mut has_all, mut has_explanation) = (false, false);
        for term in terms(record) {
            // §4.6: a term that cannot be read spoils the record, wherever it stands.
            if let Some(fault) = term.fault() {
                self.faults.push(format!("`{}` of {domain} {fault}", term.text));
                continue;
            }
            match term.name.as_str() {
                "redirect" if redirect.is_some() => self.faults.push(format!("{domain} redirects twice")),
                "exp" if term.is_modifier() && std::mem::replace(&mut has_explanation, true) => {
                    self.faults.push(format!("{domain} has two `exp=`")) // §6: at most one
                }
                "redirect" => redirect = Some(term.target()),
                _ if has_all || term.is_modifier() => {} // §5.1: never reached; §6: unknown modifiers are ignored
                "all" => {
                    has_all = true;
                    if decides {
                        self.all = Some(term.qualifier);
                    }
                }
                "include" => self.follow(term.target(), &chain, false),
                "a" | "mx" => self.look_up(resolver, &term, &domain).await?,
                "exists" => self.lookups += 1,
                "ptr" => {
                    self.lookups += 1;
                    self.deprecated = true;
                }
                _ => {} // ip4, ip6: ask nobody
            }
        }
        if let Some(target) = redirect.filter(|_| !has_all) {
            // §6.1: the record pointed to stands in for this one.
            self.follow(target, &chain, decides);
        }
        Ok(())
    }

    /// Ask for the addresses or exchangers that a term names.
    async fn look_up(&mut self, resolver: &dyn Resolver, term: &Term<'_>, domain: &str) -> Result<(), Unanswered> {
        self.lookups += 1;
        let host = Some(term.target()).filter(|h| !h.is_empty()).unwrap_or(domain);
        if self.lookups > LOOKUPS_WALKED_MAX || host.contains('%') {
            return Ok(());
        }
        let kind = if term.name == "a" { Kind::Address } else { Kind::Mx };
        match resolver.ask(host, kind).await?.records.len() {
            0 => self.voids.push(format!("`{}` of {domain}", term.text)),
            n if kind == Kind::Mx && n > EXCHANGERS_MAX => self.faults.push(format!(
                "`{}` of {domain} leads to {n} mail exchangers; {EXCHANGERS_MAX} are allowed",
                term.text
            )),
            _ => {}
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

    /// What is wrong with it.
    fn findings(&self, domain: &str) -> Vec<Finding> {
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
            let finding =
                format!("SPF of {domain} asks for names under which nothing stands: {}", self.voids.join(", "));
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
        findings
    }

    /// That nothing is, in words.
    fn told(&self) -> String {
        let all = self.all.map_or_else(String::new, |q| format!("{q}all"));
        format!("{} of {LOOKUPS_MAX} lookups, ends in {all}", self.lookups)
    }
}

/// A chain of domains as a sentence has it.
fn told(chain: &[String]) -> String {
    chain.join(" → ")
}

/// The terms of a record, after its version.
pub(super) fn terms(record: &str) -> impl Iterator<Item = Term<'_>> {
    record.split_ascii_whitespace().skip(1).map(Term::read)
}

/// The SPF records of a domain, and why there are none, when there are none.
pub(super) struct Records {
    pub texts: Vec<String>,
    pub why_none: String,
}

/// The SPF records of a domain (§4.5).
pub(super) async fn records(resolver: &dyn Resolver, domain: &str) -> Result<Records, Unanswered> {
    let is_spf = |text: &String| text.split(' ').next().is_some_and(|version| version.eq_ignore_ascii_case("v=spf1"));
    let found = txt(resolver, domain).await?;
    let why_none = found.why_none(domain);
    Ok(Records { texts: found.texts.into_iter().filter(is_spf).collect(), why_none })
}
