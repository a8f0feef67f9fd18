//! `okaeri segment explain NAME --customer ID`: the rule as a tree with one person's values, for why and for why not.

use serde_json::json;

use super::Asked;
use crate::cli::{Exit, Failure};
use crate::segment::{self, Person};

impl Asked<'_> {
    pub(super) async fn explain(&self, name: &str, customer_id: &str) -> Result<Exit, Failure> {
        let segment = self.segment(name)?;
        let prepared = self.prepare(&[name]).await?;
        let person = Person::load(self.db, customer_id).await?.ok_or_else(|| {
            Failure::Usage(format!("no customer `{customer_id}`\nids are those of the imported customers"))
        })?;
        if !person.has_profile() {
            return Err(Failure::Usage(format!("customer `{customer_id}` has no profile yet\nrun `okaeri profile`")));
        }
        let proof = segment::explain::explain(&prepared, name, &person, &self.project.settings)
            .expect("the segment was picked");
        self.inv.print(
            || json!({ "segment": name, "customer_id": customer_id, "as_of": self.instant(self.as_of), "member": proof.holds, "proof": proof }),
            || {
                let bold = anstyle::Style::new().bold();
                let verdict = if proof.holds { "is in" } else { "is not in" };
                format!(
                    "{bold}{customer_id} {verdict} {name}{bold:#} ({}), as of {}\n{}",
                    segment.title,
                    self.instant(self.as_of),
                    proof.to_text()
                )
            },
        );
        Ok(Exit::Done)
    }
}
