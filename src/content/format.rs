//! Figures in templates: the filters `money`, `number` and `date`, in the language of the mail that is being rendered.

use std::rc::Rc;

use icu_experimental::dimension::currency::CurrencyType;
use jiff::civil::Date;
use tera::{Error, Kwargs, State, Tera, TeraResult, Value};

use super::current;
use super::language::{self, Language};

/// The names of the filters given by [`register`].
pub(super) const FILTERS: [&str; 3] = ["money", "date", "number"];

/// Most digits after the point that `number` writes.
const DECIMALS_MAX: usize = 12;

/// The language of the mail; English outside of one.
pub(super) fn spoken() -> Rc<Language> {
    current::ask(|c| language::of(&c.locale)).unwrap_or_else(|| language::of("en"))
}

/// Give `tera` the filters. `currency` is what `money` assumes.
pub(super) fn register(tera: &mut Tera, currency: &str) {
    let default_currency = currency.to_owned();
    tera.register_filter("money", move |value: &Value, args: Kwargs, _: &State| -> TeraResult<String> {
        let code = args.get::<&str>("currency")?.unwrap_or(&default_currency);
        let currency = CurrencyType::try_from_str(code).map_err(|_| {
            Error::message(format!("`money` takes a currency of three letters such as EUR, not `{code}`"))
        })?;
        let minor = numeric(value, "money")?;
        if minor.fract() != 0.0 || minor.abs() >= 9.0e15 {
            return Err(Error::message(format!("`money` takes whole minor units (cents), not {value}")));
        }
        Ok(spoken().money(minor as i64, currency))
    });
    tera.register_filter("number", move |value: &Value, args: Kwargs, _: &State| -> TeraResult<String> {
        let decimals = args.get::<usize>("decimals")?.map(|d| d.min(DECIMALS_MAX));
        Ok(spoken().number(numeric(value, "number")?, decimals))
    });
    tera.register_filter("date", move |value: &Value, _: Kwargs, _: &State| -> TeraResult<String> {
        Ok(spoken().date(day(value, "date")?))
    });
}

/// A number, also one that came as text from a CSV column.
pub(super) fn numeric(value: &Value, filter: &str) -> TeraResult<f64> {
    let number = value.as_f64().or_else(|| value.as_str().and_then(|t| t.trim().parse().ok()));
    // i64 amounts are exact in f64 up to 2^53 minor units.
    number
        .or_else(|| value.as_i64().map(|n| n as f64))
        .filter(|n| n.is_finite())
        .ok_or_else(|| refused(filter, "a number", value))
}

/// A day, also that of an instant.
pub(super) fn day(value: &Value, filter: &str) -> TeraResult<Date> {
    let day = value.as_str().and_then(day_of);
    day.ok_or_else(|| refused(filter, "a date such as 2026-11-24", value))
}

/// An instant is written with its local offset, so its first ten characters are the local date.
pub(super) fn day_of(text: &str) -> Option<Date> {
    text.get(..10)?.parse().ok()
}

pub(super) fn refused(filter: &str, wanted: &str, value: &Value) -> Error {
    match value.is_undefined() {
        true => Error::message(format!("`{filter}` was given an undefined value")),
        false => Error::message(format!("`{filter}` takes {wanted}, not {}", value.name())),
    }
}
