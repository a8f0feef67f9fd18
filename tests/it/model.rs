//! Models on a shop that works as they believe: scores of everybody, segments that use them, and refusals with a reason.

use std::fmt::Write as _;

use okaeri::clock::{self, DAY};
use okaeri::db::Db;
use serde_json::json;

use crate::ground::each_database;
use crate::ground::scenario::Scenario;

const BUYERS: u64 = 600;
/// Days the shop is open, up to two days ago.
const OPEN_DAYS: f64 = 480.0;

/// Between 0 and 1, from two numbers: the same shop in every run.
fn chance(customer: u64, n: u64) -> f64 {
    let mut z = (customer * 1_000 + n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (((z ^ (z >> 31)) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
}

/// Orders as a CSV: each customer has a rate, a price and a chance of leaving after an order of their own; one in four leaves on average.
fn orders(buyers: u64) -> String {
    let mut csv = "order_id,customer_id,ordered_at,total\n".to_owned();
    let start = clock::now() - (OPEN_DAYS as i64 + 2) * DAY;
    for customer in 0..buyers {
        let mut at = chance(customer, 0) * OPEN_DAYS * 0.6;
        // Gamma of shape 2: the mean gap is about a month.
        let rate = -(chance(customer, 1) * chance(customer, 2)).ln() / 60.0;
        // Beta(1, 3).
        let leaves = 1.0 - chance(customer, 4).cbrt();
        let price = 20.0 + 60.0 * chance(customer, 3);
        for n in 0..60 {
            let day = clock::readable(start + (at * DAY as f64) as i64, &jiff::tz::TimeZone::UTC);
            let total = price * (0.5 + chance(customer, 200 + n));
            writeln!(csv, "{customer}-{n},b{customer},{},{total:.2}", &day[..10]).unwrap();
            at -= chance(customer, 300 + n).ln() / rate;
            if chance(customer, 400 + n) < leaves || at > OPEN_DAYS {
                break;
            }
        }
    }
    csv
}

fn people(buyers: u64) -> String {
    let rows = (0..buyers).map(|n| format!("b{n},b{n}@example.com\n"));
    std::iter::once("customer_id,email\n".to_owned()).chain(rows).collect()
}

async fn shop(url: &str, buyers: u64) -> Scenario {
    let shop = Scenario::new(url)
        .segment("leaving", "{ score: churn.90d, gte: 0.9 }")
        .segment("best", "{ score: ltv.12m, percentile: { gte: 80 } }");
    shop.write("people.csv", people(buyers));
    shop.write("orders.csv", orders(buyers));
    shop.okaeri("import customers people.csv --quiet").await.exits(0);
    shop.okaeri("import orders orders.csv --quiet").await.exits(0);
    shop
}

async fn sizes(shop: &Scenario) -> (i64, i64) {
    let list = shop.json("segment list", 0).await;
    let people = |name: &str| {
        let segments = list["segments"].as_array().unwrap();
        segments.iter().find(|s| s["segment"] == name || s["name"] == name).unwrap()["people"].as_i64().unwrap()
    };
    (people("leaving"), people("best"))
}

/// customer, orders of 12 months and lifetime value with low and high, alive, churn.
type Scored = (String, f64, f64, f64, i64, i64, i64, f64, f64, Option<i64>);

async fn scores(db: &Db) -> Vec<Scored> {
    let sql = "SELECT customer_id, orders_12m, orders_12m_low, orders_12m_high, ltv_12m, ltv_12m_low, ltv_12m_high, alive, churn_90d,
                      next_order_at FROM score ORDER BY customer_id";
    db.fetch_all(sql, vec![]).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_buyer_is_scored_and_segments_follow() {
    each_database(|url| async move {
        let shop = shop(&url, BUYERS).await;
        assert_eq!(shop.json("model show", 0).await["models"], json!([]));
        assert_eq!(sizes(&shop).await, (0, 0), "without a model nobody is in a segment of scores");

        let card = shop.json("model fit", 0).await;
        assert_eq!(card["scored"], BUYERS);
        let [counts, values, bg] = card["models"].as_array().unwrap().as_slice() else { panic!("{card}") };
        assert_eq!(
            (&bg["name"], &bg["role"], &counts["role"]),
            (&"bg_nbd".into(), &"comparison".into(), &"scores".into())
        );
        assert_eq!(
            (&counts["name"], &counts["time_unit"], &counts["k"]),
            (&"mbg_nbd".into(), &"week".into(), &1.into())
        );
        assert_eq!((&counts["confidence"], &values["name"]), (&"good".into(), &"gamma_gamma".into()));
        for name in ["r", "alpha", "a", "b"] {
            let (at, error) =
                (counts["parameters"][name].as_f64().unwrap(), counts["standard_errors"][name].as_f64().unwrap());
            assert!(at > 0.0 && error > 0.0 && error < at, "{name}: {at} ± {error}");
        }
        let (a, b) = (counts["parameters"]["a"].as_f64().unwrap(), counts["parameters"]["b"].as_f64().unwrap());
        assert!((a / (a + b) - 0.25).abs() < 0.08, "{a} {b}");
        let holdout = &card["holdout"];
        assert_eq!((&holdout["best"], holdout["accuracy"].as_array().unwrap().len()), (&"model".into(), 5));
        let covered = holdout["accuracy"][0]["covered"].as_f64().unwrap();
        assert!((0.8..0.99).contains(&covered), "{holdout}");
        assert_eq!(holdout["calibration"].as_array().unwrap().len(), 10);
        // By chance this shop has about 60 orders fewer in those weeks than its 408 expected ones; two thirds of such shops are within 30 of them.
        assert!(holdout["accuracy"][0]["total_error"].as_f64().unwrap().abs() < 0.4, "{holdout}");
        assert_eq!(shop.json("model show", 0).await, card, "what was printed is what is kept");
        assert!(card["seasons"].is_null(), "nothing in this shop goes by the month: {}", card["seasons"]);
        assert_eq!((&card["confidence"], &card["doubts"], &card["age_days"]), (&"good".into(), &json!([]), &0.into()));

        let db = shop.database().await;
        let scored = scores(&db).await;
        assert_eq!(scored.len() as u64, BUYERS);
        for (who, n, few, many, value, little, much, alive, churn, next) in &scored {
            assert!(0.0 <= *few && few <= n && n <= many, "{who}: {few} {n} {many}");
            assert!(0 <= *little && little <= value && value <= much, "{who}: {little} {value} {much}");
            assert!((0.0..=1.0).contains(alive) && (0.0..=1.0).contains(churn) && 1.0 - churn <= alive + 1e-9, "{who}");
            // 20 to 80, half to one and a half: no order is worth more than 120.00; and many are expected to come again.
            assert!(few.fract() == 0.0 || few == n, "{who}: a low is a number of orders: {few}");
            assert!(
                *value as f64 <= n * 12_000.0 && next.is_none_or(|at| at > clock::now() - 3 * DAY),
                "{who}: {value} {n}"
            );
        }
        let (leaving, best) = sizes(&shop).await;
        assert_eq!(leaving, scored.iter().filter(|s| s.8 >= 0.9).count() as i64);
        assert!((BUYERS as i64 / 5 - 5..BUYERS as i64 / 5 + 5).contains(&best), "{best}");

        shown_of_one(&shop, scored.iter().max_by_key(|s| s.4).unwrap()).await;
        let from = &clock::readable(clock::now() - 60 * DAY, &jiff::tz::TimeZone::UTC)[..10];
        let flows = shop.json(&format!("report flows --from {from}"), 0).await;
        let predicted: i64 = flows["flows"].as_array().unwrap().iter().filter_map(|f| f["ltv"].as_i64()).sum();
        assert_eq!(
            predicted,
            scored.iter().map(|s| s.4).sum::<i64>(),
            "what all flows are predicted to bring is all of it"
        );

        // Whoever is gone has no score after the next fit, and is in no segment of scores.
        let gone = scored.iter().max_by_key(|s| s.4).unwrap().0.clone();
        for table in ["customer", "customer_order"] {
            db.execute(&format!("DELETE FROM {table} WHERE customer_id = $1"), okaeri::args![gone.as_str()])
                .await
                .unwrap();
        }
        shop.okaeri("profile --full --quiet").await.exits(0);
        let again = shop.json("model fit", 0).await;
        assert_eq!(again["scored"], BUYERS - 1);
        assert_ne!(again["fit_id"], card["fit_id"]);
        let list = shop.json("model list", 0).await;
        let ids: Vec<_> = list["fits"].as_array().unwrap().iter().map(|f| &f["fit_id"]).collect();
        assert_eq!(ids, [&again["fit_id"], &card["fit_id"]], "{list}");
        let earlier = format!("model show --fit {}", card["fit_id"].as_str().unwrap());
        assert_eq!(shop.json(&earlier, 0).await["models"], card["models"]);
        let unknown = shop.okaeri("model show --fit nix").await.exits(2);
        assert!(unknown.stderr.contains("no fit `nix`") && unknown.stderr.contains("model list"), "{}", unknown.stderr);
        let listed = shop.okaeri("model list").await.exits(0).stdout;
        assert!(listed.lines().count() == 3 && listed.contains("the model") && listed.contains("good"), "{listed}");
        let moved = shop.okaeri("model fit --at 2026-01-01").await.exits(2);
        assert!(moved.stderr.contains("leave --at away"), "{}", moved.stderr);
        assert!(scores(&db).await.iter().all(|s| s.0 != gone));
        let text = shop.okaeri("model show").await.exits(0).stdout;
        for wanted in [
            "599 buyers scored",
            "mbg_nbd, k = 1, time in weeks",
            "gamma_gamma",
            "same as last period",
            "closest to each customer: the model",
            "bg_nbd, k = 1, time in weeks (to compare)",
            "by tenths of the customers",
        ] {
            assert!(text.contains(wanted), "{wanted}:\n{text}");
        }
        db.close().await;
    })
    .await;
}

/// What `customer show` says of the one who is expected to bring most.
async fn shown_of_one(shop: &Scenario, best: &Scored) {
    let line = format!("customer show {}", best.0);
    let shown = shop.json(&line, 0).await;
    assert_eq!((&shown["fit"]["used"], &shown["fit"]["confidence"]), (&"model".into(), &"good".into()));
    let score = |name: &str| shown["scores"].as_array().unwrap().iter().find(|s| s["score"] == name).unwrap().clone();
    let ltv = score("ltv.12m");
    assert_eq!((ltv["value"].as_f64(), ltv["low"].as_f64()), (Some(best.4 as f64), Some(best.5 as f64)));
    assert!(ltv["percentile"].as_f64().unwrap() > 99.5, "{ltv}");
    // Reading JSON rounds to a neighbour now and then.
    let alive = score("alive")["value"].as_f64().unwrap();
    assert!((alive - best.7).abs() < 1e-12, "{alive} {}", best.7);
    assert!(shown["segments"].as_array().unwrap().contains(&"best".into()), "{shown}");
    let text = shop.okaeri(&line).await.exits(0).stdout;
    assert!(text.contains("by the model, fitted on 2") && !text.contains("low confidence"), "{text}");
    assert!(text.contains("more than 99 %") && text.contains("later than ") && !text.contains("100 %"), "{text}");
    let later = clock::readable(clock::now() + 60 * DAY, &jiff::tz::TimeZone::UTC);
    let text = shop.okaeri(&format!("{line} --at {}", &later[..10])).await.exits(0).stdout;
    assert!(
        text.contains("low confidence: the fit is 59 days old") || text.contains("the fit is 60 days old"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shop_too_small_is_refused_with_a_reason_and_a_small_one_told_so() {
    each_database(|url| async move {
        let small = shop(&url, 40).await;
        let refused = small.okaeri("model fit").await.exits(2);
        assert!(refused.stderr.contains("40 buyers are too few"), "{}", refused.stderr);
        assert!(refused.stderr.contains("days since the last order"), "{}", refused.stderr);
        let db = small.database().await;
        assert!(scores(&db).await.is_empty());

        small.write("people.csv", people(90));
        small.write("orders.csv", orders(90));
        small.okaeri("import customers people.csv --quiet").await.exits(0);
        small.okaeri("import orders orders.csv --quiet").await.exits(0);
        let card = small.json("model fit", 0).await;
        assert_eq!((&card["scored"], &card["models"][0]["confidence"]), (&90.into(), &"low".into()));
        let warning = card["models"][0]["warnings"][0].as_str().unwrap();
        assert!(warning.contains("90 buyers are few"), "{warning}");
        assert!(small.okaeri("model show").await.exits(0).stdout.contains("low confidence"));

        // Most are deleted: too few again. Their scores must not stay as if nothing had happened.
        assert_eq!(sizes(&small).await.1, 18);
        for table in ["customer", "customer_order"] {
            let sql = format!("DELETE FROM {table} WHERE customer_id > $1");
            db.execute(&sql, okaeri::args!["b3"]).await.unwrap();
        }
        small.okaeri("profile --full --quiet").await.exits(0);
        let refused = small.json("model fit", 2).await;
        assert!(refused["refused"].as_str().unwrap().contains("too few"), "{refused}");
        assert_eq!((&refused["scored"], &refused["models"]), (&0.into(), &json!([])));
        assert!(scores(&db).await.is_empty());
        assert_eq!(sizes(&small).await, (0, 0), "segments of scores are empty again");
        let shown = small.okaeri("model show").await.exits(2);
        assert!(shown.stdout.contains("was refused; nobody has a score"), "{}", shown.stdout);
        assert!(shown.stderr.contains("too few for a model"), "{}", shown.stderr);
        db.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_orders_after_a_fit_is_scored_anew_with_its_parameters() {
    each_database(|url| async move {
        let shop = shop(&url, 150).await;
        shop.okaeri("model fit --quiet").await;
        let db = shop.database().await;
        let before = scores(&db).await;
        // The one most surely gone comes back today, and somebody new comes.
        let gone = before.iter().max_by(|a, b| a.8.total_cmp(&b.8)).unwrap();
        let today = &clock::readable(clock::now(), &jiff::tz::TimeZone::UTC)[..10];
        let tomorrow = &clock::readable(clock::now() + 3 * DAY, &jiff::tz::TimeZone::UTC)[..10];
        shop.write("new.csv", "customer_id,email\n美咲,misaki@example.com\nlater,later@example.com\n");
        let csv = format!(
            "order_id,customer_id,ordered_at,total\nback,{},{today},30.00\nfirst,美咲,{today},30.00\nnot-yet,later,{tomorrow},1.00\n",
            gone.0
        );
        shop.write("more.csv", csv);
        shop.okaeri("import customers new.csv --quiet").await.exits(0);
        shop.okaeri("import orders more.csv --quiet").await.exits(0);
        let told = shop.json("profile", 0).await;
        let after = scores(&db).await;
        assert_eq!(after.len(), before.len() + 1, "nobody is scored by an order of the future");
        assert_eq!(told["rescored"], 2, "{told}");
        let of = |id: &str| after.iter().find(|s| s.0 == id).unwrap().clone();
        assert!(of(&gone.0).8 < gone.8 && of(&gone.0).7 > gone.7, "{gone:?} {:?}", of(&gone.0));
        assert!(of("美咲").1 > 0.0);
        let same = |id: &str| *id != gone.0 && id != "美咲";
        let others = |scored: &[Scored]| scored.iter().filter(|s| same(&s.0)).cloned().collect::<Vec<_>>();
        assert_eq!(others(&before), others(&after));
        shop.okaeri("profile --quiet").await.exits(0);
        assert_eq!(scores(&db).await, after, "nothing changed, nothing is scored");
        // All orders are taken back: no score is left.
        db.execute("DELETE FROM customer_order WHERE customer_id = $1", okaeri::args!["美咲"]).await.unwrap();
        shop.okaeri("profile --full --quiet").await.exits(0);
        assert_eq!(scores(&db).await.len(), before.len());
        db.close().await;
    })
    .await;
}

/// Everybody orders once a month, and since half a year every week: nothing in a model that takes rates to be lasting foresees that.
fn faster() -> String {
    let mut csv = "order_id,customer_id,ordered_at,total\n".to_owned();
    for customer in 0..BUYERS {
        let days = (0..400).filter(|day| (day + customer) % if *day < 200 { 30 } else { 7 } == 0);
        for day in days {
            let at = clock::readable(clock::now() - (400 - day as i64) * DAY, &jiff::tz::TimeZone::UTC);
            writeln!(csv, "{customer}-{day},b{customer},{},25.00", &at[..10]).unwrap();
        }
    }
    csv
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_rule_of_thumb_wins_it_is_what_the_scores_say() {
    each_database(|url| async move {
        let shop = shop(&url, 0).await;
        shop.write("people.csv", people(BUYERS));
        shop.write("orders.csv", faster());
        shop.okaeri("import customers people.csv --quiet").await.exits(0);
        shop.okaeri("import orders orders.csv --quiet").await.exits(0);
        let card = shop.json("model fit", 0).await;
        let accuracy = card["holdout"]["accuracy"].as_array().unwrap();
        let rmse = |name: &str| accuracy.iter().find(|a| a["predictor"] == name).unwrap()["rmse"].as_f64().unwrap();
        let used = card["used"].as_str().unwrap();
        assert_eq!(used, "last_period", "{card}");
        assert!(rmse(used) < rmse("model"), "{card}");
        assert_eq!(card["models"][0]["role"], "nothing");
        let text = shop.okaeri("model show").await.exits(0).stdout;
        assert!(text.contains("THE MODEL LOST") && text.contains("(not used)"), "{text}");
        let db = shop.database().await;
        let sql = "SELECT customer_id, orders_90d, alive, churn_90d, churn_90d_low, churn_90d_high FROM score";
        let rows: Vec<(String, f64, Option<f64>, f64, f64, f64)> = db.fetch_all(sql, vec![]).await.unwrap();
        assert_eq!(rows.len() as u64, BUYERS);
        for (who, orders, alive, churn, little, much) in rows {
            assert!(
                little <= churn && churn <= much && little < much,
                "{who}: a rule is not certain: {little} {churn} {much}"
            );
            assert_eq!(alive, None, "a rule knows nothing of that");
            // 13 weeks of the last period, told of 90 days.
            assert!((orders - 90.0 / 7.0).abs() < 1.0, "{who}: {orders}");
            assert!((churn - (-orders).exp()).abs() < 1e-9, "{who}");
        }
        db.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scores_that_were_too_far_off_and_resellers_are_told() {
    each_database(|url| async move {
        let shop = shop(&url, BUYERS).await;
        shop.json("model fit", 0).await;
        let db = shop.database().await;
        let before = scores(&db).await;
        let mut csv = "order_id,customer_id,ordered_at,total,status\n".to_owned();
        let day = &clock::readable(clock::now() - 50 * DAY, &jiff::tz::TimeZone::UTC)[..10];
        writeln!(csv, "unhappy-1,unhappy,{day},10.00,placed\nunhappy-2,unhappy,{day},-10.00,returned").unwrap();
        for n in 0..400 {
            let day = clock::readable(clock::now() - (n + 5) * DAY, &jiff::tz::TimeZone::UTC);
            writeln!(csv, "wholesale-{n},wholesale,{},9000.00,placed", &day[..10]).unwrap();
        }
        shop.write("people.csv", "customer_id,email\nwholesale,buyer@example.com\nunhappy,unhappy@example.com\n");
        shop.write("more.csv", csv);
        shop.okaeri("import customers people.csv --quiet").await.exits(0);
        shop.okaeri("import orders more.csv --quiet").await.exits(0);
        let card = shop.json("model fit", 0).await;
        assert_eq!(card["extreme"], json!([{ "customer_id": "wholesale", "orders": 400 }]));
        let warnings = card["models"][0]["warnings"].to_string();
        assert!(warnings.contains("1 customer with more than"), "{warnings}");
        let warnings = card["models"][1]["warnings"].to_string();
        assert!(warnings.contains("1 customer whose mean order is far above"), "{warnings}");
        assert!(warnings.contains("1 customer brought nothing net of returns and is left out"), "{warnings}");
        // All others are told as they were: one buyer of wares does not take the model away from everybody.
        assert_eq!((&card["used"], &card["holdout"]["left_out"]), (&"model".into(), &1.into()));
        let others = |scored: &[Scored]| -> f64 {
            scored.iter().filter(|s| s.0 != "wholesale" && s.0 != "unhappy").map(|s| s.1).sum()
        };
        let (with, without) = (others(&scores(&db).await), others(&before));
        assert!((with / without - 1.0).abs() < 0.1, "{with} {without}");
        let text = shop.okaeri("model show").await.exits(0).stdout;
        assert!(text.contains("wholesale (400)"), "{text}");
        assert!(text.contains("1 customer far busier than all others is left out"), "{text}");

        let error = card["error"].as_f64().unwrap();
        assert!(error > 0.01, "{error}");
        let value = |id: &'static str| {
            let db = &db;
            async move {
                let row: (i64,) =
                    db.fetch_one("SELECT ltv_12m FROM score WHERE customer_id = $1", okaeri::args![id]).await.unwrap();
                row.0
            }
        };
        let gross = value("wholesale").await;
        let shop =
            shop.settings("models: { max_error: 1%, margin: 50%, cap_repeat_orders: 1000, discount_yearly: 0% }\n");
        let shown = shop.okaeri("model show").await.exits(2);
        assert!(shown.stderr.contains("`models: max_error` allows 1 %"), "{}", shown.stderr);
        let card = shop.json("model fit", 2).await;
        assert_eq!((&card["margin"], &card["discount_yearly"]), (&0.5.into(), &0.0.into()));
        assert_eq!(card["extreme"], json!([]), "nobody is above a cap of 1,000");
        let half = value("wholesale").await;
        assert!((half as f64 / gross as f64 - 0.52).abs() < 0.1, "{half} of {gross}");
        db.close().await;
    })
    .await;
}

/// A campaign for those whom a segment of scores holds.
fn campaign_of_scores(shop: Scenario) -> Scenario {
    shop.campaign("win-back", "audience: { in_segment: leaving }").smtp("smtp://127.0.0.1:1")
}

#[tokio::test(flavor = "multi_thread")]
async fn two_days_of_orders_foretell_no_year_and_who_asks_for_no_scores_does_not_care() {
    each_database(|url| async move {
        let shop = Scenario::new(&url);
        let day = |ago: i64| clock::readable(clock::now() - ago * DAY, &jiff::tz::TimeZone::UTC)[..10].to_owned();
        let orders: String = (0..120).map(|n| format!("o{n},b{},{},20.00\n", n / 2, day(5 + n % 2))).collect();
        shop.write("people.csv", people(60));
        shop.write("orders.csv", format!("order_id,customer_id,ordered_at,total\n{orders}"));
        shop.okaeri("import customers people.csv --quiet").await.exits(0);
        shop.okaeri("import orders orders.csv --quiet").await.exits(0);
        let refused = shop.okaeri("model fit").await.exits(2);
        assert!(refused.stderr.contains("orders are known of 2 days only"), "{}", refused.stderr);
        let db = shop.database().await;
        assert!(scores(&db).await.is_empty());
        db.close().await;
        shop.okaeri("check --data").await.exits(0);
        let shop = shop.segment("leaving", "{ score: churn.90d, gte: 0.9 }");
        assert!(
            shop.okaeri("check --data").await.exits(2).stderr.contains("2 days only"),
            "now a segment hangs on them"
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_nothing_can_be_held_against_stops_what_hangs_on_scores() {
    each_database(|url| async move {
        let shop = campaign_of_scores(shop(&url, BUYERS).await);
        let limit = "models: { max_error: 60% }\n";
        // Nothing but the last 200 days: too little for a trial.
        let db = shop.database().await;
        let sql = "DELETE FROM customer_order WHERE ordered_at < $1";
        db.execute(sql, okaeri::args![clock::now() - 200 * DAY]).await.unwrap();
        shop.okaeri("profile --full --quiet").await.exits(0);
        let card = shop.json("model fit", 0).await;
        assert_eq!((&card["error"], &card["confidence"]), (&json!(null), &"low".into()), "{card}");
        let told = shop.okaeri("plan win-back").await.exits(0).stderr;
        assert!(told.contains("hangs on scores: low confidence: not yet proved"), "{told}");
        let shop = shop.settings(limit);
        for verb in ["model show", "model fit", "check --data", "plan win-back", "send win-back"] {
            let refused = shop.okaeri(verb).await.exits(2).stderr;
            assert!(refused.contains("nothing says how far off the scores are"), "{verb}: {refused}");
        }
        db.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shop_that_died_an_old_fit_and_one_too_far_off_stop_what_hangs_on_scores() {
    each_database(|url| async move {
        let shop = campaign_of_scores(shop(&url, BUYERS).await);
        let later = clock::readable(clock::now() + 60 * DAY, &jiff::tz::TimeZone::UTC);
        let later = format!("plan win-back --at {}", &later[..10]);
        shop.json("model fit", 0).await;
        let told = shop.okaeri("plan win-back").await.exits(0).stderr;
        assert!(!told.contains("scores"), "a good fit is no news: {told}");
        let told = shop.okaeri(&later).await.exits(0).stderr;
        assert!(told.contains("low confidence: the fit is "), "{told}");
        let shop = shop.settings("models: { max_error: 60% }\n");
        shop.okaeri("plan win-back").await.exits(0);
        let refused = shop.okaeri(&later).await.exits(2).stderr;
        assert!(refused.contains("the scores are of a fit") && refused.contains("fit again"), "{refused}");

        // Nobody has ordered for 100 days but somebody new today.
        let db = shop.database().await;
        let sql = "DELETE FROM customer_order WHERE ordered_at > $1";
        db.execute(sql, okaeri::args![clock::now() - 100 * DAY]).await.unwrap();
        let today = &clock::readable(clock::now(), &jiff::tz::TimeZone::UTC)[..10];
        shop.write("people.csv", "customer_id,email\nnew,new@example.com\n");
        shop.write("orders.csv", format!("order_id,customer_id,ordered_at,total\nnew,new,{today},20.00\n"));
        shop.okaeri("import customers people.csv --quiet").await.exits(0);
        shop.okaeri("import orders orders.csv --quiet").await.exits(0);
        shop.okaeri("profile --full --quiet").await.exits(0);
        let card = shop.json("model fit", 2).await;
        assert!(card["error"].as_f64().unwrap() > 10.0, "each order that did not come is one too many: {card}");
        assert_eq!((&card["holdout"]["orders"], &card["confidence"]), (&0.into(), &"low".into()));
        for verb in ["model show", "check --data", "plan win-back", "send win-back"] {
            let refused = shop.okaeri(verb).await.exits(2).stderr;
            assert!(
                refused.contains("orders were predicted of the weeks held out, and none came"),
                "{verb}: {refused}"
            );
        }
        let text = shop.okaeri("model show").await.exits(2).stdout;
        assert!(text.starts_with("LOW CONFIDENCE: ") && text.contains("none came"), "{text}");
        db.close().await;
    })
    .await;
}
