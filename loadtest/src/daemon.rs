//! The daemon under test: its release binary on a fresh store, with a configuration made here.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use crate::clock::pass;
use crate::http::Connection;
use crate::jobs;
use crate::machine;
use crate::process::{Process, Stat};

/// How long a daemon may take to start; one with ten million jobs is to need a second.
const START: Duration = Duration::from_secs(120);

/// One or more targets of the same kind.
#[derive(Clone, Debug)]
pub(crate) struct Targets {
    pub(crate) count: u32,
    pub(crate) url: SocketAddr,
    /// As in the configuration.
    pub(crate) rate: String,
    pub(crate) burst: u32,
    pub(crate) max_concurrent: u32,
    pub(crate) max_queued: u64,
}

impl Targets {
    /// The limits are as wide as the configuration allows.
    pub(crate) fn unlimited(url: SocketAddr) -> Targets {
        Targets {
            count: 1,
            url,
            rate: "1000000/s".into(),
            burst: 1_000_000,
            max_concurrent: 64,
            max_queued: 1_000_000_000,
        }
    }

    pub(crate) fn paced(url: SocketAddr, rate: &str) -> Targets {
        Targets { rate: rate.into(), burst: 1, ..Targets::unlimited(url) }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Setup {
    /// Numbered from 0 over all of them.
    pub(crate) targets: Vec<Targets>,
    /// How long a finished job is kept; short where its space is to be used again.
    pub(crate) retention: Duration,
}

impl Setup {
    pub(crate) fn new(targets: Targets) -> Setup {
        Setup { targets: vec![targets], retention: Duration::from_secs(86_400) }
    }

    fn toml(&self, store: &Path) -> String {
        let retention = self.retention.as_secs();
        let mut text = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\n\
             max_body = \"16MiB\"\n[store]\npath = {:?}\nretention = \"{retention}s\"\n\
             [telemetry]\nlog = \"warn\"\n",
            store.display().to_string()
        );
        let mut number = 0;
        for targets in &self.targets {
            let Targets { count, url, rate, burst, max_concurrent, max_queued } = targets;
            for _ in 0..*count {
                let name = jobs::target(number);
                number += 1;
                // Writing to a String cannot fail.
                let _ = write!(
                    text,
                    "[targets.{name}]\nurl = \"http://{url}\"\nmax_queued = {max_queued}\n\
                     limit = {{ rate = \"{rate}\", burst = {burst}, \
                     max_concurrent = {max_concurrent} }}\n"
                );
            }
        }
        text
    }
}

/// A running daemon and the directory that it lives in, which goes away with it.
#[derive(Debug)]
pub(crate) struct Daemon {
    program: PathBuf,
    dir: PathBuf,
    process: Process,
    pub(crate) data: SocketAddr,
    pub(crate) admin: SocketAddr,
    /// From the start of the process until it said that it is ready.
    pub(crate) ready_after: Duration,
}

impl Daemon {
    /// In a new directory under `under`; returns once it is ready.
    pub(crate) async fn start(
        program: &Path,
        under: &Path,
        setup: &Setup,
    ) -> anyhow::Result<Daemon> {
        let dir = under.join(format!("daemon-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir_all(dir.join("store"))
            .with_context(|| format!("cannot make {}", dir.display()))?;
        let config = setup.toml(&dir.join("store/tollgate.redb"));
        std::fs::write(dir.join("tollgate.toml"), config)?;
        let (process, data, admin, ready_after) = launch(program, &dir).await?;
        Ok(Daemon { program: program.to_owned(), dir, process, data, admin, ready_after })
    }

    /// SIGKILL, then a start on the same store; its addresses change.
    pub(crate) async fn crash(&mut self) -> anyhow::Result<()> {
        self.process.kill()?;
        self.restart().await
    }

    async fn restart(&mut self) -> anyhow::Result<()> {
        let (process, data, admin, ready_after) = launch(&self.program, &self.dir).await?;
        self.process = process;
        self.data = data;
        self.admin = admin;
        self.ready_after = ready_after;
        Ok(())
    }

    /// SIGTERM; returns once it has drained, and says if it complained about anything.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        self.process.stop()?;
        let log = std::fs::read_to_string(self.dir.join("log")).unwrap_or_default();
        match log.lines().find(|line| line.contains("ERROR") || line.contains("panicked")) {
            Some(line) => bail!("the daemon complained: {line}"),
            None => Ok(()),
        }
    }

    pub(crate) fn stat(&self) -> anyhow::Result<Stat> {
        self.process.stat()
    }

    /// Of the store on disk, in bytes.
    pub(crate) fn store_size(&self) -> u64 {
        machine::size_of(&self.dir.join("store"))
    }

    pub(crate) async fn pause(&self, target: u32) -> anyhow::Result<()> {
        self.tell(&format!("/v1/targets/{}/pause", jobs::target(target))).await
    }

    pub(crate) async fn resume(&self, target: u32) -> anyhow::Result<()> {
        self.tell(&format!("/v1/targets/{}/resume", jobs::target(target))).await
    }

    async fn tell(&self, path: &str) -> anyhow::Result<()> {
        let (status, body) = ask(self.admin, "POST", path).await?;
        ensure!((200..300).contains(&status), "POST {path}: {status} {body}");
        Ok(())
    }

    pub(crate) async fn metrics(&self) -> anyhow::Result<Metrics> {
        let (status, text) = ask(self.admin, "GET", "/metrics").await?;
        ensure!(status == 200, "GET /metrics: {status}");
        Ok(Metrics::parse(&text))
    }

    /// Waits until so many jobs have ended in this life of the daemon.
    pub(crate) async fn until_finished(&self, jobs: u64, within: Duration) -> anyhow::Result<()> {
        let start = Instant::now();
        loop {
            let finished = self.metrics().await?.sum("tollgate_jobs_finished_total", "");
            if finished >= jobs as f64 {
                return Ok(());
            }
            ensure!(start.elapsed() < within, "{finished} of {jobs} jobs ended in {within:?}");
            pass(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

async fn launch(
    program: &Path,
    dir: &Path,
) -> anyhow::Result<(Process, SocketAddr, SocketAddr, Duration)> {
    let begin = Instant::now();
    let config = dir.join("tollgate.toml");
    let mut command = Command::new(program);
    command.arg("serve").arg("--config").arg(config).env_remove("RUST_LOG");
    let mut process = Process::start(&mut command, &dir.join("log"))?;
    let (process, data, admin) = tokio::task::spawn_blocking(move || {
        let (data, admin) = (process.listening()?, process.listening()?);
        anyhow::Ok((process, data, admin))
    })
    .await??;
    while begin.elapsed() < START {
        if ask(admin, "GET", "/readyz").await.is_ok_and(|(status, _)| status == 200) {
            return Ok((process, data, admin, begin.elapsed()));
        }
        pass(Duration::from_millis(1)).await;
    }
    bail!("the daemon was not ready after {START:?}")
}

/// One request without a body, on a connection of its own.
async fn ask(address: SocketAddr, method: &str, path: &str) -> anyhow::Result<(u16, String)> {
    let mut connection = Connection::open(address).await?;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\ncontent-length: 0\r\nconnection: \
         close\r\n\r\n"
    );
    let answer = connection
        .exchange(request.as_bytes())
        .await
        .with_context(|| format!("no answer to {method} {path}"))?;
    Ok((answer.status, String::from_utf8_lossy(answer.body).into_owned()))
}

/// What /metrics says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    fn parse(text: &str) -> Metrics {
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let sample = |line: &str| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        Metrics(samples.filter_map(sample).collect())
    }

    /// All samples of this name whose labels contain `label`, together.
    pub(crate) fn sum(&self, name: &str, label: &str) -> f64 {
        let is_it = |key: &str| {
            let (its_name, labels) = key.split_once('{').unwrap_or((key, ""));
            its_name == name && labels.contains(label)
        };
        self.0.iter().filter(|(key, _)| is_it(key)).map(|(_, value)| value).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_is_one() {
        let sink = ([127, 0, 0, 1], 9000).into();
        let mut setup = Setup::new(Targets::unlimited(sink));
        setup.targets.push(Targets { count: 3, ..Targets::paced(sink, "50/s") });
        let text = setup.toml(Path::new("/somewhere/a \"b\".redb"));
        let config = tollgate::config::parse(&text, Path::new("x.toml"), &|_| None).unwrap();
        assert_eq!(config.targets.len(), 4);
        assert!(config.targets.values().any(|target| target.name == "t00003"));
    }

    #[test]
    fn metrics_are_added_up() {
        let text = "# HELP a b\na{t=\"x\",p=\"HIGH\"} 2\na{t=\"x\",p=\"BATCH\"} 3\nab 7\n";
        let metrics = Metrics::parse(text);
        assert!((metrics.sum("a", "") - 5.0).abs() < f64::EPSILON);
        assert!((metrics.sum("a", "HIGH") - 2.0).abs() < f64::EPSILON);
        assert!((metrics.sum("ab", "") - 7.0).abs() < f64::EPSILON);
        assert!(metrics.sum("b", "").abs() < f64::EPSILON);
    }
}
