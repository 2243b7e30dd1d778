//! Makes a schedule that fails shorter, as long as it still fails.

use crate::plan::{Deed, Plan};

/// All plans that are one piece shorter, large pieces first.
pub fn shorter(plan: &Plan) -> Vec<Plan> {
    let mut found = Vec::new();
    let mut add = |change: &dyn Fn(&mut Plan)| {
        let mut plan = plan.clone();
        change(&mut plan);
        found.push(plan);
    };
    for session in 0..plan.sessions.len() {
        if plan.sessions.len() > 1 {
            add(&|plan| drop(plan.sessions.remove(session)));
        }
    }
    for (at, session) in plan.sessions.iter().enumerate() {
        for transaction in 0..session.transactions.len() {
            if session.transactions.len() > 1 {
                add(&|plan| drop(plan.sessions[at].transactions.remove(transaction)));
            }
        }
    }
    for (at, session) in plan.sessions.iter().enumerate() {
        for (number, transaction) in session.transactions.iter().enumerate() {
            for (place, (_, deed)) in transaction.deeds.iter().enumerate() {
                if transaction.deeds.len() > 1 {
                    add(&|plan| {
                        let deeds = &mut plan.sessions[at].transactions[number].deeds;
                        deeds.remove(place);
                        if let Deed::Savepoint(name) = deed {
                            deeds.retain(|(_, deed)| *deed != Deed::RollbackTo(*name));
                        }
                    });
                }
            }
        }
    }
    found
}
