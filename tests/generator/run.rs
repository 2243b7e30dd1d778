//! Runs scenarios over several pairs of sessions, shrinks what differs, and tells how far it is.

use crate::expected::Expected;
use crate::maker::{Scenario, Step};
use crate::pair::{Outcome, Pair, REFUSED, What};
use crate::peer::{Dialect, Peer, options_of};
use crate::report::{Report, script};
use crate::shrink::{Case, Judge, Shrinker};
use basalt_tests::say;
use mysql_async::Opts;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Pairs of sessions at work at the same time.
const WORKERS: usize = 4;
/// How often progress is told.
const PROGRESS: Duration = Duration::from_secs(10);
/// Differences of one scenario that are followed.
const PER_SCENARIO_MAX: usize = 4;

/// Scenarios that could not be set up, behind which a run gives up: a server is gone.
const UNREACHED_MAX: usize = 20;

struct Shared {
    next_seed: AtomicU64,
    statements: AtomicUsize,
    differences: AtomicUsize,
    /// Scenarios that could not be set up.
    unreached: AtomicUsize,
    is_over: AtomicBool,
    report: Mutex<Report>,
    wanted: usize,
}

/// Runs until so many statements were compared; what differs and is not expected.
pub async fn run(basalt: Opts, peer: &Peer, first_seed: u64, wanted: usize) -> String {
    let dialect = peer.dialect().await;
    let shared = Shared {
        next_seed: AtomicU64::new(first_seed),
        statements: AtomicUsize::new(0),
        differences: AtomicUsize::new(0),
        unreached: AtomicUsize::new(0),
        is_over: AtomicBool::new(false),
        report: Mutex::new(Report::new()),
        wanted,
    };
    let workers = if wanted == 1 { 1 } else { WORKERS };
    // A MySQL has the last word where a MariaDB differs.
    let judge = options_of("GENERATOR_JUDGE");
    let work = (0..workers).map(|at| {
        let database = format!("generator{at}_{first_seed}");
        let pair = Pair::new(basalt.clone(), peer.options.clone(), dialect, &database);
        let of_judge =
            |options: &Opts| Pair::new(basalt.clone(), options.clone(), Dialect::MySql, &format!("{database}_judged"));
        work(pair, judge.as_ref().map(of_judge), &shared)
    });
    let all = async {
        futures::future::join_all(work).await;
        shared.is_over.store(true, Ordering::Relaxed);
    };
    tokio::join!(all, progress(&shared));
    let report = shared.report.into_inner().expect("no worker panicked");
    say(&report.remarks());
    if shared.unreached.into_inner() < UNREACHED_MAX {
        return report.text();
    }
    format!("given up after {} statements: a server is gone\n{}", shared.statements.into_inner(), report.text())
}

async fn progress(shared: &Shared) {
    const STEP: Duration = Duration::from_millis(100);
    let mut tenths = 0;
    loop {
        tokio::time::sleep(STEP).await;
        tenths += 1;
        let is_over = shared.is_over.load(Ordering::Relaxed);
        if is_over || tenths % (PROGRESS.as_millis() / STEP.as_millis()) == 0 {
            let seconds = tenths / 10;
            let statements = shared.statements.load(Ordering::Relaxed);
            let found = shared.report.lock().expect("no worker panicked").found();
            say(&format!(
                "generator: {statements} statements in {seconds} s, {} a second, next seed {}, {} differences, \
                 {found} shapes not expected\n",
                statements as u128 / seconds.max(1),
                shared.next_seed.load(Ordering::Relaxed),
                shared.differences.load(Ordering::Relaxed),
            ));
        }
        if is_over {
            return;
        }
    }
}

async fn work(mut pair: Pair, mut judge: Option<Pair>, shared: &Shared) {
    let is_gone = || shared.unreached.load(Ordering::Relaxed) >= UNREACHED_MAX;
    while shared.statements.load(Ordering::Relaxed) < shared.wanted && !is_gone() {
        let seed = shared.next_seed.fetch_add(1, Ordering::Relaxed);
        let scenario = Scenario::new(seed, pair.dialect == Dialect::MySql);
        one(&mut pair, judge.as_mut(), &scenario, shared).await;
    }
}

/// One scenario; after a difference in what a table holds there is nothing more to compare.
async fn one(pair: &mut Pair, mut judge: Option<&mut Pair>, scenario: &Scenario, shared: &Shared) {
    if let Err(error) = pair.set_up(scenario, &scenario.tables).await {
        let mut report = shared.report.lock().expect("no worker panicked");
        report.lost.push(format!("seed {}: {error}", scenario.seed));
        shared.unreached.fetch_add(1, Ordering::Relaxed);
        return;
    }
    let mut changes: Vec<Step> = Vec::new();
    let mut found = Vec::new();
    for step in &scenario.steps {
        let (what, outcomes) = pair.compare(step).await;
        shared.statements.fetch_add(1, Ordering::Relaxed);
        if let Outcome::Error(REFUSED, message) = &outcomes[0] {
            shared.report.lock().expect("no worker panicked").refuse(message);
            // It did nothing, its peer did.
            if step.changes.is_some() {
                break;
            }
        }
        let is_new = |what: &What| !shared.report.lock().expect("no worker panicked").has_error(what, &outcomes);
        let is_over = what.is_some() && step.changes.is_some();
        if let Some(what) = what.filter(is_new) {
            let case = Case { tables: scenario.tables.clone(), before: changes.clone(), step: step.clone() };
            found.push((what, case));
            if found.len() == PER_SCENARIO_MAX {
                break;
            }
        }
        if is_over {
            break;
        }
        if step.changes.is_some() {
            changes.push(step.clone());
        }
    }
    for (what, case) in found {
        shared.differences.fetch_add(1, Ordering::Relaxed);
        follow(pair, judge.as_deref_mut(), scenario, case, what, shared).await;
    }
}

async fn follow(
    pair: &mut Pair,
    judge: Option<&mut Pair>,
    scenario: &Scenario,
    case: Case,
    what: What,
    shared: &Shared,
) {
    let expected = shared.report.lock().expect("no worker panicked").expected.clone();
    let mut differs = Differs { pair, what, expected: Some(expected) };
    let first = format!("seed {}: {}", scenario.seed, case.step.tree.sql());
    let small = Shrinker::new(&mut differs, scenario).shrink(case).await;
    let dialect = differs.pair.dialect;
    let again = match &small {
        Some(case) => differs.outcomes(scenario, case).await,
        None => None,
    };
    let is_judged = match (&small, &again, judge) {
        (Some(case), Some(_), Some(judge)) => matches!(replay(judge, scenario, case).await, Some((None, _))),
        _ => false,
    };
    let mut report = shared.report.lock().expect("no worker panicked");
    match (small, again) {
        (Some(case), Some(outcomes)) if is_judged => report.judged(&differs.what, &case, &outcomes),
        (Some(case), Some(outcomes)) => report.add(scenario, &case, &differs.what, &outcomes, dialect),
        _ => report.lost.push(first),
    }
}

/// In what a case's last step differs, and both outcomes; none where a step before does.
async fn replay(pair: &mut Pair, scenario: &Scenario, case: &Case) -> Option<(Option<What>, [Outcome; 2])> {
    pair.set_up(scenario, &case.tables).await.ok()?;
    for step in &case.before {
        if pair.compare(step).await.0.is_some() {
            return None;
        }
    }
    Some(pair.compare(&case.step).await)
}

/// The same difference between Basalt and its peer.
pub struct Differs<'a> {
    /// The sessions.
    pub pair: &'a mut Pair,
    /// In what they differ.
    pub what: What,
    /// What needs no further look.
    pub expected: Option<Arc<Expected>>,
}

impl Differs<'_> {
    /// Both outcomes, if they show it.
    pub async fn outcomes(&mut self, scenario: &Scenario, case: &Case) -> Option<[Outcome; 2]> {
        let (what, outcomes) = replay(self.pair, scenario, case).await?;
        (what.as_ref() == Some(&self.what)).then_some(outcomes)
    }
}

impl Judge for Differs<'_> {
    async fn shows(&mut self, scenario: &Scenario, case: &Case) -> bool {
        self.outcomes(scenario, case).await.is_some()
    }

    async fn still_shows(&mut self, step: &Step) -> bool {
        self.pair.compare(step).await.0.as_ref() == Some(&self.what)
    }

    async fn is_explained(&mut self, scenario: &Scenario, case: &Case) -> bool {
        let Some(expected) = self.expected.clone() else { return false };
        let Some(outcomes) = self.outcomes(scenario, case).await else { return false };
        let dialect = self.pair.dialect;
        let text = script(scenario, case, &self.what, &outcomes, dialect);
        expected.reason(&self.what, &text, dialect).is_some()
    }
}
