//! Mails through the binary, on both databases: who is left out by a template, and where links lead.

use okaeri::catcher::{Catcher, CatcherOptions};

use crate::ground::each_database;
use crate::ground::scenario::Scenario;

const HTML: &str = "\
Subject: Hello

<!doctype html><html lang=\"en\"><head><title>Hello</title><style>.shop { color: #a8481f }</style></head><body>
{% if not customer.first_name %}{{ skip(reason=\"no name\") }}{% endif %}
<p class=\"shop\">{{ customer.first_name }} <a href=\"https://www.example.com/shop?a=1&amp;b=2\">shop</a></p>
<p><a href=\"{{ links.unsubscribe }}\">Unsubscribe</a><br>{{ brand.organisation }}, {{ brand.postal_address }}</p></body></html>
";

#[tokio::test(flavor = "multi_thread")]
async fn a_template_leaves_people_out_when_the_run_is_planned() {
    each_database(|url| async move {
        let catcher = Catcher::start(CatcherOptions::default()).await.unwrap();
        let shop = Scenario::new(&url).campaign("gift", "").smtp(&catcher.url());
        shop.write("templates/gift/letter.html", HTML);
        let _ = std::fs::remove_file(shop.path("templates/gift/letter.txt"));
        shop.write(
            "customers.csv",
            "customer_id,email,first_name,consent\na,a@example.com,Mia,offers\nb,b@example.com,,offers\nc,c@example.com,Sora,offers\n",
        );
        shop.okaeri("import customers customers.csv --quiet").await.exits(0);
        let plan = shop.json("plan gift", 0).await;
        assert_eq!((&plan["verdicts"]["send"], &plan["verdicts"]["skip"]["no_content"]), (&2.into(), &1.into()), "{plan}");
        shop.okaeri("send gift").await.exits(0);
        let mails: Vec<String> =
            catcher.mails().iter().map(|m| String::from_utf8_lossy(&m.bytes).replace("=\r\n", "")).collect();
        assert_eq!(mails.len(), 2);
        for mail in &mails {
            assert!(mail.contains("<p style=3D\"color: #a8481f;\" class=3D\"shop\">"), "{mail}");
            assert!(mail.contains("<a href=3D\"https://mail.example.com/c/"), "links lead through the redirect: {mail}");
            assert!(mail.contains("href=3D\"https://mail.example.com/u/"), "but not that of the mail itself: {mail}");
        }
    })
    .await;
}
