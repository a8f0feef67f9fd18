//! Named leases: a time-limited claim that one process at a time may hold, in table `lease`.

use super::{Db, DbResult, Tx, Value};
use crate::args;
use crate::clock::Millis;

const RENEW: &str = "UPDATE lease SET until_at = $1 WHERE name = $2 AND token = $3 AND until_at > $4";

/// A held lease.
#[derive(Debug)]
pub struct Lease {
    name: &'static str,
    token: String,
    hold: Millis,
}

impl Lease {
    /// Take the lease for `hold`; `None` while another process has it. One that ends much later than a hold from now was given by a clock that
    /// was ahead, and holds nobody off.
    pub async fn take(db: &Db, name: &'static str, hold: Millis, now: Millis) -> DbResult<Option<Lease>> {
        let token = crate::token::random_token();
        let taken = db
            .execute(
                "INSERT INTO lease (name, token, until_at) VALUES ($1, $2, $3) \
                 ON CONFLICT (name) DO UPDATE SET token = excluded.token, until_at = excluded.until_at \
                 WHERE lease.until_at <= $4 OR lease.until_at > $5",
                args![name, &token, now + hold, now, now + 2 * hold],
            )
            .await?;
        Ok((taken > 0).then_some(Lease { name, token, hold }))
    }

    /// Hold on; false when the lease was lost.
    pub async fn renew(&self, db: &Db, now: Millis) -> DbResult<bool> {
        Ok(db.execute(RENEW, self.renewing(now)).await? > 0)
    }

    /// The same in a transaction: nobody else can take the lease until it ends.
    pub async fn renew_in(&self, tx: &mut Tx, now: Millis) -> DbResult<bool> {
        Ok(tx.execute(RENEW, self.renewing(now)).await? > 0)
    }

    fn renewing(&self, now: Millis) -> Vec<Value> {
        args![now + self.hold, self.name, &self.token, now]
    }

    /// Give it back.
    pub async fn release(self, db: &Db) -> DbResult<()> {
        db.execute("DELETE FROM lease WHERE name = $1 AND token = $2", args![self.name, &self.token]).await?;
        Ok(())
    }
}
