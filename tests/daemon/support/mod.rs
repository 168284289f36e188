//! A daemon as a process of its own, and a client that trusts nothing but what it was told.

pub(crate) mod broken_disk;
mod client;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};

pub(crate) use client::Client;

/// Its number (signal(7)).
const SIGKILL: i32 = 9;

/// The daemon's directory outlives its processes.
pub(crate) struct Daemon {
    directory: tempfile::TempDir,
    process: Option<Child>,
    environment: Vec<(String, String)>,
    /// How many files it may have open; the system's own limit where nothing is said.
    files: Option<u32>,
    pub(crate) data: SocketAddr,
    pub(crate) admin: SocketAddr,
}

impl Daemon {
    /// With the `[targets.…]` part of a configuration; addresses and the store are its own.
    pub(crate) fn start(targets: &str) -> Daemon {
        Daemon::start_in(targets, Vec::new())
    }

    /// With more in its environment than this process has.
    pub(crate) fn start_in(targets: &str, environment: Vec<(String, String)>) -> Daemon {
        let directory = tempfile::tempdir().unwrap();
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut daemon = Daemon {
            directory,
            process: None,
            environment,
            files: None,
            data: nowhere,
            admin: nowhere,
        };
        daemon.configure(targets);
        daemon.restart();
        daemon
    }

    /// With so many files that it may have open.
    pub(crate) fn start_with_files(targets: &str, files: u32) -> Daemon {
        let mut daemon = Daemon::start(targets);
        daemon.kill();
        daemon.files = Some(files);
        daemon.restart();
        daemon
    }

    /// At addresses of the caller's choice; `data` and `admin` mean nothing then.
    pub(crate) fn start_listening(listen: &str, targets: &str) -> Daemon {
        let directory = tempfile::tempdir().unwrap();
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let (process, environment) = (None, Vec::new());
        let (data, admin, files) = (nowhere, nowhere, None);
        let mut daemon = Daemon { directory, process, environment, files, data, admin };
        daemon.write(listen, targets);
        daemon.restart();
        daemon
    }

    pub(crate) fn configure(&self, targets: &str) {
        self.write("listen = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\n", targets);
    }

    fn write(&self, listen: &str, targets: &str) {
        let store = self.directory.path().join("tollgate.redb");
        let text = format!(
            "[server]\n{listen}\
             [store]\npath = {:?}\nmin_free_disk = \"1MiB\"\n{targets}",
            store.display().to_string()
        );
        std::fs::write(self.directory.path().join("tollgate.toml"), text).unwrap();
    }

    /// Returns once it said where it listens.
    pub(crate) fn restart(&mut self) {
        let mut command = match self.files {
            None => Command::new(env!("CARGO_BIN_EXE_tollgate")),
            Some(files) => {
                let mut shell = Command::new("sh");
                shell.arg("-c").arg(format!("ulimit -n {files} && exec \"$0\" \"$@\""));
                shell.arg(env!("CARGO_BIN_EXE_tollgate"));
                shell
            }
        };
        let mut process = command
            .args(["serve", "--config"])
            .arg(self.directory.path().join("tollgate.toml"))
            .env_remove("RUST_LOG")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(self.directory.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut address = |which: &str| {
            let line = lines.next().and_then(Result::ok).unwrap_or_else(|| {
                let log = std::fs::read_to_string(self.directory.path().join("log")).unwrap();
                panic!("the daemon does not start: {log}")
            });
            let address = line.strip_prefix("listening on ").expect(&line);
            let address = address.strip_suffix(&format!(" ({which})")).expect(&line);
            let port = address.strip_prefix("http://").or(address.strip_prefix("https://"));
            port.map_or(SocketAddr::from(([127, 0, 0, 1], 0)), |port| port.parse().unwrap())
        };
        self.data = address("data");
        self.admin = address("admin");
        self.process = Some(process);
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.as_ref().unwrap().id()
    }

    /// SIGKILL: no chance to write anything.
    pub(crate) fn kill(&mut self) {
        let mut process = self.process.take().unwrap();
        process.kill().unwrap();
        let ended = process.wait().unwrap();
        assert_eq!(ended.signal(), Some(SIGKILL), "it had ended by itself: {ended}");
    }

    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// SIGTERM; returns with the code it exits with.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        self.signal("-TERM");
        self.process.take().unwrap().wait().unwrap()
    }

    pub(crate) fn store(&self) -> std::path::PathBuf {
        self.directory.path().join("tollgate.redb")
    }

    pub(crate) fn config(&self) -> std::path::PathBuf {
        self.directory.path().join("tollgate.toml")
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- the daemon's log\n{}", self.log());
        }
    }
}

/// An address that was free a moment ago; whoever takes it meanwhile makes the test fail, not lie.
pub(crate) fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// The `[targets.erp]` part: `rate`, then whatever else is wanted in it.
pub(crate) fn erp(api: SocketAddr, rate: &str, more: &str) -> String {
    format!(
        "[targets.erp]\nurl = \"http://{api}\"\ntimeout = \"2s\"\n\
         [targets.erp.limit]\nrate = \"{rate}\"\n{more}"
    )
}

/// Between two questions to who tells nothing unasked.
pub(crate) async fn nap() {
    #[expect(clippy::disallowed_methods, reason = "between two questions, not instead of one")]
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
}
