//! A network that can be cut: each process in a namespace, joined to a bridge by a pair of virtual interfaces.
//!
//! ```text
//!   namespace bhPID-pd-1          namespace bhPID-sql-1
//!   eth0 10.213.N.1               eth0 10.213.N.5
//!     │                             │
//!   bhPID-1 ──┬── bridge bhPID ──┬── bhPID-5         bridge's own address 10.213.N.254, for the clients
//! ```
//! [`Network::cut`] takes one process's interface down: nobody reaches it and it reaches nobody, clients included.
//! [`Network::part`] isolates ports of the bridge from each other: those processes do not reach each other, but all the rest.
//! [`Network::mute`] lets a process hear the others and not speak: in its namespace, their addresses lead to nobody.
//! In all cases packets vanish without an answer. It needs root and iproute2.

use crate::cmd;
use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::process::Command;

/// What the names of namespaces and interfaces begin with; the process id of the test follows.
const PREFIX: &str = "bh";
/// A link address that no interface has.
const NOBODY: &str = "02:00:00:00:00:01";

/// See the module.
#[derive(Debug)]
pub struct Network {
    bridge: String,
    /// The third number of all addresses.
    subnet: u32,
    names: Vec<String>,
}

impl Network {
    /// Makes a namespace for each name; removes what tests left behind that were killed.
    ///
    /// # Errors
    /// `ip` is missing or not allowed.
    pub fn make(names: &[&str]) -> Result<Network> {
        remove_leftovers()?;
        let pid = std::process::id();
        let names = names.iter().map(|name| name.to_string()).collect();
        // From here on dropping it removes whatever was made.
        let network = Network { bridge: format!("{PREFIX}{pid}"), subnet: pid % 256, names };
        let (bridge, subnet) = (&network.bridge, network.subnet);
        ip(&format!("link add {bridge} type bridge"))?;
        ip(&format!("addr add 10.213.{subnet}.254/24 dev {bridge}"))?;
        ip(&format!("link set {bridge} up"))?;
        for name in &network.names {
            let (namespace, port) = (network.namespace(name), network.port(name));
            ip(&format!("netns add {namespace}"))?;
            ip(&format!("link add {port} type veth peer name eth0 netns {namespace}"))?;
            ip(&format!("link set {port} master {bridge} up"))?;
            ip(&format!("-n {namespace} addr add {}/24 dev eth0", network.address(name)))?;
            ip(&format!("-n {namespace} link set eth0 up"))?;
            ip(&format!("-n {namespace} link set lo up"))?;
        }
        Ok(network)
    }

    /// A process's address.
    pub fn address(&self, name: &str) -> String {
        format!("10.213.{}.{}", self.subnet, self.number(name))
    }

    /// A process's namespace.
    pub fn namespace(&self, name: &str) -> String {
        format!("{}-{name}", self.bridge)
    }

    /// Takes a process off the network, or brings it back.
    ///
    /// # Errors
    /// As [`Network::make`].
    pub fn cut(&self, name: &str, is_cut: bool) -> Result<()> {
        ip(&format!("link set {} {}", self.port(name), if is_cut { "down" } else { "up" }))
    }

    /// Keeps processes from reaching each other, or lets them again.
    ///
    /// # Errors
    /// As [`Network::make`].
    pub fn part(&self, names: &[&str], is_parted: bool) -> Result<()> {
        let isolated = if is_parted { "on" } else { "off" };
        names
            .iter()
            .try_for_each(|name| ip(&format!("link set dev {} type bridge_slave isolated {isolated}", self.port(name))))
    }

    /// Keeps what one process sends from reaching others, or lets it again. What they send arrives.
    ///
    /// # Errors
    /// As [`Network::make`].
    pub fn mute(&self, name: &str, towards: &[&str], is_mute: bool) -> Result<()> {
        let namespace = self.namespace(name);
        for other in towards {
            let address = self.address(other);
            match is_mute {
                true => {
                    ip(&format!("-n {namespace} neigh replace {address} lladdr {NOBODY} dev eth0 nud permanent"))?;
                }
                false => ip(&format!("-n {namespace} neigh del {address} dev eth0"))?,
            }
        }
        Ok(())
    }

    fn number(&self, name: &str) -> usize {
        self.names.iter().position(|known| known == name).map_or(0, |place| place + 1)
    }

    fn port(&self, name: &str) -> String {
        format!("{}-{}", self.bridge, self.number(name))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for name in &self.names {
            // A namespace takes its interfaces along when its last process has ended, at some time; the next network may
            // have the same names. What was not made cannot be deleted either.
            let _ = ip(&format!("link del {}", self.port(name)));
            if let Err(error) = ip(&format!("netns del {}", self.namespace(name))) {
                crate::say(&format!("{error:#}\n"));
            }
        }
        if let Err(error) = ip(&format!("link del {}", self.bridge)) {
            crate::say(&format!("{error:#}\n"));
        }
    }
}

fn ip(arguments: &str) -> Result<()> {
    let output = cmd::run(Command::new("ip").args(arguments.split_whitespace()));
    ensure!(output.ok, "ip {arguments}: {} (networks of their own need root)", output.err.trim());
    Ok(())
}

/// Namespaces and bridges of tests that are not there any more, with the processes that are still in them.
fn remove_leftovers() -> Result<()> {
    let gone = |name: &str| {
        let pid = name.strip_prefix(PREFIX)?.split('-').next()?;
        let is_pid = !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit());
        (is_pid && !Path::new("/proc").join(pid).exists()).then(|| name.to_string())
    };
    let output = cmd::run(Command::new("ip").args(["netns", "list"]));
    ensure!(output.ok, "ip netns list: {}", output.err.trim());
    for namespace in output.out.lines().filter_map(|line| gone(line.split_whitespace().next()?)) {
        let pids = cmd::run(Command::new("ip").args(["netns", "pids", &namespace])).out;
        for pid in pids.split_whitespace() {
            let pid = pid.parse().ok().and_then(rustix::process::Pid::from_raw).context("ip netns pids gives ids")?;
            rustix::process::kill_process(pid, rustix::process::Signal::KILL)?;
        }
        ip(&format!("netns del {namespace}"))?;
    }
    let output = cmd::run(Command::new("ip").args(["-br", "link", "show", "type", "bridge"]));
    let bridges = output.out.lines().filter_map(|line| gone(line.split_whitespace().next()?));
    bridges.into_iter().try_for_each(|bridge| ip(&format!("link del {bridge}")))
}
