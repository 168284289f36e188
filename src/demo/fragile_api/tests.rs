use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::broker::job::JobId;
use crate::demo::auditor::Books;

const ALWAYS: u16 = 1000;

async fn api(fragility: Fragility) -> FragileApi {
    FragileApi::start(fragility).await.expect("loopback has a free port")
}

fn failing(failures: Failures) -> Fragility {
    Fragility { failures, ..Fragility::SOUND }
}

fn request(path: &str, job: u128, attempt: u32) -> String {
    let id = JobId(job);
    format!(
        "POST {path} HTTP/1.1\r\nHost: erp\r\nTollgate-Job-Id: {id}\r\nTollgate-Attempt: \
         {attempt}\r\nTollgate-Priority: HIGH\r\nIdempotency-Key: {id}\r\nContent-Length: \
         4\r\n\r\nbody"
    )
}

/// Sends bytes on a new connection and reads until the API closes it.
async fn exchange(api: &FragileApi, bytes: &str) -> String {
    let mut stream = TcpStream::connect(api.address()).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A reset is one way to close a connection; what came before it is what counts.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

/// One request that asks the API to close the connection after its answer.
async fn once(api: &FragileApi, path: &str, job: u128, attempt: u32) -> String {
    let request = request(path, job, attempt).replacen("\r\n", "\r\nConnection: close\r\n", 1);
    exchange(api, &request).await
}

fn work(api: &FragileApi, job: u128) -> u32 {
    api.auditor().read(|books| books.work(&JobId(job).to_string()))
}

#[tokio::test]
async fn a_sound_api_answers_and_keeps_books() {
    let api = api(Fragility::SOUND).await;
    let answer = once(&api, "/orders", 7, 1).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("{\"accepted\":true,\"receipt\":0}"), "{answer}");
    assert_eq!(work(&api, 7), 1);
    api.auditor().read(|books| {
        let job = books.job(JobId(7)).unwrap();
        assert_eq!((job.arrivals, job.last_attempt, job.done), (1, Some(1), 1));
        assert_eq!((books.total(), books.fault_count()), (1, 0));
    });
}

#[tokio::test]
async fn a_connection_is_kept_for_the_next_request() {
    let api = api(Fragility::SOUND).await;
    let two =
        request("/a", 1, 1) + &request("/b", 2, 1).replacen("\r\n", "\r\nConnection: close\r\n", 1);
    let answers = exchange(&api, &two).await;
    assert_eq!(answers.matches("HTTP/1.1 200").count(), 2, "{answers}");
    assert_eq!(api.auditor().read(Books::total), 2);
}

#[tokio::test]
async fn over_its_limit_it_refuses_and_still_counts() {
    let api = api(Fragility { limit: Some(2), ..Fragility::SOUND }).await;
    let mut limited = 0;
    // More than the limit times the seconds that this can take would be needed to hide a fault;
    // whether one is refused is checked against the books, not against the clock.
    for job in 0..6 {
        let answer = once(&api, "/orders", job, 1).await;
        if answer.starts_with("HTTP/1.1 429") {
            assert!(answer.contains("retry-after: 1\r\n"), "{answer}");
            assert_eq!(work(&api, job), 0);
            limited += 1;
        }
    }
    api.auditor().read(|books| {
        assert_eq!(books.count(Fate::Limited), limited);
        assert_eq!(limited > 0, books.peak().arrivals > 2);
        assert_eq!(books.total(), 6);
    });
}

#[tokio::test]
async fn there_is_nothing_under_nowhere() {
    let api = api(Fragility::SOUND).await;
    let answer = once(&api, "/nowhere/at/all", 7, 1).await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    assert_eq!(work(&api, 7), 0);
}

#[tokio::test]
async fn an_error_is_a_500() {
    let api = api(failing(Failures { error: ALWAYS, ..Failures::NONE })).await;
    assert!(once(&api, "/orders", 7, 1).await.starts_with("HTTP/1.1 500"));
}

#[tokio::test]
async fn unavailable_asks_for_a_pause_in_whole_seconds() {
    let failures = Failures { unavailable: ALWAYS, ..Failures::NONE };
    let pause = Duration::from_millis(1_200);
    let api = api(Fragility { retry_after: pause, ..failing(failures) }).await;
    let answer = once(&api, "/orders", 7, 1).await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.contains("retry-after: 2\r\n"), "{answer}");
    assert_eq!(work(&api, 7), 0);
}

#[tokio::test]
async fn a_broken_connection_comes_after_the_request_was_read() {
    let api = api(failing(Failures { broken: ALWAYS, ..Failures::NONE })).await;
    // The connection is not asked to close: the API does it by itself.
    assert_eq!(exchange(&api, &request("/orders", 7, 1)).await, "");
    assert_eq!(api.auditor().read(|books| books.count(Fate::Broken)), 1);
}

#[tokio::test]
async fn half_an_answer_has_its_head_and_less_than_it_promised() {
    let api = api(failing(Failures { half: ALWAYS, ..Failures::NONE })).await;
    let answer = exchange(&api, &request("/orders", 7, 1)).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("content-length: 29\r\n"), "{answer}");
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    assert_eq!(body, "{\"accepted\":tr");
    assert_eq!(work(&api, 7), 1, "the work was done, only its answer was lost");
    let done = api.auditor().read(|books| books.job(JobId(7)).unwrap().done);
    assert_eq!(done, 0);
}

#[tokio::test]
async fn one_that_hangs_keeps_its_connection_and_says_nothing() {
    let api = api(failing(Failures { hung: ALWAYS, ..Failures::NONE })).await;
    let mut stream = TcpStream::connect(api.address()).await.unwrap();
    stream.write_all(request("/orders", 7, 1).as_bytes()).await.unwrap();
    while api.auditor().read(Books::total) == 0 {
        tokio::task::yield_now().await;
    }
    // Another connection goes all the way meanwhile, on the same thread.
    assert!(once(&api, "/nowhere", 8, 1).await.starts_with("HTTP/1.1 404"));
    let mut stream = stream.into_std().unwrap();
    let read = std::io::Read::read(&mut stream, &mut [0]);
    assert_eq!(read.unwrap_err().kind(), io::ErrorKind::WouldBlock);
}

#[tokio::test]
async fn when_it_stops_its_connections_are_closed() {
    let api = api(failing(Failures { hung: ALWAYS, ..Failures::NONE })).await;
    let address = api.address();
    let auditor = api.auditor().clone();
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request("/orders", 7, 1).as_bytes()).await.unwrap();
    while auditor.read(Books::total) == 0 {
        tokio::task::yield_now().await;
    }
    api.stop().await;
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert_eq!(rest, b"");
    let again = FragileApi::start_at(address, Fragility::SOUND, auditor.clone()).await.unwrap();
    assert!(once(&again, "/orders", 7, 2).await.starts_with("HTTP/1.1 200"));
    auditor.read(|books| assert_eq!((books.total(), books.fault_count()), (2, 0)));
}

#[test]
fn a_seed_repeats_its_mix_and_keeps_the_shares() {
    let failures = Failures { error: 130, unavailable: 10, broken: 70, half: 70, hung: 20 };
    let fragility = Fragility { seed: 42, failures, ..Fragility::SOUND };
    let draw = |seed| -> Vec<Fate> {
        let fragility = Fragility { seed, ..fragility.clone() };
        (0..20_000).map(|number| fragility.fate(number)).collect()
    };
    let drawn = draw(42);
    assert_eq!(drawn, draw(42));
    assert_ne!(drawn, draw(43));
    for (fate, share) in failures.ways() {
        let expected = 20.0 * f64::from(share);
        let count = drawn.iter().filter(|other| **other == fate).count() as f64;
        // Five standard deviations of a binomial count.
        assert!((count - expected).abs() < 5.0 * expected.sqrt(), "{fate:?}: {count}");
    }
    assert_eq!(failures.total(), 300);
}

#[test]
fn latencies_stay_in_their_bounds() {
    let ms = Duration::from_millis;
    let mut rng = Rng::nth(3, 0);
    let uniform = Latency::Uniform { least: ms(10), most: ms(20) };
    let tailed = Latency::Tailed { least: ms(20), more: ms(30), most: ms(200) };
    let mut cut = 0;
    for _ in 0..10_000 {
        assert!((ms(10)..ms(20)).contains(&uniform.draw(&mut rng)));
        let drawn = tailed.draw(&mut rng);
        assert!((ms(20)..=ms(200)).contains(&drawn));
        cut += u32::from(drawn == ms(200));
    }
    // exp(-6) of them reach the cut: about 25.
    assert!((5..100).contains(&cut), "{cut}");
    assert_eq!((uniform.mean(), tailed.mean()), (ms(15), ms(50)));
    assert_eq!(Latency::Fixed(ms(7)).draw(&mut rng), ms(7));
}
