//! A wire between the binary and PostgreSQL that can be cut at a COMMIT: before it reached the server, or after it was done and before
//! anybody was told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// How the protocol says COMMIT, from either side: the query's text, and the tag of its completion.
const COMMIT: &[u8] = b"COMMIT\0";

/// The wire; it ends when this is dropped.
pub struct Proxy {
    /// The database through it, as the `database` setting takes it.
    pub url: String,
    plan: Arc<Plan>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Plan {
    /// COMMITs until the cut; zero or less: none is planned.
    left: AtomicI64,
    /// The server is to do it before the wire is cut.
    done: AtomicBool,
    /// Connections that are turned away after the cut, and from now on.
    then_refuse: AtomicU64,
    refused: AtomicU64,
    cuts: AtomicU64,
}

impl Proxy {
    /// A wire to the database of this URL.
    pub async fn to(url: &str) -> Proxy {
        let (login, place) = url.rsplit_once('@').expect("the URL of a test database has a login");
        let (server, name) = place.split_once('/').expect("the URL of a test database ends in its name");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("{login}@{}/{name}", listener.local_addr().unwrap());
        let plan: Arc<Plan> = Arc::default();
        let (ours, server) = (plan.clone(), server.to_owned());
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let turned_away = ours.refused.fetch_update(Relaxed, Relaxed, |n| n.checked_sub(1)).is_ok();
                if !turned_away {
                    let (plan, server) = (ours.clone(), server.clone());
                    // A wire that breaks ends its one connection.
                    tokio::spawn(async move { carry(client, TcpStream::connect(server).await?, &plan).await });
                }
            }
        });
        Proxy { url, plan, task }
    }

    /// Cut nothing and turn nobody away any more.
    pub fn mend(&self) {
        self.cut_at(0, false, 0);
        self.plan.refused.store(0, Relaxed); // whoever was to be turned away may have given up before
    }

    /// Cut the wire of whoever says the `nth` COMMIT from now on, `done` or not, and turn away the next so many connections.
    pub fn cut_at(&self, nth: u64, done: bool, then_refuse: u64) {
        self.plan.done.store(done, Relaxed);
        self.plan.then_refuse.store(then_refuse, Relaxed);
        self.plan.left.store(nth as i64, Relaxed);
    }

    /// Cuts so far.
    pub fn cuts(&self) -> u64 {
        self.plan.cuts.load(Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Carries bytes both ways until somebody hangs up or the wire is cut; dropping both ends cuts it.
async fn carry(mut client: TcpStream, mut server: TcpStream, plan: &Plan) -> std::io::Result<()> {
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut asked, mut answered) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    let mut cut = false;
    loop {
        tokio::select! {
            n = client.read(&mut asked) => {
                let bytes = &asked[..n?];
                if bytes.is_empty() {
                    return Ok(());
                }
                let commits = bytes.windows(COMMIT.len()).any(|w| w == COMMIT);
                if commits && plan.left.fetch_sub(1, Relaxed) == 1 {
                    plan.refused.store(plan.then_refuse.load(Relaxed), Relaxed);
                    if !plan.done.load(Relaxed) {
                        plan.cuts.fetch_add(1, Relaxed);
                        return Ok(());
                    }
                    cut = true;
                }
                server.write_all(bytes).await?;
            }
            n = server.read(&mut answered) => {
                let bytes = &answered[..n?];
                if bytes.is_empty() || cut {
                    plan.cuts.fetch_add(u64::from(cut), Relaxed);
                    return Ok(());
                }
                client.write_all(bytes).await?;
            }
        }
    }
}
