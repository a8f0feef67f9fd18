//! Shares: where a customer stands between 0 and 1 for one question, the same on every machine and forever.
//!
//! SHA-256 of project, question and customer; independent of the bucket hash, so that a held-out tenth is a tenth of every bucket, and of
//! every secret, so that rotating one moves nobody.

use ring::digest;

/// The customer's share for a question, 0 ≤ share < 1.
pub fn share(project: &str, question: &str, customer_id: &str) -> f64 {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in [project, question, customer_id] {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    let hash = context.finish();
    let first = u64::from_be_bytes(hash.as_ref()[..8].try_into().expect("a digest has 32 bytes"));
    // 53 bits: what a double holds exactly.
    (first >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::bucket_of;

    #[test]
    fn shares_are_pinned_and_even() {
        let ids: Vec<String> = (0..20_000).map(|i| format!("c-{i}")).collect();
        let held = ids.iter().filter(|id| share("shop", "holdout win-back", id) < 0.1).count();
        assert!((1_850..2_150).contains(&held), "{held} of 20,000 is not a tenth");
        assert!((share("shop", "holdout win-back", "c-1") - 0.0).abs() > f64::EPSILON);
        assert_eq!(share("shop", "q", "c-1").to_bits(), share("shop", "q", "c-1").to_bits());
    }

    #[test]
    fn shares_do_not_follow_buckets_or_other_questions() {
        let ids: Vec<String> = (0..40_000).map(|i| i.to_string()).collect();
        let low: Vec<&String> = ids.iter().filter(|id| bucket_of(id) < 512).collect();
        let both = low.iter().filter(|id| share("shop", "a", id) < 0.5).count() as f64 / low.len() as f64;
        assert!((0.48..0.52).contains(&both), "{both}");
        let first: Vec<&String> = ids.iter().filter(|id| share("shop", "a", id) < 0.5).collect();
        let second = first.iter().filter(|id| share("shop", "b", id) < 0.5).count() as f64 / first.len() as f64;
        assert!((0.48..0.52).contains(&second), "{second}");
    }
}
