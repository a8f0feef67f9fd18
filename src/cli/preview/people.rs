//! Who gets the mails of a preview: personas, or one customer.

use super::PreviewArgs;
use crate::campaign::{Campaign, Kind};
use crate::cli::loaded::Loaded;
use crate::cli::{Failure, Invocation, recommend};
use crate::content::{FieldSet, TemplateSet};
use crate::data;
use crate::persona::Persona;
use crate::plan;
use serde_json::Value;

/// The people who were asked for.
pub(super) async fn asked(
    inv: &Invocation,
    loaded: &Loaded,
    campaign: &Campaign,
    set: &TemplateSet,
    personas: Vec<Persona>,
    args: &PreviewArgs,
) -> Result<Vec<Persona>, Failure> {
    if let Some(id) = &args.customer {
        return Ok(vec![customer(inv, loaded, campaign, set.fields_used(), id).await?]);
    }
    let names: Vec<&str> = args.personas.iter().map(String::as_str).filter(|n| !n.is_empty()).collect();
    if let Some(unknown) = names.iter().find(|n| personas.iter().all(|p| p.name != **n)) {
        let known: Vec<&str> = personas.iter().map(|p| p.name.as_str()).collect();
        return Err(Failure::Usage(format!("there is no persona `{unknown}`\npersonas: {}", known.join(", "))));
    }
    Ok(personas.into_iter().filter(|p| names.is_empty() || names.contains(&p.name.as_str())).collect())
}

/// A customer's data as a message of theirs would carry it.
async fn customer(
    inv: &Invocation,
    loaded: &Loaded,
    campaign: &Campaign,
    fields: FieldSet,
    id: &str,
) -> Result<Persona, Failure> {
    let settings = &loaded.project.settings;
    let as_of = inv.clock(&settings.time_zone)?.as_of();
    let db = inv.open_db(&loaded.project).await?;
    let customer = data::load::customer(&db, id).await?.ok_or_else(|| {
        Failure::Usage(format!("there is no customer `{id}`\nleave --customer away to preview with invented people"))
    })?;
    recommend::get_ready(inv, &db, campaign).await?;
    let mut payload = plan::payload_of(&db, settings, &fields, campaign.recommends(), as_of, id).await?;
    if payload["recommend"].as_array().is_some_and(Vec::is_empty) && campaign.kind == Kind::Promotional {
        return Err(Failure::Usage(format!(
            "there is nothing to recommend to `{id}`: they would be skipped (no_content)
`okaeri recommend show --customer {id}` shows what each strategy finds"
        )));
    }
    let locale = customer.locale.unwrap_or_else(|| settings.default_locale.clone());
    // A preview reaches nobody: someone without an address can be looked at all the same.
    let email = customer.email.unwrap_or_else(|| "nobody@example.com".to_owned());
    for (name, value) in [("customer_id", id), ("email", &email), ("locale", &locale)] {
        payload["customer"][name] = Value::from(value);
    }
    Ok(Persona { name: id.to_owned(), title: "a customer".to_owned(), locale: Some(locale), strange: false, payload })
}
