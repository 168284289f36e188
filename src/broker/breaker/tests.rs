use super::*;

fn at(millis: u64) -> Mono {
    Mono::from_nanos((1_000_000 + millis) * 1_000_000)
}

fn three() -> Breaker {
    let failures = NonZeroU32::new(3).unwrap();
    Breaker::new(Settings { failures, probe_every: Duration::from_secs(10) })
}

/// Opened at 2 s; its first probe is due at 12 s.
fn open() -> Breaker {
    let mut breaker = three();
    for nth in 0..3 {
        breaker.on_start(at(nth * 1_000));
        breaker.on_end(at(nth * 1_000), at(nth * 1_000), Sign::Bad);
    }
    assert!(breaker.is_open());
    breaker
}

/// Closed at 13 s by its first probe.
fn probed() -> Breaker {
    let mut breaker = open();
    breaker.on_start(at(12_000));
    breaker.on_end(at(13_000), at(12_000), Sign::Good);
    breaker
}

#[test]
fn what_an_attempt_says_about_its_target() {
    assert_eq!(Sign::of(Outcome::Done, Some(200)), Sign::Good);
    assert_eq!(Sign::of(Outcome::Rejected, Some(404)), Sign::Good);
    assert_eq!(Sign::of(Outcome::Refused, Some(429)), Sign::Slow);
    assert_eq!(Sign::of(Outcome::Refused, Some(503)), Sign::Slow);
    assert_eq!(Sign::of(Outcome::Refused, None), Sign::Bad);
    assert_eq!(Sign::of(Outcome::Unknown, None), Sign::Bad);
    assert_eq!(Sign::of(Outcome::Unknown, Some(500)), Sign::Bad);
}

#[test]
fn only_failures_in_a_row_open_it() {
    use Sign::{Bad, Good, Slow};
    for (signs, opens) in [
        (&[Bad, Bad, Bad][..], true),
        (&[Bad, Bad, Good, Bad, Bad][..], false),
        (&[Bad, Slow, Bad, Slow, Bad][..], true),
        (&[Slow, Slow, Slow, Slow, Slow][..], false),
    ] {
        let mut breaker = three();
        for (nth, sign) in (0..).zip(signs) {
            assert_eq!(breaker.allows(at(nth)), Allowed::Yes);
            breaker.on_end(at(nth), at(nth), *sign);
        }
        assert_eq!(breaker.is_open(), opens, "{signs:?}");
    }
}

#[test]
fn one_job_at_a_time_probes() {
    let mut breaker = open();
    assert_eq!(breaker.allows(at(2_000)), Allowed::Not { until: Some(at(12_000)) });
    assert_eq!(breaker.view(at(2_000)), View::Open { next_probe: at(12_000) });
    assert_eq!(breaker.allows(at(12_000)), Allowed::Probe);
    breaker.on_start(at(12_500));
    assert_eq!(breaker.allows(at(99_000)), Allowed::Not { until: None });
    assert_eq!(breaker.view(at(99_000)), View::Probing { since: at(12_500) });
    breaker.on_end(at(40_000), at(12_500), Sign::Bad);
    assert_eq!(breaker.allows(at(40_000)), Allowed::Not { until: Some(at(50_000)) });
    assert_eq!(breaker.changes_at(at(40_000)), Some(at(50_000)));
}

#[test]
fn attempts_from_before_it_opened_neither_count_nor_close_it() {
    let mut breaker = open();
    let before = breaker.view(at(3_000));
    for sign in [Sign::Good, Sign::Bad, Sign::Slow, Sign::Bad, Sign::Bad] {
        breaker.on_end(at(3_000), at(1_500), sign);
    }
    assert_eq!(breaker.view(at(3_000)), before);
    // Not while a probe is under way either.
    breaker.on_start(at(12_000));
    breaker.on_end(at(12_500), at(1_500), Sign::Good);
    assert_eq!(breaker.view(at(13_000)), View::Probing { since: at(12_000) });
    // And not once it has closed again.
    breaker.on_end(at(13_000), at(12_000), Sign::Good);
    for _ in 0..10 {
        breaker.on_end(at(30_000), at(1_500), Sign::Bad);
    }
    assert!(!breaker.is_open());
    assert_eq!(breaker.failures, 0);
}

#[test]
fn a_probe_that_was_called_back_leaves_its_place_to_another() {
    let mut breaker = open();
    breaker.on_start(at(12_000));
    breaker.on_unsent(at(11_000));
    assert_eq!(breaker.allows(at(12_100)), Allowed::Not { until: None });
    breaker.on_unsent(at(12_000));
    assert_eq!(breaker.allows(at(12_100)), Allowed::Probe);
}

#[test]
fn an_answered_probe_closes_it_even_if_it_asks_for_slowness() {
    let mut breaker = open();
    breaker.on_start(at(12_000));
    breaker.on_end(at(12_100), at(12_000), Sign::Slow);
    assert_eq!(breaker.view(at(12_100)), View::SlowStart { percent: 10 });
}

#[test]
fn the_rate_comes_back_slowly_by_answers_and_by_time() {
    let mut breaker = probed();
    assert_eq!(breaker.factor(at(13_000)), 0.1);
    // Without answers it stays low, without time too.
    assert_eq!(breaker.factor(at(40_000)), 0.1);
    for _ in 0..1_000 {
        breaker.on_end(at(13_100), at(13_100), Sign::Good);
    }
    assert_eq!(breaker.factor(at(13_400)), 0.1);
    assert_eq!(breaker.changes_at(at(13_400)), Some(at(13_500)));
    let mut last = 0.0;
    for nth in 0..=18 {
        let factor = breaker.factor(at(13_000 + nth * 500));
        assert!(factor > last, "{nth}");
        last = factor;
    }
    assert_eq!(last, 1.0);
    assert_eq!(breaker.changes_at(at(22_000)), None);
}

#[test]
fn the_slow_start_of_a_target_that_is_seldom_asked_ends() {
    let breaker = probed();
    assert_eq!(breaker.changes_at(at(13_000)), Some(at(73_000)));
    assert_eq!(breaker.factor(at(72_999)), 0.1);
    assert_eq!(breaker.factor(at(73_000)), 1.0);
    assert_eq!(breaker.view(at(73_000)), View::Closed { failures: 0 });
}

#[test]
fn a_failure_in_the_slow_start_begins_it_anew_and_several_open_it_again() {
    let mut breaker = probed();
    for nth in 0..10 {
        breaker.on_end(at(14_000 + nth * 500), at(14_000), Sign::Good);
    }
    assert!(breaker.factor(at(18_500)) > 0.5);
    breaker.on_end(at(18_500), at(14_000), Sign::Bad);
    assert_eq!(breaker.factor(at(18_500)), 0.1);
    breaker.on_end(at(18_600), at(14_000), Sign::Bad);
    breaker.on_end(at(18_700), at(14_000), Sign::Bad);
    assert_eq!(breaker.allows(at(18_700)), Allowed::Not { until: Some(at(28_700)) });
}

#[test]
fn a_reload_keeps_it_open() {
    let mut breaker = open();
    breaker.configure(Settings { failures: NonZeroU32::MAX, ..Settings::DEFAULT }, at(3_000));
    assert_eq!(breaker.changes_at(at(3_000)), Some(at(12_000)));
    let probe_every = Duration::from_secs(1);
    breaker.configure(Settings { probe_every, ..Settings::DEFAULT }, at(3_000));
    assert_eq!(breaker.changes_at(at(3_000)), Some(at(4_000)));
}

/// However starts and ends are mixed: never two probes at once, and only attempts that were allowed
/// move anything.
#[test]
fn never_two_probes_at_once() {
    for seed in 0..500_u64 {
        let mut dice = seed;
        let mut roll = |n: u64| {
            dice = dice
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (dice >> 33) % n
        };
        let mut breaker = three();
        let mut under_way: Vec<(Mono, bool)> = Vec::new();
        let mut now = at(0);
        for _ in 0..300 {
            now = now + Duration::from_millis(1 + roll(3_000));
            match (roll(3), breaker.allows(now)) {
                (0, Allowed::Yes) => {
                    breaker.on_start(now);
                    under_way.push((now, false));
                }
                (0, Allowed::Probe) => {
                    assert!(!under_way.iter().any(|(_, probe)| *probe), "{seed}");
                    breaker.on_start(now);
                    under_way.push((now, true));
                }
                _ if !under_way.is_empty() => {
                    let index = roll(under_way.len() as u64) as usize;
                    let (began, probe) = under_way.swap_remove(index);
                    let was_open = breaker.is_open();
                    let sign = [Sign::Bad, Sign::Bad, Sign::Bad, Sign::Slow, Sign::Good];
                    breaker.on_end(now, began, sign[roll(5) as usize]);
                    assert!(!was_open || probe || breaker.is_open(), "{seed}");
                }
                _ => {}
            }
            let factor = breaker.factor(now);
            assert!((0.1..=1.0).contains(&factor));
        }
    }
}
