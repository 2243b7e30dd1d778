//! The server that Basalt's answers are compared with: one that runs already, or a MariaDB of the test's own.

use basalt_tests::{cmd, free_port, until};
use mysql_async::{Conn, Opts, OptsBuilder};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// What the peer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// MySQL 8 or 9: its answers are the ones wanted.
    MySql,
    /// MariaDB, which differs from MySQL here and there.
    MariaDb,
}

/// A peer; ended when dropped if the test started it.
pub struct Peer {
    /// Where it is.
    pub options: Opts,
    child: Option<Child>,
    _folder: Option<tempfile::TempDir>,
}

/// The server that a URL in the environment names.
pub fn options_of(variable: &str) -> Option<Opts> {
    let url = std::env::var(variable).ok()?;
    let options = Opts::from_url(&url).unwrap_or_else(|error| panic!("{variable}: {error}"));
    Some(OptsBuilder::from_opts(options).prefer_socket(false).into())
}

impl Peer {
    /// The one of `MYSQL_URL`, or a MariaDB started for this test.
    pub fn start() -> Peer {
        match options_of("MYSQL_URL") {
            Some(options) => Peer { options, child: None, _folder: None },
            None => Peer::private(),
        }
    }

    /// Nothing of it must last, so it never waits for a disk.
    fn private() -> Peer {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let data = folder.path().join("data").display().to_string();
        let (port, socket) = (free_port(), folder.path().join("socket").display().to_string());
        let is_root = rustix::process::geteuid().is_root();
        let user: Vec<String> = if is_root { vec!["--user=root".into()] } else { Vec::new() };
        let mut install = Command::new("mariadb-install-db");
        install.args(["--no-defaults", &format!("--datadir={data}"), "--skip-test-db"]).args(&user);
        cmd::run(install.arg("--auth-root-authentication-method=normal")).expect_ok();
        let child = Command::new("mariadbd")
            .args(["--no-defaults", &format!("--datadir={data}"), &format!("--socket={socket}")])
            .args([&format!("--port={port}"), "--bind-address=127.0.0.1", "--skip-log-bin", "--skip-grant-tables"])
            .args(["--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=64M", "--performance-schema=OFF"])
            .args(["--innodb-doublewrite=OFF", "--innodb-flush-method=nosync", "--character-set-server=utf8mb4"])
            .args(&user)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("mariadbd starts (build/need.sh test installs it)");
        let options = OptsBuilder::default().ip_or_hostname("127.0.0.1").tcp_port(port).user(Some("root"));
        let options: Opts = options.prefer_socket(false).into();
        let peer = Peer { options: options.clone(), child: Some(child), _folder: Some(folder) };
        let runtime = basalt_tests::runtime();
        until("the private MariaDB answers", Duration::from_secs(60), || {
            runtime.block_on(Conn::new(options.clone())).is_ok()
        });
        peer
    }

    /// What it is.
    pub async fn dialect(&self) -> Dialect {
        let mut conn = Conn::new(self.options.clone()).await.expect("the peer answers");
        let version = basalt_tests::statement::text(&mut conn, "SELECT VERSION()").await;
        let is_mariadb = format!("{version:?}").contains("MariaDB");
        if is_mariadb { Dialect::MariaDb } else { Dialect::MySql }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            child.wait().expect("a killed process ends");
        }
    }
}
