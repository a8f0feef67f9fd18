//! The gallery while you write: a page on this machine that is made anew whenever a file of the project was saved.
//!
//! Loopback only, and only for programs that call it by its address: a page elsewhere that points its name here gets nothing. The browser asks
//! for the stamp of the files and loads the page again when it has changed; nothing waits, and nothing is kept between requests.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use super::gallery::{self, Gallery};
use super::{PreviewArgs, look};
use crate::cli::loaded::Loaded;
use crate::cli::sending::stop_signal;
use crate::cli::{Exit, Failure, Invocation};
use crate::problem::Problems;

/// What a gallery is made from, in a project's folder.
const SOURCES: [&str; 5] = ["okaeri.yaml", "contract.yaml", crate::persona::FILE, "campaigns", "templates"];
/// How deep folders are looked into, and at how many files.
const DEPTH_MAX: usize = 12;
const FILES_MAX: usize = 5_000;

struct Serving {
    inv: Invocation,
    args: PreviewArgs,
    port: u16,
}

pub(super) async fn run(inv: &Invocation, args: &PreviewArgs, at: SocketAddr) -> Result<Exit, Failure> {
    if !at.ip().is_loopback() {
        return Err(Failure::Usage(format!(
            "--serve {at}: a preview stays on this machine\nwrite 127.0.0.1:{}",
            at.port()
        )));
    }
    // A name that is wrong is told now, not in the browser.
    Loaded::load(inv)?.campaign(&args.campaign)?;
    let listener =
        TcpListener::bind(at).await.map_err(|e| Failure::Environment(format!("cannot listen on {at}: {e}")))?;
    let at = listener.local_addr().map_err(|e| Failure::Environment(e.to_string()))?;
    inv.say(format_args!("showing {} on http://{at}, anew whenever a file is saved; stop with Ctrl-C", args.campaign));
    let quiet = Invocation { quiet: true, ..inv.clone() };
    let serving = Arc::new(Serving { inv: quiet, args: args.clone(), port: at.port() });
    let app = Router::new().route("/", get(page)).route("/stamp", get(stamp)).with_state(serving);
    let mut stop = stop_signal();
    let stopped = async move {
        // An error means that nobody can ask any more.
        let _ = stop.wait_for(|asked| *asked).await;
    };
    axum::serve(listener, app)
        .with_graceful_shutdown(stopped)
        .await
        .map_err(|e| Failure::Environment(e.to_string()))?;
    inv.say("stopped");
    Ok(Exit::Done)
}

async fn page(State(serving): State<Arc<Serving>>, headers: HeaderMap) -> Response {
    if !serving.is_meant(&headers) {
        return StatusCode::FORBIDDEN.into_response();
    }
    let handle = tokio::runtime::Handle::current();
    // Composing is work for a processor; requests go on meanwhile.
    match tokio::task::spawn_blocking(move || handle.block_on(serving.made())).await {
        Ok(html) => ([(header::CACHE_CONTROL, "no-store")], Html(html)).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn stamp(State(serving): State<Arc<Serving>>, headers: HeaderMap) -> Response {
    if !serving.is_meant(&headers) {
        return StatusCode::FORBIDDEN.into_response();
    }
    ([(header::CACHE_CONTROL, "no-store")], stamp_of(&serving.inv.project_dir)).into_response()
}

impl Serving {
    /// The page as the files are now.
    async fn made(&self) -> String {
        // Before the page is made, so that what is saved meanwhile is not missed.
        let stamp = stamp_of(&self.inv.project_dir);
        let campaign = &self.args.campaign;
        let previewed = match Loaded::load(&self.inv) {
            Ok(loaded) => look(&self.inv, &loaded, &self.args).await,
            Err(failure) => Err(failure),
        };
        match previewed {
            Ok(previewed) => Gallery::of(campaign, &previewed).html(Some(&stamp)),
            Err(failure) => gallery::broken(campaign, &told(failure), &stamp),
        }
    }

    /// Whether the caller means this machine.
    fn is_meant(&self, headers: &HeaderMap) -> bool {
        let host = headers.get(header::HOST).and_then(|h| h.to_str().ok()).unwrap_or_default();
        ["127.0.0.1", "localhost", "[::1]"].iter().any(|name| host == format!("{name}:{}", self.port))
    }
}

/// What is wrong, as problems with places where there are any.
fn told(failure: Failure) -> Problems {
    match failure {
        Failure::Problems(problems) => problems,
        Failure::Usage(text) | Failure::Environment(text) | Failure::Held(text) | Failure::Busy(text) => {
            let mut problems = Problems::new();
            problems.error("preview", &crate::problem::Place::file(crate::settings::FILE), text);
            problems
        }
    }
}

/// Changes when a file is saved, comes or goes.
fn stamp_of(project: &Path) -> String {
    let mut hasher = DefaultHasher::new();
    let mut left = FILES_MAX;
    for source in SOURCES {
        add(&project.join(source), 0, &mut left, &mut hasher);
    }
    format!("{:016x}", hasher.finish())
}

fn add(path: &Path, depth: usize, left: &mut usize, hasher: &mut DefaultHasher) {
    let Ok(meta) = std::fs::metadata(path) else { return };
    if depth > DEPTH_MAX || *left == 0 {
        return;
    }
    if meta.is_dir() {
        let Ok(entries) = std::fs::read_dir(path) else { return };
        let mut paths: Vec<_> = entries.flatten().map(|e| e.path()).collect();
        paths.sort();
        for path in paths {
            add(&path, depth + 1, left, hasher);
        }
    } else {
        *left -= 1;
        (path, meta.len(), meta.modified().ok()).hash(hasher);
    }
}
