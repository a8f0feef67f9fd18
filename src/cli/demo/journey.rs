//! What happened on the demo's way, gathered for the terminal, the page and machines. Money is minor units of the shop's currency.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use serde_json::json;

use super::super::Failure;
use super::super::drained::Drained;
use super::letters::Letter;
use super::shop::ShopTotals;
use crate::args;
use crate::campaign::{Library, Status};
use crate::clock::Millis;
use crate::data::ImportTotals;
use crate::db::{Db, DbResult, bucket_ranges};
use crate::money::{grouped, minor_digits};
use crate::profile::{Rfm, Stage};
use crate::queue::status::{self, Finding};
use crate::report::{self, CampaignReport};
use crate::segment::{Segment, Size};
use crate::settings::Settings;

/// Buckets whose people one statement looks at.
const BUCKETS_PER_STATEMENT: i64 = 256;

/// The whole of it.
pub(super) struct Journey {
    pub shop_name: String,
    pub currency: String,
    pub dir: PathBuf,
    pub shop: ShopTotals,
    pub imports: Vec<ImportTotals>,
    pub stages: Vec<(Stage, i64)>,
    pub everyone: Size,
    pub segments: Vec<Standing>,
    pub campaigns: Vec<Told>,
    pub drained: Drained,
    pub proof: Proof,
    pub everybody: Everybody,
    pub letters: Vec<Letter>,
    pub took: Took,
}

/// A segment and how large it is.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Standing {
    #[serde(rename = "segment")]
    pub name: String,
    pub title: String,
    pub people: i64,
    pub revenue: i64,
}

/// A campaign and its report.
#[derive(Debug, Serialize)]
pub(super) struct Told {
    pub title: String,
    #[serde(flatten)]
    pub report: CampaignReport,
}

/// How long each part took.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Took {
    pub import: Duration,
    pub profile: Duration,
    pub models: Duration,
    pub segments: Duration,
    pub plan: Duration,
    pub send: Duration,
    pub verify: Duration,
}

/// What was looked for and should not be there.
#[derive(Debug, Clone)]
pub(super) struct Proof {
    /// Rules of the ledger that are broken.
    pub findings: Vec<Finding>,
    /// What the strict mail server held against the conversation.
    pub complaints: Vec<String>,
}

/// What today's campaigns meant for one customer; the strongest of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Light {
    /// In no campaign's audience.
    Dark,
    /// In an audience, and left alone for a reason.
    LeftAlone,
    /// Would have been mailed; held out to measure what mail causes.
    Withheld,
    /// A mail arrived.
    Mailed,
}

/// Every customer once, by bucket: an order that has nothing to do with who they are.
#[derive(Debug, Clone, Default)]
pub(super) struct Everybody(pub Vec<(Light, i64)>);

impl Standing {
    pub fn of(segment: &Segment, size: Size) -> Standing {
        Standing {
            name: segment.name.clone(),
            title: segment.title.clone(),
            people: size.people,
            revenue: size.revenue,
        }
    }
}

impl Proof {
    pub fn holds(&self) -> bool {
        self.findings.is_empty() && self.complaints.is_empty()
    }

    pub fn rules() -> usize {
        status::rules().count()
    }
}

impl Took {
    pub fn all(&self) -> Duration {
        self.import + self.profile + self.models + self.segments + self.plan + self.send + self.verify
    }
}

impl Everybody {
    pub async fn load(db: &Db) -> DbResult<Everybody> {
        let sql = "SELECT COALESCE(d.light, CASE WHEN s.customer_id IS NULL THEN 0 ELSE 1 END), COALESCE(p.revenue, 0) \
                   FROM customer c \
                   LEFT JOIN profile p ON p.bucket = c.bucket AND p.customer_id = c.customer_id \
                   LEFT JOIN (SELECT bucket, customer_id, \
                                     MAX(CASE state WHEN 'accepted' THEN 3 WHEN 'withheld' THEN 2 ELSE 1 END) AS light \
                              FROM delivery WHERE bucket >= $1 AND bucket <= $2 GROUP BY bucket, customer_id) d \
                     ON d.bucket = c.bucket AND d.customer_id = c.customer_id \
                   LEFT JOIN (SELECT DISTINCT bucket, customer_id FROM skip WHERE bucket >= $1 AND bucket <= $2) s \
                     ON s.bucket = c.bucket AND s.customer_id = c.customer_id \
                   WHERE c.bucket >= $1 AND c.bucket <= $2 ORDER BY c.bucket, c.customer_id";
        let light =
            |word| [Light::Dark, Light::LeftAlone, Light::Withheld, Light::Mailed][usize::min(word as usize, 3)];
        let mut everybody = Vec::new();
        for (first, last) in bucket_ranges(BUCKETS_PER_STATEMENT) {
            let rows: Vec<(i64, i64)> = db.fetch_all(sql, args![first, last]).await?;
            everybody.extend(rows.into_iter().map(|(word, revenue)| (light(word), revenue)));
        }
        Ok(Everybody(everybody))
    }

    /// The people of one light, and what they have spent with the shop.
    pub fn of(&self, light: Light) -> Size {
        let inside = self.0.iter().filter(|(l, _)| *l == light);
        inside
            .fold(Size::default(), |sum, (_, revenue)| Size { people: sum.people + 1, revenue: sum.revenue + revenue })
    }
}

impl Journey {
    pub fn letters_of(&self, campaign: &str) -> impl Iterator<Item = &Letter> {
        self.letters.iter().filter(move |l| l.campaign == campaign)
    }

    /// Part of all the shop's revenue, 0 to 1.
    pub fn revenue_share(&self, revenue: i64) -> f64 {
        share(revenue, self.everyone.revenue)
    }

    pub fn to_json(&self, page: &Path) -> serde_json::Value {
        let of = |light| {
            let size = self.everybody.of(light);
            json!({ "people": size.people, "revenue": size.revenue })
        };
        json!({
            "dir": self.dir,
            "page": page,
            "mails": self.dir.join(super::MAILS),
            "currency": self.currency,
            "imports": self.imports,
            "people": self.everyone.people,
            "revenue": self.everyone.revenue,
            "lifecycle": self.stages.iter().map(|(s, n)| (s.name().to_owned(), json!(n))).collect::<serde_json::Map<_, _>>(),
            "segments": self.segments,
            "campaigns": self.campaigns,
            "delivery": self.drained.json(),
            "reached": { "mailed": of(Light::Mailed), "withheld": of(Light::Withheld), "left_alone": of(Light::LeftAlone), "not_meant": of(Light::Dark) },
            "findings": self.proof.findings,
            "complaints": self.proof.complaints,
            "milliseconds": self.took.all().as_millis() as u64,
        })
    }
}

/// Customers by stage, in the order of a customer's life; stages without anybody are left out.
pub(super) fn stages(grid: &BTreeMap<(Option<Rfm>, Stage), i64>) -> Vec<(Stage, i64)> {
    let people = |stage| grid.iter().filter(|((_, s), _)| *s == stage).map(|(_, n)| n).sum::<i64>();
    Stage::ALL.into_iter().map(|s| (s, people(s))).filter(|(_, n)| *n > 0).collect()
}

/// The reports of all live campaigns, in the order they were planned.
pub(super) async fn reports(
    db: &Db,
    settings: &Settings,
    library: &Library,
    as_of: Millis,
) -> Result<Vec<Told>, Failure> {
    let mut live: Vec<_> = library.iter().filter(|c| c.status == Status::Live).collect();
    live.sort_by_key(|c| c.priority);
    let mut told = Vec::new();
    for campaign in live {
        let report = report::campaign(db, settings, &campaign.key, None, as_of).await?;
        told.push(Told { title: campaign.title.clone(), report });
    }
    Ok(told)
}

/// An amount to the whole unit, for places where cents only distract: `12,345 USD`.
pub(super) fn amount(minor: i64, currency: &str) -> String {
    let unit = 10f64.powi(minor_digits(currency) as i32);
    format!("{} {currency}", grouped((minor as f64 / unit).round() as i64))
}

pub(super) fn share(part: i64, whole: i64) -> f64 {
    if whole <= 0 { 0.0 } else { (part as f64 / whole as f64).clamp(0.0, 1.0) }
}

/// `8.1 %`; whole percents from ten on.
pub(super) fn percent(share: f64) -> String {
    let percents = 100.0 * share;
    if percents > 0.0 && percents < 9.95 { format!("{percents:.1} %") } else { format!("{percents:.0} %") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_and_shares_read_well() {
        assert_eq!(amount(1_234_567, "USD"), "12,346 USD");
        assert_eq!(amount(1_234_567, "JPY"), "1,234,567 JPY");
        assert_eq!(percent(share(1, 3)), "33 %");
        assert_eq!(percent(share(81, 1000)), "8.1 %");
        assert_eq!(percent(share(5, 0)), "0 %");
    }

    #[test]
    fn people_are_counted_by_what_the_day_meant_for_them() {
        let everybody =
            Everybody(vec![(Light::Mailed, 5), (Light::Dark, 7), (Light::Mailed, 1), (Light::LeftAlone, -3)]);
        assert_eq!(everybody.of(Light::Mailed), Size { people: 2, revenue: 6 });
        assert_eq!(everybody.of(Light::LeftAlone), Size { people: 1, revenue: -3 });
        assert_eq!(everybody.of(Light::Withheld), Size::default());
    }
}
