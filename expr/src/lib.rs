//! MySQL's expressions, with one meaning: types, values, casts, functions and aggregates, used alike by the SQL server's
//! planner, its short path, DataFusion and the storage nodes' coprocessor. Also the bytes that values have in rows and keys.
//!
//! ```text
//!   types, collation ── value, decimal, number, temporal ── cast, store   what a value is, how it converts
//!                              │
//!        convert ◀─────────────┼────────────▶ cell                        Arrow arrays; the MySQL protocol's cells
//!                              │
//!   row, key, scan_decoder ◀───┤                                          bytes on disk, and from there to Arrow
//!                              │
//!       expr ──▶ func ──▶ eval │ context                                  trees, kernels, evaluation for a statement
//!        │         │
//!        ├─ describe, wire                                                a tree as text, as bytes
//!        └─ datafusion, aggregate, fragment                               the same inside DataFusion's and the stores' plans
//!           memory_pool, slices                                          what those hold, as leaves of the memory tree; few rows at
//!                                                                        a time where strings are long
//! ```
//!
//! Invariants, as absences: nothing here is `async`, does I/O or reads a clock (the statement's time is in
//! [`EvalContext`]); DataFusion never decides a conversion, because every conversion is a node of the tree; a batch from
//! Arrow's side and a row of [`Value`]s go through the same kernels.

pub mod aggregate;
pub mod cast;
pub mod cell;
pub mod charset;
pub mod collation;
pub mod context;
pub mod convert;
pub mod datafusion;
pub mod decimal;
pub mod describe;
pub mod error;
pub mod eval;
pub mod expr;
pub mod first_row;
pub mod fragment;
pub mod func;
pub mod key;
pub mod memory_pool;
pub mod number;
pub mod pass_through;
pub mod row;
pub mod scan_decoder;
pub mod slices;
pub mod store;
pub mod sum_in_order;
pub mod temporal;
pub mod types;
pub mod value;
pub mod value_set;
mod wire;

pub use charset::Charset;
pub use collation::Collation;
pub use context::{EvalContext, SessionInfo, SqlMode, Warning, Warnings};
pub use decimal::Decimal;
pub use error::{EvalError, ExprError};
pub use eval::{ColumnarValue, eval, eval_array, eval_filter, eval_row, eval_scalar};
pub use expr::Expr;
pub use func::Func;
pub use types::{EvalType, FieldType, TypeKind};
pub use value::Value;
