//! `/a/{token}`: where the stars and numbers of a mail lead. The link proposes an answer; it counts once the person confirms it here, since
//! mail filters follow links too.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use crate::clock;
use crate::feedback;
use crate::token::Answer;

use super::{App, Asked, accept_language, content_type, form, page};

/// The answer that the address proposes.
pub(super) struct Proposed {
    asked: Asked,
    answer: Answer,
}

impl FromRequestParts<Arc<App>> for Proposed {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Proposed, Response> {
        let accept_language = accept_language(&parts.headers).to_owned();
        let token: Result<Path<String>, PathRejection> = Path::from_request_parts(parts, app).await;
        let opened = token.ok().and_then(|Path(token)| Some((app.tokens.open_answer(&token)?, token)));
        match opened {
            Some(((key, answer), token)) => Ok(Proposed { asked: Asked { token, key, accept_language }, answer }),
            None => Err(page(StatusCode::NOT_FOUND, app.pages.plain(&accept_language).not_found())),
        }
    }
}

/// GET: what was pressed, the chance to press something else, and a place for words. Changes nothing.
pub(super) async fn propose(State(app): State<Arc<App>>, proposed: Proposed) -> Result<Response, Response> {
    let shown = proposed.asked.preferences(&app).await?;
    Ok(page(StatusCode::OK, proposed.asked.page(&app, &shown).answer(&proposed.answer)))
}

/// POST: it counts.
pub(super) async fn confirm(
    State(app): State<Arc<App>>,
    proposed: Proposed,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Response> {
    let Proposed { asked, mut answer } = proposed;
    let body = body.map_err(|e| asked.unreadable(&app, &e))?;
    let shown = asked.preferences(&app).await?;
    let of = asked.page(&app, &shown);
    let Some(said) = form::answer(content_type(&headers), &body).filter(|s| answer.scale().contains(&s.score)) else {
        return Ok(page(StatusCode::BAD_REQUEST, of.not_understood()));
    };
    answer.score = said.score;
    feedback::record_answer(&app.db, &asked.key, &answer, &said.comment, clock::now())
        .await
        .map_err(|e| asked.failed(&app, &e))?;
    Ok(page(StatusCode::OK, of.answered(&answer, &asked.token)))
}
