//! Every message is rendered before the first one leaves: what fails is told by line, with how many and whom, and early.

use std::fmt::Write as _;

use okaeri::catcher::{Catcher, CatcherOptions};
use okaeri::db::bucket_of;

use crate::ground::each_database;
use crate::ground::scenario::Scenario;

/// Divides by zero for people of a country that no trial knows, on line 4 or 5.
const HTML: &str = "\
Subject: Hello
Preheader: soon

<p>{% if customer.country | default(value=\"\") == \"XX\" %}{{ 100 / (profile.orders - profile.orders) }}{% endif %}</p>
<p>{% if customer.country | default(value=\"\") == \"YY\" %}{{ 100 / (profile.orders - profile.orders) }}{% endif %}</p>
<p>{{ customer.last_name | default(value=\"\") }} <a href=\"{{ links.unsubscribe }}\">Unsubscribe</a></p>
";

fn shop(url: &str, smtp: &str) -> Scenario {
    let shop = Scenario::new(url).campaign("spring", "").smtp(smtp);
    shop.write("templates/spring/letter.html", HTML);
    std::fs::remove_file(shop.path("templates/spring/letter.txt")).unwrap();
    shop
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_is_told_by_its_line_with_how_many_and_one_of_them() {
    each_database(|url| async move {
        let catcher = Catcher::start(CatcherOptions::default()).await.unwrap();
        let shop = shop(&url, &catcher.url());
        shop.write(
            "customers.csv",
            "customer_id,email,last_name,country,consent\na,a@example.com,Berg,DE,offers\nb,b@example.com,Lind,XX,offers\n\
             c,c@example.com,,YY,offers\nd,d@example.com,Ray,YY,offers\ne,e@example.com,Ito,JP,offers\n",
        );
        shop.okaeri("import customers customers.csv --quiet").await.exits(0);
        for verb in ["plan spring", "send spring"] {
            let told = shop.json(verb, 2).await;
            let problems = told["problems"].as_array().unwrap();
            let of = |at: usize, name: &str| problems[at][name].as_str().unwrap().to_owned();
            assert_eq!(problems.len(), 3, "{told}");
            assert_eq!((of(0, "file"), of(0, "code")), ("campaigns/spring.yaml".into(), "run-stopped".into()));
            assert_eq!(of(0, "message"), "nothing was sent: 3 of 5 messages could not be rendered");
            assert_eq!((&problems[1]["file"], &problems[1]["line"]), (&"templates/spring/letter.html".into(), &4.into()));
            assert!(of(1, "message").ends_with(": 1 message, for example to customer b"), "{told}");
            assert_eq!(problems[2]["line"], 5);
            assert!(of(2, "message").contains(": 2 messages, for example to customer "), "{told}");
        }
        assert_eq!(catcher.mails().len(), 0);
        assert_eq!(shop.json("queue status", 0).await["runs"], serde_json::json!([]), "the slot is free again");

        shop.write("templates/spring/letter.html", HTML.replace("- profile.orders)", "+ 1)"));
        let sent = shop.json("send spring", 0).await;
        // Somebody without a last name takes another way; all others the same.
        assert_eq!((&sent["proof"]["rendered"], &sent["proof"]["shapes"]), (&5.into(), &2.into()), "{sent}");
        assert!(sent["proof"]["per_second"].as_u64().unwrap() > 0);
        assert_eq!(catcher.mails().len(), 5);
    })
    .await;
}

/// Enough that the fault of one is not found by going through all from the first bucket on.
const PEOPLE: usize = 34_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_rare_shape_is_looked_at_before_all_others() {
    each_database(|url| async move {
        let catcher = Catcher::start(CatcherOptions::default()).await.unwrap();
        let shop = shop(&url, &catcher.url());
        // In the last bucket but a few, and the only one without a last name.
        let rare = (0..).map(|n| format!("rare-{n}")).find(|id| bucket_of(id) > 1_015).unwrap();
        let mut people = String::from("customer_id,email,last_name,country,consent\n");
        let _ = writeln!(people, "{rare},rare@example.com,,XX,offers");
        for n in 0..PEOPLE {
            let _ = writeln!(people, "c{n},c{n}@example.com,Berg,DE,offers");
        }
        shop.write("customers.csv", people);
        shop.okaeri("import customers customers.csv --quiet").await.exits(0);
        let told = shop.json("send spring", 2).await;
        let message = told["problems"][0]["message"].as_str().unwrap();
        let looked_at = message
            .strip_prefix("nothing was sent: 1 of ")
            .and_then(|m| m.strip_suffix(" messages looked at first could not be rendered"));
        let looked_at: u64 = looked_at.unwrap_or_else(|| panic!("{message}")).replace(',', "").parse().unwrap();
        assert!(looked_at < 1_000, "{message}");
        assert!(told["problems"][1]["message"].as_str().unwrap().ends_with(&format!("for example to customer {rare}")));
        assert_eq!(catcher.mails().len(), 0);
    })
    .await;
}
