//! One value of a result as records write it (`tests/slt/README.md`, "Cells").

use mysql_async::consts::ColumnType;
use mysql_async::{Column, Value};

/// The cell of a value; of the binary protocol's values the text that the text protocol sends.
pub fn cell(value: &Value, column: &Column) -> String {
    match value {
        Value::NULL => "NULL".to_string(),
        Value::Bytes(bytes) => escaped(bytes),
        Value::Int(v) => v.to_string(),
        Value::UInt(v) if column.column_type() == ColumnType::MYSQL_TYPE_YEAR => format!("{v:04}"),
        Value::UInt(v) => v.to_string(),
        Value::Float(v) => number(|out| basalt_expr::number::format_float(f64::from(*v), out)),
        Value::Double(v) => number(|out| basalt_expr::number::format_double(*v, out)),
        Value::Date(y, m, d, h, i, s, micros) => {
            let date = format!("{y:04}-{m:02}-{d:02}");
            if column.column_type() == ColumnType::MYSQL_TYPE_DATE {
                return date;
            }
            format!("{date} {h:02}:{i:02}:{s:02}{}", fraction(*micros, column.decimals()))
        }
        Value::Time(negative, days, h, i, s, micros) => {
            let sign = if *negative { "-" } else { "" };
            let hours = days * 24 + u32::from(*h);
            format!("{sign}{hours:02}:{i:02}:{s:02}{}", fraction(*micros, column.decimals()))
        }
    }
}

fn number(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8(out).expect("numbers are ASCII")
}

fn fraction(micros: u32, decimals: u8) -> String {
    match decimals {
        0 => String::new(),
        1..=6 => format!(".{micros:06}")[..=usize::from(decimals)].to_string(),
        _ => format!(".{micros:06}"),
    }
}

fn escaped(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "(empty)".to_string();
    }
    let hex = || format!("0x{}", bytes.iter().map(|b| format!("{b:02X}")).collect::<String>());
    let Ok(text) = std::str::from_utf8(bytes) else { return hex() };
    if text.chars().any(|c| (c < ' ' && !matches!(c, '\t' | '\n' | '\r')) || c == '\x7f') {
        return hex();
    }
    let text = text.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n").replace('\r', "\\r");
    let body = text.trim_matches(' ');
    let front = text.len() - text.trim_start_matches(' ').len();
    let back = if body.is_empty() { 0 } else { text.len() - text.trim_end_matches(' ').len() };
    format!("{}{body}{}", "\\s".repeat(front), "\\s".repeat(back))
}
