use proptest::prelude::*;

use super::*;

fn brand() -> Json {
    serde_json::json!({ "name": "Tea & co", "url": "https://example.com/", "tagline": "", "logo": null, "odd": "{{ x }}", "n": 0, "of": { "a": "b" }, "contact": { "email": null } })
}

fn context() -> Json {
    serde_json::json!({ "brand": { "name": "Tea & co", "url": "https://example.com/", "tagline": "", "odd": "{{ x }}", "n": 0, "of": { "a": "b" }, "contact": {} }, "x": "y < z", "n": 3, "no": "", "xs": [{ "k": "tea" }, { "k": "music" }, { "k": "none" }] })
}

fn rendered(text: &str, tables: &BTreeMap<String, Json>) -> String {
    let mut tera = tera::Tera::new();
    tera.autoescape_on([".html"]);
    if let Err(e) = tera.add_raw_templates([("a.html", text)]) {
        panic!("{e}\n{text}");
    }
    for (name, table) in tables {
        tera.global_context().insert(name.clone(), table);
    }
    let context = tera::Context::from_serialize(&context()).unwrap();
    tera.render("a.html", &context).unwrap_or_else(|_| "an error".to_owned())
}

fn of(text: &str) -> String {
    decided(&Mapped::of("a", text), &brand()).text
}

#[test]
fn what_is_certain_is_answered_and_the_rest_is_still_asked() {
    for (text, answered) in [
        ("{% if brand.url %}a{{ brand.url }}{% endif %}", "ahttps://example.com/"),
        ("{% if brand.logo %}a{% elif x %}b{% else %}c{% endif %}", "{% if x %}b{% else %}c{% endif %}"),
        ("{% if x %}a{% elif true %}b{% elif no %}c{% else %}d{% endif %}", "{% if x %}a{% else %}b{% endif %}"),
        ("{% if \"t\" and x %}a{% endif %}", "{% if x %}a{% endif %}"),
        ("{% if x and 1 and no %}a{% endif %}", "{% if x and no %}a{% endif %}"),
        ("{% if not brand.tagline %}{% if brand.n %}a{% else %}b{% endif %}{% endif %}", "b"),
        ("<p style=\"width:{{ \"118\" if true else \"56\" }}px\">{{ 280 }}</p>", "<p style=\"width:118px\">280</p>"),
        ("{{ \"a < b\" if \"\" else brand.name }}", "Tea &amp; co"),
        ("{{ x | upper if false else x | lower }}", "{{ x | lower }}"),
        ("{%- if false -%} a {%- else -%} b {%- endif -%}", "{#- -#} b {#- -#}"),
        (
            "{% if false %}a{% endif %}{% for x in xs %}{% if false %}b{% endif %}{% endfor %}",
            "{% for x in xs %}{% endfor %}",
        ),
    ] {
        assert_eq!(of(text), answered, "{text}");
    }
    for open in [
        "{% if x %}a{% endif %}",
        "{% if brand.of.a.deep %}a{% endif %}",
        "{% if brand.none.deep %}a{% endif %}",
        "{% if true or x %}a{% endif %}",
        "{% if x.y and false %}a{% endif %}",
        "{{ brand.odd }}",
        "{{ brand.logo }}",
        "{{ \"\" }}",
        "{{ \"a\\n\" }}",
        "{{ (\"a\" if true else \"b\") | upper }}",
        "{% raw %}{% if true %}{% endraw %}",
        "{% for brand in xs %}{% if brand.url %}a{% endif %}{% endfor %}",
        "{% set on = [true] %}{% for x in on %}{{ x | str }}{% endfor %}",
        "{% set on = [true] %}{% for x in on %}{% set y = x %}{% endfor %}",
        "{% set on = [true] %}{% for x in on %}a{% else %}b{% endfor %}",
        "{% set on = [true] %}{% for x in on %}{% for x in xs %}{% if x %}a{% endif %}{% endfor %}{% endfor %}",
    ] {
        assert_eq!(of(open), open);
    }
}

#[test]
fn tables_are_made_once_and_looked_up_as_before() {
    let text = "{% for x in xs -%} {% set signs = {\"tea\": \"茶\", \"music\": \"音\"} -%} {{ signs[x.k] | default(value=\"・\") }}{% endfor %}\
        {% if x %}{% set more = {\"tea\": \"茶\", \"music\": \"音\"} %}{{ more.tea }}{% endif %}";
    let (without, tables) = without_tables(&Mapped::of("a", text));
    assert_eq!(rendered(text, &BTreeMap::new()), rendered(&without.text, &tables), "{}", without.text);
    assert!(!without.text.contains("set"), "{}", without.text);
    assert_eq!(tables.keys().filter(|name| name.starts_with("signs__")).count(), 1, "{tables:?}");
    for kept in [
        // Set twice; seen where it may not have been set; not a table; not JSON's.
        "{% set a = {\"k\": 1} %}{% if x %}{% set a = {\"k\": 2} %}{% endif %}{{ a.k }}",
        "{% if no %}{% set a = {\"k\": 1} %}{% endif %}{{ a.k }}",
        "{{ a.k }}{% set a = {\"k\": 1} %}",
        "{% if x %}{% set a = {\"k\": 1} %}{% else %}{{ a.k }}{% endif %}",
        "{% set a = {\"k\": x} %}{{ a.k }}",
        "{% set a = {'k': 1} %}{{ a.k }}",
        "{% set a = [1, [2]] %}{{ a[0] }}",
        "{% set a = {\"k\": 1} %}{{<c a />}}",
    ] {
        assert_eq!(without_tables(&Mapped::of("a", kept)).0.text, kept);
    }
}

#[test]
fn a_comment_does_not_end_trimming() {
    for text in [
        "{{ x -}}{# c #}{% if true %} b{% endif %}",
        "{{ x -}}{# c #}{# d #}{% if true %} b{% endif %}",
        "{% if true -%}{# c #}{% if true %} b{% endif %}{% endif %}",
        "{% set on = [1, 2] %}{% for i in on %} b{{ x -}}{# c #}{% endfor %}",
    ] {
        assert_eq!(rendered(text, &BTreeMap::new()), rendered(&of(text), &BTreeMap::new()), "{text}");
    }
}

#[test]
fn what_loops_write_out_has_a_bound() {
    let list = (0..100).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
    let text = format!(
        "{{% set on = [{list}] %}}{}",
        format!("{{% for n in on %}}{{{{ n }}}} {}{{% endfor %}}", "x".repeat(80)).repeat(200)
    );
    assert!(of(&text).len() < 2 * ALL_WRITTEN_OUT_MAX);
}

/// Conditions, some of them certain, some errors.
fn asked() -> impl Strategy<Value = String> {
    let one = prop::sample::select(vec![
        "true",
        "false",
        "\"\"",
        "\"t\"",
        "1",
        "0",
        "x",
        "no",
        "xs",
        "not x",
        "not \"\"",
        "brand.url",
        "brand.logo",
        "brand.contact",
        "brand.tagline",
        "x.y",
        "x == \"y\"",
        "n",
        "loop.first",
    ]);
    prop::collection::vec((one, prop::sample::select(vec![" and ", " or ", " and "])), 1..4).prop_map(|parts| {
        let mut out = String::new();
        for (n, (part, joined)) in parts.iter().enumerate() {
            out.push_str(if n == 0 { "" } else { joined });
            out.push_str(part);
        }
        out
    })
}

fn piece() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        prop::sample::select(vec![
            "a",
            " ",
            " b ",
            "\n",
            "{{ x }}",
            "{{- \"t\" -}}",
            "{{ 1 }}",
            "{{ brand.name }}",
            "{{ \"\" }}",
            "{#- c -#}",
            "{# c #}",
            "{% set signs = {\"k\": \"v\"} -%}{{ signs.k }}"
        ])
        .prop_map(str::to_owned),
        asked().prop_map(|asked| format!("{{{{ \"p\" if {asked} else \"q\" }}}}")),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let body = prop::collection::vec(inner, 0..4).prop_map(|parts| parts.concat());
        let dashes = prop::collection::vec(prop::bool::weighted(0.3), 6);
        (asked(), asked(), body.clone(), body.clone(), body, dashes, 0..5_usize).prop_map(
            |(first, second, a, b, c, dashes, form)| {
                let mut dashes = dashes.into_iter().map(|d| if d { "-" } else { "" });
                let mut tag = |says: &str| {
                    format!(
                        "{{%{} {says} {}%}}",
                        dashes.next().unwrap_or_default(),
                        dashes.next().unwrap_or_default()
                    )
                };
                let open = tag(&format!("if {first}"));
                let middle = tag(&format!("elif {second}"));
                let last = tag("else");
                match form {
                    0 => format!("{open}{a}{{% endif -%}}"),
                    1 => format!("{open}{a}{last}{b}{{% endif %}}"),
                    2 => format!("{open}{a}{middle}{b}{last}{c}{{%- endif %}}"),
                    3 => format!("{{%- for n in ns -%}}{a} {open}{{{{ n }}}}{last}{{{{ loop.index }}}}{{% endif %}}{b}{{% endfor %}}"),
                    _ => format!("{{%- for x in xs %}}{open}{a}{middle}{b}{{% endif %}}{c}{{% endfor -%}}"),
                }
            },
        )
    })
}

proptest! {
    #[test]
    fn an_answered_template_says_what_it_said(parts in prop::collection::vec(piece(), 1..5)) {
        let text = format!("{{% set ns = [0, 5, \"a\"] %}}{}", parts.concat());
        let answered = decided(&Mapped::of("a", &text), &brand());
        let (without, tables) = without_tables(&answered);
        prop_assert_eq!(rendered(&text, &BTreeMap::new()), rendered(&without.text, &tables), "{}", without.text);
    }
}
