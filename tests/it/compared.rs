//! Segments beside each other through the binary: two of them, the files of a git revision against those of today, pairs that share people,
//! and members drawn by lot. Each answer is the same on both databases.

use std::process::Command;

use serde_json::{Value, json};

use crate::ground::scenario::Scenario;
use crate::ground::{each_database, skipped};

const AT: &str = "--at 2026-11-24T12:00";

/// Ten people with one order each, worth 10 to 100 EUR, one a day in November, `c01` the least and the latest; and `lead`, who never bought.
async fn ten_buyers(shop: Scenario) -> Scenario {
    let mut customers = "customer_id,email,first_name,locale\nlead,lead@example.com,Lea,ja\n".to_owned();
    let mut orders = "order_id,customer_id,ordered_at,total,currency,status\n".to_owned();
    for n in 1..=10 {
        customers.push_str(&format!("c{n:02},person{n}@example.com,P{n},en\n"));
        orders.push_str(&format!("o{n},c{n:02},2026-11-{:02}T10:00:00Z,{}.00,EUR,paid\n", 21 - n, n * 10));
    }
    shop.write("customers.csv", customers);
    shop.write("orders.csv", orders);
    shop.okaeri("import customers customers.csv --quiet").await.exits(0);
    shop.okaeri("import orders orders.csv --quiet").await.exits(0);
    shop.okaeri("profile --quiet").await.exits(0);
    shop
}

/// git in the scenario's folder, with a name of its own and nobody's configuration or repository; its output.
pub fn git(shop: &Scenario, args: &[&str]) -> String {
    let mut command = Command::new("git");
    for variable in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
        command.env_remove(variable);
    }
    let out = command
        .args(["-c", "user.name=Test", "-c", "user.email=test@example.com", "-c", "init.defaultBranch=main"])
        .args(args)
        .current_dir(shop.path(""))
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .output()
        .expect("git runs");
    assert!(out.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

pub fn commit(shop: &Scenario) {
    git(shop, &["add", "--all", "."]);
    git(shop, &["commit", "--quiet", "--allow-empty", "-m", "as it stands"]);
}

pub fn has_git() -> bool {
    Command::new("git").arg("--version").output().is_ok_and(|out| out.status.success())
}

/// A scenario that finds git.
pub fn with_path(url: &str) -> Scenario {
    Scenario::new(url).with("PATH", &std::env::var("PATH").unwrap_or_default())
}

fn of(list: &Value, name: &str) -> Value {
    let found = list.as_array().unwrap().iter().find(|s| s["segment"] == name);
    found.unwrap_or_else(|| panic!("{name} is not in {list}")).clone()
}

#[tokio::test]
async fn two_segments_share_some_people_and_not_others() {
    each_database(|url| async move {
        let shop = Scenario::new(&url)
            .segment("big", "{ customer: revenue, gte: 50 }")
            .segment("small", "{ customer: revenue, lte: 70 }")
            .segment("huge", "{ customer: revenue, gte: 1000 }");
        let shop = ten_buyers(shop).await;
        let found = shop.json(&format!("segment diff big small {AT}"), 0).await;
        assert_eq!(
            found["only_first"],
            json!({ "people": 3, "high_value": 2, "revenue": 27_000, "examples": ["c10", "c09", "c08"] })
        );
        // The lead has a revenue of nothing, which is at most 70.
        assert_eq!(
            found["only_second"],
            json!({ "people": 5, "high_value": 0, "revenue": 10_000, "examples": ["c04", "c03", "c02", "c01", "lead"] })
        );
        assert_eq!(found["both"]["people"], 3);
        assert_eq!((&found["first"], &found["currency"]), (&json!("big"), &json!("EUR")));
        let empty = shop.json(&format!("segment diff huge big {AT}"), 0).await;
        assert_eq!((&empty["only_first"]["people"], &empty["only_second"]["people"]), (&json!(0), &json!(6)));
        assert_eq!(empty["only_second"]["examples"].as_array().unwrap().len(), 5, "five examples at most");

        let text = shop.okaeri(&format!("segment diff big small {AT}")).await.exits(0).stdout;
        assert!(
            text.contains("only in big    3 people, 2 of high value, revenue 270.00 EUR (c10, c09, c08)"),
            "{text}"
        );
        assert!(!text.contains('@'), "addresses are not printed: {text}");
        for (line, says) in [
            ("segment diff big", "name two segments"),
            ("segment diff", "name two segments"),
            ("segment diff big small huge", "name two segments"),
            ("segment diff big big", "the same segment twice"),
            ("segment diff big smal", "did you mean `small`?"),
        ] {
            let ran = shop.okaeri(line).await.exits(2);
            assert!(ran.stderr.contains(says), "{line}: {}", ran.stderr);
        }
    })
    .await;
}

#[tokio::test]
async fn an_edit_of_the_files_is_told_as_people_who_come_in_and_go_out() {
    if !has_git() {
        return skipped("git is not installed");
    }
    each_database(|url| async move {
        let shop = with_path(&url)
            .segment("big", "{ customer: revenue, gte: 50 }")
            .segment("not_big", "{ all: [{ customer: orders, gte: 1 }, { none: [{ in_segment: big }] }] }")
            .segment("old", "{ customer: revenue, gte: 100 }")
            .segment("buyers", "{ customer: orders, gte: 1 }")
            .segment("same", "{ customer: orders, gte: 1 }")
            .segment("newcomers", "{ lifecycle: new }");
        let shop = ten_buyers(shop).await;
        git(&shop, &["init", "--quiet"]);
        commit(&shop);
        git(&shop, &["tag", "v1"]);
        let hash = git(&shop, &["rev-parse", "HEAD"]);
        let nothing = shop.okaeri(&format!("segment diff --against main {AT}")).await.exits(0).stdout;
        assert!(nothing.ends_with("\nunchanged: 6 segments\n"), "{nothing}");

        // The edit: one rule, one new, one gone, one written differently, and a setting.
        let shop = shop
            .settings("lifecycle: { new: 10d }\n")
            .segment("big", "{ customer: revenue, gte: 80 }")
            .segment("same", "{ customer: revenue, gt: 0 }")
            .segment("fresh", "{ customer: revenue, gte: 90 }");
        std::fs::remove_file(shop.path("campaigns/segments/old.yaml")).unwrap();

        for revision in ["main", "v1", "HEAD", &hash] {
            let found = shop.json(&format!("segment diff --against {revision} {AT}"), 0).await;
            assert_eq!((&found["against"], &found["commit"]), (&json!(revision), &json!(hash)));
            let segments = &found["segments"];
            let big = of(segments, "big");
            assert_eq!((&big["status"], &big["before"], &big["after"]), (&json!("changed"), &json!(6), &json!(3)));
            assert_eq!(
                big["out"],
                json!({ "people": 3, "high_value": 0, "revenue": 18_000, "examples": ["c07", "c06", "c05"] })
            );
            assert_eq!(big["in"]["people"], 0);
            let not_big = of(segments, "not_big");
            assert_eq!(
                (&not_big["rule_changed"], &not_big["in"]["people"]),
                (&json!(false), &json!(3)),
                "its own file did not change"
            );
            assert_eq!(of(segments, "old")["status"], "removed");
            assert_eq!(of(segments, "old")["out"]["examples"], json!(["c10"]));
            assert_eq!(of(segments, "old")["after"], Value::Null);
            let fresh = of(segments, "fresh");
            assert_eq!(
                (&fresh["status"], &fresh["before"], &fresh["in"]["high_value"]),
                (&json!("new"), &Value::Null, &json!(2))
            );
            assert_eq!(of(segments, "buyers")["status"], "unchanged");
            let same = of(segments, "same");
            assert_eq!((&same["status"], &same["rule_changed"]), (&json!("unchanged"), &json!(true)));
            let newcomers = of(segments, "newcomers");
            assert_eq!(
                (&newcomers["before"], &newcomers["after"]),
                (&json!(10), &json!(7)),
                "the settings of then hold for then"
            );
            assert_eq!(newcomers["out"]["examples"], json!(["c10", "c09", "c08"]));
        }
        let text = shop.okaeri(&format!("segment diff --against v1 {AT}")).await.exits(0).stdout;
        assert!(text.starts_with(&format!("against v1 ({}), as of 2026-11-24T12:00:00+01:00", &hash[..12])), "{text}");
        for line in [
            "big: 6 → 3 people\n  − 3 people, none of high value, revenue 180.00 EUR (c07, c06, c05)\n",
            "fresh is new\n  + 2 people, 2 of high value, revenue 190.00 EUR (c10, c09)\n",
            "old is removed\n  − 1 person, 1 of high value, revenue 100.00 EUR (c10)\n",
            "unchanged: 2 segments\n  written differently, for the same people: same\n",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        let one = shop.json(&format!("segment diff --against v1 fresh old {AT}"), 0).await;
        let names: Vec<&str> =
            one["segments"].as_array().unwrap().iter().map(|s| s["segment"].as_str().unwrap()).collect();
        assert_eq!(names, ["fresh", "old"]);
        let ran = shop.okaeri("segment diff --against v1 oldd").await.exits(2);
        assert!(ran.stderr.contains("did you mean `old`?"), "{}", ran.stderr);
    })
    .await;
}

/// A scenario on a SQLite file of its own, with git, for what has nothing to do with the database.
fn on_a_file() -> (tempfile::TempDir, Scenario) {
    let folder = tempfile::tempdir().unwrap();
    let shop = with_path(&format!("sqlite:{}", folder.path().join("okaeri.db").display()));
    (folder, shop)
}

#[tokio::test]
async fn a_revision_is_never_an_option_of_git() {
    if !has_git() {
        return skipped("git is not installed");
    }
    let (_folder, shop) = on_a_file();
    let shop = shop.segment("all", "{ customer: orders, gte: 0 }");
    git(&shop, &["init", "--quiet"]);
    commit(&shop);
    let before = std::fs::read_dir(shop.path("")).unwrap().count();
    for revision in
        ["--output=x", "--help", "-h", "--all", "", "nowhere", "HEAD:okaeri.yaml", "HEAD^{tree}", "HEAD --output=x"]
    {
        let argument = format!("--against={revision}");
        let out = tokio::process::Command::new(env!("CARGO_BIN_EXE_okaeri"))
            .args(["segment", "diff", &argument])
            .current_dir(shop.path(""))
            .env("DATABASE_URL", "sqlite:.okaeri/okaeri.db")
            .output()
            .await
            .unwrap();
        let said = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{revision}: {said}");
        assert!(said.contains(&format!("--against {revision}: not a revision of this repository")), "{said}");
        assert!(out.stdout.is_empty());
    }
    std::fs::remove_dir_all(shop.path(".okaeri")).unwrap();
    assert_eq!(std::fs::read_dir(shop.path("")).unwrap().count(), before, "no file was written");
}

#[tokio::test]
async fn problems_of_a_revision_are_told_with_its_name() {
    if !has_git() {
        return skipped("git is not installed");
    }
    let (folder, shop) = on_a_file();
    let no_repository = shop.okaeri("segment diff --against main").await.exits(2);
    assert!(no_repository.stderr.contains("--against needs a git repository"), "{}", no_repository.stderr);

    // The project is a folder of the repository: problems stand at the path that `git show` takes.
    let settings = std::fs::read_to_string(shop.path("okaeri.yaml")).unwrap();
    git(&shop, &["init", "--quiet"]);
    std::fs::remove_file(shop.path("okaeri.yaml")).unwrap();
    shop.write("notes.txt", "nothing yet");
    commit(&shop);
    let broken = "segment: big\nwhere: { customer: revenu, gte: 50 }\n";
    shop.write("shop/campaigns/segments/big.yaml", broken);
    shop.write("shop/campaigns/segments/ignored.md", "segment: ignored\n");
    shop.write("shop/campaigns/segments/deep/down.yaml", "segment: down\nwhere: nonsense\n");
    shop.write("shop/campaigns/segments/latin.yaml", b"segment: x\ntitle: \xe9\n");
    std::os::unix::fs::symlink("big.yaml", shop.path("shop/campaigns/segments/link.yaml")).unwrap();
    shop.write("shop/okaeri.yaml", settings.replace("currency: EUR", "currency: euro"));
    shop.write("shop/contract.yaml", "customer: { points: integer }\n");
    commit(&shop);
    let good = "segment: big\nwhere: { customer: revenue, gte: 50 }\n";
    shop.write("shop/campaigns/segments/big.yaml", good);
    for name in ["latin", "link"] {
        std::fs::remove_file(shop.path(&format!("shop/campaigns/segments/{name}.yaml"))).unwrap();
    }
    shop.write("shop/okaeri.yaml", &settings);
    std::fs::remove_file(shop.path("shop/contract.yaml")).unwrap();

    let ran = shop.okaeri("segment diff --against HEAD --project shop").await.exits(2);
    for line in [
        "HEAD:shop/okaeri.yaml:3:11: error: `euro` is not a currency code",
        "HEAD:shop/contract.yaml:1:21: error: ",
        "HEAD:shop/campaigns/segments/big.yaml:2:20: error: ",
        "did you mean `revenue`?",
        "HEAD:shop/campaigns/segments/latin.yaml:2:1: error: not UTF-8 text",
        "HEAD:shop/campaigns/segments/link.yaml: error: not a plain file in this revision",
    ] {
        assert!(ran.stderr.contains(line), "{line} is not in\n{}", ran.stderr);
    }
    assert!(!ran.stderr.contains("down.yaml") && !ran.stderr.contains("ignored.md"), "{}", ran.stderr);
    let listed = shop.json("segment diff --against HEAD --project shop", 2).await;
    assert!(listed["problems"].as_array().unwrap().iter().any(|p| p["file"] == "HEAD:shop/okaeri.yaml"));

    commit(&shop);
    let fine = shop.okaeri("segment diff --against HEAD --project shop").await.exits(0);
    assert!(fine.stdout.contains("unchanged: 1 segment"), "{}", fine.stdout);
    let before_the_project = shop.okaeri("segment diff --against HEAD~2 --project shop").await.exits(2);
    let said = before_the_project.stderr;
    assert!(said.contains("HEAD~2:shop/okaeri.yaml: error: this revision has no such file"), "{said}");

    let without_git = shop.with("PATH", folder.path().to_str().unwrap());
    let ran = without_git.okaeri("segment diff --against HEAD --project shop").await.exits(2);
    assert!(ran.stderr.contains("--against needs the program `git`"), "{}", ran.stderr);
}

#[tokio::test]
async fn pairs_that_share_people_are_named_the_most_alike_first() {
    each_database(|url| async move {
        let mut shop = Scenario::new(&url)
            .segment("big", "{ customer: revenue, gte: 50 }")
            .segment("large", "{ customer: revenue, gte: 50 }")
            .segment("small", "{ customer: revenue, lte: 70 }")
            .segment("buyers", "{ customer: orders, gte: 1 }")
            .segment("huge", "{ customer: revenue, gte: 1000 }");
        shop = ten_buyers(shop).await;
        let found = shop.json(&format!("segment overlap {AT}"), 0).await;
        let pairs: Vec<(String, i64, &str)> = found["pairs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|p| {
                let names = format!("{} {}", p["first"].as_str().unwrap(), p["second"].as_str().unwrap());
                (names, p["both"].as_i64().unwrap(), p["relation"].as_str().unwrap())
            })
            .collect();
        let told = |names: &str, both, relation| (names.to_owned(), both, relation);
        assert_eq!(
            pairs,
            [
                told("big large", 6, "equal"),
                told("buyers small", 7, "partly"), // 7 of 11, before 6 of 10
                told("big buyers", 6, "first_in_second"),
                told("buyers large", 6, "second_in_first"),
                told("big small", 3, "partly"),
                told("large small", 3, "partly"),
            ]
        );
        assert_eq!(
            (&found["pairs"][1]["jaccard"], &found["pairs"][1]["share_of_smaller"]),
            (&json!(7.0 / 11.0), &json!(7.0 / 8.0))
        );
        let text = shop.okaeri(&format!("segment overlap {AT}")).await.exits(0).stdout;
        for part in ["the same people", "all of big are in buyers", "all of large are in buyers", "nobody is in: huge"]
        {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        let of_one = shop.json(&format!("segment overlap small {AT}"), 0).await;
        assert_eq!(of_one["pairs"].as_array().unwrap().len(), 3);
        let among = shop.json(&format!("segment overlap small big {AT}"), 0).await;
        assert_eq!(among["pairs"].as_array().unwrap().len(), 1);
        let none = shop.okaeri(&format!("segment overlap huge {AT}")).await.exits(0).stdout;
        assert!(none.starts_with("no two segments share people\n"), "{none}");
        shop.okaeri("segment overlap smal").await.exits(2);

        // More segments than one evaluation holds, and more pairs than the table shows.
        for n in 0..60 {
            shop = shop.segment(&format!("more{n:02}"), "{ customer: revenue, gte: 100 }");
        }
        let many = shop.json(&format!("segment overlap {AT}"), 0).await;
        let pairs = many["pairs"].as_array().unwrap();
        let equal = pairs.iter().filter(|p| p["relation"] == "equal").count();
        assert_eq!((pairs.len(), equal), (60 * 59 / 2 + 60 * 3 + 6, 60 * 59 / 2 + 1));
        let text = shop.okaeri(&format!("segment overlap {AT}")).await.exits(0).stdout;
        let rest = format!("and {} more: --all shows every pair", "1,936");
        assert_eq!(text.lines().filter(|l| l.contains("the same people")).count(), 20, "{text}");
        assert!(text.contains(&rest), "{text}");
        let all = shop.okaeri(&format!("segment overlap --all {AT}")).await.exits(0).stdout;
        assert_eq!(all.lines().filter(|l| l.contains("the same people")).count(), equal);
    })
    .await;
}

#[tokio::test]
async fn a_sample_is_the_same_everywhere_and_masks_addresses() {
    let seen = std::sync::Mutex::new(Vec::new());
    each_database(|url| {
        let seen = &seen;
        async move {
            let shop = Scenario::new(&url)
                .segment("everyone", "{ customer: orders, gte: 0 }")
                .segment("nobody", "{ customer: revenue, gte: 1000 }");
            let shop = ten_buyers(shop).await;
            let draw = async |more: &str| shop.json(&format!("segment sample everyone {more} {AT}"), 0).await;
            let ids = |found: &Value| -> Vec<String> {
                found["sample"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|s| s["customer_id"].as_str().unwrap().to_owned())
                    .collect()
            };
            let all = draw("--size 50").await;
            assert_eq!((ids(&all).len(), &all["people"]), (11, &json!(11)));
            let three = draw("--size 3").await;
            assert_eq!(ids(&three), ids(&all)[..3], "a larger sample holds the smaller one");
            assert_eq!(ids(&draw("").await).len(), 10);
            let salted = draw("--size 11 --salt autumn").await;
            assert_ne!(ids(&salted), ids(&all));
            let lead = all["sample"].as_array().unwrap().iter().find(|s| s["customer_id"] == "lead").unwrap();
            assert_eq!(
                *lead,
                json!({ "customer_id": "lead", "address": "l…@example.com", "locale": "ja", "orders": 0, "revenue": 0,
                        "last_order": null, "lifecycle": "lead" })
            );
            let tenth = all["sample"].as_array().unwrap().iter().find(|s| s["customer_id"] == "c10").unwrap();
            assert_eq!(
                (&tenth["revenue"], &tenth["last_order"], &tenth["lifecycle"]),
                (&json!(10_000), &json!("2026-11-11"), &json!("new"))
            );
            let text = shop.okaeri(&format!("segment sample everyone {AT}")).await.exits(0).stdout;
            assert!(text.contains("p…@example.com") && text.ends_with("10 of 11 members\n"), "{text}");
            assert!(!text.contains("person"), "addresses are masked: {text}");
            assert_eq!(shop.okaeri("segment sample nobody").await.exits(0).stdout, "nobody is in this segment\n");
            for line in
                ["segment sample everyone --size 0", "segment sample everyone --size 1001", "segment sample everybody"]
            {
                shop.okaeri(line).await.exits(2);
            }
            seen.lock().unwrap().push((ids(&all), ids(&salted)));
        }
    })
    .await;
    let seen = seen.into_inner().unwrap();
    assert_eq!(seen[0], seen[1], "both databases draw alike");
}
