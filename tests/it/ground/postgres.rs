//! A private PostgreSQL for the tests of this process.
//!
//! `OKAERI_TEST_POSTGRES` names a server (set by `make test`, which starts one for the whole run). Unset, the first
//! test that asks starts one through `.ci/with-postgres` and holds it by a pipe: however this process ends, the pipe
//! closes and the cluster is stopped and removed. Without PostgreSQL a test fails, saying what to do; it never skips.

use std::os::unix::fs::PermissionsExt as _;

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::beside::Beside;

/// An empty database of its own for one test.
pub struct FreshDatabase {
    /// As the `database` setting takes it.
    pub url: String,
    name: String,
}

impl FreshDatabase {
    /// Drops it, whoever is still connected.
    pub async fn remove(self) {
        administer(&format!("DROP DATABASE \"{}\" WITH (FORCE)", self.name)).await;
    }
}

/// Makes an empty database.
pub async fn fresh_database() -> FreshDatabase {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let name = format!("okaeri_{}_{}", std::process::id(), MADE.fetch_add(1, Relaxed));
    administer(&format!("CREATE DATABASE \"{name}\" TEMPLATE template0")).await;
    let (server, _) = server().rsplit_once('/').expect("the URL of a server ends in the name of a database");
    FreshDatabase { url: format!("{server}/{name}"), name }
}

/// A copy of a database to which nobody is connected any more.
pub async fn copy_of(url: &str) -> FreshDatabase {
    let (server, name) = url.rsplit_once('/').expect("the URL of a test database ends in its name");
    let copy = format!("{name}_copy");
    administer(&hang_up(name)).await;
    administer(&format!("CREATE DATABASE \"{copy}\" TEMPLATE \"{name}\"")).await;
    FreshDatabase { url: format!("{server}/{copy}"), name: copy }
}

fn hang_up(name: &str) -> String {
    format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
}

impl FreshDatabase {
    /// Puts it in the place of another, which is dropped.
    pub async fn take_the_place_of(self, url: &str) {
        let (_, name) = url.rsplit_once('/').expect("the URL of a test database ends in its name");
        administer(&format!("DROP DATABASE \"{name}\" WITH (FORCE)")).await;
        administer(&format!("ALTER DATABASE \"{}\" RENAME TO \"{name}\"", self.name)).await;
    }
}

/// A login that may look at every table of a database and change none.
pub struct Reader {
    /// As the `database` setting takes it.
    pub url: String,
    name: String,
    /// The owner of the database.
    owner: String,
}

impl Reader {
    /// Made for this database, as its owner would.
    pub async fn of(database: &FreshDatabase) -> Reader {
        let name = format!("{}_reader", database.name);
        administer(&format!("CREATE ROLE \"{name}\" LOGIN PASSWORD 'reads'")).await;
        let (_, place) = database.url.rsplit_once('@').expect("the URL of a test database has a login");
        let reader = Reader { url: format!("postgres://{name}:reads@{place}"), name, owner: database.url.clone() };
        // Until Postgres 15 everybody could create tables.
        reader.owner(&["REVOKE CREATE ON SCHEMA public FROM PUBLIC"]).await;
        reader.owner_says("GRANT USAGE ON SCHEMA public TO").await;
        reader.owner_says("GRANT SELECT ON ALL TABLES IN SCHEMA public TO").await;
        reader
    }

    /// It may make tables of its own.
    pub async fn may_create(&self) {
        self.owner_says("GRANT CREATE ON SCHEMA public TO").await;
    }

    /// Not any more.
    pub async fn may_not_create(&self) {
        self.owner_says("REVOKE CREATE ON SCHEMA public FROM").await;
    }

    /// Drops it; its database must be gone.
    pub async fn remove(self) {
        administer(&format!("DROP ROLE \"{}\"", self.name)).await;
    }

    async fn owner_says(&self, beginning: &str) {
        self.owner(&[&format!("{beginning} \"{}\"", self.name)]).await;
    }

    /// Runs statements as the owner of the database.
    pub async fn owner(&self, statements: &[&str]) {
        let mut owner = PgConnection::connect(&self.owner).await.expect("the test database can be reached");
        for statement in statements {
            owner.execute(AssertSqlSafe(*statement)).await.expect("the owner may do this");
        }
    }
}

/// A database whose tables lie on a small disk, in a cluster of its own. Only root may mount one: in a mount namespace of its own, so that
/// it goes with the cluster.
pub struct SmallDisk {
    /// As the `database` setting takes it.
    pub url: String,
    cluster: Beside,
    _folder: tempfile::TempDir,
}

impl SmallDisk {
    /// Room for the tables of an empty project, and some mebibytes more.
    const MEBIBYTES: u32 = 40;

    /// `None` where this machine does not let us.
    pub async fn mounted() -> Option<SmallDisk> {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let at = folder.path().display();
        let open = std::fs::Permissions::from_mode(0o711);
        std::fs::set_permissions(folder.path(), open).expect("our folder is ours");
        // Owned by whoever `.ci/with-postgres` runs the server as.
        let mount = format!(
            "owner=postgres; id -u $owner >/dev/null 2>&1 || owner=nobody; \
             mount -t tmpfs -o size={}m,mode=0700,uid=$(id -u $owner) tmpfs '{at}'",
            Self::MEBIBYTES
        );
        let apart = ["unshare", "--mount", "--propagation", "private", "sh", "-c"];
        let mut tried = std::process::Command::new(apart[0]);
        tried.args(&apart[1..]).arg(&mount).stderr(std::process::Stdio::null());
        if !tried.status().is_ok_and(|status| status.success()) {
            return None;
        }
        let mounted = format!("{mount} && exec \"$@\"");
        let through = [&apart[..], &[&mounted, "sh"]].concat();
        let cluster = Beside::start_through(&through, "with-postgres", &["OKAERI_TEST_POSTGRES"]);
        let cluster = cluster.expect("a cluster starts where the others do");
        let mut server = PgConnection::connect(&cluster.told[0]).await.expect("the server can be reached");
        for statement in [
            format!("CREATE TABLESPACE small LOCATION '{at}'"),
            "CREATE DATABASE shop TEMPLATE template0 TABLESPACE small".to_owned(),
        ] {
            server.execute(AssertSqlSafe(statement)).await.expect("the server does as it is told");
        }
        let (server, _) = cluster.told[0].rsplit_once('/').expect("the URL of a server ends in the name of a database");
        Some(SmallDisk { url: format!("{server}/shop"), cluster, _folder: folder })
    }

    async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.url).await.expect("the database can be reached")
    }

    /// Until not another page fits.
    pub async fn fill(&self) {
        let mut filler = self.connect().await;
        // A row a page, as it stands: nothing is compressed.
        for statement in ["CREATE TABLE ballast (t TEXT)", "ALTER TABLE ballast ALTER t SET STORAGE PLAIN"] {
            filler.execute(statement).await.expect("there is room for a table");
        }
        for rows in [100, 1] {
            let more = format!("INSERT INTO ballast SELECT repeat('x', 8000) FROM generate_series(1, {rows})");
            let full = loop {
                if let Err(e) = filler.execute(AssertSqlSafe(more.as_str())).await {
                    break e;
                }
            };
            let code = full.as_database_error().and_then(|e| e.code()).unwrap_or_default().into_owned();
            assert_eq!(code, "53100", "disk full: {full}");
        }
    }

    /// Room again.
    pub async fn empty(&self) {
        self.connect().await.execute("DROP TABLE ballast").await.expect("a table can be dropped from a full disk");
    }

    /// Ends the cluster, and the disk with it.
    pub fn unmount(self) {
        self.cluster.stop();
    }
}

/// Runs a statement that is about databases; the names in it are our own.
async fn administer(statement: &str) {
    let mut server = PgConnection::connect(server()).await.expect("the test server can be reached");
    server.execute(AssertSqlSafe(statement)).await.expect("the test server does as it is told");
}

/// The URL of the server, which is started when nobody has yet.
fn server() -> &'static str {
    static SERVER: OnceLock<(String, Option<Beside>)> = OnceLock::new();
    let (url, _) = SERVER.get_or_init(|| match std::env::var("OKAERI_TEST_POSTGRES") {
        Ok(url) if !url.is_empty() => (url, None),
        _ => {
            let cluster = start();
            (cluster.told[0].clone(), Some(cluster))
        }
    });
    url
}

/// Starts a cluster of our own.
fn start() -> Beside {
    let cluster = Beside::start("with-postgres", &["OKAERI_TEST_POSTGRES"]);
    cluster.filter(|c| c.told[0].starts_with("postgres://")).expect(
        "these tests need PostgreSQL and none could be started: run `make test`, which installs and starts one, \
         or set OKAERI_TEST_POSTGRES to the URL of a server on which databases may be created",
    )
}

#[test]
fn a_private_cluster_ends_with_the_one_who_holds_its_leash() {
    let cluster = start();
    let address = cluster.told[0].split(['@', '/']).nth(3).expect("the URL has an address").to_owned();
    assert!(address.starts_with("127.0.0.1:"), "{address}");
    std::net::TcpStream::connect(&address).expect("the cluster listens");
    cluster.stop();
    assert!(std::net::TcpStream::connect(&address).is_err(), "the cluster still listens");
}
