//! From the outcome of an attempt to what becomes of its job.

use std::num::NonZeroU32;
use std::time::Duration;

use super::course::{Delivery, Phase, Poll};
use super::job::{Failure, Header};
use super::payload::{Follow, Outcome, Report};
use super::policy::{Completion, HOLD_AFTER_TIMEOUT, Policy, Retry};
use super::time::Wall;

/// What decides about a job of this target.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) retry: Retry,
    pub(super) completion: Completion,
    /// `hold_after_timeout`.
    pub(super) hold: Duration,
}

impl Rules {
    /// For the jobs of a target that the configuration does not name any more: they are kept.
    pub(super) const WHILE_AWAY: Rules = Rules {
        retry: Retry {
            max_attempts: NonZeroU32::MAX,
            min_backoff: Duration::from_secs(1),
            max_backoff: Duration::from_secs(300),
            max_retry_duration: Duration::MAX,
        },
        completion: Completion {
            every: Duration::from_secs(10),
            timeout: Duration::from_secs(3_600),
        },
        hold: HOLD_AFTER_TIMEOUT,
    };

    pub(super) fn of(policy: &Policy) -> Rules {
        let hold = policy.limit.hold_after_timeout;
        Rules { retry: policy.retry, completion: policy.outcomes.completion, hold }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Succeed,
    Fail(Failure),
    /// The job waits so long at least, then goes back to its place to be sent.
    Wait(Duration),
    /// So long at least, then this is asked.
    Ask(Phase, Duration),
}

/// `header` is as it was when the request was started.
pub(super) fn verdict(report: &Report, header: &Header, rules: &Rules, now: Wall) -> Verdict {
    match &header.course.phase {
        Phase::Work => after_work(report, header, rules, now),
        Phase::Verify => after_verify(report, header, &rules.retry, now),
        Phase::Poll(poll) => after_poll(report, header, poll, rules, now),
    }
}

fn after_work(report: &Report, header: &Header, rules: &Rules, now: Wall) -> Verdict {
    let retry = &rules.retry;
    match (report.outcome, &report.follow) {
        (Outcome::Done, Follow::Accepted { path }) => {
            let until = now + rules.completion.timeout;
            let poll = Poll { path: path.clone(), until };
            Verdict::Ask(Phase::Poll(Box::new(poll)), poll_again(report, rules))
        }
        // To send it again would only start the work once more.
        (Outcome::Done, Follow::Astray { .. }) => match header.course.sent_under {
            Delivery::Verify => Verdict::Ask(Phase::Verify, backoff(retry, 1, dice(header))),
            Delivery::AtLeastOnce | Delivery::AtMostOnce => Verdict::Fail(Failure::OutcomeUnknown),
        },
        (Outcome::Done, _) => Verdict::Succeed,
        (Outcome::Rejected, _) => Verdict::Fail(rejected(report)),
        // Sent again on request, and refused ever since.
        (Outcome::Refused, _)
            if is_late(header, retry, now)
                && header.course.doubt
                && header.course.sent_under != Delivery::AtLeastOnce =>
        {
            Verdict::Fail(Failure::OutcomeUnknown)
        }
        (Outcome::Refused, _) if is_late(header, retry, now) => {
            Verdict::Fail(Failure::RetriesExhausted)
        }
        // The first refusal is the target's affair, which is held back for it. A job that is
        // refused again and again gets out of the way of the others.
        (Outcome::Refused, _) if header.refusals == 0 => Verdict::Wait(Duration::ZERO),
        (Outcome::Refused, _) => Verdict::Wait(backoff(retry, header.refusals, dice(header))),
        (Outcome::Unknown, _) => unknown(header, header.spent.saturating_add(1), retry, now),
    }
}

/// Nobody knows what the last attempt did. `spent`: attempts that count, with that one.
///
/// With `verify` the target is asked first, also after the last attempt that is allowed: whether
/// it did its work matters more than how often it was tried.
fn unknown(header: &Header, spent: u32, retry: &Retry, now: Wall) -> Verdict {
    match header.course.sent_under {
        Delivery::AtLeastOnce => try_again(header, spent, retry, now),
        Delivery::AtMostOnce => Verdict::Fail(Failure::OutcomeUnknown),
        Delivery::Verify => Verdict::Ask(Phase::Verify, backoff(retry, 1, dice(header))),
    }
}

fn try_again(header: &Header, spent: u32, retry: &Retry, now: Wall) -> Verdict {
    let allowed = header.max_attempts.unwrap_or(retry.max_attempts.get());
    if spent >= allowed || is_late(header, retry, now) {
        Verdict::Fail(Failure::RetriesExhausted)
    } else {
        Verdict::Wait(backoff(retry, spent, dice(header)))
    }
}

fn after_verify(report: &Report, header: &Header, retry: &Retry, now: Wall) -> Verdict {
    match (report.outcome, &report.follow) {
        // Not yet, as far as anybody knows: the request may be about to do it.
        (_, Follow::NotDone) if header.course.may_run_on(now) => {
            let until = header.course.runs_until.unwrap_or(now);
            Verdict::Ask(Phase::Verify, until.since(now))
        }
        (_, Follow::NotDone) => try_again(header, header.spent, retry, now),
        (Outcome::Done, _) => Verdict::Succeed,
        _ if is_late(header, retry, now) => Verdict::Fail(Failure::OutcomeUnknown),
        (Outcome::Refused, _) => Verdict::Ask(Phase::Verify, Duration::ZERO),
        _ => {
            let nth = header.course.in_vain.saturating_add(2);
            Verdict::Ask(Phase::Verify, backoff(retry, nth, dice(header)))
        }
    }
}

fn after_poll(report: &Report, header: &Header, poll: &Poll, rules: &Rules, now: Wall) -> Verdict {
    let again = |delay| Verdict::Ask(header.course.phase.clone(), delay);
    match (report.outcome, &report.follow) {
        (Outcome::Done, Follow::Nothing) => Verdict::Succeed,
        (Outcome::Rejected, _) => Verdict::Fail(rejected(report)),
        // Its attempt is counted already.
        _ if poll.until <= now => unknown(header, header.spent, &rules.retry, now),
        (Outcome::Refused, _) => again(Duration::ZERO),
        (_, Follow::Pending) => again(poll_again(report, rules)),
        _ => {
            let nth = header.course.in_vain.saturating_add(1);
            again(backoff(&rules.retry, nth, dice(header)).max(rules.completion.every))
        }
    }
}

/// As often as is configured, unless the target asks for more patience.
fn poll_again(report: &Report, rules: &Rules) -> Duration {
    let asked = report.retry_after.unwrap_or_default().min(rules.retry.max_backoff);
    asked.max(rules.completion.every)
}

fn rejected(report: &Report) -> Failure {
    Failure::Rejected { status: report.answer.as_ref().map_or(0, |answer| answer.status) }
}

/// Whether it was tried for so long that nothing is tried any more.
fn is_late(header: &Header, retry: &Retry, now: Wall) -> bool {
    let since = header.first_sent_at.map_or(Duration::ZERO, |first| now.since(first));
    since >= retry.max_retry_duration
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
    let mixed = (id as u64) ^ ((id >> 64) as u64) ^ (u64::from(header.number()) << 32);
    let mut z = mixed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests;
