//! What a snapshot may read: the newest schema, less what is younger than the snapshot.
//!
//! Names mean what they mean now, as in MySQL: a dropped table is gone, a renamed one has its new name. But data are read as
//! of the snapshot, and there
//! - a table made since (by CREATE or TRUNCATE) has no rows that could be right: reading it is refused (1412);
//! - an index made since has entries of its backfill only, all too new to be seen: it is planned as one that is still being
//!   filled in, so reads pass it by and writes maintain it.
//!
//! What was dropped since needs no rule: the newest schema does not have it, so nobody reads it by that.

use super::model::{Schema, SchemaState, Table};
use crate::error::{Error, Result};
use basalt_common::TableId;
use std::collections::BTreeSet;
use std::sync::Arc;

/// See the module.
#[derive(Debug)]
pub struct SeenSchema {
    /// To bind statements with. Its version is the newest schema's, but it is not to be found by it: no plan made with it
    /// may be kept.
    pub schema: Arc<Schema>,
    /// The version of the schema under which the snapshot was taken.
    pub then: u64,
    /// Tables younger than the snapshot.
    young: BTreeSet<TableId>,
}

impl SeenSchema {
    /// `then` is the schema in force when the snapshot was taken, or the one a step before (F1's rule lets a reader work
    /// under either).
    pub fn new(newest: &Schema, then: &Schema) -> SeenSchema {
        let mut young = BTreeSet::new();
        let mut schema = newest.clone();
        for database in schema.databases.values_mut() {
            let changed: Vec<_> = database.tables.values().filter(|t| t.version > then.version).cloned().collect();
            for table in changed {
                match then.table_by_id(table.id) {
                    None => {
                        young.insert(table.id);
                    }
                    Some((_, old)) => {
                        let seen = Arc::new(without_young_indexes(&table, old));
                        Arc::make_mut(database).tables.insert(table.name.to_lowercase(), seen);
                    }
                }
            }
        }
        SeenSchema { schema: Arc::new(schema), then: then.version, young }
    }

    /// Refuses to read a table that is younger than the snapshot.
    ///
    /// # Errors
    /// 1412.
    pub fn check_read(&self, table: TableId) -> Result<()> {
        if self.young.contains(&table) { Err(Error::table_definition_changed()) } else { Ok(()) }
    }
}

fn without_young_indexes(table: &Table, old: &Table) -> Table {
    let mut table = table.clone();
    let was_public = |id| old.indexes.iter().any(|i| i.id == id && i.state == SchemaState::Public);
    for index in &mut table.indexes {
        if index.state == SchemaState::Public && !was_public(index.id) {
            index.state = SchemaState::WriteReorganization;
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::model::{Database, Handle, Index};
    use basalt_common::IndexId;
    use std::collections::BTreeMap;

    fn table(id: u64, version: u64, indexes: &[(u64, SchemaState)]) -> Table {
        let index = |&(id, state): &(u64, SchemaState)| Index {
            id: IndexId(id),
            name: format!("i{id}"),
            columns: Vec::new(),
            unique: false,
            primary: false,
            state,
            comment: String::new(),
        };
        Table {
            id: TableId(id),
            name: format!("t{id}"),
            database_id: 1,
            columns: Vec::new(),
            indexes: indexes.iter().map(index).collect(),
            handle: Handle::Hidden,
            charset: String::new(),
            collation: String::new(),
            comment: String::new(),
            created_unix_ms: 0,
            version,
            next_index_id: 9,
            next_column_id: 1,
        }
    }

    fn schema(version: u64, tables: Vec<Table>) -> Schema {
        let tables: BTreeMap<_, _> = tables.into_iter().map(|t| (t.name.clone(), Arc::new(t))).collect();
        let (charset, collation) = (String::new(), String::new());
        let database = Database { id: 1, name: "d".into(), charset, collation, tables };
        Schema {
            version,
            databases: BTreeMap::from([("d".to_string(), Arc::new(database))]),
            claims: Default::default(),
        }
    }

    #[test]
    fn young_tables_are_refused_and_young_indexes_are_only_maintained() {
        use SchemaState::{Public, WriteOnly};
        let then = schema(5, vec![table(1, 3, &[(1, Public), (2, WriteOnly)]), table(2, 5, &[(1, Public)])]);
        let newest =
            schema(9, vec![table(1, 8, &[(1, Public), (2, Public), (3, Public)]), table(2, 5, &[(1, Public)])]);
        let mut newest = newest;
        let made = schema(9, vec![table(3, 9, &[])]).databases["d"].tables["t3"].clone();
        Arc::make_mut(newest.databases.get_mut("d").unwrap()).tables.insert("t3".into(), made);
        let seen = SeenSchema::new(&newest, &then);
        let states: Vec<_> = seen.schema.table("d", "t1").unwrap().indexes.iter().map(|i| i.state).collect();
        assert_eq!(states, [Public, SchemaState::WriteReorganization, SchemaState::WriteReorganization]);
        assert!(Arc::ptr_eq(seen.schema.table("d", "t2").unwrap(), newest.table("d", "t2").unwrap()));
        assert_eq!(seen.check_read(TableId(3)).unwrap_err().code(), 1412);
        assert!(seen.check_read(TableId(1)).is_ok() && seen.check_read(TableId(2)).is_ok());
    }
}
