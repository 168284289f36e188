//! A daemon whose disk is small, or fails. Where the machine does not let a test have such a disk,
//! the test says so and is left out, unless CI=true.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use super::Daemon;

/// A file system of its own, unmounted when it is dropped: keep it longer than the daemon.
pub(crate) struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// `None`, with a printed word, where nothing may be mounted.
    pub(crate) fn mount(mebibytes: u32) -> Option<SmallDisk> {
        let directory = tempfile::tempdir().unwrap();
        let size = format!("size={mebibytes}m,mode=0700");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tollgate-test"])
            .arg(directory.path())
            .output();
        match mounted {
            Ok(done) if done.status.success() => Some(SmallDisk(directory)),
            Ok(done) => left_out(&String::from_utf8_lossy(&done.stderr)),
            Err(error) => left_out(&error.to_string()),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Takes all room but so many KiB; free it by deleting the file.
    pub(crate) fn fill_up_to(&self, kibibytes: u64) -> PathBuf {
        let ballast = self.path("ballast");
        let room = rustix::fs::statvfs(self.0.path()).unwrap();
        let taken = (room.f_bavail * room.f_frsize).saturating_sub(kibibytes * 1_024);
        std::fs::write(&ballast, vec![1; usize::try_from(taken).unwrap()]).unwrap();
        ballast
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["-l"]).arg(self.0.path()).status();
    }
}

fn left_out<T>(why: &str) -> Option<T> {
    let needed = std::env::var("CI").as_deref() == Ok("true");
    assert!(!needed, "a disk that can be broken is needed in CI: {}", why.trim());
    println!("LEFT OUT: this machine does not let a test break a disk: {}", why.trim());
    None
}

/// Makes calls of the daemon fail, until it is dropped.
pub(crate) struct Saboteur(Child);

impl Saboteur {
    /// In the words of `strace -e inject=`. `None`, with a printed word, where that cannot be had.
    pub(crate) fn attach(daemon: &Daemon, inject: &str) -> Option<Saboteur> {
        let calls = inject.split(':').next().unwrap();
        let strace = Command::new("strace")
            .args(["-f", "-p", &daemon.id().to_string()])
            .args(["-e", &format!("trace={calls}"), "-e", &format!("inject={inject}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let mut strace = match strace {
            Ok(strace) => strace,
            Err(error) => return left_out(&format!("strace: {error}")),
        };
        let mut lines = BufReader::new(strace.stderr.take().unwrap()).lines();
        let first = lines.next().and_then(Result::ok).unwrap_or_default();
        if !first.contains("attached") {
            let _ = strace.wait();
            return left_out(&first);
        }
        // It must not wait for somebody to read what it saw.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Some(Saboteur(strace))
    }
}

impl Drop for Saboteur {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Daemon {
    /// Starts again with its store elsewhere, and empty. `min_free`: the room that it leaves.
    pub(crate) fn move_store(&mut self, to: &Path, min_free: &str) {
        assert!(self.terminate().success());
        let file = self.directory.path().join("tollgate.toml");
        let lines = std::fs::read_to_string(&file).unwrap();
        let lines = lines.lines().map(|line| match line.split(" = ").next() {
            Some("path") => format!("path = {:?}\n", to.display().to_string()),
            Some("min_free_disk") => format!("min_free_disk = {min_free:?}\n"),
            _ => format!("{line}\n"),
        });
        let text: String = lines.collect();
        std::fs::write(&file, text).unwrap();
        self.restart();
    }

    /// Returns with the code that it exits with by itself.
    pub(crate) fn exit(&mut self) -> ExitStatus {
        self.process.take().unwrap().wait().unwrap()
    }
}
