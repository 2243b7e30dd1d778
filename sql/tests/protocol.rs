//! The protocol layer from outside: `mysql_async` and the `mariadb` client as judges of what is right, a client of raw
//! bytes for what is wrong.

#[path = "protocol/echo.rs"]
mod echo;
#[path = "protocol/raw.rs"]
mod raw;

use basalt_sql::server::auth::SaltedSha256;
use basalt_sql::server::*;
use echo::{Echo, start, until};
use mysql_async::prelude::*;
use mysql_async::{Conn, Opts, OptsBuilder, Row, Value};
use raw::{CAPABILITIES, Raw, SSL, error_number, native_proof, packet, sha2_proof, ssl_request};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::AsyncWriteExt;

const PASSWORD: &str = "correct horse";

fn accounts() -> Arc<Echo> {
    let salted = SaltedSha256::from_password(PASSWORD.as_bytes(), [7; 20], 5).unwrap();
    Arc::new(Echo::with_accounts(&[
        ("root", Credential::Empty),
        ("native", Credential::native_password(PASSWORD.as_bytes())),
        ("sha2", Credential::caching_sha2(PASSWORD.as_bytes())),
        ("salted", Credential::SaltedSha256(salted)),
        ("locked", Credential::Empty),
    ]))
}

async fn server() -> RunningServer {
    start(accounts(), ServerConfig { local_infile: true, ..ServerConfig::default() }, None).await
}

fn options(server: &RunningServer, user: &str, password: Option<&str>) -> OptsBuilder {
    OptsBuilder::default()
        .ip_or_hostname("127.0.0.1")
        .tcp_port(server.address().port())
        .prefer_socket(false)
        .user(Some(user))
        .pass(password)
        .stmt_cache_size(0)
}

async fn connect(server: &RunningServer) -> Conn {
    Conn::new(Opts::from(options(server, "root", None))).await.unwrap()
}

fn server_error(error: mysql_async::Error) -> (u16, String) {
    match error {
        mysql_async::Error::Server(error) => (error.code, error.state),
        other => panic!("not an error of the server: {other:?}"),
    }
}

#[tokio::test]
async fn text_results() {
    let server = server().await;
    let mut conn = connect(&server).await;
    let rows: Vec<(i64, String)> = conn.query("rows 3").await.unwrap();
    assert_eq!(rows, [(0, "row 0".into()), (1, "row 1".into()), (2, "row 2".into())]);
    let empty: Vec<(i64, String)> = conn.query("rows 0").await.unwrap();
    assert_eq!(empty, []);
    conn.query_drop("ok 5").await.unwrap();
    assert_eq!((conn.affected_rows(), conn.last_insert_id(), conn.get_warnings()), (5, Some(6), 1));
    assert_eq!(conn.info(), "Records: 1");
    assert_eq!(server_error(conn.query_drop("fail").await.unwrap_err()), (1064, "42000".into()));
    assert_eq!(server_error(conn.query_drop("fail after 4").await.unwrap_err()), (1064, "42000".into()));
    conn.ping().await.unwrap();
    let many: Vec<(i64, String)> = conn.query("rows 100000").await.unwrap();
    assert_eq!(many.len(), 100_000);
    conn.disconnect().await.unwrap();
    server.shutdown().await;
}

#[tokio::test]
async fn bytes_that_are_not_utf8() {
    let server = server().await;
    let mut conn = connect(&server).await;
    let answer: Option<Vec<u8>> = conn.query_first(&b"echo \xff\x00\xfe\xc3"[..]).await.unwrap();
    assert_eq!(answer.as_deref(), Some(&b"\xff\x00\xfe\xc3"[..]));
    let mut raw = Raw::login(server.address(), "root").await;
    assert_eq!(raw.error(b"\x02d\xff").await, 1300);
    assert_eq!(raw.error(b"\x04\xff\0").await, 1300);
    raw.ping().await;
    server.shutdown().await;
}

#[tokio::test]
async fn several_statements_in_one_query() {
    let server = server().await;
    let mut conn = connect(&server).await;
    let mut results = conn.query_iter("rows 2;ok 3;echo x").await.unwrap();
    assert_eq!(results.collect::<Row>().await.unwrap().len(), 2);
    assert_eq!((results.collect::<Row>().await.unwrap().len(), results.affected_rows()), (0, 3));
    assert_eq!(results.collect::<String>().await.unwrap(), ["x"]);
    assert!(results.is_empty());
    assert_eq!(server_error(conn.query_drop("rows 1;fail;rows 1").await.unwrap_err()).0, 1064);
    conn.ping().await.unwrap();

    let mut raw = Raw::login(server.address(), "root").await;
    assert_eq!(raw.command(b"\x1b\x01\x00").await.unwrap()[0], 0xfe);
    let columns = raw.command(b"\x03echo a;b").await.unwrap();
    assert_eq!(columns, [1], "one result: the semicolon is text now");
    assert_eq!(raw.read().await.map(|_| ()), Some(()));
    assert_eq!(raw.read().await.as_deref(), Some(&b"\x03a;b"[..]));
    raw.read().await.unwrap();
    assert_eq!(raw.error(b"\x1b\x02\x00").await, 1047);
    server.shutdown().await;
}

#[tokio::test]
async fn prepared_statements() {
    let server = server().await;
    let mut conn = connect(&server).await;
    let statement = conn.prep("? ? ? ? ?").await.unwrap();
    assert_eq!((statement.num_params(), statement.num_columns()), (5, 5));
    for blob in [b"\xff\x00".to_vec(), vec![b'y'; 300]] {
        let params = (1_i64, -2.5_f64, Value::NULL, Value::Bytes(blob.clone()), "text");
        let row: Row = conn.exec_first(&statement, params).await.unwrap().unwrap();
        assert_eq!(row.get::<String, _>(0).unwrap(), "Int(1)");
        assert_eq!(row.get::<String, _>(1).unwrap(), "Double(-2.5)");
        assert_eq!(row.get::<Value, _>(2).unwrap(), Value::NULL);
        assert_eq!(row.get::<Vec<u8>, _>(3).unwrap(), blob);
        assert_eq!(row.get::<String, _>(4).unwrap(), "text");
    }
    conn.close(statement).await.unwrap();
    let typed: Row = conn.exec_first("typed", ()).await.unwrap().unwrap();
    let expected = vec![
        Value::Int(-1),
        Value::Int(-2),
        Value::Int(-3),
        Value::UInt(u64::MAX),
        Value::Float(1.5),
        Value::Double(-2.25),
        Value::Bytes(b"12.30".to_vec()),
        Value::Date(2024, 2, 29, 0, 0, 0, 0),
        Value::Date(2024, 2, 29, 1, 2, 3, 4),
        Value::Time(true, 1, 2, 3, 4, 5),
        Value::Bytes(vec![0xff, 0, 0xfe]),
        Value::NULL,
    ];
    assert_eq!(typed.unwrap(), expected);
    server.shutdown().await;
}

#[tokio::test]
async fn hostile_executions_get_errors_and_leave_the_connection() {
    let server = server().await;
    let mut raw = Raw::login(server.address(), "root").await;
    assert_eq!(raw.error(b"\x17\x63\0\0\0\0\x01\0\0\0").await, 1243);
    assert_eq!(raw.error(b"\x17\x01").await, 1835);
    let prepared = raw.command(b"\x16?").await.unwrap();
    assert_eq!(prepared, [0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0]);
    raw.read().await.unwrap();
    raw.read().await.unwrap();
    let execute = |tail: &[u8]| [b"\x17\x01\0\0\0\0\x01\0\0\0", tail].concat();
    assert_eq!(raw.error(&execute(&[])).await, 1835, "no null bitmap");
    assert_eq!(raw.error(&execute(&[0, 0, 5])).await, 1210, "no types yet");
    assert_eq!(raw.error(&execute(&[0, 1, 253, 0, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff])).await, 1835);
    assert_eq!(raw.error(&execute(&[0, 1, 99, 0, 1])).await, 1210, "no such type");
    assert_eq!(raw.error(&execute(&[0, 1, 12, 0, 9, 1, 2, 3])).await, 1835, "no such length of a date");
    assert_eq!(raw.error(b"\x1c\x01\0\0\0\x01\0\0\0").await, 1421, "no cursor");
    assert_eq!(raw.error(b"\x1a\x09\0\0\0").await, 1243);

    raw.sequence = 0;
    raw.write(b"\x18\x01\0\0\0\0\0long ").await;
    raw.sequence = 0;
    raw.write(b"\x18\x01\0\0\0\0\0data").await;
    assert_eq!(raw.command(&execute(&[0, 1, 252, 0])).await.unwrap(), [1]);
    raw.read().await.unwrap();
    assert_eq!(raw.read().await.unwrap(), b"\0\0\x09long data");
    raw.read().await.unwrap();

    raw.sequence = 0;
    raw.write(b"\x19\x01\0\0\0").await;
    assert_eq!(raw.error(&execute(&[0, 1, 252, 0, 0])).await, 1243, "closed");
    raw.ping().await;
    server.shutdown().await;
}

#[tokio::test]
async fn large_packets_both_ways() {
    let server = server().await;
    let mut conn =
        Conn::new(Opts::from(options(&server, "root", None).max_allowed_packet(Some(60 << 20)))).await.unwrap();
    for length in [0xff_ffff - 6, 0xff_ffff - 5, 0xff_ffff, 0x1ff_fffe, 40 << 20] {
        let sent = [&b"echo "[..], &vec![b'q'; length]].concat();
        let answer: Option<Vec<u8>> = conn.query_first(sent).await.unwrap();
        assert_eq!(answer.map(|answer| answer.len()), Some(length));
    }
    for length in [0xff_ffff - 4, 0xff_ffff - 3] {
        let answer: Option<Vec<u8>> = conn.query_first(format!("big {length}")).await.unwrap();
        assert_eq!(answer.map(|answer| answer.len()), Some(length));
    }
    assert_eq!(server_error(conn.query_drop(format!("big {}", 65 << 20)).await.unwrap_err()).0, 1153);
    conn.ping().await.unwrap();
    server.shutdown().await;
}

#[tokio::test]
async fn packets_over_the_limit_and_out_of_order_end_the_connection_with_an_error() {
    let config = ServerConfig { max_allowed_packet: 1 << 20, ..ServerConfig::default() };
    let server = start(accounts(), config, None).await;
    let mut raw = Raw::login(server.address(), "root").await;
    assert_eq!(raw.error(&vec![3; 2 << 20]).await, 1153);
    assert_eq!(raw.read().await, None);
    let mut raw = Raw::login(server.address(), "root").await;
    raw.sequence = 9;
    raw.write(b"\x0e").await;
    let answer = raw.read().await.unwrap();
    assert_eq!(error_number(&answer), 1156);
    assert_eq!(raw.read().await, None);

    let mut raw = Raw::connect(server.address()).await;
    raw.write(&vec![0; 100 << 10]).await;
    assert_eq!(error_number(&raw.read().await.unwrap()), 1153, "64 KiB before authentication");
    server.shutdown().await;
}

#[tokio::test]
async fn pipelined_commands_are_answered_in_order() {
    let server = server().await;
    let mut raw = Raw::login(server.address(), "root").await;
    let mut bytes = Vec::new();
    for i in 0..500 {
        bytes.extend(packet(0, format!("\x03echo number {i}").as_bytes()));
        bytes.extend(packet(0, b"\x19\x01\0\0\0"));
    }
    let (reading, mut writing) = tokio::io::split(raw.stream);
    let writer = tokio::spawn(async move {
        writing.write_all(&bytes).await.unwrap();
        writing
    });
    raw.stream = Box::new(tokio::io::join(reading, tokio::io::sink()));
    for i in 0..500 {
        assert_eq!(raw.read().await.unwrap(), [1]);
        raw.read().await.unwrap();
        let text = format!("number {i}");
        assert_eq!(raw.read().await.unwrap()[1..], *text.as_bytes());
        raw.read().await.unwrap();
    }
    drop(writer.await.unwrap());
    server.shutdown().await;
}

#[tokio::test]
async fn every_command_byte_is_answered() {
    let server = server().await;
    let mut raw = Raw::login(server.address(), "root").await;
    assert_eq!(raw.error(b"").await, 1047);
    for code in 0..=255_u8 {
        for body in [&b""[..], b"\0", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"] {
            // QUIT ends, CHANGE_USER may; CLOSE and SEND_LONG_DATA have no answer; KILL is tested elsewhere.
            if matches!(code, 0x01 | 0x11 | 0x18 | 0x19 | 0x0c) {
                continue;
            }
            let answer = raw.command(&[&[code], body].concat()).await.expect("the connection was closed");
            match code {
                0x02 if body != b"" && body != b"\0" => assert_eq!(error_number(&answer), 1300),
                0x02 | 0x03 | 0x0a | 0x0e | 0x1f => assert_eq!(answer[0], 0, "command {code:#x}"),
                0x04 if body == b"" || body == b"\0" => {
                    assert_eq!(raw.read().await.unwrap()[0], 0xfe);
                }
                0x04 => assert_eq!(error_number(&answer), 1300),
                0x09 => assert_eq!(answer, b"Uptime: 1"),
                0x16 => {
                    assert_eq!(answer[0], 0);
                }
                0x07 | 0x08 | 0x0d | 0x12 | 0x13 | 0x15 | 0x1e | 0x20 => assert_eq!(error_number(&answer), 1235),
                0x17 | 0x1a | 0x1b | 0x1c => {
                    assert!(matches!(error_number(&answer), 1835 | 1243 | 1047), "command {code:#x}");
                }
                _ => assert_eq!(error_number(&answer), 1047, "command {code:#x}"),
            }
        }
    }
    raw.ping().await;
    assert_eq!(raw.error(b"\x0c\x01").await, 1835);
    assert_eq!(raw.error(b"\x0c\xff\xff\0\0").await, 1094);
    server.shutdown().await;
}

#[tokio::test]
async fn passwords() {
    let server = server().await;
    for user in ["native", "sha2"] {
        Conn::new(Opts::from(options(&server, user, Some(PASSWORD)))).await.unwrap().disconnect().await.unwrap();
        for wrong in [Some("wrong"), Some(""), None] {
            let error = Conn::new(Opts::from(options(&server, user, wrong))).await.unwrap_err();
            assert_eq!(server_error(error), (1045, "28000".into()), "{user} {wrong:?}");
        }
    }
    for (user, password) in [("root", Some("any")), ("nobody", Some(PASSWORD)), ("nobody", None), ("", None)] {
        let error = Conn::new(Opts::from(options(&server, user, password))).await.unwrap_err();
        assert_eq!(server_error(error).0, 1045, "{user}");
    }
    let error = Conn::new(Opts::from(options(&server, "locked", None))).await.unwrap_err();
    assert_eq!(server_error(error).0, 3118);
    let error = Conn::new(Opts::from(options(&server, "root", None).db_name(Some("missing")))).await.unwrap_err();
    assert_eq!(server_error(error).0, 1049);
    server.shutdown().await;
}

#[tokio::test]
async fn proofs_of_wrong_length_and_old_nonces_are_refused() {
    let server = server().await;
    for (user, plugin) in [("native", "mysql_native_password"), ("sha2", "caching_sha2_password")] {
        for length in [0, 1, 19, 20, 21, 31, 32, 33, 200] {
            let mut raw = Raw::connect(server.address()).await;
            let response = raw.response(user, &vec![0; length], plugin, CAPABILITIES);
            raw.write(&response).await;
            assert_eq!(error_number(&raw.read().await.unwrap()), 1045, "{user} {length}");
        }
    }
    let mut first = Raw::connect(server.address()).await;
    let proof = native_proof(PASSWORD.as_bytes(), &first.nonce);
    let mut second = Raw::connect(server.address()).await;
    let response = second.response("native", &proof, "mysql_native_password", CAPABILITIES);
    second.write(&response).await;
    assert_eq!(error_number(&second.read().await.unwrap()), 1045, "a proof for another nonce");
    let response = first.response("native", &proof, "mysql_native_password", CAPABILITIES);
    first.write(&response).await;
    assert_eq!(first.read().await.unwrap()[0], 0, "the same proof for its own nonce");

    // A client that offers the weaker method is switched to the account's.
    let mut raw = Raw::connect(server.address()).await;
    let proof = native_proof(PASSWORD.as_bytes(), &raw.nonce);
    let response = raw.response("sha2", &proof, "mysql_native_password", CAPABILITIES);
    raw.write(&response).await;
    let switch = raw.read().await.unwrap();
    assert!(switch.starts_with(b"\xfecaching_sha2_password\0"));
    let nonce = &switch[23..43];
    assert_ne!(nonce, raw.nonce);
    let proof = sha2_proof(PASSWORD.as_bytes(), nonce);
    raw.write(&proof).await;
    assert_eq!(raw.read().await.unwrap(), [1, 3]);
    assert_eq!(raw.read().await.unwrap()[0], 0);
    server.shutdown().await;
}

#[tokio::test]
async fn hostile_handshakes() {
    let server = server().await;
    let mut raw = Raw::connect(server.address()).await;
    raw.write(b"").await;
    assert_eq!(error_number(&raw.read().await.unwrap()), 1043);
    let mut raw = Raw::connect(server.address()).await;
    raw.write(&ssl_request(CAPABILITIES | SSL)).await;
    assert_eq!(error_number(&raw.read().await.unwrap()), 1043, "TLS was not offered");
    let mut raw = Raw::connect(server.address()).await;
    let response = raw.response(&"u".repeat(60_000), b"", "caching_sha2_password", CAPABILITIES);
    raw.write(&response).await;
    let switch_or_error = raw.read().await.unwrap();
    assert_eq!(error_number(&switch_or_error), 1045);
    let mut raw = Raw::connect(server.address()).await;
    let response = raw.response("root", b"", "no_such_plugin", CAPABILITIES);
    raw.write(&response).await;
    assert_eq!(raw.read().await.unwrap()[0], 0, "an account without password needs no method");
    until("aborted connections", || server.connections().aborted() >= 3).await;
    server.shutdown().await;
}

#[tokio::test]
async fn a_handshake_takes_ten_seconds_at_most() {
    let config = ServerConfig { connect_timeout: Duration::from_millis(100), ..ServerConfig::default() };
    let server = start(accounts(), config, None).await;
    let mut raw = Raw::connect(server.address()).await;
    assert_eq!(raw.read().await, None);
    until("the connection's end", || server.connections().is_empty()).await;
    server.shutdown().await;
}

#[tokio::test]
async fn change_user_and_reset() {
    let echo = accounts();
    let server = start(Arc::clone(&echo), ServerConfig::default(), None).await;
    let mut conn = connect(&server).await;
    let options = |user: &str| {
        mysql_async::ChangeUserOpts::new().with_user(Some(user.to_owned())).with_pass(Some(PASSWORD.to_owned()))
    };
    for user in ["sha2", "native", "sha2"] {
        conn.change_user(options(user).with_db_name(Some("d".to_owned()))).await.unwrap();
        let who: (String, String) = conn
            .query_first("whoami")
            .await
            .unwrap()
            .map(|row: (String, String, String, String)| (row.0, row.1))
            .unwrap();
        assert_eq!(who, (user.to_owned(), "d".to_owned()));
    }
    assert_eq!(echo.sessions_closed.load(Ordering::SeqCst), 3);
    let statement = conn.prep("?").await.unwrap();
    conn.reset().await.unwrap();
    assert_eq!(server_error(conn.exec_drop(&statement, (1,)).await.unwrap_err()).0, 1243);
    let error = conn.change_user(options("nobody")).await.unwrap_err();
    assert_eq!(server_error(error).0, 1045);

    let mut raw = Raw::login(server.address(), "root").await;
    let switch = raw.command(b"\x11native\0\0\0\x2d\0mysql_native_password\0").await.unwrap();
    assert!(switch.starts_with(b"\xfemysql_native_password\0"), "an empty proof does not open an account with one");
    raw.write(b"").await;
    assert_eq!(error_number(&raw.read().await.unwrap()), 1045);
    assert_eq!(raw.read().await, None, "one try a connection");
    server.shutdown().await;
}

#[tokio::test]
async fn too_many_connections() {
    let config = ServerConfig { max_connections: 2, ..ServerConfig::default() };
    let server = start(accounts(), config, None).await;
    let first = connect(&server).await;
    let _second = connect(&server).await;
    let error = Conn::new(Opts::from(options(&server, "root", None))).await.unwrap_err();
    assert_eq!(server_error(error).0, 1040);
    first.disconnect().await.unwrap();
    until("a free place", || server.connections().len() < 2).await;
    connect(&server).await;
    server.shutdown().await;
}

#[tokio::test]
async fn a_client_that_vanishes_ends_its_statement_and_its_session() {
    let echo = accounts();
    let server = start(Arc::clone(&echo), ServerConfig::default(), None).await;
    for (count, statement) in ["wait", "hang", "rows 100000000"].into_iter().enumerate() {
        let mut raw = Raw::login(server.address(), "root").await;
        raw.sequence = 0;
        raw.write(format!("\x03{statement}").as_bytes()).await;
        until("the statement", || server.connections().all().iter().any(|entry| entry.info().text.is_some())).await;
        drop(raw);
        until(statement, || server.connections().is_empty()).await;
        assert_eq!(echo.sessions_closed.load(Ordering::SeqCst), count + 1);
    }
    server.shutdown().await;
}

#[tokio::test]
async fn kill_query_and_kill_connection() {
    let server = server().await;
    let mut waiting = Raw::login(server.address(), "root").await;
    let [entry] = &server.connections().all()[..] else { panic!("one connection") };
    waiting.sequence = 0;
    waiting.write(b"\x03wait").await;
    until("the statement", || entry.info().command == "Query").await;
    entry.kill().kill_query();
    assert_eq!(error_number(&waiting.read().await.unwrap()), 1317);
    waiting.ping().await;

    let mut killer = Raw::login(server.address(), "root").await;
    let kill = [&b"\x0c"[..], &(entry.id() as u32).to_le_bytes()].concat();
    waiting.sequence = 0;
    waiting.write(b"\x03wait").await;
    until("the statement", || entry.info().command == "Query").await;
    assert_eq!(killer.command(&kill).await.unwrap()[0], 0);
    // The error may or may not come first; then the connection is closed.
    while waiting.read().await.is_some() {}
    until("the end of the killed connection", || server.connections().len() == 1).await;

    let mut idle = Raw::login(server.address(), "root").await;
    let id = server.connections().all().iter().map(|entry| entry.id()).max().unwrap();
    let kill = [&b"\x0c"[..], &(id as u32).to_le_bytes()].concat();
    assert_eq!(killer.command(&kill).await.unwrap()[0], 0);
    assert_eq!(idle.read().await, None);
    server.shutdown().await;
}

#[tokio::test]
async fn idle_clients_are_told_and_disconnected() {
    let server = server().await;
    let mut raw = Raw::login(server.address(), "root").await;
    assert_eq!(raw.command(b"\x03idle 1").await.unwrap()[0], 0);
    assert_eq!(error_number(&raw.read().await.unwrap()), 4031);
    assert_eq!(raw.read().await, None);
    server.shutdown().await;
}

#[tokio::test]
async fn shutdown_tells_idle_clients_and_waits_for_statements() {
    let config = ServerConfig { shutdown_grace: Duration::from_millis(200), ..ServerConfig::default() };
    let server = start(accounts(), config, None).await;
    let address = server.address();
    let mut idle = Raw::login(address, "root").await;
    let mut busy = Raw::login(address, "root").await;
    let connections = Arc::clone(server.connections());
    busy.sequence = 0;
    busy.write(b"\x03wait").await;
    until("the statement", || connections.all().iter().any(|entry| entry.info().command == "Query")).await;
    let stopping = tokio::spawn(server.shutdown());
    assert_eq!(error_number(&idle.read().await.unwrap()), 1053);
    drop(idle);
    while busy.read().await.is_some() {}
    stopping.await.unwrap();
    assert!(connections.is_empty());
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn local_files() {
    let server = server().await;
    let mut raw = Raw::login(server.address(), "root").await;
    assert_eq!(raw.command(b"\x03load f.csv").await.unwrap(), b"\xfbf.csv");
    for _ in 0..300 {
        raw.write(&[b'x'; 1000]).await;
    }
    raw.write(b"").await;
    let answer = raw.read().await.unwrap();
    assert_eq!(answer[..5], [0, 0xfd, 0xe0, 0x93, 0x04], "300,000 bytes");

    assert_eq!(raw.command(b"\x03shadow f").await.unwrap(), b"\xfbf");
    for _ in 0..300 {
        raw.write(&[b'x'; 1000]).await;
    }
    raw.write(b"").await;
    let sent = raw.sequence;
    assert_eq!(error_number(&raw.read().await.unwrap()), 1105);
    assert_eq!(raw.sequence, sent.wrapping_add(1));
    raw.ping().await;

    let mut conn = connect(&server).await;
    assert_eq!(server_error(conn.query_drop("fail").await.unwrap_err()).0, 1064);
    server.shutdown().await;
}

fn certificate() -> (String, Tls) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let tls = Tls::from_pem(made.cert.pem().as_bytes(), made.signing_key.serialize_pem().as_bytes()).unwrap();
    (made.cert.pem(), tls)
}

/// Upgrades a raw client that has read the greeting.
async fn upgrade(mut raw: Raw, certificate: &str) -> Raw {
    use rustls::pki_types::pem::PemObject;
    raw.write(&ssl_request(CAPABILITIES | SSL)).await;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(rustls::pki_types::CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()).unwrap();
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let stream = connector.connect(name, raw.stream).await.unwrap();
    Raw { stream: Box::new(stream), sequence: raw.sequence, nonce: raw.nonce }
}

#[tokio::test]
async fn tls_and_the_full_exchange() {
    let (pem, tls) = certificate();
    let server = start(accounts(), ServerConfig::default(), Some(tls)).await;
    let log_in = async |user: &str, password: &[u8], full: bool| {
        let mut raw = upgrade(Raw::connect(server.address()).await, &pem).await;
        let proof = sha2_proof(password, &raw.nonce);
        let response = raw.response(user, &proof, "caching_sha2_password", CAPABILITIES | SSL);
        raw.write(&response).await;
        let mut answer = raw.read().await.unwrap();
        if full {
            assert_eq!(answer, [1, 4]);
            raw.write(&[password, b"\0"].concat()).await;
            answer = raw.read().await.unwrap();
        }
        (raw, answer)
    };
    // In plain text the slow hash cannot be checked before a full exchange has shown the password.
    let error = Conn::new(Opts::from(options(&server, "salted", Some(PASSWORD)))).await.unwrap_err();
    assert_eq!(server_error(error).0, 3159);
    assert_eq!(error_number(&log_in("salted", b"wrong", true).await.1), 1045);
    let (mut raw, answer) = log_in("salted", PASSWORD.as_bytes(), true).await;
    assert_eq!(answer[0], 0);
    assert_eq!(raw.command(b"\x03whoami").await.unwrap(), [4]);
    for _ in 0..4 {
        raw.read().await.unwrap();
    }
    assert!(raw.read().await.unwrap().ends_with(b"\x03tls\x00"));
    raw.read().await.unwrap();
    assert_eq!(raw.command(b"\x03big 3000000").await.unwrap(), [1]);
    raw.read().await.unwrap();
    assert_eq!(raw.read().await.unwrap().len(), 3_000_004);
    raw.read().await.unwrap();
    raw.ping().await;
    let (mut raw, answer) = log_in("salted", PASSWORD.as_bytes(), false).await;
    assert_eq!(answer, [1, 3], "the digest was learned");
    assert_eq!(raw.read().await.unwrap()[0], 0);
    // Also for plain text.
    Conn::new(Opts::from(options(&server, "salted", Some(PASSWORD)))).await.unwrap().disconnect().await.unwrap();
    server.shutdown().await;
}

#[tokio::test]
async fn plain_text_after_the_tls_request_is_not_obeyed() {
    let (_, tls) = certificate();
    let server = start(accounts(), ServerConfig::default(), Some(tls)).await;
    let mut raw = Raw::connect(server.address()).await;
    let login = raw.response("root", b"", "caching_sha2_password", CAPABILITIES);
    let bytes = [packet(1, &ssl_request(CAPABILITIES | SSL)), packet(2, &login), packet(0, b"\x03ok 1")].concat();
    raw.stream.write_all(&bytes).await.unwrap();
    while let Some(answer) = raw.read().await {
        assert_ne!(answer[..1], [0], "an OK for a plain-text login");
    }
    server.shutdown().await;
}

#[tokio::test]
async fn secure_transport_can_be_required() {
    let (pem, tls) = certificate();
    let config = ServerConfig { require_secure_transport: true, ..ServerConfig::default() };
    let server = start(accounts(), config, Some(tls)).await;
    let error = Conn::new(Opts::from(options(&server, "root", None))).await.unwrap_err();
    assert_eq!(server_error(error).0, 3159);
    let mut raw = upgrade(Raw::connect(server.address()).await, &pem).await;
    let response = raw.response("root", b"", "caching_sha2_password", CAPABILITIES | SSL);
    raw.write(&response).await;
    assert_eq!(raw.read().await.unwrap()[0], 0);
    server.shutdown().await;
}

/// The `mariadb` client, where it is installed.
#[tokio::test]
async fn the_mariadb_client() {
    let server = server().await;
    let run = async |user: &str, password: &str, input: &str| {
        let output = tokio::process::Command::new("mariadb")
            .args(["--no-defaults", "-h127.0.0.1", "-B", "--local-infile=1"])
            .args([format!("-P{}", server.address().port()), format!("-u{user}"), format!("-e{input}")])
            .env("MYSQL_PWD", password)
            .output()
            .await
            .ok()?;
        Some((
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        ))
    };
    let Some((out, err)) = run("root", "", "rows 2").await else { return };
    assert_eq!((out.as_str(), err.as_str()), ("n\tt\n0\trow 0\n1\trow 1\n", ""));
    assert_eq!(run("native", PASSWORD, "echo hello").await.unwrap().0, "c\nhello\n");
    let (_, err) = run("native", "wrong", "echo hello").await.unwrap();
    assert!(err.contains("ERROR 1045 (28000)"), "{err}");
    let (_, err) = run("root", "", "fail").await.unwrap();
    assert!(err.contains("ERROR 1064 (42000) at line 1: no such word"), "{err}");
    let (out, err) = run("root", "", "use d; whoami").await.unwrap();
    assert!(out.contains("root\td\tplain\tlibmariadb"), "{out} {err}");
    server.shutdown().await;
}
