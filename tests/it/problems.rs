//! A project with everything wrong at once: `okaeri check` names it all, with the exact words, in moments.

use std::time::{Duration, Instant};

use crate::ground::scenario::Scenario;

/// Longer than this for a whole broken project would be noticed; debug builds on busy machines included.
const CHECK_TIME_MAX: Duration = Duration::from_secs(10);

fn project() -> Scenario {
    Scenario::new("sqlite:.okaeri/okaeri.db").smtp("smtp://127.0.0.1:2525")
}

/// A list that doubles nine times nine ways: 9⁹ nodes when aliases are expanded.
fn alias_bomb() -> String {
    let mut text = "segment: bomb\na: &a [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for pair in ["ab", "bc", "cd", "de", "ef", "fg", "gh", "hi"] {
        let (from, to) = pair.split_at(1);
        text.push_str(&format!(
            "{to}: &{to} [*{from}, *{from}, *{from}, *{from}, *{from}, *{from}, *{from}, *{from}, *{from}]\n"
        ));
    }
    text + "where: *i\n"
}

#[tokio::test]
async fn a_broken_project_is_told_everything_at_once() {
    let shop = project()
        .campaign("unknown-key", "audiance: everyone")
        .campaign("wrong-type", "priority: soon")
        .campaign("unknown-topic", "topic: ofers")
        .campaign("missing-segment", "audience: { in_segment: shopers }")
        .campaign("undefined-variable", "")
        .campaign("missing-template", "")
        .campaign("broken-template", "")
        .segment("shoppers", "{ customer: orders, gte: 1 }")
        .segment("hen", "{ in_segment: egg }")
        .segment("egg", "{ in_segment: hen }")
        .segment("unknown-field", "{ customer: ordres, gte: 1 }")
        .segment("no-comparison", "{ customer: orders }");
    shop.write(
        "templates/undefined-variable/letter.txt",
        "Hello {{ customer.frist_name }}, {{ profile.ordres }}, {{ greeting }}\n{{ links.unsubscribe }}\n",
    );
    shop.write("templates/broken-template/letter.txt", "{% if customer.first_name %}Hello\n{{ links.unsubscribe }}\n");
    std::fs::remove_file(shop.path("templates/missing-template/letter.html")).unwrap();
    shop.write("campaigns/tabs.yaml", "campaign: tabs\n\ttopic: offers\n");
    shop.write("campaigns/duplicate-key.yaml", "campaign: a\ncampaign: b\n");
    shop.write("campaigns/not-utf8.yaml", b"campaign: latin\ntitle: Gr\xfc\xdfe\n");
    shop.write("campaigns/empty.yaml", "");
    shop.write("campaigns/list.yaml", "- campaign: a\n");
    shop.write("campaigns/huge.yaml", format!("campaign: huge\ntitle: {}\n", "x".repeat(10 << 20)));
    shop.write("campaigns/deep.yaml", "a: ".to_owned() + &"[".repeat(10_000));
    shop.write("campaigns/segments/bomb.yaml", alias_bomb());

    let started = Instant::now();
    let ran = shop.okaeri("check").await.exits(2);
    assert!(started.elapsed() < CHECK_TIME_MAX, "{:?}", started.elapsed());
    assert_eq!(ran.stdout, "");
    insta::assert_snapshot!(ran.stderr, @r#"
    campaigns/deep.yaml:1:259: error: recursion limit exceeded [not-yaml]
    campaigns/duplicate-key.yaml:1:1: error: a campaign needs `audience`: whom it is for [missing-key]
        audience: { in_segment: NAME }, or: everyone
    campaigns/duplicate-key.yaml:1:1: error: a campaign needs `steps`: what is sent [missing-key]
        steps:
          - step: letter
            template: win-back/letter
    campaigns/duplicate-key.yaml:1:1: error: a campaign needs `topic`: text [missing-key]
    campaigns/duplicate-key.yaml:2:1: error: `campaign` is given twice [duplicate-key]
        the first stands on line 1; keep one of them
    campaigns/empty.yaml: error: the file is empty [empty-file]
    campaigns/huge.yaml: error: 10240 KiB of YAML; at most 256 KiB are read [file-too-large]
        split it into several files, or import data with `okaeri import`
    campaigns/list.yaml:1:1: error: a campaign must be a mapping, not a list [wrong-type]
    campaigns/missing-segment.yaml:6:25: error: there is no segment `shopers` in campaigns/segments/ [unknown-segment]
        did you mean `shoppers`?
    campaigns/missing-template.yaml:2:35: error: there is no template templates/missing-template/letter.html [missing-template]
        did you mean `broken-template/letter`?
    campaigns/not-utf8.yaml:2:1: error: not UTF-8 text [not-utf8]
        save the file as UTF-8
    campaigns/segments/bomb.yaml:6:28: error: more than 50000 values once aliases are expanded [too-many-values]
        aliases (`*name`) repeat what they point to; write less, or split the file
    campaigns/segments/egg.yaml:1:10: error: this segment is made of itself: egg → hen → egg [segment-cycle]
        take one of these `in_segment` out
    campaigns/segments/no-comparison.yaml:2:8: error: `orders` is compared with nothing [missing-key]
        one of: gte, gt, lte, lt, between, eq, in, exists
    campaigns/segments/unknown-field.yaml:2:20: error: `ordres` is not a field of a customer [unknown-field]
        did you mean `orders`? A column of your own is written `attribute.ordres`
    campaigns/tabs.yaml:2:1: error: a tab at the beginning of a line [not-yaml]
        indent with spaces: YAML takes no tabs
    campaigns/unknown-key.yaml:7:1: error: `audiance` is not a key of a campaign [unknown-key]
        did you mean `audience`?
    campaigns/unknown-topic.yaml:6:8: error: the topic `ofers` is not among `topics` of okaeri.yaml [unknown-topic]
        did you mean `offers`?
    campaigns/wrong-type.yaml:7:11: error: `priority` must be a whole number, not the text "soon" [wrong-type]
    templates/broken-template/letter.txt:3:1: error: unexpected end of input [template-syntax]
    templates/undefined-variable/letter.txt:1:10: warning: `customer.frist_name` is not a field every project has [unknown-attribute]
        did you mean `first_name`? An attribute of your own is fine
    templates/undefined-variable/letter.txt:1:37: error: `profile.ordres` is not known to templates [unknown-variable]
        did you mean `orders`?
    templates/undefined-variable/letter.txt:1:59: error: `greeting` is not known to templates [unknown-variable]
        known here: brand, campaign, cart, customer, links, loyalty, order, preheader, profile, recommend, reward, step, today
    22 errors and 1 warning
    "#);
    let json = shop.json("check", 2).await;
    let told = json["problems"].as_array().unwrap().len();
    assert!(ran.stderr.ends_with(&format!("{} errors and 1 warning\n", told - 1)), "JSON tells the same: {json}");
}

#[tokio::test]
async fn broken_settings_are_told_everything_at_once_and_hide_nothing_else() {
    let shop = project().campaign("unknown-key", "audiance: everyone").campaign("undefined-variable", "");
    shop.write("templates/undefined-variable/letter.txt", "{{ greeting }}, {{ links.unsubscribe }}\n");
    shop.write(
        "okaeri.yaml",
        "project: kaze\ntimezone: Europe/Berlin\ncurrency: 7\ndatabase: ${DATABASE_URL\nsmtp: smtps://shop:hunter2@mail.example.com\n\
         sender:\n  name: Kaze\n  from: letters\nlinks: { secret: hunter2hunter2hunter2, base_url: mail.example.com }\n\
         guards: { frequency_cap: { messages: many, in_last: 7d }, quiet_hours: 22-7 }\nlifecycle: { drifting_after_gaps: 4 }\nholdout: { global: 120% }\n\
         topics: { offers: Offers }\ntopics: { news: News }\ncompliance: [eu, mars]\n\
         sources:\n  - { import: costumers, file: a.csv }\n  - file: b.csv\n\
         contract: { customer: { points: nubmer }, event: {} }\n",
    );
    shop.write("contract.yaml", "customer: { points: number }\nevents: { product.viewed: { sku: string } }\n");
    let ran = shop.okaeri("check").await.exits(2);
    assert!(!ran.stderr.contains("hunter2"), "a secret is not repeated: {}", ran.stderr);
    insta::assert_snapshot!(ran.stderr, @r#"
    campaigns/unknown-key.yaml:7:1: error: `audiance` is not a key of a campaign [unknown-key]
        did you mean `audience`?
    contract.yaml:2:34: error: `sku`: the text "string" is not a type [unknown-type]
        did you mean `text`?
    okaeri.yaml:2:1: error: `timezone` is not a key of okaeri.yaml [unknown-key]
        did you mean `time_zone`?
    okaeri.yaml:3:11: error: `7` is not a currency code [unknown-currency]
        three capital letters (ISO 4217), such as EUR, USD or JPY
    okaeri.yaml:4:11: error: `${` without a closing `}` [bad-variable]
    okaeri.yaml:5:7: error: a password in the settings file [literal-secret]
        keep it in the environment: smtp: ${SMTP_URL}
    okaeri.yaml:7:3: error: the sender needs `organisation`: text [missing-key]
    okaeri.yaml:7:3: error: the sender needs `postal_address`: text [missing-key]
    okaeri.yaml:8:9: error: `from`: the address `letters` has no @ [bad-address]
    okaeri.yaml:9:18: error: a secret in the settings file [literal-secret]
        keep it in the environment: secret: ${OKAERI_SECRET}
    okaeri.yaml:9:51: error: `base_url` is not a web address: mail.example.com [bad-url]
        https://mail.shop.example.com
    okaeri.yaml:10:38: error: `messages` must be a whole number, 0 or more, not the text "many" [wrong-type]
    okaeri.yaml:10:72: error: quiet_hours must be a mapping, not the text "22-7" [wrong-type]
    okaeri.yaml:11:12: error: lifecycle needs 0 < drifting_after_gaps < lapsed_after_gaps and default_gap of a day or more [out-of-range]
    okaeri.yaml:12:20: error: `global` must be a share such as 10%, not the text "120%" [wrong-type]
    okaeri.yaml:14:1: error: `topics` is given twice [duplicate-key]
        the first stands on line 13; keep one of them
    okaeri.yaml:15:13: error: `compliance` does not know `mars` [unknown-word]
        known: eu, us, ca, jp
    okaeri.yaml:17:15: error: `import` cannot be `costumers` [unknown-word]
        one of: customers, consents, products, orders, lines, events, suppressions
    okaeri.yaml:18:5: error: a source needs `import`: one of customers, consents, products, orders, lines, events, suppressions [missing-key]
    okaeri.yaml:19:11: error: the data contract stands here and in contract.yaml [two-contracts]
        keep one of them: move this part to contract.yaml and remove `contract`, or remove the file
    okaeri.yaml:19:33: error: `points`: the text "nubmer" is not a type [unknown-type]
        did you mean `number`?
    okaeri.yaml:19:43: error: `event` is not a key of the data contract [unknown-key]
        did you mean `events`?
    templates/undefined-variable/letter.txt:1:4: error: `greeting` is not known to templates [unknown-variable]
        known here: brand, campaign, cart, customer, links, loyalty, order, preheader, profile, recommend, reward, step, today
    23 errors and 0 warnings
    "#);
    // Every verb says so, and does nothing.
    for line in [
        "import",
        "profile",
        "segment list",
        "plan hello",
        "send hello",
        "work",
        "queue verify",
        "serve",
        "report hello",
    ] {
        let refused = shop.okaeri(line).await.exits(2);
        assert!(refused.stderr.contains("`timezone` is not a key of okaeri.yaml"), "okaeri {line}: {}", refused.stderr);
        assert_eq!(refused.stdout, "", "okaeri {line}");
    }
    assert!(!shop.path(".okaeri").exists(), "no database is made for a project that cannot be read");
}

#[tokio::test]
async fn hostile_files_are_refused_one_by_one_in_moments() {
    let bombs = [
        ("campaigns/segments/bomb.yaml", alias_bomb()),
        ("campaigns/huge.yaml", format!("title: {}", "x".repeat(10 << 20))),
        ("campaigns/beyond.yaml", format!("title: {}", "x".repeat(20 << 20))),
        ("campaigns/deep.yaml", "[".repeat(200_000)),
        ("campaigns/merge.yaml", "a: &a { b: 1 }\n<<: *a\n".to_owned()),
        ("campaigns/tag.yaml", "campaign: !!python/object:os.system a\n".to_owned()),
        ("campaigns/two.yaml", "campaign: a\n---\ncampaign: b\n".to_owned()),
        ("campaigns/nul.yaml", "campaign: \0\n".to_owned()),
        ("templates/x.txt", "never used, never read {{ get_env(name=\"HOME\") }}".to_owned()),
    ];
    for (name, text) in bombs {
        let shop = project();
        shop.write(name, text);
        let started = Instant::now();
        let ran = shop.okaeri("check").await;
        assert!(started.elapsed() < CHECK_TIME_MAX, "{name}: {:?}", started.elapsed());
        let expected = if name.starts_with("templates") { 0 } else { 2 };
        let ran = ran.exits(expected);
        assert!(expected == 0 || ran.stderr.contains(&format!("{name}:")), "{name}: {}", ran.stderr);
        assert!(ran.stderr.len() < 2_000, "{name}: few words: {}", &ran.stderr[..2_000]);
    }
}

#[tokio::test]
async fn what_never_comes_or_is_over_is_told_before_somebody_waits_for_it() {
    let shop = project()
        .campaign("never", "schedule: { cron: \"0 9 31 2 *\" }")
        .campaign("leap", "schedule: { cron: \"0 9 29 2 *\" }")
        .campaign("once", "schedule: { at: 2026-11-20 09:00 }")
        .campaign("kept", "status: paused\nschedule: { at: 2026-11-20 09:00 }")
        .campaign("ended", "ends: 2026-11-20\nschedule: { every: day 09:00 }")
        .campaign("weekly", "ends: 2027-12-31\nschedule: { every: tuesday 09:00 }")
        .campaign("by-hand", "");
    let told = shop.okaeri("check --at 2026-11-26T12:00").await.exits(0).stdout;
    let warnings: Vec<&str> = told.lines().filter(|line| line.starts_with("campaigns/")).collect();
    insta::assert_snapshot!(warnings.join("\n"), @"
    campaigns/ended.yaml:1:1: warning: `ended` ended 2026-11-21 00:00: nobody gets anything new of it [campaign-over]
    campaigns/leap.yaml:7:11: warning: `cron 0 9 29 2 *` comes in more than a year, 2028-02-29 09:00 [schedule-far]
    campaigns/never.yaml:7:11: warning: `cron 0 9 31 2 *` never comes [schedule-never]
    campaigns/once.yaml:7:11: warning: `at 2026-11-20 09:00` is over: it comes only once [schedule-over]
    ");
}
