//! Framing: payloads from and to the bytes of a connection.
//!
//! ```text
//!  0        3     4                              4 + length
//! ┌────────┬─────┬──────────────────────────────┐
//! │ length │ seq │ payload, at most 2^24-1 bytes│   a payload of 2^24-1 bytes says that the next packet continues it,
//! │ u24 le │ u8  │                              │   so one that is a multiple of that ends in an empty packet
//! └────────┴─────┴──────────────────────────────┘
//! ```
//!
//! The sequence number starts at 0 with each command and counts the packets of both directions, wrapping at 256.
//!
//! [`PacketReader`] keeps one buffer and hands payloads out as shares of it: no copy, and no allocation once the buffer
//! has its size. [`PacketWriter`] keeps one buffer for the whole response; a packet's header is filled in when it ends,
//! so that its parts are written once, in place.
//!
//! Invariants: memory is reserved for bytes that arrived, never for a length that was claimed; a packet over the limit is
//! refused at its header; a buffer at rest is small.

use super::config::{
    BUFFER_BYTES_IDLE, BUFFER_BYTES_KEEP_MAX, READ_AHEAD_BYTES_MAX, READ_STEP_BYTES_MAX, WRITE_BUFFER_FLUSH_BYTES,
};
use basalt_common::memory::Account;
use bytes::{Buf, BytesMut};
use std::io;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const HEADER_BYTES: usize = 4;
/// Largest payload of one packet.
pub const PAYLOAD_BYTES_MAX: usize = 0xff_ffff;
const READ_BYTES_MIN: usize = 1 << 10;

/// The reading half of a connection, plain or TLS.
pub type Reading = Box<dyn AsyncRead + Send + Unpin>;
/// The writing half of a connection, plain or TLS.
pub type Writing = Box<dyn AsyncWrite + Send + Unpin>;

/// Why no packet came.
#[derive(Debug, thiserror::Error)]
pub enum PacketError {
    /// The peer closed; between packets this is the ordinary end.
    #[error("the client closed the connection")]
    Closed,
    /// The packet is longer than allowed. Its rest is still on the wire.
    #[error("a packet of more than {limit} bytes")]
    TooLarge {
        /// The limit in force.
        limit: usize,
    },
    /// A sequence number that does not follow. What comes next cannot be understood.
    #[error("packet {got} arrived where {expected} was due")]
    OutOfOrder {
        /// The number that was due.
        expected: u8,
        /// The number that came.
        got: u8,
    },
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// How much is asked of the socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReadAhead {
    /// Only the bytes of the packet that is being read: what follows may be another protocol (TLS).
    Never,
    /// What is there.
    Freely,
}

/// Reads packets from one connection.
pub struct PacketReader {
    stream: Reading,
    buffer: BytesMut,
    /// Payload of earlier packets that the next one continues.
    partial: Option<BytesMut>,
    read_ahead: ReadAhead,
    /// Sequence number that the next packet must have.
    pub next_sequence: u8,
    /// Largest payload, in bytes.
    pub limit: usize,
    account: Option<Account>,
}

impl PacketReader {
    /// Reads from `stream`, packet by packet until [`read_ahead`](Self::read_ahead).
    pub fn new(stream: Reading, limit: usize) -> PacketReader {
        PacketReader {
            stream,
            buffer: BytesMut::with_capacity(BUFFER_BYTES_IDLE),
            partial: None,
            read_ahead: ReadAhead::Never,
            next_sequence: 0,
            limit,
            account: None,
        }
    }

    /// Counts what the buffers hold.
    pub fn counted(self, account: Account) -> PacketReader {
        PacketReader { account: Some(account), ..self }
    }

    fn count(&mut self) {
        let held = self.buffer.capacity() + self.partial.as_ref().map_or(0, BytesMut::capacity);
        if let Some(account) = &mut self.account {
            account.set(held);
        }
    }

    /// From now on everything on the wire is packets.
    pub fn read_ahead(&mut self) {
        self.read_ahead = ReadAhead::Freely;
    }

    /// Gives the stream back, to be upgraded.
    ///
    /// # Errors
    /// When bytes past the last packet were read: they would be lost to the upgraded stream.
    pub fn into_stream(self) -> Result<Reading, PacketError> {
        if self.buffer.is_empty() && self.partial.is_none() {
            Ok(self.stream)
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidData, "bytes before the TLS handshake").into())
        }
    }

    /// Reads one payload, joined from as many packets as it takes. Dropping the future loses nothing: what was read
    /// stays in the buffer.
    pub async fn read_packet(&mut self) -> Result<BytesMut, PacketError> {
        loop {
            let missing = match self.take_packet()? {
                Step::Packet(payload) => return Ok(payload),
                Step::Missing(missing) => missing,
            };
            let count = self.fill(missing).await?;
            self.count();
            if count == 0 {
                return Err(PacketError::Closed);
            }
        }
    }

    /// Reads ahead while a command runs, and resolves when the peer is gone. Pipelined commands are kept up to a bound.
    pub async fn peer_gone(&mut self) {
        loop {
            if self.buffer.len() >= READ_AHEAD_BYTES_MAX || self.read_ahead == ReadAhead::Never {
                return std::future::pending().await;
            }
            if !matches!(self.fill(READ_BYTES_MIN).await, Ok(1..)) {
                return;
            }
        }
    }

    /// Gives memory back when the last command left the buffer large.
    pub fn shrink(&mut self) {
        if self.is_large() && self.buffer.is_empty() && self.partial.is_none() {
            self.buffer = BytesMut::with_capacity(BUFFER_BYTES_IDLE);
            self.count();
        }
    }

    /// True when [`shrink`](Self::shrink) would help.
    pub fn is_large(&self) -> bool {
        self.buffer.capacity() > BUFFER_BYTES_KEEP_MAX
    }

    /// Reads and drops what the peer still sends, up to `bytes_max`.
    pub async fn discard(&mut self, bytes_max: usize) {
        self.partial = None;
        let mut discarded = self.buffer.len();
        while discarded < bytes_max {
            self.buffer.clear();
            match self.fill(READ_BYTES_MIN).await {
                Ok(count @ 1..) => discarded += count,
                _ => return,
            }
        }
    }

    /// Takes a payload off the buffer, or tells how many bytes are missing at least.
    fn take_packet(&mut self) -> Result<Step, PacketError> {
        loop {
            let Some(&[a, b, c, sequence]) = self.buffer.first_chunk::<HEADER_BYTES>() else {
                return Ok(Step::Missing(HEADER_BYTES - self.buffer.len()));
            };
            if sequence != self.next_sequence {
                return Err(PacketError::OutOfOrder { expected: self.next_sequence, got: sequence });
            }
            let length = u32::from_le_bytes([a, b, c, 0]) as usize;
            let before = self.partial.as_ref().map_or(0, BytesMut::len);
            if before + length > self.limit {
                return Err(PacketError::TooLarge { limit: self.limit });
            }
            if self.buffer.len() < HEADER_BYTES + length {
                return Ok(Step::Missing(HEADER_BYTES + length - self.buffer.len()));
            }
            self.buffer.advance(HEADER_BYTES);
            let payload = self.buffer.split_to(length);
            self.next_sequence = self.next_sequence.wrapping_add(1);
            let whole = match self.partial.take() {
                None => payload,
                Some(mut joined) => {
                    joined.extend_from_slice(&payload);
                    joined
                }
            };
            if length < PAYLOAD_BYTES_MAX {
                return Ok(Step::Packet(whole));
            }
            self.partial = Some(whole);
        }
    }

    /// Reads once from the socket. Zero bytes mean its end.
    async fn fill(&mut self, missing: usize) -> io::Result<usize> {
        match self.read_ahead {
            ReadAhead::Never => {
                self.buffer.reserve(missing.min(READ_STEP_BYTES_MAX));
                (&mut self.stream).take(missing as u64).read_buf(&mut self.buffer).await
            }
            ReadAhead::Freely => {
                let wanted = missing.clamp(READ_BYTES_MIN, READ_STEP_BYTES_MAX);
                if self.buffer.capacity() - self.buffer.len() < wanted {
                    self.buffer.reserve(wanted);
                }
                self.stream.read_buf(&mut self.buffer).await
            }
        }
    }
}

enum Step {
    Packet(BytesMut),
    Missing(usize),
}

/// Collects the packets of a response and writes them.
pub struct PacketWriter {
    stream: Writing,
    buffer: Vec<u8>,
    /// Where the header of the packet being built stands.
    open: Option<usize>,
    timeout: Duration,
    account: Option<Account>,
    /// Sequence number of the next packet.
    pub next_sequence: u8,
}

impl PacketWriter {
    /// Writes to `stream`; a peer that does not read for `timeout` counts as gone.
    pub fn new(stream: Writing, timeout: Duration) -> PacketWriter {
        let buffer = Vec::with_capacity(BUFFER_BYTES_IDLE);
        PacketWriter { stream, buffer, open: None, timeout, account: None, next_sequence: 0 }
    }

    /// Counts what waits to be written.
    pub fn counted(self, account: Account) -> PacketWriter {
        PacketWriter { account: Some(account), ..self }
    }

    fn count(&mut self) {
        if let Some(account) = &mut self.account {
            account.set(self.buffer.capacity());
        }
    }

    /// Gives the stream back, to be upgraded. What was not flushed is lost.
    pub fn into_stream(self) -> Writing {
        self.stream
    }

    /// Starts a packet; its payload is appended to the returned buffer. A packet that was started and not ended goes.
    pub fn begin(&mut self) -> &mut Vec<u8> {
        self.abandon();
        self.open = Some(self.buffer.len());
        self.buffer.extend_from_slice(&[0; HEADER_BYTES]);
        &mut self.buffer
    }

    /// The buffer, to go on with the packet that [`begin`](Self::begin) started.
    #[inline]
    pub fn payload(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Bytes of the packet being built.
    pub fn payload_len(&self) -> usize {
        self.open.map_or(0, |at| self.buffer.len().saturating_sub(at + HEADER_BYTES))
    }

    /// Ends the packet: its header gets its length and number, and it is split when it is too long for one.
    pub fn end(&mut self) {
        let Some(at) = self.open.take() else { return };
        let length = self.buffer.len().saturating_sub(at + HEADER_BYTES);
        if length >= PAYLOAD_BYTES_MAX {
            return self.split(at);
        }
        let header = self.header(length);
        if let Some(place) = self.buffer.get_mut(at..at + HEADER_BYTES) {
            place.copy_from_slice(&header);
        }
    }

    /// Appends packets that are complete but for their sequence numbers, which stand at `sequence_at`.
    pub fn append_ready(&mut self, packets: &[u8], sequence_at: &[u32]) {
        self.abandon();
        let base = self.buffer.len();
        self.buffer.extend_from_slice(packets);
        for &at in sequence_at {
            if let Some(byte) = self.buffer.get_mut(base + at as usize) {
                *byte = self.next_sequence;
            }
            self.next_sequence = self.next_sequence.wrapping_add(1);
        }
    }

    /// Drops the packet being built, if any.
    pub fn abandon(&mut self) {
        if let Some(at) = self.open.take() {
            self.buffer.truncate(at);
        }
    }

    /// True when what is collected should be written before more is added.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.buffer.len() >= WRITE_BUFFER_FLUSH_BYTES
    }

    /// Writes everything collected. A packet being built is dropped.
    pub async fn flush(&mut self) -> io::Result<()> {
        self.abandon();
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.count();
        let result = {
            let mut writing = pin!(write_all(&mut self.stream, &self.buffer));
            // Nearly always the socket takes all at once; a timer is only made when it does not.
            match futures::poll!(&mut writing) {
                Poll::Ready(result) => result,
                Poll::Pending => match tokio::time::timeout(self.timeout, writing).await {
                    Ok(result) => result,
                    Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")),
                },
            }
        };
        self.buffer.clear();
        result
    }

    /// Tells the peer that nothing follows.
    pub async fn close(&mut self) {
        // The peer may be gone already; there is nobody to tell.
        let _ = tokio::time::timeout(self.timeout, self.stream.shutdown()).await;
    }

    /// Gives memory back when the last response left the buffer large.
    pub fn shrink(&mut self) {
        if self.is_large() && self.buffer.is_empty() {
            self.buffer = Vec::with_capacity(BUFFER_BYTES_IDLE);
            self.count();
        }
    }

    /// True when [`shrink`](Self::shrink) would help.
    pub fn is_large(&self) -> bool {
        self.buffer.capacity() > BUFFER_BYTES_KEEP_MAX
    }

    fn header(&mut self, length: usize) -> [u8; HEADER_BYTES] {
        let [a, b, c, _] = (length as u32).to_le_bytes();
        let sequence = self.next_sequence;
        self.next_sequence = sequence.wrapping_add(1);
        [a, b, c, sequence]
    }

    /// Cuts a long payload into packets. Rare, so it copies.
    fn split(&mut self, at: usize) {
        let payload = self.buffer.split_off(at);
        let mut rest = payload.get(HEADER_BYTES..).unwrap_or_default();
        loop {
            let (part, after) = rest.split_at(rest.len().min(PAYLOAD_BYTES_MAX));
            let header = self.header(part.len());
            self.buffer.extend_from_slice(&header);
            self.buffer.extend_from_slice(part);
            if part.len() < PAYLOAD_BYTES_MAX {
                return;
            }
            rest = after;
        }
    }
}

async fn write_all(stream: &mut Writing, bytes: &[u8]) -> io::Result<()> {
    let mut stream = Pin::new(stream);
    stream.write_all(bytes).await?;
    stream.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reader(bytes: &[u8], limit: usize) -> PacketReader {
        let mut reader = PacketReader::new(Box::new(io::Cursor::new(bytes.to_vec())), limit);
        reader.read_ahead();
        reader
    }

    fn writer() -> PacketWriter {
        PacketWriter::new(Box::new(tokio::io::sink()), Duration::from_secs(1))
    }

    fn packet(sequence: u8, payload: &[u8]) -> Vec<u8> {
        let mut writer = writer();
        writer.next_sequence = sequence;
        writer.begin().extend_from_slice(payload);
        writer.end();
        writer.buffer
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    #[test]
    fn pipelined_packets_come_one_by_one() {
        let bytes = [packet(0, b"one"), packet(1, b""), packet(2, b"three")].concat();
        let mut reader = reader(&bytes, 100);
        for expected in [&b"one"[..], b"", b"three"] {
            assert_eq!(&block_on(reader.read_packet()).unwrap()[..], expected);
        }
        assert!(matches!(block_on(reader.read_packet()), Err(PacketError::Closed)));
    }

    #[test]
    fn long_payloads_are_split_and_joined() {
        for length in [PAYLOAD_BYTES_MAX - 1, PAYLOAD_BYTES_MAX, PAYLOAD_BYTES_MAX + 1, 2 * PAYLOAD_BYTES_MAX] {
            let payload: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
            let bytes = packet(0, &payload);
            let packets = 1 + length / PAYLOAD_BYTES_MAX;
            assert_eq!(bytes.len(), length + packets * HEADER_BYTES);
            let mut reader = reader(&bytes, 1 << 30);
            assert!(block_on(reader.read_packet()).unwrap()[..] == payload[..], "{length}");
            assert_eq!(reader.next_sequence as usize, packets);
        }
    }

    #[test]
    fn a_packet_over_the_limit_is_refused_at_its_header() {
        let mut reader = reader(&[0xff, 0xff, 0xfe, 0], 1000);
        assert!(matches!(block_on(reader.read_packet()), Err(PacketError::TooLarge { limit: 1000 })));
        assert!(!reader.is_large());
    }

    #[test]
    fn the_limit_counts_joined_packets() {
        let bytes = packet(0, &vec![1; PAYLOAD_BYTES_MAX + 5]);
        let mut reader = reader(&bytes, PAYLOAD_BYTES_MAX + 4);
        assert!(matches!(block_on(reader.read_packet()), Err(PacketError::TooLarge { .. })));
    }

    #[test]
    fn sequence_numbers_must_follow() {
        let mut reader = reader(&packet(3, b"x"), 1000);
        assert!(matches!(block_on(reader.read_packet()), Err(PacketError::OutOfOrder { expected: 0, got: 3 })));
    }

    #[test]
    fn without_read_ahead_nothing_past_the_packet_is_touched() {
        let bytes = [packet(0, b"ssl"), b"hello tls".to_vec()].concat();
        let mut reader = PacketReader::new(Box::new(io::Cursor::new(bytes)), 100);
        assert_eq!(&block_on(reader.read_packet()).unwrap()[..], b"ssl");
        let mut rest = Vec::new();
        block_on(reader.into_stream().ok().unwrap().read_to_end(&mut rest)).unwrap();
        assert_eq!(rest, b"hello tls");
    }

    #[test]
    fn an_abandoned_packet_leaves_no_trace() {
        let mut writer = writer();
        writer.begin().extend_from_slice(b"kept");
        writer.end();
        writer.begin().extend_from_slice(b"gone");
        writer.begin().extend_from_slice(b"also");
        writer.end();
        assert_eq!(writer.buffer, [packet(0, b"kept"), packet(1, b"also")].concat());
    }

    #[test]
    fn the_buffer_is_reused_without_growing() {
        let one = packet(0, &[7; 50]);
        let mut reader = reader(&one.repeat(10_000), 1000);
        block_on(async {
            for _ in 0..10_000 {
                reader.next_sequence = 0;
                assert_eq!(reader.read_packet().await.unwrap().len(), 50);
            }
        });
        assert!(reader.buffer.capacity() <= BUFFER_BYTES_KEEP_MAX);
    }

    proptest! {
        #[test]
        fn any_bytes_end_in_a_packet_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut reader = reader(&bytes, 40);
            while let Ok(packet) = block_on(reader.read_packet()) {
                prop_assert!(packet.len() <= 40);
            }
        }
    }
}
