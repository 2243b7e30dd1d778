//! `basalt cluster`: a local cluster of real processes on loopback.
//!
//! ```text
//! DIR/cluster.json          what was asked for: counts, ports, settings file
//! DIR/NAME/{pid,log,data}   one folder a process: pd-1, storage-1 …, sql-1 …
//! ```
//! Ports, from `port_base` B: sql-N on B+N-1 and status B+1000+N-1, pd-N on B+2000+N-1 and status B+2500+N-1,
//! storage-N on B+3000+N-1 and status B+3500+N-1.
//!
//! A process is known by its pid file and by the command line that the kernel reports for the pid, so a number that was
//! reused by another program is never taken for ours and never signalled.

mod layout;
mod process;

use crate::cli;
use anyhow::{Context, Result, bail};
use layout::{Layout, Role};
use process::{Process, State};
use std::path::Path;
use std::time::Duration;

/// How long one process may take to become ready.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// Replicas of a region where there are enough stores.
const REPLICAS: u32 = 3;
/// How often the replicas are looked at while a cluster starts.
const REPLICAS_POLL: Duration = Duration::from_millis(100);
/// How long one process may take to stop before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a dead process's port is tried, a pause apart.
const DEAD_PORT_TRIES: u32 = 150;

/// Runs one verb.
pub fn run(args: cli::Cluster) -> Result<()> {
    let dir = args.dir;
    match args.verb {
        cli::ClusterVerb::Up { pd, storage, sql, port_base, config } => {
            let saved = Layout::load(&dir)?;
            let saved = saved.as_ref();
            let wanted = Layout {
                pd: pd.or(saved.map(|saved| saved.pd)).unwrap_or(1),
                storage: storage.or(saved.map(|saved| saved.storage)).unwrap_or(3),
                sql: sql.or(saved.map(|saved| saved.sql)).unwrap_or(1),
                port_base: port_base.or(saved.map(|saved| saved.port_base)).unwrap_or(4000),
                config,
            };
            up(&dir, wanted)
        }
        cli::ClusterVerb::Down => down(&dir),
        cli::ClusterVerb::Status { json } => status(&dir, json),
        cli::ClusterVerb::Stop { name } => stop(&find(&dir, &name)?),
        cli::ClusterVerb::Kill { name } => find(&dir, &name)?.kill(),
        cli::ClusterVerb::Start { name, rebuild } => {
            let process = find(&dir, &name)?;
            if rebuild && process.role != Role::Storage {
                bail!("{name} is no storage node: there is nothing to rebuild it from");
            }
            if process.state()? == State::Running {
                bail!("{name} is running already");
            }
            process.spawn(if rebuild { &["--rebuild"] } else { &[] })?;
            process.wait_ready(READY_TIMEOUT)
        }
    }
}

fn up(dir: &Path, wanted: Layout) -> Result<()> {
    wanted.check()?;
    let (layout, is_new) = match Layout::load(dir)? {
        None => (wanted, true),
        // A folder keeps its shape: data of three stores must not be started as two.
        Some(saved) if saved.same_shape(&wanted) => (saved, false),
        Some(saved) => bail!(
            "{} holds a cluster of {}; start it with those numbers, or give another --dir",
            dir.display(),
            saved.describe()
        ),
    };
    check_ports(&layout.processes(dir)?)?;
    if is_new {
        layout.save(dir)?;
    }
    let mut started = Vec::new();
    if let Err(error) = start_all(&layout, dir, &mut started) {
        return Err(give_up(error, started));
    }
    let out = &mut std::io::stdout();
    use std::io::Write;
    writeln!(out, "ready: mysql -h 127.0.0.1 -P {} -u root", layout.port_base)?;
    writeln!(out, "  {}; see `basalt cluster status --dir {}`", layout.describe(), dir.display())?;
    Ok(())
}

/// Finds ports in use before anything is started.
fn check_ports(processes: &[Process]) -> Result<()> {
    for process in processes {
        let state = process.state()?;
        if state == State::Running {
            continue;
        }
        // A process that was killed is dead before the last of its threads has let go of the sockets.
        let tries = if state == State::Dead { DEAD_PORT_TRIES } else { 1 };
        for address in [&process.listen, &process.status] {
            if let Err(error) = process::bound_within(tries, address) {
                bail!(
                    "{address}, which {} needs: {error}. Stop what uses it (`basalt up`, another cluster?), or give --dir and --port-base of its own",
                    process.name
                );
            }
        }
    }
    Ok(())
}

/// Starts what does not run, role by role, and waits; `started` is what there is to stop when it fails.
fn start_all(layout: &Layout, dir: &Path, started: &mut Vec<Process>) -> Result<()> {
    for role in [Role::Pd, Role::Storage, Role::Sql] {
        let processes = layout.processes(dir)?.into_iter().filter(|p| p.role == role).collect::<Vec<_>>();
        for process in &processes {
            if process.state()? != State::Running {
                process.spawn(&[])?;
                started.push(process.clone());
            }
        }
        for process in &processes {
            process.wait_ready(READY_TIMEOUT)?;
        }
    }
    wait_for_replicas(layout, dir)
}

/// Stops what a start that failed has started; the error says so.
fn give_up(error: anyhow::Error, mut started: Vec<Process>) -> anyhow::Error {
    started.retain(|process| process.state().is_ok_and(|state| state == State::Running));
    started.reverse();
    let names = started.iter().map(|process| process.name.as_str()).collect::<Vec<_>>().join(", ");
    if names.is_empty() {
        return error;
    }
    match stop_all(&started) {
        Ok(()) => anyhow::anyhow!("{error:#}; stopped again: {names}"),
        Err(stopping) => anyhow::anyhow!("{error:#}; {names} run on: {stopping:#}"),
    }
}

/// A cluster is ready when its regions have their replicas: what is acknowledged from then on survives the loss of a store.
fn wait_for_replicas(layout: &Layout, dir: &Path) -> Result<()> {
    let Some(sql) = layout.processes(dir)?.into_iter().find(|p| p.role == Role::Sql) else { return Ok(()) };
    let wanted = layout.storage.min(REPLICAS) as usize;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        for _ in 0..READY_TIMEOUT.as_millis() / REPLICAS_POLL.as_millis() {
            let regions = crate::ctl::request(&sql.status, "GET", "/api/regions").await?;
            let voters = |region: &serde_json::Value| {
                region["peers"].as_array().map_or(0, |peers| peers.iter().filter(|p| p["role"] == "voter").count())
            };
            if regions.as_array().is_some_and(|all| !all.is_empty() && all.iter().all(|r| voters(r) >= wanted)) {
                return Ok(());
            }
            tokio::time::sleep(REPLICAS_POLL).await;
        }
        bail!("regions did not get {wanted} replicas in {} s", READY_TIMEOUT.as_secs())
    })
}

fn down(dir: &Path) -> Result<()> {
    let mut processes = load(dir)?.processes(dir)?;
    processes.reverse(); // SQL servers first, PD last
    stop_all(&processes)
}

/// Stops processes, those of one role together: first all are asked, then all are waited for.
fn stop_all(processes: &[Process]) -> Result<()> {
    for role in processes.chunk_by(|a, b| a.role == b.role) {
        let mut asked = Vec::new();
        for process in role {
            if process.state()? == State::Running {
                process.ask_to_stop()?;
                asked.push(process);
            }
        }
        for process in asked {
            process.wait_stopped(STOP_TIMEOUT)?;
        }
    }
    Ok(())
}

fn stop(process: &Process) -> Result<()> {
    if process.state()? != State::Running {
        bail!("{} is not running", process.name);
    }
    process.ask_to_stop()?;
    process.wait_stopped(STOP_TIMEOUT)
}

fn status(dir: &Path, json: bool) -> Result<()> {
    use std::io::Write;
    let rows = load(dir)?.processes(dir)?;
    let out = &mut std::io::stdout();
    if json {
        let rows = rows
            .iter()
            .map(|p| {
                Ok(serde_json::json!({
                    "name": p.name, "role": p.role.name(), "pid": p.pid()?, "address": p.listen, "status": p.status,
                    "state": p.state()?.name(),
                }))
            })
            .collect::<Result<Vec<_>>>()?;
        writeln!(out, "{}", serde_json::to_string_pretty(&rows)?)?;
        return Ok(());
    }
    writeln!(out, "{:<12} {:<8} {:>8} {:<22} {:<22} STATE", "NAME", "ROLE", "PID", "ADDRESS", "STATUS")?;
    for p in rows {
        let pid = p.pid()?.map_or("-".into(), |pid| pid.to_string());
        writeln!(
            out,
            "{:<12} {:<8} {pid:>8} {:<22} {:<22} {}",
            p.name,
            p.role.name(),
            p.listen,
            p.status,
            p.state()?.name()
        )?;
    }
    Ok(())
}

fn load(dir: &Path) -> Result<Layout> {
    Layout::load(dir)?.with_context(|| format!("no cluster in {}: start one with `basalt cluster up`", dir.display()))
}

fn find(dir: &Path, name: &str) -> Result<Process> {
    let processes = load(dir)?.processes(dir)?;
    let names = processes.iter().map(|p| p.name.clone()).collect::<Vec<_>>().join(", ");
    processes
        .into_iter()
        .find(|p| p.name == name)
        .with_context(|| format!("no process {name:?} here; there are {names}"))
}
