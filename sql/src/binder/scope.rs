//! Names in sight, and what a block has collected while its expressions were bound.

use super::pending;
use crate::catalog::model::Table;
use crate::error::{Error, Result};
use crate::parser::ast::{ColumnName, WindowSpec};
use crate::plan::{AggregateCall, LogicalPlan, Origin, OutputColumn, Subquery, WindowCall, outer_column};
use basalt_expr::expr::Expr;
use basalt_expr::types::FieldType;
use std::rc::Rc;
use std::sync::Arc;

/// A column that can be named.
#[derive(Debug, Clone)]
pub(super) struct Named {
    /// Database of the table; empty for derived tables.
    pub database: String,
    /// The table's alias.
    pub table: String,
    /// The column.
    pub name: String,
    /// Its type.
    pub ty: FieldType,
    /// The stored column behind it.
    pub origin: Option<Origin>,
    /// Whether the bare name finds it: not the copies that USING merges, nor columns that only DML reads.
    pub bare: bool,
    /// Whether any name finds it.
    pub visible: bool,
    /// Which table of the relation, and which offset in it.
    pub source: Option<(usize, usize)>,
}

impl Named {
    pub fn output(&self) -> OutputColumn {
        OutputColumn {
            name: self.name.clone(),
            table: self.table.clone(),
            origin: self.origin.clone(),
            ty: self.ty.clone(),
        }
    }
}

/// A plan whose columns have names.
pub(super) struct Relation {
    pub plan: LogicalPlan,
    /// One a column of the plan.
    pub columns: Vec<Named>,
    /// What `*` stands for, in order.
    pub star: Vec<usize>,
    /// Stored tables that [`Named::source`] refers to.
    pub tables: Vec<TableInSight>,
}

/// A stored table of a FROM.
#[derive(Clone)]
pub(super) struct TableInSight {
    pub table: Arc<Table>,
    pub database: String,
    pub alias: String,
    /// Offset of its first column in the relation.
    pub first: usize,
}

/// An enclosing block, as a subquery sees it.
pub(super) struct Frame {
    pub columns: Rc<[Named]>,
    /// Names that its select list has given so far.
    pub aliases: Rc<Vec<(String, Expr)>>,
    /// Whether the subquery (or one within) refers to it, or beyond it.
    pub correlated: bool,
}

fn named<'e>(aliases: &'e [(String, Expr)], name: &str) -> Option<&'e Expr> {
    aliases.iter().find(|(alias, _)| alias.eq_ignore_ascii_case(name)).map(|(_, expr)| expr)
}

impl Frame {
    /// What an alias stands for, calculated from the block's columns alone.
    ///
    /// # Errors
    /// 1247, 3594 for what is not there yet where the subquery is evaluated.
    fn alias(&self, name: &ColumnName) -> Result<Option<&Expr>> {
        let Some(expr) = named(&self.aliases, &name.name).filter(|_| name.table.is_none()) else { return Ok(None) };
        for index in expr.columns() {
            if pending::as_aggregate(index).is_some() {
                return Err(Error::bad_reference(&name.name, "reference to group function"));
            }
            if pending::as_window(index).is_some() {
                return Err(Error::window_alias(&name.name));
            }
            if index >= self.columns.len() {
                return Err(Error::unsupported("the name of a subquery of the select list within another subquery"));
            }
        }
        Ok(Some(expr))
    }
}

/// Where an expression stands, for error texts and for what may be named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clause {
    Fields,
    Where,
    On,
    GroupBy,
    Having,
    OrderBy,
    WindowPartition,
    WindowOrder,
}

impl Clause {
    pub fn text(self) -> &'static str {
        match self {
            Clause::Fields => "field list",
            Clause::Where => "where clause",
            Clause::On => "on clause",
            Clause::GroupBy => "group statement",
            Clause::Having => "having clause",
            Clause::OrderBy => "order clause",
            Clause::WindowPartition => "window partition by",
            Clause::WindowOrder => "window order by",
        }
    }
}

/// A query block while its expressions are bound.
pub(super) struct Block {
    pub columns: Rc<[Named]>,
    pub clause: Clause,
    /// Names and expressions of the select list; the frames of its subqueries share them.
    pub aliases: Rc<Vec<(String, Expr)>>,
    pub named_windows: Vec<(String, WindowSpec)>,
    pub aggregates: Vec<AggregateCall>,
    pub windows: Vec<WindowCall>,
    pub subqueries: Vec<Subquery>,
    /// Arguments of GROUPING().
    pub groupings: Vec<Vec<Expr>>,
    /// Within the arguments of an aggregate: no other aggregate may stand there.
    pub in_aggregate: bool,
    /// Within an item of ORDER BY that is more than a name.
    pub in_order_expr: bool,
    /// Columns that HAVING may name; `None` before they are known.
    pub in_having: Option<Vec<usize>>,
    /// Columns that GROUP BY names.
    pub grouped: Vec<usize>,
    /// Within the clauses of the window of this name: no other window may stand there.
    pub in_window: Option<String>,
    /// Within the arguments of a window function.
    pub in_window_args: bool,
    /// The columns' second half is the row to be inserted: what VALUES() refers to.
    pub inserted_from: Option<usize>,
}

impl Block {
    pub fn new(columns: Vec<Named>) -> Self {
        Block {
            columns: columns.into(),
            clause: Clause::Fields,
            aliases: Rc::default(),
            named_windows: Vec::new(),
            aggregates: Vec::new(),
            windows: Vec::new(),
            subqueries: Vec::new(),
            groupings: Vec::new(),
            in_aggregate: false,
            in_order_expr: false,
            in_having: None,
            grouped: Vec::new(),
            in_window: None,
            in_window_args: false,
            inserted_from: None,
        }
    }

    /// Fails when aggregates or windows were met where none may be.
    pub fn refuse_groups(&self) -> Result<()> {
        if !self.aggregates.is_empty() {
            return Err(Error::invalid_group_function());
        }
        match self.windows.first() {
            Some(call) => Err(Error::misplaced_window(call.func.name())),
            None => Ok(()),
        }
    }

    /// Fails when anything but plain expressions was met.
    pub fn refuse_pending(&self) -> Result<()> {
        self.refuse_groups()?;
        if self.subqueries.is_empty() { Ok(()) } else { Err(Error::unsupported("subqueries in this place")) }
    }

    pub fn add_subquery(&mut self, subquery: Subquery) -> Expr {
        let ty = subquery.output.ty.clone().calculated();
        self.subqueries.push(subquery);
        Expr::Column { index: pending::subquery(self.subqueries.len() - 1), ty }
    }

    pub fn add_aggregate(&mut self, call: AggregateCall) -> Expr {
        let ty = call.ty.clone().calculated();
        self.aggregates.push(call);
        Expr::Column { index: pending::aggregate(self.aggregates.len() - 1), ty }
    }

    pub fn add_window(&mut self, call: WindowCall) -> Expr {
        let ty = call.ty.clone().calculated();
        self.windows.push(call);
        Expr::Column { index: pending::window(self.windows.len() - 1), ty }
    }

    fn alias(&self, name: &str) -> Option<&Expr> {
        named(&self.aliases, name)
    }
}

/// Finds a column by name; `Ok(None)` when there is none.
pub(super) fn find(columns: &[Named], name: &ColumnName, clause: Clause) -> Result<Option<usize>> {
    let mut found = None;
    for (i, column) in columns.iter().enumerate() {
        if !column.visible || !column.name.eq_ignore_ascii_case(&name.name) || !qualifies(column, name) {
            continue;
        }
        if found.is_some() {
            return Err(Error::ambiguous_column(name, clause.text()));
        }
        found = Some(i);
    }
    Ok(found)
}

fn qualifies(column: &Named, name: &ColumnName) -> bool {
    match (&name.table, &name.database) {
        (None, _) => column.bare,
        (Some(table), database) => {
            column.table.eq_ignore_ascii_case(table)
                && database.as_ref().is_none_or(|d| column.database.eq_ignore_ascii_case(d))
        }
    }
}

impl super::Binder<'_> {
    /// A column of GROUP BY that HAVING names: it goes before an alias that is something else.
    fn grouped_column(&self, name: &ColumnName, block: &Block) -> Option<Expr> {
        if block.clause != Clause::Having {
            return None;
        }
        let index = find(&block.columns, name, block.clause).ok()??;
        if !block.grouped.contains(&index) {
            return None;
        }
        self.warn_of_alias(name, index, block);
        Some(Expr::Column { index, ty: block.columns[index].ty.clone() })
    }

    /// Says that a name is taken for a column's that the select list gives to something else.
    fn warn_of_alias(&self, name: &ColumnName, index: usize, block: &Block) {
        let is_other = |expr: &Expr| !matches!(expr, Expr::Column { index: column, .. } if *column == index);
        if block.alias(&name.name).is_some_and(is_other) {
            let place = if block.clause == Clause::GroupBy { "group statement" } else { block.clause.text() };
            let error = Error::ambiguous_column(&name.name, place);
            self.ctx.warnings.push(error.code(), error.to_string());
        }
    }

    /// Resolves a column's name as MySQL does in the block's clause.
    pub(super) fn column(&mut self, name: &ColumnName, block: &Block) -> Result<Expr> {
        let bare = name.table.is_none();
        // HAVING and an item of ORDER BY see the select list first; GROUP BY and expressions of ORDER BY the tables.
        let sees_list = bare && !block.in_aggregate;
        let (list_first, list_last) = match block.clause {
            Clause::Having => (sees_list, false),
            Clause::OrderBy => (sees_list && !block.in_order_expr, sees_list && block.in_order_expr),
            Clause::GroupBy => (false, bare),
            _ => (false, false),
        };
        if list_first && let Some(grouped) = self.grouped_column(name, block) {
            return Ok(grouped);
        }
        if let Some(expr) = block.alias(&name.name).filter(|_| list_first) {
            return Ok(expr.clone());
        }
        let having = block.in_having.as_ref().filter(|_| block.clause == Clause::Having && !block.in_aggregate);
        if let Some(index) = find(&block.columns, name, block.clause)?
            && having.is_none_or(|seen| seen.contains(&index))
        {
            if bare && block.clause == Clause::GroupBy {
                self.warn_of_alias(name, index, block);
            }
            return Ok(Expr::Column { index, ty: block.columns[index].ty.clone() });
        }
        if let Some(expr) = block.alias(&name.name).filter(|_| list_last) {
            return Ok(expr.clone());
        }
        for depth in 0..self.frames.len() {
            let at = self.frames.len() - 1 - depth;
            let columns = self.frames[at].columns.clone();
            if let Some(index) = find(&columns, name, block.clause)? {
                self.frames[at..].iter_mut().for_each(|f| f.correlated = true);
                let depth = u8::try_from(depth).map_err(|_| Error::too_deep())?;
                return Ok(Expr::Column { index: outer_column(depth, index), ty: columns[index].ty.clone() });
            }
            if let Some(expr) = self.frames[at].alias(name)?.cloned() {
                self.frames[at..].iter_mut().for_each(|f| f.correlated = true);
                let depth = u8::try_from(depth).map_err(|_| Error::too_deep())?;
                return Ok(expr.map_columns(&|index| outer_column(depth, index)));
            }
        }
        Err(Error::unknown_column(name, block.clause.text()))
    }
}
