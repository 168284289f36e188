//! How soon after each other commits begin.
//!
//! A commit costs much the same whatever is in it: a sync, the last page of the journal once more, a
//! dozen switches between threads. On a quick disk every start and every end would have one of its
//! own, and most of what is written would be for the commits, not for the jobs. So one that has little
//! in it waits until the last one is a moment ago, for what comes meanwhile. (PostgreSQL's
//! `commit_delay` with `commit_siblings` has the same end.)
//!
//! It does not wait for what will not come: callers who each send their next job once the last one is
//! acknowledged, or a group whose jobs go one by one, bring as much again as the last commit answered
//! and no more, where nothing else goes on. Once they have, it begins. Where more comes beside them, each commit waits for more
//! than the one before had, until the moment is what bounds it.

use std::time::{Duration, Instant};

/// From the beginning of one to that of the next.
const LEAST: Duration = Duration::from_micros(1750);
/// Changes that have a commit at once.
const MANY: usize = 16;

/// What a commit is to have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) changes: usize,
    /// What brought them: requests of callers, ends of attempts, moments, what a commit let begin.
    pub(super) inputs: usize,
}

/// What there is to know of the last one.
#[derive(Debug, Default)]
pub(super) struct Spacing {
    began: Option<Instant>,
    /// Inputs that were in it.
    inputs: usize,
    /// Beside those, what came while it was written.
    beside: usize,
}

impl Spacing {
    pub(super) fn begins(&mut self, now: Instant, size: Size) {
        *self = Spacing { began: Some(now), inputs: size.inputs, beside: 0 };
    }

    /// It is on disk; `gathered` came meanwhile.
    pub(super) fn ended(&mut self, gathered: Size) {
        self.beside = gathered.inputs;
    }

    /// How long the next one has to wait; zero: not at all. One without changes is not written, only
    /// answered in its turn.
    pub(super) fn wait(&self, now: Instant, size: Size) -> Duration {
        let all_came = size.inputs >= self.inputs + self.beside;
        match self.began {
            Some(began) if (1..MANY).contains(&size.changes) && !all_came => {
                LEAST.saturating_sub(now.saturating_duration_since(began))
            }
            _ => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Size = of(1);

    const fn of(inputs: usize) -> Size {
        Size { changes: inputs, inputs }
    }

    fn after(inputs: usize, beside: usize) -> (Spacing, Instant) {
        let (mut spacing, now) = (Spacing::default(), Instant::now());
        spacing.begins(now, of(inputs));
        spacing.ended(of(beside));
        (spacing, now)
    }

    #[test]
    fn little_waits_for_a_moment_and_never_longer() {
        let (spacing, now) = after(2, 1);
        assert_eq!(spacing.wait(now, ONE), LEAST);
        assert_eq!(spacing.wait(now + LEAST / 5, of(2)), LEAST * 4 / 5);
        assert_eq!(spacing.wait(now + LEAST, ONE), Duration::ZERO);
        assert_eq!(spacing.wait(now + LEAST * 100, ONE), Duration::ZERO);
    }

    #[test]
    fn the_first_and_a_crowd_and_a_question_do_not_wait() {
        assert_eq!(Spacing::default().wait(Instant::now(), ONE), Duration::ZERO);
        let (spacing, now) = after(100, 0);
        for changes in [0, MANY, MANY + 1] {
            let size = Size { changes, inputs: 1 };
            assert_eq!(spacing.wait(now, size), Duration::ZERO, "{changes} changes");
        }
    }

    /// Each sends the next one when it has the answer to the last.
    #[test]
    fn nobody_waits_where_all_who_could_come_have_come() {
        for callers in 1..MANY {
            for beside in 0..callers {
                let (spacing, now) = after(callers - beside, beside);
                assert_eq!(spacing.wait(now, of(callers)), Duration::ZERO);
                if callers > 1 {
                    assert_eq!(spacing.wait(now, of(callers - 1)), LEAST);
                }
            }
        }
    }

    /// Inputs that come whatever is answered: every 200 us, with a commit that takes 300 us.
    #[test]
    fn a_steady_stream_comes_to_share_commits() {
        const EVERY: Duration = Duration::from_micros(200);
        let (mut spacing, begin) = (Spacing::default(), Instant::now());
        let came = |at: Duration| at.div_duration_f64(EVERY) as usize;
        let (mut at, mut taken) = (Duration::ZERO, 0);
        let mut commits = 0_u32;
        while at < Duration::from_secs(1) {
            let size = of(came(at) - taken);
            let wait = spacing.wait(begin + at, size);
            if size.inputs == 0 || !wait.is_zero() {
                at += EVERY.min(if wait.is_zero() { EVERY } else { wait });
                continue;
            }
            spacing.begins(begin + at, size);
            taken += size.inputs;
            at += Duration::from_micros(300);
            spacing.ended(of(came(at) - taken));
            commits += 1;
        }
        let most = Duration::from_secs(1).div_duration_f64(LEAST);
        assert!(f64::from(commits) < most * 1.05, "{commits} commits for {taken} inputs");
    }
}
