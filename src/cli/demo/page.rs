//! The demo's page: one file that needs nothing else. What happened, segments, verdicts, and the mails as they arrived.
//!
//! The mails stand in frames without any right (no script, no navigation), and the page itself may load nothing from anywhere; it works
//! without script. Whatever came from data is escaped.

use std::fmt::Write as _;

use super::charts;
use super::journey::{Journey, Light, Proof, Told, amount, percent, share};
use super::letters::{self, Letter};
use super::terminal;
use crate::money::grouped;
use crate::plan::Reason;
use crate::web::escape;

const STYLE: &str = include_str!("page.css");

/// The whole page.
pub(super) fn html(journey: &Journey) -> String {
    let parts =
        [header(journey), figures(journey), segments(journey), verdicts(journey), gallery(journey), ending(journey)];
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>{} · Okaeri demo</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n{}\n</body>\n</html>\n",
        escape(&journey.shop_name),
        parts.join("\n")
    )
}

fn header(journey: &Journey) -> String {
    let of = |light| grouped(journey.everybody.of(light).people);
    let mailed = of(Light::Mailed);
    let people = grouped(journey.everybody.0.len() as i64);
    let described = format!("{people} windows, one for each customer; {mailed} are lit");
    format!(
        "<header class=\"house\"><div class=\"wide\">\n\
         <p class=\"mark\"><span class=\"lamp\"></span>Okaeri <span class=\"at\">demo at {shop}</span></p>\n\
         <h1>Today {mailed} windows are lit.</h1>\n\
         <p class=\"lead\">Every window is one of {people} customers. The lit ones got a letter, written for them and sent over real SMTP to a mail server on this machine.</p>\n\
         {front}\n\
         <ul class=\"legend\"><li><i class=\"lit\"></i>got a letter <b>{mailed}</b></li>\
         <li><i class=\"withheld\"></i>held out, to measure what letters cause <b>{withheld}</b></li>\
         <li><i class=\"alone\"></i>left alone, for a reason <b>{alone}</b></li>\
         <li><i class=\"dark\"></i>no campaign today <b>{dark}</b></li></ul>\n\
         <p class=\"truth\">The purchases are real: {customers} customers of the CDNOW sample (Fader &amp; Hardie) and their {orders} orders of 1997 and 1998, moved to end yesterday. Names, addresses, products, visits and tickets around them are invented, and {more} newcomers with them.</p>\n\
         </div></header>",
        shop = escape(&journey.shop_name),
        front = charts::house_front(&journey.everybody, &escape(&described)),
        withheld = of(Light::Withheld),
        alone = of(Light::LeftAlone),
        dark = of(Light::Dark),
        customers = grouped(journey.shop.cdnow_customers as i64),
        orders = grouped(journey.shop.cdnow_orders as i64),
        more = grouped((journey.shop.customers - journey.shop.cdnow_customers) as i64),
    )
}

fn figures(journey: &Journey) -> String {
    let mailed = journey.everybody.of(Light::Mailed);
    let money = journey.revenue_share(mailed.revenue);
    let heads = share(mailed.people, journey.everybody.0.len() as i64);
    let took = &journey.took;
    let pace = journey.letters.len() as f64 / took.send.as_secs_f64().max(0.001);
    let figure = |big: String, small: String| format!("<div><dt>{big}</dt><dd>{small}</dd></div>");
    format!(
        "<main>\n<dl class=\"figures wide\">{}{}{}</dl>",
        figure(
            percent(money),
            format!(
                "of all revenue comes from the {} of customers we wrote to: {}",
                percent(heads),
                escape(&amount(mailed.revenue, &journey.currency))
            )
        ),
        figure(
            format!("{} a second", grouped(pace as i64)),
            format!(
                "{} letters accepted in {:.1} s, each in the ledger before it left",
                grouped(journey.letters.len() as i64),
                took.send.as_secs_f64()
            )
        ),
        figure(
            format!("{:.1} s", took.all().as_secs_f64()),
            format!(
                "from files to mail, {} rows of history read on the way",
                grouped(journey.imports.iter().map(|t| t.read as i64).sum())
            )
        ),
    )
}

fn segments(journey: &Journey) -> String {
    let mut rows = String::new();
    let mut standings: Vec<_> = journey.segments.iter().collect();
    standings.sort_by_key(|s| -s.revenue);
    for s in standings {
        let heads = share(s.people, journey.everyone.people);
        let money = journey.revenue_share(s.revenue);
        let _ = writeln!(
            rows,
            "<li><div class=\"name\"><b>{}</b><code>{}</code></div>\
             <div class=\"bars\"><div class=\"bar\"><span class=\"people\" style=\"width:{:.2}%\"></span></div><em>{} people</em>\
             <div class=\"bar\"><span class=\"money\" style=\"width:{:.2}%\"></span></div><em>{}</em></div></li>",
            escape(&s.title),
            escape(&s.name),
            100.0 * heads,
            grouped(s.people),
            100.0 * money,
            escape(&amount(s.revenue, &journey.currency)),
        );
    }
    format!(
        "<section class=\"wide\"><h2>Who is who</h2>\n\
         <p class=\"intro\">Segments, as shares of all {} customers <i class=\"key people\"></i> and of the {} they have spent <i class=\"key money\"></i>. Where the second bar is longer than the first, a letter is worth more.</p>\n\
         <ol class=\"segments\">{rows}</ol></section>",
        grouped(journey.everyone.people),
        escape(&amount(journey.everyone.revenue, &journey.currency)),
    )
}

fn verdicts(journey: &Journey) -> String {
    let cards: String = journey.campaigns.iter().map(campaign).collect();
    format!(
        "<section class=\"wide\"><h2>Who hears what, and who is left alone</h2>\n\
         <p class=\"intro\">Everybody in a campaign’s audience gets exactly one verdict. Those held out are chosen by chance; what they do anyway shows what the letters really changed.</p>\n\
         <div class=\"cards\">{cards}</div></section>"
    )
}

fn campaign(told: &Told) -> String {
    let report = &told.report;
    let of = |verdict: &str| report.verdicts.iter().filter(|v| v.verdict == verdict).map(|v| v.people).sum::<i64>();
    let mut bar = String::new();
    for (verdict, class) in [("send", "send"), ("withheld", "held"), ("skip", "skip")] {
        let people = of(verdict);
        if people > 0 {
            let _ = write!(bar, "<span class=\"{class}\" style=\"flex-grow:{people}\"></span>");
        }
    }
    let mut rows = String::new();
    for (verdict, class) in [("send", "send"), ("withheld", "held"), ("skip", "skip")] {
        for v in report.verdicts.iter().filter(|v| v.verdict == verdict) {
            let meaning = match Reason::from_word(&v.reason) {
                Some(reason) => reason.meaning(),
                None => "gets the letter",
            };
            let word = if v.reason.is_empty() { "send" } else { &v.reason };
            let _ = write!(
                rows,
                "<tr><td class=\"n\">{}</td><td><i class=\"{class}\"></i>{}</td><td class=\"word\"><code>{}</code></td></tr>",
                grouped(v.people),
                escape(meaning),
                escape(word)
            );
        }
    }
    format!(
        "<article class=\"card\"><h3>{}</h3><p class=\"sub\"><code>{}</code> {} in the audience</p>\
         <div class=\"stack\" role=\"img\" aria-label=\"{} mailed, {} held out, {} left alone\">{bar}</div>\
         <table>{rows}</table></article>\n",
        escape(&told.title),
        escape(&report.campaign),
        grouped(report.audience),
        grouped(of("send")),
        grouped(of("withheld")),
        grouped(of("skip")),
    )
}

fn gallery(journey: &Journey) -> String {
    let mut out = String::from(
        "<section class=\"gallery\"><div class=\"wide\"><h2>The letters, as they arrived</h2>\n\
         <p class=\"intro\">Parsed from what the mail server stored: the best customers of each language first.</p>\n\
         <fieldset class=\"switch\"><legend>Show them</legend>\
         <label><input type=\"radio\" name=\"mode\" id=\"mode-own\" checked>as your screen</label>\
         <label><input type=\"radio\" name=\"mode\" id=\"mode-light\">light</label>\
         <label><input type=\"radio\" name=\"mode\" id=\"mode-dark\">dark</label></fieldset></div>\n",
    );
    for told in &journey.campaigns {
        let name = &told.report.campaign;
        let all: Vec<&Letter> = journey.letters_of(name).collect();
        if all.is_empty() {
            continue;
        }
        let shown: String =
            letters::shown(all.iter().copied()).into_iter().map(|l| letter(l, &journey.currency)).collect();
        let list: String = all.iter().map(|l| entry(l)).collect();
        let _ = write!(
            out,
            "<div class=\"wide campaign\" id=\"{name}\"><h3>{}</h3></div>\n<div class=\"wide shelf\">{shown}</div>\n\
             <div class=\"wide\"><details><summary>All {} letters of {}</summary><ul class=\"all\">{list}</ul></details></div>\n",
            escape(&told.title),
            grouped(all.len() as i64),
            escape(name),
            name = escape(name),
        );
    }
    out.push_str("</section>");
    out
}

fn letter(letter: &Letter, currency: &str) -> String {
    let history = match letter.orders {
        0 => "no order yet".to_owned(),
        1 => format!("one order, {}", amount(letter.revenue, currency)),
        n => format!("{} orders, {}", grouped(n), amount(letter.revenue, currency)),
    };
    format!(
        "<figure lang=\"{lang}\"><figcaption><b>{subject}</b><span>{to}</span><span lang=\"en\">{history}</span>\
         <a href=\"{file}\">.eml</a><i class=\"lang\">{lang}</i></figcaption>\
         <iframe sandbox=\"\" title=\"{subject}\" srcdoc=\"{body}\"></iframe></figure>\n",
        lang = escape(&letter.language),
        subject = escape(&letter.subject),
        to = escape(&letter.to),
        history = escape(&history),
        file = escape(&letter.file),
        body = escape(&still(&letter.html)),
    )
}

/// The mail with links that lead nowhere: a frame without rights opens no other window, and navigates only itself.
fn still(html: &str) -> String {
    html.replacen("<head>", "<head><base target=\"_blank\">", 1)
}

fn entry(letter: &Letter) -> String {
    format!(
        "<li lang=\"{}\"><a href=\"{}\">{}</a> <span>{}</span></li>",
        escape(&letter.language),
        escape(&letter.file),
        escape(&letter.subject),
        escape(&letter.to)
    )
}

fn ending(journey: &Journey) -> String {
    let commands = terminal::commands(&journey.dir).join("\n");
    let proof = match journey.proof.holds() {
        true => format!(
            "The ledger adds up: all {} rules hold, and the mail server, a strict one, had no complaint.",
            Proof::rules()
        ),
        false => "The ledger or the mail server found a fault; the terminal names it.".to_owned(),
    };
    format!(
        "<section class=\"wide on\"><h2>Go on from here</h2>\n\
         <p class=\"intro\">{proof} The folder is an ordinary project: change a campaign or a template and try again.</p>\n\
         <pre>{}</pre></section>\n</main>\n<footer class=\"wide\">Made by <code>okaeri demo</code> in {}. Everybody here is invented, and every address ends in example.com, .net or .org.</footer>",
        escape(&commands),
        escape(&journey.dir.display().to_string()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_cannot_leave_its_frame() {
        let shown = letter(
            &Letter {
                campaign: "welcome".into(),
                language: "ja".into(),
                file: "mails/000001.eml".into(),
                subject: "\"><script>alert(1)</script>".into(),
                to: "a@example.com".into(),
                html: "<html><head></head><body title=\"x\">\"></iframe><b>美帆様</b></body></html>".into(),
                orders: 2,
                revenue: 12_345,
            },
            "USD",
        );
        assert!(!shown.contains("<script") && shown.matches("</iframe>").count() == 1, "{shown}");
        assert!(shown.contains("sandbox=\"\"") && shown.contains("&lt;base target=&quot;_blank&quot;&gt;"), "{shown}");
        assert!(shown.contains("美帆様") && shown.contains("2 orders, 123 USD"), "{shown}");
    }
}
