//! Where scripts are played: servers, and where a table's rows lie.

use anyhow::{Result, ensure};
use basalt_tests::{Cluster, Up, basalt};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, OptsBuilder};
use std::time::Duration;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{sleep, timeout};

/// How long a server may take to greet.
const GREETING_TIME: Duration = Duration::from_secs(30);
/// How often a leader is asked to go elsewhere, and the time in between.
const TRANSFERS_MAX: usize = 50;
const TRANSFER_TIME: Duration = Duration::from_millis(200);

/// Which place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One process, a table's rows in one region.
    Whole,
    /// One process, a table's rows in two regions.
    Apart,
    /// Three storage processes, a table's rows in two regions whose leaders are on two of them, one SQL server.
    Stores,
    /// Two SQL servers, which the sessions of a script take in turn.
    Servers,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 4] = [Kind::Whole, Kind::Apart, Kind::Stores, Kind::Servers];
    /// What runs when nothing else is asked, and below which folders: half a minute. In two servers it is schema changes that they
    /// have to agree on.
    pub const DEFAULT: [(Kind, &str); 2] = [(Kind::Whole, ""), (Kind::Servers, "schema/")];

    /// Its name in SESSIONS_PLACES and `known.txt`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Whole => "whole",
            Kind::Apart => "apart",
            Kind::Stores => "stores",
            Kind::Servers => "servers",
        }
    }
}

/// See the module.
pub struct Place {
    servers: Vec<Opts>,
    /// None of a real MySQL.
    kind: Option<Kind>,
    /// Who makes tables for a script; Basalt's catalog takes one change at a time well, and eight badly.
    catalog: Mutex<()>,
    /// What runs as long as this is held.
    processes: (Option<Up>, Option<Cluster>),
}

impl Place {
    /// Starts a Basalt.
    pub fn start(kind: Kind) -> Place {
        let (ports, processes) = match kind {
            Kind::Whole | Kind::Apart => {
                let up = Up::start(&[]);
                (vec![up.port], (Some(up), None))
            }
            Kind::Stores => {
                let cluster = Cluster::start(3, 1, "");
                (cluster.sql_ports(), (None, Some(cluster)))
            }
            Kind::Servers => {
                let cluster = Cluster::start(1, 2, "");
                (cluster.sql_ports(), (None, Some(cluster)))
            }
        };
        let options = |port: u16| OptsBuilder::default().ip_or_hostname("127.0.0.1").tcp_port(port).user(Some("root"));
        let servers = ports.into_iter().map(|port| options(port).prefer_socket(false).into()).collect();
        Place { servers, kind: Some(kind), catalog: Mutex::default(), processes }
    }

    /// A MySQL that runs, by its URL.
    pub fn mysql(url: &str) -> Place {
        let options = Opts::from_url(url).unwrap_or_else(|error| panic!("MYSQL_URL: {error}"));
        let servers = vec![OptsBuilder::from_opts(options).prefer_socket(false).into()];
        Place { servers, kind: None, catalog: Mutex::default(), processes: (None, None) }
    }

    /// A connection; sessions take the servers in turn.
    ///
    /// # Errors
    /// The server does not greet.
    pub async fn connect(&self, session: usize, database: Option<&str>) -> Result<Conn> {
        let server = self.servers[session % self.servers.len()].clone();
        let options = OptsBuilder::from_opts(server).db_name(database);
        Ok(timeout(GREETING_TIME, Conn::new(options)).await??)
    }

    /// A turn at changing the catalog, held while a set-up does so.
    pub async fn turn(&self) -> Option<MutexGuard<'_, ()>> {
        match self.kind {
            Some(_) => Some(self.catalog.lock().await),
            None => None,
        }
    }

    /// Whether answers that differ by design are those of this place.
    pub fn is_basalt(&self) -> bool {
        self.kind.is_some()
    }

    /// Whether what scripts leave behind would be found by the next run.
    pub fn lives_on(&self) -> bool {
        self.kind.is_none()
    }

    /// What is done behind a statement of the set-up, so that rows lie where this place wants them: with keys from 2 on apart
    /// from those before.
    pub fn split(&self, sql: &str) -> Option<String> {
        let splits = matches!(self.kind, Some(Kind::Apart | Kind::Stores));
        let words: Vec<&str> = sql.split_whitespace().take(3).collect();
        let [create, table, name] = words.as_slice() else { return None };
        let name = name.split('(').next().unwrap_or(name);
        (splits && create.eq_ignore_ascii_case("CREATE") && table.eq_ignore_ascii_case("TABLE"))
            .then(|| format!("SPLIT TABLE {name} BY (2)"))
    }

    /// Behind a split: puts the leaders of a table's two regions on two stores, where there are several.
    ///
    /// # Errors
    /// They stay together.
    pub async fn spread(&self, conn: &mut Conn, split: &str) -> Result<()> {
        let (Some(Kind::Stores), (_, Some(cluster))) = (self.kind, &self.processes) else { return Ok(()) };
        let table = split.split_whitespace().nth(2).unwrap_or_default();
        let status = cluster.status().into_iter().find(|p| p.role == "sql").expect("a SQL server").status;
        for _ in 0..TRANSFERS_MAX {
            let regions: Vec<mysql_async::Row> = conn.query(format!("SHOW TABLE {table} REGIONS")).await?;
            let leaders: Vec<(u64, u64)> =
                regions.iter().filter_map(|row| Some((row.get("REGION_ID")?, row.get("LEADER_STORE_ID")?))).collect();
            let [.., (_, first), (region, second)] = leaders[..] else { return Ok(()) };
            if first != second {
                return Ok(());
            }
            let stores: Vec<u64> =
                conn.query("SELECT store_id FROM information_schema.basalt_stores ORDER BY store_id").await?;
            let other = stores.into_iter().find(|store| *store != first).unwrap_or_default();
            basalt(&["ctl", "transfer-leader", "--status", &status, &region.to_string(), &other.to_string()]);
            sleep(TRANSFER_TIME).await;
        }
        ensure!(false, "the leaders of {table} stay on one store");
        Ok(())
    }
}
