//! Commands that tests run: the binary itself, the mysql client, sysbench.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// What a command printed and how it ended.
#[derive(Debug)]
pub struct Output {
    /// Whether it exited with 0.
    pub ok: bool,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Output {
    /// Standard output of a command that must succeed.
    #[track_caller]
    pub fn expect_ok(self) -> String {
        assert!(self.ok, "failed\n--- stdout\n{}\n--- stderr\n{}", self.out, self.err);
        self.out
    }

    /// Standard error of a command that must fail.
    #[track_caller]
    pub fn expect_error(self) -> String {
        assert!(!self.ok, "succeeded\n--- stdout\n{}\n--- stderr\n{}", self.out, self.err);
        self.err
    }
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Output {
    run_with_input(command, "")
}

/// Runs a command that reads `input`, to its end.
pub fn run_with_input(command: &mut Command, input: &str) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("cannot run {command:?}: {e}"));
    let mut stdin = child.stdin.take().expect("stdin is piped");
    let output = std::thread::scope(|scope| {
        // A command that ends before it has read everything closes the pipe; its output tells why.
        scope.spawn(move || stdin.write_all(input.as_bytes()).ok());
        child.wait_with_output().unwrap_or_else(|e| panic!("cannot wait for {command:?}: {e}"))
    });
    Output {
        ok: output.status.success(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// The binary under test: `$BASALT_BIN`, or the one that was built beside this test.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("BASALT_BIN") {
        return path.into();
    }
    let here = std::env::current_exe().expect("a test has a path");
    let target = here.ancestors().nth(2).expect("tests lie in target/PROFILE/deps");
    let path = target.join("basalt");
    assert!(path.exists(), "{} is missing: `cargo build --release --workspace` first", path.display());
    path
}

/// Runs `basalt` with arguments.
pub fn basalt(arguments: &[&str]) -> Output {
    run(clean(Command::new(binary()).args(arguments)))
}

/// Takes the environment variables away that would change the binary's settings.
pub fn clean(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("BASALT_")) {
        command.env_remove(name);
    }
    command
}

/// Runs statements in the `mysql` client, tab-separated output. They reach it by its input, so they may be long.
pub fn mysql(port: u16, arguments: &[&str], statements: &str) -> Output {
    let port = format!("-P{port}");
    let mut command = Command::new("mysql");
    command.args(["--no-defaults", "-h127.0.0.1", &port, "-uroot", "--batch"]).args(arguments);
    run_with_input(&mut command, statements)
}

/// One sysbench command.
#[derive(Debug, Clone)]
pub struct Sysbench<'a> {
    /// The bundled script.
    pub script: &'a str,
    /// Server ports, taken in turn.
    pub ports: &'a [u16],
    /// Further flags.
    pub flags: &'a [&'a str],
}

/// Runs a sysbench verb: prepare, run, cleanup, prewarm.
pub fn sysbench(options: &Sysbench<'_>, verb: &str) -> Output {
    let ports = options.ports.iter().map(u16::to_string).collect::<Vec<_>>().join(",");
    run(Command::new("sysbench")
        .arg(options.script)
        .args(["--mysql-host=127.0.0.1", &format!("--mysql-port={ports}"), "--mysql-user=root", "--mysql-db=sbtest"])
        .args(options.flags)
        .arg(verb))
}
