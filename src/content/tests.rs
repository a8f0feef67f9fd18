//! The room as others use it: real files, from loading to rendering.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::*;

mod corpus;
mod pipeline;

use crate::problem::{Place, Problems};
use crate::settings::{Project, Settings};

const SETTINGS: &str = "project: shop\ncurrency: EUR\nsender:\n  from: hello@shop.example.com\n  organisation: Shop Ltd\n  \
    postal_address: 1 Road\nsmtp: smtp://127.0.0.1:25\nlinks: { secret: \"${S:-0123456789abcdef}\" }\n";

fn project(files: &[(&str, &str)]) -> (tempfile::TempDir, Settings) {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in [("okaeri.yaml", SETTINGS)].iter().chain(files) {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let mut problems = Problems::new();
    let project = Project::load_with(dir.path(), |_| None, &mut problems);
    (dir, project.unwrap_or_else(|| panic!("{}", problems.to_text())).settings)
}

fn wanted(name: &str) -> Wanted {
    Wanted {
        name: name.into(),
        promotional: true,
        tracked: true,
        place: Place { file: "campaigns/a.yaml".into(), line: 9, column: 15 },
        recommends: None,
        rewards: None,
    }
}

/// All problems of loading and checking one template.
fn problems(files: &[(&str, &str)], name: &str) -> String {
    problems_of(files, &[wanted(name)])
}

fn problems_of(files: &[(&str, &str)], wanted: &[Wanted]) -> String {
    let (dir, settings) = project(files);
    let mut problems = Problems::new();
    if let Some(set) = TemplateSet::load(dir.path(), wanted, &settings, &mut problems) {
        set.check(&settings, None, &mut problems);
    }
    anstream::adapter::strip_str(&problems.to_text()).to_string()
}

fn compiled(files: &[(&str, &str)], names: &[&str]) -> Arc<Compiled> {
    let (dir, settings) = project(files);
    snapshot(dir.path(), &settings, names).compile().unwrap()
}

fn snapshot(dir: &Path, settings: &Settings, names: &[&str]) -> Snapshot {
    let mut problems = Problems::new();
    let wanted: Vec<Wanted> = names.iter().map(|n| wanted(n)).collect();
    let set = TemplateSet::load(dir, &wanted, settings, &mut problems);
    let set = set.unwrap_or_else(|| panic!("{}", problems.to_text()));
    Snapshot::take(&set, SenderValues::of(settings).unwrap())
}

/// A test that cannot run says so with this and returns. Where everything must be there (`OKAERI_NO_SKIP`), it fails.
pub(super) fn skipped(why: &str) {
    assert!(std::env::var_os("OKAERI_NO_SKIP").is_none(), "a test was left out: {why}");
    println!("SKIPPED: {why}");
}

fn facts<'a>(payload: &'a serde_json::Value, locale: &'a str) -> Facts<'a> {
    Facts {
        payload,
        customer_id: "c-1",
        email: "mia@example.com",
        locale,
        campaign: "win-back",
        campaign_title: "Come home",
        step: "letter",
        unsubscribe: "https://mail.example.com/u/T",
        preferences: None,
        clicks: None,
        today: "2026-11-24",
    }
}

#[test]
fn the_locale_chooses_the_file_and_how_numbers_are_written() {
    let mail = |word: &str| format!("Subject: {word}\n\n{{{{ profile.revenue | money }}}} {{{{ today | date }}}}");
    let (en, ja, taiwan) = (mail("Hello"), mail("こんにちは"), mail("您好"));
    // What is constant is written in the reader's way all the same.
    let es = format!("{} {{{{ 0.5 | number }}}}", mail("¡Hola!"));
    let compiled = compiled(
        &[
            ("templates/a/b.html", &en),
            ("templates/a/b.ja.html", &ja),
            ("templates/a/b.zh-Hant-TW.html", &taiwan),
            ("templates/a/b.es.html", &es),
            ("templates/a/b-2.html", &en),
        ],
        &["a/b"],
    );
    let payload = serde_json::json!({ "profile": { "revenue": 123_456 }, "today": "2026-12-24" });
    let render = |locale: &str| {
        let rendered = compiled.render("a/b", &facts(&payload, locale)).unwrap();
        format!("{} {}", rendered.subject, rendered.html)
    };
    assert_eq!(render("ja-JP"), "こんにちは €1,234.56 2026年12月24日");
    assert_eq!(render("JA_jp"), "こんにちは €1,234.56 2026年12月24日");
    assert_eq!(render("zh-hant-tw"), "您好 €1,234.56 2026年12月24日");
    assert_eq!(render("es-ES"), "¡Hola! 1234,56\u{a0}€ 24 de diciembre de 2026 0,5");
    assert_eq!(render("es-CO"), "¡Hola! €\u{a0}1.234,56 24 de diciembre de 2026 0,5");
    // A German reads the English mail: its numbers are English too. A Briton reads it in British.
    assert_eq!(render("de"), "Hello €1,234.56 December 24, 2026");
    assert_eq!(render("en-GB"), "Hello €1,234.56 24 December 2026");
    assert_eq!(render(""), "Hello €1,234.56 December 24, 2026");
    assert_eq!(compiled.locales("a/b").count(), 4);
}

#[test]
fn data_is_escaped_in_html_and_only_there_and_never_compiled() {
    let compiled = compiled(
        &[
            (
                "templates/a.html",
                "Subject: Hi {{ customer.first_name }}\nPreheader: {{ customer.first_name }}!\n\n<p title=\"{{ customer.first_name }}\">{{ preheader }}</p>",
            ),
            ("templates/a.txt", "{{ customer.first_name }} {{ brand.name }}"),
        ],
        &["a"],
    );
    let payload = serde_json::json!({ "customer": { "first_name": "\"<b>{{ brand }}{% raw %}&", "last_name": null } });
    let rendered = compiled.render("a", &facts(&payload, "en")).unwrap();
    assert_eq!(rendered.subject, "Hi \"<b>{{ brand }}{% raw %}&");
    assert_eq!(
        rendered.html,
        "<p title=\"&quot;&lt;b&gt;{{ brand }}{% raw %}&amp;\">&quot;&lt;b&gt;{{ brand }}{% raw %}&amp;!</p>"
    );
    assert_eq!(rendered.text, "\"<b>{{ brand }}{% raw %}& shop");
}

#[test]
fn a_snapshot_renders_what_was_pinned_whatever_happens_to_the_files() {
    let (dir, settings) = project(&[
        (
            "templates/a.html",
            "Subject: x\n\n{% extends 'parts/frame.html' %}{% block body %}{{<b t={today} />}}{% endblock body %}",
        ),
        ("templates/parts/frame.html", "<i>{% block body %}{% endblock body %}</i>"),
        ("templates/parts/pieces.html", "{% component b(t: string) %}<b>{{ t | date }}</b>{% endcomponent b %}"),
        ("templates/unrelated.html", "Subject {% broken"),
    ]);
    let pinned = snapshot(dir.path(), &settings, &["a"]);
    let id = pinned.id();
    fs::write(dir.path().join("templates/parts/frame.html"), "changed").unwrap();
    let restored = Snapshot::from_json(&pinned.to_json()).unwrap();
    assert_eq!((restored.id(), id.len()), (id, 64));
    let payload = serde_json::json!({});
    let rendered = restored.compile().unwrap().render("a", &facts(&payload, "en")).unwrap();
    assert_eq!(rendered.html, "<i><b>November 24, 2026</b></i>");
    assert_eq!(rendered.text, "November 24, 2026\n");
    assert!(Snapshot::from_json("{}").is_err());
}

#[test]
fn a_missing_value_is_an_error_at_the_authors_line_also_in_an_included_file() {
    let compiled = compiled(
        &[
            ("templates/a.html", "Subject: x\n\n<p>\n{% include \"parts/name.html\" %}"),
            ("templates/parts/name.html", "<b>\n  {{ customer.first_name }}</b>"),
        ],
        &["a"],
    );
    let payload = serde_json::json!({ "customer": { "first_name": null } });
    let error = compiled.render("a", &facts(&payload, "en")).unwrap_err();
    assert_eq!(error.field.as_deref(), Some("customer.first_name"));
    assert_eq!((&*error.place.file, error.place.line), ("templates/parts/name.html", 2));
    assert!(compiled.render("b", &facts(&payload, "en")).is_err());
}

#[test]
fn fields_used_are_those_of_all_files_together() {
    let (dir, settings) = project(&[
        (
            "templates/a.html",
            "Subject: {{ customer.points | default(value=0) }}\n\n{% include 'p.html' %}{{ links.unsubscribe }}",
        ),
        ("templates/p.html", "{% for l in order.lines %}{{ l.name }}{% endfor %}{{ profile.orders }}"),
        ("templates/other.html", "{{ profile.revenue }}"),
    ]);
    let set = TemplateSet::load(dir.path(), &[wanted("a")], &settings, &mut Problems::new()).unwrap();
    let fields = set.fields_used();
    assert!(fields.order && fields.customer.contains("points") && fields.customer.contains("last_name"));
    assert!(fields.profile.contains("orders") && !fields.profile.contains("revenue"));
}

#[test]
fn mistakes_in_files_are_told_at_once_and_exactly() {
    insta::assert_snapshot!(problems(&[
        ("templates/win-back/letter.html", "Subjekt: a\nSubject: {{ a | mony }}\n\n<p>{{ 1 + }}</p>\n{% include 'parts/fot.html' %}{% include '../okaeri.yaml' %}\n{{<buton />}}"),
        ("templates/win-back/letter.ja.txt", "text"),
        ("templates/win-back/letter.de.mjml", "<mjml>"),
        ("templates/parts/foot.html", "{% component button() %}{% endcomponent %}"),
    ], "win-back/letter"), @r#"
    templates/win-back/letter.de.mjml:1:1: error: a mail needs a subject [missing-subject]
        begin the file with `Subject: …`, then an empty line, then the body
    templates/win-back/letter.html:1:1: error: `Subjekt:` is not a header of a template [unknown-header]
        did you mean `Subject`?
    templates/win-back/letter.html:2:17: error: there is no filter `mony` [unknown-filter]
        did you mean `money`?
    templates/win-back/letter.html:4:11: error: found `}}` but expected one of: integer, float, string, bool, ident, `-`, `not`, `<`, `{`, `[` or `(` [template-syntax]
    templates/win-back/letter.html:5:12: error: there is no template templates/parts/fot.html [missing-template]
        did you mean `parts/foot.html`?
    templates/win-back/letter.html:5:42: error: `../okaeri.yaml` leads out of templates/ [template-outside]
        templates are named by their path below templates/: parts/frame.html
    templates/win-back/letter.html:6:3: error: there is no component `buton` [missing-component]
        did you mean `button`?
    templates/win-back/letter.ja.txt: error: a text part without its mail [text-without-html]
        the mail would be templates/win-back/letter.ja.html
    8 errors and 0 warnings
    "#);
    insta::assert_snapshot!(problems(&[("templates/win-back/letter.html", "Subject: x\n\n")], "win-back/leter"), @r#"
    campaigns/a.yaml:9:15: error: there is no template templates/win-back/leter.html [missing-template]
        did you mean `win-back/letter`?
    1 error and 0 warnings
    "#);
    insta::assert_snapshot!(problems(&[("templates/a.ja.html", "Subject: x\n\n")], "a"), @r#"
    campaigns/a.yaml:9:15: error: `a` has no default: templates/a.html [missing-template]
        the default is for people whose language has no file of its own
    1 error and 0 warnings
    "#);
    insta::assert_snapshot!(problems(&[], "../secret"), @r#"
    campaigns/a.yaml:9:15: error: `../secret` leads out of templates/ [template-outside]
        a template is named by its path below templates/, without an ending: win-back/letter
    1 error and 0 warnings
    "#);
}

#[test]
fn names_and_missing_values_are_told_without_any_data() {
    insta::assert_snapshot!(problems(&[("templates/a.html",
        "Subject: {{ custmer.first_name }}\n\n{{ profile.order }}{{ customer.frist_name | default(value='') }}\n  {{ profile.last_viewed.nam }}{{ reward.code }}{{ links.unsubscribe }}")], "a"), @r#"
    templates/a.html:1:13: error: `custmer` is not known to templates [unknown-variable]
        did you mean `customer`?
    templates/a.html:3:4: error: `profile.order` is not known to templates [unknown-variable]
        did you mean `orders`?
    templates/a.html:3:23: warning: `customer.frist_name` is not a field every project has [unknown-attribute]
        did you mean `first_name`? An attribute of your own is fine
    templates/a.html:4:6: error: `profile.last_viewed.nam` is not known to templates [unknown-variable]
        did you mean `name`?
    3 errors and 1 warning
    "#);
    insta::assert_snapshot!(problems(&[("templates/a.html",
        "Subject: Hello {{ customer.first_name }}\n\n{{ customer.points | number }}\n{{ links.unsubscribe }}")], "a"), @r#"
    templates/a.html:1:28: error: `customer.first_name` may be missing [template-fails]
        give it a default: customer.first_name | default(value="…"), or ask first: {% if customer.first_name %}
    templates/a.html:3:22: error: `customer.points` may be missing [template-fails]
        give it a default: customer.points | default(value="…"), or ask first: {% if customer.points %}
    2 errors and 0 warnings
    "#);
    insta::assert_snapshot!(problems(&[("templates/a.html", "Subject: Hello\n\n{% if customer.first_name %}{{ links.unsubscribe }}{% endif %}{{ profile.top_category | default(value='x') | date }}")], "a"), @r#"
    templates/a.html:3:110: error: `date` takes a date such as 2026-11-24, not string [template-fails]
    1 error and 0 warnings
    "#);
    insta::assert_snapshot!(problems(&[("templates/a.html", "Subject: Hello\n\n<p>{{ today | date }}</p>")], "a"), @r#"
    templates/a.html: error: the HTML of a promotional mail needs the unsubscribe link [missing-unsubscribe]
        write <a href="{{ links.unsubscribe }}">…</a> in HTML, {{ links.unsubscribe }} in text
    templates/a.html: error: the text of a promotional mail needs the unsubscribe link [missing-unsubscribe]
        write <a href="{{ links.unsubscribe }}">…</a> in HTML, {{ links.unsubscribe }} in text
    2 errors and 0 warnings
    "#);
    insta::assert_snapshot!(problems(&[("templates/a.html", "Subject: Hello\n\n{{ profile.last_viewed.name }}<a href='{{ links.unsubscribe }}'>x</a>")], "a"), @r#"
    templates/a.html:3:12: error: `profile.last_viewed.name` may be missing [template-fails]
        `profile.last_viewed` itself may be missing, so ask for that first: {% if profile.last_viewed %}
    1 error and 0 warnings
    "#);
    assert_eq!(
        problems(
            &[(
                "templates/a.html",
                "Subject: Hi\n\n{% if customer.points > 3 %}!{% endif %}<a href='{{ links.unsubscribe }}'>x</a>"
            )],
            "a"
        )
        .matches("error")
        .count(),
        2
    );
}

#[test]
fn a_preheader_is_shown_once_whatever_other_mails_of_the_project_do() {
    let own = "Subject: x\nPreheader: Soon\n\n{% extends 'parts/frame.html' %}{% block b %}Hello{% endblock b %}";
    let bare = "Subject: x\nPreheader: Soon\n\n<html><body class=\"preheader\"><p>Hello</p></body></html>";
    // A value that an included file sets and others use makes a mail take the slow way, which puts the preheader in as well.
    let slow = |frame: &str| {
        format!(
            "Subject: x\nPreheader: Soon\n\n{{% extends 'parts/{frame}' %}}{{% block b %}}{{% set x = 1 %}}{{{{ x }}}}{{% include 'parts/x.html' %}}{{% endblock b %}}"
        )
    };
    let compiled = compiled(
        &[
            ("templates/own.html", own),
            (
                "templates/parts/frame.html",
                "<html><body><i>{{ preheader }}</i>{% block b %}{% endblock b %}</body></html>",
            ),
            ("templates/bare.html", bare),
            ("templates/parts/bare.html", "<html><body><p>Hello</p>{% block b %}{% endblock b %}</body></html>"),
            ("templates/parts/x.html", "{% set x = 2 %}{{ x }}"),
            ("templates/slow.html", &slow("bare.html")),
            ("templates/slow-own.html", &slow("frame.html")),
        ],
        &["own", "bare", "slow", "slow-own"],
    );
    let payload = serde_json::json!({ "customer": { "locale": "en" } });
    for (name, prepared) in [("own", true), ("bare", true), ("slow", false), ("slow-own", false)] {
        assert_eq!(compiled.is_prepared(name), prepared, "{name}");
        let html = compiled.render(name, &facts(&payload, "en")).unwrap().html;
        assert_eq!(html.matches("Soon").count(), 1, "{name}: {html}");
    }
}

#[test]
fn an_answer_that_nobody_would_hear_is_told_before_it_is_asked() {
    let asks = "Subject: x\n\n<a href=\"{{ answer(event='survey.nps', score=9, of=10) }}\">9</a><a href=\"{{ links.unsubscribe }}\">stop</a>";
    let settings = |links: &str| ("okaeri.yaml", SETTINGS.replace("links: {", &format!("links: {{ {links}")));
    let told = |links: &str| {
        let (name, text) = settings(links);
        problems(&[(name, &text), ("templates/a.html", asks)], "a")
    };
    assert_eq!(told("base_url: \"https://mail.example.com\", "), "");
    assert!(told("").contains("nobody would hear the answer: set `links.base_url`"), "{}", told(""));
}

#[test]
fn a_link_out_of_the_folder_is_not_followed() {
    let (dir, settings) =
        project(&[("templates/a.html", "Subject: x\n\n{% include 'b.txt' %}"), ("secret.txt", "secret")]);
    std::os::unix::fs::symlink(dir.path().join("secret.txt"), dir.path().join("templates/b.txt")).unwrap();
    let mut problems = Problems::new();
    assert!(TemplateSet::load(dir.path(), &[wanted("a")], &settings, &mut problems).is_none());
    assert!(problems.to_text().contains("there is no template templates/b.txt"), "{}", problems.to_text());
}

#[test]
fn the_sample_shops_mails_have_no_problem_and_render_in_every_language() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut problems = Problems::new();
    let settings = Project::load_with(dir, |_| None, &mut problems).unwrap().settings;
    let names = ["welcome/hello", "win-back/letter", "recovery/sorry", "champions/thanks"];
    let wanted: Vec<Wanted> = names.iter().map(|n| wanted(n)).collect();
    let set = TemplateSet::load(dir, &wanted, &settings, &mut problems);
    if let Some(set) = &set {
        set.check(&settings, None, &mut problems);
    }
    assert!(problems.is_empty(), "{}", problems.to_text());
    let compiled = Snapshot::take(&set.unwrap(), SenderValues::of(&settings).unwrap()).compile().unwrap();
    for name in names {
        for (locale, mark) in [("en-GB", "Mia"), ("ja", "花岡様")] {
            let rendered = compiled.render(name, &facts(&sample_person(locale), locale)).unwrap();
            assert!(
                rendered.html.contains(mark) && rendered.text.contains("https://mail.example.com/u/T"),
                "{name} {locale}"
            );
        }
    }
}

const RECOMMENDING: &str = "Subject: For you\n\n<p>{% for item in recommend %}<a href=\"{{ item.url | default(value=\"https://shop.example.com\") }}\">\
    {{ item.name }}</a>{% if item.because %} because of {{ item.because | join(sep=\", \") }}{% endif %}{% endfor %}\
    <a href=\"{{ links.unsubscribe }}\">stop</a> {{ brand.organisation }}</p>";

fn recommending(name: &str, at_least: usize, at_most: usize) -> Wanted {
    let place = Place { file: "campaigns/a.yaml".into(), line: 10, column: 16 };
    Wanted { recommends: Some(Recommends { at_least, at_most, place }), ..wanted(name) }
}

#[test]
fn recommendations_are_shown_where_they_are_asked_for_and_only_there() {
    let files = [("templates/a.html", RECOMMENDING)];
    assert_eq!(problems_of(&files, &[recommending("a", 1, 4)]), "");
    insta::assert_snapshot!(problems_of(&files, &[wanted("a")]), @r#"
    templates/a.html:3:19: error: `recommend` is used here, and a step with this template does not say what to recommend [undeclared-recommend]
        in the campaign's step: recommend: { strategy: [again, popular], count: 4 }
    1 error and 0 warnings
    "#);
    // One of two campaigns with the same template asks for none.
    assert!(problems_of(&files, &[recommending("a", 1, 4), wanted("a")]).contains("undeclared-recommend"));
    let plain = "Subject: Hello\n\n<p><a href=\"{{ links.unsubscribe }}\">stop</a></p>";
    insta::assert_snapshot!(problems_of(&[("templates/a.html", plain)], &[recommending("a", 1, 4)]), @r#"
    campaigns/a.yaml:10:16: warning: the template `a` shows no recommendation [unused-recommend]
        show them: {% for item in recommend %} … {{ item.name }} … {% endfor %}, or remove `recommend`
    0 errors and 1 warning
    "#);
}

#[test]
fn what_a_product_may_lack_and_a_list_may_be_short_of_is_told() {
    let bare =
        RECOMMENDING.replace(" | default(value=\"https://shop.example.com\")", "").replace("item.name", "item.nmae");
    assert!(problems_of(&[("templates/a.html", &bare)], &[recommending("a", 1, 4)]).contains("nmae"));
    let bare = bare.replace("item.nmae", "item.name");
    insta::assert_snapshot!(problems_of(&[("templates/a.html", &bare)], &[recommending("a", 1, 4)]), @r#"
    templates/a.html:3:48: error: `item.url` may be missing [template-fails]
        give it a default: item.url | default(value="…"), or ask first: {% if item.url %}
    1 error and 0 warnings
    "#);
    let second = RECOMMENDING.replace("<p>", "<p>{{ recommend[1].name }}");
    assert!(problems_of(&[("templates/a.html", &second)], &[recommending("a", 1, 4)]).contains("template-fails"));
    assert_eq!(problems_of(&[("templates/a.html", &second)], &[recommending("a", 2, 4)]), "");
}
