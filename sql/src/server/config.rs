//! Limits and timeouts of the protocol layer, and what an operator sets.

use std::time::Duration;

/// Largest packet a client may send before it has authenticated.
pub const PACKET_BYTES_MAX_BEFORE_AUTH: usize = 64 << 10;
/// Default of `max_allowed_packet`: the largest command, and the largest row.
pub const MAX_ALLOWED_PACKET_DEFAULT: usize = 64 << 20;
/// Largest `max_allowed_packet` that can be set.
pub const MAX_ALLOWED_PACKET_MAX: usize = 1 << 30;
/// Bytes of response collected before they are written while a command still runs.
pub const WRITE_BUFFER_FLUSH_BYTES: usize = 64 << 10;
/// Capacity of each buffer of an idle connection.
pub const BUFFER_BYTES_IDLE: usize = 4 << 10;
/// A buffer above this is given back when its connection has been idle for [`SHRINK_AFTER`].
pub const BUFFER_BYTES_KEEP_MAX: usize = 16 << 10;
/// How long a connection is idle before it gives its large buffers back.
pub const SHRINK_AFTER: Duration = Duration::from_secs(1);
/// Bytes read ahead of a running command (pipelined commands); beyond it the client has to wait.
pub const READ_AHEAD_BYTES_MAX: usize = 64 << 10;
/// Most bytes asked of the socket at once, so that a header's claim alone reserves no memory.
pub const READ_STEP_BYTES_MAX: usize = 256 << 10;
/// How long a statement whose client is gone may take to notice before it is dropped.
pub const CANCEL_GRACE: Duration = Duration::from_secs(2);
/// How long the end of a session (rollback) may take.
pub const SESSION_CLOSE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the rest of a refused packet is read so that the client gets to read the error.
pub const LINGER: Duration = Duration::from_millis(500);
/// How long a connection is silent before the kernel asks its client for a sign of life.
pub const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);
/// How long the kernel waits before it asks again.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// Questions without answer after which the client counts as gone: a machine that lost its power holds locks for
/// `KEEPALIVE_AFTER + KEEPALIVE_RETRIES * KEEPALIVE_INTERVAL`, not for `wait_timeout`.
pub const KEEPALIVE_RETRIES: u32 = 6;
/// Bytes of a refused packet that are read at most.
pub const LINGER_BYTES_MAX: usize = 128 << 20;
/// Prepared statements of one connection; the session keeps to the server's `max_prepared_stmt_count`, which is lower.
pub const PREPARED_STATEMENTS_MAX: usize = 1_048_576;
/// Parameters of one statement; the protocol counts them in 16 bits.
pub const PARAMETERS_MAX: usize = 65_535;
/// Connection attributes kept, in bytes; the rest is dropped.
pub const ATTRIBUTES_BYTES_MAX: usize = 16 << 10;
/// Bytes of a statement's text that the process list keeps.
pub const PROCESS_TEXT_BYTES_MAX: usize = 4 << 10;
/// Bytes of an error's message that are sent.
pub const ERROR_MESSAGE_BYTES_MAX: usize = 4 << 10;
/// Packets of a LOCAL INFILE held for the session.
pub const LOCAL_INFILE_QUEUE: usize = 4;
/// Authentication digests learned by a full exchange that are kept.
pub const LEARNED_DIGESTS_MAX: usize = 1024;

/// What an operator sets.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// What the handshake and `VERSION()` tell. Clients parse its start as a number.
    pub server_version: String,
    /// Connections at once, those still in their handshake included; one more gets error 1040.
    pub max_connections: usize,
    /// From accept to the end of authentication.
    pub connect_timeout: Duration,
    /// How long a client may leave a response unread before it is dropped.
    pub net_write_timeout: Duration,
    /// First value of every session's `wait_timeout`.
    pub wait_timeout: Duration,
    /// First value of `wait_timeout` for interactive clients.
    pub interactive_timeout: Duration,
    /// First value of every session's `max_allowed_packet`.
    pub max_allowed_packet: usize,
    /// How long a shutdown lets running statements finish.
    pub shutdown_grace: Duration,
    /// Refuse to authenticate outside TLS.
    pub require_secure_transport: bool,
    /// Offer LOAD DATA LOCAL INFILE.
    pub local_infile: bool,
}

impl Default for ServerConfig {
    fn default() -> ServerConfig {
        ServerConfig {
            server_version: crate::version::SERVER_VERSION.to_owned(),
            max_connections: 10_000,
            connect_timeout: Duration::from_secs(10),
            net_write_timeout: Duration::from_secs(60),
            wait_timeout: Duration::from_secs(28_800),
            interactive_timeout: Duration::from_secs(28_800),
            max_allowed_packet: MAX_ALLOWED_PACKET_DEFAULT,
            shutdown_grace: Duration::from_secs(10),
            require_secure_transport: false,
            local_infile: false,
        }
    }
}
