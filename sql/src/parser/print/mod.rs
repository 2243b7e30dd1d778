//! Trees of queries and of statements that change rows, back to text.
//!
//! Every name is quoted and every operand that is not a single token stands in parentheses, so that the text means the same
//! under any precedence: `parse(print(x)) = x`, but for the texts of select items. The tests of this module hold that over
//! every statement of the repository. Nothing in the product prints yet, so this is compiled for tests only.

mod query;

use super::ast::{
    AggregateCall, BinaryOp, Bound, ColumnName, DataType, Expr, IsWhat, Literal, ObjectName, TemporalKind, TrimSide,
    UnaryOp, VariableScope, WindowSpec,
};
use super::is_reserved;
use super::statement::Statement;

/// The text of a statement; `None` for kinds that are not printed. Bytes, as strings need not be UTF-8.
pub fn print(statement: &Statement) -> Option<Vec<u8>> {
    let mut printer = Printer { out: Vec::new() };
    match statement {
        Statement::Query(query) => printer.query(query),
        Statement::Insert(insert) => printer.insert(insert),
        Statement::Update(update) => printer.update(update),
        Statement::Delete(delete) => printer.delete(delete),
        Statement::Do(exprs) => {
            printer.text("DO ");
            printer.exprs(exprs);
        }
        _ => return None,
    }
    Some(printer.out)
}

struct Printer {
    out: Vec<u8>,
}

impl Printer {
    fn text(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    fn list<T>(&mut self, items: &[T], mut item: impl FnMut(&mut Self, &T)) {
        for (i, one) in items.iter().enumerate() {
            if i > 0 {
                self.text(", ");
            }
            item(self, one);
        }
    }

    fn exprs(&mut self, exprs: &[Expr]) {
        self.list(exprs, |p, e| p.expr(e));
    }

    fn name(&mut self, name: &str) {
        self.text("`");
        self.text(&name.replace('`', "``"));
        self.text("`");
    }

    fn names(&mut self, names: &[String]) {
        self.text("(");
        self.list(names, |p, n| p.name(n));
        self.text(")");
    }

    fn qualified(&mut self, parts: [Option<&String>; 3]) {
        for (i, part) in parts.into_iter().flatten().enumerate() {
            if i > 0 {
                self.text(".");
            }
            self.name(part);
        }
    }

    fn column(&mut self, c: &ColumnName) {
        self.qualified([c.database.as_ref(), c.table.as_ref(), Some(&c.name)]);
    }

    fn object(&mut self, o: &ObjectName) {
        self.qualified([o.database.as_ref(), Some(&o.name), None]);
    }

    fn string(&mut self, bytes: &[u8]) {
        self.text("'");
        for &byte in bytes {
            match byte {
                b'\'' => self.text("''"),
                b'\\' => self.text("\\\\"),
                byte => self.out.push(byte),
            }
        }
        self.text("'");
    }

    // ---- expressions ----

    /// An expression that may stand beside an operator.
    fn operand(&mut self, expr: &Expr) {
        let alone = match expr {
            Expr::Literal(Literal::Decimal(digits)) => !digits.starts_with('-'),
            Expr::Literal(_)
            | Expr::Parameter(_)
            | Expr::Column(_)
            | Expr::UserVariable(_)
            | Expr::SystemVariable { .. }
            | Expr::Subquery(_)
            | Expr::Function { .. }
            | Expr::Row(_) => true,
            _ => false,
        };
        if alone {
            return self.expr(expr);
        }
        self.text("(");
        self.expr(expr);
        self.text(")");
    }

    fn expr(&mut self, expr: &Expr) {
        match expr {
            Expr::Literal(literal) => self.literal(literal),
            Expr::Parameter(_) => self.text("?"),
            Expr::Column(column) => self.column(column),
            Expr::SystemVariable { scope, name } => self.system_variable(*scope, name),
            Expr::UserVariable(name) => {
                self.text("@");
                self.name(name);
            }
            Expr::AssignVariable(name, value) => {
                self.text("@");
                self.name(name);
                self.text(" := ");
                self.operand(value);
            }
            Expr::Unary(op, operand) => {
                self.text(match op {
                    UnaryOp::Minus => "- ",
                    UnaryOp::Plus => "+ ",
                    UnaryOp::Not => "NOT ",
                    UnaryOp::BitNot => "~",
                });
                self.operand(operand);
            }
            Expr::Binary(op, left, right) => self.between(left, operator(*op), right),
            Expr::Subquery(query) => self.subquery(query),
            Expr::Exists(query) => {
                self.text("EXISTS ");
                self.subquery(query);
            }
            Expr::Row(items) => self.call("ROW", items),
            Expr::Collate(operand, name) => {
                self.operand(operand);
                self.text(" COLLATE ");
                self.name(name);
            }
            Expr::Default => self.text("DEFAULT"),
            Expr::DefaultOf(column) | Expr::Values(column) => {
                self.text(if matches!(expr, Expr::Values(_)) { "VALUES(" } else { "DEFAULT(" });
                self.column(column);
                self.text(")");
            }
            Expr::Is { .. }
            | Expr::Between { .. }
            | Expr::InList { .. }
            | Expr::InSubquery { .. }
            | Expr::Like { .. }
            | Expr::Regexp { .. }
            | Expr::Quantified { .. } => self.predicate(expr),
            _ => self.call_like(expr),
        }
    }

    fn between(&mut self, left: &Expr, what: &str, right: &Expr) {
        self.operand(left);
        self.text(" ");
        self.text(what);
        self.text(" ");
        self.operand(right);
    }

    fn predicate(&mut self, expr: &Expr) {
        let not = |negated: bool| if negated { " NOT" } else { "" };
        match expr {
            Expr::Is { expr, what, negated } => {
                self.operand(expr);
                self.text(" IS");
                self.text(not(*negated));
                self.text(match what {
                    IsWhat::Null => " NULL",
                    IsWhat::True => " TRUE",
                    IsWhat::False => " FALSE",
                });
            }
            Expr::Between { expr, low, high, negated } => {
                self.operand(expr);
                self.text(not(*negated));
                self.text(" BETWEEN ");
                self.between(low, "AND", high);
            }
            Expr::InList { expr, list, negated } => {
                self.operand(expr);
                self.text(not(*negated));
                self.call(" IN ", list);
            }
            Expr::InSubquery { expr, query, negated } => {
                self.operand(expr);
                self.text(not(*negated));
                self.text(" IN ");
                self.subquery(query);
            }
            Expr::Like { expr, pattern, escape, negated } => {
                self.between(expr, if *negated { "NOT LIKE" } else { "LIKE" }, pattern);
                if let Some(escape) = escape {
                    self.text(" ESCAPE ");
                    self.operand(escape);
                }
            }
            Expr::Regexp { expr, pattern, negated } => {
                self.between(expr, if *negated { "NOT REGEXP" } else { "REGEXP" }, pattern);
            }
            Expr::Quantified { expr, op, all, query } => {
                self.operand(expr);
                self.text(" ");
                self.text(operator(*op));
                self.text(if *all { " ALL " } else { " ANY " });
                self.subquery(query);
            }
            _ => {}
        }
    }

    fn call(&mut self, name: &str, args: &[Expr]) {
        self.text(name);
        self.text("(");
        self.exprs(args);
        self.text(")");
    }

    fn call_like(&mut self, expr: &Expr) {
        match expr {
            Expr::Case { operand, branches, otherwise } => {
                self.text("CASE");
                if let Some(operand) = operand {
                    self.text(" ");
                    self.operand(operand);
                }
                for (when, then) in branches {
                    self.text(" WHEN ");
                    self.between(when, "THEN", then);
                }
                if let Some(otherwise) = otherwise {
                    self.text(" ELSE ");
                    self.operand(otherwise);
                }
                self.text(" END");
            }
            Expr::Cast(operand, ty) => {
                self.text("CAST(");
                self.expr(operand);
                self.text(" AS ");
                self.cast_type(ty);
                self.text(")");
            }
            Expr::ConvertUsing(operand, charset) => {
                self.text("CONVERT(");
                self.expr(operand);
                self.text(" USING ");
                self.name(charset);
                self.text(")");
            }
            Expr::Function { name, args } => {
                self.function_name(name);
                self.call("", args);
            }
            Expr::Aggregate(call) => self.aggregate(call),
            Expr::DateArithmetic { date, value, unit, subtract } => {
                self.text(if *subtract { "DATE_SUB(" } else { "DATE_ADD(" });
                self.expr(date);
                self.text(", INTERVAL ");
                self.operand(value);
                self.text(&format!(" {unit})"));
            }
            Expr::UnitFunction { name, unit, args } => {
                self.text(&format!("{name}({unit}"));
                self.text(if name == "extract" { " FROM " } else { ", " });
                self.exprs(args);
                self.text(")");
            }
            Expr::Trim { side, what, expr } => {
                self.text(match side {
                    TrimSide::Both => "TRIM(BOTH ",
                    TrimSide::Leading => "TRIM(LEADING ",
                    TrimSide::Trailing => "TRIM(TRAILING ",
                });
                if let Some(what) = what {
                    self.operand(what);
                    self.text(" ");
                }
                self.text("FROM ");
                self.expr(expr);
                self.text(")");
            }
            _ => {}
        }
    }

    fn literal(&mut self, literal: &Literal) {
        match literal {
            Literal::Null => self.text("NULL"),
            Literal::Bool(on) => self.text(if *on { "TRUE" } else { "FALSE" }),
            Literal::Integer(v) => self.text(&v.to_string()),
            Literal::Decimal(digits) | Literal::Float(digits) => self.text(digits),
            Literal::String { bytes, charset } => {
                if let Some(charset) = charset {
                    self.text(&format!("_{charset}"));
                }
                self.string(bytes);
            }
            Literal::Hex(bytes) => {
                let digits: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
                self.text(&format!("x'{digits}'"));
            }
            Literal::Bit(bytes) => {
                let digits: String = bytes.iter().map(|b| format!("{b:08b}")).collect();
                self.text(&format!("b'{digits}'"));
            }
            Literal::Temporal(kind, text) => {
                self.text(match kind {
                    TemporalKind::Date => "DATE",
                    TemporalKind::Time => "TIME",
                    TemporalKind::Timestamp => "TIMESTAMP",
                });
                self.string(text.as_bytes());
            }
        }
    }

    fn system_variable(&mut self, scope: Option<VariableScope>, name: &str) {
        self.text(match scope {
            None => "@@",
            Some(VariableScope::Global) => "@@GLOBAL.",
            Some(VariableScope::Session) => "@@SESSION.",
            Some(VariableScope::Persist) => "@@PERSIST.",
            Some(VariableScope::PersistOnly) => "@@PERSIST_ONLY.",
        });
        for (i, part) in name.split('.').enumerate() {
            self.text(if i > 0 { "." } else { "" });
            self.name(part);
        }
    }

    /// Quoted where a bare word would be read as something else.
    fn function_name(&mut self, name: &str) {
        const OWN_GRAMMAR: &[&str] = &[
            "cast",
            "convert",
            "extract",
            "trim",
            "position",
            "date_add",
            "date_sub",
            "adddate",
            "subdate",
            "timestampadd",
            "timestampdiff",
            "get_format",
            "weight_string",
            "group_concat",
            "substring",
            "substr",
            "mid",
        ];
        let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') && !name.is_empty();
        let bare = ["current_date", "current_time", "current_timestamp", "localtime", "localtimestamp", "utc_date"];
        let bare = bare.contains(&name) || ["utc_time", "utc_timestamp", "current_user"].contains(&name);
        match (plain && !is_reserved(name) && !OWN_GRAMMAR.contains(&name)) || bare {
            true => self.text(name),
            false => self.name(name),
        }
    }

    fn cast_type(&mut self, ty: &DataType) {
        self.text(if ty.name == "signed" && ty.unsigned { "UNSIGNED" } else { &ty.name });
        match (ty.length, ty.decimals) {
            (Some(length), Some(decimals)) => self.text(&format!("({length}, {decimals})")),
            (Some(length), None) => self.text(&format!("({length})")),
            _ => {}
        }
        if let Some(charset) = &ty.charset {
            self.text(" CHARACTER SET ");
            self.name(charset);
        }
        if ty.binary {
            self.text(" BINARY");
        }
    }

    fn aggregate(&mut self, call: &AggregateCall) {
        self.text(&call.name);
        self.text(if call.distinct { "(DISTINCT " } else { "(" });
        match call.args.is_empty() && call.name == "count" {
            true => self.text("*"),
            false => self.exprs(&call.args),
        }
        self.order_by(&call.order_by);
        if let Some(separator) = &call.separator {
            self.text(" SEPARATOR ");
            self.string(separator.as_bytes());
        }
        self.text(")");
        if let Some(window) = &call.over {
            self.text(" OVER ");
            self.window(window);
        }
    }

    fn window(&mut self, window: &WindowSpec) {
        if let (true, Some(name)) = (window.is_reference, &window.name) {
            return self.name(name);
        }
        self.text("(");
        if let Some(name) = &window.name {
            self.name(name);
        }
        if !window.partition_by.is_empty() {
            self.text(" PARTITION BY ");
            self.exprs(&window.partition_by);
        }
        self.order_by(&window.order_by);
        if let Some(frame) = &window.frame {
            self.text(if frame.range { " RANGE BETWEEN " } else { " ROWS BETWEEN " });
            self.bound(&frame.start);
            self.text(" AND ");
            self.bound(&frame.end);
        }
        self.text(")");
    }

    fn bound(&mut self, bound: &Bound) {
        match bound {
            Bound::UnboundedPreceding => self.text("UNBOUNDED PRECEDING"),
            Bound::UnboundedFollowing => self.text("UNBOUNDED FOLLOWING"),
            Bound::CurrentRow => self.text("CURRENT ROW"),
            Bound::Preceding(n, unit) => self.distance(n, unit.as_deref(), " PRECEDING"),
            Bound::Following(n, unit) => self.distance(n, unit.as_deref(), " FOLLOWING"),
        }
    }

    fn distance(&mut self, n: &Expr, unit: Option<&str>, side: &str) {
        if unit.is_some() {
            self.text("INTERVAL ");
        }
        self.operand(n);
        if let Some(unit) = unit {
            self.text(" ");
            self.text(unit);
        }
        self.text(side);
    }
}

fn operator(op: BinaryOp) -> &'static str {
    match op {
        BinaryOp::Or => "OR",
        BinaryOp::Xor => "XOR",
        BinaryOp::And => "AND",
        BinaryOp::Eq => "=",
        BinaryOp::NullSafeEq => "<=>",
        BinaryOp::Ne => "<>",
        BinaryOp::Lt => "<",
        BinaryOp::Le => "<=",
        BinaryOp::Gt => ">",
        BinaryOp::Ge => ">=",
        BinaryOp::BitOr => "|",
        BinaryOp::BitAnd => "&",
        BinaryOp::ShiftLeft => "<<",
        BinaryOp::ShiftRight => ">>",
        BinaryOp::Add => "+",
        BinaryOp::Subtract => "-",
        BinaryOp::Multiply => "*",
        BinaryOp::Divide => "/",
        BinaryOp::IntegerDivide => "DIV",
        BinaryOp::Modulo => "%",
        BinaryOp::BitXor => "^",
        BinaryOp::Concat => "||",
        BinaryOp::JsonExtract => "->",
        BinaryOp::JsonUnquote => "->>",
        BinaryOp::SoundsLike => "SOUNDS LIKE",
    }
}
