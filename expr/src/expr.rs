//! The typed expression tree: what the binder makes, what runs here, in DataFusion and in the coprocessor.
//!
//! Every node knows its MySQL type. Conversions are nodes ([`Func::Cast`]): [`crate::func::infer`] puts them in, so that a
//! kernel never guesses. Predicates are values too: an integer 0 or 1, or NULL.
//!
//! Not here: subqueries, references to outer rows, aggregates and windows. The SQL crate replaces them by columns of the
//! rows it feeds in.

use crate::error::{EvalError, ExprError};
use crate::func::{self, Func};
use crate::types::FieldType;
use crate::value::Value;
use crate::value_set::ValueSet;
use basalt_common::stack::levels_max;
use std::sync::Arc;

/// A typed expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// A column of the input, by position.
    Column {
        /// Position in the batch.
        index: usize,
        /// Its type.
        ty: FieldType,
    },
    /// A constant.
    Literal(Value, FieldType),
    /// A value given at execution ([`crate::EvalContext::parameters`]).
    Parameter {
        /// Position among the parameters, from 0.
        index: usize,
        /// The type the plan was made for.
        ty: FieldType,
    },
    /// A function or operator.
    Call {
        /// Which.
        func: Func,
        /// Arguments, already of the types that the function takes.
        args: Vec<Expr>,
        /// Type of the result.
        ty: FieldType,
    },
    /// CASE, IF: the first branch whose condition is true.
    Case {
        /// Conditions and results; results are of type `ty`.
        branches: Vec<(Expr, Expr)>,
        /// ELSE; NULL when there is none.
        otherwise: Option<Box<Expr>>,
        /// Type of the result.
        ty: FieldType,
    },
    /// `expr [NOT] IN (list)`; both sides are of one type.
    InList {
        /// What is looked for.
        expr: Box<Expr>,
        /// Where.
        list: Vec<Expr>,
        /// NOT IN.
        negated: bool,
        /// Type of the result.
        ty: FieldType,
    },
    /// `expr [NOT] IN (many constants)`.
    InSet {
        /// What is looked for.
        expr: Box<Expr>,
        /// Where.
        set: Arc<ValueSet>,
        /// NOT IN.
        negated: bool,
        /// Type of the result.
        ty: FieldType,
    },
}

impl Expr {
    /// A column.
    pub fn column(index: usize, ty: FieldType) -> Expr {
        Expr::Column { index, ty }
    }
    /// An integer constant.
    pub fn int(value: i64) -> Expr {
        Expr::Literal(Value::Int(value), FieldType::bigint().required())
    }
    /// NULL.
    pub fn null() -> Expr {
        Expr::Literal(Value::Null, FieldType::null())
    }
    /// A constant with the type that a literal of this value has.
    pub fn literal(value: Value) -> Expr {
        let ty = func::literal_type(&value);
        Expr::Literal(value, ty)
    }
    /// A string constant in the default collation.
    pub fn string(text: &str) -> Expr {
        Expr::literal(Value::from(text))
    }
    /// The call of a function found by [`Func::by_name`] or named outright, with implicit casts put in.
    ///
    /// # Errors
    /// [`ExprError`] when the arguments do not suit the function.
    pub fn call(func: Func, args: Vec<Expr>) -> Result<Expr, ExprError> {
        func::infer(func, args)
    }
    /// The expression converted to `ty`, itself when it is of that type already.
    pub fn cast(self, ty: FieldType) -> Expr {
        func::cast(self, ty)
    }

    /// Its type.
    pub fn ty(&self) -> &FieldType {
        match self {
            Expr::Column { ty, .. }
            | Expr::Literal(_, ty)
            | Expr::Parameter { ty, .. }
            | Expr::Call { ty, .. }
            | Expr::Case { ty, .. }
            | Expr::InList { ty, .. }
            | Expr::InSet { ty, .. } => ty,
        }
    }
    /// True when it reads no column.
    pub fn is_constant(&self) -> bool {
        let mut constant = true;
        self.visit(&mut |e| match e {
            Expr::Column { .. } => constant = false,
            Expr::Call { func, .. } => constant &= func.volatility() != func::Volatility::Volatile,
            _ => {}
        });
        constant
    }
    /// True when it is the same in every execution: no columns, parameters, clock or session.
    pub fn is_immutable(&self) -> bool {
        let mut immutable = true;
        self.visit(&mut |e| match e {
            Expr::Column { .. } | Expr::Parameter { .. } => immutable = false,
            Expr::Call { func, .. } => immutable &= func.volatility() == func::Volatility::Immutable,
            _ => {}
        });
        immutable
    }
    /// Positions of the columns it reads, ascending, each once.
    pub fn columns(&self) -> Vec<usize> {
        let mut found = Vec::new();
        self.visit(&mut |e| {
            if let Expr::Column { index, .. } = e {
                found.push(*index);
            }
        });
        found.sort_unstable();
        found.dedup();
        found
    }
    /// The conjuncts of a predicate: `a AND b AND c` gives three.
    pub fn conjuncts(self) -> Vec<Expr> {
        match self {
            Expr::Call { func: Func::And, args, .. } => args.into_iter().flat_map(Expr::conjuncts).collect(),
            other => vec![other],
        }
    }

    /// The direct parts.
    pub fn children(&self) -> Vec<&Expr> {
        match self {
            Expr::Column { .. } | Expr::Literal(..) | Expr::Parameter { .. } => Vec::new(),
            Expr::Call { args, .. } => args.iter().collect(),
            Expr::Case { branches, otherwise, .. } => {
                branches.iter().flat_map(|(c, r)| [c, r]).chain(otherwise.as_deref()).collect()
            }
            Expr::InList { expr, list, .. } => std::iter::once(&**expr).chain(list).collect(),
            Expr::InSet { expr, .. } => vec![&**expr],
        }
    }
    /// Calls `f` for every node, parents first.
    pub fn visit(&self, f: &mut dyn FnMut(&Expr)) {
        f(self);
        for child in self.children() {
            child.visit(f);
        }
    }
    /// Rebuilds the tree from the leaves: `f` gets every node with its parts already rebuilt.
    ///
    /// # Errors
    /// The first error of `f`.
    pub fn transform<E>(self, f: &mut dyn FnMut(Expr) -> Result<Expr, E>) -> Result<Expr, E> {
        let rebuilt = match self {
            leaf @ (Expr::Column { .. } | Expr::Literal(..) | Expr::Parameter { .. }) => leaf,
            Expr::Call { func, args, ty } => {
                let args = args.into_iter().map(|a| a.transform(f)).collect::<Result<_, E>>()?;
                Expr::Call { func, args, ty }
            }
            Expr::Case { branches, otherwise, ty } => Expr::Case {
                branches: branches
                    .into_iter()
                    .map(|(c, r)| Ok((c.transform(f)?, r.transform(f)?)))
                    .collect::<Result<_, E>>()?,
                otherwise: otherwise.map(|e| e.transform(f).map(Box::new)).transpose()?,
                ty,
            },
            Expr::InList { expr, list, negated, ty } => Expr::InList {
                expr: Box::new(expr.transform(f)?),
                list: list.into_iter().map(|e| e.transform(f)).collect::<Result<_, E>>()?,
                negated,
                ty,
            },
            Expr::InSet { expr, set, negated, ty } => {
                Expr::InSet { expr: Box::new(expr.transform(f)?), set, negated, ty }
            }
        };
        f(rebuilt)
    }
    /// The expression with its columns renumbered.
    pub fn map_columns(self, of: &dyn Fn(usize) -> usize) -> Expr {
        let mapped = self.transform::<std::convert::Infallible>(&mut |e| {
            Ok(match e {
                Expr::Column { index, ty } => Expr::Column { index: of(index), ty },
                other => other,
            })
        });
        match mapped {
            Ok(expr) => expr,
        }
    }
    /// Replaces immutable parts by their values. A part that fails stays as it is and fails when it runs.
    pub fn fold(self, ctx: &crate::EvalContext) -> Expr {
        let folded = self.transform::<std::convert::Infallible>(&mut |e| {
            if matches!(e, Expr::Literal(..)) || !e.is_immutable() {
                return Ok(e);
            }
            // Warnings of a folded part would be lost or come once instead of per execution: keep such parts.
            let quiet = crate::EvalContext { warnings: Default::default(), ..ctx.clone() };
            Ok(match crate::eval_scalar(&e, &quiet) {
                Ok(value) if quiet.warnings.count() == 0 => Expr::Literal(value, e.ty().clone()),
                _ => e,
            })
        });
        match folded {
            Ok(expr) => expr,
        }
    }
    /// Depth of the tree.
    pub fn depth(&self) -> usize {
        1 + self.children().into_iter().map(Expr::depth).max().unwrap_or(0)
    }
}

/// Fails for a tree that is too deep to run.
///
/// # Errors
/// [`EvalError::Unsupported`] beyond [`levels_max`].
pub fn check_depth(expr: &Expr) -> Result<(), EvalError> {
    match expr.depth() > levels_max() {
        true => Err(EvalError::Unsupported(format!("expressions deeper than {}", levels_max()))),
        false => Ok(()),
    }
}
