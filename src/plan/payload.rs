//! Payloads: what a message carries for its templates — the fields they use and no more, as they were at the planning instant.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value as Json};

use super::candidates::Candidate;
use crate::clock;
use crate::content::{FieldSet, Used};
use crate::data::{cart, load as data};
use crate::db::{Db, DbResult};
use crate::offer::recommend::Recommended;
use crate::profile::{self, Moment, loyalty};
use crate::settings::Settings;

/// Fields the message row itself holds; a payload does not repeat them.
const IN_THE_ROW: [&str; 3] = ["customer_id", "email", "locale"];

/// One payload for each person, in the order given. People come in the order of their buckets.
pub(super) async fn build(
    db: &Db,
    settings: &Settings,
    fields: &FieldSet,
    moment: &Moment,
    people: &[&Candidate],
) -> DbResult<Vec<Json>> {
    let mut out = Vec::with_capacity(people.len());
    for in_bucket in people.chunk_by(|a, b| a.bucket == b.bucket) {
        let bucket = in_bucket[0].bucket;
        let ids: Vec<&str> = in_bucket.iter().map(|c| c.customer_id.as_str()).collect();
        let owned: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
        let mut customers: HashMap<String, Json> = data::customers(db, bucket, &ids)
            .await?
            .into_iter()
            .map(|c| (c.customer_id.clone(), json_of(&c)))
            .collect();
        let profiles = if fields.profile == Used::Only(Default::default()) {
            HashMap::new()
        } else {
            let facts = profile::load(db, bucket, &owned).await?;
            facts.into_iter().map(|f| (f.customer_id.clone(), json_of(&f.view(moment)))).collect()
        };
        let orders = if fields.order {
            data::last_order_with_lines(db, &moment.zone, bucket, &ids).await?
        } else {
            HashMap::new()
        };
        let mut standings = match fields.loyalty {
            true => loyalty::standings(db, settings, moment.as_of, bucket, &ids).await?,
            false => HashMap::new(),
        };
        let mut carts = if fields.cart { cart::carts(db, &moment.zone, bucket, &ids).await? } else { HashMap::new() };
        for person in in_bucket {
            let id = &person.customer_id;
            let mut payload = BTreeMap::new();
            let customer = customers.remove(id).unwrap_or_default();
            payload.insert("customer", kept(customer, |f| !IN_THE_ROW.contains(&f) && fields.customer.contains(f)));
            let nobody = || json_of(&profile::Facts::default().view(moment));
            let view = profiles.get(id).cloned().unwrap_or_else(nobody);
            payload.insert("profile", kept(view, |f| fields.profile.contains(f)));
            if let Some(order) = orders.get(id) {
                payload.insert("order", json_of(order));
            }
            if fields.loyalty {
                let nothing =
                    || settings.loyalty.as_ref().map(|l| loyalty::standing(l, &[], &moment.zone)).unwrap_or_default();
                payload.insert("loyalty", json_of(&standings.remove(id).unwrap_or_else(nothing)));
            }
            if let Some(cart) = carts.remove(id) {
                payload.insert("cart", json_of(&cart));
            }
            payload.insert("today", clock::date_in(moment.as_of, &moment.zone).to_string().into());
            out.push(json_of(&payload));
        }
    }
    Ok(out)
}

/// Products recommended to the person; an empty list where there are none.
pub(super) fn add_recommended(payload: &mut Json, recommended: &[Recommended]) {
    payload["recommend"] = json_of(&recommended);
}

/// What the person is given.
pub fn add_reward(payload: &mut Json, told: Json) {
    payload["reward"] = told;
}

fn json_of(value: &impl serde::Serialize) -> Json {
    serde_json::to_value(value).expect("rows of text and numbers serialise")
}

/// The fields of an object that are wanted and known.
fn kept(object: Json, wanted: impl Fn(&str) -> bool) -> Json {
    let Json::Object(fields) = object else { return Json::Object(Map::new()) };
    fields.into_iter().filter(|(name, value)| !value.is_null() && wanted(name)).collect()
}
