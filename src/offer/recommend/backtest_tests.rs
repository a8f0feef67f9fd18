//! What the backtest measures, by hand and on a real shop.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::*;
use crate::clock::{self, DAY};
use crate::model::fixtures::reference_text;

#[test]
fn measures_are_as_computed_by_hand() {
    let case = Case::default();
    let cases = [(&case, vec![1, 2, 3]), (&case, vec![9])];
    let m = measure(Who::Popularity, &cases, |_| vec![7, 1, 5, 2, 6, 3]);
    assert_eq!((m.hit_rate, m.precision, m.recall), (0.5, 0.2, 1.0 / 3.0));
    let (dcg, ideal) = (1.0 / 3_f64.log2() + 1.0 / 5_f64.log2(), 1.0 + 1.0 / 3_f64.log2() + 0.5);
    assert!((m.ndcg - dcg / ideal / 2.0).abs() < 1e-12, "the sixth place does not count");
    let nobody = measure(Who::Popularity, &[], |_| vec![1]);
    assert_eq!((nobody.hit_rate, nobody.ndcg), (0.0, 0.0));
}

#[test]
fn a_strategy_that_popularity_beats_is_named() {
    // Everybody buys bread next; only those with tea have jam as well, and nobody buys jam next.
    let mut learner = Learner::new(100 * DAY);
    let mut cases = Vec::new();
    for n in 0..20 {
        let things: &[&str] = if n < 8 { &["tea", "jam"] } else { &["bread"] };
        let owned: Vec<Owned> = things
            .iter()
            .map(|sku| Owned { product: learner.id(sku), times: 1, last_at: 99 * DAY, kept: true })
            .collect();
        learner.take(&owned);
        let bread = learner.id("bread");
        let owned = owned.into_iter().filter(|o| n >= 8 || o.product == learner.id("tea")).collect();
        cases.push(Case { owned, next: vec![bread] });
    }
    let (learnt, numbers) = learner.finish_numbered();
    for case in &mut cases {
        case.owned.iter_mut().for_each(|o| o.product = numbers[o.product as usize]);
        case.next.iter_mut().for_each(|p| *p = numbers[*p as usize]);
    }
    let told = evaluate(&learnt, |_| None, &cases, 20, 100 * DAY);
    assert_eq!((told.all_items.people, told.new_items.people), (20, 8));
    let of = |q: &Question, who: Who| q.measured.iter().find(|m| m.who == who).unwrap().hit_rate;
    assert_eq!(of(&told.new_items, Who::Popularity), 1.0);
    assert_eq!(of(&told.new_items, Who::Strategy(Strategy::Discover)), 0.0);
    let beaten: Vec<Strategy> = told.new_items.beaten().map(|(s, _)| s).collect();
    assert_eq!(beaten, [Strategy::Together, Strategy::Discover]);
}

#[test]
fn nothing_to_try_is_told_as_nothing() {
    let told = evaluate(&Learnt::default(), |_| None, &[], 0, 0);
    assert_eq!((told.all_items.people, told.new_items.beaten().count()), (0, 0));
    let json = serde_json::to_value(&told).unwrap();
    assert_eq!(json["all_items"]["measured"][0]["who"], "popularity");
    assert_eq!(json["all_items"]["measured"][1]["who"], "again");
}

/// A gift shop in 2009 to 2011 (UCI Online Retail II, Chen 2019), cut on 2011-06-01.
#[test]
fn the_next_orders_of_a_gift_shop_are_foreseen_as_well_as_they_can_be() {
    let Some(shop) = GiftShop::load() else { return };
    let told = shop.backtest("2011-06-01");
    println!("{told:#?}");
    let of = |q: &Question, who: Who| q.measured.iter().find(|m| m.who == who).unwrap().hit_rate;
    let (all, new) = (&told.all_items, &told.new_items);
    assert!((2_150..2_250).contains(&all.people) && (1_950..2_050).contains(&new.people));
    let (popularity, again) = (of(all, Who::Popularity), of(all, Who::Strategy(Strategy::Again)));
    assert!((popularity - 0.358).abs() < 0.01 && again >= 0.69, "{again} against {popularity}");
    let (popularity, discover) = (of(new, Who::Popularity), of(new, Who::Strategy(Strategy::Discover)));
    assert!((popularity - 0.12).abs() < 0.01 && discover >= 0.24, "{discover} against {popularity}");
    assert!(of(new, Who::Strategy(Strategy::Together)) > popularity);
    assert!(of(new, Who::Strategy(Strategy::Popular)) > popularity);
    assert_eq!((all.beaten().count(), new.beaten().count()), (0, 0));
}

struct GiftShop {
    /// order → customer, instant.
    orders: HashMap<String, (u32, Millis)>,
    /// order, product.
    lines: Vec<(String, String)>,
}

impl GiftShop {
    fn load() -> Option<GiftShop> {
        let (orders, lines) = (reference_text("ukretail_orders.csv.gz")?, reference_text("ukretail_lines.csv.gz")?);
        let rows = |text: &str| -> Vec<Vec<String>> {
            text.lines().skip(1).map(|l| l.split(',').map(str::to_owned).collect()).collect()
        };
        let orders = rows(&orders)
            .into_iter()
            .filter(|r| r[5] == "0" && r[3].parse::<f64>().unwrap() > 0.0)
            .map(|r| {
                let at = clock::parse_instant(&r[2], &jiff::tz::TimeZone::UTC).unwrap();
                (r[0].clone(), (r[1].parse().unwrap(), at))
            })
            .collect();
        let bought = |l: &Vec<String>| l[2].parse::<i64>().unwrap() > 0 && l[3].parse::<f64>().unwrap() > 0.0;
        let lines = rows(&lines).into_iter().filter(bought).map(|l| (l[0].clone(), l[1].clone())).collect();
        Some(GiftShop { orders, lines })
    }

    fn backtest(&self, cut: &str) -> Backtest {
        #[derive(Default)]
        struct Customer<'s> {
            orders: HashSet<&'s str>,
            had: BTreeMap<&'s str, (HashSet<&'s str>, Millis)>,
            next: Option<(Millis, &'s str)>,
            bought_next: HashSet<&'s str>,
        }
        let cut = clock::parse_instant(cut, &jiff::tz::TimeZone::UTC).unwrap();
        let mut customers: BTreeMap<u32, Customer<'_>> = BTreeMap::new();
        for (order, product) in &self.lines {
            let Some((customer, at)) = self.orders.get(order) else { continue };
            let c = customers.entry(*customer).or_default();
            if *at < cut {
                c.orders.insert(order);
                let (orders, last) = c.had.entry(product).or_default();
                orders.insert(order);
                *last = (*last).max(*at);
                continue;
            }
            if c.next.is_none_or(|next| (*at, order.as_str()) < next) {
                c.next = Some((*at, order));
                c.bought_next.clear();
            }
            if c.next == Some((*at, order)) {
                c.bought_next.insert(product);
            }
        }
        let mut learner = Learner::new(cut);
        let mut cases = Vec::new();
        for c in customers.values().filter(|c| !c.had.is_empty()) {
            let owned: Vec<Owned> = c
                .had
                .iter()
                .map(|(sku, (orders, last_at))| Owned {
                    product: learner.id(sku),
                    times: orders.len() as u32,
                    last_at: *last_at,
                    kept: true,
                })
                .collect();
            learner.take(&owned);
            if c.orders.len() >= ORDERS_MIN as usize && c.next.is_some() {
                cases.push(Case { owned, next: c.bought_next.iter().map(|sku| learner.id(sku)).collect() });
            }
        }
        let people = learner.customers();
        let (learnt, numbers) = learner.finish_numbered();
        for case in &mut cases {
            case.owned.iter_mut().for_each(|o| o.product = numbers[o.product as usize]);
            case.next.iter_mut().for_each(|p| *p = numbers[*p as usize]);
        }
        evaluate(&learnt, |_| None, &cases, people, cut)
    }
}
