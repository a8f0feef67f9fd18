//! What a template names, read without rendering it: values (`customer.first_name`), other templates, components.
//!
//! Tera's own syntax tree is private, so this reads Tera's tokens. It knows just enough grammar to tell a value from a filter, a test,
//! an argument name or a keyword; whether the template is well formed is Tera's business ([`super::engine`]).

use super::tags::{Kind, tags};
use crate::problem::Place;

/// Everything one source names, in the order it stands there. Offsets are bytes into the source.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Names<'a> {
    pub values: Vec<Value<'a>>,
    /// Names the source itself gives a value: `set`, `for`, parameters of components.
    pub locals: Vec<&'a str>,
    /// `extends` and `include`.
    pub templates: Vec<(&'a str, usize)>,
    pub filters: Vec<(&'a str, usize)>,
    pub components_defined: Vec<String>,
    pub components_used: Vec<(String, usize)>,
}

/// A value as the template names it: `order.lines` is `["order", "lines"]`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Value<'a> {
    pub path: Vec<&'a str>,
    pub at: usize,
}

/// Read a source.
pub(super) fn names(source: &str) -> Names<'_> {
    let mut names = Names::default();
    for tag in tags(source) {
        match tag.kind {
            Kind::Statement => statement(&tokens(source, tag.inner.start, tag.inner.end), &mut names),
            Kind::Expression => expression(&tokens(source, tag.inner.start, tag.inner.end), &mut names),
            Kind::Comment | Kind::Raw => {}
        }
    }
    names
}

/// Where a byte of a file stands.
pub(super) fn place(file: &str, source: &str, offset: usize) -> Place {
    let before = source.get(..offset).unwrap_or(source);
    let line_start = before.rfind('\n').map_or(0, |i| i + 1);
    Place {
        file: file.into(),
        line: 1 + before.matches('\n').count(),
        column: 1 + before[line_start..].chars().count(),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    Word(&'a str),
    /// What stands between the quotes, with its escapes as they are written.
    Text(&'a str),
    Number(&'a str),
    /// `?.` is `.`, `?[` is `[`; `==`, `!=`, `<=`, `>=` are `'≈'`.
    Sign(char),
}

/// The tokens of a part of a source, each with its place in the source.
pub(super) fn tokens(source: &str, start: usize, end: usize) -> Vec<(Token<'_>, usize)> {
    let text = &source[start..end];
    let mut out = Vec::new();
    let mut chars = text.char_indices().peekable();
    while let Some((i, c)) = chars.next() {
        let token = match c {
            _ if c.is_whitespace() => continue,
            '"' | '\'' | '`' => {
                let mut close = None;
                while let Some((j, d)) = chars.next() {
                    if d == '\\' {
                        chars.next();
                    } else if d == c {
                        close = Some(j);
                        break;
                    }
                }
                Token::Text(&text[i + 1..close.unwrap_or(text.len())])
            }
            _ if c.is_alphabetic() || c == '_' => {
                Token::Word(run(text, i, &mut chars, |d| d.is_alphanumeric() || d == '_'))
            }
            _ if c.is_ascii_digit() => Token::Number(run(text, i, &mut chars, |d| d.is_ascii_digit())),
            '?' if matches!(chars.peek(), Some((_, '.' | '['))) => Token::Sign(chars.next().map_or('?', |(_, d)| d)),
            '=' | '!' | '<' | '>' if matches!(chars.peek(), Some((_, '='))) => {
                chars.next();
                Token::Sign('≈')
            }
            _ => Token::Sign(c),
        };
        out.push((token, start + i));
    }
    out
}

/// Where a token ends in the source that it was read from.
pub(super) fn end_of(source: &str, (token, at): (Token<'_>, usize)) -> usize {
    match token {
        Token::Word(text) | Token::Number(text) => at + text.len(),
        Token::Text(text) => (at + text.len() + 2).min(source.len()),
        Token::Sign('≈') => at + 2,
        Token::Sign(sign) => at + usize::from(source[at..].starts_with('?')) + sign.len_utf8(),
    }
}

fn run<'a>(
    text: &'a str,
    start: usize,
    chars: &mut std::iter::Peekable<std::str::CharIndices<'_>>,
    belongs: impl Fn(char) -> bool,
) -> &'a str {
    let mut end = text.len();
    while let Some((i, c)) = chars.peek() {
        if !belongs(*c) {
            end = *i;
            break;
        }
        chars.next();
    }
    &text[start..end]
}

/// `{% … %}`.
fn statement<'a>(tokens: &[(Token<'a>, usize)], names: &mut Names<'a>) {
    let mut tokens = tokens;
    while let [(Token::Sign('-'), _), rest @ ..] = tokens {
        tokens = rest;
    }
    let [(Token::Word(keyword), _), rest @ ..] = tokens else {
        return expression(tokens, names);
    };
    match *keyword {
        "extends" | "include" => {
            if let [(Token::Text(name), at), ..] = rest {
                names.templates.push((name, *at));
            }
        }
        "block" | "break" | "continue" => {}
        "set" | "set_global" => {
            if let [(Token::Word(local), _), value @ ..] = rest {
                names.locals.push(local);
                expression(value, names);
            }
        }
        "for" => {
            let split = rest.iter().position(|(t, _)| *t == Token::Word("in")).unwrap_or(rest.len());
            names.locals.extend(rest[..split].iter().filter_map(|(t, _)| word(*t)));
            expression(rest.get(split + 1..).unwrap_or_default(), names);
        }
        "filter" => {
            if let [(Token::Word(filter), at), arguments @ ..] = rest {
                names.filters.push((filter, *at));
                expression(arguments, names);
            }
        }
        "component" => {
            let open = rest.iter().position(|(t, _)| *t == Token::Sign('(')).unwrap_or(rest.len());
            names.components_defined.push(dotted(&rest[..open]));
            names.locals.extend(rest[open..].iter().filter_map(|(t, _)| word(*t)));
            names.locals.push("body");
        }
        "if" | "elif" | "else" => expression(rest, names),
        _ if keyword.starts_with("end") => {}
        _ => expression(tokens, names),
    }
}

const KEYWORDS: [&str; 15] =
    ["and", "or", "not", "in", "is", "if", "elif", "else", "true", "false", "True", "False", "none", "None", "null"];

/// Collect what an expression names.
fn expression<'a>(tokens: &[(Token<'a>, usize)], names: &mut Names<'a>) {
    let sign = |i: usize| match tokens.get(i) {
        Some((Token::Sign(c), _)) => Some(*c),
        _ => None,
    };
    let before = |i: usize| i.checked_sub(1).and_then(|b| tokens.get(b)).map(|(t, _)| *t);
    let mut i = 0;
    while i < tokens.len() {
        let (token, at) = tokens[i];
        if token == Token::Sign('<') && sign(i + 1) == Some('/') {
            return;
        }
        let Token::Word(first) = token else {
            // `<name …/>` calls a component, where no value stands before it to compare with.
            let calls = token == Token::Sign('<')
                && !matches!(
                    before(i),
                    Some(Token::Word(_) | Token::Text(_) | Token::Number(_) | Token::Sign(')' | ']'))
                );
            if calls {
                let name: Vec<_> = tokens[i + 1..]
                    .iter()
                    .copied()
                    .enumerate()
                    .take_while(|(n, (t, _))| if n % 2 == 0 { word(*t).is_some() } else { *t == Token::Sign('.') })
                    .map(|(_, t)| t)
                    .collect();
                i += name.len();
                if !name.is_empty() {
                    names.components_used.push((dotted(&name), at));
                }
            }
            i += 1;
            continue;
        };
        i += 1;
        match before(i - 1) {
            Some(Token::Sign('|')) => {
                names.filters.push((first, at));
                continue;
            }
            Some(Token::Word("is")) => continue,
            Some(Token::Word("not")) if matches!(before(i - 2), Some(Token::Word("is"))) => continue,
            // A field of what an index chose; `...rest` spreads a value.
            Some(Token::Sign('.')) if before(i - 2) != Some(Token::Sign('.')) => continue,
            _ => {}
        }
        if first == "for" {
            // A list comprehension: `[x.name for x in xs]`.
            while let Some((Token::Word(local), _)) = tokens.get(i).filter(|(t, _)| *t != Token::Word("in")) {
                names.locals.push(local);
                i += if sign(i + 1) == Some(',') { 2 } else { 1 };
            }
            continue;
        }
        let is_key = sign(i) == Some(':') && matches!(before(i - 1), Some(Token::Sign('{' | ',')));
        if KEYWORDS.contains(&first) || matches!(sign(i), Some('(' | '=')) || is_key {
            continue;
        }
        let mut path = vec![first];
        loop {
            match (sign(i), tokens.get(i + 1).map(|(t, _)| *t)) {
                (Some('.'), Some(Token::Word(next))) => path.push(next),
                (Some('['), Some(Token::Text(next))) if sign(i + 2) == Some(']') => {
                    path.push(next);
                    i += 1;
                }
                _ => break,
            }
            i += 2;
        }
        names.values.push(Value { path, at });
    }
}

pub(super) fn word(token: Token<'_>) -> Option<&str> {
    match token {
        Token::Word(w) => Some(w),
        _ => None,
    }
}

fn dotted(tokens: &[(Token<'_>, usize)]) -> String {
    tokens.iter().filter_map(|(t, _)| word(*t)).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(source: &str) -> String {
        names(source).values.iter().map(|v| v.path.join(".")).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn values_are_told_from_everything_else() {
        assert_eq!(values(r#"{{ customer.first_name | default(value="Hello") }}"#), "customer.first_name");
        assert_eq!(values("{{ a?.b['c'].d }} {{ xs[0].name }}"), "a.b.c.d xs");
        assert_eq!(
            values("{% if not order and x is not defined %}{{ y | default(value=z) }}{% endif %}"),
            "order x y z"
        );
        assert_eq!(
            values(r#"{{ room[profile.top_category] }} {{ f(a=b) }} {{ {"k": v, "w": 1} }}"#),
            "room profile.top_category b v"
        );
        assert_eq!(
            values("{% for k, v in order.lines[:3] %}{% endfor %}{% raw %}{{ no }}{% endraw %}{{ yes }}"),
            "order.lines yes"
        );
        assert_eq!(values(r#"{# {{ no }} #}{{ "}} {{ no" ~ yes }}{{ a == b }}{{ c <= d }}"#), "yes a b c d");
        assert_eq!(
            values(r#"{{<button label={"x" if order else "y"} url={brand.url} colour="red" />}}"#),
            "order brand.url"
        );
        assert_eq!(values("{{ [line.name for line in order.lines if line.qty] }}"), "line.name order.lines line.qty");
    }

    #[test]
    fn templates_components_and_locals_are_found() {
        let source = r#"{% extends "a.html" %}{%- include 'b/c.html' -%}{% component card.big(title: string, n=3) %}{{ title }}{% endcomponent %}
            {% set days = 3 %}{% for item in xs %}{% endfor %}{% <card.big title="x"> %}{{ y | upper }}{% </card.big> %}"#;
        let names = names(source);
        assert_eq!(names.templates.iter().map(|(n, _)| *n).collect::<Vec<_>>(), ["a.html", "b/c.html"]);
        assert_eq!(names.components_defined, ["card.big"]);
        assert_eq!(names.components_used.iter().map(|(n, _)| n.as_str()).collect::<Vec<_>>(), ["card.big"]);
        assert!(["title", "n", "days", "item"].iter().all(|l| names.locals.contains(l)), "{:?}", names.locals);
        assert_eq!(names.filters.iter().map(|(f, _)| *f).collect::<Vec<_>>(), ["upper"]);
        assert_eq!(names.values.iter().map(|v| v.path.join(".")).collect::<Vec<_>>(), ["title", "xs", "y"]);
    }

    #[test]
    fn broken_templates_are_no_panic() {
        for source in [
            "{",
            "{{",
            "{%",
            "{{ 'a",
            "{{ \"\\",
            "{% raw %}",
            "{% for",
            "{% set %}",
            "{{<",
            "{{ 日本.語 }",
            "{#",
            "{% component",
            "{{ a. }}",
            "{{ a['b }}",
        ] {
            names(source);
        }
    }

    #[test]
    fn places_count_characters() {
        let p = place("a", "日本\n語 {{ x }}", "日本\n語 ".len());
        assert_eq!((p.line, p.column), (2, 3));
    }
}
