//! What happened, told by the books of the fake API and of the producers.

use std::fmt;
use std::time::Duration;

use super::Verdict;
use super::auditor::{Books, Fate, Fault, Peak};
use super::ledger::Tally;
use crate::broker::job::Priority;
use crate::broker::policy::Limit;
use crate::broker::time::Mono;

/// Why the demo is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Its time was over, and every job had ended.
    Finished,
    /// Somebody ended it.
    Stopped,
    /// Its time was over, and jobs did not end within the grace after it.
    GaveUp,
    /// The daemon stopped by itself.
    DaemonGone,
}

#[derive(Clone, Debug)]
pub(super) struct Summary {
    pub(super) ending: Ending,
    /// From the first job to the end of the last one that was waited for.
    pub(super) took: Duration,
    /// How much of that was after the time that was asked for.
    pub(super) overtime: Duration,
    pub(super) limit: Limit,
    pub(super) most_in_a_second: usize,
    pub(super) tally: Tally,
    /// Acknowledged and not ended, by priority.
    pub(super) waiting: [u64; Priority::ALL.len()],
    pub(super) seen: Seen,
    /// As [`super::snapshot::Snapshot::held`].
    pub(super) held: Duration,
}

/// What the API's books say.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) total: u64,
    pub(super) peak: Peak,
    pub(super) fates: [u64; Fate::ALL.len()],
    pub(super) repeats: u64,
    pub(super) repeated_work: u64,
    pub(super) first_at: Option<Mono>,
    pub(super) last_at: Option<Mono>,
    pub(super) faults: Vec<Fault>,
    pub(super) fault_count: u64,
    /// Jobs that no producer was told of.
    pub(super) strangers: u64,
}

impl Seen {
    pub(super) fn in_books(books: &Books, strangers: u64) -> Seen {
        Seen {
            total: books.total(),
            peak: books.peak(),
            fates: Fate::ALL.map(|fate| books.count(fate)),
            repeats: books.repeats(),
            repeated_work: books.repeated_work(),
            first_at: books.first_at(),
            last_at: books.last_at(),
            faults: books.faults().to_vec(),
            fault_count: books.fault_count(),
            strangers,
        }
    }

    fn count(&self, fate: Fate) -> u64 {
        self.fates[fate as usize]
    }
}

impl Summary {
    pub(super) fn nothing_was_lost(&self) -> bool {
        self.tally.loss_count == 0
    }

    pub(super) fn limit_held(&self) -> bool {
        self.seen.peak.arrivals <= self.most_in_a_second
    }

    /// Jobs that are neither ended nor lost.
    fn waiting(&self) -> u64 {
        self.waiting.iter().sum()
    }

    /// Those that no submission without an answer can explain.
    fn unexplained(&self) -> u64 {
        self.seen.strangers.saturating_sub(self.tally.unclear)
    }

    /// What a reader should not have to find out for himself.
    fn complaints(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        match self.ending {
            Ending::Finished | Ending::Stopped => {}
            Ending::GaveUp => complaints.push(format!(
                "{} after the time was over {} jobs had not ended and {} submissions had no answer",
                seconds(self.overtime),
                self.waiting(),
                self.tally.unclear
            )),
            Ending::DaemonGone => complaints.push("the daemon stopped by itself".into()),
        }
        if self.ending != Ending::Stopped && self.seen.total == 0 {
            complaints.push("no request reached the API".into());
        }
        for (job, loss) in &self.tally.losses {
            complaints.push(format!("job {job} {loss}"));
        }
        more(&mut complaints, self.tally.loss_count, self.tally.losses.len());
        for fault in &self.seen.faults {
            complaints.push(describe(fault));
        }
        more(&mut complaints, self.seen.fault_count, self.seen.faults.len());
        if self.unexplained() > 0 {
            complaints.push(format!(
                "the API was asked to do {} jobs that nobody had brought",
                self.unexplained()
            ));
        }
        if !self.limit_held() {
            complaints.push(format!(
                "{} requests came in the second up to {}; the limit is {}",
                self.seen.peak.arrivals,
                seconds(self.seen.peak.at.since(Mono::ZERO)),
                self.most_in_a_second
            ));
        }
        complaints
    }

    /// Whether every promise was kept that the demo can check.
    pub(super) fn verdict(&self) -> Verdict {
        if self.complaints().is_empty() { Verdict::Kept } else { Verdict::Broken }
    }

    /// The share of the allowed requests that were made, from the first to the last one.
    fn use_of_rate(&self) -> Option<f64> {
        let span = self.seen.last_at?.since(self.seen.first_at?);
        // The first one opens the span: what follows it could have come once every interval.
        let made = self.seen.total.checked_sub(1)? as f64;
        let allowed = span.as_secs_f64() * self.limit.rate.per_second();
        (allowed > 0.0).then_some(made / allowed)
    }
}

fn more(complaints: &mut Vec<String>, all: u64, shown: usize) {
    let rest = all.saturating_sub(shown as u64);
    if rest > 0 {
        complaints.push(format!("… and {rest} more like that"));
    }
}

fn describe(fault: &Fault) -> String {
    let when = |at: &Mono| seconds(at.since(Mono::ZERO));
    match fault {
        Fault::StaleAttempt { at, job, last, now } => format!(
            "at {} job {job} came again as attempt {} after attempt {}",
            when(at),
            now.unwrap_or(0),
            last.unwrap_or(0)
        ),
        Fault::KeyChanged { at, job } => {
            format!("at {} job {job} came again with another Idempotency-Key", when(at))
        }
        Fault::Unmarked { at } => {
            format!("at {} a request came without the headers that say whose it is", when(at))
        }
    }
}

/// The smallest sample that at least `share` of all samples do not exceed (nearest rank).
pub(super) fn quantile(sorted: &[Duration], share: f64) -> Option<Duration> {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

fn wait(time: Option<Duration>) -> String {
    match time {
        None => "-".into(),
        Some(time) if time < Duration::from_secs(1) => format!("{} ms", time.as_millis()),
        Some(time) => format!("{:.2} s", time.as_secs_f64()),
    }
}

fn yes(held: bool) -> &'static str {
    if held { "yes" } else { "NO" }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { tally, seen, .. } = self;
        write!(f, "What happened in {}", seconds(self.took))?;
        if !self.overtime.is_zero() {
            write!(
                f,
                " ({} more than asked for, to let the last jobs end)",
                seconds(self.overtime)
            )?;
        }
        writeln!(f, "\n")?;

        writeln!(
            f,
            "{:<16}{:>8}{:>8}{:>8}{:>8}{:>12}{:>12}",
            "", "in", "done", "dead", "waiting", "wait p50", "wait p99"
        )?;
        for priority in Priority::ALL {
            let line = &tally.lines[priority.index()];
            let mut waits = line.waits.clone();
            waits.sort_unstable();
            writeln!(
                f,
                "  {:<14}{:>8}{:>8}{:>8}{:>8}{:>12}{:>12}",
                priority.as_str(),
                line.acknowledged,
                line.done,
                line.dead,
                self.waiting[priority.index()],
                wait(quantile(&waits, 0.5)),
                wait(quantile(&waits, 0.99)),
            )?;
        }
        writeln!(
            f,
            "  {:<14}{:>8}{:>8}{:>8}{:>8}   (wait: from the acknowledgement to the first request)",
            "all",
            tally.acknowledged(),
            tally.done(),
            tally.dead(),
            self.waiting(),
        )?;
        writeln!(
            f,
            "  {} by synchronous calls; {} submitted twice and recognised; {} turned away{}",
            tally.calls,
            tally.duplicates,
            tally.turned_away,
            match tally.unclear {
                0 => String::new(),
                some => format!("; {some} without an answer to their submission"),
            }
        )?;

        writeln!(f, "\nAs the API counted")?;
        writeln!(f, "  requests        {:>8}", seen.total)?;
        writeln!(
            f,
            "  done            {:>8}   and {} turned down for good (404)",
            seen.count(Fate::Done),
            seen.count(Fate::Missing)
        )?;
        writeln!(
            f,
            "  refused         {:>8}   {} over the limit (429), {} with a pause asked for (503)",
            seen.count(Fate::Limited) + seen.count(Fate::Unavailable),
            seen.count(Fate::Limited),
            seen.count(Fate::Unavailable)
        )?;
        let wrong = [Fate::Error, Fate::Broken, Fate::Half, Fate::Hung];
        let parts = wrong.map(|fate| format!("{} {}", seen.count(fate), fate.as_str()));
        writeln!(
            f,
            "  went wrong      {:>8}   {}",
            wrong.into_iter().map(|fate| seen.count(fate)).sum::<u64>(),
            parts.join(", ")
        )?;
        writeln!(
            f,
            "  retried         {:>8}   {} jobs were done more than once, after an unknown outcome",
            seen.repeats, seen.repeated_work
        )?;
        writeln!(
            f,
            "  most in any second {:>5}   of at most {}",
            seen.peak.arrivals, self.most_in_a_second
        )?;
        if let Some(used) = self.use_of_rate() {
            writeln!(
                f,
                "  use of the rate {:>6.0} %   from the first request to the last; {} of pauses asked for",
                100.0 * used,
                seconds(self.held)
            )?;
        }

        let complaints = self.complaints();
        if !complaints.is_empty() {
            writeln!(f, "\nWhat is wrong")?;
            for complaint in complaints {
                writeln!(f, "  {complaint}")?;
            }
        }
        writeln!(f, "\nnothing was lost: {}", yes(self.nothing_was_lost()))?;
        write!(f, "limit held: {}", yes(self.limit_held()))?;
        if self.ending == Ending::Stopped && self.waiting() > 0 {
            write!(f, "\n{} jobs were still waiting when it was ended", self.waiting())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
