//! Who is in which segment, kept in the database and brought up to date: all segments of a project in few passes over the data.
//!
//! Each rule has a *bit*, by a digest of what it says and hangs on, so another version of the project that looks at the same database
//! has bits of its own. [`refresh`] decides a rule that is new, or whose members are of another day, for everybody; and the others only
//! for customers whose data changed or for whom time moved an edge within the day ([`edges`](super::edges)). The outcome equals deciding
//! everything anew; a property test holds it to that. Percentiles and picks draw lines through everybody: when a line moves, those
//! between the old and the new one are looked at again; segments with a pick, and those that refer to one, are decided anew each time.
//!
//! Owns the tables segment_rule, segment_bits, segment_now and segment_size, and empties segment_due. One process at a time refreshes.
//! While it is at work the rules have no `as_of`, so whoever reads sees that there is nothing to rely on; a refresh that is cut off leaves
//! it so, and the next one begins anew.

mod walk;

use std::collections::BTreeMap;

use futures_util::future::try_join;
use ring::digest;

use super::edges;
use super::evaluate::{Member, Size, definitions, statements};
use super::library::Library;
use super::resolve::{Defined, Resolved};
use super::sql::Scope;
use crate::args;
use crate::clock::{self, DAY, MINUTE, Millis};
use crate::db::{Conflict, Db, DbResult, Dialect, Lease, Tx, Value};
use crate::profile::{self, Moment};
use crate::settings::Settings;
use crate::token::random_token;
use walk::{Job, Work};

/// Rules in one word of bits: those of a BIGINT, with its sign and one more kept free.
const WORD: i64 = 62;
/// The version of what a digest is made of; another one has everything decided anew.
const DIGEST_VERSION: &str = "1";
/// A rule that nobody looked at for so long gives its bit back.
const UNUSED_FOR: Millis = 30 * DAY;
/// How long the right to refresh holds unless it is renewed.
const HOLD: Millis = MINUTE;
/// The entries of table `meta`: whose turn the bits are of, and what they were decided with.
const META_TURN: &str = "segment_turn";
const META_LINES: &str = "segment_lines";

/// Members as they were kept at one instant.
#[derive(Debug, Clone)]
pub struct Kept {
    /// Segment → its bit.
    bits: BTreeMap<String, i64>,
    turn: String,
    as_of: Millis,
    sizes: BTreeMap<String, Size>,
    everyone: Size,
    totals: Totals,
}

/// What a refresh did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Totals {
    /// Rules decided for everybody.
    pub decided_anew: u64,
    /// Rules brought up to date.
    pub brought_up: u64,
    /// Customers looked at for the latter.
    pub looked_at: u64,
}

/// A rule as it stands in the database.
#[derive(Debug, Clone)]
struct Stored {
    bit: i64,
    as_of: Option<Millis>,
    size: Size,
}

/// Bring all segments of a library to an instant. `None` while another process is at it, and for a login that may only read.
pub async fn refresh(db: &Db, library: &Library, settings: &Settings, as_of: Millis) -> DbResult<Option<Kept>> {
    let lease = match Lease::take(db, "segments", HOLD, clock::now()).await {
        Ok(Some(lease)) => lease,
        Ok(None) => return Ok(None),
        Err(e) if e.is_denied() => return Ok(None),
        Err(e) => return Err(e),
    };
    let kept = refresh_alone(db, library, settings, as_of, &lease).await;
    lease.release(db).await?;
    kept
}

async fn refresh_alone(
    db: &Db,
    library: &Library,
    settings: &Settings,
    as_of: Millis,
    lease: &Lease,
) -> DbResult<Option<Kept>> {
    let names: Vec<&str> = library.names().collect();
    let defined =
        definitions(library, names.iter().map(|n| (*n).to_owned()).collect()).expect("all names are the library's own");
    let moment = Moment::at(db, settings, as_of).await?;
    let epoch = profile::epoch(db).await?;
    let resolved = Resolved::ask(db, defined, moment).await?;
    let lines = edges::Lines::of(&resolved, epoch);
    let before = edges::Lines::load(db, META_LINES).await?;
    let turn = random_token();
    let stored = begin(db, &names, &resolved, settings, &turn, clock::now()).await?;

    let is_fresh = |name: &str, stored: &Stored| {
        let same_day = |then: Millis| then <= as_of && resolved.moment.same_day(then);
        stored.as_of.is_some_and(same_day)
            && before.as_ref().is_some_and(|b| b.epoch == epoch && b.comparable(&lines))
            && !resolved.is_picked(name)
    };
    let fresh: Vec<&str> = names.iter().copied().filter(|n| is_fresh(n, &stored[*n])).collect();
    let stale: Vec<&str> = names.iter().copied().filter(|n| !fresh.contains(n)).collect();
    if let (Some(then), Some(before)) = (fresh.iter().filter_map(|n| stored[*n].as_of).min(), &before) {
        edges::collect(db, &resolved, &fresh, before, &lines, then).await?;
    }
    let mut jobs = Vec::new();
    for (scope, names) in [(Scope::Everyone, &stale), (Scope::Due, &fresh)] {
        jobs.extend(words(db.dialect(), &resolved, scope, names, &stored));
    }
    let work = Work { db, jobs: &jobs, is_whole: !stale.is_empty(), has_due: !fresh.is_empty() };
    let (done, everyone) = try_join(work.run(lease), Size::of_everyone(db)).await?;
    let Some(done) = done else { return Ok(None) };

    let mut sizes = BTreeMap::new();
    for name in &names {
        let old = if fresh.contains(name) { stored[*name].size } else { Size::default() };
        let change = done.change(stored[*name].bit);
        let size = Size { people: old.people + change.people, revenue: old.revenue + change.revenue };
        sizes.insert((*name).to_owned(), size);
    }
    let bits = names.iter().map(|n| ((*n).to_owned(), stored[*n].bit)).collect();
    let totals = Totals { decided_anew: stale.len() as u64, brought_up: fresh.len() as u64, looked_at: done.looked_at };
    let kept = Kept { bits, turn, as_of, sizes, everyone, totals };
    finish(db, &kept, &resolved, settings, &lines).await?;
    Ok(Some(kept))
}

/// Give every rule its bit, take all `as_of` away and begin a turn. Rules that nobody uses any more give their bits back.
async fn begin(
    db: &Db,
    names: &[&str],
    resolved: &Resolved,
    settings: &Settings,
    turn: &str,
    now: Millis,
) -> DbResult<BTreeMap<String, Stored>> {
    let digests: BTreeMap<&str, String> = names.iter().map(|n| (*n, digest_of(n, resolved, settings))).collect();
    let mut tx = db.begin().await?;
    tx.execute("DELETE FROM segment_rule WHERE used_at < $1", args![now - UNUSED_FOR]).await?;
    let rows: Vec<(String, i64, Option<i64>, i64, i64)> =
        tx.fetch_all("SELECT digest, bit, as_of, people, revenue FROM segment_rule ORDER BY bit", vec![]).await?;
    let mut taken: Vec<i64> = rows.iter().map(|r| r.1).collect();
    let mut out = BTreeMap::new();
    let mut new = Vec::new();
    for (name, digest) in &digests {
        let known = rows.iter().find(|r| r.0 == *digest);
        let stored = match known {
            // Two names of one rule share its bit.
            Some((_, bit, as_of, people, revenue)) => {
                Stored { bit: *bit, as_of: *as_of, size: Size { people: *people, revenue: *revenue } }
            }
            None => {
                let shared = digests.iter().find(|(n, d)| *d == digest && *n < name).map(|(n, _)| *n);
                match shared.and_then(|n| out.get(n)) {
                    Some(stored) => Stored::clone(stored),
                    None => {
                        let bit = (0..).find(|b| !taken.contains(b)).expect("numbers do not end");
                        taken.push(bit);
                        new.extend([Value::from(digest), (*name).into(), bit.into()]);
                        new.extend([Value::from(0_i64), 0_i64.into(), now.into()]);
                        Stored { bit, as_of: None, size: Size::default() }
                    }
                }
            }
        };
        out.insert((*name).to_owned(), stored);
    }
    let columns = ["digest", "segment", "bit", "people", "revenue", "used_at"];
    tx.insert_rows("segment_rule", &columns, new, Conflict::Keep).await?;
    tx.execute("UPDATE segment_rule SET as_of = NULL", vec![]).await?;
    let keys = digests.values().flat_map(|d| [Value::from(d), now.into()]).collect();
    // Two names of one rule are two rows of k.
    let used = "UPDATE segment_rule SET used_at = (SELECT MAX(k.used_at) FROM k WHERE k.digest = segment_rule.digest) \
                WHERE digest IN (SELECT digest FROM k)";
    tx.execute_keyed(&["digest", "used_at"], keys, used).await?;
    set_meta(&mut tx, META_TURN, turn).await?;
    tx.commit().await?;
    Ok(out)
}

/// What a rule says and hangs on, as one text: equal texts have equal members.
fn digest_of(name: &str, resolved: &Resolved, settings: &Settings) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    let mut add = |text: &str| {
        context.update(&(text.len() as u64).to_be_bytes());
        context.update(text.as_bytes());
    };
    add(DIGEST_VERSION);
    add(settings.time_zone.iana_name().unwrap_or("fixed"));
    add(&format!("{:?}", settings.lifecycle));
    let mut open = vec![name];
    let mut seen = Vec::new();
    while let Some(name) = open.pop() {
        if seen.contains(&name) {
            continue;
        }
        seen.push(name);
        let Defined { rule, pick } = &resolved.defined[name];
        add(if seen.len() == 1 { "" } else { name });
        add(&rule.canonical());
        add(&format!("{pick:?}"));
        let mut named: Vec<&str> = rule.references().map(|r| r.name.as_str()).collect();
        named.sort_unstable();
        open.extend(named);
    }
    context.finish().as_ref().iter().map(|b| format!("{b:02x}")).collect()
}

/// The statements of rules, word by word.
fn words(
    dialect: Dialect,
    resolved: &Resolved,
    scope: Scope,
    names: &[&str],
    stored: &BTreeMap<String, Stored>,
) -> Vec<Job> {
    let mut by_word: BTreeMap<i64, Vec<(u32, &str)>> = BTreeMap::new();
    for name in names {
        let bit = stored[*name].bit;
        let word = by_word.entry(bit / WORD).or_default();
        let place = (bit % WORD) as u32;
        if !word.iter().any(|(b, _)| *b == place) {
            word.push((place, name));
        }
    }
    let job = |(word, segments): (i64, Vec<(u32, &str)>)| Job {
        word,
        scope,
        mask: segments.iter().fold(0, |mask, (bit, _)| mask | 1_i64 << bit),
        statements: statements(dialect, resolved, scope, &segments),
    };
    by_word.into_iter().map(job).collect()
}

/// The members are those of `as_of` now; note sizes and what they were decided with.
async fn finish(db: &Db, kept: &Kept, resolved: &Resolved, settings: &Settings, lines: &edges::Lines) -> DbResult<()> {
    let mut tx = db.begin().await?;
    let mut rules = Vec::new();
    let mut sizes = Vec::new();
    for (name, size) in &kept.sizes {
        let digest = digest_of(name, resolved, settings);
        rules.extend([Value::from(&digest), kept.as_of.into(), size.people.into(), size.revenue.into()]);
        sizes.extend([Value::from(name), resolved.moment.today.into(), kept.as_of.into(), digest.into()]);
        sizes.extend([Value::from(size.people), size.revenue.into(), kept.everyone.people.into()]);
    }
    let of = |column: &str| format!("{column} = (SELECT MAX(k.{column}) FROM k WHERE k.digest = segment_rule.digest)");
    let sql = format!(
        "UPDATE segment_rule SET {}, {}, {} WHERE digest IN (SELECT digest FROM k)",
        of("as_of"),
        of("people"),
        of("revenue")
    );
    tx.execute_keyed(&["digest", "as_of", "people", "revenue"], rules, &sql).await?;
    let columns = ["segment", "day", "as_of", "digest", "people", "revenue", "everyone"];
    tx.insert_rows("segment_size", &columns, sizes, Conflict::Update { key: &["segment", "day"] }).await?;
    set_meta(&mut tx, META_LINES, &lines.to_text()).await?;
    tx.commit().await
}

async fn set_meta(tx: &mut Tx, name: &str, value: &str) -> DbResult<()> {
    let sql = "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    tx.execute(sql, args![name, value]).await.map(|_| ())
}

impl Kept {
    /// The members of these segments among customers of buckets `first ..= last`, the n-th name as bit n. `None` when another refresh has begun
    /// since: then there is nothing here to rely on.
    pub async fn members(&self, db: &Db, names: &[String], first: i64, last: i64) -> DbResult<Option<Vec<Member>>> {
        if !self.is_current(db).await? {
            return Ok(None);
        }
        let places: Vec<Option<i64>> = names.iter().map(|n| self.bits.get(n).copied()).collect();
        let Some(places) = places.into_iter().collect::<Option<Vec<i64>>>() else { return Ok(None) };
        let mut found: BTreeMap<(i64, String), u64> = BTreeMap::new();
        let mut words: Vec<i64> = places.iter().map(|b| b / WORD).collect();
        words.sort_unstable();
        words.dedup();
        for word in words {
            let of_word = || places.iter().enumerate().filter(|(_, bit)| **bit / WORD == word);
            let mask = of_word().fold(0, |mask, (_, bit)| mask | 1_i64 << (bit % WORD));
            let rows: Vec<(i64, String, i64)> = db
                .fetch_all(
                    "SELECT bucket, customer_id, bits FROM segment_bits
                     WHERE bucket >= $1 AND bucket <= $2 AND word = $3 AND bits & $4 <> 0",
                    args![first, last, word, mask],
                )
                .await?;
            for (bucket, customer_id, bits) in rows {
                let own = of_word().filter(|(_, bit)| bits & (1 << (**bit % WORD)) != 0);
                *found.entry((bucket, customer_id)).or_default() |= own.fold(0, |mask, (n, _)| mask | 1_u64 << n);
            }
        }
        if !self.is_current(db).await? {
            return Ok(None);
        }
        Ok(Some(found.into_iter().map(|((bucket, customer_id), bits)| Member { bucket, customer_id, bits }).collect()))
    }

    async fn is_current(&self, db: &Db) -> DbResult<bool> {
        let turn: Option<(String,)> =
            db.fetch_optional("SELECT value FROM meta WHERE name = $1", args![META_TURN]).await?;
        Ok(turn.is_some_and(|(turn,)| turn == self.turn))
    }

    /// The instant members are of.
    pub fn as_of(&self) -> Millis {
        self.as_of
    }

    /// The size of a segment; nobody for an unknown name.
    pub fn size(&self, name: &str) -> Size {
        self.sizes.get(name).copied().unwrap_or_default()
    }

    /// Everybody who has a profile.
    pub fn everyone(&self) -> Size {
        self.everyone
    }

    /// What the refresh did.
    pub fn totals(&self) -> Totals {
        self.totals
    }
}

/// How large a segment was on its last days, the latest first: the day, people, and everybody then.
pub async fn history(db: &Db, segment: &str, days_max: i64) -> DbResult<Vec<(i64, i64, i64)>> {
    let sql = "SELECT day, people, everyone FROM segment_size WHERE segment = $1 ORDER BY day DESC LIMIT $2";
    db.fetch_all(sql, args![segment, days_max]).await
}

/// The sizes of segments on the last day before `day` that they were looked at: by name, the day, people and revenue.
pub async fn sizes_before(db: &Db, day: i64) -> DbResult<BTreeMap<String, (i64, Size)>> {
    let rows: Vec<(String, i64, i64, i64)> = db
        .fetch_all(
            "SELECT s.segment, s.day, s.people, s.revenue FROM segment_size s
             WHERE s.day = (SELECT MAX(t.day) FROM segment_size t WHERE t.segment = s.segment AND t.day < $1)",
            args![day],
        )
        .await?;
    Ok(rows.into_iter().map(|(name, day, people, revenue)| (name, (day, Size { people, revenue }))).collect())
}
