//! Styles reach the elements a style sheet means, and nothing else of the template changes.

use super::super::mapped::Mapped;
use super::super::unit::Unit;
use super::*;

fn spliced(source: &str) -> Result<String, String> {
    let mapped = Mapped::of("a", source);
    let units = [Unit::new("", &mapped)];
    edits(&units).map(|mut e| mapped.edited(e.remove(0)).text).map_err(|r| format!("{}: {}", r.code, r.message))
}

#[test]
fn loops_and_conditions_inside_tables_stay_where_they_are() {
    let source = "<!DOCTYPE html><style>td { color: red } .big td { margin: 0 } @media (max-width: 1px) { td { color: blue } } a:hover { color: {{ brand.colour }} }</style>\
        <table class=big>{% for x in xs %}<tr>{% if x.a %}<td style=\"padding:{{ x.p }}px\">{{ x.a }}</td>{% else %}<td>&nbsp;</td>{% endif %}</tr>{% endfor %}</table>";
    insta::assert_snapshot!(spliced(source).unwrap(), @r#"
    <!DOCTYPE html><style>@media (max-width: 1px) { td { color: blue } }
    a:hover { color: {{ brand.colour }}; }</style><table class=big>{% for x in xs %}<tr>{% if x.a %}<td style="color: red;margin: 0;padding:{{ x.p }}px">{{ x.a }}</td>{% else %}<td style="color: red;margin: 0;">&nbsp;</td>{% endif %}</tr>{% endfor %}</table>
    "#);
}

#[test]
fn a_condition_that_decides_styles_is_asked_again() {
    let source = "<style>.a { color: red } .b { color: blue } .b p { margin: 0 } p { padding: 1px }</style>\
        <div class=\"{% if big %}a{% elif small %}b{% endif %} x\"><p>t</p></div>";
    insta::assert_snapshot!(spliced(source).unwrap(), @r#"<style>.a { color: red; }</style><div style="{% if big %}color: red;{% elif small %}color: blue;{% endif %}" class="{% if big %}a{% elif small %}b{% endif %} x"><p style="{% if big %}padding: 1px;{% elif small %}padding: 1px;margin: 0;{% else %}padding: 1px;{% endif %}">t</p></div>"#);
    let unbalanced =
        "<style>.a p { color: red }</style>{% if a %}<div class=a>{% else %}<div>{% endif %}<p>t</p></div>";
    insta::assert_snapshot!(spliced(unbalanced).unwrap(), @r#"<style></style>{% if a %}<div class=a>{% else %}<div>{% endif %}<p style="{% if a %}color: red;{% endif %}">t</p></div>"#);
    let sheet = "<style>{% if dark %}p { color: white }{% endif %} i { margin: 0 }</style><p>t</p><i>u</i>";
    insta::assert_snapshot!(spliced(sheet).unwrap(), @r#"<style></style><p style="{% if dark %}color: white;{% endif %}">t</p><i style="margin: 0;">u</i>"#);
}

#[test]
fn what_cannot_be_decided_ahead_is_refused() {
    let many: String = (0..7).map(|i| format!("<p class=\"{{% if a{i} %}}x{{% endif %}}\">t</p>")).collect();
    assert!(spliced(&format!("<style>.x {{ color: red }}</style>{many}")).unwrap_err().starts_with("too-many-styles"));
    let loops = "<style>.x ~ p { color: red }</style>{% for i in xs %}<i class=\"{% if i %}x{% endif %}\"></i>{% endfor %}<p>t</p>";
    assert!(spliced(loops).unwrap_err().starts_with("loop-condition"), "{:?}", spliced(loops));
}

#[test]
fn quotes_importance_and_own_styles_keep_their_order() {
    let source = "<style>p { font-family: \"Noto Serif\", serif; color: red !important } i { color: {{ c | default(value=\"red\") }} }</style>\
        <p style='color:blue'>a</p><P STYLE=\"\">b</P><p style=margin:0>c</p><i>d</i>";
    insta::assert_snapshot!(spliced(source).unwrap(), @r#"<style></style><p style='font-family: "Noto Serif", serif;color: red !important;color:blue'>a</p><P STYLE="font-family: 'Noto Serif', serif;color: red !important;">b</P><p style="font-family: 'Noto Serif', serif;color: red !important;margin:0">c</p><i style="color: {{ c | default(value="red") }};">d</i>"#);
}

#[test]
fn a_template_without_rules_is_untouched() {
    for source in [
        "",
        "<p>a</p>",
        "<style> </style><p>",
        "{{ x }}<td>",
        "<!--[if mso]><style>p{color:red}</style><![endif]--><p>",
    ] {
        assert_eq!(spliced(source).unwrap(), source);
    }
}
