//! Verbs, order, pipelining, content.

use super::super::{Caught, Extensions, Keep};
use super::*;

#[tokio::test]
async fn ehlo_announces_what_is_on_offer_and_helo_nothing() {
    let catcher = catcher().await;
    let mut client = Client::connect(&catcher).await;
    assert_eq!(
        client.ask("EHLO test.example").await,
        "250-catcher.example\n250-PIPELINING\n250-SIZE 26214400\n250-CHUNKING\n250-8BITMIME\n250-SMTPUTF8\n250-DSN\n\
         250 ENHANCEDSTATUSCODES"
    );
    assert_eq!(client.ask("HELO test.example").await, "250 catcher.example");
    assert!(client.ask("MAIL FROM:<a@example.com> BODY=8BITMIME").await.starts_with("555"));
    assert_eq!(client.ask("MAIL FROM:<a@example.com>").await, "250 2.1.0 Sender ok");
}

#[tokio::test]
async fn every_verb_answers() {
    let catcher = catcher().await;
    let mut client = Client::greeted(&catcher).await;
    for (line, reply) in [
        ("NOOP", "250 2.0.0 Ok"),
        ("RSET", "250 2.0.0 Forgotten"),
        ("VRFY mia", "252 2.1.5 Cannot verify, will try to deliver"),
        ("EXPN list", "502 5.5.1 Command not implemented"),
        ("STARTTLS", "503 5.5.1 STARTTLS is not on offer"),
        ("AUTH PLAIN", "502 5.5.1 AUTH is not on offer"),
        ("XYZZY", "500 5.5.2 Command not recognised"),
        ("QUIT", "221 2.0.0 Goodbye"),
    ] {
        assert_eq!(client.ask(line).await, reply, "{line}");
    }
    assert_eq!(client.reply().await, "end");
    catcher.stop().await;
}

#[tokio::test]
async fn a_message_arrives_as_it_was_sent() {
    let catcher = catcher().await;
    let mut client = Client::greeted(&catcher).await;
    let content = "Message-ID: <1@example.com>\r\n\r\n.. one dot\r\n... two dots\r\n";
    for (line, code) in [
        ("MAIL FROM:<news@example.com> SIZE=60 RET=HDRS ENVID=e1", "250"),
        ("RCPT TO:<mia@example.com> NOTIFY=FAILURE", "250"),
        ("RCPT TO:<ken@example.net>", "250"),
        ("DATA", "354"),
    ] {
        assert!(client.ask(line).await.starts_with(code), "{line}");
    }
    client.send(format!("{content}.\r\n")).await;
    assert_eq!(client.reply().await, "250 2.0.0 Message stored");
    let [caught] = &catcher.mails()[..] else { panic!("one mail") };
    let Caught { number, envelope_from, envelope_to, message_id, bytes, defects, .. } = caught;
    assert_eq!((*number, envelope_from.as_str()), (1, "news@example.com"));
    assert_eq!(envelope_to, &["mia@example.com", "ken@example.net"]);
    assert_eq!(caught.envelope_parameters, ["SIZE=60 RET=HDRS ENVID=e1", "NOTIFY=FAILURE", ""]);
    assert_eq!(message_id.as_deref(), Some("<1@example.com>"));
    assert_eq!(**bytes, b"Message-ID: <1@example.com>\r\n\r\n. one dot\r\n.. two dots\r\n");
    assert_eq!(defects, &Vec::<String>::new());
    let counts = catcher.counts();
    assert_eq!((counts.connections, counts.messages, counts.recipients, counts.defective), (1, 1, 2, 0));
    assert_eq!(counts.bytes, bytes.len() as u64);
}

#[tokio::test]
async fn japanese_addresses_need_smtputf8() {
    let catcher = catcher().await;
    let mut client = Client::greeted(&catcher).await;
    assert_eq!(
        client.group("MAIL FROM:<news@example.com>\r\nRCPT TO:<花子@example.com>\r\nRSET\r\n", 3).await,
        ["250", "553", "250"]
    );
    let envelope = "MAIL FROM:<お帰り@example.com> SMTPUTF8\r\nRCPT TO:<花子@example.com>\r\nDATA\r\n";
    assert_eq!(client.group(envelope, 3).await, ["250", "250", "354"]);
    assert_eq!(client.group("Subject: お帰りなさい\r\n\r\nお帰り\r\n.\r\n", 1).await, ["250"]);
    let mail = &catcher.mails()[0];
    assert_eq!(mail.envelope_to, ["花子@example.com"]);
    assert_eq!(mail.defects, Vec::<String>::new());
}

#[tokio::test]
async fn commands_out_of_order_are_refused() {
    let catcher = catcher().await;
    let mut client = Client::connect(&catcher).await;
    assert!(client.ask("MAIL FROM:<a@example.com>").await.starts_with("503"));
    client.ask("EHLO test.example").await;
    for (line, code) in [
        ("RCPT TO:<a@example.com>", "503"),
        ("DATA", "503"),
        ("MAIL FROM:<a@example.com>", "250"),
        ("MAIL FROM:<a@example.com>", "503"),
        ("DATA", "554"),
        ("RSET", "250"),
        ("DATA", "503"),
        ("MAIL FROM:<a@example.com>", "250"),
        ("EHLO test.example", "250"),
        ("RCPT TO:<a@example.com>", "503"),
    ] {
        assert!(client.ask(line).await.starts_with(code), "{line}");
    }
}

#[tokio::test]
async fn content_and_the_next_envelope_may_share_one_write() {
    let catcher = catcher().await;
    let mut client = Client::greeted(&catcher).await;
    let envelope = "MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n";
    assert_eq!(client.group(envelope, 3).await, ["250", "250", "354"]);
    for number in 0..3 {
        let both = format!("{}.\r\n{envelope}", letter(&number.to_string()));
        assert_eq!(client.group(both, 4).await, ["250", "250", "250", "354"]);
    }
    assert_eq!(client.group(format!("{}.\r\nQUIT\r\n", letter("last")), 2).await, ["250", "221"]);
    assert_eq!(catcher.mails().len(), 4);
    assert_eq!(catcher.complaints(), Vec::<String>::new());
}

#[tokio::test]
async fn content_before_its_354_is_a_defect_and_so_is_pipelining_that_was_not_announced() {
    let catcher = catcher().await;
    let mut client = Client::greeted(&catcher).await;
    let hasty = format!("MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n{}.\r\n", letter("a"));
    assert_eq!(client.group(&hasty, 4).await, ["250", "250", "354", "250"]);
    assert_eq!(catcher.mails()[0].defects, ["a command that must end its group was followed by more input"]);

    let plain = with(CatcherOptions { extensions: Extensions::none(), ..CatcherOptions::default() }).await;
    let mut client = Client::greeted(&plain).await;
    let grouped = "MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n";
    assert_eq!(client.group(grouped, 3).await, ["250", "250", "354"]);
    client.group(format!("{}.\r\n", letter("a")), 1).await;
    assert_eq!(plain.mails()[0].defects, ["commands were pipelined although PIPELINING was not announced"]);
    assert_eq!(client.ask("NOOP").await, "250 Ok", "no enhanced codes when not announced");
}

#[tokio::test]
async fn chunks_are_joined() {
    let catcher = catcher().await;
    let mut client = Client::greeted(&catcher).await;
    let chunks = "MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\n\
                  BDAT 14\r\nSubject: a\r\n\r\nBDAT 5 LAST\r\n.b\r\n\nMAIL FROM:<a@example.com>\r\n";
    assert_eq!(client.group(chunks, 5).await, ["250", "250", "250", "250", "250"]);
    assert_eq!(**catcher.mails()[0].bytes, *b"Subject: a\r\n\r\n.b\r\n\n");
    assert_eq!(catcher.mails()[0].defects, ["lines end in LF without CR (1)"]);
    let rest = "RCPT TO:<b@example.com>\r\nBDAT 3\r\na\r\nRCPT TO:<c@example.com>\r\nDATA\r\nBDAT 0 LAST\r\n";
    assert_eq!(client.group(rest, 5).await, ["250", "250", "503", "503", "250"]);
    assert_eq!(**catcher.mails()[1].bytes, *b"a\r\n");
}

#[tokio::test]
async fn a_refused_chunk_is_read_all_the_same() {
    let catcher = catcher().await;
    let mut client = Client::greeted(&catcher).await;
    assert_eq!(client.group("BDAT 6\r\nQUIT\r\nNOOP\r\n", 2).await, ["503", "250"]);
    assert_eq!(
        client.group("MAIL FROM:<a@example.com>\r\nBDAT 4 LAST\r\nab\r\nNOOP\r\n", 3).await,
        ["250", "554", "250"]
    );
    assert_eq!(catcher.counts().messages, 0);
}

#[tokio::test]
async fn a_lone_dot_delivers_an_empty_message() {
    let catcher = catcher().await;
    let mut client = Client::greeted(&catcher).await;
    client.deliver("mia@example.com", "").await;
    assert_eq!(catcher.mails()[0].defects, ["the message is empty"]);
}

#[tokio::test]
async fn bare_lf_never_ends_a_line() {
    let catcher = catcher().await;
    let mut client = Client::greeted(&catcher).await;
    let smuggled = "Subject: a\r\n\r\nhello\n.\r\nMAIL FROM:<evil@example.com>\n.\nend\r\n";
    assert!(client.deliver("mia@example.com", smuggled).await.starts_with("250"));
    assert_eq!(catcher.mails().len(), 1);
    assert_eq!(catcher.mails()[0].defects[0], "lines end in LF without CR (3)");
    client.send("NOOP\n").await;
    assert_eq!(client.reply().await, "500 5.5.2 A line ends in CRLF");
    assert_eq!(catcher.complaints(), ["connection 1: a command line ends in LF without CR"]);
}

#[tokio::test]
async fn what_is_too_big_is_refused_at_the_right_place() {
    let extensions = Extensions { size_max: Some(1_000), ..Extensions::default() };
    let catcher = with(CatcherOptions { extensions, ..CatcherOptions::default() }).await;
    let mut client = Client::greeted(&catcher).await;
    assert!(client.ask("MAIL FROM:<a@example.com> SIZE=1001").await.starts_with("552 5.3.4"));
    let line = format!("{}\r\n", "x".repeat(98));
    assert!(client.deliver("mia@example.com", &line.repeat(50)).await.starts_with("552 5.3.4"));
    let chunk =
        format!("MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nBDAT 5000 LAST\r\n{}", line.repeat(50));
    assert_eq!(client.group(chunk, 3).await, ["250", "250", "552"]);
    assert_eq!(catcher.counts().messages, 0);
    assert!(client.deliver("mia@example.com", &line.repeat(9)).await.starts_with("250"));
}

#[tokio::test]
async fn a_line_that_is_too_long_costs_one_refusal() {
    let catcher = catcher().await;
    let mut client = Client::greeted(&catcher).await;
    client.send(format!("NOOP {}\r\nRSET\r\n", "x".repeat(200_000))).await;
    assert_eq!(client.reply().await, "500 5.5.6 The line is too long");
    assert_eq!(client.reply().await, "250 2.0.0 Forgotten");
}

#[tokio::test]
async fn garbage_is_hung_up_on() {
    let catcher = catcher().await;
    let mut client = Client::connect(&catcher).await;
    client.send(b"\x16\x03\x01\x02\x00\x01\xff\xff\r\n".repeat(40)).await;
    let mut replies = Vec::new();
    while replies.last().is_none_or(|last| last != "end" && last != "reset") {
        replies.push(client.reply().await);
    }
    assert_eq!(replies[19], "421 4.7.0 Too many bad commands");
    assert_eq!(replies.len(), 21);
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_leaves_nothing_behind() {
    let catcher = catcher().await;
    let mut client = Client::greeted(&catcher).await;
    client.group("MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n", 3).await;
    client.send("Subject: half").await;
    drop(client);
    let mut other = Client::greeted(&catcher).await;
    assert!(other.deliver("mia@example.com", &letter("whole")).await.starts_with("250"));
    assert_eq!(catcher.mails().len(), 1);
}

#[tokio::test]
async fn many_connections_at_once_lose_and_double_nothing() {
    let catcher = with(CatcherOptions { keep: Keep::Memory, ..CatcherOptions::default() }).await;
    let sending = (0..50).map(|connection| {
        let catcher = &catcher;
        async move {
            let mut client = Client::greeted(catcher).await;
            for number in 0..20 {
                client.deliver("mia@example.com", &letter(&format!("{connection}.{number}"))).await;
            }
        }
    });
    futures_util::future::join_all(sending).await;
    let mut ids: Vec<_> = catcher.mails().into_iter().map(|mail| mail.message_id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 1_000);
}
