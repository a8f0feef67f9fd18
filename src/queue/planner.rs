//! One planner at a time per project: a named lease, so that caps see what is already planned.

use crate::args;
use crate::clock::{Millis, SECOND};
use crate::db::{Db, DbResult};

/// How long the lease holds unless it is renewed.
const HOLD: Millis = 30 * SECOND;
const NAME: &str = "planner";

/// The right to plan.
#[derive(Debug)]
pub struct PlannerLease {
    token: String,
}

impl PlannerLease {
    /// Take the lease; `None` while another process holds it.
    pub async fn take(db: &Db, now: Millis) -> DbResult<Option<PlannerLease>> {
        let token = crate::token::random_token();
        let taken = db
            .execute(
                "INSERT INTO lease (name, token, until_at) VALUES ($1, $2, $3) \
                 ON CONFLICT (name) DO UPDATE SET token = excluded.token, until_at = excluded.until_at WHERE lease.until_at <= $4",
                args![NAME, &token, now + HOLD, now],
            )
            .await?;
        Ok((taken > 0).then_some(PlannerLease { token }))
    }

    /// Hold on; false when the lease was lost.
    pub async fn renew(&self, db: &Db, now: Millis) -> DbResult<bool> {
        let sql = "UPDATE lease SET until_at = $1 WHERE name = $2 AND token = $3 AND until_at > $4";
        Ok(db.execute(sql, args![now + HOLD, NAME, &self.token, now]).await? > 0)
    }

    /// Give it back.
    pub async fn release(self, db: &Db) -> DbResult<()> {
        db.execute("DELETE FROM lease WHERE name = $1 AND token = $2", args![NAME, &self.token]).await?;
        Ok(())
    }
}
