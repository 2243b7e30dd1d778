//! The query path: every SELECT that is not short, on DataFusion, with the part below the network run by storage.
//!
//! ```text
//! plan::LogicalPlan                        what the binder says: positions, MySQL types, explicit casts
//!    │ lower, lower_*                      names, DataFusion expressions, subqueries as joins; hints to scans
//! DataFusion's logical plan
//!    │ session: DataFusion's rules
//!    │   scan_plan: access path            ranges of the table or of an index, look-ups
//!    │   pushdown: PushIntoStorage         filter, projection, partial aggregate, top-n, limit into the scan
//! physical plan
//!    │ execute
//! RemoteScanExec ══ fan_out ══▶ coprocessor of every region ══▶ partial results
//! ```
//! Invariants:
//! - What storage runs is a fragment of the same physical plan, on the same operators and kernels: there is one meaning.
//! - Results are O(regions) wherever the plan allows: COUNT over 8 regions brings 8 rows.
//! - A scan inside a transaction that has written sees its rows; nothing else differs ([`own_rows`]).
//! - Nothing here decides a type: both sides of every operator have the type the binder gave them.
//!
//! Not done: index look-up joins, statistics, run-time filters into scans, ordered scans (ORDER BY on a key still sorts),
//! RANGE frames over several expressions.

pub mod cluster_fan_out;
pub mod execute;
pub mod explain;
pub mod fan_out;
pub mod scan_plan;
pub mod session;
pub mod virtual_table;

mod bit_bytes;
mod checkpoint;
mod cut;
mod error;
mod group_concat;
mod guarded_rules;
mod hints;
mod in_order;
mod interruptible;
mod large_top;
mod literal_rows;
mod lookup;
mod lower;
mod lower_aggregate;
mod lower_correlated;
mod lower_expr;
mod lower_grouped;
mod lower_groups;
mod lower_set;
mod lower_subquery;
mod lower_window;
mod null_supplied;
mod own_rows;
mod projected_filters;
mod pushdown;
mod recursion;
mod remote_scan;
mod scan_metrics;
mod single_row;
mod sort_again;
#[cfg(test)]
mod tests;
mod unnest;
mod window_aggregate;
mod window_frame;
mod window_function;
mod yielding;

pub use execute::execute;
pub use explain::explain;
pub use lower::VirtualTables;
pub use lower_correlated::gives_one_row;
