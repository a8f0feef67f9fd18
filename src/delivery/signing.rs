//! Signing mail off the threads that talk to mail servers.
//!
//! An RSA signature takes most of a millisecond of pure arithmetic. On the threads of the connections that would keep every other
//! conversation, every lease and every commit waiting; so it is done on threads of its own, as many at once as there are processors.

use std::sync::Arc;
use std::thread::available_parallelism;

use tokio::sync::Semaphore;

use super::Mail;
use crate::clock::Millis;
use crate::dkim::Signer;
use crate::message;

/// A signer and the turns at it.
pub(super) struct Signing {
    signer: Arc<Signer>,
    turns: Semaphore,
}

impl Signing {
    /// Sign with these keys.
    pub fn new(signer: Arc<Signer>) -> Signing {
        let at_once = available_parallelism().map_or(1, usize::from);
        Signing { signer, turns: Semaphore::new(at_once) }
    }

    /// The mail with its signatures; `date_at` is the instant that they name.
    pub async fn sign(&self, mail: Mail, date_at: Millis) -> Result<Mail, String> {
        let _turn = self.turns.acquire().await.expect("the turns are never closed");
        let signer = self.signer.clone();
        let signed = tokio::task::spawn_blocking(move || {
            let bytes = signer.sign(&mail.bytes, date_at).map_err(|e| e.to_string())?;
            message::check_wire(&bytes).map_err(|e| format!("signed, the message would hold {e}"))?;
            Ok(Mail { bytes, ..mail })
        });
        signed.await.expect("signing does not panic")
    }
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
