//! The MySQL protocol: from bytes of a socket to calls of a [`Session`], and back.
//!
//! # What it is for
//! Clients speak MySQL's client/server protocol. This layer speaks it completely enough for the `mysql` client, the
//! usual drivers and pools, and answers what it does not know with an error: never with a wrong OK, never by dropping
//! the connection. It knows no SQL: statements are bytes that go to the session, results are cells that come from it.
//!
//! # Where it sits
//! ```text
//!  socket ── packet ── handshake ── connection ── dispatch ──> Session (session_api)
//!                         │            │  ^                        │
//!                       auth, tls      │  └── result <─────────────┘
//!                                   kill, registry
//! ```
//!
//! # A packet
//! ```text
//! ┌────────────┬─────────┬──────────────────────────────────────┐
//! │ length u24 │ seq u8  │ payload: first byte tells its kind   │   COM_QUERY  03 | statement
//! └────────────┴─────────┴──────────────────────────────────────┘   OK 00 · error ff · EOF fe · rows: column count
//! ```
//!
//! # Life of a command
//! 1. [`packet`]: the connection's task, idle, wakes; one read brings the packet; its payload is a share of the buffer.
//! 2. [`command`]: the payload becomes a [`command::Command`] that borrows it. For an execution [`prepared`] decodes the
//!    parameters, into memory that the connection keeps.
//! 3. `dispatch` notes the command in the process list and calls the session. While the session's future waits, the task
//!    reads ahead: a client that hangs up stops its statement within two seconds.
//! 4. [`result`]: the session appends packets to the connection's one buffer, rows cell by cell, and between rows lets
//!    the buffer be written when it is over 64 KiB.
//! 5. The rest is written by one system call.
//!
//! A point select costs this layer no allocation but that of the session's boxed future.
//!
//! # Invariants
//! * Bytes from the client are read through checked cursors only; lengths are compared with what is there; nothing
//!   panics, and memory grows with bytes received, not with lengths claimed.
//! * Before authentication a client can make the server hold 64 KiB for ten seconds, no more.
//! * Every command that the protocol answers is answered once; a result ends with its last packet or an error.
//! * A connection at rest holds two small buffers (4 KiB each) and its session.
//! * Every task is owned by [`RunningServer`] and has ended when its shutdown returns.
//!
//! # Not done
//! Compression (zlib, zstd), query attributes, cursors (COM_STMT_FETCH: results are sent whole), RSA exchange of
//! passwords (full authentication needs TLS), replication commands, client certificates, the PROXY protocol, Unix
//! sockets.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::unwrap_used))]

pub mod auth;
mod batch;
pub mod charset;
pub mod column;
pub mod command;
pub mod config;
mod connection;
pub mod constant;
mod dispatch;
pub mod error;
mod handshake;
pub mod infile;
pub mod kill;
pub mod listener;
pub mod packet;
pub mod payload;
pub mod prepared;
pub mod registry;
pub mod result;
pub mod session_api;
pub mod silent;
pub mod temporal;
pub mod tls;

pub use auth::Credential;
pub use column::{CellType, ColumnDef, ColumnSet};
pub use config::ServerConfig;
pub use constant::{Capabilities, ColumnFlags, Status, TypeCode};
pub use error::{ErrorCode, MySqlError, code};
pub use kill::KillSwitch;
pub use listener::{RunningServer, Server};
pub use prepared::Param;
pub use registry::{ConnectionEntry, Connections, ProcessInfo};
pub use result::{EndOfRows, OkSummary, Protocol, ResultWriter, RowWriter};
pub use session_api::{Account, Authenticator, ConnectionVariables, Handler, Peer, Prepared, Session, SessionContext};
pub use temporal::{DateTimeParts, TimeParts};
pub use tls::Tls;
