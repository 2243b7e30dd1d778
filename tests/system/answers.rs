//! Statements whose answers once differed from MySQL's, each with the answer that MySQL gives.

use basalt_tests::{Up, alone};

const SETUP: &str = "
    create database d collate utf8mb4_general_ci; use d;
    create table dept (id int primary key, name varchar(20));
    create table emp (id int primary key auto_increment, name varchar(20), dept int, boss int, sal decimal(10,2), big bigint,
        yes bool, hired date);
    insert into dept values (1, 'eng'), (2, 'ops');
    insert into emp values (1, 'Ann', 1, null, 100.50, 9223372036854775807, 1, '2020-01-01'),
        (2, 'bob', 1, 1, 90, 0, 0, '2020-02-01'), (3, 'Cid', 2, 1, 80, 0, 0, null), (4, 'dan', 2, 3, 80, 0, 0, null);
";

/// Statements and what the client prints for them, tab-separated, without the header.
const ASK: &[(&str, &str)] = &[
    // The joins that subqueries become keep the order.
    (
        "select id, (select name from dept where dept.id = emp.dept), (select count(*) from emp b where b.boss = emp.id) from emp order by id desc",
        "4\tops\t0\n3\tops\t1\n2\teng\t0\n1\teng\t2\n",
    ),
    ("select id, (select name from dept where dept.id = emp.dept) from emp order by id limit 1, 2", "2\teng\n3\tops\n"),
    // Functions of no column, on the query path.
    ("select count(*) from emp where hired < now()", "2\n"),
    ("select dept, max(curdate()) > '2020-01-01' from emp group by dept order by dept", "1\t1\n2\t1\n"),
    ("select count(*), uuid() <> uuid() from emp", "4\t1\n"),
    ("select count(distinct id) from (select id from emp order by rand()) x", "4\n"),
    // Quotients keep their hidden digits within a calculation.
    (
        "select sum(sal) / 3 * 100, round(10 / 3, 6), 1 / 3 * 3, 2 / 3 from emp",
        "11683.333333\t3.333333\t1.0000\t0.6667\n",
    ),
    ("select sum(dept / 3) from emp", "2.0000\n"),
    ("select count(distinct dept, boss), count(distinct dept, sal) from emp", "3\t3\n"),
    // A column that a filter made constant needs no sorting, which the scan must still know when the filter has gone down.
    (
        "select dept, boss, max(sal) m from emp where dept = 2 group by dept, boss order by m, dept, boss limit 5",
        "2\t1\t80.00\n2\t3\t80.00\n",
    ),
    ("select x'41' + 0, x'41', 0x10 * 2", "65\tA\t32\n"),
    ("set @m = (select max(id) from emp); select @m, @m + 1", "4\t5\n"),
    ("with recursive r as (select 1 n union all select n + 1 from r where n < 1000) select count(*) from r", "1000\n"),
    (
        "select column_name, column_type from information_schema.columns where table_name = 'emp' and column_name = 'yes'",
        "yes\ttinyint(1)\n",
    ),
    ("analyze table dept", "d.dept\tanalyze\tnote\tStatistics are not collected: plans do not depend on them\n"),
    ("set character_set_results = null; select 1", "1\n"),
    (
        "insert into emp (name) values ('x'); select last_insert_id(); insert into emp (id) values (90); select last_insert_id()",
        "5\n5\n",
    ),
];

const ERRORS: &[(&str, &str)] = &[
    ("select big + 1 from emp", "ERROR 1690 (22003)"),
    ("with recursive r as (select 1 n union all select n + 1 from r) select count(*) from r", "ERROR 3636 (HY000)"),
    ("insert into emp (hired) values ('2020-01-01 25:00:00')", "ERROR 1292 (22007)"),
];

#[test]
fn answers_are_mysqls() {
    let _alone = alone();
    let up = Up::start(&[]);
    up.mysql(SETUP).expect_ok();
    for (statement, expected) in ERRORS {
        let error = up.mysql(&format!("use d; {statement}")).expect_error();
        assert!(error.contains(expected), "{statement}\nexpected {expected}, got {error}");
    }
    for (statement, expected) in ASK {
        let out = basalt_tests::mysql(up.port, &["--skip-column-names", "d"], statement).expect_ok();
        assert_eq!(out, *expected, "{statement}");
    }
    let header = basalt_tests::mysql(up.port, &["d"], "select true, (1 = 1)").expect_ok();
    assert_eq!(header, "TRUE\t(1 = 1)\n1\t1\n");
    let header = basalt_tests::mysql(up.port, &["d"], "show tables like 'de%'").expect_ok();
    assert_eq!(header, "Tables_in_d (de%)\ndept\n");
}
