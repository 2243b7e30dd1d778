//! Tables of a scenario: columns, keys, first rows. They are data, so that shrinking can take columns and rows away.

use crate::dice::Dice;
use crate::peer::Dialect;
use crate::types::{Class, Type};

/// Most rows of a table at the start.
const ROWS_MAX: usize = 40;

/// A column other than `id`.
#[derive(Debug, Clone)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: Type,
    /// NOT NULL.
    pub not_null: bool,
    /// The literal behind DEFAULT.
    pub default: Option<String>,
}

/// A key other than the primary key.
#[derive(Debug, Clone)]
pub struct Key {
    /// UNIQUE.
    pub is_unique: bool,
    /// Columns, with the length of a prefix.
    pub parts: Vec<(String, Option<u32>)>,
}

/// See the module. Every table has `id INT NOT NULL`, which no two rows share.
#[derive(Debug, Clone)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// Its columns behind `id`.
    pub columns: Vec<Column>,
    /// Its keys.
    pub keys: Vec<Key>,
    /// Columns in front of `id` in the primary key.
    pub primary: Vec<String>,
    /// Rows as literals: the id, then a literal a column.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// Any table.
    pub fn any(name: String, is_wide: bool, dice: &mut Dice) -> Table {
        let count = 2 + dice.below(5);
        let columns: Vec<Column> = (0..count).map(|at| column(format!("c{at}"), dice)).collect();
        let keys = (0..dice.below(4)).filter_map(|_| key(&columns, dice)).collect();
        let primary = match dice.chance(20) {
            true => columns.iter().filter(|c| c.not_null && dice.chance(60)).take(2).collect(),
            false => Vec::new(),
        };
        let primary = primary.into_iter().filter(|c: &&Column| c.ty.prefix(dice).is_none()).map(|c| c.name.clone());
        let mut table = Table { name, primary: primary.collect(), columns, keys, rows: Vec::new() };
        let rows = if dice.chance(10) { 0 } else { dice.below(ROWS_MAX) };
        for id in 1..=rows {
            let mut cell = |c: &Column| if is_wide && dice.chance(4) { c.odd(dice) } else { c.literal(dice) };
            let cells: Vec<_> = table.columns.iter().map(&mut cell).collect();
            table.rows.push(std::iter::once(id.to_string()).chain(cells).collect());
        }
        table
    }

    /// CREATE TABLE.
    pub fn create(&self, dialect: Dialect) -> String {
        let mut parts = vec!["id INT NOT NULL".to_string()];
        for column in &self.columns {
            let null = if column.not_null { " NOT NULL" } else { " NULL" };
            let default = column.default.as_ref().map(|d| format!(" DEFAULT {d}")).unwrap_or_default();
            parts.push(format!("{} {}{null}{default}", column.name, column.ty.sql(dialect)));
        }
        let primary: Vec<&str> = self.primary.iter().map(String::as_str).chain(["id"]).collect();
        parts.push(format!("PRIMARY KEY ({})", primary.join(", ")));
        if !self.primary.is_empty() {
            parts.push("UNIQUE KEY id (id)".into());
        }
        for (at, key) in self.keys.iter().enumerate() {
            let columns = key.parts.iter().map(|(name, prefix)| match prefix {
                Some(prefix) => format!("{name}({prefix})"),
                None => name.clone(),
            });
            let columns = columns.collect::<Vec<_>>();
            let unique = if key.is_unique { "UNIQUE " } else { "" };
            parts.push(format!("{unique}KEY k{at} ({})", columns.join(", ")));
        }
        format!("CREATE TABLE {} ({})", self.name, parts.join(", "))
    }

    /// The first rows: one statement, or one a row where unique keys may refuse some.
    pub fn fill(&self) -> Vec<String> {
        let row = |row: &Vec<String>| format!("({})", row.join(", "));
        if self.rows.is_empty() {
            return Vec::new();
        }
        let rows: Vec<String> = self.rows.iter().map(row).collect();
        vec![format!("INSERT IGNORE INTO {} VALUES {}", self.name, rows.join(", "))]
    }

    /// Without a column; `None` where the primary key needs it.
    pub fn without(&self, at: usize) -> Table {
        let mut out = self.clone();
        let gone = out.columns.remove(at).name;
        out.rows.iter_mut().for_each(|row| {
            row.remove(at + 1);
        });
        out.keys.retain(|key| !key.parts.iter().any(|(name, _)| *name == gone));
        out.primary.retain(|name| *name != gone);
        out
    }
}

impl Column {
    /// A literal that only INSERT IGNORE takes: dates that are none, numbers out of range, what has to be converted.
    pub fn odd(&self, dice: &mut Dice) -> String {
        match self.ty.class() {
            Class::Date => dice.pick(&["'0000-00-00'", "'2020-00-00'", "'2020-02-30'", "20200131"]).to_string(),
            Class::Moment => dice.pick(&["'0000-00-00 00:00:00'", "'2020-13-01'", "'2020-01-31'"]).to_string(),
            Class::Time => dice.pick(&["'900:00:00'", "'-838:59:59'", "101112", "'10:61:00'"]).to_string(),
            class @ (Class::Int | Class::Decimal | Class::Real) => match dice.below(3) {
                0 => dice.pick(&["'12abc'", "''", "'1e1'", "'-7'", "' 5 '"]).to_string(),
                1 => dice.pick(&["1.5", "-2.5e0", "1e30", "-1e30", "99999999999999999999.5", "x'31'"]).to_string(),
                _ => crate::types::constant(class, dice),
            },
            Class::Text | Class::Bytes => dice
                .pick(&["'a long text that is cut'", "12345678901", "1.50", "-1e-3", "'a   '", "'日本語日本語日本語'"])
                .to_string(),
        }
    }

    /// A literal for it, or NULL.
    pub fn literal(&self, dice: &mut Dice) -> String {
        if !self.not_null && dice.chance(15) { "NULL".into() } else { self.ty.literal(dice) }
    }
}

fn column(name: String, dice: &mut Dice) -> Column {
    let ty = Type::any(dice);
    let not_null = dice.chance(30);
    let has_default = dice.chance(25) && !matches!(ty, Type::Text("TEXT", _) | Type::Bytes("BLOB") | Type::Bit(_));
    // A TIMESTAMP without a default may get one by itself in MariaDB.
    let default = match ty {
        Type::Timestamp(_) if not_null => Some("'2020-01-01 00:00:00'".to_string()),
        _ => has_default.then(|| ty.literal(dice)),
    };
    Column { name, ty, not_null, default }
}

fn key(columns: &[Column], dice: &mut Dice) -> Option<Key> {
    let mut parts: Vec<(String, Option<u32>)> = Vec::new();
    for _ in 0..1 + dice.below(3) {
        let column = dice.pick(columns);
        if parts.iter().all(|(name, _)| *name != column.name) {
            parts.push((column.name.clone(), column.ty.prefix(dice)));
        }
    }
    (!parts.is_empty()).then(|| Key { is_unique: dice.chance(35), parts })
}
