//! A store whose files are damaged, and its way back.
//!
//! ```text
//! damage is met ──▶ the mark in the folder ──▶ the process ends; other stores lead on
//! start         ──▶ mark: refused, with what it says and what to do
//! --rebuild     ──▶ the marked folder is moved aside ──▶ PD gives the old store up, if others have a majority of every
//!                   region; else the folder is moved back ──▶ a new, empty store; PD fills it
//! ```
//! Nothing is rebuilt unasked: what a folder holds may be all there is of some region, and what looks like a damaged file may be
//! a damaged cable. A store that is the only one of a region goes on, and only reads of what is damaged fail.

use anyhow::{Context, Result, bail};
use basalt_common::env::Env;
use basalt_common::{PeerRole, Region};
use basalt_proto::meta::{Store, StoreState};
use basalt_storage::engine::EngineError;
use basalt_storage::raftlog::LogError;
use basalt_storage::raftstore::StoreError;
use basalt_storage::raftstore::node::Node;
use basalt_storage::raftstore::node::pd::PdCaller;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

const MARK: &str = "DAMAGED";
/// How long PD may refuse to give a store up before that is final, and how often it is asked.
const RETIRE_PATIENCE: Duration = Duration::from_secs(20);
const RETIRE_PAUSE: Duration = Duration::from_secs(1);
/// With as many voters a region has a majority without one of them.
const VOTERS_MIN: usize = 3;

/// Refuses a folder that was marked.
pub fn check(folder: &Path) -> Result<()> {
    let mark = folder.join(MARK);
    match std::fs::read_to_string(&mark) {
        Ok(why) => bail!(
            "{}: damaged data were met: {}\nIf the other stores are well, {}",
            folder.display(),
            why.trim(),
            advice()
        ),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", mark.display())),
    }
}

/// Marks the folder and says what to do, where damage explains an error of a start.
pub fn advise(folder: &Path, error: anyhow::Error) -> anyhow::Error {
    let is_missing = |text: &str| text.contains("No such file");
    let is_damage = error.chain().any(|cause| {
        let engine = cause.downcast_ref::<EngineError>();
        let log = cause.downcast_ref::<LogError>();
        matches!(engine, Some(EngineError::Corrupt(_)))
            || matches!(log, Some(LogError::Corrupt(_)))
            || matches!(engine, Some(EngineError::Io(text)) if is_missing(text))
            || matches!(log, Some(LogError::Io(text)) if is_missing(text))
            || cause.downcast_ref::<StoreError>().is_some_and(StoreError::is_damage)
    });
    if !is_damage {
        return error;
    }
    let text = format!("{error:#}");
    Guard::new(folder).mark(&text);
    anyhow::anyhow!("{text}\nIf the other stores are well, {}", advice())
}

fn advice() -> &'static str {
    "start the store with --rebuild: PD gives up what it held, its folder is moved aside, and it comes back empty and is filled from \
     the other stores"
}

/// Who is told of damage in a store's files.
pub struct Guard {
    folder: PathBuf,
    node: OnceLock<Weak<Node>>,
}

impl Guard {
    /// Of a store in a folder, whose node does not run yet.
    pub fn new(folder: &Path) -> Arc<Guard> {
        Arc::new(Guard { folder: folder.to_path_buf(), node: OnceLock::new() })
    }

    /// The node runs.
    pub fn watch(&self, node: &Arc<Node>) {
        let _ = self.node.set(Arc::downgrade(node));
    }

    /// Marks the folder and ends the process, if others have what is damaged here.
    pub fn damage(&self, what: &str) {
        let is_replicated = self.node.get().and_then(Weak::upgrade).is_some_and(|node| is_replicated(&node));
        if !is_replicated {
            tracing::error!(folder = %self.folder.display(), what, "data are damaged, and no other store has them");
            return;
        }
        tracing::error!(folder = %self.folder.display(), what, "data are damaged; the store must stop");
        self.mark(what);
        std::process::abort();
    }

    /// Leaves the mark that the next start finds.
    pub fn mark(&self, what: &str) {
        let mark = self.folder.join(MARK);
        let written = std::fs::write(&mark, what).and_then(|()| std::fs::File::open(&mark)?.sync_all());
        if let Err(error) = written {
            tracing::error!(%error, "the folder cannot be marked; the next start will meet the damage anew");
        }
    }
}

fn is_replicated(node: &Node) -> bool {
    let delegates = node.handle().delegates().all();
    // A peer that waits for its first snapshot knows no peers, and has nothing.
    let mut regions = delegates.iter().map(|delegate| delegate.region()).filter(|region| !region.peers.is_empty());
    let voters = |region: &Region| region.peers.iter().filter(|peer| peer.role == PeerRole::Voter).count();
    regions.all(|region| voters(&region) >= VOTERS_MIN)
}

/// The regions of a store that has just ended have no leader yet, and PD does not know how their voters are: it is asked again.
async fn retire(pd: &PdCaller, store: u64, env: &Env) -> Result<(), StoreError> {
    let began = env.now();
    loop {
        match pd.retire_store(store).await {
            Err(refused) if env.now().since(began) < RETIRE_PATIENCE => {
                tracing::info!(store, %refused, "waiting for the other stores");
                tokio::time::sleep(RETIRE_PAUSE).await;
            }
            answer => return answer,
        }
    }
}

/// Gives the store of a marked folder up, and moves the folder aside, so that a new one starts there. Of a folder that is not
/// there, only the first; a folder without a mark is left alone.
///
/// # Errors
/// PD refuses, since regions have no majority without the store; the folder cannot be moved. It is where it was then.
pub async fn set_aside(folder: &Path, address: &str, pd: &PdCaller, env: &Env) -> Result<()> {
    let is_there = folder.exists();
    if is_there && !folder.join(MARK).exists() {
        tracing::warn!(folder = %folder.display(), "no damage was met here: --rebuild does nothing");
        return Ok(());
    }
    // Waits for PD as long as it takes.
    pd.cluster_info().await?;
    let known = pd.stores().await.context("PD does not tell which stores there are")?;
    let mut aside = None;
    if is_there {
        let whole = folder.canonicalize().with_context(|| format!("cannot find {}", folder.display()))?;
        let mut name = whole.as_os_str().to_owned();
        name.push(format!(".damaged-{}", env.wall_ms() / 1000));
        std::fs::rename(&whole, &name).with_context(|| format!("cannot move {} aside", whole.display()))?;
        aside = Some((whole, PathBuf::from(name)));
    }
    let is_listed = |store: &Store| matches!(store.state(), StoreState::Up | StoreState::Down);
    let mut given_up = Vec::new();
    for store in known.into_iter().filter(|store| store.address == address && is_listed(store)) {
        let retired = retire(pd, store.id, env).await;
        if let (Err(_), Some((whole, aside))) = (&retired, &aside) {
            std::fs::rename(aside, whole).with_context(|| format!("cannot move {} back", aside.display()))?;
        }
        retired.with_context(|| format!("store {} at {address} is not given up", store.id))?;
        given_up.push(store.id.to_string());
    }
    let aside = aside.map_or_else(|| "nothing was there".into(), |(_, aside)| aside.display().to_string());
    let stores = if given_up.is_empty() { "none at this address".into() } else { given_up.join(", ") };
    tracing::warn!(
        stores,
        aside,
        "the store begins anew; what was moved aside can be deleted once all replicas are there"
    );
    Ok(())
}
