//! How long the store has lived: a clock that goes on over restarts, for what limits remember.
//!
//! Within one run of the machine it follows the machine's own clock, which nobody can set
//! (`CLOCK_BOOTTIME`, proc(5) `boot_id`): the row `life` ties the two together. After a restart of
//! the machine only the wall clock is left: the row `last` has what both said when a limit last
//! spent something, and the store has lived on by as much as the wall clock shows since, and not
//! at all where it shows less.

use std::time::Duration;

use redb::{ReadTransaction, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::codec::{decode, encode};
use super::error::Result;
use super::tables::CLOCK;
use crate::broker::time::{Lived, Wall};

const LIFE: &str = "life";
const LAST: &str = "last";

/// A machine from its start to its end, and how long it has run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) boot: u128,
    pub(crate) uptime: Duration,
}

impl Run {
    /// `None` where the system does not tell.
    fn now() -> Option<Run> {
        let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let boot = uuid::Uuid::try_parse(text.trim()).ok()?.as_u128();
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let secs = u64::try_from(time.tv_sec).ok()?;
        let nanos = u32::try_from(time.tv_nsec).ok()?;
        Some(Run { boot, uptime: Duration::new(secs, nanos) })
    }
}

/// A run and how long the store had lived then; `None` where the system does not tell.
pub(crate) type Began = Option<(Run, Lived)>;

/// What is on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Past {
    /// How long the store had lived at some moment of that run.
    pub(crate) life: Option<(Run, Lived)>,
    /// When something was last spent.
    pub(crate) last: Option<(Lived, Wall)>,
}

impl Past {
    /// How long the store has lived now.
    pub(crate) fn lived(&self, run: Option<Run>, wall: Wall) -> Lived {
        let (last, then) = self.last.unwrap_or_default();
        match self.life.zip(run) {
            Some(((old, lived), run)) if old.boot == run.boot => {
                last.max(lived + run.uptime.saturating_sub(old.uptime))
            }
            // Both are read in whole milliseconds.
            _ => last + wall.since(then).saturating_sub(Duration::from_millis(1)),
        }
    }
}

/// The life that began when the store was opened.
#[derive(Debug)]
pub(super) struct Life {
    began: Began,
    told: bool,
}

impl Life {
    pub(super) fn begin(past: Past, wall: Wall) -> (Life, Lived) {
        let run = Run::now();
        let lived = past.lived(run, wall);
        (Life { began: run.map(|run| (run, lived)), told: false }, lived)
    }

    /// For the first record that says what was spent, and for no other. If its commit fails, none
    /// follows.
    pub(super) fn tell(&mut self) -> Option<Began> {
        let first = !std::mem::replace(&mut self.told, true);
        first.then_some(self.began)
    }
}

/// With what is spent.
pub(super) fn write(
    began: Option<&Began>,
    last: (Lived, Wall),
    txn: &WriteTransaction,
    bytes: &mut Vec<u8>,
) -> Result<()> {
    let mut table = txn.open_table(CLOCK)?;
    match began {
        Some(Some(began)) => {
            encode(bytes, began)?;
            table.insert(LIFE, bytes.as_slice())?;
        }
        Some(None) => drop(table.remove(LIFE)?),
        None => {}
    }
    encode(bytes, &last)?;
    table.insert(LAST, bytes.as_slice())?;
    Ok(())
}

pub(super) fn read(txn: &ReadTransaction) -> Result<Past> {
    let table = txn.open_table(CLOCK)?;
    let life = table.get(LIFE)?.map(|row| decode("clock", row.value())).transpose()?;
    let last = table.get(LAST)?.map(|row| decode("clock", row.value())).transpose()?;
    Ok(Past { life, last })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn run(boot: u128, uptime: Duration) -> Run {
        Run { boot, uptime }
    }

    fn past() -> Past {
        Past {
            life: Some((run(1, HOUR), Lived::from_micros(5))),
            last: Some((Lived::from_micros(7), Wall::from_millis(1_000_000))),
        }
    }

    #[test]
    fn in_one_run_of_the_machine_the_wall_clock_is_not_asked() {
        for wall in [Wall::EPOCH, Wall::NEVER] {
            let now = past().lived(Some(run(1, HOUR * 2)), wall);
            assert_eq!(now, Lived::from_micros(5) + HOUR);
        }
    }

    #[test]
    fn after_a_restart_of_the_machine_a_wall_clock_that_went_back_frees_nothing() {
        let other = Some(run(2, HOUR * 9));
        assert_eq!(past().lived(other, Wall::from_millis(999)), Lived::from_micros(7));
        let later = Wall::from_millis(1_003_000);
        let expected = Lived::from_micros(7) + Duration::from_millis(2_999);
        assert_eq!(past().lived(other, later), expected);
        assert_eq!(past().lived(None, later), expected);
    }

    #[test]
    fn it_never_goes_back() {
        assert_eq!(past().lived(Some(run(1, HOUR)), Wall::EPOCH), Lived::from_micros(7));
        assert_eq!(Past::default().lived(None, Wall::EPOCH), Lived::default());
    }

    #[test]
    fn this_machine_tells_how_long_it_has_run() {
        let (first, second) = (Run::now().unwrap(), Run::now().unwrap());
        assert_eq!(first.boot, second.boot);
        assert!(first.uptime <= second.uptime && !first.uptime.is_zero());
    }
}
