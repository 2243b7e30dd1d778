//! Planted anomalies, each beside the nearest history that is clean.

use super::simulated::{Bug, simulate};
use super::*;
use std::collections::BTreeMap;

const LEVELS: [Level; 4] = [Level::ReadCommitted, Level::RepeatableRead, Level::Snapshot, Level::Serializable];

/// A history, a transaction a line, all at the same time unless `@START-END` says otherwise; statements between bars.
/// `!` aborted, `?` unknown, `sN` session; `aL:E` append, `rL:E.E` read, `lL:E.E` locking read of list L;
/// `wR:V` write, `vR:V` read, `kR:V` locking read of register R; `uN` undo from statement N.
fn history(text: &str, level: Level) -> History {
    let mut history = History::default();
    for (number, line) in text.lines().map(str::trim).filter(|line| !line.is_empty()).enumerate() {
        let (mut window, mut session, mut outcome) = ((0, 100), number as u32, Outcome::Committed);
        let mut statements = Vec::new();
        for part in line.split('|') {
            let mut operations = Vec::new();
            for word in part.split_whitespace() {
                let (what, rest) = word.split_at(1);
                let (id, values) = rest.split_once(':').unwrap_or((rest, ""));
                let values: Vec<i64> = values.split('.').filter_map(|value| value.parse().ok()).collect();
                let (list, register) = (id.parse().map(Object::List), id.parse().map(Object::Register));
                let reading = if matches!(what, "l" | "k") { Reading::Locking } else { Reading::Plain };
                match what {
                    "!" => outcome = Outcome::Aborted,
                    "?" => outcome = Outcome::Unknown,
                    "s" => session = id.parse().unwrap(),
                    "@" => {
                        let (start, end) = id.split_once('-').unwrap();
                        window = (start.parse().unwrap(), end.parse().unwrap());
                    }
                    "a" => operations.push(Operation::Append { object: list.unwrap(), element: values[0] }),
                    "w" => operations.push(Operation::Write { object: register.unwrap(), value: values[0] }),
                    "r" | "l" => {
                        operations.push(Operation::ReadList { object: list.unwrap(), elements: values, reading })
                    }
                    "v" | "k" => {
                        let value = values.first().copied();
                        operations.push(Operation::ReadRegister { object: register.unwrap(), value, reading });
                    }
                    "u" => operations.push(Operation::Undo { from: id.parse().unwrap() }),
                    _ => panic!("{word}"),
                }
            }
            statements.push(Statement { start: window.0, end: window.1, operations });
        }
        history.transactions.push(Transaction { session, level, outcome, statements });
    }
    history
}

/// What is found at each level: `-` for nothing, else the kinds.
#[track_caller]
fn expect(text: &str, wanted: [&str; 4]) {
    for (level, wanted) in LEVELS.into_iter().zip(wanted) {
        let mut found: Vec<_> =
            check(&history(text, level)).iter().map(|anomaly| format!("{:?}", anomaly.kind)).collect();
        found.sort();
        found.dedup();
        let found = if found.is_empty() { "-".to_string() } else { found.join(" ") };
        assert_eq!(found, wanted, "{level:?}: {text}");
    }
}

#[test]
fn g0_dirty_write() {
    expect("a1:1 | a2:1\n a1:2 | a2:2\n r1:1.2 r2:2.1", ["G0"; 4]);
    expect("a1:1 | a2:1\n a1:2 | a2:2\n r1:1.2 r2:1.2", ["-"; 4]);
    // Appends of one transaction with another's between them.
    expect("a1:1 | a1:3\n a1:2\n r1:1.2.3", ["G0"; 4]);
}

#[test]
fn g1a_aborted_read() {
    expect("! a1:1\n r1:1", ["G1a"; 4]);
    expect("! a1:1\n r1:", ["-"; 4]);
    expect("! w1:1\n v1:1", ["G1a"; 4]);
    expect("a2:9 | a1:1 | u1\n r1:1", ["G1a"; 4]);
    expect("a2:9 | a1:1 | r1:1 | u1 | r1:\n r1:", ["-"; 4]);
    // Somebody who sees it knows that it committed.
    expect("? a1:1\n r1:1", ["-"; 4]);
    expect("? a1:1\n r1:", ["-"; 4]);
}

#[test]
fn g1b_intermediate_read() {
    expect("a1:1 | a1:2\n r1:1\n r1:1.2", ["G1b"; 4].map(|_| "G1b GSingle"));
    expect("w1:1 | w1:2\n v1:1", ["G1b"; 4]);
    expect("w1:1 | w1:2\n v1:2", ["-"; 4]);
    expect("w1:1 | a2:5 | w1:2 | u1\n v1:1\n r2:", ["-"; 4]);
}

#[test]
fn g1c_circular_information_flow() {
    expect("a1:1 | r2:2\n a2:2 | r1:1", ["G1c"; 4]);
    expect("a1:1 | r2:2\n a2:2 | r1:", ["-", "-", "-", "-"]);
    expect("w1:1 | v2:2\n w2:2 | v1:1", ["G1c"; 4]);
}

#[test]
fn g_single_read_skew() {
    let skew = "a1:1 a2:1\n r1:1 | r2:\n r2:1";
    expect(skew, ["GSingle"; 4]);
    // READ COMMITTED: the second statement may see more, never less; one statement is of one moment.
    expect("a1:1 a2:1\n r1: | r2:1", ["-", "GSingle", "GSingle", "GSingle"]);
    expect("a1:1 a2:1\n r1: r2:1", ["GSingle"; 4]);
    expect("a1:1 a2:1\n r1: | r2:", ["-"; 4]);
    expect("w0:9 | w1:1 | w2:1\n k1:1 | w1:2 | k2:1 | w2:2\n v1:1 | v2:2", ["-", "GSingle", "GSingle", "GSingle"]);
    // A locking read sees what is newest, later plain reads go on seeing the snapshot.
    expect("a1:1 a2:1\n r1: | l2:1", ["-", "-", "GSingle", "GSingle"]);
    expect("a1:1 a2:1\n r1: | l1:1 | r2:", ["GSingle", "-", "GSingle", "GSingle"]);
    // But not the other way round.
    expect("a1:1 a2:1\n a1:2 a2:2\n r1:1.2 | l2:1\n r2:1.2", ["GSingle"; 4]);
    // Own writes bring the newest version of the row to plain reads.
    expect("a1:1 a2:1\n r2: | a1:2 | r1:1.2", ["-", "-", "GSingle", "GSingle"]);
}

#[test]
fn lost_update() {
    let plain = "a1:1\n r1: | a1:2\n r1:1.2";
    expect(plain, ["-", "-", "LostUpdate", "LostUpdate"]);
    let locking = "a1:1\n a1:2\n l1:1 | a1:3\n r1:1.2.3";
    expect(locking, ["LostUpdate"; 4]);
    expect("a1:1\n a1:2\n l1:1.2 | a1:3\n r1:1.2.3", ["-"; 4]);
    // Registers: two replaced one value.
    expect("w1:1\n v1:1 | w1:2\n v1:1 | w1:3", ["-", "-", "LostUpdate", "LostUpdate"]);
    expect("w1:1\n k1:1 | w1:2\n k1:1 | w1:3", ["LostUpdate"; 4]);
    expect("w1:1\n k1:1 | w1:2\n k1:2 | w1:3", ["-"; 4]);
}

#[test]
fn long_fork() {
    expect("a1:1\n a2:1\n r1:1 r2:\n r1: r2:1", ["LongFork"; 4]);
    // In statements of their own, in orders that have to do with each other or not.
    expect("a1:1\n a2:1\n r1:1 | r2:\n r1: | r2:1", ["-", "LongFork", "LongFork", "LongFork"]);
    expect("a1:1\n a2:1\n r1:1 | r2:\n r2:1 | r1:", ["LongFork"; 4]);
    expect("a1:1\n a2:1\n r1:1 r2:\n r1:1 r2:1", ["-"; 4]);
}

#[test]
fn g2_item_write_skew() {
    expect("r1: | a2:1\n r2: | a1:1\n r1:1 r2:1", ["-", "-", "-", "G2Item"]);
    expect("a1:9 a2:9\n l1:9 | a2:1\n l2:9 | a1:1\n r1:9.1 r2:9.1", ["G2Item", "G2Item", "-", "G2Item"]);
    expect("r1: | a2:1\n r2:1 | a1:1\n r1:1 r2:1", ["-"; 4]);
}

#[test]
fn own_writes() {
    expect("a1:1 | r1:", ["Internal"; 4]);
    expect("a1:1 | r1:1", ["-"; 4]);
    expect("a1:1 | a1:2 | r1:2.1", ["Internal"; 4]);
    expect("w1:1 | v1:2\n w1:2", ["Internal"; 4]);
    expect("a2:1 | a1:1 | u1 | r1:1", ["Internal"; 4].map(|_| "G1a Internal"));
}

#[test]
fn orders_of_lists() {
    expect("a1:1\n a1:2\n r1:1.2\n r1:2", ["IncompatibleOrder"; 4]);
    expect("a1:1\n a1:2\n r1:1.2\n r1:1", ["-"; 4]);
    expect("a1:1\n r1:1.1", ["Duplicate"; 4]);
    expect("r1:7", ["Garbage"; 4]);
    expect("@0-1 a1:1\n @0-1 a1:2\n @2-3 r1:2", ["LostAppend"; 4].map(|_| "LostAppend RealTime"));
    expect("@0-2 a1:1\n @0-1 a1:2\n @2-3 r1:2", ["-"; 4]);
    // Elements between which another's came, seen by their writer.
    expect("a1:1\n a1:2 | r1:2\n r1:1.2", ["IncompatibleOrder"; 4]);
}

#[test]
fn sessions_and_real_time() {
    expect("@0-1 s1 a1:1\n @1-9 s1 r1:\n @9-9 r1:1", ["SessionOrder"; 4]);
    expect("@0-1 a1:1\n @2-3 r1:\n @4-5 r1:1", ["RealTime"; 4]);
    expect("@0-2 a1:1\n @2-3 r1:\n @4-5 r1:1", ["-"; 4]);
    // What one saw, nobody who comes later may miss.
    expect("@0-9 a1:1\n @1-2 r1:1\n @3-4 r1:", ["RealTime"; 4]);
}

#[test]
fn one_row_outside_of_a_transaction_is_read_as_it_is_now() {
    // `n` stands for a read of one row, in a transaction of its own.
    let check = |text: &str| {
        let mut all = history(&text.replace('n', "r"), Level::RepeatableRead);
        for (line, transaction) in text.lines().zip(&mut all.transactions) {
            if line.contains('n') {
                transaction.statements = transaction.statements.drain(..).map(Statement::of_newest).collect();
            }
        }
        super::check(&all).first().map_or_else(|| "-".to_string(), |anomaly| format!("{:?}", anomaly.kind))
    };
    assert_eq!(check("@0-1 a1:1\n @2-3 n1:1"), "-");
    assert_eq!(check("@0-1 a1:1\n @2-3 n1:\n @9-9 r1:1"), "RealTime");
    assert_eq!(check("@0-9 a1:1\n @1-2 n1:1\n @3-4 n1:"), "RealTime");
    // A snapshot that is taken later is not older.
    assert_eq!(check("@0-9 a1:1\n @1-2 n1:1\n @3-4 r1: r2:"), "RealTime");
    // One that was taken before may have what is on its way, and what reads all of it at a moment may not.
    assert_eq!(check("@0-9 a1:1 a2:1\n @1-2 r1:1 r2:1\n @3-4 n2:"), "-");
    assert_eq!(check("@0-9 a1:1 a2:1\n @1-2 r1:1 r2:1\n @3-4 r2:"), "RealTime");
}

#[test]
fn a_snapshot_is_taken_at_the_first_plain_read() {
    let mut late = history("@0-9 l2:9 | r1:1\n @2-3 a1:1\n @0-0 a2:9", Level::RepeatableRead);
    late.transactions[0].statements[0].end = 1;
    late.transactions[0].statements[1].start = 5;
    assert_eq!(check(&late), []);
    late.transactions[0].statements[1].operations =
        vec![Operation::ReadList { object: Object::List(1), elements: vec![], reading: Reading::Plain }];
    let reader = history("@7-8 r1:1", Level::RepeatableRead).transactions.remove(0);
    late.transactions.push(reader);
    assert_eq!(check(&late)[0].kind, Kind::RealTime);
}

#[test]
fn a_cycle_is_spelled_out() {
    let found = check(&history("a1:1 a2:1\n r1: r2:1", Level::RepeatableRead));
    assert_eq!(
        found.iter().map(Anomaly::to_string).collect::<Vec<_>>(),
        [
            "G-single (read skew)\n    T1 read list 1 without 1, which T0 wrote [rw]\n    T0 wrote 1 in list 2, which T1 read [wr]"
        ]
    );
}

#[test]
fn correct_systems_raise_no_alarm() {
    for seed in 0..4000 {
        let history = simulate(seed, 40, None);
        let found = check(&history);
        assert!(found.is_empty(), "seed {seed}: {}", found[0]);
    }
}

#[test]
fn broken_systems_are_found() {
    use Kind::*;
    let bugs: [(Bug, &[Kind]); 8] = [
        (Bug::DirtyReads, &[G1a, G1b, G1c]),
        (Bug::StaleSnapshots, &[RealTime, SessionOrder]),
        (Bug::MovingSnapshots, &[GSingle]),
        (Bug::FracturedCommits, &[GSingle]),
        (Bug::WritesWithoutLocks, &[LostUpdate]),
        (Bug::FirstCommitterDoesNotWin, &[LostUpdate]),
        (Bug::HalfRollbacks, &[G1a]),
        (Bug::LostWrites, &[LostAppend]),
    ];
    for (bug, wanted) in bugs {
        let mut found: BTreeMap<Kind, u32> = BTreeMap::new();
        let mut caught = 0;
        for seed in 0..300 {
            let anomalies = check(&simulate(seed, 60, Some(bug)));
            caught += u32::from(!anomalies.is_empty());
            anomalies.iter().for_each(|anomaly| *found.entry(anomaly.kind).or_default() += 1);
        }
        eprintln!("{bug:?}: caught {caught} of 300: {found:?}");
        assert!(wanted.iter().all(|kind| found.contains_key(kind)), "{bug:?}: {found:?}");
    }
}

#[test]
fn a_changed_read_is_found() {
    for seed in 0..300 {
        let mut history = simulate(seed, 60, None);
        // The last read, of all lists and after everything, loses one element.
        let last = history.transactions.last_mut().expect("the simulation reads at its end");
        let lists = last.statements[0].operations.iter_mut().filter_map(|operation| match operation {
            Operation::ReadList { elements, .. } if elements.len() > 2 => Some(elements),
            _ => None,
        });
        let Some(list) = lists.last() else { continue };
        list.remove(seed as usize % list.len());
        assert!(!check(&history).is_empty(), "seed {seed}");
    }
}

#[test]
fn a_hundred_thousand_transactions() {
    let history = simulate(1, 100_000, None);
    assert!(history.transactions.len() >= 100_000);
    assert_eq!(check(&history), []);
}
