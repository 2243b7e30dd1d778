//! INSERT, REPLACE, UPDATE and DELETE, whose effect does not depend on the order in which rows are met.

use crate::maker::{Column, Maker, Scope};
use crate::schema::Table;
use crate::tree::Tree;
use crate::types::Class;

impl Maker {
    /// A statement that changes a table, and the table's name.
    pub fn change(&mut self) -> (Tree, String) {
        let table = self.table();
        let kind = self.dice.below(10);
        self.changed = (kind > 4).then(|| table.name.clone());
        let is_joined = kind > 4 && self.tables.len() > 1 && self.may(35);
        let tree = match kind {
            5..=7 if is_joined => self.update_joined(&table),
            8.. if is_joined => self.delete_joined(&table),
            0..=3 => self.insert(&table),
            4 => self.insert_select(&table),
            5..=7 => self.update(&table),
            _ => self.delete(&table),
        };
        (tree, table.name)
    }

    /// The table's own columns in sight, by their names alone.
    fn own_scope(&self, table: &Table) -> Scope {
        let mut scope = Scope::default();
        for column in &table.columns {
            scope.columns.push(Column { sql: format!("{}.{}", table.name, column.name), class: column.ty.class() });
        }
        scope.columns.push(Column { sql: format!("{}.id", table.name), class: Class::Int });
        scope
    }

    fn verb(&mut self) -> &'static str {
        self.dice.word(&["INSERT INTO", "INSERT INTO", "INSERT IGNORE INTO", "REPLACE INTO"])
    }

    fn insert(&mut self, table: &Table) -> Tree {
        let verb = self.verb();
        let some: Vec<_> = table.columns.iter().filter(|c| c.not_null || self.dice.chance(85)).cloned().collect();
        let names: Vec<&str> = std::iter::once("id").chain(some.iter().map(|c| c.name.as_str())).collect();
        let mut rows = Vec::new();
        let odd = if self.may(if verb == "INSERT IGNORE INTO" { 70 } else { 15 }) { 30 } else { 0 };
        for _ in 0..1 + self.dice.below(4) {
            let mut cells = vec![format!("{}", 1 + self.dice.below(60))];
            for column in &some {
                let is_default = column.default.is_some() && self.dice.chance(10);
                cells.push(match is_default {
                    true => "DEFAULT".into(),
                    false if odd > 0 && self.dice.chance(odd) => column.odd(&mut self.dice),
                    false => column.literal(&mut self.dice),
                });
            }
            rows.push(Tree::text(format!("({})", cells.join(", "))));
        }
        let head = Tree::text(format!("{verb} {} ({}) VALUES ", table.name, names.join(", ")));
        let mut parts = vec![head, Tree::commas(rows)];
        if verb == "INSERT INTO" && self.dice.chance(40) {
            parts.push(self.on_duplicate(table));
        }
        Tree::Seq(parts)
    }

    fn on_duplicate(&mut self, table: &Table) -> Tree {
        let scope = self.own_scope(table);
        let mut items = Vec::new();
        for _ in 0..1 + self.dice.below(2) {
            let column = self.dice.pick(&table.columns).clone();
            let value = match self.dice.below(3) {
                0 => Tree::text(format!("VALUES({})", column.name)),
                1 => Tree::text(column.literal(&mut self.dice)),
                _ => self.column_of(column.ty.class(), &scope).map_or(Tree::text("NULL"), |c| Tree::text(c.sql)),
            };
            items.push(Tree::Seq(vec![Tree::text(format!("{} = ", column.name)), value]));
        }
        Tree::optional(vec![Tree::text(" ON DUPLICATE KEY UPDATE "), Tree::commas(items)])
    }

    fn insert_select(&mut self, table: &Table) -> Tree {
        let verb = self.verb();
        let from = self.table();
        let column = |c: &crate::schema::Column| Column { sql: format!("a.{}", c.name), class: c.ty.class() };
        let scope = Scope { columns: from.columns.iter().map(column).collect(), ..Scope::default() };
        let mut items = vec![Tree::text(format!("a.id + {}", self.dice.below(40)))];
        for column in &table.columns {
            let same = from.columns.iter().filter(|c| c.ty == column.ty).collect::<Vec<_>>();
            items.push(Tree::text(match same.is_empty() {
                true => column.literal(&mut self.dice),
                false => format!("a.{}", self.dice.pick(&same).name),
            }));
        }
        let items = Tree::List { least: items.len(), items, separator: ", " };
        let filter = self.predicate(&scope, 1);
        Tree::Seq(vec![
            Tree::text(format!("{verb} {} SELECT ", table.name)),
            items,
            Tree::text(format!(" FROM {} AS a", from.name)),
            Tree::optional(vec![Tree::text(" WHERE "), filter]),
            Tree::text(" ORDER BY a.id"),
            Tree::optional(vec![Tree::text(" LIMIT 7")]),
        ])
    }

    fn update(&mut self, table: &Table) -> Tree {
        let scope = self.own_scope(table);
        let ignore = if self.dice.chance(15) { "IGNORE " } else { "" };
        let mut items = Vec::new();
        for _ in 0..1 + self.dice.below(2) {
            let column = self.dice.pick(&table.columns).clone();
            let same: Vec<_> = table.columns.iter().filter(|c| c.ty == column.ty).cloned().collect();
            let value = match self.dice.below(4) {
                0 => Tree::text(self.dice.pick(&same).name.clone()),
                1 if column.ty.class() == Class::Int => Tree::text(format!("{} + 1", column.name)),
                2 if self.may(if ignore.is_empty() { 10 } else { 60 }) => Tree::text(column.odd(&mut self.dice)),
                3 if self.may(40) => self.expression(column.ty.class(), &scope, 1),
                _ => Tree::text(column.literal(&mut self.dice)),
            };
            items.push(Tree::Seq(vec![Tree::text(format!("{} = ", column.name)), value]));
        }
        let mut parts = vec![Tree::text(format!("UPDATE {ignore}{} SET ", table.name)), Tree::commas(items)];
        parts.extend(self.change_filter(&scope));
        Tree::Seq(parts)
    }

    fn delete(&mut self, table: &Table) -> Tree {
        let scope = self.own_scope(table);
        let mut parts = vec![Tree::text(format!("DELETE FROM {}", table.name))];
        parts.extend(self.change_filter(&scope));
        Tree::Seq(parts)
    }

    /// Another table beside the one that is changed: what is in sight, and both with their condition.
    fn beside(&mut self, table: &Table) -> (Scope, Tree) {
        let mut scope = self.own_scope(table);
        let own = scope.columns.clone();
        let other = self.table();
        let alias = self.alias('b');
        for column in &other.columns {
            scope.columns.push(Column { sql: format!("{alias}.{}", column.name), class: column.ty.class() });
        }
        scope.columns.push(Column { sql: format!("{alias}.id"), class: Class::Int });
        let kind = self.dice.word(&["JOIN", "LEFT JOIN"]);
        let condition = self.join_condition(&own, &scope, 0);
        let head = Tree::text(format!("{} {kind} {} AS {alias} ON ", table.name, other.name));
        (scope, Tree::Seq(vec![head, condition]))
    }

    /// UPDATE of a join: constants, since a row may meet several.
    fn update_joined(&mut self, table: &Table) -> Tree {
        let (scope, sources) = self.beside(table);
        let column = self.dice.pick(&table.columns).clone();
        let value = column.literal(&mut self.dice);
        let set = Tree::text(format!(" SET {}.{} = {value} WHERE ", table.name, column.name));
        Tree::Seq(vec![Tree::text("UPDATE "), sources, set, self.predicate(&scope, 1)])
    }

    /// DELETE from a join, in both of its forms.
    fn delete_joined(&mut self, table: &Table) -> Tree {
        let (scope, sources) = self.beside(table);
        let head = match self.dice.chance(50) {
            true => format!("DELETE {} FROM ", table.name),
            false => format!("DELETE FROM {} USING ", table.name),
        };
        Tree::Seq(vec![Tree::text(head), sources, Tree::text(" WHERE "), self.predicate(&scope, 1)])
    }

    fn change_filter(&mut self, scope: &Scope) -> Vec<Tree> {
        let items = (0..1 + self.dice.below(3)).map(|_| self.predicate(scope, 1)).collect();
        let limit = if self.dice.chance(30) { format!(" LIMIT {}", 1 + self.dice.below(5)) } else { String::new() };
        vec![
            Tree::text(" WHERE "),
            Tree::List { items, separator: " AND ", least: 1 },
            Tree::text(" ORDER BY id"),
            Tree::optional(vec![Tree::text(limit)]),
        ]
    }
}
