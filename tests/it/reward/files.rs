//! What authors and their files say of rewards: what is refused, where and why.

use super::{giving, numbers, pool};
use crate::ground::each_database;

#[tokio::test(flavor = "multi_thread")]
async fn hostile_and_clumsy_files_bring_in_what_is_good_and_name_the_rest() {
    each_database(|url| async move {
        let pools = "  ten: { title: Ten }\n  other: { title: Other }\n  gift: { title: Gift, kind: gift }\n";
        let shop = giving(&url, pools, "ten", "");
        shop.write("other.csv", "code\nTAKEN-1\n");
        shop.json("reward import other other.csv", 0).await;
        let csv = "\u{feff}Code;Expires;who\r\nGOOD-1;;x\r\ngood-1;;x\r\nGOOD-2;2999-12-31;x\r\nさくら２０;;x\r\n=1+1;;x\r\n+49;;x\r\n＝2;;x\r\n\
                   \"two\nlines\";;x\r\nA B;;x\r\n;;x\r\ntaken-1;;x\r\nOLD;2020-01-01;x\r\nWHEN;tomorrow;x\r\nSHORT\r\n<b>;;x\r\n \"GOOD-3\" ;;x\r\n";
        let long = format!("{}LONG{};;x\r\n", csv, "9".repeat(80));
        shop.write("codes.csv", long);
        let ran = shop.okaeri("reward import ten codes.csv --format json").await.exits(0);
        let imported = ran.json();
        let n = |key: &str| imported[key].as_u64().unwrap();
        assert_eq!((n("added"), n("known")), (3, 1), "{imported}");
        assert_eq!(n("read"), n("added") + n("known") + n("refused"), "{imported}");
        assert_eq!(imported["ignored_columns"], serde_json::json!(["who"]));
        for (line, reason) in [
            (6, "formula"), (7, "formula"), (8, "formula"), (9, "more than letters"), (11, "more than letters"), (12, "has no code"),
            (13, "in the pool `other`"), (14, "over already"), (15, "no date"), (16, "has 1 cells"), (17, "begins with a sign"), (19, "longer than 64"),
        ] {
            let told = format!("codes.csv:{line}: refused: ");
            let said = ran.stderr.lines().find(|l| l.starts_with(&told)).unwrap_or_else(|| panic!("line {line}: {}", ran.stderr));
            assert!(said.contains(reason), "{said}");
        }
        numbers(&pool(&shop, "ten").await, (3, 0, 0, 0));
        let later = shop.json("reward list --at 3001-01-01", 0).await;
        assert_eq!((&later["pools"][0]["left"], &later["pools"][0]["expired"]), (&2.into(), &1.into()), "{later}");

        for (bytes, code, said) in [
            (&b"coupon\nA\n"[..], 2, "no column `code`"),
            (b"\xff\xfec\x00o\x00", 2, "UTF-16"),
            (b"{\"code\":\"A\"}", 2, "JSON"),
            (b"PK\x03\x04", 2, "spreadsheet"),
            (b"", 0, "no codes"),
            (b"code\n", 0, "no codes"),
            (b"code\n=1\n", 2, "refused"),
            (b"code\n\xff\xff\n", 2, "not UTF-8"),
        ] {
            shop.write("bad.csv", bytes);
            let ran = shop.okaeri("reward import ten bad.csv").await.exits(code);
            assert!(ran.stderr.contains(said), "{said}: {}", ran.stderr);
        }
        let ran = shop.okaeri("reward import tne codes.csv").await.exits(2);
        assert!(ran.stderr.contains("did you mean `ten`?"), "{}", ran.stderr);
        let ran = shop.okaeri("reward import gift codes.csv").await.exits(2);
        assert!(ran.stderr.contains("has no codes"), "{}", ran.stderr);
        shop.okaeri("reward import ten missing.csv").await.exits(2);
        shop.okaeri("reward export nothing").await.exits(2);
        let many: String = (0..20_000).map(|i| format!("M{i:05}\n")).collect();
        shop.write("many.csv", format!("code\n{many}M00001\n"));
        let imported = shop.json("reward import ten many.csv", 0).await;
        assert_eq!((&imported["added"], &imported["known"]), (&20_000.into(), &1.into()), "{imported}");
        let again = shop.json("reward import ten many.csv", 0).await;
        assert_eq!((&again["added"], &again["known"]), (&0.into(), &20_001.into()), "{again}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_about_rewards_are_found_without_a_database() {
    let shop = giving(
        "sqlite:nowhere.db",
        "  ten: { title: Ten, value: 10 }\n  gift: { title: Gift, kind: gift }\n",
        "ten",
        "",
    );
    shop.okaeri("check").await.exits(0);
    let body = |text: &str| {
        shop.write(
            "templates/hello/letter.txt",
            format!(
                "{text}\n{{{{ links.unsubscribe }}}}\n{{{{ brand.organisation }}}}, {{{{ brand.postal_address }}}}\n"
            ),
        );
    };
    let check = async |code: i32, said: &str| {
        let ran = shop.okaeri("check").await.exits(code);
        let all = format!("{}{}", ran.stdout, ran.stderr);
        assert!(all.contains(said), "{said}: {all}");
    };
    body("{{ reward.terms }}");
    check(2, "`reward.terms` may be missing").await;
    body("{{ reward.cod }}");
    check(2, "did you mean `code`?").await;
    body("nothing");
    check(0, "[unused-reward]").await;
    body("{{ reward.code }} {{ reward.value | money }}");
    let text = std::fs::read_to_string(shop.path("campaigns/hello.yaml")).unwrap();
    shop.write("campaigns/hello.yaml", text.replace("reward: ten", "reward: [ten, gift]"));
    check(2, "`reward.code` may be missing").await;
    shop.write("campaigns/hello.yaml", text.replace(", reward: ten", ""));
    check(2, "[undeclared-reward]").await;
    shop.write("campaigns/hello.yaml", text.replace("reward: ten", "reward: tne"));
    check(2, "did you mean `ten`?").await;
    shop.write("campaigns/hello.yaml", &text);
    body("{{ reward.code }} {{ loyalty.reached }}");
    check(2, "[no-tiers]").await;
    body("{{ reward.code }} {{ reward.title }}");
    let shown = shop.json("preview hello", 0).await;
    assert!(shown["mails"][0]["text"].as_str().unwrap().contains("SAMPLE-CODE Ten"), "{shown}");
}
