//! Golden scripts of the planner (`sql/testscripts/planner`), and ranges against the predicates they come from.
//!
//! In a script, lines are SQL: CREATE TABLE adds to the schema, everything else prints its plan; `?` are BIGINTs. A statement
//! for the query path prints `query path`.

use super::access::{self, AccessPath, Choice, Resolved};
use super::{ShortPath, explain, plan};
use crate::binder::{BindContext, Variables, bind};
use crate::catalog::model::{Database, Handle, Schema, Table};
use crate::ddl::{TableDefaults, build_table};
use crate::error::{Error, Result};
use crate::executor::table_reader::has_integer_handle;
use crate::parser::ast::VariableScope;
use crate::parser::statement::{CreateTable, Ddl};
use crate::parser::{ParseOptions, Statement, parse_one};
use crate::plan::UseIndexes;
use basalt_common::TableId;
use basalt_expr::collation::Collation;
use basalt_expr::key::{Handle as RowHandle, IndexPart, IndexTarget, encode_index_entry, encode_row_key};
use basalt_expr::types::FieldType;
use basalt_expr::{EvalContext, Expr, Func, Value, Warnings, eval_row};
use goldenscript::{Command, Context, Runner};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

struct NoVariables;

impl Variables for NoVariables {
    fn system(&self, _: Option<VariableScope>, name: &str) -> Result<Value> {
        Err(Error::unknown_variable(name))
    }

    fn user(&self, _: &str) -> Value {
        Value::Null
    }
}

struct Plans {
    schema: Schema,
}

fn table_of(create: &CreateTable, id: u64) -> Result<Table> {
    let defaults = TableDefaults {
        id: TableId(id),
        database_id: 1,
        charset: "utf8mb4".into(),
        collation: "utf8mb4_bin".into(),
        now_unix_ms: 0,
    };
    build_table(create, defaults, &EvalContext::default())
}

impl Plans {
    fn new() -> Plans {
        let (charset, collation) = ("utf8mb4".into(), "utf8mb4_bin".into());
        let database = Database { id: 1, name: "test".into(), charset, collation, tables: BTreeMap::new() };
        Plans {
            schema: Schema {
                version: 1,
                databases: BTreeMap::from([("test".into(), Arc::new(database))]),
                claims: Default::default(),
            },
        }
    }

    fn run_text(&mut self, text: &str) -> Result<String> {
        let parsed = parse_one(text.as_bytes(), ParseOptions::default())?;
        let parsed = parsed.ok_or_else(|| Error::Internal("nothing to run".into()))?;
        if let Statement::Ddl(ddl) = &parsed.statement
            && let Ddl::CreateTable(create) = ddl.as_ref()
        {
            let mut database = Database::clone(&self.schema.databases["test"]);
            let table = table_of(create, 100 + database.tables.len() as u64)?;
            database.tables.insert(table.name.to_lowercase(), Arc::new(table));
            self.schema.databases.insert("test".into(), Arc::new(database));
            return Ok(String::new());
        }
        let parameters = vec![FieldType::bigint(); parsed.parameters];
        let ctx = BindContext {
            schema: &self.schema,
            database: Some("test"),
            variables: &NoVariables,
            parameters: &parameters,
            pads_chars: false,
            only_full_group_by: true,
            no_unsigned_subtraction: false,
            settings: Default::default(),
            collation: Collation::default(),
            use_indexes: UseIndexes::Auto,
            account: ("root", "%"),
            warnings: &Warnings::default(),
        };
        let rows = explain::explain(&plan(bind(&parsed.statement, &ctx)?.statement, ShortPath::Allowed));
        if rows.is_empty() {
            return Ok("query path\n".into());
        }
        let line = |row: &explain::ExplainRow| {
            let rows = row.rows.map(|rows| format!(" rows={rows}")).unwrap_or_default();
            let parts = [row.access.as_str(), row.info.as_str()].into_iter().filter(|p| !p.is_empty());
            let parts: String = parts.map(|p| format!(" {p}")).collect();
            format!("{}{} {}{rows}{parts}\n", "  ".repeat(row.depth), row.operator, row.task)
        };
        Ok(rows.iter().map(line).collect())
    }
}

impl Runner for Plans {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &Context) -> std::result::Result<String, Box<dyn std::error::Error>> {
        Ok(self.run_text(&command.name).unwrap_or_else(|error| {
            let (code, _, message) = error.to_mysql();
            format!("{code}: {message}\n")
        }))
    }
}

fn script(name: &str) {
    let path = format!("{}/testscripts/planner/{name}", env!("CARGO_MANIFEST_DIR"));
    goldenscript::run(&mut Plans::new(), path).expect("the plans are as recorded");
}

#[test]
fn access_paths() {
    script("access_paths");
}

#[test]
fn short_or_query() {
    script("short_or_query");
}

#[test]
fn dml() {
    script("dml");
}

/// `t (a INT, b INT, s VARCHAR(8), PRIMARY KEY (a), KEY b (b, s))` with random predicates: the rows within the ranges
/// that pass the rest of the predicate are exactly those that pass the predicate.
fn test_table() -> Table {
    let sql = "CREATE TABLE t (a INT, b INT, s VARCHAR(8), PRIMARY KEY (a), KEY b (b, s))";
    let parsed = parse_one(sql.as_bytes(), ParseOptions::default()).expect("parses").expect("is a statement");
    let Statement::Ddl(ddl) = parsed.statement else { panic!("not DDL") };
    let Ddl::CreateTable(create) = *ddl else { panic!("not CREATE TABLE") };
    table_of(&create, 7).expect("builds")
}

fn constant(column: usize) -> BoxedStrategy<Expr> {
    let text = proptest::sample::select(vec!["", "a", "ab", "a ", "abcdefgh", "b", "zz"]);
    match column {
        2 => text.prop_map(Expr::string).boxed(),
        _ => prop_oneof![
            (-3i64..12).prop_map(Expr::int),
            (-30i64..120).prop_map(|v| Expr::literal(Value::Decimal(basalt_expr::Decimal::new(v.into(), 1)))),
            Just(Expr::null()),
        ]
        .boxed(),
    }
}

fn comparison() -> impl Strategy<Value = Expr> {
    use Func::{Eq, Ge, Gt, IsNull, Le, Lt, NullSafeEq};
    let func = proptest::sample::select(vec![Eq, NullSafeEq, Lt, Le, Gt, Ge, IsNull]);
    (0usize..3, func).prop_flat_map(|(column, func)| {
        constant(column).prop_map(move |constant| {
            let ty = test_table().columns[column].ty.clone();
            let column = Expr::column(column, ty);
            let args = if func == IsNull { vec![column] } else { vec![column, constant] };
            Expr::call(func, args).expect("compares")
        })
    })
}

fn predicate() -> impl Strategy<Value = Expr> {
    comparison().prop_recursive(3, 12, 2, |inner| {
        (proptest::sample::select(vec![Func::And, Func::Or]), inner.clone(), inner)
            .prop_map(|(func, a, b)| Expr::call(func, vec![a, b]).expect("combines"))
    })
}

fn row() -> impl Strategy<Value = Vec<Value>> {
    let text = proptest::sample::select(vec!["", "a", "ab", "abcdefgh", "abcdefghi", "b", "zz"]);
    let b = prop_oneof![Just(Value::Null), (-3i64..12).prop_map(Value::Int)];
    let s = prop_oneof![Just(Value::Null), text.prop_map(Value::from)];
    (-3i64..12, b, s).prop_map(|(a, b, s)| vec![Value::Int(a), b, s])
}

/// The key of a row in what the path reads.
fn key_of(path: &AccessPath, table: &Table, row: &[Value]) -> Vec<u8> {
    let handle = RowHandle::of_integer(&row[0], &table.columns[0].ty).expect("an integer");
    match path.index(table) {
        None => encode_row_key(table.id, &handle),
        Some(index) => {
            let part = |c: &crate::catalog::model::IndexColumn| IndexPart::whole(table.columns[c.column].ty.clone());
            let parts: Vec<_> = index.columns.iter().map(part).collect();
            let values: Vec<_> = index.columns.iter().map(|c| row[c.column].clone()).collect();
            let target = IndexTarget { table: table.id, index: index.id, unique: index.unique, parts: &parts };
            encode_index_entry(target, &values, &handle).expect("encodes").key
        }
    }
}

fn is_read(resolved: &Resolved, key: &[u8]) -> bool {
    match resolved {
        Resolved::Rows(keys) | Resolved::Entries(keys) => keys.iter().any(|k| k.as_slice() == key),
        Resolved::Ranges { ranges, .. } => ranges.iter().any(|range| range.contains(key)),
    }
}

fn holds(predicate: &Expr, row: &[Value], ctx: &EvalContext) -> bool {
    eval_row(predicate, row, ctx).expect("evaluates").as_i64() == Some(1)
}

proptest! {
    #[test]
    fn ranges_and_what_is_left_are_the_predicate(predicate in predicate(), rows in proptest::collection::vec(row(), 1..30)) {
        let (table, ctx) = (test_table(), EvalContext::default());
        prop_assert!(table.handle == Handle::Integer(0) && has_integer_handle(&table));
        let columns = [0, 1, 2];
        let choice = Choice { table: &table, columns: &columns, needed: &columns, hints: &[], order: &[] };
        let (path, residual) = access::choose(choice, predicate.clone().conjuncts());
        let resolved = path.resolve(&table, &ctx).expect("resolves");
        for row in rows {
            let read = is_read(&resolved, &key_of(&path, &table, &row));
            let passes = read && residual.iter().all(|e| holds(e, &row, &ctx));
            prop_assert_eq!(passes, holds(&predicate, &row, &ctx), "{:?} by {:?}", row, path);
        }
    }
}
