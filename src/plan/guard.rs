//! The guards: pure. One verdict per person; the first reason that applies is the recorded one.
//!
//! The holdouts come last, so that those held out differ from those mailed by chance alone. Service mail meets only the guards that make
//! mailing impossible or wrong: an apology is not frozen by the ticket it answers, and never withheld.

use jiff::tz::TimeZone;

use super::candidates::Candidate;
use super::share::share;
use crate::campaign::Campaign;
use crate::clock::{self, Millis};
use crate::settings::{ServiceFreeze, Settings};
use crate::suppression::Kind;
use crate::yaml::Span;

/// Why a person gets nothing. In the order of the guards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    Erased,
    Suppressed,
    InvalidAddress,
    /// Somebody else is the address's primary customer.
    DuplicateAddress,
    /// `once_per`.
    AlreadyReceived,
    /// Their own moment of the schedule is further back than `catch_up`.
    Missed,
    /// Left the audience between planning and the time the message was to leave.
    LeftAudience,
    /// `exit_on` of the campaign.
    Exit,
    /// `unless` of the step.
    Unless,
    /// `only_if` of the step.
    OnlyIf,
    NoConsent,
    ServiceFreeze,
    FrequencyCap,
    /// Nothing to recommend.
    NoContent,
    /// The pools of its reward are empty.
    NoRewardLeft,
    Limit,
    HoldoutGlobal,
    Holdout,
}

impl Reason {
    /// Every reason, in the order of the guards.
    pub const ALL: [Reason; 18] = [
        Reason::Erased,
        Reason::Suppressed,
        Reason::InvalidAddress,
        Reason::DuplicateAddress,
        Reason::AlreadyReceived,
        Reason::Missed,
        Reason::LeftAudience,
        Reason::Exit,
        Reason::Unless,
        Reason::OnlyIf,
        Reason::NoConsent,
        Reason::ServiceFreeze,
        Reason::FrequencyCap,
        Reason::NoContent,
        Reason::NoRewardLeft,
        Reason::Limit,
        Reason::HoldoutGlobal,
        Reason::Holdout,
    ];

    /// The word plans and reports use.
    pub fn word(self) -> &'static str {
        match self {
            Reason::Erased => "erased",
            Reason::Suppressed => "suppressed",
            Reason::InvalidAddress => "invalid_address",
            Reason::DuplicateAddress => "duplicate_address",
            Reason::AlreadyReceived => "already_received",
            Reason::Missed => "missed",
            Reason::LeftAudience => "left_audience",
            Reason::Exit => "exit",
            Reason::Unless => "unless",
            Reason::OnlyIf => "only_if",
            Reason::NoConsent => "no_consent",
            Reason::ServiceFreeze => "service_freeze",
            Reason::FrequencyCap => "frequency_cap",
            Reason::NoContent => "no_content",
            Reason::NoRewardLeft => "no_reward_left",
            Reason::Limit => "limit",
            Reason::HoldoutGlobal => "holdout_global",
            Reason::Holdout => "holdout",
        }
    }

    /// The reason of this word.
    pub fn from_word(word: &str) -> Option<Reason> {
        Reason::ALL.into_iter().find(|r| r.word() == word)
    }

    /// What it means, for people.
    pub fn meaning(self) -> &'static str {
        match self {
            Reason::Erased => "asked to be forgotten",
            Reason::Suppressed => "unsubscribed, bounced, complained or blocked",
            Reason::InvalidAddress => "no usable e-mail address",
            Reason::DuplicateAddress => "another customer with this address is written to",
            Reason::AlreadyReceived => "had this campaign within its `once_per`",
            Reason::Missed => "their moment was over before this was planned",
            Reason::LeftAudience => "left the audience before their message was to leave",
            Reason::Exit => "reached what ends the campaign for them (`exit_on`)",
            Reason::Unless => "the step is not for those its `unless` holds for",
            Reason::OnlyIf => "the step is only for those its `only_if` holds for",
            Reason::NoConsent => "has not agreed to this topic",
            Reason::ServiceFreeze => "waits for help or was let down lately",
            Reason::FrequencyCap => "had enough mail lately",
            Reason::NoContent => "there is nothing to recommend to them, or the template skips them",
            Reason::NoRewardLeft => "the reward it gives has run out",
            Reason::Limit => "the run's limit was reached",
            Reason::HoldoutGlobal => "held out of all campaigns, to measure what they cause",
            Reason::Holdout => "held out of this campaign, to measure what it causes",
        }
    }
}

/// What was decided for one person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Send,
    /// Would be mailed, and is held out by an experiment.
    Withheld(Reason),
    Skip(Reason),
}

impl Verdict {
    /// The word the ledger counts by.
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Send => "send",
            Verdict::Withheld(_) => "withheld",
            Verdict::Skip(_) => "skip",
        }
    }

    /// The recorded reason; none for a send.
    pub fn reason(self) -> Option<Reason> {
        match self {
            Verdict::Send => None,
            Verdict::Withheld(reason) | Verdict::Skip(reason) => Some(reason),
        }
    }
}

/// What the guards of one campaign compare with.
#[derive(Debug, Clone)]
pub struct Rules {
    pub campaign: String,
    pub project: String,
    pub topic: String,
    pub kind: Kind,
    /// Whether people enter as soon as they are in the audience.
    pub journey: bool,
    /// Whoever entered since then may have steps to come.
    pub in_since: Millis,
    /// Whether `once_per` is set, and since when an entry bars; `None` inside: ever.
    pub once_per: Option<Option<Millis>>,
    pub freeze: ServiceFreeze,
    /// Ratings before this instant are forgiven.
    pub freeze_since: Millis,
    /// Caps: the most messages, the window's beginning, the topic counted (all promotional when absent).
    pub caps: Vec<(u32, Millis, Option<String>)>,
    pub per_run: Option<u32>,
    pub holdout_global: f64,
    pub holdout: f64,
    /// The mailed arms with their shares; none when everybody gets the same.
    pub arms: Vec<(String, f64)>,
}

/// The arm of campaigns without several.
const ONLY_ARM: &str = "a";

impl Rules {
    /// The rules of a campaign at an instant.
    pub fn of(campaign: &Campaign, settings: &Settings, as_of: Millis) -> Rules {
        let zone = &settings.time_zone;
        let guards = &settings.guards;
        Rules {
            campaign: campaign.key.clone(),
            project: settings.project.clone(),
            topic: campaign.topic.clone(),
            kind: campaign.kind,
            journey: campaign.journey.is_some(),
            in_since: as_of - campaign.length() - campaign.catch_up(),
            once_per: campaign.once_per.map(|o| o.bars_since(as_of, zone)),
            freeze: guards.service_freeze.clone(),
            freeze_since: clock::days_before(as_of, guards.service_freeze.days, zone),
            caps: guards
                .frequency_caps
                .iter()
                .filter(|c| c.topic.as_deref().is_none_or(|t| t == campaign.topic))
                .map(|c| (c.messages, window_start(c.in_last, as_of, zone), c.topic.clone()))
                .collect(),
            per_run: campaign.per_run,
            holdout_global: settings.holdout_global,
            holdout: campaign.experiment.holdout,
            arms: campaign.experiment.arms.clone(),
        }
    }

    /// Where somebody stands in the split of the campaign: holdout first, then the arms as they are written.
    fn place(&self, customer_id: &str) -> f64 {
        share(&self.project, &format!("holdout of {}", self.campaign), customer_id)
    }

    /// The arm of somebody who is mailed. The same for every step and run; whoever is held out stays so whatever the arms are.
    pub fn arm(&self, customer_id: &str) -> &str {
        let place = self.place(customer_id);
        let mut from = self.holdout;
        for (arm, share) in &self.arms {
            from += share;
            if place < from {
                return arm;
            }
        }
        // Shares that add up to a hair less than one.
        self.arms.last().map_or(ONLY_ARM, |(arm, _)| arm)
    }
}

fn window_start(span: Span, as_of: Millis, zone: &TimeZone) -> Millis {
    match span {
        Span::Days(days) => clock::days_before(as_of, days, zone),
        Span::Exact(ms) => as_of - ms,
    }
}

/// The verdict for one person. `passed` counts those the limit let through so far, mailed and withheld alike.
pub fn verdict(rules: &Rules, person: &Candidate, passed: &mut u64) -> Verdict {
    if let Some(reason) = barred(rules, person) {
        return Verdict::Skip(reason);
    }
    if person.no_reward_left {
        return Verdict::Skip(Reason::NoRewardLeft);
    }
    let promotional = rules.kind == Kind::Promotional;
    if rules.per_run.is_some_and(|most| *passed >= u64::from(most)) {
        return Verdict::Skip(Reason::Limit);
    }
    *passed += 1;
    if promotional && share(&rules.project, "holdout", &person.customer_id) < rules.holdout_global {
        return Verdict::Withheld(Reason::HoldoutGlobal);
    }
    if promotional && rules.place(&person.customer_id) < rules.holdout {
        return Verdict::Withheld(Reason::Holdout);
    }
    Verdict::Send
}

/// What bars a person before anything is counted: asked once before there are recommendations, to know whom to look for any.
pub fn barred(rules: &Rules, person: &Candidate) -> Option<Reason> {
    let impossible = [
        (person.erased, Reason::Erased),
        (person.suppressed, Reason::Suppressed),
        (person.address_key.is_none(), Reason::InvalidAddress),
        (!person.primary, Reason::DuplicateAddress),
        (person.already_received, Reason::AlreadyReceived),
        (person.missed, Reason::Missed),
    ];
    let hit = impossible.into_iter().find(|(hit, _)| *hit).map(|(_, reason)| reason);
    hit.or_else(|| if rules.kind == Kind::Promotional { unwelcome(rules, person) } else { None })
        .or_else(|| person.template_skips.then_some(Reason::NoContent))
}

/// The guards that only promotions meet.
fn unwelcome(rules: &Rules, person: &Candidate) -> Option<Reason> {
    if !person.consents {
        return Some(Reason::NoConsent);
    }
    let waits = rules.freeze.open_tickets && person.open_tickets > 0;
    let disappointed = rules.freeze.rating_at_most.is_some_and(|most| {
        person.last_rating.is_some_and(|r| r <= most)
            && person.last_rating_at.is_some_and(|at| at >= rules.freeze_since)
    });
    if waits || disappointed {
        return Some(Reason::ServiceFreeze);
    }
    let capped = rules.caps.iter().zip(&person.recent_messages).any(|((most, ..), had)| *had >= i64::from(*most));
    if capped {
        return Some(Reason::FrequencyCap);
    }
    person.nothing_to_recommend.then_some(Reason::NoContent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(kind: Kind) -> Rules {
        Rules {
            campaign: "win-back".into(),
            project: "shop".into(),
            topic: "offers".into(),
            kind,
            journey: false,
            in_since: 0,
            once_per: None,
            freeze: ServiceFreeze { open_tickets: true, rating_at_most: Some(2.0), days: 14 },
            freeze_since: 1_000,
            caps: vec![(2, 0, None)],
            per_run: None,
            holdout_global: 0.0,
            holdout: 0.0,
            arms: Vec::new(),
        }
    }

    fn person() -> Candidate {
        Candidate {
            customer_id: "c-1".into(),
            address_key: Some("c-1@example.com".into()),
            email: Some("c-1@example.com".into()),
            primary: true,
            consents: true,
            recent_messages: vec![0],
            ..Candidate::default()
        }
    }

    /// Each change makes one guard hit, in their order.
    type Change = fn(&mut Candidate);
    const CHANGES: [(Reason, Change); 11] = [
        (Reason::Erased, |p| p.erased = true),
        (Reason::Suppressed, |p| p.suppressed = true),
        (Reason::InvalidAddress, |p| p.address_key = None),
        (Reason::DuplicateAddress, |p| p.primary = false),
        (Reason::AlreadyReceived, |p| p.already_received = true),
        (Reason::Missed, |p| p.missed = true),
        (Reason::NoConsent, |p| p.consents = false),
        (Reason::ServiceFreeze, |p| p.open_tickets = 1),
        (Reason::FrequencyCap, |p| p.recent_messages = vec![2]),
        (Reason::NoContent, |p| p.nothing_to_recommend = true),
        (Reason::NoRewardLeft, |p| p.no_reward_left = true),
    ];

    #[test]
    fn the_first_guard_that_hits_is_the_reason() {
        let rules = Rules { per_run: Some(0), holdout: 1.0, holdout_global: 1.0, ..rules(Kind::Promotional) };
        for (i, (reason, change)) in CHANGES.iter().enumerate() {
            let mut p = person();
            CHANGES[i + 1..].iter().for_each(|(_, later)| later(&mut p));
            change(&mut p);
            assert_eq!(verdict(&rules, &p, &mut 0), Verdict::Skip(*reason));
        }
        assert_eq!(verdict(&rules, &person(), &mut 0), Verdict::Skip(Reason::Limit));
        let open = Rules { per_run: None, ..rules.clone() };
        assert_eq!(verdict(&open, &person(), &mut 0), Verdict::Withheld(Reason::HoldoutGlobal));
        let open = Rules { holdout_global: 0.0, ..open };
        assert_eq!(verdict(&open, &person(), &mut 0), Verdict::Withheld(Reason::Holdout));
    }

    #[test]
    fn service_mail_meets_only_the_first_guards_and_is_never_withheld() {
        let rules = Rules { holdout: 1.0, holdout_global: 1.0, ..rules(Kind::Service) };
        // Of a reward, whoever plans says whether it is needed.
        for (i, (reason, change)) in CHANGES.iter().take(10).enumerate() {
            let mut p = person();
            change(&mut p);
            let expected = if i < 6 { Verdict::Skip(*reason) } else { Verdict::Send };
            assert_eq!(verdict(&rules, &p, &mut 0), expected, "{reason:?}");
        }
    }

    #[test]
    fn a_low_rating_freezes_for_a_while() {
        let rules = rules(Kind::Promotional);
        let rated = |rating, at| Candidate { last_rating: Some(rating), last_rating_at: Some(at), ..person() };
        assert_eq!(verdict(&rules, &rated(1.0, 2_000), &mut 0), Verdict::Skip(Reason::ServiceFreeze));
        assert_eq!(verdict(&rules, &rated(1.0, 999), &mut 0), Verdict::Send);
        assert_eq!(verdict(&rules, &rated(3.0, 2_000), &mut 0), Verdict::Send);
    }

    #[test]
    fn arms_have_their_shares_and_the_held_out_stay_held_out() {
        let arms = |arms: &[(&str, f64)]| Rules {
            holdout: 0.1,
            arms: arms.iter().map(|(a, share)| ((*a).to_owned(), *share)).collect(),
            ..rules(Kind::Promotional)
        };
        let two = arms(&[("a", 0.45), ("b", 0.45)]);
        let three = arms(&[("a", 0.45), ("b", 0.25), ("c", 0.2)]);
        let mut counts = std::collections::BTreeMap::new();
        for n in 0..20_000 {
            let person = Candidate { customer_id: format!("c-{n}"), ..person() };
            let verdict = verdict(&two, &person, &mut 0);
            assert_eq!(verdict, super::verdict(&three, &person, &mut 0));
            let arm = if verdict == Verdict::Send { two.arm(&person.customer_id) } else { "holdout" };
            // A new arm is taken out of the one before it; nobody else moves.
            if arm == "a" {
                assert_eq!(three.arm(&person.customer_id), "a");
            }
            *counts.entry(arm).or_insert(0) += 1;
        }
        for (arm, expected) in [("a", 9_000), ("b", 9_000), ("holdout", 2_000)] {
            let off: i32 = counts[arm] - expected;
            assert!(off.abs() < 300, "{counts:?}");
        }
        assert_eq!(arms(&[]).arm("c-1"), "a");
    }

    #[test]
    fn the_limit_counts_mailed_and_withheld_alike() {
        let rules = Rules { per_run: Some(3), holdout: 0.5, ..rules(Kind::Promotional) };
        let mut passed = 0;
        let verdicts: Vec<Verdict> = (0..5)
            .map(|i| verdict(&rules, &Candidate { customer_id: i.to_string(), ..person() }, &mut passed))
            .collect();
        assert_eq!(verdicts.iter().filter(|v| **v == Verdict::Skip(Reason::Limit)).count(), 2);
        assert_eq!(passed, 3);
    }
}
