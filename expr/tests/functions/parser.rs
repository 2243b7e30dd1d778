//! Just enough of MySQL's expression grammar for the scripts.

use basalt_expr::types::UNSPECIFIED;
use basalt_expr::{Collation, Decimal, Expr, FieldType, Func, TypeKind, Value, func};

type Result<T> = std::result::Result<T, String>;

/// An expression and the columns that `col(…)` made.
pub fn parse(text: &str) -> Result<(Expr, Vec<(Value, FieldType)>)> {
    let mut parser = Parser { tokens: tokens(text)?, at: 0, columns: Vec::new() };
    let expr = parser.expr(0)?;
    if parser.at < parser.tokens.len() {
        return Err(format!("left over: {:?}", &parser.tokens[parser.at..]));
    }
    Ok((expr, parser.columns))
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Number(String),
    Text(String),
    Hex(Vec<u8>),
    Word(String),
    Sign(String),
}

fn tokens(text: &str) -> Result<Vec<Token>> {
    let chars: Vec<char> = text.chars().collect();
    let mut out = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        let c = chars[at];
        let take = |from: usize, f: &dyn Fn(char) -> bool| chars[from..].iter().take_while(|c| f(**c)).count();
        if c.is_whitespace() {
            at += 1;
        } else if c == 'x' && chars.get(at + 1) == Some(&'\'') {
            let len = take(at + 2, &|c| c != '\'');
            let digits: String = chars[at + 2..at + 2 + len].iter().collect();
            let byte = |i: usize| u8::from_str_radix(&digits[i..i + 2], 16).map_err(|e| e.to_string());
            out.push(Token::Hex((0..digits.len()).step_by(2).map(byte).collect::<Result<_>>()?));
            at += len + 3;
        } else if c.is_ascii_digit() || c == '.' {
            let mut len = take(at, &|c| c.is_ascii_digit() || c == '.');
            if chars.get(at + len).is_some_and(|c| matches!(c, 'e' | 'E')) {
                len += 1;
                len += usize::from(chars.get(at + len).is_some_and(|c| matches!(c, '-' | '+')));
                len += take(at + len, &|c| c.is_ascii_digit());
            }
            out.push(Token::Number(chars[at..at + len].iter().collect()));
            at += len;
        } else if c == '\'' {
            let len = take(at + 1, &|c| c != '\'');
            out.push(Token::Text(chars[at + 1..at + 1 + len].iter().collect()));
            at += len + 2;
        } else if c.is_alphabetic() || c == '_' {
            let len = take(at, &|c| c.is_alphanumeric() || c == '_');
            out.push(Token::Word(chars[at..at + len].iter().collect::<String>().to_lowercase()));
            at += len;
        } else {
            let two: String = chars[at..chars.len().min(at + 2)].iter().collect();
            let three: String = chars[at..chars.len().min(at + 3)].iter().collect();
            let sign = if three == "<=>" {
                three
            } else if ["<=", ">=", "<>", "!=", "<<", ">>", "&&", "||"].contains(&two.as_str()) {
                two
            } else {
                c.to_string()
            };
            at += sign.chars().count();
            out.push(Token::Sign(sign));
        }
    }
    Ok(out)
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    columns: Vec<(Value, FieldType)>,
}

impl Parser {
    fn peek(&self) -> Option<&str> {
        match self.tokens.get(self.at) {
            Some(Token::Word(text) | Token::Sign(text)) => Some(text),
            _ => None,
        }
    }
    fn accept(&mut self, text: &str) -> bool {
        let found = self.peek() == Some(text);
        self.at += usize::from(found);
        found
    }
    fn expect(&mut self, text: &str) -> Result<()> {
        if self.accept(text) { Ok(()) } else { Err(format!("expected {text} at {:?}", self.tokens.get(self.at))) }
    }

    fn expr(&mut self, min: u8) -> Result<Expr> {
        let mut left = self.prefix()?;
        while let Some(op) = self.peek().map(str::to_string) {
            let power = match op.as_str() {
                "or" | "||" => 1,
                "xor" => 2,
                "and" | "&&" => 3,
                "=" | "<=>" | "<>" | "!=" | "<" | "<=" | ">" | ">=" | "like" | "regexp" | "in" | "is" | "not"
                | "between" => 5,
                "|" => 6,
                "&" => 7,
                "<<" | ">>" => 8,
                "+" | "-" => 9,
                "*" | "/" | "%" | "div" | "mod" => 10,
                "^" => 11,
                "collate" => 12,
                _ => break,
            };
            if power < min {
                break;
            }
            self.at += 1;
            left = self.infix(left, &op, power)?;
        }
        Ok(left)
    }

    fn infix(&mut self, left: Expr, op: &str, power: u8) -> Result<Expr> {
        let built = match op {
            "not" => {
                let op = self.peek().map(str::to_string).ok_or("NOT what?")?;
                self.at += 1;
                let positive = self.infix(left, &op, power)?;
                Expr::call(Func::Not, vec![positive])
            }
            "is" => {
                let not = self.accept("not");
                let word = self.peek().map(str::to_string).ok_or("IS what?")?;
                self.at += 1;
                let func = match (word.as_str(), not) {
                    ("null", false) => Func::IsNull,
                    ("null", true) => Func::IsNotNull,
                    ("true", false) => Func::IsTrue,
                    ("true", true) => Func::IsNotTrue,
                    ("false", false) => Func::IsFalse,
                    _ => Func::IsNotFalse,
                };
                Expr::call(func, vec![left])
            }
            "in" => {
                self.expect("(")?;
                func::in_list(left, self.list()?, false)
            }
            "between" => {
                let low = self.expr(6)?;
                self.expect("and")?;
                let high = self.expr(6)?;
                Expr::call(Func::Between, vec![left, low, high])
            }
            "collate" => {
                let name = self.word()?;
                func::collate(left, Collation::from_name(&name).map_err(|e| e.to_string())?)
            }
            "||" => Expr::call(Func::Or, vec![left, self.expr(power + 1)?]),
            _ => {
                let func = Func::by_name(op).ok_or_else(|| format!("operator {op}"))?;
                let right = self.expr(power + 1)?;
                Expr::call(func, vec![left, right])
            }
        };
        built.map_err(|e| format!("error {} {e}", e.code()))
    }

    fn word(&mut self) -> Result<String> {
        match self.tokens.get(self.at) {
            Some(Token::Word(word)) => {
                self.at += 1;
                Ok(word.clone())
            }
            other => Err(format!("a word instead of {other:?}")),
        }
    }

    fn list(&mut self) -> Result<Vec<Expr>> {
        let mut list = Vec::new();
        if self.accept(")") {
            return Ok(list);
        }
        loop {
            list.push(self.expr(0)?);
            if self.accept(")") {
                return Ok(list);
            }
            self.expect(",")?;
        }
    }

    fn prefix(&mut self) -> Result<Expr> {
        let token = self.tokens.get(self.at).cloned().ok_or("the expression ends early")?;
        self.at += 1;
        let failed = |e: basalt_expr::ExprError| format!("error {} {e}", e.code());
        match token {
            Token::Number(text) if text.contains(['e', 'E']) => {
                Ok(Expr::literal(Value::Double(text.parse().map_err(|_| text.clone())?)))
            }
            Token::Number(text) if text.contains('.') => {
                let decimal = Decimal::parse(text.as_bytes()).ok_or("decimal")?.0;
                Ok(Expr::literal(Value::Decimal(decimal)))
            }
            Token::Number(text) => Ok(Expr::literal(match (text.parse::<i64>(), text.parse::<u64>()) {
                (Ok(v), _) => Value::Int(v),
                (_, Ok(v)) => Value::UInt(v),
                _ => Value::Decimal(Decimal::parse(text.as_bytes()).ok_or("decimal")?.0),
            })),
            Token::Text(text) => Ok(Expr::string(&text)),
            Token::Hex(bytes) => Ok(Expr::literal(Value::from(bytes))),
            Token::Sign(sign) if sign == "(" => {
                let inner = self.expr(0)?;
                self.expect(")")?;
                Ok(inner)
            }
            Token::Sign(sign) if sign == "-" => {
                let inner = self.expr(12)?;
                Expr::call(Func::Neg, vec![inner]).map_err(failed)
            }
            Token::Sign(sign) if sign == "~" => {
                let inner = self.expr(12)?;
                Expr::call(Func::BitNot, vec![inner]).map_err(failed)
            }
            Token::Word(word) => self.named(&word),
            other => Err(format!("unexpected {other:?}")),
        }
    }

    fn named(&mut self, word: &str) -> Result<Expr> {
        let failed = |e: basalt_expr::ExprError| format!("error {} {e}", e.code());
        match word {
            "null" => return Ok(Expr::null()),
            "true" => return Ok(Expr::int(1)),
            "false" => return Ok(Expr::int(0)),
            "not" => {
                let inner = self.expr(4)?;
                return Expr::call(Func::Not, vec![inner]).map_err(failed);
            }
            "case" => {
                let mut branches = Vec::new();
                while self.accept("when") {
                    let condition = self.expr(0)?;
                    self.expect("then")?;
                    branches.push((condition, self.expr(0)?));
                }
                let otherwise = if self.accept("else") { Some(self.expr(0)?) } else { None };
                self.expect("end")?;
                return func::case(branches, otherwise).map_err(failed);
            }
            "date" | "time" | "timestamp" if matches!(self.tokens.get(self.at), Some(Token::Text(_))) => {
                let inner = self.prefix()?;
                return Ok(inner.cast(match word {
                    "date" => FieldType::date(),
                    "time" => FieldType::time(0),
                    _ => FieldType::datetime(0),
                }));
            }
            _ => {}
        }
        self.expect("(")?;
        if word == "cast" {
            let inner = self.expr(0)?;
            self.expect("as")?;
            let ty = self.type_name()?;
            self.expect(")")?;
            return Ok(func::cast_explicit(inner, ty));
        }
        let mut args = self.list()?;
        if word == "col" {
            let Some(Expr::Literal(value, ty)) = args.pop() else { return Err("col of a literal".into()) };
            let index = self.columns.len();
            self.columns.push((value, ty.clone().nullable()));
            return Ok(Expr::column(index, ty.nullable()));
        }
        let func = Func::by_name(word).ok_or_else(|| format!("error 1305 FUNCTION {word} does not exist"))?;
        Expr::call(func, args).map_err(failed)
    }

    fn type_name(&mut self) -> Result<FieldType> {
        let name = self.word()?;
        let mut numbers = Vec::new();
        if self.accept("(") {
            for arg in self.list()? {
                match arg {
                    Expr::Literal(Value::Int(v), _) => numbers.push(v as u32),
                    other => return Err(format!("{other:?} in a type")),
                }
            }
        }
        let first = numbers.first().copied();
        Ok(match name.as_str() {
            "signed" => FieldType::bigint(),
            "unsigned" => FieldType::bigint_unsigned(),
            "double" => FieldType::double(),
            "float" => FieldType::new(TypeKind::Float),
            "decimal" => FieldType::decimal(first.unwrap_or(10), numbers.get(1).copied().unwrap_or(0) as u8),
            "char" => FieldType::varchar(first.unwrap_or(UNSPECIFIED)),
            "binary" => FieldType {
                kind: if first.is_some() { TypeKind::Binary } else { TypeKind::VarBinary },
                ..FieldType::varbinary(first.unwrap_or(UNSPECIFIED))
            },
            "date" => FieldType::date(),
            "datetime" => FieldType::datetime(first.unwrap_or(0) as u8),
            "time" => FieldType::time(first.unwrap_or(0) as u8),
            "year" => FieldType::new(TypeKind::Year),
            other => return Err(format!("type {other}")),
        })
    }
}
