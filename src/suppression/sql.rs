//! The conditions other rooms put into their statements, so that "suppressed", "consenting" and "primary" mean one thing everywhere.
//!
//! Each takes SQL expressions (a column such as `m.address_key`, or a bind such as `$3`), never values, and returns a condition
//! that is true or false, never NULL, for any row. The aliases inside (`s_`, `n_`, `a_`) do not collide with those of a caller.

use super::Kind;

/// The address is suppressed for a message of this kind and topic. False when the address is NULL.
pub fn suppressed(address_key: &str, kind: Kind, topic: &str) -> String {
    let scopes = match kind {
        Kind::Service => "'all'".to_owned(),
        Kind::Promotional => format!("'all', 'promotional', 'topic:' || {topic}"),
    };
    format!("EXISTS (SELECT 1 FROM suppression s_ WHERE s_.address_key = {address_key} AND s_.scope IN ({scopes}))")
}

/// The customer has consented to the topic and not taken it back. Without any statement: false.
pub fn consents(bucket: &str, customer_id: &str, topic: &str) -> String {
    format!(
        "EXISTS (SELECT 1 FROM consent n_ WHERE n_.bucket = {bucket} AND n_.customer_id = {customer_id} \
         AND n_.topic = {topic} AND n_.granted)"
    )
}

/// The customer is the one this address is written to. False when the address is NULL.
pub fn is_primary(address_key: &str, bucket: &str, customer_id: &str) -> String {
    format!(
        "EXISTS (SELECT 1 FROM address a_ WHERE a_.address_key = {address_key} AND a_.bucket = {bucket} \
         AND a_.customer_id = {customer_id})"
    )
}
