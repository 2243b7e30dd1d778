//! Accounts as an operator hands them to a starting server: root's first password, and a file of statements.
//!
//! Both happen before a client is let in. The file is run as root and over no network, so that it is also the way back in
//! for who has lost root's password.

use super::server::Shared;
use super::session::SqlSession;
use crate::error::{Error, Result};
use crate::memory::SessionMemory;
use crate::parser::statement::{UserSpec, UserStatement};
use crate::server::auth::Credential;
use crate::server::config::MAX_ALLOWED_PACKET_DEFAULT;
use crate::server::registry::Connections;
use crate::server::session_api::{Account, ConnectionVariables, Peer, Session, SessionContext};
use crate::server::{Capabilities, KillSwitch, silent};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// What is done to accounts before clients are let in.
#[derive(Default)]
pub struct StartAccounts {
    /// Root's password, if root has none.
    pub root_password: Option<Vec<u8>>,
    /// Statements to run as root.
    pub init_file: Option<InitFile>,
}

/// A file of statements.
pub struct InitFile {
    /// Its name, for errors.
    pub name: String,
    /// What is in it.
    pub text: Vec<u8>,
}

/// The account that may do everything.
fn root() -> Account {
    Account { user: "root".into(), host: "%".into(), credential: Credential::Empty, require_tls: false, locked: false }
}

/// Does what the operator asked for.
///
/// # Errors
/// When the cluster does not answer, or a statement of the file fails.
pub(super) async fn prepare(shared: &Arc<Shared>, accounts: StartAccounts) -> Result<()> {
    if let Some(password) = accounts.root_password {
        set_root_password(shared, password).await?;
    }
    match accounts.init_file {
        Some(file) => run(shared, &file).await,
        None => Ok(()),
    }
}

async fn set_root_password(shared: &Arc<Shared>, password: Vec<u8>) -> Result<()> {
    if !shared.users.root_is_open() {
        tracing::info!("root has a password already: the one of the environment is not looked at");
        return Ok(());
    }
    let password = String::from_utf8(password).map_err(|_| Error::Start("root's password is not UTF-8".into()))?;
    let spec = UserSpec { name: "root".into(), host: "%".into(), plugin: None, password: Some(password), hash: None };
    let statement = UserStatement::Alter { users: vec![spec], if_exists: false };
    shared.users.change(&shared.catalog, &statement, &root(), &KillSwitch::new()).await?;
    tracing::info!("root got the password of the environment");
    Ok(())
}

async fn run(shared: &Arc<Shared>, file: &InitFile) -> Result<()> {
    let context = SessionContext {
        connection_id: 0,
        user: "root".into(),
        account: Arc::new(root()),
        peer: Peer { address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), tls: None },
        schema: None,
        capabilities: Capabilities::OFFERED,
        collation: 0,
        attributes: Arc::default(),
        memory: Arc::new(SessionMemory::new(0)),
        kill: Arc::new(KillSwitch::new()),
        connections: Arc::new(Connections::default()),
        variables: Arc::new(ConnectionVariables::new(Duration::from_secs(60), MAX_ALLOWED_PACKET_DEFAULT)),
    };
    let mut session = SqlSession::new(shared.clone(), context)?;
    let outcome = session.query(&file.text, &mut silent::writer()).await;
    session.close().await;
    outcome.map_err(|e| Error::Start(format!("--init-file {}: ERROR {}: {}", file.name, e.code.code, e.message)))?;
    tracing::info!(file = %file.name, "ran the statements of the init file");
    Ok(())
}
