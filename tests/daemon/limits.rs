//! The limit holds at the target: counted there, by the target's own clock, over crashes and a
//! network that takes its time.
//!
//! The windows' promise needs no quiet machine: a request that is late, wherever it waits, holds
//! its slot until it is answered. So nothing here allows for a machine that stutters.

use std::time::Duration;

use serde_json::{Value, json};
use tollgate::demo::auditor::{Arrival, Books, Fate, most_within};
use tollgate::demo::fragile_api::{FragileApi, Fragility, Latency};

use crate::support::{Client, Daemon, erp};

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

/// An API before which each connection waits for up to 300 ms until it is read.
async fn far_away() -> FragileApi {
    let accept_delay = Latency::Uniform { least: Duration::ZERO, most: 300 * MS };
    let latency = Latency::Uniform { least: MS, most: 20 * MS };
    FragileApi::start(Fragility { seed: 11, accept_delay, latency, ..Fragility::SOUND })
        .await
        .unwrap()
}

async fn answers_after(latency: Duration) -> FragileApi {
    let latency = Latency::Fixed(latency);
    FragileApi::start(Fragility { seed: 3, latency, ..Fragility::SOUND }).await.unwrap()
}

/// So many jobs for a target, a thousand a batch, named after it.
async fn submit(client: &Client, daemon: &Daemon, target: &str, priority: &str, count: usize) {
    let jobs: Vec<Value> = (0..count)
        .map(|number| {
            json!({"target": target, "path": "/orders", "priority": priority,
                   "dedup_id": format!("{target}-{number}")})
        })
        .collect();
    for batch in jobs.chunks(1_000) {
        let answer = client.post(daemon.data, "/v1/jobs/batch", &json!(batch)).await;
        assert_eq!(answer.status, 200);
    }
}

/// The API's books, once so many requests came.
async fn arrived(api: &FragileApi, count: u64) {
    let mut ticks = tokio::time::interval(10 * MS);
    while api.auditor().read(Books::total) < count {
        ticks.tick().await;
    }
}

async fn killed_all_the_time(kills: usize, between: Duration, jobs: usize) {
    let api = far_away().await;
    // What is sent arrives within 300 ms, or not at all.
    let more = "windows = [\"50/1s\"]\nmax_concurrent = 100\nhold_after_timeout = \"1s\"\n\
                [targets.erp.retry]\nmin_backoff = \"50ms\"\n";
    let mut daemon = Daemon::start(&erp(api.address(), "50/s", more));
    let client = Client::new();
    submit(&client, &daemon, "erp", "NORMAL", jobs).await;
    for _ in 0..kills {
        let before = api.auditor().read(Books::total);
        // In the midst of it, by what has arrived and not only by time.
        let _ = tokio::time::timeout(between * 3, async {
            tokio::time::sleep_until(tokio::time::Instant::now() + between).await;
            arrived(&api, before + 10).await;
        })
        .await;
        daemon.kill();
        daemon.restart();
    }
    let last = client
        .until(daemon.admin, "/v1/targets/erp", |target| {
            let depth = |name: &str| target["priorities"][name]["depth"].as_u64().unwrap();
            depth("NORMAL") == 0 && target["running"] == 0 && target["waiting"] == 0
                || api.auditor().read(Books::total) > (jobs as u64) * 2
        })
        .await;
    api.auditor().read(|books| {
        let most = books.most_within(SECOND);
        println!(
            "{kills} kills: {} arrivals of {jobs} jobs in {:?}; most in any second {most} of 50",
            books.total(),
            books.last_at().unwrap().since(books.first_at().unwrap()),
        );
        assert!(most <= 50, "{most} arrivals in a second");
        assert!(books.total() >= jobs as u64, "{last}");
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_holds_over_kills_and_a_slow_network() {
    killed_all_the_time(2, 2 * SECOND, 250).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "three minutes and more"]
async fn a_window_holds_for_three_minutes_with_a_kill_every_ten_seconds() {
    killed_all_the_time(18, 10 * SECOND, 9_500).await;
}

/// What part of the tokens is used, over `span` in the midst of a backlog.
async fn used(rate: u32, more: &str, latency: Duration, span: Duration) -> f64 {
    let api = answers_after(latency).await;
    let daemon = Daemon::start(&erp(api.address(), &format!("{rate}/s"), more));
    let client = Client::new();
    let per_second = rate as usize;
    let seconds = span.as_secs() as usize;
    submit(&client, &daemon, "erp", "NORMAL", per_second * (seconds + 3)).await;
    arrived(&api, u64::from(rate) * (span.as_secs() + 2)).await;
    api.auditor().read(|books| {
        let at: Vec<_> = books.arrivals().iter().map(|arrival| arrival.at).collect();
        let from = at[0] + SECOND;
        let count = at.iter().filter(|at| **at >= from && **at < from + span).count();
        let share = count as f64 / (f64::from(rate) * span.as_secs_f64());
        println!(
            "{rate}/s {more:?}: {count} in {span:?}, {:.2} % used; most in any second {}",
            share * 100.0,
            books.most_within(SECOND)
        );
        share
    })
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "half a minute, and wants a quiet machine"]
async fn hardly_a_token_is_wasted() {
    let span = 10 * SECOND;
    let windows = "max_concurrent = 50\nwindows = [\"50/1s\"]\n";
    let window = used(50, windows, 5 * MS, span).await;
    let fifty = used(50, "max_concurrent = 50\n", 5 * MS, span).await;
    let five_hundred = used(500, "max_concurrent = 50\n", 5 * MS, span).await;
    assert!(window >= 0.97, "{window} with a window");
    assert!(fifty >= 0.99, "{fifty} at 50/s");
    assert!(five_hundred >= 0.99, "{five_hundred} at 500/s");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_targets_share_a_limit_and_neither_starves() {
    let api = answers_after(5 * MS).await;
    let target = |name: &str| {
        format!(
            "[targets.{name}]\nurl = \"http://{}\"\nshare = [\"both\"]\n[targets.{name}.limit]\n\
             rate = \"10/s\"\nmax_concurrent = 50\n",
            api.address()
        )
    };
    let both = "[limits.both]\nrate = \"12/s\"\nwindows = [\"12/1s\"]\n";
    let mut daemon = Daemon::start(&format!("{both}{}{}", target("erp"), target("crm")));
    let client = Client::new();
    submit(&client, &daemon, "erp", "NORMAL", 100).await;
    submit(&client, &daemon, "crm", "NORMAL", 100).await;
    arrived(&api, 60).await;
    let held = client
        .until(daemon.admin, "/v1/targets", |all| {
            all["targets"].as_array().unwrap().iter().any(|t| t["blocked"]["limit"] == "both")
        })
        .await;
    let metrics = client.get(daemon.admin, "/metrics").await;
    let metrics = String::from_utf8(metrics.body.to_vec()).unwrap();
    assert!(
        metrics.contains("tollgate_limit_remaining{limit=\"both\",window=\"1s\"}"),
        "{metrics}"
    );
    api.auditor().read(|books| {
        let of = |arrival: &&Arrival, name: &str| {
            let key = arrival.caller.idempotency_key.as_deref().unwrap_or_default();
            key.starts_with(name)
        };
        // Before HIGH came.
        let first: Vec<&Arrival> = books.arrivals().iter().take(60).collect();
        let erp = first.iter().filter(|arrival| of(arrival, "erp")).count();
        println!("{erp} of 60 were for erp");
        assert!((25..=35).contains(&erp), "{erp} of 60 were for erp: {held}");
        let most = most_within(books.arrivals().iter().map(|arrival| arrival.at), SECOND);
        assert!(most <= 12, "{most} in a second");
    });
    assert!(daemon.terminate().success());
}

/// An API whose limit nobody told the broker, and which changes under way: 20/s, 8/s, 15/s.
/// The first minute after each change is for settling, as in docs/adaptive.md.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "nine minutes"]
async fn the_rate_settles_under_a_limit_that_nobody_told() {
    let api = answers_after(20 * MS).await;
    let more = "max_concurrent = 20\nadaptive = { min_rate = \"1/s\" }\n";
    let daemon = Daemon::start(&erp(api.address(), "50/s", more));
    let client = Client::new();
    let (settling, phase) = (60 * SECOND, 180 * SECOND);
    submit(&client, &daemon, "erp", "NORMAL", 12_000).await;
    let (mut all, mut allowed, mut refused) = (0, 0.0, 0);
    for limit in [20_usize, 8, 15] {
        api.set_limit(Some(limit));
        tokio::time::sleep_until(tokio::time::Instant::now() + settling).await;
        let count = |books: &Books| (books.total(), books.count(Fate::Limited));
        let before = api.auditor().read(count);
        tokio::time::sleep_until(tokio::time::Instant::now() + (phase - settling)).await;
        let after = api.auditor().read(count);
        let (came, turned_away) = (after.0 - before.0, after.1 - before.1);
        let most = limit as f64 * (phase - settling).as_secs_f64();
        println!(
            "{limit}/s: {came} came, {:.2} % refused, {:.1} % of the limit used",
            turned_away as f64 / came as f64 * 100.0,
            (came - turned_away) as f64 / most * 100.0
        );
        (all, refused, allowed) = (all + came, refused + turned_away, allowed + most);
    }
    let (refusals, used) = (refused as f64 / all as f64, (all - refused) as f64 / allowed);
    println!("in all: {:.2} % refused, {:.1} % used", refusals * 100.0, used * 100.0);
    assert!(refusals < 0.01, "{refusals}");
    assert!(used >= 0.9, "{used}");
}
