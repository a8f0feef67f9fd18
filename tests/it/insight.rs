//! The shop's customers over time, and one of them: cohorts, lifecycle flows, `customer show`; and campaigns that hang on scores.

use serde_json::json;

use crate::ground::each_database;
use crate::ground::scenario::Scenario;

const PEOPLE: &str = "\
customer_id,email,first_name,locale,consent
mia,mia@example.com,Mia,de,offers
美咲,misaki@example.com,美咲,ja,news
late,,,,
hostile,h@example.com,\"A\u{1b}[31m\u{7}B\",,
nobody,nobody@example.com,,,
";

/// Mia orders monthly to May and then no more; 美咲 once in March, twice in June; late in July. The clock stands at 2026-08-01.
const ORDERS: &str = "\
order_id,customer_id,ordered_at,total,status
m1,mia,2026-01-01T00:10,10.00,placed
m2,mia,2026-01-31T09:00,20.00,placed
m3,mia,2026-03-02T09:00,30.00,placed
m4,mia,2026-04-01T09:00,40.00,placed
m5,mia,2026-05-01T09:00,50.00,placed
r5,mia,2026-05-05T09:00,-25.00,returned
c1,mia,2026-06-01T09:00,99.00,cancelled
k1,美咲,2026-03-15T09:00,3.00,placed
k2,美咲,2026-06-15T09:00,0.00,placed
k3,美咲,2026-06-15T10:00,5.00,placed
l1,late,2026-07-20T09:00,8.00,placed
h1,hostile,2026-01-31T09:00,1.00,placed
";

const AT: &str = "--at 2026-08-01T12:00";

async fn shop(url: &str) -> Scenario {
    let shop = Scenario::new(url)
        .segment("quiet", "{ customer: days_since_last_order, gte: 60 }")
        .segment("in_june", "{ did: order.placed, between: [2026-06-01, 2026-06-30] }");
    let shop = shop.settings("loyalty: { by: spend, tiers: { bronze: 1, silver: 120 } }\n");
    shop.write("people.csv", PEOPLE);
    shop.write("orders.csv", ORDERS);
    shop.okaeri("import customers people.csv --quiet").await.exits(0);
    shop.okaeri("import orders orders.csv --quiet").await.exits(0);
    shop.okaeri(&format!("profile --quiet {AT}")).await.exits(0);
    shop
}

#[tokio::test(flavor = "multi_thread")]
async fn cohorts_are_told_for_ages_that_everybody_has_lived_through() {
    each_database(|url| async move {
        let empty = Scenario::new(&url);
        assert_eq!(
            empty.okaeri("report cohorts").await.exits(0).stdout,
            "no orders yet: start with `okaeri import orders`\n"
        );
        let shop = shop(&url).await;
        let told = shop.json(&format!("report cohorts {AT}"), 0).await;
        assert_eq!((&told["observed_to"], &told["by"]), (&"2026-07-20".into(), &"month".into()));
        let cohorts = told["cohorts"].as_array().unwrap();
        let heads: Vec<_> =
            cohorts.iter().map(|c| (c["cohort"].as_str().unwrap(), c["customers"].as_i64().unwrap())).collect();
        // Ten minutes after midnight in Berlin is the year before in London.
        assert_eq!(heads, [("2026-01", 2), ("2026-03", 1), ("2026-07", 1)]);
        let ages = |n: usize| {
            let ages = cohorts[n]["ages"].as_array().unwrap();
            ages.iter()
                .map(|a| (a["active"].as_i64().unwrap(), a["revenue_per_customer"].as_i64().unwrap()))
                .collect::<Vec<_>>()
        };
        // Mia and the hostile one, who came on January 31: 171 days to July 20, five ages. The return of May is taken off.
        assert_eq!(ages(0), [(2, 550), (1, 1_550), (1, 3_050), (1, 5_050), (1, 6_300)]);
        assert_eq!(ages(1), [(1, 300), (0, 300), (0, 300), (1, 800)]);
        assert!(ages(2).is_empty());

        let csv = shop.okaeri(&format!("report cohorts --csv --by quarter --ages 2 {AT}")).await.exits(0).stdout;
        assert_eq!(
            csv,
            "cohort,customers,from_day,to_day,active,retention,revenue_per_customer\n\
             2026-Q1,3,0,30,3,1.0000,4.67\n2026-Q1,3,30,60,1,0.3333,11.33\n"
        );
        // As it was known in spring.
        let then = shop.json("report cohorts --at 2026-04-02", 0).await;
        assert_eq!((&then["observed_to"], then["cohorts"].as_array().unwrap().len()), (&"2026-04-01".into(), 2));
        let young = shop.okaeri("report cohorts --at 2026-01-20").await.exits(0).stdout;
        assert!(
            young.contains("2026-01") && young.ends_with("no cohort has lived 30 days yet; orders up to 2026-01-01\n"),
            "{young}"
        );
        let text = shop.okaeri(&format!("report cohorts {AT}")).await.exits(0).stdout;
        assert!(text.contains("Who ordered, by days since the first order") && text.contains("0–29"), "{text}");
        shop.okaeri("report cohorts --ages 0").await.exits(2);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flows_tell_who_was_where_then_and_is_where_now() {
    each_database(|url| async move {
        let shop = shop(&url).await;
        let told = shop.json(&format!("report flows --from 2026-05-10 --who active:drifting {AT}"), 0).await;
        assert_eq!((&told["customers"], &told["to"]), (&4.into(), &"2026-08-01".into()));
        // Mia's rhythm is 30 days: after 92 she has lapsed. 美咲 is told by the usual 60 days; the hostile one has been silent for 182.
        let flows = told["flows"].as_array().unwrap();
        let flows: Vec<_> =
            flows.iter().map(|f| json!([f["from"], f["to"], f["customers"], f["revenue"], f["ltv"]])).collect();
        assert_eq!(
            flows,
            [
                json!(["lead", "new", 1, 0, null]),
                json!(["drifting", "lapsed", 1, 100, null]),
                json!(["active", "lapsed", 1, 12_500, null]),
                json!(["active", "active", 1, 300, null]),
            ]
        );
        assert!(told.get("movers").is_none(), "nobody went from active to drifting");
        let text =
            shop.okaeri(&format!("report flows --from 2026-05-10 --who active:drifting {AT}")).await.exits(0).stdout;
        assert!(text.contains("nobody went the way that was asked about"), "{text}");
        assert!(text.contains("brought in the year to 2026-05-10"), "{text}");
        let named =
            shop.json(&format!("report flows --from 2026-05-10 --to 2026-07-31 --who active:lapsed {AT}"), 0).await;
        assert_eq!(named["movers"], json!([{ "customer_id": "mia", "revenue": 12_500, "ltv": null }]));
        let text = shop.okaeri(&format!("report flows --from 2026-05-10 {AT}")).await.exits(0).stdout;
        assert!(text.contains("active → lapsed") && text.contains("125.00 EUR"), "{text}");

        let nobody = shop.okaeri("report flows --from 2020-01-01 --to 2021-01-01").await.exits(0).stdout;
        assert_eq!(nobody, "nobody had ordered by 2021-01-01\n");
        for (line, wanted) in [
            ("report flows --from 2026-06-01 --to 2026-06-01", "--from must lie before --to"),
            ("report flows --from 2026-06-01 --to 2999-01-01", "--to not after today"),
            ("report flows --from yesterday", "write 2026-08-01"),
            ("report flows --from 2026-01-01 --who activ:lost", "did you mean `active`?"),
            ("report flows --from 2026-01-01 --who active", "stages: lead"),
        ] {
            let refused = shop.okaeri(&format!("{line} {AT}")).await.exits(2);
            assert!(refused.stderr.contains(wanted), "{line}: {}", refused.stderr);
        }
        // The name of a campaign still asks for its report.
        assert!(shop.okaeri("report spring").await.exits(2).stderr.contains("no run of `spring`"));
        assert_eq!(shop.okaeri("report").await.exits(0).stdout, "no campaign had a run yet\n");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_customer_on_one_screen() {
    each_database(|url| async move {
        let shop = shop(&url).await;
        shop.okaeri("suppress misaki@example.com --topic news --quiet").await.exits(0);
        let mia = shop.json(&format!("customer show mia --last 3 {AT}"), 0).await;
        assert_eq!(mia["profile"]["lifecycle"], "lapsed");
        assert_eq!((&mia["address"], &mia["consent"]), (&"m…@example.com".into(), &json!({ "offers": true })));
        assert_eq!((&mia["segments"], &mia["scores"]), (&json!(["quiet"]), &json!([])));
        let happened: Vec<_> =
            mia["timeline"].as_array().unwrap().iter().map(|h| h["what"].as_str().unwrap()).collect();
        assert_eq!(happened, ["c1 cancelled", "r5 returned", "m5 placed"]);
        assert_eq!((&mia["left_out"], &mia["timeline"][1]["total"]), (&4.into(), &(-2_500).into()));

        let misaki = shop.json(&format!("customer show 美咲 {AT}"), 0).await;
        assert_eq!(misaki["suppressed"], json!(["topic:news (manual)"]));
        assert_eq!(misaki["segments"], json!(["in_june"]));
        let text = shop.okaeri(&format!("customer show 美咲 {AT}")).await.exits(0).stdout;
        assert!(
            text.contains("美咲") && text.contains("suppressed: topic:news") && text.contains("3 orders, 8.00 EUR"),
            "{text}"
        );

        assert_eq!((&mia["loyalty"]["tier"], &misaki["loyalty"]["next_tier"]), (&"silver".into(), &"silver".into()));
        assert!(text.contains("tier bronze; next silver") && text.contains("known since 2026-03-15"), "{text}");
        assert_eq!((&mia["fit"], &misaki["fit"]), (&json!(null), &json!(null)));

        let hostile = shop.okaeri(&format!("customer show hostile {AT}")).await.exits(0).stdout;
        assert!(hostile.contains("A\\u{1b}[31m\\u{7}B") && !hostile.contains('\u{1b}'), "{hostile:?}");
        let nobody = shop.okaeri(&format!("customer show nobody --last 0 {AT}")).await.exits(0).stdout;
        assert!(nobody.contains("lead") && !nobody.contains("What happened"), "{nobody}");
        assert!(shop.okaeri("customer show ghost").await.exits(2).stderr.contains("no customer `ghost`"));
        // Before anything was computed it says so.
        shop.write("new.csv", "customer_id,email\nnew,new@example.com\n");
        shop.okaeri("import customers new.csv --quiet").await.exits(0);
        let new = shop.okaeri("customer show new").await.exits(0).stdout;
        assert!(new.contains("no profile yet: run `okaeri profile`") && new.contains("segments: none"), "{new}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_that_hangs_on_scores_needs_scores_that_hold() {
    each_database(|url| async move {
        let shop = shop(&url)
            .await
            .segment("leaving", "{ score: churn.90d, gte: 0.9 }")
            .segment("good_leaving", "{ all: [{ in_segment: leaving }, { customer: orders, gte: 2 }] }")
            .campaign("win-back", "audience: { in_segment: good_leaving }")
            .campaign("hello", "");
        // Without a limit it is only told.
        let told = shop.okaeri("plan win-back").await.exits(0);
        assert!(
            told.stderr.contains("who gets `win-back` hangs on scores: there are no scores yet"),
            "{}",
            told.stderr
        );
        let refused = shop.okaeri("model fit").await.exits(2);
        assert!(refused.stderr.contains("4 buyers are too few"), "{}", refused.stderr);
        let told = shop.okaeri("plan win-back").await.exits(0);
        assert!(told.stderr.contains("4 buyers are too few"), "{}", told.stderr);
        assert!(shop.okaeri("check --data").await.exits(2).stderr.contains("4 buyers are too few"));
        shop.okaeri("check").await.exits(0);

        let shop = shop.smtp("smtp://127.0.0.1:1").settings("models: { max_error: 30% }\n");
        for verb in ["plan win-back", "send win-back"] {
            let refused = shop.okaeri(verb).await.exits(2);
            assert!(refused.stderr.contains("who gets `win-back` hangs on scores"), "{verb}: {}", refused.stderr);
        }
        assert!(!shop.okaeri("plan hello").await.exits(0).stderr.contains("scores"), "others do not care");
        for (wrong, wanted) in [
            ("models: { max_error: 0% }\n", "max_error must be above 0 %"),
            ("models: { margin: 0% }\n", "margin must be above 0 %"),
            ("models: { discount_yearly: 100% }\n", "99 % at most"),
            ("models: { cap_repeat_orders: 0 }\n", "1 or more"),
            ("models: { horizon: 2y }\n", "horizon"),
            ("models: { margin: 140% }\n", "margin"),
        ] {
            shop.write(
                "okaeri.yaml",
                String::from_utf8(std::fs::read(shop.path("okaeri.yaml")).unwrap())
                    .unwrap()
                    .split("models:")
                    .next()
                    .unwrap()
                    .to_owned()
                    + wrong,
            );
            let refused = shop.okaeri("check").await.exits(2);
            assert!(refused.stderr.contains(wanted), "{wrong}: {}", refused.stderr);
        }
    })
    .await;
}
