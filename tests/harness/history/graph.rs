//! The graph of points and "earlier than" edges, and its strongly connected components.

use super::Object;

/// Why one point is earlier than another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Because {
    /// A version before the next.
    Ww,
    /// A version before who read it.
    Wr,
    /// A read before the next version.
    Rw,
    /// Statements of one transaction.
    Within,
    /// Transactions of one session.
    Session,
    /// Real time.
    Time,
}

/// A set of them.
pub type Set = u8;

impl Because {
    /// The set of this alone.
    pub const fn bit(self) -> Set {
        1 << self as u8
    }
}

/// An edge to a point.
#[derive(Debug, Clone, Copy)]
pub struct Edge {
    pub to: u32,
    pub because: Because,
    /// What was read or written.
    pub object: Object,
    /// The version: the later one of ww and rw, the one that was read of wr.
    pub value: i64,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Graph {
    /// Whose each point is; None of those that only carry time.
    pub owner: Vec<Option<usize>>,
    pub edges: Vec<Vec<Edge>>,
}

impl Graph {
    pub fn point(&mut self, owner: Option<usize>) -> u32 {
        self.owner.push(owner);
        self.edges.push(Vec::new());
        self.owner.len() as u32 - 1
    }

    /// An edge that is about no object.
    pub fn link(&mut self, from: u32, to: u32, because: Because) {
        self.edge(from, to, because, Object::List(0), 0);
    }

    pub fn edge(&mut self, from: u32, to: u32, because: Because, object: Object, value: i64) {
        if from != to {
            self.edges[from as usize].push(Edge { to, because, object, value });
        }
    }

    /// Strongly connected components of more than one point, over some kinds of edges (Tarjan 1972, without recursion).
    pub fn components(&self, of: Set) -> Vec<Vec<u32>> {
        const NEW: u32 = u32::MAX;
        let size = self.owner.len();
        let (mut number, mut low, mut on_stack) = (vec![NEW; size], vec![0; size], vec![false; size]);
        let (mut stack, mut path, mut found) = (Vec::new(), Vec::new(), Vec::new());
        let mut next = 0;
        for root in 0..size as u32 {
            if number[root as usize] != NEW {
                continue;
            }
            path.push((root, 0));
            while let Some((point, edge)) = path.last_mut() {
                let at = *point as usize;
                if *edge == 0 && number[at] == NEW {
                    (number[at], low[at], on_stack[at]) = (next, next, true);
                    next += 1;
                    stack.push(*point);
                }
                if let Some(to) = self.edges[at].get(*edge) {
                    *edge += 1;
                    if to.because.bit() & of == 0 {
                        continue;
                    }
                    let to_at = to.to as usize;
                    if number[to_at] == NEW {
                        path.push((to.to, 0));
                    } else if on_stack[to_at] {
                        low[at] = low[at].min(number[to_at]);
                    }
                    continue;
                }
                path.pop();
                if let Some((parent, _)) = path.last() {
                    low[*parent as usize] = low[*parent as usize].min(low[at]);
                }
                if low[at] == number[at] {
                    let from = stack.iter().rposition(|point| *point as usize == at).expect("it is on the stack");
                    let component = stack.split_off(from);
                    component.iter().for_each(|point| on_stack[*point as usize] = false);
                    if component.len() > 1 {
                        found.push(component);
                    }
                }
            }
        }
        found
    }
}
