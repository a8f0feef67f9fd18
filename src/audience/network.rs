//! The advertising networks: which columns their customer-list uploads have, and what one person is in them. Pure.
//!
//! | network | source |
//! |---|---|
//! | Meta | Business Help Centre, "How to format a customer list"; Marketing API, Customer Information Parameters |
//! | Google | Google Ads Help 7476159, "Formatting guidelines for uploading hashed data"; Data Manager API, Format user data |
//! | X | Business Help, "List Custom Audiences"; Ads API, Custom Audiences User Data |
//!
//! Only the columns that matching uses are written: no id of ours, no revenue.

use super::normal::{self, hashed};
use super::people::Person;
use super::sheet::cell;

/// A network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    Meta,
    Google,
    X,
}

/// A size below which a network does not use a list, or not everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Minimum {
    /// People the network must recognise.
    pub people: i64,
    /// What it does not do with fewer; a sentence without its end.
    pub told: &'static str,
}

impl Network {
    pub fn name(self) -> &'static str {
        match self {
            Network::Meta => "Meta",
            Network::Google => "Google",
            Network::X => "X",
        }
    }

    /// The heading, by the network's own names; X has none: its columns are named while uploading.
    pub fn header(self) -> Option<&'static [&'static str]> {
        match self {
            Network::Meta => Some(&["email", "phone", "fn", "ln", "country"]),
            Network::Google => Some(&["Email", "Phone", "First Name", "Last Name", "Country", "Zip"]),
            Network::X => None,
        }
    }

    /// A person's row.
    pub fn row(self, person: &Person) -> Vec<String> {
        let text = |t: &Option<String>| t.clone().unwrap_or_default();
        let (first, last) = (text(&person.first_name), text(&person.last_name));
        let country = normal::country(person.country.as_deref().unwrap_or_default());
        let phone = person.phone();
        let digits = phone.digits().unwrap_or_default();
        match self {
            // Every column is hashed, the country too; phone numbers are digits alone.
            Network::Meta => vec![
                hashed(&normal::email(&person.email)),
                hashed(digits),
                hashed(&normal::name_for_meta(&first)),
                hashed(&normal::name_for_meta(&last)),
                hashed(&country.to_lowercase()),
            ],
            // Country and postal code are never hashed; phone numbers begin with a plus.
            Network::Google => vec![
                hashed(&normal::email_for_google(&person.email)),
                hashed(&with_plus(digits)),
                hashed(&normal::given_name_for_google(&first)),
                hashed(&normal::family_name_for_google(&last)),
                country,
                person
                    .attribute("zip")
                    .or_else(|| person.attribute("postal_code"))
                    .map(|z| cell(&z))
                    .unwrap_or_default(),
            ],
            Network::X => vec![hashed(&normal::email(&person.email)), hashed(&with_plus(digits))],
        }
    }

    /// What the network asks of a list's size, the hardest limit first.
    pub fn minimums(self) -> &'static [Minimum] {
        match self {
            Network::Meta => {
                &[Minimum { people: 100, told: "Meta advertises to no list in which it recognises fewer than 100" }]
            }
            Network::Google => &[
                Minimum {
                    people: 100,
                    told: "Google advertises to no list in which it recognises fewer than 100 active people",
                },
                Minimum {
                    people: 1_000,
                    told: "Google has long asked for 1,000 on Search and YouTube; look whether a smaller list may serve there",
                },
            ],
            Network::X => &[
                Minimum { people: 100, told: "X advertises to no list in which it recognises fewer than 100" },
                Minimum { people: 500, told: "X does not offer a list of fewer than 500 in its Ads Manager" },
            ],
        }
    }

    /// The minimum that a list of so many rows cannot reach, even if the network recognises everybody.
    pub fn too_few(self, rows: i64) -> Option<Minimum> {
        self.minimums().iter().copied().find(|m| rows < m.people)
    }
}

/// E.164 with its plus; nothing for nothing.
fn with_plus(digits: &str) -> String {
    if digits.is_empty() { String::new() } else { format!("+{digits}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn person(email: &str, first: &str, last: &str, country: &str, attributes: serde_json::Value) -> Person {
        let some = |t: &str| (!t.is_empty()).then(|| t.to_owned());
        Person {
            email: email.to_owned(),
            first_name: some(first),
            last_name: some(last),
            country: some(country),
            attributes: attributes.as_object().unwrap().clone(),
            ..Person::default()
        }
    }

    /// Inputs and hashes as Meta's Customer Information Parameters print them.
    #[test]
    fn meta_rows_equal_the_examples_of_its_documentation() {
        let row = Network::Meta.row(&person(
            "John_Smith@gmail.com",
            "Mary",
            "Valéry",
            "US",
            json!({ "phone": "(650)555-1212" }),
        ));
        assert_eq!(
            row,
            [
                "62a14e44f765419d10fea99367361a727c12365e2520f32218d505ed9aa0f62f",
                "e323ec626319ca94ee8bff2e4c87cf613be6ea19919ed1364124e16807ab3176",
                "6915771be1c5aa0c886870b6951b03d7eafc121fea0e80a5ea83beb7c449f4ec",
                "08e1996b5dd49e62a4b4c010d44e4345592a863bb9f8e3976219bac29417149c",
                "79adb2a2fce5c6ba215fe5f27f532d4e7edbac4b6a5e09e1ef3a08084a904621",
            ]
        );
        let korean = Network::Meta.row(&person("a@example.com", "정", "", "", json!({})));
        assert_eq!(korean[2], "8fa8cd9c440be61d0151429310034083132b35975c4bea67fdd74158eb51db14");
        assert_eq!(korean[1..], ["", &*korean[2], "", ""], "what is not known is not hashed");
    }

    /// Inputs and hashes as Google's Data Manager API prints them ("Send audience members", and the tests of its formatter).
    #[test]
    fn google_rows_equal_the_examples_of_its_documentation() {
        let attributes = json!({ "phone": "+1-800-555-0100", "zip": "94016" });
        let row = Network::Google.row(&person(
            "cloudy.sanFrancisco+shopping@GMAIL.com",
            " GivenName ",
            "Familyname",
            " us",
            attributes,
        ));
        assert_eq!(
            row,
            [
                "223ebda6f6889b1494551ba902d9d381daf2f642bae055888e96343d53e9f9c4",
                "fb4f73a6ec5fdb7077d564cdd22c3554b43ce49168550c3b12c547b78c517b30",
                "128a07bfe2df877c52076e60d7774cf5baaa046c5a6c48daf30ff43ecca2f814",
                "77762c287e61ce065bee5c15464012c6fbe088398b8057627d5577249430d574",
                "US",
                "94016",
            ]
        );
        for (address, hash) in [
            ("DanaM@example.com", "1df6b43bc68dd38eca94e6a65b4f466ae537b796c81a526918b40ac4a7b906c7"),
            ("  ALEXZ@example.com   ", "509e933019bb285a134a9334b8bb679dff79d0ce023d529af4bd744d47b4fd8a"),
        ] {
            assert_eq!(Network::Google.row(&person(address, "", "", "", json!({}))), [hash, "", "", "", "", ""]);
        }
    }

    /// X prints one example: the hash of `adsapi`.
    #[test]
    fn x_rows_are_hashes_in_small_letters() {
        assert_eq!(hashed("adsapi"), "49e0be2aeccfb51a8dee4c945c8a70a9ac500cf6f5cb08112575f74db9b1470d");
        let row = Network::X.row(&person(" DanaM@Example.com", "Dana", "M", "JP", json!({ "phone": "090-1234-5678" })));
        assert_eq!(row, [hashed("danam@example.com"), hashed("+819012345678")]);
    }

    #[test]
    fn rows_fit_their_heading_and_small_lists_are_told() {
        for network in [Network::Meta, Network::Google] {
            let row = network.row(&person("a@example.com", "", "", "", json!({})));
            assert_eq!(network.header().unwrap().len(), row.len());
        }
        assert_eq!(Network::Meta.too_few(99).map(|m| m.people), Some(100));
        assert_eq!(Network::Meta.too_few(100), None);
        assert_eq!(
            [50, 100, 999].map(|n| Network::Google.too_few(n).map(|m| m.people)),
            [Some(100), Some(1_000), Some(1_000)]
        );
        assert_eq!([499, 500].map(|n| Network::X.too_few(n).map(|m| m.people)), [Some(500), None]);
    }
}
