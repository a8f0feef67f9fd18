//! DMARC (RFC 7489): the policy of the From domain, and whether our signatures and return path count for it.
//!
//! The organisational domain (§3.2) is taken to be the shortest parent of the From domain that has a DMARC record, so no list of public
//! suffixes is needed: a domain that publishes a policy is nobody's suffix, unless it says so (`psd=y`); then it is the one below that.

use super::resolver::{Resolver, Unanswered, txt};
use super::{Area, Finding, Names};

const NO_POLICY: &str =
    "Gmail and Yahoo refuse bulk mail from a domain without a DMARC record, and anyone may write in its name";
/// Parents asked at most.
const PARENTS_MAX: usize = 8;

/// What a DMARC record says, as far as it matters to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Policy {
    /// `none`, `quarantine` or `reject`.
    policy: String,
    /// The same for subdomains that have no record, when it differs.
    of_subdomains: Option<String>,
    strict_dkim: bool,
    strict_spf: bool,
    /// Somebody gets the reports.
    reports: bool,
    public_suffix: bool,
}

impl Policy {
    /// Read the text of a record; `None` when it is no DMARC record (§6.6.3: those are ignored).
    pub(super) fn parse(text: &str) -> Option<Result<Policy, String>> {
        let mut tags = text.split(';').map(str::trim).filter(|t| !t.is_empty());
        let (name, value) = tags.next()?.split_once('=')?;
        if name.trim() != "v" || value.trim() != "DMARC1" {
            return None;
        }
        let mut policy = Policy {
            policy: String::new(),
            of_subdomains: None,
            strict_dkim: false,
            strict_spf: false,
            reports: false,
            public_suffix: false,
        };
        for tag in tags {
            let Some((name, value)) = tag.split_once('=') else { return Some(Err(format!("has `{tag}`"))) };
            let value = value.trim().to_ascii_lowercase();
            match name.trim() {
                "p" => policy.policy = value,
                "sp" => policy.of_subdomains = Some(value),
                "adkim" => policy.strict_dkim = value == "s",
                "aspf" => policy.strict_spf = value == "s",
                "rua" => policy.reports = !value.is_empty(),
                "psd" => policy.public_suffix = value == "y",
                _ => {}
            }
        }
        let is_known = |policy: &str| ["none", "quarantine", "reject"].contains(&policy);
        let unknown = |tag, value: &str| Some(Err(format!("has `{tag}={value}`; known: none, quarantine, reject")));
        match (policy.policy.as_str(), policy.of_subdomains.as_deref()) {
            ("", _) => Some(Err("has no `p=`".to_owned())),
            (other, _) if !is_known(other) => unknown("p", other),
            (_, Some(other)) if !is_known(other) => unknown("sp", other),
            _ => Some(Ok(policy)),
        }
    }

    /// What it asks for mail from a domain, found at `at`: there, or above (§6.3).
    fn for_mail_from(&self, from: &str, at: &str) -> &str {
        self.of_subdomains.as_deref().filter(|_| from != at).unwrap_or(&self.policy)
    }
}

/// The policy, then alignment.
pub(super) async fn look(resolver: &dyn Resolver, names: &Names) -> Result<Vec<Finding>, Unanswered> {
    let publish =
        || format!("publish this TXT record at _dmarc.{0}: \"v=DMARC1; p=none; rua=mailto:dmarc@{0}\"", names.from);
    let mut found: Vec<(&str, Policy)> = Vec::new();
    let mut why_none = Vec::new();
    for domain in parents(&names.from) {
        let host = format!("_dmarc.{domain}");
        let records = txt(resolver, &host).await?;
        let policies: Vec<Result<Policy, String>> = records.texts.iter().filter_map(|r| Policy::parse(r)).collect();
        match policies.as_slice() {
            [] => why_none.push(records.why_none(&host)),
            [Ok(policy)] => found.push((domain, policy.clone())),
            _ if !found.is_empty() => {} // above a record that is read, one that is not changes nothing
            [Err(e)] => {
                let finding = format!("the DMARC record at _dmarc.{domain} {e}");
                return Ok(vec![Finding::problem(Area::Dns, finding, NO_POLICY, publish())]);
            }
            several => {
                let finding =
                    format!("{} DMARC records at _dmarc.{domain}; receivers heed none of them", several.len());
                return Ok(vec![Finding::problem(Area::Dns, finding, NO_POLICY, "keep one of them")]);
            }
        }
    }
    let organisation = organisation(&names.from, &found);
    // §6.6.3: the record of the domain itself, else that of its organisation; nobody looks in between. RFC 9091: else that of the suffix.
    let of = |domain: &str| found.iter().find(|(d, _)| *d == domain);
    let Some((at, policy)) = of(&names.from).or_else(|| of(organisation)).or_else(|| suffix(&found)) else {
        let finding = format!("{} has no DMARC record {}", names.from, why_none.join(" "));
        return Ok(vec![Finding::problem(Area::Dns, finding, NO_POLICY, publish())]);
    };
    let told = format!("DMARC of {at}: policy {}", policy.for_mail_from(&names.from, at));
    let mut findings = vec![if policy.reports {
        Finding::ok(Area::Dns, told)
    } else {
        let meaning = "nobody is told who writes in this domain's name, or which of your own mail fails";
        let remedy = format!("add rua=mailto:… to the record at _dmarc.{at}");
        Finding::warn(Area::Dns, format!("{told}, and its reports go to nobody (no `rua=`)"), meaning, remedy)
    }];
    findings.push(alignment(names, policy, organisation));
    Ok(findings)
}

/// Whether a receiver that verified us finds the From domain confirmed (§3.1).
fn alignment(names: &Names, policy: &Policy, organisation: &str) -> Finding {
    let from = names.from.as_str();
    let aligned = |domain: &str, strict: bool| domain == from || (!strict && is_within(domain, organisation));
    let spf = aligned(&names.envelope, policy.strict_spf);
    let (dkim, astray): (Vec<&str>, Vec<&str>) =
        names.keys.iter().map(|(i, _)| i.domain.as_str()).partition(|d| aligned(d, policy.strict_dkim));
    let strictness = |strict| if strict { "strict" } else { "relaxed" };
    let unconfirmed = "receivers cannot tie the mail to the From domain, and do with it what the policy says";
    let remedy = format!("let `dkim: domain` or `sender.bounce_domain` be {from} or lie in {organisation}");
    match (dkim.as_slice(), spf) {
        ([], false) => {
            let finding = format!(
                "neither the signatures ({}) nor the return path ({}) align with From ({from})",
                if astray.is_empty() { "none".to_owned() } else { astray.join(", ") },
                names.envelope,
            );
            Finding::problem(Area::Dns, finding, unconfirmed, remedy)
        }
        ([], true) => {
            let finding =
                format!("only the return path ({}) aligns with From ({from}), no signature does", names.envelope);
            let meaning = "mail that is forwarded fails DMARC, because SPF does not survive that";
            Finding::warn(Area::Dns, finding, meaning, format!("sign with a key of {from}"))
        }
        ([domain, ..], spf) => {
            let signature = format!("the signature of {domain} ({})", strictness(policy.strict_dkim));
            let path = format!(" and the return path ({})", strictness(policy.strict_spf));
            let (path, verb) = if spf { (path.as_str(), "align") } else { ("", "aligns") };
            Finding::ok(Area::Dns, format!("{signature}{path} {verb} with From ({from})"))
        }
    }
}

/// Nearest of the domains with a record that say they are public suffixes.
fn suffix<'f, 'd>(found: &'f [(&'d str, Policy)]) -> Option<&'f (&'d str, Policy)> {
    found.iter().find(|(_, policy)| policy.public_suffix)
}

/// The organisational domain of one whose own and parents' records were `found`, in this order.
fn organisation<'d>(from: &'d str, found: &[(&'d str, Policy)]) -> &'d str {
    match suffix(found) {
        Some((suffix, _)) => parents(from).take_while(|domain| domain != suffix).last().unwrap_or(from),
        None => found.last().map_or(from, |(domain, _)| domain),
    }
}

/// A domain and its parents, the top-level domain left out.
fn parents(domain: &str) -> impl Iterator<Item = &str> {
    fn parent<'d>(domain: &&'d str) -> Option<&'d str> {
        domain.split_once('.').map(|(_, parent)| parent).filter(|parent| parent.contains('.'))
    }
    std::iter::successors(Some(domain), parent).take(PARENTS_MAX)
}

/// Whether a domain is another or one below it.
fn is_within(domain: &str, other: &str) -> bool {
    domain == other || domain.strip_suffix(other).is_some_and(|below| below.ends_with('.'))
}
