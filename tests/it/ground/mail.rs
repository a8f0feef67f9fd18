//! Mail servers as tests want them.

use std::sync::Arc;

use okaeri::catcher::{Answer, Behaviour, ByRecipient, Catcher, CatcherOptions, Extensions, Moment, Stage};

/// A server that answers so.
pub async fn catcher(behaviour: Arc<dyn Behaviour>) -> Catcher {
    Catcher::start(CatcherOptions { behaviour, ..CatcherOptions::default() }).await.unwrap()
}

/// A server that answers by the names of recipients, as the demo's does.
pub async fn by_recipient() -> Catcher {
    catcher(Arc::new(ByRecipient::standard())).await
}

/// Nobody listens there.
pub fn deserted() -> String {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    format!("smtp://127.0.0.1:{port}")
}

/// A behaviour from a function.
pub struct Acting<F>(pub F);

impl<F: Fn(&Moment<'_>) -> Answer + Send + Sync + 'static> Behaviour for Acting<F> {
    fn answer(&self, moment: &Moment<'_>) -> Answer {
        (self.0)(moment)
    }
}

/// One answer at one stage.
pub fn at(stage: Stage, answer: Answer) -> Arc<dyn Behaviour> {
    Arc::new(Acting(move |m: &Moment<'_>| if m.stage == stage { answer.clone() } else { Answer::agree() }))
}

/// What a server offers, for each of the conversations that it leads to.
pub fn conversations() -> [(&'static str, Extensions); 3] {
    let offers = |pipelining, chunking| Extensions { pipelining, chunking, ..Extensions::default() };
    [("chunked", offers(true, true)), ("pipelined", offers(true, false)), ("stepwise", offers(false, false))]
}
