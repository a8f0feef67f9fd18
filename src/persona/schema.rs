//! The JSON Schema of `personas.yaml`.

use serde_json::Value;

use super::PEOPLE_MAX;
use crate::segment::schema::{Names, definitions, given};
use crate::yaml::schema::{Object, file, flag, list, text};

/// The schema of a project's personas.
pub fn personas_file(names: Names<'_>) -> Value {
    let persona = Object::new("a persona")
        .needs("persona", text(), "Their name: small letters, digits, _ and -; one of ours is replaced")
        .key("title", text(), "For people")
        .key("strange", flag(), "Here to try a mail out, not to judge it by");
    let mut root = list(given(persona, names).closed());
    root["maxItems"] = PEOPLE_MAX.into();
    file("Personas of Okaeri, invented people of previews: docs/preview.md", root, definitions(names))
}
