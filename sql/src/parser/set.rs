//! SET in all its forms.

use super::ast::{Expr, VariableScope};
use super::core::Parser;
use super::lexer::Kind;
use super::statement::{SetItem, Statement, UserSpec, UserStatement};
use crate::error::Result;

impl Parser<'_> {
    /// SET.
    pub fn set(&mut self) -> Result<Statement> {
        self.expect("SET")?;
        if self.is_word("PASSWORD") && !self.is_symbol_at(1, ".") {
            return self.set_password();
        }
        if self.is_words(&["DEFAULT", "ROLE"]) || self.is_word("ROLE") || self.is_words(&["RESOURCE", "GROUP"]) {
            let start = self.position() - 1;
            return self.unsupported_from(start);
        }
        let scope = match self.eat_any(&["GLOBAL", "SESSION", "LOCAL"]) {
            Some("GLOBAL") => Some(VariableScope::Global),
            Some(_) => Some(VariableScope::Session),
            None => None,
        };
        if self.is_word("TRANSACTION") && !self.is_symbol_at(1, "=") {
            return self.set_transaction(scope);
        }
        let mut items = vec![self.set_item(scope)?];
        while self.eat_symbol(",") {
            items.push(self.set_item(None)?);
        }
        Ok(Statement::Set(items))
    }

    fn set_item(&mut self, mut scope: Option<VariableScope>) -> Result<SetItem> {
        if let Kind::UserVariable(name) = self.kind() {
            let name = name.clone();
            self.advance();
            self.assign()?;
            return Ok(SetItem::User { name, value: self.expr()? });
        }
        let is_at_at = *self.kind() == Kind::SystemVariable;
        if is_at_at {
            self.advance();
            scope = self.variable_scope_point();
        } else if scope.is_none() {
            if self.is_word("NAMES") {
                return self.set_names();
            }
            if self.eat_words(&["CHARACTER", "SET"]) || (self.is_word("CHARSET") && !self.is_symbol_at(1, "=")) {
                self.eat("CHARSET");
                let charset = if self.eat("DEFAULT") { None } else { Some(self.charset_name()?) };
                return Ok(SetItem::Names { charset_only: true, charset, collation: None });
            }
            scope = match self.eat_any(&["GLOBAL", "SESSION", "LOCAL", "PERSIST", "PERSIST_ONLY"]) {
                Some("GLOBAL") => Some(VariableScope::Global),
                Some("PERSIST") => Some(VariableScope::Persist),
                Some("PERSIST_ONLY") => Some(VariableScope::PersistOnly),
                Some(_) => Some(VariableScope::Session),
                None => None,
            };
        }
        let mut name = self.variable_name()?;
        while self.eat_symbol(".") {
            name = format!("{name}.{}", self.variable_name()?);
        }
        self.assign()?;
        let value = self.set_value()?;
        let begins = ["transaction_isolation", "transaction_read_only", "tx_isolation", "tx_read_only"];
        Ok(match is_at_at && scope.is_none() && begins.contains(&name.as_str()) {
            true => SetItem::NextTransaction { name, value },
            false => SetItem::System { scope, name, value },
        })
    }

    /// RESET PERSIST [[IF EXISTS] name].
    pub fn reset_persist(&mut self) -> Result<Statement> {
        self.expect("RESET")?;
        self.expect("PERSIST")?;
        let if_exists = self.eat_words(&["IF", "EXISTS"]);
        let is_named = if_exists || *self.kind() != Kind::End;
        let name = if is_named { Some(self.variable_name()?) } else { None };
        Ok(Statement::ResetPersist { name, if_exists })
    }

    fn assign(&mut self) -> Result<()> {
        if self.eat_symbol("=") { Ok(()) } else { self.expect_symbol(":=") }
    }

    /// A value; bare words (ON, ALL, a charset's name) are strings, DEFAULT is `None`.
    fn set_value(&mut self) -> Result<Option<Expr>> {
        let ends = matches!(self.kind_at(1), Kind::End | Kind::Symbol(","));
        if ends && self.eat("DEFAULT") {
            return Ok(None);
        }
        let bare = ends && *self.kind() == Kind::Word && !self.is_any(&["NULL", "TRUE", "FALSE"]);
        if bare && !self.token_text().eq_ignore_ascii_case("CURRENT_TIMESTAMP") {
            let bytes = self.token_text().as_bytes().to_vec();
            self.advance();
            return Ok(Some(Expr::Literal(super::ast::Literal::String { bytes, charset: None })));
        }
        self.expr().map(Some)
    }

    fn set_names(&mut self) -> Result<SetItem> {
        self.expect("NAMES")?;
        let charset = if self.eat("DEFAULT") { None } else { Some(self.charset_name()?) };
        let collation = if self.eat("COLLATE") { Some(self.charset_name()?) } else { None };
        Ok(SetItem::Names { charset_only: false, charset, collation })
    }

    fn set_transaction(&mut self, scope: Option<VariableScope>) -> Result<Statement> {
        self.expect("TRANSACTION")?;
        let (mut isolation, mut read_only) = (None, None);
        let parts = self.list(|p| {
            if p.eat_words(&["ISOLATION", "LEVEL"]) {
                if isolation.is_some() {
                    return p.error();
                }
                isolation = Some(if p.eat_words(&["READ", "COMMITTED"]) {
                    "READ-COMMITTED".to_string()
                } else if p.eat_words(&["READ", "UNCOMMITTED"]) {
                    "READ-UNCOMMITTED".to_string()
                } else if p.eat_words(&["REPEATABLE", "READ"]) {
                    "REPEATABLE-READ".to_string()
                } else {
                    p.expect("SERIALIZABLE")?;
                    "SERIALIZABLE".to_string()
                });
                return Ok(());
            }
            p.expect("READ")?;
            let is_first = read_only.is_none();
            read_only = Some(p.eat("ONLY"));
            if read_only == Some(false) {
                p.expect("WRITE")?;
            }
            if is_first { Ok(()) } else { p.error() }
        })?;
        drop(parts);
        Ok(Statement::SetTransaction { scope, isolation, read_only })
    }

    fn set_password(&mut self) -> Result<Statement> {
        self.expect("PASSWORD")?;
        let (name, host) = if self.eat("FOR") { self.account()? } else { (String::new(), String::new()) };
        self.assign()?;
        let password = if self.eat("PASSWORD") { self.parenthesized(Self::string)? } else { self.string()? };
        let users = vec![UserSpec { name, host, plugin: None, password: Some(password), hash: None }];
        Ok(Statement::User(Box::new(UserStatement::Alter { users, if_exists: false })))
    }
}
