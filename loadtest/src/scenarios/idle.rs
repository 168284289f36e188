//! What a daemon costs that has nothing to do, with jobs that wait.

use serde::{Deserialize, Serialize};

use super::submit::nobody;
use super::units::Seconds;
use super::{MIB, Place, SECOND};
use crate::clock::pass;
use crate::daemon::{Setup, Targets};
use crate::machine::cores;
use crate::report::Turn;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Idle {
    pub(crate) jobs: u64,
    pub(crate) seconds: Seconds,
}

impl Idle {
    pub(super) async fn turn(&self, place: &Place) -> anyhow::Result<Turn> {
        let mut turn = Turn::default();
        let daemon = place.daemon(&Setup::new(Targets::unlimited(nobody()))).await?;
        turn.lower("rss_empty_mib", "MiB", daemon.stat()?.rss as f64 / MIB);
        daemon.pause(0).await?;
        place.fill_plain(&daemon, 0, self.jobs).await?;
        // What came last is being tidied up.
        pass(2 * SECOND).await;
        let (before, from) = (daemon.stat()?, place.clock.now());
        pass(self.seconds.time()).await;
        let (after, to) = (daemon.stat()?, place.clock.now());
        let cpu = after.cpu.saturating_sub(before.cpu);
        turn.lower("cpu", "% of a core", 100.0 * cores(cpu, to.since(from)));
        turn.lower("rss_mib", "MiB", after.rss as f64 / MIB);
        turn.info("open_files", "files", after.files as f64);
        daemon.stop()?;
        Ok(turn)
    }
}
