//! Schedules that were never played: what the judge says of them, and of the nearest ones that are right.

use crate::judge::{Bounds, judge};
use crate::plan::{Deed, How, Plan, Session, Transaction, number};
use crate::play::{Answer, Attempt, Played, Said, What};
use basalt_tests::history::Level;
use std::time::Duration;

const MS: u64 = 1_000_000;
const BOUNDS: Bounds = Bounds { select: Duration::from_millis(50), circle: Duration::from_millis(100) };
const NOISE: &[(u64, u64)] = &[];

/// A statement: start and end in milliseconds, what, answer.
type Line = (u64, u64, What, Answer);

/// One transaction for each session, of deeds and of what was said; the sorts of all faults.
fn faults(level: Level, sessions: Vec<(bool, Vec<Deed>, Vec<Line>)>, probes: &[(u64, u64)]) -> Vec<String> {
    let mut plan = Plan { seed: 0, lists: vec![1, 2], present: [1, 2].into(), sessions: vec![] };
    let probes = probes.iter().map(|(start, end)| (start * MS, end * MS)).collect();
    let mut played = Played { attempts: vec![], last: vec![], probes };
    for (session, (autocommit, deeds, lines)) in sessions.into_iter().enumerate() {
        let deeds = deeds.into_iter().map(|deed| (0, deed)).collect();
        plan.sessions.push(Session { level, transactions: vec![Transaction { autocommit, commits: true, deeds }] });
        let said = |(start, end, what, answer): Line| Said {
            what,
            sql: String::new(),
            start: start * MS,
            end: end * MS,
            answer,
        };
        let said = lines.into_iter().map(said).collect();
        played.attempts.push(Attempt { session, transaction: 0, attempt: 0, said });
    }
    judge(&plan, &played, BOUNDS, true).0.into_iter().map(|fault| fault.sort).collect()
}

fn append(list: u32, element: i64) -> Deed {
    Deed::Append { lists: vec![list], element }
}

fn error(code: u16) -> Answer {
    Answer::Error(code, String::new())
}

const fn deed(number: usize) -> What {
    What::Deed(number, true)
}

#[test]
fn a_circle_may_not_live() {
    let circle = |closes: u64, ends: u64, code| {
        let first = (
            false,
            vec![append(1, 1), append(2, 2)],
            vec![(0, 1, deed(0), Answer::Done(1)), (closes, ends, deed(1), error(code))],
        );
        let second = (
            false,
            vec![append(2, 3), append(1, 4)],
            vec![
                (0, 1, deed(0), Answer::Done(1)),
                (5, ends + 5, deed(1), Answer::Done(1)),
                (ends + 5, ends + 6, What::Commit, Answer::Done(0)),
            ],
        );
        vec![first, second]
    };
    assert_eq!(faults(Level::RepeatableRead, circle(10, 20, 1213), NOISE), [] as [&str; 0]);
    assert_eq!(faults(Level::RepeatableRead, circle(10, 200, 1213), NOISE), ["a circle lives"]);
    // It was closed late, or the machine was busy.
    assert_eq!(faults(Level::RepeatableRead, circle(190, 200, 1213), NOISE), [] as [&str; 0]);
    assert_eq!(faults(Level::RepeatableRead, circle(10, 200, 1213), &[(20, 120)]), [] as [&str; 0]);
    assert_eq!(
        faults(Level::RepeatableRead, circle(10, 4000, 1205), NOISE),
        ["a circle lives", "a wait without an end"]
    );
}

#[test]
fn a_plain_select_may_wait_for_a_commit_only() {
    let sessions = |autocommit: bool, what: What| {
        let read = Deed::Read { lists: vec![1], how: How::Plain, by_index: false };
        let rows = Answer::Rows(vec![vec!["1".into(), "0".into(), String::new()]]);
        let reader = (true, vec![read], vec![(10, 100, deed(0), rows)]);
        let mut said = vec![(0, 5, deed(0), Answer::Done(1)), (6, 120, What::Commit, Answer::Done(0))];
        if what != What::Commit {
            said = vec![(0, 120, deed(0), Answer::Done(1))];
        }
        vec![reader, (autocommit, vec![append(1, 1)], said)]
    };
    assert_eq!(faults(Level::RepeatableRead, sessions(false, What::Commit), NOISE), [] as [&str; 0]);
    assert_eq!(faults(Level::RepeatableRead, sessions(true, deed(0)), NOISE), ["a plain SELECT waits"]);
    assert_eq!(faults(Level::RepeatableRead, sessions(true, deed(0)), &[(0, 45)]), [] as [&str; 0]);
    assert_eq!(faults(Level::RepeatableRead, sessions(true, deed(0)), &[(0, 9)]), ["a plain SELECT waits"]);
}

#[test]
fn errors_have_their_place() {
    let alone = |autocommit, lines| vec![(autocommit, vec![append(1, 1)], lines)];
    let statement = |code| vec![(0, 1, deed(0), error(code))];
    let commit = |code| vec![(0, 1, deed(0), Answer::Done(1)), (1, 2, What::Commit, error(code))];
    assert_eq!(faults(Level::Snapshot, alone(false, commit(9007)), NOISE), [] as [&str; 0]);
    let wrong = [
        faults(Level::RepeatableRead, alone(false, commit(9007)), NOISE),
        faults(Level::Snapshot, alone(true, statement(9007)), NOISE),
        faults(Level::RepeatableRead, alone(true, statement(1205)), NOISE),
        faults(Level::RepeatableRead, alone(false, statement(1064)), NOISE),
    ];
    assert_eq!(
        wrong.concat(),
        [
            "error 9007 in Commit at RepeatableRead",
            "error 9007 in autocommit at Snapshot",
            "error 1205 in autocommit at RepeatableRead",
            "error 1064 in a transaction at RepeatableRead",
        ]
    );
}

#[test]
fn a_savepoint_takes_back_what_came_after_it() {
    let sessions = |seen: &str| {
        let deeds = vec![append(1, 1), Deed::Savepoint(1), append(1, 2), Deed::RollbackTo(1)];
        let lines = (0..4).map(|at| (at, at, deed(at as usize), Answer::Done(u64::from(at % 2 == 0))));
        let writer = lines.chain([(4, 5, What::Commit, Answer::Done(0))]).collect();
        let read = Deed::Read { lists: vec![1], how: How::Plain, by_index: true };
        let count = seen.split(',').count() - 1;
        let rows = Answer::Rows(vec![vec!["1".into(), count.to_string(), seen.into()]]);
        vec![(false, deeds, writer), (true, vec![read], vec![(6, 7, deed(0), rows)])]
    };
    let (first, second) = (number(1, 0), number(2, 0));
    assert_eq!(faults(Level::ReadCommitted, sessions(&format!(",{first}")), NOISE), [] as [&str; 0]);
    let wrong = faults(Level::ReadCommitted, sessions(&format!(",{first},{second}")), NOISE);
    assert_eq!(wrong, ["anomaly: G1a (aborted read)"]);
    assert!(faults(Level::ReadCommitted, sessions(""), NOISE).contains(&"anomaly: lost append".into()));
}
