//! Editions: how the mails of a campaign are written at one time, to tell whether a person would get another mail at another. What is compared is what the
//! authors wrote and the settings put in, not what a person's values make of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::load::{self, Variant};
use super::snapshot::SenderValues;
use super::{FOLDER, file, kept, scan};
use crate::problem::Problems;
use crate::settings::{Settings, read_file};

/// How one mail is written in one language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edition {
    pub subject: String,
    /// SHA-256 over everything else that reaches the mail.
    body: String,
}

impl Edition {
    /// Whether anything but the subject differs.
    pub fn has_other_body(&self, other: &Edition) -> bool {
        self.body != other.body
    }
}

/// The mails of some templates.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Editions(BTreeMap<String, Vec<(Option<String>, Edition)>>);

impl Editions {
    /// The files below `templates/` that mails can be made of, by their names there.
    pub fn files(dir: &Path, problems: &mut Problems) -> BTreeMap<String, String> {
        let names = load::names(dir).into_iter().filter(|name| is_part(name));
        names.filter_map(|name| Some((name.clone(), read_file(dir, &format!("{FOLDER}/{name}"), problems)?))).collect()
    }

    /// The mails of these templates, made of these files under these settings. A template without a file has none.
    pub fn of<'t>(
        templates: impl IntoIterator<Item = &'t str>,
        files: &BTreeMap<String, String>,
        settings: &Settings,
    ) -> Editions {
        let sender = serde_json::to_string(&SenderValues::without_links(settings)).expect("strings serialise");
        let mut defined: BTreeMap<String, &str> = BTreeMap::new();
        for (name, text) in files.iter().filter(|(_, text)| text.contains("component")) {
            defined.extend(scan::names(text).components_defined.into_iter().map(|c| (c, name.as_str())));
        }
        let edition = |variant: Variant| {
            let parts = files.get(&variant.html).and_then(|text| file::parts("", text, &mut Problems::new()));
            let subject = parts.map_or_else(String::new, |p| p.subject.text.to_owned());
            let body = body(&variant, &subject, files, &defined, &sender);
            (variant.locale, Edition { subject, body })
        };
        let mails = |template: &str| load::variants_of(template, files.keys()).into_iter().map(edition).collect();
        Editions(templates.into_iter().map(|t| (t.to_owned(), mails(t))).collect())
    }

    /// The edition that somebody with this locale reads.
    pub fn read_by(&self, template: &str, locale: &str) -> Option<&Edition> {
        let mails = self.0.get(template)?;
        load::written_for(mails, |(written_in, _)| written_in.as_deref(), locale).map(|(_, edition)| edition)
    }

    /// Whether there is a mail for everybody: one without a language.
    pub fn has(&self, template: &str) -> bool {
        self.0.get(template).is_some_and(|mails| mails.iter().any(|(locale, _)| locale.is_none()))
    }

    /// The mails that are written otherwise in two sets of them, or are in one only: template, language, and how it was and is.
    pub fn changes<'e>(&'e self, now: &'e Editions) -> Vec<EditionChange<'e>> {
        let of = |set: &'e Editions| {
            set.0.iter().flat_map(|(t, mails)| mails.iter().map(|(l, e)| ((t.as_str(), l.as_deref()), e)))
        };
        let (then, now): (BTreeMap<_, _>, BTreeMap<_, _>) = (of(self).collect(), of(now).collect());
        let keys: BTreeSet<_> = then.keys().chain(now.keys()).copied().collect();
        let change = |key: (&'e str, Option<&'e str>)| {
            let (then, now) = (then.get(&key).copied(), now.get(&key).copied());
            (then != now).then_some(EditionChange { template: key.0, locale: key.1, then, now })
        };
        keys.into_iter().filter_map(change).collect()
    }
}

/// A mail that is written otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EditionChange<'e> {
    pub template: &'e str,
    pub locale: Option<&'e str>,
    /// `None`: there was none.
    pub then: Option<&'e Edition>,
    /// `None`: there is none any more.
    pub now: Option<&'e Edition>,
}

/// Whether a file can be part of a mail.
pub fn is_part(name: &str) -> bool {
    [".html", ".mjml", ".txt"].iter().any(|ending| name.ends_with(ending))
}

/// A hash of all that a mail is made of, without its subject.
fn body(
    variant: &Variant,
    subject: &str,
    files: &BTreeMap<String, String>,
    defined: &BTreeMap<String, &str>,
    sender: &str,
) -> String {
    let mut open: Vec<&str> = [Some(variant.html.as_str()), variant.text.as_deref()].into_iter().flatten().collect();
    let mut reached: BTreeMap<&str, &str> = BTreeMap::new();
    while let Some(name) = open.pop() {
        let Some((name, text)) = files.get_key_value(name) else { continue };
        if reached.insert(name, text).is_none() {
            let names = scan::names(text);
            open.extend(names.templates.iter().map(|(target, _)| *target));
            open.extend(names.components_used.iter().filter_map(|(c, _)| defined.get(c).copied()));
        }
    }
    // The subject is told for itself; it stands in the first line of the mail's own file that has it.
    let own = reached.get(variant.html.as_str()).map(|text| text.replacen(subject, "", 1)).unwrap_or_default();
    reached.insert(&variant.html, &own);
    let parts = reached.iter().flat_map(|(name, text)| [name.as_bytes(), b"\0", text.as_bytes(), b"\0"]);
    kept::hex(&parts.chain([sender.as_bytes()]).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Project;

    fn settings(brand: &str) -> Settings {
        let dir = tempfile::tempdir().unwrap();
        let text = format!(
            "project: shop\ncurrency: EUR\nsender: {{ from: a@example.com, organisation: Shop, postal_address: \"{brand}\" }}\n\
             smtp: smtp://127.0.0.1:25\nlinks: {{ secret: \"${{S:-0123456789abcdef}}\" }}\n"
        );
        std::fs::write(dir.path().join("okaeri.yaml"), text).unwrap();
        Project::load_with(dir.path(), |_| None, &mut Problems::new()).unwrap().settings
    }

    fn editions(files: &[(&str, &str)], brand: &str) -> Editions {
        let files = files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        Editions::of(["a/letter"], &files, &settings(brand))
    }

    const LETTER: (&str, &str) =
        ("a/letter.html", "Subject: Hi\n\n{% extends \"frame.html\" %}{% block x %}{{<card t=\"1\" />}}{% endblock %}");
    const FRAME: (&str, &str) = ("frame.html", "<p>{% block x %}{% endblock %}</p>");
    const CARD: (&str, &str) =
        ("parts/card.html", "{% component card(t: string) %}<i>{{ t }}</i>{% endcomponent card %}");
    const JAPANESE: (&str, &str) = ("a/letter.ja.html", "Subject: 拝啓\n\n<p>手紙</p>");

    #[test]
    fn a_mail_changes_with_every_file_it_is_made_of_and_with_no_other() {
        let then = editions(&[LETTER, FRAME, CARD, JAPANESE], "1 Road");
        let changed = |files: &[(&str, &str)], brand| {
            let now = editions(files, brand);
            let told = |c: EditionChange<'_>| {
                let (then, now) = (c.then.unwrap(), c.now.unwrap());
                (c.locale.map(str::to_owned), then.subject != now.subject, then.has_other_body(now))
            };
            then.changes(&now).into_iter().map(told).collect::<Vec<_>>()
        };
        assert_eq!(changed(&[LETTER, FRAME, CARD, JAPANESE, ("b/other.html", "Subject: x\n\ny")], "1 Road"), []);
        let frame = ("frame.html", "<b>{% block x %}{% endblock %}</b>");
        assert_eq!(changed(&[LETTER, frame, CARD, JAPANESE], "1 Road"), [(None, false, true)]);
        let card = ("parts/card.html", "{% component card(t: string) %}<u>{{ t }}</u>{% endcomponent card %}");
        assert_eq!(changed(&[LETTER, FRAME, card, JAPANESE], "1 Road"), [(None, false, true)]);
        let subject = ("a/letter.ja.html", "Subject: 前略\n\n<p>手紙</p>");
        assert_eq!(changed(&[LETTER, FRAME, CARD, subject], "1 Road"), [(Some("ja".to_owned()), true, false)]);
        assert_eq!(changed(&[LETTER, FRAME, CARD, JAPANESE], "2 Road").len(), 2, "the settings reach every mail");
    }

    #[test]
    fn everybody_reads_the_edition_of_their_language() {
        let all = editions(&[LETTER, FRAME, CARD, JAPANESE], "1 Road");
        let subject = |locale| all.read_by("a/letter", locale).map(|e| e.subject.as_str());
        assert_eq!([subject("ja-JP"), subject("JA"), subject("de")], [Some("拝啓"), Some("拝啓"), Some("Hi")]);
        assert!(all.has("a/letter") && !all.has("a/lettre"));
        assert!(!editions(&[JAPANESE], "1 Road").has("a/letter"), "nothing for whoever reads no Japanese");
    }
}
