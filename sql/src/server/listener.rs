//! Accepting connections, bounding them, and stopping them all.
//!
//! [`Server::start`] owns one task that accepts and one per connection. [`RunningServer::shutdown`] stops in the reverse
//! order: nothing is accepted any more, idle connections are told and closed, statements get a grace to finish, then they
//! are killed; it returns when the last task has ended.

use super::auth::LearnedDigests;
use super::charset::ResultCharset;
use super::config::{KEEPALIVE_AFTER, KEEPALIVE_INTERVAL, KEEPALIVE_RETRIES, ServerConfig};
use super::connection;
use super::error::{MySqlError, code};
use super::registry::{ConnectionEntry, Connections};
use super::session_api::{Authenticator, Handler};
use super::tls::Tls;
use basalt_common::env::Env;
use socket2::{SockRef, TcpKeepalive};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

/// How long accepting pauses after an error such as "too many open files".
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What a server is made of.
pub struct Server {
    /// Limits and timeouts.
    pub config: ServerConfig,
    /// Makes sessions.
    pub handler: Arc<dyn Handler>,
    /// Knows the accounts.
    pub authenticator: Arc<dyn Authenticator>,
    /// The certificate; without one TLS is not offered.
    pub tls: Option<Tls>,
    /// Clock.
    pub env: Env,
    /// The connections; shared with whoever lists and kills them.
    pub connections: Arc<Connections>,
}

/// What all connections of a server share.
pub(super) struct Shared {
    pub config: ServerConfig,
    pub handler: Arc<dyn Handler>,
    pub authenticator: Arc<dyn Authenticator>,
    pub tls: Option<Tls>,
    pub env: Env,
    pub connections: Arc<Connections>,
    pub learned: LearnedDigests,
}

/// A server that accepts connections.
pub struct RunningServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Server {
    /// Binds `address` and starts to accept.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn start(self, address: SocketAddr) -> io::Result<RunningServer> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            config: self.config,
            handler: self.handler,
            authenticator: self.authenticator,
            tls: self.tls,
            env: self.env,
            connections: self.connections,
            learned: LearnedDigests::default(),
        });
        let server = RunningServer { address, shared, stop: CancellationToken::new(), tasks: TaskTracker::new() };
        server.tasks.spawn(accept(listener, Arc::clone(&server.shared), server.stop.clone(), server.tasks.clone()));
        info!(%address, "accepting MySQL clients");
        Ok(server)
    }
}

impl RunningServer {
    /// The address that was bound.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The open connections.
    pub fn connections(&self) -> &Arc<Connections> {
        &self.shared.connections
    }

    /// Stops and waits until all has stopped.
    pub async fn shutdown(self) {
        self.stop.cancel();
        self.tasks.close();
        // A connection that was accepted but not yet registered is caught by its own look at the token.
        self.for_all(|entry| entry.kill().drain());
        if tokio::time::timeout(self.shared.config.shutdown_grace, self.tasks.wait()).await.is_err() {
            self.for_all(|entry| entry.kill().kill_connection());
            self.tasks.wait().await;
        }
    }

    fn for_all(&self, act: impl Fn(&ConnectionEntry)) {
        for entry in self.shared.connections.all() {
            act(&entry);
        }
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, stop: CancellationToken, tasks: TaskTracker) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (now, max) = (shared.env.now(), shared.config.max_connections);
        let Some(entry) = shared.connections.register(address.to_string(), now, max) else {
            turn_away(stream);
            continue;
        };
        let registered = Registered { shared: Arc::clone(&shared), id: entry.id() };
        if stop.is_cancelled() {
            return;
        }
        let shared = Arc::clone(&shared);
        tasks.spawn(async move {
            let _registered = registered;
            set_options(&stream);
            connection::serve(stream, address, shared, entry).await;
        });
    }
}

/// Latency is the point of small packets, and a client whose machine died must not hold its locks for hours. A socket that
/// refuses an option still works.
fn set_options(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_AFTER)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_RETRIES);
    let _ = SockRef::from(stream).set_tcp_keepalive(&keepalive);
}

/// Takes a connection off the list when its task ends, also by a panic.
struct Registered {
    shared: Arc<Shared>,
    id: u64,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.shared.connections.unregister(self.id);
    }
}

/// Tells a client that there are too many. One write into the empty buffer of a new socket does not block; if it could,
/// the client would go without.
fn turn_away(stream: TcpStream) {
    let mut payload = Vec::new();
    MySqlError::new(code::ER_CON_COUNT_ERROR, "Too many connections").encode(
        &mut payload,
        None,
        ResultCharset::default(),
    );
    let mut packet = vec![payload.len() as u8, 0, 0, 0];
    packet.extend_from_slice(&payload);
    if let Ok(mut stream) = stream.into_std() {
        let _ = stream.write(&packet);
    }
}
