//! Who held a unique value when.
//!
//! Each row has an id of its own, so each is born once and dies at most once:
//!
//! ```text
//!        INSERT's commit            DELETE's commit
//!        ├─────────────┤            ├─────────────┤
//!   may be there ─────────────────────────────────▶         from the first's start to the second's end
//!                      surely there ▶                       from the first's end to the second's start
//! ```
//! An unknown outcome makes the first longer and the second shorter. Of one value no two rows are surely there at once; none is
//! born wholly while another is surely there; nobody is refused (1062) while none may be there; and reads show all that is
//! surely there, nothing that cannot be, and no value twice.

use crate::unique::Deed;
use crate::workload::{Answer, Attempt, ER_DUPLICATE, Played, Said};
use basalt_tests::history::{Level, Outcome};
use std::collections::BTreeMap;

/// A row's life.
#[derive(Debug, Clone)]
struct Row {
    value: i64,
    /// Place of the transaction.
    writer: usize,
    /// The INSERT's commit: not before, not after.
    born: (u64, u64),
    /// The DELETE's: not before, not after; `u64::MAX` where there was none.
    died: (u64, u64),
}

impl Row {
    fn may_be_there(&self, start: u64, end: u64) -> bool {
        self.born.0 <= end && start <= self.died.1
    }

    fn is_surely_there(&self, start: u64, end: u64) -> bool {
        self.born.1 < start && end < self.died.0
    }
}

/// Everything that is wrong, a text each.
pub fn judge(played: &Played<Deed>) -> Vec<String> {
    let mut found = Vec::new();
    let rows = lives(played, &mut found);
    let mut by_value: BTreeMap<i64, Vec<(i64, &Row)>> = BTreeMap::new();
    rows.iter().for_each(|(id, row)| by_value.entry(row.value).or_default().push((*id, row)));
    by_value.iter().for_each(|(value, rows)| winners(*value, rows, &mut found));
    for (number, attempt) in played.attempts.iter().chain(&played.last).enumerate() {
        let judge = Judge { level: played.level, rows: &rows, by_value: &by_value };
        let mut texts = Vec::new();
        judge.attempt(attempt, &mut texts);
        found.extend(texts.into_iter().map(|text| format!("T{number}: {text}")));
    }
    found
}

/// Rows that were or may have been committed.
fn lives(played: &Played<Deed>, found: &mut Vec<String>) -> BTreeMap<i64, Row> {
    let mut rows: BTreeMap<i64, Row> = BTreeMap::new();
    let effective = |attempt: &&Attempt<Deed>| attempt.outcome() != Outcome::Aborted;
    for (writer, attempt) in played.attempts.iter().enumerate().filter(|(_, attempt)| effective(attempt)) {
        for (deed, _) in attempt.steps() {
            if let Deed::Insert { id, value } = *deed {
                let row = Row { value, writer, born: attempt.commit_window(), died: (u64::MAX, u64::MAX) };
                rows.insert(id, row);
            }
        }
    }
    let mut killers: BTreeMap<i64, usize> = BTreeMap::new();
    for (number, attempt) in played.attempts.iter().enumerate().filter(|(_, attempt)| effective(attempt)) {
        for (deed, said) in attempt.steps() {
            let (Deed::Delete { id }, false) = (deed, said.answer == Answer::Done(0)) else { continue };
            let (start, end) = attempt.commit_window();
            let is_committed = attempt.outcome() == Outcome::Committed;
            match rows.get_mut(id) {
                Some(row) if is_committed => {
                    row.died = (row.died.0.min(start), end.min(row.died.1));
                    if let Some(other) = killers.insert(*id, number) {
                        found.push(format!("T{other} and T{number} both deleted row {id}"));
                    }
                    // Somebody met it, so it was committed by then.
                    row.born.1 = row.born.1.min(said.end);
                }
                Some(row) => row.died.0 = row.died.0.min(start),
                None if is_committed => found.push(format!("T{number} deleted row {id}, which nobody inserted")),
                None => {}
            }
        }
    }
    rows
}

/// Two rows of a value at once.
fn winners(value: i64, rows: &[(i64, &Row)], found: &mut Vec<String>) {
    for (place, (id, row)) in rows.iter().enumerate() {
        for (other, rival) in &rows[place + 1..] {
            let from = row.born.1.max(rival.born.1);
            let until = row.died.0.min(rival.died.0);
            let born_beside = |row: &Row, rival: &Row| row.is_surely_there(rival.born.0, rival.born.1);
            if from < until || born_beside(row, rival) || born_beside(rival, row) {
                let (one, two) = (row.writer, rival.writer);
                found.push(format!("value {value} has two winners: row {id} of T{one} and row {other} of T{two}"));
            }
        }
    }
}

struct Judge<'a> {
    level: Level,
    rows: &'a BTreeMap<i64, Row>,
    by_value: &'a BTreeMap<i64, Vec<(i64, &'a Row)>>,
}

impl Judge<'_> {
    fn attempt(&self, attempt: &Attempt<Deed>, found: &mut Vec<String>) {
        let writes = |deed: &Deed| matches!(deed, Deed::Insert { .. } | Deed::Delete { .. });
        let has_written = attempt.steps().any(|(deed, _)| writes(deed));
        let mut before: Option<Vec<(i64, i64)>> = None;
        for (deed, said) in attempt.steps() {
            // A snapshot is not older than the transaction.
            let start = if self.level == Level::ReadCommitted { said.start } else { attempt.began() };
            let window = (start, said.end);
            match (*deed, &said.answer) {
                (Deed::Insert { value, .. }, Answer::Error(ER_DUPLICATE, _)) => {
                    let own = attempt
                        .steps()
                        .filter(|(deed, _)| matches!(deed, Deed::Insert { value: v, .. } if *v == value));
                    let all = self.by_value.get(&value).into_iter().flatten();
                    if own.count() < 2 && !all.into_iter().any(|(_, row)| row.may_be_there(window.0, window.1)) {
                        found.push(format!("value {value} was refused though free"));
                    }
                }
                (Deed::Delete { id }, Answer::Done(0)) if self.level != Level::Snapshot => {
                    let twice = attempt.steps().filter(|(deed, _)| **deed == Deed::Delete { id }).count() > 1;
                    if !twice && self.rows.get(&id).is_some_and(|row| row.is_surely_there(said.start, said.end)) {
                        found.push(format!("DELETE did not meet row {id}"));
                    }
                }
                (Deed::Holder { value, .. }, Answer::Rows(_)) if !has_written => {
                    self.read(said, window, Some(value), found)
                }
                (Deed::All { .. }, Answer::Rows(_)) => {
                    self.read(said, window, None, found);
                    let mut now = pairs(said);
                    now.sort_unstable();
                    if self.level != Level::ReadCommitted && before.as_ref().is_some_and(|before| *before != now) {
                        found.push(format!("rows and index differ: {before:?} and {now:?}"));
                    }
                    before = Some(now);
                }
                _ => {}
            }
        }
    }

    /// A read of one value's rows, or of all.
    fn read(&self, said: &Said, (start, end): (u64, u64), value: Option<i64>, found: &mut Vec<String>) {
        let read = pairs(said);
        let mut holders: BTreeMap<i64, i64> = BTreeMap::new();
        for (id, held) in &read {
            if let Some(other) = holders.insert(*held, *id) {
                found.push(format!("read value {held} twice, in rows {other} and {id}"));
            }
            match self.rows.get(id) {
                Some(row) if row.value != *held => found.push(format!("read {held} in row {id}, not {}", row.value)),
                Some(row) if row.may_be_there(start, end) => {}
                Some(row) => found.push(format!("read row {id} of T{}, not yet there or deleted before", row.writer)),
                None => found.push(format!("read row {id}, which nobody committed")),
            }
        }
        let of_value = value.map(|value| self.by_value.get(&value).into_iter().flatten());
        let wanted: Vec<_> = match of_value {
            Some(rows) => rows.collect(),
            None => self.by_value.values().flatten().collect(),
        };
        for (id, row) in wanted {
            if row.is_surely_there(start, end) && holders.get(&row.value) != Some(id) {
                found.push(format!("did not read row {id} of T{}, which was there", row.writer));
            }
        }
    }
}

/// Ids and values.
fn pairs(said: &Said) -> Vec<(i64, i64)> {
    let Answer::Rows(rows) = &said.answer else { return Vec::new() };
    // What is no number is no row that anybody made.
    let number = |text: &String| text.parse().unwrap_or(i64::MIN);
    rows.iter().map(|row| (number(&row[0]), number(&row[1]))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{Part, Step, Transaction};

    /// One statement in autocommit, from `at` to `at + 5`.
    fn alone(at: u64, deed: Deed, answer: Answer) -> Attempt<Deed> {
        let steps = vec![Step::new(String::new(), deed)];
        let said = vec![Said { part: Part::Step(0), start: at, end: at + 5, answer }];
        Attempt { client: at as u32, transaction: Transaction { autocommit: true, commits: true, steps }, said }
    }

    fn insert(at: u64, id: i64) -> Attempt<Deed> {
        alone(at, Deed::Insert { id, value: 1 }, Answer::Done(1))
    }

    fn refused(at: u64, id: i64) -> Attempt<Deed> {
        alone(at, Deed::Insert { id, value: 1 }, Answer::Error(ER_DUPLICATE, String::new()))
    }

    fn unknown(at: u64, deed: Deed) -> Attempt<Deed> {
        alone(at, deed, Answer::Lost(String::new()))
    }

    fn delete(at: u64, id: i64, affected: u64) -> Attempt<Deed> {
        alone(at, Deed::Delete { id }, Answer::Done(affected))
    }

    fn read(at: u64, rows: &[(i64, i64)]) -> Attempt<Deed> {
        let rows = rows.iter().map(|(id, value)| vec![id.to_string(), value.to_string()]).collect();
        alone(at, Deed::All { by_index: false }, Answer::Rows(rows))
    }

    fn judged(attempts: Vec<Attempt<Deed>>) -> String {
        judge(&Played { level: Level::RepeatableRead, attempts, last: vec![] }).join("\n")
    }

    #[test]
    fn two_winners_are_found() {
        assert_eq!(judged(vec![insert(0, 7), delete(10, 7, 1), insert(20, 8)]), "");
        assert_eq!(judged(vec![insert(0, 7), delete(10, 7, 1), insert(12, 8)]), "", "at the same time");
        let two = "value 1 has two winners: row 7 of T0 and row 8 of T1";
        assert_eq!(judged(vec![insert(0, 7), insert(20, 8)]), two);
        assert_eq!(judged(vec![insert(0, 7), insert(2, 8)]), two, "at the same time, and both stay");
        assert_eq!(judged(vec![insert(0, 7), insert(10, 8), delete(11, 8, 1), delete(30, 7, 1)]), two);
        let lost = |at, id| unknown(at, Deed::Insert { id, value: 1 });
        assert_eq!(judged(vec![insert(0, 7), lost(10, 8)]), "", "it failed");
        assert_eq!(judged(vec![insert(0, 7), unknown(10, Deed::Delete { id: 7 }), insert(20, 8)]), "");
        // A row of unknown outcome that was deleted had been there.
        assert_eq!(judged(vec![insert(0, 7), lost(10, 8), delete(20, 8, 1), delete(40, 7, 1)]), two);
    }

    #[test]
    fn refusals_and_deletes_are_judged() {
        assert_eq!(judged(vec![insert(0, 7), refused(10, 8)]), "");
        assert_eq!(judged(vec![insert(0, 7), refused(3, 8)]), "", "not yet acknowledged");
        assert_eq!(judged(vec![refused(0, 8), insert(10, 7)]), "T0: value 1 was refused though free");
        let freed = vec![insert(0, 7), delete(10, 7, 1), refused(20, 8)];
        assert_eq!(judged(freed), "T2: value 1 was refused though free");
        assert_eq!(judged(vec![insert(0, 7), delete(10, 7, 0)]), "T1: DELETE did not meet row 7");
        assert_eq!(judged(vec![insert(0, 7), delete(10, 7, 1), delete(11, 7, 1)]), "T1 and T2 both deleted row 7");
        assert_eq!(judged(vec![delete(0, 7, 1)]), "T0 deleted row 7, which nobody inserted");
    }

    #[test]
    fn reads_are_judged() {
        assert_eq!(judged(vec![insert(0, 7), read(10, &[(7, 1)])]), "");
        assert_eq!(judged(vec![insert(0, 7), read(10, &[])]), "T1: did not read row 7 of T0, which was there");
        assert_eq!(judged(vec![insert(0, 7), read(3, &[])]), "");
        assert_eq!(judged(vec![refused(3, 7), insert(0, 8), read(10, &[(7, 1), (8, 1)])]).lines().count(), 2);
        let gone = vec![insert(0, 7), delete(10, 7, 1), read(20, &[(7, 1)])];
        assert_eq!(judged(gone), "T2: read row 7 of T0, not yet there or deleted before");
        assert_eq!(judged(vec![insert(0, 7), read(10, &[(7, 2)])]).lines().count(), 2);
        let mut both = read(10, &[(7, 1)]);
        both.transaction.steps.push(Step::new(String::new(), Deed::All { by_index: true }));
        both.said.push(Said { part: Part::Step(1), start: 16, end: 17, answer: Answer::Rows(vec![]) });
        assert!(judged(vec![insert(0, 7), both]).contains("rows and index differ"));
    }
}
