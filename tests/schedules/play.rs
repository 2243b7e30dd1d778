//! Plays a schedule on servers and notes what they say.

use crate::plan::{ATTEMPTS_MAX, Plan, Session};
use anyhow::{Context, Result};
use basalt_tests::history::Level;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, Opts, OptsBuilder, Row, from_value};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Barrier;
use tokio::time::{Instant, sleep, timeout};

/// A circle's victim.
pub const ER_DEADLOCK: u16 = 1213;
/// innodb_lock_wait_timeout has passed.
pub const ER_LOCK_WAIT_TIMEOUT: u16 = 1205;
/// Basalt's "write conflict".
pub const ER_WRITE_CONFLICT: u16 = 9007;
/// innodb_lock_wait_timeout of all sessions: nobody who keeps the rules waits that long.
pub const LOCK_WAIT: Duration = Duration::from_secs(3);
/// A statement without an answer by then is given up.
const PATIENCE: Duration = Duration::from_secs(15);
/// How often the probes ask.
const PROBE_PAUSE: Duration = Duration::from_millis(15);
const DATABASE: &str = "schedules";

/// Where schedules are played.
#[derive(Debug)]
pub struct Servers {
    servers: Vec<Opts>,
    /// Whether they know Basalt's variables.
    pub is_basalt: bool,
    began: Instant,
}

/// All that happened. Times are nanoseconds since the servers were met.
#[derive(Debug)]
pub struct Played {
    /// Every try of every transaction, by session and in its order.
    pub attempts: Vec<Attempt>,
    /// What is there in the end, by the rows and by the index, and the registers.
    pub last: Vec<Said>,
    /// How long statements that wait for nobody took meanwhile: start and end.
    pub probes: Vec<(u64, u64)>,
}

/// A transaction that was tried.
#[derive(Debug)]
pub struct Attempt {
    pub session: usize,
    pub transaction: usize,
    /// How many came before.
    pub attempt: usize,
    pub said: Vec<Said>,
}

/// A statement and its answer.
#[derive(Debug)]
pub struct Said {
    pub what: What,
    pub sql: String,
    pub start: u64,
    pub end: u64,
    pub answer: Answer,
}

/// A statement's part in the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    Begin,
    /// The deed, and whether this is its last statement.
    Deed(usize, bool),
    Commit,
    Rollback,
}

/// What a server said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// So many rows were affected.
    Done(u64),
    Rows(Vec<Vec<String>>),
    Error(u16, String),
    /// Nothing: the connection is gone, or was given up.
    Lost(String),
}

impl Servers {
    /// Makes the tables.
    ///
    /// # Errors
    /// A server does not answer.
    pub async fn open(urls: &[String]) -> Result<Servers> {
        let options = |url: &String| Ok(OptsBuilder::from_opts(Opts::from_url(url)?).prefer_socket(false).into());
        let servers = urls.iter().map(options).collect::<Result<Vec<Opts>>>()?;
        let mut servers = Servers { servers, is_basalt: false, began: Instant::now() };
        let mut conn = Conn::new(servers.servers[0].clone()).await?;
        servers.is_basalt = conn.query_drop("SELECT @@basalt_txn_mode").await.is_ok();
        let values: Vec<String> = (0..urls.len()).map(|id| format!("({id}, 0)")).collect();
        for sql in [
            &format!("DROP DATABASE IF EXISTS {DATABASE}"),
            &format!("CREATE DATABASE {DATABASE}"),
            &format!("USE {DATABASE}"),
            "CREATE TABLE lists (id INT PRIMARY KEY, n INT NOT NULL, l TEXT NOT NULL, KEY by_n (n))",
            "CREATE TABLE registers (id INT PRIMARY KEY, v BIGINT NOT NULL)",
            "CREATE TABLE quiet (id INT PRIMARY KEY, v BIGINT NOT NULL)",
            &format!("INSERT INTO quiet VALUES {}", values.join(", ")),
        ] {
            conn.query_drop(sql).await.with_context(|| sql.to_string())?;
        }
        if servers.is_basalt {
            conn.query_drop("SPLIT TABLE lists BY (5)").await?;
            conn.query_drop("SPLIT TABLE registers BY (2)").await?;
        }
        conn.disconnect().await?;
        Ok(servers)
    }

    fn now(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }

    async fn connect(&self, number: usize) -> Result<Conn> {
        let server = self.servers[number % self.servers.len()].clone();
        let options = OptsBuilder::from_opts(server).db_name(Some(DATABASE));
        Ok(timeout(PATIENCE, Conn::new(options)).await??)
    }

    async fn session(&self, number: usize, level: Level) -> Result<Conn> {
        let mut conn = self.connect(number).await?;
        let name = match level {
            Level::ReadCommitted => "READ COMMITTED",
            Level::RepeatableRead | Level::Snapshot => "REPEATABLE READ",
            Level::Serializable => "SERIALIZABLE",
        };
        conn.query_drop(format!("SET SESSION TRANSACTION ISOLATION LEVEL {name}")).await?;
        conn.query_drop(format!("SET innodb_lock_wait_timeout = {}", LOCK_WAIT.as_secs())).await?;
        if self.is_basalt {
            let mode = if level == Level::Snapshot { "optimistic" } else { "pessimistic" };
            conn.query_drop(format!("SET basalt_txn_mode = '{mode}'")).await?;
        }
        Ok(conn)
    }

    /// Plays a schedule on emptied tables.
    ///
    /// # Errors
    /// It cannot be set up, or what is there in the end cannot be read.
    pub async fn play(self: &Arc<Self>, plan: &Arc<Plan>) -> Result<Played> {
        let mut first = self.connect(0).await?;
        let rows: Vec<String> = plan.present.iter().map(|id| format!("({id}, 0, '')")).collect();
        first.query_drop("DELETE FROM lists").await?;
        first.query_drop("DELETE FROM registers").await?;
        first.query_drop("INSERT INTO registers VALUES (1, 0), (2, 0)").await?;
        if !rows.is_empty() {
            first.query_drop(format!("INSERT INTO lists VALUES {}", rows.join(", "))).await?;
        }
        let mut connections = Vec::new();
        for (number, session) in plan.sessions.iter().enumerate() {
            connections.push(self.session(number, session.level).await?);
        }
        let stop = Arc::new(AtomicBool::new(false));
        let mut probes = Vec::new();
        for number in 0..self.servers.len() {
            let (servers, conn, stop) = (self.clone(), self.connect(number).await?, stop.clone());
            probes.push(tokio::spawn(async move { servers.probe(conn, number, &stop).await }));
        }
        let start = Arc::new(Barrier::new(connections.len()));
        let sessions = connections.into_iter().enumerate().map(|(number, conn)| {
            let (servers, plan, start) = (self.clone(), plan.clone(), start.clone());
            tokio::spawn(async move {
                start.wait().await;
                servers.live(conn, number, &plan.sessions[number]).await
            })
        });
        let sessions: Vec<_> = sessions.collect();
        let mut played = Played { attempts: Vec::new(), last: Vec::new(), probes: Vec::new() };
        for session in sessions {
            played.attempts.extend(session.await?);
        }
        stop.store(true, Ordering::Relaxed);
        for probe in probes {
            played.probes.extend(probe.await?);
        }
        let by_index = "SELECT id, n, l FROM lists FORCE INDEX (by_n) WHERE n >= 0";
        for sql in ["SELECT id, n, l FROM lists", by_index, "SELECT id, v FROM registers"] {
            let said = self.say(&mut first, What::Begin, sql.to_string()).await;
            played.last.push(said);
        }
        first.disconnect().await?;
        Ok(played)
    }

    /// A session's transactions; one that failed for a reason that may pass is tried again.
    async fn live(&self, mut conn: Conn, number: usize, session: &Session) -> Vec<Attempt> {
        let mut attempts = Vec::new();
        for transaction in 0..session.transactions.len() {
            for attempt in 0..ATTEMPTS_MAX {
                let said = self.try_once(&mut conn, &session.transactions[transaction], attempt).await;
                let failed = said.iter().any(|said| matches!(said.answer, Answer::Error(..)));
                let lost = said.iter().any(|said| matches!(said.answer, Answer::Lost(_)));
                attempts.push(Attempt { session: number, transaction, attempt, said });
                if lost {
                    return attempts;
                }
                if !failed {
                    break;
                }
            }
        }
        // Whether or not the server says good-bye, the connection is gone.
        let _ = timeout(PATIENCE, conn.disconnect()).await;
        attempts
    }

    async fn try_once(&self, conn: &mut Conn, transaction: &crate::plan::Transaction, attempt: usize) -> Vec<Said> {
        let mut said = Vec::new();
        if !transaction.autocommit {
            said.push(self.say(conn, What::Begin, "BEGIN".into()).await);
        }
        for (number, (pause_ms, deed)) in transaction.deeds.iter().enumerate() {
            if *pause_ms > 0 {
                sleep(Duration::from_millis(*pause_ms)).await;
            }
            let statements = deed.sql(attempt);
            let count = statements.len();
            for (at, sql) in statements.into_iter().enumerate() {
                said.push(self.say(conn, What::Deed(number, at + 1 == count), sql).await);
                match said.last().map(|said| &said.answer) {
                    Some(Answer::Error(..)) if !transaction.autocommit => {
                        said.push(self.say(conn, What::Rollback, "ROLLBACK".into()).await);
                        return said;
                    }
                    Some(Answer::Error(..) | Answer::Lost(_)) => return said,
                    _ => {}
                }
            }
        }
        if !transaction.autocommit {
            let (what, sql) = if transaction.commits { (What::Commit, "COMMIT") } else { (What::Rollback, "ROLLBACK") };
            said.push(self.say(conn, what, sql.into()).await);
        }
        said
    }

    async fn say(&self, conn: &mut Conn, what: What, sql: String) -> Said {
        let start = self.now();
        let answer = timeout(PATIENCE, answer(conn, &sql)).await;
        let end = self.now();
        let answer = match answer {
            Ok(Ok(answer)) => answer,
            Ok(Err(Error::Server(error))) => Answer::Error(error.code, error.message),
            Ok(Err(error)) => Answer::Lost(error.to_string()),
            Err(_) => Answer::Lost(format!("no answer in {PATIENCE:?}")),
        };
        Said { what, sql, start, end, answer }
    }

    /// Reads and writes a row that nobody else touches: what that takes is the machine's doing, not a lock's.
    async fn probe(&self, mut conn: Conn, number: usize, stop: &AtomicBool) -> Vec<(u64, u64)> {
        let mut times = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            for sql in ["SELECT v FROM quiet WHERE id = ", "UPDATE quiet SET v = v + 1 WHERE id = "] {
                let said = self.say(&mut conn, What::Begin, format!("{sql}{number}")).await;
                if let Answer::Lost(_) = said.answer {
                    return times;
                }
                times.push((said.start, said.end));
            }
            sleep(PROBE_PAUSE).await;
        }
        times
    }
}

async fn answer(conn: &mut Conn, sql: &str) -> Result<Answer, Error> {
    let mut result = conn.query_iter(sql).await?;
    if result.columns().is_none_or(|columns| columns.is_empty()) {
        let affected = result.affected_rows();
        result.drop_result().await?;
        return Ok(Answer::Done(affected));
    }
    let rows = result.collect::<Row>().await?;
    let text = |row: Row| row.unwrap().into_iter().map(|value| from_value::<Option<String>>(value).unwrap_or_default());
    Ok(Answer::Rows(rows.into_iter().map(|row| text(row).collect()).collect()))
}
