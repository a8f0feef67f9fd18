//! The statement that computes profiles of a range of buckets: `$1` first bucket, `$2` last bucket, `$3` the instant of computing.
//!
//! One grouped subquery per source table, joined by bucket and customer_id; the range stands in every one of them, because neither engine
//! pushes it in. Only names and numbers of ours are written into the text. A row that would not change is not written.

use jiff::tz::TimeZone;

use super::Scope;
use super::day::day_sql;
use crate::clock::Millis;
use crate::db::{Dialect, Member};

/// What is stored beside the key and `computed_at`, in the order in which [`statement`] selects it.
const COLUMNS: [&str; 21] = [
    "orders",
    "purchase_days",
    "revenue",
    "average_order",
    "first_order_at",
    "last_order_at",
    "previous_order_at",
    "first_order_day",
    "last_order_day",
    "last_gap_days",
    "usual_gap_days",
    "earlier_gap_days",
    "top_category",
    "affinity",
    "last_viewed_at",
    "last_viewed_sku",
    "open_tickets",
    "last_rating",
    "last_rating_at",
    "last_event_at",
    "last_return_at",
];
/// How many categories an affinity keeps.
const AFFINITY_CATEGORIES: u32 = 5;
/// Added to an instant so that its text has 16 digits and sorts like the number: the latest text is the greatest.
const SORTABLE: Millis = 1_000_000_000_000_000;
/// Where what follows such a text begins.
const AFTER_SORTABLE: u32 = 17;

/// An order that counts, over alias `o`.
pub const COUNTED: &str = "o.status = 'placed' AND o.total >= 0";
/// An order that came back, over alias `o`.
pub const RETURNED: &str = "(o.status = 'returned' OR (o.status = 'placed' AND o.total < 0))";
/// An order whose total is part of revenue, over alias `o`.
const IN_REVENUE: &str = "o.status = 'placed' OR (o.status = 'returned' AND o.total < 0)";

/// The numbers of the event names that profiles read; absent when no such event was ever imported.
#[derive(Debug, Default)]
pub(super) struct EventNames {
    pub viewed: Option<i64>,
    pub ticket_opened: Option<i64>,
    pub ticket_closed: Option<i64>,
    pub rated: Vec<i64>,
}

/// No event has this number.
const NO_NAME: i64 = -1;

/// The whole statement.
pub(super) fn statement(dialect: Dialect, scope: Scope, names: &EventNames, zone: &TimeZone, now: Millis) -> String {
    let columns = COLUMNS.join(", ");
    let set: Vec<String> = COLUMNS.iter().chain(&["computed_at"]).map(|c| format!("{c} = excluded.{c}")).collect();
    let differs: Vec<String> = COLUMNS.iter().map(|c| format!("profile.{c} IS DISTINCT FROM excluded.{c}")).collect();
    let on = |alias: &str| format!("{alias}.bucket = t.bucket AND {alias}.customer_id = t.customer_id");
    format!(
        "INSERT INTO profile (bucket, customer_id, {columns}, computed_at)
         SELECT t.bucket, t.customer_id,
                COALESCE(o.orders, 0), COALESCE(g.purchase_days, 0), COALESCE(o.revenue, 0), o.average_order,
                o.first_order_at, o.last_order_at, g.previous_order_at, g.first_order_day, g.last_order_day,
                g.last_gap_days, g.usual_gap_days, g.earlier_gap_days, a.top_category, a.affinity,
                e.last_viewed_at, e.last_viewed_sku, COALESCE(k.open_tickets, 0), e.last_rating, e.last_rating_at,
                e.last_event_at, o.last_return_at, $3
         FROM ({target}) t
         LEFT JOIN ({orders}) o ON {on_o}
         LEFT JOIN ({gaps}) g ON {on_g}
         LEFT JOIN ({affinity}) a ON {on_a}
         LEFT JOIN ({events}) e ON {on_e}
         LEFT JOIN ({tickets}) k ON {on_k}
         WHERE true
         ON CONFLICT (bucket, customer_id) DO UPDATE SET {set}
         WHERE {differs}",
        target = target(scope),
        orders = orders(scope),
        gaps = gaps(scope, zone, now),
        affinity = affinity(scope, dialect),
        events = events(scope, dialect, names),
        tickets = tickets(scope, dialect, names),
        on_o = on("o"),
        on_g = on("g"),
        on_a = on("a"),
        on_e = on("e"),
        on_k = on("k"),
        set = set.join(", "),
        differs = differs.join(" OR "),
    )
}

/// Drops the profiles of customers who are gone.
pub(super) fn orphans(scope: Scope) -> &'static str {
    match scope {
        Scope::Everyone => {
            "DELETE FROM profile WHERE bucket >= $1 AND bucket <= $2 AND NOT EXISTS
             (SELECT 1 FROM customer c WHERE c.bucket = profile.bucket AND c.customer_id = profile.customer_id)"
        }
        Scope::Dirty => {
            "DELETE FROM profile WHERE bucket >= $1 AND bucket <= $2
             AND EXISTS (SELECT 1 FROM profile_due d WHERE d.bucket = profile.bucket AND d.customer_id = profile.customer_id)
             AND NOT EXISTS (SELECT 1 FROM customer c WHERE c.bucket = profile.bucket AND c.customer_id = profile.customer_id)"
        }
    }
}

/// The customers to compute.
fn target(scope: Scope) -> String {
    format!("SELECT c.bucket, c.customer_id FROM {}", source(scope, "customer", "c"))
}

/// `FROM`'s text for the rows of `table` that are asked for, with their WHERE; more conditions follow after ` AND `.
/// CROSS JOIN makes SQLite begin with the few customers that are due.
fn source(scope: Scope, table: &str, alias: &str) -> String {
    let range = |a: &str| format!("{a}.bucket >= $1 AND {a}.bucket <= $2");
    match scope {
        Scope::Everyone => format!("{table} {alias} WHERE {}", range(alias)),
        Scope::Dirty => format!(
            "profile_due d CROSS JOIN {table} {alias}
             WHERE {} AND {alias}.bucket = d.bucket AND {alias}.customer_id = d.customer_id",
            range("d")
        ),
    }
}

fn orders(scope: Scope) -> String {
    let from = source(scope, "customer_order", "o");
    format!(
        "SELECT q.bucket, q.customer_id, q.orders, q.revenue, q.first_order_at, q.last_order_at, q.last_return_at,
                CASE WHEN q.orders > 0 THEN (2 * q.gross + q.orders) / (2 * q.orders) END AS average_order
         FROM (SELECT o.bucket, o.customer_id, COUNT(*) FILTER (WHERE {COUNTED}) AS orders,
                      CAST(SUM(o.total) FILTER (WHERE {IN_REVENUE}) AS BIGINT) AS revenue,
                      CAST(SUM(o.total) FILTER (WHERE {COUNTED}) AS BIGINT) AS gross,
                      MIN(o.ordered_at) FILTER (WHERE {COUNTED}) AS first_order_at,
                      MAX(o.ordered_at) FILTER (WHERE {COUNTED}) AS last_order_at,
                      MAX(o.ordered_at) FILTER (WHERE {RETURNED}) AS last_return_at
               FROM {from} GROUP BY o.bucket, o.customer_id) q"
    )
}

/// Purchase days, the gaps between them and their medians. `back` counts days from the last one.
fn gaps(scope: Scope, zone: &TimeZone, now: Millis) -> String {
    let from = source(scope, "customer_order", "o");
    let day = day_sql("o.ordered_at", zone, now);
    let by = "PARTITION BY bucket, customer_id";
    format!(
        "SELECT bucket, customer_id, COUNT(*) AS purchase_days, MIN(day) AS first_order_day, MAX(day) AS last_order_day,
                MAX(last_at) FILTER (WHERE back = 2) AS previous_order_at,
                MAX(gap) FILTER (WHERE back = 1) AS last_gap_days,
                CAST(AVG(gap) FILTER (WHERE gap IS NOT NULL AND place IN (days / 2, (days + 1) / 2)) AS DOUBLE PRECISION) AS usual_gap_days,
                CASE WHEN COUNT(*) >= 4 THEN CAST(AVG(gap) FILTER
                     (WHERE gap IS NOT NULL AND back > 1 AND earlier_place IN ((days - 1) / 2, days / 2)) AS DOUBLE PRECISION) END AS earlier_gap_days
         FROM (SELECT bucket, customer_id, day, last_at, gap, back, days,
                      ROW_NUMBER() OVER ({by}, CASE WHEN gap IS NULL THEN 0 ELSE 1 END ORDER BY gap, day) AS place,
                      ROW_NUMBER() OVER ({by}, CASE WHEN gap IS NULL OR back = 1 THEN 0 ELSE 1 END ORDER BY gap, day) AS earlier_place
               FROM (SELECT bucket, customer_id, day, last_at,
                            day - LAG(day) OVER ({by} ORDER BY day) AS gap,
                            ROW_NUMBER() OVER ({by} ORDER BY day DESC) AS back,
                            COUNT(*) OVER ({by}) AS days
                     FROM (SELECT o.bucket, o.customer_id, {day} AS day, MAX(o.ordered_at) AS last_at
                           FROM {from} AND {COUNTED} GROUP BY 1, 2, 3) q1) q2) q3
         GROUP BY bucket, customer_id"
    )
}

/// Shares of the categories in what was bought in counted orders.
fn affinity(scope: Scope, dialect: Dialect) -> String {
    let from = source(scope, "order_line", "l");
    let object = dialect.json_object_of("category", "share", "place");
    let bytewise = dialect.bytewise();
    format!(
        "SELECT bucket, customer_id, MAX(CASE WHEN place = 1 THEN category END) AS top_category, {object} AS affinity
         FROM (SELECT bucket, customer_id, category, (2000 * amount + total) / (2 * total) AS share, place
               FROM (SELECT bucket, customer_id, category, amount,
                            CAST(SUM(amount) OVER (PARTITION BY bucket, customer_id) AS BIGINT) AS total,
                            ROW_NUMBER() OVER (PARTITION BY bucket, customer_id ORDER BY amount DESC, category {bytewise}) AS place
                     FROM (SELECT l.bucket, l.customer_id, l.category, CAST(SUM(l.amount) AS BIGINT) AS amount
                           FROM {from} AND l.category IS NOT NULL AND EXISTS (SELECT 1 FROM customer_order o
                                WHERE o.bucket >= $1 AND o.bucket <= $2 AND o.bucket = l.bucket AND o.customer_id = l.customer_id
                                AND o.ordered_at = l.ordered_at AND o.order_id = l.order_id AND {COUNTED})
                           GROUP BY l.bucket, l.customer_id, l.category HAVING SUM(l.amount) > 0) q1) q2
               WHERE place <= {AFFINITY_CATEGORIES}) q3
         GROUP BY bucket, customer_id"
    )
}

/// The latest event, view and rating. Of two at the same instant the greater text wins, so that the outcome does not depend on the order of rows.
fn events(scope: Scope, dialect: Dialect, names: &EventNames) -> String {
    let from = source(scope, "event", "e");
    let viewed = format!("e.name_id = {} AND e.sku IS NOT NULL", names.viewed.unwrap_or(NO_NAME));
    let rated = format!("e.name_id IN ({}) AND e.score IS NOT NULL", list(&names.rated));
    let bytewise = dialect.bytewise();
    let latest = |what: &str, filter: &str| {
        format!(
            "SUBSTR(MAX((CAST(e.at + {SORTABLE} AS TEXT) || {what}) {bytewise}) FILTER (WHERE {filter}), {AFTER_SORTABLE})"
        )
    };
    format!(
        "SELECT e.bucket, e.customer_id, MAX(e.at) AS last_event_at,
                MAX(e.at) FILTER (WHERE {viewed}) AS last_viewed_at, {sku} AS last_viewed_sku,
                MAX(e.at) FILTER (WHERE {rated}) AS last_rating_at, CAST({score} AS DOUBLE PRECISION) AS last_rating
         FROM {from} GROUP BY e.bucket, e.customer_id",
        sku = latest("e.sku", &viewed),
        score = latest("CAST(e.score AS TEXT)", &rated),
    )
}

/// Open tickets: with a `ticket_id` a ticket is open unless its latest event closed it; without one, as many as were opened and not closed.
fn tickets(scope: Scope, dialect: Dialect, names: &EventNames) -> String {
    let from = source(scope, "event", "e");
    let (opened, closed) = (names.ticket_opened.unwrap_or(NO_NAME), names.ticket_closed.unwrap_or(NO_NAME));
    let path = match dialect {
        Dialect::Sqlite => "'$.ticket_id'",
        Dialect::Postgres => "'ticket_id'",
    };
    let ticket = dialect.json_scalar(Member::Of { json: "e.properties", path });
    format!(
        "SELECT bucket, customer_id, CAST(SUM(open_tickets) AS BIGINT) AS open_tickets
         FROM (SELECT bucket, customer_id,
                      CASE WHEN ticket IS NOT NULL THEN CASE WHEN MAX(at * 2 + closed) % 2 = 0 THEN 1 ELSE 0 END
                           WHEN COUNT(*) > 2 * SUM(closed) THEN COUNT(*) - 2 * CAST(SUM(closed) AS BIGINT) ELSE 0 END AS open_tickets
               FROM (SELECT e.bucket, e.customer_id, e.at, {ticket} AS ticket,
                            CASE WHEN e.name_id = {closed} THEN 1 ELSE 0 END AS closed
                     FROM {from} AND e.name_id IN ({opened}, {closed})) q1
               GROUP BY bucket, customer_id, ticket) q2
         GROUP BY bucket, customer_id"
    )
}

fn list(ids: &[i64]) -> String {
    match ids {
        [] => NO_NAME.to_string(),
        ids => ids.iter().map(i64::to_string).collect::<Vec<_>>().join(", "),
    }
}
