//! One planner at a time per project, so that caps see what is already planned.

use crate::clock::{Millis, SECOND};
use crate::db::{Db, DbResult, Lease};

/// How long the lease holds unless it is renewed.
const HOLD: Millis = 30 * SECOND;

/// Take the right to plan; `None` while another process has it.
pub async fn take(db: &Db, now: Millis) -> DbResult<Option<Lease>> {
    Lease::take(db, "planner", HOLD, now).await
}
