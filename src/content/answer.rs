//! `answer(event="survey.nps", score=9, of=10)`: the address of a page where a person answers a question of a mail.
//!
//! With `links.base_url` it is a page of `okaeri serve`, signed for this message; without, the `url` the author gave, with the number behind
//! it. Where neither is there the template is refused: a question that nobody hears the answer to.

use tera::{Error, Kwargs, State, Tera, TeraResult};

use super::current;
use crate::token::{Answer, Clicks};

/// The function's name.
pub(super) const FUNCTION: &str = "answer";
/// The longest scale.
const SCALE_MAX: u8 = 10;
/// Longest name of an event and longest sku, in bytes.
const NAME_BYTES_MAX: usize = 200;

/// Where the answers of one message go.
#[derive(Clone, Default)]
pub(super) struct Answering {
    /// Where `okaeri serve` is reached, without a slash at the end.
    pub base: Option<String>,
    /// Signs for this message; without it (an invented person, a preview without a secret) the link is a placeholder.
    pub clicks: Option<Clicks>,
}

impl Answering {
    /// The address of an answer; `None`: nobody would hear it.
    fn address(&self, answer: &Answer, url: &str) -> Option<String> {
        let Some(base) = &self.base else {
            return (!url.is_empty()).then(|| format!("{url}{}", answer.score));
        };
        let token = match &self.clicks {
            Some(clicks) => clicks.answer(answer),
            None => format!("preview-{}", answer.score),
        };
        Some(format!("{base}/a/{token}"))
    }
}

/// Give `tera` the function.
pub(super) fn register(tera: &mut Tera) {
    tera.register_function(FUNCTION, |args: Kwargs, _: &State| -> TeraResult<String> {
        let answer = asked(&args)?;
        let url = args.get::<&str>("url")?.unwrap_or_default();
        let address = current::ask(|c| c.answering.address(&answer, url)).flatten();
        address.ok_or_else(|| {
            Error::message(
                "nobody would hear the answer: set `links.base_url` in okaeri.yaml, or give `url=` a page of your own",
            )
        })
    });
}

/// The answer that a call names.
fn asked(args: &Kwargs) -> TeraResult<Answer> {
    let event = args.must_get::<&str>("event")?;
    if !(event.starts_with("survey.") || event.starts_with("review.")) || !is_name(event) {
        return Err(Error::message(
            "`event` of answer() is a name that begins with `survey.` or `review.`: those carry a score",
        ));
    }
    let of = args.must_get::<i64>("of")?;
    let of = u8::try_from(of).ok().filter(|of| (2..=SCALE_MAX).contains(of));
    let of = of.ok_or_else(|| Error::message(format!("`of` of answer() is the end of the scale, 2 to {SCALE_MAX}")))?;
    let score = args.must_get::<i64>("score")?;
    let sku = args.get::<&str>("sku")?.filter(|sku| !sku.is_empty() && is_name(sku)).map(str::to_owned);
    let mut answer = Answer { event: event.to_owned(), score: 0, of, sku };
    let scale = answer.scale();
    answer.score = u8::try_from(score).ok().filter(|s| scale.contains(s)).ok_or_else(|| {
        Error::message(format!("`score` of answer() is {score}, and the scale goes from {} to {of}", scale.start()))
    })?;
    Ok(answer)
}

fn is_name(text: &str) -> bool {
    text.len() <= NAME_BYTES_MAX && !text.chars().any(|c| c.is_control() || c.is_whitespace())
}

#[cfg(test)]
mod tests {
    use super::super::current::Current;
    use super::*;
    use crate::token::{MessageKey, Tokens};

    fn rendered(call: &str, answering: Answering) -> Result<String, String> {
        let mut tera = Tera::new();
        register(&mut tera);
        tera.add_raw_template("t", &format!("{{{{ {call} }}}}")).unwrap();
        let current = Current { locale: "en".into(), today: "2026-11-24".into(), answering };
        current::with(current, || tera.render("t", &tera::Context::new())).map_err(|e| e.to_string())
    }

    #[test]
    fn an_answer_leads_to_us_or_to_a_page_of_the_shop() {
        let call = "answer(event=\"review.given\", score=4, of=5, url=\"https://www.example.com/?stars=\")";
        assert_eq!(rendered(call, Answering::default()).unwrap(), "https://www.example.com/?stars=4");
        let base = Some("https://mail.example.com".to_owned());
        let here = Answering { base: base.clone(), clicks: None };
        assert_eq!(rendered(call, here).unwrap(), "https://mail.example.com/a/preview-4");
        let tokens = Tokens::new("a secret of the project");
        let text = || "x".to_owned();
        let key = MessageKey { customer_id: text(), campaign: text(), step: text(), slot: text(), topic: text() };
        let signed = Answering { base, clicks: Some(tokens.clicks(&key)) };
        let address = rendered(call, signed).unwrap();
        let opened = tokens.open_answer(address.strip_prefix("https://mail.example.com/a/").unwrap()).unwrap();
        let answer = Answer { event: "review.given".into(), score: 4, of: 5, sku: None };
        assert_eq!(opened, (key, answer));
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        for (call, told) in [
            ("answer(event=\"survey.nps\", score=3, of=10)", "nobody would hear"),
            ("answer(event=\"order.placed\", score=3, of=5, url=\"x\")", "begins with `survey.`"),
            ("answer(event=\"survey.\n\", score=3, of=5, url=\"x\")", "begins with `survey.`"),
            ("answer(event=\"survey.nps\", score=11, of=10, url=\"x\")", "from 0 to 10"),
            ("answer(event=\"survey.x\", score=0, of=5, url=\"x\")", "from 1 to 5"),
            ("answer(event=\"survey.x\", score=1, of=99, url=\"x\")", "2 to 10"),
            ("answer(event=\"survey.x\", of=5, url=\"x\")", "score"),
        ] {
            let error = rendered(call, Answering::default()).unwrap_err();
            assert!(error.contains(told), "{call}: {error}");
        }
    }
}
