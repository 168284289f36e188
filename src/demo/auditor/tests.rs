use super::*;
use crate::demo::rng::Rng;

fn at(millis: u64) -> Mono {
    Mono::from_nanos(millis * 1_000_000)
}

fn caller(job: u128, attempt: u32) -> Caller {
    Caller {
        job: Some(JobId(job)),
        attempt: Some(attempt),
        idempotency_key: Some(format!("key-{job}")),
        priority: Some(Priority::Normal),
    }
}

fn books(moments: &[Mono]) -> Books {
    let mut books = Books::default();
    for (job, moment) in moments.iter().enumerate() {
        books.arrive(*moment, caller(job as u128, 1), |_, _| Fate::Done);
    }
    books
}

#[test]
fn a_second_is_half_open() {
    let spaced: Vec<Mono> = (0..=10).map(|n| at(n * 100)).collect();
    assert_eq!(books(&spaced).peak(), Peak { arrivals: 10, at: at(900) });
    let mut tight = spaced;
    tight[10] = Mono::from_nanos(999_999_999);
    assert_eq!(books(&tight).peak().arrivals, 11);
}

#[test]
fn the_fullest_second_may_lie_across_whole_seconds() {
    let moments = [at(15), at(900), at(950), at(1_010), at(1_020), at(1_899), at(3_000)];
    let books = books(&moments);
    assert_eq!(books.peak(), Peak { arrivals: 5, at: at(1_899) });
    assert_eq!(books.per_second(at(3_500), 5), [0, 3, 3, 0, 1]);
    assert_eq!(books.in_last_second(at(3_500)), 1);
    assert_eq!(books.in_last_second(at(4_000)), 0);
}

#[test]
fn nothing_and_one_are_counted_too() {
    assert_eq!(books(&[]).peak().arrivals, 0);
    assert_eq!(books(&[at(5)]).peak().arrivals, 1);
    assert_eq!(most_within([], SECOND), 0);
}

#[test]
fn the_running_count_equals_the_one_over_every_window() {
    for seed in 0..200 {
        let mut rng = Rng::nth(seed, 0);
        let mut now = Mono::ZERO;
        let moments: Vec<Mono> = (0..200)
            .map(|_| {
                now = now + Duration::from_millis(rng.below(150));
                now
            })
            .collect();
        let slow = moments
            .iter()
            .map(|end| moments.iter().filter(|at| **at <= *end && end.since(**at) < SECOND).count())
            .max();
        let books = books(&moments);
        assert_eq!(Some(books.peak().arrivals), slow, "seed {seed}");
        assert_eq!(Some(books.most_within(SECOND)), slow, "seed {seed}");
    }
}

#[test]
fn the_decision_is_told_the_number_and_the_load() {
    let mut books = Books::default();
    let mut told = Vec::new();
    for (job, moment) in [at(0), at(400), at(999), at(1_000)].into_iter().enumerate() {
        books.arrive(moment, caller(job as u128, 1), |number, load| {
            told.push((number, load));
            Fate::Limited
        });
    }
    assert_eq!(told, [(0, 1), (1, 2), (2, 3), (3, 3)]);
    assert_eq!(books.count(Fate::Limited), 4);
    assert_eq!(books.count(Fate::Done), 0);
}

#[test]
fn a_repeat_needs_a_higher_attempt() {
    let mut books = Books::default();
    for attempt in [1, 2, 4] {
        books.arrive(at(u64::from(attempt)), caller(7, attempt), |_, _| Fate::Error);
    }
    assert_eq!(books.fault_count(), 0);
    assert_eq!(books.repeats(), 2);
    let job = JobId(7);
    books.arrive(at(5), caller(7, 4), |_, _| Fate::Error);
    books.arrive(at(6), caller(7, 3), |_, _| Fate::Error);
    let stale = |moment, now| Fault::StaleAttempt { at: at(moment), job, last: Some(4), now };
    assert_eq!(books.faults(), [stale(5, Some(4)), stale(6, Some(3))]);
}

#[test]
fn a_repeat_keeps_its_idempotency_key() {
    let mut books = Books::default();
    books.arrive(at(1), caller(7, 1), |_, _| Fate::Error);
    let other = Caller { idempotency_key: Some("another".into()), ..caller(7, 2) };
    books.arrive(at(2), other, |_, _| Fate::Error);
    assert_eq!(books.faults(), [Fault::KeyChanged { at: at(2), job: JobId(7) }]);
}

#[test]
fn a_request_without_its_headers_is_a_fault() {
    let mut books = Books::default();
    for incomplete in [
        Caller { job: None, ..caller(1, 1) },
        Caller { attempt: None, ..caller(2, 1) },
        Caller { idempotency_key: None, ..caller(3, 1) },
        Caller { priority: None, ..caller(4, 1) },
    ] {
        books.arrive(at(1), incomplete, |_, _| Fate::Done);
    }
    assert_eq!(books.fault_count(), 4);
    assert_eq!(books.total(), 4);
    assert_eq!(books.jobs().count(), 0);
}

#[test]
fn work_is_counted_by_key_and_by_job() {
    let mut books = Books::default();
    let half = books.arrive(at(1), caller(7, 1), |_, _| Fate::Half);
    books.worked(&half);
    let done = books.arrive(at(2), caller(7, 2), |_, _| Fate::Done);
    books.worked(&done);
    let other = books.arrive(at(3), caller(8, 1), |_, _| Fate::Done);
    books.worked(&other);
    let job = books.job(JobId(7)).unwrap();
    assert_eq!((job.arrivals, job.work, job.done, job.first_at), (2, 2, 1, at(1)));
    assert_eq!((books.work("key-7"), books.work("key-8"), books.work("none")), (2, 1, 0));
    assert_eq!(books.repeated_work(), 1);
}

#[test]
fn headers_are_read_or_none() {
    let id = JobId(0x0197_a3b0_6d1e_7c55_b1b2_6f5a_4f0c_9e11);
    let mut headers = HeaderMap::new();
    headers.insert("Tollgate-Job-Id", id.to_string().parse().unwrap());
    headers.insert("Tollgate-Attempt", "3".parse().unwrap());
    headers.insert("Idempotency-Key", "order-17".parse().unwrap());
    headers.insert("Tollgate-Priority", "BATCH".parse().unwrap());
    let read = Caller::read(&headers);
    assert_eq!(
        read,
        Caller {
            job: Some(id),
            attempt: Some(3),
            idempotency_key: Some("order-17".into()),
            priority: Some(Priority::Batch),
        }
    );
    headers.insert("Tollgate-Attempt", "three".parse().unwrap());
    headers.insert("Tollgate-Job-Id", "17".parse().unwrap());
    let read = Caller::read(&headers);
    assert_eq!((read.job, read.attempt), (None, None));
    assert_eq!(Caller::read(&HeaderMap::new()), Caller::default());
}

#[test]
fn the_clock_of_arrivals_never_goes_back() {
    let mut books = Books::default();
    books.arrive(at(10), caller(1, 1), |_, _| Fate::Done);
    let late = books.arrive(at(9), caller(2, 1), |_, _| Fate::Done);
    assert_eq!(late.at, at(10));
    assert_eq!(books.last_at(), Some(at(10)));
}
