//! What rules need to know beside the customer, asked of the database once per evaluation: event numbers, RFM cut points, the values at
//! percentiles, and where picks draw the line.
//!
//! Percentiles are drawn once and kept in table `percentile` ([`thresholds`]), so that every look of a day sees the same line; they are
//! redrawn when the local day or more than a twentieth of the profiles changed.

use std::collections::{BTreeMap, HashMap};

use ring::digest;

use super::evaluate::BUCKETS_PER_STATEMENT;
use super::rule::{Leaf, Op, Pick, Rule, Sample, Take, Top};
use super::sql::{self, Scope};
use crate::args;
use crate::db::{BUCKETS, Binds, Conflict, Db, DbResult, Reads, Value};
use crate::profile::fields::{Field, SCORE_PREFIX};
use crate::profile::quantile::{self, Population};
use crate::profile::{self, EVERYONE, Moment, derived_sql};

/// A rule by name, with who of its members is picked.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Defined {
    pub rule: Rule,
    pub pick: Pick,
}

/// What rules need to be decided, beside the customer.
#[derive(Debug, Clone)]
pub(super) struct Resolved {
    /// The picked segments and everything they refer to.
    pub defined: BTreeMap<String, Defined>,
    pub moment: Moment,
    /// Event name → its number in the database.
    pub name_ids: HashMap<String, i64>,
    thresholds: Vec<Threshold>,
    /// Segments with a pick → where it draws the line.
    pub drawn: BTreeMap<String, Drawn>,
}

/// The value at a percentile.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Threshold {
    pub field: &'static Field,
    pub side: Side,
    pub percent: f64,
    /// Absent before the first buyer.
    pub value: Option<f64>,
}

/// Which value stands at a percentile where many share one: equal values are in or out together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// At least the percentage of all buyers lies below it, or at it: for `gte` and its opposite `lt`.
    Low,
    /// The last of that share: for `lte` and its opposite `gt`.
    High,
}

/// Where a pick draws the line.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Drawn {
    /// Absent: not asked for. `Some(None)`: nobody has the number.
    pub top: Option<Option<Edge>>,
    /// The buckets of the sample.
    pub cells: Option<Vec<i64>>,
}

/// The last one picked.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Edge {
    pub by: &'static Field,
    pub value: f64,
    pub bucket: i64,
    pub customer_id: String,
}

impl Side {
    fn of(op: Op) -> Side {
        match op {
            Op::Gte | Op::Lt => Side::Low,
            Op::Lte | Op::Gt => Side::High,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Side::Low => "low",
            Side::High => "high",
        }
    }

    /// The rank among `n` values, from 0.
    fn rank(self, n: i64, percent: f64) -> i64 {
        let share = n as f64 * percent / 100.0;
        match self {
            Side::Low => (share + 1e-9).floor() as i64,
            Side::High => (share - 1e-9).ceil() as i64 - 1,
        }
    }
}

impl Resolved {
    /// Ask the database.
    pub async fn ask(db: &Db, defined: BTreeMap<String, Defined>, moment: Moment) -> DbResult<Resolved> {
        let rows: Vec<(String, i64)> = db.fetch_all("SELECT name, name_id FROM event_name", vec![]).await?;
        let asked = percentiles_of(defined.values().map(|d| &d.rule));
        let thresholds = thresholds(db, asked, &moment).await?;
        let name_ids = rows.into_iter().collect();
        let mut resolved = Resolved { defined, moment, name_ids, thresholds, drawn: BTreeMap::new() };
        for name in resolved.in_order() {
            let pick = resolved.defined[&name].pick.clone();
            if pick != Pick::default() {
                let drawn = draw(db, &resolved, &name, &pick).await?;
                resolved.drawn.insert(name, drawn);
            }
        }
        Ok(resolved)
    }

    /// Without a database: no percentile is known and no pick drawn.
    pub fn unasked(defined: BTreeMap<String, Defined>, moment: Moment) -> Resolved {
        Resolved { defined, moment, name_ids: HashMap::new(), thresholds: Vec::new(), drawn: BTreeMap::new() }
    }

    /// The rule of a segment, before its pick.
    pub fn rule(&self, name: &str) -> &Rule {
        &self.defined.get(name).expect("references are checked at load").rule
    }

    /// The value at a percentile; `None` when nobody has bought.
    pub fn threshold(&self, field: &Field, op: Op, percent: f64) -> Option<f64> {
        let side = Side::of(op);
        let found = self.thresholds.iter().find(|t| *t.field == *field && t.side == side && t.percent == percent);
        found.and_then(|t| t.value)
    }

    /// All percentiles.
    pub fn thresholds(&self) -> &[Threshold] {
        &self.thresholds
    }

    /// The names, whoever is referred to before whoever refers.
    fn in_order(&self) -> Vec<String> {
        fn visit(name: &str, all: &BTreeMap<String, Defined>, out: &mut Vec<String>) {
            if out.iter().any(|n| n == name) {
                return;
            }
            for reference in all[name].rule.references() {
                visit(&reference.name, all, out);
            }
            out.push(name.to_owned());
        }
        let mut out = Vec::new();
        for name in self.defined.keys() {
            visit(name, &self.defined, &mut out);
        }
        out
    }

    /// Whether a segment, or any that it refers to, has a pick.
    pub fn is_picked(&self, name: &str) -> bool {
        let defined = &self.defined[name];
        defined.pick != Pick::default() || defined.rule.references().any(|r| self.is_picked(&r.name))
    }
}

/// The percentiles that rules ask for, each once.
fn percentiles_of<'r>(rules: impl Iterator<Item = &'r Rule>) -> Vec<Threshold> {
    let mut out: Vec<Threshold> = Vec::new();
    for leaf in rules.flat_map(Rule::leaves) {
        let Leaf::Percentile { field, any_of } = leaf else { continue };
        for (op, percent) in any_of.iter().flat_map(|s| &s.0) {
            let wanted = Threshold { field, side: Side::of(*op), percent: *percent, value: None };
            if !out.contains(&wanted) {
                out.push(wanted);
            }
        }
    }
    out
}

/// What a field is called in table `percentile`.
fn stored_name(field: &Field) -> String {
    if field.is_score() { format!("{SCORE_PREFIX}{}", field.name) } else { field.name.to_owned() }
}

/// Fill in values: those drawn today, and the others drawn now and kept.
async fn thresholds(db: &Db, mut asked: Vec<Threshold>, moment: &Moment) -> DbResult<Vec<Threshold>> {
    if asked.is_empty() {
        return Ok(asked);
    }
    let changes = profile::changes_with_scores(db).await?;
    let kept: Vec<(String, String, f64, Option<f64>, i64, i64)> = db
        .fetch_all(
            "SELECT field, rank_of, percent, value, buyers, profile_changes FROM percentile WHERE day = $1",
            args![moment.today],
        )
        .await?;
    let find = |t: &Threshold| {
        kept.iter()
            .find(|(field, side, percent, ..)| {
                *field == stored_name(t.field) && side == t.side.word() && *percent == t.percent
            })
            .filter(|(.., buyers, then)| (changes - then) * profile::REDRAWN_AFTER <= *buyers)
            .map(|(_, _, _, value, ..)| *value)
    };
    let mut missing: Vec<&mut Threshold> = Vec::new();
    for threshold in &mut asked {
        match find(threshold) {
            Some(value) => threshold.value = value,
            None => missing.push(threshold),
        }
    }
    let mut rows = Vec::new();
    while let Some(first) = missing.first() {
        let field = first.field;
        let (of_field, others): (Vec<_>, Vec<_>) = missing.into_iter().partition(|t| *t.field == *field);
        missing = others;
        let mut binds = Binds::after(2);
        let derived = derived_sql(moment, EVERYONE, &mut binds);
        let mut from =
            format!("({derived}) p JOIN customer c ON c.bucket = p.bucket AND c.customer_id = p.customer_id");
        if field.is_score() {
            from.push_str(" JOIN score sc ON sc.bucket = p.bucket AND sc.customer_id = p.customer_id");
        }
        let rows_of = format!("{from} WHERE c.bucket >= $1 AND c.bucket <= $2 AND p.orders > 0");
        let population = Population { rows: &rows_of, values: binds.into_values(), number: field.sql };
        let ranks = |n: i64| of_field.iter().map(|t| t.side.rank(n, t.percent)).collect();
        let (buyers, values) = quantile::values_at(db, &population, ranks).await?;
        for (n, threshold) in of_field.into_iter().enumerate() {
            threshold.value = values.get(n).copied();
            rows.extend([Value::from(stored_name(field)), threshold.side.word().into(), threshold.percent.into()]);
            rows.extend([moment.today.into(), threshold.value.into(), buyers.into(), changes.into()]);
        }
    }
    if !rows.is_empty() {
        let mut tx = db.begin().await?;
        let columns = ["field", "rank_of", "percent", "day", "value", "buyers", "profile_changes"];
        tx.insert_rows("percentile", &columns, rows, Conflict::Update { key: &["field", "rank_of", "percent"] })
            .await?;
        tx.commit().await?;
    }
    Ok(asked)
}

async fn draw(db: &Db, resolved: &Resolved, name: &str, pick: &Pick) -> DbResult<Drawn> {
    let mut drawn = Drawn { top: None, cells: pick.sample.as_ref().map(cells) };
    if let Some(top) = &pick.top {
        drawn.top = Some(edge(db, resolved, name, top).await?);
    }
    Ok(drawn)
}

/// The buckets of a sample: dealt out by a hash of the salt, as many as the share asks for.
pub(super) fn cells(sample: &Sample) -> Vec<i64> {
    let hash = |bucket: i64| {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(sample.salt.as_bytes());
        context.update(&bucket.to_be_bytes());
        <[u8; 8]>::try_from(&context.finish().as_ref()[..8]).expect("a digest has 32 bytes")
    };
    let mut all: Vec<i64> = (0..BUCKETS).collect();
    all.sort_by_cached_key(|bucket| hash(*bucket));
    let taken = ((sample.share * BUCKETS as f64).round() as usize).clamp(1, BUCKETS as usize);
    all.truncate(taken);
    all.sort_unstable();
    all
}

/// The last of the top: two passes over the members, one for the numbers and one for those who share the last one's.
async fn edge(db: &Db, resolved: &Resolved, name: &str, top: &Top) -> DbResult<Option<Edge>> {
    let rule = [(0, resolved.rule(name))];
    let statement = sql::statement_of(db.dialect(), resolved, Scope::Everyone, &rule, Some(top.by));
    let ranges = || (0..BUCKETS).step_by(BUCKETS_PER_STATEMENT as usize).map(|b| (b, b + BUCKETS_PER_STATEMENT - 1));
    let counting = format!("SELECT value, COUNT(*) FROM ({}) found WHERE bits <> 0 GROUP BY value", statement.sql);
    let mut values: Vec<(f64, i64)> = Vec::new();
    let mut members = 0;
    for (first, last) in ranges() {
        let rows: Vec<(Option<f64>, i64)> =
            db.fetch_planned(Reads::Everybody, &counting, statement.values_for(first, last)).await?;
        for (value, people) in rows {
            members += people;
            values.extend(value.map(|v| (v, people)));
        }
    }
    let wanted = match top.take {
        Take::Count(count) => count,
        Take::Share(share) => (members as f64 * share - 1e-9).ceil() as i64,
    };
    values.sort_by(|a, b| b.0.total_cmp(&a.0));
    // From the highest down, until enough people are counted.
    let mut left = wanted;
    let mut last = None;
    for same in values.chunk_by(|a, b| a.0 == b.0) {
        let people: i64 = same.iter().map(|v| v.1).sum();
        if people >= left {
            last = Some(same[0].0);
            break;
        }
        left -= people;
    }
    let Some(value) = last else {
        // Fewer than that have the number: all of them.
        let least = values.last().map(|v| v.0);
        return Ok(least.map(|value| Edge { by: top.by, value, bucket: BUCKETS, customer_id: String::new() }));
    };
    let mut values_bound = statement.values.clone();
    values_bound.push(value.into());
    let sharing = format!(
        "SELECT bucket, customer_id FROM ({}) found WHERE bits <> 0 AND value = ${}",
        statement.sql,
        values_bound.len()
    );
    for (first, last) in ranges() {
        (values_bound[0], values_bound[1]) = (first.into(), last.into());
        let mut people: Vec<(i64, String)> = db.fetch_planned(Reads::Everybody, &sharing, values_bound.clone()).await?;
        if left > people.len() as i64 {
            left -= people.len() as i64;
            continue;
        }
        people.sort_unstable();
        let (bucket, customer_id) = people.swap_remove((left - 1) as usize);
        return Ok(Some(Edge { by: top.by, value, bucket, customer_id }));
    }
    // The members changed between the two passes: whoever shares the number is in.
    Ok(Some(Edge { by: top.by, value, bucket: BUCKETS, customer_id: String::new() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_pinned_and_unlike_for_other_salts() {
        let of = |share, salt: &str| cells(&Sample { share, salt: salt.to_owned() });
        let half = of(0.5, "spring");
        assert_eq!((half.len(), &half[..4]), (512, &[0, 1, 4, 6][..]));
        assert_eq!(of(0.00001, "spring").len(), 1);
        let shared = of(0.5, "autumn").iter().filter(|b| half.contains(b)).count();
        assert!((200..312).contains(&shared), "{shared} of 512 in both");
        assert!(of(0.25, "spring").iter().all(|b| half.contains(b)), "a smaller share is part of the larger");
    }

    #[test]
    fn ranks_of_percentiles_leave_nobody_between_the_two_sides() {
        for n in [1, 2, 3, 7, 10, 99, 100] {
            for percent in [0.0, 20.0, 33.3, 50.0, 80.0, 100.0] {
                let (low, high) = (Side::Low.rank(n, percent), Side::High.rank(n, percent));
                assert!(low - high <= 1 && low >= high, "{n} {percent}: {low} {high}");
            }
        }
    }
}
