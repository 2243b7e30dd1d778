//! A session's transaction: when it begins, what its statements read, and how a statement is undone or run again.
//!
//! | state | reads | writes |
//! |---|---|---|
//! | autocommit, no BEGIN | one key: the newest version, without asking PD; otherwise a fresh timestamp | a transaction for the statement, optimistic; after a conflict or at a lock once more, pessimistic |
//! | BEGIN, REPEATABLE READ | what was newest at the first of them | pessimistic: at a fresh `for_update_ts`, keys locked first |
//! | BEGIN, READ COMMITTED | a fresh timestamp for each statement | the same |
//!
//! BEGIN itself asks for nothing: the transaction starts with the first statement that needs it, as in MySQL (WITH CONSISTENT
//! SNAPSHOT excepted). A statement that fails takes back its own writes ([`SessionTxn::savepoint`]) and leaves the others;
//! a deadlock takes the whole transaction, as InnoDB's does.
//!
//! SERIALIZABLE is REPEATABLE READ whose commit finds everything as it was read ([`basalt_client::read_set`]), or fails as a
//! deadlock does (1213); READ UNCOMMITTED reads as READ COMMITTED.

use crate::catalog::TableHolds;
use crate::catalog::model::Schema;
use crate::context::{DirtyRows, ReadView};
use crate::error::{Error, Result};
use crate::executor::config::STATEMENTS_LOCKED;
use basalt_client::{Cluster, Error as ClientError, ReadMark, Savepoint, Snapshot, Transaction, TxnMode, TxnOptions};
use basalt_common::memory::{Account, Tracker};
use basalt_common::table_key::{self, TableKeyKind};
use basalt_common::{KeyRange, Timestamp, UserKey};
use basalt_expr::key::{decode_index_handle, encode_row_key};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Most savepoints of one transaction.
pub const SAVEPOINTS_MAX: usize = 1_000;

/// What a key of the snapshot that is kept takes beside itself and its value: a node of the tree, handles of shared bytes.
const SNAPSHOT_KEY_BYTES: usize = 128;

/// What a consistent read sees of commits that happen meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// Each statement sees what is committed when it starts.
    ReadCommitted,
    /// Every statement sees what was committed when the transaction started.
    #[default]
    RepeatableRead,
    /// As that, and nobody has changed what was read when the transaction commits.
    Serializable,
}

/// What the session's variables say of its transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TxnSettings {
    /// `autocommit`.
    pub autocommit: bool,
    /// `transaction_isolation`.
    pub isolation: Isolation,
    /// Explicit transactions lock as they write (`tidb_txn_mode`-like); otherwise conflicts show at commit.
    pub pessimistic: bool,
    /// `transaction_read_only`, or START TRANSACTION READ ONLY.
    pub read_only: bool,
    /// `basalt_txn_bytes_max`.
    pub bytes_max: usize,
}

impl Default for TxnSettings {
    fn default() -> Self {
        TxnSettings {
            autocommit: true,
            isolation: Isolation::default(),
            pessimistic: true,
            read_only: false,
            bytes_max: TxnOptions::default().bytes_max,
        }
    }
}

impl TxnSettings {
    fn options(&self) -> TxnOptions {
        TxnOptions {
            mode: mode(self.pessimistic),
            bytes_max: self.bytes_max,
            records_reads: self.isolation == Isolation::Serializable,
            ..TxnOptions::default()
        }
    }
}

/// The transaction of a session.
pub struct SessionTxn {
    cluster: Cluster,
    /// Counts what transactions write.
    memory: Arc<Tracker>,
    /// What the session's variables say now; taken over by the next transaction.
    pub settings: TxnSettings,
    state: State,
    savepoints: Vec<(String, Option<Savepoint>)>,
    /// Autocommit statements that lock from the start, as an earlier one met another writer.
    locked_statements: u32,
    /// Tables that the transaction, or the statement under way, uses.
    pub holds: TableHolds,
    /// The row, with its key, whose unique key the last commit found taken.
    refused: Option<(Bytes, Bytes)>,
    /// What the statement under way works under.
    schema: Option<Arc<Schema>>,
    /// Where others see which transaction the session is in.
    shown: Arc<AtomicU64>,
}

/// The row that a transaction wrote under a unique key: its own, or the one that its index entry names.
fn written_row(txn: &Transaction, key: &[u8]) -> Option<(Bytes, Bytes)> {
    let value = txn.dirty_value(key)??;
    let (table, kind, _) = table_key::decode(key).ok()?;
    if kind == TableKeyKind::Row {
        return Some((Bytes::copy_from_slice(key), value.clone()));
    }
    // Whether handles are integers only the table knows; one of the two is a row.
    [true, false].into_iter().find_map(|is_integer| {
        let handle = decode_index_handle(key, value, 0, is_integer).ok()?;
        let row_key = encode_row_key(table, &handle);
        Some((Bytes::from(row_key.clone()), txn.dirty_value(&row_key)??.clone()))
    })
}

enum State {
    /// Autocommit between statements.
    Idle,
    /// BEGIN was said; nothing was read or written yet.
    Pending(TxnSettings),
    /// BEGIN was said and a statement has run.
    Open(Running),
    /// An autocommit statement that writes.
    Statement(Running),
}

struct Running {
    txn: Box<Transaction>,
    /// Says to others that the session is in it.
    _shown: Shown,
    settings: TxnSettings,
    /// Before its first write.
    start: Savepoint,
    /// What its consistent reads see, unless each of them takes its own.
    taken: Option<TakenSnapshot>,
}

/// A snapshot that was taken for a whole transaction.
struct TakenSnapshot {
    snapshot: Snapshot,
    ts: Timestamp,
    /// What the statement that took it worked under.
    schema: Option<Arc<Schema>>,
    /// What it has under keys that the transaction has written, as far as somebody asked.
    own_keys: BTreeMap<Bytes, Option<Bytes>>,
    /// Counts them.
    account: Account,
}

impl TakenSnapshot {
    fn new(snapshot: Snapshot, ts: Timestamp, schema: Option<Arc<Schema>>, memory: &Arc<Tracker>) -> TakenSnapshot {
        TakenSnapshot { snapshot, ts, schema, own_keys: BTreeMap::new(), account: Account::new(memory.clone()) }
    }
}

/// Where a session says which transaction it is in, by start_ts; 0: none.
struct Shown {
    place: Arc<AtomicU64>,
    start_ts: u64,
}

impl Shown {
    fn new(place: &Arc<AtomicU64>, start_ts: Timestamp) -> Shown {
        place.store(start_ts.0, Ordering::Relaxed);
        Shown { place: place.clone(), start_ts: start_ts.0 }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        // The next one may have begun.
        let _ = self.place.compare_exchange(self.start_ts, 0, Ordering::Relaxed, Ordering::Relaxed);
    }
}

impl Running {
    fn new(txn: Transaction, settings: TxnSettings, shown: &Arc<AtomicU64>) -> Running {
        let shown = Shown::new(shown, txn.start_ts());
        Running { start: txn.savepoint(), txn: Box::new(txn), _shown: shown, settings, taken: None }
    }

    /// Whether its consistent reads see one snapshot. Optimistic writes read that, too.
    fn keeps_snapshot(&self) -> bool {
        self.settings.isolation != Isolation::ReadCommitted || !self.settings.pessimistic
    }
}

impl SessionTxn {
    /// A session without transaction.
    pub fn new(cluster: Cluster, holds: TableHolds, memory: Arc<Tracker>, shown: Arc<AtomicU64>) -> SessionTxn {
        SessionTxn {
            cluster,
            memory,
            settings: TxnSettings::default(),
            state: State::Idle,
            savepoints: Vec::new(),
            locked_statements: 0,
            holds,
            refused: None,
            schema: None,
            shown,
        }
    }

    /// The transaction under way, by its start_ts.
    pub fn start_ts(&self) -> Option<Timestamp> {
        self.txn().map(Transaction::start_ts)
    }

    /// Before a statement: the schema that it holds until it has its timestamp.
    pub fn work_under(&mut self, schema: &Arc<Schema>) {
        self.schema = Some(schema.clone());
    }

    /// The schema under which the snapshot was taken that the transaction's statements read; `None` while each of them
    /// takes its own. Optimistic writes read that snapshot too.
    pub fn snapshot_schema(&self) -> Option<&Arc<Schema>> {
        match &self.state {
            State::Open(running) => running.taken.as_ref()?.schema.as_ref(),
            _ => None,
        }
    }

    /// True between BEGIN and COMMIT.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Pending(_) | State::Open(_))
    }

    /// True when the running statement (or transaction) locks what it writes.
    pub fn is_pessimistic(&self) -> bool {
        self.running_settings().is_some_and(|settings| settings.pessimistic)
    }

    /// Whether the transaction under way has locked rows.
    pub fn has_locks(&self) -> bool {
        self.txn().is_some_and(Transaction::has_locks)
    }

    /// Before the client is told what a statement has found: whether the transaction still has its locks. One that has lost them is rolled
    /// back.
    ///
    /// # Errors
    /// 9007 when they were taken from it, as this server seemed dead; what the client returns.
    pub async fn confirm_locks(&mut self) -> Result<()> {
        let Some(txn) = self.txn() else { return Ok(()) };
        let confirmed = txn.confirm_locks().await;
        if let Err(ClientError::Aborted { .. }) = &confirmed {
            self.rollback().await;
        }
        Ok(confirmed?)
    }

    /// True when writes are refused (1792).
    pub fn is_read_only(&self) -> bool {
        self.running_settings().unwrap_or(&self.settings).read_only
    }

    fn running_settings(&self) -> Option<&TxnSettings> {
        match &self.state {
            State::Pending(settings) => Some(settings),
            State::Open(running) | State::Statement(running) => Some(&running.settings),
            State::Idle => None,
        }
    }

    /// Within BEGIN … COMMIT: takes the snapshot that all consistent reads see, with the first of them, as in MySQL; writes
    /// and locking reads before it see what is newest and take none. The caller holds the schema.
    ///
    /// # Errors
    /// What the client returns.
    pub async fn take_snapshot(&mut self) -> Result<()> {
        let is_first = matches!(self.state, State::Pending(_));
        if is_first {
            self.open().await?;
        }
        let State::Open(running) = &mut self.state else { return Ok(()) };
        if running.taken.is_some() || !running.keeps_snapshot() {
            return Ok(());
        }
        let schema = self.schema.clone();
        let (snapshot, ts) = if is_first {
            (running.txn.snapshot().clone(), running.txn.start_ts())
        } else {
            let ts = self.cluster.timestamp().await?;
            (running.txn.snapshot_at(ts), ts)
        };
        running.taken = Some(TakenSnapshot::new(snapshot, ts, schema, &self.memory));
        Ok(())
    }

    /// After a statement: without a transaction it uses its tables no more.
    pub fn leave_statement(&mut self) {
        if matches!(self.state, State::Idle) {
            self.holds.clear();
        }
    }

    /// START TRANSACTION; the caller has committed what was open before.
    ///
    /// # Errors
    /// What the client returns, when a consistent snapshot is asked for.
    pub async fn begin(&mut self, read_only: bool, consistent_snapshot: bool) -> Result<()> {
        self.savepoints.clear();
        self.state = State::Pending(TxnSettings { read_only, ..self.settings });
        if consistent_snapshot { self.take_snapshot().await } else { Ok(()) }
    }

    /// Called before a statement that reads or writes tables: without autocommit it begins a transaction.
    pub fn enter(&mut self) {
        if matches!(self.state, State::Idle) && !self.settings.autocommit {
            self.state = State::Pending(self.settings);
        }
    }

    /// COMMIT. Nothing is open afterwards, whatever comes out.
    ///
    /// # Errors
    /// What the client returns.
    pub async fn commit(&mut self) -> Result<()> {
        self.savepoints.clear();
        let is_open = self.is_open();
        let outcome = match std::mem::replace(&mut self.state, State::Idle) {
            State::Open(mut running) | State::Statement(mut running) => {
                let outcome = running.txn.commit().await;
                self.refused = match &outcome {
                    Err(basalt_client::Error::AlreadyExists { key }) => written_row(&running.txn, key),
                    _ => None,
                };
                outcome.map(|_| ())
            }
            State::Pending(_) | State::Idle => Ok(()),
        };
        // An autocommit statement that runs again uses its tables on.
        if is_open {
            self.holds.clear();
        }
        Ok(outcome?)
    }

    /// The row, with its key, whose unique key the last commit found taken, as far as it wrote one.
    pub fn refused_row(&mut self) -> Option<(Bytes, Bytes)> {
        self.refused.take()
    }

    /// ROLLBACK. Locks are let go in the background.
    pub async fn rollback(&mut self) {
        self.savepoints.clear();
        let is_open = self.is_open();
        if let State::Open(mut running) | State::Statement(mut running) =
            std::mem::replace(&mut self.state, State::Idle)
        {
            running.txn.rollback().await;
        }
        if is_open {
            self.holds.clear();
        }
    }

    /// SAVEPOINT name. A savepoint of the same name moves here.
    ///
    /// # Errors
    /// 1235 with too many savepoints.
    pub fn set_savepoint(&mut self, name: &str) -> Result<()> {
        if !self.is_open() {
            return Ok(());
        }
        self.savepoints.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
        if self.savepoints.len() >= SAVEPOINTS_MAX {
            return Err(Error::unsupported(format!("more than {SAVEPOINTS_MAX} savepoints in a transaction")));
        }
        let savepoint = self.savepoint();
        self.savepoints.push((name.to_string(), savepoint));
        Ok(())
    }

    /// ROLLBACK TO name. False when there is no such savepoint (1305). One that stands before everything takes the locks and the
    /// snapshot back, too.
    pub async fn rollback_to_name(&mut self, name: &str) -> bool {
        let Some(at) = self.savepoints.iter().position(|(n, _)| n.eq_ignore_ascii_case(name)) else { return false };
        self.savepoints.truncate(at + 1);
        match self.savepoints[at].1 {
            Some(savepoint) => self.rollback_to(Some(savepoint)),
            None => {
                if let State::Open(running) = &mut self.state {
                    running.txn.rollback().await;
                    self.state = State::Pending(running.settings);
                    self.holds.clear();
                }
            }
        }
        true
    }

    /// RELEASE SAVEPOINT name. False when there is no such savepoint (1305).
    pub fn release_savepoint(&mut self, name: &str) -> bool {
        let Some(at) = self.savepoints.iter().position(|(n, _)| n.eq_ignore_ascii_case(name)) else { return false };
        self.savepoints.truncate(at);
        true
    }

    /// Where the transaction's writes stand now; `None` before the first.
    pub fn savepoint(&self) -> Option<Savepoint> {
        self.txn().map(Transaction::savepoint)
    }

    /// After a statement that is not to be taken back by itself: what undoing it would have taken is forgotten, unless the
    /// user holds a savepoint.
    pub fn statement_succeeded(&mut self) {
        if let (State::Open(running), true) = (&mut self.state, self.savepoints.is_empty()) {
            running.txn.release_savepoints();
        }
    }

    /// What the transaction has read so far, as far as it must not change.
    pub fn read_mark(&self) -> Option<ReadMark> {
        Some(self.txn()?.reads()?.mark())
    }

    /// Before a statement is done again: what it has read does not matter any more.
    pub fn forget_reads(&mut self, since: Option<ReadMark>) {
        if let Some(reads) = self.txn().and_then(Transaction::reads) {
            reads.forget_since(since.unwrap_or_default());
        }
    }

    /// Takes back all writes since then. Locks stay until the end, as in MySQL.
    pub fn rollback_to(&mut self, savepoint: Option<Savepoint>) {
        if let State::Open(running) | State::Statement(running) = &mut self.state {
            running.txn.rollback_to(savepoint.unwrap_or(running.start));
        }
    }

    /// The transaction to write into; begins it.
    ///
    /// # Errors
    /// 1792 when it is read only; what the client returns.
    pub async fn write(&mut self) -> Result<&mut Transaction> {
        if self.is_read_only() {
            return Err(Error::read_only_transaction());
        }
        self.open().await?;
        self.txn_mut().ok_or_else(|| Error::Internal("no transaction to write into".into()))
    }

    /// The transaction to lock in; begins it. FOR SHARE locks in a read-only one, too.
    ///
    /// # Errors
    /// What the client returns.
    pub async fn locking(&mut self) -> Result<&mut Transaction> {
        self.open().await?;
        self.txn_mut().ok_or_else(|| Error::Internal("no transaction to lock in".into()))
    }

    /// Begins the transaction of one autocommit statement.
    ///
    /// # Errors
    /// What the client returns.
    pub async fn begin_statement(&mut self, pessimistic: bool) -> Result<()> {
        let settings = TxnSettings { pessimistic, ..self.settings };
        // Locks are waited for where they are asked for, not at the commit.
        let options = TxnOptions { autocommit: true, waits_at_commit: pessimistic, ..settings.options() };
        let txn = self.begin_counted(options).await?;
        self.state = State::Statement(Running::new(txn, settings, &self.shown));
        Ok(())
    }

    /// An autocommit statement met another writer: the next ones are likely to.
    pub fn note_writers(&mut self) {
        self.locked_statements = STATEMENTS_LOCKED;
    }

    /// Whether an autocommit statement that begins locks what it writes from the start.
    pub fn met_writers(&mut self) -> bool {
        let met = self.locked_statements > 0;
        self.locked_statements = self.locked_statements.saturating_sub(1);
        met
    }

    /// What a consistent read of several keys sees, the transaction's own writes in `ranges` included.
    ///
    /// # Errors
    /// What the client returns.
    pub async fn read_view(&mut self, ranges: &[KeyRange]) -> Result<ReadView> {
        let ts = self.read_ts().await?;
        Ok(self.view_at(ts, ranges))
    }

    /// What a read sees that locks or changes what it reads: the newest commits.
    ///
    /// # Errors
    /// What the client returns.
    pub async fn current_view(&mut self, ranges: &[KeyRange]) -> Result<ReadView> {
        let ts = match self.is_pessimistic() {
            true => self.locking().await?.refresh_for_update_ts().await?,
            false => self.locking().await?.start_ts(),
        };
        Ok(self.view_at(ts, ranges))
    }

    /// The view that [`SessionTxn::current_view`] made last, without own writes.
    ///
    /// # Errors
    /// [`Error::Internal`] when nothing was begun.
    pub fn current_read_view(&self) -> Result<ReadView> {
        let txn = self.txn().ok_or_else(|| Error::Internal("no transaction to read in".into()))?;
        let ts = if self.is_pessimistic() { txn.for_update_ts() } else { txn.start_ts() };
        Ok(self.view_at(ts, &[]))
    }

    /// What a read of one key sees: without transaction its newest version, which needs no timestamp.
    ///
    /// # Errors
    /// What the client returns.
    pub async fn point_view(&mut self, range: &KeyRange) -> Result<ReadView> {
        let ts = match self.state {
            State::Idle => Timestamp::MAX,
            _ => self.read_ts().await?,
        };
        Ok(self.view_at(ts, std::slice::from_ref(range)))
    }

    fn view_at(&self, ts: Timestamp, ranges: &[KeyRange]) -> ReadView {
        let dirty = self.dirty(ranges);
        let running = match &self.state {
            State::Open(running) | State::Statement(running) => Some(running),
            State::Idle | State::Pending(_) => None,
        };
        // The transaction's snapshots know which locks they may pass.
        let taken = running.and_then(|running| running.taken.as_ref()).filter(|taken| taken.ts == ts);
        match (taken, running) {
            (Some(taken), _) => ReadView { snapshot: taken.snapshot.clone(), ts, dirty },
            (None, Some(running)) if running.txn.start_ts() == ts => {
                ReadView { snapshot: running.txn.snapshot().clone(), ts, dirty }
            }
            (None, Some(running)) => ReadView { snapshot: running.txn.snapshot_at(ts), ts, dirty },
            (None, None) => ReadView { dirty, ..ReadView::at(&self.cluster, ts) },
        }
    }

    async fn read_ts(&mut self) -> Result<Timestamp> {
        self.take_snapshot().await?;
        match &self.state {
            State::Idle => Ok(self.cluster.timestamp().await?),
            State::Open(running) => match &running.taken {
                Some(taken) => Ok(taken.ts),
                None => Ok(self.cluster.timestamp().await?),
            },
            State::Statement(running) => Ok(running.txn.start_ts()),
            State::Pending(_) => Err(Error::Internal("no transaction to read in".into())),
        }
    }

    /// The transaction's own writes in some ranges; `None` when there are none.
    pub fn dirty(&self, ranges: &[KeyRange]) -> Option<Arc<DirtyRows>> {
        let txn = self.txn().filter(|txn| !txn.is_clean())?;
        let rows = ranges.iter().flat_map(|range| txn.dirty(range));
        let dirty = DirtyRows::new(rows.map(|(key, value)| (UserKey(key.clone()), value.cloned())));
        (!dirty.is_empty()).then(|| Arc::new(dirty))
    }

    /// Whether it has locked, and may have written, what others had changed after its snapshot.
    pub fn went_past_its_snapshot(&self) -> bool {
        match &self.state {
            State::Open(Running { taken: Some(taken), settings, txn, .. }) => {
                settings.pessimistic && txn.newest_commit() > taken.ts && !txn.is_clean()
            }
            _ => false,
        }
    }

    /// Whether others may have changed a key after the snapshot, before the transaction locked it; `None` when it has not.
    pub fn changed_past_its_snapshot(&self, key: &[u8]) -> Option<bool> {
        match &self.state {
            State::Open(Running { taken: Some(taken), txn, .. }) => txn.may_have_changed_since(key, taken.ts),
            _ => None,
        }
    }

    /// Those of some keys that the transaction's snapshot has, with their values. They are kept: the next statement asks for those that
    /// the transaction has written again.
    ///
    /// # Errors
    /// What the client returns.
    pub async fn of_snapshot(&mut self, keys: Vec<Bytes>) -> Result<Vec<(Bytes, Bytes)>> {
        let State::Open(Running { taken: Some(taken), .. }) = &mut self.state else { return Ok(Vec::new()) };
        let TakenSnapshot { own_keys, account, .. } = taken;
        let unknown: Vec<Bytes> = keys.iter().filter(|key| !own_keys.contains_key(*key)).cloned().collect();
        if !unknown.is_empty() {
            // Not by the transaction's snapshot, which would note them as read: they are locked.
            let found = self.cluster.snapshot(taken.ts).batch_get(unknown.clone()).await?;
            let mut found: BTreeMap<Bytes, Bytes> = found.into_iter().collect();
            for key in unknown {
                let value = found.remove(&key);
                account.add(key.len() + value.as_ref().map_or(0, Bytes::len) + SNAPSHOT_KEY_BYTES);
                own_keys.insert(key, value);
            }
        }
        Ok(keys.into_iter().filter_map(|key| own_keys.get(&key)?.clone().map(|value| (key, value))).collect())
    }

    /// The transaction's own write to a key: `Some(None)` was deleted, `None` was not touched.
    pub fn own_write(&self, key: &[u8]) -> Option<Option<Bytes>> {
        self.txn()?.dirty_value(key).map(|value| value.cloned())
    }

    async fn open(&mut self) -> Result<()> {
        let settings = match &self.state {
            State::Open(_) | State::Statement(_) => return Ok(()),
            State::Pending(settings) => *settings,
            State::Idle => return Err(Error::Internal("a statement without transaction".into())),
        };
        let options = settings.options();
        let txn = self.begin_counted(options).await?;
        let mut running = Running::new(txn, settings, &self.shown);
        if !settings.pessimistic {
            let (snapshot, ts) = (running.txn.snapshot().clone(), running.txn.start_ts());
            running.taken = Some(TakenSnapshot::new(snapshot, ts, self.schema.clone(), &self.memory));
        }
        self.state = State::Open(running);
        Ok(())
    }

    async fn begin_counted(&self, options: TxnOptions) -> Result<Transaction> {
        let mut txn = self.cluster.begin(options).await?;
        txn.count_in(Account::new(self.memory.clone()));
        Ok(txn)
    }

    fn txn(&self) -> Option<&Transaction> {
        match &self.state {
            State::Open(running) | State::Statement(running) => Some(&running.txn),
            State::Idle | State::Pending(_) => None,
        }
    }

    fn txn_mut(&mut self) -> Option<&mut Transaction> {
        match &mut self.state {
            State::Open(running) | State::Statement(running) => Some(&mut running.txn),
            State::Idle | State::Pending(_) => None,
        }
    }
}

fn mode(pessimistic: bool) -> TxnMode {
    if pessimistic { TxnMode::Pessimistic } else { TxnMode::Optimistic }
}
