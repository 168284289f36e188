//! How long before its token a job is armed.

use std::time::Duration;

use super::time::Mono;

/// What it took lately until a start was on disk, and a little more, or as much as a slow one of
/// the last seconds: a token is lost for ever when the start of its request is not on disk yet, a job
/// that is armed early only waits where it is.
///
/// As a retransmission timer is (RFC 6298), it is made of a smoothed mean and a smoothed deviation.
/// These forget within a few commits what a checkpoint or a busy disk took, so the longest is held
/// beside them; it halves every [`Lead::HALF_LIFE`].
#[derive(Debug)]
pub(super) struct Lead {
    mean: Duration,
    deviation: Duration,
    longest: Duration,
    learned: Mono,
}

impl Default for Lead {
    fn default() -> Lead {
        let mean = Duration::from_millis(1);
        Lead { mean, deviation: Duration::ZERO, longest: mean, learned: Mono::ZERO }
    }
}

impl Lead {
    const LEAST: Duration = Duration::from_micros(200);
    /// A disk that takes longer than this holds the rate back; better than jobs chosen too early.
    const MOST: Duration = Duration::from_millis(50);
    /// A single commit that took longer is no reason to arm even earlier: what is armed holds a
    /// place, and after a crash nobody knows whether it was sent.
    const MOST_FOR_ONE: Duration = Duration::from_millis(20);
    const HALF_LIFE: Duration = Duration::from_secs(2);

    pub(super) fn learn(&mut self, took: Duration, now: Mono) {
        let halves = now.since(self.learned).as_secs_f64() / Lead::HALF_LIFE.as_secs_f64();
        self.longest = self.longest.mul_f64((-halves).exp2()).max(took.min(Lead::MOST_FOR_ONE));
        self.learned = now;
        let off = took.abs_diff(self.mean);
        self.deviation = (self.deviation * 3 + off) / 4;
        self.mean = (self.mean * 7 + took) / 8;
    }

    pub(super) fn get(&self) -> Duration {
        let usual = self.mean + self.deviation * 2;
        usual.max(self.longest).clamp(Lead::LEAST, Lead::MOST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: Duration = Duration::from_millis(1);

    #[test]
    fn a_slow_commit_is_remembered_for_seconds_and_then_forgotten() {
        let mut lead = Lead::default();
        let mut now = Mono::ZERO;
        let mut commits = |lead: &mut Lead, seconds: u64| {
            for _ in 0..seconds * 100 {
                now = now + Duration::from_millis(10);
                lead.learn(COMMIT, now);
            }
            now
        };
        let now = commits(&mut lead, 20);
        let usual = lead.get();
        assert!((COMMIT..COMMIT * 2).contains(&usual), "{usual:?}");
        lead.learn(COMMIT * 12, now);
        assert!(lead.get() >= COMMIT * 12);
        commits(&mut lead, 2);
        let after = lead.get();
        assert!((COMMIT * 5..COMMIT * 7).contains(&after), "{after:?}");
        commits(&mut lead, 18);
        assert_eq!(lead.get(), usual);
    }

    #[test]
    fn a_stall_does_not_arm_everything() {
        let mut lead = Lead::default();
        lead.learn(Duration::from_secs(600), Mono::ZERO + Duration::from_secs(600));
        assert_eq!(lead.get(), Lead::MOST);
        for second in 601..606 {
            lead.learn(COMMIT, Mono::ZERO + Duration::from_secs(second));
        }
        assert!(lead.longest <= Lead::MOST_FOR_ONE);
    }
}
