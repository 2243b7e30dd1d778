//! What the planner decides: how a bound statement is run.

use crate::catalog::model::Table;
use crate::error::{Error, Result};
use crate::plan::{
    AggregateCall, Delete, Insert, Locking, LogicalPlan, OutputColumn, Query, RowLimit, Scan, SortKey, Update,
};
use crate::planner::access::AccessPath;
use crate::result_columns::ResultColumns;
use arrow::datatypes::SchemaRef;
use basalt_expr::expr::Expr;
use basalt_expr::row::ScanLayout;
use basalt_expr::{EvalContext, Value, eval_scalar};
use std::sync::{Arc, OnceLock};

/// A planned statement: immutable, shared by all executions.
#[derive(Debug, Clone)]
pub enum PhysicalPlan {
    /// A SELECT that needs few rows of one table, or of none.
    Short(Arc<ShortQuery>),
    /// A SELECT for the query path.
    Query(Arc<Query>),
    /// INSERT, REPLACE.
    Insert(Arc<InsertPlan>),
    /// UPDATE.
    Update(Arc<UpdatePlan>),
    /// DELETE.
    Delete(Arc<DeletePlan>),
}

/// A chain of operators over one source.
#[derive(Debug, Clone)]
pub struct ShortQuery {
    /// Where rows come from.
    pub source: ShortSource,
    /// From the source upwards.
    pub operators: Vec<ShortOperator>,
    /// Names and types of the result.
    pub output: ResultColumns,
    /// FOR UPDATE, FOR SHARE.
    pub locking: Option<Locking>,
    /// What to run instead when the ranges turn out to be long; `None` when they cannot.
    pub fallback: Option<Arc<Query>>,
}

/// Where a short query's rows come from.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "made once a plan; nearly every short plan reads a table")]
pub enum ShortSource {
    /// A table.
    Table(TableRead),
    /// Rows of expressions.
    Values(Vec<Vec<Expr>>, Vec<OutputColumn>),
}

/// Reads some columns of some rows of a table.
#[derive(Debug, Clone)]
pub struct TableRead {
    /// Table and columns, of which only the ones needed are left.
    pub scan: Scan,
    /// Which rows.
    pub access: AccessPath,
    /// What is left of WHERE when the access path has done its part; over the scan's columns.
    pub filter: Option<Expr>,
    /// Keys descending.
    pub reverse: bool,
    /// Rows wanted, when that is known and every row that is read counts: offset and count of a LIMIT.
    pub limit: Option<RowLimit>,
    /// How rows are decoded, for the executor to keep.
    pub layout: OnceLock<ScanLayout>,
}

/// More rows than there are anywhere, and little enough that DataFusion can add some such numbers.
const ROWS_MAX: usize = 1 << 56;

/// A number of rows that LIMIT or OFFSET says, [`ROWS_MAX`] at most.
///
/// # Errors
/// As [`Error::not_a_row_number`].
pub fn row_count(expr: &Expr, eval: &EvalContext) -> Result<usize> {
    let value = eval_scalar(expr, eval)?;
    if value == Value::Null {
        return Ok(0);
    }
    let rows = value.as_u64().ok_or_else(|| Error::not_a_row_number(&value))?;
    Ok(usize::try_from(rows).unwrap_or(ROWS_MAX).min(ROWS_MAX))
}

/// One operator of a short query.
#[derive(Debug, Clone)]
pub enum ShortOperator {
    /// Rows for which the predicate is true.
    Filter(Expr),
    /// Expressions over each row, and the schema of what they make.
    Project(Vec<Expr>, SchemaRef),
    /// Groups and aggregates.
    Aggregate {
        /// Grouping expressions; empty = one group.
        group_by: Vec<Expr>,
        /// Aggregates.
        aggregates: Vec<AggregateCall>,
        /// Names and types.
        output: Vec<OutputColumn>,
    },
    /// Order.
    Sort(Vec<SortKey>),
    /// Each row once.
    Distinct,
    /// Some rows.
    Limit(RowLimit),
}

/// A planned INSERT or REPLACE.
#[derive(Debug, Clone)]
pub struct InsertPlan {
    /// The statement.
    pub insert: Insert,
    /// The plan of `INSERT … SELECT`'s query.
    pub source: Option<RowsPlan>,
}

/// A planned UPDATE.
#[derive(Debug, Clone)]
pub struct UpdatePlan {
    /// The statement.
    pub update: Update,
    /// How the rows to change are found.
    pub source: RowsPlan,
}

/// A planned DELETE.
#[derive(Debug, Clone)]
pub struct DeletePlan {
    /// The statement.
    pub delete: Delete,
    /// How the rows to delete are found.
    pub source: RowsPlan,
}

/// How a DML statement finds its rows.
#[derive(Debug, Clone)]
pub enum RowsPlan {
    /// By the short path, however many they are.
    Short(Arc<ShortQuery>),
    /// By the query path.
    Query(Arc<Query>),
}

impl RowsPlan {
    /// Names and types of the rows.
    pub fn output(&self) -> Vec<OutputColumn> {
        match self {
            RowsPlan::Short(short) => short.output.to_vec(),
            RowsPlan::Query(query) => query.root.output(),
        }
    }
}

impl ShortQuery {
    /// The table that is read, if any.
    pub fn table(&self) -> Option<&Arc<Table>> {
        match &self.source {
            ShortSource::Table(read) => Some(&read.scan.table),
            ShortSource::Values(..) => None,
        }
    }
}

impl PhysicalPlan {
    /// How a writing statement finds its rows; `None` for reads, and for INSERTs of values.
    pub fn rows(&self) -> Option<&RowsPlan> {
        match self {
            PhysicalPlan::Short(_) | PhysicalPlan::Query(_) => None,
            PhysicalPlan::Insert(plan) => plan.source.as_ref(),
            PhysicalPlan::Update(plan) => Some(&plan.source),
            PhysicalPlan::Delete(plan) => Some(&plan.source),
        }
    }

    /// The query for the query path, for whoever explains or runs a plan there.
    pub fn logical(&self) -> Option<&LogicalPlan> {
        match self {
            PhysicalPlan::Query(query) => Some(&query.root),
            PhysicalPlan::Short(short) => short.fallback.as_ref().map(|query| &query.root),
            PhysicalPlan::Insert(_) | PhysicalPlan::Update(_) | PhysicalPlan::Delete(_) => None,
        }
    }
}
