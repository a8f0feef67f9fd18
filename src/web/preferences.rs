//! `/p/{token}`: the preference page: every topic with a box.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use crate::feedback::{Kind, Preferences};
use crate::suppression::Scope;

use super::form::{self, Choice, Press};
use super::{App, Asked, content_type, page};

/// GET: what this person gets. Changes nothing.
pub(super) async fn show(State(app): State<Arc<App>>, asked: Asked) -> Result<Response, Response> {
    let shown = asked.preferences(&app).await?;
    Ok(page(StatusCode::OK, asked.page(&app, &shown).preferences(|topic| shown.gets(topic), false)))
}

/// POST: make it so. Only boxes that differ from what stands are changed.
pub(super) async fn save(
    State(app): State<Arc<App>>,
    asked: Asked,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Response> {
    let body = body.map_err(|e| asked.unreadable(&app, &e))?;
    let shown = asked.preferences(&app).await?;
    let of = asked.page(&app, &shown);
    let Some(choice) = form::choice(content_type(&headers), &body) else {
        return Ok(page(StatusCode::BAD_REQUEST, of.not_understood()));
    };
    let topics: Vec<&str> = app.pages.topics().iter().map(|t| t.name.as_str()).collect();
    for kind in changes(&shown, &topics, &choice) {
        app.record(&asked.key, kind, "preferences", &shown).await.map_err(|e| asked.failed(&app, &e))?;
    }
    let html = match choice {
        Choice::StopPromotional => of.stopped(Press::UndoPromotional, &asked.preferences_link()),
        Choice::Topics(wanted) if wanted.iter().any(|topic| shown.is_barred(topic)) => of.barred(),
        Choice::Topics(_) => {
            let now = asked.preferences(&app).await?;
            of.preferences(|topic| now.gets(topic), true)
        }
    };
    Ok(page(StatusCode::OK, html))
}

/// The words that lead from what stands to what was chosen. Stops come before resumptions: should we fail between two of them, the person
/// gets too little rather than too much. Wanting any topic takes "no promotional mail" back; the topics not wanted are then stopped each
/// by itself. Topics the project does not have are ignored.
fn changes(shown: &Preferences, topics: &[&str], choice: &Choice) -> Vec<Kind> {
    let wanted = match choice {
        Choice::StopPromotional => return vec![Kind::Unsubscribe(Scope::Promotional)],
        Choice::Topics(wanted) => wanted,
    };
    let wants = |topic: &str| wanted.iter().any(|w| w == topic);
    let all_stopped = shown.has_stopped(&Scope::Promotional);
    let reopens = all_stopped && topics.iter().any(|t| wants(t));
    let mut stops = Vec::new();
    let mut resumptions = Vec::new();
    for topic in topics {
        let scope = Scope::Topic((*topic).to_owned());
        match (wants(topic), shown.gets(topic)) {
            (true, false) => resumptions.push(Kind::Resubscribe(scope)),
            (false, true) => stops.push(Kind::Unsubscribe(scope)),
            (false, false) if reopens && !shown.has_stopped(&scope) => stops.push(Kind::Unsubscribe(scope)),
            _ => {}
        }
    }
    stops.extend(resumptions);
    if reopens {
        stops.push(Kind::Resubscribe(Scope::Promotional));
    }
    stops
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suppression::{Reason, Suppression};

    fn topic(name: &str) -> Scope {
        Scope::Topic(name.into())
    }

    fn stop(scope: &Scope) -> Suppression {
        Suppression {
            address_key: "mia@example.com".into(),
            scope: scope.clone(),
            reason: Reason::Unsubscribe,
            at: 1,
            source: "page".into(),
        }
    }

    fn person(stops: &[Scope], consents: &[&str]) -> Preferences {
        Preferences {
            stops: stops.iter().map(stop).collect(),
            consents: consents.iter().map(|c| ((*c).to_owned(), true)).collect(),
            ..Preferences::default()
        }
    }

    fn chosen(topics: &[&str]) -> Choice {
        Choice::Topics(topics.iter().map(|t| (*t).to_owned()).collect())
    }

    #[test]
    fn only_what_differs_is_changed() {
        let shown = person(&[], &["offers", "news"]);
        assert_eq!(changes(&shown, &["offers", "news"], &chosen(&["offers", "news"])), []);
        assert_eq!(changes(&shown, &["offers", "news"], &chosen(&["news"])), [Kind::Unsubscribe(topic("offers"))]);
        assert_eq!(changes(&shown, &["offers", "news"], &chosen(&["news", "offers", "made-up"])), []);
        assert_eq!(
            changes(&person(&[topic("news")], &["news"]), &["offers", "news"], &chosen(&["news"])),
            [Kind::Resubscribe(topic("news"))]
        );
    }

    #[test]
    fn wanting_one_topic_after_stopping_all_stops_the_others_first() {
        let shown = person(&[Scope::Promotional], &["offers", "news"]);
        assert_eq!(
            changes(&shown, &["offers", "news"], &chosen(&["news"])),
            [
                Kind::Unsubscribe(topic("offers")),
                Kind::Resubscribe(topic("news")),
                Kind::Resubscribe(Scope::Promotional),
            ]
        );
        assert_eq!(changes(&shown, &["offers", "news"], &chosen(&[])), []);
    }
}
