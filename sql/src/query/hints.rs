//! What rows must satisfy to matter, on its way from filters down to scans.
//!
//! A hint is a conjunct over a node's output. It may be dropped anywhere (the scan then reads more), but must never be
//! handed to an input for which it does not hold: the right side of a left join, the input of a limit or an aggregate.

use crate::plan::{JoinKind, as_outer_column};
use basalt_expr::expr::Expr;
use basalt_expr::func::Func;

/// Conjuncts over a node's output.
#[derive(Debug, Clone, Default)]
pub struct Hints {
    /// All hold for every row that matters.
    pub conjuncts: Vec<Expr>,
}

impl Hints {
    /// These and the conjuncts of a filter above.
    pub fn and(mut self, predicate: &Expr) -> Hints {
        self.conjuncts.extend(predicate.clone().conjuncts());
        self
    }

    /// Over the input of a projection: hints about columns that it passes on.
    pub fn through_projection(&self, exprs: &[Expr]) -> Hints {
        let mut conjuncts = Vec::new();
        for conjunct in &self.conjuncts {
            let substituted = conjunct.clone().transform(&mut |node| match node {
                Expr::Column { index, .. } => match exprs.get(index) {
                    Some(expr) if expr.is_immutable() || matches!(expr, Expr::Column { .. }) => Ok(expr.clone()),
                    _ => Err(()),
                },
                other => Ok(other),
            });
            conjuncts.extend(substituted.ok());
        }
        Hints { conjuncts }
    }

    /// Over an apply's input: hints that do not ask about its subqueries.
    pub fn through_apply(&self, width: usize) -> Hints {
        Hints { conjuncts: self.over(|index| index < width).cloned().collect() }
    }

    /// Over both inputs of a join.
    pub fn through_join(mut self, kind: JoinKind, width: usize, condition: Option<&Expr>) -> (Hints, Hints) {
        let on = condition.map(|c| c.clone().conjuncts()).unwrap_or_default();
        let (of_left, of_right) = match kind {
            JoinKind::Inner | JoinKind::Semi => (true, true),
            JoinKind::Left | JoinKind::Anti => (true, false),
            JoinKind::Right => (false, true),
        };
        if of_left && of_right {
            self.conjuncts.extend(on.iter().cloned());
            self.transfer();
        }
        let mut left = if of_left { self.over(|index| index < width).cloned().collect() } else { Vec::new() };
        let mut right: Vec<Expr> =
            if of_right { self.over(|index| index >= width).cloned().collect() } else { Vec::new() };
        // A row of the optional side matters only if it can meet the condition.
        let on = Hints { conjuncts: on };
        match kind {
            JoinKind::Left | JoinKind::Anti => right.extend(on.over(|index| index >= width).cloned()),
            JoinKind::Right => left.extend(on.over(|index| index < width).cloned()),
            _ => {}
        }
        let right = right.into_iter().map(|e| e.map_columns(&|index| index - width)).collect();
        (Hints { conjuncts: left }, Hints { conjuncts: right })
    }

    fn over(&self, wanted: impl Fn(usize) -> bool) -> impl Iterator<Item = &Expr> {
        let holds = move |conjunct: &&Expr| {
            let columns = conjunct.columns();
            !columns.is_empty() && columns.iter().all(|&index| as_outer_column(index).is_none() && wanted(index))
        };
        self.conjuncts.iter().filter(holds)
    }

    /// With `a = b`, what is known of `a` alone is known of `b`, if both are of one type.
    fn transfer(&mut self) {
        let mut found = Vec::new();
        for equality in &self.conjuncts {
            let Expr::Call { func: Func::Eq, args, .. } = equality else { continue };
            let [Expr::Column { index: a, ty: a_type }, Expr::Column { index: b, ty: b_type }] = &args[..] else {
                continue;
            };
            if a_type.arrow_type() != b_type.arrow_type() || a_type.collation != b_type.collation {
                continue;
            }
            for conjunct in &self.conjuncts {
                let columns = conjunct.columns();
                for (from, to) in [(*a, *b), (*b, *a)] {
                    if columns == [from] {
                        found.push(conjunct.clone().map_columns(&|_| to));
                    }
                }
            }
        }
        self.conjuncts.extend(found);
    }
}
