//! Writers and a bank, whose acknowledgments and errors are kept; they go on through every fault.
//!
//! | who | does | promises |
//! |---|---|---|
//! | writers | insert rows of their own numbers, all over the table's regions, autocommit | what was acknowledged is there in the end |
//! | bankers | move money between two accounts of different regions, in a transaction | the sum never changes |
//! | auditors | read the sum | each answer is the sum |

use anyhow::{Context, Result, ensure};
use basalt_tests::processes::login;
use basalt_tests::up::pause;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

const WRITERS: u64 = 8;
const BANKERS: u64 = 4;
const AUDITORS: u64 = 1;
/// Rows' numbers are below this; the table's regions divide it.
const NUMBERS: u64 = 1 << 30;
/// Odd, so that a writer's counter times it goes through all numbers and hits all regions in turn.
const STRIDE: u64 = 0x2545_F491;
const ACCOUNTS: u64 = 32;
const MONEY: u64 = 1000;
/// A statement without an answer by then is given up, and the connection with it.
const PATIENCE: Duration = Duration::from_secs(60);
const GREETING_TIME: Duration = Duration::from_secs(5);
const CONNECT_PAUSE: Duration = Duration::from_millis(20);

/// Codes of errors that faults explain: 9001 PD and 9005 a region does not answer, 8027 the schema could not be asked for, 8501
/// nobody knows the outcome, 9007 a transaction was rolled back by others while its server did not answer, 1021 a store's
/// disk is full, 1213 and 1205 clients stand in each other's way, 1053 a server ends.
const EXPECTED: [u16; 9] = [9001, 9005, 8027, 8501, 9007, 1021, 1213, 1205, 1053];

/// What the clients of one load have seen so far.
#[derive(Debug, Default)]
struct Seen {
    acknowledged: BTreeSet<u64>,
    /// When each writer's acknowledgments came.
    times: BTreeMap<u64, Vec<Instant>>,
    transfers: u64,
    audits: u64,
    errors: BTreeMap<u16, u64>,
    findings: Vec<String>,
}

/// Clients at work.
pub struct Load {
    runtime: Runtime,
    servers: Vec<String>,
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
    clients: Vec<JoinHandle<()>>,
}

/// What a load came to.
#[derive(Debug)]
pub struct Outcome {
    pub rows: usize,
    pub transfers: u64,
    pub audits: u64,
    pub errors: BTreeMap<u16, u64>,
    pub findings: Vec<String>,
}

impl Load {
    /// Makes tables of so many regions and sets the clients to work.
    ///
    /// # Errors
    /// The tables cannot be made.
    pub fn start(servers: Vec<String>, regions: u32) -> Result<Load> {
        let runtime = basalt_tests::runtime();
        let accounts: Vec<String> = (0..ACCOUNTS).map(|account| format!("({account}, {MONEY})")).collect();
        let tables = [
            "create database faults".to_string(),
            "create table faults.rows_ (id bigint primary key, writer int)".into(),
            "create table faults.accounts (id int primary key, money int not null)".into(),
            format!("split table faults.rows_ between (0) and ({NUMBERS}) regions {regions}"),
            format!("split table faults.accounts between (0) and ({ACCOUNTS}) regions 4"),
            format!("insert into faults.accounts values {}", accounts.join(",")),
        ];
        runtime.block_on(async {
            let mut conn = connect(&servers[0], None).await?;
            for sql in tables {
                conn.query_drop(&sql).await.context(sql)?;
            }
            anyhow::Ok(())
        })?;
        let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Seen::default())));
        let mut clients = Vec::new();
        for number in 0..WRITERS + BANKERS + AUDITORS {
            let client = Client { number, servers: servers.clone(), stop: stop.clone(), seen: seen.clone() };
            clients.push(runtime.spawn(client.live()));
        }
        Ok(Load { runtime, servers, stop, seen, clients })
    }

    /// Each writer's longest time without an acknowledgment since `from`, waiting for a last one of each.
    ///
    /// # Errors
    /// A writer gets none any more.
    pub fn pauses(&self, from: Instant) -> Result<Vec<Duration>> {
        let until = Instant::now();
        let deadline = until + PATIENCE;
        loop {
            let pauses: Vec<Option<Duration>> = {
                let seen = self.seen.lock().expect("no client panics");
                (0..WRITERS)
                    .map(|writer| seen.times.get(&writer).and_then(|times| longest(times, from, until)))
                    .collect()
            };
            if let Some(pauses) = pauses.into_iter().collect() {
                return Ok(pauses);
            }
            ensure!(Instant::now() < deadline, "a writer has got no acknowledgment for {PATIENCE:?}");
            pause(Duration::from_millis(20));
        }
    }

    /// Acknowledged rows so far.
    pub fn rows(&self) -> usize {
        self.seen.lock().expect("no client panics").acknowledged.len()
    }

    /// Runs a statement.
    ///
    /// # Errors
    /// The server's.
    pub fn run(&self, sql: &str) -> Result<()> {
        self.runtime.block_on(async {
            let mut conn = connect(&self.servers[0], Some("faults")).await?;
            timeout(PATIENCE, conn.query_drop(sql)).await?.context(sql.to_string())
        })
    }

    /// Ends the clients and looks at what is there.
    ///
    /// # Errors
    /// What is there cannot be read.
    pub fn finish(self) -> Result<Outcome> {
        self.stop.store(true, Ordering::Relaxed);
        self.runtime.block_on(async {
            for client in self.clients {
                client.await?;
            }
            let mut seen = std::mem::take(&mut *self.seen.lock().expect("no client panics"));
            for server in &self.servers {
                let mut conn = connect(server, Some("faults")).await?;
                let there: BTreeSet<u64> = conn.query("select id from rows_").await?.into_iter().collect();
                let lost: Vec<_> = seen.acknowledged.difference(&there).take(10).collect();
                if !lost.is_empty() {
                    let count = seen.acknowledged.difference(&there).count();
                    seen.findings.push(format!("{count} acknowledged rows are gone: {lost:?}"));
                }
                let sum: Option<u64> = conn.query_first("select cast(sum(money) as unsigned) from accounts").await?;
                if sum != Some(ACCOUNTS * MONEY) {
                    seen.findings.push(format!("the sum is {sum:?}"));
                }
            }
            let Seen { acknowledged, transfers, audits, errors, findings, .. } = seen;
            Ok(Outcome { rows: acknowledged.len(), transfers, audits, errors, findings })
        })
    }
}

/// The longest time between two acknowledgments of which the later came after `from`; `None` until one has come after `until`.
fn longest(times: &[Instant], from: Instant, until: Instant) -> Option<Duration> {
    times.last().filter(|last| **last >= until)?;
    let first = times.iter().rposition(|time| *time < from).unwrap_or(0);
    let gaps = times[first..].windows(2).map(|pair| pair[1] - pair[0].max(from));
    gaps.max()
}

struct Client {
    number: u64,
    servers: Vec<String>,
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
}

impl Client {
    async fn live(self) {
        let mut random = SmallRng::seed_from_u64(self.number);
        let mut conn: Option<Conn> = None;
        let mut turn = 0;
        while !self.stop.load(Ordering::Relaxed) {
            let Some(connected) = conn.as_mut() else {
                // Each stays with a server until it is gone: a writer's pause is that of its server.
                conn = connect(&self.servers[self.number as usize % self.servers.len()], Some("faults")).await.ok();
                if conn.is_none() {
                    sleep(CONNECT_PAUSE).await;
                }
                continue;
            };
            let done = match self.number {
                number if number < WRITERS => self.write(connected, turn).await,
                number if number < WRITERS + BANKERS => self.transfer(connected, &mut random).await,
                _ => self.audit(connected).await,
            };
            turn += 1;
            match done {
                Ok(()) => {}
                Err(Error::Server(error)) => {
                    self.tell(error.code, &error.message);
                    let ended = timeout(GREETING_TIME, connected.query_drop("rollback")).await;
                    if !matches!(ended, Ok(Ok(()))) {
                        conn = None;
                    }
                }
                Err(_) => conn = None,
            }
        }
    }

    fn tell(&self, code: u16, message: &str) {
        let mut seen = self.seen.lock().expect("no client panics");
        *seen.errors.entry(code).or_default() += 1;
        if !EXPECTED.contains(&code) {
            seen.findings.push(format!("error {code}: {message}"));
        }
    }

    async fn write(&self, conn: &mut Conn, turn: u64) -> Result<(), Error> {
        let id = (turn * WRITERS + self.number).wrapping_mul(STRIDE) % NUMBERS;
        within(conn.query_drop(format!("insert into rows_ values ({id}, {})", self.number))).await?;
        let mut seen = self.seen.lock().expect("no client panics");
        seen.acknowledged.insert(id);
        seen.times.entry(self.number).or_default().push(Instant::now());
        Ok(())
    }

    async fn transfer(&self, conn: &mut Conn, random: &mut SmallRng) -> Result<(), Error> {
        let from = random.random_range(0..ACCOUNTS);
        let to = (from + random.random_range(1..ACCOUNTS)) % ACCOUNTS;
        let amount = random.random_range(1..10);
        within(async {
            conn.query_drop("begin").await?;
            conn.query_drop(format!("update accounts set money = money - {amount} where id = {from}")).await?;
            conn.query_drop(format!("update accounts set money = money + {amount} where id = {to}")).await?;
            conn.query_drop("commit").await
        })
        .await?;
        self.seen.lock().expect("no client panics").transfers += 1;
        sleep(Duration::from_millis(5)).await;
        Ok(())
    }

    async fn audit(&self, conn: &mut Conn) -> Result<(), Error> {
        let sum: Option<u64> = within(conn.query_first("select cast(sum(money) as unsigned) from accounts")).await?;
        {
            let mut seen = self.seen.lock().expect("no client panics");
            seen.audits += 1;
            if sum != Some(ACCOUNTS * MONEY) {
                seen.findings.push(format!("an audit read {sum:?}"));
            }
        }
        sleep(Duration::from_millis(20)).await;
        Ok(())
    }
}

async fn within<T>(asked: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let late = |_| Error::from(std::io::Error::from(std::io::ErrorKind::TimedOut));
    timeout(PATIENCE, asked).await.map_err(late)?
}

async fn connect(server: &str, database: Option<&str>) -> Result<Conn> {
    Ok(timeout(GREETING_TIME, Conn::new(login(server, database))).await??)
}
