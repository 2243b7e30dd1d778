//! Claims of tables: what a schema change or LOCK TABLES keeps from others, as MySQL's metadata locks of whole tables do.
//!
//! | claim of | made by | keeps waiting | waits for |
//! |---|---|---|---|
//! | all uses | DROP, TRUNCATE, RENAME; LOCK TABLES … WRITE | whoever does not use the table yet | transactions that use it |
//! | writes | LOCK TABLES … READ | whoever has not written to it yet | transactions that have written to it |
//!
//! Claims that do not get along are served in the order of the steps that made them. One that is not served yet keeps others
//! waiting all the same: new transactions do not overtake it. So a claim waits for earlier claims and for transactions, a
//! transaction for claims, and a circle always has a transaction in it, which gets the error.

use basalt_common::TableId;
use std::collections::BTreeSet;

/// What a statement does with a table. The later one includes the earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TableUse {
    /// It reads rows, perhaps with FOR SHARE.
    Reads,
    /// It changes rows, or locks them with FOR UPDATE.
    Writes,
}

/// Tables that are kept from others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// From everybody.
    pub all: BTreeSet<TableId>,
    /// From those that write; none of them is in `all`.
    pub writes: BTreeSet<TableId>,
}

impl Wanted {
    /// Keeps tables from everybody.
    pub fn all(tables: impl IntoIterator<Item = TableId>) -> Wanted {
        Wanted { all: tables.into_iter().collect(), writes: BTreeSet::new() }
    }

    /// No table.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty() && self.writes.is_empty()
    }

    /// Whether such a use has to wait.
    pub fn keeps(&self, table: TableId, table_use: TableUse) -> bool {
        self.all.contains(&table) || table_use == TableUse::Writes && self.writes.contains(&table)
    }

    /// Whether only one of the two is served at a time.
    fn excludes(&self, other: &Wanted) -> bool {
        let is_in = |tables: &BTreeSet<TableId>, other: &Wanted| {
            tables.iter().any(|table| other.all.contains(table) || other.writes.contains(table))
        };
        is_in(&self.all, other) || is_in(&other.all, self)
    }
}

/// One claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Its id.
    pub id: u64,
    /// The version of the schema whose step made it: its place in the queue.
    pub since: u64,
    /// What it keeps from others.
    pub wanted: Wanted,
}

/// All claims, the first to be served first.
#[derive(Debug, Clone, Default)]
pub struct Claims(Vec<Claim>);

impl Claims {
    /// Puts claims in order.
    pub fn new(mut claims: Vec<Claim>) -> Claims {
        claims.sort_by_key(|claim| (claim.since, claim.id));
        Claims(claims)
    }

    /// In order.
    pub fn iter(&self) -> std::slice::Iter<'_, Claim> {
        self.0.iter()
    }

    /// The claim of this id.
    pub fn find(&self, id: u64) -> Option<&Claim> {
        self.0.iter().find(|claim| claim.id == id)
    }

    /// Whether a claim keeps the table from those that write.
    pub fn keep_writers_from(&self, table: TableId) -> bool {
        self.0.iter().any(|claim| claim.wanted.keeps(table, TableUse::Writes))
    }

    /// A claim and all that it waits for, one behind the other.
    pub fn queue_of(&self, last: &Claim) -> Vec<&Claim> {
        let mut queue: Vec<&Claim> = Vec::new();
        for claim in self.0.iter().rev().skip_while(|claim| claim.id != last.id) {
            if queue.is_empty() || queue.iter().any(|behind| behind.wanted.excludes(&claim.wanted)) {
                queue.push(claim);
            }
        }
        queue
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: TableId = TableId(1);
    const U: TableId = TableId(2);

    fn claim(id: u64, all: &[TableId], writes: &[TableId]) -> Claim {
        let wanted = Wanted { all: all.iter().copied().collect(), writes: writes.iter().copied().collect() };
        Claim { id, since: id, wanted }
    }

    fn queue_of(claims: &Claims, id: u64) -> Vec<u64> {
        claims.queue_of(claims.find(id).unwrap()).iter().map(|claim| claim.id).collect()
    }

    #[test]
    fn a_claim_of_writes_lets_readers_in() {
        let claims = Claims::new(vec![claim(1, &[T], &[U])]);
        let wanted = &claims.find(1).unwrap().wanted;
        assert!(wanted.keeps(T, TableUse::Reads) && wanted.keeps(T, TableUse::Writes));
        assert!(!wanted.keeps(U, TableUse::Reads) && wanted.keeps(U, TableUse::Writes));
        assert!(claims.keep_writers_from(U) && !claims.keep_writers_from(TableId(3)));
    }

    #[test]
    fn claims_wait_for_earlier_ones_that_exclude_them() {
        let shared = |id| claim(id, &[], &[T]);
        let claims = Claims::new(vec![claim(3, &[T, U], &[]), shared(2), shared(1), claim(4, &[U], &[]), shared(5)]);
        assert_eq!(queue_of(&claims, 1), [1]);
        assert_eq!(queue_of(&claims, 2), [2]);
        assert_eq!(queue_of(&claims, 3), [3, 2, 1]);
        // Of another table, but behind one that waits for the first.
        assert_eq!(queue_of(&claims, 4), [4, 3, 2, 1]);
        assert_eq!(queue_of(&claims, 5), [5, 3, 2, 1]);
    }
}
