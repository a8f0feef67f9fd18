//! How a value must look before it is hashed, and the hash. Pure.
//!
//! Two systems meet by equal hashes only, so each network says to the letter how a value is written: the sources stand beside the functions.
//! Whatever is empty stays empty: the hash of nothing would be one "person" whom everybody without a value shares.

use ring::digest;

/// SHA-256 of the UTF-8 text in lower-case hexadecimal; empty for an empty text.
pub fn hashed(text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    digest::digest(&digest::SHA256, text.as_bytes()).as_ref().iter().map(|b| format!("{b:02x}")).collect()
}

/// An address as Meta and X want it: without space around it, in small letters. Dots and `+tags` stay.
/// (Meta: Marketing API, Customer Information Parameters, `em`. X: Ads API, Custom Audiences User Data.)
pub fn email(address: &str) -> String {
    address.trim().to_lowercase()
}

/// An address as Google wants it: small letters, no space anywhere; for gmail.com and googlemail.com also without dots and without the
/// `+tag` before the @. (Data Manager API, Format user data, `email_address`.)
pub fn email_for_google(address: &str) -> String {
    let plain: String = email(address).chars().filter(|c| !c.is_whitespace()).collect();
    match plain.rsplit_once('@') {
        Some((local, domain @ ("gmail.com" | "googlemail.com"))) => {
            let local = local.split('+').next().unwrap_or_default().replace('.', "");
            format!("{local}@{domain}")
        }
        _ => plain,
    }
}

/// A name as Meta wants it: small letters without punctuation and, as Meta's own parameter builder does it, without space. Letters of any
/// script stay, accents too. (Customer Information Parameters, `fn` and `ln`.)
pub fn name_for_meta(name: &str) -> String {
    name.to_lowercase().chars().filter(|c| !c.is_whitespace() && !is_punctuation(*c)).collect()
}

/// Titles that are not part of a given name, and what follows a family name without being part of it.
const TITLES: [&str; 10] = ["mr", "mrs", "ms", "miss", "mx", "dr", "prof", "herr", "frau", "mme"];
const SUFFIXES: [&str; 7] = ["jr", "sr", "ii", "iii", "iv", "phd", "md"];

/// A given name as Google wants it: small letters, no punctuation, no title, words one space apart. (Data Manager API, `given_name`.)
pub fn given_name_for_google(name: &str) -> String {
    let words = words(name);
    let titles = words.iter().take(words.len().saturating_sub(1)).take_while(|w| TITLES.contains(&w.as_str())).count();
    words[titles..].join(" ")
}

/// A family name as Google wants it: the same, without `Jr.` and the like after it. (Data Manager API, `family_name`.)
pub fn family_name_for_google(name: &str) -> String {
    let words = words(name);
    let suffixes = words.iter().skip(1).rev().take_while(|w| SUFFIXES.contains(&w.as_str())).count();
    words[..words.len() - suffixes].join(" ")
}

/// The words in small letters without punctuation; a word that was nothing else is gone.
fn words(name: &str) -> Vec<String> {
    name.to_lowercase()
        .split_whitespace()
        .map(|w| w.chars().filter(|c| !is_punctuation(*c)).collect::<String>())
        .filter(|w| !w.is_empty())
        .collect()
}

/// Punctuation of the scripts that names are written in. 々 and ー are letters of Japanese names and stay.
fn is_punctuation(c: char) -> bool {
    c.is_ascii_punctuation()
        || matches!(c,
            '\u{a1}'..='\u{a9}' | '\u{ab}'..='\u{b4}' | '\u{b6}'..='\u{b8}' | '\u{bb}' | '\u{bf}' // Latin-1
            | '\u{2010}'..='\u{2027}' | '\u{2030}'..='\u{205e}'                                  // dashes, quotes, dots
            | '\u{3001}'..='\u{3004}' | '\u{3008}'..='\u{3020}' | '\u{30fb}' | '\u{30a0}'        // CJK
            | '\u{ff01}'..='\u{ff0f}' | '\u{ff1a}'..='\u{ff20}' | '\u{ff3b}'..='\u{ff40}'       // full width
            | '\u{ff5b}'..='\u{ff65}')
}

/// The countries of ISO 3166-1 alpha-2.
const COUNTRIES: &str = "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ \
    CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG \
    GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ \
    LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR \
    NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ \
    TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW";

/// A country as ISO 3166-1 alpha-2 in capital letters; empty when it is not one. `UK` is read as `GB`.
pub fn country(text: &str) -> String {
    let code = text.trim().to_uppercase();
    match code.as_str() {
        "UK" => "GB".to_owned(),
        code if COUNTRIES.split_ascii_whitespace().any(|known| known == code) => code.to_owned(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_never_hashed() {
        assert_eq!(hashed(""), "");
        assert_eq!(hashed(&name_for_meta(" . ")), "");
        assert_eq!(hashed(&given_name_for_google(" - ")), "");
        assert_eq!(hashed(&family_name_for_google("")), "");
        assert_eq!(hashed(&country("Germany")), "");
    }

    #[test]
    fn names_keep_their_letters_and_lose_the_rest() {
        for (name, meta) in [
            ("Mary", "mary"),
            ("Valéry", "valéry"),
            ("정", "정"),
            ("O’Brien", "obrien"),
            ("Anne-Marie", "annemarie"),
            (" John  Smith ", "johnsmith"),
            ("佐々木", "佐々木"),
            ("ジョー・スミス", "ジョースミス"),
            ("山田　太郎", "山田太郎"),
            ("ÇELİK", "çeli\u{307}k"),
        ] {
            assert_eq!(name_for_meta(name), meta, "{name}");
        }
    }

    #[test]
    fn google_names_lose_titles_and_suffixes_but_never_everything() {
        let given = ["Mrs. Anna  Maria", "Dr. Prof. Lee", "Dr.", "Drake", "  GivenName  ", "花子"];
        let wanted = ["anna maria", "lee", "dr", "drake", "givenname", "花子"];
        assert_eq!(given.map(given_name_for_google), wanted);
        let family = ["Smith Jr.", "Smith, III", "Jr", "van der Berg", "O'Neil  PhD MD", "佐々木"];
        let wanted = ["smith", "smith", "jr", "van der berg", "oneil", "佐々木"];
        assert_eq!(family.map(family_name_for_google), wanted);
    }

    #[test]
    fn only_gmail_loses_dots_and_tags() {
        for (address, google) in [
            ("cloudy.sanfrancisco+shopping@gmail.com", "cloudysanfrancisco@gmail.com"),
            ("Jefferson.LOVES.Hiking@googlemail.com", "jeffersonloveshiking@googlemail.com"),
            ("user.name+NYC@Example.com", "user.name+nyc@example.com"),
            (" Mia.B+x@gmail.com.example.org ", "mia.b+x@gmail.com.example.org"),
        ] {
            assert_eq!(email_for_google(address), google);
        }
        assert_eq!(email(" Mia.B+x@Gmail.com "), "mia.b+x@gmail.com");
    }

    #[test]
    fn countries_are_codes_or_nothing() {
        assert_eq!([" de", "JP", "uk", "XX", "DEU", "日本", ""].map(country), ["DE", "JP", "GB", "", "", "", ""]);
        assert_eq!(COUNTRIES.split_ascii_whitespace().count(), 249);
    }
}
