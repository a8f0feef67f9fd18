//! Components put where they are called: a call costs a message more than what it renders, and each component of a flattened mail has one
//! call alone ([`super::flatten`]).
//!
//! Arguments take the place of parameters: a text or the path of a value as it is, anything else through a value set before. What a
//! component sets or loops over gets a name of its own. A component that this cannot do faithfully stays a component: one with a body,
//! with implicit or gathered arguments, or that names a value it was not given.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::flatten::{Component, Flat};
use super::mapped::{Edit, Mapped, Origin};
use super::plain::escaped;
use super::scan;
use super::tags::{self, Kind, NOTHING, Tag};

/// The mail with as few calls as can be.
pub(super) fn inlined(flat: Flat) -> Flat {
    let Flat { mut root, mut components } = flat;
    let mut kept = Vec::new();
    // What is called inside a component was made after it.
    while let Some(component) = components.pop() {
        let number = components.len();
        let mut callers = std::iter::once(&mut root).chain(components.iter_mut().map(|c| &mut c.text));
        let put = callers.find_map(|caller| {
            let inlined = put_in(caller, &component, number)?;
            *caller = inlined;
            Some(())
        });
        if put.is_none() {
            kept.push(component);
        }
    }
    kept.reverse();
    Flat { root, components: kept }
}

/// The caller's text with the component in place of its call.
fn put_in(caller: &Mapped, component: &Component, number: usize) -> Option<Mapped> {
    let begins = format!("<{}", component.name);
    let all = tags::tags(&caller.text);
    let is_call = |t: &Tag| t.kind == Kind::Expression && t.inner(&caller.text).starts_with(&begins);
    let at =
        all.iter().position(|t| is_call(t) && t.inner(&caller.text)[begins.len()..].starts_with([' ', '/', '\n']))?;
    let call = &all[at];
    let given = arguments(call.inner(&caller.text)[begins.len()..].strip_suffix("/>")?)?;
    let here = caller.origin(call.range.start)?;
    let places: BTreeMap<&str, Origin> = given
        .iter()
        .filter_map(|(name, argument)| Some((*name, caller.origin(place_in(&caller.text, argument))?)))
        .collect();
    let body = body(component, &given, number, &here, &places)?;
    let mut out = Mapped::default();
    out.copy(caller, 0..call.range.start);
    let before = at.checked_sub(1).map(|i| &all[i]).filter(|t| t.trims_right);
    let after = all.get(at + 1).filter(|t| t.trims_left);
    let blank = |range: Range<usize>| caller.text[range].trim().is_empty();
    let inner = tags::tags(&body.text);
    let begins_trimming = inner.first().is_some_and(|t| t.trims_left && body.text[..t.range.start].trim().is_empty());
    let ends_trimming = inner.last().is_some_and(|t| t.trims_right && body.text[t.range.end..].trim().is_empty());
    // White space of the component's own is not for the caller's tags to trim, nor the caller's for the component's.
    if call.trims_left {
        out.made("{#- #}", here.clone());
    }
    if begins_trimming || before.is_some_and(|t| blank(t.range.end..call.range.start)) {
        out.made(NOTHING, here.clone());
    }
    out.copy(&body, 0..body.text.len());
    if ends_trimming || after.is_some_and(|t| blank(call.range.end..t.range.start)) {
        out.made(NOTHING, here.clone());
    }
    if call.trims_right {
        out.made("{# -#}", here);
    }
    out.copy(caller, call.range.end..caller.text.len());
    Some(out)
}

/// What a component's text becomes for one call.
fn body(
    component: &Component,
    given: &BTreeMap<&str, &str>,
    number: usize,
    here: &Origin,
    places: &BTreeMap<&str, Origin>,
) -> Option<Mapped> {
    let text = &component.text.text;
    let own = tags::tags(text);
    let (first, last) = (own.first()?, own.last()?);
    let parameters = parameters(first.rest(text).strip_prefix(&component.name)?)?;
    let mut range = first.range.end..last.range.start;
    if first.trims_right {
        range.start += text[range.clone()].len() - text[range.clone()].trim_start().len();
    }
    if last.trims_left {
        range.end = range.start + text[range.clone()].trim_end().len();
    }
    let mut inside = Mapped::default();
    inside.copy(&component.text, range);
    let source = inside.text.as_str();
    let names = scan::names(source);
    let locals: BTreeSet<&str> = names.locals.iter().copied().collect();
    if given.keys().any(|name| parameters.iter().all(|p| p.name != *name)) {
        return None;
    }
    let mut sets = String::new();
    let mut bound = BTreeMap::new();
    for parameter in &parameters {
        let argument = given.get(parameter.name).copied().or(parameter.default)?;
        if locals.contains(parameter.name) {
            return None;
        }
        let means = Means::of(argument);
        if let Means::Path(path) = &means
            && parameter.typed
            && path.contains('.')
            && !is_printed(source, parameter.name)
        {
            // A parameter with a type refuses what is missing, whether or not it is printed.
            sets.push_str(&format!("{{% if {path} is undefined %}}{{{{ {path} }}}}{{% endif %}}"));
        }
        let means = match means {
            Means::Other(expression) => {
                let name = format!("{}__{number}", parameter.name);
                sets.push_str(&format!("{{% set {name} = {expression} %}}"));
                Means::Path(name)
            }
            means => means,
        };
        bound.insert(parameter.name, means);
    }
    let known = |name: &str| bound.contains_key(name) || locals.contains(name) || name == "loop";
    if !names.values.iter().all(|v| known(v.path[0])) {
        return None;
    }
    let mut edits = Vec::new();
    for tag in tags::tags(source).iter().filter(|t| t.kind == Kind::Expression && !t.trims_left && !t.trims_right) {
        if let Some(Means::Text { said, .. }) = bound.get(tag.inner(source))
            && !said.contains(['{', '}'])
        {
            edits.push(Edit { range: tag.range.clone(), text: escaped(said) });
        }
    }
    let in_edit = |at: usize| edits.iter().any(|e: &Edit| e.range.contains(&at));
    // An argument's fault is told where it was given.
    let mut arguments: Vec<(Edit, Option<Origin>)> = Vec::new();
    for value in names.values.iter().filter(|v| !in_edit(v.at)) {
        let word = value.path[0];
        let text = match bound.get(word) {
            Some(Means::Path(path)) => path.clone(),
            Some(Means::Text { quoted: text, .. } | Means::Constant(text)) if value.path.len() == 1 => text.clone(),
            Some(_) => return None,
            None if word == "loop" => continue,
            None => format!("{word}__{number}"),
        };
        let origin = bound.contains_key(word).then(|| places.get(word).unwrap_or(here).clone());
        arguments.push((Edit { range: value.at..value.at + word.len(), text }, origin));
    }
    let named = names.locals.iter().map(|local| place_in(source, local)..place_in(source, local) + local.len());
    edits.extend(named.map(|range| Edit { text: format!("{}__{number}", &source[range.clone()]), range }));
    let mut all: Vec<(Edit, Option<Origin>)> = edits.into_iter().map(|edit| (edit, None)).chain(arguments).collect();
    all.sort_by_key(|(edit, _)| edit.range.start);
    let mut out = Mapped::default();
    out.made(&sets, here.clone());
    let mut at = 0;
    for (edit, origin) in all {
        out.copy(&inside, at..edit.range.start);
        let origin = origin.or_else(|| inside.origin(edit.range.start))?;
        out.made(&edit.text, origin);
        at = edit.range.end;
    }
    out.copy(&inside, at..source.len());
    Some(out)
}

/// Where a part of a text begins in it.
fn place_in(text: &str, part: &str) -> usize {
    part.as_ptr() as usize - text.as_ptr() as usize
}

/// Whether a value is printed whatever the conditions.
fn is_printed(source: &str, name: &str) -> bool {
    let mut depth = 0_usize;
    tags::tags(source).iter().any(|tag| {
        match tag.word(source) {
            "if" | "for" => depth += 1,
            "endif" | "endfor" => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && tag.kind == Kind::Expression && tag.inner(source) == name
    })
}

/// What an argument is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Means {
    Text {
        said: String,
        quoted: String,
    },
    /// A number, `true`, `false`.
    Constant(String),
    Path(String),
    Other(String),
}

impl Means {
    fn of(argument: &str) -> Means {
        let argument = argument.trim();
        let quote = argument.chars().next().filter(|c| matches!(c, '"' | '\'' | '`'));
        if let Some(quote) = quote
            && let Some(said) = argument[1..].strip_suffix(quote)
            && !said.contains([quote, '\\'])
        {
            return Means::Text { said: said.to_owned(), quoted: argument.to_owned() };
        }
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        if matches!(argument, "true" | "false") || argument.chars().all(|c| c.is_ascii_digit()) && !argument.is_empty()
        {
            return Means::Constant(argument.to_owned());
        }
        let is_path = argument
            .split('.')
            .all(|part| part.starts_with(|c: char| c.is_alphabetic() || c == '_') && part.chars().all(is_word));
        let root = argument.split('.').next().unwrap_or_default();
        match is_path && root != "loop" && !matches!(root, "none" | "None" | "null" | "True" | "False") {
            true => Means::Path(argument.to_owned()),
            false => Means::Other(argument.to_owned()),
        }
    }
}

struct Parameter<'a> {
    name: &'a str,
    typed: bool,
    default: Option<&'a str>,
}

/// `(title: string, wide = false)`. `None` for what is more than names, types and defaults.
fn parameters(text: &str) -> Option<Vec<Parameter<'_>>> {
    let list = text.trim().strip_prefix('(')?.strip_suffix(')')?;
    let mut out = Vec::new();
    for part in split(list, ',').into_iter().map(str::trim).filter(|p| !p.is_empty()) {
        let (head, default) = match split(part, '=').as_slice() {
            [head] => (*head, None),
            [head, default] => (*head, Some(default.trim())),
            _ => return None,
        };
        let (name, typed) = head.split_once(':').map_or((head.trim(), false), |(name, _)| (name.trim(), true));
        if !name.starts_with(|c: char| c.is_alphabetic() || c == '_')
            || !name.chars().all(|c| c.is_alphanumeric() || c == '_')
        {
            return None;
        }
        out.push(Parameter { name, typed, default });
    }
    Some(out)
}

/// `title="x" wide={true}`, each with what stands for its value: a text with its quotes, or the expression.
fn arguments(text: &str) -> Option<BTreeMap<&str, &str>> {
    let mut out = BTreeMap::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        let value = after.trim_start().strip_prefix('=')?.trim_start();
        let length = match value.chars().next()? {
            quote @ ('"' | '\'' | '`') => 2 + value[1..].find(quote)?,
            '{' => closing_brace(value)? + 1,
            _ => return None,
        };
        let said = &value[..length];
        out.insert(name, said.strip_prefix('{').map_or(said, |inner| &inner[..inner.len() - 1]));
        rest = value[length..].trim_start();
    }
    Some(out)
}

fn closing_brace(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut quote = None;
    text.char_indices().find_map(|(i, c)| {
        match (quote, c) {
            (Some(q), _) if q == c => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'' | '`') => quote = Some(c),
            (None, '{') => depth += 1,
            (None, '}') => depth -= 1,
            _ => {}
        }
        (depth == 0).then_some(i)
    })
}

/// Split at a sign that stands in no quotes and no brackets.
fn split(text: &str, at: char) -> Vec<&str> {
    let mut out = Vec::new();
    let (mut depth, mut quote, mut start) = (0_usize, None, 0);
    for (i, c) in text.char_indices() {
        match (quote, c) {
            (Some(q), _) if q == c => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'' | '`') => quote = Some(c),
            (None, '(' | '[' | '{') => depth += 1,
            (None, ')' | ']' | '}') => depth = depth.saturating_sub(1),
            (None, c) if c == at && depth == 0 => {
                out.push(&text[start..i]);
                start = i + c.len_utf8();
            }
            _ => {}
        }
    }
    out.push(&text[start..]);
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::engine::Source;
    use super::super::flatten;
    use super::*;

    const PIECES: &str = "{% component row(item: map, detail = \"\", wide = false) %}\n<td{% if wide %} class=\"w\"{% endif %}>{{ item.name }}{% if detail %}, {{ detail }}{% endif %}</td>\n{% endcomponent row %}\
        {% component list(items: array, title: string) -%} <h2>{{ title }}</h2>{% for item in items %}{{<row item={item} wide={true} />}}{% endfor %} {%- endcomponent list %}\
        {% component price(of: number) %}{% set told = of | str %}<b>{{ told }}</b>{% endcomponent price %}\
        {% component bare() %}\n{%- if true -%} x {%- endif -%}\n{% endcomponent bare %}\
        {% component panel(tone: string) %}<i>{{ body }}</i>{% endcomponent panel %}";

    fn rendered(mail: &str, context: &serde_json::Value) -> (Flat, String, String) {
        let source = |text: &str| Source { file: String::new(), text: text.to_owned(), line: 1, column: 1, made: None };
        let sources: BTreeMap<String, Source> =
            [("a.html", mail), ("pieces.html", PIECES)].map(|(n, t)| (n.to_owned(), source(t))).into();
        let render = |flat: &Flat| {
            let mut tera = tera::Tera::new();
            tera.autoescape_on([".html"]);
            let components: String = flat.components.iter().map(|c| c.text.text.as_str()).collect();
            tera.add_raw_templates([("a.html", flat.root.text.as_str()), ("c.html", components.as_str())]).unwrap();
            tera.render("a.html", &tera::Context::from_serialize(context).unwrap()).unwrap_or_else(|e| e.to_string())
        };
        let flat = flatten::flatten("a.html", 0, &sources).unwrap();
        let before = render(&flat);
        let flat = inlined(flat);
        let after = render(&flat);
        (flat, before, after)
    }

    #[test]
    fn what_is_put_in_renders_what_the_call_rendered() {
        let context =
            serde_json::json!({ "xs": [{ "name": "a & b" }, { "name": "c" }], "one": { "name": "日本", "n": 3 } });
        for mail in [
            "<p>{{<row item={one} detail=\"x < y {z}\" />}}</p>",
            "{% for x in xs -%}\n{{<row item={x} detail={x.name | upper} />}}\n{%- endfor %}",
            "{{<list items={xs} title=\"A & B\" />}} {{- <list items={xs[:1]} title={one.name} /> -}} .",
            "<p>\n{{<bare />}}\n</p>{{<bare />}}\n",
            "{% for item in xs %}{{<row item={item} />}}{{<price of={one.n} />}}{{<price of={4} />}}{% endfor %}",
        ] {
            let (flat, before, after) = rendered(mail, &context);
            assert_eq!(before, after, "{mail}\n{}", flat.root.text);
            assert!(flat.components.is_empty(), "{mail}\n{}", flat.root.text);
        }
    }

    #[test]
    fn what_cannot_be_put_in_faithfully_stays_a_component() {
        let context = serde_json::json!({ "one": { "name": "a" } });
        let (flat, before, after) =
            rendered("{% <panel tone=\"soft\"> %}{{<row item={one} />}}{% </panel> %}", &context);
        assert_eq!((flat.components.len(), before), (1, after));
        let spread = serde_json::json!({ "one": { "item": { "name": "a" } } });
        let (flat, before, after) = rendered("{{<row {...one} />}}", &spread);
        assert_eq!((flat.components.len(), before), (1, after));
    }

    #[test]
    fn a_missing_argument_is_an_error_as_before() {
        let context = serde_json::json!({ "one": { "name": "a" } });
        let (flat, before, after) = rendered("{{<row item={one.none} />}}", &context);
        assert!(flat.components.is_empty() && before.contains("rror") && after.contains("rror"), "{before}\n{after}");
    }
}
