//! Recommendations through the binary, on both databases: learnt, shown, sent in real mail; and shops where there is little or nothing to recommend.

use okaeri::catcher::{Catcher, CatcherOptions};
use okaeri::clock::{self, DAY, MINUTE};
use okaeri::db::Db;
use serde_json::{Value, json};

use crate::ground::each_database;
use crate::ground::scenario::Scenario;

const HTML: &str = "\
Subject: {{ recommend[0].name }}, and more

<!doctype html><html lang=\"en\"><head><title>Hello</title></head><body>
{% for item in recommend %}<p>[{{ item.sku }}] <b>{{ item.name }}</b>{% if item.price %} {{ item.price | money }}{% endif %} \
{% if item.because %}because of {{ item.because | join(sep=\" + \") }}{% elif item.bought %}bought {{ item.bought }}x{% endif %}</p>
{% endfor %}
<p><a href=\"{{ links.unsubscribe }}\">Unsubscribe</a><br>{{ brand.organisation }}, {{ brand.postal_address }}</p></body></html>
";

const TEXT: &str = "\
{% for item in recommend %}[{{ item.sku }}] {{ item.name }} {{ item.because | join(sep=\" + \") }}
{% endfor %}
{{ links.unsubscribe }}
{{ brand.organisation }}, {{ brand.postal_address }}
";

fn days_ago(n: i64) -> String {
    clock::rfc3339(clock::now() - n * DAY, &jiff::tz::TimeZone::UTC)
}

/// A shop with this campaign on everyone.
fn shop(url: &str, recommend: &str) -> Scenario {
    let more = format!("steps: [{{ step: letter, template: gift/letter, recommend: {recommend} }}]");
    let shop = Scenario::new(url).campaign("gift", "");
    let campaign = std::fs::read_to_string(shop.path("campaigns/gift.yaml")).unwrap();
    let campaign = campaign.replace("steps: [{ step: letter, template: gift/letter }]", &more);
    assert!(campaign.contains("recommend"), "{campaign}");
    shop.write("campaigns/gift.yaml", campaign);
    shop.write("templates/gift/letter.html", HTML);
    shop.write("templates/gift/letter.txt", TEXT);
    shop
}

/// (order, customer, days ago, things): an order costs 10.00, and `thing*3` is three pieces.
type Order<'a> = (&'a str, &'a str, i64, &'a str);

async fn import(shop: &Scenario, products: &str, orders: &[Order<'_>]) {
    let mut people: Vec<&str> = orders.iter().map(|(_, who, ..)| *who).chain(["newcomer"]).collect();
    people.sort_unstable();
    people.dedup();
    let people: String = people.iter().map(|p| format!("{p},{p}@example.com,offers\n")).collect();
    shop.write("customers.csv", format!("customer_id,email,consent\n{people}"));
    shop.write("products.csv", products);
    let mut csv = "order_id,customer_id,ordered_at,total\n".to_owned();
    let mut lines = "order_id,line_no,sku,quantity,amount\n".to_owned();
    for (order, who, ago, things) in orders {
        let total = if things.contains('-') { "-10.00" } else { "10.00" };
        csv.push_str(&format!("{order},{who},{},{total}\n", days_ago(*ago)));
        for (n, thing) in things.split(' ').enumerate() {
            let (sku, pieces) = thing.split_once('*').unwrap_or((thing, "1"));
            let amount = if pieces.starts_with('-') { "-5.00" } else { "5.00" };
            lines.push_str(&format!("{order},{n},{sku},{pieces},{amount}\n"));
        }
    }
    shop.write("orders.csv", csv);
    shop.write("lines.csv", lines);
    for kind in ["products", "customers", "orders", "lines"] {
        shop.okaeri(&format!("import {kind} {kind}.csv --quiet")).await.exits(0);
    }
}

const PRODUCTS: &str = "sku,name,category,price,url,stock,in_stock\n\
    tea,Roasted tea,tea,12.50,https://www.example.com/tea,40,\n\
    cup,Small cup,tea,17.90,,3,yes\n\
    pot,Iron pot,tea,38.00,https://www.example.com/pot,0,\n\
    pen,雨の<b>ペン</b>,paper,,,,\n\
    ink,\"Ink & \"\"dusk\"\", {{ customer.email }}\",paper,18.90,,,\n\
    note,Notebook,paper,14.50,,,no\n";

/// Four like tea, four like paper; mia is one of the first and once bought a pen.
const ORDERS: [Order<'static>; 13] = [
    ("1", "a", 30, "tea cup pot"),
    ("2", "b", 30, "tea cup pot post"),
    ("3", "c", 30, "tea cup"),
    ("4", "d", 30, "pen ink note"),
    ("5", "e", 30, "pen ink note"),
    ("6", "f", 30, "pen ink post"),
    ("7", "mia", 200, "tea pen"),
    ("8", "mia", 100, "tea*2 post"),
    ("9", "mia", 20, "tea post"),
    ("10", "jo", 50, "ink*2"),
    ("11", "jo", 45, "ink*-2"),
    ("12", "jo", 40, "cup"),
    ("13", "g", 30, "tea pot cup pen ink"),
];

fn names(list: &Value) -> Vec<String> {
    list.as_array().unwrap_or_else(|| panic!("{list}")).iter().map(|i| i["sku"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_learnt_is_shown_with_its_reasons() {
    each_database(|url| async move {
        let shop = shop(&url, "again");
        import(&shop, PRODUCTS, &ORDERS).await;

        // Before anything is learnt there is still what a person buys again.
        let early = shop.okaeri("recommend show --customer mia").await.exits(0);
        assert!(early.stderr.contains("okaeri recommend fit") && early.stdout.contains("Roasted tea"), "{early:?}");
        let card = shop.json("recommend fit", 0).await;
        assert_eq!((&card["customers"], &card["products"], &card["buckets"]), (&json!(9), &json!(7), &json!(1024)));
        assert!(card["pairs"].as_i64().unwrap() > 6, "{card}");

        let of = async |line: &str| shop.json(&format!("recommend show {line}"), 0).await["recommended"].clone();
        let mia = of("--customer mia").await;
        // `post` is no product of the catalogue, although she bought it twice.
        assert_eq!(names(&mia["again"]), ["tea", "pen"]);
        assert_eq!(mia["again"][0]["bought"], 3);
        // pot is out of stock, note says no, and tea and pen she has.
        assert_eq!(names(&mia["discover"]), ["cup", "ink"]);
        assert_eq!(mia["discover"][0]["because"], json!(["Roasted tea"]), "{mia}");
        assert_eq!(mia["discover"][1]["because"], json!(["雨の<b>ペン</b>"]));
        assert_eq!(names(&mia["together"]), ["cup"], "a pen of long ago says nothing about the last weeks");
        assert_eq!(
            names(&of("--customer mia --strategy popular --count 1").await["popular"]),
            ["cup"],
            "her category first"
        );
        assert_eq!(names(&of("--customer newcomer").await["popular"]), ["cup", "ink", "tea", "pen"]);
        assert_eq!(of("--customer newcomer").await["again"], json!([]));
        // What came back is neither offered again nor a reason, and jo is known to have had it.
        let jo = of("--customer jo").await;
        assert_eq!((names(&jo["again"]), names(&jo["discover"])), (vec!["cup".to_owned()], vec!["tea".to_owned()]));
        assert!(!names(&jo["popular"]).contains(&"ink".to_owned()), "{jo}");

        let filled = of("--customer mia --strategy again,discover,popular --count 3").await;
        assert_eq!(names(&filled["again,discover,popular"]), ["tea", "pen", "cup"]);
        let text = shop.okaeri("recommend show --customer mia").await.exits(0).stdout;
        assert!(text.contains("(bought 3 times)") && text.contains("(because of Roasted tea)"), "{text}");
        for (line, said) in [
            ("--customer nobody", "there is no customer `nobody`"),
            ("--customer mia --strategy agian", "did you mean `again`?"),
            ("--customer mia --count 21", "between 1 and 20"),
        ] {
            let refused = shop.okaeri(&format!("recommend show {line}")).await.exits(2);
            assert!(refused.stderr.contains(said), "{}", refused.stderr);
        }
        // The same data gives the same, and a fit that is running keeps others out.
        let again = shop.json("recommend fit", 0).await;
        assert_eq!((&again["pairs"], &again["products"]), (&card["pairs"], &card["products"]));
        let db = shop.database().await;
        let hold = "INSERT INTO lease (name, token, until_at) VALUES ('recommend_fit', 'other', $1)";
        db.execute(hold, okaeri::args![clock::now() + 2 * MINUTE]).await.unwrap();
        db.close().await;
        let busy = shop.okaeri("recommend fit").await.exits(75);
        assert!(busy.stderr.contains("another process"), "{}", busy.stderr);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_carries_real_products_and_whoever_has_none_is_skipped() {
    each_database(|url| async move {
        let catcher = Catcher::start(CatcherOptions::default()).await.unwrap();
        let shop = shop(&url, "{ strategy: [again, discover], count: 3, categories: { not_in: [light] } }")
            .smtp(&catcher.url());
        import(&shop, PRODUCTS, &ORDERS).await;
        let plan = shop.json("plan gift", 0).await;
        assert_eq!(plan["verdicts"]["skip"]["no_content"], 1, "the newcomer: {plan}");
        assert_eq!(plan["verdicts"]["send"], 9);
        assert!(plan["samples"].as_array().unwrap().iter().all(|s| !names(&s["recommend"]).is_empty()), "{plan}");
        let text = shop.okaeri("plan gift").await.exits(0).stdout;
        assert!(text.contains("no_content") && text.contains("nothing to recommend"), "{text}");

        let nothing = shop.okaeri("preview gift --customer newcomer").await.exits(2);
        assert!(nothing.stderr.contains("no_content"), "{}", nothing.stderr);
        let previewed = shop.json("preview gift --customer mia", 0).await;
        assert_eq!(previewed["mails"][0]["subject"], "Roasted tea, and more");
        let invented = shop.json("preview gift", 0).await;
        assert!(invented["mails"][0]["text"].as_str().unwrap().contains("[tea-1]"), "{invented}");

        shop.okaeri("send gift").await.exits(0);
        let mail = |who: &str| {
            let to = format!("{who}@example.com");
            let mails = catcher.mails();
            let caught =
                mails.iter().find(|m| m.envelope_to.contains(&to)).unwrap_or_else(|| panic!("no mail to {who}"));
            let parsed = mail_parser::MessageParser::default().parse(caught.bytes.as_slice()).unwrap();
            (
                parsed.subject().unwrap().to_owned(),
                parsed.body_html(0).unwrap().into_owned(),
                parsed.body_text(0).unwrap().into_owned(),
            )
        };
        let (subject, html, text) = mail("mia");
        assert_eq!(subject, "Roasted tea, and more");
        for wanted in
            ["[tea] <b>Roasted tea</b> €12.50 bought 3x", "[cup] <b>Small cup</b> €17.90 because of Roasted tea"]
        {
            assert!(html.contains(wanted), "{wanted}\n{html}");
        }
        // A hostile name is text, in HTML and elsewhere; nothing in it is compiled.
        assert!(
            html.contains("雨の&lt;b&gt;ペン&lt;/b&gt;") || html.contains("雨の&lt;b&gt;ペン&lt;&#x2F;b&gt;"),
            "{html}"
        );
        assert!(text.contains("[pen] 雨の<b>ペン</b>"), "{text}");
        let (_, html, text) = mail("d");
        assert!(text.contains("Ink & \"dusk\", {{ customer.email }}"), "{text}");
        assert!(html.contains("{{ customer.email }}") && !html.contains("<b>ペン</b>"), "{html}");
        assert!(catcher.mails().iter().all(|m| !m.envelope_to.contains(&"newcomer@example.com".to_owned())));
        assert_eq!(shop.json("queue verify", 0).await["findings"], json!([]));

        // What was recommended is in the ledger, whatever is learnt later.
        let db = shop.database().await;
        let sql = "SELECT payload FROM message WHERE customer_id = 'mia'";
        let (payload,): (String,) = db.fetch_one(sql, vec![]).await.unwrap();
        let payload: Value = serde_json::from_str(&payload).unwrap();
        assert_eq!(names(&payload["recommend"]), ["tea", "pen", "cup"]);
        db.close().await;
        catcher.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shops_with_nothing_to_recommend_say_so() {
    each_database(|url| async move {
        let shop = shop(&url, "{ strategy: [discover, popular], count: 2, at_least: 2 }");
        let card = shop.json("recommend fit", 0).await;
        assert_eq!((&card["customers"], &card["products"], &card["pairs"]), (&json!(0), &json!(0), &json!(0)));
        let none = shop.okaeri("recommend backtest").await.exits(2);
        assert!(none.stderr.contains("no orders to learn from"), "{}", none.stderr);
        assert_eq!(shop.json("plan gift", 0).await["verdicts"]["audience"], 0);

        // One product, and everybody has it but the newcomer, for whom one is less than two.
        let one = "sku,name\nonly,The only thing\n";
        let orders: Vec<Order<'_>> =
            vec![("1", "a", 9, "only"), ("2", "b", 9, "only"), ("3", "c", 9, "only"), ("4", "a", 3, "only")];
        import(&shop, one, &orders).await;
        // The fit of the empty shop is from today: asked for, it is renewed at once.
        let fitted = shop.okaeri("recommend fit").await.exits(0).stdout;
        assert!(fitted.contains("3 customers: 1 product, 0 pairs") && fitted.contains("find nothing"), "{fitted}");
        let verdicts = shop.json("plan gift", 0).await["verdicts"].clone();
        assert_eq!((&verdicts["send"], &verdicts["skip"]["no_content"]), (&json!(0), &json!(4)), "{verdicts}");
        let told = shop.json("recommend backtest", 0).await;
        assert_eq!(told["all_items"]["people"], 0);
        assert!(told["warnings"][0].as_str().unwrap().contains("nothing can be said"), "{told}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_fit_is_renewed_when_a_campaign_needs_it_and_something_came_in() {
    each_database(|url| async move {
        let shop = shop(&url, "{ strategy: popular, count: 1 }");
        import(&shop, PRODUCTS, &ORDERS).await;
        let fit = async || {
            let db = shop.database().await;
            let sql = "SELECT fit_id, as_of FROM recommend_fit";
            let rows: Vec<(String, i64)> = db.fetch_all(sql, vec![]).await.unwrap();
            db.close().await;
            assert!(rows.len() <= 1);
            rows.into_iter().next().map(|(id, _)| id)
        };
        assert_eq!(fit().await, None);
        // While another process learns for the first time, nobody is told that there is nothing to recommend.
        let age = async |sql: &str| {
            let db = shop.database().await;
            db.execute(sql, vec![]).await.unwrap();
            db.close().await;
        };
        age(&format!(
            "INSERT INTO lease (name, token, until_at) VALUES ('recommend_fit', 'x', {})",
            clock::now() + 2 * MINUTE
        ))
        .await;
        assert!(shop.okaeri("plan gift").await.exits(75).stderr.contains("another process is learning"));
        age("DELETE FROM lease").await;
        shop.okaeri("plan gift").await.exits(0);
        let first = fit().await.expect("the first plan learns");
        shop.okaeri("plan gift").await.exits(0);
        assert_eq!(fit().await.as_ref(), Some(&first));
        age("UPDATE recommend_fit SET fitted_at = fitted_at - 90000000, as_of = as_of - 90000000").await;
        shop.okaeri("plan gift").await.exits(0);
        assert_eq!(fit().await.as_ref(), Some(&first), "nothing came in since");
        shop.write("orders.csv", format!("order_id,customer_id,ordered_at,total\n99,a,{},5.00\n", days_ago(1)));
        shop.okaeri("import orders orders.csv --quiet").await.exits(0);
        shop.okaeri("plan gift").await.exits(0);
        let second = fit().await.unwrap();
        assert_ne!(second, first);
        // Somebody looked at what would have been learnt before the first order. It must not empty today's mails.
        shop.okaeri(&format!("recommend fit --at {}", &days_ago(2_000)[..10])).await.exits(0);
        let told = shop.json("plan gift", 0).await;
        assert!(told["verdicts"]["send"].as_u64() > Some(0), "{told}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_category_that_no_product_has_is_a_problem_and_not_an_empty_send() {
    each_database(|url| async move {
        let shop = shop(&url, "{ strategy: popular, categories: [paperr] }");
        import(&shop, PRODUCTS, &ORDERS).await;
        let told = shop.okaeri("plan gift").await.exits(2).stderr;
        assert!(
            told.contains("campaigns/gift.yaml:") && told.contains("no product has the category `paperr`"),
            "{told}"
        );
        assert!(told.contains("did you mean `paper`?"), "{told}");
        let file = std::fs::read_to_string(shop.path("campaigns/gift.yaml")).unwrap();
        shop.write("campaigns/gift.yaml", file.replace("[paperr]", "{ not_in: saale }"));
        let planned = shop.okaeri("plan gift").await.exits(0);
        assert!(planned.stderr.contains("leaving it out changes nothing"), "{}", planned.stderr);
    })
    .await;
}

/// Two hundred people who buy what goes together, cut in the middle.
#[tokio::test(flavor = "multi_thread")]
async fn a_backtest_tells_what_was_foreseen_and_warns_where_popularity_wins() {
    each_database(|url| async move {
        let shop = shop(&url, "again");
        let mut orders = Vec::new();
        let ids: Vec<[String; 4]> = (0..60).map(|n| [0, 1, 2, 3].map(|k| format!("{n}-{k}"))).collect();
        let people: Vec<String> = (0..60).map(|n| format!("p{n:02}")).collect();
        for (n, [first, second, third, fourth]) in ids.iter().enumerate() {
            let who = people[n].as_str();
            let kind = ["tea cup", "pen ink"][n % 2];
            let only = kind.split(' ').next().unwrap();
            orders.push((first.as_str(), who, 300, if n < 40 { kind } else { only }));
            orders.push((second.as_str(), who, 200, only));
            // Those who had one of the two buy the other; everybody buys a notebook, which goes with nothing.
            orders.push((third.as_str(), who, 20, if n < 40 { "note" } else { ["cup note", "ink note"][n % 2] }));
            orders.push((fourth.as_str(), who, 10, "pot"));
        }
        import(&shop, PRODUCTS, &orders).await;
        let told = shop.json(&format!("recommend backtest --as-of {}", &days_ago(100)[..10]), 0).await;
        assert_eq!((&told["customers"], &told["all_items"]["people"]), (&json!(60), &json!(20)), "{told}");
        let hit = |question: &str, who: &str| {
            let measured = told[question]["measured"].as_array().unwrap();
            measured.iter().find(|m| m["who"] == who).unwrap_or_else(|| panic!("{told}"))["hit_rate@5"]
                .as_f64()
                .unwrap()
        };
        // Nobody could know the notebook: five had to have bought it before. Its orders count by what else they had.
        assert_eq!(hit("new_items", "discover"), 1.0);
        assert_eq!(hit("all_items", "again"), 0.0, "nobody bought the same again");
        let warnings = told["warnings"].to_string();
        assert!(warnings.contains("beats `again` for everything: 1.000 against 0.000"), "{warnings}");
        for day in ["2040-01-01", "1990-01-01"] {
            let refused = shop.okaeri(&format!("recommend backtest --as-of {day}")).await.exits(2).stderr;
            assert!(refused.contains(&format!("--as-of {day}: orders are known from ")), "{refused}");
        }
        let text = shop.okaeri("recommend backtest").await.exits(0).stdout;
        for wanted in ["hit-rate@5", "popularity", "discover", "20 customers are few"] {
            assert!(text.contains(wanted), "{wanted}\n{text}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_campaign_that_recommends_wrongly_is_told_where() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&format!("sqlite:{}", folder.path().join("a.db").display()), "{ strategy: discovery, count: 0 }");
    let told = shop.okaeri("check").await.exits(2).stderr;
    assert!(told.contains("there is no strategy `discovery`") && told.contains("did you mean `discover`?"), "{told}");
    assert!(told.contains("`count` must be between 1 and 20, not 0"), "{told}");
}

/// Every pair that is kept with its support, and how many its card says there are.
async fn kept(db: &Db) -> (i64, Vec<(String, String, i64)>) {
    let (pairs,): (i64,) = db.fetch_one("SELECT pairs FROM recommend_fit", vec![]).await.expect("there is one fit");
    let sql = "SELECT sku, other_sku, customers FROM product_pair ORDER BY sku, other_sku";
    (pairs, db.fetch_all(sql, vec![]).await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fit_that_is_killed_leaves_what_was_learnt_before_and_the_next_one_learns() {
    each_database(|url| async move {
        let shop = shop(&url, "again");
        import(&shop, PRODUCTS, &ORDERS).await;
        shop.okaeri("recommend fit").await.exits(0);
        let db = shop.database().await;
        let mut shifts = 0;
        let mut shift = || {
            shifts += 1;
            (shifts * 3 * MINUTE).to_string() // past the lease of the one that was killed
        };
        let news: [&[Order<'_>]; 2] = [
            &[("20", "g", 9, "note pot"), ("21", "a", 8, "note pen"), ("22", "b", 7, "note tea")],
            &[("23", "g", 6, "ink cup"), ("24", "d", 5, "note tea"), ("25", "e", 4, "note tea")],
        ];
        // Those who ordered are read anew, and everybody is.
        for (words, news) in [&["recommend", "fit"][..], &["recommend", "fit", "--full"]].into_iter().zip(news) {
            let before = kept(&db).await;
            import(&shop, PRODUCTS, news).await;
            let mut killed = 0;
            for n in 1.. {
                let mut fit = shop.start_under(&[], words, &[("OKAERI_CLOCK_SHIFT", &shift())]);
                while !fit.has_ended() && fit.statements() < n {
                    tokio::task::yield_now().await;
                }
                if !fit.kill().await {
                    break;
                }
                killed += 1;
                let after = kept(&db).await;
                assert_eq!(after.0, after.1.len() as i64, "all of a fit or nothing of it");
                if after != before {
                    break; // killed between its commit and its last word
                }
            }
            assert!(killed > 0);
            shop.start_under(&[], &["recommend", "fit"], &[("OKAERI_CLOCK_SHIFT", &shift())]).end().await.exits(0);
            let learnt = kept(&db).await;
            assert!(learnt.0 > before.0 && learnt.0 == learnt.1.len() as i64, "{before:?} {learnt:?}");
            let full = ["recommend", "fit", "--full"];
            shop.start_under(&[], &full, &[("OKAERI_CLOCK_SHIFT", &shift())]).end().await.exits(0);
            assert_eq!(kept(&db).await, learnt, "nobody was forgotten");
        }
        db.close().await;
    })
    .await;
}
