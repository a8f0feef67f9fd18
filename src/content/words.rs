//! Words that depend on numbers, days and lists, in the language of the mail that is being rendered: the filters `plural`, `relative` and `list`;
//! and `urlencode`, for data that goes into an address.

use icu_plurals::PluralCategory;
use tera::{Error, Kwargs, State, Tera, TeraResult, Value};

use super::current;
use super::format::{day, day_of, numeric, refused, spoken};

/// The forms a language may have, in the order of the filter's arguments.
const FORMS: [(&str, PluralCategory); 6] = [
    ("zero", PluralCategory::Zero),
    ("one", PluralCategory::One),
    ("two", PluralCategory::Two),
    ("few", PluralCategory::Few),
    ("many", PluralCategory::Many),
    ("other", PluralCategory::Other),
];

/// The names of the filters given by [`register`].
pub(super) const FILTERS: [&str; 4] = ["plural", "relative", "list", "urlencode"];

/// Give `tera` the filters.
pub(super) fn register(tera: &mut Tera) {
    tera.register_filter("plural", move |value: &Value, args: Kwargs, _: &State| -> TeraResult<String> {
        let n = numeric(value, "plural")?;
        let language = spoken();
        let wanted = language.form(n);
        let other = args.must_get::<&str>("other")?;
        let (name, _) = FORMS.iter().find(|(_, category)| *category == wanted).expect("every form has a name");
        // A form of their own for nothing is what authors mean by `zero`, whether or not the language has one.
        let zero = if n == 0.0 { args.get::<&str>("zero")? } else { None };
        let text = zero.or(args.get::<&str>(name)?).unwrap_or(other);
        Ok(text.replace('#', &language.number(n, None)))
    });
    tera.register_filter("relative", move |value: &Value, _: Kwargs, _: &State| -> TeraResult<String> {
        let date = day(value, "relative")?;
        let today = current::ask(|c| day_of(&c.today)).flatten();
        let today = today.ok_or_else(|| Error::message("`relative` needs the day the mail is planned on"))?;
        Ok(spoken().relative((date - today).get_days().into()))
    });
    tera.register_filter("list", move |value: &Value, args: Kwargs, _: &State| -> TeraResult<String> {
        let items = value.as_array().ok_or_else(|| refused("list", "a list", value))?;
        let items: Vec<String> = items.iter().map(ToString::to_string).filter(|t| !t.is_empty()).collect();
        Ok(spoken().list(&items, args.get::<bool>("or")?.unwrap_or_default()))
    });
    // RFC 3986 §2.1: of data in an address only what is unreserved stands for itself, so that it stays one part of one value.
    tera.register_filter("urlencode", move |value: &Value, _: Kwargs, _: &State| -> TeraResult<String> {
        if value.is_undefined() || value.as_array().is_some() {
            return Err(refused("urlencode", "a text or a number", value));
        }
        let encoded: String = url::form_urlencoded::byte_serialize(value.to_string().as_bytes()).collect();
        Ok(encoded.replace('+', "%20").replace('*', "%2A").replace("%7E", "~"))
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_in_an_address_stays_one_value() {
        let mut tera = Tera::default();
        register(&mut tera);
        tera.add_raw_template("t", "{{ v | urlencode }}").unwrap();
        let encoded = |v: &str| {
            let mut context = tera::Context::new();
            context.insert("v", v);
            tera.render("t", &context).unwrap()
        };
        assert_eq!(encoded("a b&c=d/é+~*\"#\r\n"), "a%20b%26c%3Dd%2F%C3%A9%2B~%2A%22%23%0D%0A");
        assert_eq!(encoded("azAZ09-._~"), "azAZ09-._~");
    }
}
