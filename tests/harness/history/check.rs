//! Builds the graph out of a history and says everything that is wrong.

use super::cycles;
use super::graph::{Because, Graph};
use super::observed::{Observed, Read, Seen};
use super::{Anomaly, History, Kind, Level, Object, Outcome, Reading, Transaction};
use std::collections::{BTreeMap, HashMap};

/// Appends that no read shows are put behind the reads of so many.
const UNSEEN_MAX: usize = 16;

/// Every anomaly that the levels of the history's transactions forbid; of those that hang together only one.
pub fn check(history: &History) -> Vec<Anomaly> {
    let mut observed = Observed::of(history);
    let mut points = Points::of(history, &observed);
    let unseen = unseen_appends(&observed);
    points.add_versions(&observed, &unseen);
    points.add_sessions(history);
    points.add_time();
    points.add_time_of_newest(&observed);
    lost_appends(history, &mut observed, &points, &unseen);
    let mut anomalies = observed.anomalies;
    anomalies.extend(cycles::find(&points.graph, history));
    anomalies
}

/// The points of all transactions.
#[derive(Debug, Default)]
struct Points {
    graph: Graph,
    /// When each point can have been: not before, not after.
    windows: Vec<(u64, u64)>,
    /// Commit points, by transaction.
    commits: Vec<u32>,
    /// Where an edge to a transaction's write leads: the snapshot where the first committer wins, else the commit.
    writes: Vec<u32>,
    /// Points with nothing of their transaction before them.
    first: Vec<Vec<u32>>,
    /// Of each read: where it saw, and until when nothing replaced what it saw.
    of_reads: Vec<(u32, u32)>,
    /// Points of reads of one row outside of transactions.
    newest: BTreeMap<u32, Object>,
}

impl Points {
    fn of(history: &History, observed: &Observed<'_>) -> Points {
        let mut points = Points::default();
        let mut rest = &observed.reads[..];
        for (at, transaction) in history.transactions.iter().enumerate() {
            let count = rest.iter().take_while(|read| read.transaction == at).count();
            let (own, others) = rest.split_at(count);
            points.add_transaction(at, transaction, observed.committed[at], own);
            rest = others;
        }
        points
    }

    fn point(&mut self, owner: Option<usize>, window: (u64, u64)) -> u32 {
        self.windows.push(window);
        self.graph.point(owner)
    }

    fn add_transaction(&mut self, at: usize, transaction: &Transaction, committed: bool, reads: &[Read<'_>]) {
        let end = if transaction.outcome == Outcome::Unknown { u64::MAX } else { transaction.completed() };
        let commit = self.point(Some(at), (transaction.statements.last().map_or(0, |last| last.start), end));
        let (mut first, mut before, mut now): (Vec<u32>, Vec<u32>, Vec<u32>) = Default::default();
        let window = |read: &Read<'_>| {
            let statement = &transaction.statements[read.statement];
            (statement.start, statement.end)
        };
        let mut snapshot = None;
        if transaction.level == Level::Snapshot {
            let end = reads.first().map_or(end, |read| window(read).1);
            let point = self.point(Some(at), (transaction.invoked(), end));
            snapshot = Some(point);
            now.push(point);
        }
        let mut of_statement = None;
        for (number, read) in reads.iter().enumerate() {
            if number == 0 || reads[number - 1].statement != read.statement {
                self.follow(&mut first, &mut before, &mut now);
                of_statement = None;
            }
            if transaction.level == Level::RepeatableRead && read.reading == Reading::Plain && snapshot.is_none() {
                // Also where it shows the transaction's own writes only.
                let point = self.point(Some(at), window(read));
                snapshot = Some(point);
                now.push(point);
            }
            if read.reading == Reading::Newest {
                let point = self.point(Some(at), window(read));
                self.newest.insert(point, read.object);
                self.graph.link(point, commit, Because::Within);
                self.of_reads.push((point, point));
                continue;
            }
            let place = place(transaction.level, committed, read);
            let known = match place {
                Place::Commit => Some(commit),
                Place::Locked => None,
                Place::Snapshot => snapshot,
                Place::Statement => of_statement,
                Place::Alone => None,
            };
            let point = known.unwrap_or_else(|| {
                let point = self.point(Some(at), window(read));
                now.push(point);
                point
            });
            if matches!(place, Place::Statement) {
                of_statement = Some(point);
            }
            self.of_reads.push((point, if matches!(place, Place::Locked) { commit } else { point }));
        }
        self.follow(&mut first, &mut before, &mut now);
        now.push(commit);
        self.follow(&mut first, &mut before, &mut now);
        self.commits.push(commit);
        self.writes.push(snapshot.filter(|_| transaction.level == Level::Snapshot).unwrap_or(commit));
        self.first.push(first);
    }

    /// Puts a statement's points behind those of the statement before.
    fn follow(&mut self, first: &mut Vec<u32>, before: &mut Vec<u32>, now: &mut Vec<u32>) {
        if now.is_empty() {
            return;
        }
        for from in before.iter() {
            now.iter().for_each(|to| self.graph.link(*from, *to, Because::Within));
        }
        if before.is_empty() {
            first.clone_from(now);
        }
        *before = std::mem::take(now);
    }

    fn add_versions(&mut self, observed: &Observed<'_>, unseen: &HashMap<Object, Vec<(usize, i64)>>) {
        let writer = |object: Object, value: i64| {
            let write = observed.writers.get(&(object, value))?;
            (observed.committed[write.transaction] && !write.undone).then_some(write.transaction)
        };
        let nobody = Vec::new();
        for (object, order) in &observed.orders {
            let following = unseen.get(object).unwrap_or(&nobody);
            let pairs = order.windows(2).map(|pair| (pair[0], pair[1]));
            let last = order.last().into_iter().flat_map(|last| following.iter().map(|(_, next)| (*last, *next)));
            for (value, next) in pairs.chain(last) {
                if let (Some(from), Some(to)) = (writer(*object, value), writer(*object, next))
                    && from != to
                {
                    self.graph.edge(self.commits[from], self.writes[to], Because::Ww, *object, next);
                }
            }
        }
        for ((object, value), next) in &observed.successors {
            let Some(from) = value.and_then(|value| writer(*object, value)) else { continue };
            for (to, next) in next.iter().filter(|(to, _)| *to != from) {
                self.graph.edge(self.commits[from], self.writes[*to], Because::Ww, *object, *next);
            }
        }
        for (read, (point, until)) in observed.reads.iter().zip(&self.of_reads) {
            let (seen, next) = match read.seen {
                Seen::List(elements) => {
                    let rest = &observed.orders[&read.object][elements.len()..];
                    let next = rest.iter().map(|next| (writer(read.object, *next), *next));
                    let next = next.filter(|(to, _)| *to != Some(read.transaction)).take(1);
                    let following = unseen.get(&read.object).unwrap_or(&nobody).iter().filter(|_| rest.is_empty());
                    let following = following.map(|(to, next)| (Some(*to), *next));
                    (elements.last().copied(), next.chain(following).collect::<Vec<_>>())
                }
                Seen::Value(value) => {
                    let next = observed.successors.get(&(read.object, value)).unwrap_or(&nobody);
                    (value, next.iter().map(|(to, next)| (Some(*to), *next)).collect())
                }
                Seen::Own => continue,
            };
            if let Some(value) = seen
                && let Some(from) = writer(read.object, value)
                && from != read.transaction
            {
                self.graph.edge(self.commits[from], *point, Because::Wr, read.object, value);
            }
            for (to, next) in next {
                if let Some(to) = to.filter(|to| *to != read.transaction) {
                    self.graph.edge(*until, self.commits[to], Because::Rw, read.object, next);
                }
            }
        }
    }

    fn add_sessions(&mut self, history: &History) {
        let mut last: HashMap<u32, usize> = HashMap::new();
        for (at, transaction) in history.transactions.iter().enumerate() {
            if let Some(before) = last.insert(transaction.session, at)
                && history.transactions[before].outcome != Outcome::Unknown
            {
                for point in &self.first[at] {
                    self.graph.link(self.commits[before], *point, Because::Session);
                }
            }
        }
    }

    /// A chain of all ends in order: points lead into it where they end, and out of it to those that began later.
    fn add_time(&mut self) {
        let size = self.windows.len() as u32;
        let mut ends: Vec<(u64, u32)> = (0..size).map(|point| (self.windows[point as usize].1, point)).collect();
        ends.retain(|(end, _)| *end != u64::MAX);
        ends.sort_unstable();
        let mut chain: Vec<u32> = Vec::with_capacity(ends.len());
        for (_, point) in &ends {
            let link = self.graph.point(None);
            self.graph.link(*point, link, Because::Time);
            if let Some(before) = chain.last() {
                self.graph.link(*before, link, Because::Time);
            }
            chain.push(link);
        }
        for point in (0..size).filter(|point| !self.newest.contains_key(point)) {
            let ended = ends.partition_point(|(end, _)| *end < self.windows[point as usize].0);
            if ended > 0 {
                self.graph.link(chain[ended - 1], point, Because::Time);
            }
        }
    }
}

impl Points {
    /// To the reads of one row from the commits and reads of that row that had ended.
    fn add_time_of_newest(&mut self, observed: &Observed<'_>) {
        let mut by_object: BTreeMap<Object, Vec<(u64, u32)>> = BTreeMap::new();
        for (point, object) in &self.newest {
            by_object.entry(*object).or_default().push((self.windows[*point as usize].1, *point));
        }
        for ((object, _), write) in &observed.writers {
            if let Some(points) = by_object.get_mut(object)
                && observed.committed[write.transaction]
                && !write.undone
            {
                let commit = self.commits[write.transaction];
                points.push((self.windows[commit as usize].1, commit));
            }
        }
        for points in by_object.values_mut() {
            points.retain(|(end, _)| *end != u64::MAX);
            points.sort_unstable();
            points.dedup();
            let mut chain: Vec<u32> = Vec::with_capacity(points.len());
            for (_, point) in points.iter() {
                let link = self.graph.point(None);
                self.graph.link(*point, link, Because::Time);
                if let Some(before) = chain.last() {
                    self.graph.link(*before, link, Because::Time);
                }
                chain.push(link);
            }
            for (_, point) in points.iter().filter(|(_, point)| self.newest.contains_key(point)) {
                let ended = points.partition_point(|(end, _)| *end < self.windows[*point as usize].0);
                if ended > 0 {
                    self.graph.link(chain[ended - 1], *point, Because::Time);
                }
            }
        }
    }
}

/// Where a read takes place.
enum Place {
    Commit,
    /// From its statement until the commit.
    Locked,
    Snapshot,
    Statement,
    /// Within its statement, with no other read of it.
    Alone,
}

/// The module's table.
fn place(level: Level, committed: bool, read: &Read<'_>) -> Place {
    let is_locked = committed && !read.undone;
    let is_found = read.own || !matches!(read.seen, Seen::List([]) | Seen::Value(None));
    match level {
        Level::Snapshot => Place::Snapshot,
        Level::Serializable if is_locked => Place::Commit,
        Level::Serializable => Place::Alone,
        _ if read.own || read.reading == Reading::Locking => {
            if is_locked && is_found {
                Place::Locked
            } else {
                Place::Alone
            }
        }
        Level::RepeatableRead => Place::Snapshot,
        Level::ReadCommitted => Place::Statement,
    }
}

/// Committed appends that are in no read, by list: whose and what.
fn unseen_appends(observed: &Observed<'_>) -> HashMap<Object, Vec<(usize, i64)>> {
    let mut seen = std::collections::HashSet::new();
    for (object, order) in &observed.orders {
        seen.extend(order.iter().map(|element| (*object, *element)));
    }
    let mut unseen: HashMap<Object, Vec<(usize, i64)>> = HashMap::new();
    for (key, write) in &observed.writers {
        let is_list = matches!(key.0, Object::List(_));
        if is_list && observed.committed[write.transaction] && !write.undone && !seen.contains(key) {
            unseen.entry(key.0).or_default().push((write.transaction, key.1));
        }
    }
    for appends in unseen.values_mut() {
        appends.sort_unstable();
        appends.truncate(UNSEEN_MAX);
    }
    unseen
}

/// Appends that are in no read, although one began after them.
fn lost_appends(
    history: &History,
    observed: &mut Observed<'_>,
    points: &Points,
    unseen: &HashMap<Object, Vec<(usize, i64)>>,
) {
    let mut latest: HashMap<Object, (u64, usize)> = HashMap::new();
    for (read, (point, _)) in observed.reads.iter().zip(&points.of_reads) {
        let began = (points.windows[*point as usize].0, read.transaction);
        let known = latest.entry(read.object).or_default();
        *known = began.max(*known);
    }
    let mut lost = Vec::new();
    for (object, appends) in unseen {
        let Some((began, reader)) = latest.get(object) else { continue };
        for (writer, element) in appends {
            if history.transactions[*writer].outcome == Outcome::Committed
                && history.transactions[*writer].completed() < *began
            {
                let line =
                    format!("T{writer} appended {element} to {object}; T{reader} began later and did not see it");
                lost.push((*writer, *reader, line));
            }
        }
    }
    lost.sort_unstable();
    lost.into_iter().for_each(|(writer, reader, line)| observed.report(Kind::LostAppend, &[writer, reader], line));
}
