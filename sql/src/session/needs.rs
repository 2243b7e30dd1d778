//! What a plan needs of whoever runs it: privileges on tables, and on the columns that a change reads.

use crate::plan::{Assignment, Delete, Insert, LogicalPlan, RowLocks, SubqueryKind, Update};
use crate::planner::{self, PhysicalPlan, RowsPlan, ShortQuery, ShortSource};
use crate::privilege::Privileges;
use basalt_expr::expr::Expr;

/// Privileges on one table.
#[derive(Debug, PartialEq)]
pub(super) struct Need {
    pub database: String,
    pub table: String,
    /// All of them.
    pub privileges: Privileges,
    /// The column that is read by a statement which may also change the table without reading it.
    pub column: Option<String>,
    /// FOR UPDATE.
    pub locks: bool,
}

impl Need {
    fn on(database: &str, table: &str, privileges: Privileges) -> Need {
        Need { database: database.to_owned(), table: table.to_owned(), privileges, column: None, locks: false }
    }
}

/// What a plan needs.
pub(super) fn of(plan: &PhysicalPlan) -> Vec<Need> {
    let mut needs = Vec::new();
    match plan {
        PhysicalPlan::Short(short) => short_reads(short, &mut needs),
        PhysicalPlan::Query(query) => {
            reads(&query.root, &mut needs);
            locks(&query.locks, &mut needs);
        }
        PhysicalPlan::Insert(plan) => {
            insert(&plan.insert, &mut needs);
            match &plan.source {
                Some(RowsPlan::Short(short)) => short_reads(short, &mut needs),
                Some(RowsPlan::Query(query)) => {
                    reads(&query.root, &mut needs);
                    locks(&query.locks, &mut needs);
                }
                None => {}
            }
        }
        PhysicalPlan::Update(plan) => update(&plan.update, &mut needs),
        PhysicalPlan::Delete(plan) => delete(&plan.delete, &mut needs),
    }
    needs
}

fn short_reads(short: &ShortQuery, needs: &mut Vec<Need>) {
    if let ShortSource::Table(read) = &short.source {
        let mut need = Need::on(&read.scan.database, &read.scan.table.name, Privileges::SELECT);
        need.locks = short.locking.is_some_and(|l| !l.share);
        needs.push(need);
    }
}

fn reads(plan: &LogicalPlan, needs: &mut Vec<Need>) {
    planner::visit_scans(plan, &mut |scan| {
        needs.push(Need::on(&scan.database, &scan.table.name, Privileges::SELECT));
    });
}

fn locks(locks: &[RowLocks], needs: &mut Vec<Need>) {
    for target in locks.iter().flat_map(|locks| &locks.targets).filter(|target| !target.locking.share) {
        needs.push(Need { locks: true, ..Need::on(&target.database, &target.table.name, Privileges::SELECT) });
    }
}

fn insert(insert: &Insert, needs: &mut Vec<Need>) {
    let mut privileges = Privileges::INSERT;
    if insert.replace {
        privileges = privileges.with(Privileges::DELETE);
    }
    if !insert.on_duplicate.is_empty() {
        privileges = privileges.with(Privileges::UPDATE);
    }
    needs.push(Need::on(&insert.database, &insert.table.name, privileges));
    // What ON DUPLICATE KEY UPDATE reads of the row that is there; the new row's columns lie behind it.
    let width = insert.table.columns.len();
    let read = first_read(insert.on_duplicate.iter().filter_map(|a| a.value.as_ref()), 0, width);
    if let Some(at) = read {
        let column = insert.table.columns[at].name.clone();
        let need = Need::on(&insert.database, &insert.table.name, Privileges::SELECT);
        needs.push(Need { column: Some(column), ..need });
    }
}

fn update(update: &Update, needs: &mut Vec<Need>) {
    let targets: Vec<Target> = update
        .targets
        .iter()
        .map(|t| Target { database: &t.database, table: &t.table, offset: t.offset, verb: Privileges::UPDATE })
        .collect();
    let values: Vec<&Expr> = update
        .targets
        .iter()
        .flat_map(|t| t.assignments.iter().filter_map(|a: &Assignment| a.value.as_ref()))
        .collect();
    change(&targets, &update.source, &values, needs);
}

fn delete(delete: &Delete, needs: &mut Vec<Need>) {
    let targets: Vec<Target> = delete
        .targets
        .iter()
        .map(|t| Target { database: &t.database, table: &t.table, offset: t.offset, verb: Privileges::DELETE })
        .collect();
    change(&targets, &delete.source, &[], needs);
}

/// A table that is changed, and where its columns lie in the rows that are read for it.
struct Target<'a> {
    database: &'a str,
    table: &'a crate::catalog::model::Table,
    offset: usize,
    verb: Privileges,
}

/// What is evaluated over the rows of a relation that is changed.
#[derive(Default)]
struct Chain<'a> {
    /// Names of its tables.
    tables: Vec<String>,
    /// Expressions, and where the columns that they count from lie in the relation.
    exprs: Vec<(usize, &'a Expr)>,
    /// A subquery reads columns of the relation, whichever.
    correlated: bool,
}

impl<'a> Chain<'a> {
    fn walk(&mut self, plan: &'a LogicalPlan, base: usize) {
        match plan {
            LogicalPlan::Scan(scan) => self.tables.push(scan.alias.clone()),
            LogicalPlan::Filter { input, predicate } => {
                self.exprs.push((base, predicate));
                self.walk(input, base);
            }
            LogicalPlan::Sort { input, keys } => {
                self.exprs.extend(keys.iter().map(|key| (base, &key.expr)));
                self.walk(input, base);
            }
            LogicalPlan::Join { left, right, condition, .. } => {
                self.exprs.extend(condition.as_ref().map(|on| (base, on)));
                self.walk(left, base);
                self.walk(right, base + left.output().len());
            }
            LogicalPlan::Apply { input, subqueries } => {
                self.correlated |= subqueries.iter().any(|subquery| subquery.correlated);
                for subquery in subqueries {
                    if let SubqueryKind::In { operand } | SubqueryKind::Quantified { operand, .. } = &subquery.kind {
                        self.exprs.push((base, operand));
                    }
                }
                self.walk(input, base);
            }
            LogicalPlan::Limit { input, .. } | LogicalPlan::Project { input, .. } => self.walk(input, base),
            // Derived tables are only read, and have their own columns.
            _ => {}
        }
    }

    /// The first column that is read of those between two offsets.
    fn first_read(&self, from: usize, to: usize) -> Option<usize> {
        let read = self.exprs.iter().find_map(|(base, expr)| {
            first_read(std::iter::once(*expr), from.saturating_sub(*base), to.saturating_sub(*base)).map(|at| at + base)
        });
        read.or_else(|| self.correlated.then_some(from))
    }
}

fn change(targets: &[Target<'_>], source: &LogicalPlan, values: &[&Expr], needs: &mut Vec<Need>) {
    let mut chain = Chain { exprs: values.iter().map(|value| (0, *value)).collect(), ..Chain::default() };
    chain.walk(source, 0);
    for target in targets {
        needs.push(Need::on(target.database, &target.table.name, target.verb));
        if let Some(at) = chain.first_read(target.offset, target.offset + target.table.columns.len()) {
            let column = target.table.columns[at - target.offset].name.clone();
            let need = Need::on(target.database, &target.table.name, Privileges::SELECT);
            needs.push(Need { column: Some(column), ..need });
        }
    }
    // Every other table is only read. A target is a scan of this relation too, once.
    let mut left: Vec<&Target<'_>> = targets.iter().collect();
    planner::visit_scans(source, &mut |scan| {
        let is_target = |t: &&Target<'_>| t.table.id == scan.table.id && chain.tables.contains(&scan.alias);
        match left.iter().position(is_target) {
            Some(at) => {
                left.remove(at);
            }
            None => needs.push(Need::on(&scan.database, &scan.table.name, Privileges::SELECT)),
        }
    });
}

/// The first column in a range of offsets that an expression reads.
fn first_read<'a>(exprs: impl Iterator<Item = &'a Expr>, from: usize, to: usize) -> Option<usize> {
    let mut found = None;
    for expr in exprs {
        expr.visit(&mut |e| {
            if let Expr::Column { index, .. } = e
                && (from..to).contains(index)
            {
                found.get_or_insert(*index);
            }
        });
    }
    found
}
