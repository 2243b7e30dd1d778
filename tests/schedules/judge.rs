//! What is wrong with what was played.
//!
//! - *Waits.* The longest time that a plain SELECT spent while no other session was in its COMMIT. The bound holds for the
//!   server, not for a busy machine: beside the sessions probes read and write a row that nobody else touches
//!   (`Servers::probe`), and as much as the slowest probe took that overlapped the SELECT is granted to it on top. An
//!   autocommit write is no COMMIT: it may be waiting for a lock itself.
//! - *Circles.* Sessions that are all in a statement, each of which wants a lock that only others of them have or want, have
//!   nobody to wait for but each other. Such a set that ended by an error was a circle (one that ended well was a slow
//!   server); it has lived since the last of them began to wait, or since the last outsider let go what one of them wanted.
//! - *Errors.* 1213 for whoever takes locks, 1205 when the timeout has passed (never at COMMIT), 9007 at an optimistic COMMIT. No others. A 1205
//!   is a fault even so, of another sort: all pauses of a transaction together are shorter than the timeout.
//! - *Histories.* [`check`], and rows and index must tell the same.

use crate::plan::{Deed, How, Plan, REGISTERS};
use crate::play::{
    Answer, Attempt, ER_DEADLOCK, ER_LOCK_WAIT_TIMEOUT, ER_WRITE_CONFLICT, LOCK_WAIT, Played, Said, What,
};
use crate::record::{elements, history};
use basalt_tests::history::{Level, Object, check};
use std::time::Duration;

/// How long waits may be.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Of a plain SELECT, for who is not committing.
    pub select: Duration,
    /// Of a circle.
    pub circle: Duration,
}

/// Something wrong.
#[derive(Debug, Clone)]
pub struct Fault {
    /// What it has in common with others of its sort.
    pub sort: String,
    /// What happened.
    pub text: String,
}

/// What is worth counting beside faults.
#[derive(Debug, Clone, Copy, Default)]
pub struct Times {
    /// The slowest plain SELECT, without the COMMITs of others that it overlapped.
    pub slowest_select: Duration,
    /// The longest that a statement took which takes locks.
    pub longest_wait: Duration,
    /// SELECTs over the bound that the probes excuse.
    pub excused: usize,
}

/// All faults of a schedule that was played.
pub fn judge(plan: &Plan, played: &Played, bounds: Bounds, is_basalt: bool) -> (Vec<Fault>, Times) {
    let judge = Judge { plan, played, bounds, is_basalt };
    let (mut faults, mut times) = (Vec::new(), Times::default());
    judge.waits(&mut faults, &mut times);
    judge.circles(&mut faults);
    judge.answers(&mut faults);
    let anomalies = check(&history(plan, played, is_basalt));
    faults.extend(anomalies.into_iter().map(|anomaly| {
        let sort = format!("anomaly: {}", anomaly.kind.name());
        Fault { sort, text: anomaly.to_string() }
    }));
    (faults, times)
}

struct Judge<'a> {
    plan: &'a Plan,
    played: &'a Played,
    bounds: Bounds,
    is_basalt: bool,
}

impl<'a> Judge<'a> {
    fn all_said(&self) -> impl Iterator<Item = (&'a Attempt, &'a Said)> {
        self.played.attempts.iter().flat_map(|attempt| attempt.said.iter().map(move |said| (attempt, said)))
    }

    fn level(&self, attempt: &Attempt) -> Level {
        self.plan.sessions[attempt.session].level
    }

    fn transaction(&self, attempt: &Attempt) -> &'a crate::plan::Transaction {
        &self.plan.sessions[attempt.session].transactions[attempt.transaction]
    }

    fn deed(&self, attempt: &Attempt, said: &Said) -> Option<&'a Deed> {
        let What::Deed(number, _) = said.what else { return None };
        Some(&self.transaction(attempt).deeds[number].1)
    }

    /// Whether a deed is a SELECT that nobody may keep waiting.
    fn is_free(&self, attempt: &Attempt, deed: &Deed) -> bool {
        let locks = self.level(attempt) == Level::Serializable && !self.transaction(attempt).autocommit;
        deed.is_plain_read() && !locks
    }

    /// What the slowest probe took that ran meanwhile.
    fn noise(&self, start: u64, end: u64) -> Duration {
        let meanwhile = self.played.probes.iter().filter(|probe| probe.0 < end && probe.1 > start);
        Duration::from_nanos(meanwhile.map(|probe| probe.1 - probe.0).max().unwrap_or(0))
    }

    fn waits(&self, faults: &mut Vec<Fault>, times: &mut Times) {
        for (attempt, said) in self.all_said() {
            let Some(deed) = self.deed(attempt, said) else { continue };
            if !self.is_free(attempt, deed) {
                times.longest_wait = times.longest_wait.max(Duration::from_nanos(said.end - said.start));
                continue;
            }
            let others = self.all_said().filter(|(other, _)| other.session != attempt.session);
            let meanwhile: Vec<_> =
                others.filter(|(_, other)| other.start < said.end && other.end > said.start).collect();
            let commits = meanwhile.iter().filter(|(_, other)| other.what == What::Commit);
            let mut commits: Vec<_> = commits.map(|(_, other)| (other.start, other.end)).collect();
            commits.sort_unstable();
            let (mut longest, mut from) = (0, said.start);
            for (start, end) in commits.into_iter().chain([(said.end, said.end)]) {
                longest = longest.max(start.saturating_sub(from));
                from = from.max(end);
            }
            let waited = Duration::from_nanos(longest);
            times.slowest_select = times.slowest_select.max(waited);
            if waited > self.bounds.select {
                let noise = self.noise(said.start, said.end);
                if waited <= self.bounds.select + noise {
                    times.excused += 1;
                    continue;
                }
                let mut text = format!("{waited:.1?} without a COMMIT, {noise:.1?} of a probe: {}", said.sql);
                for (other, beside) in meanwhile {
                    text += &format!("\n    beside it {}: {}", letter(other.session), beside.sql);
                }
                faults.push(Fault { sort: "a plain SELECT waits".into(), text });
            }
        }
    }

    fn circles(&self, faults: &mut Vec<Fault>) {
        for (victim, said) in self.all_said() {
            let is_end = match &said.answer {
                Answer::Error(code, _) => [ER_DEADLOCK, ER_LOCK_WAIT_TIMEOUT].contains(code),
                Answer::Lost(_) => true,
                _ => false,
            };
            if !is_end {
                continue;
            }
            // Everybody who is in a statement when the victim's ends, until only those are left who wait for each other.
            let at = said.end - 1;
            let mut waiting: Vec<_> = self.all_said().filter(|(_, said)| said.start <= at && at < said.end).collect();
            loop {
                let waits_within = |(attempt, said): &(&Attempt, &Said)| {
                    let mut rivals = self.rivals(attempt, said, at).peekable();
                    rivals.peek().is_some()
                        && rivals.all(|rival| waiting.iter().any(|(other, _)| other.session == rival.session))
                };
                let left: Vec<_> = waiting.iter().copied().filter(waits_within).collect();
                if left.len() == waiting.len() {
                    break;
                }
                waiting = left;
            }
            if !waiting.iter().any(|(attempt, _)| attempt.session == victim.session) {
                continue;
            }
            let wants: Vec<Lock> = waiting.iter().flat_map(|(attempt, said)| self.wanted(attempt, said)).collect();
            let is_in = |attempt: &Attempt| waiting.iter().any(|(other, _)| std::ptr::eq(*other, attempt));
            let outsiders = self.played.attempts.iter().filter(|attempt| !is_in(attempt));
            let released = outsiders.filter(|attempt| self.held(attempt, u64::MAX).any(|lock| lock.is_in_way(&wants)));
            let released =
                released.filter_map(|attempt| attempt.said.last()).map(|last| last.end).filter(|end| *end <= at);
            let since = waiting.iter().map(|(_, said)| said.start).chain(released).max().unwrap_or(at);
            let (lived, noise) = (Duration::from_nanos(at - since), self.noise(since, at));
            if waiting.len() > 1 && lived > self.bounds.circle + noise {
                let mut text = format!(
                    "lived {lived:.1?}, {noise:.1?} of a probe; {} got {:?}",
                    letter(victim.session),
                    said.answer
                );
                for (attempt, said) in waiting {
                    text += &format!("\n    {} waits in {}", letter(attempt.session), said.sql);
                }
                faults.push(Fault { sort: "a circle lives".into(), text });
            }
        }
    }

    /// Attempts of other sessions that have or want at a time what a statement wants.
    fn rivals(&self, attempt: &'a Attempt, said: &'a Said, at: u64) -> impl Iterator<Item = &'a Attempt> {
        let wants = self.wanted(attempt, said);
        let open = self.played.attempts.iter().filter(move |other| {
            let spans = other.said.first().is_some_and(|first| first.start <= at)
                && other.said.last().is_some_and(|last| last.end > at);
            spans && other.session != attempt.session
        });
        open.filter(move |other| self.held(other, at).any(|lock| lock.is_in_way(&wants)))
    }

    /// Locks that an attempt's statements asked for that had begun by then.
    fn held(&self, attempt: &'a Attempt, at: u64) -> impl Iterator<Item = Lock> {
        let begun = attempt.said.iter().filter(move |said| said.start <= at);
        begun.flat_map(|said| self.wanted(attempt, said))
    }

    /// The locks that a statement asks for.
    fn wanted(&self, attempt: &Attempt, said: &Said) -> Vec<Lock> {
        if said.what == What::Commit {
            // It should wait for nobody. Where it does, it is for something that goes with the rows, such as index entries.
            let deeds = attempt.said.iter().filter(|said| matches!(said.what, What::Deed(..)));
            return deeds.flat_map(|said| self.wanted(attempt, said)).collect();
        }
        let Some(deed) = self.deed(attempt, said) else { return Vec::new() };
        if self.is_free(attempt, deed) {
            return Vec::new();
        }
        let lists = |lists: &[u32], shared| {
            let rows = lists.iter().map(|list| Object::List(*list));
            // Rows that are not there yet can stand in each other's way by the gap in which they would be.
            let has_gap = lists.iter().any(|list| !self.plan.present.contains(list));
            rows.chain(has_gap.then_some(Object::List(0))).map(|object| Lock { object, shared }).collect()
        };
        let registers = |ids: &[u32], shared| {
            ids.iter().map(|id| Lock { object: Object::Register(*id), shared }).collect::<Vec<_>>()
        };
        match deed {
            Deed::Append { lists: ids, .. } => lists(ids, false),
            Deed::Upsert { list, .. } => lists(&[*list], false),
            Deed::Set { register, .. } => registers(&[*register], false),
            Deed::Replace { .. } => registers(&REGISTERS.collect::<Vec<_>>(), false),
            Deed::Read { by_index: true, how, .. } => {
                let all: Vec<u32> = crate::plan::LISTS.collect();
                lists(&all, *how != How::ForUpdate)
            }
            Deed::Read { lists: ids, how, .. } => lists(ids, *how != How::ForUpdate),
            Deed::ReadRegisters { registers: ids, how } => registers(ids, *how != How::ForUpdate),
            Deed::Savepoint(_) | Deed::RollbackTo(_) => Vec::new(),
        }
    }

    fn answers(&self, faults: &mut Vec<Fault>) {
        for (attempt, said) in self.all_said() {
            let who = format!("{} at {:?}: {}", letter(attempt.session), self.level(attempt), said.sql);
            match &said.answer {
                Answer::Error(code, message) if !self.is_allowed(attempt, said, *code) => {
                    let transaction = self.transaction(attempt);
                    let place = match said.what {
                        What::Deed(..) if transaction.autocommit => "autocommit".into(),
                        What::Deed(..) => "a transaction".into(),
                        other => format!("{other:?}"),
                    };
                    let sort = format!("error {code} in {place} at {:?}", self.level(attempt));
                    faults.push(Fault { sort, text: format!("{who}\n    {message}") });
                }
                // Allowed as an answer; but no schedule holds a lock that long of its own will.
                Answer::Error(ER_LOCK_WAIT_TIMEOUT, _) => {
                    let text = format!("{who}\n    waited {LOCK_WAIT:?}, and no transaction pauses that long");
                    faults.push(Fault { sort: "a wait without an end".into(), text });
                }
                Answer::Lost(why) => faults.push(Fault { sort: "no answer".into(), text: format!("{who}\n    {why}") }),
                Answer::Done(affected) => {
                    if let Some(Deed::Append { lists, .. }) = self.deed(attempt, said)
                        && *affected != lists.len() as u64
                    {
                        faults.push(Fault {
                            sort: "rows missed".into(),
                            text: format!("{who}\n    affected {affected}"),
                        });
                    }
                }
                Answer::Rows(rows) => self.rows(&who, rows, faults),
                Answer::Error(..) => {}
            }
        }
        self.played.last.iter().for_each(|said| match &said.answer {
            Answer::Rows(rows) => self.rows("in the end", rows, faults),
            other => faults.push(Fault { sort: "no answer".into(), text: format!("in the end {other:?}") }),
        });
    }

    /// A row's count is that of its list.
    fn rows(&self, who: &str, rows: &[Vec<String>], faults: &mut Vec<Fault>) {
        for row in rows {
            if let [id, count, list] = &row[..]
                && count.parse() != Ok(elements(list).len())
            {
                let text = format!("{who}\n    list {id}: n is {count}, l is {list}");
                faults.push(Fault { sort: "index and row differ".into(), text });
            }
            if rows.iter().filter(|other| other[0] == row[0]).count() > 1 {
                faults.push(Fault { sort: "a row twice".into(), text: format!("{who}\n    {rows:?}") });
            }
        }
    }

    fn is_allowed(&self, attempt: &Attempt, said: &Said, code: u16) -> bool {
        let is_optimistic = self.level(attempt) == Level::Snapshot;
        match code {
            ER_DEADLOCK if !is_optimistic => match self.deed(attempt, said) {
                // Alone it holds nothing; but MySQL also locks gaps and index entries.
                Some(Deed::Append { lists, .. }) if lists.len() == 1 && self.transaction(attempt).autocommit => {
                    !self.is_basalt
                }
                Some(Deed::Upsert { .. } | Deed::Set { .. }) if self.transaction(attempt).autocommit => !self.is_basalt,
                Some(deed) => !self.is_free(attempt, deed),
                // What was read has changed.
                None => self.is_basalt && self.level(attempt) == Level::Serializable && said.what == What::Commit,
            },
            ER_LOCK_WAIT_TIMEOUT => {
                said.what != What::Commit && Duration::from_nanos(said.end - said.start) >= LOCK_WAIT
            }
            ER_WRITE_CONFLICT => is_optimistic && said.what == What::Commit,
            _ => false,
        }
    }
}

/// A lock that is had or wanted.
struct Lock {
    object: Object,
    shared: bool,
}

impl Lock {
    fn is_in_way(&self, of: &[Lock]) -> bool {
        of.iter().any(|other| other.object == self.object && !(other.shared && self.shared))
    }
}

/// A session's name.
pub fn letter(session: usize) -> char {
    char::from(b'A' + session as u8)
}
