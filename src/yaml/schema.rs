//! JSON Schema (draft 7) for the files authors write, so that an editor completes keys and underlines what `okaeri check` would refuse.
//!
//! Each room writes the schema of what it reads, beside its reader; a test holds the two together: every mapping carries as `title` what the
//! reader calls it, and has the keys that the reader asks for. A schema knows the project's own names (segments, topics, events, columns).
//! It cannot say everything that a reader checks; it never refuses what a reader takes.

use serde_json::{Map, Value, json};

/// `30d`, `12h`, `45m`.
const SPAN: &str = r"^\s*[0-9]+\s*(d|day|days|w|week|weeks|y|year|years|h|hour|hours|m|min|minutes|s|seconds)\s*$";
/// `10%`.
const SHARE: &str = r"^\s*[0-9]+(\.[0-9]+)?\s*%\s*$";
/// `09:00`.
const CLOCK_TIME: &str = r"^\s*([01]?[0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?\s*$";

/// A mapping that is being described.
pub struct Object {
    title: &'static str,
    properties: Map<String, Value>,
    required: Vec<&'static str>,
}

impl Object {
    /// `title`: what the reader calls it.
    pub fn new(title: &'static str) -> Object {
        Object { title, properties: Map::new(), required: Vec::new() }
    }

    /// A key that may be there, and what it is for.
    pub fn key(mut self, key: &str, value: Value, meaning: &str) -> Object {
        let mut value = value;
        if let (Some(map), false) = (value.as_object_mut(), meaning.is_empty()) {
            // Beside `$ref` draft 7 ignores everything; editors show it all the same.
            map.insert("description".to_owned(), meaning.into());
        }
        self.properties.insert(key.to_owned(), value);
        self
    }

    /// A key that must be there.
    pub fn needs(mut self, key: &'static str, value: Value, meaning: &str) -> Object {
        self.required.push(key);
        self.key(key, value, meaning)
    }

    /// All keys of another mapping too.
    pub fn with(mut self, other: Object) -> Object {
        self.properties.extend(other.properties);
        self.required.extend(other.required);
        self
    }

    /// The schema; other keys are not allowed.
    pub fn closed(self) -> Value {
        let mut schema = json!({
            "title": self.title, "type": "object", "additionalProperties": false, "properties": self.properties,
        });
        if !self.required.is_empty() {
            schema["required"] = json!(self.required);
        }
        schema
    }
}

/// A file's schema: its root and what it refers to by name.
pub fn file(title: &str, root: Value, definitions: Vec<(&str, Value)>) -> Value {
    let mut schema = root;
    schema["$schema"] = "http://json-schema.org/draft-07/schema#".into();
    schema["description"] = title.into();
    if !definitions.is_empty() {
        schema["definitions"] = definitions.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    }
    schema
}

/// What stands under `definitions`.
pub fn named(name: &str) -> Value {
    json!({ "$ref": format!("#/definitions/{name}") })
}

/// Text; numbers are read as text too.
pub fn text() -> Value {
    json!({ "type": ["string", "integer"] })
}

pub fn flag() -> Value {
    json!({ "type": "boolean" })
}

pub fn whole(least: i64) -> Value {
    json!({ "type": "integer", "minimum": least })
}

/// A whole number between two.
pub fn within(least: u32, most: u32) -> Value {
    json!({ "type": "integer", "minimum": least, "maximum": most })
}

pub fn number() -> Value {
    json!({ "type": "number" })
}

pub fn span() -> Value {
    json!({ "type": "string", "pattern": SPAN })
}

pub fn share() -> Value {
    json!({ "anyOf": [{ "type": "string", "pattern": SHARE }, { "type": "number", "minimum": 0, "maximum": 1 }] })
}

pub fn clock_time() -> Value {
    json!({ "type": "string", "pattern": CLOCK_TIME })
}

/// Text that a variable of the environment may stand in.
pub fn variable() -> Value {
    text()
}

/// One of a few words.
pub fn words<S: Into<String>>(words: impl IntoIterator<Item = S>) -> Value {
    json!({ "enum": words.into_iter().map(Into::into).collect::<Vec<String>>() })
}

/// Words that are proposed, and any other text.
pub fn proposed<S: Into<String>>(known: impl IntoIterator<Item = S>) -> Value {
    json!({ "anyOf": [words(known), text()] })
}

/// One of these, or a list of them.
pub fn one_or_list(item: Value) -> Value {
    json!({ "anyOf": [item.clone(), { "type": "array", "items": item, "minItems": 1 }] })
}

pub fn list(item: Value) -> Value {
    json!({ "type": "array", "items": item })
}

/// A mapping whose keys are the author's own.
pub fn each(value: Value) -> Value {
    json!({ "type": "object", "additionalProperties": value })
}

/// Any of these. A mapping among them is judged as one whenever a mapping stands there, so that an editor says what is wrong inside of it.
pub fn either(mapping: Value, other: Value) -> Value {
    json!({ "if": { "type": "object" }, "then": mapping, "else": other })
}

/// What anything may be.
pub fn anything() -> Value {
    json!({})
}

/// Mappings that are told apart by a key of theirs.
pub fn by_key(kinds: Vec<(&str, Value)>) -> Value {
    let keys: Vec<Value> = kinds.iter().map(|(key, _)| json!({ "required": [key] })).collect();
    let properties: Map<String, Value> = kinds.iter().map(|(key, _)| ((*key).to_owned(), json!({}))).collect();
    let chosen: Vec<Value> =
        kinds.into_iter().map(|(key, schema)| json!({ "if": { "required": [key] }, "then": schema })).collect();
    json!({ "type": "object", "properties": properties, "anyOf": keys, "allOf": chosen })
}

/// For tests: the keys of every mapping in a schema, by its title.
#[cfg(test)]
pub fn keys_by_title(schema: &Value) -> std::collections::BTreeMap<String, std::collections::BTreeSet<String>> {
    fn walk(schema: &Value, found: &mut std::collections::BTreeMap<String, std::collections::BTreeSet<String>>) {
        if let (Some(title), Some(properties)) = (schema["title"].as_str(), schema["properties"].as_object()) {
            found.entry(title.to_owned()).or_default().extend(properties.keys().cloned());
        }
        match schema {
            Value::Object(map) => map.values().for_each(|v| walk(v, found)),
            Value::Array(list) => list.iter().for_each(|v| walk(v, found)),
            _ => {}
        }
    }
    let mut found = std::collections::BTreeMap::new();
    walk(schema, &mut found);
    found
}

/// For tests: fails unless the schema has, for every mapping that was read on this thread, the keys that its reader asked for; of those of
/// which only some kinds were read, `in_part`, at least these.
#[cfg(test)]
#[track_caller]
pub fn assert_like_readers(schema: &Value, read: &[&str], in_part: &[&str]) {
    let (keys, asked) = (keys_by_title(schema), super::asked::taken());
    for title in in_part {
        let known = keys.get(*title).cloned().unwrap_or_default();
        let missing: Vec<_> = asked.get(title).into_iter().flatten().filter(|k| !known.contains(**k)).collect();
        assert!(missing.is_empty(), "`{title}`: {missing:?} are asked for and not in the schema");
    }
    for title in read {
        let asked: std::collections::BTreeSet<String> = match asked.get(title) {
            Some(asked) => asked.iter().map(|k| (*k).to_owned()).collect(),
            None => panic!("nothing was read that is called `{title}`"),
        };
        assert_eq!(
            keys.get(*title),
            Some(&asked),
            "the keys of `{title}`: left in the schema, right asked for by the reader"
        );
    }
    let missing: Vec<_> =
        asked.iter().filter(|(t, keys)| !keys.is_empty() && !read.contains(*t) && !in_part.contains(*t)).collect();
    assert!(missing.is_empty(), "read, and not held against the schema: {missing:?}");
}
