//! The catalogue of what is known of a customer: name → kind → SQL. Segments compare these; `okaeri check` knows names by them.

/// What kind of value a field holds, which decides what it can be compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A whole number.
    Number,
    /// Minor units; authors write major units.
    Money,
    /// A number with a fraction.
    Real,
    /// Epoch milliseconds.
    Instant,
    /// Whole local days.
    Days,
    Text,
}

impl Kind {
    /// What it is, for messages.
    pub fn described(self) -> &'static str {
        match self {
            Kind::Number => "a number",
            Kind::Money => "an amount of money",
            Kind::Real => "a number",
            Kind::Instant => "an instant",
            Kind::Days => "a number of days",
            Kind::Text => "text",
        }
    }

    /// Whether values of this kind have an order that authors can compare by.
    pub fn is_numeric(self) -> bool {
        matches!(self, Kind::Number | Kind::Money | Kind::Real | Kind::Days)
    }
}

/// A field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// The name authors write.
    pub name: &'static str,
    pub kind: Kind,
    /// Over alias `p` ([`derived_sql`](super::derived_sql)) or `c` (table `customer`).
    pub sql: &'static str,
    /// For people: "days since the last order".
    pub meaning: &'static str,
}

macro_rules! fields {
    ($($name:literal $kind:ident $sql:literal $meaning:literal;)*) => {
        &[$(Field { name: $name, kind: Kind::$kind, sql: $sql, meaning: $meaning }),*]
    };
}

/// All fields. Names of attributes that are not among them are the shop's own columns.
pub const FIELDS: &[Field] = fields! {
    "orders" Number "p.orders" "orders";
    "purchase_days" Number "p.purchase_days" "days with an order";
    "frequency" Number "p.frequency" "repeat purchase days";
    "revenue" Money "p.revenue" "revenue";
    "average_order" Money "p.average_order" "average order";
    "first_order_at" Instant "p.first_order_at" "the first order";
    "last_order_at" Instant "p.last_order_at" "the last order";
    "previous_order_at" Instant "p.previous_order_at" "the order before the last";
    "days_since_first_order" Days "p.days_since_first_order" "days since the first order";
    "days_since_last_order" Days "p.days_since_last_order" "days since the last order";
    "recency_days" Days "p.recency_days" "days from the first to the last order";
    "usual_gap_days" Real "p.usual_gap_days" "the usual days between orders";
    "last_gap_days" Days "p.last_gap_days" "days between the last two orders";
    "r" Number "p.r" "recency score";
    "f" Number "p.f" "frequency score";
    "m" Number "p.m" "money score";
    "top_category" Text "p.top_category" "favourite category";
    "last_viewed_at" Instant "p.last_viewed_at" "the last view of a product";
    "last_viewed_sku" Text "p.last_viewed_sku" "the product viewed last";
    "open_tickets" Number "p.open_tickets" "open tickets";
    "last_rating" Real "p.last_rating" "last rating";
    "last_rating_at" Instant "p.last_rating_at" "the last rating";
    "last_event_at" Instant "p.last_event_at" "the last event";
    "last_return_at" Instant "p.last_return_at" "the last returned order";
    "first_seen_at" Instant "c.first_seen_at" "first seen";
    "email" Text "c.email" "e-mail address";
    "first_name" Text "c.first_name" "first name";
    "last_name" Text "c.last_name" "last name";
    "locale" Text "c.locale" "locale";
    "time_zone" Text "c.time_zone" "time zone";
    "country" Text "c.country" "country";
};

/// What models predict of a customer, over alias `sc` (table `score`); missing where no model was fitted. Each has a low and a high beside it.
pub const SCORES: &[Field] = fields! {
    "orders.90d" Real "sc.orders_90d" "predicted orders in the 90 days after the newest order of the fit";
    "orders.12m" Real "sc.orders_12m" "predicted orders in the 12 months after the newest order of the fit";
    "ltv.12m" Money "sc.ltv_12m" "predicted value of the 12 months after the newest order of the fit";
    "alive" Real "sc.alive" "probability of still being a customer";
    "churn.90d" Real "sc.churn_90d" "probability of no order in the 90 days after the newest order of the fit";
    "next_order_at" Instant "sc.next_order_at" "the day by which half of those like them, still customers, have ordered again";
};

/// What stands before the name of a score where fields may be meant too.
pub const SCORE_PREFIX: &str = "score.";

/// The field of a name.
pub fn field(name: &str) -> Option<&'static Field> {
    FIELDS.iter().find(|f| f.name == name)
}

/// The score of a name, without prefix.
pub fn score(name: &str) -> Option<&'static Field> {
    SCORES.iter().find(|f| f.name == name)
}

/// A number or instant to compare or order by: a field, or a score written `score.NAME`.
pub fn numeric(name: &str) -> Option<&'static Field> {
    let found = match name.strip_prefix(SCORE_PREFIX) {
        Some(name) => score(name),
        None => field(name),
    };
    found.filter(|f| f.kind != Kind::Text)
}

/// The names that [`numeric`] knows, without prefixes.
pub fn number_names() -> impl Iterator<Item = &'static str> + Clone {
    FIELDS.iter().chain(SCORES).filter(|f| f.kind != Kind::Text).map(|f| f.name)
}

impl Field {
    /// Whether a model predicts it.
    pub fn is_score(&self) -> bool {
        self.sql.starts_with("sc.")
    }

    /// Whether it stands in table `customer`.
    pub fn is_of_customer(&self) -> bool {
        self.sql.starts_with("c.")
    }
}
