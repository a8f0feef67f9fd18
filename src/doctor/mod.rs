//! Doctor: what stands between a project and the inbox.
//!
//! Each check looks at one thing and tells it as [`Finding`]s: how it is, what that means, what to do. Here are the checks of the DNS,
//! which ask through a [`Resolver`]; what else `okaeri doctor` looks at needs no more than the rooms that use it (`cli/doctor.rs`).
//! Nothing is changed and no mail is sent.
//!
//! | file | |
//! |---|---|
//! | `resolver.rs` | the seam to the DNS |
//! | `spf.rs`, `senders.rs` | who may send for the envelope's domain (RFC 7208), and whether our mail servers may |
//! | `keys.rs` | whether our public keys are where receivers look (RFC 6376) |
//! | `dmarc.rs` | the policy of the From domain, and alignment (RFC 7489) |
//! | `mx.rs` | whether bounces find their way back (RFC 5321) |

mod dmarc;
mod keys;
mod mx;
mod resolver;
mod senders;
mod spf;

pub use resolver::{Answer, Dns, Kind, Record, Resolver, Unanswered};

use std::future::ready;

use futures_util::FutureExt as _;
use futures_util::future::join_all;

use crate::dkim::{Identity, PublicKey};

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// As it should be.
    Ok,
    /// Mail goes out, and something makes it go worse than it could.
    Warn,
    /// Nobody knows: what would tell did not answer. That is not the same as that there is nothing.
    Unclear,
    /// Mail does not go out, or is refused or thrown away.
    Problem,
}

/// What was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Area {
    Settings,
    Secrets,
    Database,
    MailServer,
    Dns,
}

impl Area {
    /// Its heading.
    pub fn word(self) -> &'static str {
        match self {
            Area::Settings => "settings",
            Area::Secrets => "secrets",
            Area::Database => "database",
            Area::MailServer => "mail server",
            Area::Dns => "DNS",
        }
    }
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    pub area: Area,
    pub status: Status,
    /// How it is, in one line.
    pub finding: String,
    /// What follows from that.
    pub meaning: Option<String>,
    /// What to do about it.
    pub remedy: Option<String>,
    /// A problem of the moment, not of the project: something did not answer, and may when asked again.
    pub unavailable: bool,
}

impl Finding {
    /// All is well.
    pub fn ok(area: Area, finding: impl Into<String>) -> Finding {
        Finding { area, status: Status::Ok, finding: finding.into(), meaning: None, remedy: None, unavailable: false }
    }

    /// The same, of one among several.
    pub fn of(self, whom: &str) -> Finding {
        Finding { finding: format!("{whom}: {}", self.finding), ..self }
    }

    /// It could be better.
    pub fn warn(area: Area, finding: impl Into<String>, meaning: &str, remedy: impl Into<String>) -> Finding {
        Finding { status: Status::Warn, ..Finding::problem(area, finding, meaning, remedy) }
    }

    /// It must be mended.
    pub fn problem(area: Area, finding: impl Into<String>, meaning: &str, remedy: impl Into<String>) -> Finding {
        let (meaning, remedy) = (Some(meaning.to_owned()), Some(remedy.into()));
        Finding { status: Status::Problem, meaning, remedy, ..Finding::ok(area, finding) }
    }

    /// How it is could not be asked.
    pub fn unclear(area: Area, finding: impl Into<String>, meaning: &str, remedy: impl Into<String>) -> Finding {
        Finding { status: Status::Unclear, ..Finding::unavailable(area, finding, meaning, remedy) }
    }

    /// It does not answer now, and nothing works without it.
    pub fn unavailable(area: Area, finding: impl Into<String>, meaning: &str, remedy: impl Into<String>) -> Finding {
        Finding { unavailable: true, ..Finding::problem(area, finding, meaning, remedy) }
    }
}

/// The names that mail of a project goes out under.
#[derive(Debug, Clone)]
pub struct Names {
    /// The domain of the From header, in ASCII.
    pub from: String,
    /// The domain of the return path: what SPF is asked of, and where bounces go.
    pub envelope: String,
    /// The hosts of the mail servers that mail is handed to.
    pub servers: Vec<String>,
    /// Who signs, and with what.
    pub keys: Vec<(Identity, PublicKey)>,
}

/// What the DNS says of these names. All is asked side by side, so that a name server that is silent costs its timeout once.
pub async fn dns(resolver: &dyn Resolver, names: &Names) -> Vec<Finding> {
    let mut checks = vec![spf::look(resolver, names).boxed()];
    checks.extend(names.keys.iter().map(|(identity, key)| keys::look(resolver, identity, key).boxed()));
    if names.keys.is_empty() {
        checks.push(ready(Ok(vec![keys::none()])).boxed());
    }
    checks.push(dmarc::look(resolver, names).boxed());
    checks.push(mx::look(resolver, &names.envelope).boxed());
    join_all(checks).await.into_iter().flat_map(|looked| looked.unwrap_or_else(|e| vec![silent(&e)])).collect()
}

/// A name that the DNS did not answer for.
fn silent(e: &Unanswered) -> Finding {
    let meaning = "whether what stands there is right is not known";
    Finding::unclear(Area::Dns, e.to_string(), meaning, "run again later; --dns ADDRESS asks another name server")
}

#[cfg(test)]
mod tests;
