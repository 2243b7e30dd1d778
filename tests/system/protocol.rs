//! The MySQL protocol as real clients and stray bytes meet it on the real binary. What the protocol layer does alone is
//! tested beside it (`sql/tests/protocol.rs`); here it works on real sessions, transactions and accounts.

use basalt_tests::{Client, Up, alone, connect, mysql, runtime, timed, until};
use mysql_async::prelude::Queryable;
use mysql_async::{ChangeUserOpts, Conn};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

/// A statement that is killed ends within this time.
const SOON: Duration = Duration::from_secs(3);

fn error_number(error: mysql_async::Error) -> u16 {
    match error {
        mysql_async::Error::Server(error) => error.code,
        other => panic!("not an error of the server: {other:?}"),
    }
}

/// The client at a terminal: it reads tables for tab completion, and knows `\s` and tab keys.
fn at_a_terminal(port: u16, keys: &str) -> String {
    let client = format!("mysql --no-defaults -h127.0.0.1 -P{port} -uroot d");
    let ran = basalt_tests::cmd::run_with_input(Command::new("script").args(["-qec", &client, "/dev/null"]), keys);
    assert!(!ran.out.is_empty(), "script(1) shows nothing: {}", ran.err);
    ran.out
}

/// No user variable, autocommit, the usual SQL mode: three ones for a fresh session. And the connection's id.
async fn facts(conn: &mut Conn) -> (u8, u8, u8, u64) {
    let ask = "select @x is null, @@autocommit, @@sql_mode = @@global.sql_mode, connection_id()";
    conn.query_first(ask).await.unwrap().unwrap()
}

/// Reads one packet of a raw connection.
fn read_packet(stream: &mut TcpStream) -> Vec<u8> {
    let mut header = [0; 4];
    stream.read_exact(&mut header).expect("an answer");
    let mut body = vec![0; u32::from_le_bytes([header[0], header[1], header[2], 0]) as usize];
    stream.read_exact(&mut body).expect("the rest of the answer");
    body
}

fn write_packet(stream: &mut TcpStream, sequence: u8, body: &[u8]) {
    let length = (body.len() as u32).to_le_bytes();
    let packet = [&length[..3], &[sequence], body].concat();
    stream.write_all(&packet).expect("the server reads");
}

#[test]
fn packets_that_are_too_large_and_commands_that_do_not_exist() {
    let _alone = alone();
    let up = Up::start(&[]);
    let long = |mib: usize| format!("select length('{}')", "x".repeat(mib << 20));
    let client = |statement: &str| mysql(up.port, &["-N", "--max-allowed-packet=1G"], statement);
    assert_eq!(client(&long(20)).expect_ok(), "20971520\n");
    let error = client(&long(65)).expect_error();
    assert!(error.contains("ERROR 1153"), "{error}");
    up.mysql("set global max_allowed_packet = 1048576").expect_ok();
    let error = client(&long(2)).expect_error();
    assert!(error.contains("ERROR 1153"), "{error}");
    assert_eq!(client("select @@max_allowed_packet").expect_ok(), "1048576\n");

    let mut raw = TcpStream::connect(("127.0.0.1", up.port)).expect("the server listens");
    read_packet(&mut raw);
    // PROTOCOL_41, SECURE_CONNECTION, PLUGIN_AUTH; root, no password.
    let mut login = (1u32 << 9 | 1 << 15 | 1 << 19).to_le_bytes().to_vec();
    login.extend_from_slice(&[0, 0, 0, 1, 45]);
    login.extend_from_slice(&[0; 23]);
    login.extend_from_slice(b"root\0\0caching_sha2_password\0");
    write_packet(&mut raw, 1, &login);
    assert_eq!(read_packet(&mut raw)[0], 0, "logged in");
    for command in [0x7f, 0xff, 0x0b] {
        write_packet(&mut raw, 0, &[command, 1, 2, 3]);
        let answer = read_packet(&mut raw);
        assert_eq!((answer[0], u16::from_le_bytes([answer[1], answer[2]])), (0xff, 1047), "command {command:#x}");
    }
    write_packet(&mut raw, 0, b"\x03select 1");
    assert_eq!(read_packet(&mut raw), [1], "one column: the connection goes on");
}

#[test]
fn bytes_that_are_not_text() {
    let _alone = alone();
    let up = Up::start(&[]);
    runtime().block_on(async {
        let mut conn = connect(up.port, Some("test")).await.unwrap();
        conn.query_drop("create table b (id int primary key, v varbinary(10), t varchar(10))").await.unwrap();
        conn.query_drop(&b"insert into b (id, v) values (1, _binary'\xff\xfe')"[..]).await.unwrap();
        conn.query_drop("insert into b (id, v) values (2, x'fffe')").await.unwrap();
        conn.exec_drop("insert into b (id, v) values (3, ?)", (vec![0xffu8, 0xfe],)).await.unwrap();
        let stored: Vec<String> = conn.query("select hex(v) from b order by id").await.unwrap();
        assert_eq!(stored, ["FFFE", "FFFE", "FFFE"]);
        // Without an introducer it is a warning, and a text column refuses it.
        conn.query_drop(&b"insert into b (id, v) values (4, '\xff\xfe')"[..]).await.unwrap();
        let warning: Option<(String, u16, String)> = conn.query_first("show warnings").await.unwrap();
        assert_eq!(warning.map(|(_, code, _)| code), Some(1300));
        let stored: Option<String> = conn.query_first("select hex(v) from b where id = 4").await.unwrap();
        assert_eq!(stored.as_deref(), Some("FFFE"));
        let bytes: Option<Vec<u8>> = conn.query_first(&b"select '\xff'"[..]).await.unwrap();
        assert_eq!(bytes.as_deref(), Some(&b"\xff"[..]));
        for (statement, number) in [
            (&b"insert into b (id, t) values (5, '\xff')"[..], 1366),
            (b"select _utf8mb4'\xff'", 1300),
            (b"select * from b where t = '\xc3('", 3854),
        ] {
            let error = error_number(conn.query_drop(statement).await.unwrap_err());
            assert_eq!(error, number, "{}", statement.escape_ascii());
        }
        let error = conn.exec_drop("insert into b (id, t) values (5, ?)", (vec![0xffu8],)).await.unwrap_err();
        assert!([1300, 1366].contains(&error_number(error)));
        let count: Option<u64> = conn.query_first("select count(*) from b").await.unwrap();
        assert_eq!(count, Some(4));
    });
}

#[test]
fn statements_and_connections_are_killed() {
    let _alone = alone();
    let up = Up::start(&[]);
    let rows: Vec<String> = (0..2000).map(|n| format!("({n}, {n})")).collect();
    up.mysql(&format!("create table test.t (id int primary key, v int); insert into test.t values {}", rows.join(",")))
        .expect_ok();
    let mut holder = Client::connect(up.port);
    holder.run("begin; update test.t set v = -1 where id = 7");
    let running = |id: u64| {
        let ask = format!("select count(*) from information_schema.processlist where id = {id} and command = 'Query'");
        until("it runs", SOON, || mysql(up.port, &["-N"], &ask).expect_ok() == "1\n");
    };
    let statements = [
        "update test.t set v = 0 where id = 7",
        "select count(*) from test.t a, test.t b, test.t c where a.v + b.v * c.v > 12",
        "select id from test.t where id = 7 for update",
    ];
    for statement in statements {
        let mut client = Client::connect(up.port);
        let id = client.id();
        client.run("begin; update test.t set v = 1 where id = 1");
        client.say(&format!("{statement};"));
        running(id);
        up.mysql(&format!("kill query {id}")).expect_ok();
        // The statement ends, the connection and its transaction go on.
        let (line, took) = timed(|| {
            client.say("select v from test.t where id = 1;");
            client.line()
        });
        assert!(took < SOON && line == "1", "{statement} went on for {took:?}: {line}");
        client.run("commit");
        let (_, errors) = client.finish();
        assert!(errors.contains("ERROR 1317 (70100)"), "{statement}: {errors}");
    }
    for statement in statements {
        let mut client = Client::connect(up.port);
        let id = client.id();
        client.run("begin; update test.t set v = 2 where id = 2");
        client.say(&format!("{statement};"));
        running(id);
        up.mysql(&format!("kill {id}")).expect_ok();
        let ((_, errors), took) = timed(|| client.finish());
        assert!(took < SOON, "{statement} went on for {took:?}");
        assert!(errors.contains("ERROR 1317") || errors.contains("ERROR 2013"), "{statement}: {errors}");
        let took = timed(|| up.mysql("update test.t set v = 3 where id = 2").expect_ok()).1;
        assert!(took < SOON, "the transaction of a killed connection held its lock for {took:?}");
    }
    assert!(up.mysql("kill 999999").expect_error().contains("ERROR 1094 (HY000)"));
    // An idle connection, too.
    let mut idle = Client::connect(up.port);
    let id = idle.id();
    up.mysql(&format!("kill connection {id}")).expect_ok();
    idle.say("select 1;");
    let (out, errors) = idle.finish();
    assert!(out.is_empty() && (errors.contains("ERROR 2006") || errors.contains("ERROR 2013")), "{out} {errors}");
}

#[test]
fn sessions_are_reset_and_change_their_user() {
    let _alone = alone();
    let up = Up::start(&[]);
    up.mysql(
        "create database d; create table d.t (id int primary key, v int); insert into d.t values (1, 1), (2, 2);
         create user other identified with mysql_native_password by 'secret'; grant all privileges on *.* to other",
    )
    .expect_ok();
    let free = |id: u32| timed(|| up.mysql(&format!("update d.t set v = 9 where id = {id}")).expect_ok()).1;
    runtime().block_on(async {
        let dirty = "set @x = 1, sql_mode = '', autocommit = 0; use d; begin";
        let mut conn = connect(up.port, None).await.unwrap();
        conn.query_drop(dirty).await.unwrap();
        conn.query_drop("update t set v = 5 where id = 1").await.unwrap();
        assert!(conn.reset().await.unwrap(), "COM_RESET_CONNECTION is there");
        let (null, autocommit, mode, id) = facts(&mut conn).await;
        assert_eq!((null, autocommit, mode), (1, 1, 1));
        assert!(free(1) < SOON, "the reset rolled the transaction back");

        conn.query_drop(dirty).await.unwrap();
        conn.query_drop("update t set v = 5 where id = 2").await.unwrap();
        let other = ChangeUserOpts::new().with_user(Some("other".into())).with_pass(Some("secret".into()));
        conn.change_user(other.with_db_name(Some("d".into()))).await.unwrap();
        assert_eq!(facts(&mut conn).await, (1, 1, 1, id), "another session on the same connection");
        assert!(free(2) < SOON, "the change of user rolled the transaction back");
        let row: Option<(String, String)> =
            conn.query_first("select substring_index(current_user(), '@', 1), database()").await.unwrap();
        assert_eq!(row, Some(("other".into(), "d".into())));
        let wrong = ChangeUserOpts::new().with_user(Some("other".into())).with_pass(Some("wrong".into()));
        assert_eq!(error_number(conn.change_user(wrong).await.unwrap_err()), 1045);
    });
}

#[test]
fn the_client_at_a_terminal() {
    let _alone = alone();
    let up = Up::start(&[]);
    up.mysql(
        "create database d; create table d.t (id int primary key, remarkable int); insert into d.t values (1, 77)",
    )
    .expect_ok();
    // Tables and columns are read for tab completion (SHOW TABLES, COM_FIELD_LIST); then status (COM_STATISTICS) and use.
    let screen = at_a_terminal(up.port, "select remarkable from t;\n\\s\nuse test\nselect database();\nstatus\nexit\n");
    for expected in [
        "Reading table information for completion",
        "77",
        "Current database:\td",
        "Server version:\t\t8.0",
        "Uptime:",
        "Threads: ",
        "Questions: ",
        "Database changed",
        "Current database:\ttest",
        "Bye",
    ] {
        assert!(screen.contains(expected), "no {expected:?} in\n{screen}");
    }
    assert!(!screen.contains("ERROR"), "{screen}");
}

#[test]
fn passwords_and_tls() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (cert, key) = (folder.path().join("server.pem"), folder.path().join("server.key"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let toml = format!("[sql]\ntls_cert = {cert:?}\ntls_key = {key:?}\n");
    let mut up = Up::start_with_config(&[], &toml);
    up.mysql(
        "create user native identified with mysql_native_password by 'secret';
         create user sha2 identified with caching_sha2_password by 'secret';
         grant all privileges on *.* to native; grant all privileges on *.* to sha2",
    )
    .expect_ok();
    let log_in = |up: &Up, user: &str, password: &str, tls: &str| {
        let (user, password) = (format!("-u{user}"), format!("-p{password}"));
        mysql(up.port, &["-N", &user, &password, tls], "select substring_index(current_user(), '@', 1)")
    };
    for _ in 0..2 {
        for (user, tls) in [("native", "--skip-ssl"), ("native", "--ssl"), ("sha2", "--ssl"), ("sha2", "--skip-ssl")] {
            assert_eq!(log_in(&up, user, "secret", tls).expect_ok(), format!("{user}\n"), "{tls}");
            let error = log_in(&up, user, "wrong", tls).expect_error();
            assert!(error.contains("ERROR 1045 (28000)"), "{user} {tls}: {error}");
        }
        let status = mysql(up.port, &["--ssl"], "status").expect_ok();
        assert!(status.contains("Cipher in use is TLS_"), "{status}");
        let cipher = mysql(up.port, &["-N", "--ssl"], "show status like 'Ssl_cipher'").expect_ok();
        assert!(cipher.starts_with("Ssl_cipher\tTLS_"), "{cipher}");
        assert!(
            mysql(up.port, &["--skip-ssl"], "status").expect_ok().contains("Not in use"),
            "TLS only where asked for"
        );
        // Accounts survive.
        up.kill9();
        up.spawn();
    }
}
