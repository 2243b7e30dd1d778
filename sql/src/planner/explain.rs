//! Short plans as rows of EXPLAIN, and as the text of golden scripts.

use crate::catalog::model::Table;
use crate::plan::{CompareOp, RowLimit, SortKey};
use crate::planner::access::AccessKey;
use crate::planner::condition::Test;
use crate::planner::physical::{InsertPlan, PhysicalPlan, RowsPlan, ShortOperator, ShortQuery, ShortSource, TableRead};
use basalt_expr::describe::describe_set;
use basalt_expr::expr::Expr;
use basalt_expr::value::Value;

/// One operator of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExplainRow {
    /// How deep below the root; 0 is the root.
    pub depth: usize,
    /// The operator's name.
    pub operator: &'static str,
    /// Rows it is thought to put out; `None` when the plan does not tell.
    pub rows: Option<u64>,
    /// `root` for what the SQL server does, `kv` for reads by key.
    pub task: &'static str,
    /// Table and key.
    pub access: String,
    /// Everything else.
    pub info: String,
}

/// The rows of a plan, root first. Empty for plans that the query path explains.
pub fn explain(plan: &PhysicalPlan) -> Vec<ExplainRow> {
    let mut out = Vec::new();
    match plan {
        PhysicalPlan::Short(short) => explain_short(short, 0, &mut out),
        PhysicalPlan::Query(_) => {}
        PhysicalPlan::Insert(insert) => explain_insert(insert, &mut out),
        PhysicalPlan::Update(update) => {
            let names = update.update.targets.iter().map(|t| t.table.name.as_str());
            dml("Update", names.collect::<Vec<_>>().join(", "), Some(&update.source), &mut out);
        }
        PhysicalPlan::Delete(delete) => {
            let names = delete.delete.targets.iter().map(|t| t.table.name.as_str());
            dml("Delete", names.collect::<Vec<_>>().join(", "), Some(&delete.source), &mut out);
        }
    }
    out
}

fn explain_insert(plan: &InsertPlan, out: &mut Vec<ExplainRow>) {
    let name = if plan.insert.replace { "Replace" } else { "Insert" };
    dml(name, plan.insert.table.name.clone(), plan.source.as_ref(), out);
}

fn dml(operator: &'static str, table: String, source: Option<&RowsPlan>, out: &mut Vec<ExplainRow>) {
    out.push(row(0, operator, format!("table:{table}"), String::new()));
    match source {
        Some(RowsPlan::Short(short)) => explain_short(short, 1, out),
        Some(RowsPlan::Query(_)) => out.push(row(1, "Query", String::new(), "by the query path".into())),
        None => {}
    }
}

fn row(depth: usize, operator: &'static str, access: String, info: String) -> ExplainRow {
    ExplainRow { depth, operator, rows: None, task: "root", access, info }
}

fn explain_short(short: &ShortQuery, mut depth: usize, out: &mut Vec<ExplainRow>) {
    if let Some(locking) = short.locking {
        let info = if locking.share { "for share" } else { "for update" };
        out.push(row(depth, "SelectLock", String::new(), info.into()));
        depth += 1;
    }
    for operator in short.operators.iter().rev() {
        let (name, info) = match operator {
            ShortOperator::Filter(predicate) => ("Selection", format_expr(predicate)),
            ShortOperator::Project(exprs, _) => ("Projection", list(exprs)),
            ShortOperator::Aggregate { group_by, aggregates, .. } => {
                let call = |a: &crate::plan::AggregateCall| format!("{:?}({})", a.func, list(&a.args)).to_lowercase();
                let calls: Vec<_> = aggregates.iter().map(call).collect();
                ("Aggregate", format!("group by:[{}], funcs:[{}]", list(group_by), calls.join(", ")))
            }
            ShortOperator::Sort(keys) => ("Sort", sort_keys(keys)),
            ShortOperator::Distinct => ("Distinct", String::new()),
            ShortOperator::Limit(limit) => ("Limit", format_limit(limit)),
        };
        out.push(row(depth, name, String::new(), info));
        depth += 1;
    }
    match &short.source {
        ShortSource::Values(rows, _) => {
            let info = format!("{} rows", rows.len());
            out.push(ExplainRow { rows: Some(rows.len() as u64), ..row(depth, "Values", String::new(), info) });
        }
        ShortSource::Table(read) => explain_read(read, depth, out),
    }
}

fn explain_read(read: &TableRead, depth: usize, out: &mut Vec<ExplainRow>) {
    let table = &read.scan.table;
    let rows = read.access.rows_max(table);
    let operator = match (read.access.key, rows) {
        (_, Some(1)) => "PointGet",
        (_, Some(_)) => "BatchPointGet",
        (AccessKey::Table, None) if read.access.columns.is_empty() => "TableFullScan",
        (AccessKey::Table, None) => "TableRangeScan",
        (AccessKey::Index(_), None) if read.access.is_covering => "IndexScan",
        (AccessKey::Index(_), None) => "IndexLookUp",
    };
    let mut info = Vec::new();
    if !read.access.columns.is_empty() {
        info.push(format!("range:[{}]", format_tests(read)));
    }
    if let Some(filter) = &read.filter {
        info.push(format!("filter:{}", format_expr(filter)));
    }
    if read.reverse {
        info.push("desc".into());
    }
    if let Some(limit) = &read.limit {
        info.push(format!("limit:{}", format_limit(limit)));
    }
    out.push(ExplainRow {
        depth,
        operator,
        rows: rows.map(|r| r as u64),
        task: "kv",
        access: access_object(&read.scan.alias, table, read.access.key),
        info: info.join(", "),
    });
}

/// `table:t, index:k(a, b)`.
pub fn access_object(alias: &str, table: &Table, key: AccessKey) -> String {
    match key {
        AccessKey::Table => format!("table:{alias}"),
        AccessKey::Index(at) => {
            let index = &table.indexes[at];
            let columns: Vec<_> = index.columns.iter().map(|c| table.columns[c.column].name.as_str()).collect();
            format!("table:{alias}, index:{}({})", index.name, columns.join(", "))
        }
    }
}

fn format_tests(read: &TableRead) -> String {
    let table = &read.scan.table;
    let column = |tests: &crate::planner::access::KeyTests| {
        let name = table.columns[tests.offset].name.as_str();
        tests.tests.iter().map(|t| format_test(name, t)).collect::<Vec<_>>().join(" and ")
    };
    read.access.columns.iter().map(column).collect::<Vec<_>>().join(", ")
}

fn format_test(name: &str, test: &Test) -> String {
    let joined = |tests: &[Test], word: &str| {
        let parts: Vec<_> = tests.iter().map(|t| format_test(name, t)).collect();
        format!("({})", parts.join(word))
    };
    match test {
        Test::Compare(op, value) => format!("{name} {} {}", format_op(*op), format_expr(value)),
        Test::NullSafeEqual(value) => format!("{name} <=> {}", format_expr(value)),
        Test::In(values) => format!("{name} in ({})", list(values)),
        Test::InSet(set) => format!("{name} in {}", describe_set(set)),
        Test::Near(set) => format!("{name} near {}", describe_set(set)),
        Test::IsNull => format!("{name} is null"),
        Test::IsNotNull => format!("{name} is not null"),
        Test::Like { pattern, .. } => format!("{name} like {}", format_expr(pattern)),
        Test::All(tests) => joined(tests, " and "),
        Test::Any(tests) => joined(tests, " or "),
    }
}

fn format_op(op: CompareOp) -> &'static str {
    match op {
        CompareOp::Eq => "=",
        CompareOp::Ne => "<>",
        CompareOp::Lt => "<",
        CompareOp::Le => "<=",
        CompareOp::Gt => ">",
        CompareOp::Ge => ">=",
    }
}

fn sort_keys(keys: &[SortKey]) -> String {
    let key = |k: &SortKey| format!("{}{}", format_expr(&k.expr), if k.descending { " desc" } else { "" });
    keys.iter().map(key).collect::<Vec<_>>().join(", ")
}

fn format_limit(limit: &RowLimit) -> String {
    let part = |e: &Option<Expr>, none: &str| e.as_ref().map_or(none.to_string(), format_expr);
    format!("{} offset {}", part(&limit.count, "all"), part(&limit.offset, "0"))
}

fn list(exprs: &[Expr]) -> String {
    exprs.iter().map(format_expr).collect::<Vec<_>>().join(", ")
}

/// An expression for people: `#0` is the input's first column, `?0` the first parameter.
pub fn format_expr(expr: &Expr) -> String {
    match expr {
        Expr::Column { index, .. } => format!("#{index}"),
        Expr::Parameter { index, .. } => format!("?{index}"),
        Expr::Literal(Value::Null, _) => "NULL".into(),
        Expr::Literal(value @ (Value::String(_) | Value::Bytes(_)), _) => {
            format!("'{}'", value.as_bytes().unwrap_or_default().escape_ascii())
        }
        Expr::Literal(value, ty) => {
            let mut out = Vec::new();
            basalt_expr::cell::format_value(ty, value, &mut out);
            String::from_utf8_lossy(&out).into_owned()
        }
        Expr::Call { func, args, ty } if func.name() == "cast" => format!("cast({} as {})", list(args), ty.sql_name()),
        Expr::Call { func, args, .. } => {
            let name = func.name();
            match args.as_slice() {
                [left, right]
                    if !name.starts_with(|c: char| c.is_ascii_alphabetic()) || name == "and" || name == "or" =>
                {
                    format!("({} {name} {})", format_expr(left), format_expr(right))
                }
                args => format!("{name}({})", list(args)),
            }
        }
        Expr::Case { branches, otherwise, .. } => {
            let branch = |(c, r): &(Expr, Expr)| format!("when {} then {}", format_expr(c), format_expr(r));
            let mut out: Vec<_> = branches.iter().map(branch).collect();
            out.extend(otherwise.iter().map(|e| format!("else {}", format_expr(e))));
            format!("case {} end", out.join(" "))
        }
        Expr::InList { expr, list: values, negated, .. } => {
            format!("{} {}in ({})", format_expr(expr), if *negated { "not " } else { "" }, list(values))
        }
        Expr::InSet { expr, set, negated, .. } => {
            format!("{} {}in {}", format_expr(expr), if *negated { "not " } else { "" }, describe_set(set))
        }
    }
}
