//! Values that are set for nobody, languages that a mail leaves out, and rewards that are over.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;

use super::super::engine::FOLDER;
use super::super::load::TemplateSet;
use super::super::{scan, tags};
use super::Told;
use crate::problem::Place;
use crate::settings::Expires;

/// `{% set x = … %}` whose value nobody asks for. An included file sees what is set around it, so all files count together.
pub(super) fn unused(set: &TemplateSet, told: &mut Told<'_>) {
    let used: BTreeSet<&str> =
        set.files.values().flat_map(|text| scan::names(text).values).map(|value| value.path[0]).collect();
    for (file, text) in &set.files {
        for tag in tags::tags(text).iter().filter(|t| matches!(t.word(text), "set" | "set_global")) {
            let rest = tag.rest(text);
            let name = &rest[..rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())];
            if !name.is_empty() && !used.contains(name) {
                told.tell(
                    "unused-variable",
                    &scan::place(&format!("{FOLDER}/{file}"), text, tag.range.start),
                    format!("`{name}` is set, and nothing uses it"),
                    "take it away, or use it",
                );
            }
        }
    }
}

/// Mails without a language that most of the project's mails have.
pub(super) fn languages(set: &TemplateSet, default_locale: &str, told: &mut Told<'_>) {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for locale in set.mails.values().flatten().filter_map(|v| v.locale.as_deref()) {
        *counts.entry(locale).or_default() += 1;
    }
    for (name, variants) in &set.mails {
        for (locale, count) in counts.iter().filter(|(_, count)| **count * 2 >= set.mails.len()) {
            if variants.iter().all(|v| v.locale.as_deref() != Some(*locale))
                && let Some(default) = variants.iter().find(|v| v.locale.is_none())
            {
                told.tell(
                    "missing-locale",
                    &Place::file(&format!("{FOLDER}/{}", default.html)),
                    format!(
                        "{count} of {} mails are written in `{locale}`, and this one is not: those readers get `{default_locale}`",
                        set.mails.len()
                    ),
                    &format!("write {FOLDER}/{name}.{locale}.html"),
                );
            }
        }
    }
}

/// Rewards that nobody gets any more, in the project's `today`.
pub(super) fn expired(set: &TemplateSet, today: Date, told: &mut Told<'_>) {
    for pool in set.wanted.iter().filter_map(|w| w.rewards.as_ref()).flat_map(|r| &r.pools) {
        if let Some(Expires::On(last)) = pool.expires
            && last < today
        {
            told.tell(
                "expired-reward",
                &pool.place,
                format!("`{}` was good until {last}: nobody gets it any more", pool.name),
                "another day under `expires`; or take it out of the campaigns' `reward`",
            );
        }
    }
}
