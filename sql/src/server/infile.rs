//! LOAD DATA LOCAL INFILE: the one place where a command reads from the client in its middle.
//!
//! ```text
//! session                 connection's task                 client
//!    │ request_local_infile    │                               │
//!    ├─ fb | file name ────────┼──────────────────────────────>│
//!    │ <── chunk ── [queue] ───┤<────── contents, packet by packet
//!    │ <── end ────────────────┤<────── empty packet           │
//!    ├─ OK or error ───────────┼──────────────────────────────>│
//! ```
//!
//! The session writes, so it cannot read: the connection's task, which watches the socket while the session works, passes
//! the packets on through a short queue. When the session fails early the rest is read and dropped, for the client reads
//! nothing before it has sent everything.

use super::packet::{PacketError, PacketReader};
use bytes::BytesMut;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use tokio::sync::mpsc;

/// The contents of a client's file, as they arrive.
#[derive(Debug)]
pub struct LocalInfile {
    pub(super) chunks: mpsc::Receiver<BytesMut>,
}

impl LocalInfile {
    /// The next piece; none at the end of the file. Pieces end anywhere, also inside a character.
    pub async fn chunk(&mut self) -> Option<BytesMut> {
        self.chunks.recv().await
    }
}

/// Asks the connection's task to pass a file on.
#[derive(Clone, Debug)]
pub(super) struct InfileTransfer {
    chunks: Option<mpsc::Sender<BytesMut>>,
    progress: Arc<InfileProgress>,
}

#[derive(Debug)]
pub(super) struct InfileProgress {
    /// Sequence number of the next packet in either direction.
    next_sequence: AtomicU8,
    complete: AtomicBool,
}

impl InfileProgress {
    /// The number for the answer, once the file is complete.
    pub(super) fn sequence_after(&self) -> Option<u8> {
        self.complete.load(Ordering::Acquire).then(|| self.next_sequence.load(Ordering::Acquire))
    }
}

impl InfileTransfer {
    pub(super) fn new(chunks: mpsc::Sender<BytesMut>, next_sequence: u8) -> (InfileTransfer, Arc<InfileProgress>) {
        let progress =
            Arc::new(InfileProgress { next_sequence: AtomicU8::new(next_sequence), complete: AtomicBool::new(false) });
        (InfileTransfer { chunks: Some(chunks), progress: Arc::clone(&progress) }, progress)
    }

    /// Reads packets to the end of the file and passes them on; drops them when nobody listens. May be dropped and run
    /// again.
    pub(super) async fn run(&mut self, reader: &mut PacketReader) -> Result<(), PacketError> {
        while !self.progress.complete.load(Ordering::Acquire) {
            reader.next_sequence = self.progress.next_sequence.load(Ordering::Acquire);
            let packet = reader.read_packet().await?;
            self.progress.next_sequence.store(reader.next_sequence, Ordering::Release);
            if packet.is_empty() {
                self.progress.complete.store(true, Ordering::Release);
                self.chunks = None;
            } else if let Some(chunks) = &self.chunks
                && chunks.send(packet).await.is_err()
            {
                self.chunks = None;
            }
        }
        Ok(())
    }
}
