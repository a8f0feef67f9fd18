//! What is printed as Markdown may stand where anybody reads it: nobody is named, and small groups are not counted to the one.

use crate::ground::each_database;
use crate::ground::scenario::Scenario;
use crate::review::catcher;

#[tokio::test(flavor = "multi_thread")]
async fn three_people_are_neither_named_nor_counted() {
    each_database(|url| async move {
        let catcher = catcher().await;
        let shop = Scenario::new(&url)
            .smtp(&catcher.url())
            .campaign("hello", "schedule: { every: day 09:00 }\nexperiment: { goal: { did: order.placed, within: 1d } }")
            .with_people(3)
            .await;
        let orders = "order_id,customer_id,ordered_at,total\na,p00001,2026-05-03,20\nb,p00002,2026-05-04,20\nc,p00003,2026-05-05,20\n";
        shop.write("orders.csv", orders);
        shop.okaeri("import orders orders.csv --quiet").await.exits(0);
        shop.okaeri("profile --quiet").await.exits(0);
        let plan = shop.okaeri("plan hello --format markdown").await.exits(0).stdout;
        let run = shop.okaeri("run --at 2026-06-02T10:00 --format markdown").await.exits(0).stdout;
        assert_eq!(catcher.mails().len(), 3);
        let mut told = vec![("plan".to_owned(), plan), ("run".to_owned(), run)];
        for line in [
            "report",
            "report hello",
            "report hello --at 2026-06-09",
            "report cohorts --at 2026-08-01",
            "report flows --from 2026-04-01 --to 2026-05-20 --at 2026-06-09",
        ] {
            told.push((line.to_owned(), shop.okaeri(&format!("{line} --format markdown")).await.exits(0).stdout));
        }
        for (line, text) in told {
            assert!(text.contains("fewer than 5"), "{line}: {text}");
            for word in text.split(|c: char| !c.is_alphanumeric()) {
                assert!(word != "3" && !word.starts_with("p0000"), "{line} says {word}: {text}");
            }
            assert!(!text.contains("@example"), "{line}: {text}");
        }
        for line in ["report flows --from 2026-04-01 --who lead:new", "report cohorts --csv"] {
            let refused = shop.okaeri(&format!("{line} --format markdown")).await.exits(2);
            assert!(refused.stderr.contains("Markdown is for where anybody may read it"), "{}", refused.stderr);
            assert_eq!(refused.stdout, "");
            shop.okaeri(line).await.exits(0);
        }
    })
    .await;
}
