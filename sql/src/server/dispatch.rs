//! What each command does: asks the session, and answers.
//!
//! Commands that the protocol gives no answer (COM_STMT_CLOSE, COM_STMT_SEND_LONG_DATA, COM_QUIT) get none, also when
//! they are wrong; every other command gets exactly one answer.

use super::command::Command;
use super::connection::{Authenticated, Connection, Flow, Gone, Link, guarded, refuse};
use super::error::{MySqlError, code};
use super::handshake::{Challenge, Login, utf8};
use super::payload::Payload;
use super::prepared::{malformed, recycle};
use super::result::{EndOfRows, OkSummary, Protocol};
use basalt_common::memory::STEP_BYTES;
use bytes::BytesMut;

/// How a command ends, besides an answer already written.
type Outcome = Result<Result<(), MySqlError>, Gone>;

impl Connection {
    /// Runs one command and leaves its answer in the buffer.
    pub(super) async fn dispatch(&mut self, packet: BytesMut) -> Flow {
        let command = match Command::parse(&packet) {
            Ok(command) => command,
            Err(error) => {
                self.out.error(&malformed(error));
                return Flow::Continue;
            }
        };
        self.entry.kill().begin_statement();
        // The reader has handed it over; a small one is not worth telling.
        let _held = (packet.len() >= STEP_BYTES).then(|| {
            let mut held = self.entry.memory().account();
            held.set(packet.len());
            held
        });
        let text = match command {
            Command::Query(text) | Command::Prepare(text) => text,
            _ => &[],
        };
        self.entry.begin(command.name(), text, self.shared.env.now());
        let outcome = match command {
            Command::Quit => return Flow::Close,
            Command::ChangeUser(body) => return self.change_user(body).await,
            Command::CloseStatement(id) => {
                if self.statements.remove(id) {
                    self.session.close_statement(id);
                }
                return Flow::Continue;
            }
            Command::SendLongData { id, parameter, data } => {
                let bytes_max = self.variables.max_allowed_packet();
                if let Ok(statement) = self.statements.get_mut(id, "mysql_stmt_send_long_data") {
                    statement.append_long_data(parameter, data, bytes_max, self.entry.memory());
                }
                return Flow::Continue;
            }
            Command::Query(sql) => self.query(sql).await,
            Command::ProcessInfo => self.query(b"SHOW PROCESSLIST").await,
            Command::Execute { id, params } => self.execute(id, params).await,
            Command::Prepare(sql) => self.prepare(sql).await,
            Command::InitDb(schema) => self.init_db(schema).await,
            Command::FieldList { table, wildcard } => self.field_list(table, wildcard).await,
            Command::ProcessKill(id) => self.process_kill(id).await,
            Command::ResetConnection => self.reset().await,
            other => Ok(self.answer_at_once(other)),
        };
        match outcome {
            Ok(outcome) => {
                self.out.conclude(outcome, self.variables.results());
                if self.entry.kill().is_connection_killed() {
                    // The answer is the last: of who killed its own connection, 1317.
                    let _ = self.out.flush().await;
                    return Flow::Close;
                }
                Flow::Continue
            }
            Err(Gone) => Flow::Close,
        }
    }

    /// Commands that wait for nothing.
    fn answer_at_once(&mut self, command: Command<'_>) -> Result<(), MySqlError> {
        match command {
            Command::Ping => self.ok(),
            Command::Statistics => {
                let text = self.shared.handler.statistics();
                self.out.raw(text.as_bytes());
                Ok(())
            }
            Command::SetOption(option @ (0 | 1)) => {
                self.out.set_multi_statements(option == 0);
                let status = self.session.status();
                self.out.end_of_rows(EndOfRows { status, warnings: 0 });
                Ok(())
            }
            Command::ResetStatement(id) => {
                self.statements.get_mut(id, "mysqld_stmt_reset")?.reset();
                self.ok()
            }
            Command::Fetch(id) => {
                self.statements.get_mut(id, "mysqld_stmt_fetch")?;
                let text = format!("The statement ({id}) has no open cursor.");
                Err(MySqlError::new(code::ER_STMT_HAS_NO_OPEN_CURSOR, text))
            }
            Command::Unsupported(name) => Err(MySqlError::not_supported(name)),
            _ => Err(MySqlError::new(code::ER_UNKNOWN_COM_ERROR, "Unknown command")),
        }
    }

    fn ok(&mut self) -> Result<(), MySqlError> {
        let status = self.session.status();
        self.out.ok(&OkSummary { status, ..OkSummary::default() })
    }

    async fn query(&mut self, sql: &[u8]) -> Outcome {
        let work = self.session.query(sql, &mut self.out);
        guarded(work, &mut self.reader, &mut self.transfers, self.entry.kill()).await
    }

    async fn execute(&mut self, id: u32, payload: Payload<'_>) -> Outcome {
        let statement = match self.statements.get_mut(id, "mysqld_stmt_execute") {
            Ok(statement) => statement,
            Err(error) => return Ok(Err(error)),
        };
        self.entry.share_text(&statement.text);
        let mut params = recycle(std::mem::take(&mut self.params));
        let outcome = match statement.decode(payload, &mut params) {
            Ok(()) => {
                let row_bytes_max = self.variables.max_allowed_packet();
                self.out.start(Protocol::Binary, self.reader.next_sequence, row_bytes_max);
                let work = self.session.execute(id, &params, &mut self.out);
                guarded(work, &mut self.reader, &mut self.transfers, self.entry.kill()).await
            }
            Err(error) => Ok(Err(error)),
        };
        self.params = recycle(params);
        if let Ok(statement) = self.statements.get_mut(id, "mysqld_stmt_execute") {
            statement.reset();
        }
        outcome
    }

    async fn prepare(&mut self, sql: &[u8]) -> Outcome {
        if let Err(error) = self.statements.check_room() {
            return Ok(Err(error));
        }
        let work = self.session.prepare(sql);
        let prepared = match guarded(work, &mut self.reader, &mut self.transfers, self.entry.kill()).await? {
            Ok(prepared) => prepared,
            Err(error) => return Ok(Err(error)),
        };
        let held = self.entry.memory().account_of_kept();
        if let Err(error) = self.statements.insert(prepared.id, prepared.parameters, sql, held) {
            self.session.close_statement(prepared.id);
            return Ok(Err(error));
        }
        let status = self.session.status();
        self.out.prepared(prepared.id, prepared.parameters, &prepared.columns, prepared.warnings, status);
        Ok(Ok(()))
    }

    async fn init_db(&mut self, schema: &[u8]) -> Outcome {
        let schema = match utf8(schema) {
            Ok(schema) => schema,
            Err(error) => return Ok(Err(error)),
        };
        let work = self.session.init_db(schema);
        let outcome = guarded(work, &mut self.reader, &mut self.transfers, self.entry.kill()).await?;
        Ok(outcome.and_then(|()| {
            self.entry.set_schema(Some(schema));
            let status = self.session.status();
            self.out.ok(&OkSummary { status, schema: Some(schema), ..OkSummary::default() })
        }))
    }

    async fn field_list(&mut self, table: &[u8], wildcard: &[u8]) -> Outcome {
        let (table, wildcard) = match (utf8(table), utf8(wildcard)) {
            (Ok(table), Ok(wildcard)) => (table, wildcard),
            (Err(error), _) | (_, Err(error)) => return Ok(Err(error)),
        };
        // Some clients end the pattern in a NUL.
        let work = self.session.field_list(table, wildcard.trim_end_matches('\0'));
        let outcome = guarded(work, &mut self.reader, &mut self.transfers, self.entry.kill()).await?;
        Ok(outcome.map(|columns| {
            let end = EndOfRows { status: self.session.status(), warnings: 0 };
            self.out.field_list(&columns, self.variables.results(), end);
        }))
    }

    async fn process_kill(&mut self, id: u32) -> Outcome {
        let work = self.session.kill(u64::from(id));
        let outcome = guarded(work, &mut self.reader, &mut self.transfers, self.entry.kill()).await?;
        Ok(outcome.and_then(|()| self.ok()))
    }

    async fn reset(&mut self) -> Outcome {
        let work = self.session.reset();
        let outcome = guarded(work, &mut self.reader, &mut self.transfers, self.entry.kill()).await?;
        Ok(outcome.and_then(|()| {
            self.statements.clear();
            self.ok()
        }))
    }

    /// Ends the session and starts one for another user. A failed login is the end of the connection, as in MySQL: it
    /// leaves no way to try passwords on one connection.
    async fn change_user(&mut self, body: &[u8]) -> Flow {
        let login = match Login::parse_change_user(body, self.capabilities) {
            Ok(login) => login,
            Err(error) => {
                self.out.error(&error);
                return Flow::Continue;
            }
        };
        let timeout = self.shared.config.connect_timeout;
        let link = Link {
            shared: &self.shared,
            entry: &self.entry,
            peer: self.peer,
            reader: &mut self.reader,
            out: &mut self.out,
        };
        let opened = link.open_session(login, self.capabilities, Challenge::Fresh);
        match tokio::time::timeout(timeout, opened).await {
            Ok(Ok(Authenticated { session, variables, .. })) => {
                let mut former = std::mem::replace(&mut self.session, session);
                former.close().await;
                self.variables = variables;
                self.statements.clear();
                self.out.set_capabilities(self.capabilities);
                let status = self.session.status();
                self.out.conclude_with_ok(&OkSummary { status, ..OkSummary::default() });
                Flow::Continue
            }
            Ok(Err(error)) => {
                refuse(&mut self.reader, &mut self.out, error).await;
                Flow::Close
            }
            Err(_) => Flow::Close,
        }
    }
}
