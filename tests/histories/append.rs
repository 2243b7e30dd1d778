//! Lists that grow, read in every way; the checker of histories judges.
//!
//! A few lists are in use at a time. When they have grown for a while the next generation comes, so that reads stay short.
//! Those of the first places have their rows from the beginning, those of the last come by INSERT … ON DUPLICATE KEY UPDATE.

use crate::record;
use crate::workload::{Answer, Played, Said, Step, Transaction, Workload};
use basalt_tests::history::{Object, Operation, Reading};
use rand::Rng;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, Ordering};

/// Lists in use at a time, each in another region.
const PLACES: u32 = 5;
/// Those whose rows are there from the beginning.
const PRESENT: u32 = 3;
/// Appends of a generation.
const GENERATION: i64 = 300;
const GENERATIONS_MAX: u32 = 400;
/// From a place's lists to the next place's.
const STRIDE: u32 = 10_000;

/// See the module.
#[derive(Debug, Default)]
pub struct Append {
    elements: AtomicI64,
}

/// What a statement means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// UPDATE.
    Append { lists: Vec<u32>, element: i64 },
    /// INSERT … ON DUPLICATE KEY UPDATE.
    Upsert { list: u32, element: i64 },
    /// SELECT; of all lists where there is none.
    Read { lists: Vec<u32>, reading: Reading },
}

impl Append {
    fn generation(&self) -> u32 {
        let generation = self.elements.load(Ordering::Relaxed) / GENERATION;
        u32::try_from(generation).map_or(GENERATIONS_MAX - 1, |generation| generation.min(GENERATIONS_MAX - 1))
    }

    fn step(&self, random: &mut SmallRng) -> Step<Deed> {
        let generation = self.generation();
        let places: Vec<u32> = (0..PLACES).collect();
        let mut some = |of: &[u32]| -> Vec<u32> {
            let count = random.random_range(1..=of.len().min(3));
            let mut some: Vec<u32> =
                of.choose_multiple(random, count).map(|place| place * STRIDE + generation).collect();
            some.sort_unstable();
            some
        };
        let (any, present) = (some(&places), some(&places[..PRESENT as usize]));
        let element = self.elements.fetch_add(1, Ordering::Relaxed) + 1;
        let mut step = match random.random_range(0..20) {
            0..4 => append(any[..1].to_vec(), element),
            4..7 => append(present, element),
            7..11 => upsert(any[0], element),
            11..16 => read(any, "", random.random_range(0..5) == 0),
            16..18 => read(any, " FOR UPDATE", false),
            _ => read(any, " FOR SHARE", false),
        };
        step.pause_ms = if random.random_range(0..8) == 0 { random.random_range(1..30) } else { 0 };
        step
    }
}

fn append(lists: Vec<u32>, element: i64) -> Step<Deed> {
    let sql = format!("UPDATE lists SET l = CONCAT(l, ',{element}'), n = n + 1 WHERE id IN ({})", joined(&lists));
    Step::new(sql, Deed::Append { lists, element })
}

fn upsert(list: u32, element: i64) -> Step<Deed> {
    let sql = format!(
        "INSERT INTO lists (id, n, l) VALUES ({list}, 1, ',{element}') \
         ON DUPLICATE KEY UPDATE n = n + 1, l = CONCAT(l, ',{element}')"
    );
    Step::new(sql, Deed::Upsert { list, element })
}

fn read(lists: Vec<u32>, how: &str, by_index: bool) -> Step<Deed> {
    let index = if by_index { " FORCE INDEX (by_n)" } else { "" };
    let condition = if by_index { "n > 0 AND " } else { "" };
    let sql = format!("SELECT id, n, l FROM lists{index} WHERE {condition}id IN ({}){how}", joined(&lists));
    let reading = if how.is_empty() { Reading::Plain } else { Reading::Locking };
    Step::new(sql, Deed::Read { lists, reading })
}

fn joined(lists: &[u32]) -> String {
    lists.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
}

impl Workload for Append {
    type Deed = Deed;

    fn setup(&self) -> Vec<String> {
        let rows: Vec<String> = (0..PRESENT)
            .flat_map(|place| (0..GENERATIONS_MAX).map(move |generation| place * STRIDE + generation))
            .map(|list| format!("({list}, 0, '')"))
            .collect();
        let splits: Vec<String> = (1..PLACES).map(|place| format!("({})", place * STRIDE)).collect();
        vec![
            "CREATE TABLE lists (id INT PRIMARY KEY, n INT NOT NULL, l TEXT NOT NULL, KEY by_n (n))".into(),
            format!("SPLIT TABLE lists BY {}", splits.join(", ")),
            "SPLIT TABLE lists INDEX by_n BY (1), (30)".into(),
            format!("INSERT INTO lists VALUES {}", rows.join(", ")),
        ]
    }

    fn draw(&self, random: &mut SmallRng) -> Transaction<Deed> {
        let autocommit = random.random_range(0..10) < 2;
        let count = if autocommit { 1 } else { random.random_range(1..=4) };
        let steps = (0..count).map(|_| self.step(random)).collect();
        Transaction { autocommit, commits: random.random_range(0..20) != 0, steps }
    }

    fn last(&self) -> Vec<Step<Deed>> {
        let all = Deed::Read { lists: Vec::new(), reading: Reading::Plain };
        let rows = "SELECT id, n, l FROM lists WHERE n > 0";
        let index = "SELECT id, n, l FROM lists FORCE INDEX (by_n) WHERE n > 0";
        [rows, index].map(|sql| Step::new(sql.into(), all.clone())).to_vec()
    }

    fn judge(&self, played: &Played<Deed>) -> Vec<String> {
        let mut found = record::anomalies(&record::history(played, Vec::new(), |deed, said| {
            operations(deed, said, self.generation())
        }));
        for (number, attempt) in played.attempts.iter().chain(&played.last).enumerate() {
            for (deed, said) in attempt.steps() {
                found.extend(fault(deed, said).map(|fault| format!("T{number}: {fault}")));
            }
        }
        found
    }
}

/// What a statement did, for the checker.
fn operations(deed: &Deed, said: &Said, generation: u32) -> Vec<Operation> {
    let append = |list: &u32, element: &i64| Operation::Append { object: Object::List(*list), element: *element };
    match deed {
        // The row was not there.
        Deed::Append { .. } if said.answer == Answer::Done(0) => Vec::new(),
        Deed::Append { lists, element } => lists.iter().map(|list| append(list, element)).collect(),
        Deed::Upsert { list, element } => vec![append(list, element)],
        Deed::Read { lists, reading } => {
            let Answer::Rows(rows) = &said.answer else { return Vec::new() };
            let all = (0..PLACES).flat_map(|place| (0..=generation).map(move |number| place * STRIDE + number));
            let lists = if lists.is_empty() { all.collect() } else { lists.clone() };
            let found: std::collections::HashMap<&str, &Vec<String>> =
                rows.iter().map(|row| (row[0].as_str(), row)).collect();
            let read = |list: &u32| Operation::ReadList {
                object: Object::List(*list),
                elements: found.get(list.to_string().as_str()).map_or_else(Vec::new, |row| elements(&row[2])),
                reading: *reading,
            };
            lists.iter().map(read).collect()
        }
    }
}

/// A row's count is that of its list, no row comes twice, and an UPDATE meets the rows that are there.
fn fault(deed: &Deed, said: &Said) -> Option<String> {
    match (deed, &said.answer) {
        (Deed::Append { lists, .. }, Answer::Done(affected)) => {
            let most = lists.len() as u64;
            let least = lists.iter().filter(|list| **list < PRESENT * STRIDE).count() as u64;
            (!(least..=most).contains(affected)).then(|| format!("UPDATE of lists {lists:?} met {affected} rows"))
        }
        (Deed::Read { .. }, Answer::Rows(rows)) => {
            let ids: BTreeSet<&String> = rows.iter().map(|row| &row[0]).collect();
            let differs = rows.iter().find(|row| row[1].parse() != Ok(elements(&row[2]).len()));
            let differs = differs.map(|row| format!("index and row differ: n is {}, l is {}", row[1], row[2]));
            differs.or((ids.len() < rows.len()).then(|| format!("a row twice: {rows:?}")))
        }
        _ => None,
    }
}

fn elements(list: &str) -> Vec<i64> {
    list.split(',').filter_map(|element| element.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{Attempt, Part};
    use basalt_tests::history::Level;

    fn attempt(start: u64, step: Step<Deed>, answer: Answer) -> Attempt<Deed> {
        let transaction = Transaction { autocommit: true, commits: true, steps: vec![step] };
        Attempt {
            client: start as u32,
            transaction,
            said: vec![Said { part: Part::Step(0), start, end: start + 1, answer }],
        }
    }

    fn rows(rows: &[[&str; 3]]) -> Answer {
        Answer::Rows(rows.iter().map(|row| row.map(str::to_string).to_vec()).collect())
    }

    fn judged(attempts: Vec<Attempt<Deed>>) -> String {
        Append::default().judge(&Played { level: Level::RepeatableRead, attempts, last: vec![] }).join("\n")
    }

    #[test]
    fn planted_faults_are_found() {
        let wrote = || attempt(0, append(vec![1], 7), Answer::Done(1));
        let saw = |answer| attempt(10, read(vec![1], "", false), answer);
        assert_eq!(judged(vec![wrote(), saw(rows(&[["1", "1", ",7"]]))]), "");
        assert!(judged(vec![wrote(), saw(rows(&[["1", "0", ""]]))]).contains("lost append"));
        assert!(judged(vec![wrote(), saw(rows(&[["1", "2", ",7"]]))]).contains("index and row differ"));
        assert!(judged(vec![wrote(), saw(rows(&[["1", "1", ",7"], ["1", "1", ",7"]]))]).contains("a row twice"));
        assert!(judged(vec![attempt(0, append(vec![1], 7), Answer::Done(0))]).contains("met 0 rows"));
        let failed = attempt(0, upsert(1, 7), Answer::Error(9005, String::new()));
        assert!(judged(vec![failed, saw(rows(&[["1", "1", ",7"]]))]).contains("aborted read"));
        let unknown = |answer| attempt(0, upsert(1, 7), answer);
        assert_eq!(judged(vec![unknown(Answer::Lost(String::new())), saw(rows(&[["1", "1", ",7"]]))]), "");
        assert_eq!(judged(vec![unknown(Answer::Error(8501, String::new())), saw(rows(&[]))]), "");
    }
}
