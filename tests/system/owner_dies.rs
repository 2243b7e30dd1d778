//! The SQL server that runs schema changes is killed in each of their states, and another one brings them to their end.
//!
//! Jobs of every kind wait in one cluster, each in another state: a transaction that uses all their tables holds them
//! there ([`Gate`]), and jobs that have farther to go start earlier. One `kill -9` then meets every state at once.

use super::schema_changes::{Gate, large_table, until_filling, writes};
use basalt_tests::{Client, Cluster, alone, mysql, until};
use std::time::Duration;

/// The longest that a step takes that nobody holds up.
const STEP: Duration = Duration::from_secs(20);
/// Until an owner counts as gone, and its jobs have ended elsewhere.
const ADOPTION: Duration = Duration::from_secs(150);

/// A kind of schema change.
struct Path {
    /// A key that the table is created with.
    key: &'static str,
    change: &'static str,
    /// STATE and SCHEMA_STATE, one after the other.
    states: &'static [(&'static str, &'static str)],
    /// STATE in the end.
    end: &'static str,
    /// The keys in the end.
    keys: &'static str,
}

const PATHS: &[Path] = &[
    Path {
        key: "",
        change: "add index kk (k)",
        states: &[("running", "delete only"), ("running", "write only"), ("running", "write reorganization")],
        end: "done",
        keys: "PRIMARY,kk",
    },
    Path {
        key: "",
        change: "add unique kk (k)",
        states: &[
            ("running", "delete only"),
            ("running", "write only"),
            ("running", "write reorganization"),
            ("rolling back", "write reorganization"),
            ("rolling back", "write only"),
            ("rolling back", "delete only"),
        ],
        end: "failed",
        keys: "PRIMARY",
    },
    Path {
        key: ", key kk (k)",
        change: "drop index kk",
        states: &[("running", "write only"), ("running", "delete only")],
        end: "done",
        keys: "PRIMARY",
    },
    Path {
        key: ", key old (k)",
        change: "drop index old, add index kk (k, v)",
        states: &[
            ("running", "delete only"),
            ("running", "write only"),
            ("running", "write reorganization"),
            ("running", "write only"),
            ("running", "delete only"),
        ],
        end: "done",
        keys: "PRIMARY,kk",
    },
];

/// A job that is to meet the kill in one state of its path.
struct Job {
    path: &'static Path,
    /// The position in [`Path::states`] where it will be.
    at: usize,
    table: String,
}

/// The table that gets every write and no schema change.
const MIRROR: &str = "d.m";

fn jobs() -> Vec<Job> {
    let places = PATHS.iter().flat_map(|path| (0..path.states.len()).map(move |at| (path, at)));
    let job = |(n, (path, at))| Job { path, at, table: format!("d.t{n}") };
    places.enumerate().map(job).collect()
}

/// Makes a table of 902 rows, of which two have the same `k`.
fn make(port: u16, table: &str, key: &str) {
    let rows: Vec<String> = (1..=900).map(|n| format!("({n}, {n} + 100000, 0)")).collect();
    mysql(port, &[], &format!("create table {table} (id int primary key, k int, v int{key})")).expect_ok();
    let rows = rows.join(",");
    mysql(port, &[], &format!("insert into {table} values {rows}, (901, 900000, 0), (902, 900000, 0)")).expect_ok();
}

impl Job {
    /// Waits until the job is in a state.
    fn until_at(&self, port: u16, position: usize) {
        let (state, schema_state) = self.path.states[position];
        let wanted = format!("{state}\t{schema_state}");
        until(&format!("{} is {wanted}", self.table), STEP, || self.ask(port, "state, schema_state") == wanted);
    }

    /// Columns of the job's row in the list of jobs.
    fn ask(&self, port: u16, columns: &str) -> String {
        let ask = format!(
            "select {columns} from information_schema.basalt_ddl_jobs where statement like 'alter table {} %' order by job_id desc limit 1",
            self.table
        );
        mysql(port, &["-N"], &ask).expect_ok().trim().to_string()
    }

    /// Index and rows agree with each other, and with a table that nobody changed.
    fn agrees(&self, port: u16) {
        let ask = |query: &str| mysql(port, &["-N"], query).expect_ok();
        let rows = |from: &str| ask(&format!("select id, k, v from {from} where k >= 0 or k is null order by id"));
        let (table, name) = (&self.table, self.table.trim_start_matches("d."));
        let keys = ask(&format!(
            "select group_concat(distinct index_name order by index_name = 'PRIMARY' desc, index_name) from information_schema.statistics where table_name = '{name}'"
        ));
        assert_eq!(keys.trim(), self.path.keys, "{table}: {}", self.path.change);
        let has_index = self.path.keys.contains("kk");
        let by_rows = if has_index { format!("{table} ignore index (kk)") } else { table.clone() };
        assert_eq!(rows(&by_rows), rows(MIRROR), "{table}: the rows");
        if has_index {
            assert_eq!(rows(&format!("{table} force index (kk)")), rows(MIRROR), "{table}: the index");
            let count = |hint: &str| ask(&format!("select count(k), sum(k) from {table} {hint}"));
            assert_eq!(count("force index (kk)"), count("ignore index (kk)"), "{table}: entries");
        }
    }
}

#[test]
fn the_owner_dies_in_every_state() {
    let _alone = alone();
    let cluster = Cluster::start(1, 2, "");
    let ports = cluster.sql_ports();
    let (first, second) = (ports[0], ports[1]);
    let jobs = jobs();
    let stages = 1 + jobs.iter().map(|job| job.at).max().expect("there are jobs");
    cluster.mysql("create database d").expect_ok();
    make(first, MIRROR, "");
    jobs.iter().for_each(|job| make(first, &job.table, job.path.key));
    let tables: Vec<&str> = jobs.iter().map(|job| job.table.as_str()).chain([MIRROR]).collect();
    let everywhere = |write: &dyn Fn(&str) -> String| tables.iter().map(|t| write(t) + ";").collect::<String>();

    let changed: Vec<&str> = jobs.iter().map(|job| job.table.as_str()).collect();
    let mut gate = Gate::close(first, &changed);
    let mut statements = Vec::new();
    for stage in 0..stages {
        if stage > 0 {
            let next = Gate::close(first, &changed);
            std::mem::replace(&mut gate, next).open();
        }
        let starts = |job: &&Job| job.at + stage + 1 == stages;
        for job in jobs.iter().filter(starts) {
            let mut client = Client::connect(first);
            client.say(&format!("alter table {} {};", job.table, job.path.change));
            statements.push(client);
        }
        for job in &jobs {
            if let Some(position) = (job.at + stage + 1).checked_sub(stages) {
                job.until_at(second, position);
            }
        }
    }

    mysql(second, &[], &everywhere(&|table| writes(table, 1001).join(";"))).expect_ok();
    let transaction = |row: u32| {
        let mut txn = Client::connect(second);
        txn.run("begin");
        txn.run(&everywhere(&|t| {
            format!("insert into {t} values ({row}, {row}, 1); update {t} set k = k + 5 where id in (1001, 500)")
        }));
        txn
    };
    let commit = |mut txn: Client| {
        txn.say("commit;");
        assert_eq!(txn.finish().1, "", "a transaction beside the owner's end");
    };
    commit(transaction(1500));
    let beside = transaction(1501);
    cluster.run(&["kill", "sql-1"]).expect_ok();
    commit(beside);
    mysql(second, &[], &everywhere(&|table| writes(table, 1201).join(";"))).expect_ok();
    commit(transaction(1502));
    drop((gate, statements));
    let waiting = "select count(*) from information_schema.basalt_ddl_jobs where state in ('running', 'rolling back')";
    let mut round = 0;
    until("the other server ends the jobs", ADOPTION, || {
        round += 1;
        let (id, row) = (700_000 + round, round % 900 + 1);
        let write =
            |t: &str| format!("insert into {t} values ({id}, {id}, 2); update {t} set k = k + 1 where id = {row}");
        mysql(second, &[], &everywhere(&write)).expect_ok();
        mysql(second, &["-N"], waiting).expect_ok().trim() == "0"
    });
    for job in &jobs {
        assert_eq!(job.ask(second, "state"), job.path.end, "{}: {}", job.table, job.path.change);
        job.agrees(second);
    }
}

/// In the middle of filling an index in.
#[test]
fn the_owner_of_an_index_is_killed() {
    let _alone = alone();
    let cluster = Cluster::start(1, 2, "");
    let ports = cluster.sql_ports();
    let (first, second) = (ports[0], ports[1]);
    large_table(first);
    let mut client = Client::connect(first);
    client.say("alter table d.t add index kk (k);");
    until_filling(first);
    cluster.run(&["kill", "sql-1"]).expect_ok();
    mysql(second, &[], "insert into d.t values (100000, 7); delete from d.t where id = 39999").expect_ok();
    mysql(second, &[], "update d.t set k = k + 1 where id in (0, 39998)").expect_ok();
    let ask = "select state from information_schema.basalt_ddl_jobs";
    until("the other server ends the job", Duration::from_secs(120), || {
        mysql(second, &["-N"], ask).expect_ok().trim() == "done"
    });
    let sums = |hint: &str| {
        mysql(second, &["-N"], &format!("select count(*), sum(k), sum(id) from d.t {hint} where k >= 0")).expect_ok()
    };
    assert_eq!(sums("force index (kk)"), sums("ignore index (kk)"));
    assert!(sums("force index (kk)").starts_with("40000\t"));
}
