//! The context of a render: JSON in, Tera values out, nulls dropped.
//!
//! The mark of prepared mails ([`super::marks`]), a control character that no mail carries, is dropped from every text.
//! A null would print as nothing and hide a missing value; dropped, it is undefined and the template must say what to do.

use std::sync::Arc;

use serde_json::Value as Json;
use tera::value::{Key, Map, Value};

use super::fields::{self, Used};
use super::marks::MARK;

/// Deepest nesting of data that reaches a template; deeper values are dropped.
const DEPTH_MAX: usize = 16;

/// A text for Tera.
pub(super) fn text(text: &str) -> Value {
    match text.contains(MARK) {
        true => Value::from(text.replace(MARK, "")),
        false => Value::from(text),
    }
}

/// A JSON value for Tera. `None` for null.
pub(super) fn value(json: &Json) -> Option<Value> {
    at_depth(json, 0)
}

/// The wanted fields of a JSON object; empty for anything else.
pub(super) fn map(json: Option<&Json>, wanted: &Used) -> Map {
    match json.and_then(Json::as_object) {
        Some(object) => fields(object, 0, |name| wanted.contains(name)),
        None => Map::new(),
    }
}

fn fields(object: &serde_json::Map<String, Json>, depth: usize, wanted: impl Fn(&str) -> bool) -> Map {
    // Room for what the renderer adds to a customer.
    let mut map = Map::with_capacity(object.len() + 3);
    for (name, json) in object.iter().filter(|(name, _)| wanted(name)) {
        if let Some(value) = at_depth(json, depth + 1) {
            map.insert(key(name), value);
        }
    }
    map
}

/// Names that many objects have cost no memory of their own.
fn key(name: &str) -> Key<'static> {
    match fields::well_known(name) {
        Some(known) => Key::Str(known),
        None => Key::String(Arc::from(name)),
    }
}

fn at_depth(json: &Json, depth: usize) -> Option<Value> {
    if depth > DEPTH_MAX {
        return None;
    }
    Some(match json {
        Json::Null => return None,
        Json::Bool(b) => Value::from(*b),
        Json::String(s) => text(s),
        Json::Number(n) => match (n.as_i64(), n.as_u64()) {
            (Some(n), _) => Value::from(n),
            (_, Some(n)) => Value::from(n),
            _ => Value::from(n.as_f64()?),
        },
        Json::Array(items) => Value::from(items.iter().filter_map(|i| at_depth(i, depth + 1)).collect::<Vec<Value>>()),
        Json::Object(object) => Value::from(fields(object, depth, |_| true)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nulls_are_dropped_at_every_depth() {
        let json = serde_json::json!({"a": null, "b": {"c": null, "d": [1, null, {"e": null}]}, "n": 1.5});
        let mut context = tera::Context::new();
        for (name, json) in json.as_object().unwrap() {
            if let Some(value) = value(json) {
                context.insert_value(name.clone(), value);
            }
        }
        let render = |t: &str| tera::Tera::one_off(t, &context, false).ok();
        assert_eq!(
            render("{{ a is defined }} {{ b.c is defined }} {{ b.d | length }} {{ n }}").as_deref(),
            Some("false false 2 1.5")
        );
        assert_eq!(render("{{ b.c }}"), None);
    }
}
