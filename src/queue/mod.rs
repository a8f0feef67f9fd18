//! The durable queue: runs, chunks, messages and their deliveries. Owns these tables; nobody else writes them.
//!
//! The promise is kept here: the ledger row of a message exists before any network call ([`enqueue`]); workers lease chunks, not messages
//! ([`lease`]); a message may leave only after [`ledger`] moved it to `committed` in a transaction that saw the lease, the run and the
//! suppression list; what a dead worker left in doubt becomes `unknown` and is named ([`rescue`]).
//!
//! Legal moves are pure, in [`states`]; `docs/states.md` draws them.

pub mod answers;
pub mod cancel;
pub mod decide;
pub mod due;
pub mod enqueue;
pub mod fill;
mod follow;
pub mod groups;
pub mod lately;
pub mod lease;
pub mod ledger;
pub mod planner;
pub mod proof;
pub mod recheck;
pub mod rescue;
pub mod run;
pub mod show;
pub mod states;
pub mod status;
pub mod wave;

pub use states::{DeliveryState, RunState};

use crate::clock::{HOUR, MINUTE, Millis, SECOND};

/// Messages in a chunk at most.
pub const CHUNK_MESSAGES_MAX: usize = 500;
/// Messages of one chunk fall due within one such stretch.
pub const CHUNK_STRETCH: Millis = 15 * MINUTE;
/// How long a lease holds unless it is renewed.
pub const LEASE: Millis = 30 * SECOND;
/// How often a living worker renews its leases.
pub const LEASE_RENEWAL: Millis = 10 * SECOND;
/// How long after its due time a message is still worth sending.
pub const MESSAGE_LIFETIME: Millis = 24 * HOUR;
