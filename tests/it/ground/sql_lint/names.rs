//! What a name in a statement stands for, and which columns are equal.
//!
//! A [`Relation`] is anything a FROM names. A [`Scope`] is what one SELECT sees: its own relations, then those around it. [`Equalities`] is what the
//! conditions of a SELECT say: classes of equal columns and values, and which classes a placeholder limits from both sides.

use std::collections::HashMap;

use sqlparser::ast::{Expr, Ident, Value};

/// The columns by which tables that grow with customers meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Bucket,
    Customer,
    Chunk,
    Seq,
}

impl Role {
    pub const ALL: [Role; 4] = [Role::Bucket, Role::Customer, Role::Chunk, Role::Seq];

    pub fn name(self) -> &'static str {
        match self {
            Role::Bucket => "bucket",
            Role::Customer => "customer_id",
            Role::Chunk => "chunk_id",
            Role::Seq => "seq",
        }
    }

    pub fn of(column: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|r| r.name() == column)
    }
}

/// How a relation may meet others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// It has rows of customers, spread by bucket.
    Grows,
    /// It grows with customers and is spread by this key of its own.
    ByValue(String),
    /// Small, or a list of values: every machine can have all of it.
    Small,
}

/// A column of a relation; with a role when it is that column of a table that grows with customers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub name: String,
    pub role: Option<Role>,
}

/// What a query gives to whoever reads from it.
#[derive(Debug, Clone)]
pub(super) struct Output {
    pub kind: Kind,
    /// Absent when they cannot be told.
    pub columns: Option<Vec<Column>>,
    /// It depends on what is around its reader, and was found to be equal with that.
    pub tied: bool,
}

impl Output {
    /// A list of values, or what is treated as one.
    pub fn small() -> Output {
        Output { kind: Kind::Small, columns: None, tied: false }
    }
}

/// Anything a FROM names.
#[derive(Debug, Clone)]
pub(super) struct Relation {
    pub id: usize,
    pub alias: String,
    /// For people: `order_line l`.
    pub shown: String,
    pub kind: Kind,
    pub columns: Option<Vec<Column>>,
    /// A table, and not what a subquery made of it.
    pub stored: bool,
    pub tied: bool,
}

impl Relation {
    pub fn grows(&self) -> bool {
        self.kind == Kind::Grows
    }

    /// Its column of a role, as a term.
    pub fn term(&self, role: Role) -> Option<Term> {
        let column = self.columns.iter().flatten().find(|c| c.role == Some(role))?;
        Some(Term::Column(self.id, column.name.clone()))
    }

    fn has(&self, name: &str) -> Option<bool> {
        Some(self.columns.as_ref()?.iter().any(|c| c.name == name))
    }

    /// One row per bucket or so: there is nothing but the bucket to meet on.
    fn is_of_buckets(&self) -> bool {
        self.stored && self.term(Role::Customer).is_none() && self.term(Role::Chunk).is_none()
    }
}

/// What can be equal: a column, or a value as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Term {
    Column(usize, String),
    Value(String),
}

/// From which side a placeholder limits a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    Below,
    Above,
    Both,
}

/// Classes of equal terms.
#[derive(Debug, Clone, Default)]
pub(super) struct Equalities {
    places: HashMap<Term, usize>,
    parents: Vec<usize>,
    limits: Vec<(Term, Limit)>,
}

impl Equalities {
    pub fn unite(&mut self, a: Term, b: Term) {
        let (a, b) = (self.place(a), self.place(b));
        let (a, b) = (self.root(a), self.root(b));
        self.parents[a] = b;
    }

    pub fn limit(&mut self, term: Term, limit: Limit) {
        self.limits.push((term, limit));
    }

    pub fn same(&self, a: &Term, b: &Term) -> bool {
        let root = |t| self.places.get(t).map(|place| self.root(*place));
        a == b || root(a).is_some_and(|a| Some(a) == root(b))
    }

    /// Whether placeholders limit it from both sides.
    pub fn is_limited(&self, term: &Term) -> bool {
        let limits = || self.limits.iter().filter(|(t, _)| self.same(t, term)).map(|(_, limit)| *limit);
        limits().any(|l| l == Limit::Both)
            || (limits().any(|l| l == Limit::Below) && limits().any(|l| l == Limit::Above))
    }

    fn place(&mut self, term: Term) -> usize {
        *self.places.entry(term).or_insert_with(|| {
            self.parents.push(self.parents.len());
            self.parents.len() - 1
        })
    }

    fn root(&self, mut place: usize) -> usize {
        while self.parents[place] != place {
            place = self.parents[place];
        }
        place
    }
}

/// What one SELECT sees.
#[derive(Debug)]
pub(super) struct Scope<'o> {
    pub relations: Vec<Relation>,
    pub equal: Equalities,
    pub outer: Option<&'o Scope<'o>>,
    /// 0 for the statement itself.
    pub depth: usize,
}

impl<'o> Scope<'o> {
    pub fn inside(outer: Option<&'o Scope<'o>>) -> Scope<'o> {
        let equal = outer.map(|o| o.equal.clone()).unwrap_or_default();
        Scope { relations: Vec::new(), equal, outer, depth: outer.map_or(0, |o| o.depth + 1) }
    }

    /// The column that an expression is, and the depth of the scope it was found in.
    pub fn column(&self, expr: &Expr) -> Option<(Term, usize)> {
        match expr {
            Expr::Nested(inner) => self.column(inner),
            Expr::Collate { expr, .. } => self.column(expr),
            Expr::Identifier(name) => self.find(None, name),
            Expr::CompoundIdentifier(path) => match path.as_slice() {
                [.., relation, name] => self.find(Some(relation), name),
                _ => None,
            },
            _ => None,
        }
    }

    /// The column or value that an expression is. Plain `?` have no names, so no two of them are equal.
    pub fn term(&self, expr: &Expr) -> Option<Term> {
        match expr {
            Expr::Nested(inner) => self.term(inner),
            Expr::Value(v) => match &v.value {
                Value::Placeholder(p) if p == "?" => None,
                value => Some(Term::Value(value.to_string())),
            },
            other => self.column(other).map(|(term, _)| term),
        }
    }

    fn find(&self, relation: Option<&Ident>, column: &Ident) -> Option<(Term, usize)> {
        let name = lower(column);
        let here: Vec<&Relation> = match relation {
            Some(alias) => self.relations.iter().filter(|r| r.alias == lower(alias)).collect(),
            None => {
                let known = self.relations.iter().filter(|r| r.has(&name) == Some(true));
                known.chain(self.relations.iter().filter(|r| r.has(&name).is_none())).collect()
            }
        };
        match here.first() {
            Some(relation) => Some((Term::Column(relation.id, name), self.depth)),
            None => self.outer?.find(relation, column),
        }
    }

    /// The role of an expression: of the column it is, or of one that is equal to it here.
    pub fn role(&self, expr: &Expr) -> Option<Role> {
        let (term, _) = self.column(expr)?;
        self.role_of(&term)
    }

    pub fn role_of(&self, term: &Term) -> Option<Role> {
        let grown = || self.relations.iter().filter(|r| r.grows());
        Role::ALL
            .into_iter()
            .find(|role| grown().filter_map(|r| r.term(*role)).any(|t| t == *term || self.equal.same(&t, term)))
    }

    /// The growing relations of the scopes around this one.
    pub fn around(&self) -> Vec<&Relation> {
        let mut all = Vec::new();
        let mut scope = self.outer;
        while let Some(s) = scope {
            all.extend(s.relations.iter().filter(|r| r.grows()));
            scope = s.outer;
        }
        all
    }

    /// Whether rows of both that belong together lie on one machine, and are joined by whom or what they are of.
    pub fn meet(&self, a: &Relation, b: &Relation) -> bool {
        let lacks_seq = |r: &Relation| r.term(Role::Seq).is_none();
        self.equal_by(a, b, Role::Bucket)
            && (self.equal_by(a, b, Role::Customer)
                || (self.equal_by(a, b, Role::Chunk)
                    && (self.equal_by(a, b, Role::Seq) || lacks_seq(a) || lacks_seq(b)))
                || a.is_of_buckets()
                || b.is_of_buckets())
    }

    pub fn equal_by(&self, a: &Relation, b: &Relation, role: Role) -> bool {
        a.term(role).zip(b.term(role)).is_some_and(|(a, b)| self.equal.same(&a, &b))
    }
}

/// A name as it is compared.
pub(super) fn lower(name: &Ident) -> String {
    name.value.to_lowercase()
}
