//! Expressions: what must not stand in one, and the subqueries in it.

use sqlparser::ast::{
    BinaryOperator, CastKind, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArguments,
    InTarget, NamedWindowDefinition, UnaryOperator, WindowType,
};

use super::block::Place;
use super::names::Scope;
use super::schema::name_of;
use super::{Known, Linter, shown};

/// The clock and chance are bound, so that a statement means the same whenever and wherever it runs. SQLite's date functions know "now".
const CLOCK_AND_CHANCE: [&str; 23] = [
    "now",
    "current_timestamp",
    "current_date",
    "current_time",
    "localtime",
    "localtimestamp",
    "clock_timestamp",
    "statement_timestamp",
    "transaction_timestamp",
    "timeofday",
    "date",
    "time",
    "datetime",
    "julianday",
    "strftime",
    "unixepoch",
    "random",
    "randomblob",
    "gen_random_uuid",
    "uuidv4",
    "uuidv7",
    "nextval",
    "last_insert_rowid",
];
/// Hashes are made in Rust, so that every engine and version agrees.
const HASHES: [&str; 9] =
    ["md5", "sha224", "sha256", "sha384", "sha512", "digest", "hashtext", "hashtextextended", "hashint8"];
/// Where a dialect takes them for functions.
const GROUPING: [&str; 4] = ["rollup", "cube", "grouping sets", "grouping"];

/// What an expression sees.
pub(super) struct Around<'a> {
    pub scope: &'a Scope<'a>,
    pub known: &'a Known,
    pub windows: &'a [NamedWindowDefinition],
}

/// What is around an expression inside its own.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Within {
    cast: bool,
    /// Its value goes no further than into a comparison.
    compared: bool,
}

impl Linter<'_> {
    pub(super) fn expression(&mut self, expr: &Expr, mut within: Within, around: &Around) {
        match expr {
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) => {
                if let Some((_, depth)) = around.scope.column(expr) {
                    self.reached = self.reached.min(depth);
                }
            }
            Expr::Exists { subquery, .. } => {
                let place = Place::Inside { word: "EXISTS", compared: &[] };
                self.query(subquery, around.known, Some(around.scope), place);
            }
            Expr::Subquery(query) => {
                let place = Place::Inside { word: "a value", compared: &[] };
                self.query(query, around.known, Some(around.scope), place);
            }
            Expr::In { expr: left, target: InTarget::Subquery(query), negated, .. } => {
                if *negated {
                    self.say(format!("NOT IN (subquery), which a NULL makes false for everybody: {}", shown(expr)));
                }
                if self.changing && (query.limit_clause.is_some() || query.fetch.is_some()) {
                    self.say(format!(
                        "a change of rows that IN (SELECT … LIMIT …) picks, which may be picked anew for each row: {}",
                        shown(expr)
                    ));
                }
                let compared = match left.as_ref() {
                    Expr::Tuple(list) => list.iter().map(|e| around.scope.term(e)).collect(),
                    one => vec![around.scope.term(one)],
                };
                let place = Place::Inside { word: "IN", compared: &compared };
                self.query(query, around.known, Some(around.scope), place);
            }
            Expr::UnaryOp { op: UnaryOperator::Not, expr: inner } if is_in_subquery(inner) => {
                self.say(format!("NOT IN (subquery), which a NULL makes false for everybody: {}", shown(expr)));
            }
            Expr::GroupingSets(_) | Expr::Cube(_) | Expr::Rollup(_) => {
                self.say(format!("GROUPING SETS and their kin: {}", shown(expr)));
            }
            Expr::Cast { kind, .. } => {
                if *kind == CastKind::DoubleColon {
                    self.say(format!("`::` is Postgres alone; write CAST(… AS …): {}", shown(expr)));
                }
                within.cast = true;
            }
            Expr::Function(function) => self.function(function, within, around),
            _ if compares(expr) => within.compared = true,
            _ => {}
        }
        match parts(expr) {
            Some(parts) => {
                for part in parts {
                    self.expression(part, within, around);
                }
            }
            None => self.say(format!("an expression that the lint does not know: {}", shown(expr))),
        }
    }

    fn function(&mut self, function: &Function, within: Within, around: &Around) {
        let name = name_of(&function.name);
        let is = |names: &[&str]| names.contains(&name.as_str());
        if is(&CLOCK_AND_CHANCE) {
            self.say(format!("time and chance are bound, not asked of the engine: {}", shown(function)));
        }
        if is(&HASHES) {
            self.say(format!("hashes are made in Rust, not by the engine: {}", shown(function)));
        }
        if is(&GROUPING) {
            self.say(format!("GROUPING SETS and their kin: {}", shown(function)));
        }
        // Of whole numbers a sum is exact on every engine, of another type though; an average is not even exact.
        let wanting = (name == "sum" && !within.compared) || name == "avg";
        if wanting && !within.cast {
            self.say(format!("outside of a CAST its type differs between engines: {}", shown(function)));
        }
        if let Some(over) = &function.over {
            self.window(function, over, around);
        }
    }
}

fn is_in_subquery(expr: &Expr) -> bool {
    match expr {
        Expr::Nested(inner) => is_in_subquery(inner),
        Expr::In { target, .. } => matches!(target, InTarget::Subquery(_)),
        _ => false,
    }
}

fn compares(expr: &Expr) -> bool {
    use BinaryOperator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
    match expr {
        Expr::BinaryOp { op, .. } => matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq),
        Expr::IsDistinctFrom(..)
        | Expr::IsNotDistinctFrom(..)
        | Expr::IsNull(_)
        | Expr::IsNotNull(_)
        | Expr::Between { .. }
        | Expr::In { .. } => true,
        _ => false,
    }
}

/// The expressions right inside one, without those of its subqueries; `None` for a kind that this project does not write.
pub(super) fn parts(expr: &Expr) -> Option<Vec<&Expr>> {
    Some(match expr {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Value(_) | Expr::TypedString(_) => vec![],
        Expr::Exists { .. } | Expr::Subquery(_) => vec![],
        Expr::Nested(e)
        | Expr::UnaryOp { expr: e, .. }
        | Expr::IsNull(e)
        | Expr::IsNotNull(e)
        | Expr::IsTrue(e)
        | Expr::IsNotTrue(e)
        | Expr::IsFalse(e)
        | Expr::IsNotFalse(e)
        | Expr::Cast { expr: e, .. }
        | Expr::Collate { expr: e, .. }
        | Expr::Ceil { expr: e, .. }
        | Expr::Floor { expr: e, .. } => vec![e],
        Expr::BinaryOp { left, right, .. }
        | Expr::IsDistinctFrom(left, right)
        | Expr::IsNotDistinctFrom(left, right)
        | Expr::AnyOp { left, right, .. }
        | Expr::AllOp { left, right, .. }
        | Expr::Position { expr: left, r#in: right } => vec![left, right],
        Expr::In { expr, target, .. } => match target {
            InTarget::List(list) => std::iter::once(expr.as_ref()).chain(list).collect(),
            InTarget::Subquery(_) => vec![expr],
            InTarget::Unnest(array) => vec![expr, array],
            InTarget::Table { .. } => return None,
        },
        Expr::Between { expr, low, high, .. } => vec![expr, low, high],
        Expr::Like { expr, pattern, escape_char, .. } | Expr::ILike { expr, pattern, escape_char, .. } => {
            [expr, pattern].into_iter().chain(escape_char).map(Box::as_ref).collect()
        }
        Expr::Substring { expr, substring_from, substring_for, .. } => {
            std::iter::once(expr).chain(substring_from).chain(substring_for).map(Box::as_ref).collect()
        }
        Expr::Trim { trim_what, expr, trim_characters, .. } => {
            let inner = trim_what.iter().chain([expr]).map(Box::as_ref);
            inner.chain(trim_characters.iter().flatten()).collect()
        }
        Expr::Case { operand, conditions, else_result, .. } => {
            let branches = conditions.iter().flat_map(|c| [&c.condition, &c.result]);
            operand.iter().chain(else_result).map(Box::as_ref).chain(branches).collect()
        }
        Expr::Tuple(list) => list.iter().collect(),
        Expr::Array(array) => array.elem.iter().collect(),
        Expr::GroupingSets(sets) | Expr::Cube(sets) | Expr::Rollup(sets) => sets.iter().flatten().collect(),
        Expr::Function(function) => return arguments(function),
        _ => return None,
    })
}

fn arguments(function: &Function) -> Option<Vec<&Expr>> {
    let mut out = Vec::new();
    match &function.args {
        FunctionArguments::None => {}
        FunctionArguments::Subquery(_) => return None,
        FunctionArguments::List(list) => {
            for arg in &list.args {
                let (FunctionArg::Named { arg, .. } | FunctionArg::ExprNamed { arg, .. } | FunctionArg::Unnamed(arg)) =
                    arg;
                if let FunctionArgExpr::Expr(e) = arg {
                    out.push(e);
                }
            }
            for clause in &list.clauses {
                match clause {
                    FunctionArgumentClause::OrderBy(order) => out.extend(order.iter().map(|o| &o.expr)),
                    _ => return None,
                }
            }
        }
    }
    out.extend(function.within_group.iter().map(|o| &o.expr));
    out.extend(function.filter.iter().map(Box::as_ref));
    if let Some(WindowType::WindowSpec(spec)) = &function.over {
        out.extend(spec.partition_by.iter().chain(spec.order_by.iter().map(|o| &o.expr)));
    }
    Some(out)
}
