//! Clients that play a workload, and what the servers told them.

use crate::workload::{Answer, Attempt, Part, Said, Transaction, Workload};
use anyhow::{Context, Result};
use basalt_tests::history::Level;
use basalt_tests::processes::login;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, Row, from_value};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// Clients at once.
pub const CLIENTS: u32 = 8;
/// A statement without an answer by then is given up, and the connection with it.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long a server may take to greet a client.
const GREETING_TIME: Duration = Duration::from_secs(5);
/// innodb_lock_wait_timeout.
const LOCK_WAIT: Duration = Duration::from_secs(4);
/// Before a server that did not greet is tried again.
const CONNECT_PAUSE: Duration = Duration::from_millis(50);
/// A connection is given up after so many transactions on average, for one to any server.
const TRANSACTIONS_A_CONNECTION: u32 = 150;
/// After the faults, until every server reads everything.
const SETTLE_TIME: Duration = Duration::from_secs(60);
const DATABASE: &str = "histories";

/// What all clients share.
pub struct Stage<W> {
    pub workload: W,
    pub level: Level,
    pub seed: u64,
    /// HOST:PORT of the SQL servers.
    pub servers: Vec<String>,
    pub began: Instant,
    /// Ends the clients.
    pub stop: AtomicBool,
}

/// What a client did, and the errors that connections were refused with.
pub struct Life<D> {
    pub attempts: Vec<Attempt<D>>,
    pub refused: Vec<(u16, String)>,
}

impl<W: Workload> Stage<W> {
    fn now(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }

    async fn connect(&self, server: usize, database: Option<&str>) -> Result<Conn, Answer> {
        answered(GREETING_TIME, Conn::new(login(&self.servers[server], database))).await
    }

    async fn session(&self, server: usize) -> Result<Conn, Answer> {
        let mut conn = self.connect(server, Some(DATABASE)).await?;
        let level = match self.level {
            Level::ReadCommitted => "READ COMMITTED",
            Level::RepeatableRead | Level::Snapshot => "REPEATABLE READ",
            Level::Serializable => "SERIALIZABLE",
        };
        let mode = if self.level == Level::Snapshot { "optimistic" } else { "pessimistic" };
        for sql in [
            format!("SET SESSION TRANSACTION ISOLATION LEVEL {level}"),
            format!("SET innodb_lock_wait_timeout = {}", LOCK_WAIT.as_secs()),
            format!("SET basalt_txn_mode = '{mode}'"),
        ] {
            answered(PATIENCE, conn.query_drop(sql)).await?;
        }
        Ok(conn)
    }

    /// Makes the tables.
    ///
    /// # Errors
    /// A statement fails.
    pub async fn set_up(&self) -> Result<()> {
        let fail = |answer: Answer| anyhow::anyhow!("{answer:?}");
        let mut conn = self.connect(0, None).await.map_err(fail)?;
        conn.query_drop(format!("CREATE DATABASE {DATABASE}")).await?;
        conn.query_drop(format!("USE {DATABASE}")).await?;
        for sql in self.workload.setup() {
            conn.query_drop(&sql).await.with_context(|| sql.chars().take(200).collect::<String>())?;
        }
        conn.disconnect().await?;
        Ok(())
    }

    /// A client's life, until it is told to stop.
    pub async fn live(self: Arc<Self>, client: u32) -> Life<W::Deed> {
        let mut random = SmallRng::seed_from_u64(self.seed.wrapping_mul(1000).wrapping_add(u64::from(client)));
        let mut life = Life { attempts: Vec::new(), refused: Vec::new() };
        while !self.stop.load(Ordering::Relaxed) {
            let server = random.random_range(0..self.servers.len());
            let mut conn = match self.session(server).await {
                Ok(conn) => conn,
                Err(answer) => {
                    if let Answer::Error(code, text) = answer {
                        life.refused.push((code, text));
                    }
                    sleep(CONNECT_PAUSE).await;
                    continue;
                }
            };
            while !self.stop.load(Ordering::Relaxed) && random.random_range(0..TRANSACTIONS_A_CONNECTION) != 0 {
                let attempt = self.try_once(&mut conn, client, self.workload.draw(&mut random)).await;
                self.workload.note(&attempt);
                let is_lost = attempt.said.iter().any(|said| matches!(said.answer, Answer::Lost(_)));
                life.attempts.push(attempt);
                if is_lost {
                    break;
                }
            }
            // Whether or not the server says good-bye, the connection is gone.
            let _ = timeout(GREETING_TIME, conn.disconnect()).await;
        }
        life
    }

    async fn try_once(&self, conn: &mut Conn, client: u32, transaction: Transaction<W::Deed>) -> Attempt<W::Deed> {
        let mut said = Vec::new();
        let mut parts = Vec::new();
        if !transaction.autocommit {
            parts.push((Part::Begin, "BEGIN", 0));
        }
        let steps = transaction.steps.iter().enumerate();
        parts.extend(steps.map(|(place, step)| (Part::Step(place), step.sql.as_str(), step.pause_ms)));
        if !transaction.autocommit {
            let end = if transaction.commits { (Part::Commit, "COMMIT", 0) } else { (Part::Rollback, "ROLLBACK", 0) };
            parts.push(end);
        }
        for (part, sql, pause_ms) in parts {
            if pause_ms > 0 {
                sleep(Duration::from_millis(pause_ms)).await;
            }
            said.push(self.say(conn, part, sql).await);
            match said.last().map(|said| &said.answer) {
                Some(Answer::Error(..)) if matches!(part, Part::Begin | Part::Step(_)) && !transaction.autocommit => {
                    said.push(self.say(conn, Part::Rollback, "ROLLBACK").await);
                    break;
                }
                Some(Answer::Error(..) | Answer::Lost(_)) => break,
                _ => {}
            }
        }
        Attempt { client, transaction, said }
    }

    async fn say(&self, conn: &mut Conn, part: Part, sql: &str) -> Said {
        let start = self.now();
        let answer = answered(PATIENCE, ask(conn, sql)).await.unwrap_or_else(|answer| answer);
        Said { part, start, end: self.now(), answer }
    }

    /// What every server reads when the faults are over: each statement until it has an answer.
    ///
    /// # Errors
    /// A server does not answer in [`SETTLE_TIME`].
    pub async fn read_last(&self) -> Result<Vec<Attempt<W::Deed>>> {
        let mut last = Vec::new();
        let deadline = Instant::now() + SETTLE_TIME;
        for server in 0..self.servers.len() {
            for step in self.workload.last() {
                let transaction = Transaction { autocommit: true, commits: true, steps: vec![step] };
                loop {
                    let answer = match self.session(server).await {
                        Err(answer) => answer,
                        Ok(mut conn) => {
                            let attempt = self.try_once(&mut conn, u32::MAX, transaction.clone()).await;
                            let answer = attempt.said.last().map(|said| said.answer.clone());
                            if let Some(Answer::Rows(_)) = answer {
                                last.push(attempt);
                                break;
                            }
                            answer.context("a statement was sent")?
                        }
                    };
                    let sql = &transaction.steps[0].sql;
                    let patient = Instant::now() < deadline;
                    anyhow::ensure!(
                        patient,
                        "{SETTLE_TIME:?} after the faults: {sql} on sql-{}: {answer:?}",
                        server + 1
                    );
                    sleep(Duration::from_millis(200)).await;
                }
            }
        }
        Ok(last)
    }
}

/// What comes of asking a server something; an error's answer where it is none.
async fn answered<T>(patience: Duration, asked: impl Future<Output = Result<T, Error>>) -> Result<T, Answer> {
    match timeout(patience, asked).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(Error::Server(error))) => Err(Answer::Error(error.code, error.message)),
        Ok(Err(error)) => Err(Answer::Lost(error.to_string())),
        Err(_) => Err(Answer::Lost(format!("no answer in {patience:?}"))),
    }
}

async fn ask(conn: &mut Conn, sql: &str) -> Result<Answer, Error> {
    let mut result = conn.query_iter(sql).await?;
    if result.columns().is_none_or(|columns| columns.is_empty()) {
        let affected = result.affected_rows();
        result.drop_result().await?;
        return Ok(Answer::Done(affected));
    }
    let rows = result.collect::<Row>().await?;
    let text = |value| from_value::<Option<String>>(value).unwrap_or_else(|| "NULL".into());
    Ok(Answer::Rows(rows.into_iter().map(|row| row.unwrap().into_iter().map(text).collect()).collect()))
}
