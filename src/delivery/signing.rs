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
