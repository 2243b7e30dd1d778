//! The seam between the protocol and SQL: what the server asks of whoever runs statements.
//!
//! A [`Handler`] makes one [`Session`] per authenticated connection; an [`Authenticator`] knows the accounts. The
//! protocol layer calls a session's methods one at a time. A method may be dropped in its middle, when the client is gone
//! and the statement has not noticed in time; [`Session::close`] is called last in every case.

use super::auth::Credential;
use super::charset::{ResultCharset, SharedResultCharset};
use super::column::{ColumnDef, ColumnSet};
use super::config::MAX_ALLOWED_PACKET_MAX;
use super::constant::{Capabilities, Status};
use super::error::MySqlError;
use super::kill::KillSwitch;
use super::prepared::Param;
use super::registry::Connections;
use super::result::ResultWriter;
use super::tls::Agreed;
use crate::memory::SessionMemory;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// Where a client comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Peer {
    /// Its address.
    pub address: SocketAddr,
    /// The connection is encrypted, with this.
    pub tls: Option<Agreed>,
}

impl Peer {
    /// The host as accounts and messages name it.
    pub fn host(&self) -> String {
        self.address.ip().to_canonical().to_string()
    }
}

/// An account that may log in.
#[derive(Clone, Debug)]
pub struct Account {
    /// The user's name in the account; empty for the anonymous account.
    pub user: String,
    /// The account's host pattern, such as `%`.
    pub host: String,
    /// How its password is checked.
    pub credential: Credential,
    /// May only log in over TLS.
    pub require_tls: bool,
    /// May not log in.
    pub locked: bool,
}

/// Knows the accounts.
#[async_trait::async_trait]
pub trait Authenticator: Send + Sync + 'static {
    /// The account that `user` from `peer` logs in to; none when there is none.
    ///
    /// # Errors
    /// When the accounts cannot be read now.
    async fn find(&self, user: &str, peer: &Peer) -> Result<Option<Account>, MySqlError>;
}

/// Makes sessions.
#[async_trait::async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Starts a session for an authenticated client.
    ///
    /// # Errors
    /// The client is told and disconnected: 1049 for an unknown schema, 1044 for a forbidden one.
    async fn open_session(&self, context: SessionContext) -> Result<Box<dyn Session>, MySqlError>;

    /// The line of COM_STATISTICS.
    fn statistics(&self) -> String;
}

/// What a session knows of its connection.
#[derive(Clone)]
pub struct SessionContext {
    /// `CONNECTION_ID()`.
    pub connection_id: u64,
    /// The name the client gave.
    pub user: String,
    /// The account it logged in to.
    pub account: Arc<Account>,
    /// Where it comes from.
    pub peer: Peer,
    /// The schema it asked for.
    pub schema: Option<String>,
    /// What both sides can do. [`Capabilities::FOUND_ROWS`] changes what affected rows count.
    pub capabilities: Capabilities,
    /// The collation the client announced; decides its character set.
    pub collation: u16,
    /// `_client_name` and the like.
    pub attributes: Arc<Vec<(String, String)>>,
    /// Tells when the running statement must end.
    pub kill: Arc<KillSwitch>,
    /// Counts what the session and its statement hold.
    pub memory: Arc<SessionMemory>,
    /// All connections of this server: for KILL and SHOW PROCESSLIST.
    pub connections: Arc<Connections>,
    /// Variables that the protocol obeys; the session sets them.
    pub variables: Arc<ConnectionVariables>,
}

/// Session variables that the protocol layer obeys from the next command on.
#[derive(Debug)]
pub struct ConnectionVariables {
    wait_timeout_ms: AtomicU64,
    max_allowed_packet: AtomicUsize,
    results: SharedResultCharset,
}

impl ConnectionVariables {
    /// With their first values.
    pub fn new(wait_timeout: Duration, max_allowed_packet: usize) -> ConnectionVariables {
        let variables = ConnectionVariables {
            wait_timeout_ms: AtomicU64::new(0),
            max_allowed_packet: AtomicUsize::new(0),
            results: SharedResultCharset::default(),
        };
        variables.set_wait_timeout(wait_timeout);
        variables.set_max_allowed_packet(max_allowed_packet);
        variables
    }

    /// How long the client may be idle.
    pub fn wait_timeout(&self) -> Duration {
        Duration::from_millis(self.wait_timeout_ms.load(Ordering::Relaxed))
    }

    /// Sets how long the client may be idle; at least a second.
    pub fn set_wait_timeout(&self, timeout: Duration) {
        let millis = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX).clamp(1000, 31_536_000_000);
        self.wait_timeout_ms.store(millis, Ordering::Relaxed);
    }

    /// What text is sent in.
    pub fn results(&self) -> ResultCharset {
        self.results.get()
    }

    /// Sets what text is sent in.
    pub fn set_results(&self, charset: ResultCharset) {
        self.results.set(charset);
    }

    /// Largest command and largest row, in bytes.
    pub fn max_allowed_packet(&self) -> usize {
        self.max_allowed_packet.load(Ordering::Relaxed)
    }

    /// Sets the largest command and row; between 1 KiB and 1 GiB.
    pub fn set_max_allowed_packet(&self, bytes: usize) {
        self.max_allowed_packet.store(bytes.clamp(1024, MAX_ALLOWED_PACKET_MAX), Ordering::Relaxed);
    }
}

/// A statement that was prepared.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The session's number for it, not in use by another statement of the session.
    pub id: u32,
    /// Number of `?`.
    pub parameters: usize,
    /// The columns of its result; empty for none.
    pub columns: Arc<ColumnSet>,
    /// Warnings of its preparation.
    pub warnings: u16,
}

/// Runs the statements of one connection.
#[async_trait::async_trait]
pub trait Session: Send {
    /// Runs the statements in `sql` (any bytes) and writes their results. Several are only allowed when
    /// [`ResultWriter::multi_statements_allowed`].
    ///
    /// # Errors
    /// Told to the client in the place of the unfinished result.
    async fn query(&mut self, sql: &[u8], out: &mut ResultWriter) -> Result<(), MySqlError>;

    /// Prepares one statement.
    ///
    /// # Errors
    /// Told to the client.
    async fn prepare(&mut self, sql: &[u8]) -> Result<Prepared, MySqlError>;

    /// Runs a prepared statement and writes its results. The number of parameters is right; their values are what the
    /// client sent.
    ///
    /// # Errors
    /// Told to the client in the place of the unfinished result.
    async fn execute(&mut self, id: u32, params: &[Param<'_>], out: &mut ResultWriter) -> Result<(), MySqlError>;

    /// Forgets a prepared statement.
    fn close_statement(&mut self, id: u32);

    /// Makes `schema` the current one.
    ///
    /// # Errors
    /// 1049 or 1044.
    async fn init_db(&mut self, schema: &str) -> Result<(), MySqlError>;

    /// The columns of a table whose names match `wildcard` (as LIKE; empty for all).
    ///
    /// # Errors
    /// 1146 and the like.
    async fn field_list(&mut self, table: &str, wildcard: &str) -> Result<Vec<ColumnDef>, MySqlError>;

    /// Rolls back, forgets variables, temporary tables and prepared statements; the user and the schema stay.
    ///
    /// # Errors
    /// Told to the client.
    async fn reset(&mut self) -> Result<(), MySqlError>;

    /// Ends another connection, if the user may.
    ///
    /// # Errors
    /// 1094 for an unknown connection, 1095 for a forbidden one.
    async fn kill(&mut self, connection_id: u64) -> Result<(), MySqlError>;

    /// Autocommit, transaction and the like, for answers the protocol layer makes.
    fn status(&self) -> Status;

    /// Warnings of the last statement.
    fn warnings(&self) -> u16 {
        0
    }

    /// Ends the session: rolls back and frees locks. Called once, last, also after a statement that was dropped.
    async fn close(&mut self);
}
