//! A person with the `mysql` client: connects, makes tables, asks, and finds everything again after kill -9.

use basalt_tests::{Up, alone};

const SETUP: &str = "
    create database shop; use shop;
    create table item (id bigint primary key auto_increment, name varchar(40) not null, price decimal(10,2), made date,
        seen datetime default current_timestamp, note text, unique key by_name (name), key by_price (price));
    insert into item (name, price, made) values ('anvil', 99.90, '2024-02-29'), ('rope', 3.5, '2023-12-01'), ('tnt', null, null);
    create table sale (item_id bigint not null, day date not null, n int not null, primary key (item_id, day));
    insert into sale values (1, '2024-03-01', 2), (1, '2024-03-02', 1), (2, '2024-03-01', 10);
    update item set price = price + 0.10 where name = 'anvil';
    delete from item where name = 'tnt';
    replace into item (name, price) values ('rope', 4);
    insert into item (name, price) values ('anvil', 1) on duplicate key update price = price + values(price);
    create index by_made on item (made);
    begin; insert into item (name, price) values ('ghost', 0); rollback;
    begin; insert into item (name, price) values ('kept', 7); commit;
";

/// Statements and what the client prints for them, tab-separated, without the header.
const ASK: &[(&str, &str)] = &[
    ("select name, price from shop.item order by name", "anvil\t101.00\nkept\t7.00\nrope\t4.00\n"),
    ("select count(*), sum(n), min(day), max(day), avg(n) from shop.sale", "3\t13\t2024-03-01\t2024-03-02\t4.3333\n"),
    ("select name from shop.item where made = '2024-02-29'", "anvil\n"),
    (
        "select i.name, sum(s.n) total from shop.item i join shop.sale s on s.item_id = i.id group by i.name order by total desc",
        "anvil\t3\n",
    ),
    ("select name from shop.item where price > (select avg(price) from shop.item)", "anvil\n"),
    ("with c as (select item_id, n from shop.sale where n > 1) select count(*) from c", "2\n"),
    (
        "select item_id, row_number() over (partition by item_id order by day) r from shop.sale order by 1, 2",
        "1\t1\n1\t2\n2\t1\n",
    ),
    ("select 1 union select 2 union all select 2 order by 1", "1\n2\n2\n"),
    (
        "select 7 div 2, 7/2, 5 % 3, 1/0, '3' + 4, 'a' = 'A', concat('x', null), ifnull(null, 'y')",
        "3\t3.5000\t2\tNULL\t7\t1\tNULL\ty\n",
    ),
    ("show tables from shop", "item\nsale\n"),
    ("select table_name from information_schema.tables where table_schema = 'shop' order by 1", "item\nsale\n"),
];

fn check(up: &Up) {
    for (statement, expected) in ASK {
        let out = basalt_tests::mysql(up.port, &["--skip-column-names"], statement).expect_ok();
        assert_eq!(out, *expected, "{statement}");
    }
}

#[test]
fn a_session_and_the_same_data_after_kill_9() {
    let _alone = alone();
    let mut up = Up::start(&[]);
    up.mysql(SETUP).expect_ok();
    check(&up);
    up.kill9();
    up.spawn();
    check(&up);
    assert!(up.stop(), "SIGTERM ends with 0");
    up.spawn();
    check(&up);
}

#[test]
fn three_stores_in_one_process_survive_kill_9() {
    let _alone = alone();
    let mut up = Up::start(&["--stores", "3"]);
    up.mysql(SETUP).expect_ok();
    check(&up);
    up.kill9();
    up.spawn();
    check(&up);
}

#[test]
fn errors_are_mysqls() {
    let _alone = alone();
    let up = Up::start(&[]);
    up.mysql(
        "create database d; create table d.t (id int primary key, a varchar(3), b tinyint not null default 1, d date);
         insert into d.t values (1, 'abc', 2, '2024-01-01')",
    )
    .expect_ok();
    let cases = [
        ("selec 1", "ERROR 1064 (42000)"),
        ("select * from d.missing", "ERROR 1146 (42S02)"),
        ("select missing from d.t", "ERROR 1054 (42S22)"),
        ("use missing", "ERROR 1049 (42000)"),
        ("insert into d.t values (1, 'x', 1, null)", "ERROR 1062 (23000)"),
        ("insert into d.t values (2, 'toolong', 1, null)", "ERROR 1406 (22001)"),
        ("insert into d.t values (3, 'x', 300, null)", "ERROR 1264 (22003)"),
        ("insert into d.t values (4, 'x', 1, '2024-02-30')", "ERROR 1292 (22007)"),
        ("insert into d.t values (5, 'x', null, null)", "ERROR 1048 (23000)"),
        ("insert into d.t (id, a) values (6)", "ERROR 1136 (21S01)"),
        ("create table d.t (id int)", "ERROR 1050 (42S01)"),
        ("create database d", "ERROR 1007 (HY000)"),
        ("drop table d.missing", "ERROR 1051 (42S02)"),
        ("select (select id from d.t union all select 2)", "ERROR 1242 (21000)"),
        ("select 9223372036854775807 + 1", "ERROR 1690 (22003)"),
    ];
    for (statement, expected) in cases {
        let error = up.mysql(statement).expect_error();
        assert!(error.contains(expected), "{statement}\nexpected {expected}, got {error}");
    }
    assert_eq!(basalt_tests::mysql(up.port, &["-N"], "select count(*) from d.t").expect_ok(), "1\n");
}

#[test]
fn mariadb_dump_reads_back() {
    let _alone = alone();
    let up = Up::start(&[]);
    up.mysql(SETUP).expect_ok();
    let port = format!("-P{}", up.port);
    let dump = basalt_tests::cmd::run(std::process::Command::new("mariadb-dump").args([
        "--no-defaults",
        "-h127.0.0.1",
        &port,
        "-uroot",
        "--databases",
        "shop",
        "--single-transaction",
    ]))
    .expect_ok();
    up.mysql("drop database shop").expect_ok();
    up.mysql(&dump).expect_ok();
    check(&up);
}

/// A dump writes a BLOB's bytes as they are, in a plain literal.
#[test]
fn bytes_of_a_dump_read_back() {
    let _alone = alone();
    let up = Up::start(&[]);
    let rows = "insert into d.b values (1, x'61FF00', x'FEFF'), (2, x'C3A9', x''), (3, x'80275C0A0D1A22', x'E697')";
    up.mysql("create database d; create table d.b (id int primary key, v varbinary(20), b blob)").expect_ok();
    up.mysql(rows).expect_ok();
    let ask = || up.mysql("select id, hex(v), hex(b) from d.b order by id").expect_ok();
    let before = ask();
    let client = format!("--no-defaults -h127.0.0.1 -P{} -uroot", up.port);
    let round = format!(
        "mariadb-dump {client} --databases d > $0 && mysql {client} -e 'drop database d' && mysql {client} --binary-mode < $0"
    );
    let file = tempfile::NamedTempFile::new().expect("a temporary file can be made");
    basalt_tests::cmd::run(std::process::Command::new("sh").args(["-c", &round]).arg(file.path())).expect_ok();
    assert_eq!(ask(), before);
}

/// What its COMMIT would be refused, an optimistic transaction must not read meanwhile.
#[test]
fn an_optimistic_transaction_sees_no_key_twice() {
    let _alone = alone();
    let up = Up::start(&[]);
    up.mysql("create database d; create table d.t (a int primary key, b int unique, c int, key (c))").expect_ok();
    up.mysql("insert into d.t values (1, 1, 1), (2, 2, 2)").expect_ok();
    let statements = "set basalt_txn_mode = 'optimistic'; begin; insert into d.t values (3, 3, 3), (1, 4, 9); \
                      insert into d.t values (4, 2, 9); insert into d.t select 5, 5, 5; delete from d.t where a = 2; \
                      insert into d.t values (6, 2, 6); insert into d.t values (6, 7, 7); \
                      select a from d.t where c > 0 order by c; select a from d.t order by a; commit";
    let out = basalt_tests::mysql(up.port, &["-N", "--force"], statements);
    assert_eq!(out.err.matches("1062").count(), 3, "{}", out.err);
    assert_eq!(out.out, "1\n5\n6\n1\n5\n6\n");
    assert_eq!(up.mysql("select group_concat(a order by a) from d.t").expect_ok().lines().last(), Some("1,5,6"));
}
