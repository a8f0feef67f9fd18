//! Every exit code is what the table of docs/operations.md says.

use std::sync::Arc;

use okaeri::args;
use okaeri::catcher::{ByRecipient, Catcher, CatcherOptions};

use super::shop_of;
use crate::ground::each_database;
use crate::ground::mail::{by_recipient, deserted};
use crate::ground::scenario::Scenario;

#[tokio::test(flavor = "multi_thread")]
async fn every_exit_code_is_what_the_table_says() {
    each_database(|url| async move {
        let options = CatcherOptions {
            auth: Some(("shop".into(), "right".into())),
            behaviour: Arc::new(ByRecipient::standard()),
            ..CatcherOptions::default()
        };
        let strict = Catcher::start(options).await.unwrap();
        let open = by_recipient().await;
        let shop = shop_of(&url, &open.url(), &["mia", "full"]).await;
        shop.okaeri("queue status").await.exits(0);
        shop.okaeri("send nothing").await.exits(2);
        shop.okaeri("queue list --state sent").await.exits(2);
        shop.okaeri("send hello --slot remains").await.exits(75);
        // Output that cannot be written is nobody's mistake that we know of.
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_okaeri"));
        command.args(["queue", "status"]).current_dir(shop.path("")).stdout(full);
        let environment = [("DATABASE_URL", url.as_str()), ("OKAERI_SECRET", "a secret of the scenario, long enough")];
        assert_eq!(command.envs(environment).output().unwrap().status.code(), Some(1));
        let shop = shop.smtp(&deserted());
        shop.okaeri("send hello --slot away").await.exits(5);
        let elsewhere = Scenario::new(&deserted().replace("smtp", "postgres")).campaign("hello", "");
        elsewhere.okaeri("queue status").await.exits(5);
        // The login is refused: at once, and until somebody has looked.
        let shop = shop.smtp(&strict.url().replace("right", "wrong"));
        let refused = shop.json("send hello --slot login", 4).await;
        assert!(refused["delivery"]["reason"].as_str().unwrap().contains("refused our login"), "{refused}");
        shop.okaeri("send hello --slot login").await.exits(4);
        let shop = shop.smtp(&open.url());
        shop.write("doubt.csv", "customer_id,email,consent\ndrop,drop@example.com,offers\n");
        shop.okaeri("import customers doubt.csv --quiet").await.exits(0);
        shop.okaeri("send hello --slot doubt").await.exits(3);
        shop.database().await.execute("UPDATE run SET audience = audience + 1", args![]).await.unwrap();
        shop.okaeri("queue verify").await.exits(2);
    })
    .await;
}
