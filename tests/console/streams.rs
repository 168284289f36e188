//! What open consoles cost.
//!
//! `cargo test --test console -- --ignored --nocapture streams`

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{AbortHandle, JoinSet};
use tollgate::demo::fragile_api::{FragileApi, Fragility};

use crate::support::{Client, Daemon};

const STREAMS: usize = 100;
/// Of one reading, and how many of each kind are taken, in turns.
const READING: Duration = Duration::from_secs(10);
const TURNS: usize = 5;

/// CPU time of a process so far, in clock ticks: user and system (proc(5), fields 14 and 15).
fn ticks(process: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let fields: Vec<&str> = fields.split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[expect(clippy::disallowed_methods, reason = "a reading takes time")]
async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

async fn reading(daemon: &Daemon) -> u64 {
    let before = ticks(daemon.id());
    pass(READING).await;
    ticks(daemon.id()) - before
}

/// Reads until it is aborted.
async fn listen(admin: std::net::SocketAddr) {
    let mut stream = TcpStream::connect(admin).await.unwrap();
    let request = format!("GET /v1/events HTTP/1.1\r\nhost: {admin}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut buffer = vec![0; 64 * 1024];
    while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
}

fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values[values.len() / 2]
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures for two minutes"]
async fn a_hundred_streams_beside_a_thousand_changes_a_second() {
    let api = FragileApi::start(Fragility::SOUND).await.unwrap();
    let daemon = Daemon::start(&format!(
        "[targets.erp]\nurl = \"http://{}\"\nlimit = {{ rate = \"2000/s\", max_concurrent = 64 }}\n",
        api.address()
    ));
    // Each job is taken in, sent and done: three changes.
    let (client, data) = (Client::new(), daemon.data);
    let load = tokio::spawn(async move {
        let jobs: Vec<_> =
            (0..33).map(|_| json!({ "target": "erp", "body": { "n": 1 } })).collect();
        let mut ticks = tokio::time::interval(Duration::from_millis(100));
        loop {
            ticks.tick().await;
            client.post(data, "/v1/jobs/batch", &json!(jobs)).await;
        }
    });
    pass(Duration::from_secs(3)).await;
    let begun = Client::new().get(daemon.admin, "/v1/targets/erp").await.json();
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        without.push(reading(&daemon).await);
        let mut streams = JoinSet::new();
        let stop: Vec<AbortHandle> =
            (0..STREAMS).map(|_| streams.spawn(listen(daemon.admin))).collect();
        pass(Duration::from_secs(2)).await;
        with.push(reading(&daemon).await);
        stop.iter().for_each(AbortHandle::abort);
        while streams.join_next().await.is_some() {}
    }
    let ended = Client::new().get(daemon.admin, "/v1/targets/erp").await.json();
    load.abort();
    let changes = |of: &serde_json::Value| {
        ["enqueued", "sent", "done"]
            .map(|what| of["totals"][what].as_u64().unwrap())
            .iter()
            .sum::<u64>()
    };
    let seconds = (READING.as_secs() * 2 + 2) * TURNS as u64;
    let (none, some) = (median(without.clone()), median(with.clone()));
    let more = 100.0 * (some as f64 - none as f64) / none as f64;
    println!("{} job changes a second", (changes(&ended) - changes(&begun)) / seconds);
    println!("CPU ticks in {READING:?}: without {without:?}, with {STREAMS} streams {with:?}");
    println!("medians {none} and {some}: {more:+.1} %");
}
