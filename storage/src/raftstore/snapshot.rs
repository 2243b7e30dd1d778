//! Snapshots as files: exported by the leader's store, sent in chunks, ingested by the receiver's.
//!
//! ```text
//!  <dir>/send-7-1042-6/{default,lock,write}.sst, meta      region 7 at index 1042 of term 6
//!  <dir>/recv-7-1042-6/…                                   complete, checked, synced
//!  <dir>/recv-7-1042-6.3.tmp/…                             arriving, by the third stream since the start
//!
//!  stream:  head {raft message, meta {region, index, term, files: [(family, size, crc32)]}}  data  data  data …
//! ```
//! A received snapshot is whole or absent: files are written under a name of their stream's own, checked against size and
//! CRC-32, synced, and the folder renamed; only then does the raft message reach the store. They are read and checked once
//! more before anything of the region is touched. A snapshot stays until the region has been unmarked as applying, so that
//! a crash while ingesting starts again; one that raft does not take is removed at once.

use super::StoreError;
use super::apply::ExportJob;
use crate::engine::{Cf, DATA_CFS, Engine, EngineRange};
use basalt_common::{KeyRange, Region, RegionId};
use basalt_proto::raft::snapshot_chunk::Part;
use basalt_proto::raft::{Envelope, SnapshotChunk, SnapshotFile, SnapshotHead, SnapshotMeta};
use bytes::Bytes;
use prost::Message as _;
use protobuf::Message as _;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

const META: &str = "meta";
const TMP: &str = ".tmp";

/// The folder of a store's snapshots.
pub struct SnapshotFiles {
    dir: PathBuf,
    streams: AtomicU64,
}

impl SnapshotFiles {
    /// Opens the folder; what was being sent or received when the process ended is removed.
    ///
    /// # Errors
    /// [`StoreError::Io`] as the file system reports it.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        fs::create_dir_all(dir).map_err(|e| io(dir, &e))?;
        for entry in fs::read_dir(dir).map_err(|e| io(dir, &e))? {
            let path = entry.map_err(|e| io(dir, &e))?.path();
            let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
            if name.starts_with("send-") || name.ends_with(TMP) {
                fs::remove_dir_all(&path).map_err(|e| io(&path, &e))?;
            }
        }
        Ok(SnapshotFiles { dir: dir.to_owned(), streams: AtomicU64::new(0) })
    }

    /// Removes everything: at start, when what regions were in the middle of taking has been taken.
    ///
    /// # Errors
    /// [`StoreError::Io`] as the file system reports it.
    pub fn clear(&self) -> Result<(), StoreError> {
        for entry in fs::read_dir(&self.dir).map_err(|e| io(&self.dir, &e))? {
            remove(&entry.map_err(|e| io(&self.dir, &e))?.path());
        }
        Ok(())
    }

    fn folder(&self, prefix: &str, region: u64, index: u64, term: u64) -> PathBuf {
        self.dir.join(format!("{prefix}-{region}-{index}-{term}"))
    }

    fn folder_of(&self, prefix: &str, meta: &SnapshotMeta) -> PathBuf {
        self.folder(prefix, meta.region.as_ref().map_or(0, |r| r.id), meta.index, meta.term)
    }

    /// Writes a snapshot's families to files and completes its meta. The same index is written once.
    ///
    /// # Errors
    /// [`StoreError`] when the engine or the file system fails; nothing usable is left.
    pub fn export(&self, engine: &dyn Engine, job: ExportJob) -> Result<SnapshotMeta, StoreError> {
        let mut meta = job.meta;
        let dir = self.folder_of("send", &meta);
        if let Ok(done) = fs::read(dir.join(META)) {
            return SnapshotMeta::decode(&done[..]).map_err(|e| StoreError::Io(e.to_string()));
        }
        fs::create_dir_all(&dir).map_err(|e| io(&dir, &e))?;
        let region = meta.region.as_ref().map(Region::from).ok_or_else(|| StoreError::Io("no region".into()))?;
        let range = EngineRange::from(&region.range);
        for cf in DATA_CFS {
            let path = dir.join(file_name(cf));
            let file = engine.export(&*job.data, cf, &range, &path)?;
            if file.entries > 0 {
                meta.files.push(SnapshotFile {
                    cf: cf.name().to_owned(),
                    size_bytes: file.size_bytes,
                    crc32: file.crc32,
                    entries: file.entries,
                });
            }
        }
        fs::write(dir.join(META), meta.encode_to_vec()).map_err(|e| io(&dir, &e))?;
        Ok(meta)
    }

    /// Removes an exported snapshot.
    pub fn remove_sent(&self, meta: &SnapshotMeta) {
        remove(&self.folder_of("send", meta));
    }

    /// Removes a received snapshot.
    pub fn remove_received(&self, meta: &SnapshotMeta) {
        remove(&self.folder_of("recv", meta));
    }

    /// The chunks that carry a snapshot message and its files.
    ///
    /// # Errors
    /// [`StoreError::Io`] when the envelope holds no snapshot.
    pub fn chunks(&self, envelope: Envelope, chunk_bytes: usize) -> Result<SnapshotChunks, StoreError> {
        let meta = snapshot_in(&envelope).ok_or_else(|| StoreError::Io("the message holds no snapshot".into()))?;
        let dir = self.folder_of("send", &meta);
        let files: Vec<PathBuf> = meta.files.iter().map(|f| dir.join(format!("{}.sst", f.cf))).collect();
        let head = SnapshotHead { envelope: Some(envelope), meta: Some(meta) };
        Ok(SnapshotChunks { head: Some(head), files: files.into_iter(), open: None, chunk_bytes })
    }

    /// Begins to receive a snapshot.
    ///
    /// # Errors
    /// [`StoreError::Io`] when the head is incomplete or no file can be made.
    pub fn receive(&self, head: SnapshotHead) -> Result<SnapshotReceiver, StoreError> {
        let (Some(envelope), Some(meta)) = (head.envelope, head.meta) else {
            return Err(StoreError::Io("a snapshot's head is incomplete".into()));
        };
        let known = |f: &SnapshotFile| DATA_CFS.iter().any(|cf| cf.name() == f.cf);
        if !meta.files.iter().all(known) || snapshot_in(&envelope).as_ref() != Some(&meta) {
            return Err(StoreError::Io("a snapshot's head contradicts its message".into()));
        }
        let done = self.folder_of("recv", &meta);
        let stream = self.streams.fetch_add(1, Ordering::Relaxed);
        let tmp = done.with_extension(format!("{stream}.tmp"));
        fs::create_dir_all(&tmp).map_err(|e| io(&tmp, &e))?;
        Ok(SnapshotReceiver { envelope, meta, tmp, done, at: 0, open: None })
    }

    /// The files of a received snapshot, by family, read and checked.
    ///
    /// # Errors
    /// [`StoreError::Io`] when one is missing or damaged.
    pub fn received(&self, meta: &SnapshotMeta) -> Result<Vec<(Cf, PathBuf)>, StoreError> {
        let dir = self.folder_of("recv", meta);
        let mut found = Vec::new();
        for file in &meta.files {
            let Some(cf) = DATA_CFS.into_iter().find(|cf| cf.name() == file.cf) else { continue };
            let path = dir.join(file_name(cf));
            check_file(&path, file)?;
            // Ingesting moves the file away, and a crash may make it necessary again.
            let copy = path.with_extension("ingest");
            let _ = fs::remove_file(&copy);
            fs::hard_link(&path, &copy).map_err(|e| io(&path, &e))?;
            found.push((cf, copy));
        }
        Ok(found)
    }

    /// The meta of a received snapshot of a region at an index.
    ///
    /// # Errors
    /// [`StoreError::Io`] when there is none.
    pub fn find_received(&self, region: RegionId, index: u64) -> Result<SnapshotMeta, StoreError> {
        let prefix = format!("recv-{region}-{index}-");
        for entry in fs::read_dir(&self.dir).map_err(|e| io(&self.dir, &e))? {
            let path = entry.map_err(|e| io(&self.dir, &e))?.path();
            let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
            if name.starts_with(&prefix) && !name.ends_with(TMP) {
                let bytes = fs::read(path.join(META)).map_err(|e| io(&path, &e))?;
                return SnapshotMeta::decode(&bytes[..]).map_err(|e| StoreError::Io(e.to_string()));
            }
        }
        Err(StoreError::Io(format!("the snapshot of region {region} at {index} is gone; it was being ingested")))
    }
}

/// What the snapshot in an envelope says of itself.
pub fn snapshot_in(envelope: &Envelope) -> Option<SnapshotMeta> {
    let message = raft::eraftpb::Message::parse_from_bytes(&envelope.message).ok()?;
    snapshot_meta(message.get_snapshot())
}

/// What a snapshot says of itself.
pub fn snapshot_meta(snapshot: &raft::eraftpb::Snapshot) -> Option<SnapshotMeta> {
    SnapshotMeta::decode(snapshot.data.clone()).ok()
}

/// The range that a snapshot has the data of.
pub fn snapshot_range(snapshot: &raft::eraftpb::Snapshot) -> Option<KeyRange> {
    let meta = snapshot_meta(snapshot)?;
    meta.region.as_ref().map(|region| Region::from(region).range)
}

/// The parts of one snapshot stream.
pub struct SnapshotChunks {
    head: Option<SnapshotHead>,
    files: std::vec::IntoIter<PathBuf>,
    open: Option<(PathBuf, File)>,
    chunk_bytes: usize,
}

impl SnapshotChunks {
    fn read(&mut self) -> Result<Option<Bytes>, StoreError> {
        loop {
            let Some((path, file)) = &mut self.open else {
                let Some(path) = self.files.next() else { return Ok(None) };
                let file = File::open(&path).map_err(|e| io(&path, &e))?;
                self.open = Some((path, file));
                continue;
            };
            let mut bytes = Vec::with_capacity(self.chunk_bytes);
            Read::by_ref(file).take(self.chunk_bytes as u64).read_to_end(&mut bytes).map_err(|e| io(path, &e))?;
            if !bytes.is_empty() {
                return Ok(Some(bytes.into()));
            }
            self.open = None;
        }
    }
}

impl Iterator for SnapshotChunks {
    type Item = Result<SnapshotChunk, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(head) = self.head.take() {
            return Some(Ok(SnapshotChunk { part: Some(Part::Head(head)) }));
        }
        self.read().transpose().map(|bytes| bytes.map(|b| SnapshotChunk { part: Some(Part::Data(b)) }))
    }
}

struct Arriving {
    file: File,
    path: PathBuf,
    left: u64,
    crc: crc32fast::Hasher,
}

/// A snapshot that is arriving.
pub struct SnapshotReceiver {
    envelope: Envelope,
    meta: SnapshotMeta,
    tmp: PathBuf,
    done: PathBuf,
    at: usize,
    open: Option<Arriving>,
}

impl SnapshotReceiver {
    /// What is arriving.
    pub fn meta(&self) -> &SnapshotMeta {
        &self.meta
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// [`StoreError::Io`] when there are more than announced, a file does not check, or it cannot be written.
    pub fn write(&mut self, mut data: &[u8]) -> Result<(), StoreError> {
        while !data.is_empty() {
            if self.open.is_none() {
                let file = self.meta.files.get(self.at).ok_or_else(|| StoreError::Io("too many bytes".into()))?;
                let path = self.tmp.join(format!("{}.sst", file.cf));
                let left = file.size_bytes;
                let file = File::create(&path).map_err(|e| io(&path, &e))?;
                self.open = Some(Arriving { file, path, left, crc: crc32fast::Hasher::new() });
            }
            let Some(open) = &mut self.open else { break };
            let part;
            (part, data) = data.split_at(data.len().min(open.left as usize));
            open.file.write_all(part).map_err(|e| io(&open.path, &e))?;
            open.crc.update(part);
            open.left -= part.len() as u64;
            if open.left == 0 {
                self.close()?;
            }
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), StoreError> {
        let Some(open) = self.open.take() else { return Ok(()) };
        open.file.sync_all().map_err(|e| io(&open.path, &e))?;
        if self.meta.files.get(self.at).map(|f| f.crc32) != Some(open.crc.finalize()) {
            return Err(StoreError::Io(format!("{} does not check", open.path.display())));
        }
        self.at += 1;
        Ok(())
    }

    /// Makes the snapshot available and returns the raft message that announces it.
    ///
    /// # Errors
    /// [`StoreError::Io`] when it is incomplete.
    pub fn finish(mut self) -> Result<Envelope, StoreError> {
        if self.open.is_some() || self.at != self.meta.files.len() {
            return Err(StoreError::Io("a snapshot ended early".into()));
        }
        let path = self.tmp.join(META);
        let mut file = File::create(&path).map_err(|e| io(&path, &e))?;
        file.write_all(&self.meta.encode_to_vec()).and_then(|()| file.sync_all()).map_err(|e| io(&path, &e))?;
        sync_folder(&self.tmp)?;
        // Another stream may have brought the same before, or a removal may have left half of it.
        if !is_whole(&self.done, &self.meta) {
            remove(&self.done);
            fs::rename(&self.tmp, &self.done).map_err(|e| io(&self.done, &e))?;
        }
        if let Some(parent) = self.done.parent() {
            sync_folder(parent)?;
        }
        Ok(std::mem::take(&mut self.envelope))
    }
}

impl Drop for SnapshotReceiver {
    /// What did not arrive whole is of no use.
    fn drop(&mut self) {
        remove(&self.tmp);
    }
}

/// Whether a folder holds all of a snapshot.
fn is_whole(dir: &Path, meta: &SnapshotMeta) -> bool {
    let checks = |file: &SnapshotFile| check_file(&dir.join(format!("{}.sst", file.cf)), file).is_ok();
    fs::read(dir.join(META)).is_ok_and(|found| found == meta.encode_to_vec()) && meta.files.iter().all(checks)
}

fn check_file(path: &Path, file: &SnapshotFile) -> Result<(), StoreError> {
    let mut crc = crc32fast::Hasher::new();
    let (mut buffer, mut size) = (vec![0; 1 << 16], 0);
    let mut open = File::open(path).map_err(|e| io(path, &e))?;
    loop {
        let read = open.read(&mut buffer).map_err(|e| io(path, &e))?;
        if read == 0 {
            break;
        }
        size += read as u64;
        crc.update(&buffer[..read]);
    }
    match (size, crc.finalize()) == (file.size_bytes, file.crc32) {
        true => Ok(()),
        false => Err(StoreError::Io(format!("{} is damaged: its size or its checksum is another", path.display()))),
    }
}

fn sync_folder(path: &Path) -> Result<(), StoreError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(|e| io(path, &e))
}

fn file_name(cf: Cf) -> String {
    format!("{}.sst", cf.name())
}

fn remove(path: &Path) {
    if path.exists()
        && let Err(error) = fs::remove_dir_all(path)
    {
        tracing::warn!(path = %path.display(), %error, "a snapshot folder cannot be removed");
    }
}

fn io(path: &Path, error: &std::io::Error) -> StoreError {
    StoreError::Io(format!("{}: {error}", path.display()))
}
