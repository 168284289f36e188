//! The wall clock jumps by years, and the process stands still for a while (SIGSTOP, a suspended
//! machine): the limit holds at the target's own clock, and every job ends.

use std::collections::BTreeSet;
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tollgate::demo::fragile_api::{Failures, FragileApi, Fragility, Latency};

use crate::metronome::Metronome;
use crate::support::{Client, Daemon, erp, nap};

const PER_SECOND: usize = 50;
/// Less than `max_retry_duration`, whose end is by the calendar.
const YEAR: i64 = 365 * 24 * 60 * 60;

/// Fails now and then, so that there are retries to wait for.
async fn api() -> FragileApi {
    FragileApi::start(Fragility {
        seed: 11,
        latency: Latency::Fixed(Duration::from_millis(10)),
        failures: Failures { error: 60, broken: 30, ..Failures::NONE },
        ..Fragility::SOUND
    })
    .await
    .unwrap()
}

fn targets(api: &FragileApi) -> String {
    let more = "max_concurrent = 64\n[targets.erp.retry]\nmin_backoff = \"50ms\"\n\
                max_backoff = \"500ms\"\nmax_attempts = 50\nmax_retry_duration = \"366d\"\n";
    erp(api.address(), &format!("{PER_SECOND}/s"), more)
}

async fn submit(client: &Client, daemon: &Daemon, jobs: usize) -> BTreeSet<String> {
    let job = json!({"target": "erp", "path": "/x"});
    let batch = Value::from(vec![job; jobs]);
    let answer = client.post(daemon.data, "/v1/jobs/batch", &batch).await.json();
    let jobs = answer["jobs"].as_array().unwrap();
    jobs.iter().map(|job| job["id"].as_str().unwrap().to_owned()).collect()
}

async fn seen(api: &FragileApi, arrivals: u64) {
    while api.auditor().read(tollgate::demo::auditor::Books::total) < arrivals {
        nap().await;
    }
}

async fn all_succeed(client: &Client, daemon: &Daemon, ids: &BTreeSet<String>) {
    for id in ids {
        let job = client.ended(daemon.data, id).await;
        assert_eq!(job["state"], "succeeded", "{job}");
    }
}

/// `None` where it ended so long ago, by the calendar, that it is not known any more (`retention`).
async fn ended_or_forgotten(client: &Client, daemon: &Daemon, id: &str) -> Option<Value> {
    let path = format!("/v1/jobs/{id}?wait=30s");
    loop {
        let answer = client.get(daemon.data, &path).await;
        if answer.status == 404 {
            return None;
        }
        let job = answer.json();
        if ["succeeded", "failed", "expired"].contains(&job["state"].as_str().unwrap()) {
            return Some(job);
        }
    }
}

/// Arrivals are counted when the API gets to run: while it is kept from that, they pile up.
fn the_limit_held(api: &FragileApi, metronome: &Metronome, what: &str) {
    let stalled = metronome.longest_silence();
    let piled_up = (stalled.as_secs_f64() * PER_SECOND as f64).ceil() as usize;
    api.auditor().read(|books| {
        let most = books.peak().arrivals;
        println!(
            "{what}: {} requests, {} of them repeats, most in any second {most} of {PER_SECOND}; \
             the API was kept from its clock for {stalled:?} at most",
            books.total(),
            books.repeats(),
        );
        assert!(most <= PER_SECOND + piled_up, "{most} arrivals in one second");
    });
}

/// A wall clock for one process, off by what the test says. `None`, with a printed word, where
/// there is no C compiler, unless CI=true.
struct Clock {
    directory: tempfile::TempDir,
    file: std::fs::File,
}

impl Clock {
    fn make() -> Option<Clock> {
        let directory = tempfile::tempdir().unwrap();
        let file = std::fs::File::create_new(directory.path().join("offset")).unwrap();
        let clock = Clock { directory, file };
        clock.set(0);
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/daemon/clock_shim.c");
        let made = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(clock.library())
            .arg(source)
            .output();
        match made {
            Ok(done) if done.status.success() => Some(clock),
            Ok(done) => panic!("{}", String::from_utf8_lossy(&done.stderr)),
            Err(error) => {
                let needed = std::env::var("CI").as_deref() == Ok("true");
                assert!(!needed, "a C compiler is needed in CI: {error}");
                println!("LEFT OUT: no clock can be made to jump without a C compiler: {error}");
                None
            }
        }
    }

    fn library(&self) -> std::path::PathBuf {
        self.directory.path().join("clock.so")
    }

    fn environment(&self) -> Vec<(String, String)> {
        let path = |path: std::path::PathBuf| path.display().to_string();
        vec![
            ("LD_PRELOAD".into(), path(self.library())),
            ("TOLLGATE_TEST_CLOCK".into(), path(self.directory.path().join("offset"))),
        ]
    }

    fn set(&self, seconds: i64) {
        self.file.write_all_at(&seconds.to_ne_bytes(), 0).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wall_clock_jumps_by_years() {
    let Some(clock) = Clock::make() else { return };
    let api = api().await;
    let mut daemon = Daemon::start_in(&targets(&api), clock.environment());
    let client = Client::new();
    let metronome = Metronome::start();
    let mut ids = BTreeSet::new();
    for (number, offset) in [YEAR, 0, YEAR, 0, -YEAR].into_iter().enumerate() {
        ids.extend(submit(&client, &daemon, 60).await);
        // In the midst of work, with retries under way.
        seen(&api, 60 * number as u64 + 40).await;
        clock.set(offset);
        if number == 2 {
            // What is on disk is of a later year than the clock of the next life.
            daemon.kill();
            clock.set(0);
            daemon.restart();
        }
    }
    for id in &ids {
        let job = ended_or_forgotten(&client, &daemon, id).await;
        assert!(job.is_none_or(|job| job["state"] == "succeeded"), "{id}");
        let done = api.auditor().read(|books| books.job(id.parse().unwrap()).unwrap().done);
        assert!(done > 0, "{id} was never done");
    }
    the_limit_held(&api, &metronome, "the wall clock jumped by years, five times");
    // Had it not jumped at all, two of these would have come in within one year.
    let mut years = BTreeSet::new();
    for offset in [-YEAR - 86_400, 0, YEAR + 86_400] {
        clock.set(offset);
        let late = submit(&client, &daemon, 1).await;
        let job =
            client.get(daemon.data, &format!("/v1/jobs/{}", late.first().unwrap())).await.json();
        years.insert(job["enqueued_at"].as_str().unwrap()[..4].to_owned());
    }
    assert_eq!(years.len(), 3, "the clock never jumped: {years:?}");
    assert!(daemon.terminate().success());
}

/// Stopped with requests under way and a backlog: those time out or are answered meanwhile, and
/// what the daemon missed is not made up for.
async fn stopped(times: u32, pause: Duration) {
    let api = api().await;
    let mut daemon = Daemon::start(&targets(&api));
    let client = Client::new();
    let metronome = Metronome::start();
    let ids = submit(&client, &daemon, 100 + 50 * times as usize).await;
    for number in 0..times {
        seen(&api, 25 + 50 * u64::from(number)).await;
        daemon.signal("-STOP");
        tokio::time::sleep_until(tokio::time::Instant::now() + pause).await;
        daemon.signal("-CONT");
    }
    all_succeed(&client, &daemon, &ids).await;
    the_limit_held(&api, &metronome, &format!("stopped {times} times for {pause:?}"));
    assert!(daemon.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_stood_still_makes_up_for_nothing() {
    // Longer than an attempt may take.
    stopped(1, Duration::from_millis(2_500)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "seven minutes"]
async fn a_process_that_stood_still_for_minutes_makes_up_for_nothing() {
    stopped(3, Duration::from_secs(130)).await;
}
