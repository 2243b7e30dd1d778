//! Queries, and statements that change rows.

use super::Printer;
use crate::parser::ast::{
    ColumnName, Cte, Expr, IndexHint, JoinConstraint, JoinKind, LimitClause, OrderItem, Query, QueryBody, Select,
    SelectItem, SetOperator, TableRef,
};
use crate::parser::statement::{Delete, Insert, InsertRows, Update};

impl Printer {
    pub(super) fn subquery(&mut self, query: &Query) {
        self.text("(");
        self.query(query);
        self.text(")");
    }

    pub(super) fn query(&mut self, query: &Query) {
        self.with(&query.with, query.recursive);
        self.body(&query.body);
        self.order_by(&query.order_by);
        self.limit(query.limit.as_ref());
        for lock in &query.locking {
            self.text(if lock.share { " FOR SHARE" } else { " FOR UPDATE" });
            if !lock.of.is_empty() {
                self.text(" OF ");
                self.list(&lock.of, Self::object);
            }
            self.text(if lock.no_wait { " NOWAIT" } else { "" });
            self.text(if lock.skip_locked { " SKIP LOCKED" } else { "" });
        }
    }

    fn with(&mut self, ctes: &[Cte], recursive: bool) {
        if !ctes.is_empty() {
            self.text(if recursive { "WITH RECURSIVE " } else { "WITH " });
            self.list(ctes, Self::cte);
            self.text(" ");
        }
    }

    fn cte(&mut self, cte: &Cte) {
        self.name(&cte.name);
        if !cte.columns.is_empty() {
            self.names(&cte.columns);
        }
        self.text(" AS ");
        self.subquery(&cte.query);
    }

    fn body(&mut self, body: &QueryBody) {
        match body {
            QueryBody::Select(select) => self.select(select),
            QueryBody::Values(rows) => {
                self.text("VALUES ");
                self.list(rows, |p, row| p.call("ROW", row));
            }
            QueryBody::Nested(query) => self.subquery(query),
            QueryBody::SetOperation { op, all, left, right } => {
                self.body(left);
                self.text(match op {
                    SetOperator::Union => " UNION ",
                    SetOperator::Intersect => " INTERSECT ",
                    SetOperator::Except => " EXCEPT ",
                });
                self.text(if *all { "ALL " } else { "" });
                self.body(right);
            }
        }
    }

    fn select(&mut self, select: &Select) {
        self.text("SELECT ");
        self.text(if select.distinct { "DISTINCT " } else { "" });
        self.text(if select.calc_found_rows { "SQL_CALC_FOUND_ROWS " } else { "" });
        self.list(&select.items, Self::item);
        if !select.from.is_empty() {
            self.text(" FROM ");
            self.list(&select.from, Self::table);
        }
        self.clause(" WHERE ", select.filter.as_ref());
        if !select.group_by.is_empty() {
            self.text(" GROUP BY ");
            self.exprs(&select.group_by);
            self.text(if select.rollup { " WITH ROLLUP" } else { "" });
        }
        self.clause(" HAVING ", select.having.as_ref());
        if !select.windows.is_empty() {
            self.text(" WINDOW ");
            self.list(&select.windows, |p, (name, window)| {
                p.name(name);
                p.text(" AS ");
                p.window(window);
            });
        }
    }

    fn item(&mut self, item: &SelectItem) {
        match item {
            SelectItem::Wildcard { database, table } => {
                self.qualified([database.as_ref(), table.as_ref(), None]);
                self.text(if table.is_some() { ".*" } else { "*" });
            }
            SelectItem::Expr { expr, alias, .. } => {
                self.expr(expr);
                if let Some(alias) = alias {
                    self.text(" AS ");
                    self.name(alias);
                }
            }
        }
    }

    fn clause(&mut self, word: &str, expr: Option<&Expr>) {
        if let Some(expr) = expr {
            self.text(word);
            self.expr(expr);
        }
    }

    pub(super) fn order_by(&mut self, items: &[OrderItem]) {
        if items.is_empty() {
            return;
        }
        self.text(" ORDER BY ");
        self.list(items, |p, item| {
            p.expr(&item.expr);
            p.text(if item.descending { " DESC" } else { "" });
        });
    }

    fn limit(&mut self, limit: Option<&LimitClause>) {
        let Some(LimitClause { count, offset }) = limit else { return };
        self.text(" LIMIT ");
        self.expr(count);
        self.clause(" OFFSET ", offset.as_ref());
    }

    fn table(&mut self, table: &TableRef) {
        match table {
            TableRef::Table { name, alias, hints } => {
                self.object(name);
                if let Some(alias) = alias {
                    self.text(" AS ");
                    self.name(alias);
                }
                hints.iter().for_each(|hint| self.hint(hint));
            }
            TableRef::Derived { query, alias, columns, lateral } => {
                self.text(if *lateral { "LATERAL " } else { "" });
                self.subquery(query);
                self.text(" AS ");
                self.name(alias);
                if !columns.is_empty() {
                    self.names(columns);
                }
            }
            TableRef::Join { left, right, kind, constraint } => self.join(left, right, *kind, constraint),
        }
    }

    fn hint(&mut self, hint: &IndexHint) {
        self.text(if hint.ignore { " IGNORE INDEX " } else { " USE INDEX " });
        self.names(&hint.indexes);
    }

    fn join(&mut self, left: &TableRef, right: &TableRef, kind: JoinKind, constraint: &JoinConstraint) {
        self.joined(left);
        self.text(if *constraint == JoinConstraint::Natural { " NATURAL" } else { "" });
        self.text(match kind {
            JoinKind::Inner => " JOIN ",
            JoinKind::Left => " LEFT JOIN ",
            JoinKind::Right => " RIGHT JOIN ",
        });
        self.joined(right);
        match constraint {
            JoinConstraint::On(condition) => self.clause(" ON ", Some(condition)),
            JoinConstraint::Using(columns) => {
                self.text(" USING ");
                self.names(columns);
            }
            JoinConstraint::None | JoinConstraint::Natural => {}
        }
    }

    fn joined(&mut self, table: &TableRef) {
        let join = matches!(table, TableRef::Join { .. });
        self.text(if join { "(" } else { "" });
        self.table(table);
        self.text(if join { ")" } else { "" });
    }

    // ---- changes ----

    pub(super) fn insert(&mut self, insert: &Insert) {
        self.text(if insert.replace { "REPLACE " } else { "INSERT " });
        self.text(if insert.ignore { "IGNORE INTO " } else { "INTO " });
        self.object(&insert.table);
        if let Some(columns) = &insert.columns {
            self.text(" ");
            self.names(columns);
        }
        match &insert.source {
            InsertRows::Values(rows) => {
                self.text(" VALUES ");
                self.list(rows, |p, row| p.call("", row));
            }
            InsertRows::Query(query) => {
                self.text(" ");
                self.query(query);
            }
        }
        if let Some((name, columns)) = &insert.alias {
            self.text(" AS ");
            self.name(name);
            if !columns.is_empty() {
                self.names(columns);
            }
        }
        if !insert.on_duplicate.is_empty() {
            self.text(" ON DUPLICATE KEY UPDATE ");
            self.assignments(&insert.on_duplicate);
        }
    }

    fn assignments(&mut self, assignments: &[(ColumnName, Expr)]) {
        self.list(assignments, |p, (column, value)| {
            p.column(column);
            p.text(" = ");
            p.expr(value);
        });
    }

    pub(super) fn update(&mut self, update: &Update) {
        self.with(&update.with.ctes, update.with.recursive);
        self.text(if update.ignore { "UPDATE IGNORE " } else { "UPDATE " });
        self.list(&update.tables, Self::table);
        self.text(" SET ");
        self.assignments(&update.assignments);
        self.clause(" WHERE ", update.filter.as_ref());
        self.order_by(&update.order_by);
        self.limit(update.limit.as_ref());
    }

    pub(super) fn delete(&mut self, delete: &Delete) {
        self.with(&delete.with.ctes, delete.with.recursive);
        self.text(if delete.ignore { "DELETE IGNORE " } else { "DELETE " });
        if !delete.targets.is_empty() {
            self.list(&delete.targets, Self::object);
            self.text(" ");
        }
        self.text("FROM ");
        self.list(&delete.from, Self::table);
        self.clause(" WHERE ", delete.filter.as_ref());
        self.order_by(&delete.order_by);
        self.limit(delete.limit.as_ref());
    }
}
