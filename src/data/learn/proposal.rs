//! From what was seen and what is declared to a contract: the names that are proposed, each with its type and what is to be said about it.
//!
//! What somebody declared is kept, whether or not it was seen. Of the rest the most frequent names are proposed, as many as a file may hold.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::comments::Comments;
use super::property::Property;
use super::{Looked, Survey, sheet};
use crate::money::grouped;
use crate::problem::Problems;
use crate::settings::contract::{FILE, NAMES_MAX, parse};
use crate::settings::{Contract, PropertyType};

/// How many names of each part are proposed beside the declared ones: as many as can be, and fewer when the file would be larger than is
/// read.
const NAMES_TRIED: [usize; 5] = [NAMES_MAX, 100, 20, 5, 0];

/// A contract that fits the data, with what is to be said about it.
#[derive(Debug, Clone)]
pub struct Proposal {
    survey: Survey,
    /// Names of each part beside the declared ones.
    names_max: usize,
    /// The file's text.
    text: String,
}

impl Proposal {
    /// The proposal as a file that our own reader reads back as the same contract. `comments` are those somebody wrote into the file there
    /// is. `None` when not even the declared names fit into a file.
    pub fn of(survey: Survey, comments: &Comments) -> Option<Proposal> {
        let mut proposal = Proposal { survey, names_max: 0, text: String::new() };
        NAMES_TRIED.into_iter().find(|names_max| {
            proposal.names_max = *names_max;
            proposal.text = sheet::text(&proposal, comments);
            parse(FILE, &proposal.text, &mut Problems::new()).is_some_and(|read| read == proposal.contract())
        })?;
        Some(proposal)
    }

    /// The text of `contract.yaml`.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The contract itself.
    pub fn contract(&self) -> Contract {
        let types = |looked: &Looked| self.names(looked).map(|(name, ty, _)| (name.to_owned(), ty)).collect();
        Contract {
            customer: types(&self.survey.customer),
            product: types(&self.survey.product),
            events: self.survey.events.iter().map(|(name, looked)| (name.clone(), types(looked))).collect(),
        }
    }

    /// How many declared names hold values of another type.
    pub fn disagreements(&self) -> usize {
        let parts = [&self.survey.customer, &self.survey.product].into_iter().chain(self.survey.events.values());
        parts.flat_map(|looked| looked.properties.values()).filter(|p| p.disagrees()).count()
    }

    pub(super) fn survey(&self) -> &Survey {
        &self.survey
    }

    /// The names of a part, in order, with their types.
    pub(super) fn names<'l>(
        &self,
        looked: &'l Looked,
    ) -> impl Iterator<Item = (&'l str, PropertyType, &'l Property)> + use<'l> {
        let least = self.least_seen(looked);
        looked
            .properties
            .iter()
            .filter(move |(_, p)| p.declared.is_some() || least.is_some_and(|least| p.seen() >= least))
            .filter_map(|(name, p)| Some((name.as_str(), p.property_type()?, p)))
    }

    /// How often a name must have been seen to be among the most frequent ones; `None` when none is wanted. Where several were seen
    /// equally often at the limit, none of them is taken.
    fn least_seen(&self, looked: &Looked) -> Option<u64> {
        let mut seen: Vec<u64> =
            looked.properties.values().filter(|p| p.declared.is_none()).map(Property::seen).collect();
        seen.sort_unstable_by(|a, b| b.cmp(a));
        match seen.get(self.names_max) {
            None => Some(1),
            Some(_) if self.names_max == 0 => None,
            Some(next) => Some(next + 1),
        }
    }

    /// What was seen of a part and is not proposed: a line each.
    pub(super) fn left_out(&self, looked: &Looked) -> Vec<String> {
        let mut lines = Vec::new();
        let unseen = |p: &Property| p.declared.is_none() && p.property_type().is_none();
        let nested = looked.properties.iter().filter(|(_, p)| unseen(p) && p.seen() > 0);
        let nested: Vec<&str> = nested.map(|(name, _)| name.as_str()).collect();
        if !nested.is_empty() {
            lines.push(format!(
                "seen but left out, because no rule can ask for objects: {}",
                listed(nested.iter().copied())
            ));
        }
        if !looked.unusable.is_empty() {
            let names = listed(looked.unusable.iter().map(String::as_str));
            lines.push(format!("seen but left out, because no rule can ask for such names: {names}"));
        }
        let proposed = self.names(looked).count();
        let possible = looked.properties.values().filter(|p| p.property_type().is_some()).count();
        if looked.crowded {
            lines.push(format!("seen but left out: all names beyond {}", grouped(proposed as i64)));
        } else if proposed < possible {
            lines.push(format!("seen but left out: {} rarer names", grouped((possible - proposed) as i64)));
        }
        lines
    }

    /// The same of the events.
    pub(super) fn events_left_out(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if !self.survey.unusable.is_empty() {
            let names = listed(self.survey.unusable.iter().map(String::as_str));
            lines.push(format!("seen but left out, because no rule can ask for such names: {names}"));
        }
        if self.survey.crowded > 0 {
            lines.push(format!("seen but left out: {} rarer events", grouped(self.survey.crowded as i64)));
        }
        lines
    }

    /// For machines.
    pub fn to_json(&self) -> Json {
        let part = |looked: &Looked, names: &str| {
            let all: BTreeMap<&str, Json> = self.names(looked).map(|(name, _, p)| (name, p.to_json())).collect();
            json!({
                "there": looked.there, "looked_at": looked.looked_at, "declared": looked.declared, names: all,
                "left_out": self.left_out(looked),
            })
        };
        let events: BTreeMap<&str, Json> =
            self.survey.events.iter().map(|(name, looked)| (name.as_str(), part(looked, "properties"))).collect();
        json!({
            "customer": part(&self.survey.customer, "attributes"), "product": part(&self.survey.product, "attributes"),
            "events": events, "events_left_out": self.events_left_out(), "disagreements": self.disagreements(),
        })
    }
}

/// Names that are shown in a line.
const LISTED_MAX: usize = 4;

/// Names for a comment: shortened, and nothing in them that could end the line.
fn listed<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let harmless = |c: char| if c.is_alphanumeric() || c.is_ascii_punctuation() || c == ' ' { c } else { '?' };
    let names: Vec<String> = names.map(|n| super::shown(n).chars().map(harmless).collect()).collect();
    let more = if names.len() > LISTED_MAX { " and more" } else { "" };
    format!("{}{more}", names[..names.len().min(LISTED_MAX)].join(" · "))
}
