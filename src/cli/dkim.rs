//! `okaeri dkim key FILE`: a new key pair to sign with, and the DNS record that publishes it.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::json;
use tokio::process::Command;

use super::{Exit, Failure, Invocation};
use crate::dkim::{self, Algorithm, PrivateKey};

/// Nobody but the owner reads a private key.
const MODE: u32 = 0o600;

#[derive(Debug, clap::Args)]
pub struct DkimArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make a key pair: the private key goes to a new file, the DNS record of the public one is printed
    Key(KeyArgs),
}

#[derive(Debug, clap::Args)]
struct KeyArgs {
    /// The file for the private key; it must not be there yet
    file: PathBuf,
    /// rsa is verified everywhere; ed25519 is small, fast and not yet known to all: sign with both
    #[arg(long, value_enum, default_value = "rsa")]
    algorithm: Algorithm,
    /// The key's name in the DNS [default: the file's name without its ending]
    #[arg(long)]
    selector: Option<String>,
    /// The domain that signs [default: the domain of `sender.from`]
    #[arg(long)]
    domain: Option<String>,
}

pub async fn run(inv: &Invocation, args: DkimArgs) -> Result<Exit, Failure> {
    let What::Key(args) = args.what;
    let domain = match &args.domain {
        Some(domain) => domain.clone(),
        None => inv.project()?.settings.from_domain(),
    };
    let stem = args.file.file_stem().and_then(|s| s.to_str()).unwrap_or_default();
    let selector = args.selector.unwrap_or_else(|| stem.to_owned());
    for (option, name) in [("--selector", &selector), ("--domain", &domain)] {
        if !dkim::is_name(name) {
            return Err(Failure::Usage(format!(
                "{option} {}: not a DNS name\nletters, digits and `-`, with dots between: mail2026, shop.example.com",
                name.escape_debug()
            )));
        }
    }
    let pem = match args.algorithm {
        Algorithm::Ed25519 => PrivateKey::new_ed25519_pem(),
        Algorithm::Rsa => new_rsa_pem().await?,
    };
    let key = PrivateKey::parse(&pem).map_err(|e| Failure::Environment(format!("openssl made a key that {e}")))?;
    write(&args.file, &pem)?;
    let host = dkim::host(&selector, &domain);
    let record = dkim::text(key.public());
    inv.say(format_args!("the private key is in {}; keep it out of git", args.file.display()));
    inv.print(
        || {
            json!({
                "file": args.file, "algorithm": args.algorithm, "selector": selector, "domain": domain,
                "name": host, "record": record, "strings": dkim::pieces(&record),
            })
        },
        || {
            let file = args.file.display();
            let entry = format!("- {{ selector: {selector}, domain: {domain}, key_file: {file} }}");
            format!("{host}. IN TXT {}\n\n# in okaeri.yaml\ndkim:\n  {entry}\n", dkim::quoted(&record))
        },
    );
    Ok(Exit::Done)
}

/// A new RSA key pair, made by openssl: the library that signs here makes none, and one that does is under an advisory.
async fn new_rsa_pem() -> Result<String, Failure> {
    let bits = format!("rsa_keygen_bits:{}", dkim::RSA_BITS);
    let made = Command::new("openssl").args(["genpkey", "-algorithm", "RSA", "-pkeyopt", &bits]).output().await;
    let made = made.map_err(|e| {
        Failure::Environment(format!(
            "the program openssl, which makes RSA keys, cannot be run: {e}\ninstall it, or make the other kind: --algorithm ed25519"
        ))
    })?;
    if !made.status.success() {
        let said = String::from_utf8_lossy(&made.stderr).trim().to_owned();
        return Err(Failure::Environment(format!("openssl could not make a key: {said}")));
    }
    String::from_utf8(made.stdout).map_err(|_| Failure::Environment("openssl made a key that is not text".to_owned()))
}

/// Write a new file that only its owner can read.
fn write(file: &Path, pem: &str) -> Result<(), Failure> {
    let told = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::AlreadyExists => Failure::Usage(format!(
            "{} is there already, and a key that was overwritten is lost\nname another file; a new key also needs a new selector",
            file.display()
        )),
        _ => Failure::Environment(format!("{}: {e}", file.display())),
    };
    let mut out = std::fs::OpenOptions::new().write(true).create_new(true).mode(MODE).open(file).map_err(told)?;
    out.write_all(pem.as_bytes()).and_then(|()| out.sync_all()).map_err(told)
}
