//! How many may have started by when: windows and quotas as ceilings over the curve of starts.
//!
//! Times are milliseconds from now, counts are jobs started since now, both with fractions.

use std::time::Duration;

use super::limits::{QuotaLeft, Window};
use super::phases::By;
use crate::broker::calendar::Quota;
use crate::broker::time::Wall;

/// The starts so far, as a line with corners; where it rises at once, two have the same time.
#[derive(Debug)]
pub(super) struct Curve {
    corners: Vec<(f64, f64)>,
}

impl Curve {
    pub(super) fn new() -> Curve {
        Curve { corners: vec![(0.0, 0.0)] }
    }

    pub(super) fn go_to(&mut self, at: f64, starts: f64) {
        if let [.., (t0, n0), (t1, n1)] = self.corners[..] {
            // On the same line: no corner.
            let (run, rise) = (at - t0, starts - n0);
            let straight = (n1 - n0) * run - rise * (t1 - t0);
            if at > t1 && t1 > t0 && straight.abs() <= 1e-9 * run.max(1.0) * rise.max(1.0) {
                self.corners.pop();
            }
        }
        self.corners.push((at, starts));
    }
}

/// What a ceiling allows at a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Height {
    /// Starts in all.
    pub(super) at: f64,
    /// More of them a millisecond, until `bend`.
    pub(super) slope: f64,
    pub(super) bend: f64,
    /// Less for all but HIGH.
    pub(super) reserve: f64,
    pub(super) by: By,
}

/// A sliding window: a slot that is taken by a start is free again `back` later.
#[derive(Debug)]
pub(super) struct Sliding {
    count: f64,
    reserve: f64,
    back: f64,
    /// When slots that were taken before are free again; in order.
    taken: Vec<(f64, f64)>,
    freed: usize,
    /// Slots free of those that were taken before, less those still taken.
    base: f64,
    /// The last corner of the curve at or before `back` ago.
    corner: usize,
    by: By,
}

impl Sliding {
    /// `mean`: how long an attempt takes; its slot is taken that much longer.
    pub(super) fn new(window: &Window, number: usize, now: Wall, mean: Duration) -> Sliding {
        let mut taken: Vec<(f64, f64)> =
            window.taken.iter().map(|(free, n)| (millis(free.since(now)), f64::from(*n))).collect();
        taken.sort_by(|a, b| a.0.total_cmp(&b.0));
        let held: f64 = taken.iter().map(|(_, n)| n).sum();
        let count = f64::from(window.count.get());
        Sliding {
            count,
            reserve: f64::from(window.reserve.min(window.count.get())),
            back: millis(window.width) + millis(mean),
            taken,
            freed: 0,
            base: count - held,
            corner: 0,
            by: By::Window(number),
        }
    }

    /// Of time that only goes on.
    pub(super) fn height(&mut self, at: f64, curve: &Curve) -> Height {
        while let Some((free, n)) = self.taken.get(self.freed).filter(|(free, _)| *free <= at) {
            debug_assert!(*free <= at);
            self.base += n;
            self.freed += 1;
        }
        let mut height = Height {
            at: self.base,
            slope: 0.0,
            bend: self.taken.get(self.freed).map_or(f64::INFINITY, |(free, _)| *free),
            reserve: self.reserve,
            by: self.by,
        };
        let then = at - self.back;
        let corners = &curve.corners;
        // Time comes here as a corner's time and `back`: the two sums are compared as sums.
        while corners.get(self.corner + 1).is_some_and(|(t, _)| t + self.back <= at) {
            self.corner += 1;
        }
        let (t0, n0) = corners[self.corner];
        if t0 + self.back > at {
            height.bend = height.bend.min(t0 + self.back);
            return height;
        }
        height.at += n0;
        if let Some((t1, n1)) = corners.get(self.corner + 1) {
            height.bend = height.bend.min(t1 + self.back);
            if *t1 > t0 {
                height.slope = (n1 - n0) / (t1 - t0);
                height.at += height.slope * (then - t0).max(0.0);
            }
        } else {
            // As far as the curve is known.
            height.bend = height.bend.min(t0 + self.back);
        }
        height
    }

    /// What it allows in the long run, a millisecond: to all, to all but HIGH; and at once.
    pub(super) fn in_the_long_run(&self) -> (f64, f64, f64) {
        let back = self.back.max(1.0);
        (self.count / back, (self.count - self.reserve) / back, self.base.max(0.0))
    }

    pub(super) fn count(&self) -> f64 {
        self.count
    }

    pub(super) fn by(&self) -> By {
        self.by
    }
}

/// A calendar quota.
#[derive(Debug)]
pub(super) struct Calendar<'a> {
    quota: &'a Quota,
    reserve: f64,
    /// Starts in all, by the end of the period.
    top: f64,
    end: f64,
    by: By,
}

impl Calendar<'_> {
    pub(super) fn new(left: &QuotaLeft, number: usize, now: Wall) -> Calendar<'_> {
        Calendar {
            quota: &left.quota,
            reserve: f64::from(left.reserve.min(left.quota.count.get())),
            top: f64::from(left.left),
            end: millis(left.quota.period(now).end.since(now)),
            by: By::Quota(number),
        }
    }

    /// Of time that only goes on; `starts`: so far.
    pub(super) fn height(&mut self, at: f64, starts: f64, now: Wall) -> Height {
        while self.end <= at {
            let next = now + Duration::from_secs_f64(self.end.max(0.0) / 1_000.0);
            let end = millis(self.quota.period(next).end.since(now));
            // The last one that there is.
            self.end = if end > self.end { end } else { f64::INFINITY };
            self.top = starts + f64::from(self.quota.count.get());
        }
        Height { at: self.top, slope: 0.0, bend: self.end, reserve: self.reserve, by: self.by }
    }
}

pub(super) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}
