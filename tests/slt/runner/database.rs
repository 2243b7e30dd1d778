//! A session of a file, in one way, against Basalt or a MariaDB.

use async_trait::async_trait;
use basalt_tests::statement::{self, Answer};
use basalt_tests::ways::Way;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, OptsBuilder};
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType};

/// A server.
#[derive(Debug, Clone)]
pub struct Target {
    options: Opts,
    is_mariadb: bool,
}

/// MySQL 8's session, where MariaDB starts with another.
const MARIADB: &[&str] = &[
    "SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION'",
    "SET NAMES utf8mb4 COLLATE utf8mb4_uca1400_nopad_ai_ci",
];

impl Target {
    /// A Basalt on loopback.
    pub fn basalt(port: u16) -> Target {
        let options = OptsBuilder::default().ip_or_hostname("127.0.0.1").tcp_port(port).user(Some("root"));
        Target { options: options.prefer_socket(false).into(), is_mariadb: false }
    }

    /// A MariaDB by its URL.
    pub fn mariadb(url: &str) -> Target {
        let options = Opts::from_url(url).unwrap_or_else(|error| panic!("MYSQL_URL: {error}"));
        Target { options: OptsBuilder::from_opts(options).prefer_socket(false).into(), is_mariadb: true }
    }

    /// Makes the database `slt` anew.
    pub async fn empty_database(&self) -> Result<(), mysql_async::Error> {
        let mut conn = Conn::new(self.options.clone()).await?;
        conn.query_drop("DROP DATABASE IF EXISTS slt").await?;
        let collation = if self.is_mariadb { " COLLATE utf8mb4_uca1400_nopad_ai_ci" } else { "" };
        conn.query_drop(format!("CREATE DATABASE slt CHARACTER SET utf8mb4{collation}")).await?;
        conn.disconnect().await
    }
}

/// An error as records name it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server said no.
    #[error("ERROR {0}: {1}")]
    Server(u16, String),
    /// There is no server any more, or it said something that is no protocol.
    #[error("{0}")]
    Client(String),
}

impl From<mysql_async::Error> for Error {
    fn from(error: mysql_async::Error) -> Error {
        match error {
            mysql_async::Error::Server(error) => Error::Server(error.code, error.message),
            other => Error::Client(other.to_string()),
        }
    }
}

/// See the module.
pub struct Database {
    conn: Option<Conn>,
    way: Way,
    is_mariadb: bool,
}

type Output = DBOutput<DefaultColumnType>;

impl Database {
    /// Connects, and sets the session up for the way.
    pub async fn connect(target: Target, way: Way) -> Result<Database, Error> {
        let mut conn = Conn::new(OptsBuilder::from_opts(target.options.clone()).db_name(Some("slt"))).await?;
        // The driver announces another collation than utf8mb4's default.
        for statement in if target.is_mariadb { MARIADB } else { &["SET NAMES utf8mb4"] } {
            conn.query_drop(*statement).await?;
        }
        conn.query_drop("SET time_zone = '+00:00', innodb_lock_wait_timeout = 1, lock_wait_timeout = 5").await?;
        for statement in way.setup() {
            conn.query_drop(*statement).await?;
        }
        Ok(Database { conn: Some(conn), way, is_mariadb: target.is_mariadb })
    }

    fn conn(&mut self) -> Result<&mut Conn, Error> {
        self.conn.as_mut().ok_or_else(|| Error::Client("the connection was closed".into()))
    }

    async fn text(&mut self, sql: &str) -> Result<Output, Error> {
        Ok(output(statement::text(self.conn()?, sql).await?))
    }

    /// After CREATE TABLE: the table in three regions, where its key is a number.
    async fn split(&mut self, sql: &str) -> Result<Output, Error> {
        let output = self.text(sql).await?;
        let words: Vec<&str> = sql.split_whitespace().take(3).collect();
        if let [create, table, name] = words.as_slice()
            && create.eq_ignore_ascii_case("create")
            && table.eq_ignore_ascii_case("table")
        {
            let name = name.split('(').next().unwrap_or(name);
            // Tables whose key is no number stay whole.
            let _ = self.text(&format!("SPLIT TABLE {name} BY (2), (5)")).await;
        }
        Ok(output)
    }
}

fn output(answer: Answer) -> Output {
    match answer {
        Answer::Done(affected) => DBOutput::StatementComplete(affected),
        Answer::Rows { columns, rows } => DBOutput::Rows { types: vec![DefaultColumnType::Any; columns.len()], rows },
    }
}

#[async_trait]
impl AsyncDB for Database {
    type Error = Error;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<Output, Error> {
        match self.way {
            Way::Uncached => self.text(&format!("/* not cached */ {sql}")).await,
            Way::Named => Ok(output(statement::named(self.conn()?, sql).await?)),
            Way::Binary => Ok(output(statement::binary(self.conn()?, sql).await?)),
            Way::Split => self.split(sql).await,
            _ => self.text(sql).await,
        }
    }

    async fn shutdown(&mut self) {
        if let Some(conn) = self.conn.take() {
            // The server is about to be stopped or given another session.
            let _ = conn.disconnect().await;
        }
    }

    fn engine_name(&self) -> &str {
        if self.is_mariadb { "mariadb" } else { "basalt" }
    }

    async fn sleep(duration: std::time::Duration) {
        tokio::time::sleep(duration).await;
    }
}
