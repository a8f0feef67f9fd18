//! The mails as they arrived: parsed from what the catcher stored, and joined with what the ledger knows of their people.

use std::collections::HashMap;

use mail_parser::MessageParser;

use super::super::Failure;
use crate::catcher::Caught;
use crate::db::Db;

/// Shown in full per campaign: the best customer of each language first, then the next ones.
const SHOWN_MAX: usize = 3;

/// One mail in the demo's folder.
#[derive(Debug, Clone)]
pub(super) struct Letter {
    pub campaign: String,
    /// `ja`, `en` …
    pub language: String,
    /// Relative to the demo's folder.
    pub file: String,
    pub subject: String,
    pub to: String,
    pub html: String,
    /// What the person has bought so far: orders, and their net amount in minor units.
    pub orders: i64,
    pub revenue: i64,
}

struct Known {
    campaign: String,
    locale: String,
    orders: i64,
    revenue: i64,
}

/// Every caught mail that is one of the ledger's, in the order of arrival.
pub(super) async fn read(db: &Db, default_locale: &str, mails: &[Caught]) -> Result<Vec<Letter>, Failure> {
    let known = known(db).await?;
    Ok(mails.iter().filter_map(|mail| letter(mail, &known, default_locale)).collect())
}

/// By Message-ID, without its domain.
async fn known(db: &Db) -> Result<HashMap<String, Known>, Failure> {
    let sql = "SELECT m.message_id, m.campaign, m.locale, COALESCE(p.orders, 0), COALESCE(p.revenue, 0) FROM message m \
               LEFT JOIN profile p ON p.bucket = m.bucket AND p.customer_id = m.customer_id";
    let rows: Vec<(String, String, String, i64, i64)> = db.fetch_all(sql, vec![]).await?;
    Ok(rows
        .into_iter()
        .map(|(id, campaign, locale, orders, revenue)| (id, Known { campaign, locale, orders, revenue }))
        .collect())
}

fn letter(mail: &Caught, known: &HashMap<String, Known>, default_locale: &str) -> Option<Letter> {
    let id = mail.message_id.as_deref()?.trim_start_matches('<');
    let known = known.get(id.split('@').next()?)?;
    let parsed = MessageParser::default().parse(mail.bytes.as_slice())?;
    let locale = if known.locale.is_empty() { default_locale } else { &known.locale };
    Some(Letter {
        campaign: known.campaign.clone(),
        language: locale.split(['-', '_']).next().unwrap_or(locale).to_owned(),
        file: format!("{}/{:06}.eml", super::MAILS, mail.number),
        subject: parsed.subject().unwrap_or_default().to_owned(),
        to: mail.envelope_to.first().cloned().unwrap_or_default(),
        html: parsed.body_html(0)?.into_owned(),
        orders: known.orders,
        revenue: known.revenue,
    })
}

/// The letters of a campaign to be shown in full: every language is there before one comes twice.
pub(super) fn shown<'l>(letters: impl IntoIterator<Item = &'l Letter>) -> Vec<&'l Letter> {
    let mut rest: Vec<&Letter> = letters.into_iter().collect();
    rest.sort_by(|a, b| b.revenue.cmp(&a.revenue).then_with(|| a.file.cmp(&b.file)));
    let mut turns: HashMap<&str, usize> = HashMap::new();
    let mut ranked: Vec<(usize, &Letter)> = Vec::with_capacity(rest.len());
    for letter in rest {
        let turn = turns.entry(&letter.language).or_default();
        ranked.push((*turn, letter));
        *turn += 1;
    }
    ranked.sort_by_key(|(turn, _)| *turn); // stable: within a turn by revenue
    ranked.into_iter().take(SHOWN_MAX).map(|(_, letter)| letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(language: &str, revenue: i64) -> Letter {
        Letter {
            campaign: "welcome".into(),
            language: language.into(),
            file: format!("{revenue}.eml"),
            subject: String::new(),
            to: String::new(),
            html: String::new(),
            orders: 1,
            revenue,
        }
    }

    #[test]
    fn every_language_is_shown_before_one_comes_twice() {
        let letters = [letter("en", 5), letter("en", 9), letter("ja", 1), letter("en", 7), letter("ja", 3)];
        let shown: Vec<(&str, i64)> = shown(&letters).iter().map(|l| (l.language.as_str(), l.revenue)).collect();
        assert_eq!(shown, [("en", 9), ("ja", 3), ("en", 7)]);
    }
}
