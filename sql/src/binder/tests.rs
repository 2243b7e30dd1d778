//! Golden scripts of the binder: `sql/testscripts/binder`. Lines are SQL; CREATE TABLE adds to the schema, everything else
//! prints its plan, or MySQL's error.

use super::{BindContext, Variables, bind};
use crate::catalog::model::{Database, Schema};
use crate::ddl::{TableDefaults, build_table};
use crate::error::{Error, Result};
use crate::parser::ast::VariableScope;
use crate::parser::statement::{CreateTable, Ddl};
use crate::parser::{ParseOptions, Statement, parse_one};
use crate::plan::UseIndexes;
use crate::plan::{
    BoundStatement, InsertSource, LogicalPlan, OutputColumn, RowLocks, SortKey, Subquery, SubqueryKind, as_outer_column,
};
use basalt_common::TableId;
use basalt_expr::collation::Collation;
use basalt_expr::expr::Expr;
use basalt_expr::types::{FieldType, TypeKind};
use basalt_expr::value::Value;
use basalt_expr::{EvalContext, Warnings};
use goldenscript::{Command, Context, Runner};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

struct TestVariables;

impl Variables for TestVariables {
    fn system(&self, _: Option<VariableScope>, name: &str) -> Result<Value> {
        match name {
            "autocommit" => Ok(Value::Int(1)),
            "version" => Ok(Value::from("8.0.36")),
            _ => Err(Error::unknown_variable(name)),
        }
    }

    fn user(&self, _: &str) -> Value {
        Value::Null
    }
}

struct Bind {
    schema: Schema,
}

impl Bind {
    fn new() -> Self {
        let database = Database {
            id: 1,
            name: "test".to_string(),
            charset: "utf8mb4".to_string(),
            collation: "utf8mb4_bin".to_string(),
            tables: BTreeMap::new(),
        };
        let databases = BTreeMap::from([("test".to_string(), Arc::new(database))]);
        Bind { schema: Schema { version: 1, databases, claims: Default::default() } }
    }

    fn run_text(&mut self, text: &str) -> Result<String> {
        let mut out = String::new();
        let mut rest = text.as_bytes();
        while let Some(parsed) = parse_one(rest, ParseOptions::default())? {
            rest = &rest[parsed.next..];
            if let Statement::Ddl(ddl) = &parsed.statement
                && let Ddl::CreateTable(create) = ddl.as_ref()
            {
                self.create(create)?;
                continue;
            }
            let parameters = vec![FieldType::bigint(); parsed.parameters];
            let ctx = BindContext {
                schema: &self.schema,
                database: Some("test"),
                variables: &TestVariables,
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
            let bound = bind(&parsed.statement, &ctx)?;
            print_statement(&bound.statement, &mut out);
            if !bound.cacheable {
                out.push_str("not cacheable\n");
            }
        }
        Ok(out)
    }

    fn create(&mut self, create: &CreateTable) -> Result<()> {
        let mut database = Database::clone(&self.schema.databases["test"]);
        let defaults = TableDefaults {
            id: TableId(100 + database.tables.len() as u64),
            database_id: database.id,
            charset: database.charset.clone(),
            collation: database.collation.clone(),
            now_unix_ms: 0,
        };
        let table = build_table(create, defaults, &EvalContext::default())?;
        database.tables.insert(table.name.to_lowercase(), Arc::new(table));
        self.schema.databases.insert("test".to_string(), Arc::new(database));
        Ok(())
    }
}

impl Runner for Bind {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &Context) -> std::result::Result<String, Box<dyn std::error::Error>> {
        Ok(self.run_text(&command.name).unwrap_or_else(|error| format!("{}: {error}\n", error.code())))
    }
}

#[test]
fn scripts() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testscripts/binder");
    for entry in std::fs::read_dir(folder).expect("the scripts are part of the repository") {
        let path = entry.expect("a readable folder").path();
        goldenscript::run(&mut Bind::new(), &path).expect("the script passes");
    }
}

// ---- plans as text ----

fn print_statement(statement: &BoundStatement, out: &mut String) {
    match statement {
        BoundStatement::Query(query) => {
            print_columns(&query.root.output(), out);
            if let Some(locking) = query.locking {
                let _ = writeln!(out, "{locking:?}");
            }
            print_plan(&query.root, 0, out);
            query.locks.iter().for_each(|locks| print_locks(locks, out));
        }
        BoundStatement::Insert(insert) => {
            let _ = writeln!(
                out,
                "insert {} columns={:?} replace={} ignore={}",
                insert.table.name, insert.columns, insert.replace, insert.ignore
            );
            match &insert.source {
                InsertSource::Values(rows) => {
                    for row in rows {
                        let cells: Vec<String> =
                            row.iter().map(|c| c.as_ref().map_or("DEFAULT".to_string(), text)).collect();
                        let _ = writeln!(out, "  ({})", cells.join(", "));
                    }
                }
                InsertSource::Query(query) => print_plan(&query.root, 1, out),
            }
            for assignment in &insert.on_duplicate {
                let value = assignment.value.as_ref().map_or("DEFAULT".to_string(), text);
                let _ = writeln!(out, "  on duplicate #{} = {value}", assignment.column);
            }
        }
        BoundStatement::Update(update) => {
            for target in &update.targets {
                let _ = writeln!(out, "update {} at {}", target.table.name, target.offset);
                for assignment in &target.assignments {
                    let value = assignment.value.as_ref().map_or("DEFAULT".to_string(), text);
                    let _ = writeln!(out, "  #{} = {value}", assignment.column);
                }
            }
            print_plan(&update.source, 0, out);
        }
        BoundStatement::Delete(delete) => {
            for target in &delete.targets {
                let _ = writeln!(out, "delete {} at {}", target.table.name, target.offset);
            }
            print_plan(&delete.source, 0, out);
        }
    }
}

fn print_locks(locks: &RowLocks, out: &mut String) {
    for target in &locks.targets {
        let _ = writeln!(out, "lock {} at {:?} {:?}", target.table.name, target.handle, target.locking);
    }
    if let Some(columns) = locks.result_columns {
        let _ = writeln!(out, "result {columns} columns");
    }
    if let Some(limit) = &locks.limit {
        let part = |e: &Option<Expr>| e.as_ref().map_or("-".to_string(), text);
        let _ = writeln!(out, "limit {} offset {}", part(&limit.count), part(&limit.offset));
    }
    print_plan(&locks.source, 1, out);
}

fn print_columns(columns: &[OutputColumn], out: &mut String) {
    let columns: Vec<String> = columns.iter().map(|c| format!("{}:{}", c.name, type_text(&c.ty))).collect();
    let _ = writeln!(out, "[{}]", columns.join(", "));
}

fn type_text(ty: &FieldType) -> String {
    let name = if ty.kind == TypeKind::Null { "null".to_string() } else { ty.sql_name() };
    format!("{name}{}", if ty.not_null { "!" } else { "" })
}

fn keys(keys: &[SortKey]) -> String {
    let keys: Vec<String> =
        keys.iter().map(|k| format!("{}{}", text(&k.expr), if k.descending { " desc" } else { "" })).collect();
    keys.join(", ")
}

fn list(exprs: &[Expr]) -> String {
    exprs.iter().map(text).collect::<Vec<_>>().join(", ")
}

fn print_plan(plan: &LogicalPlan, depth: usize, out: &mut String) {
    let _ = write!(out, "{}", "  ".repeat(depth));
    let inputs: Vec<&LogicalPlan> = match plan {
        LogicalPlan::Values { rows, .. } => {
            let rows: Vec<String> = rows.iter().map(|r| format!("({})", list(r))).collect();
            let _ = writeln!(out, "values {}", rows.join(", "));
            Vec::new()
        }
        LogicalPlan::Scan(scan) => {
            let _ = writeln!(out, "scan {} as {} {:?}", scan.table.name, scan.alias, scan.columns);
            Vec::new()
        }
        LogicalPlan::Virtual(scan) => {
            let _ = writeln!(out, "virtual {}.{}", scan.database, scan.table);
            Vec::new()
        }
        LogicalPlan::Filter { input, predicate } => {
            let _ = writeln!(out, "filter {}", text(predicate));
            vec![input]
        }
        LogicalPlan::Project { input, exprs, .. } => {
            let _ = writeln!(out, "project {}", list(exprs));
            vec![input]
        }
        LogicalPlan::Apply { input, subqueries } => {
            let _ = writeln!(out, "apply");
            for subquery in subqueries {
                print_subquery(subquery, depth + 1, out);
            }
            vec![input]
        }
        LogicalPlan::Aggregate { input, group_by, aggregates, .. } => {
            let calls: Vec<String> = aggregates
                .iter()
                .map(|a| format!("{:?}{}({})", a.func, if a.distinct { " distinct" } else { "" }, list(&a.args)))
                .collect();
            let _ = writeln!(out, "aggregate by [{}] [{}]", list(group_by), calls.join(", "));
            vec![input]
        }
        LogicalPlan::Window { input, calls, .. } => {
            let calls: Vec<String> = calls
                .iter()
                .map(|c| {
                    format!(
                        "{:?}({}) by [{}] order [{}]",
                        c.func,
                        list(&c.args),
                        list(&c.partition_by),
                        keys(&c.order_by)
                    )
                })
                .collect();
            let _ = writeln!(out, "window {}", calls.join("; "));
            vec![input]
        }
        LogicalPlan::Join { left, right, kind, condition } => {
            let condition = condition.as_ref().map_or("-".to_string(), text);
            let _ = writeln!(out, "join {kind:?} on {condition}");
            vec![left, right]
        }
        LogicalPlan::Sort { input, keys: by } => {
            let _ = writeln!(out, "sort {}", keys(by));
            vec![input]
        }
        LogicalPlan::Limit { input, offset, count } => {
            let part = |e: &Option<Expr>| e.as_ref().map_or("-".to_string(), text);
            let _ = writeln!(out, "limit {} offset {}", part(count), part(offset));
            vec![input]
        }
        LogicalPlan::Distinct { input } => {
            let _ = writeln!(out, "distinct");
            vec![input]
        }
        LogicalPlan::SetOperation { kind, all, inputs, .. } => {
            let _ = writeln!(out, "{kind:?} all={all}");
            inputs.iter().collect()
        }
        LogicalPlan::RecursiveCte { name, base, step, distinct } => {
            let _ = writeln!(out, "recursive {name} distinct={distinct}");
            vec![base, step]
        }
        LogicalPlan::WorkTable { name, .. } => {
            let _ = writeln!(out, "work table {name}");
            Vec::new()
        }
        LogicalPlan::Rename { input, output } => {
            let names: Vec<String> = output.iter().map(|c| format!("{}.{}", c.table, c.name)).collect();
            let _ = writeln!(out, "rename {}", names.join(", "));
            vec![input]
        }
    };
    inputs.into_iter().for_each(|input| print_plan(input, depth + 1, out));
}

fn print_subquery(subquery: &Subquery, depth: usize, out: &mut String) {
    let kind = match &subquery.kind {
        SubqueryKind::Scalar => "scalar".to_string(),
        SubqueryKind::AnyValue => "any value".to_string(),
        SubqueryKind::Rows => "rows".to_string(),
        SubqueryKind::Exists => "exists".to_string(),
        SubqueryKind::In { operand } => format!("{} in", text(operand)),
        SubqueryKind::InRows { operands } => {
            format!("({}) in", operands.iter().map(text).collect::<Vec<_>>().join(", "))
        }
        SubqueryKind::Quantified { operand, op, all } => format!("{} {op:?} all={all}", text(operand)),
    };
    let correlated = if subquery.correlated { " correlated" } else { "" };
    let _ = writeln!(out, "{}({kind}{correlated}", "  ".repeat(depth));
    print_plan(&subquery.plan, depth + 1, out);
    let _ = writeln!(out, "{})", "  ".repeat(depth));
}

fn text(expr: &Expr) -> String {
    match expr {
        Expr::Column { index, .. } => match as_outer_column(*index) {
            Some((depth, index)) => format!("outer{depth}#{index}"),
            None => format!("#{index}"),
        },
        Expr::Literal(value, _) => match value {
            Value::Null => "NULL".to_string(),
            Value::String(s) => format!("{s:?}"),
            Value::Int(v) => v.to_string(),
            Value::UInt(v) => format!("{v}u"),
            Value::Decimal(d) => d.to_string(),
            other => format!("{other:?}"),
        },
        Expr::Parameter { index, .. } => format!("?{index}"),
        Expr::Call { func, args, ty } => match func {
            basalt_expr::Func::Cast => format!("cast({} as {})", list(args), type_text(ty)),
            _ => format!("{}({})", func.name(), list(args)),
        },
        Expr::Case { branches, otherwise, .. } => {
            let branches: Vec<String> = branches.iter().map(|(w, t)| format!("{}: {}", text(w), text(t))).collect();
            format!("case({}; {})", branches.join(", "), otherwise.as_deref().map_or("-".to_string(), text))
        }
        Expr::InList { expr, list: items, negated, .. } => {
            format!("{}{} in ({})", if *negated { "not " } else { "" }, text(expr), list(items))
        }
        Expr::InSet { expr, set, negated, .. } => {
            let not = if *negated { "not " } else { "" };
            format!("{not}{} in {}", text(expr), basalt_expr::describe::describe_set(set))
        }
    }
}
