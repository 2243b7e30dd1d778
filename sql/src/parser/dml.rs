//! INSERT, REPLACE, UPDATE, DELETE.

use super::ast::{ColumnName, Expr, ObjectName, TableRef};
use super::core::Parser;
use super::statement::{Delete, Insert, InsertRows, Statement, Update, With};
use crate::error::{Error, Result};

impl Parser<'_> {
    /// INSERT or REPLACE.
    pub fn insert(&mut self) -> Result<Insert> {
        let replace = self.any_word()? == "REPLACE";
        self.eat_any(&["LOW_PRIORITY", "DELAYED", "HIGH_PRIORITY"]);
        let ignore = self.eat("IGNORE");
        self.eat("INTO");
        let table = self.object_name()?;
        if self.eat("PARTITION") {
            return Err(Error::unsupported("PARTITION"));
        }
        let mut columns = self.insert_columns()?;
        let source = if self.eat_any(&["VALUES", "VALUE"]).is_some() {
            InsertRows::Values(self.list(Self::insert_row)?)
        } else if self.eat("SET") && columns.is_none() {
            let (names, values): (Vec<ColumnName>, Vec<Expr>) = self.list(Self::assignment)?.into_iter().unzip();
            columns = Some(names.into_iter().map(|c| c.name).collect());
            InsertRows::Values(vec![values])
        } else {
            InsertRows::Query(Box::new(self.query()?))
        };
        let alias = match self.eat("AS") {
            true => Some((self.identifier()?, self.column_list()?.unwrap_or_default())),
            false => None,
        };
        let on_duplicate = match self.eat_words(&["ON", "DUPLICATE", "KEY", "UPDATE"]) {
            true => self.list(Self::assignment)?,
            false => Vec::new(),
        };
        Ok(Insert { replace, ignore, table, columns, source, alias, on_duplicate })
    }

    /// `(a, t.b)`, or nothing; a query in parentheses is not a list of columns.
    fn insert_columns(&mut self) -> Result<Option<Vec<String>>> {
        if !self.is_symbol("(") || self.is_subquery_at(0) {
            return Ok(None);
        }
        self.parenthesized(|p| match p.is_symbol(")") {
            true => Ok(Vec::new()),
            false => p.list(|p| p.column_name().map(|c| c.name)),
        })
        .map(Some)
    }

    fn insert_row(&mut self) -> Result<Vec<Expr>> {
        self.eat("ROW");
        self.parenthesized(|p| if p.is_symbol(")") { Ok(Vec::new()) } else { p.list(Self::value_or_default) })
    }

    /// WITH before a query, an UPDATE or a DELETE.
    pub fn with_statement(&mut self) -> Result<Statement> {
        let start = self.position();
        let (ctes, recursive) = self.with_clause()?;
        let with = With { ctes, recursive };
        if self.is_word("UPDATE") {
            return Ok(Statement::Update(Box::new(Update { with, ..self.update()? })));
        }
        if self.is_word("DELETE") {
            return Ok(Statement::Delete(Box::new(Delete { with, ..self.delete()? })));
        }
        self.rewind(start);
        Ok(Statement::Query(Box::new(self.query()?)))
    }

    /// UPDATE.
    pub fn update(&mut self) -> Result<Update> {
        self.expect("UPDATE")?;
        self.eat("LOW_PRIORITY");
        let ignore = self.eat("IGNORE");
        let tables = self.table_refs()?;
        self.expect("SET")?;
        let assignments = self.list(Self::assignment)?;
        let filter = if self.eat("WHERE") { Some(self.expr()?) } else { None };
        let order_by = self.order_by()?;
        let limit = self.limit()?;
        let single = matches!(tables.as_slice(), [TableRef::Table { .. }]);
        if !single && (!order_by.is_empty() || limit.is_some()) {
            let what = if order_by.is_empty() { "LIMIT" } else { "ORDER BY" };
            return Err(Error::wrong_usage("UPDATE", what));
        }
        Ok(Update { with: With::default(), ignore, tables, assignments, filter, order_by, limit })
    }

    /// DELETE, of one table or several.
    pub fn delete(&mut self) -> Result<Delete> {
        self.expect("DELETE")?;
        let mut ignore = false;
        while let Some(word) = self.eat_any(&["LOW_PRIORITY", "QUICK", "IGNORE"]) {
            ignore |= word == "IGNORE";
        }
        let mut targets = Vec::new();
        let from;
        if self.eat("FROM") {
            let start = self.position();
            let names = self.delete_targets();
            if names.is_ok() && self.eat("USING") {
                targets = names?;
                from = self.table_refs()?;
            } else {
                self.rewind(start);
                let table = self.table_ref()?;
                if !matches!(table, TableRef::Table { .. }) {
                    return self.error();
                }
                from = vec![table];
            }
        } else {
            targets = self.delete_targets()?;
            self.expect("FROM")?;
            from = self.table_refs()?;
        }
        let filter = if self.eat("WHERE") { Some(self.expr()?) } else { None };
        let (order_by, limit) = if targets.is_empty() { (self.order_by()?, self.limit()?) } else { (Vec::new(), None) };
        Ok(Delete { with: With::default(), ignore, targets, from, filter, order_by, limit })
    }

    /// `a, d.b.*`.
    fn delete_targets(&mut self) -> Result<Vec<ObjectName>> {
        self.list(|p| {
            let first = p.identifier()?;
            let mut name = ObjectName { database: None, name: first };
            while p.eat_symbol(".") {
                if p.eat_symbol("*") {
                    break;
                }
                let next = p.identifier()?;
                name = ObjectName { database: Some(name.name), name: next };
            }
            Ok(name)
        })
    }
}
