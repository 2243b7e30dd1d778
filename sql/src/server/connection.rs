//! One connection from its handshake to its end: the loop that reads a command, runs it and writes the answer.
//!
//! Who does what while a statement runs: the session's future writes, through the connection's [`ResultWriter`]; beside
//! it the same task reads ahead, to notice a client that went away and to pass on the files of LOAD DATA LOCAL. Both are
//! polled by one task, so nothing is locked. The statement is polled first: one that finishes without waiting costs no
//! look at the socket.
//!
//! A statement whose client is gone, or whose connection is killed, is told by its [`KillSwitch`] and dropped when it has
//! not ended after [`CANCEL_GRACE`].

use super::config::{
    CANCEL_GRACE, LINGER, LINGER_BYTES_MAX, PACKET_BYTES_MAX_BEFORE_AUTH, SESSION_CLOSE_TIMEOUT, SHRINK_AFTER,
};
use super::constant::Capabilities;
use super::error::{MySqlError, code};
use super::handshake::{Challenge, Exchange, Greeting, Login, LoginError, Response, new_nonce};
use super::infile::InfileTransfer;
use super::kill::KillSwitch;
use super::listener::Shared;
use super::packet::{PacketError, PacketReader, PacketWriter};
use super::prepared::{Param, Statements};
use super::registry::ConnectionEntry;
use super::result::{OkSummary, Protocol, ResultWriter};
use super::session_api::{ConnectionVariables, Peer, Session, SessionContext};
use basalt_common::metrics;
use bytes::BytesMut;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep};
use tracing::{debug, warn};

/// A connection after its handshake.
pub(super) struct Connection {
    pub shared: Arc<Shared>,
    pub entry: Arc<ConnectionEntry>,
    pub peer: Peer,
    pub capabilities: Capabilities,
    pub variables: Arc<ConnectionVariables>,
    pub reader: PacketReader,
    pub out: ResultWriter,
    pub transfers: mpsc::Receiver<InfileTransfer>,
    pub session: Box<dyn Session>,
    pub statements: Statements,
    /// Memory for parameters, kept between executions.
    pub params: Vec<Param<'static>>,
    timer: Pin<Box<Sleep>>,
    idle_since: Instant,
}

/// Whether the connection goes on after a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Flow {
    Continue,
    Close,
}

/// The client is gone, or its connection was killed: there is nobody to answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Gone;

/// Why no command came.
enum NoCommand {
    Packet(PacketError),
    TimedOut,
    Stopped,
}

/// Serves one accepted socket to its end.
pub(super) async fn serve(stream: TcpStream, address: SocketAddr, shared: Arc<Shared>, entry: Arc<ConnectionEntry>) {
    let connect_timeout = shared.config.connect_timeout;
    let kill = Arc::clone(entry.kill());
    let handshake = Handshake::new(stream, address, Arc::clone(&shared), entry);
    let opened = tokio::select! {
        opened = tokio::time::timeout(connect_timeout, handshake.run()) => opened,
        () = kill.closed_while_idle() => return,
    };
    let Ok(Some(mut connection)) = opened else {
        shared.connections.count_aborted();
        return;
    };
    connection.run().await;
    connection.end().await;
}

/// A connection that nobody has authenticated on.
struct Handshake {
    shared: Arc<Shared>,
    entry: Arc<ConnectionEntry>,
    peer: Peer,
    reader: PacketReader,
    out: ResultWriter,
    transfers: mpsc::Receiver<InfileTransfer>,
    transfer_sender: mpsc::Sender<InfileTransfer>,
}

impl Handshake {
    fn new(stream: TcpStream, address: SocketAddr, shared: Arc<Shared>, entry: Arc<ConnectionEntry>) -> Handshake {
        let (reading, writing) = stream.into_split();
        let reader = PacketReader::new(Box::new(reading), PACKET_BYTES_MAX_BEFORE_AUTH);
        let reader = reader.counted(entry.memory().account());
        let packets = PacketWriter::new(Box::new(writing), shared.config.net_write_timeout);
        let packets = packets.counted(entry.memory().account());
        let (transfer_sender, transfers) = mpsc::channel(1);
        let out = ResultWriter::new(packets, transfer_sender.clone());
        Handshake { shared, entry, peer: Peer { address, tls: None }, reader, out, transfers, transfer_sender }
    }

    /// The connection ready for commands; none when it ended, with the client told as far as that was possible.
    async fn run(mut self) -> Option<Connection> {
        match self.log_in().await {
            Ok(Authenticated { mut session, capabilities, variables }) => {
                let status = session.status();
                self.out.conclude_with_ok(&OkSummary { status, ..OkSummary::default() });
                if self.out.flush().await.is_err() {
                    session.close().await;
                    return None;
                }
                self.reader.read_ahead();
                let timer = Box::pin(tokio::time::sleep(variables.wait_timeout()));
                Some(Connection {
                    shared: self.shared,
                    entry: self.entry,
                    peer: self.peer,
                    capabilities,
                    variables,
                    reader: self.reader,
                    out: self.out,
                    transfers: self.transfers,
                    session,
                    statements: Statements::default(),
                    params: Vec::new(),
                    timer,
                    idle_since: Instant::now(),
                })
            }
            Err(error) => {
                debug!(connection = self.entry.id(), %error, "login failed");
                refuse(&mut self.reader, &mut self.out, error).await;
                None
            }
        }
    }

    async fn log_in(&mut self) -> Result<Authenticated, LoginError> {
        let nonce = new_nonce()?;
        let offered = self.offered();
        let id = self.entry.id();
        let server_version = &self.shared.config.server_version;
        let packets = self.out.packets();
        Greeting { server_version, connection_id: id, nonce: &nonce, capabilities: offered }.encode(packets.begin());
        packets.end();
        packets.flush().await.map_err(PacketError::Io)?;
        let mut response = self.read_response(offered).await?;
        if response == Response::Tls {
            self.upgrade().await?;
            response = self.read_response(offered).await?;
        }
        let Response::Login(login) = response else {
            return Err(MySqlError::new(code::ER_HANDSHAKE_ERROR, "Bad handshake").into());
        };
        let mut capabilities = login.capabilities;
        if self.peer.tls.is_none() {
            capabilities = capabilities.without(Capabilities::SSL);
        }
        self.out.set_capabilities(capabilities);
        let link = Link {
            shared: &self.shared,
            entry: &self.entry,
            peer: self.peer,
            reader: &mut self.reader,
            out: &mut self.out,
        };
        link.open_session(login, capabilities, Challenge::Answered(&nonce)).await
    }

    fn offered(&self) -> Capabilities {
        let mut offered = Capabilities::OFFERED;
        if self.shared.tls.is_some() {
            offered = offered.with(Capabilities::SSL);
        }
        if self.shared.config.local_infile {
            offered = offered.with(Capabilities::LOCAL_FILES);
        }
        offered
    }

    async fn read_response(&mut self, offered: Capabilities) -> Result<Response, LoginError> {
        self.reader.next_sequence = self.out.packets().next_sequence;
        let packet = self.reader.read_packet().await?;
        self.out.packets().next_sequence = self.reader.next_sequence;
        Ok(Response::parse(&packet, offered)?)
    }

    async fn upgrade(&mut self) -> Result<(), LoginError> {
        let Some(tls) = self.shared.tls.clone() else {
            return Err(MySqlError::new(code::ER_HANDSHAKE_ERROR, "Bad handshake").into());
        };
        let closed = || PacketReader::new(Box::new(tokio::io::empty()), PACKET_BYTES_MAX_BEFORE_AUTH);
        let timeout = self.shared.config.net_write_timeout;
        let unwritable = PacketWriter::new(Box::new(tokio::io::sink()), timeout);
        let reading = std::mem::replace(&mut self.reader, closed()).into_stream()?;
        let sequence = self.out.packets().next_sequence;
        let unusable = ResultWriter::new(unwritable, self.transfer_sender.clone());
        let writing = std::mem::replace(&mut self.out, unusable).into_packets().into_stream();
        let (reading, writing, agreed) = tls.accept(reading, writing).await.map_err(PacketError::Io)?;
        let reader = PacketReader::new(reading, PACKET_BYTES_MAX_BEFORE_AUTH);
        self.reader = reader.counted(self.entry.memory().account());
        let mut packets = PacketWriter::new(writing, timeout).counted(self.entry.memory().account());
        packets.next_sequence = sequence;
        self.out = ResultWriter::new(packets, self.transfer_sender.clone());
        self.peer.tls = Some(agreed);
        Ok(())
    }
}

/// What an authenticated client gets.
pub(super) struct Authenticated {
    pub session: Box<dyn Session>,
    pub capabilities: Capabilities,
    pub variables: Arc<ConnectionVariables>,
}

/// The parts of a connection that an authentication uses, in the handshake and for COM_CHANGE_USER.
pub(super) struct Link<'a> {
    pub shared: &'a Arc<Shared>,
    pub entry: &'a Arc<ConnectionEntry>,
    pub peer: Peer,
    pub reader: &'a mut PacketReader,
    pub out: &'a mut ResultWriter,
}

impl Link<'_> {
    /// Checks who the client is and starts its session. The final OK is the caller's.
    pub async fn open_session(
        self,
        login: Login,
        capabilities: Capabilities,
        challenge: Challenge<'_>,
    ) -> Result<Authenticated, LoginError> {
        let (user, peer) = (login.user.clone(), self.peer);
        let connection = self.entry.id();
        let opened = self.try_open_session(login, capabilities, challenge).await;
        if let Err(LoginError::Refused(error)) = &opened {
            let (code, tls) = (error.code.code, peer.tls.is_some());
            warn!(connection, user = %format!("'{user}'@'{}'", peer.host()), address = %peer.address, tls, code, %error, "login refused");
            metrics::SQL_LOGINS_REFUSED.with_label_values(&[&code.to_string()]).inc();
        }
        opened
    }

    async fn try_open_session(
        self,
        login: Login,
        capabilities: Capabilities,
        challenge: Challenge<'_>,
    ) -> Result<Authenticated, LoginError> {
        let shared = self.shared;
        let mut exchange = Exchange {
            reader: self.reader,
            out: self.out,
            authenticator: &*shared.authenticator,
            learned: &shared.learned,
            peer: self.peer,
            require_tls: shared.config.require_secure_transport,
        };
        let account = exchange.run(&login, challenge).await?;
        let interactive = capabilities.has(Capabilities::INTERACTIVE);
        let config = &shared.config;
        let wait_timeout = if interactive { config.interactive_timeout } else { config.wait_timeout };
        let variables = Arc::new(ConnectionVariables::new(wait_timeout, config.max_allowed_packet));
        self.entry.set_user(&login.user, login.schema.as_deref());
        let context = SessionContext {
            connection_id: self.entry.id(),
            user: login.user,
            account: Arc::new(account),
            peer: self.peer,
            schema: login.schema,
            capabilities,
            collation: login.collation,
            attributes: Arc::new(login.attributes),
            kill: Arc::clone(self.entry.kill()),
            memory: Arc::clone(self.entry.memory()),
            connections: Arc::clone(&shared.connections),
            variables: Arc::clone(&variables),
        };
        let session = shared.handler.open_session(context).await?;
        Ok(Authenticated { session, capabilities, variables })
    }
}

/// Tells a client why it is not served, as far as it can be told.
pub(super) async fn refuse(reader: &mut PacketReader, out: &mut ResultWriter, error: LoginError) {
    let error = match error {
        LoginError::Refused(error) => error,
        LoginError::Packet(error) => match packet_error(&error) {
            Some(error) => error,
            None => return,
        },
    };
    out.error(&error);
    if out.flush().await.is_ok() {
        linger(reader, out).await;
    }
}

/// What a client is told of a packet that could not be read; none when it is gone.
fn packet_error(error: &PacketError) -> Option<MySqlError> {
    match error {
        PacketError::Closed | PacketError::Io(_) => None,
        PacketError::TooLarge { .. } => {
            let text = "Got a packet bigger than 'max_allowed_packet' bytes";
            Some(MySqlError::new(code::ER_NET_PACKET_TOO_LARGE, text))
        }
        PacketError::OutOfOrder { .. } => {
            Some(MySqlError::new(code::ER_NET_PACKETS_OUT_OF_ORDER, "Got packets out of order"))
        }
    }
}

/// Reads what the client still sends for a moment: closing on unread bytes would reset the connection, and the reset
/// would overtake the error it should read.
async fn linger(reader: &mut PacketReader, out: &mut ResultWriter) {
    out.packets().close().await;
    reader.read_ahead();
    let _ = tokio::time::timeout(LINGER, reader.discard(LINGER_BYTES_MAX)).await;
}

impl Connection {
    /// Serves commands until the client leaves or is sent away.
    async fn run(&mut self) {
        loop {
            let packet = match self.next_command().await {
                Ok(packet) => packet,
                Err(reason) => return self.leave(reason).await,
            };
            self.out.start(Protocol::Text, self.reader.next_sequence, self.variables.max_allowed_packet());
            let flow = self.dispatch(packet).await;
            if flow == Flow::Close || self.out.flush().await.is_err() {
                return;
            }
        }
    }

    /// Waits for the next command, and meanwhile for the reasons to stop waiting.
    async fn next_command(&mut self) -> Result<BytesMut, NoCommand> {
        self.idle_since = Instant::now();
        self.entry.end(self.shared.env.now());
        self.reader.next_sequence = 0;
        self.reader.limit = self.variables.max_allowed_packet();
        let kill = Arc::clone(self.entry.kill());
        if kill.is_connection_killed() || kill.is_draining() {
            return Err(NoCommand::Stopped);
        }
        loop {
            self.set_timer();
            tokio::select! {
                biased;
                packet = self.reader.read_packet() => return packet.map_err(NoCommand::Packet),
                () = kill.closed_while_idle() => return Err(NoCommand::Stopped),
                () = self.timer.as_mut() => {
                    let idle = self.idle_since.elapsed();
                    if idle >= self.variables.wait_timeout() {
                        return Err(NoCommand::TimedOut);
                    }
                    if idle >= SHRINK_AFTER {
                        self.reader.shrink();
                        self.out.packets().shrink();
                    }
                }
            }
        }
    }

    /// Sees that the timer rings no later than something is due. It is left alone when it rings earlier, so that a busy
    /// connection does not touch the timer wheel with every command.
    fn set_timer(&mut self) {
        let large = self.reader.is_large() || self.out.packets().is_large();
        let shrinkable = large && self.idle_since.elapsed() < SHRINK_AFTER;
        let due = if shrinkable { SHRINK_AFTER } else { self.variables.wait_timeout() };
        let deadline = self.idle_since + due;
        if self.timer.is_elapsed() || deadline < self.timer.deadline() {
            self.timer.as_mut().reset(deadline);
        }
    }

    /// Says good-bye in the way that fits.
    async fn leave(&mut self, reason: NoCommand) {
        let error = match reason {
            NoCommand::Packet(error) => packet_error(&error),
            NoCommand::TimedOut => {
                let text = "The client was disconnected by the server because of inactivity. See wait_timeout and \
                            interactive_timeout for configuring this behavior.";
                Some(MySqlError::new(code::ER_CLIENT_INTERACTION_TIMEOUT, text))
            }
            NoCommand::Stopped if self.entry.kill().is_draining() => {
                Some(MySqlError::new(code::ER_SERVER_SHUTDOWN, "Server shutdown in progress"))
            }
            NoCommand::Stopped => None,
        };
        if let Some(error) = error {
            self.out.start(Protocol::Text, self.reader.next_sequence, usize::MAX);
            self.out.error(&error);
            if self.out.flush().await.is_ok() {
                linger(&mut self.reader, &mut self.out).await;
            }
        }
    }

    /// Ends the session.
    async fn end(mut self) {
        if tokio::time::timeout(SESSION_CLOSE_TIMEOUT, self.session.close()).await.is_err() {
            debug!(connection = self.entry.id(), "the session did not close in time");
        }
    }
}

/// Runs a statement while watching its client.
///
/// # Errors
/// When there is nobody left to answer; the statement has ended or was dropped.
pub(super) async fn guarded<T>(
    work: impl Future<Output = T>,
    reader: &mut PacketReader,
    transfers: &mut mpsc::Receiver<InfileTransfer>,
    kill: &KillSwitch,
) -> Result<T, Gone> {
    let mut work = pin!(work);
    let mut transfer = None;
    tokio::select! {
        biased;
        // Before the answer that the work gives then: as in MySQL, the client of a killed connection loses it. Who kills the own
        // one has the answer with the poll that does it.
        () = kill.connection_killed() => {}
        result = &mut work => {
            drain(transfer, reader, transfers).await?;
            return Ok(result);
        }
        () = watch(&mut transfer, reader, transfers) => kill.kill_connection(),
    }
    // Whatever it answers now, nobody reads it.
    let _ = tokio::time::timeout(CANCEL_GRACE, work).await;
    Err(Gone)
}

/// Reads ahead and passes files on; resolves when the client is gone.
async fn watch(
    transfer: &mut Option<InfileTransfer>,
    reader: &mut PacketReader,
    transfers: &mut mpsc::Receiver<InfileTransfer>,
) {
    loop {
        let requested = tokio::select! {
            biased;
            requested = transfers.recv() => requested,
            () = reader.peer_gone() => return,
        };
        if let Some(requested) = requested
            && transfer.insert(requested).run(reader).await.is_err()
        {
            return;
        }
    }
}

/// Reads a file to its end that the statement did not want to the end, so that the next packet is a command.
async fn drain(
    running: Option<InfileTransfer>,
    reader: &mut PacketReader,
    transfers: &mut mpsc::Receiver<InfileTransfer>,
) -> Result<(), Gone> {
    for mut transfer in running.into_iter().chain(transfers.try_recv().ok()) {
        transfer.run(reader).await.map_err(|_| Gone)?;
    }
    Ok(())
}
