//! Refusals because of us that are too few for shares: what holds a small run, and what does not.

use std::time::Duration;

use okaeri::args;
use okaeri::catcher::{Answer, ByRecipient, Catcher, Stage};
use okaeri::clock::{self, DAY};
use okaeri::db::Db;
use okaeri::delivery::{Ended, pacing};
use okaeri::queue::{RunState, lately, run};

use super::{a_day_goes_by, drained, drained_until, hasten, mended, patience, server};
use crate::ground::each_database;
use crate::ground::mail::by_recipient;
use crate::ground::sending::enqueued;

/// A run to these people meets a server that answers by their names.
async fn run_to(db: &Db, catcher: &Catcher, campaign: &str, people: &[&str]) -> (String, Ended) {
    let run_id = enqueued(db, campaign, people).await;
    let (_, ended) = drained(db, &run_id, server(&catcher.url(), patience(false)), 1, 0).await;
    (run_id, ended)
}

async fn state(db: &Db, run_id: &str) -> RunState {
    run::get(db, run_id).await.unwrap().unwrap().state()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_refusal_holds_a_run_of_which_nothing_is_left_when_nothing_was_taken_for_a_day() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        let catcher = by_recipient().await;
        let alone =
            "1 mail was refused because of us, and nothing was taken for a day; the last: 550 5.7.1 Not accepted";
        let two = "2 mails were refused because of us, and nothing was taken for a day; the last: ";
        // (who is written to, after a day or at once after the case before, why it is held)
        let cases: [(&[&str], bool, Option<&str>); 8] = [
            (&["policy+1@example.com"], true, Some(alone)),
            // Of the same day: the next journey that one person entered.
            (&["policy+2@gmail.com"], false, Some(two)),
            (&["policy+3@example.com", "hard+1@example.com", "full+1@yahoo.com"], true, None), // one is tried again
            (&["policy+4@example.com", "hard+2@example.com"], true, Some(alone)),
            (&["policy+5@gmail.com", "mia@example.com"], true, None),
            (&["policy+6@example.com"], false, None), // somebody took one today
            (&["policy+7@example.com"], true, Some(alone)), // and nobody since
            (&["hard+3@example.com"], true, None),
        ];
        for (n, (people, day, held)) in cases.into_iter().enumerate() {
            if day {
                a_day_goes_by(&db).await;
            }
            let (run_id, ended) = run_to(&db, &catcher, &format!("c{n}"), people).await;
            let told = format!("case {n}: {people:?}: {ended:?}");
            match held {
                Some(words) => {
                    assert!(matches!(&ended, Ended::Paused(why) if why.starts_with(words)), "{told}");
                    assert_eq!(state(&db, &run_id).await, RunState::Paused, "{told}");
                    // Whoever has mended it lets it go on and has the refused sent again.
                    assert!(run::advance(&db, &run_id, run::Move::Resume, None, clock::now()).await.unwrap());
                    assert_eq!(run::drain_finished(&db, clock::now()).await.unwrap(), 1, "{told}");
                }
                None => {
                    assert_eq!(ended, Ended::Idle, "{told}");
                    assert!([RunState::Drained, RunState::Sending].contains(&state(&db, &run_id).await), "{told}");
                }
            }
        }
        db.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_refusals_hold_a_lane_that_takes_nothing_whatever_others_take() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        let catcher = by_recipient().await;
        let (_, ended) = run_to(&db, &catcher, "others", &["mia@example.com", "tom@yahoo.com"]).await;
        assert_eq!(ended, Ended::Idle);
        // One a run: small journeys. Each process begins anew.
        for n in 1..=2 {
            let (_, ended) = run_to(&db, &catcher, &format!("j{n}"), &[&format!("policy+{n}@gmail.com")]).await;
            assert_eq!(ended, Ended::Idle, "{n} may mean these receivers");
        }
        let (third, ended) = run_to(&db, &catcher, "j3", &["policy+3@gmail.com", "full@gmail.com"]).await;
        let told =
            "3 mails (gmail) were refused because of us, and none was taken there for a day; the last: 550 5.7.1";
        assert!(matches!(&ended, Ended::Paused(why) if why.starts_with(told)), "{ended:?}");
        assert_eq!(state(&db, &third).await, RunState::Paused, "what is left of it would meet the same");
        let lately = lately::look(&db, clock::now()).await.unwrap();
        assert_eq!((lately.blocked("default/gmail"), lately.blocked("default/yahoo")), (Some(3), None));
        assert_eq!(lately.blocked_everywhere(), None, "others take something");
        assert_eq!(lately::look(&db, clock::now() + DAY).await.unwrap(), lately::Lately::default(), "a day later");
        // In one run it is noticed at the third, before the others are tried.
        a_day_goes_by(&db).await;
        let many: Vec<String> = (10..30).map(|n| format!("policy+{n}@gmail.com")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let (run_id, ended) = run_to(&db, &catcher, "many", &many).await;
        let told = "3 mails in a row (gmail) were refused because of us, and none was taken there for a day";
        assert!(matches!(&ended, Ended::Paused(why) if why.starts_with(told)), "{ended:?}");
        let sql = "SELECT COUNT(*) FROM delivery WHERE run_id = $1 AND state = 'failed'";
        assert_eq!(db.fetch_one::<(i64,)>(sql, args![&run_id]).await.unwrap().0, 3);
        assert!(run::advance(&db, &run_id, run::Move::Resume, None, clock::now()).await.unwrap());
        assert_eq!(mended(&db, &run_id, 0).await, 17, "mended, the rest is sent");
        db.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_in_a_row_hold_a_lane_that_took_something_today() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        let behaviour = ByRecipient::new().on("policy", Stage::Rcpt, Answer::reply(550, "5.7.1", "Blocked now"));
        let catcher = crate::ground::mail::catcher(std::sync::Arc::new(behaviour)).await;
        run_to(&db, &catcher, "before", &["mia@gmail.com"]).await;
        for (campaign, n, held) in [("few", 9, false), ("many", 30, true)] {
            let people: Vec<String> = (0..n).map(|n| format!("policy+{campaign}{n}@gmail.com")).collect();
            let people: Vec<&str> = people.iter().map(String::as_str).collect();
            hasten(&db).await;
            let (_, ended) = run_to(&db, &catcher, campaign, &people).await;
            let told = "10 mails in a row (gmail) were refused because of us; the last: 550 5.7.1 Blocked now";
            match held {
                true => assert!(matches!(&ended, Ended::Paused(why) if why == told), "{ended:?}"),
                false => assert_eq!(ended, Ended::Idle, "nine may be chance"),
            }
        }
        db.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_held_when_the_time_is_up_is_told_as_held() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        let catcher = by_recipient().await;
        run_to(&db, &catcher, "before", &["mia@example.com", "policy+1@gmail.com"]).await;
        // Its lane lets one leave a second, so the other waits when the time is up.
        assert!(pacing::slow_down(&db, "default/yahoo", 2.0, "slow", clock::now()).await.unwrap());
        let people = ["full+1@yahoo.com", "full+2@yahoo.com", "policy+2@gmail.com", "policy+3@gmail.com"];
        let run_id = enqueued(&db, "hello", &people).await;
        let until = tokio::time::Instant::now() + Duration::from_millis(600);
        let server = server(&catcher.url(), patience(false));
        let (totals, ended) = drained_until(&db, &run_id, server, 2, 0, Some(until)).await;
        assert!(matches!(&ended, Ended::Paused(why) if why.starts_with("3 mails (gmail)")), "{ended:?}, {totals:?}");
        assert_eq!((state(&db, &run_id).await, totals.failed), (RunState::Paused, 2), "{totals:?}");
        db.close().await;
    })
    .await;
}
