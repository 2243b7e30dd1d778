//! One connection's conversation: statements in, results out, and what is remembered between them.
//!
//! ```text
//! server::connection ── Session trait ──▶ SqlSession
//!    query(text) ─┬─ plan cache hit ───────────────────────────────────┐
//!                 └─ parse_one ─ statement ─┬─ SELECT, DML, SHOW: bind, plan ─┴─▶ data: executor, query ─▶ rows, OK
//!                                           ├─ BEGIN, COMMIT, …        control
//!                                           ├─ SET                     set, variables
//!                                           ├─ CREATE, DROP, …         crate::ddl
//!                                           ├─ PREPARE, EXECUTE        prepared
//!                                           ├─ LOCK TABLES             lock_tables
//!                                           ├─ SPLIT TABLE             split
//!                                           └─ ALTER USER, …           users
//! ```
//! A session runs one statement at a time. Between statements it holds variables, prepared statements and at most one
//! transaction, and locked tables; nothing that another session could miss when this one dies: its locks expire, its writes were never there.
//!
//! Invariants: a statement sees one schema from binding to its last row, which it holds until it has its timestamp ([`schema`]); a statement that fails leaves the transaction as
//! it was before it (unless MySQL rolls back the whole transaction there: deadlock, conflict at commit); nothing is
//! retried after the first byte of its result was sent.
//!
//! Not done: TEMPORARY tables, CHECK, ANALYZE and OPTIMIZE TABLE, FLUSH TABLES WITH READ LOCK.

mod access;
mod bind;
mod charset;
mod control;
mod data;
mod globals;
mod grants;
mod info;
mod lock_tables;
mod maintain;
mod needs;
mod prepared;
mod schema;
pub mod server;
mod servers;
#[expect(clippy::module_inception, reason = "the session of the session layer")]
mod session;
mod set;
mod split;
pub(crate) mod sql_mode;
mod start;
mod statement;
pub mod user_variables;
pub mod users;
mod variable_value;
pub mod variables;

pub use server::{SqlServer, SqlServerOptions};
pub use session::SqlSession;
pub use start::{InitFile, StartAccounts};
