//! Whole messages, judged by another implementation (mail-parser), also with hostile data.

use std::fs;

use mail_parser::{Message, MessageParser};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::content::{SenderValues, Snapshot, TemplateSet, Wanted};
use crate::problem::{Place, Problems};
use crate::settings::Project;

const TEMPLATE: &str = "Subject: Welcome back, {{ customer.first_name }}\nPreheader: Soon\n\n<html><body>\
    <p>Dear {{ customer.first_name }}, {{ campaign.title }}, {{ step.name }}, {{ today }}</p>\n\
    <a href=\"{{ links.unsubscribe }}\">Unsubscribe</a>{% if links.preferences %}<a href=\"{{ links.preferences }}\">p</a>{% endif %}\n\
    {{ brand.organisation }}, {{ brand.postal_address }} {{ customer.customer_id }} {{ customer.email }}</body></html>";

/// 2026-11-24T00:30:00Z.
const DATE_AT: Millis = 1_795_480_200_000;

fn composer(settings: &str, secret: Option<&str>) -> Composer {
    let dir = tempfile::tempdir().unwrap();
    let base =
        "project: shop\ncurrency: EUR\nlinks: { secret: \"${S:-0123456789abcdef}\"BASE }\nsmtp: smtp://127.0.0.1:25\n";
    let (base, settings) = match settings.split_once("base_url ") {
        Some((rest, url)) => (base.replace("BASE", &format!(", base_url: {url}")), rest),
        None => (base.replace("BASE", ""), settings),
    };
    fs::write(dir.path().join("okaeri.yaml"), format!("{base}{settings}")).unwrap();
    fs::create_dir(dir.path().join("templates")).unwrap();
    fs::write(dir.path().join("templates/a.html"), TEMPLATE).unwrap();
    let mut problems = Problems::new();
    let project = Project::load_with(dir.path(), |_| None, &mut problems);
    let settings = project.unwrap_or_else(|| panic!("{}", problems.to_text())).settings;
    let wanted = Wanted {
        name: "a".into(),
        promotional: true,
        tracked: true,
        place: Place::file("c.yaml"),
        recommends: None,
        rewards: None,
    };
    let set = TemplateSet::load(dir.path(), &[wanted], &settings, &mut problems);
    let set = set.unwrap_or_else(|| panic!("{}", problems.to_text()));
    let compiled = Snapshot::take(&set, SenderValues::of(&settings).unwrap()).compile().unwrap();
    Composer::new(compiled, secret.map(Tokens::new))
}

const SENDER: &str = "time_zone: Asia/Tokyo\nsender:\n  name: Tomoshibi ともしび\n  from: letters@shop.example.com\n  reply_to: hana@shop.example.com\n  \
    organisation: Shop Ltd\n  postal_address: 1 Road\n  bounce_domain: bounce.shop.example.com\nbase_url https://mail.example.com/";

fn facts(payload: &Value) -> MessageFacts<'_> {
    MessageFacts {
        bucket: 7,
        chunk_id: 42,
        seq: 3,
        customer_id: "c-1",
        campaign: "win-back",
        campaign_title: "Come home",
        step: "letter",
        slot: "2026-11-24T09:00",
        topic: "offers",
        topic_title: "ご案内",
        promotional: true,
        template: "a",
        locale: "en",
        message_id: "00112233445566778899aabbccddeeff",
        address: "mia@example.com",
        payload,
    }
}

fn mia() -> Value {
    json!({ "customer": { "first_name": "Mia", "last_name": "Berg" }, "today": "2026-11-24" })
}

fn parsed(bytes: &[u8]) -> Message<'_> {
    MessageParser::default().parse(bytes).unwrap()
}

fn header_names(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let head = text.split("\r\n\r\n").next().unwrap_or_default();
    head.split("\r\n")
        .filter(|l| !l.starts_with(' '))
        .map(|l| l.split(':').next().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn a_promotional_message_from_end_to_end() {
    let composer = composer(SENDER, Some("a secret of the project"));
    let payload = mia();
    let composed = composer.compose(&facts(&payload), DATE_AT).unwrap();
    let text = String::from_utf8(composed.bytes.clone()).unwrap();
    let token = Tokens::new("a secret of the project").link(&MessageKey {
        customer_id: "c-1".into(),
        campaign: "win-back".into(),
        step: "letter".into(),
        slot: "2026-11-24T09:00".into(),
        topic: "offers".into(),
    });
    let head = text.split("\r\n\r\n").next().unwrap().replace("\r\n", "\n").replace(&token, "TOKEN");
    insta::assert_snapshot!(head, @r#"
    From: =?UTF-8?B?VG9tb3NoaWJpIOOBqOOCguOBl+OBsw==?= <letters@shop.example.com>
    Reply-To: hana@shop.example.com
    To: Mia Berg <mia@example.com>
    Subject: Welcome back, Mia
    Date: Tue, 24 Nov 2026 09:30:00 +0900
    Message-ID: <00112233445566778899aabbccddeeff@shop.example.com>
    List-Unsubscribe: <https://mail.example.com/u/TOKEN>,
     <mailto:hana@shop.example.com?subject=unsubscribe%20TOKEN>
    List-Unsubscribe-Post: List-Unsubscribe=One-Click
    List-Id: =?UTF-8?B?44GU5qGI5YaF?= <offers.shop.example.com>
    Precedence: bulk
    Feedback-ID: win-back:letter:offers:shop
    MIME-Version: 1.0
    Content-Type: multipart/alternative;
     boundary="=_00112233445566778899aabbccddeeff"
    "#);
    assert_eq!(composed.envelope_to, "mia@example.com");
    let local = composed.envelope_from.strip_suffix("@bounce.shop.example.com").unwrap();
    let opened = Tokens::new("a secret of the project").open_return_path(local);
    assert_eq!(opened, Some(LedgerKey { bucket: 7, chunk_id: 42, seq: 3 }));

    let mail = parsed(&composed.bytes);
    assert_eq!(mail.subject(), Some("Welcome back, Mia"));
    let from = mail.from().and_then(|f| f.first()).unwrap();
    assert_eq!((from.name(), from.address()), (Some("Tomoshibi ともしび"), Some("letters@shop.example.com")));
    let html = mail.body_html(0).unwrap();
    assert!(html.contains(&format!("href=\"https://mail.example.com/u/{token}\"")), "{html}");
    assert!(html.contains("Dear Mia, Come home, letter, 2026-11-24"), "{html}");
    let text = mail.body_text(0).unwrap();
    assert!(
        text.contains(&format!("[1] https://mail.example.com/u/{token}")) && text.contains("c-1 mia@example.com"),
        "{text}"
    );
    assert_eq!(composer.compose(&facts(&payload), DATE_AT).unwrap(), composed);
}

#[test]
fn service_messages_and_shops_without_a_page() {
    let composer = composer(&SENDER.replace("base_url https://mail.example.com/", ""), Some("a secret of the project"));
    let payload = mia();
    let mail = composer.compose(&facts(&payload), DATE_AT).unwrap();
    let text = String::from_utf8_lossy(&mail.bytes).into_owned();
    assert!(text.contains("\r\nList-Unsubscribe: <mailto:hana@shop.example.com?subject=unsubscribe%20"), "{text}");
    assert!(!text.contains("List-Unsubscribe-Post"));
    assert!(
        parsed(&mail.bytes)
            .body_html(0)
            .unwrap()
            .contains("href=\"mailto:hana@shop.example.com?subject=unsubscribe%20")
    );
    let service = composer.compose(&MessageFacts { promotional: false, ..facts(&payload) }, DATE_AT).unwrap();
    let names = header_names(&service.bytes);
    assert!(names.contains(&"Auto-Submitted".to_owned()));
    assert!(names.iter().all(|n| !n.starts_with("List-") && n != "Precedence"), "{names:?}");
}

#[test]
fn names_are_shown_only_when_they_are_names() {
    let name = |first: &str, last: &str, locale: &str| {
        let payload = json!({ "customer": { "first_name": first, "last_name": last } });
        display_name(&MessageFacts { locale, ..facts(&payload) })
    };
    assert_eq!(name("美帆", "花岡", "ja-JP"), "花岡 美帆");
    assert_eq!(name("Mia", "", "en"), "Mia");
    for hostile in ["Win https://example.com", "ceo@example.com", "www.example.com", "a\r\nb", &"x".repeat(61)] {
        assert_eq!(name(hostile, "", "en"), "", "{hostile}");
    }
}

#[test]
fn what_cannot_be_composed_is_an_error() {
    let composer = composer(SENDER, None);
    let payload = mia();
    let error = |m: MessageFacts| composer.compose(&m, DATE_AT).unwrap_err().to_string();
    assert_eq!(error(MessageFacts { address: "mia", ..facts(&payload) }), "the address has no @");
    assert!(error(MessageFacts { message_id: "a b", ..facts(&payload) }).contains("message id"));
    assert!(error(MessageFacts { template: "b", ..facts(&payload) }).contains("not among those of this run"));
    let nobody = json!({});
    assert!(error(facts(&nobody)).contains("`customer.first_name` may be missing"));
    let long = "x".repeat(3_000);
    let with_tokens = self::composer(SENDER, Some("a secret of the project"));
    let error = with_tokens.compose(&MessageFacts { customer_id: &long, ..facts(&payload) }, DATE_AT).unwrap_err();
    assert!(matches!(error, ComposeError::LinkTooLong), "{error}");
}

#[test]
fn the_date_is_in_the_projects_zone() {
    assert_eq!(date(DATE_AT, &TimeZone::get("Asia/Tokyo").unwrap()), "Tue, 24 Nov 2026 09:30:00 +0900");
    assert_eq!(date(0, &TimeZone::UTC), "Thu, 1 Jan 1970 00:00:00 +0000");
}

fn hostile() -> impl Strategy<Value = String> {
    let nasty = prop::sample::select(vec![
        "\r\n",
        "\n\nBcc: x@example.com\r\n",
        "\0",
        "\u{2028}",
        "\u{202e}",
        "=?UTF-8?Q?",
        "?=",
        ".\r\n",
        "\r\n.\r\nQUIT\r\n",
        "--=_",
        "<script>",
        "{{ x }}",
        "{% raw %}",
        "From ",
        "日本語",
        "👩‍👩‍👧",
        "\u{7f}",
        "\u{85}",
        "\\\"",
        "é",
    ]);
    prop::collection::vec(prop_oneof![nasty.prop_map(str::to_owned), any::<String>()], 0..12)
        .prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn hostile_data_gives_one_well_formed_message(first in hostile(), last in hostile(), title in hostile(), campaign in hostile(), id in hostile()) {
        thread_local! {
            static COMPOSER: Composer = composer(SENDER, Some("a secret of the project"));
        }
        let canary = "canary7f3a";
        let payload = json!({ "customer": { "first_name": format!("{first}{canary}"), "last_name": last }, "today": "2026-11-24" });
        let id: String = id.chars().take(60).collect();
        let m = MessageFacts { topic_title: &title, campaign_title: &campaign, customer_id: &id, ..facts(&payload) };
        let composed = COMPOSER.with(|c| c.compose(&m, DATE_AT)).unwrap();
        prop_assert_eq!(wire::check(&composed.bytes), Ok(()));
        prop_assert_eq!(
            header_names(&composed.bytes).join(" "),
            "From Reply-To To Subject Date Message-ID List-Unsubscribe List-Unsubscribe-Post List-Id Precedence Feedback-ID MIME-Version Content-Type"
        );
        prop_assert!(!composed.bytes.split(|b| *b == b'\n').any(|l| l.starts_with(b".") || l.starts_with(b"From ")));
        let mail = parsed(&composed.bytes);
        prop_assert_eq!(mail.parts.len(), 3);
        prop_assert!(mail.body_html(0).unwrap().contains(canary));
        prop_assert!(mail.body_text(0).unwrap().contains(canary));
        prop_assert_eq!(mail.to().and_then(|t| t.first()).and_then(|t| t.address()), Some("mia@example.com"));
    }
}
