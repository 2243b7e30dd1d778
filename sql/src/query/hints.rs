//! What rows must satisfy to matter, on its way from filters down to scans.
//!
//! A hint is a conjunct over a node's output. It may be dropped anywhere (the scan then reads more), but must never be
//! handed to an input for which it does not hold: the right side of a left join, the input of a limit or an aggregate.

use crate::plan::{JoinKind, as_outer_column};
use basalt_expr::expr::Expr;
use basalt_expr::func::Func;

/// Hints above which no more are made of others: each join may double them, and one that is not made costs a scan at most.
const TRANSFERRED_MAX: usize = 200;

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
            let new: Vec<Expr> = on.iter().filter(|conjunct| !self.conjuncts.contains(conjunct)).cloned().collect();
            self.conjuncts.extend(new);
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
        let mut found: Vec<Expr> = Vec::new();
        let known = &self.conjuncts;
        for equality in known {
            let Expr::Call { func: Func::Eq, args, .. } = equality else { continue };
            let [Expr::Column { index: a, ty: a_type }, Expr::Column { index: b, ty: b_type }] = &args[..] else {
                continue;
            };
            let is_one = a_type.arrow_type() == b_type.arrow_type() && a_type.collation == b_type.collation;
            if a == b || !is_one {
                continue;
            }
            for conjunct in known {
                let columns = conjunct.columns();
                for (from, to) in [(*a, *b), (*b, *a)] {
                    if columns != [from] {
                        continue;
                    }
                    if known.len() + found.len() >= TRANSFERRED_MAX {
                        self.conjuncts.extend(found);
                        return;
                    }
                    let moved = conjunct.clone().map_columns(&|_| to);
                    if !known.contains(&moved) && !found.contains(&moved) {
                        found.push(moved);
                    }
                }
            }
        }
        self.conjuncts.extend(found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use basalt_expr::types::FieldType;

    /// Joins below one another, each on equalities that other joins have as well: once they doubled what was known at each
    /// join, and a statement of nine tables took 19 GiB to plan.
    #[test]
    fn hints_stay_few_through_many_joins() {
        let column = |index| Expr::column(index, FieldType::bigint());
        let call = |func, a, b| Expr::call(func, vec![a, b]).expect("numbers compare");
        let on = [
            call(Func::Eq, column(0), column(0)),
            call(Func::Eq, column(0), column(1)),
            call(Func::Eq, column(1), column(1)),
            call(Func::Gt, column(1), Expr::int(5)),
        ];
        let on = on.into_iter().reduce(|a, b| call(Func::And, a, b)).expect("four of them");
        let mut hints = Hints::default();
        for _ in 0..40 {
            hints = hints.through_join(JoinKind::Inner, 2, Some(&on)).0;
        }
        assert!(hints.conjuncts.len() <= TRANSFERRED_MAX + 4, "{}", hints.conjuncts.len());
        assert!(hints.conjuncts.contains(&call(Func::Gt, column(0), Expr::int(5))));
    }
}
