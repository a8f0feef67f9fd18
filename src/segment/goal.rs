//! What the event of a campaign's goal is like: `with` beside `did`, read as in a rule and asked of single rows.

use std::collections::BTreeMap;

use super::read;
use super::resolve::Resolved;
use super::rule::{PropertyTest, Rows, Source, Window};
use super::sql;
use crate::db::{Dialect, Value};
use crate::problem::{Place, Problems};
use crate::profile::Moment;
use crate::settings::Settings;
use crate::yaml::Node;

/// A checked goal: an event or order, and what it is like.
#[derive(Debug, Clone)]
pub struct GoalEvent {
    source: Source,
    with: Vec<PropertyTest>,
}

impl GoalEvent {
    /// Read `did` and `with`; `None` when the event is not known.
    pub fn read(
        did: (&str, &Place),
        with: Option<&Node>,
        settings: &Settings,
        problems: &mut Problems,
    ) -> Option<GoalEvent> {
        let source = read::source_of(did.0, did.1, settings, problems)?;
        let with = with.map(|node| read::tests_of(node, &source, settings, problems)).unwrap_or_default();
        Some(GoalEvent { source, with })
    }

    /// Read again what was checked and stored. What the contract has lost since is read as it is without a contract.
    pub fn stored(did: &str, with: Option<&serde_json::Value>, settings: &Settings) -> Option<GoalEvent> {
        let read = |settings: &Settings| {
            let mut problems = Problems::new();
            // JSON is YAML.
            let with = with.and_then(|with| crate::yaml::parse("the goal", &with.to_string(), &mut problems));
            let event = GoalEvent::read((did, &Place::file("the goal")), with.as_ref(), settings, &mut problems);
            event.filter(|_| !problems.has_errors())
        };
        read(settings).or_else(|| read(&Settings { contract: None, ..settings.clone() }))
    }

    /// What `with` asks of a row under an alias, as ` AND …` or nothing; its values are appended to those of the statement.
    pub fn and_sql(&self, dialect: Dialect, alias: &str, settings: &Settings, args: &mut Vec<Value>) -> String {
        let resolved = Resolved::unasked(BTreeMap::new(), Moment::with_cuts(settings, 0, None));
        let rows = Rows { source: self.source.clone(), with: self.with.clone(), window: Window::default() };
        let tests = sql::row_tests(dialect, &resolved, &rows, alias, args);
        tests.iter().map(|test| format!(" AND {test}")).collect()
    }
}
