//! Reading and writing catalog records within a transaction.

use super::Catalog;
use super::claims::Claims;
use super::keys;
use super::model::{Database, Schema, Table};
use super::record;
use crate::error::{Error, Result};
use basalt_client::{ScanOptions, Snapshot, Transaction, TxnOptions};
use basalt_common::{KeyRange, TableId};
use basalt_proto::schema as pb;
use bytes::Bytes;
use prost::Message;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;

fn decode<M: Message + Default>(bytes: &[u8]) -> Result<M> {
    M::decode(bytes).map_err(|e| Error::Internal(format!("the catalog is damaged: {e}")))
}

async fn scan_all<M: Message + Default>(snapshot: &Snapshot, range: KeyRange) -> Result<Vec<M>> {
    let mut scanner = snapshot.scan(range, ScanOptions::default());
    let mut out = Vec::new();
    while let Some((_, value)) = scanner.next().await? {
        out.push(decode(&value)?);
    }
    Ok(out)
}

/// The schema version as of a snapshot; 0 before the first change.
pub async fn version(snapshot: &Snapshot) -> Result<u64> {
    number(snapshot.get(&keys::version()).await?)
}

fn number(value: Option<Bytes>) -> Result<u64> {
    match value {
        None => Ok(0),
        Some(bytes) => {
            let eight =
                bytes[..].try_into().map_err(|_| Error::Internal("the catalog is damaged: a counter".into()))?;
            Ok(u64::from_be_bytes(eight))
        }
    }
}

/// The whole catalog as of a snapshot.
pub async fn load(snapshot: &Snapshot) -> Result<Schema> {
    let version = version(snapshot).await?;
    let mut databases = BTreeMap::new();
    let mut tables: BTreeMap<u64, BTreeMap<String, Arc<Table>>> = BTreeMap::new();
    for table in scan_all::<pb::Table>(snapshot, keys::tables()).await? {
        let table = record::table_from_proto(&table)?;
        tables.entry(table.database_id).or_default().insert(table.name.to_lowercase(), Arc::new(table));
    }
    for d in scan_all::<pb::Database>(snapshot, keys::databases()).await? {
        let tables = tables.remove(&d.id).unwrap_or_default();
        let database = Database { id: d.id, name: d.name, charset: d.charset, collation: d.collation, tables };
        databases.insert(database.name.to_lowercase(), Arc::new(database));
    }
    let claims = Claims::new(read_claims(snapshot).await?.iter().map(record::claim_from_proto).collect());
    Ok(Schema { version, databases, claims })
}

/// What the catalog holds besides the schema.
pub struct Settings {
    /// The accounts that have a record.
    pub users: Vec<pb::User>,
    /// The global values of variables that were set.
    pub variables: Vec<pb::GlobalVariable>,
}

/// The settings as of a snapshot.
pub async fn load_settings(snapshot: &Snapshot) -> Result<Settings> {
    Ok(Settings { users: read_users(snapshot).await?, variables: read_variables(snapshot).await? })
}

/// One step of a schema change: a transaction with the schema that it starts from. A server takes one at a time: two would
/// only be in each other's way.
pub struct Step {
    /// Its transaction; reads see the schema below.
    pub txn: Transaction,
    /// The schema before the step.
    pub schema: Schema,
    /// Tables that the step removes, and which take their place.
    pub replaced: Vec<(TableId, Option<TableId>)>,
    _turn: OwnedSemaphorePermit,
}

impl Step {
    /// Starts from what is newest, after the steps of this server that came before.
    pub async fn begin(catalog: &Catalog) -> Result<Step> {
        let turn = catalog.turn().await;
        let txn = catalog.cluster().begin(TxnOptions::default()).await?;
        let schema = load(txn.snapshot()).await?;
        Ok(Step { txn, schema, replaced: Vec::new(), _turn: turn })
    }

    /// The version that this step makes.
    pub fn next_version(&self) -> u64 {
        self.schema.version + 1
    }

    /// Writes a database's record.
    pub fn put_database(&mut self, database: &Database) -> Result<()> {
        let record = pb::Database {
            id: database.id,
            name: database.name.clone(),
            charset: database.charset.clone(),
            collation: database.collation.clone(),
            state: pb::SchemaState::Public as i32,
        };
        Ok(self.txn.put(keys::database(database.id), record.encode_to_vec())?)
    }

    /// Removes a database's record (its tables are removed one by one).
    pub fn delete_database(&mut self, database: &Database) -> Result<()> {
        Ok(self.txn.delete(keys::database(database.id))?)
    }

    /// Writes a table's record, as of this step's version.
    pub fn put_table(&mut self, table: &Table) -> Result<()> {
        let mut table = table.clone();
        table.version = self.next_version();
        let record = record::table_to_proto(&table)?;
        Ok(self.txn.put(keys::table(table.database_id, table.id), record.encode_to_vec())?)
    }

    /// Removes a table and puts another in its place.
    pub fn replace_table(&mut self, old: &Table, new: &Table) -> Result<()> {
        self.replaced.push((old.id, Some(new.id)));
        self.delete_records(old)?;
        self.put_table(new)
    }

    /// Removes a table.
    pub fn delete_table(&mut self, table: &Table) -> Result<()> {
        self.replaced.push((table.id, None));
        self.delete_records(table)
    }

    /// Removes a table's record and counters, and leaves its range to be deleted.
    fn delete_records(&mut self, table: &Table) -> Result<()> {
        self.txn.delete(keys::table(table.database_id, table.id))?;
        self.txn.delete(keys::auto_increment(table.id))?;
        self.txn.delete(keys::row_id(table.id))?;
        self.drop_range(table.id, basalt_common::IndexId(0))
    }

    /// Leaves a table's (index 0) or an index's range to be deleted once nobody reads it.
    pub fn drop_range(&mut self, table: TableId, index: basalt_common::IndexId) -> Result<()> {
        let ts = self.txn.start_ts().0;
        Ok(self.txn.put(keys::dropped(ts, table, index), Bytes::from_static(b"-"))?)
    }

    /// Sets a counter.
    pub fn put_number(&mut self, key: Vec<u8>, value: u64) -> Result<()> {
        Ok(self.txn.put(key, value.to_be_bytes().to_vec())?)
    }

    /// Commits and returns the new version.
    pub async fn commit(mut self) -> Result<u64> {
        let version = self.next_version();
        self.put_number(keys::version(), version)?;
        self.txn.commit().await?;
        Ok(version)
    }
}

/// Reads a counter within a transaction.
pub async fn read_number(txn: &Transaction, key: &[u8]) -> Result<u64> {
    number(txn.get(key).await?)
}

/// Reads a job.
pub async fn read_job(txn: &Transaction, id: u64) -> Result<Option<pb::DdlJob>> {
    txn.get(&keys::job(id)).await?.map(|bytes| decode(&bytes)).transpose()
}

/// All jobs, oldest first.
pub async fn read_jobs(snapshot: &Snapshot) -> Result<Vec<pb::DdlJob>> {
    scan_all(snapshot, keys::jobs()).await
}

/// Reads a claim of tables.
pub async fn read_claim(snapshot: &Snapshot, id: u64) -> Result<Option<pb::TableClaim>> {
    snapshot.get(&keys::claim(id)).await?.map(|bytes| decode(&bytes)).transpose()
}

/// All claims of tables.
pub async fn read_claims(snapshot: &Snapshot) -> Result<Vec<pb::TableClaim>> {
    scan_all(snapshot, keys::claims()).await
}

/// All accounts.
pub async fn read_users(snapshot: &Snapshot) -> Result<Vec<pb::User>> {
    scan_all(snapshot, keys::users()).await
}

/// All global values that were set, by name.
pub async fn read_variables(snapshot: &Snapshot) -> Result<Vec<pb::GlobalVariable>> {
    scan_all(snapshot, keys::variables()).await
}
