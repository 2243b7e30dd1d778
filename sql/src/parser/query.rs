//! SELECT and what is built of it.

use super::ast::{
    Cte, IndexHint, JoinConstraint, JoinKind, LimitClause, LockClause, Query, QueryBody, Select, SelectItem,
    SetOperator, TableRef,
};
use super::core::Parser;
use super::lexer::Kind;
use crate::error::{Error, Result};

impl Parser<'_> {
    /// Whether a query in parentheses stands `ahead` tokens on.
    pub fn is_subquery_at(&self, ahead: usize) -> bool {
        let mut at = ahead;
        if !self.is_symbol_at(at, "(") {
            return false;
        }
        while self.is_symbol_at(at, "(") {
            at += 1;
        }
        ["SELECT", "WITH", "VALUES", "TABLE"].iter().any(|w| self.is_word_at(at, w))
            && (at == ahead + 1 || self.nested_is_query(at - ahead))
    }

    /// `((SELECT 1) UNION …)` is a query, `((SELECT 1) + 1)` is not: look behind the inner parenthesis.
    fn nested_is_query(&self, levels: usize) -> bool {
        let mut open = 0usize;
        let mut at = 0;
        loop {
            match self.kind_at(at) {
                Kind::Symbol("(") => open += 1,
                Kind::Symbol(")") => {
                    open -= 1;
                    if open + 1 == levels.min(2) {
                        let next = at + 1;
                        return self.is_symbol_at(next, ")")
                            || ["UNION", "INTERSECT", "EXCEPT", "ORDER", "LIMIT"]
                                .iter()
                                .any(|w| self.is_word_at(next, w));
                    }
                }
                Kind::End => return false,
                _ => {}
            }
            at += 1;
        }
    }

    /// A query in parentheses.
    pub fn subquery(&mut self) -> Result<Query> {
        self.parenthesized(Self::query)
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
        if !with.is_empty() && self.is_any(&["UPDATE", "DELETE"]) {
            return Err(Error::unsupported("WITH before UPDATE and DELETE"));
        }
        let body = self.set_operation(0)?;
        let order_by = self.order_by()?;
        let limit = self.limit()?;
        let mut locking = self.locking()?;
        self.skip_into_clause()?;
        if locking.is_none() {
            locking = self.locking()?;
        }
        // `(SELECT … ORDER BY … LIMIT …)` alone is that query.
        let body = match body {
            QueryBody::Nested(inner)
                if with.is_empty() && order_by.is_empty() && limit.is_none() && locking.is_none() =>
            {
                return Ok(*inner);
            }
            body => body,
        };
        Ok(Query { with, recursive, body, order_by, limit, locking })
    }

    fn with_clause(&mut self) -> Result<(Vec<Cte>, bool)> {
        self.expect("WITH")?;
        let recursive = self.eat("RECURSIVE");
        let ctes = self.list(|p| {
            let name = p.identifier()?;
            let columns = p.column_list()?.unwrap_or_default();
            p.expect("AS")?;
            Ok(Cte { name, columns, query: p.subquery()? })
        })?;
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
        let mut chained = 0;
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
            chained += 1;
            if chained > super::DEPTH_MAX {
                return Err(Error::too_deep());
            }
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
            return Ok(QueryBody::Nested(Box::new(self.subquery()?)));
        }
        if self.eat("VALUES") {
            let rows = self.list(|p| {
                p.expect("ROW")?;
                p.parenthesized(|p| p.list(Self::expr))
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
                "SQL_CACHE",
                "SQL_CALC_FOUND_ROWS",
            ]) {
                Some("DISTINCT" | "DISTINCTROW") => select.distinct = true,
                Some("SQL_CALC_FOUND_ROWS") => select.calc_found_rows = true,
                Some(_) => {}
                None => break,
            }
        }
        select.items = self.list(Self::select_item)?;
        self.skip_into_clause()?;
        if self.eat("FROM") && !self.eat("DUAL") {
            select.from = self.table_refs()?;
        }
        if self.eat("WHERE") {
            select.filter = Some(self.expr()?);
        }
        if self.eat_words(&["GROUP", "BY"]) {
            select.group_by = self.list(|p| {
                let expr = p.expr()?;
                p.eat_any(&["ASC", "DESC"]);
                Ok(expr)
            })?;
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
        if self.eat_symbol("*") {
            return Ok(SelectItem::Wildcard { database: None, table: None });
        }
        if let Some(wildcard) = self.qualified_wildcard()? {
            return Ok(wildcard);
        }
        let start = self.offset();
        let expr = self.expr()?;
        let text = self.text_from(start);
        let named = self.eat("AS") || self.is_identifier() || matches!(self.kind(), Kind::String(_));
        let alias = if named { Some(self.identifier_or_string()?) } else { None };
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

    /// A table with what is joined to it.
    pub fn table_ref(&mut self) -> Result<TableRef> {
        self.enter()?;
        let joined = self.joins();
        self.leave();
        joined
    }

    fn joins(&mut self) -> Result<TableRef> {
        let mut left = self.table_factor()?;
        let mut chained = 0;
        while let Some((kind, natural)) = self.join_word()? {
            chained += 1;
            if chained > super::DEPTH_MAX {
                return Err(Error::too_deep());
            }
            // `a JOIN b JOIN c ON x ON y`: the right side may be a join itself when an ON is to come for each.
            let mut right = self.table_factor()?;
            let outer = kind != JoinKind::Inner;
            let constraint = match self.join_constraint()? {
                JoinConstraint::None if natural => JoinConstraint::Natural,
                JoinConstraint::None if outer => {
                    right = self.join_rest(right)?;
                    match self.join_constraint()? {
                        JoinConstraint::None => return self.error(),
                        constraint => constraint,
                    }
                }
                constraint => constraint,
            };
            left = TableRef::Join { left: Box::new(left), right: Box::new(right), kind, constraint };
        }
        Ok(left)
    }

    /// Joins that nest to the right: `a LEFT JOIN (b JOIN c ON …) ON …` written without parentheses.
    fn join_rest(&mut self, left: TableRef) -> Result<TableRef> {
        let Some((kind, natural)) = self.join_word()? else { return Ok(left) };
        self.enter()?;
        let right = self.table_factor()?;
        let constraint = match self.join_constraint()? {
            JoinConstraint::None if natural => JoinConstraint::Natural,
            constraint => constraint,
        };
        self.leave();
        Ok(TableRef::Join { left: Box::new(left), right: Box::new(right), kind, constraint })
    }

    fn join_word(&mut self) -> Result<Option<(JoinKind, bool)>> {
        let natural = self.eat("NATURAL");
        let kind = match self.eat_any(&["INNER", "CROSS", "LEFT", "RIGHT"]) {
            Some("LEFT") => JoinKind::Left,
            Some("RIGHT") => JoinKind::Right,
            Some(_) => JoinKind::Inner,
            None if self.is_word("JOIN") => JoinKind::Inner,
            None if !natural && self.eat("STRAIGHT_JOIN") => return Ok(Some((JoinKind::Inner, false))),
            None if natural => return self.error(),
            None => return Ok(None),
        };
        if kind != JoinKind::Inner {
            self.eat("OUTER");
        }
        self.expect("JOIN")?;
        Ok(Some((kind, natural)))
    }

    fn join_constraint(&mut self) -> Result<JoinConstraint> {
        if self.eat("ON") {
            return Ok(JoinConstraint::On(self.expr()?));
        }
        if self.eat("USING") {
            return Ok(JoinConstraint::Using(self.parenthesized(|p| p.list(Self::identifier))?));
        }
        Ok(JoinConstraint::None)
    }

    fn table_factor(&mut self) -> Result<TableRef> {
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
                if p.is_symbol(")") {
                    return Ok(Vec::new());
                }
                p.list(|p| if p.eat("PRIMARY") { Ok("PRIMARY".to_string()) } else { p.identifier() })
            })?;
            hints.push(IndexHint { ignore: word == "IGNORE", indexes });
            self.eat_symbol(",");
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
            Kind::Integer | Kind::Parameter(_) => self.operators(15),
            _ => self.error(),
        }
    }

    fn locking(&mut self) -> Result<Option<LockClause>> {
        let share = if self.eat_words(&["LOCK", "IN", "SHARE", "MODE"]) {
            return Ok(Some(LockClause { share: true, no_wait: false, skip_locked: false }));
        } else if self.eat_words(&["FOR", "UPDATE"]) {
            false
        } else if self.eat_words(&["FOR", "SHARE"]) {
            true
        } else {
            return Ok(None);
        };
        if self.eat("OF") {
            self.list(Self::object_name)?;
        }
        let no_wait = self.eat("NOWAIT");
        let skip_locked = self.eat_words(&["SKIP", "LOCKED"]);
        Ok(Some(LockClause { share, no_wait, skip_locked }))
    }
}
