//! The checks of the DNS, on a table.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use futures_util::future::BoxFuture;

use super::*;
use crate::dkim::{PrivateKey, text};

/// A DNS that knows what it was told. A name that begins with `broken` is not answered.
#[derive(Default)]
struct Table(HashMap<String, Vec<Record>>);

impl Table {
    fn with(mut self, name: &str, record: Record) -> Table {
        self.0.entry(name.to_owned()).or_default().push(record);
        self
    }

    fn txt(self, name: &str, text: &str) -> Table {
        self.with(name, Record::Txt(text.to_owned()))
    }

    fn mx(self, name: &str, host: &str) -> Table {
        self.with(name, Record::Mx { preference: 10, host: host.to_owned() })
    }

    fn address(self, name: &str) -> Table {
        self.with(name, Record::Address(Ipv4Addr::new(192, 0, 2, 1).into()))
    }
}

impl Resolver for Table {
    fn ask<'a>(&'a self, name: &'a str, kind: Kind) -> BoxFuture<'a, Result<Answer, Unanswered>> {
        let is_kind = move |r: &&Record| {
            matches!(
                (r, kind),
                (Record::Txt(_), Kind::Txt) | (Record::Mx { .. }, Kind::Mx) | (Record::Address(_), Kind::Address)
            )
        };
        let records = self.0.get(name).into_iter().flatten().filter(is_kind).cloned().collect();
        let found = Answer { records, no_such_name: !self.0.contains_key(name) };
        let broken = name.starts_with("broken");
        let unanswered = Unanswered { name: name.to_owned(), why: "no answer in time".to_owned() };
        Box::pin(async move { if broken { Err(unanswered) } else { Ok(found) } })
    }
}

fn lines(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(|f| format!("{:?}: {}", f.status, f.finding)).collect()
}

async fn spf(table: Table) -> Vec<String> {
    lines(&spf::look(&table, &names("example.com", "example.com", &[])).await.unwrap())
}

fn spf_record(text: &str) -> Table {
    Table::default().txt("example.com", text).txt("example.com", "google-site-verification=x")
}

#[tokio::test]
async fn spf_counts_every_lookup_of_every_record() {
    let table = spf_record("v=spf1 include:a.example include:b.example a mx:mail.example.com ip4:192.0.2.0/24 -all")
        .txt("a.example", "v=spf1 include:b.example exists:%{i}.a.example ?all")
        .txt("b.example", "v=spf1 ip6:2001:db8::/32 -all")
        .address("example.com")
        .mx("mail.example.com", "mx.example.com");
    assert_eq!(
        spf(table).await,
        [
            "Ok: SPF of example.com: 6 of 10 lookups, ends in -all; that it names your mail server's addresses is not checked"
        ]
    );
    let mut table = spf_record("v=spf1 include:s1.example include:s2.example ~all");
    for n in 1..=2 {
        table = table.txt(&format!("s{n}.example"), &format!("v=spf1 {} -all", "exists:%{i}.x.example ".repeat(4)));
    }
    assert_eq!(spf(table).await.len(), 1, "ten are allowed");
    let eleven = spf_record(&format!("v=spf1 {}~all", "exists:%{i}.x.example ".repeat(11)));
    assert_eq!(spf(eleven).await, ["Problem: SPF of example.com takes 11 lookups; 10 are allowed"]);
}

#[tokio::test]
async fn spf_is_asked_whether_our_mail_servers_may_send() {
    // The address of every name in a table is 192.0.2.1.
    let may = "it lets mail.example.com (192.0.2.1) send";
    let may_not = "it does not let mail.example.com (192.0.2.1) send: well if your provider sends from other addresses";
    let unclear = "that it names your mail server's addresses is not checked";
    for (record, told) in [
        ("v=spf1 ip4:192.0.2.0/24 -all", may),
        ("v=spf1 ip4:192.0.2.2 -all", may_not),
        ("v=spf1 -ip4:192.0.2.1 ip4:192.0.2.0/24 ~all", may_not),
        ("v=spf1 ip6:2001:db8::/32 a -all", may),
        ("v=spf1 mx -all", may),
        ("v=spf1 include:a.example -all", may),
        ("v=spf1 include:b.example ~all", may_not),
        ("v=spf1 redirect=a.example", may),
        ("v=spf1 exists:%{i}.example.com -all", unclear),
        ("v=spf1 ip4:192.0.2.1 exists:%{i}.example.com -all", may),
    ] {
        let table = spf_record(record)
            .txt("a.example", "v=spf1 ip4:192.0.2.1 -all")
            .txt("b.example", "v=spf1 ?ip4:192.0.2.1 -all")
            .address("example.com")
            .mx("example.com", "mx.example.com")
            .address("mx.example.com")
            .address("mail.example.com");
        let servers = vec!["mail.example.com".to_owned(), "127.0.0.1".to_owned()];
        let names = Names { servers, ..names("example.com", "example.com", &[]) };
        let found = lines(&spf::look(&table, &names).await.unwrap()).remove(0);
        assert!(found.ends_with(told), "{record}: {found}");
    }
}

#[tokio::test]
async fn spf_redirects_stand_in_and_includes_do_not() {
    let table = spf_record("v=spf1 redirect=_spf.example.net").txt("_spf.example.net", "v=spf1 ip4:192.0.2.1 ~all");
    assert!(spf(table).await[0].contains("1 of 10 lookups, ends in ~all"));
    let table = spf_record("v=spf1 include:a.example").txt("a.example", "v=spf1 -all");
    assert_eq!(spf(table).await, ["Warn: SPF of example.com does not say what to do with other senders"]);
    let table = spf_record("v=spf1 a/24//64 mx//64 ip4:192.0.2.0/24 x=y -all").address("example.com");
    assert!(spf(table.mx("example.com", "mx.example.com")).await[0].contains("2 of 10 lookups"), "prefixes are read");
    let many = (0..11).fold(spf_record("v=spf1 mx -all"), |t, n| t.mx("example.com", &format!("mx{n}.example.com")));
    assert_eq!(
        spf(many).await,
        ["Problem: SPF of example.com: `mx` of example.com leads to 11 mail exchangers; 10 are allowed"]
    );
    let table = spf_record("v=spf1 -all redirect=nowhere.example");
    assert!(spf(table).await[0].contains("0 of 10 lookups, ends in -all"), "redirect counts only without all");
}

#[tokio::test]
async fn spf_faults_are_named() {
    for (record, told) in [
        (
            "v=spf1 include:none.example -all",
            "example.com points to none.example, which has no SPF record (the DNS knows no name none.example)",
        ),
        ("v=spf1 include:example.com -all", "example.com includes itself again: example.com"),
        ("v=spf1 redirect=example.com", "example.com includes itself again: example.com"),
        ("v=spf1 include: -all", "`include:` of example.com names nothing after its colon"),
        ("v=spf1 include -all", "`include` of example.com names no domain"),
        ("v=spf1 a: -all", "`a:` of example.com names nothing after its colon"),
        ("v=spf1 mx:/24 -all", "`mx:/24` of example.com names nothing after its colon"),
        (
            "v=spf1 ~redirect=a.example",
            "`~redirect=a.example` of example.com has a sign in front, which only mechanisms have",
        ),
        ("v=spf1 exp=a.example -all exp=b.example", "example.com has two `exp=`"),
        ("v=spf1 redirect=", "example.com names no domain to go on with"),
        ("v=spf1 ip4:mail.example.com -all", "`ip4:mail.example.com` of example.com is not an address"),
        ("v=spf1 ip6:192.0.2.1 -all", "`ip6:192.0.2.1` of example.com is not an address"),
        ("v=spf1 ip4:192.0.2.0/33 -all", "`ip4:192.0.2.0/33` of example.com ends in no length of a prefix"),
        ("v=spf1 ip6:2001:db8::/129 -all", "`ip6:2001:db8::/129` of example.com ends in no length of a prefix"),
        ("v=spf1 a/x -all", "`a/x` of example.com ends in no length of a prefix"),
        ("v=spf1 a/24/64 -all", "`a/24/64` of example.com ends in no length of a prefix"),
        ("v=spf1 exists: -all", "`exists:` of example.com names nothing after its colon"),
        ("v=spf1 all:x -all", "`all:x` of example.com says more than `all`"),
        ("v=spf1 -all ip4:nowhere", "`ip4:nowhere` of example.com is not an address"),
        ("v=spf1 -all redirect=a.example redirect=b.example", "example.com redirects twice"),
        ("v=spf1 includes:a.example -all", "`includes:a.example` of example.com is no mechanism that SPF knows"),
    ] {
        assert_eq!(spf(spf_record(record)).await, [format!("Problem: SPF of example.com: {told}")], "{record}");
    }
    let no_spf = "Problem: example.com has no SPF record";
    assert_eq!(spf(Table::default()).await, [format!("{no_spf} (the DNS knows no name example.com)")]);
    let other = format!("{no_spf} (example.com has 2 TXT records, all about something else)");
    assert_eq!(spf(spf_record("v=spf10 -all")).await, [other]);
    let twice = spf_record("v=spf1 -all").txt("example.com", "V=SPF1 ~all");
    assert_eq!(spf(twice).await, ["Problem: example.com has 2 SPF records, where one belongs"]);
    assert_eq!(
        spf(spf_record("v=spf1 +all")).await,
        ["Problem: SPF of example.com lets everybody send in its name (+all)"]
    );
    let voids = spf_record("v=spf1 a:a.example mx:b.example a:c.example/24 moved=yes ptr -all");
    assert_eq!(
        spf(voids).await,
        [
            "Warn: SPF of example.com asks for names under which nothing stands: `a:a.example` of example.com, `mx:b.example` of example.com, `a:c.example/24` of example.com",
            "Warn: SPF of example.com uses `ptr`"
        ]
    );
    // Records that lead to each other without end are walked for a while only.
    let mut endless = spf_record("v=spf1 include:n0.example -all");
    for n in 0..200 {
        endless = endless.txt(&format!("n{n}.example"), &format!("v=spf1 include:n{}.example -all", n + 1));
    }
    assert_eq!(spf(endless).await, ["Problem: SPF of example.com takes 41 lookups; 10 are allowed"]);
}

fn key() -> (Identity, PublicKey) {
    let key = PrivateKey::parse(include_str!("../dkim/tests/rsa.pem")).unwrap();
    (Identity { domain: "example.com".into(), selector: "s1".into() }, key.public().clone())
}

#[tokio::test]
async fn keys_are_compared_with_what_is_published() {
    let (identity, key) = key();
    let published = text(&key);
    let host = "s1._domainkey.example.com";
    let look = async |texts: &[&str]| {
        let table = texts.iter().fold(Table::default(), |t, text| t.txt(host, text));
        lines(&keys::look(&table, &identity, &key).await.unwrap()).remove(0)
    };
    assert_eq!(look(&[&published]).await, format!("Ok: DKIM of {host}: the rsa key is ours"));
    assert_eq!(look(&[]).await, format!("Problem: no DKIM key at {host} (the DNS knows no name {host})"));
    assert_eq!(look(&[&published, "x"]).await, format!("Problem: 2 TXT records at {host}, where one belongs"));
    assert_eq!(look(&["v=DKIM1"]).await, format!("Problem: the record at {host} has no `p=`"));
    assert!(look(&["v=DKIM1; p="]).await.ends_with("is withdrawn (its `p=` is empty)"));
    assert!(look(&["v=DKIM1; p=AAAA"]).await.ends_with("is not the one that signs here"));
    assert!(look(&[&format!("{published}; t=y")]).await.starts_with("Warn"));
    let told = keys::look(&Table::default(), &identity, &key).await.unwrap().remove(0);
    let remedy = told.remedy.unwrap();
    assert!(
        remedy.starts_with("publish this TXT record at s1._domainkey.example.com: \"v=DKIM1; k=rsa; p=MII"),
        "{remedy}"
    );
    assert_eq!(remedy.matches('"').count(), 4, "two strings of at most 255 bytes: {remedy}");
}

fn names(from: &str, envelope: &str, keys: &[&str]) -> Names {
    let keys = keys.iter().map(|d| (Identity { domain: (*d).to_owned(), selector: "s1".into() }, key().1)).collect();
    Names { from: from.into(), envelope: envelope.into(), servers: vec![], keys }
}

async fn dmarc(table: Table, names: Names) -> Vec<String> {
    lines(&dmarc::look(&table, &names).await.unwrap())
}

#[tokio::test]
async fn dmarc_policy_is_found_and_read() {
    let ours = || names("shop.example.com", "shop.example.com", &["shop.example.com"]);
    let at = |domain: &str, text: &str| Table::default().txt(&format!("_dmarc.{domain}"), text);
    let reporting = "v=DMARC1; p=reject; rua=mailto:d@example.com";
    assert_eq!(
        dmarc(at("example.com", reporting), ours()).await,
        [
            "Ok: DMARC of example.com: policy reject",
            "Ok: the signature of shop.example.com (relaxed) and the return path (relaxed) align with From (shop.example.com)"
        ]
    );
    let none = "Problem: shop.example.com has no DMARC record \
                (the DNS knows no name _dmarc.shop.example.com) (the DNS knows no name _dmarc.example.com)";
    assert_eq!(dmarc(Table::default(), ours()).await, [none]);
    let silent = dmarc(at("shop.example.com", "v=DMARC1;p=none"), ours()).await;
    assert!(silent[0].starts_with("Warn: DMARC of shop.example.com: policy none, and its reports go to nobody"));
    for (text, told) in [
        ("v=DMARC1", "has no `p=`"),
        ("v=DMARC1; p=rejct", "has `p=rejct`; known: none, quarantine, reject"),
        ("v=DMARC1; p=none; sp=rejct", "has `sp=rejct`; known: none, quarantine, reject"),
        ("v=DMARC1; p", "has `p`"),
    ] {
        let told = format!("Problem: the DMARC record at _dmarc.example.com {told}");
        assert_eq!(dmarc(at("example.com", text), ours()).await, [told]);
    }
    assert_eq!(
        dmarc(at("example.com", "v=spf1 -all"), ours()).await,
        ["Problem: shop.example.com has no DMARC record (the DNS knows no name _dmarc.shop.example.com) \
          (_dmarc.example.com has a TXT record, about something else)"],
        "another kind of record does not count"
    );
    // What is said of subdomains is their policy, unless they say something themselves.
    let spared = at("example.com", "v=DMARC1; p=reject; sp=none; rua=mailto:d@example.com");
    assert_eq!(dmarc(spared, ours()).await[0], "Ok: DMARC of example.com: policy none");
    let itself = at("shop.example.com", "v=DMARC1; p=reject; sp=none; rua=mailto:d@example.com");
    assert_eq!(dmarc(itself, ours()).await[0], "Ok: DMARC of shop.example.com: policy reject");
    // Nobody looks between the domain and its organisation, nor above a record that is there.
    let between = at("mail.shop.example.com", "v=DMARC1; p=none").txt("_dmarc.example.com", reporting);
    let below = names("a.mail.shop.example.com", "example.com", &["example.com"]);
    assert_eq!(dmarc(between, below).await[0], "Ok: DMARC of example.com: policy reject");
    let above = at("shop.example.com", reporting).txt("_dmarc.example.com", "v=DMARC1; p=rejct");
    assert_eq!(dmarc(above, ours()).await[0], "Ok: DMARC of shop.example.com: policy reject");
    let twice = at("example.com", reporting).txt("_dmarc.example.com", reporting);
    assert!(dmarc(twice, ours()).await[0].contains("2 DMARC records"));
}

#[tokio::test]
async fn alignment_follows_the_policy() {
    let with = |tags: &str| {
        Table::default().txt("_dmarc.example.com", &format!("v=DMARC1; p=reject; rua=mailto:d@example.com; {tags}"))
    };
    let aligned = async |table: Table, envelope: &str, keys: &[&str]| {
        dmarc(table, names("shop.example.com", envelope, keys)).await.pop().unwrap()
    };
    let relaxed = aligned(with(""), "bounce.example.com", &["example.com"]).await;
    assert!(relaxed.starts_with("Ok: the signature of example.com (relaxed) and the return path"), "{relaxed}");
    let neither = aligned(with("adkim=s; aspf=s"), "bounce.example.com", &["example.com"]).await;
    assert_eq!(
        neither,
        "Problem: neither the signatures (example.com) nor the return path (bounce.example.com) align with From (shop.example.com)"
    );
    let strict = aligned(with("adkim=s"), "esp.example.net", &["example.com", "shop.example.com"]).await;
    assert_eq!(strict, "Ok: the signature of shop.example.com (strict) aligns with From (shop.example.com)");
    let path = aligned(with(""), "shop.example.com", &["badexample.com"]).await;
    assert_eq!(
        path,
        "Warn: only the return path (shop.example.com) aligns with From (shop.example.com), no signature does"
    );
    assert!(aligned(with(""), "esp.example.net", &[]).await.contains("signatures (none)"));
    // A registry's own policy makes nobody's neighbours one organisation.
    let suffix = Table::default()
        .txt("_dmarc.shop.example.com", "v=DMARC1; p=none; rua=mailto:d@example.com")
        .txt("_dmarc.example.com", "v=DMARC1; p=none; psd=y");
    assert!(aligned(suffix, "other.example.com", &["other.example.com"]).await.starts_with("Problem: neither"));
    let below = Table::default()
        .txt("_dmarc.letters.shop.example.com", "v=DMARC1; p=none; rua=mailto:d@example.com")
        .txt("_dmarc.example.com", "v=DMARC1; p=none; psd=y");
    let names = names("letters.shop.example.com", "esp.example.net", &["shop.example.com"]);
    let one_organisation = dmarc(below, names).await.pop().unwrap();
    assert!(one_organisation.starts_with("Ok: the signature of shop.example.com (relaxed)"), "{one_organisation}");
}

#[tokio::test]
async fn bounces_need_somebody_who_takes_them() {
    let mx = async |table: Table| lines(&mx::look(&table, "example.com").await.unwrap());
    let good = Table::default().mx("example.com", "mx1.example.com").address("mx1.example.com");
    assert_eq!(mx(good).await, ["Ok: MX of example.com, where bounces go: mx1.example.com"]);
    let dangling = || Table::default().mx("example.com", "old.example.com");
    let no_address = "Problem: the MX old.example.com of example.com has no address";
    assert_eq!(mx(dangling()).await, [format!("{no_address} (the DNS knows no such name)")]);
    assert_eq!(mx(dangling().txt("old.example.com", "moved")).await, [no_address]);
    let no_mx = "Problem: example.com, where bounces go, has no MX record";
    assert_eq!(mx(Table::default()).await, [format!("{no_mx} (the DNS knows no such name)")]);
    assert_eq!(mx(Table::default().txt("example.com", "hello")).await, [no_mx]);
    assert_eq!(
        mx(Table::default().address("example.com")).await,
        ["Warn: example.com, where bounces go, has no MX record"]
    );
    let null = Table::default().mx("example.com", "").address("example.com");
    assert!(mx(null).await[0].contains("takes no mail (null MX"));
}

#[tokio::test]
async fn silence_is_not_taken_for_an_answer() {
    let names = names("broken.example.com", "broken.example.com", &["broken.example.com"]);
    let findings = dns(&Table::default(), &names).await;
    let silent: Vec<bool> = findings.iter().map(|f| f.unavailable).collect();
    // SPF, MX; the key's and the policy's names begin otherwise, and are answered: there is nothing.
    assert_eq!(silent, [true, false, false, true], "{findings:?}");
    assert_eq!(findings[0].finding, "the DNS does not answer for broken.example.com: no answer in time");
    let status: Vec<Status> = findings.iter().map(|f| f.status).collect();
    assert_eq!(
        status,
        [Status::Unclear, Status::Problem, Status::Problem, Status::Unclear],
        "absence is told only where it was answered"
    );
}

#[tokio::test]
async fn a_name_that_is_not_there_is_told_from_a_record_that_is_missing() {
    let names = || names("example.com", "example.com", &["example.com"]);
    let told = async |table: Table| -> String { lines(&dns(&table, &names()).await).join("\n") };
    let nothing = told(Table::default()).await;
    for words in [
        "example.com has no SPF record (the DNS knows no name example.com)",
        "no DKIM key at s1._domainkey.example.com (the DNS knows no name s1._domainkey.example.com)",
        "example.com has no DMARC record (the DNS knows no name _dmarc.example.com)",
        "example.com, where bounces go, has no MX record (the DNS knows no such name)",
    ] {
        assert!(nothing.contains(words), "{words}: {nothing}");
    }
    // The names are there, for another's sake.
    let other = Table::default()
        .txt("example.com", "google-site-verification=x")
        .address("s1._domainkey.example.com")
        .txt("_dmarc.example.com", "v=spf1 -all")
        .txt("_dmarc.example.com", "hello");
    let other = told(other).await;
    for words in [
        "example.com has no SPF record (example.com has a TXT record, about something else)",
        "no DKIM key at s1._domainkey.example.com (s1._domainkey.example.com is there, without any TXT record)",
        "example.com has no DMARC record (_dmarc.example.com has 2 TXT records, all about something else)",
        "example.com, where bounces go, has no MX record",
    ] {
        assert!(other.contains(words), "{words}: {other}");
    }
}
