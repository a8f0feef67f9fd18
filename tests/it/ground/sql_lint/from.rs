//! What a FROM brings into sight, and what its conditions make equal.

use std::ops::Range;

use sqlparser::ast::{
    BinaryOperator, CastKind, DataType, Expr, FunctionArg, FunctionArgExpr, InTarget, Join, JoinConstraint,
    JoinOperator, TableAlias, TableFactor, TableWithJoins, Value,
};

use super::block::Place;
use super::names::{Column, Kind, Limit, Output, Relation, Scope, Term, lower};
use super::schema::name_of;
use super::{Known, Linter, shown};

/// A condition that rows must meet.
pub(super) struct Condition<'a> {
    pub expr: &'a Expr,
    /// The condition of an outer join says something about the relations it adds, and nothing about those before.
    pub only_about: Option<Range<usize>>,
}

/// What a FROM says beside the relations it names.
#[derive(Default)]
pub(super) struct Said<'a> {
    pub conditions: Vec<Condition<'a>>,
    /// Arguments of table functions.
    pub arguments: Vec<&'a Expr>,
}

impl Linter<'_> {
    /// Bring relations into the scope.
    pub(super) fn from<'a>(&mut self, tables: &[&'a TableWithJoins], scope: &mut Scope, known: &Known) -> Said<'a> {
        let mut said = Said::default();
        for table in tables {
            self.joined(table, scope, known, &mut said);
        }
        said
    }

    fn joined<'a>(&mut self, table: &'a TableWithJoins, scope: &mut Scope, known: &Known, said: &mut Said<'a>) {
        self.factor(&table.relation, scope, known, said);
        for join in &table.joins {
            let before = self.relations;
            self.factor(&join.relation, scope, known, said);
            let added = before..self.relations;
            if let Some((on, outer)) = self.on(join) {
                said.conditions.push(Condition { expr: on, only_about: outer.then_some(added) });
            }
        }
    }

    /// The condition of a join, and whether it is an outer join.
    fn on<'a>(&mut self, join: &'a Join) -> Option<(&'a Expr, bool)> {
        let (constraint, outer) = match &join.join_operator {
            JoinOperator::Join(c) | JoinOperator::Inner(c) | JoinOperator::CrossJoin(c) => (c, false),
            JoinOperator::Left(c)
            | JoinOperator::LeftOuter(c)
            | JoinOperator::Right(c)
            | JoinOperator::RightOuter(c)
            | JoinOperator::FullOuter(c) => (c, true),
            _ => {
                self.say(format!("a join that not every engine has: {}", shown(join)));
                return None;
            }
        };
        match constraint {
            JoinConstraint::On(on) => Some((on, outer)),
            JoinConstraint::None => None,
            JoinConstraint::Using(_) | JoinConstraint::UsingAlias(..) | JoinConstraint::Natural => {
                self.say(format!("a join without ON, which says both sides of what is equal: {}", shown(join)));
                None
            }
        }
    }

    fn factor<'a>(&mut self, factor: &'a TableFactor, scope: &mut Scope, known: &Known, said: &mut Said<'a>) {
        match factor {
            TableFactor::Table { name, alias, args: None, .. } => {
                let relation = self.table(&name_of(name), alias.as_ref(), known);
                scope.relations.push(relation);
            }
            TableFactor::Table { name, alias, args: Some(args), .. } => {
                said.arguments.extend(args.args.iter().filter_map(argument));
                self.small(&name_of(name), alias.as_ref(), scope);
            }
            TableFactor::Function { lateral, name, args, alias, .. } => {
                if *lateral {
                    self.say(format!("LATERAL: {}", shown(factor)));
                }
                said.arguments.extend(args.iter().filter_map(argument));
                self.small(&name_of(name), alias.as_ref(), scope);
            }
            TableFactor::UNNEST { alias, array_exprs, .. } => {
                said.arguments.extend(array_exprs.iter().filter(|e| !is_array_placeholder(e)));
                self.small("unnest", alias.as_ref(), scope);
            }
            TableFactor::Derived { lateral, subquery, alias, .. } => {
                if *lateral {
                    self.say(format!("LATERAL: {}", shown(factor)));
                }
                let name = alias.as_ref().map_or_else(String::new, |a| lower(&a.name));
                if name.is_empty() {
                    self.say(format!("a derived table without an alias: {}", shown(factor)));
                }
                let place = Place::Table { named: &name };
                let output = self.query(subquery, known, scope.outer, place);
                let relation = self.made_of(output, name, alias.as_ref());
                scope.relations.push(relation);
            }
            TableFactor::NestedJoin { table_with_joins, .. } => self.joined(table_with_joins, scope, known, said),
            other => self.say(format!("a kind of table that the lint does not know: {}", shown(other))),
        }
    }

    /// A table by its name, or a common table expression.
    pub(super) fn table(&mut self, name: &str, alias: Option<&TableAlias>, known: &Known) -> Relation {
        let seen_as = alias.map_or_else(|| name.to_owned(), |a| lower(&a.name));
        if let Some(output) = known.get(name) {
            return self.made_of(output.clone(), seen_as, alias);
        }
        if self.schema.table(name).is_none() {
            self.say(format!("no migration makes the table `{name}`"));
        }
        let shown = if seen_as == name { name.to_owned() } else { format!("{name} {seen_as}") };
        let (kind, columns) = (self.schema.kind(name), self.schema.columns(name));
        Relation { id: self.new_id(), alias: seen_as, shown, kind, columns, stored: true, tied: false }
    }

    fn small(&mut self, name: &str, alias: Option<&TableAlias>, scope: &mut Scope) {
        let seen_as = alias.map_or_else(|| name.to_owned(), |a| lower(&a.name));
        let relation = self.made_of(Output::small(), seen_as, alias);
        scope.relations.push(relation);
    }

    fn made_of(&mut self, output: Output, name: String, alias: Option<&TableAlias>) -> Relation {
        let columns = renamed(output.columns, alias);
        let shown = format!("the subquery {name}");
        Relation { id: self.new_id(), alias: name, shown, kind: output.kind, columns, stored: false, tied: output.tied }
    }

    fn new_id(&mut self) -> usize {
        self.relations += 1;
        self.relations - 1
    }
}

/// The columns of an alias such as `k (bucket, customer_id)`, each with the role of the column it renames.
pub(super) fn renamed(columns: Option<Vec<Column>>, alias: Option<&TableAlias>) -> Option<Vec<Column>> {
    let names: Vec<String> = alias.into_iter().flat_map(|a| &a.columns).map(|c| lower(&c.name)).collect();
    if names.is_empty() {
        return columns;
    }
    let columns = columns.unwrap_or_default();
    Some(
        names
            .into_iter()
            .enumerate()
            .map(|(n, name)| Column { name, role: columns.get(n).and_then(|c| c.role) })
            .collect(),
    )
}

fn argument(arg: &FunctionArg) -> Option<&Expr> {
    let (FunctionArg::Named { arg, .. } | FunctionArg::ExprNamed { arg, .. } | FunctionArg::Unnamed(arg)) = arg;
    match arg {
        FunctionArgExpr::Expr(e) => Some(e),
        _ => None,
    }
}

/// `$1::bigint[]`, the one place where `::` is ours.
fn is_array_placeholder(expr: &Expr) -> bool {
    matches!(expr, Expr::Cast { kind: CastKind::DoubleColon, expr, data_type: DataType::Array(_), .. } if is_placeholder(expr))
}

fn is_placeholder(expr: &Expr) -> bool {
    match expr {
        Expr::Nested(e) => is_placeholder(e),
        Expr::Value(v) => matches!(v.value, Value::Placeholder(_)),
        _ => false,
    }
}

/// Take what a condition says into the scope's equalities.
pub(super) fn assume(scope: &mut Scope, condition: &Condition) {
    hold(scope, condition.expr, condition.only_about.as_ref());
}

fn hold(scope: &mut Scope, expr: &Expr, only_about: Option<&Range<usize>>) {
    match expr {
        Expr::Nested(inner) | Expr::IsTrue(inner) => hold(scope, inner, only_about),
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            hold(scope, left, only_about);
            hold(scope, right, only_about);
        }
        Expr::BinaryOp { left, op: BinaryOperator::Eq, right } | Expr::IsNotDistinctFrom(left, right) => {
            match (left.as_ref(), right.as_ref()) {
                (Expr::Tuple(a), Expr::Tuple(b)) => a.iter().zip(b).for_each(|(a, b)| equate(scope, a, b, only_about)),
                (a, b) => equate(scope, a, b, only_about),
            }
        }
        Expr::BinaryOp { left, op, right } => {
            let (below, above) = match op {
                BinaryOperator::Lt | BinaryOperator::LtEq => (left, right),
                BinaryOperator::Gt | BinaryOperator::GtEq => (right, left),
                _ => return,
            };
            limit(scope, below, above, Limit::Below);
            limit(scope, above, below, Limit::Above);
        }
        Expr::Between { expr, negated: false, low, high } if is_placeholder(low) && is_placeholder(high) => {
            limit(scope, expr, low, Limit::Both);
        }
        Expr::In { expr, target: InTarget::List(list), negated: false, .. } if list.iter().all(is_placeholder) => {
            if let Some(first) = list.first() {
                limit(scope, expr, first, Limit::Both);
            }
        }
        _ => {}
    }
}

fn equate(scope: &mut Scope, a: &Expr, b: &Expr, only_about: Option<&Range<usize>>) {
    limit(scope, a, b, Limit::Both);
    limit(scope, b, a, Limit::Both);
    if let (Some(a), Some(b)) = (scope.term(a), scope.term(b)) {
        equal(scope, a, b, only_about);
    }
}

/// Two terms are equal. A column that is equal to one of a list is limited by the list.
pub(super) fn equal(scope: &mut Scope, a: Term, b: Term, only_about: Option<&Range<usize>>) {
    let about = |t: &Term| matches!((t, only_about), (Term::Column(id, _), Some(only)) if only.contains(id));
    if only_about.is_some() && !about(&a) && !about(&b) {
        return;
    }
    let is_of_list = |r: &Relation, id: usize| r.id == id && r.kind == Kind::Small && !r.stored;
    let is_listed = |t: &Term| matches!(t, Term::Column(id, _) if scope.relations.iter().any(|r| is_of_list(r, *id)));
    for (one, other) in [(&a, &b), (&b, &a)] {
        if is_listed(one) {
            scope.equal.limit(other.clone(), Limit::Both);
            break;
        }
    }
    scope.equal.unite(a, b);
}

fn limit(scope: &mut Scope, column: &Expr, by: &Expr, limit: Limit) {
    if let Some((column, _)) = scope.column(column).filter(|_| is_placeholder(by)) {
        scope.equal.limit(column, limit);
    }
}
