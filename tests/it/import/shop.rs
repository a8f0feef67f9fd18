//! A shop with an empty database, and the questions the import tests ask of it.

use std::io::Write as _;

use okaeri::clock;
use okaeri::data::{self, From, ImportError, ImportRequest, ImportTotals, Kind};
use okaeri::db::Db;
use okaeri::problem::Problems;
use okaeri::settings::{Project, Settings};

pub const SETTINGS: &str = "project: shop\ntime_zone: Asia/Tokyo\ncurrency: JPY\n\
    sender: { from: hello@example.com, organisation: Shop, postal_address: 1 Road }\ntopics: { offers: Offers, news: News }\n";

pub struct Shop {
    pub db: Db,
    pub settings: Settings,
    folder: tempfile::TempDir,
}

impl Shop {
    pub async fn open(url: &str, settings: &str) -> Shop {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("okaeri.yaml"), settings).unwrap();
        let mut problems = Problems::new();
        let project = Project::load_with(folder.path(), |_| None, &mut problems);
        let settings = project.unwrap_or_else(|| panic!("{}", problems.to_text())).settings;
        Shop { db: Db::open(url).await.unwrap(), settings, folder }
    }

    /// Import at 2026-11-24 09:00 in Tokyo.
    pub async fn try_import(&self, kind: Kind, from: From, map: &[(&str, &str)]) -> Result<ImportTotals, ImportError> {
        let request = ImportRequest {
            kind,
            from,
            name: format!("{}.csv", kind.name()),
            map: map.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect(),
            rejected_dir: Some(self.folder.path().join("rejected")),
            now: at("2026-11-24T09:00"),
        };
        data::import(&self.db, &self.settings, request, |_| {}).await
    }

    pub async fn import(&self, kind: Kind, text: impl AsRef<[u8]>) -> ImportTotals {
        self.try_import(kind, bytes(text), &[]).await.unwrap()
    }

    /// Import twice; the second time must change nothing and mark nobody. The totals of the first.
    pub async fn import_twice(&self, kind: Kind, text: impl AsRef<[u8]>) -> ImportTotals {
        let first = self.import(kind, &text).await;
        let before = self.dump().await;
        self.clean().await;
        let second = self.import(kind, &text).await;
        assert_eq!((second.changed, second.consents_changed), (0, 0), "{second:?}");
        assert_eq!(self.dump().await, before, "the same file twice");
        assert_eq!(self.dirty().await, Vec::<String>::new());
        first
    }

    /// Forget who was marked as changed.
    pub async fn clean(&self) {
        self.db.execute("DELETE FROM dirty", vec![]).await.unwrap();
    }

    /// Who is marked as changed, by id.
    pub async fn dirty(&self) -> Vec<String> {
        self.ids("SELECT customer_id FROM dirty").await
    }

    /// The topics a customer consents to.
    pub async fn granted(&self, customer_id: &str) -> Vec<String> {
        self.ids(&format!("SELECT topic FROM consent WHERE customer_id = '{customer_id}' AND granted")).await
    }

    async fn ids(&self, sql: &str) -> Vec<String> {
        let rows: Vec<(String,)> = self.db.fetch_all(sql, vec![]).await.unwrap();
        let mut ids: Vec<String> = rows.into_iter().map(|(id,)| id).collect();
        ids.sort();
        ids
    }

    /// Every row of every table an import writes, as `table: a|b|c`; NULL is ∅.
    pub async fn dump(&self) -> Vec<String> {
        let mut all = Vec::new();
        for (table, columns) in [
            (
                "customer",
                "customer_id, email, address_key, first_name, last_name, locale, time_zone, country, attributes",
            ),
            ("address", "address_key, customer_id"),
            ("consent", "customer_id, topic, granted, at, source"),
            ("product", "sku, name, category, price, url, image_url, attributes"),
            ("customer_order", "bucket, customer_id, ordered_at, order_id, total, currency, status"),
            ("order_ref", "order_id, bucket, customer_id, ordered_at"),
            ("order_line", "bucket, customer_id, ordered_at, order_id, line_no, sku, category, quantity, amount"),
            ("event", "bucket, customer_id, at, event_id, sku, category, amount, score, properties"),
            ("suppression", "address_key, scope, reason, at"),
        ] {
            let text: Vec<String> = columns.split(", ").map(|c| format!("COALESCE(CAST({c} AS TEXT), '∅')")).collect();
            let sql = format!("SELECT {} FROM {table}", text.join(" || '|' || "));
            let rows: Vec<(String,)> = self.db.fetch_all(&sql, vec![]).await.unwrap();
            let mut rows: Vec<String> = rows.into_iter().map(|(r,)| format!("{table}: {r}")).collect();
            rows.sort();
            all.extend(rows);
        }
        all
    }

    /// Fails unless this very row is there.
    pub async fn must_have(&self, row: &str) {
        let all = self.dump().await;
        assert!(all.iter().any(|r| r == row), "no row {row} in\n{}", all.join("\n"));
    }

    /// Rows that begin and continue like this.
    pub async fn count(&self, begins: &str, holds: &str) -> usize {
        self.dump().await.iter().filter(|r| r.starts_with(begins) && r.contains(holds)).count()
    }
}

pub fn bytes(text: impl AsRef<[u8]>) -> From {
    From::Reader(Box::new(std::io::Cursor::new(text.as_ref().to_vec())))
}

/// An instant in the shop's zone.
pub fn at(text: &str) -> i64 {
    clock::parse_instant(text, &jiff::tz::TimeZone::get("Asia/Tokyo").unwrap()).unwrap()
}

pub fn gz(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}
