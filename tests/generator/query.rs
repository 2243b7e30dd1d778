//! Queries: sources and joins, plain and grouped selects, windows, set operations, WITH, subqueries.
//!
//! An answer must follow from the statement alone. So ORDER BY ends with the ids of all sources ([`Order`]),
//! LIMIT stands only behind it, and a column whose value MySQL may choose (which of `'a'` and `'A'` stands for
//! their group) is named `fuzzy…`: its values are not compared.

use crate::maker::{Column, Maker, Scope};
use crate::tree::Tree;
use crate::types::Class;

/// How the name of a column begins whose values are not compared.
pub const FUZZY: &str = "fuzzy";
/// The comment behind an order that leaves no two rows open.
pub const TOTAL: &str = "/*total*/";

/// What a select must give.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// Classes of its columns; any when empty.
    pub classes: Vec<Class>,
    /// At most one row.
    pub is_single: bool,
    /// It is within another statement: columns have names, and none is fuzzy.
    pub is_inner: bool,
}

struct Select {
    items: Vec<(Tree, Class)>,
    tail: Vec<Tree>,
    is_distinct: bool,
    /// The rows come in an order of its own, or must not.
    is_ordered: bool,
}

impl Maker {
    /// A whole query statement.
    pub fn statement(&mut self) -> Tree {
        let wish = Wish::default();
        let scope = Scope::default();
        if self.dice.chance(12) {
            return self.with(&wish);
        }
        if self.dice.chance(15) {
            return self.set_operation(&wish).0;
        }
        self.select(&wish, &scope, 2).0
    }

    fn with(&mut self, wish: &Wish) -> Tree {
        let mut parts = Vec::new();
        for _ in 0..1 + self.dice.below(2) {
            let name = self.alias('w');
            let inner = Wish { is_inner: true, ..Wish::default() };
            let (query, classes) = self.select(&inner, &Scope::default(), 1);
            parts.push(Tree::Seq(vec![Tree::text(format!("{name} AS (")), query, Tree::text(")")]));
            self.named.push((name, classes));
        }
        let is_recursive = self.may(40);
        if is_recursive {
            parts.push(self.recursive());
        }
        let (query, _) = self.select(wish, &Scope::default(), 1);
        let with = if is_recursive { "WITH RECURSIVE " } else { "WITH " };
        Tree::Query(vec![Tree::text(with), Tree::commas(parts), Tree::text(" "), query])
    }

    /// A table of WITH RECURSIVE: numbers, texts that grow, or ids that are followed.
    fn recursive(&mut self) -> Tree {
        let name = self.alias('w');
        let all = self.dice.word(&["ALL ", "ALL ", "DISTINCT ", ""]);
        let most = self.dice.below(9);
        let (text, classes) = match self.dice.below(3) {
            0 => (format!("SELECT 1 AS e0 UNION {all}SELECT e0 + 1 FROM {name} WHERE e0 < {most}"), vec![Class::Int]),
            1 => (
                format!(
                    "SELECT 1 AS e0, CAST('a' AS CHAR(20)) AS e1 UNION {all}SELECT e0 + 1, CONCAT(e1, 'b') FROM {name} \
                     WHERE e0 < {most}"
                ),
                vec![Class::Int, Class::Text],
            ),
            _ => {
                let table = self.table().name;
                (
                    format!(
                        "SELECT id AS e0, 0 AS e1 FROM {table} WHERE id < 4 UNION {all}SELECT x.id, e1 + 1 FROM {name} \
                         JOIN {table} AS x ON x.id = e0 + 1 WHERE e1 < {most}"
                    ),
                    vec![Class::Int, Class::Int],
                )
            }
        };
        self.named.push((name.clone(), classes));
        Tree::text(format!("{name} AS ({text})"))
    }

    /// Queries that are united, intersected, taken from each other, and the classes of their columns.
    fn set_operation(&mut self, wish: &Wish) -> (Tree, Vec<Class>) {
        let may = |class: &&Class| !wish.is_inner || **class != Class::Text;
        let may: Vec<_> = Class::ALL.iter().filter(may).copied().collect();
        let classes: Vec<Class> = (0..1 + self.dice.below(3)).map(|_| *self.dice.pick(&may)).collect();
        let wish = Wish { classes: classes.clone(), ..wish.clone() };
        let operations = [" UNION ", " UNION ALL ", " UNION ALL ", " INTERSECT ", " EXCEPT "];
        let mut parts = vec![Tree::Seq(vec![self.operand(&wish)])];
        for _ in 0..1 + self.dice.below(2) {
            parts.push(Tree::optional(vec![Tree::text(self.dice.word(&operations)), self.operand(&wish)]));
        }
        parts.extend(self.order_of_all(&classes));
        (Tree::Query(parts), classes)
    }

    /// One side of a set operation, sometimes of constants; every text is fuzzy, since it may be folded with its equals.
    fn operand(&mut self, wish: &Wish) -> Tree {
        let (scope, from) = self.from(&Scope::default(), 1);
        let is_constant = self.dice.chance(20);
        let seen = if is_constant { Scope::default() } else { scope.clone() };
        let items = wish.classes.iter().enumerate().map(|(at, class)| {
            let item = self.expression(*class, &seen, if is_constant { 0 } else { 1 });
            let name = if *class == Class::Text { format!("{FUZZY}{at}") } else { format!("e{at}") };
            Tree::Seq(vec![item, Tree::text(format!(" AS {name}"))])
        });
        let items = items.collect::<Vec<_>>();
        let mut parts = vec![Tree::text("SELECT "), Tree::commas(items)];
        if !is_constant || self.dice.chance(60) {
            parts.extend([Tree::text(" FROM "), from]);
            parts.extend(self.filter(&scope, 1));
        }
        Tree::Query(parts)
    }

    /// ORDER BY of every column, behind which equal rows are the same rows: then LIMIT leaves no choice.
    fn order_of_all(&mut self, classes: &[Class]) -> Option<Tree> {
        if !self.dice.chance(40) {
            return None;
        }
        let key = |at: usize| format!("{}{}", at + 1, self.dice.word(&["", "", " DESC"]));
        let keys = (0..classes.len()).map(key).collect::<Vec<_>>().join(", ");
        let mut parts = vec![Tree::text(format!(" ORDER BY {keys}"))];
        if !classes.iter().any(|class| matches!(class, Class::Text | Class::Real)) {
            if self.dice.chance(50) {
                parts.push(Tree::optional(vec![Tree::text(format!(" LIMIT {}", self.dice.below(9)))]));
            }
            parts.push(Tree::text(TOTAL));
        }
        Some(Tree::optional(parts))
    }

    /// A SELECT and the classes of its columns.
    pub fn select(&mut self, wish: &Wish, outer: &Scope, depth: u32) -> (Tree, Vec<Class>) {
        let (scope, from) = self.from(outer, depth);
        let filter = self.filter(&scope, depth);
        let roll = self.dice.below(100);
        let select = if roll < 22 {
            self.grouped(wish, &scope, depth)
        } else if wish.is_single {
            self.single(wish, &scope, depth)
        } else if roll < 36 {
            self.windowed(wish, &scope, depth)
        } else {
            self.plain(wish, &scope, depth)
        };
        let classes: Vec<Class> = select.items.iter().map(|(_, class)| *class).collect();
        let is_named = wish.is_inner || self.dice.chance(30);
        let items = select.items.into_iter().enumerate().map(|(at, (tree, class))| {
            let is_marked = matches!(&tree, Tree::Seq(parts) if parts.len() == 2);
            let is_fuzzy = select.is_distinct && class == Class::Text && !wish.is_inner;
            match (is_marked, is_fuzzy, is_named) {
                (true, ..) => tree,
                (_, true, _) => Tree::Seq(vec![tree, Tree::text(format!(" AS {FUZZY}{at}"))]),
                (_, _, true) => Tree::Seq(vec![tree, Tree::text(format!(" AS e{at}"))]),
                _ => tree,
            }
        });
        let items = items.collect();
        let distinct = if select.is_distinct { Tree::optional(vec![Tree::text("DISTINCT ")]) } else { Tree::text("") };
        let mut parts = vec![Tree::text("SELECT "), distinct, Tree::commas(items), Tree::text(" FROM "), from];
        parts.extend(filter);
        parts.extend(select.tail);
        if !select.is_ordered && !wish.is_inner {
            parts.extend(self.order_of_all(&classes));
        }
        (Tree::Query(parts), classes)
    }

    fn filter(&mut self, scope: &Scope, depth: u32) -> Option<Tree> {
        if self.dice.chance(30) {
            return None;
        }
        let items = (0..1 + self.dice.below(3)).map(|_| self.predicate(scope, depth)).collect();
        let items = Tree::List { items, separator: " AND ", least: 1 };
        Some(Tree::optional(vec![Tree::text(" WHERE "), items]))
    }

    /// FROM: what it brings into sight, and its text.
    pub fn from(&mut self, outer: &Scope, depth: u32) -> (Scope, Tree) {
        let around = outer.columns.iter().chain(&outer.outer).cloned().collect();
        let mut scope = Scope { outer: around, ..Scope::default() };
        let mut parts = vec![self.source(&mut scope, depth)];
        let more = match self.dice.below(10) {
            0..=4 => 0,
            5..=8 => 1,
            _ => 2,
        };
        for _ in 0..more {
            let kinds = [
                " JOIN ",
                " INNER JOIN ",
                " LEFT JOIN ",
                " LEFT JOIN ",
                " RIGHT JOIN ",
                " CROSS JOIN ",
                " STRAIGHT_JOIN ",
            ];
            let kind = self.dice.word(&kinds);
            let left = scope.columns.clone();
            let source = self.source(&mut scope, depth);
            let mut join = vec![Tree::text(kind), source];
            let is_pair = match &scope.ids[..] {
                [first, _] => left.iter().all(|c| c.sql.split('.').next() == first.split('.').next()),
                _ => false,
            };
            if kind != " CROSS JOIN " && kind != " STRAIGHT_JOIN " && is_pair && self.may(15) {
                join.push(Tree::text(" USING (id)"));
            } else if kind != " CROSS JOIN " {
                join.push(Tree::text(" ON "));
                join.push(self.join_condition(&left, &scope, depth));
            }
            parts.push(Tree::optional(join));
        }
        (scope, Tree::Seq(parts))
    }

    pub fn join_condition(&mut self, left: &[Column], scope: &Scope, depth: u32) -> Tree {
        let right = &scope.columns[left.len()..];
        let mut items = Vec::new();
        for _ in 0..1 + self.dice.below(2) {
            let first = self.dice.pick(left).clone();
            if self.dice.chance(15) {
                // What a row must be to have a partner: constant in the rows that have one, not in what comes out.
                let column = self.dice.pick(&scope.columns).clone();
                let constant = crate::types::typed_constant(column.class, &mut self.dice);
                items.push(Tree::Expr(Class::Int, vec![Tree::text(format!("{} = {constant}", column.sql))]));
                continue;
            }
            let fitting: Vec<_> = right.iter().filter(|c| c.class == first.class).collect();
            if fitting.is_empty() || self.dice.chance(15) {
                items.push(self.predicate(scope, depth.min(1)));
                continue;
            }
            let second = (*self.dice.pick(&fitting)).clone();
            let operator = self.dice.word(&["=", "=", "=", "<=>", "<", ">="]);
            items.push(Tree::Expr(Class::Int, vec![Tree::text(format!("{} {operator} {}", first.sql, second.sql))]));
        }
        Tree::List { items, separator: " AND ", least: 1 }
    }

    fn source(&mut self, scope: &mut Scope, depth: u32) -> Tree {
        if !self.named.is_empty() && self.dice.chance(50) {
            let (name, classes) = self.dice.pick(&self.named).clone();
            let alias = self.alias('a');
            bring(scope, &alias, &classes);
            return Tree::text(format!("{name} AS {alias}"));
        }
        if depth > 0 && self.dice.chance(12) {
            let wish = Wish { is_inner: true, ..Wish::default() };
            let (query, classes) = match self.dice.chance(25) {
                true => self.set_operation(&wish),
                false => self.select(&wish, &Scope::default(), depth - 1),
            };
            let alias = self.alias('d');
            bring(scope, &alias, &classes);
            return Tree::Seq(vec![Tree::text("("), query, Tree::text(format!(") AS {alias}"))]);
        }
        let table = self.table();
        let alias = self.alias('a');
        for column in &table.columns {
            scope.columns.push(Column { sql: format!("{alias}.{}", column.name), class: column.ty.class() });
        }
        scope.columns.push(Column { sql: format!("{alias}.id"), class: Class::Int });
        scope.ids.push(format!("{alias}.id"));
        Tree::text(format!("{} AS {alias}", table.name))
    }

    fn classes(&mut self, wish: &Wish, scope: &Scope) -> Vec<Class> {
        if !wish.classes.is_empty() {
            return wish.classes.clone();
        }
        (0..1 + self.dice.below(4)).map(|_| self.class_in(scope)).collect()
    }

    fn plain(&mut self, wish: &Wish, scope: &Scope, depth: u32) -> Select {
        let classes = self.classes(wish, scope);
        let mut items = Vec::new();
        for class in &classes {
            // A column of one value, whose rows an outer join may put NULLs beside.
            let item = match wish.is_inner && self.dice.chance(15) {
                true => Tree::text(crate::types::typed_constant(*class, &mut self.dice)),
                false => self.expression(*class, scope, depth),
            };
            items.push((item, *class));
        }
        let can_be_distinct = !wish.is_inner || classes.iter().all(|class| *class != Class::Text);
        let is_distinct = can_be_distinct && self.dice.chance(15);
        let tail = if is_distinct { Vec::new() } else { self.order(scope, depth) };
        Select { items, is_ordered: !tail.is_empty(), tail, is_distinct }
    }

    /// The first row of a total order, or an aggregate.
    fn single(&mut self, wish: &Wish, scope: &Scope, depth: u32) -> Select {
        if self.is_total(scope) && self.dice.chance(40) {
            let items = wish.classes.iter().map(|class| (self.expression(*class, scope, depth), *class)).collect();
            let tail = vec![Tree::text(format!(" ORDER BY {} LIMIT 1{TOTAL}", scope.ids.join(", ")))];
            return Select { items, tail, is_distinct: false, is_ordered: true };
        }
        let items = wish.classes.iter().map(|class| (self.aggregate(*class, scope, depth), *class)).collect();
        Select { items, tail: Vec::new(), is_distinct: false, is_ordered: true }
    }

    fn is_total(&self, scope: &Scope) -> bool {
        let sources = scope.columns.iter().filter_map(|c| c.sql.split('.').next()).collect::<Vec<_>>();
        !sources.is_empty() && sources.iter().all(|source| scope.ids.contains(&format!("{source}.id")))
    }

    fn order(&mut self, scope: &Scope, depth: u32) -> Vec<Tree> {
        if !self.is_total(scope) || !self.dice.chance(45) {
            return Vec::new();
        }
        let mut keys = Vec::new();
        for _ in 0..self.dice.below(3) {
            let class = self.class_in(scope);
            let direction = self.dice.word(&["", " DESC", " ASC"]);
            let key = match self.dice.chance(70) {
                true => self.column_of(class, &Scope { outer: Vec::new(), ..scope.clone() }),
                false => None,
            };
            let key = match key {
                Some(column) => Tree::text(column.sql),
                None => self.expression(class, scope, depth.min(1)),
            };
            keys.push(Tree::optional(vec![key, Tree::text(format!("{direction}, "))]));
        }
        let limit = match self.dice.below(4) {
            0 => String::new(),
            1 => format!(" LIMIT {}", self.dice.below(6)),
            2 => format!(" LIMIT {}, {}", self.dice.below(3), 1 + self.dice.below(9)),
            _ => format!(" LIMIT {} OFFSET {}", 1 + self.dice.below(9), self.dice.below(4)),
        };
        let direction = self.dice.word(&["", "", " DESC"]);
        let ids = scope.ids.iter().map(|id| format!("{id}{direction}")).collect::<Vec<_>>().join(", ");
        keys.insert(0, Tree::text(" ORDER BY "));
        keys.extend([Tree::text(ids), Tree::optional(vec![Tree::text(limit)]), Tree::text(TOTAL)]);
        vec![Tree::optional(keys)]
    }

    fn grouped(&mut self, wish: &Wish, scope: &Scope, depth: u32) -> Select {
        let mut keys: Vec<(Tree, Class)> = Vec::new();
        if !wish.is_single && self.dice.chance(75) {
            for _ in 0..1 + self.dice.below(2) {
                let class = self.class_in(scope);
                let deep = if self.dice.chance(25) { 1 } else { 0 };
                let Some(column) = self.column_of(class, &Scope { outer: Vec::new(), ..scope.clone() }) else {
                    continue;
                };
                let key = if deep == 0 { Tree::text(column.sql) } else { self.key(class, &column) };
                keys.push((key, class));
            }
        }
        let classes = if wish.classes.is_empty() {
            (0..1 + self.dice.below(3)).map(|_| self.class_in(scope)).collect()
        } else {
            wish.classes.clone()
        };
        let mut items = Vec::new();
        for class in &classes {
            let fitting = keys.iter().find(|(_, of)| of == class && (*of != Class::Text));
            match fitting.filter(|_| self.dice.chance(50)) {
                Some((key, class)) => items.push((Tree::Expr(*class, vec![key.clone()]), *class)),
                None => {
                    let tree = self.aggregate(*class, scope, depth);
                    let is_fuzzy = *class == Class::Text && !wish.is_inner;
                    let name = format!(" AS {FUZZY}{}", items.len());
                    items.push((if is_fuzzy { Tree::Seq(vec![tree, Tree::text(name)]) } else { tree }, *class));
                }
            }
        }
        let mut tail = Vec::new();
        let is_one_row = keys.is_empty();
        if !keys.is_empty() {
            let rollup = if self.may(15) { " WITH ROLLUP" } else { "" };
            let keys = keys.into_iter().map(|(key, _)| key).collect();
            let rollup = Tree::optional(vec![Tree::text(rollup)]);
            tail.push(Tree::optional(vec![Tree::text(" GROUP BY "), Tree::commas(keys), rollup]));
        }
        if self.dice.chance(35) {
            let class = *self.dice.pick(&[Class::Int, Class::Decimal, Class::Date]);
            let left = self.aggregate(class, scope, 1);
            let right = Tree::text(crate::types::typed_constant(class, &mut self.dice));
            let template = self.dice.word(&["? > ?", "? = ?", "? <= ?", "NOT (? <=> ?)"]);
            let parts = Tree::filled(template, vec![left, right]);
            tail.push(Tree::optional(vec![Tree::text(" HAVING "), Tree::Expr(Class::Int, parts)]));
        }
        Select { items, tail, is_distinct: false, is_ordered: is_one_row }
    }

    /// A key that is calculated.
    fn key(&mut self, class: Class, column: &Column) -> Tree {
        let template = match class {
            Class::Int => "? % 3",
            Class::Decimal | Class::Real => "FLOOR(?)",
            Class::Text => "UPPER(?)",
            Class::Bytes => "LEFT(?, 1)",
            Class::Date | Class::Moment => "LAST_DAY(?)",
            Class::Time => "? IS NULL",
        };
        Tree::text(template.replace('?', &column.sql))
    }

    /// An aggregate of a class.
    pub fn aggregate(&mut self, class: Class, scope: &Scope, depth: u32) -> Tree {
        let distinct = if self.dice.chance(20) { "DISTINCT " } else { "" };
        let own = Scope { outer: Vec::new(), ..scope.clone() };
        if self.may(30)
            && let Some(tree) = self.more_aggregate(class, &own, distinct)
        {
            return tree;
        }
        let of = match (class, self.dice.below(3)) {
            (Class::Int, 0) => return Tree::Expr(class, vec![Tree::text("COUNT(*)")]),
            (Class::Int, 1) => {
                let of = self.class_in(scope);
                let inner = self.expression(of, &own, depth.min(1));
                let parts = vec![Tree::text(format!("COUNT({distinct}")), inner, Tree::text(")")];
                return Tree::Expr(class, parts);
            }
            (Class::Decimal, 0) => ("SUM", Class::Int),
            (Class::Decimal, 1) => ("AVG", Class::Int),
            (Class::Decimal, _) => ("SUM", Class::Decimal),
            (Class::Real, 0) => ("AVG", Class::Real),
            (Class::Real, 1) => ("SUM", Class::Real),
            (class, at) => (if at == 0 { "MIN" } else { "MAX" }, class),
        };
        let inner = self.expression(of.1, &own, depth.min(1));
        Tree::Expr(class, vec![Tree::text(format!("{}({distinct}", of.0)), inner, Tree::text(")")])
    }

    fn more_aggregate(&mut self, class: Class, own: &Scope, distinct: &str) -> Option<Tree> {
        let (template, takes): (String, &[Class]) = match class {
            Class::Int => match self.dice.below(5) {
                0 => ("BIT_AND(?)".into(), &[Class::Int]),
                1 => ("BIT_OR(?)".into(), &[Class::Int]),
                2 => ("BIT_XOR(?)".into(), &[Class::Int]),
                3 => ("COUNT(DISTINCT ?, ?)".into(), &[Class::Int, Class::Date]),
                _ => ("COUNT(DISTINCT ?, ?)".into(), &[Class::Text, Class::Decimal]),
            },
            Class::Real => {
                (self.dice.word(&["STD(?)", "STDDEV_SAMP(?)", "VARIANCE(?)", "VAR_SAMP(?)"]).into(), &[Class::Int])
            }
            Class::Text => match self.dice.below(3) {
                0 => (format!("GROUP_CONCAT({distinct}? ORDER BY 1)"), &[Class::Int]),
                1 => ("GROUP_CONCAT(DISTINCT ? ORDER BY 1 DESC SEPARATOR '-')".into(), &[Class::Date]),
                _ => (format!("GROUP_CONCAT({distinct}? ORDER BY 1)"), &[Class::Decimal]),
            },
            Class::Decimal if distinct.is_empty() => ("SUM(? * ?)".into(), &[Class::Int, Class::Decimal]),
            _ => return None,
        };
        let parts = takes.iter().map(|class| self.expression(*class, own, 1)).collect();
        Some(Tree::Expr(class, Tree::filled(&template, parts)))
    }

    /// Sums over frames, and places among rows.
    fn more_window(&mut self, class: Class, own: &Scope, ids: &str) -> Option<(Vec<Tree>, String)> {
        const FRAMES: [&str; 8] = [
            "",
            "ROWS BETWEEN 2 PRECEDING AND CURRENT ROW",
            "ROWS BETWEEN 1 FOLLOWING AND 3 FOLLOWING",
            "ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING",
            "ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING",
            "RANGE BETWEEN 2 PRECEDING AND 1 FOLLOWING",
            "RANGE BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING",
            "RANGE UNBOUNDED PRECEDING",
        ];
        let frame = self.dice.word(&FRAMES);
        let (call, frame) = match class {
            Class::Int => match self.dice.below(4) {
                0 => (Tree::filled("COUNT(?)", vec![self.expression(Class::Text, own, 1)]), frame),
                1 => (vec![Tree::text(self.dice.word(&["NTILE(2)", "NTILE(3)", "NTILE(100)"]))], ""),
                2 => (Tree::filled("BIT_OR(?)", vec![self.expression(Class::Int, own, 1)]), frame),
                _ => (Tree::filled("MIN(?)", vec![self.expression(Class::Int, own, 1)]), frame),
            },
            Class::Decimal => {
                let call = self.dice.word(&["SUM(?)", "AVG(?)"]);
                let of = *self.dice.pick(&[Class::Int, Class::Decimal]);
                (Tree::filled(call, vec![self.expression(of, own, 1)]), frame)
            }
            Class::Real => match self.dice.below(3) {
                0 => (vec![Tree::text(self.dice.word(&["PERCENT_RANK()", "CUME_DIST()"]))], ""),
                1 => (Tree::filled("AVG(?)", vec![self.expression(Class::Real, own, 1)]), frame),
                _ => (Tree::filled("SUM(?)", vec![self.expression(Class::Real, own, 1)]), frame),
            },
            Class::Date | Class::Time | Class::Moment | Class::Bytes => {
                let calls = ["MIN(?)", "MAX(?)", "FIRST_VALUE(?)", "LAST_VALUE(?)", "NTH_VALUE(?, 3)"];
                // Behind one id of several, equals come in any order.
                let call = self.dice.word(if frame.starts_with("RANGE BETWEEN 2") { &calls[..2] } else { &calls });
                (Tree::filled(call, vec![self.expression(class, own, 1)]), frame)
            }
            Class::Text => return None,
        };
        // A frame of distances takes one number; what counts places wants no two rows alike.
        let order = match frame.starts_with("RANGE BETWEEN 2") {
            true => ids.split(", ").next().unwrap_or(ids),
            false => ids,
        };
        Some((call, format!(" ORDER BY {order} {frame}")))
    }

    fn windowed(&mut self, wish: &Wish, scope: &Scope, depth: u32) -> Select {
        let classes = self.classes(wish, scope);
        let mut items = Vec::new();
        for class in classes {
            let tree =
                if self.dice.chance(60) { self.window(class, scope) } else { self.expression(class, scope, depth) };
            items.push((tree, class));
        }
        let tail = self.order(scope, depth);
        Select { items, is_ordered: !tail.is_empty(), tail, is_distinct: false }
    }

    fn window(&mut self, class: Class, scope: &Scope) -> Tree {
        let is_total = self.is_total(scope);
        let own = Scope { outer: Vec::new(), ..scope.clone() };
        let any = |maker: &mut Maker| {
            let class = maker.class_in(&own);
            maker.column_of(class, &own).map_or("1".to_string(), |c| c.sql)
        };
        let partition = if self.dice.chance(60) { format!("PARTITION BY {}", any(self)) } else { String::new() };
        let ids = scope.ids.join(", ");
        let order = format!(" ORDER BY {}{}", any(self), self.dice.word(&["", " DESC"]));
        let inner = self.expression(class, &own, 1);
        // What depends on the order of equals needs an order without equals.
        let choice = self.dice.below(4);
        let more = if is_total && self.may(45) { self.more_window(class, &own, &ids) } else { None };
        let (call, over) = match (class, choice) {
            _ if more.is_some() => more.unwrap_or_default(),
            (Class::Int, 0) => (vec![Tree::text(self.dice.word(&["RANK()", "DENSE_RANK()"]))], order),
            (Class::Int, 1) if is_total => (vec![Tree::text("ROW_NUMBER()")], format!("{order}, {ids}")),
            (Class::Int, 1) => (vec![Tree::text("COUNT(*)")], String::new()),
            (Class::Text, _) | (_, 2) if is_total => {
                let names = ["LAG(?)", "LEAD(?)", "LEAD(?, 2)", "FIRST_VALUE(?)", "LAST_VALUE(?)", "NTH_VALUE(?, 2)"];
                (Tree::filled(self.dice.word(&names), vec![inner]), format!("{order}, {ids}"))
            }
            (Class::Text, _) => return inner,
            (Class::Int | Class::Decimal | Class::Real, 3) if is_total => {
                let frames =
                    ["ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING", "ROWS UNBOUNDED PRECEDING", "ROWS 2 PRECEDING"];
                let frame = self.dice.word(&frames);
                (Tree::filled("MAX(?)", vec![inner]), format!("{order}, {ids} {frame}"))
            }
            _ => {
                let over = if self.dice.chance(50) { order } else { String::new() };
                (Tree::filled(self.dice.word(&["MIN(?)", "MAX(?)"]), vec![inner]), over)
            }
        };
        let mut parts = call;
        parts.push(Tree::text(" OVER ("));
        parts.push(Tree::optional(vec![Tree::text(partition)]));
        parts.push(Tree::text(format!("{over})")));
        Tree::Expr(class, parts)
    }

    /// A subquery that stands for a value.
    pub fn scalar_subquery(&mut self, class: Class, scope: &Scope, depth: u32) -> Vec<Tree> {
        self.count_subquery();
        let wish = Wish { classes: vec![class], is_single: true, is_inner: true };
        let (query, _) = self.select(&wish, scope, depth.min(1));
        vec![Tree::text("("), query, Tree::text(")")]
    }

    /// A condition with a subquery.
    pub fn subquery_predicate(&mut self, scope: &Scope, depth: u32) -> Vec<Tree> {
        self.count_subquery();
        let class = self.class_in(scope);
        let wish = |count: usize| Wish { classes: vec![class; count], is_single: false, is_inner: true };
        if self.dice.chance(40) {
            let (query, _) = self.select(&wish(1), scope, depth.min(1));
            return Tree::filled(self.dice.word(&["(EXISTS (?))", "(NOT EXISTS (?))"]), vec![query]);
        }
        let count = if self.dice.chance(12) { 2 } else { 1 };
        let left = (0..count).map(|_| self.expression(class, scope, 0)).collect::<Vec<_>>();
        let (query, _) = self.unlimited(&wish(count), scope, depth.min(1));
        if count == 2 {
            let parts = [left, vec![query]].concat();
            return Tree::filled(self.dice.word(&["((?, ?) IN (?))", "((?, ?) NOT IN (?))"]), parts);
        }
        let templates = [
            "(? IN (?))",
            "(? IN (?))",
            "(? NOT IN (?))",
            "(? = ANY (?))",
            "(? > ALL (?))",
            "(? <= ANY (?))",
            "(? <> ALL (?))",
        ];
        Tree::filled(self.dice.word(&templates), [left, vec![query]].concat())
    }

    /// A SELECT without LIMIT, which MySQL does not have within IN.
    fn unlimited(&mut self, wish: &Wish, outer: &Scope, depth: u32) -> (Tree, Vec<Class>) {
        let (scope, from) = self.from(outer, depth);
        let filter = self.filter(&scope, depth);
        let items = wish.classes.iter().map(|class| self.expression(*class, &scope, depth)).collect();
        let mut parts = vec![Tree::text("SELECT "), Tree::commas(items), Tree::text(" FROM "), from];
        parts.extend(filter);
        (Tree::Query(parts), wish.classes.clone())
    }
}

fn bring(scope: &mut Scope, alias: &str, classes: &[Class]) {
    for (at, class) in classes.iter().enumerate() {
        scope.columns.push(Column { sql: format!("{alias}.e{at}"), class: *class });
    }
}
