//! Texts that are written in several languages.

use crate::problem::Problems;
use crate::yaml::{Node, Shape};

/// Language or locale → text. `default` is for everybody whose language has none.
pub type ByLanguage = Vec<(String, String)>;

/// The text for a locale: `ja-JP → ja → default`.
pub fn in_language<'t>(texts: &'t [(String, String)], locale: &str) -> Option<&'t str> {
    let language = locale.split(['-', '_']).next().unwrap_or(locale);
    let find = |l: &str| texts.iter().find(|(k, _)| k == l).map(|(_, t)| t.as_str());
    find(locale).or_else(|| find(language)).or_else(|| find("default"))
}

/// One text for everybody, or one for each language: `Offers`, or `{ default: Offers, ja: ご案内 }`.
pub(super) fn by_language(node: &Node, what: &str, problems: &mut Problems) -> ByLanguage {
    match &node.shape {
        Shape::Map(pairs) => {
            pairs.iter().filter_map(|p| Some((p.key.clone(), p.value.read::<String>(what, problems)?))).collect()
        }
        Shape::Null => ByLanguage::new(),
        _ => node.read::<String>(what, problems).map(|t| vec![("default".to_owned(), t)]).unwrap_or_default(),
    }
}
