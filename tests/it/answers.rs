//! From a question in a mail to what follows from its answer, through the real binary: the page, the event, the segment, the journey that
//! ends, the report.

use jiff::tz::TimeZone;
use okaeri::args;
use okaeri::catcher::Catcher;
use okaeri::clock::{self, DAY, HOUR};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::ground::each_database;
use crate::ground::mail::by_recipient;
use crate::ground::scenario::Scenario;

const JOURNEY: &str = "\
schedule: { enter: when_matching }
exit_on: { did: survey.nps, since: entry }
steps:
  - step: ask
    template: ask/letter
  - step: again
    after: 5d
    template: ask/letter
";

const QUESTION: &str = "\
Subject: One question

<!doctype html><html lang=\"en\"><head><title>One question</title></head><body><p>How likely are you to recommend us?</p>
<p>{% for n in [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10] %}<a href=\"{{ answer(event=\"survey.nps\", score=n, of=10) }}\">{{ n }}</a> {% endfor %}</p>
<p><a href=\"{{ links.unsubscribe }}\">Unsubscribe</a><br>{{ brand.organisation }}, {{ brand.postal_address }}</p></body></html>
";

/// The path that a number of somebody's mail leads to.
fn number(catcher: &Catcher, to: &str, n: usize) -> String {
    let mail = catcher.mails().into_iter().find(|m| m.envelope_to[0].starts_with(to)).expect("the mail arrived");
    let message = mail_parser::MessageParser::default().parse(mail.bytes.as_slice()).expect("a mail");
    let html = message.body_html(0).expect("it has HTML").into_owned();
    let links: Vec<&str> =
        html.split("href=\"https://mail.example.com").skip(1).filter_map(|l| l.split('"').next()).collect();
    let answers: Vec<&&str> = links.iter().filter(|l| l.starts_with("/a/")).collect();
    assert_eq!(answers.len(), 11, "{html}");
    (*answers[n]).to_owned()
}

async fn post(address: &str, path: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_in_a_mail_becomes_an_event_that_everything_knows() {
    each_database(|url| async move {
        let catcher = by_recipient().await;
        let shop = Scenario::new(&url)
            .smtp(&catcher.url())
            .campaign("ask", "")
            .segment("glad", "{ last: survey.nps, with: { score: { gte: 9 } } }")
            .segment("why", "{ did: survey.nps, with: { campaign: ask, comment: { contains: 茶 } } }");
        let head = "campaign: ask\nstatus: live\ntopic: offers\naudience: everyone\n";
        shop.write("campaigns/ask.yaml", format!("{head}{JOURNEY}"));
        shop.write("templates/ask/letter.html", QUESTION);
        std::fs::remove_file(shop.path("templates/ask/letter.txt")).unwrap();
        let shop = shop.with_people(3).await;
        shop.okaeri("run").await.exits(0);
        assert_eq!(catcher.mails().len(), 3);

        let mut server = shop.start("serve --listen 127.0.0.1:0");
        let address = server.says("listening on http://").await;
        for (to, n, body) in [("p00001", 9, "score=9&comment=%E8%8C%B6&do=answer"), ("p00002", 3, "score=3&do=answer")]
        {
            let page = post(&address, &number(&catcher, to, n), body).await;
            assert!(page.starts_with("HTTP/1.1 200 ") && page.contains("Thank you"), "{page}");
        }
        server.signal("TERM").await;
        server.end().await.exits(0);

        shop.okaeri("profile").await.exits(0);
        for (segment, who, is_in) in
            [("glad", "p00001", true), ("glad", "p00002", false), ("glad", "p00003", false), ("why", "p00001", true)]
        {
            let proof = shop.json(&format!("segment explain {segment} --customer {who}"), 0).await;
            assert_eq!(proof["member"], is_in, "{segment} {who}: {proof}");
        }
        let report = shop.json("report ask", 0).await;
        assert_eq!(report["came_back"]["answered"], 2, "{report}");
        let answers = serde_json::json!([{
            "event": "survey.nps", "of": 10, "answers": 2, "mean": 6.0, "nps": 0.0, "by_score": { "3": 1, "9": 1 }
        }]);
        assert_eq!(report["answers"], answers);
        let told = shop.okaeri("report ask").await.exits(0).stdout;
        assert!(told.contains("survey.nps          2   NPS +0 · mean 6.0 of 10 · 9: 1, 3: 1"), "{told}");
        let person = shop.okaeri("customer show p00001").await.exits(0).stdout;
        assert!(person.contains("survey.nps 9 of 10 “茶”"), "{person}");

        // The reminder is for whoever said nothing.
        let later = clock::rfc3339(clock::now() + 5 * DAY + HOUR, &TimeZone::UTC);
        shop.okaeri(&format!("run --at {later}")).await;
        let db = shop.database().await;
        let sql = "SELECT customer_id FROM message WHERE step = 'again'";
        let reminded: Vec<(String,)> = db.fetch_all(sql, args![]).await.unwrap();
        assert_eq!(reminded, [("p00003".to_owned(),)]);
        db.close().await;
        catcher.stop().await;
    })
    .await;
}
