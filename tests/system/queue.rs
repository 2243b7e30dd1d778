//! Job queues: workers take the first job that nobody has, by SKIP LOCKED, and mark it done. Each job is done once, whichever
//! way the jobs are found.

use basalt_tests::{Up, alone, connect, runtime};
use mysql_async::prelude::Queryable;

const WORKERS: u64 = 8;
const JOBS: usize = 150;

/// What workers ask for. That a job is new is the index's condition, the filter's, or a part of both.
const QUESTIONS: [&str; 6] = [
    "select id, state from job where state = 'new' limit 1 for update skip locked",
    "select id, state from job force index (by_state) where state = 'new' order by id limit 1 for update skip locked",
    "select id, state from job force index (by_place) where state = 'new' and place > 0 order by place limit 1 for update skip locked",
    "select id, state from job where state in ('new', 'never') limit 1 for update skip locked",
    "select id, 'new' from job where state = 'new' limit 1 for update skip locked",
    "select id, state from job where id > 0 and state = 'new' limit 1 for update skip locked",
];

/// Works until there is nothing left; the jobs it has done.
async fn work(port: u16, worker: u64, question: &str) -> Vec<u64> {
    let mut conn = connect(port, Some("queue")).await.expect("the server greets");
    let (mut done, mut in_vain) = (Vec::new(), 0);
    // The others hold what is left: after a while of that, it is theirs.
    while in_vain < 20 {
        conn.query_drop("begin").await.expect("begins");
        let job: Option<(u64, String)> = conn.query_first(question).await.expect("no worker waits");
        let Some((id, state)) = job else {
            conn.query_drop("rollback").await.expect("rolls back");
            in_vain += 1;
            continue;
        };
        assert_eq!(state, "new", "job {id} is not what was asked for: {question}");
        conn.query_drop(format!("update job set state = 'done', worker = {worker} where id = {id}"))
            .await
            .expect("its own");
        conn.query_drop("commit").await.expect("commits");
        done.push(id);
        in_vain = 0;
    }
    done
}

#[test]
fn each_job_is_done_once() {
    let _alone = alone();
    let up = Up::start(&[]);
    let rows = |count: usize| (1..=count).map(|id| format!("({id}, {id}, 'new', 0)")).collect::<Vec<_>>().join(",");
    let table = "create database queue; use queue; create table job (id int primary key, place int, state varchar(10), worker int, \
                 key by_state (state), key by_place (state, place))";
    up.mysql(table).expect_ok();
    runtime().block_on(async {
        for question in QUESTIONS {
            up.mysql(&format!("use queue; delete from job; insert into job values {}", rows(JOBS))).expect_ok();
            let workers = (0..WORKERS).map(|worker| tokio::spawn(work(up.port, worker, question)));
            let mut done = Vec::new();
            for worker in workers.collect::<Vec<_>>() {
                done.extend(worker.await.expect("a worker works"));
            }
            done.sort_unstable();
            assert_eq!(done, (1..=JOBS as u64).collect::<Vec<_>>(), "{question}");
        }
    });
}
