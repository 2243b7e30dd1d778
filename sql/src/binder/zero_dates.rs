//! `column IS NULL` in WHERE where a stored DATE or DATETIME is declared NOT NULL: it finds `0000-00-00` as well. Clients
//! that know no such date, ODBC's, show it as NULL and ask for it so ("Date and Time Functions" of MySQL's manual, `IS NULL`
//! under "Comparison Functions and Operators").

use super::scope::{Named, TableInSight};
use basalt_expr::expr::Expr;
use basalt_expr::func::Func;
use basalt_expr::temporal::DateTime;
use basalt_expr::types::{FieldType, TypeKind};
use basalt_expr::value::Value;

/// The predicate of WHERE with `OR column = 0` beside each such `IS NULL` that it demands: of the columns of `tables` as they
/// stand in FROM, not of those that a derived table made of them.
pub(super) fn found_by_null(predicate: Expr, columns: &[Named], tables: &[TableInSight]) -> Expr {
    match predicate {
        Expr::Call { func: Func::And, args, ty } => {
            let args = args.into_iter().map(|conjunct| found_by_null(conjunct, columns, tables)).collect();
            Expr::Call { func: Func::And, args, ty }
        }
        conjunct => match asked_for_null(&conjunct).filter(|index| is_zero_for_null(columns.get(*index), tables)) {
            Some(index) => with_zero(conjunct, Expr::column(index, columns[index].ty.clone())),
            None => conjunct,
        },
    }
}

/// The column of `column IS NULL` and of `NOT (column IS NOT NULL)`.
fn asked_for_null(conjunct: &Expr) -> Option<usize> {
    let column = |func: Func, expr: &Expr| match expr {
        Expr::Call { func: found, args, .. } if *found == func => match &args[..] {
            [Expr::Column { index, .. }] => Some(*index),
            _ => None,
        },
        _ => None,
    };
    match conjunct {
        Expr::Call { func: Func::Not, args, .. } => column(Func::IsNotNull, args.first()?),
        other => column(Func::IsNull, other),
    }
}

/// Behind an outer join the column may be NULL: what counts is how it is stored.
fn is_zero_for_null(column: Option<&Named>, tables: &[TableInSight]) -> bool {
    let stored = column.and_then(|column| {
        let is_its = |t: &&TableInSight| t.database == column.database && t.alias.eq_ignore_ascii_case(&column.table);
        tables.iter().find(is_its)?.table.columns.iter().find(|stored| stored.name == column.name)
    });
    stored.is_some_and(|column| column.ty.not_null && matches!(column.ty.kind, TypeKind::Date | TypeKind::DateTime))
}

fn with_zero(is_null: Expr, column: Expr) -> Expr {
    let (not_null, ty) = (column.ty().not_null, is_null.ty().clone());
    let zero = Expr::Literal(Value::DateTime(DateTime::ZERO), column.ty().clone().required());
    let truth = FieldType { not_null, ..ty.clone() };
    let is_zero = Expr::Call { func: Func::Eq, args: vec![column, zero], ty: truth };
    Expr::Call { func: Func::Or, args: vec![is_null, is_zero], ty: FieldType { not_null, ..ty } }
}
