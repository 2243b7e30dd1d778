//! Trees of expressions and queries, as written: names are not resolved, types not known.

/// An expression.
#[derive(Debug, Clone, PartialEq)]
pub enum Expr {
    /// A constant.
    Literal(Literal),
    /// `?`, counted from 0.
    Parameter(usize),
    /// A column, or an alias of the select list.
    Column(ColumnName),
    /// `@@name`, `@@global.name`.
    SystemVariable {
        /// GLOBAL, SESSION, or whichever exists.
        scope: Option<VariableScope>,
        /// Its name, lower-cased.
        name: String,
    },
    /// `@name`.
    UserVariable(String),
    /// `@name := value`.
    AssignVariable(String, Box<Expr>),
    /// An operator before its operand.
    Unary(UnaryOp, Box<Expr>),
    /// An operator between its operands.
    Binary(BinaryOp, Box<Expr>, Box<Expr>),
    /// IS [NOT] NULL, TRUE, FALSE, UNKNOWN.
    Is {
        /// What is tested.
        expr: Box<Expr>,
        /// For what.
        what: IsWhat,
        /// IS NOT.
        negated: bool,
    },
    /// [NOT] BETWEEN.
    Between {
        /// What is tested.
        expr: Box<Expr>,
        /// Lower bound.
        low: Box<Expr>,
        /// Upper bound.
        high: Box<Expr>,
        /// NOT BETWEEN.
        negated: bool,
    },
    /// [NOT] IN (a, b).
    InList {
        /// What is looked for.
        expr: Box<Expr>,
        /// Where.
        list: Vec<Expr>,
        /// NOT IN.
        negated: bool,
    },
    /// [NOT] IN (SELECT …).
    InSubquery {
        /// What is looked for.
        expr: Box<Expr>,
        /// Where.
        query: Box<Query>,
        /// NOT IN.
        negated: bool,
    },
    /// [NOT] LIKE.
    Like {
        /// What is tested.
        expr: Box<Expr>,
        /// The pattern.
        pattern: Box<Expr>,
        /// ESCAPE.
        escape: Option<Box<Expr>>,
        /// NOT LIKE.
        negated: bool,
    },
    /// [NOT] REGEXP.
    Regexp {
        /// What is tested.
        expr: Box<Expr>,
        /// The pattern.
        pattern: Box<Expr>,
        /// NOT REGEXP.
        negated: bool,
    },
    /// `x op ANY (SELECT …)`, `x op ALL (SELECT …)`.
    Quantified {
        /// Left side.
        expr: Box<Expr>,
        /// A comparison.
        op: BinaryOp,
        /// ALL rather than ANY.
        all: bool,
        /// Right side.
        query: Box<Query>,
    },
    /// EXISTS (SELECT …).
    Exists(Box<Query>),
    /// A subquery as a value.
    Subquery(Box<Query>),
    /// `(a, b)`, `ROW(a, b)`.
    Row(Vec<Expr>),
    /// CASE.
    Case {
        /// CASE x WHEN …
        operand: Option<Box<Expr>>,
        /// WHEN, THEN.
        branches: Vec<(Expr, Expr)>,
        /// ELSE.
        otherwise: Option<Box<Expr>>,
    },
    /// CAST(x AS t), CONVERT(x, t), BINARY x.
    Cast(Box<Expr>, DataType),
    /// CONVERT(x USING charset).
    ConvertUsing(Box<Expr>, String),
    /// x COLLATE c.
    Collate(Box<Expr>, String),
    /// A function with arguments between commas, name lower-cased.
    Function {
        /// Lower-cased.
        name: String,
        /// Arguments.
        args: Vec<Expr>,
    },
    /// An aggregate or window function.
    Aggregate(Box<AggregateCall>),
    /// `d + INTERVAL v unit`, DATE_ADD, DATE_SUB.
    DateArithmetic {
        /// The date.
        date: Box<Expr>,
        /// The amount.
        value: Box<Expr>,
        /// Upper-cased.
        unit: String,
        /// Minus.
        subtract: bool,
    },
    /// A function whose first argument is a unit: EXTRACT, TIMESTAMPADD, TIMESTAMPDIFF.
    UnitFunction {
        /// Lower-cased.
        name: String,
        /// Upper-cased.
        unit: String,
        /// The other arguments.
        args: Vec<Expr>,
    },
    /// TRIM.
    Trim {
        /// Which end.
        side: TrimSide,
        /// What is cut off; spaces when absent.
        what: Option<Box<Expr>>,
        /// Off what.
        expr: Box<Expr>,
    },
    /// DEFAULT, as a value of INSERT and UPDATE.
    Default,
    /// DEFAULT(column).
    DefaultOf(ColumnName),
    /// VALUES(column), in ON DUPLICATE KEY UPDATE.
    Values(ColumnName),
}

/// A column's name with what qualifies it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnName {
    /// Database.
    pub database: Option<String>,
    /// Table or alias.
    pub table: Option<String>,
    /// Column or alias.
    pub name: String,
}

impl std::fmt::Display for ColumnName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for part in [&self.database, &self.table].into_iter().flatten() {
            write!(f, "{part}.")?;
        }
        f.write_str(&self.name)
    }
}

/// A constant.
#[derive(Debug, Clone, PartialEq)]
pub enum Literal {
    /// NULL
    Null,
    /// TRUE, FALSE
    Bool(bool),
    /// An integer that fits 64 bits.
    Integer(u64),
    /// A number with a point, or too long for 64 bits: exact.
    Decimal(String),
    /// A number with an exponent: approximate.
    Float(String),
    /// A string.
    String {
        /// Its bytes, escapes resolved.
        bytes: Vec<u8>,
        /// `_charset` before it, lower-cased.
        charset: Option<String>,
    },
    /// `x'…'`: a binary string, or a number where one is asked for.
    Hex(Vec<u8>),
    /// `b'…'`
    Bit(Vec<u8>),
    /// DATE '…', TIME '…', TIMESTAMP '…'
    Temporal(TemporalKind, String),
}

/// Which temporal literal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TemporalKind {
    /// DATE
    Date,
    /// TIME
    Time,
    /// TIMESTAMP
    Timestamp,
}

/// GLOBAL or SESSION.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VariableScope {
    /// GLOBAL
    Global,
    /// SESSION, LOCAL
    Session,
    /// PERSIST: GLOBAL, and kept.
    Persist,
    /// PERSIST_ONLY: from the next start on.
    PersistOnly,
}

/// What IS tests for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IsWhat {
    /// NULL (and UNKNOWN)
    Null,
    /// TRUE
    True,
    /// FALSE
    False,
}

/// Operators with one operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnaryOp {
    /// -
    Minus,
    /// +
    Plus,
    /// NOT, !
    Not,
    /// ~
    BitNot,
}

/// Operators with two operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BinaryOp {
    /// OR
    Or,
    /// XOR
    Xor,
    /// AND
    And,
    /// =
    Eq,
    /// <=>
    NullSafeEq,
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
    /// |
    BitOr,
    /// &
    BitAnd,
    /// <<
    ShiftLeft,
    /// >>
    ShiftRight,
    /// +
    Add,
    /// -
    Subtract,
    /// *
    Multiply,
    /// /
    Divide,
    /// DIV
    IntegerDivide,
    /// %
    Modulo,
    /// ^
    BitXor,
    /// || under PIPES_AS_CONCAT
    Concat,
    /// ->
    JsonExtract,
    /// ->>
    JsonUnquote,
    /// SOUNDS LIKE
    SoundsLike,
}

/// Which end TRIM cuts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrimSide {
    /// Both.
    Both,
    /// The front.
    Leading,
    /// The end.
    Trailing,
}

/// An aggregate, or any function with OVER.
#[derive(Debug, Clone, PartialEq)]
pub struct AggregateCall {
    /// Lower-cased.
    pub name: String,
    /// Arguments; empty for COUNT(*).
    pub args: Vec<Expr>,
    /// DISTINCT
    pub distinct: bool,
    /// GROUP_CONCAT's ORDER BY.
    pub order_by: Vec<OrderItem>,
    /// GROUP_CONCAT's SEPARATOR.
    pub separator: Option<String>,
    /// OVER
    pub over: Option<WindowSpec>,
}

/// What stands behind OVER, or in WINDOW.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct WindowSpec {
    /// A named window that this one is or extends.
    pub name: Option<String>,
    /// `OVER name`: the named window itself, not one that extends it.
    pub is_reference: bool,
    /// PARTITION BY
    pub partition_by: Vec<Expr>,
    /// ORDER BY
    pub order_by: Vec<OrderItem>,
    /// ROWS or RANGE
    pub frame: Option<Frame>,
}

/// A window frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// RANGE rather than ROWS.
    pub range: bool,
    /// From.
    pub start: Bound,
    /// To.
    pub end: Bound,
}

/// A bound of a frame.
#[derive(Debug, Clone, PartialEq)]
pub enum Bound {
    /// UNBOUNDED PRECEDING
    UnboundedPreceding,
    /// n PRECEDING; with a unit, an interval.
    Preceding(Expr, Option<String>),
    /// CURRENT ROW
    CurrentRow,
    /// n FOLLOWING
    Following(Expr, Option<String>),
    /// UNBOUNDED FOLLOWING
    UnboundedFollowing,
}

/// A type, as written in a column definition or a cast.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DataType {
    /// Its name in MySQL's own spelling, lower-cased (`int` for INTEGER, `decimal` for NUMERIC, …; `signed` in casts).
    pub name: String,
    /// First number in parentheses.
    pub length: Option<u32>,
    /// Second number in parentheses.
    pub decimals: Option<u32>,
    /// UNSIGNED (ZEROFILL implies it)
    pub unsigned: bool,
    /// ZEROFILL
    pub zerofill: bool,
    /// CHARACTER SET, lower-cased.
    pub charset: Option<String>,
    /// COLLATE, lower-cased.
    pub collation: Option<String>,
    /// BINARY behind a character type: the character set's binary collation.
    pub binary: bool,
    /// ENUM's and SET's members.
    pub elements: Vec<String>,
}

/// A query expression.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// WITH
    pub with: Vec<Cte>,
    /// WITH RECURSIVE
    pub recursive: bool,
    /// What yields rows.
    pub body: QueryBody,
    /// ORDER BY of the whole.
    pub order_by: Vec<OrderItem>,
    /// LIMIT of the whole.
    pub limit: Option<LimitClause>,
    /// FOR UPDATE, FOR SHARE, LOCK IN SHARE MODE; only of a body that is a SELECT.
    pub locking: Vec<LockClause>,
}

impl Query {
    /// A query with nothing around its body.
    pub fn of(body: QueryBody) -> Query {
        Query { with: Vec::new(), recursive: false, body, order_by: Vec::new(), limit: None, locking: Vec::new() }
    }
}

/// What yields rows.
#[derive(Debug, Clone, PartialEq)]
pub enum QueryBody {
    /// SELECT
    Select(Box<Select>),
    /// VALUES ROW(1, 2), ROW(3, 4)
    Values(Vec<Vec<Expr>>),
    /// A query in parentheses.
    Nested(Box<Query>),
    /// UNION, INTERSECT, EXCEPT
    SetOperation {
        /// Which.
        op: SetOperator,
        /// ALL
        all: bool,
        /// Left.
        left: Box<QueryBody>,
        /// Right.
        right: Box<QueryBody>,
    },
}

/// A set operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetOperator {
    /// UNION
    Union,
    /// INTERSECT
    Intersect,
    /// EXCEPT
    Except,
}

/// One SELECT.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Select {
    /// DISTINCT
    pub distinct: bool,
    /// SQL_CALC_FOUND_ROWS
    pub calc_found_rows: bool,
    /// What it puts out.
    pub items: Vec<SelectItem>,
    /// FROM; comma-separated.
    pub from: Vec<TableRef>,
    /// WHERE
    pub filter: Option<Expr>,
    /// GROUP BY
    pub group_by: Vec<Expr>,
    /// WITH ROLLUP
    pub rollup: bool,
    /// HAVING
    pub having: Option<Expr>,
    /// WINDOW
    pub windows: Vec<(String, WindowSpec)>,
}

/// An item of a select list.
#[derive(Debug, Clone, PartialEq)]
pub enum SelectItem {
    /// `*`, `t.*`, `d.t.*`
    Wildcard {
        /// Database.
        database: Option<String>,
        /// Table.
        table: Option<String>,
    },
    /// An expression.
    Expr {
        /// The expression.
        expr: Expr,
        /// AS
        alias: Option<String>,
        /// As written: the column's name when there is no alias.
        text: String,
    },
}

/// Something to select from.
#[derive(Debug, Clone, PartialEq)]
pub enum TableRef {
    /// A table, view or CTE.
    Table {
        /// Its name.
        name: ObjectName,
        /// AS
        alias: Option<String>,
        /// USE, FORCE, IGNORE INDEX
        hints: Vec<IndexHint>,
    },
    /// A derived table.
    Derived {
        /// Its query.
        query: Box<Query>,
        /// AS
        alias: String,
        /// Column names behind the alias.
        columns: Vec<String>,
        /// LATERAL
        lateral: bool,
    },
    /// A join.
    Join {
        /// Left.
        left: Box<TableRef>,
        /// Right.
        right: Box<TableRef>,
        /// Which rows stay.
        kind: JoinKind,
        /// On what.
        constraint: JoinConstraint,
    },
}

/// Which rows of a join stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JoinKind {
    /// INNER, CROSS, STRAIGHT_JOIN
    Inner,
    /// LEFT
    Left,
    /// RIGHT
    Right,
}

/// What a join matches by.
#[derive(Debug, Clone, PartialEq)]
pub enum JoinConstraint {
    /// Nothing.
    None,
    /// ON
    On(Expr),
    /// USING
    Using(Vec<String>),
    /// NATURAL
    Natural,
}

/// USE, FORCE or IGNORE INDEX.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexHint {
    /// IGNORE
    pub ignore: bool,
    /// Names.
    pub indexes: Vec<String>,
}

/// A name with an optional database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectName {
    /// Database.
    pub database: Option<String>,
    /// Name.
    pub name: String,
}

/// A common table expression.
#[derive(Debug, Clone, PartialEq)]
pub struct Cte {
    /// Its name.
    pub name: String,
    /// Its columns' names.
    pub columns: Vec<String>,
    /// Its query.
    pub query: Query,
}

/// One item of ORDER BY.
#[derive(Debug, Clone, PartialEq)]
pub struct OrderItem {
    /// By what.
    pub expr: Expr,
    /// DESC
    pub descending: bool,
}

/// LIMIT.
#[derive(Debug, Clone, PartialEq)]
pub struct LimitClause {
    /// Rows at most.
    pub count: Expr,
    /// Rows left out first.
    pub offset: Option<Expr>,
}

/// A locking clause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockClause {
    /// FOR SHARE
    pub share: bool,
    /// OF: names of tables in FROM; none: all of them.
    pub of: Vec<ObjectName>,
    /// NOWAIT
    pub no_wait: bool,
    /// SKIP LOCKED
    pub skip_locked: bool,
}
