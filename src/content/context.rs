//! The context of a render: JSON in, Tera values out, nulls dropped.
//!
//! The mark of prepared mails ([`super::marks`]), a control character that no mail carries, is dropped from every text.
//! A null would print as nothing and hide a missing value; dropped, it is undefined and the template must say what to do.

use serde::ser::{Serialize, SerializeMap as _, SerializeSeq as _, SerializeStruct as _, Serializer};
use serde_json::Value as Json;
use tera::value::Value;

use super::fields::{self, Used};
use super::marks::MARK;
use super::named::Named;

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

/// A JSON value for Tera, its objects with the fields that are named. `None` for null.
pub(super) fn value(json: &Json, named: &Named) -> Option<Value> {
    (!json.is_null()).then(|| Value::from_serializable(&Told { json, named, depth: 0 }))
}

/// An object for Tera: the wanted fields of a JSON object, if it is one, and texts that stand in front of them.
pub(super) fn object(json: Option<&Json>, wanted: &Used, named: &Named, texts: &[(&'static str, &str)]) -> Value {
    let object = json.and_then(Json::as_object);
    Value::from_serializable(&Fields { object, wanted: Some(wanted), named, texts, depth: 0 })
}

/// An object of texts for Tera.
pub(super) fn texts(texts: &[(&'static str, &str)]) -> Value {
    Value::from_serializable(&Fields { object: None, wanted: None, named: &Named::ANY, texts, depth: 0 })
}

/// A JSON value that Tera reads. Read directly, since a map that is handed over is built twice.
#[derive(Clone, Copy)]
struct Told<'a> {
    json: &'a Json,
    named: &'a Named,
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
        let (named, depth) = (self.named, self.depth + 1);
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
                for told in items.iter().map(|json| Told { json, named, depth }).filter(|told| !told.is_dropped()) {
                    list.serialize_element(&told)?;
                }
                list.end()
            }
            Json::Object(object) => {
                Fields { object: Some(object), wanted: None, named, texts: &[], depth: self.depth }.serialize(to)
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
    /// Which of them; `None`: those that are named.
    wanted: Option<&'a Used>,
    /// Which of the fields of their own.
    named: &'a Named,
    texts: &'a [(&'static str, &'a str)],
    depth: usize,
}

/// A name as it stands in this program, when it is known there.
type Known = Option<(usize, &'static str)>;

impl<'a> Fields<'a> {
    fn told(&self) -> impl Iterator<Item = (&'a str, Known, Told<'a>)> {
        let Fields { object, wanted, named, texts, depth } = *self;
        // An object that has something is true, whether or not anything of it is named.
        let mut first = true;
        object.into_iter().flatten().filter_map(move |(name, json)| {
            let told = Told { json, named, depth: depth + 1 };
            if told.is_dropped() {
                return None;
            }
            let known = fields::well_known(name);
            let is_told = match wanted {
                Some(wanted) => wanted.contains(name) && !texts.iter().any(|(text, _)| text == name),
                None => std::mem::take(&mut first) || named.contains(name, known.map(|(number, _)| number)),
            };
            is_told.then_some((name.as_str(), known, told))
        })
    }
}

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        const NOTHING: (&str, Told<'_>) = ("", Told { json: &Json::Null, named: &Named::ANY, depth: 0 });
        let mut known = [NOTHING; FIELDS_MAX];
        let mut n = 0;
        let all = self.told().all(|(_, name, told)| match (known.get_mut(n), name) {
            (Some(place), Some((_, name))) => {
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
        for (name, _, told) in self.told() {
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
            shown(object(Some(&json), &Used::All, &Named::ANY, &texts)),
            r#"{"sku":"a","own name":1,"country":"JP","email":"new"}"#
        );
        let wanted = Used::Only(["country".to_owned(), "name".to_owned()].into());
        assert_eq!(shown(object(Some(&json), &wanted, &Named::ANY, &texts)), r#"{"country":"JP","email":"new"}"#);
        assert_eq!(shown(object(None, &Used::All, &Named::ANY, &[])), "{}");
        let named = Named::of(["{{ x.name }}"].into_iter());
        let things = serde_json::json!([{"none": null, "sku": 1, "price": 2, "name": "a"}, {"price": 2}, {}]);
        assert_eq!(shown(value(&things, &named).unwrap()), r#"[{"sku":1,"name":"a"},{"price":2},{}]"#);
        let many: serde_json::Map<String, Json> = (0..40).map(|i| (format!("sku{i}"), i.into())).collect();
        assert_eq!(shown(value(&many.clone().into(), &Named::ANY).unwrap()), Json::from(many).to_string());
        let deep = (0..20).fold(Json::from("x"), |inner, _| serde_json::json!({ "sku": inner }));
        assert_eq!(shown(value(&deep, &Named::ANY).unwrap()).matches("sku").count(), DEPTH_MAX);
    }

    #[test]
    fn nulls_are_dropped_at_every_depth() {
        let json = serde_json::json!({"a": null, "b": {"c": null, "d": [1, null, {"e": null}]}, "n": 1.5});
        let mut context = tera::Context::new();
        for (name, json) in json.as_object().unwrap() {
            if let Some(value) = value(json, &Named::ANY) {
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
