//! What accounts may do: with privileges on a database, on a table, on nothing. The texts are MySQL's.

use basalt_tests::{Up, alone, mysql};

const SETUP: &str = "
    create database d; create database e;
    create table d.t (id int primary key, a int, b int); create table d.p (id int primary key, a int);
    insert into d.t values (1, 1, 1), (2, 2, 2);
    create user nobody, reader, writer, changer, remover, maker, narrow, giver, boss;
    grant select on d.* to reader;
    grant insert on d.* to writer;
    grant update on d.* to changer;
    grant delete on d.* to remover;
    grant create, alter, drop, index on d.* to maker;
    grant select on d.t to narrow;
    grant select on d.* to giver with grant option;
    grant all on *.* to boss with grant option;";

/// Account, statement, and what must come: a part of the error, or the rows (tabs between columns, newlines after rows).
const ASK: &[(&str, &str, &str)] = &[
    ("nobody", "select 1", "1\n"),
    ("nobody", "use d", "Access denied for user 'nobody'@'%' to database 'd'"),
    ("nobody", "select * from d.t", "SELECT command denied to user 'nobody'@'127.0.0.1' for table 't'"),
    ("nobody", "select nosuch from d.t", "ERROR 1142"),
    ("nobody", "select * from d.nosuch", "ERROR 1142"),
    ("nobody", "select 1 from d.t limit 0", "ERROR 1142"),
    ("nobody", "select 1 where exists (select 1 from d.t)", "ERROR 1142"),
    ("nobody", "with x as (select 1 from d.t) select * from x", "ERROR 1142"),
    ("nobody", "select 1 union select a from d.t", "ERROR 1142"),
    ("nobody", "select * from (select a from d.t) x", "ERROR 1142"),
    ("nobody", "set @a = (select count(*) from d.t)", "ERROR 1142"),
    ("nobody", "explain select * from d.t", "ERROR 1142"),
    ("nobody", "insert into d.t values (9, 9, 9)", "INSERT command denied"),
    ("nobody", "replace into d.t values (9, 9, 9)", "INSERT, DELETE command denied"),
    ("nobody", "update d.t set a = 1", "UPDATE command denied"),
    ("nobody", "delete from d.t", "DELETE command denied"),
    ("nobody", "truncate d.t", "DROP command denied"),
    ("nobody", "rename table d.t to d.s", "DROP, ALTER command denied"),
    ("nobody", "create index i on d.t (a)", "INDEX command denied"),
    ("nobody", "alter table d.t add key (a)", "ALTER command denied"),
    ("nobody", "drop table d.nosuch", "DROP command denied"),
    ("nobody", "create table d.z (a int)", "CREATE command denied"),
    ("nobody", "create database f", "ERROR 1044"),
    ("nobody", "drop database d", "ERROR 1044"),
    ("nobody", "show databases", "information_schema\nperformance_schema\n"),
    ("nobody", "show tables from d", "ERROR 1044"),
    ("nobody", "show create table d.t", "SHOW command denied"),
    ("nobody", "show columns from d.t", "ERROR 1142"),
    ("nobody", "select count(*) from information_schema.columns where table_schema = 'd'", "0\n"),
    ("nobody", "select count(*) from information_schema.statistics where table_schema = 'd'", "0\n"),
    ("nobody", "select * from mysql.user", "SELECT command denied to user 'nobody'@'127.0.0.1' for table 'user'"),
    ("nobody", "show grants", "GRANT USAGE ON *.* TO `nobody`@`%`\n"),
    ("nobody", "show grants for root", "ERROR 1142"),
    ("nobody", "select grantee, privilege_type from information_schema.user_privileges", "'nobody'@'%'\tUSAGE\n"),
    ("nobody", "show stores", "you need (at least one of) the PROCESS privilege(s)"),
    ("nobody", "create user x", "you need (at least one of) the CREATE USER privilege(s)"),
    ("nobody", "alter user reader identified by 'x'", "ERROR 1227"),
    ("nobody", "set global max_execution_time = 5", "the SUPER or SYSTEM_VARIABLES_ADMIN privilege(s)"),
    ("nobody", "flush privileges", "the RELOAD or FLUSH_PRIVILEGES privilege(s)"),
    ("nobody", "grant select on d.* to nobody", "ERROR 1044"),
    ("nobody", "grant select on *.* to nobody", "Access denied for user 'nobody'@'%' (using password: NO)"),
    ("nobody", "grant select on d.t to nobody", "SELECT, GRANT command denied"),
    ("nobody", "revoke select on d.* from reader", "ERROR 1044"),
    ("nobody", "kill 4000000", "ERROR 1094"),
    ("reader", "select count(*) from d.t where id in (select id from d.p)", "0\n"),
    ("reader", "select * from d.t for update", "SELECT with locking clause command denied"),
    ("reader", "select a from d.t where id = 1 for share", "1\n"),
    ("reader", "show tables from d", "p\nt\n"),
    ("reader", "show databases", "d\ninformation_schema\nperformance_schema\n"),
    ("reader", "select * from d.nosuch", "ERROR 1146"),
    ("reader", "insert into d.t select * from d.t", "INSERT command denied"),
    ("reader", "create table d.u as select * from d.t", "CREATE command denied"),
    ("reader", "lock tables d.t read", "ERROR 1044"),
    ("reader", "analyze table d.t", "INSERT command denied"),
    ("writer", "insert into d.t values (3, 3, 3)", ""),
    ("writer", "insert into d.t (id, a) values (3, 3) on duplicate key update a = 5", "UPDATE command denied"),
    ("writer", "replace into d.t values (3, 3, 3)", "DELETE command denied"),
    ("writer", "insert into d.t select * from d.t", "SELECT command denied"),
    ("writer", "select distinct privileges from information_schema.columns where table_schema = 'd'", "insert\n"),
    ("changer", "update d.t set a = 7", ""),
    ("changer", "update d.t set a = 7 where b = 1", "ERROR 1143 (42000)"),
    ("changer", "update d.t set a = b", "for column 'b' in table 't'"),
    ("changer", "update d.t set a = 7 order by b limit 1", "for column 'b' in table 't'"),
    ("changer", "update d.t set a = 7 where exists (select 1 from d.p where p.id = t.id)", "SELECT command denied"),
    (
        "changer",
        "update d.t set a = (select max(id) from d.p)",
        "SELECT command denied to user 'changer'@'127.0.0.1' for table 'p'",
    ),
    ("remover", "delete from d.t where id = 100", "for column 'id' in table 't'"),
    ("remover", "delete from d.p", ""),
    ("maker", "create table d.z (a int)", ""),
    ("maker", "create index i on d.z (a)", ""),
    ("maker", "create table d.zz like d.z", "SELECT command denied"),
    ("maker", "alter table d.z rename d.y", "INSERT command denied to user 'maker'@'127.0.0.1' for table 'y'"),
    ("maker", "drop table d.z", ""),
    ("maker", "drop database e", "ERROR 1044"),
    ("narrow", "select count(*) from d.t", "3\n"),
    ("narrow", "select * from d.p", "ERROR 1142"),
    ("narrow", "show tables from d", "t\n"),
    ("narrow", "show grants", "GRANT USAGE ON *.* TO `narrow`@`%`\nGRANT SELECT ON `d`.`t` TO `narrow`@`%`\n"),
    ("giver", "grant insert on d.* to nobody", "ERROR 1044"),
    ("giver", "grant select on *.* to nobody", "ERROR 1045"),
    (
        "giver",
        "show grants",
        "GRANT USAGE ON *.* TO `giver`@`%`\nGRANT SELECT ON `d`.* TO `giver`@`%` WITH GRANT OPTION\n",
    ),
    ("boss", "show grants", "GRANT ALL PRIVILEGES ON *.* TO `boss`@`%` WITH GRANT OPTION\n"),
    ("boss", "show grants for stranger", "ERROR 1141"),
    ("boss", "grant select on d.* to stranger", "ERROR 1410"),
    ("boss", "grant super on d.* to nobody", "ERROR 1221"),
    ("boss", "grant super on d.t to nobody", "ERROR 1144"),
    ("boss", "grant select on d.nosuch to nobody", "ERROR 1146"),
    ("boss", "revoke insert on d.* from nobody", "ERROR 1141"),
    ("boss", "revoke insert on d.t from nobody", "ERROR 1147"),
    ("boss", "grant select (a) on d.t to nobody", "ERROR 1235"),
    ("boss", "revoke all on *.* from root", "ERROR 1235"),
    ("boss", "show create user stranger", "ERROR 1396"),
    ("boss", "create user x@'10.0.0.0/255.0.0.0'", "ERROR 1235"),
    ("boss", "create user y identified with mysql_native_password as 'nonsense'", "ERROR 1827"),
];

fn ask(up: &Up, account: &str, statement: &str) -> Result<String, String> {
    let output = mysql(up.port, &["-N", "-u", account], statement);
    if output.ok { Ok(output.out) } else { Err(output.err) }
}

#[test]
fn every_statement_is_checked() {
    let _alone = alone();
    let up = Up::start(&[]);
    up.mysql(SETUP).expect_ok();
    for (account, statement, expected) in ASK {
        match ask(&up, account, statement) {
            Ok(rows) => assert_eq!(&rows, expected, "{account}: {statement}"),
            Err(error) => {
                let wanted = !expected.is_empty() && error.contains(expected);
                assert!(wanted, "{account}: {statement}\nexpected {expected:?}, got {error}");
            }
        }
    }
}

#[test]
fn grants_come_and_go() {
    let _alone = alone();
    let up = Up::start(&[]);
    up.mysql(SETUP).expect_ok();
    // What was prepared, or whose plan is kept, is asked again at each execution.
    let kept = "prepare s from 'select a from d.t where id = ?'; set @i = 1; execute s using @i; select a from d.t where id = 1;";
    assert_eq!(ask(&up, "reader", kept).unwrap(), "1\n1\n");
    up.mysql("revoke select on d.* from reader").expect_ok();
    assert!(ask(&up, "reader", "select a from d.t where id = 1").unwrap_err().contains("ERROR 1142"));
    assert!(
        ask(&up, "reader", "prepare s from 'select a from d.t where id = ?'; set @i = 1; execute s using @i").is_err()
    );
    assert_eq!(ask(&up, "narrow", "select a from d.t where id = 1").unwrap(), "1\n");
    up.mysql("grant select, insert on d.* to nobody; grant process on *.* to nobody with grant option").expect_ok();
    assert_eq!(
        ask(&up, "nobody", "show grants").unwrap(),
        "GRANT PROCESS ON *.* TO `nobody`@`%` WITH GRANT OPTION\nGRANT SELECT, INSERT ON `d`.* TO `nobody`@`%`\n"
    );
    up.mysql("revoke insert on d.* from nobody; grant all on d.* to nobody").expect_ok();
    assert!(ask(&up, "nobody", "show grants").unwrap().contains("GRANT ALL PRIVILEGES ON `d`.* TO"));
    up.mysql("revoke all privileges, grant option from nobody").expect_ok();
    assert_eq!(ask(&up, "nobody", "show grants").unwrap(), "GRANT USAGE ON *.* TO `nobody`@`%`\n");
    // A pattern, and the more exact one that holds alone.
    up.mysql("create database ab1; create table ab1.t (a int); grant select on `ab_`.* to nobody").expect_ok();
    ask(&up, "nobody", "select * from ab1.t").unwrap();
    up.mysql("grant insert on ab1.* to nobody").expect_ok();
    assert!(ask(&up, "nobody", "select * from ab1.t").unwrap_err().contains("ERROR 1142"));
    // Who may make accounts does not become root by it.
    up.mysql("grant create user on *.* to nobody").expect_ok();
    assert!(ask(&up, "nobody", "alter user root identified by 'x'").unwrap_err().contains("SYSTEM_USER"));
    ask(&up, "nobody", "create user fresh; drop user fresh").unwrap();
    ask(&up, "nobody", "alter user current_user() identified by ''").unwrap();
}

#[test]
fn an_account_moves_with_its_password() {
    let _alone = alone();
    let up = Up::start(&[]);
    for plugin in ["caching_sha2_password", "mysql_native_password"] {
        up.mysql(&format!("create user moved identified with {plugin} by 'secret'")).expect_ok();
        let made = mysql(up.port, &["-N"], "show create user moved").expect_ok();
        assert!(made.contains(&format!("IDENTIFIED WITH '{plugin}' AS '")), "{made}");
        up.mysql(&format!("drop user moved; {made}")).expect_ok();
        mysql(up.port, &["-umoved", "-psecret"], "select 1").expect_ok();
        assert!(mysql(up.port, &["-umoved", "-pother"], "select 1").expect_error().contains("ERROR 1045"));
        up.mysql("drop user moved").expect_ok();
    }
}

#[test]
fn others_threads_are_hidden() {
    let _alone = alone();
    let up = Up::start(&[]);
    up.mysql(SETUP).expect_ok();
    let mut root = std::process::Command::new("mysql");
    root.args(["--no-defaults", "-h127.0.0.1", &format!("-P{}", up.port), "-uroot", "--batch", "-N"]);
    let mut child = root
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("the client starts");
    let seen = |account: &str| ask(&up, account, "select distinct user from information_schema.processlist order by 1");
    basalt_tests::until("root is connected", std::time::Duration::from_secs(5), || {
        seen("boss").is_ok_and(|users| users == "boss\nroot\n")
    });
    assert_eq!(seen("nobody").unwrap(), "nobody\n");
    let id = ask(&up, "boss", "select id from information_schema.processlist where user = 'root'").unwrap();
    let error = ask(&up, "nobody", &format!("kill {id}")).unwrap_err();
    assert!(error.contains("ERROR 1095") && error.contains("You are not owner of thread"), "{error}");
    ask(&up, "boss", &format!("kill {id}")).unwrap();
    drop(child.stdin.take());
    child.wait().expect("it ends");
}
