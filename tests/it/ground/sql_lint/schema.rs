//! The tables there are, read from the migrations, and how each may be used.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

use okaeri::db::Dialect;
use sqlparser::ast::{
    AlterTable, AlterTableOperation, ColumnOption, CreateTable, IndexColumn, ObjectName, RenameTableNameKind,
    Statement, TableConstraint,
};

use super::names::{Column, Kind, Role, lower};
use super::parse;

/// Tables with a bucket that are kept by a value of their own, because that value must be unique across customers.
const BY_VALUE: [(&str, Kept); 2] = [
    // One row per address, small enough to lie whole on every machine.
    ("address", Kept::Everywhere),
    // One row per order: looked up by lists of order ids and never joined.
    ("order_ref", Kept::Spread),
];

enum Kept {
    Everywhere,
    Spread,
}

/// A table as the rules see it.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub columns: Vec<String>,
    /// The primary key.
    pub key: Vec<String>,
}

impl Table {
    pub fn has_bucket(&self) -> bool {
        self.columns.iter().any(|c| c == Role::Bucket.name())
    }
}

/// Every table.
#[derive(Debug, Clone, Default)]
pub(super) struct Schema {
    tables: BTreeMap<String, Table>,
}

/// The schema that the migrations make.
pub(super) fn schema() -> &'static Schema {
    static SCHEMA: OnceLock<Schema> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        let text: Vec<String> = scripts().into_iter().map(|(_, text)| text).collect();
        let text = Dialect::Postgres.ddl(&text.join("\n"));
        let statements = parse::statements(&text, Dialect::Postgres).unwrap_or_else(|e| panic!("the migrations: {e}"));
        Schema::of(&statements)
    })
}

/// The migrations in their order: name and text.
pub(super) fn scripts() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/db/migrations");
    let files = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut scripts: Vec<(String, String)> = files
        .map(|f| f.expect("a folder can be read to its end").path())
        .filter(|path| path.extension().is_some_and(|e| e == "sql"))
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            (path.file_name().unwrap_or_default().to_string_lossy().into_owned(), text)
        })
        .collect();
    scripts.sort();
    scripts
}

impl Schema {
    /// The tables that these statements leave behind.
    pub fn of(statements: &[Statement]) -> Schema {
        let mut schema = Schema::default();
        statements.iter().for_each(|s| schema.apply(s));
        schema
    }

    /// Take over what a statement makes, changes or drops.
    pub fn apply(&mut self, statement: &Statement) {
        match statement {
            Statement::CreateTable(create) => {
                self.tables.insert(name_of(&create.name), table(create));
            }
            Statement::AlterTable(alter) => altered(&mut self.tables, alter),
            Statement::Drop { names, .. } => {
                for name in names {
                    self.tables.remove(&name_of(name));
                }
            }
            _ => {}
        }
    }

    pub fn table(&self, name: &str) -> Option<&Table> {
        self.tables.get(name)
    }

    /// How a table may meet others; small when there is none of this name.
    pub fn kind(&self, name: &str) -> Kind {
        let Some(table) = self.tables.get(name).filter(|t| t.has_bucket()) else { return Kind::Small };
        match kept(name) {
            None => Kind::Grows,
            Some(Kept::Everywhere) => Kind::Small,
            Some(Kept::Spread) => Kind::ByValue(table.key.join(", ")),
        }
    }

    /// The columns of a table with their roles.
    pub fn columns(&self, name: &str) -> Option<Vec<Column>> {
        let grows = self.kind(name) == Kind::Grows;
        let role = |column: &str| Role::of(column).filter(|_| grows);
        let columns = self.tables.get(name)?.columns.iter();
        Some(columns.map(|c| Column { name: c.clone(), role: role(c) }).collect())
    }
}

fn kept(name: &str) -> Option<&'static Kept> {
    BY_VALUE.iter().find(|(n, _)| *n == name).map(|(_, kept)| kept)
}

/// Whether a table may have a key without bucket although it has one.
pub(super) fn is_kept_by_value(name: &str) -> bool {
    kept(name).is_some()
}

/// The last part of a name.
pub(super) fn name_of(name: &ObjectName) -> String {
    name.0.last().and_then(|part| part.as_ident()).map(lower).unwrap_or_default()
}

/// The columns of a key.
pub(super) fn key_of(columns: &[IndexColumn]) -> Vec<String> {
    columns.iter().map(|c| c.column.expr.to_string().to_lowercase()).collect()
}

fn table(create: &CreateTable) -> Table {
    let columns = create.columns.iter().map(|c| lower(&c.name)).collect();
    let declared = create.constraints.iter().find_map(|c| match c {
        TableConstraint::PrimaryKey(key) => Some(key_of(&key.columns)),
        _ => None,
    });
    let inline = || {
        let keyed =
            create.columns.iter().filter(|c| c.options.iter().any(|o| matches!(o.option, ColumnOption::PrimaryKey(_))));
        keyed.map(|c| lower(&c.name)).collect()
    };
    Table { columns, key: declared.unwrap_or_else(inline) }
}

fn altered(tables: &mut BTreeMap<String, Table>, alter: &AlterTable) {
    let name = name_of(&alter.name);
    for operation in &alter.operations {
        match operation {
            AlterTableOperation::AddColumn { column_def, .. } => {
                if let Some(table) = tables.get_mut(&name) {
                    table.columns.push(lower(&column_def.name));
                }
            }
            AlterTableOperation::DropColumn { column_names, .. } => {
                if let Some(table) = tables.get_mut(&name) {
                    table.columns.retain(|c| !column_names.iter().any(|gone| lower(gone) == *c));
                }
            }
            AlterTableOperation::RenameColumn { old_column_name, new_column_name } => {
                for column in tables.get_mut(&name).into_iter().flat_map(|t| t.columns.iter_mut().chain(&mut t.key)) {
                    if *column == lower(old_column_name) {
                        *column = lower(new_column_name);
                    }
                }
            }
            AlterTableOperation::RenameTable { table_name } => {
                let (RenameTableNameKind::To(to) | RenameTableNameKind::As(to)) = table_name;
                if let Some(table) = tables.remove(&name) {
                    tables.insert(name_of(to), table);
                }
            }
            _ => {}
        }
    }
}
