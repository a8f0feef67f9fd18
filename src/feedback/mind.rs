//! People change their mind: what counts is the last word, whatever the order in which we heard of the words.
//!
//! Pure, but for reading a person's words out of the table.

use crate::args;
use crate::clock::Millis;
use crate::db::{DbResult, Tx};
use crate::suppression::Scope;

/// What a person said about being mailed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    Stop,
    Go,
}

/// One change of mind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub word: Word,
    pub scope: Scope,
    pub at: Millis,
    /// The address of the message it was said about; `None` when the ledger no longer knows and the customer has none.
    pub address_key: Option<String>,
}

/// How often the opposite had been said by `at`: the turn this word belongs to.
pub fn turn(changes: &[Change], word: Word, scope: &Scope, at: Millis) -> usize {
    changes.iter().filter(|c| c.word != word && c.scope == *scope && c.at <= at).count()
}

/// The last word and its instant; `None` when nothing was said. Said at the same instant, stop wins.
pub fn last_word<'a>(changes: impl IntoIterator<Item = &'a Change>) -> Option<(Word, Millis)> {
    changes.into_iter().map(|c| (c.word, c.at)).max_by_key(|(word, at)| (*at, *word == Word::Stop))
}

/// All that a person said, each with the address it concerns.
pub(super) async fn changes(tx: &mut Tx, bucket: i64, customer_id: &str) -> DbResult<Vec<Change>> {
    let rows: Vec<(String, i64, String, Option<String>)> = tx
        .fetch_all(
            "SELECT f.kind, f.at, f.detail, COALESCE(m.address_key, c.address_key)
             FROM fact f
             LEFT JOIN message m ON m.bucket = f.bucket AND m.customer_id = f.customer_id
               AND m.campaign = f.campaign AND m.step = f.step AND m.slot = f.slot
             LEFT JOIN customer c ON c.bucket = f.bucket AND c.customer_id = f.customer_id
             WHERE f.bucket = $1 AND f.customer_id = $2 AND f.kind IN ('unsubscribe', 'resubscribe')",
            args![bucket, customer_id],
        )
        .await?;
    Ok(rows
        .into_iter()
        .filter_map(|(kind, at, detail, address_key)| {
            let word = if kind == "unsubscribe" { Word::Stop } else { Word::Go };
            Some(Change { word, scope: scope_in(&detail)?, at, address_key })
        })
        .collect())
}

fn scope_in(detail: &str) -> Option<Scope> {
    let detail: serde_json::Value = serde_json::from_str(detail).ok()?;
    Scope::parse(detail["scope"].as_str()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(word: Word, at: Millis) -> Change {
        Change { word, scope: Scope::Promotional, at, address_key: None }
    }

    #[test]
    fn the_last_word_counts_in_any_order_and_stop_wins_a_tie() {
        let (stop, go, again) = (change(Word::Stop, 10), change(Word::Go, 20), change(Word::Stop, 30));
        assert_eq!(last_word([]), None);
        assert_eq!(last_word([&go, &stop]), Some((Word::Go, 20)));
        for order in [[&stop, &go, &again], [&again, &go, &stop], [&go, &again, &stop]] {
            assert_eq!(last_word(order), Some((Word::Stop, 30)));
        }
        assert_eq!(last_word([&change(Word::Stop, 20), &go]), Some((Word::Stop, 20)));
        assert_eq!(last_word([&go, &change(Word::Stop, 20)]), Some((Word::Stop, 20)));
    }

    #[test]
    fn a_turn_is_how_often_the_opposite_was_said_before() {
        let said = [change(Word::Stop, 10), change(Word::Go, 20)];
        assert_eq!(turn(&said, Word::Stop, &Scope::Promotional, 15), 0);
        assert_eq!(turn(&said, Word::Stop, &Scope::Promotional, 25), 1);
        assert_eq!(turn(&said, Word::Go, &Scope::Promotional, 25), 1);
        assert_eq!(turn(&said, Word::Stop, &Scope::Topic("news".into()), 25), 0);
    }
}
