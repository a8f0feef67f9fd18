//! `/c/{token}`: where the links of a mail lead, and from there to where they were signed to.
//!
//! The address is in the token, so the redirect works when the database does not, and leads nowhere else. GET records that the link was
//! followed and changes nothing beside; HEAD records nothing.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use url::Url;

use super::{App, accept_language, page};
use crate::clock;
use crate::feedback;

/// How long a person waits for us to write their click down.
const RECORD_TIME_MAX: Duration = Duration::from_secs(2);

/// Go where the link leads.
pub(super) async fn follow(
    State(app): State<Arc<App>>,
    method: Method,
    headers: HeaderMap,
    token: Result<Path<String>, PathRejection>,
) -> Response {
    let opened = token.ok().and_then(|Path(token)| app.tokens.open_click(&token));
    let Some(((key, link), to)) = opened.and_then(|o| destination(&o.1.url).map(|to| (o, to))) else {
        return page(StatusCode::NOT_FOUND, app.pages.plain(accept_language(&headers)).not_found());
    };
    if method == Method::GET {
        let agent = headers.get(header::USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let recording = feedback::record_click(&app.db, &key, &link, agent, clock::now());
        match tokio::time::timeout(RECORD_TIME_MAX, recording).await {
            Ok(Ok(_)) => {}
            Ok(Err(e)) => eprintln!("okaeri serve: a click was not recorded: {e}"),
            Err(_) => eprintln!("okaeri serve: a click was not recorded in time"),
        }
    }
    (StatusCode::FOUND, [(header::LOCATION, to)]).into_response()
}

/// An address as a header can carry it; only the web is redirected to.
fn destination(url: &str) -> Option<HeaderValue> {
    let url = Url::parse(url).ok().filter(|u| matches!(u.scheme(), "http" | "https"))?;
    HeaderValue::from_str(url.as_str()).ok()
}
