//! `reward:` of a step: what the mail gives. Said short, `reward: winback-10`, or in full, with several pools to choose from.

use super::Kind;
use super::read::Known;
use crate::problem::{Place, Problems, Severity};
use crate::settings::RewardPool;
use crate::yaml::{Node, Shape};

/// What a step gives, and where its file says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reward {
    /// Names of pools, in the order of the file.
    pub pools: Vec<String>,
    pub choose_by: ChooseBy,
    pub when_none_left: WhenNoneLeft,
    pub place: Place,
}

/// Which of several pools a person's reward is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChooseBy {
    /// The first that has one.
    Order,
    /// The one that is about what they buy; of those with one left.
    Affinity,
}

/// What becomes of somebody for whom there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenNoneLeft {
    /// They get no mail: `no_reward_left`.
    Skip,
    /// The mail goes out without.
    Send,
    /// Nothing of the run leaves.
    Stop,
}

pub(super) fn reward(node: &Node, kind: Kind, known: &Known, problems: &mut Problems) -> Option<Reward> {
    let before = problems.count(Severity::Error);
    // Service mail is owed: it goes out without a reward rather than not at all.
    let usual = if kind == Kind::Service { WhenNoneLeft::Send } else { WhenNoneLeft::Skip };
    let mut reward =
        Reward { pools: Vec::new(), choose_by: ChooseBy::Order, when_none_left: usual, place: node.place.clone() };
    if !matches!(node.shape, Shape::Map(_)) {
        reward.pools = pools(node, known, problems);
        return (problems.count(Severity::Error) == before).then_some(reward);
    }
    let mut m = node.map("`reward`", problems)?;
    reward.pools = match (m.node("pool"), m.node("pools")) {
        (Some(one), None) | (None, Some(one)) => pools(one, known, problems),
        (Some(_), Some(both)) => {
            problems.error("two-keys", &both.place, "`pool` and `pools` both stand here").hint("keep one of them");
            Vec::new()
        }
        (None, None) => {
            problems
                .error("missing-key", &m.place, "`reward` needs `pool`: what the mail gives")
                .hint("reward: { pool: NAME }, or { pools: [NAME, NAME], choose_by: affinity }");
            Vec::new()
        }
    };
    let ways = [("order", ChooseBy::Order), ("affinity", ChooseBy::Affinity)];
    reward.choose_by = m.choice("choose_by", &ways, problems).unwrap_or(ChooseBy::Order);
    let ends = [("skip", WhenNoneLeft::Skip), ("send", WhenNoneLeft::Send), ("stop", WhenNoneLeft::Stop)];
    if let Some(end) = m.choice("when_none_left", &ends, problems) {
        reward.when_none_left = end;
    }
    if kind == Kind::Service
        && reward.when_none_left == WhenNoneLeft::Skip
        && let Some(node) = m.node("when_none_left")
    {
        problems
            .error(
                "service-reward",
                &node.place,
                "service mail is owed to people: a missing reward does not keep it back",
            )
            .hint("when_none_left: send (the template says what holds then), or stop");
    }
    m.finish(problems);
    if reward.choose_by == ChooseBy::Affinity {
        check_affinity(&reward, known, problems);
    }
    (problems.count(Severity::Error) == before).then_some(reward)
}

fn pools(node: &Node, known: &Known, problems: &mut Problems) -> Vec<String> {
    let nodes: Vec<&Node> = match &node.shape {
        Shape::List(list) => list.iter().collect(),
        _ => vec![node],
    };
    if nodes.is_empty() {
        problems.error("missing-key", &node.place, "`pools` is an empty list");
    }
    let mut names: Vec<String> = Vec::new();
    for node in nodes {
        let Some(name) = node.read::<String>("a reward pool", problems) else { continue };
        if known.settings.reward(&name).is_none() {
            let all = known.settings.rewards.iter().map(|pool| pool.name.as_str());
            let none = known.settings.rewards.is_empty();
            let problem =
                problems.error("unknown-reward", &node.place, format!("okaeri.yaml has no reward pool `{name}`"));
            if none {
                problem.hint(format!("rewards: {{ {name}: {{ title: 10 € off, value: 10 }} }}"));
            } else {
                problem.did_you_mean(&name, all);
            }
        } else if names.contains(&name) {
            problems.error("duplicate-reward", &node.place, format!("`{name}` stands here twice"));
        } else {
            names.push(name);
        }
    }
    names
}

/// A choice by taste needs something to tell the pools apart.
fn check_affinity(reward: &Reward, known: &Known, problems: &mut Problems) {
    let found: Vec<&RewardPool> = reward.pools.iter().filter_map(|name| known.settings.reward(name)).collect();
    if found.len() < 2 {
        problems
            .warning("one-reward", &reward.place, "`choose_by: affinity` chooses between pools, and there is one")
            .hint("name several: pools: [tea-gift, record-gift]");
    } else if found.iter().all(|pool| pool.categories.is_empty()) {
        problems
            .error(
                "no-categories",
                &reward.place,
                "`choose_by: affinity` goes by `categories`, and none of these pools has any",
            )
            .hint("in okaeri.yaml: rewards: { tea-gift: { categories: [tea], … } }");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, kind: Kind) -> (Option<Reward>, String) {
        let mut problems = Problems::new();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(
            dir.path().join("okaeri.yaml"),
            "project: shop\nsender: { from: a@example.com, organisation: o, postal_address: p }\n\
             rewards: { ten: { title: Ten }, tea: { title: Tea, kind: gift, categories: tea }, plain: { title: P, kind: gift } }\n",
        )
        .unwrap();
        let project = crate::settings::Project::load_with(dir.path(), |_| None, &mut problems).unwrap();
        let known = Known { settings: &project.settings, segments: &[] };
        let node = crate::yaml::parse("c.yaml", text, &mut problems).unwrap();
        let found = reward(&node, kind, &known, &mut problems);
        (found, anstream::adapter::strip_str(&problems.to_text()).to_string())
    }

    #[test]
    fn short_and_full_forms_are_read() {
        let given = |text, kind| {
            let (found, problems) = read(text, kind);
            assert_eq!(problems, "", "{text}");
            let Reward { pools, choose_by, when_none_left, .. } = found.unwrap();
            (pools.join(" "), choose_by, when_none_left)
        };
        use {ChooseBy::*, Kind::*, WhenNoneLeft::*};
        assert_eq!(given("ten", Promotional), ("ten".into(), Order, Skip));
        assert_eq!(given("[ten, tea]", Promotional), ("ten tea".into(), Order, Skip));
        assert_eq!(given("{ pool: ten, when_none_left: stop }", Promotional), ("ten".into(), Order, Stop));
        assert_eq!(
            given("{ pools: [ten, tea], choose_by: affinity }", Promotional),
            ("ten tea".into(), Affinity, Skip)
        );
        assert_eq!(given("ten", Service), ("ten".into(), Order, Send), "an apology is not kept back");
        assert_eq!(given("{ pool: ten, when_none_left: stop }", Service), ("ten".into(), Order, Stop));
    }

    #[test]
    fn mistakes_are_told_with_a_remedy() {
        for (text, said) in [
            ("tne", "okaeri.yaml has no reward pool `tne` [unknown-reward]\n    did you mean `ten`?"),
            ("[ten, ten]", "`ten` stands here twice"),
            ("{}", "`reward` needs `pool`"),
            ("{ pool: ten, pools: [ten] }", "both stand here"),
            ("{ pools: [] }", "empty list"),
            ("{ pool: ten, when_none_left: wait }", "one of: skip, send, stop"),
            ("{ pool: ten, stock: 3 }", "`stock` is not a key of `reward`"),
            ("{ pools: [ten, plain], choose_by: affinity }", "none of these pools has any"),
        ] {
            let (found, problems) = read(text, Kind::Promotional);
            assert!(found.is_none() && problems.contains(said), "{text}: {problems}");
        }
        let (found, problems) = read("{ pool: ten, when_none_left: skip }", Kind::Service);
        assert!(found.is_none() && problems.contains("[service-reward]"), "{problems}");
        let (found, problems) = read("{ pool: tea, choose_by: affinity }", Kind::Promotional);
        assert!(found.is_some() && problems.contains("warning: `choose_by: affinity`"), "{problems}");
    }
}
