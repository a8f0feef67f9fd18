//! Real mails of others go through the pipeline, with a loop and a condition added: no tag, no word, no media query is lost.

use std::path::PathBuf;

use super::super::markup::{self, Kind};
use super::*;

fn corpus() -> Vec<PathBuf> {
    let folder = std::env::var("OKAERI_CORPORA").unwrap_or_else(|_| "../shared/corpora".to_owned());
    let mut out = Vec::new();
    let mut folders = vec![Path::new(&folder).join("html")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "html") {
                out.push(path);
            }
        }
    }
    out.sort();
    out
}

/// Put a loop around the first row that holds no other, and a condition around the first paragraph.
fn with_loop_and_condition(html: &str) -> String {
    let pieces = markup::pieces(html, &[]);
    let mut marks: Vec<(usize, &str)> = Vec::new();
    for (name, before, after) in [
        ("tr", "{% for item in recommend %}", "{% endfor %}"),
        ("p", "{% if customer.first_name %}", "{% else %}<p>nobody</p>{% endif %}"),
    ] {
        let start = |i: usize| matches!(&pieces[i].kind, Kind::Start(s) if s.name == name);
        let leaf = (0..pieces.len()).filter(|i| start(*i)).find_map(|i| {
            let next = (i + 1..pieces.len()).find(|j| start(*j) || pieces[*j].kind == Kind::End(name.to_owned()))?;
            (!start(next)).then_some((pieces[i].range.start, pieces[next].range.end))
        });
        if let Some((from, to)) = leaf {
            marks.extend([(from, before), (to, after)]);
        }
    }
    marks.sort_by_key(|m| m.0);
    let mut out = String::new();
    let mut at = 0;
    for (mark, text) in marks {
        out.push_str(&html[at..mark]);
        out.push_str(text);
        at = mark;
    }
    out + &html[at..]
}

/// The mail without what was put in for lists of mails.
fn without_preheader(html: &str) -> String {
    let Some(at) = html.find("Soon to come</div>") else { return html.to_owned() };
    let start = html[..at].rfind("<div ").expect("it stands in an element of its own");
    format!("{}{}", &html[..start], &html[at + "Soon to come</div>".len()..])
}

/// Tags in order, words in order, media queries.
fn kept(html: &str) -> (Vec<String>, String, usize) {
    let (mut tags, mut words, mut queries) = (Vec::new(), Vec::new(), 0);
    for piece in markup::pieces(html, &[]) {
        let text = &html[piece.range];
        match piece.kind {
            Kind::Start(s) => tags.push(s.name),
            Kind::End(name) => tags.push(format!("/{name}")),
            Kind::Text => words.extend(text.split_whitespace().map(str::to_owned)),
            Kind::Sheet => queries += text.matches("@media").count(),
            _ => {}
        }
    }
    (tags, words.join(" "), queries)
}

#[test]
fn real_mails_keep_their_tags_words_and_media_queries() {
    let corpus = corpus();
    if corpus.is_empty() {
        return skipped("no corpus of mails here (OKAERI_CORPORA, or ../shared/corpora): nothing was tried");
    }
    let clicks = sample_clicks();
    let mut slow = Vec::new();
    for path in &corpus {
        let html = fs::read_to_string(path)
            .unwrap()
            .replace("{{", "[[")
            .replace("}}", "]]")
            .replace("{%", "[%")
            .replace("{#", "[#");
        let source = with_loop_and_condition(&html);
        assert_ne!(source, html, "{}: nothing to repeat or to ask", path.display());
        let (dir, settings) =
            project(&[("templates/a.html", &format!("Subject: x\nPreheader: Soon to come\n\n{source}"))]);
        let mut snapshot = snapshot(dir.path(), &settings, &["a"]);
        snapshot.sender.base_url = Some("https://mail.example.com".into());
        let compiled = snapshot.compile().unwrap();
        let why: Vec<String> =
            compiled.refusals().map(|(r, place)| format!("{place} {} {}", r.code, r.message)).collect();
        if !why.is_empty() {
            slow.push(format!("{}: {why:?}", path.display()));
        }
        for count in [0, 1, 3] {
            let mut payload = sample_person("en");
            payload["recommend"] = sample_recommended(&payload, count, &["popular"]);
            if count == 1 {
                payload["customer"].as_object_mut().unwrap().remove("first_name");
            }
            let leaving = Facts { clicks: Some(&clicks), ..facts(&payload, "en") };
            let ours = compiled.render("a", &leaving).unwrap().html;
            let has_body =
                markup::pieces(&ours, &[]).iter().any(|p| matches!(&p.kind, Kind::Start(s) if s.name == "body"));
            assert_eq!(ours.matches("Soon to come").count(), usize::from(has_body), "{}", path.display());
            assert!(
                !ours.contains("<a href=\"http://") && !ours.contains("<a href=\"https://www."),
                "{}",
                path.display()
            );
            let ours = without_preheader(&ours);
            let mut plain = tera::Tera::new();
            plain.add_raw_template("a", &source).unwrap();
            let theirs = plain.render("a", &tera::Context::from_serialize(&payload).unwrap()).unwrap();
            assert_eq!(kept(&ours), kept(&theirs), "{}", path.display());
            let styles = |html: &str| html.matches("style=\"").count() + html.matches("style='").count();
            assert!(styles(&ours) >= styles(&theirs), "{}", path.display());
        }
    }
    eprintln!("{} mails, of which {} the slow way", corpus.len(), slow.len());
    assert_eq!(slow, Vec::<String>::new());
}

#[test]
fn the_lint_finds_its_way_in_real_mails() {
    let mut codes = std::collections::BTreeMap::new();
    for path in corpus() {
        let html = fs::read_to_string(&path).unwrap().replace("{{", "[[").replace("{%", "[%").replace("{#", "[#");
        let source = format!("Subject: x\n\n{}", with_loop_and_condition(&html));
        let (dir, settings) = project(&[("templates/a.html", &source)]);
        let mut problems = Problems::new();
        let set = TemplateSet::load(dir.path(), &[wanted("a")], &settings, &mut problems).unwrap();
        let mut payload = sample_person("en");
        payload["recommend"] = sample_recommended(&payload, 2, &["popular"]);
        let reader = Reader { name: "mia".into(), locale: None, judged: true, payload };
        let mut told = Problems::new();
        set.lint(&settings, &[reader], jiff::civil::date(2026, 11, 24), &mut told);
        for problem in told.sorted() {
            let place = &problem.place;
            assert!(
                &*place.file == "okaeri.yaml" || place.line <= source.lines().count(),
                "{} {place}",
                path.display()
            );
            *codes.entry(problem.code).or_insert(0) += 1;
        }
    }
    eprintln!("{codes:?}");
    if corpus().is_empty() {
        return skipped("no corpus of mails here (OKAERI_CORPORA, or ../shared/corpora): nothing was looked at");
    }
    // Mails as they are sent: faint print, styles that Outlook ignores, links without encryption.
    assert!(["low-contrast", "ignored-css", "http-link"].iter().all(|code| codes.contains_key(code)), "{codes:?}");
}
