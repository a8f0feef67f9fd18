//! What is certain of an expression before anybody's mail is rendered.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::Value as Json;

use super::super::scan::Token;
use super::super::settled;

/// What is certain of a condition.
pub(super) enum Truth {
    Known(bool),
    /// Open: the parts of its `and` that are to be asked, as places in its tokens.
    Asks(Vec<Range<usize>>),
}

/// Values that every message has alike, by name. No name stands for anything else in the text that is decided.
pub(super) struct Known(pub(super) BTreeMap<String, Json>);

impl Known {
    pub(super) fn truth(&self, tokens: &[(Token<'_>, usize)]) -> Truth {
        let open = || Truth::Asks(std::iter::once(0..tokens.len()).collect());
        if let [(Token::Word("not"), _), asked @ ..] = tokens
            && words(asked, "and").is_empty()
            && words(asked, "or").is_empty()
            && let Some(value) = self.value(asked)
        {
            return Truth::Known(!is_truthy(&value));
        }
        if let Some(value) = self.value(tokens) {
            return Truth::Known(is_truthy(&value));
        }
        let ands = words(tokens, "and");
        if ands.is_empty() || ["or", "if", "else"].iter().any(|word| !words(tokens, word).is_empty()) {
            return open();
        }
        let starts = std::iter::once(0).chain(ands.iter().map(|at| at + 1));
        let ends = ands.iter().copied().chain(std::iter::once(tokens.len()));
        let mut parts = Vec::new();
        for part in starts.zip(ends).map(|(start, end)| start..end) {
            match self.value(&tokens[part.clone()]).map(|value| is_truthy(&value)) {
                // What was asked before it may be an error, which must stay one.
                Some(false) if parts.is_empty() => return Truth::Known(false),
                Some(true) => {}
                _ => parts.push(part),
            }
        }
        match parts.is_empty() {
            true => Truth::Known(true),
            false => Truth::Asks(parts),
        }
    }

    /// A value that every message has alike; null for one that is not there.
    pub(super) fn value(&self, tokens: &[(Token<'_>, usize)]) -> Option<Json> {
        match tokens {
            [(Token::Text(said), _)] if !said.contains('\\') => Some(Json::from(*said)),
            [(Token::Word("true"), _)] => Some(Json::from(true)),
            [(Token::Word("false"), _)] => Some(Json::from(false)),
            [(Token::Number(digits), _)] => digits.parse::<i64>().ok().map(Json::from),
            [(Token::Word(name), _), rest @ ..] => {
                let value = self.0.get(*name)?;
                let mut names = Vec::new();
                for step in rest.chunks(2) {
                    let [(Token::Sign('.'), _), (Token::Word(name), _)] = step else { return None };
                    names.push(*name);
                }
                settled::value(value, &names)
            }
            _ => None,
        }
    }
}

/// As Tera sees it.
fn is_truthy(value: &Json) -> bool {
    match value {
        Json::Null => false,
        Json::Bool(b) => *b,
        Json::Number(n) => n.as_f64() != Some(0.0),
        Json::String(s) => !s.is_empty(),
        // Tera is told no nulls.
        Json::Array(items) => items.iter().any(|item| !item.is_null()),
        Json::Object(fields) => fields.values().any(|field| !field.is_null()),
    }
}

/// Where a word stands in no brackets.
pub(super) fn words(tokens: &[(Token<'_>, usize)], word: &str) -> Vec<usize> {
    let mut depth = 0_usize;
    let mut found = Vec::new();
    for (i, (token, _)) in tokens.iter().enumerate() {
        match token {
            Token::Sign('(' | '[' | '{') => depth += 1,
            Token::Sign(')' | ']' | '}') => depth = depth.saturating_sub(1),
            Token::Word(w) if depth == 0 && *w == word => found.push(i),
            _ => {}
        }
    }
    found
}
