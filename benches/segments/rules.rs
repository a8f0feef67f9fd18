//! The 45 segments: 15 rules, each with three sets of parameters, over the whole language.

use jiff::ToSpan as _;
use jiff::civil::Date;

/// Sets of parameters of each rule.
const SETS: usize = 3;

/// A rule with holes: `<0>` is the number of the set, `<1>` its first parameter. A parameter `@90` is the date 90 days before today.
struct Shape {
    name: &'static str,
    rule: &'static str,
    sets: [&'static [&'static str]; SETS],
}

/// Name and text of every segment's file.
pub fn files(today: Date) -> Vec<(String, String)> {
    SHAPES.iter().flat_map(|shape| (0..SETS).map(move |set| shape.file(set, today))).collect()
}

impl Shape {
    fn file(&self, set: usize, today: Date) -> (String, String) {
        let number = (set + 1).to_string();
        let mut rule = self.rule.replace("<0>", &number);
        for (n, parameter) in (1..).zip(self.sets[set]) {
            let dated = parameter.strip_prefix('@').map(|days| {
                let days: i64 = days.parse().expect("a number of days");
                today.saturating_sub(days.days()).to_string()
            });
            rule = rule.replace(&format!("<{n}>"), dated.as_deref().unwrap_or(parameter));
        }
        let name = format!("{}_{number}", self.name);
        let text = format!("segment: {name}\ntitle: {} {number}\nwhere:\n{rule}", self.name.replace('_', " "));
        (name, text)
    }
}

const SHAPES: [Shape; 15] = [
    Shape {
        name: "again_in_category",
        rule: "  bought: { category: <1> }\n  orders: { gte: <2> }\n  in_last: <3>\n",
        sets: [&["coffee", "2", "90d"], &["books", "3", "180d"], &["garden", "5", "2y"]],
    },
    Shape {
        name: "lapsing",
        rule: "  all:
    - did: order.placed
      more_than_ago: <1>
    - did_not: order.placed
      in_last: <1>
    - did: product.viewed
      in_last: <2>
",
        sets: [&["90d", "30d"], &["180d", "60d"], &["1y", "90d"]],
    },
    Shape {
        name: "overdue",
        rule: "  all:
    - customer: orders
      gte: <1>
    - customer: days_since_last_order
      gt: { field: usual_gap_days, multiplied_by: <2> }
      lt: { field: usual_gap_days, multiplied_by: <3> }
",
        sets: [&["3", "1.3", "4"], &["4", "1.5", "5"], &["8", "2", "10"]],
    },
    Shape {
        name: "looks_at",
        rule: "  all:
    - did: product.viewed
      times: { gte: <1>, lt: 30 }
      in_last: <2>
      with: { category: { in: [<3>] }, device: <4> }
    - did_not: order.placed
      in_last: <2>
",
        sets: [
            &["1", "30d", "coffee, tea", "phone"],
            &["2", "60d", "garden, plants", "desktop"],
            &["3", "180d", "books", "phone"],
        ],
    },
    Shape {
        name: "valuable_and_quiet",
        rule: "  all:
    - customer: revenue
      percentile: { gte: <1> }
    - lifecycle: [drifting, lapsed]
    - consent: offers
    - none:
        - in_segment: waits_for_us_<0>
        - received: { campaign: win-back }
          in_last: <2>
",
        sets: [&["70", "30d"], &["80", "60d"], &["90", "90d"]],
    },
    Shape {
        name: "waits_for_us",
        rule: "  any:
    - customer: open_tickets
      gte: <1>
    - did: survey.nps
      with: { score: { lte: <2> } }
      in_last: <3>
",
        sets: [&["1", "3", "14d"], &["1", "6", "30d"], &["2", "5", "90d"]],
    },
    Shape {
        name: "cross_sell",
        rule: "  all:
    - did: order.placed
      sum: { of: total, gte: <1> }
      in_last: 365d
    - bought: { category: <2> }
      distinct: { of: sku, gte: <3> }
      in_last: 2y
    - bought_not: { category: <4> }
    - last: survey.nps
      with: { score: { gte: 5 } }
",
        sets: [&["100", "coffee", "2", "tea"], &["200", "tea", "3", "coffee"], &["60", "plants", "2", "garden"]],
    },
    Shape {
        name: "first_month_silent",
        rule: "  all:
    - customer: first_order_at
      in_last: <1>
    - did: product.viewed
      times: { gte: <2> }
      days_after: { first_order_at: [0, 30] }
    - did_not: order.placed
      days_after: { first_order_at: [1, <3>] }
",
        sets: [&["60d", "1", "30"], &["180d", "2", "30"], &["365d", "1", "60"]],
    },
    Shape {
        name: "left_a_cart",
        rule: "  funnel:
    - did: cart.updated
      in_last: <1>
    - did_not: order.placed
      within_after: <2>
",
        sets: [&["2d", "4h"], &["7d", "12h"], &["14d", "1d"]],
    },
    Shape {
        name: "win_back_targets",
        rule: "  all:
    - any:
        - rfm: [<1>]
        - in_segment: lapsing_<0>
    - lifecycle: [drifting, lapsed, lost]
    - none:
        - in_segment: [waits_for_us_<0>, staff_like_<0>]
",
        sets: [&["at_risk, cannot_lose"], &["need_attention, about_to_sleep"], &["hibernating, at_risk"]],
    },
    Shape {
        name: "to_make_good",
        rule: "  all:
    - any:
        - last: ticket.closed
          with: { rating: { lte: 2 } }
          in_last: <1>
        - did: order.refunded
          with: { reason: { in: [<2>] } }
          in_last: <1>
    - did_not: reward.given
      with: { programme: recovery }
      in_last: <3>
",
        sets: [
            &["14d", "damaged, late, wrong_item", "30d"],
            &["30d", "damaged", "60d"],
            &["90d", "late, too_small", "90d"],
        ],
    },
    Shape {
        name: "looking_now",
        rule: "  all:
    - did: product.viewed
      in_last: <1>
    - did_not: order.placed
      in_last: <1>
    - customer: country
      in: [<2>]
",
        sets: [&["6h", "DE, FR"], &["24h", "GB, US"], &["48h", "JP"]],
    },
    Shape {
        name: "spends_much",
        rule: "  all:
    - bought: { category: [<1>] }
      amount: { gte: <2> }
      quantity: { gte: 3 }
      in_last: <3>
    - did: order.returned
      times: { lte: 1 }
    - customer: average_order
      gte: 20
",
        sets: [&["kitchen, lamps", "80", "1y"], &["garden", "150", "2y"], &["toys, books, stationery", "120", "1y"]],
    },
    Shape {
        name: "staff_like",
        rule: "  any:
    - all:
        - customer: account
          eq: staff
        - customer: points
          gte: <1>
    - all:
        - customer: tags
          has: <2>
        - customer: account
          in: [business, staff]
        - customer: r
          gte: 4
",
        sets: [&["500", "early"], &["1000", "vip"], &["1500", "gift"]],
    },
    Shape {
        name: "of_a_season",
        rule: "  all:
    - did: order.placed
      between: [<1>, <2>]
      times: { gte: <3> }
    - customer: f
      gte: 2
    - none:
        - received: { campaign: digest }
          times: { gte: 2 }
          in_last: 90d
",
        sets: [&["@400", "@310", "1"], &["@760", "@550", "2"], &["@180", "@90", "1"]],
    },
];
