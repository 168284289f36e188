//! What a sequence of arrivals says: the most in any window, the spacing, order and repeats.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tollgate::broker::time::Mono;
use tollgate::demo::auditor::most_within;

use crate::clock::Moment;
use crate::load::{Ack, Latencies};
use crate::sink::Arrival;

/// Arrivals in the order of their time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Arrivals(pub(crate) Vec<Arrival>);

impl Arrivals {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// From the first to the last.
    pub(crate) fn span(&self) -> Duration {
        match (self.0.first(), self.0.last()) {
            (Some(first), Some(last)) => last.at.since(first.at),
            _ => Duration::ZERO,
        }
    }

    /// A second, from the first to the last.
    pub(crate) fn rate(&self) -> f64 {
        self.len().saturating_sub(1) as f64 / self.span().as_secs_f64().max(1e-9)
    }

    /// The most in any half-open window of this length.
    pub(crate) fn most_in(&self, window: Duration) -> usize {
        most_within(self.0.iter().map(|a| Mono::ZERO + Duration::from_nanos(a.at.0)), window)
    }

    /// How far the time between neighbours is from `interval`, to either side.
    pub(crate) fn spacing_errors(&self, interval: Duration) -> Latencies {
        let mut errors = Latencies::default();
        for pair in self.0.windows(2) {
            errors.record(pair[1].at.since(pair[0].at).abs_diff(interval));
        }
        errors
    }

    /// For a plot: seconds from the first, and how many came in each. The last one is left out:
    /// it is not a whole one.
    pub(crate) fn per_second(&self) -> Vec<(f64, f64)> {
        let Some(first) = self.0.first() else { return Vec::new() };
        let mut counts = vec![0_u32; self.span().as_secs() as usize];
        for arrival in &self.0 {
            if let Some(count) = counts.get_mut(arrival.at.since(first.at).as_secs() as usize) {
                *count += 1;
            }
        }
        counts.into_iter().enumerate().map(|(s, count)| (s as f64, f64::from(count))).collect()
    }

    /// Those of jobs that had arrived before.
    pub(crate) fn repeats(&self) -> u64 {
        let mut seen = HashSet::new();
        self.0.iter().filter_map(|arrival| arrival.number).filter(|n| !seen.insert(*n)).count()
            as u64
    }

    /// How many of these jobs did not arrive.
    pub(crate) fn missing(&self, numbers: impl IntoIterator<Item = u64>) -> u64 {
        let seen: HashSet<u64> = self.0.iter().filter_map(|arrival| arrival.number).collect();
        numbers.into_iter().filter(|number| !seen.contains(number)).count() as u64
    }

    /// Those that came after a later job of the same group. Jobs must have been handed in by
    /// number.
    pub(crate) fn out_of_order(&self, group: impl Fn(u64) -> Option<u64>) -> u64 {
        let mut last = HashMap::new();
        let mut wrong = 0;
        for number in self.0.iter().filter_map(|arrival| arrival.number) {
            let Some(group) = group(number) else { continue };
            let latest = last.entry(group).or_insert(number);
            wrong += u64::from(number < *latest);
            *latest = number.max(*latest);
        }
        wrong
    }

    /// From each job's acknowledgement to its first arrival, and how many did not arrive. From the
    /// acknowledgement on a job is the daemon's; it may even leave before the acknowledgement is
    /// read, which is no wait at all.
    pub(crate) fn waits(&self, acks: &[Ack]) -> (Latencies, u64) {
        let firsts = self.firsts();
        let (mut waits, mut missing) = (Latencies::default(), 0);
        for ack in acks {
            match firsts.get(&ack.number) {
                Some(at) => waits.record(at.since(ack.at)),
                None => missing += 1,
            }
        }
        (waits, missing)
    }

    /// When each job arrived first.
    fn firsts(&self) -> HashMap<u64, Moment> {
        let mut firsts = HashMap::new();
        for arrival in &self.0 {
            if let Some(number) = arrival.number {
                firsts.entry(number).or_insert(arrival.at);
            }
        }
        firsts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrivals(jobs: &[(u64, u64)]) -> Arrivals {
        let arrival = |(ms, number): &(u64, u64)| Arrival {
            at: Moment(ms * 1_000_000),
            number: Some(*number),
            priority: None,
        };
        Arrivals(jobs.iter().map(arrival).collect())
    }

    #[test]
    fn windows_rates_and_spacing() {
        let even = arrivals(&[(0, 0), (20, 1), (40, 2), (60, 3), (1000, 4)]);
        assert_eq!(even.most_in(Duration::from_secs(1)), 4);
        assert_eq!(even.most_in(Duration::from_millis(20)), 1);
        assert!((even.rate() - 4.0).abs() < 1e-9);
        assert_eq!(even.per_second(), [(0.0, 4.0)]);
        let errors = even.spacing_errors(Duration::from_millis(20));
        assert!(errors.ms(0.5) < 0.01 && (errors.longest_ms() - 920.0).abs() < 1.0);
        let none = arrivals(&[]);
        assert_eq!((none.span(), none.most_in(Duration::from_secs(1))), (Duration::ZERO, 0));
        assert!(none.per_second().is_empty() && none.rate().abs() < f64::EPSILON);
    }

    #[test]
    fn order_repeats_and_what_is_missing() {
        let seen = arrivals(&[(0, 0), (1, 2), (2, 1), (3, 4), (4, 2), (5, 3)]);
        assert_eq!(seen.repeats(), 1);
        assert_eq!(seen.missing(0..7), 2);
        // In even numbers the second 2 comes after 4; in odd ones nothing is wrong.
        assert_eq!(seen.out_of_order(|number| Some(number % 2)), 1);
        assert_eq!(seen.out_of_order(|_| None), 0);
        // Acknowledged before it arrived, after that, and never arrived.
        let at = |ms: u64| Moment(ms * 1_000_000);
        let ack = |number, ms| Ack { number, intended: at(0), at: at(ms) };
        let (waits, missing) = seen.waits(&[ack(4, 1), ack(2, 3), ack(9, 0)]);
        assert_eq!(missing, 1);
        // The second 2 is a repeat.
        assert!((waits.longest_ms() - 2.0).abs() < 0.01 && waits.ms(0.5) < 0.01);
    }
}
