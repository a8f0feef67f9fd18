//! The way of a mail through the pipeline, from files to one message.

use serde_json::json;

use super::*;
use crate::token::{MessageKey, Tokens};

const PIECES: &str = "{% component card(title: string, url: string) %}<td class=\"card\"><a href=\"{{ url }}\">{{ title }}</a></td>{% endcomponent card %}\n\
    {% component panel(tone: string) %}<div class=\"panel\">{{ body }}</div>{% endcomponent panel %}";

const FRAME: &str = "<!DOCTYPE html><html><head><style>.card { padding: 4px } .wide .card { padding: 8px } .panel p { margin: 0 } a:hover { color: red }\n\
    @media (prefers-color-scheme: dark) { .card { color: white } }</style></head><body>{% block body %}{% endblock %}\n\
    <a href=\"{{ links.unsubscribe }}\">leave</a></body></html>";

const MAIL: &str = "Subject: Hi\nPreheader: Soon & cheap\n\n{% extends \"parts/frame.html\" %}\n{% block body -%}\n\
    <table>{% for item in recommend %}<tr>{{<card title={item.name} url={item.url} />}}</tr>{% endfor %}</table>\n\
    <table class=\"wide\"><tr>{{<card title=\"All\" url=\"https://www.example.com/all?a=1\" />}}</tr></table>\n\
    {% <panel tone=\"soft\"> %}<p>{{ customer.first_name | default(value=\"you\") }}</p>{% </panel> %}\n\
    <a href=\"https://www.example.com/?a=1&amp;b=2\">shop</a> <a data-track=\"off\" href=\"https://www.example.com/terms\">terms</a>\n\
    {% endblock %}";

fn files() -> Vec<(&'static str, &'static str)> {
    vec![("templates/a.html", MAIL), ("templates/parts/frame.html", FRAME), ("templates/parts/pieces.html", PIECES)]
}

fn payload() -> serde_json::Value {
    json!({ "customer": { "first_name": "Mia" }, "recommend": [
        { "name": "Lamp", "url": "https://www.example.com/lamp" }, { "name": "Tea <b>", "url": "javascript:alert(1)" } ] })
}

#[test]
fn layouts_components_and_loops_get_the_styles_of_where_they_stand() {
    let compiled = compiled(&files(), &["a"]);
    assert!(compiled.is_prepared("a"), "{:?}", compiled.refusals().collect::<Vec<_>>());
    let payload = payload();
    let mail = compiled.render("a", &facts(&payload, "en")).unwrap();
    insta::assert_snapshot!(mail.html, @r##"
    <!DOCTYPE html><html><head><style>a:hover { color: red; }
    @media (prefers-color-scheme: dark) { .card { color: white } }</style></head><body><div style="display:none;max-height:0;overflow:hidden;mso-hide:all;font-size:1px;line-height:1px;">Soon &amp; cheap</div><table><tr><td style="padding: 4px;" class="card"><a href="https://www.example.com/lamp">Lamp</a></td></tr><tr><td style="padding: 4px;" class="card"><a href="#">Tea &lt;b&gt;</a></td></tr></table>
    <table class="wide"><tr><td style="padding: 8px;" class="card"><a href="https://www.example.com/all?a=1">All</a></td></tr></table>
    <div class="panel"><p style="margin: 0;">Mia</p></div>
    <a href="https://www.example.com/?a=1&amp;b=2">shop</a> <a href="https://www.example.com/terms">terms</a>

    <a href="https://mail.example.com/u/T">leave</a></body></html>
    "##);
    assert_eq!(
        mail.text,
        "Lamp [1]\nTea <b>\n\nAll [2]\n\nMia\n\nshop [3] terms [4] leave [5]\n\n[1] https://www.example.com/lamp\n\
         [2] https://www.example.com/all?a=1\n[3] https://www.example.com/?a=1&b=2\n[4] https://www.example.com/terms\n[5] https://mail.example.com/u/T\n"
    );
}

#[test]
fn links_go_through_the_redirect_but_those_that_may_not() {
    let (dir, mut settings) = project(&files());
    settings.links.utm =
        vec![("utm_source".into(), "okaeri".into()), ("utm_campaign".into(), "{campaign}/{step}".into())];
    let mut snapshot = snapshot(dir.path(), &settings, &["a"]);
    let tokens = Tokens::new("a secret of the project");
    let key = MessageKey {
        customer_id: "c-1".into(),
        campaign: "win-back".into(),
        step: "letter".into(),
        slot: "2026-11-24".into(),
        topic: "offers".into(),
    };
    let clicks = tokens.clicks(&key);
    let payload = payload();
    let unsubscribe = "https://mail.example.com/u/T";
    let hrefs = |snapshot: &Snapshot, signed: bool| -> Vec<String> {
        let facts = Facts { clicks: signed.then_some(&clicks), unsubscribe, ..facts(&payload, "en") };
        let html = snapshot.compile().unwrap().render("a", &facts).unwrap().html;
        html.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
    };
    let direct = [
        "https://www.example.com/lamp?utm_source=okaeri&amp;utm_campaign=win-back%2Fletter",
        "#",
        "https://www.example.com/all?a=1&amp;utm_source=okaeri&amp;utm_campaign=win-back%2Fletter",
        "https://www.example.com/?a=1&amp;b=2&amp;utm_source=okaeri&amp;utm_campaign=win-back%2Fletter",
        "https://www.example.com/terms",
        unsubscribe,
    ];
    assert_eq!(hrefs(&snapshot, true), direct, "without base_url links stay direct");
    snapshot.sender.base_url = Some("https://mail.example.com".into());
    let tracked = hrefs(&snapshot, true);
    for (tracked, direct) in tracked.iter().zip(direct) {
        let redirected = !["#", "https://www.example.com/terms", unsubscribe].contains(&direct);
        match tracked.strip_prefix("https://mail.example.com/c/").filter(|_| redirected) {
            Some(token) => {
                let (of, link) = tokens.open_click(token).unwrap();
                assert_eq!((of, link.url), (key.clone(), direct.replace("&amp;", "&")));
            }
            None => assert_eq!(tracked, direct),
        }
    }
    snapshot.sender.track = false;
    assert_eq!(hrefs(&snapshot, true), direct, "track: false");
    snapshot.sender.track = true;
    snapshot.sender.utm.clear();
    assert_eq!(hrefs(&snapshot, false)[3], "https://www.example.com/?a=1&amp;b=2", "as the author wrote it");
}

const MJML: &str = "Subject: Hi\nPreheader: soon\n\n<mjml>\n  <mj-head><mj-style>.x { color: red } @media (max-width: 10px) { .x { color: blue } }</mj-style></mj-head>\n  <mj-body>\n    <mj-section>\n      <mj-column>{% for item in recommend %}<mj-text css-class=\"x\">{% if item.url %}{{ item.name }}{% else %}-{% endif %}</mj-text>\n      <mj-button href=\"{{ item.url }}\">Look</mj-button>{% endfor %}</mj-column>\n    </mj-section>\n    <mj-section><mj-column><mj-text><a href=\"{{ links.unsubscribe }}\">leave</a></mj-text></mj-column></mj-section>\n  </mj-body>\n</mjml>\n";

#[test]
fn mjml_keeps_loops_conditions_and_media_queries() {
    let compiled = compiled(&[("templates/a.mjml", MJML)], &["a"]);
    assert!(compiled.is_prepared("a"), "{:?}", compiled.refusals().collect::<Vec<_>>());
    let payload = payload();
    let mail = compiled.render("a", &facts(&payload, "en")).unwrap();
    assert_eq!(mail.html.matches(">Look<").count() + mail.html.matches("Look\n").count(), 2, "{}", mail.html);
    assert!(mail.html.contains("Tea &lt;b&gt;") && !mail.html.contains("javascript:"), "{}", mail.html);
    assert!(mail.html.contains("@media (max-width: 10px)") && mail.html.contains(">soon<"), "{}", mail.html);
    assert!(mail.text.contains("Lamp") && mail.text.contains("leave ["), "{}", mail.text);
}

#[test]
fn columns_in_a_loop_get_their_widths_from_how_many_there_are() {
    let mail = "Subject: x\n\n<mjml><mj-body><mj-section>{% for item in recommend %}<mj-column><mj-text>{{ item.name }}</mj-text></mj-column>{% endfor %}</mj-section>\
        <mj-section><mj-column><mj-text>{{ links.unsubscribe }}</mj-text></mj-column></mj-section></mj-body></mjml>";
    let compiled = compiled(&[("templates/a.mjml", mail)], &["a"]);
    assert!(!compiled.is_prepared("a"), "a width depends on the number of products");
    let payload = payload();
    let html = compiled.render("a", &facts(&payload, "en")).unwrap().html;
    assert!(html.contains("width:300px") && html.contains("Tea &lt;b&gt;"), "{html}");
}

#[test]
fn mistakes_in_mjml_are_told_at_the_authors_line() {
    let told = |body: &str| {
        problems(&[("templates/a.mjml", &format!("Subject: Hi\n\n<mjml><mj-body>\n{body}\n</mj-body></mjml>"))], "a")
    };
    insta::assert_snapshot!(told("<mj-sektion></mj-sektion>"), @r#"
    templates/a.mjml:4:1: error: `mj-sektion` is no element of MJML: did you mean `mj-section`? [mjml-syntax]
    1 error and 0 warnings
    "#);
    insta::assert_snapshot!(told("<mj-section {% if order %}padding=\"0\"{% endif %}></mj-section>"), @r#"
    templates/a.mjml:4:13: error: in an MJML tag, Tera can stand only inside the value of an attribute [tag-in-mjml-tag]
    1 error and 0 warnings
    "#);
    insta::assert_snapshot!(told("<mj-section><mj-column><mj-text>{{ customer.first_name }} {{ links.unsubscribe }}</mj-text></mj-column></mj-section>"), @r#"
    templates/a.mjml:4:45: error: `customer.first_name` may be missing [template-fails]
        give it a default: customer.first_name | default(value="…"), or ask first: {% if customer.first_name %}
    1 error and 0 warnings
    "#);
    let included = MJML.replace("<mj-body>", "<mj-body><mj-include path=\"./foot.mjml\" />");
    let told = problems(&[("templates/a.mjml", &included)], "a");
    assert!(told.contains("templates/a.mjml:6:12: error: `mj-include` is not read here: write {% include"), "{told}");
}

#[test]
fn a_failing_value_is_told_where_the_author_wrote_it_after_flattening_and_inlining() {
    let files = [
        (
            "templates/a.html",
            "Subject: x\n\n{% extends \"frame.html\" %}\n{% block body %}\n{% include \"part.html\" %}\n{{<c v={customer.last_name} />}}{% endblock %}",
        ),
        ("templates/frame.html", "<style>p { color: red }</style>{% block body %}{% endblock %}"),
        ("templates/part.html", "<p>x</p>\n<p>{{ customer.first_name }}</p>"),
        ("templates/c.html", "{% component c(v: string) %}\n<p>{{ v }}</p>{% endcomponent c %}"),
    ];
    let compiled = compiled(&files, &["a"]);
    assert!(compiled.is_prepared("a"), "{:?}", compiled.refusals().collect::<Vec<_>>());
    let at = |payload: serde_json::Value| compiled.render("a", &facts(&payload, "en")).unwrap_err().to_string();
    assert_eq!(at(json!({})), "templates/part.html:2:16: `customer.first_name` may be missing and is missing here");
    assert_eq!(
        at(json!({ "customer": { "first_name": "Mia" } })),
        "templates/a.html:6:9: `customer.last_name` may be missing and is missing here"
    );
}

#[test]
fn what_cannot_be_prepared_is_rendered_all_the_same_and_told() {
    let body =
        "{% set_global tone = \"a\" %}{% include \"part.html\" %}<p class=\"{% if tone == 'a' %}a{% endif %}\">t</p>";
    let mail = format!(
        "Subject: x\nPreheader: soon\n\n<body><style>.a {{ color: red }}</style>{body}<a href=\"https://www.example.com/\">x</a>{{{{ links.unsubscribe }}}}</body>"
    );
    let part = "{% set tone = \"b\" %}<i>{{ tone }}</i>";
    let files = [("templates/a.html", mail.as_str()), ("templates/part.html", part)];
    let (dir, settings) = project(&files);
    let mut snapshot = snapshot(dir.path(), &settings, &["a"]);
    snapshot.sender.base_url = Some("https://mail.example.com".into());
    let compiled = snapshot.compile().unwrap();
    assert!(!compiled.is_prepared("a"));
    let payload = json!({});
    let clicks = Tokens::new("a secret of the project").clicks(&MessageKey {
        customer_id: "c".into(),
        campaign: "a".into(),
        step: "s".into(),
        slot: "o".into(),
        topic: "t".into(),
    });
    let html = compiled.render("a", &Facts { clicks: Some(&clicks), ..facts(&payload, "en") }).unwrap().html;
    assert!(html.contains("<p style=\"color: red;\" class=\"a\">t</p>"), "{html}");
    assert!(html.contains(">soon</div>") && html.contains("href=\"https://mail.example.com/c/"), "{html}");
    assert!(problems(&files, "a").contains("[set-in-include]"), "{}", problems(&files, "a"));
}

#[test]
fn a_template_may_skip_a_person_with_a_reason() {
    let mail =
        "Subject: x\n\n{% if not order %}{{ skip(reason=\"never bought\") }}{% endif %}<p>{{ links.unsubscribe }}</p>";
    let compiled = compiled(&[("templates/a.html", mail)], &["a"]);
    let skipped = compiled.render("a", &facts(&json!({}), "en")).unwrap_err();
    assert_eq!(skipped.skipped.as_deref(), Some("never bought"));
    assert_eq!(skipped.to_string(), "templates/a.html:3:22: the template skips this person: never bought");
    let payload = json!({ "order": { "lines": [] } });
    assert!(compiled.render("a", &facts(&payload, "en")).is_ok());
    assert_eq!(problems(&[("templates/a.html", mail)], "a"), "");
}

#[test]
fn hostile_data_is_harmless_everywhere() {
    let mail = "Subject: {{ customer.first_name }}\n\n<style>p {{ color: red }}</style><p title=\"{{ customer.first_name }}\" style=\"color:{{ customer.first_name }}\">{{ customer.first_name }}</p>\n\
        <a href=\"{{ profile.last_viewed.url }}\">x</a><a href=\"https://www.example.com/?q={{ customer.first_name }}\">y</a>{{ links.unsubscribe }}".replace("{{ color: red }}", "{ color: red }");
    let compiled = compiled(&[("templates/a.html", &mail)], &["a"]);
    for hostile in [
        "\"><script>alert(1)</script>",
        "' onmouseover='x",
        "{{ brand.name }}{% raw %}",
        "</style><style>*{display:none}",
        "javascript:alert(1)",
        "\u{202e}evil\u{0}\r\nBcc: x@example.com",
        "日本\u{f0000}語",
        "&lt;b&gt;&#106;avascript:",
        "<!--[if mso]>",
    ] {
        let payload =
            json!({ "customer": { "first_name": hostile }, "profile": { "last_viewed": { "url": hostile } } });
        let html = compiled.render("a", &facts(&payload, "en")).unwrap().html;
        let tags = |kind: &str| html.matches(kind).count();
        assert_eq!((tags("<p"), tags("<a"), tags("<script"), tags("<style"), tags("<!--")), (1, 2, 0, 1, 0), "{html}");
        let starts = |html: &str| {
            let pieces = super::super::markup::pieces(html, &[]);
            pieces
                .into_iter()
                .filter_map(|p| match p.kind {
                    super::super::markup::Kind::Start(s) => Some(s),
                    _ => None,
                })
                .collect::<Vec<_>>()
        };
        for start in starts(&html) {
            let names: Vec<&str> = start.attributes.iter().map(|a| a.name.as_str()).collect();
            assert!(
                matches!(
                    (start.name.as_str(), &names[..]),
                    ("p", ["title", "style"]) | ("a", ["href"]) | ("style", [])
                ),
                "{names:?} {html}"
            );
        }
        let href = html.split("href=\"").nth(1).unwrap().split('"').next().unwrap();
        assert!(!super::super::plain::decoded(href).trim().to_lowercase().starts_with("javascript:"), "{href}");
        assert!(!html.contains("brand.name }}</p>") || hostile.contains("brand"), "data is never compiled");
    }
}

#[test]
fn the_building_blocks_render_and_hold_whatever_they_are_given() {
    let read = |name: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap();
    let [kit, sign] = ["templates/components/kit.html", "templates/components/sign.html"];
    let mail = "Subject: x\n\n<body>{{<product_grid items={recommend} />}}{{<coupon code=\"KOMOREBI-10\" title=\"For you\" note={customer.first_name} />}}\
        {{<star_rating url=\"https://www.example.com/rate?stars=\" one=\"# star\" many=\"# stars\" />}}{{<nps_bar url=\"https://www.example.com/nps?score=\" least=\"no\" most=\"yes\" />}}\
        {{<button label={customer.first_name} url=\"https://www.example.com/\" brand={brand} />}}{{ links.unsubscribe }}</body>";
    let compiled = compiled(&[("templates/a.html", mail), (kit, &read(kit)), (sign, &read(sign))], &["a"]);
    assert!(compiled.is_prepared("a"), "{:?}", compiled.refusals().collect::<Vec<_>>());
    let mut payload = payload();
    payload["customer"]["first_name"] = json!("--><script>\"'");
    payload["recommend"][0]["price"] = json!(5_400);
    let mail = compiled.render("a", &facts(&payload, "en")).unwrap();
    assert!(
        !mail.html.contains("<script>") && mail.html.contains("€54.00") && mail.html.contains("KOMOREBI-10"),
        "{}",
        mail.html
    );
    assert!(
        mail.html.contains("<v:roundrect")
            && mail.html.contains("rate?stars=5\"")
            && mail.html.contains("nps?score=10\""),
        "{}",
        mail.html
    );
    assert_eq!((mail.html.matches("javascript").count(), mail.html.matches("<a ").count()), (0, 2 + 5 + 11 + 1));
    assert!(mail.text.contains("Lamp [1]") && mail.text.contains("KOMOREBI-10"), "{}", mail.text);
    assert!(mail.text.contains("1 star [2] 2 stars [3]"), "{}", mail.text);
}

/// What stands before the link that every mail must have.
fn said_for(body: &str, more: &[(&str, &str)], payload: &serde_json::Value) -> String {
    let text = format!("Subject: x\n\n{body}<p>{{{{ links.unsubscribe }}}}</p>");
    let mut files = vec![("templates/a.html", text.as_str())];
    files.extend(more.iter().copied());
    let shown = compiled(&files, &["a"]).render("a", &facts(payload, "en"));
    shown.map_or_else(|e| e.to_string(), |r| r.html.split("<p>https").next().unwrap_or_default().to_owned())
}

#[test]
fn what_is_decided_ahead_holds_for_people_that_nobody_invented() {
    let gold = json!({ "customer": { "tier": "gold", "sizes": { "top": "M", "ring": "52" }, "wish": "ring" } });
    let only = |body: &str| format!("{{% if customer.tier == \"gold\" %}}{body}{{% endif %}}");
    let sign = "{% component c(@signs: map = {}) %}[{{ signs.tea or \"none\" }}]{% endcomponent c %}\
                {% component d(signs: map) %}[{{ signs.tea }}]{% endcomponent d %}";
    let parts = [("templates/components/c.html", sign)];
    for (body, said) in [
        // Nothing is known of the brand but its name: Tera is told no nulls.
        ("{% if brand.contact %}<p>call us</p>{% else %}<p>none</p>{% endif %}", "<p>none</p>"),
        ("{% set signs = {\"tea\": \"T\"} %}<p>{{<c />}}</p>", "<p>[T]</p>"),
        ("{% set signs = {\"tea\": \"T\"} %}<p>{{<d signs />}}</p>", "<p>[T]</p>"),
        ("{% for size in customer.sizes %}<p>{{ size }}</p>{% endfor %}", "<p>M</p><p>52</p>"),
        ("<p>{{ customer.wish in customer.sizes }}</p>", "<p>true</p>"),
    ] {
        assert_eq!(said_for(&only(body), &parts, &gold), said, "{body}");
    }
}

#[test]
fn errors_name_values_as_their_author_did() {
    let body = "{% set signs = {\"tea\": \"T\"} %}<p>{{ signs.zen }}</p>";
    let text = format!("Subject: x\n\n{body}<p>{{{{ links.unsubscribe }}}}</p>");
    let failed = compiled(&[("templates/a.html", &text)], &["a"]).render("a", &facts(&json!({}), "en")).unwrap_err();
    assert_eq!(failed.field.as_deref(), Some("signs.zen"), "{failed}");
}
