//! A server without SQL: its sessions understand a few words and show what the protocol layer gave them.
//!
//! | statement | answer |
//! |---|---|
//! | `echo X` | one row with the bytes X |
//! | `rows N` | N rows (number, text) |
//! | `big N` | one row of N bytes |
//! | `ok N` | OK: N rows affected, insert id N + 1, a warning, an info text |
//! | `fail`, `fail after N` | error 1064, after N rows |
//! | `wait` | error 1317 when interrupted |
//! | `hang` | nothing, whatever happens |
//! | `whoami` | one row about the connection |
//! | `load X` | asks for the local file X; OK with its length |
//! | `idle N` | sets wait_timeout to N seconds |
//! | `shadow X` | as `load`, but fails before it has read the file |
//! | anything else | OK |

use basalt_common::env::Env;
use basalt_sql::server::*;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

#[derive(Default)]
pub struct Echo {
    pub accounts: HashMap<String, Account>,
    pub sessions_closed: Arc<AtomicUsize>,
    pub sessions_opened: AtomicUsize,
}

impl Echo {
    pub fn with_accounts(accounts: &[(&str, Credential)]) -> Echo {
        let account = |(user, credential): &(&str, Credential)| {
            let (user, credential) = (user.to_string(), credential.clone());
            let account = Account {
                user: user.clone(),
                host: "%".into(),
                credential,
                require_tls: false,
                locked: user == "locked",
            };
            (user, account)
        };
        Echo { accounts: accounts.iter().map(account).collect(), ..Echo::default() }
    }
}

#[async_trait::async_trait]
impl Authenticator for Echo {
    async fn find(&self, user: &str, _: &Peer) -> Result<Option<Account>, MySqlError> {
        Ok(self.accounts.get(user).cloned())
    }
}

#[async_trait::async_trait]
impl Handler for Echo {
    async fn open_session(&self, context: SessionContext) -> Result<Box<dyn Session>, MySqlError> {
        if context.schema.as_deref() == Some("missing") {
            return Err(MySqlError::from_parts(1049, "42000", "Unknown database 'missing'"));
        }
        self.sessions_opened.fetch_add(1, Ordering::SeqCst);
        let closed = Arc::clone(&self.sessions_closed);
        Ok(Box::new(EchoSession {
            schema: context.schema.clone(),
            context,
            closed,
            statements: HashMap::new(),
            last: 0,
        }))
    }

    fn statistics(&self) -> String {
        "Uptime: 1".to_owned()
    }
}

pub struct EchoSession {
    context: SessionContext,
    schema: Option<String>,
    closed: Arc<AtomicUsize>,
    statements: HashMap<u32, String>,
    last: u32,
}

const STATUS: Status = Status::AUTOCOMMIT;

fn end(status: Status) -> EndOfRows {
    EndOfRows { status, warnings: 0 }
}

impl EchoSession {
    async fn one(&mut self, sql: &[u8], status: Status, out: &mut ResultWriter) -> Result<(), MySqlError> {
        let (word, rest) = match sql.iter().position(|&byte| byte == b' ') {
            Some(at) => (&sql[..at], &sql[at + 1..]),
            None => (sql, &b""[..]),
        };
        let number = || std::str::from_utf8(rest).ok().and_then(|text| text.parse::<usize>().ok()).unwrap_or(0);
        match word {
            b"echo" => self.row(&[rest], status, out),
            b"big" => self.row(&[&vec![b'x'; number()]], status, out),
            b"rows" => self.rows(number(), status, out).await,
            b"whoami" => {
                let context = &self.context;
                let schema = self.schema.clone().unwrap_or_default();
                let program = context.attributes.iter().find(|(key, _)| key == "_client_name").map(|(_, value)| value);
                let cells = [
                    context.user.as_bytes(),
                    schema.as_bytes(),
                    if context.peer.tls.is_some() { b"tls" } else { b"plain" },
                    program.map_or(&b""[..], |value| value.as_bytes()),
                ];
                self.row(&cells, status, out)
            }
            b"fail" => {
                if let Some(count) = rest.strip_prefix(b"after ") {
                    let count = std::str::from_utf8(count).unwrap().parse().unwrap();
                    let columns = number_and_text();
                    let mut rows = out.start_rows(&columns)?;
                    for i in 0..count {
                        rows.int(i);
                        rows.null();
                        rows.end_row()?;
                    }
                    rows.int(7);
                }
                Err(MySqlError::from_parts(1064, "42000", "no such word"))
            }
            b"wait" => {
                self.context.kill.interrupted().await;
                Err(MySqlError::interrupted())
            }
            b"hang" => std::future::pending().await,
            b"load" | b"shadow" => {
                let mut file = out.request_local_infile(&String::from_utf8_lossy(rest)).await?;
                if word == b"shadow" {
                    return Err(MySqlError::internal("not wanted"));
                }
                let mut length = 0;
                while let Some(chunk) = file.chunk().await {
                    length += chunk.len() as u64;
                }
                out.ok(&OkSummary { affected_rows: length, status, ..OkSummary::default() })
            }
            b"idle" => {
                self.context.variables.set_wait_timeout(Duration::from_secs(number() as u64));
                out.ok(&OkSummary { status, ..OkSummary::default() })
            }
            b"SELECT" => {
                let columns = ColumnSet::new(vec![ColumnDef::bigint("a"), ColumnDef::bigint("b")]);
                let mut rows = out.start_rows(&columns)?;
                rows.int(64 << 20);
                rows.int(28_800);
                rows.end_row()?;
                rows.finish(end(status))
            }
            _ => {
                let n = number() as u64;
                let info = if n > 0 { "Records: 1" } else { "" };
                out.ok(&OkSummary {
                    affected_rows: n,
                    last_insert_id: if n > 0 { n + 1 } else { 0 },
                    status,
                    warnings: 1,
                    info,
                    schema: None,
                })
            }
        }
    }

    fn row(&self, cells: &[&[u8]], status: Status, out: &mut ResultWriter) -> Result<(), MySqlError> {
        let columns = ColumnSet::new(cells.iter().map(|_| ColumnDef::text("c", 100)).collect());
        let mut rows = out.start_rows(&columns)?;
        for cell in cells {
            rows.bytes(cell);
        }
        rows.end_row()?;
        rows.finish(end(status))
    }

    async fn rows(&self, count: usize, status: Status, out: &mut ResultWriter) -> Result<(), MySqlError> {
        let columns = number_and_text();
        let mut rows = out.start_rows(&columns)?;
        for i in 0..count {
            rows.int(i as i64);
            rows.bytes_with(|text| text.extend_from_slice(format!("row {i}").as_bytes()));
            rows.end_row()?;
            rows.back_pressure().await?;
        }
        rows.finish(end(status))
    }
}

fn number_and_text() -> ColumnSet {
    ColumnSet::new(vec![ColumnDef::bigint("n"), ColumnDef::text("t", 20)])
}

/// The columns of the statement `typed`.
fn typed() -> ColumnSet {
    let of = |type_code, flags| ColumnDef { type_code, flags, ..ColumnDef::bigint("c") };
    let none = ColumnFlags::BINARY;
    ColumnSet::new(vec![
        of(TypeCode::TINY, none),
        of(TypeCode::SHORT, none),
        of(TypeCode::LONG, none),
        of(TypeCode::LONGLONG, ColumnFlags::UNSIGNED),
        of(TypeCode::FLOAT, none),
        of(TypeCode::DOUBLE, none),
        of(TypeCode::NEWDECIMAL, none),
        of(TypeCode::DATE, none),
        of(TypeCode::DATETIME, none),
        of(TypeCode::TIME, none),
        of(TypeCode::BLOB, none),
        of(TypeCode::LONG, none),
    ])
}

#[async_trait::async_trait]
impl Session for EchoSession {
    async fn query(&mut self, sql: &[u8], out: &mut ResultWriter) -> Result<(), MySqlError> {
        let sql = sql.to_vec();
        if !out.multi_statements_allowed() || !sql.contains(&b';') {
            return self.one(&sql, STATUS, out).await;
        }
        let statements: Vec<&[u8]> = sql.split(|&byte| byte == b';').collect();
        for (index, statement) in statements.iter().enumerate() {
            let more = index + 1 < statements.len();
            let status = if more { STATUS.with(Status::MORE_RESULTS) } else { STATUS };
            self.one(statement, status, out).await?;
        }
        Ok(())
    }

    async fn prepare(&mut self, sql: &[u8]) -> Result<Prepared, MySqlError> {
        let text = String::from_utf8_lossy(sql).into_owned();
        let parameters = text.matches('?').count();
        self.last += 1;
        self.statements.insert(self.last, text.clone());
        let columns = match text.as_str() {
            "typed" => typed(),
            _ => ColumnSet::new((0..parameters).map(|_| ColumnDef::text("p", 100)).collect()),
        };
        Ok(Prepared { id: self.last, parameters, columns: Arc::new(columns), warnings: 0 })
    }

    async fn execute(&mut self, id: u32, params: &[Param<'_>], out: &mut ResultWriter) -> Result<(), MySqlError> {
        if self.statements.get(&id).is_some_and(|text| text == "typed") {
            let columns = typed();
            let mut rows = out.start_rows(&columns)?;
            rows.int(-1);
            rows.int(-2);
            rows.int(-3);
            rows.uint(u64::MAX);
            rows.float(1.5);
            rows.double(-2.25);
            rows.bytes(b"12.30");
            let moment = DateTimeParts { year: 2024, month: 2, day: 29, hour: 1, minute: 2, second: 3, micros: 4 };
            rows.datetime(&moment, 6);
            rows.datetime(&moment, 6);
            let time = TimeParts { negative: true, days: 1, hour: 2, minute: 3, second: 4, micros: 5 };
            rows.time(&time, 6);
            rows.bytes(&[0xff, 0, 0xfe]);
            rows.null();
            rows.end_row()?;
            return rows.finish(end(STATUS));
        }
        if params.is_empty() {
            return out.ok(&OkSummary { affected_rows: 1, status: STATUS, ..OkSummary::default() });
        }
        let columns = ColumnSet::new(params.iter().map(|_| ColumnDef::text("p", 100)).collect());
        let mut rows = out.start_rows(&columns)?;
        for param in params {
            match param {
                Param::Null => rows.null(),
                Param::Text(bytes) | Param::Blob(bytes) => rows.bytes(bytes),
                other => rows.bytes(format!("{other:?}").as_bytes()),
            }
        }
        rows.end_row()?;
        rows.finish(end(STATUS))
    }

    fn close_statement(&mut self, id: u32) {
        self.statements.remove(&id);
    }

    async fn init_db(&mut self, schema: &str) -> Result<(), MySqlError> {
        if schema == "missing" {
            return Err(MySqlError::from_parts(1049, "42000", "Unknown database 'missing'"));
        }
        self.schema = Some(schema.to_owned());
        Ok(())
    }

    async fn field_list(&mut self, table: &str, _: &str) -> Result<Vec<ColumnDef>, MySqlError> {
        Ok(vec![ColumnDef { table: table.to_owned(), ..ColumnDef::bigint("id") }])
    }

    async fn reset(&mut self) -> Result<(), MySqlError> {
        self.statements.clear();
        Ok(())
    }

    async fn kill(&mut self, connection_id: u64) -> Result<(), MySqlError> {
        match self.context.connections.get(connection_id) {
            Some(entry) => entry.kill().kill_connection(),
            None => return Err(MySqlError::from_parts(1094, "HY000", format!("Unknown thread id: {connection_id}"))),
        }
        Ok(())
    }

    fn status(&self) -> Status {
        STATUS
    }

    async fn close(&mut self) {
        self.closed.fetch_add(1, Ordering::SeqCst);
    }
}

/// Starts a server on a port of its own.
pub async fn start(echo: Arc<Echo>, config: ServerConfig, tls: Option<Tls>) -> RunningServer {
    let server = Server {
        config,
        handler: echo.clone(),
        authenticator: echo,
        tls,
        env: Env::real(),
        connections: Arc::default(),
    };
    server.start(([127, 0, 0, 1], 0).into()).await.unwrap()
}

/// Waits until `condition` holds; fails after ten seconds.
pub async fn until(what: &str, condition: impl Fn() -> bool) {
    let waiting = Mutex::new(0);
    while !condition() {
        *waiting.lock() += 1;
        assert!(*waiting.lock() < 1000, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
