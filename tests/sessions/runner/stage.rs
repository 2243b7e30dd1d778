//! The sessions of one script, and the database they share.
//!
//! A session runs one statement at a time, in a task of its own, so that it can wait while others go on. Whoever asks for an
//! answer says how long it may take; an answer that has not come by then can be asked for again.

use crate::place::Place;
use crate::script::{Preamble, ROLES};
use anyhow::{Context, Result, anyhow, bail, ensure};
use basalt_tests::statement::{self, Answer};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// How long connecting, set-up and clean-up may take, a statement.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the end of a session is waited for.
const FAREWELL: Duration = Duration::from_secs(1);
/// How often several sessions are looked at.
const POLL: Duration = Duration::from_millis(5);
/// What each session begins with: a wait that should have ended fails the step, not the server.
const BEGIN: &[&str] = &["SET NAMES utf8mb4", "SET time_zone = '+00:00', innodb_lock_wait_timeout = 10"];

/// See the module.
pub struct Stage<'a> {
    place: &'a Place,
    database: String,
    each: Vec<String>,
    sessions: BTreeMap<String, Session>,
    /// Sessions by their roles in the last circle.
    roles: BTreeMap<&'static str, String>,
}

/// A session: between statements it has its connection, during one the task has it.
struct Session {
    id: String,
    server: usize,
    conn: Option<Conn>,
    running: Option<JoinHandle<(Option<Conn>, String)>>,
    /// An answer that came beside another's, and that no line has asked for yet.
    unclaimed: Option<String>,
}

impl Session {
    /// Whether a line is still to say what came of its statement.
    fn is_waiting(&self) -> bool {
        self.running.is_some() || self.unclaimed.is_some()
    }
}

impl<'a> Stage<'a> {
    /// Makes the database and runs the set-up.
    ///
    /// # Errors
    /// The set-up fails.
    pub async fn open(place: &'a Place, database: String, preambles: [&Preamble; 2]) -> Result<Stage<'a>> {
        let mut conn = place.connect(0, None).await?;
        set_up(place, &mut conn, &format!("DROP DATABASE IF EXISTS {database}")).await?;
        set_up(place, &mut conn, &format!("CREATE DATABASE {database}")).await?;
        set_up(place, &mut conn, &format!("USE {database}")).await?;
        for sql in preambles.iter().flat_map(|preamble| preamble.setup()) {
            set_up(place, &mut conn, sql).await?;
            if let Some(split) = place.split(sql) {
                // Tables whose key is no number stay whole.
                if timeout(PATIENCE, conn.query_drop(&split)).await?.is_ok() {
                    place.spread(&mut conn, &split).await?;
                }
            }
        }
        timeout(PATIENCE, conn.disconnect()).await??;
        let each = preambles.iter().flat_map(|preamble| preamble.each()).map(str::to_string).collect();
        Ok(Stage { place, database, each, sessions: BTreeMap::new(), roles: BTreeMap::new() })
    }

    /// Who a name means: a session's own, or its role's.
    fn name(&self, name: &str) -> String {
        self.roles.get(name).cloned().unwrap_or_else(|| name.to_string())
    }

    /// The name under which the script goes on to speak of a session.
    pub fn called(&self, session: &str) -> String {
        let role = self.roles.iter().find(|(_, name)| *name == session).map(|(role, _)| role.to_string());
        role.unwrap_or_else(|| session.to_string())
    }

    /// The session of a name, connected.
    async fn session(&mut self, name: &str) -> Result<&mut Session> {
        let name = self.name(name);
        let server = match self.sessions.get(&name) {
            Some(session) if session.conn.is_some() || session.is_waiting() => None,
            Some(lost) => Some(lost.server),
            None => Some(self.sessions.len()),
        };
        if let Some(server) = server {
            let mut conn = self.place.connect(server, Some(&self.database)).await?;
            // Basalt does not have it yet; elsewhere it ends waits for tables as the other ends waits for rows.
            let _ = timeout(PATIENCE, conn.query_drop("SET lock_wait_timeout = 10")).await?;
            for sql in BEGIN.iter().copied().chain(self.each.iter().map(String::as_str)) {
                timeout(PATIENCE, conn.query_drop(sql)).await?.with_context(|| format!("{name} begins: {sql}"))?;
            }
            let id: Option<String> = timeout(PATIENCE, conn.query_first("SELECT CONNECTION_ID()")).await??;
            let id = id.context("a session has an id")?;
            self.sessions
                .insert(name.clone(), Session { id, server, conn: Some(conn), running: None, unclaimed: None });
        }
        self.sessions.get_mut(&name).context("it was put there")
    }

    /// Starts a statement.
    ///
    /// # Errors
    /// The session still waits, or cannot be opened.
    pub async fn say(&mut self, name: &str, statement: &str) -> Result<()> {
        let mut sql = statement.to_string();
        while let Some((before, rest)) = sql.split_once("{id ") {
            let (other, after) = rest.split_once('}').context("{id without an end")?;
            let id = self.session(other).await?.id.clone();
            sql = format!("{before}{id}{after}");
        }
        let session = self.session(name).await?;
        ensure!(!session.is_waiting(), "{name} still waits and is to say: {statement}");
        let mut conn = session.conn.take().context("it was connected just now")?;
        session.running = Some(tokio::spawn(async move {
            let answer = answer_text(&sql, statement::text(&mut conn, &sql).await);
            ((answer != LOST).then_some(conn), answer)
        }));
        Ok(())
    }

    /// The answer of a session's statement, if it comes in time.
    ///
    /// # Errors
    /// The session runs none.
    pub async fn answer(&mut self, name: &str, patience: Duration) -> Result<Option<String>> {
        let session = self.sessions.get_mut(&self.name(name)).with_context(|| format!("there is no session {name}"))?;
        if let Some(answer) = session.unclaimed.take() {
            return Ok(Some(answer));
        }
        let running = session.running.as_mut().with_context(|| format!("{name} does not wait"))?;
        let Ok(done) = timeout(patience, running).await else { return Ok(None) };
        session.running = None;
        let (conn, answer) = done?;
        session.conn = conn;
        Ok(Some(answer))
    }

    /// Sessions whose statement has not been answered yet.
    pub fn waiting(&self) -> Vec<String> {
        self.sessions.iter().filter(|(_, session)| session.is_waiting()).map(|(name, _)| name.clone()).collect()
    }

    /// Waits until one of a circle has an answer, which must be 1213, and gives them their roles.
    ///
    /// # Errors
    /// Nobody has got 1213.
    pub async fn deadlock(&mut self, circle: &[String], patience: Duration) -> Result<()> {
        ensure!((2..=ROLES.len()).contains(&circle.len()), "a circle has two to five sessions");
        let loser = timeout(patience, async {
            loop {
                for (at, name) in circle.iter().enumerate() {
                    match self.answer(name, Duration::ZERO).await? {
                        Some(answer) if answer == VICTIM => return Ok(at),
                        Some(other) => self.put_back(name, other),
                        None => {}
                    }
                }
                sleep(POLL).await;
            }
        });
        let loser = loser.await.unwrap_or_else(|_| Err(anyhow!("nobody gets {VICTIM}")))?;
        for (distance, role) in ROLES.iter().enumerate().take(circle.len()) {
            let at = (loser + circle.len() - distance) % circle.len();
            self.roles.insert(*role, circle[at].clone());
        }
        Ok(())
    }

    /// Keeps an answer for the line that will ask for it.
    fn put_back(&mut self, name: &str, answer: String) {
        if let Some(session) = self.sessions.get_mut(name) {
            session.unclaimed = Some(answer);
        }
    }

    /// Ends all sessions, those that wait as well.
    pub async fn close(mut self) {
        for session in self.sessions.values_mut() {
            if let Some(conn) = session.conn.take() {
                // Whether or not the server says good-bye, the connection is gone.
                let _ = timeout(FAREWELL, conn.disconnect()).await;
            } else if let Some(running) = session.running.take() {
                running.abort();
                if let Ok(mut conn) = self.place.connect(session.server, None).await {
                    // It may have ended by itself; and a server may wait for the end of what it kills.
                    let _ = timeout(FAREWELL, conn.query_drop(format!("KILL {}", session.id))).await;
                }
            }
        }
        if self.place.lives_on()
            && let Ok(mut conn) = self.place.connect(0, None).await
        {
            // The next run drops it too.
            let _ = timeout(PATIENCE, conn.query_drop(format!("DROP DATABASE IF EXISTS {}", self.database))).await;
        }
    }
}

/// Runs a statement of the set-up. Scripts that are played beside this one change the catalog too; what comes of that is no
/// script's matter, so a conflict is tried again.
async fn set_up(place: &Place, conn: &mut Conn, sql: &str) -> Result<()> {
    let _turn = match first_word(sql).as_str() {
        "CREATE" | "ALTER" | "DROP" => place.turn().await,
        _ => None,
    };
    for _ in 0..CONFLICTS_MAX {
        match timeout(PATIENCE, conn.query_drop(sql)).await? {
            Err(Error::Server(error)) if error.code == ER_WRITE_CONFLICT => sleep(POLL).await,
            done => return done.with_context(|| format!("set-up: {sql}")),
        }
    }
    bail!("set-up: {sql}: conflicts")
}

/// How often a statement of the set-up is tried.
const CONFLICTS_MAX: usize = 100;
/// Basalt's "write conflict".
const ER_WRITE_CONFLICT: u16 = 9007;
/// The answer of a circle's victim.
const VICTIM: &str = "ERROR 1213";
/// The answer of a session that has no connection any more.
const LOST: &str = "lost";
/// "Session was killed", which some send before they close.
const ER_SESSION_WAS_KILLED: u16 = 3169;

/// An answer as scripts write it.
fn answer_text(sql: &str, answer: Result<Answer, Error>) -> String {
    match answer {
        Ok(Answer::Rows { rows, .. }) => {
            let mut rows: Vec<String> = rows.iter().map(|row| format!("({})", row.join(", "))).collect();
            if !sql.to_ascii_uppercase().contains("ORDER BY") {
                rows.sort();
            }
            if rows.is_empty() { "no rows".into() } else { rows.join(" ") }
        }
        Ok(Answer::Done(affected)) => match first_word(sql).as_str() {
            "INSERT" | "UPDATE" | "DELETE" | "REPLACE" | "WITH" => format!("affected {affected}"),
            _ => "ok".into(),
        },
        Err(Error::Server(error)) if error.code != ER_SESSION_WAS_KILLED => format!("ERROR {}", error.code),
        Err(_) => LOST.into(),
    }
}

/// The verb of a statement, in capitals.
pub fn first_word(sql: &str) -> String {
    sql.split_whitespace().next().unwrap_or_default().to_ascii_uppercase()
}
