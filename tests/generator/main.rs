//! Statements made from seeds, answered by Basalt and by a peer; and questions whose answers must agree with each
//! other.
//!
//! ```text
//! seed ─▶ Scenario: tables, rows, statements (trees) ─▶ Pair: Basalt in a random way, the peer as text
//!                                                          │ answers differ
//!            expected.toml ◀─ known? ─ Shrinker: cuts as long as the same difference shows ─▶ a short script
//! ```
//! One number replays a scenario. Answers are compared as rows (in order where the statement leaves no choice),
//! counts of affected rows, contents of the table that was changed, errors. [`oracles`] needs no peer: parts of a
//! query's rows must be its rows.
//!
//! With MySQL as the peer, and where Basalt is asked alone, scenarios are wide: they have more functions, windows and forms
//! of statements, dates that are none and values that have to be converted, of which MariaDB makes something else.
//!
//! | environment | effect |
//! |---|---|
//! | `GENERATOR_STATEMENTS=1000000` | so many statements |
//! | `GENERATOR_SEED=7` | the first scenario's seed; with `GENERATOR_STATEMENTS=1` that scenario alone |
//! | `MYSQL_URL=mysql://root@127.0.0.1:3406` | a peer that runs already, MariaDB or MySQL; without it a MariaDB of its own |
//! | `GENERATOR_JUDGE=mysql://root@127.0.0.1:3306` | a MySQL beside a MariaDB as the peer: where it answers as Basalt does, nothing is reported |
//! | `GENERATOR_BASALT=5150` | a Basalt that runs already, by its port |
//! | `GENERATOR_FOUND=/tmp/found` | a file a difference in that folder; of expected ones, ten a reason |

mod change;
mod dice;
mod expected;
mod expression;
mod maker;
mod oracles;
mod pair;
mod peer;
mod query;
mod report;
mod run;
mod schema;
mod shrink;
mod tree;
mod types;

use basalt_tests::{Up, alone, runtime};
use mysql_async::{Opts, OptsBuilder};

/// Statements of a run when nothing else is asked.
const STATEMENTS: usize = 10_000;
/// The first seed when nothing else is asked.
const SEED: u64 = 1;

/// A number from the environment.
fn setting<T: std::str::FromStr>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

/// Basalt: the one that runs, or one started here.
fn basalt() -> (Option<Up>, Opts) {
    let (up, port) = match setting("GENERATOR_BASALT") {
        Some(port) => (None, port),
        None => {
            let up = Up::start(&[]);
            let port = up.port;
            (Some(up), port)
        }
    };
    let options = OptsBuilder::default().ip_or_hostname("127.0.0.1").tcp_port(port).user(Some("root"));
    (up, options.prefer_socket(false).into())
}

#[test]
fn basalt_answers_as_its_peer() {
    let _alone = alone();
    let peer = peer::Peer::start();
    let (_up, basalt) = basalt();
    let wanted = setting("GENERATOR_STATEMENTS").unwrap_or(STATEMENTS);
    let first = setting("GENERATOR_SEED").unwrap_or(SEED);
    let report = runtime().block_on(run::run(basalt, &peer, first, wanted));
    assert!(report.is_empty(), "answers differ:\n{report}");
}

#[test]
fn parts_of_an_answer_make_the_whole() {
    let _alone = alone();
    let (_up, basalt) = basalt();
    let wanted = setting("GENERATOR_STATEMENTS").unwrap_or(STATEMENTS) / 10;
    let first = setting("GENERATOR_SEED").unwrap_or(SEED);
    let report = runtime().block_on(oracles::run(basalt, first, wanted));
    assert!(report.is_empty(), "answers contradict each other:\n{report}");
}
