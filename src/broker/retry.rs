//! From the outcome of an attempt to what becomes of its job.

use std::num::NonZeroU32;
use std::time::Duration;

use super::job::{Failure, Header};
use super::payload::{Outcome, Report};
use super::policy::Retry;
use super::time::Wall;

/// For the jobs of a target that the configuration does not name any more: they are kept.
pub(super) const WHILE_AWAY: Retry = Retry {
    max_attempts: NonZeroU32::MAX,
    min_backoff: Duration::from_secs(1),
    max_backoff: Duration::from_secs(300),
    max_retry_duration: Duration::MAX,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Succeed,
    Fail(Failure),
    /// The job waits so long at least, then goes back to its place.
    Wait(Duration),
}

/// `header` is as it was when the attempt was started.
pub(super) fn verdict(report: &Report, header: &Header, retry: &Retry, now: Wall) -> Verdict {
    let status = report.answer.as_ref().map_or(0, |answer| answer.status);
    let since = header.first_sent_at.map_or(Duration::ZERO, |first| now.since(first));
    let late = since >= retry.max_retry_duration;
    match report.outcome {
        Outcome::Done => Verdict::Succeed,
        Outcome::Rejected => Verdict::Fail(Failure::Rejected { status }),
        Outcome::Refused | Outcome::Unknown if late => Verdict::Fail(Failure::RetriesExhausted),
        // The first refusal is the target's affair, which is held back for it. A job that is
        // refused again and again gets out of the way of the others.
        Outcome::Refused if header.refusals == 0 => Verdict::Wait(Duration::ZERO),
        Outcome::Refused => Verdict::Wait(backoff(retry, header.refusals, dice(header))),
        Outcome::Unknown => {
            let spent = header.spent.saturating_add(1);
            let allowed = header.max_attempts.unwrap_or(retry.max_attempts.get());
            if spent >= allowed {
                Verdict::Fail(Failure::RetriesExhausted)
            } else {
                Verdict::Wait(backoff(retry, spent, dice(header)))
            }
        }
    }
}

/// Exponential with full jitter above `min_backoff`: before the nth try again, somewhere between
/// `min_backoff` and `min_backoff` · 2^n, at most `max_backoff`.
fn backoff(retry: &Retry, nth: u32, dice: u64) -> Duration {
    let ceiling = retry.min_backoff.saturating_mul(1_u32.checked_shl(nth).unwrap_or(u32::MAX));
    let ceiling = ceiling.min(retry.max_backoff);
    let spread = ceiling.saturating_sub(retry.min_backoff);
    let share = (dice >> 11) as f64 / (1_u64 << 53) as f64;
    (retry.min_backoff + spread.mul_f64(share)).min(retry.max_backoff)
}

/// How long a target that refuses is left alone: what it asked for, else twice as long each time.
/// Both within `max_backoff`.
pub(super) fn hold(retry: &Retry, streak: u32, asked: Option<Duration>) -> Duration {
    let doublings = 1_u32.checked_shl(streak.saturating_sub(1)).unwrap_or(u32::MAX);
    let own = retry.min_backoff.saturating_mul(doublings);
    asked.unwrap_or(own).min(retry.max_backoff)
}

/// Chance without a generator: a hash of the job and its attempt (splitmix64), so that the core
/// is a function of its input and jobs that failed together come back apart.
fn dice(header: &Header) -> u64 {
    let id = header.id.0;
    let mixed = (id as u64) ^ ((id >> 64) as u64) ^ (u64::from(header.attempts) << 32);
    let mut z = mixed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::job::{JobId, Priority, Seat, TargetId};
    use crate::broker::payload::Answer;

    const RETRY: Retry = Retry {
        max_attempts: NonZeroU32::new(3).unwrap(),
        min_backoff: Duration::from_secs(1),
        max_backoff: Duration::from_secs(60),
        max_retry_duration: Duration::from_secs(3_600),
    };

    fn header(spent: u32, refusals: u32) -> Header {
        Header {
            id: JobId(7),
            target: TargetId(1),
            priority: Priority::Normal,
            seat: Seat(1),
            enqueued_at: Wall::EPOCH,
            ready_at: Wall::EPOCH,
            deadline: None,
            attempts: spent + refusals + 1,
            spent,
            refusals,
            first_sent_at: Some(Wall::EPOCH),
            max_attempts: None,
            owed: crate::broker::job::Owed::Nothing,
            group: None,
            flow: None,
            tag: crate::broker::fair::Tag::default(),
        }
    }

    fn report(outcome: Outcome, status: Option<u16>) -> Report {
        let answer = status.map(|status| Answer { status, ..Answer::default() });
        Report { outcome, answer, retry_after: None, reason: None, took: Duration::ZERO }
    }

    #[test]
    fn attempts_are_used_up_by_unknown_outcomes_and_not_by_refusals() {
        let unknown = report(Outcome::Unknown, Some(500));
        let now = Wall::EPOCH;
        assert!(matches!(verdict(&unknown, &header(1, 0), &RETRY, now), Verdict::Wait(_)));
        let exhausted = Verdict::Fail(Failure::RetriesExhausted);
        assert_eq!(verdict(&unknown, &header(2, 0), &RETRY, now), exhausted);
        let refused = report(Outcome::Refused, Some(503));
        assert!(matches!(verdict(&refused, &header(2, 99), &RETRY, now), Verdict::Wait(_)));
        let late = now + RETRY.max_retry_duration;
        assert_eq!(verdict(&refused, &header(0, 0), &RETRY, late), exhausted);
    }

    #[test]
    fn a_job_has_its_own_number_of_attempts() {
        let one = Header { max_attempts: Some(1), ..header(0, 0) };
        let verdict = verdict(&report(Outcome::Unknown, None), &one, &RETRY, Wall::EPOCH);
        assert_eq!(verdict, Verdict::Fail(Failure::RetriesExhausted));
    }

    #[test]
    fn a_rejection_keeps_its_status() {
        let rejected = report(Outcome::Rejected, Some(404));
        let verdict = verdict(&rejected, &header(0, 0), &RETRY, Wall::EPOCH);
        assert_eq!(verdict, Verdict::Fail(Failure::Rejected { status: 404 }));
    }

    #[test]
    fn backoff_grows_between_its_bounds() {
        for nth in 1..40 {
            let shortest = backoff(&RETRY, nth, 0);
            let longest = backoff(&RETRY, nth, u64::MAX);
            assert_eq!(shortest, RETRY.min_backoff);
            assert!(longest > shortest && longest <= RETRY.max_backoff);
        }
        assert!(backoff(&RETRY, 1, u64::MAX) <= Duration::from_secs(2));
    }

    #[test]
    fn a_target_is_held_as_long_as_it_asked_within_reason() {
        let asked = Some(Duration::from_secs(86_400));
        assert_eq!(hold(&RETRY, 1, asked), RETRY.max_backoff);
        assert_eq!(hold(&RETRY, 5, Some(Duration::from_secs(2))), Duration::from_secs(2));
        assert_eq!(hold(&RETRY, 1, None), Duration::from_secs(1));
        assert_eq!(hold(&RETRY, 3, None), Duration::from_secs(4));
        assert_eq!(hold(&RETRY, 400, None), RETRY.max_backoff);
    }
}
