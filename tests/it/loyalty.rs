//! Loyalty tiers over the months of a year: who rose, who is about to fall, each told once; and what templates are told.

use okaeri::args;
use okaeri::catcher::{Catcher, CatcherOptions};
use serde_json::Value;

use crate::ground::each_database;
use crate::ground::scenario::Scenario;
use crate::reward::text_of;

const LOYALTY: &str = "loyalty: { by: spend, in_last: 100d, at_risk_within: 30d, tiers: { silver: 50, gold: 200 } }\n";

const TEXT: &str = "\
{{ loyalty.reached | money }} {% if loyalty.tier %}tier={{ loyalty.tier }};{% endif %}{% if loyalty.next_tier %}next={{ loyalty.next_tier }} {{ loyalty.to_next | money }};{% endif %}
{% if loyalty.falls_on %}falls={{ loyalty.falls_on }} keep={{ loyalty.to_keep | money }};{% endif %}
{{ links.unsubscribe }}
{{ brand.organisation }}, {{ brand.postal_address }}
";

async fn ordered(shop: &Scenario, rows: &[(&str, &str, u32)]) {
    let rows: String = rows.iter().map(|(who, at, total)| format!("{who}-{at},{who},{at},{total}.00\n")).collect();
    shop.write("orders.csv", format!("order_id,customer_id,ordered_at,total\n{rows}"));
    shop.okaeri("import orders orders.csv --quiet").await.exits(0);
}

/// Who rose and who is at risk, as `profile` at an instant says.
async fn looked(shop: &Scenario, at: &str) -> (u64, u64) {
    let profile = shop.json(&format!("profile --at {at}"), 0).await;
    let n = |key: &str| profile["tiers"][key].as_u64().unwrap_or_else(|| panic!("{profile}"));
    (n("up"), n("at_risk"))
}

async fn recorded(shop: &Scenario) -> Vec<(String, String, String)> {
    let db = shop.database().await;
    let sql = "SELECT e.customer_id, n.name, e.properties FROM event e JOIN event_name n ON n.name_id = e.name_id ORDER BY e.at, e.customer_id";
    db.fetch_all(sql, args![]).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_crossing_is_told_once_and_nobody_crosses_by_being_seen_first() {
    each_database(|url| async move {
        let shop = Scenario::new(&url).settings(LOYALTY).with_people(3).await;
        assert_eq!(looked(&shop, "2025-01-01").await, (0, 0), "nobody has ordered");
        ordered(&shop, &[("p00001", "2025-01-10", 60)]).await;
        assert_eq!(looked(&shop, "2025-01-20T10:00").await, (0, 0), "the first look says where people stand");
        ordered(&shop, &[("p00002", "2025-01-25", 55)]).await;
        let both = ["profile --at 2025-01-26T10:00 --format json"; 2].map(|line| shop.okaeri(line));
        let [one, other] = both;
        let (one, other) = tokio::join!(one, other);
        let up = |ran: &Value| ran["tiers"]["up"].as_u64().unwrap();
        assert_eq!(up(&one.exits(0).json()) + up(&other.exits(0).json()), 1, "of two looks at once one tells");
        assert_eq!(looked(&shop, "2025-01-26T11:00").await, (0, 0));
        // The same day: only who changed is looked at.
        ordered(&shop, &[("p00003", "2025-01-26T08:00:00Z", 250)]).await;
        assert_eq!(looked(&shop, "2025-01-26T12:00").await, (1, 0));
        // An order of long ago that comes in late is no news.
        ordered(&shop, &[("p00001", "2025-01-02", 150)]).await;
        assert_eq!(looked(&shop, "2025-02-20").await, (0, 0));

        // What p00001 ordered first counts until the 12th of April.
        assert_eq!(looked(&shop, "2025-03-13").await, (0, 0), "thirty-one days before");
        assert_eq!(looked(&shop, "2025-03-14").await, (0, 1));
        assert_eq!(looked(&shop, "2025-03-14").await, (0, 0));
        assert_eq!(looked(&shop, "2025-03-15").await, (0, 0));
        ordered(&shop, &[("p00001", "2025-03-15", 140)]).await;
        assert_eq!(looked(&shop, "2025-03-16").await, (0, 0), "kept");
        assert_eq!(looked(&shop, "2025-03-25").await, (0, 1), "and again: 10 January goes too");
        assert_eq!(looked(&shop, "2025-12-01").await, (0, 0), "all fell meanwhile, which is no event");
        ordered(&shop, &[("p00002", "2025-12-02", 60)]).await;
        assert_eq!(looked(&shop, "2025-12-02T23:00").await, (1, 0), "who comes back has crossed again");
        let told: Vec<(String, String, String)> = recorded(&shop).await;
        let told: Vec<String> =
            told.into_iter().map(|(who, name, properties)| format!("{who} {name} {properties}")).collect();
        assert_eq!(
            told,
            [
                "p00002 tier.up {\"from\":null,\"to\":\"silver\"}",
                "p00003 tier.up {\"from\":null,\"to\":\"gold\"}",
                "p00001 tier.at_risk {\"tier\":\"gold\"}",
                "p00001 tier.at_risk {\"tier\":\"gold\"}",
                "p00002 tier.up {\"from\":null,\"to\":\"silver\"}",
            ]
        );
        // Other thresholds: nobody crossed anything.
        let settings = std::fs::read_to_string(shop.path("okaeri.yaml")).unwrap();
        shop.write("okaeri.yaml", settings.replace("silver: 50", "silver: 5"));
        ordered(&shop, &[("p00001", "2025-12-02", 10)]).await;
        assert_eq!(looked(&shop, "2025-12-03").await, (0, 0));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_to_those_who_rose_tells_them_where_they_stand() {
    each_database(|url| async move {
        let catcher = Catcher::start(CatcherOptions::default()).await.unwrap();
        let shop = Scenario::new(&url)
            .smtp(&catcher.url())
            .settings(&format!("{LOYALTY}contract: {{ events: {{ product.viewed: {{}} }} }}\n"))
            .segment("promoted", "{ did: tier.up, with: { to: silver }, in_last: 2d }")
            .campaign("hello", "audience: { in_segment: promoted }");
        shop.write("templates/hello/letter.txt", TEXT);
        shop.okaeri("check").await.exits(0);
        let shop = shop.with_people(3).await;
        ordered(&shop, &[("p00001", "2025-01-10", 60)]).await;
        looked(&shop, "2025-01-20").await;
        ordered(&shop, &[("p00002", "2025-01-25", 55), ("p00003", "2025-01-25", 20)]).await;
        looked(&shop, "2025-01-26T10:00").await;
        let sent = shop.json("send hello --slot one --at 2025-01-26T12:00", 0).await;
        assert_eq!(sent["verdicts"]["send"], 1, "{sent}");
        assert_eq!(catcher.mails()[0].envelope_to, ["p00002@example.com"]);
        let mail = text_of(&catcher.mails()[0]);
        for said in ["tier=silver;", "next=gold", "145.00", "falls=2025-05-06 keep="] {
            assert!(mail.contains(said), "{said}: {mail}");
        }
        let shown = shop.json("preview hello --customer p00003 --at 2025-01-26T12:00", 0).await;
        let text = shown["mails"][0]["text"].as_str().unwrap();
        assert!(text.contains("20.00") && text.contains("next=silver") && !text.contains("tier="), "{text}");
    })
    .await;
}
