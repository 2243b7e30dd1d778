//! Makes a scenario from a seed: tables, then statements that change and ask them.

use crate::dice::Dice;
use crate::schema::Table;
use crate::tree::Tree;
use crate::types::{Class, Collation};
use basalt_tests::ways::Way;

/// Statements of a scenario, without those that make its tables.
const STEPS: usize = 60;
/// Subqueries of one statement.
const SUBQUERIES_MAX: usize = 4;

/// A column in sight of an expression.
#[derive(Debug, Clone)]
pub struct Column {
    /// How it is written.
    pub sql: String,
    /// What it is.
    pub class: Class,
}

/// What an expression may name.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// Columns of its own FROM.
    pub columns: Vec<Column>,
    /// Columns of the queries around it.
    pub outer: Vec<Column>,
    /// What together no two rows of FROM share.
    pub ids: Vec<String>,
}

/// How a statement is sent to Basalt; its peer always gets the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Send {
    /// Text.
    Text,
    /// Text with a comment, which is not kept.
    Uncached,
    /// Text twice, so that the second finds the kept plan; only what changes nothing.
    Twice,
    /// PREPARE by name.
    Named,
    /// The binary protocol.
    Binary,
}

/// A statement of a scenario.
#[derive(Debug, Clone)]
pub struct Step {
    /// Its text.
    pub tree: Tree,
    /// How it is sent.
    pub send: Send,
    /// The table that it changes.
    pub changes: Option<String>,
}

/// One seed's tables and statements.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// The seed.
    pub seed: u64,
    /// Tables with their first rows.
    pub tables: Vec<Table>,
    /// The session's collation.
    pub collation: Collation,
    /// How Basalt's session is set up.
    pub way: Way,
    /// Whether there is what MariaDB answers otherwise than MySQL, or not at all.
    pub is_wide: bool,
    /// Statements.
    pub steps: Vec<Step>,
}

/// See the module.
pub struct Maker {
    /// Chance.
    pub dice: Dice,
    /// The scenario's tables.
    pub tables: Vec<Table>,
    /// Whether values of different classes are compared.
    pub mixes: bool,
    /// See [`Scenario::is_wide`].
    pub is_wide: bool,
    /// The table that the statement changes, which it may not ask at the same time.
    pub changed: Option<String>,
    /// Tables of WITH in sight: name and columns.
    pub named: Vec<(String, Vec<Class>)>,
    aliases: usize,
    subqueries: usize,
}

impl Scenario {
    /// The scenario of a seed.
    pub fn new(seed: u64, is_wide: bool) -> Scenario {
        let mut dice = Dice::new(seed);
        let tables = 0..1 + dice.below(3);
        let tables: Vec<_> = tables.map(|at| Table::any(format!("t{at}"), is_wide, &mut dice)).collect();
        let collation = Collation::any(&mut dice);
        let ways = [Way::Text, Way::Text, Way::Query, Way::NoIndex, Way::Index, Way::Split, Way::Optimistic];
        let way = *dice.pick(&ways);
        let mut maker = Maker::new(dice, tables.clone(), is_wide);
        let steps = (0..STEPS).map(|_| maker.step()).collect();
        Scenario { seed, tables, collation, way, is_wide, steps }
    }
}

impl Maker {
    fn new(dice: Dice, tables: Vec<Table>, is_wide: bool) -> Maker {
        Maker { dice, tables, mixes: true, is_wide, changed: None, named: Vec::new(), aliases: 0, subqueries: 0 }
    }

    /// For more statements over a scenario's tables.
    pub fn over(scenario: &Scenario) -> Maker {
        Maker::new(Dice::new(!scenario.seed), scenario.tables.clone(), scenario.is_wide)
    }

    /// Begins a statement.
    pub fn begin(&mut self) {
        (self.aliases, self.subqueries) = (0, 0);
        self.named.clear();
        self.changed = None;
    }

    fn step(&mut self) -> Step {
        self.begin();
        let is_change = self.dice.chance(25);
        // In statements that change something a conversion that goes wrong is an error, and which rows are looked at
        // first is no part of the answer.
        self.mixes = !is_change && self.dice.chance(30);
        let ways = [Send::Text, Send::Uncached, Send::Twice, Send::Named, Send::Binary];
        let mut send = *self.dice.pick(&ways);
        if is_change {
            let (tree, table) = self.change();
            send = if send == Send::Twice { Send::Text } else { send };
            return Step { tree, send, changes: Some(table) };
        }
        Step { tree: self.statement(), send, changes: None }
    }

    /// True in so many of a hundred cases, of scenarios that are wide.
    pub fn may(&mut self, percent: u32) -> bool {
        self.is_wide && self.dice.chance(percent)
    }

    /// A name that no other source of the statement has.
    pub fn alias(&mut self, letter: char) -> String {
        self.aliases += 1;
        format!("{letter}{}", self.aliases)
    }

    /// Whether the statement may have another subquery.
    pub fn subqueries_left(&self) -> bool {
        let is_left = self.tables.iter().any(|table| Some(&table.name) != self.changed.as_ref());
        is_left && self.subqueries < SUBQUERIES_MAX
    }

    /// Notes a subquery.
    pub fn count_subquery(&mut self) {
        self.subqueries += 1;
    }

    /// Any of the tables that may be asked.
    pub fn table(&mut self) -> Table {
        let may: Vec<_> = self.tables.iter().filter(|table| Some(&table.name) != self.changed.as_ref()).collect();
        (*self.dice.pick(&may)).clone()
    }
}
