//! Statements of very many parts: each is answered, or refused with MySQL's number, in time that grows with its text.

use basalt_tests::{Up, alone, connect, runtime, timed};
use mysql_async::prelude::Queryable;
use std::time::Duration;

/// Far above what any of them takes on a loaded machine, far below what a quadratic one would.
const SLOW: Duration = Duration::from_secs(20);
const ROWS: usize = 20_000;

fn list(count: usize, separator: &str, part: impl Fn(usize) -> String) -> String {
    (0..count).map(part).collect::<Vec<_>>().join(separator)
}

fn started() -> Up {
    let up = Up::start(&[]);
    up.mysql(&format!(
        "create table test.t (id int primary key, k int not null, s varchar(20), key ks (s));
         insert into test.t values {}",
        list(ROWS, ",", |i| format!("({i},{},'row {i}')", i * 7 % ROWS)),
    ))
    .expect_ok();
    up
}

/// What comes out: a value, or an error's number.
enum Expected {
    Value(i64),
    Error(u16),
}

fn lists() -> Vec<(&'static str, String, Expected)> {
    use Expected::Value;
    let count = "select count(*) from t where";
    let ints = list(100_000, ",", |i| (i * 3).to_string());
    let thirds = ROWS.div_ceil(3) as i64;
    let mixed = list(100_000, ",", |i| if i % 2 == 0 { format!("{i}.5") } else { i.to_string() });
    let strings = list(100_000, ",", |i| format!("'ROW {}'", i * 2));
    vec![
        ("IN over a column", format!("{count} k in ({ints})"), Value(thirds)),
        ("NOT IN over a column", format!("{count} k not in ({ints})"), Value(ROWS as i64 - thirds)),
        ("NOT IN with NULL", format!("{count} k not in ({ints}, null)"), Value(0)),
        ("IN over the key", format!("{count} id in ({ints})"), Value(thirds)),
        ("IN over the key, some", format!("{count} id in ({})", list(5000, ",", |i| (i * 2).to_string())), Value(5000)),
        ("IN of numbers of two kinds", format!("{count} k in ({mixed})"), Value(ROWS as i64 / 2)),
        ("IN of strings", format!("{count} concat(s, '') in ({strings})"), Value(ROWS as i64 / 2)),
        ("IN over a key of strings", format!("{count} s in ({strings})"), Value(ROWS as i64 / 2)),
        ("IN over an expression", format!("{count} k + id * 0 in ({ints}, {ints}, {ints})"), Value(thirds)),
        ("IN of constants", format!("select (299997 in ({ints})) + (4 in ({ints}))"), Value(1)),
        (
            "IN on both sides of a join",
            format!("select count(*) from t a join t b on a.k = b.id where a.id in ({ints}) and b.k in ({ints})"),
            Value(
                (0..ROWS).filter(|i| i.is_multiple_of(3) && (i * 7 % ROWS * 7 % ROWS).is_multiple_of(3)).count() as i64
            ),
        ),
        (
            "rows in a list of rows",
            format!("{count} (id, k) in ({})", list(10_000, ",", |i| format!("({i},{})", i * 7 % ROWS))),
            Value(10_000),
        ),
    ]
}

fn chains() -> Vec<(&'static str, String, Expected)> {
    use Expected::{Error, Value};
    let count = "select count(*) from t where";
    let parens = |n: usize| format!("select {}1{}", "(".repeat(n), ")".repeat(n));
    vec![
        ("OR", format!("{count} ({}) and id < 10", list(20_000, " or ", |i| format!("(id={i} and k={i})"))), Value(1)),
        ("OR of one column", format!("{count} {}", list(20_000, " or ", |i| format!("k = {}", i * 2))), Value(10_000)),
        ("AND", format!("{count} id < 10 and {}", list(10_000, " and ", |i| format!("k <> {}", i * 7))), Value(0)),
        (
            "UNION of constants",
            format!("select count(*) from ({}) x", list(5000, " union ", |i| format!("select {}", i % 50))),
            Value(50),
        ),
        (
            "UNION ALL of tables",
            format!(
                "select count(*) from ({}) x",
                list(500, " union all ", |i| format!("select k from t where id={i}"))
            ),
            Value(500),
        ),
        (
            "CASE",
            format!(
                "select case k {} else -1 end from t where id = 1",
                list(10_000, " ", |i| format!("when {} then {i}", i * 7))
            ),
            Value(1),
        ),
        ("arguments", format!("select length(concat({}))", list(10_000, ",", |_| "'ab'".into())), Value(20_000)),
        ("a sum", format!("select k{} from t where id = 1", " + 1".repeat(2000)), Value(2007)),
        ("a sum in a filter", format!("{count} k{} > {}", " + 1".repeat(2000), ROWS + 1989), Value(10)),
        ("a sum too long", format!("select 1{}", " + 1".repeat(500_000)), Error(1436)),
        ("parentheses", parens(5000), Value(1)),
        ("NOT", format!("select {}1", "not ".repeat(5001)), Value(0)),
        ("calls", format!("select {}1{}", "abs(".repeat(1000), ")".repeat(1000)), Value(1)),
        ("calls too deep", format!("select {}1{}", "abs(".repeat(200_000), ")".repeat(200_000)), Error(1436)),
        ("minus too deep", format!("select {}1", "- ".repeat(200_000)), Error(1436)),
        ("subqueries too deep", format!("select {}1{}", "(select ".repeat(64), ")".repeat(64)), Error(1473)),
        ("subqueries", format!("select {}1{}", "(select ".repeat(63), ")".repeat(63)), Value(1)),
        (
            "EXISTS within EXISTS",
            format!("{count} exists (select 1{}{}", " from t where exists (select 1".repeat(15), ")".repeat(16)),
            Value(ROWS as i64),
        ),
        (
            "EXISTS too deep",
            format!("{count} exists (select 1{}{}", " from t where exists (select 1".repeat(40), ")".repeat(41)),
            Error(1473),
        ),
        (
            "IN too deep",
            format!("{count} k in (select k{} from t{}", " from t where k in (select k".repeat(40), ")".repeat(41)),
            Error(1473),
        ),
        (
            "derived tables",
            format!("select count(*) from {}t{} y", "(select * from ".repeat(60), " x)".repeat(60)),
            Value(ROWS as i64),
        ),
        ("columns", format!("select {} from t where id = 1", list(4096, ",", |i| format!("k + {i}"))), Value(7)),
        ("a pattern too deep", "select 'a' regexp repeat('[', 100000)".into(), Error(3687)),
        ("groups too deep", "select 'a' regexp concat(repeat('(', 50000), repeat(')', 50000))".into(), Error(3687)),
        ("a pattern too long", "select 'a' regexp repeat('a|', 10000000)".into(), Error(3700)),
        ("a pattern of many ways", "select repeat('a', 40) regexp '^(a|a?)+\\\\1b$'".into(), Error(3699)),
        ("INTERVAL within INTERVAL", nested("year('2020-01-01' + interval (%) day)", "1", 60), Value(2025)),
        ("BETWEEN within BETWEEN", nested("(%) between 1 and '2'", "1", 15), Value(1)),
        ("NULLIF within NULLIF", nested("nullif(%, 1)", "rand()", 40), Error(1436)),
        ("CASE within CASE", nested("case (%) when 1 then 2 when '3' then 4 end", "rand()", 60), Error(1436)),
        (
            "a cell that is many times its text",
            format!("select make_set(-1, {}) from (select repeat('a', 60000000) x) t", list(63, ",", |_| "x".into())),
            Error(1301),
        ),
        (
            "a row of very long cells",
            format!("select {} from (select repeat('a', 60000000) x) t", list(20, ",", |_| "x".into())),
            Error(1153),
        ),
        (
            "windows over windows",
            format!(
                "select count(*) over w0 from t where id = 1 window {}, w1000 as (order by id)",
                list(1000, ", ", |i| format!("w{i} as (w{})", i + 1))
            ),
            Value(1),
        ),
        ("too many columns", format!("select {}", list(4097, ",", |i| i.to_string())), Error(1117)),
    ]
}

/// `select` of a template around itself, so many times; `%` is its inside.
fn nested(template: &str, inside: &str, times: usize) -> String {
    format!("select {}", (0..times).fold(inside.to_string(), |inner, _| template.replace('%', &inner)))
}

fn run(statements: Vec<(&'static str, String, Expected)>) {
    let _alone = alone();
    let up = started();
    runtime().block_on(async {
        let mut connection = connect(up.port, Some("test")).await.expect("the server listens");
        for (what, statement, expected) in statements {
            let answer = tokio::time::timeout(SLOW, connection.query_first::<mysql_async::Row, _>(statement)).await;
            let answer = answer.unwrap_or_else(|_| panic!("{what}: no answer in {SLOW:?}"));
            match (answer, expected) {
                (Ok(Some(row)), Expected::Value(value)) if row.get::<i64, _>(0) == Some(value) => {}
                (Err(mysql_async::Error::Server(error)), Expected::Error(code)) if error.code == code => {}
                (answer, Expected::Value(value)) => panic!("{what}: {answer:?} where {value} was expected"),
                (answer, Expected::Error(code)) => panic!("{what}: {answer:?} where error {code} was expected"),
            }
        }
    });
    assert!(!up.log().contains("panicked"), "{}", up.log());
}

#[test]
fn long_lists_cost_a_look_up_a_row() {
    run(lists());
}

#[test]
fn long_chains_are_answered_or_refused() {
    run(chains());
}

#[test]
fn one_statement_writes_and_changes_very_many_rows() {
    let _alone = alone();
    let up = started();
    let keys = list(10_000, ",", |i| (i * 2).to_string());
    let ((), took) = timed(|| {
        up.mysql(&format!(
            "use test; create table n (id int primary key, v varchar(20));
             insert into n values {};
             update t set k = -1 where id in ({keys}); delete from t where k = -1 and id in ({keys})",
            list(100_000, ",", |i| format!("({i},'value {i}')")),
        ))
        .expect_ok();
    });
    assert!(took < 3 * SLOW, "{took:?}");
    let left = up.mysql("select count(*), (select count(*) from test.n) from test.t").expect_ok();
    assert!(left.contains("10000\t100000"), "{left}");
}
