//! The SQL server: from a client's bytes to keys and fragments, and from rows back to bytes.
//!
//! **Problem.** Clients speak MySQL: its protocol, grammar, types, conversions, error numbers and transactions. Below is a
//! cluster that knows keys, timestamps and fragments. **Where.** Above [`basalt_client`]; storage and PD are never called
//! but through it. A server keeps nothing that must survive: any number of them serve one cluster.
//!
//! ```text
//! server ─ Session ─▶ session ─▶ parser ─▶ binder ─▶ planner ─┬─ short, writes ─▶ executor ─┐
//! (protocol)             │        AST      plan               └─ the rest ─────▶ query ────┴─▶ basalt_client
//!                        └─ transaction, context: what is read and written      (DataFusion)
//!                  catalog: the schema in force      ddl: how it changes      memory: who holds how much
//! ```
//! Two ways to run one plan: point reads, short ranges and all writes on the short path, which is planned once a form and
//! runs on Arrow batches; everything else in DataFusion, whose lower part storage runs. Both evaluate [`basalt_expr`].
//!
//! **Invariants, as absences.** No name is looked up and no type decided after the binder. Binder and planner do no I/O.
//! Nothing but the executor's table writer and the backfill of indexes makes rows or entries. No statement works under a
//! schema that is more than one step from another server's. DataFusion decides no conversion.
//!
//! **Not done.** Statistics and costs, roles and privileges on columns, global variables that survive
//! (SET GLOBAL is this server's), stored programs, views, foreign keys, partitions; each layer says more.

pub mod binder;
pub mod catalog;
pub mod context;
pub mod ddl;
pub mod deadlocks;
pub mod error;
pub mod executor;
pub mod memory;
pub mod parser;
pub mod plan;
pub mod planner;
pub mod privilege;
pub mod query;
pub mod result_columns;
pub mod server;
pub mod session;
pub mod transaction;
pub mod version;
