//! Two sessions that are told the same, Basalt's and its peer's, and what differs between their answers.

use crate::maker::{Scenario, Send, Step};
use crate::peer::Dialect;
use crate::query::{FUZZY, TOTAL};
use crate::schema::Table;
use basalt_tests::statement::{self, Answer};
use basalt_tests::ways::Way;
use mysql_async::consts::ColumnType;
use mysql_async::{Conn, Opts, OptsBuilder};
use std::time::Duration;

/// A statement that takes longer has no answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// How far apart two floating-point numbers may lie, of the larger one: sums are added up in any order.
const TOLERANCE: f64 = 1e-5;
/// "This version of MySQL doesn't yet support": what Basalt refuses it does not answer wrongly.
pub const REFUSED: u16 = 1235;
/// Errors that depend on which rows are looked at: DOUBLE out of range, more than one row.
const BY_ROW: [u16; 3] = [1690, 1242, 1264];

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
        let side = |options| Side { options, conn: None, setup: Vec::new(), database: database.into() };
        Pair { dialect, basalt: side(basalt), peer: side(peer) }
    }

    /// Makes the tables of a scenario anew, on both.
    pub async fn set_up(&mut self, scenario: &Scenario, tables: &[Table]) -> Result<(), String> {
        let common = |dialect| {
            vec![
                format!("SET NAMES utf8mb4 COLLATE {}", scenario.collation.name(dialect)),
                format!("SET time_zone = '+00:00', sql_mode = '{MODE}'"),
            ]
        };
        self.peer.setup = common(self.dialect);
        self.basalt.setup = common(Dialect::MySql);
        self.basalt.setup.extend(scenario.way.setup().iter().map(|s| s.to_string()));
        for side in [&mut self.basalt, &mut self.peer] {
            side.anew().await?;
        }
        for table in tables {
            for (side, dialect) in [(&mut self.basalt, Dialect::MySql), (&mut self.peer, self.dialect)] {
                for sql in std::iter::once(table.create(dialect)).chain(table.fill()) {
                    side.must(&sql).await?;
                }
            }
            if scenario.way == Way::Split {
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
        if matches!(basalt, Outcome::Error(..)) && matches!(peer, Outcome::Error(..)) {
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
            let mut conn = Conn::new(OptsBuilder::from_opts(self.options.clone())).await?;
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
            (!same_rows(&kinds, rows, their_rows, is_ordered)).then_some(What::Rows)
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
            _ => cell.clone(),
        };
        let mut rows: Vec<Vec<String>> =
            rows.iter().map(|row| row.iter().zip(kinds).map(cell).collect()).collect();
        if !is_ordered {
            rows.sort_by_cached_key(|row| row.iter().zip(kinds).map(|(c, (_, real))| rounded(c, *real)).collect::<Vec<_>>());
        }
        rows
    };
    seen(basalt).iter().zip(&seen(peer)).all(|(left, right)| {
        left.iter().zip(right).zip(kinds).all(|((l, r), (_, is_real))| l == r || (*is_real && near(l, r)))
    })
}

fn rounded(cell: &str, is_real: bool) -> String {
    match cell.parse::<f64>() {
        Ok(number) if is_real => format!("{number:.3e}"),
        _ => cell.to_string(),
    }
}

fn near(left: &str, right: &str) -> bool {
    let (Ok(left), Ok(right)) = (left.parse::<f64>(), right.parse::<f64>()) else { return false };
    (left - right).abs() <= TOLERANCE * left.abs().max(right.abs()).max(1e-9)
}
