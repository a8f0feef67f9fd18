//! The tests of campaign files: somebody given and a fixed clock, and somebody followed over days.

use crate::ground::scenario::Scenario;

#[tokio::test]
async fn campaigns_are_tested_with_somebody_given_and_a_fixed_clock() {
    let lines = "\
audience: { in_segment: quiet }
schedule: { enter: when_matching }
once_per: 60d
exit_on: { did: order.placed, since: entry }
steps:
  - { step: letter, template: win-back/letter }
  - { step: reminder, after: 3d, at: \"09:00\", template: win-back/letter }
tests:
  - name: a quiet regular gets the letter
    customer: { first_name: Mia, orders: 6, last_order: 200d ago, consent: [offers] }
    expect: { verdict: send, step: letter, subject_contains: Mia }
  - name: somebody with an open ticket does not
    customer: { orders: 6, last_order: 200d ago, open_tickets: 1, consent: [offers] }
    expect: { verdict: skip, reason: service_freeze }
  - name: nobody who ordered lately
    customer: { orders: 6, last_order: 2d ago, consent: [offers] }
    expect: { verdict: nothing }
  - name: not twice in two months
    customer: { orders: 6, last_order: 200d ago, consent: [offers] }
    received: { campaign: win-back, step: letter, at: 20d ago }
    expect: { verdict: skip, reason: already_received }
  - name: three days later comes the reminder
    entered: 3d ago
    customer: { orders: 6, last_order: 200d ago, consent: [offers] }
    expect: { verdict: send, step: reminder }
  - name: whoever bought on day two gets nothing on day three
    entered: 3d ago
    customer: { consent: [offers] }
    orders: [{ at: 200d ago, total: 30 }, { at: 1d ago, total: 20 }]
    expect: { verdict: skip, step: reminder, reason: exit }
  - name: and nothing in between
    entered: 1d ago
    customer: { orders: 6, last_order: 200d ago, consent: [offers] }
    expect: { verdict: nothing }
";
    let shop = Scenario::new("sqlite:nowhere/okaeri.db")
        .segment("quiet", "{ all: [{ customer: orders, gte: 3 }, { customer: days_since_last_order, gt: 90 }] }")
        .campaign("win-back", "");
    let head = "campaign: win-back\nstatus: live\ntopic: offers\n";
    shop.write("campaigns/win-back.yaml", format!("{head}{lines}"));
    let said = shop.okaeri("test").await.exits(0).stdout;
    assert!(said.contains("✓ passed  a quiet regular gets the letter"), "{said}");
    assert!(said.ends_with("7 tests: 7 passed, 0 failed\n"), "{said}");
    assert!(!shop.path("nowhere").exists(), "no database was made");

    let wrong = lines.replace("reason: service_freeze", "reason: no_consent").replace("contains: Mia", "contains: Max");
    shop.write("campaigns/win-back.yaml", format!("{head}{wrong}"));
    let json = shop.json("test win-back --junit results.xml", 2).await;
    assert_eq!((&json["passed"], &json["failed"]), (&5.into(), &2.into()));
    let detail = |n: usize| json["campaign_tests"][n]["detail"].as_str().unwrap_or_default().to_owned();
    assert!(detail(0).starts_with("expected a subject with `Max`\nfound    Hello Mia"), "{}", detail(0));
    let expected = "expected skip, reason no_consent\nfound    skip, step letter, reason service_freeze";
    assert_eq!(detail(1), expected);
    let xml = std::fs::read_to_string(shop.path("results.xml")).unwrap();
    assert!(xml.contains("failures=\"2\""), "{xml}");

    shop.write(
        "campaigns/win-back.yaml",
        format!(
            "{head}{}",
            lines.replace("step: reminder }\n  - name: whoever", "step: remainder }\n  - name: whoever")
        ),
    );
    let ran = shop.okaeri("check").await.exits(2);
    assert!(ran.stderr.contains("did you mean `reminder`?"), "{}", ran.stderr);
}

#[tokio::test]
async fn a_campaign_is_tested_over_days_and_what_was_received_is_carried_on() {
    let head = "campaign: welcome\nstatus: live\ntopic: offers\n";
    let lines = "\
audience: { in_segment: newcomers }
schedule: { enter: when_matching }
exit_on: { did: ticket.opened, since: entry }
steps:
  - { step: hello, template: win-back/letter }
  - { step: tips, after: 3d, at: \"09:00\", template: win-back/letter }
  - { step: offer, after: 10d, unless: { did: order.placed, since: entry }, template: win-back/letter }
tests:
  - name: bought on day two, so no offer
    now: 2026-11-02T10:00
    customer: { first_name: Mia, consent: [offers] }
    days:
      - { on: 0d, expect: { verdict: send, step: hello, subject_contains: Mia } }
      - { on: 2d, orders: { total: 40 } }
      - { on: 2d, expect: { verdict: nothing } }
      - { on: 3d, expect: { verdict: send, step: tips } }
      - { on: 10d, expect: { verdict: skip, step: offer, reason: unless } }
      - { on: 40d, expect: { verdict: nothing } }
  - name: an open ticket ends it
    customer: { consent: [offers] }
    days:
      - { on: 36h, events: { did: ticket.opened }, expect: { verdict: send, step: hello } }
      - { on: 3d, expect: { verdict: skip, step: tips, reason: exit } }
      - { on: 30d, expect: { verdict: nothing } }
  - name: agreed on day five
    customer: { orders: 0 }
    days:
      - { on: 4d, expect: { verdict: skip, reason: no_consent } }
      - { on: 5d, customer: { consent: [offers] }, expect: { verdict: send, step: hello } }
";
    // The third day of the first test is said twice, which is no order of time.
    let shop = Scenario::new("sqlite:nowhere/okaeri.db")
        .segment("newcomers", "{ customer: orders, lte: 1 }")
        .campaign("win-back", "")
        .settings("guards: { frequency_cap: { messages: 2, in_last: 7d } }\n");
    let write = |lines: &str| shop.write("campaigns/welcome.yaml", format!("{head}{lines}"));
    write(lines);
    let refused = shop.okaeri("test").await.exits(2).stderr;
    assert!(refused.contains("campaigns/welcome.yaml:18:9: error: 2d does not come after 2d [bad-test]"), "{refused}");

    let right =
        lines.replace("- { on: 2d, expect: { verdict: nothing } }", "- { on: 60h, expect: { verdict: nothing } }");
    write(&right);
    let said = shop.okaeri("test").await.exits(0).stdout;
    assert!(said.ends_with("3 tests: 3 passed, 0 failed\n"), "{said}");

    // Without the order the offer comes, and without the test's own hello in mind the cap would not know of two mails.
    write(&right.replace("      - { on: 2d, orders: { total: 40 } }\n", ""));
    let json = shop.json("test", 2).await;
    let detail = json["campaign_tests"][0]["detail"].as_str().unwrap();
    let place = "campaigns/welcome.yaml:19:9";
    assert_eq!(
        detail,
        format!(
            "on 10d ({place}): expected skip, step offer, reason unless\nfound    send, step offer at 2026-11-12 10:00"
        )
    );
    write(
        &right
            .replace("after: 3d, at: \"09:00\"", "after: 1d")
            .replace("after: 10d, unless: { did: order.placed, since: entry }", "after: 2d"),
    );
    let json = shop.json("test", 2).await;
    let detail = json["campaign_tests"][0]["detail"].as_str().unwrap();
    assert!(
        detail.contains("send, step tips at 2026-11-03 10:00")
            && detail.contains("skip, step offer, reason frequency_cap"),
        "{detail}"
    );

    for (from, to, told) in [
        (
            "reason: exit",
            "reason: exti",
            "`exti` is no reason for which people are skipped [unknown-word]\n    did you mean `exit`?",
        ),
        ("step: tips }", "step: tpis }", "did you mean `tips`?"),
        (
            "    customer: { first_name",
            "    entered: 2d ago\n    customer: { first_name",
            "a test over `days` has no `entered`",
        ),
        ("    customer: { orders: 0 }", "    expect: { verdict: nothing }", "a test has `expect` or `days`, not both"),
        ("on: 40d", "on: 900d", "a test goes on for 400 days at most"),
        ("orders: { total: 40 }", "orders: { totl: 40 }", "did you mean `total`?"),
    ] {
        assert!(right.contains(from), "{from}");
        write(&right.replacen(from, to, 1));
        let refused = shop.okaeri("check").await.exits(2).stderr;
        assert!(refused.contains(told), "{told}: {refused}");
    }
}

#[tokio::test]
async fn people_of_a_scheduled_campaign_enter_at_its_times_in_a_test_over_days() {
    let lines = "\
campaign: win-back
status: live
topic: offers
audience: everyone
schedule: { every: tuesday 09:00, time_zone: customer }
once_per: 10d
steps:
  - { step: letter, template: win-back/letter }
  - { step: reminder, after: 2d, template: win-back/letter }
tests:
  - name: on tuesdays, by their own clock
    now: 2026-11-23T12:00     # a monday
    customer: { time_zone: Asia/Tokyo, consent: [offers] }
    days:
      - { on: 12h, expect: { verdict: nothing } }
      - { on: 14h, expect: { verdict: send, step: letter } }
      - { on: 4d, expect: { verdict: send, step: reminder } }
      - { on: 9d, expect: { verdict: skip, reason: already_received } }
      - { on: 16d, expect: { verdict: send, step: letter } }
";
    let shop = Scenario::new("sqlite:nowhere/okaeri.db").campaign("win-back", "");
    shop.write("campaigns/win-back.yaml", lines);
    let said = shop.okaeri("test").await.exits(0).stdout;
    assert!(said.ends_with("1 test: 1 passed, 0 failed\n"), "{said}");
}
