//! Looking at the queue: single messages with every word, groups of them.

use std::collections::BTreeSet;
use std::sync::Arc;

use okaeri::args;
use okaeri::catcher::{Answer, ByRecipient, Stage};
use serde_json::{Value, json};

use super::{hasten, message_of, shop_of};
use crate::ground::each_database;
use crate::ground::mail::{by_recipient, catcher};
use crate::ground::scenario::Scenario;

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_shown_with_every_word_and_what_comes_next() {
    each_database(|url| async move {
        let behaviour = ByRecipient::standard().on(
            "odd",
            Stage::Rcpt,
            Answer::of([okaeri::catcher::Move::Raw(b"451 4.7.1 na\xefve \x1b[31m\xe2\x82\xac\r\n".to_vec())]),
        );
        let catcher = catcher(Arc::new(behaviour)).await;
        let shop = shop_of(&url, &catcher.url(), &["greylist", "hard", "mia", "odd"]).await;
        shop.okaeri("send hello --slot one").await.exits(75);
        let (_, id) = message_of(&shop, "greylist").await;
        let shown = shop.json(&format!("queue show <{id}@example.com>"), 0).await;
        let attempt = &shown["history"][0];
        assert_eq!(
            (&attempt["what"], &attempt["stage"], &attempt["state"], &attempt["code"], &attempt["reply"]),
            (
                &json!("attempt"),
                &json!("rcpt"),
                &json!("deferred"),
                &json!(451),
                &json!("4.7.1 Greylisted, come back later")
            )
        );
        assert_eq!(shown["message"]["address"], "greylist@example.com");
        assert!(shown["next"].as_str().unwrap().starts_with("it is sent when due, "), "{shown}");
        // What is no UTF-8 and what a terminal would obey is written as its code; the rest is as it came.
        let (state, odd) = message_of(&shop, "odd").await;
        let shown = shop.json(&format!("queue show {odd}"), 0).await;
        let reply = shown["history"][0]["reply"].as_str().unwrap();
        assert_eq!((state.as_str(), reply), ("deferred", "4.7.1 na\\xefve \\x1b[31m€"));
        let text = shop.okaeri(&format!("queue show {odd}")).await.exits(0).stdout;
        assert!(text.contains("try 1, at rcpt: 451 4.7.1 na\\xefve") && !text.contains("\u{1b}[31m"), "{text}");
        let (_, hard) = message_of(&shop, "hard").await;
        let shown = shop.json(&format!("queue show {hard}"), 0).await;
        assert!(shown["next"].as_str().unwrap().contains("suppressed: all (hard_bounce)"), "{shown}");
        hasten(&shop.database().await).await;
        shop.okaeri("work").await.exits(75); // odd comes back for ever
        let shown = shop.json(&format!("queue show {id}"), 0).await;
        assert_eq!((&shown["message"]["state"], &shown["message"]["attempts"]), (&json!("accepted"), &json!(2)));
        assert_eq!(shown["history"].as_array().map(Vec::len), Some(1), "the first try stays: {shown}");
        let nobody = shop.okaeri("queue show 00ff").await.exits(2);
        assert!(nobody.stderr.contains("there is no message `00ff`"), "{}", nobody.stderr);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_count_every_message_once_and_show_an_example() {
    each_database(|url| async move {
        let catcher = by_recipient().await;
        let shop = Scenario::new(&url).smtp(&catcher.url()).campaign("hello", "").campaign("other", "");
        let people = ["hard@gmail.com", "full@gmail.com", "ok@example.com", "spam@example.com", "fine@yahoo.com"];
        let rows: String = people.iter().enumerate().map(|(i, p)| format!("c{i},{p},offers\n")).collect();
        shop.write("people.csv", format!("customer_id,email,consent\n{rows}"));
        shop.okaeri("import customers people.csv --quiet").await.exits(0);
        shop.okaeri("send hello --slot one").await.exits(75);
        let groups = async |line: &str| -> Vec<(String, i64, String)> {
            let told = shop.json(&format!("queue list {line}"), 0).await;
            let groups = told["groups"].as_array().unwrap_or_else(|| panic!("{told}"));
            let of = |g: &Value| {
                let example = g["example"]["address"].as_str().unwrap().to_owned();
                (g["group"].as_str().unwrap().to_owned(), g["messages"].as_i64().unwrap(), example)
            };
            groups.iter().map(of).collect()
        };
        let counts = |groups: Vec<(String, i64, String)>| -> BTreeSet<(String, i64)> {
            groups.into_iter().map(|(group, n, _)| (group, n)).collect()
        };
        let set = |list: &[(&str, i64)]| -> BTreeSet<(String, i64)> {
            list.iter().map(|(group, n)| ((*group).to_owned(), *n)).collect()
        };
        assert_eq!(counts(groups("--by family").await), set(&[("gmail", 2), ("other", 2), ("yahoo", 1)]));
        let by_state: Vec<String> = groups("--by state").await.into_iter().map(|(g, ..)| g).collect();
        assert_eq!(by_state, ["accepted", "deferred", "failed"], "in the order of a message's life");
        assert_eq!(
            counts(groups("--by code").await),
            set(&[("250", 2), ("452 4.2.2", 1), ("550 5.1.1", 1), ("554 5.7.1", 1)])
        );
        assert_eq!(counts(groups("--by age").await), set(&[("under an hour", 5)]));
        assert_eq!(groups("--by code --state deferred").await, [("452 4.2.2".into(), 1, "full@gmail.com".into())]);
        let unknown = shop.okaeri("queue list --by state --campaign other").await.exits(2);
        assert!(unknown.stderr.contains("nothing was planned for a campaign `other`"), "{}", unknown.stderr);
        shop.okaeri("queue list --run nope").await.exits(2);
        shop.okaeri("queue list --limit 0").await.exits(2);
        shop.database().await.execute("UPDATE delivery SET code = NULL WHERE code = 452", args![]).await.unwrap();
        assert_eq!(groups("--by code --state deferred").await[0].0, "none");
        let text = shop.okaeri("queue list --by family").await.exits(0).stdout;
        assert!(text.contains("for example") && text.contains("yahoo"), "{text}");
        shop.okaeri("queue list --by colour").await.exits(2);
    })
    .await;
}
