//! Who the customers are: invented names, addresses, languages, places and consents.
//!
//! Three in ten read Japanese. Every address is unique and at example.com, example.net or example.org (RFC 2606 §3), which belong
//! to nobody. Names are put together from common ones; likeness to a person is chance.

use super::chance::Chance;

/// A person, as customers.csv has them. Empty text means unknown.
pub(super) struct Person {
    pub(super) email: String,
    pub(super) first_name: &'static str,
    pub(super) last_name: &'static str,
    pub(super) locale: &'static str,
    pub(super) country: &'static str,
    pub(super) time_zone: &'static str,
    /// Topics, separated by `;`.
    pub(super) consent: &'static str,
}

/// Of a hundred people, this many read Japanese.
const JAPANESE_PERCENT: usize = 30;
/// Of a hundred people, this many left only an address: letters must do without a name.
const NAMELESS_PERCENT: usize = 4;

/// The person with this `number`, which also makes the address unique.
pub(super) fn person(number: usize, chance: &mut Chance) -> Person {
    let japanese = chance.percent(JAPANESE_PERCENT);
    let (first, last) = if japanese {
        (*chance.one_of(&JA_FIRST), *chance.one_of(&JA_LAST))
    } else {
        let (first, last) = (*chance.one_of(&EN_FIRST), *chance.one_of(&EN_LAST));
        ((first, first), (last, last))
    };
    let host = ["example.com", "example.net", "example.org"][chance.weighted(&[5, 3, 2])];
    let email = format!("{}.{}.{number}@{host}", ascii(first.1), ascii(last.1));
    let (country, time_zone, _) =
        if japanese { ("JP", "Asia/Tokyo", 0) } else { PLACES[chance.weighted(&PLACES.map(|(_, _, w)| w))] };
    let named = !chance.percent(NAMELESS_PERCENT);
    Person {
        email,
        first_name: if named { first.0 } else { "" },
        last_name: if named { last.0 } else { "" },
        locale: if japanese { "ja" } else { "en" },
        country,
        time_zone,
        consent: ["news;offers", "news", "offers", ""][chance.weighted(&[66, 14, 10, 10])],
    }
}

/// A name as it can stand in an address: ASCII letters, small.
fn ascii(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphabetic).map(|c| c.to_ascii_lowercase()).collect()
}

/// Country, time zone, weight: where readers of English live.
const PLACES: [(&str, &str, usize); 12] = [
    ("US", "America/New_York", 26),
    ("US", "America/Chicago", 14),
    ("US", "America/Denver", 5),
    ("US", "America/Los_Angeles", 18),
    ("GB", "Europe/London", 14),
    ("CA", "America/Toronto", 6),
    ("CA", "America/Vancouver", 4),
    ("AU", "Australia/Sydney", 6),
    ("NZ", "Pacific/Auckland", 2),
    ("IE", "Europe/Dublin", 2),
    ("SG", "Asia/Singapore", 2),
    ("", "", 1),
];

const EN_FIRST: [&str; 60] = [
    "Ada", "Alma", "Amos", "Anya", "Arlo", "Bea", "Ben", "Cara", "Clara", "Cleo", "Cole", "Dana", "Della", "Dev",
    "Edie", "Eli", "Esme", "Ezra", "Faye", "Felix", "Finn", "Flora", "Gus", "Hattie", "Hugo", "Ida", "Imani", "Ines",
    "Iris", "Ivo", "Jonah", "Josie", "Juno", "Kai", "Lena", "Leo", "Lila", "Luca", "Mabel", "Mara", "Mia", "Milo",
    "Nadia", "Ned", "Nell", "Nina", "Noor", "Olive", "Omar", "Otis", "Petra", "Quinn", "Rafael", "Rosa", "Ruth",
    "Silas", "Tess", "Theo", "Vera", "Zoë",
];

const EN_LAST: [&str; 60] = [
    "Abbott", "Adeyemi", "Alder", "Archer", "Ashby", "Barlow", "Beck", "Bell", "Birch", "Bloom", "Boateng", "Brandt",
    "Calloway", "Castillo", "Chen", "Cole", "D'Amico", "Dale", "Delgado", "Dunn", "Eastman", "Ellery", "Farrow",
    "Finch", "Fontaine", "Garland", "Gray", "Hale", "Harlow", "Hart", "Ono-Reed", "Holt", "Ibarra", "Iyer", "Jansen",
    "Kaur", "Keane", "Lang", "Lowell", "Marsh", "Mbeki", "Moreau", "Nolan", "Novak", "O'Hara", "Okafor", "Park",
    "Quill", "Ramos", "Reyes", "Rowe", "Sayegh", "Shaw", "Silva", "Thorne", "Vance", "Walsh", "Weir", "Winter",
    "Yates",
];

/// Given names, with the reading that the address uses.
const JA_FIRST: [(&str, &str); 48] = [
    ("美咲", "misaki"),
    ("陽菜", "hina"),
    ("結衣", "yui"),
    ("葵", "aoi"),
    ("凛", "rin"),
    ("さくら", "sakura"),
    ("千尋", "chihiro"),
    ("彩花", "ayaka"),
    ("真由", "mayu"),
    ("菜々子", "nanako"),
    ("小春", "koharu"),
    ("詩織", "shiori"),
    ("恵", "megumi"),
    ("香織", "kaori"),
    ("直美", "naomi"),
    ("由紀", "yuki"),
    ("早苗", "sanae"),
    ("文", "fumi"),
    ("琴音", "kotone"),
    ("澪", "mio"),
    ("楓", "kaede"),
    ("ひかり", "hikari"),
    ("のぞみ", "nozomi"),
    ("みのり", "minori"),
    ("蓮", "ren"),
    ("湊", "minato"),
    ("大翔", "haruto"),
    ("悠真", "yuma"),
    ("樹", "itsuki"),
    ("拓海", "takumi"),
    ("翔太", "shota"),
    ("健", "ken"),
    ("直樹", "naoki"),
    ("誠", "makoto"),
    ("和也", "kazuya"),
    ("浩", "hiroshi"),
    ("亮", "ryo"),
    ("隆", "takashi"),
    ("雄介", "yusuke"),
    ("智", "satoshi"),
    ("航", "wataru"),
    ("涼介", "ryosuke"),
    ("光", "hikaru"),
    ("朔", "saku"),
    ("律", "ritsu"),
    ("駿", "shun"),
    ("修", "osamu"),
    ("薫", "kaoru"),
];

/// Family names, with the reading that the address uses.
const JA_LAST: [(&str, &str); 48] = [
    ("水野", "mizuno"),
    ("青木", "aoki"),
    ("浅井", "asai"),
    ("池田", "ikeda"),
    ("石川", "ishikawa"),
    ("井上", "inoue"),
    ("上田", "ueda"),
    ("遠藤", "endo"),
    ("大野", "ono"),
    ("岡本", "okamoto"),
    ("小川", "ogawa"),
    ("片山", "katayama"),
    ("川口", "kawaguchi"),
    ("菊池", "kikuchi"),
    ("木村", "kimura"),
    ("工藤", "kudo"),
    ("久保", "kubo"),
    ("黒田", "kuroda"),
    ("小島", "kojima"),
    ("近藤", "kondo"),
    ("斎藤", "saito"),
    ("坂本", "sakamoto"),
    ("桜井", "sakurai"),
    ("佐々木", "sasaki"),
    ("島田", "shimada"),
    ("杉山", "sugiyama"),
    ("瀬戸", "seto"),
    ("高野", "takano"),
    ("竹内", "takeuchi"),
    ("田村", "tamura"),
    ("月岡", "tsukioka"),
    ("中島", "nakajima"),
    ("西村", "nishimura"),
    ("野口", "noguchi"),
    ("橋本", "hashimoto"),
    ("長谷川", "hasegawa"),
    ("原田", "harada"),
    ("平野", "hirano"),
    ("福田", "fukuda"),
    ("藤井", "fujii"),
    ("星野", "hoshino"),
    ("松田", "matsuda"),
    ("三浦", "miura"),
    ("宮本", "miyamoto"),
    ("森", "mori"),
    ("山口", "yamaguchi"),
    ("吉田", "yoshida"),
    ("渡辺", "watanabe"),
];

#[cfg(test)]
mod tests {
    use super::super::chance::For;
    use super::*;

    #[test]
    fn people_are_invented_reachable_nowhere_and_three_in_ten_read_japanese() {
        let people: Vec<Person> = (1..=2_000).map(|n| person(n, &mut Chance::stream(For::Person, n))).collect();
        assert!(people.iter().all(|p| p.email.is_ascii() && !p.email.contains("..") && !p.email.starts_with('.')));
        let japanese = people.iter().filter(|p| p.locale == "ja").count();
        assert!((520..680).contains(&japanese), "{japanese}");
        assert!(people.iter().filter(|p| p.locale == "ja").all(|p| p.country == "JP" && p.time_zone == "Asia/Tokyo"));
        assert!(people.iter().any(|p| p.first_name.is_empty()), "some left only an address");
    }

    #[test]
    fn every_reading_is_ascii() {
        assert!(JA_FIRST.iter().chain(&JA_LAST).all(|(_, reading)| reading.bytes().all(|b| b.is_ascii_lowercase())));
    }
}
