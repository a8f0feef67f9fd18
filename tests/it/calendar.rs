//! What is to come, and to about how many: `okaeri calendar` through the real binary.

use crate::ground::each_database;
use crate::ground::scenario::Scenario;
use crate::review::catcher;

#[tokio::test(flavor = "multi_thread")]
async fn the_calendar_tells_what_is_to_come_and_to_about_how_many() {
    each_database(|url| async move {
        let catcher = catcher().await;
        let shop = Scenario::new(&url)
            .smtp(&catcher.url())
            .campaign("digest", "schedule: { every: tuesday 09:00 }\nonce_per: 5d")
            .segment("quiet", "{ did_not: order.placed, in_last: 30d }")
            .campaign("miss-you", "audience: { in_segment: quiet }\nschedule: { every: thursday 10:00 }")
            .campaign("letter", "")
            .campaign("later", "status: draft\nschedule: { every: day 09:00 }")
            .with_people(3)
            .await;
        shop.okaeri("profile --quiet").await.exits(0);
        let told = shop.okaeri("calendar --days 9 --at 2026-11-23T00:00").await.exits(0).stdout;
        insta::allow_duplicates! {
            insta::assert_snapshot!(told, @r#"
            when                  campaign  whose clock    about
            Tue 2026-11-24 09:00  digest    Europe/Berlin      3  as planned now
            Thu 2026-11-26 10:00  miss-you  Europe/Berlin      3  as planned now
            Tue 2026-12-01 09:00  digest    Europe/Berlin      3  expected
             sent by hand, without a schedule: letter
            "#);
        }
        shop.okaeri("run --at 2026-11-24T09:00").await.exits(0);
        let json = shop.json("calendar --at 2026-11-24T09:00", 0).await;
        let slots = json["slots"].as_array().unwrap();
        assert_eq!(slots.len(), 8);
        let slot = |n: usize| (&slots[n]["slot"], &slots[n]["people"], &slots[n]["people_known_by"]);
        assert_eq!(slot(0), (&"2026-11-26T10:00".into(), &3.into(), &"plan".into()));
        assert_eq!(slot(1), (&"2026-12-01T09:00".into(), &3.into(), &"plan".into()));
        assert_eq!(slot(2), (&"2026-12-03T10:00".into(), &3.into(), &"forecast".into()));
        shop.okaeri("calendar --days 0").await.exits(2);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_had_it_or_may_not_have_it_is_not_counted_again() {
    each_database(|url| async move {
        let catcher = catcher().await;
        let shop = Scenario::new(&url)
            .smtp(&catcher.url())
            .segment("staff", "{ customer: first_name, in: [P1, P2] }")
            .campaign("digest", "exclude: { in_segment: staff }\nschedule: { every: tuesday 09:00 }\nonce_per: 60d")
            .with_people(12)
            .await;
        shop.okaeri("profile --quiet").await.exits(0);
        shop.okaeri("suppress p00003@example.com").await.exits(0);
        let people = async |at: &str| -> Vec<i64> {
            let json = shop.json(&format!("calendar --days 70 --at {at}"), 0).await;
            json["slots"].as_array().unwrap().iter().map(|s| s["people"].as_i64().unwrap()).collect()
        };
        // Twelve without two of the staff and one who wants no mail; then nobody, until 60 days are over.
        assert_eq!(people("2026-11-23T00:00").await, [9, 0, 0, 0, 0, 0, 0, 0, 0, 9]);
        shop.okaeri("run --at 2026-11-24T09:00").await.exits(0);
        assert_eq!(catcher.mails().len(), 9);
        assert_eq!(people("2026-11-25T00:00").await, [0, 0, 0, 0, 0, 0, 0, 0, 9, 0]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_ahead_of_people_in_a_journey_are_told_by_day() {
    each_database(|url| async move {
        let catcher = catcher().await;
        let shop = Scenario::new(&url).smtp(&catcher.url()).campaign("welcome", "").with_people(2).await;
        let steps = "steps:\n  - { step: hello, template: welcome/letter }\n  - { step: tips, after: 3d, at: \"09:00\", template: welcome/letter }\n";
        shop.write(
            "campaigns/welcome.yaml",
            format!("campaign: welcome\nstatus: live\ntopic: offers\naudience: everyone\nschedule: {{ enter: when_matching }}\n{steps}"),
        );
        shop.okaeri("profile --quiet").await.exits(0);
        let told = shop.okaeri("calendar --at 2026-11-02T12:00").await.exits(0).stdout;
        assert!(told.contains("entered whenever somebody matches: welcome (2 at the next look)"), "{told}");
        shop.okaeri("run --at 2026-11-02T15:20").await.exits(0);
        shop.write("more.csv", "customer_id,email,consent\nzoe,zoe@example.com,offers\n");
        shop.okaeri("import customers more.csv --quiet").await.exits(0);
        shop.okaeri("run --at 2026-11-04T12:00").await.exits(0);
        let json = shop.json("calendar --at 2026-11-05T08:00", 0).await;
        let steps: Vec<String> = json["steps"]
            .as_array()
            .unwrap()
            .iter()
            .map(|s| format!("{} {} {} {}", s["campaign"], s["step"], s["day"], s["people"]).replace('"', ""))
            .collect();
        assert_eq!(steps, ["welcome tips 2026-11-05 2", "welcome tips 2026-11-07 1"]);
        assert_eq!(json["journeys"], serde_json::json!([{ "campaign": "welcome", "entering": 0 }]));
        let told = shop.okaeri("calendar --at 2026-11-05T08:00").await.exits(0).stdout;
        insta::allow_duplicates! {
            insta::assert_snapshot!(told, @r#"
            when            campaign  whose clock         about
            Thu 2026-11-05  welcome   since they entered      2  step tips
            Sat 2026-11-07  welcome   since they entered      1  step tips
             entered whenever somebody matches: welcome (0 at the next look)
            "#);
        }
        let markdown = shop.okaeri("calendar --at 2026-11-05T08:00 --format markdown").await.exits(0).stdout;
        assert!(markdown.contains("fewer than 5  step tips"), "{markdown}");
    })
    .await;
}
