//! Two sessions that are told the same, Basalt's and its peer's, and what differs between their answers.

use crate::maker::{Scenario, Send, Step};
use crate::peer::Dialect;
use crate::query::{FUZZY, TOTAL};
use crate::schema::Table;
use basalt_tests::statement::{self, Answer};
use basalt_tests::ways::Way;
use mysql_async::consts::ColumnType;
use mysql_async::{Conn, Opts};
use std::time::Duration;

/// A statement that takes longer has no answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// Seconds after which a server ends by itself a statement that nobody waits for any more.
const SERVER_PATIENCE: u64 = PATIENCE.as_secs() + 5;
/// How far apart two floating-point numbers may lie, of the larger one: sums are added up in any order.
const TOLERANCE: f64 = 1e-5;
/// "This version of MySQL doesn't yet support": what Basalt refuses it does not answer wrongly.
pub const REFUSED: u16 = 1235;
/// Errors that depend on which rows are looked at: DOUBLE out of range, more than one row, a period that is none.
const BY_ROW: [u16; 4] = [1690, 1242, 1264, 1210];

const MODE: &str = "ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,\
    ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION";

/// An answer, or why there is none.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// What the server said.
    Answer(Answer),
    /// Its error.
    Error(u16, String),
    /// The connection ended, or there was no answer in time.
    Lost(String),
}

/// In what two answers differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Rows.
    Rows,
    /// Digits behind the point of DECIMAL values that are equal.
    Digits,
    /// The number of columns, or rows against none.
    Shape,
    /// The number of affected rows.
    Affected,
    /// What is in the table afterwards.
    Contents,
    /// Only Basalt has an error.
    Error(u16),
    /// Only the peer has one.
    NoError(u16),
    /// Basalt's connection ended, or it did not answer in time.
    Lost,
}

/// See the module.
pub struct Pair {
    /// What the peer is.
    pub dialect: Dialect,
    basalt: Side,
    peer: Side,
    /// The tables that are there, as they were created.
    created: Vec<String>,
    /// Where the peer is a Basalt as well: the ways of both.
    ways: Option<[Way; 2]>,
}

struct Side {
    options: Opts,
    conn: Option<Conn>,
    setup: Vec<String>,
    database: String,
}

impl Pair {
    /// Not connected yet; both use a database of this name, and nobody else does.
    pub fn new(basalt: Opts, peer: Opts, dialect: Dialect, database: &str) -> Pair {
        let side = |options, database| Side { options, conn: None, setup: Vec::new(), database };
        let theirs = side(peer, format!("{database}_peer"));
        Pair { dialect, basalt: side(basalt, database.into()), peer: theirs, created: Vec::new(), ways: None }
    }

    /// Makes the tables of a scenario anew, on both.
    pub async fn set_up(&mut self, scenario: &Scenario, tables: &[Table]) -> Result<(), String> {
        let created: Vec<String> = tables.iter().map(|table| table.create(Dialect::MySql)).collect();
        // Shrinking asks again and again with fewer rows: the tables stay, which is ten times as fast as making them.
        if self.is_set_up(scenario) && self.created == created {
            let deletes: Vec<String> = tables.iter().map(|table| format!("DELETE FROM {}", table.name)).collect();
            self.both(&deletes).await?;
        } else {
            self.created.clear();
            self.make_tables(scenario, tables).await?;
            self.created = created;
        }
        self.both(&tables.iter().flat_map(Table::fill).collect::<Vec<_>>()).await
    }

    /// The same statements on both, at the same time.
    async fn both(&mut self, statements: &[String]) -> Result<(), String> {
        let (basalt, peer) = tokio::join!(self.basalt.must_all(statements), self.peer.must_all(statements));
        basalt.and(peer)
    }

    /// From now on the peer is a Basalt, in a way of its own.
    pub fn between_ways(&mut self, basalt: Way, peer: Way) {
        self.ways = Some([basalt, peer]);
        self.created.clear();
    }

    /// One statement on Basalt alone.
    pub async fn ask(&mut self, sql: &str) -> Outcome {
        self.basalt.run(sql, Send::Text).await
    }

    /// On Basalt alone: what must not change an answer.
    pub async fn change_nothing(&mut self) {
        let tables = self.created.iter().filter_map(|sql| sql.split_whitespace().nth(2)).map(str::to_string);
        for table in tables.collect::<Vec<_>>() {
            let (later, split) = ("ADD INDEX later", "BY (4), (8)");
            // Columns differ from table to table: what is refused leaves the table as it was.
            for sql in [
                format!("ALTER TABLE {table} {later}0 (c0)"),
                format!("ALTER TABLE {table} {later}1 (c1, id)"),
                format!("ANALYZE TABLE {table}"),
                format!("SPLIT TABLE {table} {split}"),
            ] {
                self.basalt.run(&sql, Send::Text).await;
            }
        }
        // The tables are not those any more that were made.
        self.created.clear();
    }

    fn is_set_up(&self, scenario: &Scenario) -> bool {
        let [basalt, peer] = self.setups(scenario);
        self.basalt.conn.is_some() && self.peer.conn.is_some() && self.basalt.setup == basalt && self.peer.setup == peer
    }

    /// What both sessions are told first.
    fn setups(&self, scenario: &Scenario) -> [Vec<String>; 2] {
        let [ours, theirs] = self.ways.unwrap_or([scenario.way, Way::Text]);
        [(Dialect::MySql, ours), (self.dialect, theirs)].map(|(dialect, way)| {
            // MariaDB cuts fractions of a second off unless it is told to round as MySQL does.
            let rounds = if dialect == Dialect::MariaDb { ",TIME_ROUND_FRACTIONAL" } else { "" };
            let mut out = vec![
                format!("SET NAMES utf8mb4 COLLATE {}", scenario.collation.name(dialect)),
                format!("SET time_zone = '+00:00', sql_mode = '{MODE}{rounds}'"),
                match dialect {
                    Dialect::MariaDb => format!("SET max_statement_time = {SERVER_PATIENCE}"),
                    Dialect::MySql => format!("SET max_execution_time = {}", SERVER_PATIENCE * 1000),
                },
            ];
            out.extend(way.setup().iter().map(|sql| sql.to_string()));
            out
        })
    }

    async fn make_tables(&mut self, scenario: &Scenario, tables: &[Table]) -> Result<(), String> {
        [self.basalt.setup, self.peer.setup] = self.setups(scenario);
        let creates = |dialect| tables.iter().map(|table| table.create(dialect)).collect::<Vec<_>>();
        let (ours, theirs) = (creates(Dialect::MySql), creates(self.dialect));
        let (basalt, peer) = tokio::join!(self.basalt.made_anew(&ours), self.peer.made_anew(&theirs));
        basalt.and(peer)?;
        if scenario.way == Way::Split {
            for table in tables {
                // A key that is no number keeps the table whole.
                let _ = self.basalt.run(&format!("SPLIT TABLE {} BY (3), (9)", table.name), Send::Text).await;
            }
        }
        Ok(())
    }

    /// One statement on both, and the table it changes; in what the answers differ.
    pub async fn compare(&mut self, step: &Step) -> (Option<What>, [Outcome; 2]) {
        let sql = step.tree.sql();
        let (basalt, peer) = tokio::join!(self.basalt.run(&sql, step.send), self.peer.run(&sql, Send::Text));
        let what = difference(&sql, &basalt, &peer);
        let (Some(table), None) = (&step.changes, &what) else { return (what, [basalt, peer]) };
        // Both failed, or Basalt refused.
        if matches!(basalt, Outcome::Error(..)) {
            return (None, [basalt, peer]);
        }
        let sql = format!("SELECT * FROM {table} ORDER BY id{TOTAL}");
        let (basalt, peer) = tokio::join!(self.basalt.run(&sql, Send::Text), self.peer.run(&sql, Send::Text));
        let what = difference(&sql, &basalt, &peer).map(|_| What::Contents);
        (what, [basalt, peer])
    }
}

impl Side {
    async fn conn(&mut self) -> Result<&mut Conn, mysql_async::Error> {
        if self.conn.is_none() {
            let mut conn = Conn::new(self.options.clone()).await?;
            let database = &self.database;
            statement::text(&mut conn, &format!("CREATE DATABASE IF NOT EXISTS {database}")).await?;
            statement::text(&mut conn, &format!("USE {database}")).await?;
            for sql in &self.setup {
                statement::text(&mut conn, sql).await?;
            }
            self.conn = Some(conn);
        }
        Ok(self.conn.as_mut().expect("connected above"))
    }

    /// An empty database, and a session that knows of nothing.
    async fn anew(&mut self) -> Result<(), String> {
        self.conn = None;
        let database = self.database.clone();
        self.must(&format!("DROP DATABASE IF EXISTS {database}")).await?;
        self.must(&format!("CREATE DATABASE {database}")).await?;
        self.must(&format!("USE {database}")).await
    }

    async fn made_anew(&mut self, tables: &[String]) -> Result<(), String> {
        self.anew().await?;
        self.must_all(tables).await
    }

    async fn must_all(&mut self, statements: &[String]) -> Result<(), String> {
        for sql in statements {
            self.must(sql).await?;
        }
        Ok(())
    }

    async fn must(&mut self, sql: &str) -> Result<(), String> {
        match self.run(sql, Send::Text).await {
            Outcome::Answer(_) => Ok(()),
            Outcome::Error(code, message) => Err(format!("{sql}\nERROR {code}: {message}")),
            Outcome::Lost(why) => Err(format!("{sql}\n{why}")),
        }
    }

    async fn run(&mut self, sql: &str, send: Send) -> Outcome {
        let conn = match self.conn().await {
            Ok(conn) => conn,
            Err(error) => return Outcome::Lost(error.to_string()),
        };
        // An expression in GROUP BY and the same one in the select list are not the same with two parameters in them.
        let send =
            if sql.contains(" GROUP BY ") && matches!(send, Send::Named | Send::Binary) { Send::Text } else { send };
        let sent = async {
            match send {
                Send::Text => statement::text(conn, sql).await,
                Send::Uncached => statement::text(conn, &format!("/* not cached */ {sql}")).await,
                Send::Twice => {
                    statement::text(conn, sql).await?;
                    statement::text(conn, sql).await
                }
                Send::Named => statement::named(conn, sql).await,
                Send::Binary => statement::binary(conn, sql).await,
            }
        };
        match tokio::time::timeout(PATIENCE, sent).await {
            Ok(Ok(answer)) => Outcome::Answer(answer),
            Ok(Err(mysql_async::Error::Server(error))) => Outcome::Error(error.code, error.message),
            Ok(Err(error)) => {
                self.conn = None;
                Outcome::Lost(error.to_string())
            }
            Err(_) => {
                self.conn = None;
                Outcome::Lost(format!("no answer in {PATIENCE:?}"))
            }
        }
    }
}

/// In what two outcomes differ.
pub fn difference(sql: &str, basalt: &Outcome, peer: &Outcome) -> Option<What> {
    match (basalt, peer) {
        // A peer that fails says nothing about Basalt.
        (_, Outcome::Lost(_)) => None,
        (Outcome::Lost(_), _) => Some(What::Lost),
        (Outcome::Error(REFUSED, _), _) | (Outcome::Error(..), Outcome::Error(..)) => None,
        (Outcome::Error(code, _), _) => (!BY_ROW.contains(code)).then_some(What::Error(*code)),
        (_, Outcome::Error(code, _)) => (!BY_ROW.contains(code)).then_some(What::NoError(*code)),
        (Outcome::Answer(basalt), Outcome::Answer(peer)) => answers(sql, basalt, peer),
    }
}

fn answers(sql: &str, basalt: &Answer, peer: &Answer) -> Option<What> {
    match (basalt, peer) {
        (Answer::Done(basalt), Answer::Done(peer)) => (basalt != peer).then_some(What::Affected),
        (Answer::Rows { columns, rows }, Answer::Rows { columns: theirs, rows: their_rows }) => {
            if columns.len() != theirs.len() {
                return Some(What::Shape);
            }
            let is_real = |c: &mysql_async::Column| {
                matches!(c.column_type(), ColumnType::MYSQL_TYPE_FLOAT | ColumnType::MYSQL_TYPE_DOUBLE)
            };
            let is_fuzzy = |c: &mysql_async::Column| c.name_str().starts_with(FUZZY);
            let kinds: Vec<_> =
                theirs.iter().zip(columns).map(|(t, b)| (is_fuzzy(t), is_real(t) && is_real(b))).collect();
            let is_ordered = sql.trim_end().ends_with(TOTAL);
            if same_rows(&kinds, rows, their_rows, is_ordered) {
                return None;
            }
            let is_same = same_rows(&kinds, &digitless(columns, rows), &digitless(theirs, their_rows), is_ordered);
            Some(if is_same { What::Digits } else { What::Rows })
        }
        _ => Some(What::Shape),
    }
}

fn same_rows(kinds: &[(bool, bool)], basalt: &[Vec<String>], peer: &[Vec<String>], is_ordered: bool) -> bool {
    if basalt.len() != peer.len() {
        return false;
    }
    let seen = |rows: &[Vec<String>]| {
        let cell = |(cell, (is_fuzzy, _)): (&String, &(bool, bool))| match cell.as_str() {
            "NULL" => cell.clone(),
            _ if *is_fuzzy => "(any)".into(),
            _ => unsigned_zero(cell),
        };
        let mut rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().zip(kinds).map(cell).collect()).collect();
        if !is_ordered {
            // Numbers that are nearly equal lie together; among them, the smaller one is first on both sides.
            rows.sort_by_cached_key(|row| {
                let cells = || row.iter().zip(kinds);
                let rough: Vec<_> = cells().map(|(c, (_, real))| rounded(c, *real)).collect();
                let exact: Vec<_> = cells().map(|(c, (_, real))| if *real { ordered(c) } else { 0 }).collect();
                (rough, exact)
            });
        }
        rows
    };
    seen(basalt).iter().zip(&seen(peer)).all(|(left, right)| {
        left.iter().zip(right).zip(kinds).all(|((l, r), (_, is_real))| l == r || (*is_real && near(l, r)))
    })
}

/// The sign of a zero is not compared: `-0.00` is `0.00`.
fn unsigned_zero(cell: &str) -> String {
    let digits = cell.strip_prefix('-').filter(|digits| digits.bytes().all(|byte| matches!(byte, b'0' | b'.')));
    digits.filter(|digits| !digits.is_empty()).unwrap_or(cell).to_string()
}

/// Rows whose DECIMAL values have no zeros at the end.
fn digitless(columns: &[mysql_async::Column], rows: &[Vec<String>]) -> Vec<Vec<String>> {
    let cell = |(cell, column): (&String, &mysql_async::Column)| {
        let is_decimal = column.column_type() == ColumnType::MYSQL_TYPE_NEWDECIMAL && cell.contains('.');
        if is_decimal { cell.trim_end_matches('0').trim_end_matches('.').to_string() } else { cell.clone() }
    };
    rows.iter().map(|row| row.iter().zip(columns).map(cell).collect()).collect()
}

fn rounded(cell: &str, is_real: bool) -> String {
    match cell.parse::<f64>() {
        Ok(number) if is_real => format!("{:.3e}", number + 0.0),
        _ => cell.to_string(),
    }
}

/// A number whose order is that of the floating-point number in a cell.
fn ordered(cell: &str) -> i64 {
    let bits = (cell.parse::<f64>().unwrap_or_default() + 0.0).to_bits() as i64;
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

fn near(left: &str, right: &str) -> bool {
    let (Ok(left), Ok(right)) = (left.parse::<f64>(), right.parse::<f64>()) else { return false };
    (left - right).abs() <= TOLERANCE * left.abs().max(right.abs()).max(1e-9)
}
