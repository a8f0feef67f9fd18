//! What the shop sells: sixty invented things in six categories, and how an order's amount is laid out over them.
//!
//! Money is in cents throughout.

use super::chance::Chance;

/// A thing on the shelf.
pub(super) struct Product {
    pub(super) sku: String,
    /// The name as both English and Japanese customers read it.
    pub(super) name: &'static str,
    pub(super) category: &'static str,
    pub(super) price: i64,
    pub(super) url: String,
}

/// One line of an order.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Place of the product on the shelf.
    pub(super) product: usize,
    pub(super) quantity: i64,
    pub(super) amount: i64,
}

/// The categories and how much people come for them. CDNOW sold music, so most of it still is.
pub(super) const CATEGORIES: [(&str, usize); 6] =
    [("music", 48), ("tea", 16), ("linen", 10), ("light", 8), ("incense", 9), ("paper", 9)];

/// An order never has more lines than this; further units make lines longer in quantity.
const LINES_MAX: i64 = 5;

/// The whole shelf, in the order of the catalogue.
pub(super) fn shelf() -> Vec<Product> {
    let mut number = 0;
    let mut last = "";
    CATALOGUE
        .iter()
        .map(|&(category, name, price)| {
            number = if category == last { number + 1 } else { 1 };
            last = category;
            let sku = format!("{}-{number:02}", category.to_uppercase());
            let url = format!("https://www.example.com/shelf/{}", sku.to_lowercase());
            Product { sku, name, category, price, url }
        })
        .collect()
}

/// A category somebody likes: `favourite` in six of ten draws, otherwise what people in general come for.
pub(super) fn category(favourite: &'static str, chance: &mut Chance) -> &'static str {
    if chance.percent(60) { favourite } else { CATEGORIES[chance.weighted(&CATEGORIES.map(|(_, w)| w))].0 }
}

/// Lays `units` pieces that cost `amount` together out as order lines.
///
/// The number of pieces and the sum are facts and are kept exactly; the products are invented: things of about the right price, so
/// that a line's amount may differ from the list price as it does in a shop with sets and reductions.
pub(super) fn lay_out(
    shelf: &[Product],
    favourite: &'static str,
    units: i64,
    amount: i64,
    chance: &mut Chance,
) -> Vec<Line> {
    let units = units.max(1);
    let mut lines: Vec<Line> = Vec::new();
    for _ in 0..units.min(LINES_MAX) {
        let product = near_price(shelf, category(favourite, chance), amount / units, chance);
        match lines.iter_mut().find(|line| line.product == product) {
            Some(line) => line.quantity += 1,
            None => lines.push(Line { product, quantity: 1, amount: 0 }),
        }
    }
    let rest = (units - LINES_MAX).max(0);
    let at = chance.below(lines.len());
    lines[at].quantity += rest;
    share_out(shelf, &mut lines, amount);
    lines
}

/// A product of `category` whose price is about `price`, or the nearest of all when the category has none.
fn near_price(shelf: &[Product], category: &str, price: i64, chance: &mut Chance) -> usize {
    let near: Vec<usize> = (0..shelf.len())
        .filter(|&i| {
            shelf[i].category == category && shelf[i].price * 10 >= price * 7 && shelf[i].price * 10 <= price * 15
        })
        .collect();
    if near.is_empty() {
        let mut by_distance: Vec<usize> = (0..shelf.len()).collect();
        by_distance.sort_by_key(|&i| (shelf[i].price - price).abs());
        by_distance[chance.below(4)]
    } else {
        *chance.one_of(&near)
    }
}

/// Splits `amount` over the lines in proportion to their list prices, to the cent.
fn share_out(shelf: &[Product], lines: &mut [Line], amount: i64) {
    let mut weight_left: i64 = lines.iter().map(|l| shelf[l.product].price * l.quantity).sum();
    let mut left = amount;
    for line in lines {
        let weight = shelf[line.product].price * line.quantity;
        line.amount = left * weight / weight_left;
        left -= line.amount;
        weight_left -= weight;
    }
}

/// Category, name, list price in cents. People, makers and titles are invented. What a shelf holds is of one kind, because mails give
/// advice by it.
const CATALOGUE: [(&str, &str, i64); 60] = [
    ("music", "Morning Rain 朝の雨", 1490),
    ("music", "The Long Corridor 長い廊下", 1590),
    ("music", "Kitchen Radio 台所のラジオ", 1390),
    ("music", "Snow Over Rails 線路の雪", 1490),
    ("music", "Tea Room Sessions 茶室にて", 1690),
    ("music", "Letters by Ferry 船便", 1290),
    ("music", "Small Hours 真夜中", 1390),
    ("music", "A Map of Quiet 静けさの地図", 1190),
    ("music", "Lantern Street 提灯通り", 1590),
    ("music", "Nine Windows 九つの窓", 1790),
    ("music", "Paper Boats 紙の舟", 1290),
    ("music", "Blue Hour 青い時間", 1490),
    ("music", "Under the Eaves 軒下", 1690),
    ("music", "Weather for Two 二人の天気", 1350),
    ("music", "Winter Garden 冬の庭", 1890),
    ("music", "Slow Tram 路面電車", 1390),
    ("music", "Home by Nine 九時の家路", 1490),
    ("music", "Moon Viewing 月見", 1590),
    ("music", "Collected Evenings 夕べの全集", 4900),
    ("music", "First Light 夜明け", 890),
    ("light", "Andon 行灯", 4200),
    ("light", "Hotaru 蛍", 1650),
    ("light", "Tsuki 月", 6800),
    ("light", "Entrance Lamp 玄関灯", 8900),
    ("light", "Beeswax Candles 蜜蝋", 1450),
    ("light", "Warm Bulb 電球色", 1290),
    ("light", "Reading Lamp 読書灯", 9400),
    ("light", "Candle Dish 燭台", 2400),
    ("tea", "Hojicha ほうじ茶", 1250),
    ("tea", "Genmaicha 玄米茶", 980),
    ("tea", "Sencha 煎茶", 1890),
    ("tea", "Evening Herbs 夜のお茶", 1150),
    ("tea", "Matcha 抹茶", 1790),
    ("tea", "Gyokuro 玉露", 3800),
    ("tea", "Kukicha 茎茶", 720),
    ("tea", "Aged Tea 熟成茶", 2900),
    ("tea", "Kuromoji Tea クロモジ茶", 1390),
    ("tea", "Black Tea 和紅茶", 1490),
    ("linen", "Linen Cloth 麻布巾", 1190),
    ("linen", "Tenugui 手ぬぐい", 1290),
    ("linen", "Kasuri Cushion 絣", 2900),
    ("linen", "Linen Apron 前掛け", 3900),
    ("linen", "Noren 暖簾", 4800),
    ("linen", "Furoshiki 風呂敷", 1890),
    ("linen", "Waffle Towel ワッフル", 1390),
    ("linen", "Bed Socks 靴下", 1590),
    ("incense", "Hinoki 檜", 1190),
    ("incense", "Byakudan 白檀", 1690),
    ("incense", "Rainy Season 梅雨", 1390),
    ("incense", "Yuzu 柚子", 980),
    ("incense", "Aloeswood 沈香", 1490),
    ("incense", "Cedar 杉", 790),
    ("incense", "Winter Sun 冬の日", 2200),
    ("paper", "Letter Set 便箋", 1290),
    ("paper", "Notebook 帳面", 1450),
    ("paper", "Desk Calendar 暦", 1690),
    ("paper", "Postcards 葉書", 1190),
    ("paper", "Pencils 鉛筆", 890),
    ("paper", "Washi Tape 和紙テープ", 640),
    ("paper", "Fountain Pen Ink 万年筆インク", 1890),
];

#[cfg(test)]
mod tests {
    use super::super::chance::For;
    use super::*;

    #[test]
    fn lines_carry_exactly_the_pieces_and_the_money_of_the_order() {
        let shelf = shelf();
        for (number, (units, amount)) in
            [(1, 1177), (2, 2933), (5, 0), (40, 50_697), (1, 1), (3, 10_000)].into_iter().enumerate()
        {
            let lines = lay_out(&shelf, "tea", units, amount, &mut Chance::stream(For::Order, number));
            assert_eq!(lines.iter().map(|l| l.quantity).sum::<i64>(), units);
            assert_eq!(lines.iter().map(|l| l.amount).sum::<i64>(), amount);
            assert!(lines.iter().all(|l| l.amount >= 0), "{lines:?}");
            assert!(lines.len() as i64 <= LINES_MAX);
        }
    }

    #[test]
    fn skus_and_names_are_unique_and_every_category_has_its_shelf() {
        let shelf = shelf();
        let skus: std::collections::BTreeSet<_> = shelf.iter().map(|p| &p.sku).collect();
        let names: std::collections::BTreeSet<_> = shelf.iter().map(|p| p.name).collect();
        assert_eq!((skus.len(), names.len()), (60, 60));
        for (category, _) in CATEGORIES {
            assert!(shelf.iter().filter(|p| p.category == category).count() >= 7, "{category}");
        }
    }
}
