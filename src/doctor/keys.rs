//! DKIM keys in the DNS: whether each is published where receivers look, and is ours.

use super::resolver::{Resolver, Unanswered, txt};
use super::{Area, Finding};
use crate::dkim::{self, Identity, PublicKey, Record};

const BROKEN: &str = "receivers cannot verify the signature, and treat the mail as unsigned or worse";

/// The record of one key.
pub(super) async fn look(
    resolver: &dyn Resolver,
    identity: &Identity,
    key: &PublicKey,
) -> Result<Vec<Finding>, Unanswered> {
    let host = dkim::host(&identity.selector, &identity.domain);
    let records = txt(resolver, &host).await?;
    let publish = || format!("publish this TXT record at {host}: {}", dkim::quoted(&dkim::text(key)));
    let problem = |finding: String| Ok(vec![Finding::problem(Area::Dns, finding, BROKEN, publish())]);
    let [text] = records.texts.as_slice() else {
        return problem(match records.texts.len() {
            0 => format!("no DKIM key at {host} {}", records.why_none(&host)),
            n => format!("{n} TXT records at {host}, where one belongs"),
        });
    };
    let record = match Record::parse(text) {
        Ok(record) => record,
        Err(e) => return problem(format!("the record at {host} {e}")),
    };
    if record.key.is_empty() {
        return problem(format!("the DKIM key at {host} is withdrawn (its `p=` is empty)"));
    }
    if !record.publishes(key) {
        return problem(format!("the DKIM key at {host} is not the one that signs here"));
    }
    let kind = key.algorithm.word();
    if record.testing {
        let finding = format!("DKIM of {host}: the {kind} key is ours, but the record says it is a test (t=y)");
        let meaning = "receivers may treat signed mail as unsigned";
        return Ok(vec![Finding::warn(Area::Dns, finding, meaning, publish())]);
    }
    Ok(vec![Finding::ok(Area::Dns, format!("DKIM of {host}: the {kind} key is ours"))])
}

/// Nothing signs.
pub(super) fn none() -> Finding {
    let meaning = "unless your mail provider signs for the From domain, Gmail and Yahoo refuse bulk mail, and forwarded mail fails DMARC";
    let remedy = "make keys with `okaeri dkim key FILE` and name them under `dkim:` in okaeri.yaml, or see that your provider signs";
    Finding::warn(Area::Dns, "mail leaves here without a DKIM signature", meaning, remedy)
}
