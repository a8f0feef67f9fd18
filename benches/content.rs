//! `cargo bench --bench content`: what one mail costs, in CPU microseconds: the context and the render with its tracked links, and the MIME
//! message around it. The mail is the sample shop's win-back letter. `docs/benchmarks.md` says what each line means.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use okaeri::content::{
    Compiled, Facts, SenderValues, Snapshot, TemplateSet, Wanted, sample_person, sample_recommended,
};
use okaeri::message::{Composer, MessageFacts};
use okaeri::problem::{Place, Problems};
use okaeri::settings::Project;
use okaeri::token::{MessageKey, Tokens};

const TEMPLATE: &str = "win-back/letter";
const ROUNDS: usize = 20_000;
const COMPILES: usize = 20;

fn main() -> ExitCode {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut problems = Problems::new();
    let lookup = |name: &str| (name == "OKAERI_SECRET").then(|| "a secret of the benchmark".to_owned());
    let Some(project) = Project::load_with(dir, lookup, &mut problems) else {
        eprintln!("{}", problems.to_text());
        return ExitCode::FAILURE;
    };
    let place = Place::file("benches/content.rs");
    let wanted =
        Wanted { name: TEMPLATE.to_owned(), promotional: true, tracked: true, place, recommends: None, rewards: None };
    let Some(set) = TemplateSet::load(dir, &[wanted], &project.settings, &mut problems) else {
        eprintln!("{}", problems.to_text());
        return ExitCode::FAILURE;
    };
    let mut sender = SenderValues::of(&project.settings).expect("the sample shop names its sender");
    sender.base_url = Some("https://mail.example.com".to_owned());
    // What is prepared is kept by its content, so every round has another.
    let mut round = 0;
    let (compiled, once) = timed(COMPILES, || {
        round += 1;
        let sender = SenderValues { project: format!("shop-{round}"), ..sender.clone() };
        Snapshot::take(&set, sender).compile().expect("the sample shop's mails compile")
    });
    println!("compile, two languages:       {:>8.1} ms", once / 1_000.0);
    assert!(compiled.is_prepared(TEMPLATE), "the letter is prepared ahead");
    measure(&compiled);
    ExitCode::SUCCESS
}

fn measure(compiled: &Arc<Compiled>) {
    let tokens = Tokens::new("a secret of the benchmark");
    let key = MessageKey {
        customer_id: "c-1".into(),
        campaign: "win-back".into(),
        step: "letter".into(),
        slot: "2026-11-24".into(),
        topic: "offers".into(),
    };
    let mut payload = sample_person("en");
    payload["recommend"] = sample_recommended(&payload, 3, &["discover", "popular"]);
    let clicks = tokens.clicks(&key);
    let facts = Facts {
        payload: &payload,
        customer_id: "c-1",
        email: "mia.berg@example.com",
        locale: "en",
        campaign: "win-back",
        campaign_title: "Come home",
        step: "letter",
        unsubscribe: "https://mail.example.com/u/T",
        preferences: Some("https://mail.example.com/p/T"),
        clicks: Some(&clicks),
        today: "2026-11-24",
    };
    let (rendered, render) = timed(ROUNDS, || compiled.render(TEMPLATE, &facts).expect("the letter renders"));
    println!(
        "context, render, {:>2} links:    {render:>8.1} µs, {:>7.0} a second and core",
        rendered.html.matches("/c/").count(),
        1e6 / render
    );
    let direct = Facts { clicks: None, ..facts };
    let (_, render) = timed(ROUNDS, || compiled.render(TEMPLATE, &direct).expect("the letter renders"));
    println!("the same with direct links:   {render:>8.1} µs, {:>7.0} a second and core", 1e6 / render);

    let composer = Composer::new(compiled.clone(), Some(tokens));
    let message = MessageFacts {
        bucket: 1,
        chunk_id: 1,
        seq: 1,
        customer_id: "c-1",
        campaign: "win-back",
        campaign_title: "Come home",
        step: "letter",
        slot: "2026-11-24",
        topic: "offers",
        topic_title: "Offers",
        promotional: true,
        template: TEMPLATE,
        locale: "en",
        message_id: "00000000000000000000000000000000",
        address: "mia.berg@example.com",
        payload: &payload,
    };
    let at = 1_764_000_000_000;
    let (composed, mime) =
        timed(ROUNDS, || composer.assemble(&message, &rendered, at).expect("the letter is a message"));
    println!(
        "MIME of {:>2} kB, unsigned:      {mime:>8.1} µs, {:>7.0} a second and core",
        composed.bytes.len() / 1_000,
        1e6 / mime
    );
    let (_, whole) = timed(ROUNDS, || composer.compose(&message, at).expect("the letter is a message"));
    println!("all of it:                    {whole:>8.1} µs, {:>7.0} a second and core", 1e6 / whole);
}

/// CPU microseconds of one round.
fn timed<T>(rounds: usize, mut work: impl FnMut() -> T) -> (T, f64) {
    let mut last = work();
    let before = cpu();
    for _ in 0..rounds {
        last = std::hint::black_box(work());
    }
    (last, (cpu() - before) / rounds as f64)
}

/// CPU microseconds of this process so far (`proc(5)`: ticks of 10 ms).
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux has /proc");
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = |n: usize| after_name.split_whitespace().nth(n).and_then(|t| t.parse::<f64>().ok()).unwrap_or_default();
    (ticks(11) + ticks(12)) * 10_000.0
}
