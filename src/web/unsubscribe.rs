//! `/u/{token}`: where every unsubscribe link leads, and where mail programs post (RFC 8058).

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use crate::feedback::Kind;
use crate::suppression::Scope;

use super::form::{self, Press};
use super::{App, Asked, content_type, page};

/// GET: what the link would do, and a button that does it. Changes nothing: link scanners follow it too.
pub(super) async fn ask(State(app): State<Arc<App>>, asked: Asked) -> Result<Response, Response> {
    let shown = asked.preferences(&app).await?;
    let of = asked.page(&app, &shown);
    let html = if shown.has_stopped(&Scope::Topic(asked.key.topic.clone())) {
        of.stopped(Press::UndoTopic, &asked.preferences_link())
    } else if shown.has_stopped(&Scope::Promotional) {
        of.stopped(Press::UndoPromotional, &asked.preferences_link())
    } else {
        of.ask(&asked.preferences_link())
    };
    Ok(page(StatusCode::OK, html))
}

/// POST: do it. RFC 8058 §3.2: no redirect, no cookies, no further question; the answer comes once it is durable.
pub(super) async fn press(
    State(app): State<Arc<App>>,
    asked: Asked,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Response> {
    let body = body.map_err(|e| asked.unreadable(&app, &e))?;
    let shown = asked.preferences(&app).await?;
    let of = asked.page(&app, &shown);
    let Some(press) = form::press(content_type(&headers), &body) else {
        return Ok(page(StatusCode::BAD_REQUEST, of.not_understood()));
    };
    let topic = || Scope::Topic(asked.key.topic.clone());
    let kind = match press {
        Press::OneClick | Press::StopTopic => Kind::Unsubscribe(topic()),
        Press::StopPromotional => Kind::Unsubscribe(Scope::Promotional),
        Press::UndoTopic => Kind::Resubscribe(topic()),
        Press::UndoPromotional => Kind::Resubscribe(Scope::Promotional),
    };
    let via = if press == Press::OneClick { "one_click" } else { "page" };
    app.record(&asked.key, kind, via, &shown).await.map_err(|e| asked.failed(&app, &e))?;
    let preferences = asked.preferences_link();
    let html = match press {
        Press::OneClick | Press::StopTopic => of.stopped(Press::UndoTopic, &preferences),
        Press::StopPromotional => of.stopped(Press::UndoPromotional, &preferences),
        Press::UndoTopic | Press::UndoPromotional if shown.is_barred(&asked.key.topic) => of.barred(),
        Press::UndoTopic | Press::UndoPromotional => of.resumed(press, &preferences),
    };
    Ok(page(StatusCode::OK, html))
}
