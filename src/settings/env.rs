//! `${VAR}` and `${VAR:-default}` in okaeri.yaml: the only reader of environment variables.

/// A text with its variables filled in, or the first variable that was not set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvText {
    value: Result<String, String>,
    /// Whether any part came from the environment rather than from the file.
    pub from_environment: bool,
}

/// A variable that must be set is not.
#[derive(Debug, thiserror::Error)]
#[error("the environment variable {variable} is not set ({used_for} needs it)")]
pub struct NotSet {
    pub variable: String,
    pub used_for: &'static str,
}

impl EnvText {
    /// A text without variables.
    pub fn literal(text: impl Into<String>) -> EnvText {
        EnvText { value: Ok(text.into()), from_environment: false }
    }

    /// Fill in the variables of `text` from `lookup`. An unclosed `${` is an error, told as the message of a problem.
    pub fn fill(text: &str, lookup: impl Fn(&str) -> Option<String>) -> Result<EnvText, String> {
        let mut out = String::with_capacity(text.len());
        let mut missing = None;
        let mut from_environment = false;
        let mut rest = text;
        while let Some(start) = rest.find("${") {
            out.push_str(&rest[..start]);
            let inner = &rest[start + 2..];
            let end = inner.find('}').ok_or_else(|| "`${` without a closing `}`".to_owned())?;
            let (name, default) = match inner[..end].split_once(":-") {
                Some((name, default)) => (name, Some(default)),
                None => (&inner[..end], None),
            };
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                return Err(format!("`${{{name}}}` is not a variable: letters, digits and _ only"));
            }
            from_environment = true;
            match (lookup(name).filter(|v| !v.is_empty()), default) {
                (Some(value), _) => out.push_str(&value),
                (None, Some(default)) => out.push_str(default),
                (None, None) => missing = missing.or_else(|| Some(name.to_owned())),
            }
            rest = &inner[end + 1..];
        }
        out.push_str(rest);
        Ok(EnvText { value: missing.map_or(Ok(out), Err), from_environment })
    }

    /// The text; an error that names the variable when it is not set.
    pub fn require(&self, used_for: &'static str) -> Result<&str, NotSet> {
        self.value.as_deref().map_err(|variable| NotSet { variable: variable.clone(), used_for })
    }

    /// The text, if all its variables are set.
    pub fn get(&self) -> Option<&str> {
        self.value.as_deref().ok()
    }
}

/// The process environment.
pub fn lookup(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_filled_in() {
        let lookup = |n: &str| (n == "HOST").then(|| "db".to_owned());
        let get = |t: &str| EnvText::fill(t, lookup).map(|e| e.get().map(str::to_owned));
        assert_eq!(get("postgres://${HOST}/${NAME:-shop}"), Ok(Some("postgres://db/shop".into())));
        assert_eq!(get("${NAME}"), Ok(None));
        assert_eq!(get("plain $5"), Ok(Some("plain $5".into())));
        assert!(get("${HOST").is_err());
        assert!(get("${a b}").is_err());
        let e = EnvText::fill("${NAME}", lookup).unwrap().require("the database").unwrap_err();
        assert_eq!(e.to_string(), "the environment variable NAME is not set (the database needs it)");
    }
}
