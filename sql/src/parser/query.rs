//! SELECT and what is built of it.

use super::ast::{
    Cte, IndexHint, JoinConstraint, JoinKind, LimitClause, LockClause, Query, QueryBody, Select, SelectItem,
    SetOperator, TableRef,
};
use super::core::Parser;
use super::lexer::Kind;
use crate::error::{Error, Result};

/// Subqueries within each other.
const SELECT_NESTING_MAX: usize = 63;

impl Parser<'_> {
    /// Whether a query in parentheses stands `ahead` tokens on.
    pub fn is_subquery_at(&mut self, ahead: usize) -> bool {
        if !self.is_symbol_at(ahead, "(") || self.closing_at(ahead).is_none() {
            return false;
        }
        let mut at = ahead;
        while self.is_symbol_at(at, "(") {
            at += 1;
        }
        // `(VALUES(a) + 1)` is about a value that an INSERT gives.
        let begins = ["SELECT", "WITH", "TABLE"].iter().any(|w| self.is_word_at(at, w))
            || (self.is_word_at(at, "VALUES") && self.is_word_at(at + 1, "ROW"));
        if !begins {
            return false;
        }
        // `((SELECT 1) UNION …)` is a query, `((SELECT 1) + 1)` is not: what follows the inner parentheses decides.
        const GOES_ON: &[&str] = &["UNION", "INTERSECT", "EXCEPT", "ORDER", "LIMIT", "FOR", "LOCK", "INTO"];
        (ahead + 1..at).rev().all(|inner| {
            self.closing_at(inner).is_some_and(|closing| {
                self.is_symbol_after(closing, ")") || GOES_ON.iter().any(|w| self.is_word_after(closing, w))
            })
        })
    }

    /// A query in parentheses.
    pub fn subquery(&mut self) -> Result<Query> {
        self.nested_selects += 1;
        if self.nested_selects > SELECT_NESTING_MAX {
            return Err(Error::select_nesting());
        }
        let query = self.parenthesized(Self::query);
        self.nested_selects -= 1;
        query
    }

    /// A query expression.
    pub fn query(&mut self) -> Result<Query> {
        self.enter()?;
        let query = self.query_inner();
        self.leave();
        query
    }

    fn query_inner(&mut self) -> Result<Query> {
        let (with, recursive) = if self.is_word("WITH") { self.with_clause()? } else { (Vec::new(), false) };
        let body = self.set_operation(0)?;
        let order_by = self.order_by()?;
        let limit = self.limit()?;
        let mut locking = self.locking()?;
        self.skip_into_clause()?;
        if locking.is_empty() {
            locking = self.locking()?;
        }
        let mut query = Query { with, recursive, body, order_by, limit, locking: Vec::new() };
        lock_last(&mut query, locking);
        // `(SELECT … ORDER BY … LIMIT …)` alone is that query.
        match query.body {
            QueryBody::Nested(inner) if query.with.is_empty() && query.order_by.is_empty() && query.limit.is_none() => {
                Ok(*inner)
            }
            body => Ok(Query { body, ..query }),
        }
    }

    /// WITH and what it names.
    pub fn with_clause(&mut self) -> Result<(Vec<Cte>, bool)> {
        self.expect("WITH")?;
        let recursive = self.eat("RECURSIVE");
        let ctes = self.list(|p| {
            let name = p.identifier()?;
            let columns = p.column_list()?.unwrap_or_default();
            p.expect("AS")?;
            Ok(Cte { name, columns, query: p.subquery()? })
        })?;
        let mut names = std::collections::HashSet::new();
        if let Some(twice) = ctes.iter().find(|cte| !names.insert(cte.name.to_lowercase())) {
            return Err(Error::duplicate_alias(&twice.name));
        }
        Ok((ctes, recursive))
    }

    /// `(a, b)`, or nothing.
    pub fn column_list(&mut self) -> Result<Option<Vec<String>>> {
        if !self.is_symbol("(") || self.is_subquery_at(0) {
            return Ok(None);
        }
        self.parenthesized(|p| if p.is_symbol(")") { Ok(Vec::new()) } else { p.list(Self::identifier) }).map(Some)
    }

    /// INTERSECT binds tighter than UNION and EXCEPT.
    fn set_operation(&mut self, min: u8) -> Result<QueryBody> {
        let mut left = self.query_primary()?;
        loop {
            let (op, precedence) = match () {
                () if self.is_word("UNION") => (SetOperator::Union, 1),
                () if self.is_word("EXCEPT") => (SetOperator::Except, 1),
                () if self.is_word("INTERSECT") => (SetOperator::Intersect, 2),
                () => return Ok(left),
            };
            if precedence <= min {
                return Ok(left);
            }
            self.link()?;
            self.advance();
            let all = self.eat("ALL");
            if !all {
                self.eat("DISTINCT");
            }
            let right = self.set_operation(precedence)?;
            left = QueryBody::SetOperation { op, all, left: Box::new(left), right: Box::new(right) };
        }
    }

    fn query_primary(&mut self) -> Result<QueryBody> {
        if self.is_symbol("(") {
            return Ok(QueryBody::Nested(Box::new(self.parenthesized(Self::query)?)));
        }
        if self.eat("VALUES") {
            let rows = self.list(|p| {
                p.expect("ROW")?;
                if p.is_symbol("(") && p.is_symbol_at(1, ")") {
                    return Err(Error::empty_values_row());
                }
                p.parenthesized(|p| p.list(Self::value_or_default))
            })?;
            return Ok(QueryBody::Values(rows));
        }
        if self.eat("TABLE") {
            let name = self.object_name()?;
            return Ok(QueryBody::Select(Box::new(Select {
                items: vec![SelectItem::Wildcard { database: None, table: None }],
                from: vec![TableRef::Table { name, alias: None, hints: Vec::new() }],
                ..Select::default()
            })));
        }
        self.select().map(|s| QueryBody::Select(Box::new(s)))
    }

    fn select(&mut self) -> Result<Select> {
        self.expect("SELECT")?;
        let mut select = Select::default();
        let mut all = false;
        loop {
            match self.eat_any(&[
                "ALL",
                "DISTINCT",
                "DISTINCTROW",
                "HIGH_PRIORITY",
                "STRAIGHT_JOIN",
                "SQL_SMALL_RESULT",
                "SQL_BIG_RESULT",
                "SQL_BUFFER_RESULT",
                "SQL_NO_CACHE",
                "SQL_CALC_FOUND_ROWS",
            ]) {
                Some("DISTINCT" | "DISTINCTROW") => select.distinct = true,
                Some("ALL") => all = true,
                Some("SQL_CALC_FOUND_ROWS") => select.calc_found_rows = true,
                Some(_) => {}
                None => break,
            }
        }
        if all && select.distinct {
            return Err(Error::wrong_usage("ALL", "DISTINCT"));
        }
        if self.eat_symbol("*") {
            select.items.push(SelectItem::Wildcard { database: None, table: None });
        }
        if select.items.is_empty() || self.eat_symbol(",") {
            select.items.extend(self.list(Self::select_item)?);
        }
        self.skip_into_clause()?;
        if self.eat("FROM") && !self.eat("DUAL") {
            select.from = self.table_refs()?;
        }
        if self.eat("WHERE") {
            select.filter = Some(self.expr()?);
        }
        if self.eat_words(&["GROUP", "BY"]) {
            select.group_by = self.list(Self::expr)?;
            select.rollup = self.eat_words(&["WITH", "ROLLUP"]);
        }
        if self.eat("HAVING") {
            select.having = Some(self.expr()?);
        }
        if self.eat("WINDOW") {
            select.windows = self.list(|p| {
                let name = p.identifier()?;
                p.expect("AS")?;
                Ok((name, p.window_spec()?))
            })?;
        }
        Ok(select)
    }

    fn skip_into_clause(&mut self) -> Result<()> {
        if self.is_word("INTO") { Err(Error::unsupported("SELECT … INTO")) } else { Ok(()) }
    }

    fn select_item(&mut self) -> Result<SelectItem> {
        if let Some(wildcard) = self.qualified_wildcard()? {
            return Ok(wildcard);
        }
        let start = self.offset();
        let expr = self.expr()?;
        let text = self.text_from(start);
        let named = self.eat("AS") || self.is_identifier() || matches!(self.kind(), Kind::String(_));
        let alias = if named { Some(self.alias()?) } else { None };
        Ok(SelectItem::Expr { expr, alias, text })
    }

    fn qualified_wildcard(&mut self) -> Result<Option<SelectItem>> {
        let name = |k: &Kind| matches!(k, Kind::Word | Kind::Quoted(_));
        if !name(self.kind()) || !self.is_symbol_at(1, ".") {
            return Ok(None);
        }
        if self.is_symbol_at(2, "*") {
            let table = self.identifier()?;
            self.advance();
            self.advance();
            return Ok(Some(SelectItem::Wildcard { database: None, table: Some(table) }));
        }
        if name(self.kind_at(2)) && self.is_symbol_at(3, ".") && self.is_symbol_at(4, "*") {
            let database = self.identifier()?;
            self.advance();
            let table = self.identifier()?;
            self.advance();
            self.advance();
            return Ok(Some(SelectItem::Wildcard { database: Some(database), table: Some(table) }));
        }
        Ok(None)
    }

    /// Tables between commas.
    pub fn table_refs(&mut self) -> Result<Vec<TableRef>> {
        self.list(Self::table_ref)
    }

    /// A table, a derived table, or tables in parentheses.
    pub fn table_factor(&mut self) -> Result<TableRef> {
        // ODBC's outer joins.
        if self.is_symbol("{") && self.is_word_at(1, "OJ") {
            self.advance();
            self.advance();
            let joined = self.table_ref()?;
            self.expect_symbol("}")?;
            return Ok(joined);
        }
        let lateral = self.eat("LATERAL");
        if lateral || self.is_subquery_at(0) {
            let query = Box::new(self.subquery()?);
            self.eat("AS");
            if !self.is_identifier() {
                return Err(Error::derived_without_alias());
            }
            let alias = self.identifier()?;
            let columns = self.column_list()?.unwrap_or_default();
            return Ok(TableRef::Derived { query, alias, columns, lateral });
        }
        if self.is_symbol("(") {
            return self.parenthesized(|p| {
                let mut tables = p.table_refs()?.into_iter();
                let Some(first) = tables.next() else { return p.error() };
                // `(a, b)` is `(a CROSS JOIN b)`.
                Ok(tables.fold(first, |left, right| TableRef::Join {
                    left: Box::new(left),
                    right: Box::new(right),
                    kind: JoinKind::Inner,
                    constraint: JoinConstraint::None,
                }))
            });
        }
        if self.is_word("JSON_TABLE") {
            return Err(Error::unsupported("JSON_TABLE"));
        }
        if self.is_symbol(".") {
            return self.error();
        }
        let name = self.object_name()?;
        if self.eat("PARTITION") {
            return Err(Error::unsupported("PARTITION"));
        }
        if self.is_words(&["AS", "OF"]) {
            return Err(Error::unsupported("AS OF TIMESTAMP"));
        }
        let alias = if self.eat("AS") || (self.is_identifier() && !self.is_word("WINDOW")) {
            Some(self.identifier_or_string()?)
        } else {
            None
        };
        Ok(TableRef::Table { name, alias, hints: self.index_hints()? })
    }

    fn index_hints(&mut self) -> Result<Vec<IndexHint>> {
        let mut hints = Vec::new();
        loop {
            let word = match self.is_word_at(1, "INDEX") || self.is_word_at(1, "KEY") {
                true => self.eat_any(&["USE", "FORCE", "IGNORE"]),
                false => None,
            };
            let Some(word) = word else { return Ok(hints) };
            self.advance();
            if self.eat("FOR") && !self.eat("JOIN") {
                self.eat_any(&["ORDER", "GROUP"]);
                self.expect("BY")?;
            }
            let indexes = self.parenthesized(|p| {
                if word == "USE" && p.is_symbol(")") {
                    return Ok(Vec::new());
                }
                p.list(|p| if p.eat("PRIMARY") { Ok("PRIMARY".to_string()) } else { p.identifier() })
            })?;
            hints.push(IndexHint { ignore: word == "IGNORE", indexes });
        }
    }

    /// LIMIT, or nothing.
    pub fn limit(&mut self) -> Result<Option<LimitClause>> {
        if !self.eat("LIMIT") {
            return Ok(None);
        }
        let first = self.limit_value()?;
        if self.eat_symbol(",") {
            return Ok(Some(LimitClause { count: self.limit_value()?, offset: Some(first) }));
        }
        let offset = if self.eat("OFFSET") { Some(self.limit_value()?) } else { None };
        Ok(Some(LimitClause { count: first, offset }))
    }

    fn limit_value(&mut self) -> Result<super::ast::Expr> {
        match self.kind() {
            Kind::Integer => {
                let value = self.integer()?;
                Ok(super::ast::Expr::Literal(super::ast::Literal::Integer(value)))
            }
            Kind::Parameter(_) => self.operators(15),
            _ => self.error(),
        }
    }

    /// Locking clauses, as many as there are.
    fn locking(&mut self) -> Result<Vec<LockClause>> {
        let mut clauses = Vec::new();
        loop {
            let share = if self.eat_words(&["LOCK", "IN", "SHARE", "MODE"]) {
                clauses.push(LockClause { share: true, of: Vec::new(), no_wait: false, skip_locked: false });
                continue;
            } else if self.eat_words(&["FOR", "UPDATE"]) {
                false
            } else if self.eat_words(&["FOR", "SHARE"]) {
                true
            } else {
                return Ok(clauses);
            };
            let of = if self.eat("OF") { self.list(Self::object_name)? } else { Vec::new() };
            let no_wait = self.eat("NOWAIT");
            let skip_locked = !no_wait && self.eat_words(&["SKIP", "LOCKED"]);
            clauses.push(LockClause { share, of, no_wait, skip_locked });
        }
    }
}

/// Gives locking clauses that stand at a query's end to the SELECT that they are of: the last one of a set operation.
fn lock_last(query: &mut Query, clauses: Vec<LockClause>) {
    if clauses.is_empty() {
        return;
    }
    match &mut query.body {
        QueryBody::Select(_) => query.locking.extend(clauses),
        QueryBody::Nested(inner) => lock_last(inner, clauses),
        QueryBody::Values(_) => {}
        QueryBody::SetOperation { right, .. } => {
            let mut last = match std::mem::replace(&mut **right, QueryBody::Values(Vec::new())) {
                QueryBody::Nested(inner) => *inner,
                body => Query::of(body),
            };
            lock_last(&mut last, clauses);
            **right = QueryBody::Nested(Box::new(last));
        }
    }
}
