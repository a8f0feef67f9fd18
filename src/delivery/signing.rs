//! Signing mail off the threads that talk to mail servers.
//!
//! An RSA signature takes most of a millisecond of pure arithmetic. On the threads of the connections that would keep every other
//! conversation, every lease and every commit waiting; so it is done on threads of its own, as many as there are processors. They take mails from
//! one queue, so that none waits for a connection to hand it the next.

use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{self, available_parallelism};

use tokio::sync::oneshot;

use super::Mail;
use crate::clock::Millis;
use crate::dkim::Signer;
use crate::message;

/// A mail to sign, and who waits for it.
struct Job {
    mail: Mail,
    date_at: Millis,
    answer: oneshot::Sender<Result<Mail, String>>,
}

/// The queue of the threads that sign. They end when it is dropped.
pub(super) struct Signing {
    jobs: mpsc::Sender<Job>,
}

impl Signing {
    /// Sign with these keys.
    pub fn new(signer: Arc<Signer>) -> Signing {
        let (jobs, queue) = mpsc::channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..available_parallelism().map_or(1, usize::from) {
            let (signer, queue) = (signer.clone(), queue.clone());
            let next = move || queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let sign = move || {
                while let Ok(Job { mail, date_at, answer }) = next() {
                    let _ = answer.send(signed(&signer, mail, date_at)); // who waited may have given up
                }
            };
            thread::Builder::new().name("signing".to_owned()).spawn(sign).expect("the system gives a thread");
        }
        Signing { jobs }
    }

    /// The mail with its signatures; `date_at` is the instant that they name.
    pub async fn sign(&self, mail: Mail, date_at: Millis) -> Result<Mail, String> {
        let (answer, signed) = oneshot::channel();
        self.jobs.send(Job { mail, date_at, answer }).expect("the threads outlive their queue");
        signed.await.expect("signing does not panic")
    }
}

fn signed(signer: &Signer, mail: Mail, date_at: Millis) -> Result<Mail, String> {
    let bytes = signer.sign(&mail.bytes, date_at).map_err(|e| e.to_string())?;
    message::check_wire(&bytes).map_err(|e| format!("signed, the message would hold {e}"))?;
    Ok(Mail { bytes, ..mail })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dkim::{Identity, PrivateKey};

    #[tokio::test(flavor = "current_thread")]
    async fn a_signature_is_made_while_the_thread_of_the_conversations_does_something_else() {
        let key = PrivateKey::parse(&PrivateKey::new_ed25519_pem()).unwrap();
        let identity = Identity { domain: "example.com".to_owned(), selector: "s".to_owned() };
        let signing = Signing::new(Arc::new(Signer::new(vec![(identity, key)]).unwrap()));
        let bytes = b"From: a@example.com\r\nTo: b@example.com\r\nSubject: Hello\r\n\r\nHello\r\n".to_vec();
        let mail = Mail { envelope_from: "a@example.com".to_owned(), envelope_to: "b@example.com".to_owned(), bytes };
        // On this thread nothing of ours runs but what is polled: a signature made here would be there at the first look.
        let mut signed = std::pin::pin!(signing.sign(mail, 0));
        let caller = std::thread::current().id();
        let looked_at = futures_util::poll!(signed.as_mut());
        assert!(looked_at.is_pending(), "signed on {caller:?}, where conversations run");
        assert!(signed.await.unwrap().bytes.starts_with(b"DKIM-Signature:"));
    }
}
