//! A `mysql` client that stays connected between statements, and can be killed.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A running client; killed when dropped.
pub struct Client {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Client {
    /// Connects to a server as root.
    pub fn connect(port: u16) -> Client {
        Client::connect_as(port, "root")
    }

    /// Connects to a server as a user without password.
    pub fn connect_as(port: u16, user: &str) -> Client {
        let mut child = Command::new("mysql")
            .args([
                "--no-defaults",
                "-h127.0.0.1",
                &format!("-P{port}"),
                &format!("-u{user}"),
                "-N",
                "--batch",
                "--unbuffered",
            ])
            .args(["--force", "--skip-reconnect"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the mysql client starts");
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        Client { child, stdin, stdout }
    }

    /// Sends statements and does not wait for their end.
    pub fn say(&mut self, statements: &str) {
        writeln!(self.stdin.as_mut().expect("stdin is piped"), "{statements}").expect("the client reads");
    }

    /// The next line of a result.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("the client writes text");
        line.trim_end().to_string()
    }

    /// Sends statements and waits until they have ended.
    #[track_caller]
    pub fn run(&mut self, statements: &str) {
        self.say(&format!("{statements}; select 'done';"));
        assert_eq!(self.line(), "done");
    }

    /// The connection's id at its server.
    pub fn id(&mut self) -> u64 {
        self.say("select connection_id();");
        self.line().parse().expect("an id is a number")
    }

    /// SIGKILL: it closes no transaction and says nothing to its server.
    pub fn kill9(mut self) {
        self.end();
    }

    /// Ends its input; returns what it still printed, and its errors.
    pub fn finish(mut self) -> (String, String) {
        use std::io::Read;
        self.stdin = None;
        let (mut out, mut err) = (String::new(), String::new());
        self.stdout.read_to_string(&mut out).expect("the client writes text");
        if let Some(mut stderr) = self.child.stderr.take() {
            stderr.read_to_string(&mut err).expect("the client writes text");
        }
        (out, err)
    }

    fn end(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        self.child.wait().expect("a killed process ends");
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.end();
    }
}
