//! Metadata locks: which tables transactions use, each since which version of the schema.
//!
//! A change of a table goes on only when no transaction of any server uses it under an older version than the last step
//! made (Rae et al., "Online, Asynchronous Schema Change in F1", §3: operations of two versions meet, never of three). So
//! a transaction need not fail because a table of its changed, and the change waits instead.

use super::claims::TableUse;
use basalt_common::TableId;
use basalt_proto::pd::HeldTable;
use std::collections::BTreeMap;

/// The tables that this server's transactions and running statements use.
#[derive(Debug, Default)]
pub(super) struct Holds {
    /// How many use a table since a version.
    counts: BTreeMap<(TableId, TableUse, u64), usize>,
}

impl Holds {
    pub fn enter(&mut self, table: TableId, table_use: TableUse, version: u64) {
        *self.counts.entry((table, table_use, version)).or_default() += 1;
    }

    /// True when nobody else uses the table so since that version.
    pub fn leave(&mut self, table: TableId, table_use: TableUse, version: u64) -> bool {
        let key = (table, table_use, version);
        match self.counts.get_mut(&key) {
            Some(count) if *count > 1 => {
                *count -= 1;
                false
            }
            _ => self.counts.remove(&key).is_some(),
        }
    }

    /// The tables that are used since before `version`, each with the oldest, for each use.
    pub fn older_than(&self, version: u64) -> Vec<HeldTable> {
        let mut older: Vec<HeldTable> = Vec::new();
        for (table, table_use, since) in self.counts.keys().filter(|(_, _, since)| *since < version) {
            let reads_only = *table_use == TableUse::Reads;
            // Of one table and use the oldest comes first.
            if older.last().is_none_or(|held| (held.table_id, held.reads_only) != (table.0, reads_only)) {
                older.push(HeldTable { table_id: table.0, schema_version: *since, reads_only });
            }
        }
        older
    }
}

#[cfg(test)]
mod tests {
    use super::TableUse::{Reads, Writes};
    use super::*;

    #[test]
    fn a_table_is_told_with_the_oldest_version_of_each_use() {
        let mut holds = Holds::default();
        let (a, b) = (TableId(1), TableId(2));
        for (table, table_use, version) in [(a, Reads, 5), (a, Reads, 5), (a, Reads, 7), (a, Writes, 6), (b, Reads, 8)]
        {
            holds.enter(table, table_use, version);
        }
        let told = |holds: &Holds| -> Vec<(u64, u64, bool)> {
            holds.older_than(8).iter().map(|held| (held.table_id, held.schema_version, held.reads_only)).collect()
        };
        assert_eq!(told(&holds), [(1, 5, true), (1, 6, false)]);
        assert!(!holds.leave(a, Reads, 5));
        assert!(holds.leave(a, Reads, 5));
        assert_eq!(told(&holds), [(1, 7, true), (1, 6, false)]);
        assert!(holds.leave(a, Reads, 7) && holds.leave(a, Writes, 6));
        assert!(told(&holds).is_empty());
    }
}
