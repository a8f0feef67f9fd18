//! A reward need not be a discount: each kind from the settings to the mail and back into the books.

use std::fs;

use okaeri::catcher::{Catcher, CatcherOptions};
use serde_json::Value;

use super::{giving, pool, text_of};
use crate::ground::each_database;

/// Kind, what its pool says beside, and what its mail shows.
const KINDS: [(&str, &str, &str); 5] = [
    ("code", "value: 10, codes: { pattern: \"BACK-########\" }", "a code of EUR 10.00 with BACK-"),
    ("gift", "cost: 3, at_most: 9", "a gift;"),
    ("access", "expires: 2999-12-31", "a access until 2999-12-31;"),
    ("event", "codes: { pattern: \"SEAT-########\" }, terms: \"Doors at seven\"", "a event with SEAT-"),
    ("cashback", "value: 5, cost: 5", "a cashback of EUR 5.00;"),
];

const TEXT: &str = "\
You get a {{ reward.kind }}{% if reward.value %} of {{ reward.value | money(currency=\"EUR\") | replace(from=\"€\", to=\"EUR \") }}{% endif %}\
{% if reward.code %} with {{ reward.code }}{% endif %}{% if reward.expires_on %} until {{ reward.expires_on }}{% endif %}; {{ reward.title }}. {{ reward.terms | default(value=\"\") }}

{{ links.unsubscribe }}
{{ brand.organisation }}, {{ brand.postal_address }}
";

#[tokio::test(flavor = "multi_thread")]
async fn a_reward_of_every_kind_reaches_its_reader_and_the_books() {
    each_database(|url| async move {
        let catcher = Catcher::start(CatcherOptions::default()).await.unwrap();
        let pools: String = KINDS
            .iter()
            .map(|(kind, more, _)| format!("  the_{kind}: {{ title: Title of {kind}, kind: {kind}, {more} }}\n"))
            .collect();
        let shop = giving(&url, &pools, "POOL", "").smtp(&catcher.url()).with_people(3).await;
        shop.write("templates/hello/letter.txt", TEXT);
        let campaign = fs::read_to_string(shop.path("campaigns/hello.yaml")).unwrap();
        for (n, (kind, more, shows)) in KINDS.iter().enumerate() {
            let name = format!("the_{kind}");
            shop.write("campaigns/hello.yaml", campaign.replace("POOL", &name));
            let sent = shop.json(&format!("send hello --slot {kind}"), 0).await;
            assert_eq!(sent["verdicts"]["send"], 3, "{kind}: {sent}");
            let texts: Vec<String> = catcher.mails().iter().skip(3 * n).map(text_of).collect();
            assert_eq!(texts.len(), 3, "{kind}");
            for text in &texts {
                assert!(text.contains(shows) && text.contains(&format!("Title of {kind}")), "{kind}: {text}");
                assert_eq!(text.contains("Doors at seven"), more.contains("Doors"), "{text}");
            }
            let books = pool(&shop, &name).await;
            assert_eq!((&books["kind"], &books["issued"]), (&Value::from(*kind), &3.into()), "{books}");
            let csv = shop.okaeri(&format!("reward export {name}")).await.exits(0).stdout;
            assert_eq!(csv.lines().count(), 4, "{csv}");
            let coded =
                csv.lines().skip(1).filter(|l| l.split(',').nth(1).is_some_and(|code| code.contains('-'))).count();
            assert_eq!(coded, if more.contains("pattern") { 3 } else { 0 }, "{csv}");
        }
        let verified = shop.json("queue verify", 0).await;
        assert_eq!(verified["findings"].as_array().map(Vec::len), Some(0), "{verified}");
    })
    .await;
}
