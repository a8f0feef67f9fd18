//! Behaviours: every move, at the stages where it matters.

use super::super::{Answer, Behaviour, ByRecipient, Moment, Move, Stage};
use super::*;
use std::sync::Arc;

/// Gives one answer at one stage.
struct At(Stage, Answer);

impl Behaviour for At {
    fn answer(&self, moment: &Moment<'_>) -> Answer {
        if moment.stage == self.0 { self.1.clone() } else { Answer::agree() }
    }
}

async fn misbehaving(behaviour: impl Behaviour) -> Catcher {
    with(CatcherOptions { behaviour: Arc::new(behaviour), ..CatcherOptions::default() }).await
}

#[tokio::test]
async fn the_recipient_decides() {
    let catcher = misbehaving(ByRecipient::standard()).await;
    let mut client = Client::greeted(&catcher).await;
    for (to, reply) in [
        ("hard@example.com", "550 5.1.1 No such person here"),
        ("full@example.com", "452 4.2.2 Mailbox full"),
        ("policy@example.com", "550 5.7.1 Not accepted for policy reasons"),
        ("greylist@example.com", "451 4.7.1 Greylisted, come back later"),
        ("greylist@example.com", "250 2.1.5 Recipient ok"),
    ] {
        client.ask("MAIL FROM:<news@example.com>").await;
        assert_eq!(client.ask(&format!("RCPT TO:<{to}>")).await, reply);
        client.ask("RSET").await;
    }
    assert_eq!(client.deliver("spam@example.com", &letter("a")).await, "554 5.7.1 Message content rejected");
    assert_eq!(client.deliver("busy@example.com", &letter("b")).await, "451 4.3.0 Try again later");
    assert_eq!(catcher.counts().messages, 0);
    assert_eq!(client.deliver("drop@example.com", &letter("c")).await, "end");
    assert_eq!(catcher.counts().messages, 1, "drop@ stores before it hangs up");
    let mut client = Client::greeted(&catcher).await;
    assert_eq!(client.deliver("lost@example.com", &letter("d")).await, "end");
    assert_eq!(catcher.counts().messages, 1, "lost@ does not store");
    assert_eq!(catcher.counts().refused, 6);
}

#[tokio::test]
async fn a_refused_recipient_in_a_group_does_not_stop_the_others() {
    let catcher = misbehaving(ByRecipient::standard()).await;
    let mut client = Client::greeted(&catcher).await;
    let envelope = "MAIL FROM:<a@example.com>\r\nRCPT TO:<hard@example.com>\r\nRCPT TO:<mia@example.com>\r\nDATA\r\n";
    assert_eq!(client.group(envelope, 4).await, ["250", "550", "250", "354"]);
    assert_eq!(client.group(format!("{}.\r\n", letter("a")), 1).await, ["250"]);
    assert_eq!(catcher.mails()[0].envelope_to, ["mia@example.com"]);
    let none = "MAIL FROM:<a@example.com>\r\nRCPT TO:<hard@example.com>\r\nDATA\r\nRSET\r\n";
    assert_eq!(client.group(none, 4).await, ["250", "550", "554", "250"]);
}

/// RFC 2920 §3.1: a server may answer 354 although it refused every recipient; a lone dot is right then.
#[tokio::test]
async fn data_without_recipients_can_be_let_through_and_stores_nothing() {
    struct Careless;
    impl Behaviour for Careless {
        fn answer(&self, moment: &Moment<'_>) -> Answer {
            match moment.stage {
                Stage::Rcpt => Answer::reply(550, "5.1.1", "No such person here"),
                Stage::Data => Answer::reply(354, "", "Go on"),
                _ => Answer::agree(),
            }
        }
    }
    let catcher = misbehaving(Careless).await;
    let mut client = Client::greeted(&catcher).await;
    let envelope = "MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n";
    assert_eq!(client.group(envelope, 3).await, ["250", "550", "354"]);
    assert_eq!(client.ask(".").await, "554 5.5.1 No valid recipients");
    assert_eq!(catcher.counts().messages, 0);
}

#[tokio::test]
async fn banners_can_refuse() {
    let catcher = misbehaving(At(Stage::Banner, Answer::reply(554, "", "No service"))).await;
    let mut client = Client::silent(&catcher).await;
    assert_eq!(client.reply().await, "554 No service");
    assert!(client.ask("EHLO test.example").await.starts_with("503"));
    assert!(client.ask("QUIT").await.starts_with("221"));
    let catcher = misbehaving(At(Stage::Banner, Answer::reply(421, "", "Busy"))).await;
    let mut client = Client::silent(&catcher).await;
    assert_eq!(client.reply().await, "421 Busy");
    assert_eq!(client.reply().await, "end");
}

#[tokio::test]
async fn closing_and_resetting_are_told_apart() {
    for (answer, end) in [(Answer::close(), "end"), (Answer::reset(), "reset")] {
        for stage in [Stage::Ehlo, Stage::Noop] {
            let catcher = misbehaving(At(stage, answer.clone())).await;
            let mut client = Client::connect(&catcher).await;
            client.send(if stage == Stage::Ehlo { "EHLO test.example\r\n" } else { "NOOP\r\n" }).await;
            assert_eq!(client.reply().await, end);
        }
    }
    let catcher = misbehaving(At(Stage::EndOfData, Answer::store_then_reset())).await;
    let mut client = Client::greeted(&catcher).await;
    assert_eq!(client.deliver("mia@example.com", &letter("a")).await, "reset");
    assert_eq!(catcher.mails().len(), 1);
}

#[tokio::test]
async fn content_can_be_cut_off() {
    struct Scissors;
    impl Behaviour for Scissors {
        fn answer(&self, moment: &Moment<'_>) -> Answer {
            let long = moment.transaction.content_bytes > 10_000;
            if moment.stage == Stage::Content && long { Answer::reset() } else { Answer::agree() }
        }
    }
    let catcher = misbehaving(Scissors).await;
    let mut client = Client::greeted(&catcher).await;
    assert!(client.deliver("mia@example.com", &letter("short")).await.starts_with("250"));
    client.group("MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n", 3).await;
    client.send("0123456789\r\n".repeat(5_000)).await;
    assert_eq!(client.reply().await, "reset");
    assert_eq!(catcher.mails().len(), 1);
}

#[tokio::test]
async fn replies_can_be_partial_doubled_or_not_even_text() {
    let half = Answer::of([Move::Store, Move::Raw(b"25".to_vec()), Move::Close]);
    let catcher = misbehaving(At(Stage::EndOfData, half)).await;
    let mut client = Client::greeted(&catcher).await;
    assert_eq!(client.deliver("mia@example.com", &letter("a")).await, "end");
    assert_eq!(client.input, b"25");
    assert_eq!(catcher.mails().len(), 1);

    let twice = Answer::of([Move::Agree, Move::Raw(b"250 \xff\xfe\r\n".to_vec())]);
    let catcher = misbehaving(At(Stage::Noop, twice)).await;
    let mut client = Client::greeted(&catcher).await;
    assert_eq!(client.ask("NOOP").await, "250 2.0.0 Ok");
    assert_eq!(client.reply().await, "250 \u{fffd}\u{fffd}");

    let liar = Answer::of([Move::Raw(b"250 2.0.0 Message stored\r\n".to_vec())]);
    let catcher = misbehaving(At(Stage::EndOfData, liar)).await;
    let mut client = Client::greeted(&catcher).await;
    assert!(client.deliver("mia@example.com", &letter("a")).await.starts_with("250"));
    assert_eq!(catcher.counts().messages, 0, "raw bytes never store");
}

#[tokio::test]
async fn an_endless_reply_ends_with_the_client() {
    let endless = Answer::of([Move::Endless(b"250-more\r\n".to_vec())]);
    let catcher = misbehaving(At(Stage::Noop, endless)).await;
    let mut client = Client::greeted(&catcher).await;
    client.send("NOOP\r\n").await;
    for _ in 0..20_000 {
        assert_eq!(client.line().await.as_deref(), Ok("250-more"));
    }
    drop(client);
    catcher.stop().await;
}

#[tokio::test]
async fn a_server_that_lies_about_pipelining_forgets_what_followed() {
    let lie = Answer::of([Move::Agree, Move::DropInput]);
    let catcher = misbehaving(At(Stage::Mail, lie)).await;
    let mut client = Client::greeted(&catcher).await;
    client.send("MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n").await;
    assert!(client.reply().await.starts_with("250 2.1.0"));
    assert!(client.ask("NOOP").await.starts_with("250 2.0.0"), "RCPT and DATA have no reply");
}

/// The pauses are long and the clock is the runtime's own: only their order is measured.
#[tokio::test]
async fn waiting_sends_what_was_said_before_and_stores_first_if_told() {
    let hour = Duration::from_secs(3_600);
    let catcher = misbehaving(At(Stage::EndOfData, Answer::store_then_wait(hour))).await;
    let mut client = Client::greeted(&catcher).await;
    let envelope = "MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n";
    assert_eq!(client.group(envelope, 3).await, ["250", "250", "354"]);
    client.send(format!("{}.\r\n", letter("a"))).await;
    while catcher.counts().messages == 0 {
        tokio::task::yield_now().await;
    }
    catcher.stop().await;
    assert_ne!(client.reply().await, "250 2.0.0 Message stored");

    let stall = Answer::of([Move::Agree, Move::Wait(hour)]);
    let catcher = misbehaving(At(Stage::Noop, stall)).await;
    let mut client = Client::greeted(&catcher).await;
    assert_eq!(client.ask("NOOP").await, "250 2.0.0 Ok");
    catcher.stop().await;
    assert_ne!(client.reply().await, "250 2.0.0 Ok");
}

#[tokio::test]
async fn a_trickled_banner_arrives_whole() {
    let slow = Answer::of([Move::Trickle(b"220 slow.example\r\n".to_vec(), Duration::from_millis(1))]);
    let catcher = misbehaving(At(Stage::Banner, slow)).await;
    let mut client = Client::silent(&catcher).await;
    assert_eq!(client.reply().await, "220 slow.example");
    assert!(client.ask("EHLO test.example").await.starts_with("250"));
}

#[tokio::test]
async fn a_limit_of_messages_per_connection_is_a_behaviour() {
    struct TwoEach;
    impl Behaviour for TwoEach {
        fn answer(&self, moment: &Moment<'_>) -> Answer {
            if moment.stage == Stage::Mail && moment.messages >= 2 {
                Answer::reply(421, "4.7.0", "Enough for one connection")
            } else {
                Answer::agree()
            }
        }
    }
    let catcher = misbehaving(TwoEach).await;
    let mut client = Client::greeted(&catcher).await;
    client.deliver("mia@example.com", &letter("a")).await;
    client.deliver("mia@example.com", &letter("b")).await;
    assert!(client.ask("MAIL FROM:<a@example.com>").await.starts_with("421"));
    assert_eq!(client.reply().await, "end");
}
