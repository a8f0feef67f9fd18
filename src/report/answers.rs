//! What people answered to the questions of a campaign's mails.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::args;
use crate::counts::Counts;
use crate::db::{Db, DbResult, bucket_ranges};

use super::{BUCKETS_PER_STATEMENT, Scope};

/// The answers to one question.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Answers {
    /// The event they became: `survey.nps`.
    pub event: String,
    /// The end of the scale.
    pub of: u64,
    pub answers: i64,
    pub mean: f64,
    /// Promoters (9, 10) less detractors (0 to 6), in per cent of all; of scales of ten.
    pub nps: Option<f64>,
    /// How many chose which number.
    pub by_score: BTreeMap<u64, i64>,
}

/// The answers of a campaign, by question.
pub(super) async fn of(db: &Db, scope: Scope<'_>) -> DbResult<Vec<Answers>> {
    // The detail of an answer is its question, its number and its scale, so there are few of them.
    let sql = "SELECT f.detail, CAST(COUNT(*) AS BIGINT) FROM fact f
               WHERE f.bucket >= $3 AND f.bucket <= $4 AND f.kind = 'answer' AND f.campaign = $1 AND ($2 = '' OR f.slot = $2)
               GROUP BY f.detail";
    let mut counts: BTreeMap<(String, u64), BTreeMap<u64, i64>> = BTreeMap::new();
    for (first, last) in bucket_ranges(BUCKETS_PER_STATEMENT) {
        let rows: Vec<(String, i64)> = db.fetch_all(sql, args![scope.campaign, scope.slot, first, last]).await?;
        for (detail, n) in rows {
            let detail: serde_json::Value = serde_json::from_str(&detail).unwrap_or_default();
            let (event, score, of) = (detail["event"].as_str(), detail["score"].as_u64(), detail["of"].as_u64());
            let (Some(event), Some(score), Some(of)) = (event, score, of) else { continue };
            *counts.entry((event.to_owned(), of)).or_default().entry(score).or_default() += n;
        }
    }
    Ok(counts.into_iter().map(|((event, of), by_score)| Answers::of(event, of, by_score)).collect())
}

impl Answers {
    fn of(event: String, of: u64, by_score: BTreeMap<u64, i64>) -> Answers {
        let answers: i64 = by_score.values().sum();
        let sum: i64 = by_score.iter().map(|(score, n)| *score as i64 * n).sum();
        let nps = (of == 10).then(|| {
            let of_scores = |from, to| by_score.range(from..=to).map(|(_, n)| n).sum::<i64>();
            100.0 * (of_scores(9, 10) - of_scores(0, 6)) as f64 / answers as f64
        });
        Answers { event, of, answers, mean: sum as f64 / answers as f64, nps, by_score }
    }

    /// How they stand, in words.
    pub(super) fn text(&self, counts: Counts) -> String {
        if counts.hides(self.answers) {
            return String::new();
        }
        let chosen: Vec<String> =
            self.by_score.iter().rev().map(|(score, n)| format!("{score}: {}", counts.of(*n))).collect();
        let nps = self.nps.map_or(String::new(), |nps| format!("NPS {nps:+.0} · "));
        format!("{nps}mean {:.1} of {} · {}", self.mean, self.of, chosen.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_net_promoter_score_is_promoters_less_detractors() {
        let told = |of, by_score: &[(u64, i64)]| {
            Answers::of("survey.nps".into(), of, by_score.iter().copied().collect()).text(Counts::Exact)
        };
        assert_eq!(
            told(10, &[(0, 1), (6, 1), (7, 2), (8, 1), (9, 3), (10, 2)]),
            "NPS +30 · mean 7.5 of 10 · 10: 2, 9: 3, 8: 1, 7: 2, 6: 1, 0: 1"
        );
        assert_eq!(told(10, &[(3, 1)]), "NPS -100 · mean 3.0 of 10 · 3: 1");
        assert_eq!(told(5, &[(5, 1_200), (4, 1)]), "mean 5.0 of 5 · 5: 1,200, 4: 1");
    }
}
