//! The context of a render: JSON in, Tera values out, nulls dropped.
//!
//! The mark of prepared mails ([`super::marks`]), a control character that no mail carries, is dropped from every text.
//! A null would print as nothing and hide a missing value; dropped, it is undefined and the template must say what to do.

use serde::ser::{Serialize, SerializeMap as _, SerializeSeq as _, SerializeStruct as _, Serializer};
use serde_json::Value as Json;
use tera::value::Value;

use super::fields::{self, Used};
use super::marks::MARK;

/// Deepest nesting of data that reaches a template; deeper values are dropped.
const DEPTH_MAX: usize = 16;
/// Objects with more fields than this cost memory for each name.
const FIELDS_MAX: usize = 32;

/// A text for Tera.
pub(super) fn text(text: &str) -> Value {
    match is_marked(text) {
        true => Value::from(text.replace(MARK, "")),
        false => Value::from(text),
    }
}

fn is_marked(text: &str) -> bool {
    memchr::memchr(MARK as u8, text.as_bytes()).is_some()
}

/// A JSON value for Tera. `None` for null.
pub(super) fn value(json: &Json) -> Option<Value> {
    (!json.is_null()).then(|| Value::from_serializable(&Told { json, depth: 0 }))
}

/// An object for Tera: the wanted fields of a JSON object, if it is one, and texts that stand in front of them.
pub(super) fn object(json: Option<&Json>, wanted: &Used, texts: &[(&'static str, &str)]) -> Value {
    let object = json.and_then(Json::as_object);
    Value::from_serializable(&Fields { object, wanted: Some(wanted), texts, depth: 0 })
}

/// An object of texts for Tera.
pub(super) fn texts(texts: &[(&'static str, &str)]) -> Value {
    Value::from_serializable(&Fields { object: None, wanted: None, texts, depth: 0 })
}

/// A JSON value that Tera reads. Read directly, since a map that is handed over is built twice.
#[derive(Clone, Copy)]
struct Told<'a> {
    json: &'a Json,
    depth: usize,
}

impl Told<'_> {
    /// Whether it is dropped.
    fn is_dropped(&self) -> bool {
        self.json.is_null() || self.depth > DEPTH_MAX
    }
}

impl Serialize for Told<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let depth = self.depth + 1;
        match self.json {
            Json::Null => to.serialize_none(),
            Json::Bool(b) => to.serialize_bool(*b),
            Json::String(s) => Text(s).serialize(to),
            Json::Number(n) => match (n.as_i64(), n.as_u64(), n.as_f64()) {
                (Some(n), ..) => to.serialize_i64(n),
                (_, Some(n), _) => to.serialize_u64(n),
                (.., Some(n)) => to.serialize_f64(n),
                (.., None) => to.serialize_none(),
            },
            Json::Array(items) => {
                let mut list = to.serialize_seq(Some(items.len()))?;
                for told in items.iter().map(|json| Told { json, depth }).filter(|told| !told.is_dropped()) {
                    list.serialize_element(&told)?;
                }
                list.end()
            }
            Json::Object(object) => {
                Fields { object: Some(object), wanted: None, texts: &[], depth: self.depth }.serialize(to)
            }
        }
    }
}

struct Text<'a>(&'a str);

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match is_marked(self.0) {
            true => to.serialize_str(&self.0.replace(MARK, "")),
            false => to.serialize_str(self.0),
        }
    }
}

/// The fields of an object.
struct Fields<'a> {
    object: Option<&'a serde_json::Map<String, Json>>,
    /// Which of them; `None`: all.
    wanted: Option<&'a Used>,
    texts: &'a [(&'static str, &'a str)],
    depth: usize,
}

impl<'a> Fields<'a> {
    fn told(&self) -> impl Iterator<Item = (&'a str, Told<'a>)> {
        let Fields { object, wanted, texts, depth } = *self;
        object.into_iter().flatten().filter_map(move |(name, json)| {
            let told = Told { json, depth: depth + 1 };
            let is_wanted = wanted.is_none_or(|w| w.contains(name)) && !texts.iter().any(|(text, _)| text == name);
            (!told.is_dropped() && is_wanted).then_some((name.as_str(), told))
        })
    }
}

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        const NOTHING: (&str, Told<'_>) = ("", Told { json: &Json::Null, depth: 0 });
        let mut known = [NOTHING; FIELDS_MAX];
        let mut n = 0;
        let all = self.told().all(|(name, told)| match (known.get_mut(n), fields::well_known(name)) {
            (Some(place), Some(name)) => {
                *place = (name, told);
                n += 1;
                true
            }
            _ => false,
        });
        // Names that many objects have cost no memory of their own.
        if all {
            let mut fields = to.serialize_struct("", n + self.texts.len())?;
            for (name, told) in &known[..n] {
                fields.serialize_field(name, told)?;
            }
            for (name, text) in self.texts {
                fields.serialize_field(name, &Text(text))?;
            }
            return fields.end();
        }
        let mut map = to.serialize_map(None)?;
        for (name, told) in self.told() {
            map.serialize_entry(name, &told)?;
        }
        for (name, text) in self.texts {
            map.serialize_entry(name, &Text(text))?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_those_wanted_and_texts_stand_in_front() {
        let json = serde_json::json!({"sku": "a", "own name": 1, "name": null, "email": "old", "country": "JP"});
        let shown = |value: Value| serde_json::to_string(&value).unwrap();
        let texts = [("email", "n\u{1}ew")];
        assert_eq!(
            shown(object(Some(&json), &Used::All, &texts)),
            r#"{"sku":"a","own name":1,"country":"JP","email":"new"}"#
        );
        let wanted = Used::Only(["country".to_owned(), "name".to_owned()].into());
        assert_eq!(shown(object(Some(&json), &wanted, &texts)), r#"{"country":"JP","email":"new"}"#);
        assert_eq!(shown(object(None, &Used::All, &[])), "{}");
        let many: serde_json::Map<String, Json> = (0..40).map(|i| (format!("sku{i}"), i.into())).collect();
        assert_eq!(shown(value(&many.clone().into()).unwrap()), Json::from(many).to_string());
        let deep = (0..20).fold(Json::from("x"), |inner, _| serde_json::json!({ "sku": inner }));
        assert_eq!(shown(value(&deep).unwrap()).matches("sku").count(), DEPTH_MAX);
    }

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
