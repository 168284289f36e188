use std::num::NonZeroU32;

use super::*;

const RETRY: Retry = Retry {
    max_attempts: NonZeroU32::new(5).unwrap(),
    min_backoff: Duration::from_secs(1),
    max_backoff: Duration::from_secs(300),
    max_retry_duration: Duration::from_secs(86_400),
};

fn per_second(count: u32) -> Rate {
    Rate::new(NonZeroU32::new(count).unwrap(), Duration::from_secs(1)).unwrap()
}

fn settings(adaptive: bool) -> Settings {
    Settings {
        retry: RETRY,
        breaker: breaker::Settings::DEFAULT,
        adaptive: adaptive.then_some(adaptive::Settings { min_rate: per_second(1) }),
    }
}

fn at(millis: u64) -> Mono {
    Mono::from_nanos((1_000_000 + millis) * 1_000_000)
}

fn feedback() -> Feedback {
    Feedback::new(&settings(false), None, at(0))
}

fn seen(outcome: Outcome, status: Option<u16>) -> Seen {
    Seen { outcome, status, hint: None, retry_after: None, latency: Duration::from_millis(20) }
}

fn busy() -> Seen {
    seen(Outcome::Refused, Some(429))
}

fn gone() -> Seen {
    seen(Outcome::Refused, None)
}

fn done() -> Seen {
    seen(Outcome::Done, Some(200))
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn hint(remaining: u64, seconds: u64) -> Option<Hint> {
    Some(Hint { remaining, reset_in: secs(seconds), limit: None })
}

#[test]
fn a_refusal_holds_as_long_as_it_asks_else_twice_as_long_each_time() {
    let mut feedback = feedback();
    assert_eq!(feedback.blocked(at(0)), None);
    let held = feedback.on_end(at(10), at(0), &busy()).unwrap();
    assert_eq!(held, Held { job: secs(1), until: at(1_012) });
    assert_eq!(feedback.blocked(at(1_011)), Some((Reason::Refused, Some(at(1_012)))));
    assert_eq!(feedback.blocked(at(1_012)), None);
    // One that was under way at the same time is the same refusal.
    assert_eq!(feedback.on_end(at(20), at(5), &busy()).unwrap().job, secs(1));
    assert_eq!(feedback.on_end(at(2_000), at(1_500), &busy()).unwrap().job, secs(2));
    assert_eq!(feedback.on_end(at(9_000), at(8_000), &busy()).unwrap().job, secs(4));
    let asks = Seen { retry_after: Some(secs(90)), ..busy() };
    assert_eq!(feedback.on_end(at(20_000), at(19_000), &asks).unwrap().job, secs(90));
    // A shorter one does not shorten it.
    let less = Seen { retry_after: Some(secs(1)), ..busy() };
    let held = feedback.on_end(at(20_001), at(19_000), &less).unwrap();
    assert_eq!(held, Held { job: secs(1), until: at(110_002) });
    let absurd = Seen { retry_after: Some(secs(1 << 40)), ..busy() };
    assert_eq!(feedback.on_end(at(20_002), at(19_000), &absurd).unwrap().job, RETRY.max_backoff);
}

#[test]
fn an_answer_ends_the_row_unless_it_was_asked_before() {
    let mut feedback = feedback();
    feedback.on_end(at(1_000), at(0), &busy());
    feedback.on_end(at(5_000), at(4_000), &busy());
    assert_eq!(feedback.on_end(at(5_100), at(4_500), &done()), None);
    assert_eq!(feedback.on_end(at(9_000), at(8_000), &busy()).unwrap().job, secs(4));
    feedback.on_end(at(19_100), at(19_000), &done());
    assert_eq!(feedback.on_end(at(29_000), at(28_000), &busy()).unwrap().job, secs(1));
}

#[test]
fn a_hold_outlives_a_restart_within_reason() {
    let until = |held| Feedback::new(&settings(false), Some(held), at(0)).blocked(at(0));
    assert_eq!(until(at(7_000)), Some((Reason::Refused, Some(at(7_000)))));
    assert_eq!(until(at(1 << 40)), Some((Reason::Refused, Some(at(300_002)))));
}

#[test]
fn nothing_left_holds_and_little_left_is_spread() {
    let mut feedback = feedback();
    feedback.on_end(at(0), at(0), &Seen { hint: hint(6, 61), ..done() });
    assert_eq!(feedback.blocked(at(0)), None);
    let rate = feedback.rate_in_force(at(0), per_second(10)).per_second();
    assert!((0.0999..=0.1).contains(&rate), "{rate}");
    assert_eq!(feedback.changes_at(at(0)), Some(at(61_000)));
    assert_eq!(feedback.rate_in_force(at(61_000), per_second(10)), per_second(10));
    feedback.on_end(at(5_000), at(5_000), &Seen { hint: hint(0, 30), ..done() });
    assert_eq!(feedback.blocked(at(5_000)), Some((Reason::Refused, Some(at(35_000)))));
    assert_eq!(feedback.blocked(at(35_000)), None);
}

#[test]
fn retry_after_goes_before_a_hint_and_a_hint_shortens_no_hold() {
    let mut feedback = feedback();
    let both = Seen { retry_after: Some(secs(2)), hint: hint(0, 200), ..busy() };
    assert_eq!(feedback.on_end(at(0), at(0), &both).unwrap().job, secs(2));
    assert_eq!(feedback.blocked(at(2_002)), None);
    let spent = Seen { hint: hint(0, 60), ..busy() };
    assert_eq!(feedback.on_end(at(3_000), at(3_000), &spent).unwrap().job, secs(60));
    for nth in 1..8 {
        feedback.on_end(at(nth * 1_000_000), at(nth * 1_000_000), &busy());
    }
    let near = Seen { hint: hint(0, 3), ..busy() };
    assert!(feedback.on_end(at(9_000_000), at(9_000_000), &near).unwrap().job > secs(60));
}

/// Ten failures at once, as when all its places meet a closed port.
fn open(failure: &Seen) -> Feedback {
    let mut feedback = feedback();
    for _ in 0..10 {
        feedback.on_start(at(0), per_second(10));
    }
    for _ in 0..10 {
        feedback.on_end(at(100), at(0), failure);
    }
    assert!(feedback.breaker_is_open());
    feedback
}

#[test]
fn while_the_breaker_is_open_its_probes_set_the_time() {
    let mut feedback = open(&gone());
    assert_eq!(feedback.blocked(at(200)), Some((Reason::Breaker, Some(at(10_100)))));
    let mut now = 10_100;
    for _ in 0..20 {
        assert_eq!(feedback.blocked(at(now)), None);
        feedback.on_start(at(now), per_second(10));
        assert_eq!(feedback.blocked(at(now)), Some((Reason::Breaker, None)));
        assert!(feedback.on_end(at(now), at(now), &gone()).is_some());
        now += 10_000;
        // The own backoff is at five minutes by now; the next probe is not.
        assert_eq!(feedback.changes_at(at(now - 10_000)), Some(at(now)));
    }
    feedback.on_start(at(now), per_second(10));
    feedback.on_end(at(now), at(now), &done());
    assert!(!feedback.breaker_is_open());
    let rate = feedback.rate_in_force(at(now), per_second(10)).per_second();
    assert!((0.999..=1.0).contains(&rate), "{rate}");
}

#[test]
fn a_pause_that_was_asked_for_holds_probes_too() {
    let mut feedback = open(&seen(Outcome::Unknown, Some(500)));
    let asks = Seen { retry_after: Some(secs(60)), ..busy() };
    feedback.on_end(at(200), at(0), &asks);
    assert_eq!(feedback.blocked(at(300)), Some((Reason::Refused, Some(at(60_202)))));
    assert_eq!(feedback.blocked(at(60_202)), None);
}

#[test]
fn a_probe_that_closes_the_breaker_ends_the_hold_of_the_failures_before() {
    let mut feedback = open(&gone());
    feedback.on_start(at(10_100), per_second(10));
    feedback.on_end(at(10_200), at(10_100), &done());
    assert_eq!(feedback.blocked(at(10_200)), None);
}

#[test]
fn the_adaptive_rate_is_one_of_several() {
    let mut feedback = Feedback::new(&settings(true), None, at(0));
    for nth in 0..100 {
        feedback.on_start(at(nth * 20), per_second(50));
        feedback.on_end(at(nth * 20 + 5), at(nth * 20), &done());
    }
    feedback.on_end(at(2_010), at(2_000), &busy());
    let rate = feedback.rate_in_force(at(2_010), per_second(50)).per_second();
    assert!((15.0..50.0).contains(&rate), "{rate}");
    assert_eq!(feedback.rate_in_force(at(2_010), per_second(3)), per_second(3));
    // A reload without it forgets it.
    feedback.configure(&settings(false), at(3_000));
    assert_eq!(feedback.rate_in_force(at(3_000), per_second(50)), per_second(50));
}

#[test]
fn rates_of_every_size_are_rounded_down() {
    let mut rate = 1e6;
    while rate > 1e-12 {
        let found = at_most(rate).unwrap().per_second();
        assert!(found <= rate || rate < 1e-8, "{rate}: {found}");
        assert!(found > rate * 0.999, "{rate}: {found}");
        rate /= 1.7;
    }
}

struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }

    fn seen(&mut self) -> Seen {
        let (outcome, status) = [
            (Outcome::Done, Some(200)),
            (Outcome::Done, Some(200)),
            (Outcome::Rejected, Some(404)),
            (Outcome::Refused, Some(429)),
            (Outcome::Refused, None),
            (Outcome::Unknown, Some(500)),
            (Outcome::Unknown, None),
        ][self.below(7) as usize];
        let retry_after = (self.below(4) == 0).then(|| secs(self.below(400)));
        let latency = Duration::from_millis(self.below(2_000));
        let retry_after = retry_after.filter(|_| outcome == Outcome::Refused);
        Seen { outcome, status, hint: None, retry_after, latency }
    }
}

/// The same attempts with and without hints: with them nothing ever goes earlier or faster.
#[test]
fn a_hint_never_makes_anything_faster() {
    let mut slower = 0;
    for seed in 0..300 {
        let mut dice = Dice(seed);
        let mut without = Feedback::new(&settings(seed % 2 == 0), None, at(0));
        let mut with = without.clone();
        let mut now = at(0);
        for _ in 0..200 {
            now = now + Duration::from_millis(dice.below(5_000));
            let configured = per_second(1 + dice.below(100) as u32);
            if without.blocked(now).is_none() && dice.below(2) == 0 {
                without.on_start(now, configured);
                with.on_start(now, configured);
            }
            let began = now.before(Duration::from_millis(dice.below(3_000)));
            let seen = dice.seen();
            let reset_in = Duration::from_millis(dice.below(600_000));
            let limit = (dice.below(2) == 0).then(|| dice.below(1_000));
            let hint = Hint { remaining: dice.below(30), reset_in, limit };
            let hint = (dice.below(2) == 0).then_some(hint);
            let before = without.on_end(now, began, &seen);
            let after = with.on_end(now, began, &Seen { hint, ..seen });
            assert!(after.map(|held| held.job) >= before.map(|held| held.job), "{seed}");
            let (free, hinted) =
                (without.rate_in_force(now, configured), with.rate_in_force(now, configured));
            assert!(hinted.per_second() <= free.per_second(), "{seed}");
            assert!(free.per_second() <= configured.per_second(), "{seed}");
            slower += u32::from(hinted != free);
            match (without.blocked(now), with.blocked(now)) {
                (Some((_, until)), Some((_, later))) => {
                    assert!(until.is_none() || later >= until, "{seed}");
                }
                (Some(_), None) => panic!("{seed}: free by a hint"),
                (None, _) => {}
            }
            // Something always comes: no hold is without an end.
            let end = with.blocked(now).and_then(|(_, until)| until);
            assert!(end.is_none_or(|end| end <= now + RETRY.max_backoff + MARGIN), "{seed}");
        }
    }
    assert!(slower > 1_000, "{slower}");
}
