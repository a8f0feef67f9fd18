//! What is kept, and when.

use super::super::{Answer, Behaviour, Keep, Moment, Stage, read_log};
use super::*;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

#[tokio::test]
async fn files_hold_the_content_and_numbers_go_on_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mails = folder.path().join("mails");
    let options = CatcherOptions { keep: Keep::Dir(mails.clone()), ..Default::default() };
    let catcher = with(options.clone()).await;
    Client::greeted(&catcher).await.deliver("mia@example.com", &letter("a")).await;
    assert_eq!(std::fs::read_to_string(mails.join("000001.eml")).unwrap(), letter("a"));
    assert_eq!(**catcher.mails()[0].bytes, *letter("a").as_bytes());
    catcher.stop().await;

    let catcher = with(options).await;
    Client::greeted(&catcher).await.deliver("mia@example.com", &letter("b")).await;
    assert_eq!(std::fs::read_to_string(mails.join("000001.eml")).unwrap(), letter("a"));
    assert_eq!(std::fs::read_to_string(mails.join("000002.eml")).unwrap(), letter("b"));
}

#[tokio::test]
async fn counting_keeps_no_mail() {
    let catcher = with(CatcherOptions { keep: Keep::Count, ..Default::default() }).await;
    Client::greeted(&catcher).await.deliver("mia@example.com", "a\nb\r\n").await;
    Client::greeted(&catcher).await.deliver("mia@example.com", &letter("a")).await;
    assert_eq!(catcher.mails(), []);
    let counts = catcher.counts();
    assert_eq!((counts.messages, counts.defective), (2, 1));
}

/// A line per recipient is in the log before the answer is even decided on.
#[tokio::test]
async fn the_log_is_written_before_the_answer() {
    /// Stores, then notes what the log holds at the next command of the group.
    struct Witness {
        log: PathBuf,
        seen: Arc<Mutex<Vec<usize>>>,
    }
    impl Behaviour for Witness {
        fn answer(&self, moment: &Moment<'_>) -> Answer {
            if matches!(moment.stage, Stage::EndOfData | Stage::Quit) {
                self.seen.lock().unwrap().push(read_log(&self.log).unwrap().len());
            }
            match moment.stage {
                Stage::EndOfData => Answer::of([super::super::Move::Store]),
                _ => Answer::agree(),
            }
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("caught.log");
    let seen = Arc::default();
    let witness = Witness { log: log.clone(), seen: Arc::clone(&seen) };
    let options = CatcherOptions { log: Some(log.clone()), behaviour: Arc::new(witness), ..Default::default() };
    let catcher = with(options).await;
    let mut client = Client::greeted(&catcher).await;
    let envelope = "MAIL FROM:<a@example.com>\r\nRCPT TO:<mia@example.com>\r\nRCPT TO:<ken@example.com>\r\nDATA\r\n";
    client.group(envelope, 4).await;
    client.send(format!("{}.\r\nQUIT\r\n", letter("a"))).await;
    assert_eq!(client.reply().await, "221 2.0.0 Goodbye", "the message has no answer");
    assert_eq!(*seen.lock().unwrap(), [0, 2]);
    let entries = read_log(&log).unwrap();
    assert_eq!(entries[1].recipient, "ken@example.com");
    assert_eq!(entries[1].message_id.as_deref(), Some("<a@example.com>"));
    let sum = ring::digest::digest(&ring::digest::SHA256, letter("a").as_bytes());
    let sum: String = sum.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(entries[0].sha256, sum);
}

#[tokio::test]
async fn a_message_that_cannot_be_stored_is_answered_452() {
    let folder = tempfile::tempdir().unwrap();
    let mails = folder.path().join("mails");
    let catcher = with(CatcherOptions { keep: Keep::Dir(mails.clone()), ..Default::default() }).await;
    std::fs::remove_dir(&mails).unwrap();
    let mut client = Client::greeted(&catcher).await;
    assert_eq!(client.deliver("mia@example.com", &letter("a")).await, "452 4.3.1 No room to store the message");
    assert!(catcher.complaints()[0].starts_with("connection 1: the message cannot be stored"));
    std::fs::create_dir(&mails).unwrap();
    assert!(client.deliver("mia@example.com", &letter("a")).await.starts_with("250"));
    assert_eq!(catcher.counts().messages, 1);
}

#[tokio::test]
async fn a_foreign_log_or_a_taken_port_is_an_error_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    std::fs::write(&log, "shopping list\n").unwrap();
    assert!(Catcher::start(CatcherOptions { log: Some(log), ..Default::default() }).await.is_err());
    let catcher = catcher().await;
    assert!(Catcher::start(CatcherOptions { bind: catcher.addr(), ..Default::default() }).await.is_err());
}
