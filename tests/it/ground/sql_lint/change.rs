//! Statements: what writes rows, and what makes the schema.

use sqlparser::ast::{
    AlterTableOperation, Assignment, AssignmentTarget, ColumnOption, ConflictTarget, ContextModifier, CreateIndex,
    CreateTable, Delete, Expr, FromTable, Insert, ObjectName, ObjectType, OnConflict, OnConflictAction, OnInsert,
    Query, SelectItem, Set, SetExpr, Statement, TableConstraint, TableFactor, TableObject, Update, UpdateTableFromKind,
};

use super::block::{Block, Place};
use super::expression::{Around, Within};
use super::names::{Kind, Output, Relation, Role, Scope, lower};
use super::schema::{is_kept_by_value, key_of, name_of};
use super::{Known, Linter, shown};

impl Linter<'_> {
    pub(super) fn statement(&mut self, statement: &Statement, known: &Known) {
        match statement {
            Statement::Query(query) => {
                self.query(query, known, None, Place::Outermost { fills_grown: false });
            }
            Statement::Insert(insert) => self.insert(insert, known),
            Statement::Update(update) => self.update(update, known),
            Statement::Delete(delete) => self.delete(delete, known),
            Statement::CreateTable(create) => self.create_table(create),
            Statement::CreateIndex(create) => self.create_index(create),
            Statement::AlterTable(alter) => {
                for operation in &alter.operations {
                    match operation {
                        AlterTableOperation::AddConstraint { constraint, .. } => {
                            self.constraint(&name_of(&alter.name), constraint);
                        }
                        AlterTableOperation::AddColumn { .. }
                        | AlterTableOperation::DropColumn { .. }
                        | AlterTableOperation::RenameColumn { .. }
                        | AlterTableOperation::RenameTable { .. } => {}
                        other => self.say(format!("a change of a table that not every engine has: {}", shown(other))),
                    }
                }
            }
            Statement::Drop { object_type: ObjectType::Table | ObjectType::Index, .. } => {}
            // They look after the engine and read or write nothing of ours.
            Statement::Analyze(_) | Statement::Pragma { .. } => {}
            // What one transaction asks of the planner ends with it.
            Statement::Set(Set::SingleAssignment { scope: Some(ContextModifier::Local), .. }) => {}
            Statement::CreateTrigger(_) => self.say(format!("a trigger: {}", shown(statement))),
            Statement::Merge(_) => self.say(format!("MERGE: {}", shown(statement))),
            other => self.say(format!("a kind of statement that the lint does not know: {}", shown(other))),
        }
    }

    fn insert(&mut self, insert: &Insert, known: &Known) {
        let name = match &insert.table {
            TableObject::TableName(name) => name_of(name),
            other => other.to_string(),
        };
        let target = self.table(&name, None, known);
        if let Some(source) = &insert.source {
            self.query(source, known, None, Place::Outermost { fills_grown: target.grows() });
        }
        let grows = target.grows();
        let shown_target = target.shown.clone();
        let mut scope = Scope::inside(None);
        let excluded = Relation {
            id: usize::MAX, // no relation of the statement has it
            alias: "excluded".to_owned(),
            shown: "excluded".to_owned(),
            kind: Kind::Small,
            columns: None,
            stored: false,
            tied: false,
        };
        scope.relations = vec![target, excluded];
        if let Some(on) = &insert.on {
            match on {
                OnInsert::OnConflict(on) => {
                    if insert.source.as_deref().is_some_and(selects_without_where) {
                        self.say(format!(
                            "INSERT … SELECT … ON CONFLICT into {shown_target} has no WHERE, without which SQLite takes ON for a join's"
                        ));
                    }
                    self.conflict(on, &scope, grows, &shown_target, known);
                }
                other => self.say(format!("a clause that not every engine has: {}", shown(other))),
            }
        }
        self.returning(insert.returning.as_deref(), &scope, known);
    }

    fn conflict(&mut self, on: &OnConflict, scope: &Scope, grows: bool, target: &str, known: &Known) {
        match &on.conflict_target {
            Some(ConflictTarget::Columns { columns, .. })
                if grows && !columns.iter().any(|c| lower(c) == Role::Bucket.name()) =>
            {
                let columns: Vec<String> = columns.iter().map(lower).collect();
                self.say(format!("ON CONFLICT ({}) of {target} does not contain bucket", columns.join(", ")));
            }
            Some(ConflictTarget::OnConstraint(name)) => {
                self.say(format!("ON CONFLICT ON CONSTRAINT is Postgres alone: {}", shown(name)));
            }
            Some(ConflictTarget::Columns { .. }) | None => {}
        }
        if let OnConflictAction::DoUpdate(update) = &on.action {
            self.assignments(&update.assignments, grows, target);
            let values = update.assignments.iter().map(|a| &a.value);
            self.expressions(values.chain(&update.selection), scope, known);
        }
    }

    fn update(&mut self, update: &Update, known: &Known) {
        let mut from = vec![&update.table];
        if let Some(UpdateTableFromKind::BeforeSet(more) | UpdateTableFromKind::AfterSet(more)) = &update.from {
            from.extend(more);
        }
        let (name, grows) = self.changed(&update.table.relation);
        self.assignments(&update.assignments, grows, &name);
        let mut others: Vec<&Expr> = update.assignments.iter().map(|a| &a.value).collect();
        others.extend(returned(update.returning.as_deref()));
        let block = Block { from, selection: update.selection.as_ref(), others, ..Block::default() };
        self.change(&block, known);
        if !update.order_by.is_empty() || update.limit.is_some() {
            self.say(format!("UPDATE … LIMIT is not on every engine: {}", shown(update)));
        }
    }

    fn delete(&mut self, delete: &Delete, known: &Known) {
        let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = &delete.from;
        let from = from.iter().chain(delete.using.iter().flatten()).collect();
        let others = returned(delete.returning.as_deref());
        let block = Block { from, selection: delete.selection.as_ref(), others, ..Block::default() };
        self.change(&block, known);
        if delete.using.is_some() || !delete.order_by.is_empty() || delete.limit.is_some() {
            self.say(format!("DELETE … USING and DELETE … LIMIT are not on every engine: {}", shown(delete)));
        }
    }

    fn change(&mut self, block: &Block, known: &Known) {
        let changing = std::mem::replace(&mut self.changing, true);
        let _: Output = self.block(block, known, None, Place::Outermost { fills_grown: false });
        self.changing = changing;
    }

    /// The table that an UPDATE changes, and whether it grows with customers.
    fn changed(&self, table: &TableFactor) -> (String, bool) {
        match table {
            TableFactor::Table { name, .. } => (name_of(name), self.schema.kind(&name_of(name)) == Kind::Grows),
            other => (other.to_string(), false),
        }
    }

    fn assignments(&mut self, assignments: &[Assignment], grows: bool, target: &str) {
        let targets = assignments.iter().flat_map(|a| match &a.target {
            AssignmentTarget::ColumnName(name) => std::slice::from_ref(name),
            AssignmentTarget::Tuple(names) => names,
        });
        if grows && targets.map(name_of).any(|c| c == Role::Bucket.name()) {
            self.say(format!("an update of {target}'s bucket, which says where a row lies: delete and insert"));
        }
    }

    fn returning(&mut self, items: Option<&[SelectItem]>, scope: &Scope, known: &Known) {
        self.expressions(returned(items).into_iter(), scope, known);
    }

    fn expressions<'e>(&mut self, list: impl Iterator<Item = &'e Expr>, scope: &Scope, known: &Known) {
        let around = Around { scope, known, windows: &[] };
        for expr in list {
            self.expression(expr, Within::default(), &around);
        }
    }

    fn create_table(&mut self, create: &CreateTable) {
        let name = name_of(&create.name);
        let has = |role: Role| create.columns.iter().any(|c| lower(&c.name) == role.name());
        if has(Role::Customer) && !has(Role::Bucket) {
            self.say(format!("the table {name} has customer_id and no bucket"));
        }
        let key = self.schema.table(&name).map(|t| t.key.clone()).unwrap_or_default();
        if key.is_empty() {
            self.say(format!("the table {name} has no primary key"));
        } else if has(Role::Bucket) && key[0] != Role::Bucket.name() && !is_kept_by_value(&name) {
            self.say(format!("PRIMARY KEY ({}) of {name} does not begin with bucket", key.join(", ")));
        }
        for constraint in &create.constraints {
            self.constraint(&name, constraint);
        }
        for column in &create.columns {
            for option in &column.options {
                match &option.option {
                    ColumnOption::Unique(_) => self.unique(&name, &[lower(&column.name)]),
                    ColumnOption::ForeignKey(key) => self.foreign(&name, &[lower(&column.name)], &key.foreign_table),
                    _ => {}
                }
            }
        }
        if create.query.is_some() {
            self.say(format!("CREATE TABLE … AS: {}", shown(create)));
        }
    }

    fn create_index(&mut self, create: &CreateIndex) {
        let name = name_of(&create.table_name);
        if self.schema.table(&name).is_none() {
            self.say(format!("no migration makes the table `{name}`"));
        }
        if create.unique {
            self.unique(&name, &key_of(&create.columns));
        }
    }

    fn constraint(&mut self, table: &str, constraint: &TableConstraint) {
        match constraint {
            TableConstraint::Unique(unique) => self.unique(table, &key_of(&unique.columns)),
            TableConstraint::ForeignKey(key) => {
                let columns: Vec<String> = key.columns.iter().map(lower).collect();
                self.foreign(table, &columns, &key.foreign_table);
            }
            _ => {}
        }
    }

    fn unique(&mut self, table: &str, columns: &[String]) {
        if self.schema.kind(table) == Kind::Grows && !columns.iter().any(|c| c == Role::Bucket.name()) {
            self.say(format!("UNIQUE ({}) of {table} does not contain bucket", columns.join(", ")));
        }
    }

    fn foreign(&mut self, table: &str, columns: &[String], to: &ObjectName) {
        let to = name_of(to);
        if self.schema.kind(&to) != Kind::Small && !columns.iter().any(|c| c == Role::Bucket.name()) {
            self.say(format!("the foreign key ({}) of {table} to {to} does not contain bucket", columns.join(", ")));
        }
    }
}

fn returned(items: Option<&[SelectItem]>) -> Vec<&Expr> {
    let items = items.unwrap_or_default().iter();
    items
        .filter_map(|item| match item {
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
            _ => None,
        })
        .collect()
}

/// Whether a query ends in a SELECT without WHERE.
fn selects_without_where(query: &Query) -> bool {
    fn last(body: &SetExpr) -> bool {
        match body {
            SetExpr::Select(select) => select.selection.is_none(),
            SetExpr::SetOperation { right, .. } => last(right),
            SetExpr::Query(query) => last(&query.body),
            _ => false,
        }
    }
    last(&query.body)
}
