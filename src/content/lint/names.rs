//! Values that are set for nobody, languages that a mail leaves out or writes figures of another in, and rewards that are over.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;

use super::super::engine::{self, FOLDER};
use super::super::flatten;
use super::super::load::TemplateSet;
use super::super::{language, scan, tags};
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

/// Filters that write as a language does.
const BY_LANGUAGE: [&str; 5] = ["money", "number", "date", "relative", "list"];

/// Mails in a language that CLDR does not describe: figures, dates and lists come out as in English.
pub(super) fn figures(set: &TemplateSet, default_locale: &str, told: &mut Told<'_>) {
    let sources = set.sources();
    for variant in set.mails.values().flatten() {
        let locale = variant.locale.as_deref().unwrap_or(default_locale);
        if language::is_known(locale) {
            continue;
        }
        let own = [engine::subject_of(&variant.html), engine::preheader_of(&variant.html)]
            .into_iter()
            .chain(variant.text.clone());
        let mut found: Vec<(String, Place)> = Vec::new();
        for source in own.filter_map(|name| sources.get(&name)) {
            found.extend(by_language(&source.text).map(|(filter, at)| (filter.to_owned(), source.place_at(at))));
        }
        // Components as they are called, so that what a mail does not call is not told of it.
        for text in flatten::flatten(&variant.html, 0, &sources)
            .iter()
            .flat_map(|f| std::iter::once(&f.root).chain(f.components.iter().map(|c| &c.text)))
        {
            let place = |at| engine::origin_place(text.origin(at), &sources);
            found.extend(by_language(&text.text).map(|(filter, at)| (filter.to_owned(), place(at))));
        }
        for (filter, place) in found {
            told.tell(
                "english-figures",
                &place,
                format!("nobody knows how `{locale}` is written: `{filter}` comes out as in English"),
                "a locale of BCP 47 such as `es` or `pt-BR`; or write it in words",
            );
        }
    }
}

fn by_language(text: &str) -> impl Iterator<Item = (&str, usize)> {
    scan::names(text).filters.into_iter().filter(|(filter, _)| BY_LANGUAGE.contains(filter))
}
