//! FROM: tables, derived tables and joins, as a plan with named columns.

use super::expr::join;
use super::scope::{Block, Clause, Named, Relation, TableInSight, find};
use crate::catalog::information_schema;
use crate::catalog::model::{Handle, Index, SchemaState, Table};
use crate::error::{Error, Result};
use crate::parser::ast::{self, ColumnName, JoinConstraint, ObjectName, TableRef};
use crate::plan::{IndexHint, JoinKind, KeyFlags, LogicalPlan, Origin, OutputColumn, Scan, UseIndexes, VirtualScan};
use crate::privilege::Privileges;
use basalt_expr::collation::Coercibility;
use basalt_expr::expr::Expr;
use basalt_expr::func::Func;
use basalt_expr::types::{FieldType, TypeKind};
use basalt_expr::value::Value;
use std::sync::Arc;

/// Name of the column that holds the handle of tables without a clustered key.
const HANDLE_NAME: &str = "_basalt_rowid";

/// Tables of one join, as MySQL has it.
const JOIN_TABLES_MAX: usize = 61;
/// Tables of a statement; joins, derived tables and common table expressions count each time they are read.
const TABLES_MAX: usize = 1_000;

/// Which columns scans put out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ScanColumns {
    /// Those that can be named.
    Public,
    /// These, and the hidden handle of tables without clustered key.
    PublicAndHandle,
    /// All that a table has, and the hidden handle: of targets of UPDATE and DELETE.
    All,
}

impl ScanColumns {
    /// Offsets in the table.
    pub fn offsets(self, table: &Table) -> Vec<usize> {
        let mut offsets: Vec<usize> = match self {
            ScanColumns::All => (0..table.columns.len()).collect(),
            ScanColumns::Public | ScanColumns::PublicAndHandle => {
                table.public_columns().map(|(offset, _)| offset).collect()
            }
        };
        if self != ScanColumns::Public && table.handle == Handle::Hidden {
            offsets.push(table.columns.len());
        }
        offsets
    }
}

/// Tables, derived ones included, that stand side by side in FROM.
fn joined_tables(table: &TableRef) -> usize {
    match table {
        TableRef::Join { left, right, .. } => joined_tables(left) + joined_tables(right),
        TableRef::Table { .. } | TableRef::Derived { .. } => 1,
    }
}

impl super::Binder<'_> {
    /// Binds something whose scans put out these columns.
    pub(super) fn scanning<T>(&mut self, columns: ScanColumns, bind: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let before = std::mem::replace(&mut self.scan_columns, columns);
        let bound = bind(self);
        self.scan_columns = before;
        bound
    }

    /// What stands behind FROM; one row without columns when nothing does.
    pub(super) fn from(&mut self, tables: &[TableRef]) -> Result<Relation> {
        if tables.iter().map(joined_tables).sum::<usize>() > JOIN_TABLES_MAX {
            return Err(Error::too_many_tables(JOIN_TABLES_MAX));
        }
        let mut joined: Option<Relation> = None;
        for table in tables {
            let next = self.table_ref(table)?;
            joined = Some(match joined {
                None => next,
                Some(left) => {
                    check_aliases(&left, &next)?;
                    combine(left, next, JoinKind::Inner)
                }
            });
        }
        Ok(joined.unwrap_or_else(|| Relation {
            plan: LogicalPlan::Values { rows: vec![Vec::new()], output: Vec::new() },
            columns: Vec::new(),
            star: Vec::new(),
            tables: Vec::new(),
        }))
    }

    /// Counts a table; a statement has a bound on them, because a common table expression that names another twice, which
    /// names another twice, … reads a number of tables that no text shows.
    fn count_table(&mut self) -> Result<()> {
        crate::memory::check()?;
        self.tables += 1;
        if self.tables > TABLES_MAX {
            return Err(Error::unsupported(format!("statements that read more than {TABLES_MAX} tables")));
        }
        Ok(())
    }

    fn table_ref(&mut self, table: &TableRef) -> Result<Relation> {
        self.count_table()?;
        match table {
            TableRef::Table { name, alias, hints } => self.table(name, alias.as_deref(), hints),
            TableRef::Derived { query, alias, columns, lateral } => {
                if *lateral {
                    return Err(Error::unsupported("LATERAL"));
                }
                let plan = self.scanning(ScanColumns::Public, |binder| binder.query(query))?;
                renamed(plan, alias, columns)
            }
            TableRef::Join { left, right, kind, constraint } => self.join(left, right, *kind, constraint),
        }
    }

    fn table(&mut self, name: &ObjectName, alias: Option<&str>, hints: &[ast::IndexHint]) -> Result<Relation> {
        let alias_or_name = alias.unwrap_or(&name.name);
        if name.database.is_none()
            && let Some(relation) = self.cte(&name.name, alias_or_name)?
        {
            return Ok(relation);
        }
        let database = self.database_of(name)?;
        if let Some(columns) = information_schema::columns(&database, &name.name) {
            return Ok(made_up(&database, &name.name, alias_or_name, columns));
        }
        // Before it is looked up: whoever may not read a table is not told whether it is there.
        let is_target = self.scan_columns == ScanColumns::All;
        let one_of = if is_target { self.target_privileges } else { Privileges::SELECT };
        self.ctx.variables.check_any(&database, &name.name, one_of)?;
        self.ctx.variables.check_locked(&database, &name.name, alias_or_name)?;
        let (database, table) = self.stored_table(name)?;
        self.scan(database, table, alias_or_name, hints)
    }

    pub(super) fn database_of(&self, name: &ObjectName) -> Result<String> {
        match (&name.database, self.ctx.database) {
            (Some(database), _) => Ok(database.clone()),
            (None, Some(database)) => Ok(database.to_string()),
            (None, None) => Err(Error::no_database()),
        }
    }

    /// A stored table and the name of its database.
    pub(super) fn stored_table(&self, name: &ObjectName) -> Result<(String, Arc<Table>)> {
        let database = self.database_of(name)?;
        let Some(found) = self.ctx.schema.database(&database) else {
            if database.eq_ignore_ascii_case("information_schema") {
                return Err(Error::unknown_table_in(name.name.to_uppercase(), "information_schema"));
            }
            if information_schema::is_database(&database) {
                return Err(Error::no_such_table(&database, &name.name));
            }
            return Err(Error::unknown_database(&database));
        };
        match self.ctx.schema.table(&database, &name.name) {
            Some(table) => match table.stale_index() {
                Some(index) => Err(Error::stale_index(&table.name, &index.name)),
                None => Ok((found.name.clone(), table.clone())),
            },
            None => Err(Error::no_such_table(&found.name, &name.name)),
        }
    }

    fn scan(&mut self, database: String, table: Arc<Table>, alias: &str, hints: &[ast::IndexHint]) -> Result<Relation> {
        let offsets = self.scan_columns.offsets(&table);
        let columns: Vec<Named> = offsets.iter().map(|&offset| named(&database, &table, alias, offset)).collect();
        let star = (0..columns.len()).filter(|&i| columns[i].visible).collect();
        let hints = match hints.is_empty() {
            true => hints_of(self.ctx.use_indexes, &table),
            false => hints.iter().map(|h| hint(h, &table)).collect::<Result<_>>()?,
        };
        let plan = LogicalPlan::Scan(Scan {
            table: table.clone(),
            database: database.clone(),
            alias: alias.to_string(),
            columns: offsets,
            output: columns.iter().map(Named::output).collect(),
            hints,
        });
        let is_read = self.scan_columns != ScanColumns::All;
        let plan = if self.ctx.pads_chars && is_read { with_full_chars(plan, &columns)? } else { plan };
        let tables = vec![TableInSight { table, database, alias: alias.to_string(), first: 0 }];
        Ok(Relation { plan, columns, star, tables })
    }

    fn join(
        &mut self,
        left: &TableRef,
        right: &TableRef,
        kind: ast::JoinKind,
        by: &JoinConstraint,
    ) -> Result<Relation> {
        let left = self.table_ref(left)?;
        let right = self.table_ref(right)?;
        check_aliases(&left, &right)?;
        let kind = match kind {
            ast::JoinKind::Inner => JoinKind::Inner,
            ast::JoinKind::Left => JoinKind::Left,
            ast::JoinKind::Right => JoinKind::Right,
        };
        match by {
            JoinConstraint::None => Ok(combine(left, right, kind)),
            JoinConstraint::On(condition) => self.join_on(left, right, kind, condition),
            JoinConstraint::Using(names) => join_using(left, right, kind, names),
            JoinConstraint::Natural => {
                let (first, second) = if kind == JoinKind::Right { (&right, &left) } else { (&left, &right) };
                let common: Vec<String> = first
                    .star
                    .iter()
                    .map(|&i| first.columns[i].name.clone())
                    .filter(|name| second.star.iter().any(|&j| second.columns[j].name.eq_ignore_ascii_case(name)))
                    .collect();
                join_using(left, right, kind, &common)
            }
        }
    }

    fn join_on(&mut self, left: Relation, right: Relation, kind: JoinKind, on: &ast::Expr) -> Result<Relation> {
        let width = left.columns.len();
        let mut relation = combine(left, right, kind);
        let mut block = Block::new(relation.columns.clone());
        block.clause = Clause::On;
        let condition = self.condition(on, &mut block).and_then(Self::check_depth)?;
        if block.subqueries.is_empty() {
            if let LogicalPlan::Join { condition: on, .. } = &mut relation.plan {
                *on = Some(condition);
            }
            return Ok(relation);
        }
        if kind != JoinKind::Inner {
            return super::outer_on::join_with_subqueries(relation, width, condition, &block.subqueries);
        }
        // The condition of an inner join may as well filter its pairs; the added columns are dropped again.
        let mut stage = super::pending::Stage::new(relation.plan);
        let width = stage.width;
        let predicate = stage.settle_one(condition, &block.subqueries)?;
        let added = stage.width;
        stage.stack(added, |input| LogicalPlan::Filter { input, predicate });
        let exprs = relation.columns.iter().enumerate().map(|(i, c)| Expr::column(i, c.ty.clone())).collect();
        let output = relation.columns.iter().map(Named::output).collect();
        stage.stack(width, |input| LogicalPlan::Project { input, exprs, output });
        Ok(Relation { plan: stage.plan, ..relation })
    }
}

/// sql_mode PAD_CHAR_TO_FULL_LENGTH: what a CHAR column gives has the spaces that are not kept.
fn with_full_chars(scan: LogicalPlan, columns: &[Named]) -> Result<LogicalPlan> {
    if columns.iter().all(|column| column.ty.kind != TypeKind::Char) {
        return Ok(scan);
    }
    let full = |(index, column): (usize, &Named)| {
        let stored = Expr::column(index, column.ty.clone());
        if column.ty.kind != TypeKind::Char {
            return stored;
        }
        let space = FieldType::varchar(1).with_collation(column.ty.collation);
        let length = Expr::int(i64::from(column.ty.length));
        let args = vec![stored, length, Expr::Literal(Value::from(" "), space)];
        Expr::Call { func: Func::RPad, args, ty: column.ty.clone() }
    };
    let exprs = columns.iter().enumerate().map(full).collect();
    let output = columns.iter().map(Named::output).collect();
    Ok(LogicalPlan::Project { input: Box::new(scan), exprs, output })
}

fn named(database: &str, table: &Arc<Table>, alias: &str, offset: usize) -> Named {
    let Some(column) = table.columns.get(offset) else {
        return Named {
            database: database.to_string(),
            table: alias.to_string(),
            name: HANDLE_NAME.to_string(),
            ty: FieldType::bigint().required().with_coercibility(Coercibility::Implicit),
            origin: None,
            bare: false,
            visible: false,
            source: Some((0, offset)),
        };
    };
    let public = column.state == SchemaState::Public;
    Named {
        database: database.to_string(),
        table: alias.to_string(),
        name: column.name.clone(),
        ty: column.ty.clone().with_coercibility(Coercibility::Implicit),
        origin: Some(Origin {
            database: database.to_string(),
            table: table.name.clone(),
            column: column.name.clone(),
            key_flags: key_flags(table, offset),
        }),
        bare: public,
        visible: public,
        source: Some((0, offset)),
    }
}

/// What column definitions tell of the keys a column is in.
fn key_flags(table: &Table, offset: usize) -> KeyFlags {
    let mut flags = KeyFlags { auto_increment: table.columns[offset].auto_increment, ..KeyFlags::default() };
    for index in table.indexes.iter().filter(|i| i.state == SchemaState::Public) {
        let position = index.columns.iter().position(|c| c.column == offset);
        match position {
            Some(_) if index.primary => flags.primary = true,
            Some(0) if index.unique && index.columns.len() == 1 => flags.unique = true,
            Some(0) => flags.multiple = true,
            _ => {}
        }
    }
    flags
}

fn hint(hint: &ast::IndexHint, table: &Table) -> Result<IndexHint> {
    // An index that nobody reads yet, or not in this transaction, is easily ignored.
    let is_found = |i: &&Index| hint.ignore || i.state == SchemaState::Public;
    let index = |name: &String| {
        let found = table.index(name).filter(is_found).cloned();
        found.ok_or_else(|| Error::no_such_key(name, &table.name))
    };
    Ok(IndexHint { ignore: hint.ignore, indexes: hint.indexes.iter().map(index).collect::<Result<_>>()? })
}

/// The hints that stand for the session's setting.
fn hints_of(use_indexes: UseIndexes, table: &Table) -> Vec<IndexHint> {
    let ignore = match use_indexes {
        UseIndexes::Auto => return Vec::new(),
        UseIndexes::Always => false,
        UseIndexes::Never => true,
    };
    let is_secondary = |index: &&Index| !index.primary && index.state == SchemaState::Public;
    let indexes: Vec<Index> = table.indexes.iter().filter(is_secondary).cloned().collect();
    if indexes.is_empty() { Vec::new() } else { vec![IndexHint { ignore, indexes }] }
}

fn made_up(database: &str, name: &str, alias: &str, columns: Vec<(&'static str, FieldType)>) -> Relation {
    let database = database.to_lowercase();
    let columns: Vec<Named> = columns
        .into_iter()
        .map(|(column, ty)| Named {
            database: database.clone(),
            table: alias.to_string(),
            name: column.to_string(),
            ty: ty.with_coercibility(Coercibility::Implicit),
            origin: None,
            bare: true,
            visible: true,
            source: None,
        })
        .collect();
    let output = columns.iter().map(Named::output).collect();
    let plan = LogicalPlan::Virtual(VirtualScan { database, table: name.to_lowercase(), output });
    Relation { plan, star: (0..columns.len()).collect(), columns, tables: Vec::new() }
}

/// A query's result under an alias, with column names of its own if there are any.
pub(super) fn renamed(plan: LogicalPlan, alias: &str, names: &[String]) -> Result<Relation> {
    let mut output = plan.output();
    if !names.is_empty() && names.len() != output.len() {
        return Err(Error::wrong_column_list());
    }
    for (i, column) in output.iter_mut().enumerate() {
        if let Some(name) = names.get(i) {
            column.name = name.clone();
        }
        column.table = alias.to_string();
    }
    for (i, column) in output.iter().enumerate() {
        if output[..i].iter().any(|c| c.name.eq_ignore_ascii_case(&column.name)) {
            return Err(Error::duplicate_column(&column.name));
        }
    }
    let columns: Vec<Named> = output.iter().map(|c| of_output(c, alias)).collect();
    let plan = LogicalPlan::Rename { input: Box::new(plan), output };
    Ok(Relation { plan, star: (0..columns.len()).collect(), columns, tables: Vec::new() })
}

/// A column of a query under an alias.
pub(super) fn of_output(column: &OutputColumn, alias: &str) -> Named {
    Named {
        database: String::new(),
        table: alias.to_string(),
        name: column.name.clone(),
        ty: column.ty.clone(),
        origin: column.origin.clone(),
        bare: true,
        visible: true,
        source: None,
    }
}

fn check_aliases(left: &Relation, right: &Relation) -> Result<()> {
    for column in &right.columns {
        let same = |c: &Named| {
            c.table.eq_ignore_ascii_case(&column.table) && c.database.eq_ignore_ascii_case(&column.database)
        };
        if left.columns.iter().any(same) {
            return Err(Error::duplicate_alias(&column.table));
        }
    }
    Ok(())
}

/// All pairs, left ++ right.
fn combine(left: Relation, right: Relation, kind: JoinKind) -> Relation {
    let (width, tables) = (left.columns.len(), left.tables.len());
    let mut relation = Relation {
        plan: LogicalPlan::Join { left: Box::new(left.plan), right: Box::new(right.plan), kind, condition: None },
        columns: left.columns,
        star: left.star,
        tables: left.tables,
    };
    relation.columns.extend(right.columns.into_iter().map(|mut c| {
        c.source = c.source.map(|(table, offset)| (table + tables, offset));
        c
    }));
    relation.star.extend(right.star.into_iter().map(|i| i + width));
    relation.tables.extend(right.tables.into_iter().map(|t| TableInSight { first: t.first + width, ..t }));
    // An outer join's missing rows are NULL.
    for (i, column) in relation.columns.iter_mut().enumerate() {
        let missing = match kind {
            JoinKind::Left => i >= width,
            JoinKind::Right => i < width,
            _ => false,
        };
        if missing {
            column.ty.not_null = false;
            column.source = None;
        }
    }
    relation
}

/// USING and NATURAL: the common columns come once, first, and the bare name finds the side that has all rows.
fn join_using(left: Relation, right: Relation, kind: JoinKind, names: &[String]) -> Result<Relation> {
    let width = left.columns.len();
    let mut conditions = Vec::new();
    let mut kept = Vec::new();
    let mut dropped = Vec::new();
    for name in names {
        let column = ColumnName { database: None, table: None, name: name.clone() };
        let missing = || Error::unknown_column(name, "from clause");
        let l = find(&left.columns, &column, Clause::On)?.ok_or_else(missing)?;
        let r = find(&right.columns, &column, Clause::On)?.ok_or_else(missing)?;
        let sides =
            vec![Expr::column(l, left.columns[l].ty.clone()), Expr::column(width + r, right.columns[r].ty.clone())];
        conditions.push(Expr::call(Func::Eq, sides)?);
        let (keep, drop) = if kind == JoinKind::Right { (width + r, l) } else { (l, width + r) };
        kept.push(keep);
        dropped.push(drop);
    }
    let mut relation = combine(left, right, kind);
    if let LogicalPlan::Join { condition, .. } = &mut relation.plan
        && !conditions.is_empty()
    {
        *condition = Some(join(Func::And, conditions)?);
    }
    for &index in &dropped {
        relation.columns[index].bare = false;
    }
    let mut rest: Vec<usize> =
        relation.star.iter().copied().filter(|i| !kept.contains(i) && !dropped.contains(i)).collect();
    if kind == JoinKind::Right {
        // To MySQL it is a left join written the other way round.
        rest.sort_by_key(|&i| i < width);
    }
    relation.star = kept.iter().copied().chain(rest).collect();
    Ok(relation)
}
