//! `pick`: who of the members is taken.

use super::super::rule::{Pick, Sample, Take, Top};
use crate::problem::Problems;
use crate::profile::fields::{number_names, numeric};
use crate::yaml::{Node, Share};

/// The longest salt, in characters.
const SALT_CHARS_MAX: usize = 100;

pub(super) fn pick(node: &Node, problems: &mut Problems) -> Pick {
    let mut pick = Pick::default();
    let Some(mut m) = node.map("`pick`", problems) else { return pick };
    if let Some(node) = m.node("top") {
        pick.top = top(node, problems);
    }
    if let Some(node) = m.node("sample") {
        pick.sample = sample(node, problems);
    }
    m.finish(problems);
    if pick == Pick::default() {
        problems
            .error("missing-key", &node.place, "`pick` needs `top` or `sample`")
            .hint("pick: { top: { by: revenue, share: 5% } }, or: pick: { sample: { share: 50%, salt: spring } }");
    }
    pick
}

/// `{ by: revenue, share: 5% }` or `{ by: score.ltv.12m, count: 500 }`.
fn top(node: &Node, problems: &mut Problems) -> Option<Top> {
    let mut m = node.map("`top`", problems)?;
    let place = m.node("by").map_or_else(|| m.place.clone(), |n| n.place.clone());
    let by = m.require::<String>("by", problems);
    let share = share(m.node("share"), problems);
    let count = m.node("count").and_then(|n| {
        let count = n.read::<u32>("`count`", problems)?;
        if count == 0 {
            problems.error("out-of-range", &n.place, "`count` must be 1 or more");
        }
        Some(i64::from(count))
    });
    m.finish(problems);
    let by = by?;
    let field = numeric(&by);
    if field.is_none() {
        problems
            .error("unknown-field", &place, format!("`{by}` is no number of a customer to order by"))
            .did_you_mean(&by, number_names());
    }
    let take = match (share, count) {
        (Some(share), None) => Some(Take::Share(share)),
        (None, Some(count)) => Some(Take::Count(count)),
        (None, None) => {
            problems.error("missing-key", &node.place, "`top` needs `share` or `count`: how many").hint("share: 5%");
            None
        }
        (Some(_), Some(_)) => {
            problems.error("two-leaves", &node.place, "`share` and `count` in one `top`").hint("keep one of them");
            None
        }
    };
    Some(Top { by: field?, take: take? })
}

/// `{ share: 50%, salt: spring }`.
fn sample(node: &Node, problems: &mut Problems) -> Option<Sample> {
    let mut m = node.map("`sample`", problems)?;
    let share_node = m.node("share");
    let share = share(share_node, problems);
    let salt = m.require::<String>("salt", problems);
    if share_node.is_none() {
        problems.error("missing-key", &m.place, "`sample` needs `share`: how large a part").hint("share: 50%");
    }
    let place = m.node("salt").map_or_else(|| m.place.clone(), |n| n.place.clone());
    m.finish(problems);
    let salt = salt?;
    if salt.is_empty() || salt.chars().count() > SALT_CHARS_MAX {
        problems
            .error("bad-salt", &place, format!("a salt has 1 to {SALT_CHARS_MAX} characters"))
            .hint("any word; another word draws other people");
    }
    Some(Sample { share: share?, salt })
}

fn share(node: Option<&Node>, problems: &mut Problems) -> Option<f64> {
    let node = node?;
    let share = node.read::<Share>("`share`", problems)?.0;
    if share == 0.0 {
        problems.error("out-of-range", &node.place, "a share of nothing picks nobody");
    }
    Some(share)
}
