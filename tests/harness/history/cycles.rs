//! Finds cycles and names them.

use super::graph::{Because, Edge, Graph, Set};
use super::{Anomaly, History, Kind};
use std::collections::{HashMap, HashSet, VecDeque};

/// How many edges of a component a short cycle is sought through, and how many points may be looked at for it.
const TRIES_MAX: usize = 200;
const LOOKED_AT_MAX: usize = 2_000_000;

/// A step of a cycle: from a transaction, by an edge, to the next step's.
type Step = (usize, Edge);

/// One short cycle of each component, sought with more and more kinds of edges; components that touch a transaction of a
/// cycle already told are not told again.
pub fn find(graph: &Graph, history: &History) -> Vec<Anomaly> {
    const WW: Set = Because::Ww.bit() | Because::Within.bit();
    const WR: Set = WW | Because::Wr.bit();
    const RW: Set = WR | Because::Rw.bit();
    const SESSION: Set = RW | Because::Session.bit();
    const TIME: Set = SESSION | Because::Time.bit();
    let rounds =
        [(WW, Because::Ww), (WR, Because::Wr), (RW, Because::Rw), (SESSION, Because::Session), (TIME, Because::Time)];
    let (mut told, mut found) = (HashSet::new(), Vec::new());
    for (kinds, newest) in rounds {
        for component in graph.components(kinds) {
            if component.iter().any(|point| graph.owner[*point as usize].is_some_and(|owner| told.contains(&owner))) {
                continue;
            }
            let Some(steps) = shortest(graph, &component, kinds, newest) else { continue };
            let transactions: Vec<usize> = steps.iter().map(|(from, _)| *from).collect();
            told.extend(transactions.iter().copied());
            let lines = steps.iter().zip(transactions.iter().cycle().skip(1));
            let lines = lines.map(|((from, edge), to)| spelled(history, *from, edge, *to)).collect();
            found.push(Anomaly { kind: name(&steps, newest), transactions, lines });
        }
    }
    found
}

/// A short cycle within a component through an edge of the newest kind, if there is one with a single such edge.
fn shortest(graph: &Graph, component: &[u32], kinds: Set, newest: Because) -> Option<Vec<Step>> {
    let members: HashSet<u32> = component.iter().copied().collect();
    let of_newest = component.iter().flat_map(|from| {
        let edges = graph.edges[*from as usize].iter();
        edges.filter(|edge| edge.because == newest && members.contains(&edge.to)).map(move |edge| (*from, *edge))
    });
    let of_newest: Vec<_> = of_newest.take((LOOKED_AT_MAX / component.len()).clamp(1, TRIES_MAX)).collect();
    for kinds in [kinds & !newest.bit(), kinds] {
        let cycles = of_newest.iter().filter_map(|(from, edge)| {
            let mut path = way(graph, &members, kinds, edge.to, *from)?;
            path.insert(0, (*from, *edge));
            Some(path)
        });
        if let Some(path) = cycles.map(|path| steps(graph, &path)).filter(|steps| steps.len() > 1).min_by_key(Vec::len)
        {
            return Some(path);
        }
    }
    None
}

/// A shortest way from a point to another; steps within a transaction and of time's chain cost nothing.
fn way(graph: &Graph, members: &HashSet<u32>, kinds: Set, from: u32, to: u32) -> Option<Vec<(u32, Edge)>> {
    let mut came: HashMap<u32, (u32, u32, Edge)> = HashMap::new();
    let mut queue = VecDeque::from([(from, 0)]);
    while let Some((point, cost)) = queue.pop_front() {
        if point == to {
            let (mut path, mut at) = (Vec::new(), to);
            while at != from {
                let (_, previous, edge) = came[&at];
                path.push((previous, edge));
                at = previous;
            }
            path.reverse();
            return Some(path);
        }
        for edge in &graph.edges[point as usize] {
            let is_free = edge.because == Because::Within || graph.owner[point as usize].is_none();
            let cost = cost + u32::from(!is_free);
            let is_better = came.get(&edge.to).is_none_or(|(known, ..)| cost < *known);
            if edge.because.bit() & kinds != 0 && members.contains(&edge.to) && edge.to != from && is_better {
                came.insert(edge.to, (cost, point, *edge));
                if is_free { queue.push_front((edge.to, cost)) } else { queue.push_back((edge.to, cost)) }
            }
        }
    }
    None
}

/// A cycle of points as one of transactions.
fn steps(graph: &Graph, path: &[(u32, Edge)]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for (point, edge) in path {
        // What leaves a point of time alone is the end of a step that began before it.
        if let Some(owner) = graph.owner[*point as usize]
            && edge.because != Because::Within
        {
            steps.push((owner, *edge));
        }
    }
    steps
}

fn name(steps: &[Step], newest: Because) -> Kind {
    match newest {
        Because::Ww | Because::Within => return Kind::G0,
        Because::Wr => return Kind::G1c,
        Because::Session => return Kind::SessionOrder,
        Because::Time => return Kind::RealTime,
        Because::Rw => {}
    }
    let is_rw = |at: usize| steps[at % steps.len()].1.because == Because::Rw;
    let of_reads = (0..steps.len()).filter(|at| is_rw(*at)).count();
    let of_writes = steps.iter().filter(|(_, edge)| edge.because == Because::Ww).count();
    if steps.len() == 2 && of_reads + of_writes == 2 && steps[0].1.object == steps[1].1.object {
        Kind::LostUpdate
    } else if of_reads == 1 {
        Kind::GSingle
    } else if (0..steps.len()).any(|at| is_rw(at) && is_rw(at + 1)) {
        Kind::G2Item
    } else {
        Kind::LongFork
    }
}

fn spelled(history: &History, from: usize, edge: &Edge, to: usize) -> String {
    let Edge { object, value, .. } = edge;
    let session = history.transactions[from].session;
    match edge.because {
        Because::Ww => format!("T{from} wrote {object} before T{to} wrote {value} there [ww]"),
        Because::Wr => format!("T{from} wrote {value} in {object}, which T{to} read [wr]"),
        Because::Rw => format!("T{from} read {object} without {value}, which T{to} wrote [rw]"),
        Because::Session => format!("T{from} ended before T{to} began in session {session} [session]"),
        Because::Time | Because::Within => format!("what T{from} did had ended before T{to} did its part [time]"),
    }
}
