//! Random schedules: sessions of short transactions over a few rows, drawn from a seed, all at once.
//!
//! ```text
//! seed ── plan ──▶ sessions on servers ── play ──▶ every statement's start, end and answer ── judge, record ──▶ faults ── shrink
//! ```
//! No plain SELECT waits for a transaction that is not committing, no circle lives, nobody gets an error that the level does
//! not allow, and the history passes the checker (`basalt_tests::history`); `judge.rs` says how each is known. A seed gives
//! the same statements and pauses each time, not the same order among sessions: a fault may need a few runs to come again.
//! The first fault of each sort is shrunk and told with a table of what ran when; others of its sort by their seed alone.
//!
//! | environment | effect |
//! |---|---|
//! | `SCHEDULES_URLS=mysql://root@127.0.0.1:3499` | plays on these servers (several with commas), not on one of its own; its database there is `schedules` |
//! | `SCHEDULES_SEED=7` | the first seed, 1 without it |
//! | `SCHEDULES_COUNT=200` | so many seeds, 60 without it |
//! | `SCHEDULES_SECONDS=60` | ends after this time though seeds are left |
//! | `SCHEDULES_LEVEL=repeatable-read` | of all sessions: `read-committed`, `repeatable-read`, `serializable`, `optimistic` (Basalt only), several with commas. Without it those that the server has |
//! | `SCHEDULES_SELECT_MS`, `SCHEDULES_CIRCLE_MS` | bounds of a plain SELECT's wait (50) and of a circle's life (100) |
//! | `SCHEDULES_SORT=SELECT` | only faults of whose sort this is a part |
//! | `SCHEDULES_SHRINK=300` | a fault is shrunk for so many seconds, 45 without it, 0 for not at all |

mod judge;
mod plan;
#[cfg(test)]
mod planted;
mod play;
mod record;
mod shrink;

use basalt_tests::history::Level;
use basalt_tests::{Up, alone, runtime, say};
use judge::{Bounds, Fault, Times, judge, letter};
use plan::Plan;
use play::{Answer, Attempt, Played, Servers, What};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How often a shorter plan is played before it counts as one that does not fail.
const REPLAYS: usize = 4;
/// How many seconds a plan is shrunk.
const SHRINK_SECONDS: u64 = 45;

#[test]
fn schedules_keep_their_promises() {
    let _alone = alone();
    let own = std::env::var("SCHEDULES_URLS").is_err().then(|| Up::start(&[]));
    let urls = match &own {
        Some(up) => vec![format!("mysql://root@127.0.0.1:{}", up.port)],
        None => variable("SCHEDULES_URLS").split(',').map(str::to_string).collect(),
    };
    let text = runtime().block_on(run(&urls)).unwrap_or_else(|error| format!("{error:#}"));
    assert!(text.is_empty(), "faults:\n{text}");
}

/// Plays all seeds; what is wrong.
async fn run(urls: &[String]) -> anyhow::Result<String> {
    let servers = Arc::new(Servers::open(urls).await?);
    let milliseconds = |name, default| Duration::from_millis(number(name, default));
    let bounds =
        Bounds { select: milliseconds("SCHEDULES_SELECT_MS", 50), circle: milliseconds("SCHEDULES_CIRCLE_MS", 100) };
    let (levels, first) = (levels(servers.is_basalt), number("SCHEDULES_SEED", 1));
    let end = Instant::now() + Duration::from_secs(number("SCHEDULES_SECONDS", 3600));
    let (mut totals, mut text, mut told) = (Totals::default(), String::new(), BTreeSet::new());
    for seed in first..first + number("SCHEDULES_COUNT", 60) {
        if Instant::now() > end {
            break;
        }
        let plan = Arc::new(Plan::draw(seed, &levels));
        let played = servers.play(&plan).await?;
        let (mut faults, times) = judge(&plan, &played, bounds, servers.is_basalt);
        faults.retain(|fault| fault.sort.contains(&variable("SCHEDULES_SORT")));
        totals.add(&played, times, &faults);
        let sorts: BTreeSet<&String> = faults.iter().map(|fault| &fault.sort).collect();
        for sort in sorts {
            if !told.insert(sort.clone()) {
                let _ = writeln!(text, "seed {seed}: {sort} again");
                continue;
            }
            let failed = Failed { plan: plan.clone(), played: &played, faults: &faults, sort };
            let _ = writeln!(text, "{}", failed.text(&servers, bounds).await?);
        }
    }
    say(&totals.text());
    Ok(text)
}

/// A plan that failed in a certain sort of way.
struct Failed<'a> {
    plan: Arc<Plan>,
    played: &'a Played,
    faults: &'a [Fault],
    sort: &'a str,
}

impl Failed<'_> {
    /// What failed, as short as it gets.
    async fn text(&self, servers: &Arc<Servers>, bounds: Bounds) -> anyhow::Result<String> {
        let mut text = format!("seed {}:\n", self.plan.seed);
        let seconds = number("SCHEDULES_SHRINK", SHRINK_SECONDS);
        let end = Instant::now() + Duration::from_secs(seconds);
        let short = if seconds > 0 { self.shrunk(servers, bounds, end).await? } else { None };
        if let Some((plan, played, faults)) = short {
            tell(&mut text, &plan, &played, &faults, self.sort);
        } else {
            if seconds > 0 {
                let _ = writeln!(text, "  not shrunk: it did not fail again when played {REPLAYS} times");
            }
            tell(&mut text, &self.plan, self.played, self.faults, self.sort);
        }
        Ok(text)
    }

    /// The shortest plan found that still fails, with how it did.
    async fn shrunk(
        &self,
        servers: &Arc<Servers>,
        bounds: Bounds,
        end: Instant,
    ) -> anyhow::Result<Option<(Arc<Plan>, Played, Vec<Fault>)>> {
        let Some(mut best) = self.again(servers, &self.plan, bounds).await? else { return Ok(None) };
        'shorter: loop {
            for plan in shrink::shorter(&best.0) {
                if Instant::now() > end {
                    return Ok(Some(best));
                }
                if let Some(found) = self.again(servers, &Arc::new(plan), bounds).await? {
                    best = found;
                    continue 'shorter;
                }
            }
            return Ok(Some(best));
        }
    }

    /// Plays a plan a few times, until it fails like this one.
    async fn again(
        &self,
        servers: &Arc<Servers>,
        plan: &Arc<Plan>,
        bounds: Bounds,
    ) -> anyhow::Result<Option<(Arc<Plan>, Played, Vec<Fault>)>> {
        for _ in 0..REPLAYS {
            let played = servers.play(plan).await?;
            let (faults, _) = judge(plan, &played, bounds, servers.is_basalt);
            if faults.iter().any(|fault| fault.sort == self.sort) {
                return Ok(Some((plan.clone(), played, faults)));
            }
        }
        Ok(None)
    }
}

/// Faults of a sort, and a table of what ran when; T numbers are the history's.
fn tell(out: &mut String, plan: &Plan, played: &Played, faults: &[Fault], sort: &str) {
    for fault in faults.iter().filter(|fault| fault.sort == sort).take(2) {
        let _ = writeln!(out, "  {sort}: {}", fault.text);
    }
    let all = |(at, attempt): (usize, &Attempt)| {
        attempt
            .said
            .iter()
            .map(|said| (said.start, said.end, at + 1, attempt.session, said.sql.clone(), brief(&said.answer)))
            .collect::<Vec<_>>()
    };
    let mut lines: Vec<_> = played.attempts.iter().enumerate().flat_map(all).collect();
    let last = played.attempts.len() + 1;
    let ends = played.last.iter().enumerate();
    lines.extend(ends.map(|(at, said)| {
        (said.start, said.end, last + at, plan.sessions.len(), said.sql.clone(), brief(&said.answer))
    }));
    lines.sort();
    let zero = lines.first().map_or(0, |line| line.0);
    for (number, session) in plan.sessions.iter().enumerate() {
        let _ = writeln!(out, "  session {} at {:?}", letter(number), session.level);
    }
    let _ = writeln!(out, "  rows at the beginning: {:?}\n  start ms   end ms", plan.present);
    let ms = |at: u64| (at - zero) as f64 / 1e6;
    for (start, end, transaction, session, sql, answer) in lines {
        let _ = writeln!(
            out,
            "  {:8.1} {:8.1}  {} T{transaction:<3} {sql} -> {answer}",
            ms(start),
            ms(end),
            letter(session)
        );
    }
}

fn brief(answer: &Answer) -> String {
    match answer {
        Answer::Done(affected) => affected.to_string(),
        Answer::Rows(rows) => rows.iter().map(|row| format!("({})", row.join(" "))).collect::<Vec<_>>().join(" "),
        Answer::Error(code, _) => format!("ERROR {code}"),
        Answer::Lost(why) => format!("LOST: {why}"),
    }
}

/// What all seeds come to.
#[derive(Debug, Default)]
struct Totals {
    seeds: usize,
    transactions: usize,
    committed: usize,
    statements: usize,
    retries: usize,
    errors: BTreeMap<u16, usize>,
    faults: BTreeMap<String, usize>,
    times: Times,
}

impl Totals {
    fn add(&mut self, played: &Played, times: Times, faults: &[Fault]) {
        self.seeds += 1;
        self.transactions += played.attempts.len();
        for attempt in &played.attempts {
            self.statements += attempt.said.len();
            self.retries += usize::from(attempt.attempt > 0);
            let is_error = |said: &play::Said| matches!(said.answer, Answer::Error(..) | Answer::Lost(_));
            let commits = attempt.said.last().is_some_and(|last| last.what != What::Rollback && !is_error(last));
            self.committed += usize::from(commits);
            for said in &attempt.said {
                if let Answer::Error(code, _) = said.answer {
                    *self.errors.entry(code).or_default() += 1;
                }
            }
        }
        faults.iter().for_each(|fault| *self.faults.entry(fault.sort.clone()).or_default() += 1);
        self.times.slowest_select = self.times.slowest_select.max(times.slowest_select);
        self.times.longest_wait = self.times.longest_wait.max(times.longest_wait);
        self.times.excused += times.excused;
    }

    fn text(&self) -> String {
        let Totals { seeds, transactions, committed, statements, retries, errors, faults, times } = self;
        let counts = |counts: Vec<String>| if counts.is_empty() { "none".into() } else { counts.join(", ") };
        let errors = counts(errors.iter().map(|(code, count)| format!("{code}: {count}")).collect());
        let faults = counts(faults.iter().map(|(sort, count)| format!("{sort}: {count}")).collect());
        format!(
            "schedules: seeds                {seeds}\n\
             schedules: transactions         {transactions}, {committed} committed\n\
             schedules: statements           {statements}\n\
             schedules: retries              {retries}\n\
             schedules: errors               {errors}\n\
             schedules: faults               {faults}\n\
             schedules: slowest plain SELECT {:.1?}, {} over the bound excused by probes\n\
             schedules: longest wait         {:.1?}\n",
            times.slowest_select, times.excused, times.longest_wait
        )
    }
}

fn levels(is_basalt: bool) -> Vec<Level> {
    let names = variable("SCHEDULES_LEVEL");
    if names.is_empty() {
        let all = [Level::ReadCommitted, Level::RepeatableRead, Level::Serializable, Level::Snapshot];
        return all[..if is_basalt { 4 } else { 3 }].to_vec();
    }
    let level = |name: &str| match name {
        "read-committed" => Level::ReadCommitted,
        "repeatable-read" => Level::RepeatableRead,
        "serializable" => Level::Serializable,
        "optimistic" if is_basalt => Level::Snapshot,
        _ => panic!("SCHEDULES_LEVEL: {name}"),
    };
    names.split(',').map(level).collect()
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

fn number(name: &str, default: u64) -> u64 {
    let text = variable(name);
    if text.is_empty() { default } else { text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")) }
}
