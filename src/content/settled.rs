//! What the settings say is the same in every message of a run: `{{ brand.light.ink }}` becomes its text once, when a mail is prepared.
//!
//! So a style sheet may take its colours from the settings and still be written into components, which see only what they are given, and
//! a message does not pay for them. What is asked about (`{% if brand.url %}`) is answered by [`super::decided`]; what is filtered stays as it is.

use serde_json::Value as Json;

use super::mapped::{Edit, Mapped};
use super::plain::escaped;
use super::tags::{self, Kind};

/// The text with the values of `brand` in place of the expressions that name them.
pub(super) fn settled(text: &Mapped, brand: &Json) -> Mapped {
    let source = text.text.as_str();
    let edits = tags::tags(source).into_iter().filter_map(|tag| {
        if tag.kind != Kind::Expression || tag.trims_left || tag.trims_right {
            return None;
        }
        let path = tag.inner(source).strip_prefix("brand.")?;
        let said = match value(brand, &path.split('.').collect::<Vec<_>>())? {
            Json::String(said) => said,
            Json::Number(n) => n.to_string(),
            _ => return None,
        };
        // A value that looks like a tag of Tera stays an expression, whose value is never read as one.
        if said.contains(['{', '}']) {
            return None;
        }
        Some(Edit { range: tag.range, text: escaped(&said) })
    });
    text.edited(edits.collect())
}

/// A value of the settings; null for one that is not there, `None` where to ask for it is an error.
pub(super) fn value(brand: &Json, path: &[&str]) -> Option<Json> {
    let Some((last, owners)) = path.split_last() else { return Some(brand.clone()) };
    let owner = owners.iter().try_fold(brand, |value, name| value.get(name))?;
    owner.as_object().map(|fields| fields.get(*last).cloned().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_the_settings_are_written_in_and_nothing_else() {
        let brand = serde_json::json!({ "name": "Tea & <co>", "light": { "ink": "#111111" }, "tagline": "{{ evil }}", "logo": null });
        let of = |text: &str| settled(&Mapped::of("a", text), &brand).text;
        assert_eq!(
            of("<p style=\"color:{{ brand.light.ink }}\">{{brand.name}}</p>"),
            "<p style=\"color:#111111\">Tea &amp; &lt;co&gt;</p>"
        );
        for kept in [
            "{{ brand.light }}",
            "{{ brand.tagline }}",
            "{{ brand.logo.url }}",
            "{{ brand.nothing }}",
            "{{ brand.name | upper }}",
            "{% if brand.name %}{% endif %}",
            "{{ brands.name }}",
            "{{<button colour={brand.light.ink} />}}",
            "{% raw %}{{ brand.name }}{% endraw %}",
        ] {
            assert_eq!(of(kept), kept);
        }
    }
}
