use proptest::prelude::*;

use super::*;

fn money(locale: &str, minor: i64, code: &str) -> String {
    of(locale).money(minor, CurrencyType::try_from_str(code).unwrap())
}

/// What each locale says, in a line.
fn said<const N: usize>(locales: [&str; N], say: impl Fn(&Language) -> String) -> String {
    locales.map(|l| say(&of(l))).join(" | ")
}

#[test]
fn figures_stand_in_the_script_of_the_mail_and_the_country_of_the_reader() {
    for (written, person, figures) in [
        ("de", "de-AT", "de-AT"),
        ("en", "en_US.UTF-8", "en-US"),
        ("en", "en-us", "en-us"),
        ("en-GB", "en", "en-GB"),
        ("ja", "en-US", "ja"),
        ("sr-Latn", "sr-RS", "sr-Latn-RS"),
        ("sr", "sr-Latn-RS", "sr"),
        ("zh", "zh-TW", "zh"),
        ("zh-TW", "zh-TW", "zh-TW"),
        ("zh-TW", "zh-CN", "zh-TW"),
        ("de", "de-u-nu-arab", "de"),
        ("de", "de-AT-u-nu-arab", "de-AT"),
        ("es", "es-419", "es-419"),
        ("en", "", "en"),
        ("en", "日本", "en"),
    ] {
        assert_eq!(in_country(written, person), figures, "{written}, read by {person}");
    }
}

#[test]
fn money_follows_currency_and_language() {
    let all = |minor, code| ["en", "en-GB", "ja", "de-AT", "fr"].map(|l| money(l, minor, code)).join(" | ");
    assert_eq!(all(123_450, "EUR"), "€1,234.50 | €1,234.50 | €1,234.50 | 1.234,50\u{a0}€ | 1\u{202f}234,50\u{a0}€");
    assert_eq!(all(-1_234, "JPY"), "-¥1,234 | -¥1,234 | -1,234円 | -1.234\u{a0}¥ | -1\u{202f}234\u{a0}¥");
    assert_eq!(all(5, "USD"), "$0.05 | $0.05 | $0.05 | 0,05\u{a0}$ | 0,05\u{a0}$");
    assert_eq!(money("en", 1_234_567, "KWD"), "KWD\u{a0}1,234.567");
    assert_eq!(money("ja", i64::MIN, "JPY"), "-9,223,372,036,854,775,808円");
}

#[test]
fn money_of_other_languages_is_what_cldr_says() {
    assert_eq!(money("es", 123_450, "EUR"), "1234,50\u{a0}€");
    assert_eq!(money("es", 1_234_550, "EUR"), "12.345,50\u{a0}€");
    assert_eq!(money("es-MX", 1_234_550, "MXN"), "$12,345.50");
    assert_eq!(money("it", 123_450, "EUR"), "1234,50\u{a0}€");
    assert_eq!(money("pt-BR", 123_450, "BRL"), "R$\u{a0}1.234,50");
    assert_eq!(money("pl", 1_234_550, "PLN"), "12\u{a0}345,50\u{a0}zł");
    assert_eq!(money("sv", -123_450, "SEK"), "\u{2212}1\u{a0}234,50\u{a0}kr");
    assert_eq!(money("ko", -1_234, "KRW"), "-₩1,234");
    assert_eq!(money("zh-Hans", 123_450, "CNY"), "¥1,234.50");
    assert_eq!(money("zh-TW", 123_450, "TWD"), "$1,234.50");
    assert_eq!(money("hi", 123_456_750, "INR"), "₹12,34,567.50");
    assert_eq!(money("de-CH", -123_450, "CHF"), "CHF-1'234.50");
    assert_eq!(money("ar-EG", 123_450, "EGP"), "\u{200f}١٬٢٣٤٫٥٠\u{a0}ج.م.\u{200f}");
    assert_eq!(money("ar-EG-u-nu-latn", 123_450, "EGP"), "\u{200f}1,234.50\u{a0}ج.م.\u{200f}");
}

#[test]
fn all_of_an_amount_is_shown() {
    // CLDR rounds amounts of these currencies to whole ones; a price is what it is.
    assert_eq!(money("sr-Latn", 123_450, "RSD"), "1.234,50\u{a0}RSD");
    assert_eq!(money("en", 1_234, "IQD"), "IQD\u{a0}1.234");
}

#[test]
fn numbers_are_grouped_and_lose_idle_zeros() {
    let en = |v, d| of("en").number(v, d);
    assert_eq!(en(1_234_567.0, None), "1,234,567");
    assert_eq!(en(4.5, None), "4.5");
    assert_eq!(en(4.5, Some(2)), "4.50");
    assert_eq!(en(-0.001, None), "0");
    assert_eq!(of("de").number(-1_234.25, None), "-1.234,25");
    let all = said(["es", "it", "pl", "ko", "zh", "hi", "ar-EG", "fa", "th"], |l| l.number(-1_234_567.25, None));
    assert_eq!(
        all,
        "-1.234.567,25 | -1.234.567,25 | -1\u{a0}234\u{a0}567,25 | -1,234,567.25 | -1,234,567.25 | -12,34,567.25 | \
         \u{61c}-١٬٢٣٤٬٥٦٧٫٢٥ | \u{200e}\u{2212}۱٬۲۳۴٬۵۶۷٫۲۵ | -1,234,567.25"
    );
}

#[test]
fn dates_are_written_in_full() {
    let day = Date::constant(2026, 11, 1);
    let all = said(["en", "en-GB", "ja-JP", "de", "fr"], |l| l.date(day));
    assert_eq!(all, "November 1, 2026 | 1 November 2026 | 2026年11月1日 | 1. November 2026 | 1er novembre 2026");
    let all = said(["es", "it", "pt", "pl", "nl", "ko", "zh-Hant"], |l| l.date(day));
    assert_eq!(
        all,
        "1 de noviembre de 2026 | 1 novembre 2026 | 1 de novembro de 2026 | 1 listopada 2026 | 1 november 2026 | \
         2026년 11월 1일 | 2026年11月1日"
    );
    assert_eq!(of("fr").date(Date::constant(2026, 2, 11)), "11 février 2026");
    assert_eq!(of("de-AT").date(Date::constant(2026, 1, 2)), "2. Jänner 2026");
}

#[test]
fn the_calendar_is_gregorian_everywhere() {
    let all = said(["th", "fa", "ar-SA", "ja-u-ca-japanese", "ar-EG"], |l| l.date(Date::constant(2026, 11, 1)));
    assert_eq!(all, "1 พฤศจิกายน ค.ศ. 2026 | ۱ نوامبر ۲۰۲۶ | ١ نوفمبر ٢٠٢٦ | 2026年11月1日 | ١ نوفمبر ٢٠٢٦");
}

#[test]
fn days_are_near_or_far_in_words() {
    let all = |days| said(["en", "ja", "de", "fr"], |l| l.relative(days));
    assert_eq!(all(0), "today | 今日 | heute | aujourd’hui");
    assert_eq!(all(-1), "yesterday | 昨日 | gestern | hier");
    assert_eq!(all(2), "in 2 days | 明後日 | übermorgen | après-demain");
    assert_eq!(all(-13), "13 days ago | 13日前 | vor 13 Tagen | il y a 13 jours");
    assert_eq!(all(14), "in 2 weeks | 2週間後 | in 2 Wochen | dans 2 semaines");
    assert_eq!(all(-90), "3 months ago | 3か月前 | vor 3 Monaten | il y a 3 mois");
    assert_eq!(all(-800), "2 years ago | 2年前 | vor 2 Jahren | il y a 2 ans");
    assert_eq!(of("en-GB").relative(i64::MIN), "25269512429739112 years ago");
    let all = |days| said(["es", "it", "pl", "ko", "ar-EG", "zh"], |l| l.relative(days));
    assert_eq!(all(-1), "ayer | ieri | wczoraj | 어제 | أمس | 昨天");
    assert_eq!(all(-5), "hace 5 días | 5 giorni fa | 5 dni temu | 5일 전 | قبل ٥ أيام | 5天前");
    // Two years as 365 days have them may be the third year of the calendar.
    assert_eq!(all(-900), "hace 2 años | 2 anni fa | 2 lata temu | 2년 전 | قبل سنتين | 2年前");
}

#[test]
fn lists_end_as_people_end_them() {
    let all = |items: &[&str], or| {
        let items: Vec<String> = items.iter().map(|i| (*i).to_owned()).collect();
        said(["en", "en-GB", "ja", "de", "fr"], |l| l.list(&items, or))
    };
    assert_eq!(all(&[], false), " |  |  |  | ");
    assert_eq!(all(&["a"], false), "a | a | a | a | a");
    assert_eq!(all(&["a", "b"], true), "a or b | a or b | aまたはb | a oder b | a ou b");
    assert_eq!(all(&["a", "b", "c"], false), "a, b, and c | a, b and c | a、b、c | a, b und c | a, b et c");
    let items = ["Mia", "Íñigo", "Inés"].map(str::to_owned);
    let all = said(["es", "it", "pl", "ko", "ar", "zh"], |l| l.list(&items, false));
    assert_eq!(
        all,
        "Mia, Íñigo e Inés | Mia, Íñigo e Inés | Mia, Íñigo i Inés | Mia, Íñigo 및 Inés | Mia وÍñigo وInés | Mia、Íñigo和Inés"
    );
}

#[test]
fn numbers_take_the_form_of_the_language() {
    let forms = |locale: &str| [0.0, 1.0, 2.0, 5.0, 1.5].map(|n| format!("{:?}", of(locale).form(n))).join(" ");
    assert_eq!(forms("en"), "Other One Other Other Other");
    assert_eq!(forms("ja-JP"), "Other Other Other Other Other");
    assert_eq!(forms("fr"), "One One Other Other Other");
    assert_eq!(forms("pl"), "Many One Few Many Other");
    assert_eq!(forms("ar_EG"), "Zero One Two Few Other");
}

#[test]
fn a_locale_may_say_anything() {
    let date = |locale: &str| of(locale).date(Date::constant(2026, 11, 24));
    for english in ["", "und", "xx", "tlh-Piqd", "garbage", "日本語", "-", "_US", "xx!!"] {
        assert_eq!(date(english), "November 24, 2026", "{english}");
        assert!(!is_known(english), "{english}");
    }
    for (odd, plain) in [
        ("en_GB", "en-GB"),
        ("en_GB.UTF-8", "en-GB"),
        ("de_AT@euro", "de-AT"),
        ("ja-JP-mac", "ja"),
        ("JA", "ja"),
        ("es-419-x", "es-419"),
        ("pt-BR", "pt"),
        ("zh-TW", "zh-Hant"),
        ("nb", "no"),
        ("iw", "he"),
        ("in_ID", "id"),
    ] {
        assert_eq!(date(odd), date(plain), "{odd}");
        assert!(is_known(odd), "{odd}");
    }
    assert_eq!(read(&"a-".repeat(1_000_000)), Locale::UNKNOWN);
}

#[test]
fn a_thread_remembers_the_last_locales() {
    for n in 0..2 * REMEMBERED_MAX {
        of(&format!("en-x-{n}"));
    }
    assert_eq!(SPOKEN.with_borrow(Vec::len), REMEMBERED_MAX);
    assert!(Rc::ptr_eq(&of("en-x-1"), &of("en-x-1")));
}

/// Locales as they should be, nearly are, and never were.
fn locales() -> impl Strategy<Value = String> {
    let tag = "[a-z]{2,3}([-_][A-Z][a-z]{3})?([-_][A-Z]{2})?(-u-nu-[a-z]{4})?";
    prop_oneof![tag, "[a-z]{2}(-[a-z0-9]{1,9}){0,4}", any::<String>()]
}

proptest! {
    #[test]
    fn nothing_fails(
        locale in locales(),
        code in "[A-Za-z]{3}",
        minor in any::<i64>(),
        value in -1e300..1e300_f64,
        decimals in proptest::option::of(0..13_usize),
        (year, month, day) in (-9999..=9999_i16, 1..=12_i8, 1..=28_i8),
        items in proptest::collection::vec(any::<String>(), 0..5),
    ) {
        let language = of(&locale);
        let mut said = vec![money(&locale, minor, &code), language.number(value, decimals), language.relative(minor)];
        said.push(language.date(Date::new(year, month, day).unwrap()));
        prop_assert!(said.iter().all(|text| !text.is_empty()));
        let all = language.list(&items, minor % 2 == 0);
        prop_assert!(items.iter().all(|item| all.contains(item.as_str())));
        language.form(value);
    }
}
