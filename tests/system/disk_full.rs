//! Disks that are full or read-only. At start: one line and another code than 0. While a server runs: writes get an error
//! that says so, reads go on, and writes are taken again when there is room; nothing acknowledged is lost.

use basalt_tests::small_disk::SmallDisk;
use basalt_tests::{Up, alone, basalt, free_port, until};
use std::time::Duration;

const MIB: u64 = 1 << 20;
const SOON: Duration = Duration::from_secs(5);

fn start_error(data: &std::path::Path) -> String {
    let (listen, status) = (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
    let data = data.to_str().expect("temporary folders have plain names");
    let error = basalt(&["up", "--data", data, "--listen", &listen, "--status", &status]).expect_error();
    let lines: Vec<&str> = error.lines().filter(|line| line.starts_with("basalt:")).collect();
    assert!(lines.len() == 1 && !error.contains("panicked"), "expected one line, got\n{error}");
    lines[0].to_string()
}

#[test]
fn a_server_does_not_start_on_a_full_or_read_only_disk() {
    let _alone = alone();
    let Some(disk) = SmallDisk::mount(64) else { return };
    disk.fill(0);
    let error = start_error(&disk.path().join("data"));
    assert!(error.contains("o space left"), "{error}");
    disk.make_room();
    disk.fill(2 * MIB);
    let error = start_error(&disk.path().join("data"));
    assert!(error.contains("no space left"), "{error}");
    disk.make_room();
    disk.make_read_only();
    let error = start_error(&disk.path().join("data"));
    assert!(error.contains("Read-only file system"), "{error}");
}

#[test]
fn writes_are_refused_while_the_disk_is_full_and_reads_go_on() {
    let _alone = alone();
    let Some(disk) = SmallDisk::mount(256) else { return };
    let mut up = Up::start_at(disk.path().join("data"), "[storage]\ndisk_reserve = \"64MiB\"\n");
    up.mysql("create table test.t (id int primary key, v varchar(2000)); insert into test.t values (1, 'before')")
        .expect_ok();
    let rows = |up: &Up| basalt_tests::mysql(up.port, &["-N"], "select id, v from test.t order by id").expect_ok();
    disk.fill(48 * MIB);
    let write = |id: u32| format!("insert into test.t values ({id}, 'x')");
    let mut next = 1000;
    until("writes are refused", SOON, || {
        next += 1;
        !up.mysql(&write(next)).ok
    });
    for statement in [
        "insert into test.t values (2, 'no')",
        "update test.t set v = 'no' where id = 1",
        "create table test.u (id int)",
    ] {
        let error = up.mysql(statement).expect_error();
        assert!(error.contains("ERROR 1021 (HY000)") && error.contains("Disk full"), "{statement}: {error}");
    }
    up.mysql("delete from test.t where id = 1").expect_error();
    assert!(rows(&up).starts_with("1\tbefore\n"), "{}", rows(&up));
    assert_eq!(up.log().matches("the disk is full").count(), 1, "one line, not one a statement\n{}", up.log());

    // Not a byte left, because of others: still nothing is lost, and reads go on.
    disk.make_room();
    until("writes are taken again", SOON, || up.mysql("insert into test.t values (3, 'room')").ok);
    disk.fill(48 * MIB);
    until("writes are refused", SOON, || {
        next += 1;
        up.mysql(&write(next)).err.contains("ERROR 1021")
    });
    disk.fill(0);
    assert!(rows(&up).contains("3\troom\n"));
    basalt_tests::up::pause(Duration::from_secs(4));
    assert!(rows(&up).contains("3\troom\n"));
    disk.make_room();
    until("writes are taken again", SOON, || up.mysql("insert into test.t values (4, 'room')").ok);
    assert!(!up.log().contains("panicked"), "{}", up.log());
    up.kill9();
    up.spawn();
    let rows = rows(&up);
    assert!(rows.starts_with("1\tbefore\n3\troom\n4\troom\n"), "{rows}");
}
