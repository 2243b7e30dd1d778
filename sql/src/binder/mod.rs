//! From a statement's tree to the typed plan: names become offsets, types are MySQL's, implicit casts are written out.
//!
//! Sits between [`crate::parser`] and [`crate::planner`]; neither the parser's trees nor names get past it. Pure: it looks at a
//! [`Schema`], at variables and at the types of parameters, all given by [`BindContext`].
//!
//! ```text
//! query ── WITH, UNION, ORDER BY of the whole          from   ── tables, joins → Relation (plan + named columns)
//!   └ select ── one SELECT                             expr, call, literal ── expressions
//!       FROM → WHERE → GROUP BY → HAVING → windows → ORDER BY → LIMIT → select list → DISTINCT
//! insert, modify ── DML                                show ── SHOW as a SELECT over made-up tables
//! locks ── FOR UPDATE, FOR SHARE: the query bound again, with keys
//! ```
//! **Pending columns.** A select list is bound before anybody knows whether the block has aggregates, so the expressions of a
//! block are first bound over the columns of FROM, with aggregates, windows and subqueries as *pending columns*: numbers
//! beyond all real ones ([`pending`]). Then the operators are put up from the bottom; each gives its pending columns real
//! numbers, and with an Aggregate everything else is rewritten over the groups (1055 for what is neither grouped nor
//! determined by the groups).
//!
//! **Scopes.** A name is looked up in the block's own FROM, then outwards, one [`scope::Frame`] per enclosing subquery; an
//! outer column is numbered by [`crate::plan::outer_column`] with the count of subqueries crossed.
//!
//! Not done (1235): LATERAL, SQL_CALC_FOUND_ROWS, JSON, assignments to user variables within expressions.

mod branches;
mod call;
mod dependencies;
mod expr;
mod from;
mod groups;
mod insert;
mod literal;
mod locks;
mod modify;
mod outer_on;
mod pending;
mod query;
mod row;
mod scope;
mod select;
mod set_chain;
mod settings;
mod show;
mod window;
mod zero_dates;

pub use literal::{collation_of, column_type, literal_value};
pub use settings::Settings;
pub use show::show_query;

use crate::catalog::model::Schema;
use crate::error::{Error, Result};
use crate::parser::Statement;
use crate::parser::ast::{self, VariableScope};
use crate::parser::statement::Show;
use crate::plan::UseIndexes;
use crate::plan::{BoundStatement, OutputColumn};
use crate::privilege::Privileges;
use basalt_common::stack;
use basalt_expr::Warnings;
use basalt_expr::collation::Collation;
use basalt_expr::expr::Expr;
use basalt_expr::types::FieldType;
use basalt_expr::value::Value;

/// Values of variables at the time of binding.
pub trait Variables {
    /// A system variable.
    ///
    /// # Errors
    /// 1193 when there is none of this name, 1238 when it is not of this scope.
    fn system(&self, scope: Option<VariableScope>, name: &str) -> Result<Value>;
    /// A user variable, NULL when it was never set.
    fn user(&self, name: &str) -> Value;

    /// Refuses (1142) a table on which the account holds none of the privileges.
    ///
    /// # Errors
    /// That.
    fn check_any(&self, _database: &str, _table: &str, _one_of: Privileges) -> Result<()> {
        Ok(())
    }

    /// Refuses (1142) a table on which the account does not hold all of the privileges.
    ///
    /// # Errors
    /// That.
    fn check_all(&self, _database: &str, _table: &str, _all_of: Privileges) -> Result<()> {
        Ok(())
    }

    /// Refuses (1100) a table of which nothing is locked while LOCK TABLES is in force.
    ///
    /// # Errors
    /// That.
    fn check_locked(&self, _database: &str, _table: &str, _alias: &str) -> Result<()> {
        Ok(())
    }
}

/// What a statement is bound against.
pub struct BindContext<'a> {
    /// The schema.
    pub schema: &'a Schema,
    /// The current database.
    pub database: Option<&'a str>,
    /// Variables.
    pub variables: &'a dyn Variables,
    /// Types of the `?`, as far as they are known.
    pub parameters: &'a [FieldType],
    /// ONLY_FULL_GROUP_BY
    pub only_full_group_by: bool,
    /// sql_mode NO_UNSIGNED_SUBTRACTION: a difference is signed whatever its sides are.
    pub no_unsigned_subtraction: bool,
    /// Variables that change what a statement means.
    pub settings: Settings,
    /// `collation_connection`: of string literals.
    pub collation: Collation,
    /// PAD_CHAR_TO_FULL_LENGTH
    pub pads_chars: bool,
    /// Index hints of tables without any.
    pub use_indexes: UseIndexes,
    /// User and host, for SHOW GRANTS.
    pub account: (&'a str, &'a str),
    /// Where warnings about the statement's text go.
    pub warnings: &'a Warnings,
}

/// A bound statement.
#[derive(Debug, Clone)]
pub struct Bound {
    /// The statement.
    pub statement: BoundStatement,
    /// Whether the plan may serve other executions of the same text: it holds no value of a variable.
    pub cacheable: bool,
}

/// Binds a statement that reads or writes rows.
///
/// # Errors
/// The user's mistakes, with MySQL's numbers.
pub fn bind(statement: &Statement, ctx: &BindContext<'_>) -> Result<Bound> {
    let mut binder = Binder::new(ctx);
    let statement = match statement {
        Statement::Query(query) => match ctx.settings.select_limit.filter(|_| query.limit.is_none()) {
            None => BoundStatement::Query(binder.top_query(query)?),
            Some(rows) => {
                let count = ast::Expr::Literal(ast::Literal::Integer(rows));
                let limited = ast::Query { limit: Some(ast::LimitClause { count, offset: None }), ..(**query).clone() };
                BoundStatement::Query(binder.top_query(&limited)?)
            }
        },
        Statement::Insert(insert) => BoundStatement::Insert(binder.insert(insert)?),
        Statement::Update(update) => BoundStatement::Update(binder.update(update)?),
        Statement::Delete(delete) => BoundStatement::Delete(binder.delete(delete)?),
        Statement::Show(show) => BoundStatement::Query(binder.show(show)?),
        Statement::Do(exprs) => BoundStatement::Query(binder.do_exprs(exprs)?),
        other => return Err(Error::internal(format!("not a statement for the binder: {other:?}"))),
    };
    Ok(Bound { statement, cacheable: !binder.uses_variables })
}

/// Binds an expression that reads no table: of SET, of SPLIT TABLE, of KILL.
///
/// # Errors
/// 1054 when it names a column, and what is wrong with it otherwise.
pub fn bind_constant(expr: &ast::Expr, ctx: &BindContext<'_>) -> Result<Expr> {
    let mut binder = Binder::new(ctx);
    let mut block = scope::Block::new(Vec::new());
    let bound = binder.expr(expr, &mut block)?;
    block.refuse_pending()?;
    Ok(bound)
}

/// The columns of a statement's result, when they do not depend on how it runs.
pub fn output_of(statement: &BoundStatement) -> Vec<OutputColumn> {
    match statement {
        BoundStatement::Query(query) => query.root.output(),
        _ => Vec::new(),
    }
}

/// Binds one statement.
struct Binder<'a> {
    ctx: &'a BindContext<'a>,
    /// Enclosing blocks of the subquery being bound, innermost last.
    frames: Vec<scope::Frame>,
    /// Common table expressions in sight, innermost last.
    ctes: Vec<query::CteInSight>,
    /// What scans put out.
    scan_columns: from::ScanColumns,
    /// What the locking clauses of the statement lock; `None` where they have no say.
    locks: Option<locks::Locks>,
    /// Of which an account needs one to name a table; SELECT except for targets of UPDATE and DELETE.
    target_privileges: Privileges,
    uses_variables: bool,
    /// Tables named so far, those of a common table expression each time that it is.
    tables: usize,
    /// Where the recursion over the tree began.
    stack: stack::Place,
}

impl<'a> Binder<'a> {
    fn new(ctx: &'a BindContext<'a>) -> Self {
        Binder {
            ctx,
            frames: Vec::new(),
            ctes: Vec::new(),
            scan_columns: from::ScanColumns::Public,
            locks: None,
            target_privileges: Privileges::SELECT,
            uses_variables: false,
            tables: 0,
            stack: stack::Place::here(),
        }
    }

    fn show(&mut self, show: &Show) -> Result<crate::plan::Query> {
        let query = show::show_query(show, self.ctx)?;
        self.uses_variables = true;
        self.top_query(&query)
    }
}

#[cfg(test)]
mod tests;
