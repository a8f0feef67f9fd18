//! What we answer on the web: the unsubscribe page and its one-click POST (RFC 8058), the preference page, the page that takes
//! answers, the redirect of links, a health check.
//!
//! Promises: GET and HEAD change nothing, whoever or whatever follows the links, but that a link that was followed is written down; a POST is answered only after what it asked for is
//! durable; the token in the address is the only authority, so there are no cookies and no login; pages load nothing and name a mailbox
//! only masked. An altered token learns nothing. Never plans, never sends.
//!
//! Read on: [`unsubscribe`], [`click`], [`preferences`], [`answer`], [`form`]; the words of the pages are in [`language`], their looks in [`pages`].

mod answer;
mod click;
mod form;
mod language;
mod listen;
mod pages;
pub use pages::escape;
mod preferences;
mod unsubscribe;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{DefaultBodyLimit, FromRequestParts, Path, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use crate::args;
use crate::clock::{self, Millis};
use crate::db::{Db, DbError, DbResult};
use crate::feedback::{self, Fact, Kind, Preferences, Recorded};
use crate::settings::Settings;
use crate::token::{MessageKey, Tokens};

use pages::{Page, Pages};

/// The largest body we read, in bytes; ours are some hundred.
const BODY_BYTES_MAX: usize = 16 << 10;
/// How long one request may take.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(10);
/// How long requests under way may take once we are asked to stop.
const STOP_TIME_MAX: Duration = Duration::from_secs(10);

/// What the handlers share.
pub struct App {
    db: Db,
    tokens: Tokens,
    pages: Pages,
}

impl App {
    pub fn new(db: Db, settings: &Settings, tokens: Tokens) -> App {
        App { db, tokens, pages: Pages::new(settings) }
    }

    /// Record what was pressed on a page. The press is later than anything the page showed, whatever the clocks of several servers say.
    async fn record(&self, key: &MessageKey, kind: Kind, via: &str, shown: &Preferences) -> DbResult<Recorded> {
        let now = clock::now();
        let at: Millis = shown.changed_at.map_or(now, |changed_at| now.max(changed_at + 1));
        feedback::record(&self.db, &Fact { kind, at, key: key.clone(), via: via.to_owned() }, now).await
    }
}

/// Serve until `stop` is ready; then finish what is under way, and close.
pub async fn serve(listener: TcpListener, app: App, stop: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
    let (told, mut stopping) = tokio::sync::watch::channel(false);
    let stop = async move {
        stop.await;
        // The receiver lives below until this function returns.
        let _ = told.send(true);
    };
    let serving = axum::serve(listen::Listener::new(listener), router(app)).with_graceful_shutdown(stop);
    tokio::select! {
        served = serving => served,
        () = async {
            // An error means the sender is gone, so the server has returned; then the other branch is ready too.
            let _ = stopping.wait_for(|told| *told).await;
            tokio::time::sleep(STOP_TIME_MAX).await;
        } => Ok(()),
    }
}

/// The routes.
pub fn router(app: App) -> Router {
    let app = Arc::new(app);
    Router::new()
        .route("/u/{token}", get(unsubscribe::ask).post(unsubscribe::press))
        .route("/p/{token}", get(preferences::show).post(preferences::save))
        .route("/a/{token}", get(answer::propose).post(answer::confirm))
        .route("/c/{token}", get(click::follow))
        .route("/healthz", get(healthz))
        .fallback(not_found)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(app.clone(), in_time))
        .layer(middleware::from_fn_with_state(app.clone(), with_headers))
        .with_state(app)
}

/// The message that the address names by its token, and the reader's languages.
struct Asked {
    token: String,
    key: MessageKey,
    accept_language: String,
}

impl FromRequestParts<Arc<App>> for Asked {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Asked, Response> {
        let accept_language = accept_language(&parts.headers).to_owned();
        let token: Result<Path<String>, PathRejection> = Path::from_request_parts(parts, app).await;
        let opened = token.ok().and_then(|Path(token)| Some((app.tokens.open_link(&token)?, token)));
        match opened {
            Some((key, token)) => Ok(Asked { token, key, accept_language }),
            None => Err(page(StatusCode::NOT_FOUND, app.pages.plain(&accept_language).not_found())),
        }
    }
}

impl Asked {
    async fn preferences(&self, app: &App) -> Result<Preferences, Response> {
        feedback::preferences(&app.db, &self.key).await.map_err(|e| self.failed(app, &e))
    }

    fn page<'a>(&self, app: &'a App, shown: &Preferences) -> Page<'a> {
        let address = shown.address_key.as_deref();
        app.pages.about(&self.key.topic, address, shown.locale.as_deref(), &self.accept_language)
    }

    /// The preference page as the unsubscribe page links to it: relative, so that both can live below any path.
    fn preferences_link(&self) -> String {
        format!("../p/{}", self.token)
    }

    /// A body too large or cut off.
    fn unreadable(&self, app: &App, e: &BytesRejection) -> Response {
        page(e.status(), app.pages.plain(&self.accept_language).not_understood())
    }

    fn failed(&self, app: &App, e: &DbError) -> Response {
        eprintln!("okaeri serve: {e}");
        unavailable(&app.pages.plain(&self.accept_language))
    }
}

fn page(status: StatusCode, html: String) -> Response {
    (status, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], html).into_response()
}

fn unavailable(of: &Page<'_>) -> Response {
    let mut response = page(StatusCode::SERVICE_UNAVAILABLE, of.unavailable());
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("30"));
    response
}

fn accept_language(headers: &HeaderMap) -> &str {
    headers.get(header::ACCEPT_LANGUAGE).and_then(|v| v.to_str().ok()).unwrap_or_default()
}

fn content_type(headers: &HeaderMap) -> &str {
    headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default()
}

async fn not_found(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    page(StatusCode::NOT_FOUND, app.pages.plain(accept_language(&headers)).not_found())
}

/// `ok` when the database answers.
async fn healthz(State(app): State<Arc<App>>) -> Response {
    match app.db.fetch_all::<(i64,)>("SELECT CAST(1 AS BIGINT)", args![]).await {
        Ok(_) => "ok\n".into_response(),
        Err(e) => {
            eprintln!("okaeri serve: {e}");
            (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n").into_response()
        }
    }
}

async fn in_time(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let languages = accept_language(request.headers()).to_owned();
    match tokio::time::timeout(REQUEST_TIME_MAX, next.run(request)).await {
        Ok(response) => response,
        Err(_) => unavailable(&app.pages.plain(&languages)),
    }
}

/// Headers of every answer: nothing is kept, framed, guessed or told to the next site; search engines stay out.
async fn with_headers(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::HeaderName::from_static("x-robots-tag"), "noindex, nofollow"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let policy = HeaderValue::from_str(app.pages.content_security_policy()).expect("the policy is ASCII");
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    response
}
