//! What the figures were measured on, and what its disk has written.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

/// In the report, so that nobody compares figures of two machines.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) memory_gib: f64,
    pub(crate) kernel: String,
    pub(crate) file_system: String,
    /// Median of 200 appends of 4 KiB, each synced.
    pub(crate) fdatasync_us: f64,
    /// Before the run. Above about 0.3 somebody else was at work.
    pub(crate) load: f64,
}

impl Machine {
    /// `dir`: where stores will be.
    pub(crate) fn look(dir: &Path) -> anyhow::Result<Machine> {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            line.split_once(':').map_or("", |(_, value)| value).trim().to_owned()
        };
        let memory = field(&read("/proc/meminfo"), "MemTotal");
        let kib: f64 = memory.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0.0);
        let load = read("/proc/loadavg");
        Ok(Machine {
            cpu: field(&read("/proc/cpuinfo"), "model name"),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_gib: kib / 1_048_576.0,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            file_system: file_system(dir).unwrap_or_else(|| "unknown".into()),
            fdatasync_us: fdatasync_us(dir)?,
            load: load.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0.0),
        })
    }
}

/// The kind of the innermost mount that holds this path.
fn file_system(path: &Path) -> Option<String> {
    let path = path.canonicalize().ok()?;
    let mounts = std::fs::read_to_string("/proc/self/mounts").ok()?;
    let mount = |line: &str| {
        let mut fields = line.split(' ').skip(1);
        let (at, kind) = (fields.next()?, fields.next()?);
        path.starts_with(at).then(|| (at.len(), kind.to_owned()))
    };
    mounts.lines().filter_map(mount).max_by_key(|(length, _)| *length).map(|(_, kind)| kind)
}

fn fdatasync_us(dir: &Path) -> anyhow::Result<f64> {
    use std::io::Write as _;
    let path = dir.join(format!("fdatasync-{}", uuid::Uuid::now_v7()));
    let mut file = std::fs::File::create_new(&path)
        .with_context(|| format!("cannot write to {}", dir.display()))?;
    let mut times = Vec::with_capacity(200);
    for _ in 0..200 {
        let start = Instant::now();
        file.write_all(&[b'x'; 4096]).and_then(|()| file.sync_data())?;
        times.push(start.elapsed());
    }
    std::fs::remove_file(&path)?;
    times.sort_unstable();
    Ok(times[100].as_secs_f64() * 1e6)
}

/// A block device, whose counters tell what reached it. They count what everybody writes.
#[derive(Clone, Debug)]
pub(crate) struct Device(PathBuf);

impl Device {
    /// The one that holds `dir`; `None` where that is none, like a tmpfs.
    pub(crate) fn of(dir: &Path) -> Option<Device> {
        let device = std::fs::metadata(dir).ok()?.dev();
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        let stat = PathBuf::from(format!("/sys/dev/block/{major}:{minor}/stat"));
        stat.exists().then_some(Device(stat))
    }

    /// Bytes written since the machine started.
    pub(crate) fn written(&self) -> anyhow::Result<u64> {
        let text = std::fs::read_to_string(&self.0)?;
        // The seventh field counts sectors, which are 512 bytes whatever the device
        // (Documentation/block/stat.rst).
        let sectors = text.split_whitespace().nth(6).and_then(|n| n.parse::<u64>().ok());
        Ok(sectors.with_context(|| format!("no counters in {}", self.0.display()))? * 512)
    }
}

/// What the files under `dir` take on the disk, in bytes.
pub(crate) fn size_of(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => size_of(&entry.path()),
            Ok(meta) => meta.blocks() * 512,
            // Removed meanwhile.
            Err(_) => 0,
        })
        .sum()
}

/// Parts of a core that were used between two looks.
pub(crate) fn cores(cpu: Duration, span: Duration) -> f64 {
    cpu.as_secs_f64() / span.as_secs_f64().max(1e-9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_is_described() {
        let machine = Machine::look(&std::env::temp_dir()).unwrap();
        assert!(machine.cores >= 1 && machine.memory_gib > 0.1, "{machine:?}");
        assert!(machine.fdatasync_us > 0.0);
        assert!(!machine.kernel.is_empty() && machine.file_system != "unknown", "{machine:?}");
    }

    #[test]
    fn files_take_the_blocks_that_they_take() {
        let dir = std::env::temp_dir().join(format!("loadtest-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir_all(dir.join("inner")).unwrap();
        std::fs::write(dir.join("inner/file"), vec![1; 100_000]).unwrap();
        assert!(size_of(&dir) >= 100_000);
        std::fs::remove_dir_all(&dir).unwrap();
        assert_eq!(size_of(&dir), 0);
    }
}
