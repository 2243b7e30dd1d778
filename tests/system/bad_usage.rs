//! What cannot run says so in one clear line and exits with another code than 0.

use basalt_tests::{Up, alone, basalt, free_port};

fn one_line(error: &str, expected: &str) {
    let lines = error.lines().filter(|l| l.starts_with("basalt:") || l.starts_with("error:")).collect::<Vec<_>>();
    assert!(lines.len() == 1 && lines[0].contains(expected), "expected one line with {expected:?}, got\n{error}");
}

fn up_arguments(data: &str, port: u16) -> Vec<String> {
    let listen = format!("127.0.0.1:{port}");
    let status = format!("127.0.0.1:{}", free_port());
    ["up", "--data", data, "--listen", &listen, "--status", &status].map(String::from).to_vec()
}

fn run(arguments: &[String]) -> basalt_tests::Output {
    basalt(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn unknown_flags_and_keys() {
    one_line(&basalt(&["up", "--lisen", "x"]).expect_error(), "--lisen");
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("basalt.toml");
    std::fs::write(&config, "lisen = \"127.0.0.1:1\"\n").unwrap();
    one_line(&basalt(&["up", "--config", config.to_str().unwrap()]).expect_error(), "lisen");
    one_line(&basalt(&["cluster", "status", "--dir", folder.path().to_str().unwrap()]).expect_error(), "no cluster");
}

#[test]
fn a_folder_or_port_in_use() {
    let _alone = alone();
    let up = Up::start(&[]);
    let data = up.data.to_str().unwrap();
    one_line(&run(&up_arguments(data, free_port())).expect_error(), "in use");
    let other = tempfile::tempdir().unwrap();
    one_line(&run(&up_arguments(other.path().to_str().unwrap(), up.port)).expect_error(), &up.port.to_string());
    up.mysql("select 1").expect_ok();
}

#[test]
fn a_folder_that_cannot_be_written() {
    let _alone = alone();
    // A file where the folder should be: also root cannot write there, which chmod would not achieve.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let inside = file.join("data");
    one_line(&run(&up_arguments(inside.to_str().unwrap(), free_port())).expect_error(), "file");
}
