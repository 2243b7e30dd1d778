//! From what a statement means to how it is run.
//!
//! ```text
//!                  ┌─ short::plan ─ yes → Short     executor, no DataFusion
//! BoundStatement ──┤                no  → Query     crate::query
//!                  └─ INSERT, UPDATE, DELETE        executor; their rows come from either path
//!                         └ access::choose: which key, which ranges, what is left to filter
//!                               └ condition: conjunct → test of a column   bounds: test + constant → interval
//!                                                                          interval: sets of encoded values
//! digest, cache: statements that differ in literals only share a plan
//! ```
//! Planning is pure: no I/O, no clock. Plans hold no values of parameters, so that a prepared or cached plan serves every
//! execution; what depends on the values (ranges, whether they are short) is computed by [`access::AccessPath::resolve`] when
//! the statement runs.
//!
//! The access paths follow Selinger et al., "Access Path Selection in a Relational Database Management System" (1979),
//! §4, for single relations, with guessed selectivities. Not done: statistics, index merge, skip scan, row constructors.

pub mod physical;
pub mod safe;
pub mod short;

pub mod access;
mod bounds;
mod condition;
mod interval;

pub mod cache;
pub mod digest;
pub mod explain;

#[cfg(test)]
mod tests;

pub use physical::{
    DeletePlan, InsertPlan, PhysicalPlan, RowsPlan, ShortOperator, ShortQuery, ShortSource, TableRead, UpdatePlan,
    row_count,
};
pub use short::SHORT_ROWS_MAX;

use crate::plan::{BoundStatement, InsertSource, LogicalPlan, Query, Scan, walk};
use short::Purpose;
use std::sync::Arc;

/// Whether statements that read few rows may be planned for the short path, as they are unless a test wants to see the
/// query path's answer. Locking reads of one table always are: their binder counts on it ([`short::is_chain`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ShortPath {
    /// As the planner sees fit.
    #[default]
    Allowed,
    /// The query path reads every table.
    Forbidden,
}

/// Plans a bound statement.
pub fn plan(statement: BoundStatement, paths: ShortPath) -> PhysicalPlan {
    let short_plan = |query: &Query, purpose: Purpose| {
        let short = short::plan(query, purpose)?;
        let may = paths == ShortPath::Allowed || short.locking.is_some() || short.table().is_none();
        may.then_some(short)
    };
    let plan_rows = |query: Query, purpose: Purpose| match short_plan(&query, purpose) {
        // Many rows are the query path's to read, and whether they are many is not known yet.
        Some(short) if short.fallback.is_none() => RowsPlan::Short(Arc::new(short)),
        _ => RowsPlan::Query(Arc::new(query)),
    };
    match statement {
        BoundStatement::Query(query) => match short_plan(&query, Purpose::Select) {
            Some(short) => PhysicalPlan::Short(Arc::new(short)),
            None => PhysicalPlan::Query(Arc::new(query)),
        },
        BoundStatement::Insert(insert) => {
            let source = match &insert.source {
                InsertSource::Values(_) => None,
                InsertSource::Query(query) => Some(plan_rows((**query).clone(), Purpose::Select)),
            };
            PhysicalPlan::Insert(Arc::new(InsertPlan { insert, source }))
        }
        BoundStatement::Update(update) => {
            let source = plan_rows(Query::reading(update.source.clone()), Purpose::Write);
            PhysicalPlan::Update(Arc::new(UpdatePlan { update, source }))
        }
        BoundStatement::Delete(delete) => {
            let source = plan_rows(Query::reading(delete.source.clone()), Purpose::Write);
            PhysicalPlan::Delete(Arc::new(DeletePlan { delete, source }))
        }
    }
}

/// Calls `f` for every stored table that a plan reads, subqueries included.
pub fn visit_scans(plan: &LogicalPlan, f: &mut dyn FnMut(&Scan)) {
    walk::visit(plan, &mut |node| {
        if let LogicalPlan::Scan(scan) = node {
            f(scan);
        }
    });
}
