//! `skip(reason="…")`: a template decides that somebody gets no mail, because there is nothing to say to them.

use tera::{Error, Kwargs, State, Tera, TeraResult, Value};

/// Begins the message of the error by which a template stops; no template can write it by accident.
const MARK: &str = "okaeri-skip\u{1}";
/// Longest reason kept, in characters.
const REASON_CHARS_MAX: usize = 200;

/// The function's name.
pub(super) const FUNCTION: &str = "skip";

/// Give `tera` the function.
pub(super) fn register(tera: &mut Tera) {
    tera.register_function(FUNCTION, |args: Kwargs, _: &State| -> TeraResult<Value> {
        let reason = args.must_get::<&str>("reason")?;
        let reason: String = reason.chars().filter(|c| !c.is_control()).take(REASON_CHARS_MAX).collect();
        Err(Error::message(format!("{MARK}{reason}\u{1}")))
    });
}

/// The reason in the message of a render that stopped.
pub(super) fn reason_in(message: &str) -> Option<String> {
    let (_, after) = message.split_once(MARK)?;
    Some(after.split('\u{1}').next().unwrap_or_default().to_owned())
}
