//! Metadata locks: which tables transactions use, each since which version of the schema.
//!
//! A change of a table goes on only when no transaction of any server uses it under an older version than the last step
//! made (Rae et al., "Online, Asynchronous Schema Change in F1", §3: operations of two versions meet, never of three). So
//! a transaction need not fail because a table of its changed, and the change waits instead.

use basalt_common::TableId;
use basalt_proto::pd::HeldTable;
use std::collections::BTreeMap;

/// The tables that this server's transactions and running statements use.
#[derive(Debug, Default)]
pub(super) struct Holds {
    /// How many use a table since a version.
    counts: BTreeMap<(TableId, u64), usize>,
}

impl Holds {
    pub fn enter(&mut self, table: TableId, version: u64) {
        *self.counts.entry((table, version)).or_default() += 1;
    }

    /// True when nobody else uses the table since that version.
    pub fn leave(&mut self, table: TableId, version: u64) -> bool {
        match self.counts.get_mut(&(table, version)) {
            Some(count) if *count > 1 => {
                *count -= 1;
                false
            }
            _ => self.counts.remove(&(table, version)).is_some(),
        }
    }

    /// The tables that are used since before `version`, each with the oldest.
    pub fn older_than(&self, version: u64) -> Vec<HeldTable> {
        let mut older: Vec<HeldTable> = Vec::new();
        for (table, since) in self.counts.keys().filter(|(_, since)| *since < version) {
            // Of one table the oldest comes first.
            if older.last().is_none_or(|held| held.table_id != table.0) {
                older.push(HeldTable { table_id: table.0, schema_version: *since });
            }
        }
        older
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_told_with_the_oldest_version_that_is_still_used() {
        let mut holds = Holds::default();
        let (a, b) = (TableId(1), TableId(2));
        for (table, version) in [(a, 5), (a, 5), (a, 7), (b, 8)] {
            holds.enter(table, version);
        }
        let told = |holds: &Holds| -> Vec<(u64, u64)> {
            holds.older_than(8).iter().map(|held| (held.table_id, held.schema_version)).collect()
        };
        assert_eq!(told(&holds), [(1, 5)]);
        assert!(!holds.leave(a, 5));
        assert!(holds.leave(a, 5));
        assert_eq!(told(&holds), [(1, 7)]);
        assert!(holds.leave(a, 7));
        assert!(told(&holds).is_empty());
    }
}
