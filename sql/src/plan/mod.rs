//! The typed plan: what the binder says a statement means, before anybody decides how to run it.
//!
//! ```text
//! text ─parser→ ast ─binder→ plan ─┬─ planner::short  → executor        (point gets, short ranges, DML)
//!                                  └─ query::lower    → DataFusion      (everything else)
//! ```
//! Every expression here is a `basalt_expr::Expr`: names are resolved to offsets, types are MySQL's, implicit casts are
//! written out. An `Expr::Column(i)` is the i-th column of the input's output; a join's output is left ++ right.
//!
//! Subqueries inside expressions are taken out by the binder into an [`LogicalPlan::Apply`] below the operator that uses
//! them: the apply adds one column per subquery to its input, and the expression refers to that column. Correlated
//! subqueries refer to the input's columns by `Expr::Column` with an index made by [`outer_column`]: the columns of the
//! nearest enclosing apply's input have depth 0, those of the next one outward depth 1.
//!
//! Invariants: no type of the parser's appears here; no name is looked up after binding; a node's output types are
//! [`LogicalPlan::output`], always.

pub mod extent;
pub mod walk;

use crate::catalog::model::{Index, Table};
use basalt_expr::aggregate::AggregateFunc;
use basalt_expr::expr::Expr;
use basalt_expr::types::FieldType;
use std::sync::Arc;

mod window;
pub use window::{Bound, Frame, FrameBound, FrameOffset, Offset, WindowCall, WindowFrame, WindowFunc};

/// Indexes from here on are references out of a subquery.
const OUTER_BASE: usize = 1 << 40;
const OUTER_DEPTH_BITS: u32 = 8;

/// The column index by which a correlated subquery refers to column `index` of the input of the `depth`-th enclosing apply.
pub fn outer_column(depth: u8, index: usize) -> usize {
    OUTER_BASE + (index << OUTER_DEPTH_BITS) + usize::from(depth)
}

/// Depth and index of a reference made by [`outer_column`]; `None` for a column of the node's own input.
pub fn as_outer_column(index: usize) -> Option<(u8, usize)> {
    let packed = index.checked_sub(OUTER_BASE)?;
    Some(((packed & 0xff) as u8, packed >> OUTER_DEPTH_BITS))
}

/// A column that a node puts out.
#[derive(Debug, Clone)]
pub struct OutputColumn {
    /// Its name or alias, as the client sees it.
    pub name: String,
    /// The table (or alias) it can be named through; empty for expressions.
    pub table: String,
    /// Database and name of the column it comes from unchanged, for column definitions.
    pub origin: Option<Origin>,
    /// Its type.
    pub ty: FieldType,
}

/// The stored column behind an output column.
#[derive(Debug, Clone)]
pub struct Origin {
    /// Database.
    pub database: String,
    /// Table.
    pub table: String,
    /// Column.
    pub column: String,
    /// Part of the primary key, of a unique key, of any key, fills itself: flags of the column definition.
    pub key_flags: KeyFlags,
}

/// Key membership of a stored column, as column definitions report it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeyFlags {
    /// In the primary key.
    pub primary: bool,
    /// In a unique key.
    pub unique: bool,
    /// In any other key.
    pub multiple: bool,
    /// AUTO_INCREMENT.
    pub auto_increment: bool,
}

/// A SELECT (or any query expression), bound.
#[derive(Debug, Clone)]
pub struct Query {
    /// The operators.
    pub root: LogicalPlan,
    /// FOR UPDATE / FOR SHARE of a statement that the short path runs: all is one block over one table.
    pub locking: Option<Locking>,
    /// What locking clauses lock in any other statement, the clauses of subqueries before those of what is around them.
    pub locks: Vec<RowLocks>,
}

impl Query {
    /// A query that locks nothing.
    pub fn reading(root: LogicalPlan) -> Query {
        Query { root, locking: None, locks: Vec::new() }
    }
}

/// The rows that the locking clauses of one SELECT lock.
#[derive(Debug, Clone)]
pub struct RowLocks {
    /// Brings the handles of the rows.
    pub source: LogicalPlan,
    /// The tables that the rows are of.
    pub targets: Vec<LockTarget>,
    /// The source's rows, cut to so many columns, are the statement's result; `None` when they are rows below a grouping,
    /// or of a part of the statement.
    pub result_columns: Option<usize>,
    /// LIMIT of a result from which SKIP LOCKED leaves rows out: the source goes on without one.
    pub limit: Option<RowLimit>,
}

/// One table that a locking clause names.
#[derive(Debug, Clone)]
pub struct LockTarget {
    /// The table.
    pub table: Arc<Table>,
    /// Its database's name.
    pub database: String,
    /// Where the source's output has the columns of the handle, in the handle's order. All are NULL where an outer join
    /// found no row.
    pub handle: Vec<usize>,
    /// What the clause says.
    pub locking: Locking,
}

/// LIMIT: literals or parameters.
#[derive(Debug, Clone)]
pub struct RowLimit {
    /// Rows left out first.
    pub offset: Option<Expr>,
    /// Rows at most.
    pub count: Option<Expr>,
}

/// What a locking read does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Locking {
    /// FOR SHARE rather than FOR UPDATE.
    pub share: bool,
    /// NOWAIT and SKIP LOCKED.
    pub wait: LockWait,
}

impl Locking {
    /// What a statement takes that changes rows.
    pub const FOR_UPDATE: Locking = Locking { share: false, wait: LockWait::Default };
}

/// What to do when a row is locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockWait {
    /// Up to `innodb_lock_wait_timeout`.
    Default,
    /// Fail at once (3572).
    NoWait,
    /// Leave locked rows out.
    SkipLocked,
}

/// A relational operator.
#[derive(Debug, Clone)]
pub enum LogicalPlan {
    /// Rows of expressions; `SELECT 1` is a projection over one row without columns.
    Values {
        /// One expression a column, for each row.
        rows: Vec<Vec<Expr>>,
        /// Column names and types.
        output: Vec<OutputColumn>,
    },
    /// A stored table.
    Scan(Scan),
    /// A table of information_schema (or any other that the server makes up), filled when the query runs.
    Virtual(VirtualScan),
    /// Rows for which the predicate is true.
    Filter {
        /// Input.
        input: Box<LogicalPlan>,
        /// A MySQL truth value.
        predicate: Expr,
    },
    /// Expressions over each row.
    Project {
        /// Input.
        input: Box<LogicalPlan>,
        /// One an output column.
        exprs: Vec<Expr>,
        /// Names and types.
        output: Vec<OutputColumn>,
    },
    /// Adds the value of subqueries to each row.
    Apply {
        /// Input.
        input: Box<LogicalPlan>,
        /// One an added column.
        subqueries: Vec<Subquery>,
    },
    /// Groups and aggregates; output is the group expressions, then the aggregates.
    Aggregate {
        /// Input.
        input: Box<LogicalPlan>,
        /// Grouping expressions; empty = one group.
        group_by: Vec<Expr>,
        /// Aggregates.
        aggregates: Vec<AggregateCall>,
        /// WITH ROLLUP: groups by fewer and fewer of the keys as well, down to all rows together. Behind the keys stands one
        /// column more: which of them a row is not grouped by, a bit a key, the last one's lowest.
        rollup: bool,
        /// Names and types.
        output: Vec<OutputColumn>,
    },
    /// Window functions; output is the input, then one column a call.
    Window {
        /// Input.
        input: Box<LogicalPlan>,
        /// Calls.
        calls: Vec<WindowCall>,
        /// Names and types.
        output: Vec<OutputColumn>,
    },
    /// A join; output is left ++ right (only left for semi and anti joins).
    Join {
        /// Left input.
        left: Box<LogicalPlan>,
        /// Right input.
        right: Box<LogicalPlan>,
        /// How unmatched rows are treated.
        kind: JoinKind,
        /// Over left ++ right; `None` = every pair.
        condition: Option<Expr>,
    },
    /// Order. NULLs first ascending, last descending, as in MySQL.
    Sort {
        /// Input.
        input: Box<LogicalPlan>,
        /// Most significant first.
        keys: Vec<SortKey>,
    },
    /// Some rows.
    Limit {
        /// Input.
        input: Box<LogicalPlan>,
        /// Rows left out first; a literal or parameter.
        offset: Option<Expr>,
        /// Rows at most; a literal or parameter; `None` = all.
        count: Option<Expr>,
    },
    /// Each row once.
    Distinct {
        /// Input.
        input: Box<LogicalPlan>,
    },
    /// UNION, INTERSECT, EXCEPT; inputs are cast to the output's types.
    SetOperation {
        /// Which.
        kind: SetKind,
        /// ALL: duplicates stay.
        all: bool,
        /// Two or more inputs (two for INTERSECT and EXCEPT).
        inputs: Vec<LogicalPlan>,
        /// Names of the first input, merged types.
        output: Vec<OutputColumn>,
    },
    /// WITH RECURSIVE: the work table of `name` starts as `base`, then `step` runs over what the last round added.
    RecursiveCte {
        /// Name by which `step` reads the work table.
        name: String,
        /// First rows.
        base: Box<LogicalPlan>,
        /// Next rows.
        step: Box<LogicalPlan>,
        /// UNION DISTINCT: rows seen before are dropped.
        distinct: bool,
    },
    /// The work table of the enclosing recursive CTE of that name.
    WorkTable {
        /// The CTE's name.
        name: String,
        /// Columns.
        output: Vec<OutputColumn>,
    },
    /// The same rows under other names: derived tables, CTEs, views.
    Rename {
        /// Input.
        input: Box<LogicalPlan>,
        /// New names.
        output: Vec<OutputColumn>,
    },
}

/// Reads a stored table.
#[derive(Debug, Clone)]
pub struct Scan {
    /// The table.
    pub table: Arc<Table>,
    /// Its database's name.
    pub database: String,
    /// The name it goes by in the statement.
    pub alias: String,
    /// Offsets in `table.columns`, one an output column. The offset `table.columns.len()` is the hidden handle (BIGINT) of
    /// a table without clustered key.
    pub columns: Vec<usize>,
    /// Names and types of `columns`.
    pub output: Vec<OutputColumn>,
    /// USE/FORCE/IGNORE INDEX.
    pub hints: Vec<IndexHint>,
}

/// USE, FORCE or IGNORE INDEX.
#[derive(Debug, Clone)]
pub struct IndexHint {
    /// IGNORE rather than USE or FORCE.
    pub ignore: bool,
    /// The named indexes.
    pub indexes: Vec<Index>,
}

/// Which keys tables are read by where a statement has no hints: for tests of plans and for finding a wrong one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UseIndexes {
    /// The planner chooses.
    #[default]
    Auto,
    /// A secondary index wherever there is one, as FORCE INDEX of all of them.
    Always,
    /// None, as IGNORE INDEX of all of them.
    Never,
}

/// Reads a made-up table.
#[derive(Debug, Clone)]
pub struct VirtualScan {
    /// Its database (`information_schema`, `mysql`, …), lower-cased.
    pub database: String,
    /// Its name, lower-cased.
    pub table: String,
    /// All its columns.
    pub output: Vec<OutputColumn>,
}

/// A subquery within an expression.
#[derive(Debug, Clone)]
pub struct Subquery {
    /// What its column holds.
    pub kind: SubqueryKind,
    /// Its operators; refer to the apply's input by `Expr::Outer`.
    pub plan: Box<LogicalPlan>,
    /// Whether it refers to the input at all.
    pub correlated: bool,
    /// Name and type of the added column.
    pub output: OutputColumn,
}

/// What the column of a subquery holds.
#[derive(Debug, Clone)]
pub enum SubqueryKind {
    /// The one value (NULL for no row; error 1242 for several).
    Scalar,
    /// The value of any of its rows (NULL for none), whose number the next subquery is.
    AnyValue,
    /// How many rows the subquery before this one has; NULL may stand for none.
    Rows,
    /// Whether there is a row.
    Exists,
    /// `operand IN (subquery)`, three-valued; the operand is over the apply's input, already cast to the column's type.
    In {
        /// Left side.
        operand: Expr,
    },
    /// `(operands) IN (subquery)`, three-valued; the operands are over the apply's input, one a column.
    InRows {
        /// Left side.
        operands: Vec<Expr>,
    },
    /// `operand op ANY/ALL (subquery)`.
    Quantified {
        /// Left side.
        operand: Expr,
        /// One of `= <> < <= > >=`.
        op: CompareOp,
        /// ALL rather than ANY.
        all: bool,
    },
}

/// A comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompareOp {
    /// =
    Eq,
    /// <>
    Ne,
    /// <
    Lt,
    /// <=
    Le,
    /// >
    Gt,
    /// >=
    Ge,
}

/// One aggregate.
#[derive(Debug, Clone)]
pub struct AggregateCall {
    /// The function.
    pub func: AggregateFunc,
    /// Arguments over the input; empty for COUNT(*).
    pub args: Vec<Expr>,
    /// DISTINCT.
    pub distinct: bool,
    /// GROUP_CONCAT's ORDER BY.
    pub order_by: Vec<SortKey>,
    /// GROUP_CONCAT's SEPARATOR.
    pub separator: Option<String>,
    /// Result type.
    pub ty: FieldType,
}

/// How a join treats unmatched rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JoinKind {
    /// Dropped.
    Inner,
    /// Left rows stay with NULLs.
    Left,
    /// Right rows stay with NULLs.
    Right,
    /// Left rows that have a match.
    Semi,
    /// Left rows that have none.
    Anti,
}

/// One key of an ORDER BY.
#[derive(Debug, Clone)]
pub struct SortKey {
    /// Over the input.
    pub expr: Expr,
    /// DESC.
    pub descending: bool,
}

/// A set operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetKind {
    /// UNION
    Union,
    /// INTERSECT
    Intersect,
    /// EXCEPT
    Except,
}

impl LogicalPlan {
    /// Names and types of what the node puts out.
    pub fn output(&self) -> Vec<OutputColumn> {
        match self {
            Self::Values { output, .. }
            | Self::Project { output, .. }
            | Self::Aggregate { output, .. }
            | Self::Window { output, .. }
            | Self::SetOperation { output, .. }
            | Self::WorkTable { output, .. }
            | Self::Rename { output, .. } => output.clone(),
            Self::Scan(scan) => scan.output.clone(),
            Self::Virtual(scan) => scan.output.clone(),
            Self::Filter { input, .. }
            | Self::Sort { input, .. }
            | Self::Limit { input, .. }
            | Self::Distinct { input } => input.output(),
            Self::Apply { input, subqueries } => {
                let mut output = input.output();
                output.extend(subqueries.iter().map(|s| s.output.clone()));
                output
            }
            Self::Join { left, right, kind, .. } => {
                let mut output = left.output();
                if !matches!(kind, JoinKind::Semi | JoinKind::Anti) {
                    let mut right = right.output();
                    let nullable =
                        |columns: &mut [OutputColumn]| columns.iter_mut().for_each(|c| c.ty.not_null = false);
                    match kind {
                        JoinKind::Left => nullable(&mut right),
                        JoinKind::Right => nullable(&mut output),
                        _ => {}
                    }
                    output.extend(right);
                }
                output
            }
            Self::RecursiveCte { base, .. } => base.output(),
        }
    }
}

/// INSERT and REPLACE, bound.
#[derive(Debug, Clone)]
pub struct Insert {
    /// The table.
    pub table: Arc<Table>,
    /// Its database's name.
    pub database: String,
    /// Offsets of the columns that `source` fills, in its order.
    pub columns: Vec<usize>,
    /// Where rows come from; not yet cast to the columns' types (the executor stores by MySQL's rules).
    pub source: InsertSource,
    /// REPLACE: rows that conflict are deleted first.
    pub replace: bool,
    /// IGNORE: rows that fail become warnings.
    pub ignore: bool,
    /// ON DUPLICATE KEY UPDATE: over the table's columns (the existing row), then the same columns again (the row that was
    /// to be inserted, `VALUES(c)`), then what the source's rows have behind the values of `columns`.
    pub on_duplicate: Vec<Assignment>,
}

/// Where an INSERT's rows come from.
#[derive(Debug, Clone)]
pub enum InsertSource {
    /// VALUES; `None` = DEFAULT. Expressions may refer to columns already assigned in the row (by table offset).
    Values(Vec<Vec<Option<Expr>>>),
    /// SELECT.
    Query(Box<Query>),
}

/// `column = value`.
#[derive(Debug, Clone)]
pub struct Assignment {
    /// Offset in the table's columns.
    pub column: usize,
    /// New value; `None` = DEFAULT.
    pub value: Option<Expr>,
}

/// UPDATE, bound: `source` puts out every target's columns (all of a target table's columns, in order, at its `offset`).
#[derive(Debug, Clone)]
pub struct Update {
    /// Rows to change: scans, filter, joins, order, limit.
    pub source: LogicalPlan,
    /// What changes.
    pub targets: Vec<UpdateTarget>,
    /// IGNORE.
    pub ignore: bool,
}

/// One table that an UPDATE changes.
#[derive(Debug, Clone)]
pub struct UpdateTarget {
    /// The table.
    pub table: Arc<Table>,
    /// Its database's name.
    pub database: String,
    /// Where its columns start in the source's output. A table without clustered key puts its hidden handle right behind
    /// its columns.
    pub offset: usize,
    /// Over the source's output; later ones see earlier ones' values, as in MySQL's single-table UPDATE.
    pub assignments: Vec<Assignment>,
}

/// DELETE, bound; `source` as in [`Update`].
#[derive(Debug, Clone)]
pub struct Delete {
    /// Rows to delete.
    pub source: LogicalPlan,
    /// From which tables: table, database, offset of its columns in the source's output.
    pub targets: Vec<DeleteTarget>,
    /// IGNORE.
    pub ignore: bool,
}

/// One table that a DELETE removes from.
#[derive(Debug, Clone)]
pub struct DeleteTarget {
    /// The table.
    pub table: Arc<Table>,
    /// Its database's name.
    pub database: String,
    /// Where its columns start in the source's output; hidden handle behind them.
    pub offset: usize,
}

/// A statement that reads or writes rows, bound.
#[derive(Debug, Clone)]
pub enum BoundStatement {
    /// SELECT, VALUES, TABLE, set operations.
    Query(Query),
    /// INSERT, REPLACE.
    Insert(Insert),
    /// UPDATE.
    Update(Update),
    /// DELETE.
    Delete(Delete),
}
