//! A roll of customers, each with something that grows while rows pass. Rows come in any order, and most often a customer's together: so
//! whose row it is is looked for where the last row was, then after it, and only then by name.

use std::collections::HashMap;

/// Customers in the order in which they were written down.
#[derive(Debug)]
pub(super) struct Roll<T> {
    /// Customer and what is known of them.
    pub people: Vec<(String, T)>,
    place: HashMap<String, usize>,
    /// Where the last row belonged.
    last: usize,
}

impl<T> Roll<T> {
    pub fn new() -> Roll<T> {
        Roll { people: Vec::new(), place: HashMap::new(), last: 0 }
    }

    /// What is known of a customer, if they are on the roll.
    pub fn find(&mut self, customer_id: &str) -> Option<&mut T> {
        let is_at = |place: usize| self.people.get(place).is_some_and(|p| p.0 == customer_id);
        if !is_at(self.last) {
            self.last = if is_at(self.last + 1) { self.last + 1 } else { *self.place.get(customer_id)? };
        }
        Some(&mut self.people[self.last].1)
    }

    /// Write a customer down, who is not there yet.
    pub fn add(&mut self, customer_id: &str, known: T) -> &mut T {
        self.last = self.people.len();
        self.place.insert(customer_id.to_owned(), self.last);
        self.people.push((customer_id.to_owned(), known));
        &mut self.people[self.last].1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_is_found_in_any_order() {
        let mut roll = Roll::new();
        for id in ["mia", "美咲", "", "noah"] {
            roll.add(id, 0);
        }
        for id in ["mia", "mia", "美咲", "noah", "", "gone", "mia", "", "noah"] {
            if let Some(rows) = roll.find(id) {
                *rows += 1;
            }
        }
        let counted: Vec<_> = roll.people.iter().map(|(id, rows)| (&**id, *rows)).collect();
        assert_eq!(counted, [("mia", 3), ("美咲", 1), ("", 2), ("noah", 2)]);
        assert!(roll.find("gone").is_none());
    }
}
