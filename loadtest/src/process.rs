//! A process that is measured: started, watched through /proc, ended.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};

/// Ends with its owner, by SIGKILL.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    stdout: BufReader<ChildStdout>,
    log: PathBuf,
}

impl Process {
    /// What it writes to standard error goes to `log`.
    pub(crate) fn start(command: &mut Command, log: &Path) -> anyhow::Result<Process> {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(log)?;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(file)
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        let stdout = child.stdout.take().context("standard output was asked for")?;
        Ok(Process { child, stdout: BufReader::new(stdout), log: log.to_owned() })
    }

    /// The address in the next line of its output, "listening on http://…". Blocks until there
    /// is one or the process has ended.
    pub(crate) fn listening(&mut self) -> anyhow::Result<SocketAddr> {
        let mut line = String::new();
        if self.stdout.read_line(&mut line)? == 0 {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(5).collect();
            bail!("it ended before it listened: {}", tail.join(" / "));
        }
        let address = line.split_once("http://").map_or("", |(_, rest)| rest);
        let address = address.split_whitespace().next().unwrap_or("");
        address.parse().with_context(|| format!("no address in {line:?}"))
    }

    pub(crate) fn stat(&self) -> anyhow::Result<Stat> {
        Stat::of(self.child.id())
    }

    pub(crate) fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGTERM; blocks until it has ended.
    pub(crate) fn stop(&mut self) -> anyhow::Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.context("no such process")?, Signal::TERM)?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a process has used, and uses.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Stat {
    /// User and system, of all threads, also of those that have ended.
    pub(crate) cpu: Duration,
    /// In bytes.
    pub(crate) rss: u64,
    pub(crate) files: u64,
}

impl Stat {
    pub(crate) fn of_this_process() -> anyhow::Result<Stat> {
        Stat::of(std::process::id())
    }

    fn of(pid: u32) -> anyhow::Result<Stat> {
        let read = |name: &str| {
            let path = format!("/proc/{pid}/{name}");
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
        };
        let cpu = cpu_in(&read("stat")?, rustix::param::clock_ticks_per_second())
            .context("/proc/…/stat has another form than expected")?;
        let pages = read("statm")?.split_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok());
        let rss = pages.context("/proc/…/statm has another form than expected")?
            * rustix::param::page_size() as u64;
        let files = std::fs::read_dir(format!("/proc/{pid}/fd"))?.count() as u64;
        Ok(Stat { cpu, rss, files })
    }
}

/// The 14th and 15th field; the second is a name in parentheses that may hold anything.
fn cpu_in(stat: &str, ticks_per_second: u64) -> Option<Duration> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    let all = ticks()? + ticks()?;
    Some(Duration::from_nanos(all.saturating_mul(1_000_000_000 / ticks_per_second.max(1))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_found_behind_any_name() {
        let stat = "42 (a b) c) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 9";
        assert_eq!(cpu_in(stat, 100), Some(Duration::from_secs(3)));
        assert_eq!(cpu_in("nonsense", 100), None);
    }

    #[test]
    fn this_process_uses_something() {
        let stat = Stat::of_this_process().unwrap();
        assert!(stat.rss > 100_000 && stat.files >= 3, "{stat:?}");
    }

    #[test]
    fn a_process_that_says_where_it_listens() {
        let log = std::env::temp_dir().join(format!("loadtest-{}.log", uuid::Uuid::now_v7()));
        let shell =
            |script: &str| Process::start(Command::new("sh").args(["-c", script]), &log).unwrap();
        let mut process = shell("echo listening on http://127.0.0.1:7070 '(data)'; exec cat");
        assert_eq!(process.listening().unwrap(), ([127, 0, 0, 1], 7070).into());
        let error = shell("echo no luck >&2").listening().unwrap_err().to_string();
        assert!(error.contains("no luck"), "{error}");
        std::fs::remove_file(&log).unwrap();
    }
}
