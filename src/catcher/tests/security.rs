//! TLS and authentication.

use super::super::{Answer, Behaviour, Caught, Moment, Move, Stage, Tls};
use super::*;
use base64::{Engine, prelude::BASE64_STANDARD};
use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig, crypto::ring};
use std::sync::Arc;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// A certificate for localhost and what trusts it.
fn certificate() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(key.cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let private = PrivatePkcs8KeyDer::from(key.signing_key.serialize_der()).into();
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![key.cert.der().clone()], private)
        .unwrap();
    (Arc::new(server), Arc::new(client))
}

impl Client<TcpStream> {
    async fn encrypt(self, config: &Arc<ClientConfig>) -> Client<TlsStream<TcpStream>> {
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(Arc::clone(config)).connect(name, self.stream).await.unwrap();
        Client { stream, input: Vec::new() }
    }
}

fn login() -> Option<(String, String)> {
    Some(("mia".to_owned(), "秘密 & secret".to_owned()))
}

#[tokio::test]
async fn starttls_is_announced_required_and_forgets_what_was_said() {
    let (server, config) = certificate();
    let options = CatcherOptions { tls: Some(Tls::StartTls(server)), auth: login(), ..Default::default() };
    let catcher = with(options).await;
    assert_eq!(catcher.url(), format!("smtp://mia:%E7%A7%98%E5%AF%86%20%26%20secret@{}?tls=required", catcher.addr()));
    let mut client = Client::connect(&catcher).await;
    let ehlo = client.ask("EHLO test.example").await;
    assert!(ehlo.contains("STARTTLS") && !ehlo.contains("AUTH"), "{ehlo}");
    assert_eq!(client.ask("MAIL FROM:<a@example.com>").await, "530 5.7.0 Say STARTTLS first");
    assert_eq!(client.ask("AUTH PLAIN AGEAYg==").await, "530 5.7.0 Say STARTTLS first");
    assert_eq!(client.ask("STARTTLS").await, "220 2.0.0 Go ahead");
    let mut client = client.encrypt(&config).await;
    assert!(client.ask("MAIL FROM:<a@example.com>").await.starts_with("503"), "EHLO is forgotten");
    let ehlo = client.ask("EHLO test.example").await;
    assert!(!ehlo.contains("STARTTLS") && ehlo.contains("AUTH PLAIN LOGIN"), "{ehlo}");
    assert_eq!(client.ask("MAIL FROM:<a@example.com>").await, "530 5.7.0 Authenticate first");
    let plain = BASE64_STANDARD.encode("\0mia\0秘密 & secret");
    assert_eq!(client.ask(&format!("AUTH PLAIN {plain}")).await, "235 2.7.0 Authenticated");
    assert!(client.deliver("mia@example.com", &letter("a")).await.starts_with("250"));
    let [Caught { encrypted: true, defects, .. }] = &catcher.mails()[..] else { panic!("one encrypted mail") };
    assert_eq!(defects, &Vec::<String>::new());
    assert_eq!(catcher.counts().encrypted, 1);
}

#[tokio::test]
async fn plaintext_before_the_handshake_is_thrown_away_and_flagged() {
    let (server, config) = certificate();
    let catcher = with(CatcherOptions { tls: Some(Tls::StartTls(server)), ..Default::default() }).await;
    let mut client = Client::greeted(&catcher).await;
    client.send("STARTTLS\r\nRSET\r\nMAIL FROM:<evil@example.com>\r\n").await;
    assert!(client.reply().await.starts_with("220"));
    let mut client = client.encrypt(&config).await;
    assert!(client.ask("EHLO test.example").await.starts_with("250"), "the first reply is to EHLO, not to RSET");
    client.deliver("mia@example.com", &letter("a")).await;
    let flagged = "plaintext was sent between STARTTLS and the handshake; it was thrown away";
    assert_eq!(catcher.mails()[0].defects, [flagged]);
    assert_eq!(catcher.complaints(), [format!("connection 1: {flagged}")]);
}

#[tokio::test]
async fn implicit_tls_encrypts_from_the_first_byte() {
    let (server, config) = certificate();
    let catcher = with(CatcherOptions { tls: Some(Tls::Implicit(server)), ..Default::default() }).await;
    assert_eq!(catcher.url(), format!("smtps://{}", catcher.addr()));
    let mut client = Client::silent(&catcher).await.encrypt(&config).await;
    assert!(client.reply().await.starts_with("220"));
    let ehlo = client.ask("EHLO test.example").await;
    assert!(!ehlo.contains("STARTTLS"), "{ehlo}");
    let big = "0123456789\r\n".repeat(20_000);
    assert!(client.deliver("mia@example.com", &big).await.starts_with("250"));
    assert!(client.ask("QUIT").await.starts_with("221"));
    assert_eq!(client.reply().await, "end");
    assert_eq!(catcher.mails()[0].bytes.len(), big.len());
}

#[tokio::test]
async fn a_failed_handshake_is_a_complaint() {
    let (server, _) = certificate();
    let catcher = with(CatcherOptions { tls: Some(Tls::Implicit(server)), ..Default::default() }).await;
    let mut client = Client::silent(&catcher).await;
    client.send("EHLO test.example\r\n").await;
    while client.line().await.is_ok() {}
    let [complaint] = &catcher.complaints()[..] else { panic!("one complaint") };
    assert!(complaint.starts_with("connection 1: the TLS handshake failed"), "{complaint}");
    assert_eq!(catcher.counts().encrypted, 0);
}

#[tokio::test]
async fn a_server_can_inject_plaintext_or_reset_at_starttls() {
    struct At(Answer);
    impl Behaviour for At {
        fn answer(&self, moment: &Moment<'_>) -> Answer {
            if moment.stage == Stage::StartTls { self.0.clone() } else { Answer::agree() }
        }
    }
    let (server, _) = certificate();
    let evil = |answer| CatcherOptions {
        tls: Some(Tls::StartTls(Arc::clone(&server))),
        behaviour: Arc::new(At(answer)),
        ..Default::default()
    };
    let injected = Answer::of([Move::Raw(b"220 Go ahead\r\n250 Injected\r\n".to_vec())]);
    let catcher = with(evil(injected)).await;
    let mut client = Client::greeted(&catcher).await;
    assert_eq!(client.ask("STARTTLS").await, "220 Go ahead");
    assert_eq!(client.reply().await, "250 Injected");

    let catcher = with(evil(Answer::of([Move::Agree, Move::Reset]))).await;
    let mut client = Client::greeted(&catcher).await;
    client.send("STARTTLS\r\n").await;
    let heard = client.reply().await;
    assert!(heard.starts_with("220") || heard == "reset", "{heard}");
}

#[tokio::test]
async fn auth_login_and_plain_take_the_right_password_only() {
    let catcher = with(CatcherOptions { auth: login(), ..Default::default() }).await;
    let encode = |text: &str| BASE64_STANDARD.encode(text);
    let mut client = Client::connect(&catcher).await;
    assert!(client.ask("AUTH PLAIN").await.starts_with("503"), "before EHLO");
    client.ask("EHLO test.example").await;
    assert_eq!(client.ask("MAIL FROM:<a@example.com>").await, "530 5.7.0 Authenticate first");
    assert_eq!(client.ask("AUTH CRAM-MD5").await, "504 5.5.4 Mechanism unknown, use PLAIN or LOGIN");
    assert_eq!(
        client.ask(&format!("AUTH PLAIN {}", encode("\0mia\0wrong"))).await,
        "535 5.7.8 User or password is wrong"
    );
    for bad in ["AUTH PLAIN ###", "AUTH PLAIN bWlh", "AUTH PLAIN ="] {
        assert!(client.ask(bad).await.starts_with("501"), "{bad}");
    }
    assert_eq!(client.ask("AUTH LOGIN").await, "334 VXNlcm5hbWU6");
    assert_eq!(client.ask("*").await, "501 5.7.0 Authentication cancelled");
    assert_eq!(client.ask(&format!("AUTH LOGIN {}", encode("mia"))).await, "334 UGFzc3dvcmQ6");
    assert!(client.ask(&encode("秘密 & secret")).await.starts_with("235"));
    assert!(client.ask("AUTH LOGIN").await.starts_with("503"), "once is enough");
    assert!(client.deliver("mia@example.com", &letter("a")).await.starts_with("250"));

    let mut client = Client::greeted(&catcher).await;
    assert_eq!(client.ask("AUTH PLAIN").await, "334 ");
    assert!(client.ask(&encode("\0mia\0秘密 & secret")).await.starts_with("235"));
}
