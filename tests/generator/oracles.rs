//! Questions to Basalt alone whose answers must agree.
//!
//! | oracle | must be the same |
//! |---|---|
//! | [`Oracle::Parts`] | a query's rows; those WHERE p, WHERE NOT p and WHERE p IS NULL together (ternary logic partitioning) |
//! | [`Oracle::Count`] | COUNT(*) WHERE p; SUM(p IS TRUE) over all rows, which no index helps (NoREC) |
//! | [`Oracle::Aggregates`] | aggregates over all rows; the aggregates of the three parts put together |
//! | [`Oracle::Groups`] | COUNT(*); the sum of the counts by group |
//! | [`Oracle::Later`] | a query; the same one after ADD INDEX, ANALYZE TABLE and SPLIT TABLE |
//! | ways | a scenario's statements in two ways: with and without indexes, the short path, the plan cache |

use crate::maker::{Maker, Scenario, Scope, Send, Step};
use crate::pair::{Outcome, Pair, What, difference};
use crate::peer::Dialect;
use crate::report::Report;
use crate::run::Differs;
use crate::shrink::{Case, Judge, Shrinker};
use crate::tree::Tree;
use crate::types::Class;
use basalt_tests::say;
use basalt_tests::statement::Answer;
use basalt_tests::ways::Way;
use mysql_async::Opts;
use std::fmt::Write;

/// Questions to a scenario's tables.
const QUESTIONS: usize = 20;
/// Contradictions after which a run ends.
const FOUND_MAX: usize = 20;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Oracle {
    /// Ternary logic partitioning.
    Parts,
    /// NoREC.
    Count,
    /// Aggregates of the parts.
    Aggregates,
    /// Counts by group.
    Groups,
    /// Before and after what must not matter.
    Later,
}

const ORACLES: [Oracle; 5] = [Oracle::Parts, Oracle::Count, Oracle::Aggregates, Oracle::Groups, Oracle::Later];

/// Runs until so many questions were asked; what contradicts itself.
pub async fn run(basalt: Opts, first_seed: u64, wanted: usize) -> String {
    let mut pair = Pair::new(basalt.clone(), basalt, Dialect::MySql, "oracles");
    let mut report = String::new();
    let (mut asked, mut found, mut refused) = (0, 0, 0);
    let mut listed = Report::new();
    for seed in first_seed.. {
        if asked >= wanted || listed.found() >= FOUND_MAX {
            break;
        }
        let scenario = Scenario::new(seed, true);
        pair.between_ways(scenario.way, if seed % 2 == 0 { Way::Query } else { Way::NoIndex });
        if let Err(error) = pair.set_up(&scenario, &scenario.tables).await {
            let _ = writeln!(report, "seed {seed}: {error}");
            break;
        }
        asked += ways(&mut pair, &scenario, &mut listed).await;
        let mut maker = Maker::over(&scenario);
        for _ in 0..QUESTIONS {
            asked += 1;
            let oracle = *maker.dice.pick(&ORACLES);
            let step = question(&mut maker, oracle);
            let mut judge = Contradicts { pair: &mut pair, oracle };
            let case = Case { tables: scenario.tables.clone(), before: Vec::new(), step };
            match judge.ask(&case.step).await {
                None => refused += 1,
                Some(None) => {}
                Some(Some(_)) => {
                    found += 1;
                    if let Some((case, outcomes)) = follow(&mut judge, &scenario, case).await {
                        listed.add(&scenario, &case, &What::Rows, &outcomes, Dialect::MySql);
                    }
                    if pair.set_up(&scenario, &scenario.tables).await.is_err() {
                        break;
                    }
                }
            }
        }
    }
    say(&format!("oracles: {asked} questions, {refused} with an error for an answer, {found} contradictions\n"));
    report + &listed.text()
}

/// The scenario's statements in two ways; how many there were.
async fn ways(pair: &mut Pair, scenario: &Scenario, report: &mut Report) -> usize {
    let mut changes: Vec<Step> = Vec::new();
    for (at, step) in scenario.steps.iter().enumerate() {
        let (what, outcomes) = pair.compare(step).await;
        if outcomes.iter().any(|o| matches!(o, Outcome::Error(..))) {
            // What is refused may be refused in one way only.
            if step.changes.is_some() && !outcomes.iter().all(|o| matches!(o, Outcome::Error(..))) {
                return at;
            }
        } else if let Some(what) = what {
            let case = Case { tables: scenario.tables.clone(), before: changes.clone(), step: step.clone() };
            let mut judge = Differs { pair, what, expected: None };
            if let Some(small) = Shrinker::new(&mut judge, scenario).shrink(case).await
                && let Some(outcomes) = judge.outcomes(scenario, &small).await
            {
                report.add(scenario, &small, &judge.what, &outcomes, Dialect::MySql);
            }
            return at;
        }
        if step.changes.is_some() {
            changes.push(step.clone());
        }
    }
    scenario.steps.len()
}

/// What is asked: items, FROM, and a condition.
fn question(maker: &mut Maker, oracle: Oracle) -> Step {
    maker.begin();
    let (scope, from) = maker.from(&Scope::default(), 1);
    let class = maker.class_in(&scope);
    let item = maker.column_of(class, &scope).map_or(Tree::text("1"), |column| Tree::text(column.sql));
    let condition = maker.predicate(&scope, 2);
    let count = Tree::Expr(Class::Int, vec![maker.expression(Class::Int, &scope, 1)]);
    // After what must not matter the tables are others: they have to be made anew for every cut.
    let changes = (oracle == Oracle::Later).then(String::new);
    Step { tree: Tree::Seq(vec![item, from, condition, count]), send: Send::Text, changes }
}

/// The two sides of an oracle: each a list of statements whose rows belong together.
fn sides(oracle: Oracle, tree: &Tree) -> [Vec<String>; 2] {
    let Tree::Seq(parts) = tree else { return [Vec::new(), Vec::new()] };
    let [item, from, p, number] = [0, 1, 2, 3].map(|at| parts.get(at).map(Tree::sql).unwrap_or_default());
    let wheres = [p.clone(), format!("NOT ({p})"), format!("({p}) IS NULL")];
    let whole = format!("SELECT {item} AS x FROM {from}");
    match oracle {
        Oracle::Parts => [vec![whole.clone()], wheres.iter().map(|w| format!("{whole} WHERE {w}")).collect()],
        Oracle::Count => [
            vec![format!("SELECT COUNT(*) FROM {from} WHERE {p}")],
            vec![format!("SELECT COALESCE(SUM(({p}) IS TRUE), 0) FROM {from}")],
        ],
        Oracle::Aggregates => {
            let of = |tail: &str| {
                format!(
                    "SELECT COUNT(*) AS n, SUM({number}) AS s, MIN({number}) AS i, MAX({number}) AS a FROM {from}{tail}"
                )
            };
            let parts: Vec<String> = wheres.iter().map(|w| of(&format!(" WHERE {w}"))).collect();
            let all = format!("SELECT SUM(n), SUM(s), MIN(i), MAX(a) FROM ({}) AS q", parts.join(" UNION ALL "));
            [vec![of("")], vec![all]]
        }
        Oracle::Groups => [
            vec![format!("SELECT COUNT(*) FROM {from} WHERE {p}")],
            vec![format!(
                "SELECT COALESCE(SUM(n), 0) FROM (SELECT COUNT(*) AS n FROM {from} WHERE {p} GROUP BY {item}) AS q"
            )],
        ],
        Oracle::Later => {
            let sql = format!("SELECT {item} AS x, {number} AS n FROM {from} WHERE {p}");
            [vec![sql.clone()], vec![sql]]
        }
    }
}

/// The contradiction as small as it gets, its statements as one text; None when it does not show again.
async fn follow(judge: &mut Contradicts<'_>, scenario: &Scenario, case: Case) -> Option<(Case, [Outcome; 2])> {
    let small = Shrinker::new(&mut *judge, scenario).shrink(case).await?;
    judge.pair.set_up(scenario, &small.tables).await.ok()?;
    let answers = judge.ask(&small.step).await??;
    let [whole, parts] = sides(judge.oracle, &small.step.tree);
    let text = format!("{};\n{}", whole.join(";\n"), parts.join(";\n"));
    let step = Step { tree: Tree::text(text), ..small.step.clone() };
    Some((Case { step, ..small }, answers.map(Outcome::Answer)))
}

struct Contradicts<'a> {
    pair: &'a mut Pair,
    oracle: Oracle,
}

impl Contradicts<'_> {
    /// None: there was an error. Else both sides' answers where they differ.
    async fn ask(&mut self, step: &Step) -> Option<Option<[Answer; 2]>> {
        let [one, other] = sides(self.oracle, &step.tree);
        let one = self.rows(&one).await?;
        if self.oracle == Oracle::Later {
            self.pair.change_nothing().await;
        }
        let other = self.rows(&other).await?;
        let differs = difference("", &Outcome::Answer(one.clone()), &Outcome::Answer(other.clone())).is_some();
        Some(differs.then_some([one, other]))
    }

    async fn rows(&mut self, statements: &[String]) -> Option<Answer> {
        let mut all: Option<Answer> = None;
        for sql in statements {
            let Outcome::Answer(answer) = self.pair.ask(sql).await else { return None };
            if let (Some(Answer::Rows { rows, .. }), Answer::Rows { rows: more, .. }) = (&mut all, &answer) {
                rows.extend(more.iter().cloned());
            } else {
                all = Some(answer);
            }
        }
        all
    }
}

impl Judge for Contradicts<'_> {
    async fn shows(&mut self, scenario: &Scenario, case: &Case) -> bool {
        self.pair.set_up(scenario, &case.tables).await.is_ok() && self.still_shows(&case.step).await
    }

    async fn still_shows(&mut self, step: &Step) -> bool {
        matches!(self.ask(step).await, Some(Some(_)))
    }
}
