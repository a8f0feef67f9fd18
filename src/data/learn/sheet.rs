//! The proposal as YAML: names in order, each with what was seen beside it.
//!
//! Promises that whatever a name or a word holds, the text is YAML that reads back as the same name; that comments of our own are one
//! line each; that comments of somebody else stay.

use super::comments::{Comments, Path};
use super::proposal::Proposal;
use super::{Looked, Survey};
use crate::money::grouped;
use crate::settings::PropertyType;
use crate::yaml::FILE_BYTES_MAX;

/// What stands at the head of the file, below the first line.
pub(super) const HEADING: [&str; 3] = [
    "# Change what you know better: `okaeri schema learn --write --force` adds what is new and keeps the types and",
    "# comments that are yours; those that begin with \"seen\" or \"not seen\" are written anew. A list of words is a",
    "# closed choice: where other values may come, write `text`.",
];
/// Spaces before a comment beside a name.
const BESIDE: &str = "  ";
/// Words that YAML readers of some version take for something else.
const RESERVED: [&str; 13] =
    ["true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan", "inf", "none", "undefined"];

/// The whole file.
pub(super) fn text(proposal: &Proposal, comments: &Comments) -> String {
    let survey = proposal.survey();
    let mut sheet = Sheet { proposal, comments, out: String::new(), path: Path::new() };
    sheet.line(0, &format!("# seen by `okaeri schema learn`: {}", totals(survey)));
    HEADING.iter().for_each(|line| sheet.line(0, line));
    sheet.part("customer", &survey.customer);
    sheet.part("product", &survey.product);
    sheet.events(survey);
    comments.end().iter().for_each(|line| sheet.line(0, line));
    sheet.out
}

/// `2,384 of 2,384 customers, 40 of 40 products, 6,120 of 12,400 events`.
fn totals(survey: &Survey) -> String {
    let of = |looked_at: u64, there: u64| format!("{} of {}", grouped(looked_at as i64), grouped(there as i64));
    let sum = |count: fn(&Looked) -> u64| survey.events.values().map(count).sum();
    format!(
        "{} customers, {} products, {} events",
        of(survey.customer.looked_at, survey.customer.there),
        of(survey.product.looked_at, survey.product.there),
        of(sum(|l| l.looked_at), sum(|l| l.there)),
    )
}

struct Sheet<'a> {
    proposal: &'a Proposal,
    comments: &'a Comments,
    out: String,
    path: Path,
}

impl Sheet<'_> {
    /// Add a line. What is larger than a file that is read needs no end.
    fn line(&mut self, depth: usize, text: &str) {
        if self.out.len() > FILE_BYTES_MAX {
            return;
        }
        self.out.push_str(&"  ".repeat(depth));
        self.out.push_str(text);
        self.out.push('\n');
    }

    /// A name with its value (nothing when more lines follow), between the comments of others and our remark.
    fn name(&mut self, name: &str, value: &str, remark: Option<&str>) {
        self.path.push(name.to_owned());
        let depth = self.path.len() - 1;
        let comments = self.comments;
        comments.above(&self.path).iter().for_each(|line| self.line(depth, line));
        let mut line = format!("{}:", scalar(name));
        if !value.is_empty() {
            line.push(' ');
            line.push_str(value);
        }
        for comment in [comments.beside(&self.path).map(str::to_owned), remark.map(|r| format!("# {r}"))] {
            line.extend(comment.map(|c| format!("{BESIDE}{c}")));
        }
        self.line(depth, &line);
        self.path.pop();
    }

    /// The attributes of customers or of products.
    fn part(&mut self, name: &str, looked: &Looked) {
        let left_out = self.proposal.left_out(looked);
        let empty = self.proposal.names(looked).next().is_none();
        self.name(name, if empty { "{}" } else { "" }, None);
        self.inside(name, |sheet| {
            sheet.properties(looked);
            sheet.remarks(&left_out);
        });
    }

    fn events(&mut self, survey: &Survey) {
        self.name("events", if survey.events.is_empty() { "{}" } else { "" }, None);
        self.inside("events", |sheet| {
            for (name, looked) in &survey.events {
                let empty = sheet.proposal.names(looked).next().is_none();
                sheet.name(name, if empty { "{}" } else { "" }, Some(&event_remark(looked)));
                let left_out = sheet.proposal.left_out(looked);
                sheet.inside(name, |sheet| {
                    sheet.properties(looked);
                    sheet.remarks(&left_out);
                });
            }
            sheet.remarks(&sheet.proposal.events_left_out());
        });
    }

    fn properties(&mut self, looked: &Looked) {
        for (name, ty, property) in self.proposal.names(looked) {
            self.name(name, &type_text(&ty), Some(&property.remark(looked.looked_at)));
        }
    }

    fn remarks(&mut self, lines: &[String]) {
        lines.iter().for_each(|line| self.line(self.path.len(), &format!("# {line}")));
    }

    fn inside(&mut self, name: &str, write: impl FnOnce(&mut Self)) {
        self.path.push(name.to_owned());
        write(self);
        self.path.pop();
    }
}

fn event_remark(looked: &Looked) -> String {
    let (there, looked_at) = (grouped(looked.there as i64), grouped(looked.looked_at as i64));
    match (looked.there, looked.looked_at) {
        (0, _) => "not seen".to_owned(),
        (1, 1) => "seen once".to_owned(),
        (all, some) if all == some => format!("seen {there} times"),
        _ => format!("seen {there} times, {looked_at} of them looked at"),
    }
}

/// A type as authors write it, its words quoted where they must be.
fn type_text(ty: &PropertyType) -> String {
    match ty {
        PropertyType::Words(words) => {
            let words: Vec<String> = words.iter().map(|w| scalar(w)).collect();
            format!("[{}]", words.join(", "))
        }
        other => other.name(),
    }
}

/// A text as a YAML scalar: plain when it is a plain word in everybody's eyes, else in double quotes with everything unusual escaped.
fn scalar(text: &str) -> String {
    let plain = text.starts_with(|c: char| c.is_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_alphanumeric() || "._-".contains(c))
        && !RESERVED.contains(&text.to_lowercase().as_str());
    if plain {
        return text.to_owned();
    }
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_alphanumeric() || c == ' ' || c.is_ascii_punctuation() => out.push(c),
            c if u32::from(c) <= 0xffff => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push_str(&format!("\\U{:08x}", u32::from(c))),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;
    use serde_json::{Value as Json, json};

    use super::super::property::Of;
    use super::*;
    use crate::problem::Problems;
    use crate::settings::Contract;
    use crate::settings::contract::{FILE, NAMES_MAX, parse};

    /// What a look at these documents would find.
    fn looked(of: Of, declared: Option<&BTreeMap<String, PropertyType>>, documents: &[Json]) -> Looked {
        let mut looked = Looked::new(of, declared);
        looked.there = documents.len() as u64;
        documents.iter().for_each(|d| looked.observe_document(&d.to_string()));
        looked
    }

    fn survey(declared: Option<&Contract>, customers: &[Json], events: &[(&str, &[Json])]) -> Survey {
        let mut all = BTreeMap::new();
        for (name, types) in declared.iter().flat_map(|c| &c.events) {
            all.insert(name.clone(), Looked::new(Of::Events, Some(types)));
        }
        for (name, documents) in events {
            let types = declared.and_then(|c| c.events.get(*name));
            all.insert((*name).to_owned(), looked(Of::Events, types, documents));
        }
        Survey {
            customer: looked(Of::Customers, declared.map(|c| &c.customer), customers),
            product: looked(Of::Products, declared.map(|c| &c.product), &[]),
            events: all,
            unusable: BTreeSet::new(),
            crowded: 0,
        }
    }

    fn read(text: &str) -> Contract {
        let mut problems = Problems::new();
        parse(FILE, text, &mut problems)
            .filter(|_| problems.is_empty())
            .unwrap_or_else(|| panic!("{}\n{text}", problems.to_text()))
    }

    #[test]
    fn a_proposal_reads_well() {
        let mut customers = vec![json!({ "points": "120", "account": "guest", "nick name": "Mia" }); 60];
        customers.extend(vec![json!({ "points": "none", "account": "staff", "shape": { "a": 1 }, "a\"b": 1 }); 3]);
        let viewed = [json!({ "sku": "BOWL-7", "seconds": 12.5 }), json!({ "sku": "BOWL-7" })];
        let survey = survey(None, &customers, &[("product.viewed", &viewed), ("newsletter.joined", &[json!({})])]);
        let proposal = Proposal::of(survey, &Comments::default()).unwrap();
        insta::assert_snapshot!(proposal.text(), @r#"
        # seen by `okaeri schema learn`: 63 of 63 customers, 0 of 0 products, 3 of 3 events
        # Change what you know better: `okaeri schema learn --write --force` adds what is new and keeps the types and
        # comments that are yours; those that begin with "seen" or "not seen" are written anew. A list of words is a
        # closed choice: where other values may come, write `text`.
        customer:
          account: [guest, staff]  # seen in 63 of 63
          "nick name": text  # seen in 60 of 63
          points: text  # seen as numbers (60) and text (3), in 63 of 63
          # seen but left out, because no rule can ask for objects: shape
          # seen but left out, because no rule can ask for such names: a"b
        product: {}
        events:
          newsletter.joined: {}  # seen once
          product.viewed:  # seen 2 times
            seconds: number  # seen in 1 of 2, such as 99.9
            sku: text  # seen in 2 of 2, such as AAAA-9
        "#);
    }

    #[test]
    fn what_is_declared_stays_with_its_comments_and_is_compared() {
        let file = "# The till's own columns.\ncustomer:\n  # since 2024\n  points: number  # loyalty\n  gone: date\n  account: [staff, guest]\n\
                    product: { colour: text }\nevents:\n  survey.nps: { score: number }\n  ticket.opened: # by mail only\n    about: text\n# end\n";
        let declared = read(file);
        let customers = [json!({ "points": "many", "account": "owner", "city": "Kyoto" }), json!({ "points": 3 })];
        let again = |declared: &Contract, file: &str| {
            let survey = survey(Some(declared), &customers, &[("ticket.opened", &[json!({ "about": "late" })])]);
            Proposal::of(survey, &Comments::of(file)).unwrap()
        };
        let proposal = again(&declared, file);
        assert_eq!(proposal.disagreements(), 2);
        insta::assert_snapshot!(proposal.text(), @r#"
        # seen by `okaeri schema learn`: 2 of 2 customers, 0 of 0 products, 1 of 1 events
        # Change what you know better: `okaeri schema learn --write --force` adds what is new and keeps the types and
        # comments that are yours; those that begin with "seen" or "not seen" are written anew. A list of words is a
        # closed choice: where other values may come, write `text`.
        # The till's own columns.
        customer:
          account: [staff, guest]  # seen as other words (1), in 1 of 2
          city: text  # seen in 1 of 2, such as Aaaaa
          gone: date  # not seen in 2 looked at
          # since 2024
          points: number  # loyalty  # seen as numbers (1) and text (1), in 2 of 2
        product:
          colour: text  # not seen
        events:
          survey.nps:  # not seen
            score: number  # not seen
          ticket.opened:  # by mail only  # seen once
            about: text  # seen in 1 of 1, such as aaaa
        # end
        "#);
        let merged = read(proposal.text());
        assert_eq!(merged.customer.len(), 4);
        assert_eq!(again(&merged, proposal.text()).text(), proposal.text(), "written again, the file stays as it is");
    }

    #[test]
    fn a_file_is_never_larger_than_is_read() {
        let name = |i: usize| format!("{i:03}{}", "語".repeat(97));
        let crowd: Json = (0..NAMES_MAX).map(|i| (name(i), json!(1))).collect::<serde_json::Map<_, _>>().into();
        let crowds = [crowd.clone(), json!({ name(7): 1 }), json!({ name(8): 1 })];
        let names: Vec<String> = (0..NAMES_MAX).map(name).collect();
        let events = |crowded: usize| -> Vec<(&str, &[Json])> {
            (0..NAMES_MAX).map(|i| (names[i].as_str(), &crowds[if i < crowded { 0 } else { 3 }..])).collect()
        };
        let proposal =
            Proposal::of(survey(None, std::slice::from_ref(&crowd), &events(20)), &Comments::default()).unwrap();
        assert_eq!(read(proposal.text()), proposal.contract());
        assert_eq!(proposal.contract().events.len(), NAMES_MAX);
        assert!(proposal.text().contains("# seen but left out: 500 rarer names"));

        let some = Proposal::of(survey(None, &[], &events(20)[..20]), &Comments::default()).unwrap().contract();
        let frequent = BTreeSet::from([name(7), name(8)]);
        assert!(
            some.events.values().all(|p| p.keys().cloned().collect::<BTreeSet<_>>() == frequent),
            "the most frequent stay"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]
        #[test]
        fn whatever_a_name_holds_it_is_read_back(
            names in prop::collection::btree_set("\\PC{1,100}|[ '#:{}\\[\\],&*!|>%@`?~-]{1,8}|(true|null|<<|~|0x1f|1e3|\\.inf)|[\u{2028}\u{feff}\u{fffe}\u{200b}\u{e000}\u{10ffff}]{1,100}", 1..20),
            word in "\\PC{1,40}|[ '#:{}\\[\\],&*\"\\\\]{1,8}|(true|null|yes|7|1e3|~)",
        ) {
            let customers: Vec<Json> = (0..60)
                .map(|_| names.iter().map(|n| (n.clone(), json!(word))).collect::<serde_json::Map<_, _>>().into())
                .collect();
            let events: Vec<(&str, &[Json])> =
                names.iter().filter(|n| crate::settings::contract::is_name(n)).map(|n| (n.as_str(), &customers[..1])).collect();
            let proposal = Proposal::of(survey(None, &customers, &events), &Comments::default());
            let proposal = proposal.expect("few names fit into a file");
            prop_assert_eq!(read(proposal.text()), proposal.contract());
            prop_assert_eq!(proposal.contract().events.len(), events.len());
            let usable = names.iter().filter(|n| crate::settings::contract::is_name(n)).count();
            let seen = if word.trim().is_empty() { 0 } else { usable };
            prop_assert_eq!(proposal.contract().customer.len(), seen);
        }
    }
}
