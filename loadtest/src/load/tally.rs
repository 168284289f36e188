//! What came of a load.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::clock::Moment;

/// Latencies from 1 µs to 10 minutes, to three digits; beyond it, 10 minutes.
#[derive(Clone, Debug)]
pub(crate) struct Latencies(Histogram<u64>);

const LONGEST_US: u64 = 600_000_000;

impl Default for Latencies {
    fn default() -> Latencies {
        // These bounds are within what HdrHistogram can do; the test makes one.
        Latencies(Histogram::new_with_bounds(1, LONGEST_US, 3).expect("the bounds are fixed"))
    }
}

impl Latencies {
    pub(crate) fn record(&mut self, time: Duration) {
        let us = u64::try_from(time.as_nanos().div_ceil(1000)).unwrap_or(u64::MAX);
        self.0.saturating_record(us);
    }

    pub(crate) fn add(&mut self, other: &Latencies) {
        // All have the same bounds.
        let _ = self.0.add(&other.0);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In milliseconds; `part` of all are not longer.
    pub(crate) fn ms(&self, part: f64) -> f64 {
        self.0.value_at_quantile(part) as f64 / 1000.0
    }

    pub(crate) fn longest_ms(&self) -> f64 {
        self.0.max() as f64 / 1000.0
    }
}

/// A job that was acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ack {
    pub(crate) number: u64,
    /// When it was to be handed in.
    pub(crate) intended: Moment,
    pub(crate) at: Moment,
}

#[derive(Clone, Debug)]
pub(crate) struct Tally {
    /// Jobs in requests that were answered.
    pub(crate) offered: u64,
    /// Jobs that were taken.
    pub(crate) taken: u64,
    /// Requests by the status of their answer.
    pub(crate) statuses: BTreeMap<u16, u64>,
    /// The body of the first answer that did not take every job.
    pub(crate) refusal: Option<String>,
    /// Requests without an answer: nobody knows whether their jobs are there.
    pub(crate) broken: u64,
    /// Requests whose callers had no patience left: nobody knows of these either.
    pub(crate) left: u64,
    /// Requests that found no connection within their callers' patience, or none at all.
    pub(crate) unsent: u64,
    /// Of requests whose jobs were all taken.
    pub(crate) latencies: Latencies,
    /// How late requests left: the generator's own share of the latency.
    pub(crate) lags: Latencies,
    pub(crate) acks: Vec<Ack>,
    /// When the last answer came.
    pub(crate) last: Moment,
    /// How long it took, or how long was measured.
    pub(crate) span: Duration,
}

impl Tally {
    pub(super) fn new(start: Moment) -> Tally {
        Tally {
            offered: 0,
            taken: 0,
            statuses: BTreeMap::new(),
            refusal: None,
            broken: 0,
            left: 0,
            unsent: 0,
            latencies: Latencies::default(),
            lags: Latencies::default(),
            acks: Vec::new(),
            last: start,
            span: Duration::ZERO,
        }
    }

    pub(super) fn answered(&mut self, status: u16, jobs: u64, taken: u64, latency: Duration) {
        self.offered += jobs;
        self.taken += taken;
        *self.statuses.entry(status).or_default() += 1;
        if taken == jobs {
            self.latencies.record(latency);
        }
    }

    pub(super) fn lag(&mut self, lag: Duration) {
        self.lags.record(lag);
    }

    /// That of a load that ran after this one.
    pub(crate) fn then(&mut self, other: Tally) {
        self.span += other.span;
        self.add(other);
    }

    pub(super) fn add(&mut self, other: Tally) {
        self.offered += other.offered;
        self.taken += other.taken;
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        if self.refusal.is_none() {
            self.refusal = other.refusal;
        }
        self.broken += other.broken;
        self.left += other.left;
        self.unsent += other.unsent;
        self.latencies.add(&other.latencies);
        self.lags.add(&other.lags);
        self.acks.extend(other.acks);
        self.last = self.last.max(other.last);
    }

    /// Jobs taken a second.
    pub(crate) fn rate(&self) -> f64 {
        self.taken as f64 / self.span.as_secs_f64().max(1e-9)
    }

    /// In words, with the first answer that was no yes.
    pub(crate) fn answers(&self) -> String {
        let mut words: Vec<String> = self
            .statuses
            .iter()
            .map(|(status, count)| format!("{count} requests were answered {status}"))
            .collect();
        if self.broken > 0 {
            words.push(format!("{} were not answered", self.broken));
        }
        if self.left > 0 {
            words.push(format!("the callers of {} hung up", self.left));
        }
        if self.unsent > 0 {
            words.push(format!("{} were never sent", self.unsent));
        }
        if let Some(refusal) = &self.refusal {
            words.push(format!("the first refusal: {refusal}"));
        }
        words.join(", ")
    }

    /// Answers that were neither a yes nor one of these.
    pub(crate) fn other_than(&self, expected: &[u16]) -> u64 {
        let known = |status: &u16| [200, 202].contains(status) || expected.contains(status);
        let strange = self.statuses.iter().filter(|(status, _)| !known(status));
        strange.map(|(_, count)| count).sum::<u64>() + self.broken
    }
}
