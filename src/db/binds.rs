//! Collects the values of a statement that is put together from parts: each part binds what it needs and writes the `$n` it got.

use super::Value;

/// The values bound so far.
#[derive(Debug, Clone, Default)]
pub struct Binds {
    values: Vec<Value>,
    reserved: usize,
}

impl Binds {
    /// Leaves `$1 … $reserved` to whoever runs the statement.
    pub fn after(reserved: usize) -> Binds {
        Binds { values: vec![Value::Int(None); reserved], reserved }
    }

    /// Bind a value; its placeholder. A value bound before keeps its placeholder, so that equal parts have equal text.
    pub fn bind(&mut self, value: impl Into<Value>) -> String {
        let value = value.into();
        let known = self.values[self.reserved..].iter().position(|v| *v == value);
        let at = known.map(|i| i + self.reserved).unwrap_or_else(|| {
            self.values.push(value);
            self.values.len() - 1
        });
        format!("${}", at + 1)
    }

    /// The values in order; the reserved ones are null.
    pub fn into_values(self) -> Vec<Value> {
        self.values
    }
}
