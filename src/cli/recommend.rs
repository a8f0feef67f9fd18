//! `okaeri recommend …`: learns what goes together, shows what one person would be recommended, and proves it on the shop's own past.

use comfy_table::{CellAlignment, Table, presets};
use serde_json::json;

use super::{Exit, Failure, Invocation};
use crate::args;
use crate::campaign::{Campaign, Recommend};
use crate::clock::{self, DAY, Millis};
use crate::data;
use crate::db::{Db, bucket_of};
use crate::money::grouped;
use crate::offer::recommend::backtest::{self, Backtest, Question, Who};
use crate::offer::recommend::{self, Asked, COUNT_MAX, FitCard, LearnError, Recommended, Recommender, Strategy};
use crate::problem::{Problems, nearest};
use crate::profile::{self, Scope};
use crate::settings::Settings;

/// Products shown of each strategy unless a number is asked for.
const SHOWN: usize = 5;
/// How long before the newest order a backtest cuts unless told.
const HELD_OUT_DAYS: i64 = 90;
/// With fewer people a backtest says little.
const PEOPLE_FEW: usize = 200;

#[derive(Debug, clap::Args)]
pub struct RecommendArgs {
    #[command(subcommand)]
    verb: RecommendVerb,
}

#[derive(Debug, clap::Subcommand)]
enum RecommendVerb {
    /// Learn from all orders which products go together and what is popular
    Fit(FitArgs),
    /// What each strategy finds for one customer, and why
    Show(ShowArgs),
    /// Recommend on the day given, from what was known then, and count how often the next order had it
    Backtest(BacktestArgs),
}

#[derive(Debug, clap::Args)]
struct FitArgs {
    /// Read everybody's orders, not only those of customers who ordered since they were last read
    #[arg(long)]
    full: bool,
}

#[derive(Debug, clap::Args)]
struct ShowArgs {
    /// The customer's id
    #[arg(long, value_name = "ID")]
    customer: String,
    /// again, together, discover or popular; several fill up one list [default: each by itself]
    #[arg(long, value_name = "STRATEGY", value_delimiter = ',')]
    strategy: Vec<String>,
    /// Products of each list, 1 to 20
    #[arg(long, value_name = "N", default_value_t = SHOWN)]
    count: usize,
}

#[derive(Debug, clap::Args)]
struct BacktestArgs {
    /// The day that divides past and future [default: 90 days before the newest order]
    #[arg(long, value_name = "DATE")]
    as_of: Option<String>,
}

impl From<LearnError> for Failure {
    fn from(e: LearnError) -> Failure {
        match e {
            LearnError::Denied => Failure::Environment(e.to_string()),
            LearnError::Busy => Failure::Busy(format!("{e}\nrun again when it has ended")),
            LearnError::Db(e) => e.into(),
        }
    }
}

pub async fn run(inv: &Invocation, args: RecommendArgs) -> Result<Exit, Failure> {
    let project = inv.project()?;
    let settings = &project.settings;
    let now = inv.clock(&settings.time_zone)?.as_of();
    let db = inv.open_db(&project).await?;
    match args.verb {
        RecommendVerb::Fit(args) => {
            let scope = if args.full { Scope::Everyone } else { Scope::Dirty };
            let card = recommend::fit(&db, now, scope).await?;
            inv.print(|| json!(card), || fitted(&card));
        }
        RecommendVerb::Show(args) => show(inv, &db, args, now).await?,
        RecommendVerb::Backtest(args) => {
            let cut = match &args.as_of {
                Some(text) => asked_cut(&db, settings, text).await?,
                None => usual_cut(&db, settings, now).await?,
            };
            let told = backtest::backtest(&db, cut).await?;
            inv.print(|| backtest_json(&told, settings), || backtest_text(&told, settings));
        }
    }
    Ok(Exit::Done)
}

/// Before a campaign is planned: its categories are those of the catalogue, and what it needs to have learnt is fresh.
pub async fn get_ready(inv: &Invocation, db: &Db, campaign: &Campaign) -> Result<(), Failure> {
    let Some(step) = campaign.recommend() else { return Ok(()) };
    let problems = unknown_categories(step, &data::load::categories(db).await?);
    if problems.has_errors() {
        return Err(Failure::Problems(problems));
    }
    if !problems.is_empty() {
        inv.say(problems.to_text().trim_end());
    }
    if step.asked.needs_fit() {
        match recommend::renew_if_old(db).await {
            Err(e @ LearnError::Denied) => {
                inv.say(format_args!("{e}; what was learnt before is used, as old as it is"))
            }
            ended => ended?,
        }
    }
    Ok(())
}

/// A category that no product has would let nobody have a mail, or keep nothing out.
fn unknown_categories(step: &Recommend, known: &[String]) -> Problems {
    let mut problems = Problems::new();
    let known = || known.iter().map(String::as_str);
    let missing = |list: &'_ [String]| list.iter().filter(|c| !known().any(|k| k == **c)).cloned().collect::<Vec<_>>();
    for category in missing(&step.asked.categories) {
        let said = format!("no product has the category `{category}`, so nothing of it can be recommended");
        problems.error("unknown-category", &step.place, said).did_you_mean(&category, known());
    }
    for category in missing(&step.asked.not_categories) {
        let said = format!("no product has the category `{category}`, so leaving it out changes nothing");
        problems.warning("unknown-category", &step.place, said).did_you_mean(&category, known());
    }
    problems
}

/// One recommendation of a payload in a line: `Reading Lamp · discover (because of Paper lamp)`.
pub fn recommendation(item: &serde_json::Value) -> String {
    let text = |name: &str| item[name].as_str().unwrap_or_default().to_owned();
    let because: Vec<&str> = item["because"].as_array().into_iter().flatten().filter_map(|b| b.as_str()).collect();
    let bought = item["bought"].as_u64().unwrap_or(0);
    format!("{} · {}{}", text("name"), text("strategy"), why(&because, bought))
}

fn why(because: &[&str], bought: u64) -> String {
    match (because, bought) {
        ([], 0) => String::new(),
        ([], 1) => " (bought once)".to_owned(),
        ([], n) => format!(" (bought {n} times)"),
        (because, _) => format!(" (because of {})", because.join(" and ")),
    }
}

fn fitted(card: &FitCard) -> String {
    let read = match card.read_anew {
        all if all >= card.customers => String::new(),
        0 => ", none of them read anew".to_owned(),
        some => format!(", {} read anew", grouped(some)),
    };
    let mut out = format!(
        "learnt from {}{read}: {}, {} of them that go together\n",
        many(card.customers, "customer"),
        many(card.products, "product"),
        many(card.pairs, "pair"),
    );
    if card.buckets < crate::db::BUCKETS {
        let share = 100.0 * card.buckets as f64 / crate::db::BUCKETS as f64;
        out.push_str(&format!("from {share:.0} % of all customers, drawn by chance: more would not tell more\n"));
    }
    if card.pairs == 0 {
        out.push_str("`together` and `discover` will find nothing: no two products have three customers in common\n");
    }
    out
}

async fn show(inv: &Invocation, db: &Db, args: ShowArgs, now: Millis) -> Result<(), Failure> {
    if !(1..=COUNT_MAX).contains(&args.count) {
        return Err(Failure::Usage(format!("--count {}: not between 1 and {COUNT_MAX}", args.count)));
    }
    let id = &args.customer;
    if data::load::customer(db, id).await?.is_none() {
        return Err(Failure::Usage(format!("there is no customer `{id}`\n`okaeri segment sample NAME` names some")));
    }
    let lists: Vec<Vec<Strategy>> = match args.strategy.as_slice() {
        [] => Strategy::ALL.map(|s| vec![s]).to_vec(),
        words => vec![words.iter().map(|w| strategy(w)).collect::<Result<_, _>>()?],
    };
    let mut found: Vec<(String, Vec<Recommended>)> = Vec::new();
    for strategies in lists {
        let name = strategies.iter().map(|s| s.word()).collect::<Vec<_>>().join(",");
        let recommender = Recommender::prepare(db, Asked::of(&strategies, args.count), now).await?;
        let person = recommender.of_people(db, &[(bucket_of(id), id)]).await?;
        found.extend(person.into_iter().map(|list| (name.clone(), list)));
    }
    let sql = "SELECT bucket FROM order_line WHERE bucket = $1 AND customer_id = $2 LIMIT 1";
    let has_bought = db.fetch_optional::<(i64,)>(sql, args![bucket_of(id), id]).await?.is_some();
    let learnt = recommend::newest(db).await?;
    if learnt.is_none() {
        inv.say("nothing was learnt yet, so only `again` finds anything: okaeri recommend fit");
    }
    inv.print(
        || {
            let lists: serde_json::Map<_, _> = found.iter().map(|(name, list)| (name.clone(), json!(list))).collect();
            json!({ "customer_id": id, "fitted_at": learnt.map(|l| l.fitted_at), "recommended": lists })
        },
        || found.iter().map(|(name, list)| shown(name, list, has_bought)).collect::<Vec<_>>().join("\n"),
    );
    Ok(())
}

fn strategy(word: &str) -> Result<Strategy, Failure> {
    Strategy::from_word(word.trim()).ok_or_else(|| {
        let words = Strategy::ALL.map(Strategy::word);
        let hint = match nearest(word, words) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("one of: {}", words.join(", ")),
        };
        Failure::Usage(format!("there is no strategy `{word}`\n{hint}"))
    })
}

/// Why a list is empty.
fn nothing(strategy: Option<Strategy>, has_bought: bool) -> &'static str {
    match strategy {
        Some(Strategy::Popular) | None => {
            "no product that sells is left to offer: in `products`, in stock, and not theirs"
        }
        Some(_) if !has_bought => "no product is known that they bought",
        Some(Strategy::Again) => "nothing of what they bought is in `products`, in stock, and was not sent back",
        Some(_) => "no product that enough others bought beside theirs is in `products`, in stock, and not theirs yet",
    }
}

fn shown(name: &str, list: &[Recommended], has_bought: bool) -> String {
    let bold = anstyle::Style::new().bold();
    let dim = anstyle::Style::new().dimmed();
    let meaning = Strategy::from_word(name).map_or("filled up in this order", Strategy::meaning);
    let mut out = format!("{bold}{name}{bold:#}  {dim}{meaning}{dim:#}\n");
    if list.is_empty() {
        out.push_str(&format!("  nothing: {}\n", nothing(Strategy::from_word(name), has_bought)));
    }
    for item in list {
        let because: Vec<&str> = item.because.iter().map(String::as_str).collect();
        let why = why(&because, u64::from(item.bought));
        let of = if Strategy::from_word(name).is_some() { String::new() } else { format!(" · {}", item.strategy) };
        out.push_str(&format!("  {:<14} {}{dim}{of}{why}{dim:#}\n", item.sku, item.name));
    }
    out
}

/// The day of `--as-of`: one before the first order has no past, one after the last no future.
async fn asked_cut(db: &Db, settings: &Settings, text: &str) -> Result<Millis, Failure> {
    let cut = clock::parse_instant(text, &settings.time_zone).ok_or_else(|| {
        Failure::Usage(format!("--as-of {text}: not a day\nwrite 2026-06-01, or an instant: 2026-06-01T09:00"))
    })?;
    profile::refresh(db, settings, clock::now(), Scope::Dirty).await?;
    let sql = "SELECT MIN(first_order_at), MAX(last_order_at) FROM profile";
    let (Some(first), Some(last)) = db.fetch_one::<(Option<i64>, Option<i64>)>(sql, vec![]).await? else {
        return Err(no_orders());
    };
    if first < cut && cut <= last {
        return Ok(cut);
    }
    let day = |at: Millis| clock::date_in(at, &settings.time_zone);
    Err(Failure::Usage(format!(
        "--as-of {text}: orders are known from {} to {}\nwrite a day between them, with orders before it and after it",
        day(first),
        day(last)
    )))
}

fn no_orders() -> Failure {
    Failure::Usage("there are no orders to learn from\nimport them first: okaeri import orders FILE".to_owned())
}

async fn usual_cut(db: &Db, settings: &Settings, now: Millis) -> Result<Millis, Failure> {
    profile::refresh(db, settings, now, Scope::Dirty).await?;
    let (newest,): (Option<i64>,) = db.fetch_one("SELECT MAX(last_order_at) FROM profile", vec![]).await?;
    let newest = newest.ok_or_else(no_orders)?;
    let day = profile::day::day_number(newest - HELD_OUT_DAYS * DAY, &settings.time_zone);
    Ok(profile::day::start_of(day, &settings.time_zone))
}

/// `1 pair`, `1,181 pairs`.
fn many(n: i64, of: &str) -> String {
    if n == 1 { format!("1 {of}") } else { format!("{} {of}s", grouped(n)) }
}

fn who(who: Who) -> &'static str {
    match who {
        Who::Popularity => "popularity",
        Who::Strategy(strategy) => strategy.word(),
    }
}

/// What must not be overlooked, a sentence each.
fn warnings(told: &Backtest) -> Vec<String> {
    let mut out = Vec::new();
    for (question, of) in [(&told.all_items, "everything"), (&told.new_items, "new things")] {
        let bar = question.popularity().map_or(0.0, |m| m.hit_rate);
        for (strategy, measured) in question.beaten() {
            out.push(format!(
                "recommending the same to everybody beats `{}` for {of}: {:.3} against {:.3}",
                strategy.word(),
                bar,
                measured.hit_rate
            ));
        }
    }
    let people = told.all_items.people;
    if people == 0 {
        out.push("nobody with two orders before that day ordered again: nothing can be said".to_owned());
    } else if people < PEOPLE_FEW {
        out.push(format!("{} are few: differences within the ± may be chance", many(people as i64, "customer")));
    }
    out
}

fn backtest_json(told: &Backtest, settings: &Settings) -> serde_json::Value {
    let mut json = json!(told);
    json["as_of"] = json!(clock::rfc3339(told.cut, &settings.time_zone));
    json["warnings"] = json!(warnings(told));
    json
}

fn backtest_text(told: &Backtest, settings: &Settings) -> String {
    let mut out = format!(
        "learnt from {} and {} as they were before {}\n",
        many(told.customers as i64, "customer"),
        many(told.products as i64, "product"),
        clock::readable(told.cut, &settings.time_zone),
    );
    let tried = told.all_items.people > 0;
    for (question, of) in
        [(&told.all_items, "everything in the next order"), (&told.new_items, "only what they did not have yet")]
            .into_iter()
            .filter(|_| tried)
    {
        let people = many(question.people as i64, "customer");
        out.push_str(&format!("\n{of}, {people}\n{}\n", of_question(question)));
    }
    let red = anstyle::Style::new().fg_color(Some(anstyle::AnsiColor::Red.into())).bold();
    for warning in warnings(told) {
        out.push_str(&format!("\n{red}warning{red:#}: {warning}"));
    }
    if tried {
        out.push_str(
            "\n`popularity` is the same five for everybody: what most orders ever had. Tried are customers with two orders or more,\n\
             on products that five customers had bought.\n",
        );
    } else {
        out.push('\n');
    }
    out
}

fn of_question(question: &Question) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(["", "hit-rate@5", "±", "precision@5", "recall@5", "ndcg@5"]);
    let best = question.best().map(|m| m.who);
    for m in &question.measured {
        let mark = if best == Some(m.who) && question.people > 0 { " ←" } else { "" };
        table.add_row([
            format!("{}{mark}", who(m.who)),
            format!("{:.3}", m.hit_rate),
            format!("{:.3}", m.plus_minus),
            format!("{:.3}", m.precision),
            format!("{:.3}", m.recall),
            format!("{:.3}", m.ndcg),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.trim_fmt()
}
