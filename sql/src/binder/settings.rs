//! Session variables that change what a statement means: `div_precision_increment`, `default_week_format`, `sql_select_limit`.

use basalt_expr::decimal::DIVISION_SCALE;
use basalt_expr::expr::Expr;
use basalt_expr::func::Func;
use basalt_expr::types::{DECIMAL_PRECISION_MAX, DECIMAL_SCALE_MAX, EvalType, FieldType};

/// Their values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// `div_precision_increment`: digits that a quotient of exact numbers has more than what is divided.
    pub division_digits: u8,
    /// `default_week_format`: the mode of WEEK() with one argument.
    pub week_format: u8,
    /// `sql_select_limit`: rows of a SELECT without LIMIT, unless it is the highest number.
    pub select_limit: Option<u64>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { division_digits: DIVISION_SCALE, week_format: 0, select_limit: None }
    }
}

impl Settings {
    /// A number for a key of plans: the same for the same settings only.
    pub fn fingerprint(&self) -> u64 {
        let limit = self.select_limit.unwrap_or(u64::MAX).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        limit.rotate_left(16) ^ u64::from(self.division_digits) << 8 ^ u64::from(self.week_format)
    }

    /// The type of a quotient, or of an average, as these settings want it.
    pub(super) fn quotient(&self, ty: FieldType) -> FieldType {
        if self.division_digits == DIVISION_SCALE || ty.eval_type() != EvalType::Decimal {
            return ty;
        }
        let scale = ty.decimals.saturating_sub(DIVISION_SCALE) + self.division_digits;
        let scale = scale.min(DECIMAL_SCALE_MAX);
        let length = ty.length.saturating_sub(u32::from(ty.decimals)) + u32::from(scale);
        FieldType { length: length.min(DECIMAL_PRECISION_MAX), decimals: scale, ..ty }
    }

    /// A division with the digits that it is to have.
    pub(super) fn divided(&self, expr: Expr) -> Expr {
        match expr {
            Expr::Call { func: Func::Div, args, ty } => {
                let ty = self.quotient(ty);
                Expr::Call { func: Func::Div, args, ty }
            }
            other => other,
        }
    }

    /// The arguments of a function with those that a variable stands for.
    pub(super) fn arguments(&self, func: Func, mut args: Vec<Expr>) -> Vec<Expr> {
        if func == Func::Week && args.len() == 1 && self.week_format != 0 {
            args.push(Expr::int(i64::from(self.week_format)));
        }
        args
    }
}
