//! Tera, set up our way, and its errors in our words with the author's file, line and column.
//!
//! `.html` sources are escaped, subjects and text parts are not. Sources are compiled once;
//! a render parses nothing and touches no disk.

use std::collections::BTreeMap;

use tera::{ErrorKind, Tera};

use super::file;
use super::mapped::{Mapped, Origin};
use super::{answer, fields, format, skip, words};
use crate::problem::{Place, Problems};

/// The folder template files live in; names of templates are relative to it.
pub const FOLDER: &str = "templates";

/// The name of a header of a template inside the engine. Never ends in `.html`, so it is not escaped.
pub(super) fn subject_of(html: &str) -> String {
    format!("{html}#subject")
}

pub(super) fn preheader_of(html: &str) -> String {
    format!("{html}#preheader")
}

/// A source inside the engine, and where it begins in its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    /// Relative to the project: `templates/win-back/letter.html`.
    pub file: String,
    pub text: String,
    pub line: usize,
    pub column: usize,
    /// Where the text came from, when no author wrote it as it is here.
    pub made: Option<Mapped>,
}

impl Source {
    /// A text that was made of other sources.
    pub(super) fn made(mapped: Mapped) -> Source {
        Source { file: String::new(), text: mapped.text.clone(), line: 1, column: 1, made: Some(mapped) }
    }

    /// The place of a byte of the text.
    pub(super) fn place_at(&self, offset: usize) -> Place {
        let before = self.text.get(..offset).unwrap_or(&self.text);
        let line_start = before.rfind('\n').map_or(0, |i| i + 1);
        self.place(1 + before.matches('\n').count(), before[line_start..].chars().count())
    }

    /// From a place inside this source (line from 1, column from 0, as Tera counts) to the place in the file.
    pub(super) fn place(&self, line: usize, column: usize) -> Place {
        let shift = if line == 1 { self.column } else { 1 };
        Place { file: self.file.as_str().into(), line: self.line + line - 1, column: column + shift }
    }
}

/// Split files into the sources an engine takes: mails give a subject, a preheader and a body; other files are taken whole.
/// Files are named relative to [`FOLDER`].
pub(super) fn sources<'a>(
    files: &BTreeMap<String, String>,
    is_mail: impl Fn(&str) -> bool + 'a,
    problems: &mut Problems,
) -> BTreeMap<String, Source> {
    let mut sources = BTreeMap::new();
    for (name, text) in files {
        let file = format!("{FOLDER}/{name}");
        let source = |piece: file::Piece| Source {
            file: file.clone(),
            text: piece.text.to_owned(),
            line: piece.line,
            column: piece.column,
            made: None,
        };
        if !is_mail(name) {
            let text = text.strip_prefix('\u{feff}').unwrap_or(text);
            sources.insert(name.clone(), source(file::Piece { text, line: 1, column: 1 }));
        } else if let Some(parts) = file::parts(&file, text, problems) {
            sources.insert(subject_of(name), source(parts.subject));
            if let Some(preheader) = parts.preheader {
                sources.insert(preheader_of(name), source(preheader));
            }
            sources.insert(name.clone(), source(parts.body));
        }
    }
    sources
}

/// Whether every source is well formed; what Tera refuses becomes problems, all at once.
pub(super) fn check_syntax(sources: &BTreeMap<String, Source>, problems: &mut Problems) -> bool {
    let mut well_formed = true;
    for (name, source) in sources {
        // Alone, so that every file's syntax is told, not only the first one's; what is missing because the source is alone is not.
        if let Err(e) = Tera::new().add_raw_template(name, &source.text)
            && let ErrorKind::SyntaxError(report) = e.kind()
        {
            let span = report.span();
            let place = source.place(span.start_line, span.start_col);
            problems.error("template-syntax", &place, lowered(report.message()));
            well_formed = false;
        }
    }
    well_formed
}

/// What is wrong with the syntax of sources that we made ourselves.
pub(super) fn first_fault(sources: &BTreeMap<String, Source>) -> Option<String> {
    sources.iter().find_map(|(name, source)| {
        let e = Tera::new().add_raw_template(name, &source.text).err()?;
        match e.kind() {
            ErrorKind::SyntaxError(report) => Some(lowered(report.message())),
            _ => None,
        }
    })
}

/// Compile well-formed sources. What they name and nobody defines becomes problems.
pub(super) fn compile(sources: &BTreeMap<String, Source>, currency: &str, problems: &mut Problems) -> Option<Tera> {
    let mut tera = Tera::new();
    tera.autoescape_on([".html", ".mjml"]);
    format::register(&mut tera, currency);
    words::register(&mut tera);
    skip::register(&mut tera);
    answer::register(&mut tera);
    match tera.add_raw_templates(sources.iter().map(|(name, s)| (name.as_str(), s.text.as_str()))) {
        Ok(()) => Some(tera),
        Err(e) => {
            tell(&e.to_string(), e.kind(), sources, problems);
            None
        }
    }
}

/// Tell what is wrong with sources that are well formed one by one. Tera gives these reports as text:
/// `error: Unknown filter `x`` and below it ` --> name:line:column`.
fn tell(text: &str, kind: &ErrorKind, sources: &BTreeMap<String, Source>, problems: &mut Problems) {
    let whole = |name: &str| match sources.get(name) {
        Some(source) => Place::file(&source.file),
        None => Place::file(FOLDER),
    };
    match kind {
        ErrorKind::CircularExtend { tpl, .. } => {
            problems.error("template-cycle", &whole(tpl), "`extends` leads back to this template");
        }
        ErrorKind::CircularInclude { tpl, include_chain } => {
            problems.error(
                "template-cycle",
                &whole(tpl),
                format!("`include` leads back to this template: {}", include_chain.join(" → ")),
            );
        }
        _ => {
            let mut message = None;
            let mut told = false;
            for line in text.lines() {
                if let Some(m) = line.strip_prefix("error: ") {
                    message = Some(m);
                } else if let Some((name, line, column)) = line.trim_start().strip_prefix("--> ").and_then(position)
                    && let Some(message) = message.take()
                {
                    let place =
                        sources.get(name).map_or_else(|| whole(name), |s| s.place(line, column.saturating_sub(1)));
                    let problem = problems.error("template-reference", &place, lowered(message));
                    if let Some(filter) = message.strip_prefix("Unknown filter `") {
                        problem.did_you_mean(filter.trim_end_matches('`'), FILTERS.into_iter().chain(OURS));
                    }
                    told = true;
                }
            }
            if !told {
                problems.error("template-reference", &whole(""), text);
            }
        }
    }
}

/// `name:line:column`.
fn position(text: &str) -> Option<(&str, usize, usize)> {
    let (rest, column) = text.rsplit_once(':')?;
    let (name, line) = rest.rsplit_once(':')?;
    Some((name, line.parse().ok()?, column.trim().parse().ok()?))
}

fn lowered(message: &str) -> String {
    let mut chars = message.chars();
    chars.next().map_or_else(String::new, |c| c.to_lowercase().chain(chars).collect())
}

/// The filters we bring.
pub(super) const OURS: [&str; 7] = {
    let [a, b, c] = format::FILTERS;
    let [d, e, f, g] = words::FILTERS;
    [a, b, c, d, e, f, g]
};

/// The filters Tera brings.
pub(super) const FILTERS: [&str; 37] = [
    "safe",
    "default",
    "upper",
    "lower",
    "wordcount",
    "escape",
    "escape_html",
    "escape_xml",
    "newlines_to_br",
    "pluralize",
    "trim",
    "trim_start",
    "trim_end",
    "replace",
    "capitalize",
    "title",
    "truncate",
    "indent",
    "str",
    "int",
    "float",
    "length",
    "reverse",
    "split",
    "abs",
    "round",
    "first",
    "last",
    "nth",
    "join",
    "sort",
    "unique",
    "get",
    "values",
    "keys",
    "pairs",
    "group_by",
];

/// Why a message could not be rendered, at the author's line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}")]
pub struct RenderError {
    /// The template of the campaign that was being rendered.
    pub template: String,
    /// The line that failed; in an included file when it stands there.
    pub place: Place,
    pub message: String,
    /// The value that was missing, as the template names it: `customer.first_name`.
    pub field: Option<String>,
    /// The template said that this person gets no mail, and why.
    pub skipped: Option<Box<str>>,
}

impl RenderError {
    /// The remedy, when the error tells it.
    pub fn hint(&self) -> Option<String> {
        let field = self.field.as_ref()?;
        Some(match field.rsplit_once('.').filter(|(owner, _)| fields::is_of_some(owner)) {
            Some((owner, _)) => format!("`{owner}` itself may be missing, so ask for that first: {{% if {owner} %}}"),
            None => format!("give it a default: {field} | default(value=\"…\"), or ask first: {{% if {field} %}}"),
        })
    }
}

/// The place of an origin in its author's file.
pub(super) fn origin_place(origin: Option<Origin>, sources: &BTreeMap<String, Source>) -> Place {
    origin.and_then(|o| Some(sources.get(&*o.source)?.place_at(o.offset))).unwrap_or_else(|| Place::file(FOLDER))
}

/// A rendering error of `template` in our words.
pub(super) fn render_error(template: &str, error: &tera::Error, sources: &BTreeMap<String, Source>) -> RenderError {
    let error_at =
        |place, message, field| RenderError { template: template.to_owned(), place, message, field, skipped: None };
    let (ErrorKind::RenderingError(report) | ErrorKind::SyntaxError(report)) = error.kind() else {
        return error_at(Place::file(FOLDER), error.to_string(), None);
    };
    let Some(source) = sources.get(report.filename()) else {
        return error_at(Place::file(report.filename()), report.message().to_owned(), None);
    };
    let span = report.span();
    let place = match &source.made {
        Some(made) => origin_place(made.origin(span.range.start), sources),
        None => source.place(span.start_line, span.start_col),
    };
    let message = report.message();
    if let Some(reason) = skip::reason_in(message) {
        let error = error_at(place, format!("the template skips this person: {reason}"), None);
        return RenderError { skipped: Some(reason.into()), ..error };
    }
    let missing = message.contains("is not defined") || message.contains("undefined");
    let named = path_around(&source.text, span.range.clone());
    match named.map(|path| if source.made.is_some() { as_written(&path) } else { path }).filter(|_| missing) {
        Some(path) => error_at(place, format!("`{path}` may be missing and is missing here"), Some(path)),
        None => error_at(place, lowered(message.split(" Available ").next().unwrap_or(message)), None),
    }
}

/// A path without what was put behind its first name when the mail was prepared: `item__3.url` is an author's `item.url`.
fn as_written(path: &str) -> String {
    let (first, rest) = path.split_once('.').map_or((path, ""), |(first, rest)| (first, rest));
    let own = first.find("__").map_or(first, |at| &first[..at]);
    if rest.is_empty() { own.to_owned() } else { format!("{own}.{rest}") }
}

/// The dotted path that a span of a source is part of, or that the filter named there was given: a span may cover only the last field,
/// or only the filter.
fn path_around(source: &str, span: std::ops::Range<usize>) -> Option<String> {
    let belongs = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '?');
    let mut at = span.start;
    loop {
        let before = source.get(..at)?;
        let start = before.trim_end_matches(belongs).len();
        let Some(piped) = source[..start].trim_end().strip_suffix('|') else {
            let path: String = source[start..].chars().take_while(|c| belongs(*c)).filter(|c| *c != '?').collect();
            let path = path.trim_matches('.');
            return path.starts_with(|c: char| c.is_alphabetic() || c == '_').then(|| path.to_owned());
        };
        let piped = piped.trim_end();
        if !piped.ends_with(belongs) {
            return None; // A filter with arguments, or an expression.
        }
        at = piped.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiled(files: &[(&str, &str)]) -> (Option<Tera>, BTreeMap<String, Source>, String) {
        let files = files.iter().map(|(n, t)| ((*n).to_owned(), (*t).to_owned())).collect();
        let mut problems = Problems::new();
        let sources = sources(&files, |n| n == "a.html", &mut problems);
        let tera = check_syntax(&sources, &mut problems).then(|| compile(&sources, "EUR", &mut problems)).flatten();
        (tera, sources, anstream::adapter::strip_str(&problems.to_text()).to_string())
    }

    #[test]
    fn all_mistakes_come_at_once_at_the_lines_of_the_file() {
        insta::assert_snapshot!(compiled(&[("a.html", "Subject: {{ x | }}\n\n\n<p>{{ 1 + }}</p>"), ("b.html", "{% if %}")]).2, @r#"
    templates/a.html:1:17: error: found `}}` but expected identifier. [template-syntax]
    templates/a.html:4:11: error: found `}}` but expected one of: integer, float, string, bool, ident, `-`, `not`, `<`, `{`, `[` or `(` [template-syntax]
    templates/b.html:1:7: error: found `%}` but expected one of: integer, float, string, bool, ident, `-`, `not`, `<`, `{`, `[` or `(` [template-syntax]
    3 errors and 0 warnings
    "#);
        insta::assert_snapshot!(compiled(&[("a.html", "Subject: {{ x | mony }}\nPreheader: y\n\n<p>\n {{ f() }}{{<card />}}</p>")]).2, @r#"
        templates/a.html:1:17: error: unknown filter `mony` [template-reference]
            did you mean `money`?
        templates/a.html:5:5: error: unknown function `f` [template-reference]
        templates/a.html:5:13: error: unknown component `card` [template-reference]
        3 errors and 0 warnings
        "#);
        insta::assert_snapshot!(compiled(&[("a.html", "Subject: x\n\n{% include 'b.html' %}"), ("b.html", "{% include 'a.html' %}")]).2, @r#"
        templates/a.html: error: `include` leads back to this template: a.html → b.html → a.html [template-cycle]
        1 error and 0 warnings
        "#);
    }

    #[test]
    fn rendering_errors_name_file_line_and_field() {
        let (tera, sources, problems) =
            compiled(&[("a.html", "Subject: {{ customer.nick }}\n\n<p>\n  {{ customer.first_name | upper }}")]);
        assert_eq!(problems, "");
        let tera = tera.unwrap();
        let context =
            tera::Context::from_serialize(&serde_json::json!({"customer": {"email": "mia@example.com"}})).unwrap();
        let told = |name: &str| {
            let error = render_error("a", &tera.render(name, &context).unwrap_err(), &sources);
            (error.to_string(), error.field)
        };
        assert_eq!(
            told("a.html#subject"),
            (
                "templates/a.html:1:22: `customer.nick` may be missing and is missing here".into(),
                Some("customer.nick".into())
            )
        );
        let (text, field) = told("a.html");
        assert_eq!(field.as_deref(), Some("customer.first_name"), "{text}");
        assert!(text.starts_with("templates/a.html:4:"), "{text}");
    }

    #[test]
    fn the_list_of_filters_is_the_one_tera_has() {
        for filter in FILTERS.into_iter().chain(OURS) {
            let (tera, _, problems) = compiled(&[("b.html", &format!("{{{{ x | {filter} }}}}"))]);
            assert!(tera.is_some(), "{problems}");
        }
    }
}
