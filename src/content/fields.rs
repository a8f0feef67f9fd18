//! The catalogue of what a template may name, and the set of what a mail does name.
//!
//! The catalogue is the contract between authors and the planner. What everybody has of it is what
//! [`super::sample::sample_stranger`] has; the use of everything else needs a default. [`FieldSet`] lets the planner store with a message only what its templates use.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use super::{answer, scan, skip, tags};

/// A field of an object.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field {
    pub name: &'static str,
    /// Fields of its own; empty for a plain value.
    pub fields: &'static [Field],
}

const fn plain(name: &'static str) -> Field {
    Field { name, fields: &[] }
}

/// Everything a template may name, by its first word.
pub(super) const CATALOGUE: [Field; 13] = [
    Field {
        name: "customer",
        fields: &[
            plain("customer_id"),
            plain("email"),
            plain("locale"),
            plain("first_name"),
            plain("last_name"),
            plain("country"),
            plain("time_zone"),
        ],
    },
    Field {
        name: "profile",
        fields: &[
            plain("orders"),
            plain("revenue"),
            plain("lifecycle"),
            plain("open_tickets"),
            plain("average_order"),
            plain("first_order_at"),
            plain("last_order_at"),
            plain("days_since_first_order"),
            plain("days_since_last_order"),
            plain("usual_gap_days"),
            plain("r"),
            plain("f"),
            plain("m"),
            plain("rfm"),
            plain("top_category"),
            Field {
                name: "last_viewed",
                fields: &[plain("sku"), plain("name"), plain("category"), plain("price"), plain("url")],
            },
            plain("last_rating"),
        ],
    },
    Field {
        name: "order",
        fields: &[plain("order_id"), plain("ordered_at"), plain("total"), plain("currency"), plain("lines")],
    },
    Field { name: "cart", fields: &[plain("updated_at"), plain("items")] },
    plain("recommend"),
    Field {
        name: "reward",
        fields: &[
            plain("pool"),
            plain("kind"),
            plain("title"),
            plain("value"),
            plain("code"),
            plain("expires_on"),
            plain("terms"),
        ],
    },
    Field {
        name: "loyalty",
        fields: &[
            plain("reached"),
            plain("tier"),
            plain("next_tier"),
            plain("to_next"),
            plain("falls_on"),
            plain("falls_to"),
            plain("to_keep"),
        ],
    },
    Field { name: "campaign", fields: &[plain("name"), plain("title")] },
    Field { name: "step", fields: &[plain("name")] },
    Field { name: "links", fields: &[plain("unsubscribe"), plain("preferences")] },
    Field {
        name: "brand",
        fields: &[
            plain("name"),
            plain("tagline"),
            plain("organisation"),
            plain("postal_address"),
            plain("url"),
            Field { name: "logo", fields: &[plain("url"), plain("width"), plain("height")] },
            plain("colour"),
            plain("light"),
            plain("dark"),
            Field { name: "fonts", fields: &[plain("heading"), plain("text")] },
            Field { name: "contact", fields: &[plain("email"), plain("phone"), plain("hours")] },
            plain("social"),
            plain("pages"),
        ],
    },
    plain("preheader"),
    plain("today"),
];

/// Fields of products, lines and recommendations, which lists hold.
const OF_THINGS: [&str; 11] =
    ["sku", "name", "category", "price", "url", "image", "quantity", "amount", "because", "bought", "strategy"];

/// A name that every message has, as it stands in this program.
pub(super) fn well_known(name: &str) -> Option<&'static str> {
    /// By their length in bytes.
    static NAMES: OnceLock<Vec<Vec<&'static str>>> = OnceLock::new();
    fn collect(fields: &'static [Field], out: &mut BTreeSet<&'static str>) {
        for field in fields {
            out.insert(field.name);
            collect(field.fields, out);
        }
    }
    let names = NAMES.get_or_init(|| {
        let mut names = BTreeSet::from(OF_THINGS);
        collect(&CATALOGUE, &mut names);
        let longest = names.iter().map(|n| n.len()).max().unwrap_or_default();
        let mut by_length = vec![Vec::new(); longest + 1];
        for name in names {
            by_length[name.len()].push(name);
        }
        by_length
    });
    let first = name.as_bytes().first();
    names.get(name.len())?.iter().find(|known| known.as_bytes().first() == first && **known == name).copied()
}

/// A field among others, by name.
pub(super) fn find(fields: &'static [Field], name: &str) -> Option<&'static Field> {
    fields.iter().find(|f| f.name == name)
}

/// Objects that not everybody has.
const OF_SOME: [&str; 5] = ["order", "cart", "reward", "profile.last_viewed", "brand.logo"];

/// Whether an object, as templates name it, is one that not everybody has.
pub(super) fn is_of_some(path: &str) -> bool {
    OF_SOME.contains(&path)
}

/// Which fields of an object are used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Used {
    /// The object as a whole, or by a name that is only known while rendering.
    All,
    Only(BTreeSet<String>),
}

impl Used {
    fn none() -> Used {
        Used::Only(BTreeSet::new())
    }

    /// Whether a field is used.
    pub fn contains(&self, field: &str) -> bool {
        match self {
            Used::All => true,
            Used::Only(names) => names.contains(field),
        }
    }

    fn add(&mut self, field: Option<&&str>) {
        match (self, field) {
            (Used::All, _) => {}
            (this, None) => *this = Used::All,
            (Used::Only(names), Some(field)) => drop(names.insert((*field).to_owned())),
        }
    }
}

/// What the templates of a mail use of the data stored with each message. `customer_id`, `email` and `locale` are in the message row
/// itself and need not be stored again; the names are always part of the set, because the To header shows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldSet {
    pub customer: Used,
    pub profile: Used,
    /// The last order with its lines.
    pub order: bool,
    /// The person's tier, and what is missing to the next.
    pub loyalty: bool,
    /// What was left in the basket.
    pub cart: bool,
    /// The campaign's or the step's names.
    pub campaign: bool,
    pub step: bool,
    /// A template may skip somebody, so whether it does is asked before the verdict.
    pub skips: bool,
    /// A template asks a question.
    pub answers: bool,
}

impl FieldSet {
    /// For plans whose messages nobody writes.
    pub fn nothing() -> FieldSet {
        FieldSet::new()
    }

    fn new() -> FieldSet {
        let names = ["first_name", "last_name"].map(str::to_owned);
        FieldSet {
            customer: Used::Only(names.into()),
            profile: Used::none(),
            order: false,
            loyalty: false,
            cart: false,
            campaign: false,
            step: false,
            skips: false,
            answers: false,
        }
    }

    /// What sources use.
    pub(super) fn of<'a>(sources: impl Iterator<Item = &'a str>) -> FieldSet {
        let mut fields = FieldSet::new();
        for source in sources {
            for value in scan::names(source).values {
                fields.add(&value.path);
            }
            fields.skips |= tags::calls(source, skip::FUNCTION);
            fields.answers |= tags::calls(source, answer::FUNCTION);
        }
        fields
    }

    /// Whether an object of the payload is used at all; what is no object of its own is kept.
    pub(super) fn contains(&self, object: &str) -> bool {
        match object {
            "order" => self.order,
            "loyalty" => self.loyalty,
            "cart" => self.cart,
            _ => true,
        }
    }

    fn add(&mut self, path: &[&str]) {
        match path.first() {
            Some(&"customer") => self.customer.add(path.get(1)),
            Some(&"profile") => self.profile.add(path.get(1)),
            Some(&"order") => self.order = true,
            Some(&"loyalty") => self.loyalty = true,
            Some(&"cart") => self.cart = true,
            Some(&"campaign") => self.campaign = true,
            Some(&"step") => self.step = true,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_is_named_and_everything_when_the_name_is_open() {
        let mut set = FieldSet::new();
        set.add(&["customer", "country"]);
        set.add(&["profile", "last_viewed", "name"]);
        assert!(
            set.customer.contains("country") && set.customer.contains("first_name") && !set.customer.contains("points")
        );
        assert!(set.profile.contains("last_viewed") && !set.profile.contains("orders") && !set.order);
        set.add(&["profile"]);
        set.add(&["order", "lines"]);
        assert!(set.profile == Used::All && set.order);
    }
}
