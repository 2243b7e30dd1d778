//! Money moves between rows of several regions, and each transfer writes a line into a ledger.
//!
//! The sum never changes, whoever reads it; every transfer that was acknowledged stands in the ledger, none that failed does;
//! and each account has what the ledger says.

use crate::workload::{Answer, Played, Said, Step, Transaction, Workload};
use basalt_tests::history::Outcome;
use rand::Rng;
use rand::rngs::SmallRng;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};

const ACCOUNTS: i64 = 40;
const BALANCE: i64 = 1000;
const REGIONS: i64 = 4;
/// From a region's ledger lines to the next region's.
const STRIDE: i64 = 1_000_000_000;

/// See the module.
#[derive(Debug, Default)]
pub struct Bank {
    transfers: AtomicI64,
}

/// A line of the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transfer {
    id: i64,
    from: i64,
    to: i64,
    amount: i64,
}

/// What a statement means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// UPDATE of one account or of both.
    Move,
    /// INSERT of a ledger's line.
    Note(Transfer),
    /// SELECT of the sum of all balances.
    Sum,
    /// SELECT of all balances.
    Balances,
    /// SELECT of all lines.
    Ledger,
}

impl Bank {
    fn transfer(&self, random: &mut SmallRng) -> Vec<Step<Deed>> {
        let number = self.transfers.fetch_add(1, Ordering::Relaxed) + 1;
        let (from, other) = (random.random_range(0..ACCOUNTS), random.random_range(1..ACCOUNTS));
        let (to, amount) = ((from + other) % ACCOUNTS, random.random_range(1..10));
        let transfer = Transfer { id: number % REGIONS * STRIDE + number, from, to, amount };
        let mut steps = if random.random_range(0..4) == 0 {
            let sql = format!(
                "UPDATE account SET balance = balance + CASE id WHEN {from} THEN -{amount} ELSE {amount} END \
                 WHERE id IN ({from}, {to})"
            );
            vec![Step::new(sql, Deed::Move)]
        } else {
            let leg = |id, by| format!("UPDATE account SET balance = balance + {by} WHERE id = {id}");
            vec![Step::new(leg(from, -amount), Deed::Move), Step::new(leg(to, amount), Deed::Move)]
        };
        let place = random.random_range(0..=steps.len());
        steps.insert(place, note(transfer));
        if random.random_range(0..8) == 0 {
            steps[place].pause_ms = random.random_range(1..40);
        }
        steps
    }
}

fn note(transfer: Transfer) -> Step<Deed> {
    let Transfer { id, from, to, amount } = transfer;
    Step::new(format!("INSERT INTO ledger VALUES ({id}, {from}, {to}, {amount})"), Deed::Note(transfer))
}

/// The sum in one statement, by the rows or by the index.
fn sum(by_index: bool) -> Step<Deed> {
    let sql = if by_index {
        "SELECT SUM(balance) FROM account FORCE INDEX (by_balance) WHERE balance > -1000000000"
    } else {
        "SELECT SUM(balance) FROM account"
    };
    Step::new(sql.into(), Deed::Sum)
}

impl Workload for Bank {
    type Deed = Deed;

    fn setup(&self) -> Vec<String> {
        let rows: Vec<String> = (0..ACCOUNTS).map(|id| format!("({id}, {BALANCE})")).collect();
        let splits: Vec<String> = (1..REGIONS).map(|region| format!("({})", region * STRIDE)).collect();
        vec![
            "CREATE TABLE account (id BIGINT PRIMARY KEY, balance BIGINT NOT NULL, KEY by_balance (balance))".into(),
            "CREATE TABLE ledger (id BIGINT PRIMARY KEY, source BIGINT NOT NULL, target BIGINT NOT NULL, \
             amount BIGINT NOT NULL)"
                .into(),
            format!("SPLIT TABLE account BETWEEN (0) AND ({ACCOUNTS}) REGIONS {REGIONS}"),
            format!("SPLIT TABLE account INDEX by_balance BY ({BALANCE})"),
            format!("SPLIT TABLE ledger BY {}", splits.join(", ")),
            format!("INSERT INTO account VALUES {}", rows.join(", ")),
        ]
    }

    fn draw(&self, random: &mut SmallRng) -> Transaction<Deed> {
        match random.random_range(0..10) {
            0 => Transaction { autocommit: true, commits: true, steps: vec![sum(random.random_range(0..2) == 0)] },
            1 => Transaction { autocommit: false, commits: true, steps: vec![sum(false), sum(true)] },
            _ => {
                let commits = random.random_range(0..20) != 0;
                Transaction { autocommit: false, commits, steps: self.transfer(random) }
            }
        }
    }

    fn last(&self) -> Vec<Step<Deed>> {
        let balances = |by: &str| Step::new(format!("SELECT id, balance FROM account {by}"), Deed::Balances);
        vec![
            sum(false),
            sum(true),
            balances(""),
            balances("FORCE INDEX (by_balance) WHERE balance > -1000000000"),
            Step::new("SELECT id, source, target, amount FROM ledger".into(), Deed::Ledger),
        ]
    }

    fn judge(&self, played: &Played<Deed>) -> Vec<String> {
        let mut found = Vec::new();
        for (number, attempt) in played.attempts.iter().chain(&played.last).enumerate() {
            for (deed, said) in attempt.steps() {
                if let (Deed::Sum, Answer::Rows(rows)) = (deed, &said.answer)
                    && *rows != [[(ACCOUNTS * BALANCE).to_string()]]
                {
                    found.push(format!("T{number}: the sum is {rows:?}, not {}", ACCOUNTS * BALANCE));
                }
            }
        }
        let last = |of: Deed| {
            let steps = played.last.iter().flat_map(|attempt| attempt.steps());
            steps.filter(move |(deed, _)| **deed == of).map(|(_, said)| numbers(said))
        };
        for ledger in last(Deed::Ledger) {
            judge_ledger(played, &ledger, &mut found);
            let mut wanted: BTreeMap<i64, i64> = (0..ACCOUNTS).map(|id| (id, BALANCE)).collect();
            for line in ledger.values() {
                *wanted.entry(line[0]).or_default() -= line[2];
                *wanted.entry(line[1]).or_default() += line[2];
            }
            for balances in last(Deed::Balances) {
                let differs = wanted.iter().filter(|(id, wanted)| balances.get(id) != Some(&vec![**wanted]));
                found.extend(differs.map(|(id, wanted)| {
                    format!("account {id} has {:?}, and {wanted} by the ledger", balances.get(id))
                }));
            }
        }
        found
    }
}

/// Who was told that a transfer is done finds it, who was told that it is not does not, and nothing else is there.
fn judge_ledger(played: &Played<Deed>, ledger: &BTreeMap<i64, Vec<i64>>, found: &mut Vec<String>) {
    let mut strange: BTreeMap<i64, &Vec<i64>> = ledger.iter().map(|(id, line)| (*id, line)).collect();
    for (number, attempt) in played.attempts.iter().enumerate() {
        for (deed, _) in attempt.steps() {
            let Deed::Note(Transfer { id, from, to, amount }) = deed else { continue };
            let line = strange.remove(id);
            match (attempt.outcome(), line) {
                (Outcome::Committed, None) => {
                    found.push(format!("T{number}: transfer {id} was acknowledged and is lost"))
                }
                (Outcome::Aborted, Some(_)) => found.push(format!("T{number}: transfer {id} failed and is there")),
                (_, Some(line)) if *line != [*from, *to, *amount] => {
                    found.push(format!("T{number}: transfer {id} reads {line:?}"));
                }
                _ => {}
            }
        }
    }
    found.extend(strange.keys().map(|id| format!("nobody made transfer {id}")));
}

/// Rows of numbers by the first.
fn numbers(said: &Said) -> BTreeMap<i64, Vec<i64>> {
    let Answer::Rows(rows) = &said.answer else { return BTreeMap::new() };
    // What is no number cannot be equal to what is expected.
    let number = |text: &String| text.parse().unwrap_or(i64::MIN);
    rows.iter().map(|row| (number(&row[0]), row[1..].iter().map(number).collect())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{Attempt, Part};
    use basalt_tests::history::Level;

    fn alone(sql: &str, deed: Deed, rows: &[&[i64]]) -> Attempt<Deed> {
        let rows = rows.iter().map(|row| row.iter().map(i64::to_string).collect()).collect();
        let said = Said { part: Part::Step(0), start: 9, end: 10, answer: Answer::Rows(rows) };
        let steps = vec![Step::new(sql.into(), deed)];
        Attempt { client: 9, transaction: Transaction { autocommit: true, commits: true, steps }, said: vec![said] }
    }

    /// One transfer of 5 from account 1 to account 2, the answer to its COMMIT, and what is there last.
    fn judged(commit: Answer, ledger: &[&[i64]], moved: i64, sum: i64) -> String {
        let transfer = Transfer { id: 7, from: 1, to: 2, amount: 5 };
        let said = |part, answer| Said { part, start: 1, end: 2, answer };
        let attempt = Attempt {
            client: 0,
            transaction: Transaction { autocommit: false, commits: true, steps: vec![note(transfer)] },
            said: vec![said(Part::Step(0), Answer::Done(1)), said(Part::Commit, commit)],
        };
        let balances: Vec<[i64; 2]> = (0..ACCOUNTS)
            .map(|id| {
                [
                    id,
                    BALANCE
                        + if id == 1 {
                            -moved
                        } else if id == 2 {
                            moved
                        } else {
                            0
                        },
                ]
            })
            .collect();
        let balances: Vec<&[i64]> = balances.iter().map(|row| &row[..]).collect();
        let last = vec![
            alone("", Deed::Sum, &[&[sum]]),
            alone("", Deed::Balances, &balances),
            alone("", Deed::Ledger, ledger),
        ];
        Bank::default().judge(&Played { level: Level::RepeatableRead, attempts: vec![attempt], last }).join("\n")
    }

    #[test]
    fn planted_faults_are_found() {
        let total = ACCOUNTS * BALANCE;
        let (done, failed) = (|| Answer::Done(0), || Answer::Error(9005, String::new()));
        let (lost, line) = (|| Answer::Lost(String::new()), &[7, 1, 2, 5][..]);
        assert_eq!(judged(done(), &[line], 5, total), "");
        assert_eq!(judged(failed(), &[], 0, total), "");
        assert_eq!(judged(lost(), &[line], 5, total), "");
        assert_eq!(judged(lost(), &[], 0, total), "");
        assert_eq!(judged(Answer::Error(8501, String::new()), &[line], 5, total), "");
        assert_eq!(judged(done(), &[], 0, total), "T0: transfer 7 was acknowledged and is lost");
        assert_eq!(judged(failed(), &[line], 5, total), "T0: transfer 7 failed and is there");
        assert!(judged(done(), &[line], 0, total).contains("account 1 has Some([1000]), and 995 by the ledger"));
        assert!(judged(done(), &[&[7, 1, 2, 6]], 6, total).contains("transfer 7 reads [1, 2, 6]"));
        assert!(judged(done(), &[line, &[8, 1, 2, 0]], 5, total).contains("nobody made transfer 8"));
        assert!(judged(done(), &[line], 5, total - 5).contains("the sum is [[\"39995\"]], not 40000"));
    }
}
