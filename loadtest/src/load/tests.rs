//! The generator against a stub that counts what it gets.

use std::sync::Mutex;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::*;
use crate::http::{Inbox, request_head};
use crate::jobs::Mix;

/// Answers each request with the next of `answers`, over and over; the last connection to close
/// ends nothing.
async fn stub(answers: Vec<&'static str>) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let bodies = Arc::<Mutex<Vec<String>>>::default();
    let noted = bodies.clone();
    let answers = Arc::new(answers);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (noted, answers) = (noted.clone(), answers.clone());
            tokio::spawn(async move {
                let mut inbox = Inbox::default();
                loop {
                    let found = request_head(inbox.bytes()).unwrap().map(|h| (h.head, h.body));
                    let Some((head, body)) =
                        found.filter(|(head, body)| inbox.bytes().len() >= head + body)
                    else {
                        if inbox.read(&mut stream).await.is_err() {
                            return;
                        }
                        continue;
                    };
                    let text = std::str::from_utf8(&inbox.bytes()[head..head + body]).unwrap();
                    let nth = {
                        let mut noted = noted.lock().unwrap();
                        noted.push(text.to_owned());
                        noted.len() - 1
                    };
                    inbox.take(head + body);
                    inbox.forget();
                    let answer = answers[nth % answers.len()];
                    if answer.is_empty() || stream.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (address, bodies)
}

const YES: &str = "HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\n\r\n{}";
const FULL: &str = "HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n";
/// Of a batch of three: two jobs and a problem.
const TWO_OF_THREE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 41\r\n\r\n\
                            {\"jobs\":[{},{\"type\":\"x\",\"title\":\"y\"},{}]}";

fn numbers(bodies: &Mutex<Vec<String>>) -> Vec<u64> {
    let mut numbers: Vec<u64> = bodies
        .lock()
        .unwrap()
        .iter()
        .flat_map(|body| {
            let value: serde_json::Value = serde_json::from_str(body).unwrap();
            let jobs = value.as_array().cloned().unwrap_or_else(|| vec![value]);
            jobs.into_iter().map(|j| crate::jobs::number_in(j["path"].as_str().unwrap()).unwrap())
        })
        .collect();
    numbers.sort_unstable();
    numbers
}

#[tokio::test]
async fn a_closed_loop_brings_each_job_once() {
    let (address, bodies) = stub(vec![YES]).await;
    let requests = Requests::new(Mix::default(), None);
    let load = Load::new(requests, 8, Pace::Jobs(1000)).from(5).keeping_acks();
    let tally = load.run(Clock::start(), address).await.unwrap();
    assert_eq!((tally.offered, tally.taken, tally.broken), (1000, 1000, 0));
    assert_eq!(numbers(&bodies), (5..1005).collect::<Vec<_>>());
    let mut acks: Vec<u64> = tally.acks.iter().map(|ack| ack.number).collect();
    acks.sort_unstable();
    assert_eq!(acks, (5..1005).collect::<Vec<_>>());
    assert!(tally.acks.iter().all(|ack| ack.intended <= ack.at));
}

#[tokio::test]
async fn the_last_batch_is_as_short_as_it_must_be() {
    let (address, bodies) = stub(vec![TWO_OF_THREE]).await;
    let requests = Requests::new(Mix::default(), Some(3));
    let tally = Load::new(requests, 2, Pace::Jobs(10)).run(Clock::start(), address).await.unwrap();
    assert_eq!(numbers(&bodies), (0..10).collect::<Vec<_>>());
    // One of each batch was not taken; the last batch had one job only.
    assert_eq!((tally.offered, tally.taken), (10, 6));
    assert_eq!(tally.statuses, [(200, 4)].into());
    assert!(tally.refusal.unwrap().starts_with("\"title\":\"y\""));
}

#[tokio::test]
async fn what_is_turned_away_or_broken_is_counted_apart() {
    let (address, bodies) = stub(vec![YES, FULL, ""]).await;
    let requests = Requests::new(Mix::default(), None);
    let tally = Load::new(requests, 1, Pace::Jobs(30)).run(Clock::start(), address).await.unwrap();
    assert_eq!(tally.statuses, [(202, 10), (429, 10)].into());
    assert_eq!((tally.taken, tally.offered, tally.broken), (10, 20, 10));
    assert_eq!((tally.other_than(&[429]), tally.other_than(&[])), (10, 20));
    assert_eq!(bodies.lock().unwrap().len(), 30);
    let words = tally.answers();
    assert!(words.contains("10 requests were answered 429, 10 were not answered"), "{words}");
}

/// Nobody answers: the first caller hangs up, and by then the others have waited long enough.
#[tokio::test]
async fn callers_without_patience_hang_up_or_do_not_ask() {
    let silent = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = silent.local_addr().unwrap();
    let schedule = Schedule::new(1e9, Duration::from_nanos(20), Spacing::Even, 1);
    let load = Load::new(Requests::new(Mix::default(), None), 1, Pace::Open(schedule));
    let load = load.with_patience(Some(Duration::from_millis(20)));
    let tally = load.run(Clock::start(), address).await.unwrap();
    assert_eq!((tally.left, tally.unsent, tally.broken, tally.offered), (1, 19, 0, 0));
    let words = tally.answers();
    assert_eq!(words, "the callers of 1 hung up, 19 were never sent");
}

#[tokio::test]
async fn who_is_answered_for_the_last_time_connects_again() {
    const LAST: &str =
        "HTTP/1.1 503 Busy\r\nconnection: close\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n";
    let (address, bodies) = stub(vec![LAST]).await;
    let requests = Requests::new(Mix::default(), None);
    let tally = Load::new(requests, 1, Pace::Jobs(30)).run(Clock::start(), address).await.unwrap();
    assert_eq!((tally.statuses, tally.broken), ([(503, 30)].into(), 0));
    assert_eq!(bodies.lock().unwrap().len(), 30);
}

#[tokio::test]
async fn an_open_loop_sends_the_whole_schedule_and_counts_from_it() {
    let (address, bodies) = stub(vec![YES]).await;
    // All due at once, and one connection: the last one waited for all the others.
    let schedule = Schedule::new(1e9, Duration::from_nanos(200), Spacing::Even, 1);
    assert_eq!(schedule.times().len(), 200);
    let load = Load::new(Requests::new(Mix::default(), None), 1, Pace::Open(schedule));
    let tally = load.keeping_acks().run(Clock::start(), address).await.unwrap();
    assert_eq!(numbers(&bodies), (0..200).collect::<Vec<_>>());
    let span = tally.acks.last().unwrap().at.since(tally.acks[0].intended);
    // The last one has waited for all of them; to three digits.
    assert!(tally.latencies.longest_ms() >= span.as_secs_f64() * 1000.0 * 0.99);
}

#[tokio::test]
async fn nobody_there_is_an_error() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let load = Load::new(Requests::new(Mix::default(), None), 1, Pace::Jobs(1));
    assert!(load.run(Clock::start(), address).await.is_err());
}

#[test]
fn schedules_keep_their_rate() {
    let minute = Duration::from_secs(60);
    let times = |spacing| Schedule::new(50.0, minute, spacing, 7).times().to_vec();
    for spacing in [Spacing::Even, Spacing::Jittered, Spacing::Poisson] {
        let times = times(spacing);
        assert_eq!(times.len(), 3000);
        assert!(times.is_sorted(), "{spacing:?}");
        let last = times.last().unwrap().as_secs_f64();
        assert!((last - 60.0).abs() < 6.0, "{spacing:?}: {last}");
    }
    assert!(Schedule::new(0.0, minute, Spacing::Even, 1).times().is_empty());
    assert_eq!(times(Spacing::Even)[50], Duration::from_secs(1));
    let jittered = times(Spacing::Jittered);
    let closest = jittered.windows(2).map(|pair| pair[1] - pair[0]).min().unwrap();
    assert!(closest >= Duration::from_millis(9), "{closest:?}");
    assert_eq!(times(Spacing::Poisson), times(Spacing::Poisson));
}

#[test]
fn latencies_are_told_to_three_digits_and_saturate() {
    let mut latencies = Latencies::default();
    assert!(latencies.is_empty());
    for ms in 1..=1000 {
        latencies.record(Duration::from_millis(ms));
    }
    assert!((latencies.ms(0.99) - 990.0).abs() < 1.0, "{}", latencies.ms(0.99));
    latencies.record(Duration::from_secs(10_000));
    assert!(latencies.longest_ms() >= 599_000.0);
    let mut sum = Latencies::default();
    sum.add(&latencies);
    assert!((sum.ms(0.5) - latencies.ms(0.5)).abs() < f64::EPSILON);
}
