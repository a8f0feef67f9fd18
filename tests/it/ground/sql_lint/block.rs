//! One SELECT, or the part of an UPDATE or DELETE that is like one: how its tables meet, how it groups, what limits it, what it gives.

use sqlparser::ast::{
    Distinct, Expr, Function, FunctionArguments, GroupByExpr, LimitClause, NamedWindowDefinition, NamedWindowExpr,
    OrderByKind, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, TableWithJoins, WindowType,
};

use super::expression::{Around, Within, parts};
use super::from::{Condition, assume, equal, renamed};
use super::names::{Column, Kind, Output, Relation, Role, Scope, Term, lower};
use super::schema::name_of;
use super::{Known, Linter, shown};

/// Where a query stands.
#[derive(Clone, Copy)]
pub(super) enum Place<'p> {
    /// It is the statement, or the SELECT of an INSERT.
    Outermost {
        /// It fills a table that grows with customers, so it is no report of few rows.
        fills_grown: bool,
    },
    /// Its rows are a table: in a FROM, or of a common table expression.
    Table { named: &'p str },
    /// In an expression.
    Inside {
        /// EXISTS, IN, or a subquery as a value.
        word: &'p str,
        /// What an IN compares with its columns; empty for the others.
        compared: &'p [Option<Term>],
    },
}

impl Place<'_> {
    fn shown(self) -> String {
        match self {
            Place::Outermost { .. } => "the statement".to_owned(),
            Place::Table { named: "" } => "the subquery".to_owned(),
            Place::Table { named } => format!("the subquery {named}"),
            Place::Inside { word, .. } => format!("the subquery of {word}"),
        }
    }
}

/// What SELECT, UPDATE and DELETE have in common.
#[derive(Default)]
pub(super) struct Block<'a> {
    pub from: Vec<&'a TableWithJoins>,
    pub selection: Option<&'a Expr>,
    pub projection: &'a [SelectItem],
    pub group_by: Vec<&'a Expr>,
    pub distinct: bool,
    pub windows: &'a [NamedWindowDefinition],
    /// All its other expressions.
    pub others: Vec<&'a Expr>,
}

impl Linter<'_> {
    pub(super) fn query(&mut self, query: &Query, known: &Known, outer: Option<&Scope>, place: Place) -> Output {
        let mut known = known.clone();
        if let Some(with) = &query.with {
            if with.recursive {
                self.say(format!("WITH RECURSIVE: {}", shown(with)));
            }
            for cte in &with.cte_tables {
                let name = lower(&cte.alias.name);
                let mut output = self.query(&cte.query, &known, outer, Place::Table { named: &name });
                output.columns = renamed(output.columns, Some(&cte.alias));
                known.insert(name, output);
            }
        }
        let mut others = Vec::new();
        if let Some(OrderByKind::Expressions(order)) = query.order_by.as_ref().map(|o| &o.kind) {
            others.extend(order.iter().map(|o| &o.expr));
        }
        match &query.limit_clause {
            Some(LimitClause::LimitOffset { limit, offset, .. }) => {
                others.extend(limit.iter().chain(offset.as_ref().map(|o| &o.value)));
            }
            Some(LimitClause::OffsetCommaLimit { offset, limit }) => others.extend([offset, limit]),
            None => {}
        }
        self.set(&query.body, others, &known, outer, place)
    }

    fn set(
        &mut self,
        body: &SetExpr,
        others: Vec<&Expr>,
        known: &Known,
        outer: Option<&Scope>,
        place: Place,
    ) -> Output {
        match body {
            SetExpr::Select(select) => self.select(select, others, known, outer, place),
            SetExpr::Query(query) => self.query(query, known, outer, place),
            SetExpr::SetOperation { left, right, .. } => {
                let left = self.set(left, others, known, outer, place);
                let right = self.set(right, Vec::new(), known, outer, place);
                both(left, right)
            }
            SetExpr::Values(values) => {
                let others = values.rows.iter().flat_map(|row| &row.content).collect();
                self.block(&Block { others, ..Block::default() }, known, outer, place)
            }
            SetExpr::Insert(s) | SetExpr::Update(s) | SetExpr::Delete(s) | SetExpr::Merge(s) => {
                self.statement(s, known);
                Output::small()
            }
            SetExpr::Table(_) => {
                self.say(format!("a kind of query that the lint does not know: {}", shown(body)));
                Output::small()
            }
        }
    }

    fn select<'a>(
        &mut self,
        select: &'a Select,
        mut others: Vec<&'a Expr>,
        known: &Known,
        outer: Option<&Scope>,
        place: Place,
    ) -> Output {
        if let Some(Distinct::On(_)) = &select.distinct {
            self.say(format!("DISTINCT ON: {}", shown(select)));
        }
        let mut group_by = Vec::new();
        match &select.group_by {
            GroupByExpr::Expressions(by, modifiers) if modifiers.is_empty() => group_by.extend(by),
            group => self.say(format!("GROUPING SETS and their kin: {}", shown(group))),
        }
        others.extend(select.having.iter().chain(&select.qualify));
        for NamedWindowDefinition(_, window) in &select.named_window {
            if let NamedWindowExpr::WindowSpec(spec) = window {
                others.extend(spec.partition_by.iter().chain(spec.order_by.iter().map(|o| &o.expr)));
            }
        }
        let block = Block {
            from: select.from.iter().collect(),
            selection: select.selection.as_ref(),
            projection: &select.projection,
            group_by,
            distinct: matches!(select.distinct, Some(Distinct::Distinct)),
            windows: &select.named_window,
            others,
        };
        self.block(&block, known, outer, place)
    }

    pub(super) fn block(&mut self, block: &Block, known: &Known, outer: Option<&Scope>, place: Place) -> Output {
        let reached_around = std::mem::replace(&mut self.reached, usize::MAX);
        let mut scope = Scope::inside(outer);
        let mut said = self.from(&block.from, &mut scope, known);
        said.conditions.extend(block.selection.map(|expr| Condition { expr, only_about: None }));
        for condition in &said.conditions {
            assume(&mut scope, condition);
        }
        if let Place::Inside { compared, .. } = place {
            for (left, item) in compared.iter().zip(block.projection) {
                if let Some((left, right)) = left.clone().zip(expr_of(item).and_then(|e| scope.term(e))) {
                    equal(&mut scope, left, right, None);
                }
            }
        }
        let around = Around { scope: &scope, known, windows: block.windows };
        let conditions = said.conditions.iter().map(|c| c.expr);
        let projected = block.projection.iter().filter_map(expr_of);
        let all = conditions.chain(said.arguments).chain(projected).chain(block.group_by.iter().copied());
        for expr in all.chain(block.others.iter().copied()) {
            self.expression(expr, Within::default(), &around);
        }
        let depends = self.reached < scope.depth;
        self.reached = self.reached.min(reached_around);

        self.meetings(&scope, place, depends);
        if !matches!(place, Place::Outermost { .. }) && !depends {
            self.limits(&scope, place);
        }
        self.grouping(block, &scope, place);
        output(block, &scope, depends)
    }

    /// How the growing relations meet each other and those around.
    fn meetings(&mut self, scope: &Scope, place: Place, depends: bool) {
        let grown: Vec<&Relation> = scope.relations.iter().filter(|r| r.grows() && !r.tied).collect();
        let compares = matches!(place, Place::Inside { compared, .. } if !compared.is_empty());
        let around = if depends || compares { scope.around() } else { Vec::new() };
        for alone in scope.relations.iter().filter(|r| matches!(r.kind, Kind::ByValue(_))) {
            let Kind::ByValue(key) = &alone.kind else { continue };
            if let Some(other) =
                scope.relations.iter().chain(around.iter().copied()).find(|r| r.id != alone.id && r.kind != Kind::Small)
            {
                self.say(format!(
                    "{} meets {}, but is spread by {key}: look it up by a list of values",
                    alone.shown, other.shown
                ));
            }
        }
        // Groups of relations that belong together. Those around are one, with what was found to be equal with them.
        let mut given = around;
        given.extend(scope.relations.iter().filter(|r| r.grows() && r.tied));
        let mut groups: Vec<Vec<&Relation>> = if given.is_empty() { Vec::new() } else { vec![given] };
        for relation in grown {
            let (mine, mut rest): (Vec<_>, Vec<_>) =
                groups.into_iter().partition(|group| group.iter().any(|other| scope.meet(relation, other)));
            let mut mine: Vec<&Relation> = mine.into_iter().flatten().collect();
            mine.push(relation);
            mine.sort_by_key(|r| r.id);
            rest.push(mine);
            rest.sort_by_key(|group| group[0].id); // those around have the smallest numbers
            groups = rest;
        }
        let Some((first, others)) = groups.split_first() else { return };
        for stray in others.iter().map(|group| group[0]) {
            let equal = |r: &&&Relation| Role::ALL.into_iter().filter(|role| scope.equal_by(stray, r, *role)).count();
            let nearest = first.iter().max_by_key(equal).expect("a group has a member");
            self.say(unmet(scope, stray, nearest));
        }
    }

    /// Every table in a subquery of its own is read within a range of buckets.
    fn limits(&mut self, scope: &Scope, place: Place) {
        for relation in scope.relations.iter().filter(|r| r.grows() && r.stored) {
            let bucket = relation.term(Role::Bucket).expect("a table that grows has a bucket");
            if !scope.equal.is_limited(&bucket) {
                self.say(format!(
                    "{} reads {} without a range: compare its bucket with placeholders from both sides",
                    place.shown(),
                    relation.shown
                ));
            }
        }
    }

    fn grouping(&mut self, block: &Block, scope: &Scope, place: Place) {
        let few = matches!(place, Place::Outermost { fills_grown: false });
        let Some(grown) = scope.relations.iter().find(|r| r.grows()).filter(|_| !few) else { return };
        let by = groups(block, scope);
        if !by.is_empty() && !begins_with_key(by.iter().copied(), scope) {
            let by: Vec<String> = by.iter().map(ToString::to_string).collect();
            self.say(format!(
                "GROUP BY {} over {} does not begin with bucket and customer_id",
                shown(&by.join(", ")),
                grown.shown
            ));
        }
        if block.distinct && !begins_with_key(block.projection.iter().filter_map(expr_of), scope) {
            let items: Vec<String> = block.projection.iter().map(ToString::to_string).collect();
            self.say(format!(
                "DISTINCT {} over {} does not begin with bucket and customer_id",
                shown(&items.join(", ")),
                grown.shown
            ));
        }
    }

    /// A window over growing relations stays inside one customer.
    pub(super) fn window(&mut self, function: &Function, over: &WindowType, around: &Around) {
        let Some(grown) = around.scope.relations.iter().find(|r| r.grows()) else { return };
        let mut by = Vec::new();
        let mut name = match over {
            WindowType::NamedWindow(name) => Some(name),
            WindowType::WindowSpec(spec) => {
                by.extend(&spec.partition_by);
                spec.window_name.as_ref()
            }
        };
        // A window may build on a named one; of a circle the engine complains.
        for _ in 0..=around.windows.len() {
            let named = |n| around.windows.iter().find(|w| lower(&w.0) == lower(n));
            name = match name.and_then(named).map(|w| &w.1) {
                Some(NamedWindowExpr::NamedWindow(next)) => Some(next),
                Some(NamedWindowExpr::WindowSpec(spec)) => {
                    by.splice(0..0, &spec.partition_by);
                    spec.window_name.as_ref()
                }
                None => break,
            };
        }
        if !begins_with_key(by.into_iter(), around.scope) {
            self.say(format!(
                "the window of {} over {} is not partitioned by bucket and customer_id first",
                shown(function),
                grown.shown
            ));
        }
    }
}

/// In words, that two relations do not meet as they should.
fn unmet(scope: &Scope, a: &Relation, b: &Relation) -> String {
    let by_chunk = |r: &Relation| r.term(Role::Chunk).is_some();
    let only_chunk = |r: &Relation| by_chunk(r) && r.term(Role::Customer).is_none();
    let second =
        if by_chunk(a) && by_chunk(b) && (only_chunk(a) || only_chunk(b)) { Role::Chunk } else { Role::Customer };
    let missing: Vec<String> = [Role::Bucket, second]
        .into_iter()
        .filter(|role| !scope.equal_by(a, b, *role))
        .map(|role| match [a, b].into_iter().find(|r| r.term(role).is_none()) {
            Some(lacking) => format!("{} has no {}", lacking.shown, role.name()),
            None => format!("{} is not equal", role.name()),
        })
        .collect();
    let missing = if missing.is_empty() { "seq is not equal".to_owned() } else { missing.join(", ") };
    format!("{} and {} meet without equal bucket and {}: {missing}", b.shown, a.shown, second.name())
}

/// The first two name whose rows these are.
fn begins_with_key<'e>(mut by: impl Iterator<Item = &'e Expr>, scope: &Scope) -> bool {
    let mut next = || by.next().and_then(|e| scope.role(e));
    matches!((next(), next()), (Some(Role::Bucket), Some(Role::Customer | Role::Chunk)))
}

/// What a block groups by.
fn groups<'e>(block: &Block<'e>, scope: &Scope) -> Vec<&'e Expr> {
    block.group_by.iter().map(|e| grouped_by(e, block, scope)).collect()
}

/// What a GROUP BY names, where it names it by its number or alias in the projection.
fn grouped_by<'e>(expr: &'e Expr, block: &Block<'e>, scope: &Scope) -> &'e Expr {
    let named = match expr {
        Expr::Value(v) => {
            let number: Option<usize> = v.value.to_string().parse().ok();
            number.and_then(|n| block.projection.get(n.checked_sub(1)?))
        }
        Expr::Identifier(name) if scope.column(expr).is_none() => {
            block.projection.iter().find(|item| name_of_item(item) == Some(lower(name)))
        }
        _ => None,
    };
    named.and_then(expr_of).unwrap_or(expr)
}

fn expr_of(item: &SelectItem) -> Option<&Expr> {
    match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
        _ => None,
    }
}

fn name_of_item(item: &SelectItem) -> Option<String> {
    match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(lower(alias)),
        SelectItem::UnnamedExpr(Expr::Identifier(name)) => Some(lower(name)),
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(path)) => path.last().map(lower),
        _ => None,
    }
}

/// What a block gives to its reader.
fn output(block: &Block, scope: &Scope, depends: bool) -> Output {
    let one_row = block.group_by.is_empty() && block.projection.iter().filter_map(expr_of).any(aggregates);
    // Groups of something else are few, or the grouping has been found fault with.
    let few = one_row || (!block.group_by.is_empty() && !begins_with_key(groups(block, scope).into_iter(), scope));
    let of = |kind: fn(&Kind) -> bool| scope.relations.iter().map(|r| &r.kind).find(|k| kind(k)).cloned();
    let kind = match of(|k| *k == Kind::Grows).or_else(|| of(|k| *k != Kind::Small)) {
        Some(kind) if !few => kind,
        _ => Kind::Small,
    };
    let mut columns = Some(Vec::new());
    let mut add = |more: Option<Vec<Column>>| match (&mut columns, more) {
        (Some(columns), Some(more)) => columns.extend(more),
        (columns, _) => *columns = None,
    };
    let all_of = |r: &Relation| {
        let columns = r.columns.as_ref()?.iter();
        Some(
            columns
                .map(|c| Column { name: c.name.clone(), role: scope.role_of(&Term::Column(r.id, c.name.clone())) })
                .collect(),
        )
    };
    for item in block.projection {
        match item {
            SelectItem::Wildcard(_) => scope.relations.iter().for_each(|r| add(all_of(r))),
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                let relation = scope.relations.iter().find(|r| r.alias == name_of(name));
                add(relation.and_then(all_of));
            }
            item => {
                let role = expr_of(item).and_then(|e| scope.role(e));
                add(Some(vec![Column { name: name_of_item(item).unwrap_or_default(), role }]));
            }
        }
    }
    Output { kind, columns, tied: depends }
}

/// Whether an expression counts or sums over many rows.
fn aggregates(expr: &Expr) -> bool {
    const AGGREGATES: [&str; 6] = ["count", "sum", "avg", "min", "max", "total"];
    let own = match expr {
        Expr::Function(f) => {
            let one_argument = matches!(&f.args, FunctionArguments::List(l) if l.args.len() == 1); // min of several is no aggregate
            f.over.is_none() && one_argument && AGGREGATES.contains(&name_of(&f.name).as_str())
        }
        _ => false,
    };
    own || parts(expr).into_iter().flatten().any(aggregates)
}

/// The rows of two queries together; a column keeps its role when it has it in both.
fn both(left: Output, right: Output) -> Output {
    let kind = if left.kind == Kind::Small { right.kind.clone() } else { left.kind.clone() };
    let role = |a: &Column, b: &Column| a.role.filter(|r| Some(*r) == b.role);
    let columns = left.columns.zip(right.columns).map(|(left, right)| {
        left.iter().zip(&right).map(|(a, b)| Column { name: a.name.clone(), role: role(a, b) }).collect()
    });
    Output { kind, columns, tied: left.tied && right.tied }
}
