//! Far more than it can take: it says so, holds what it can, and is itself again when it is over.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::memory::Memory;
use crate::raw::{Raw, exchange, rest};
use crate::support::{Client, Daemon, nap};

const MIB: u64 = 1 << 20;

async fn target() -> Raw {
    Raw::start(|mut peer| async move {
        while peer.request().await.is_some() {
            peer.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        }
    })
    .await
}

fn paced(target: &Raw, rate: &str, more: &str) -> String {
    format!(
        "[targets.erp]\nurl = \"http://{}\"\n{more}\n[targets.erp.limit]\nrate = \"{rate}\"\n",
        target.address
    )
}

/// This process's own ends of the connections need files too.
fn many_files() {
    tollgate::http_api::server::raise_file_limit();
}

/// It answers, on both addresses and at once: a job is taken and done.
async fn is_well(daemon: &Daemon) {
    let client = Client::new();
    assert_eq!(client.get(daemon.admin, "/healthz").await.status, 200);
    assert_eq!(client.get(daemon.admin, "/readyz").await.status, 200);
    let id = client.submit(daemon.data, &json!({"target": "erp", "path": "/well"})).await;
    assert_eq!(client.ended(daemon.data, &id).await["state"], "succeeded");
}

struct Flood {
    /// Of the target, a second.
    rate: usize,
    max_queued: usize,
    callers: usize,
    /// By each caller, one after the other, and more of them until it has lasted so long.
    jobs: usize,
    lasts: Duration,
}

/// Callers that hand in one job after the other, however it is answered.
async fn flood(plan: Flood) {
    let target = target().await;
    let more = format!("max_queued = {}", plan.max_queued);
    let daemon = Daemon::start(&paced(&target, &format!("{}/s", plan.rate), &more));
    is_well(&daemon).await;
    let before = Memory::of(daemon.id());
    let started = std::time::Instant::now();
    let mut callers = JoinSet::new();
    for caller in 0..plan.callers {
        let data = daemon.data;
        callers.spawn(async move {
            let client = Client::new();
            let (mut statuses, mut taken) = (BTreeMap::<u16, usize>::new(), Vec::new());
            let mut n = 0;
            while n < plan.jobs || started.elapsed() < plan.lasts {
                let priority = if n % 10 == 0 { "HIGH" } else { "BATCH" };
                let path = format!("/{caller}/{n}");
                let job = json!({"target": "erp", "priority": priority, "path": path});
                let answer = client.post(data, "/v1/jobs", &job).await;
                *statuses.entry(answer.status).or_default() += 1;
                if answer.status == 202 {
                    let id = answer.json()["id"].as_str().unwrap().to_owned();
                    taken.push(Taken { path, id, told: SystemTime::now() });
                } else {
                    assert!(answer.headers.contains_key("retry-after"), "{answer:?}");
                }
                n += 1;
            }
            (statuses, taken)
        });
    }
    // Meanwhile whoever looks after it is served.
    let (client, mut looked) = (Client::new(), 0);
    let (mut statuses, mut taken) = (BTreeMap::<u16, usize>::new(), Vec::new());
    while !callers.is_empty() {
        for path in ["/healthz", "/metrics", "/v1/targets", "/v1/jobs?target=erp&limit=10"] {
            assert_eq!(client.get(daemon.admin, path).await.status, 200, "{path}");
            looked += 1;
        }
        while let Some(ended) = callers.try_join_next() {
            let (some, ids) = ended.unwrap();
            for (status, count) in some {
                *statuses.entry(status).or_default() += count;
            }
            taken.extend(ids);
        }
        nap().await;
    }
    let took = started.elapsed();
    let after = Memory::of(daemon.id());
    let jobs: usize = statuses.values().sum();
    println!(
        "{jobs} jobs in {took:.1?}, {:.0} times what a target of {}/s bears: {statuses:?}; {looked} looks at admin meanwhile; \
         memory {before}, then {after}",
        jobs as f64 / took.as_secs_f64() / plan.rate as f64,
        plan.rate
    );
    assert!(statuses.keys().all(|status| [202, 429, 503].contains(status)), "{statuses:?}");
    assert!(statuses[&202] + statuses[&429] > jobs * 9 / 10, "{statuses:?}");
    assert!(statuses[&429] > statuses[&202], "it was no flood: {statuses:?}");
    assert!(after.most < before.now + 128 * MIB, "{before}, then {after}");
    // What was acknowledged is done, once.
    let mut sent = Vec::new();
    for Taken { path, id, told } in taken {
        let job = client.ended(daemon.data, &id).await;
        assert_eq!(job["state"], "succeeded");
        assert_eq!(target.got().of(&path), 1, "{path}");
        let high = job["priority"] == "HIGH";
        sent.push(Sent { high, told, at: sent_at(&job), path });
    }
    high_went_first(&sent);
    is_well(&daemon).await;
}

struct Taken {
    path: String,
    id: String,
    /// When its caller had the 202.
    told: SystemTime,
}

struct Sent {
    path: String,
    high: bool,
    told: SystemTime,
    at: SystemTime,
}

fn sent_at(job: &Value) -> SystemTime {
    let history = job["history"].as_array().unwrap();
    let sent = history.iter().find(|event| event["event"] == "sent").unwrap();
    humantime::parse_rfc3339(sent["at"].as_str().unwrap()).unwrap()
}

/// While a HIGH job waited that its caller knew of, one in 21 was BATCH (`max_deferrals` is 20), and
/// those that stood before it already.
fn high_went_first(sent: &[Sent]) {
    let mut waited = 0;
    for high in sent.iter().filter(|job| job.high) {
        let between: Vec<&Sent> =
            sent.iter().filter(|job| high.told < job.at && job.at < high.at).collect();
        let lower = between.iter().filter(|job| !job.high).count();
        let all = between.len();
        assert!(lower <= all / 20 + 2, "{}: {lower} of {all} before it", high.path);
        waited += usize::from(all > 0);
    }
    println!("{waited} HIGH jobs had to wait for others");
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_times_what_the_target_can_bear() {
    many_files();
    flood(Flood { rate: 20, max_queued: 50, callers: 64, jobs: 60, lasts: Duration::ZERO }).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a minute and more"]
async fn twenty_times_for_a_minute() {
    many_files();
    let lasts = Duration::from_secs(60);
    flood(Flood { rate: 20, max_queued: 200, callers: 256, jobs: 150, lasts }).await;
}

/// Connections that ask for nothing.
async fn idle(count: usize) {
    many_files();
    let target = target().await;
    let daemon = Daemon::start(&paced(&target, "1000/s", ""));
    is_well(&daemon).await;
    let before = Memory::of(daemon.id());
    let mut open = Vec::new();
    for n in 0..count {
        let mut stream = TcpStream::connect(daemon.data).await.unwrap();
        // Some have begun a request.
        if n % 2 == 0 {
            stream.write_all(b"POST /v1/jobs HTTP/1.1\r\nHo").await.unwrap();
        }
        open.push(stream);
        if n % 500 == 499 {
            is_well(&daemon).await;
        }
    }
    let after = Memory::of(daemon.id());
    println!("{count} idle connections: {before}, then {after}");
    assert!(after.most < before.now + (count as u64).min(8_192) * 40 * 1024 + 64 * MIB, "{after}");
    is_well(&daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_connections_that_ask_for_nothing() {
    idle(1_000).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "ten thousand connections"]
async fn ten_thousand_connections_that_ask_for_nothing() {
    idle(10_000).await;
}

/// Callers that send most of a body and then wait: what they have sent is held, up to what there
/// is room for; the others hear that there is none.
async fn slow_writers(count: usize) {
    const SENT: usize = 200 * 1024;
    many_files();
    let target = target().await;
    let daemon = Daemon::start(&paced(&target, "1000/s", ""));
    is_well(&daemon).await;
    let before = Memory::of(daemon.id());
    let head = format!(
        "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
        SENT + 1
    );
    let mut open = JoinSet::new();
    for _ in 0..count {
        let (data, head) = (daemon.data, head.clone());
        open.spawn(async move {
            let mut stream = TcpStream::connect(data).await.unwrap();
            // Who is turned away may be so in the middle of it.
            let _ = stream.write_all(head.as_bytes()).await;
            let _ = stream.write_all(&vec![b' '; SENT]).await;
            stream
        });
    }
    let open = open.join_all().await;
    // Those who were turned away have their answer; the others would have none for long.
    let mut told = 0;
    let mut waiting = Vec::new();
    for mut stream in open {
        let mut start = [0; 12];
        let answer = tokio::time::timeout(Duration::from_millis(1), stream.read_exact(&mut start));
        match answer.await {
            Ok(Ok(_)) => {
                assert_eq!(String::from_utf8_lossy(&start), "HTTP/1.1 503");
                told += 1;
            }
            Ok(Err(_)) => told += 1,
            Err(_) => waiting.push(stream),
        }
    }
    let after = Memory::of(daemon.id());
    println!(
        "{count} slow writers of {} KiB: {told} turned away, {} wait; {before}, then {after}",
        SENT >> 10,
        waiting.len()
    );
    assert!(told > 0 && !waiting.is_empty());
    // The bodies that fit, as much again for growing them, and the connections' own buffers.
    assert!(after.most < before.now + 2 * 64 * MIB + count as u64 * 64 * 1024, "{after}");
    let client = Client::new();
    assert_eq!(client.get(daemon.admin, "/healthz").await.status, 200);
    // Whoever has no body is served meanwhile.
    assert_eq!(client.get(daemon.data, "/v1/jobs/x").await.status, 404);
    drop(waiting);
    let job = json!({"target": "erp", "path": "/well"});
    while client.post(daemon.data, "/v1/jobs", &job).await.status != 202 {
        nap().await;
    }
    is_well(&daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_that_never_finish_their_bodies() {
    slow_writers(1_000).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "gigabytes over loopback"]
async fn eight_thousand_callers_that_never_finish_their_bodies() {
    slow_writers(8_000).await;
}

/// Sidecar callers that take nothing of an answer of the largest size.
#[tokio::test(flavor = "multi_thread")]
async fn callers_that_do_not_take_their_answers() {
    const CALLERS: usize = 150;
    const LARGE: usize = 7 << 20;
    many_files();
    let target = Raw::start(|mut peer| async move {
        let answer = vec![b'x'; LARGE];
        while let Some(path) = peer.request().await {
            let length = if path == "/large" { LARGE } else { 2 };
            peer.say(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n")).await;
            peer.say(&answer[..length]).await;
        }
    })
    .await;
    let targets = paced(&target, "1000/s", "timeout = \"60s\"") + "max_concurrent = 20\n";
    let daemon = Daemon::start(&targets);
    is_well(&daemon).await;
    let before = Memory::of(daemon.id());
    let mut open = Vec::new();
    for _ in 0..CALLERS {
        let mut stream = TcpStream::connect(daemon.data).await.unwrap();
        let request = "GET /proxy/erp/large HTTP/1.1\r\nHost: localhost\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        open.push(stream);
    }
    // Each has its head: the answer, or the problem that there was no room for all of it.
    let mut statuses = BTreeMap::<String, usize>::new();
    for stream in &mut open {
        let mut start = [0; 12];
        stream.read_exact(&mut start).await.unwrap();
        *statuses.entry(String::from_utf8_lossy(&start).into_owned()).or_default() += 1;
    }
    let after = Memory::of(daemon.id());
    println!("{CALLERS} callers: {statuses:?}; {before}, then {after}");
    let kinds: Vec<&str> = statuses.keys().map(String::as_str).collect();
    assert_eq!(kinds, ["HTTP/1.1 200", "HTTP/1.1 502"], "{statuses:?}");
    assert!(after.most < before.now + 450 * MIB, "{before}, then {after}");
    is_well(&daemon).await;
    drop(open);
    // The room is given back.
    loop {
        let answer = exchange(
            daemon.data,
            "GET /proxy/erp/large HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        )
        .await;
        if answer.starts_with("HTTP/1.1 200") {
            assert!(answer.len() > LARGE);
            break;
        }
        nap().await;
    }
}

/// As many connections as there may be open files, everywhere at once.
#[tokio::test(flavor = "multi_thread")]
async fn no_files_left() {
    const NAMES: usize = 12;
    /// Of callers and of those who look after it, where 128 files may be open.
    const PLACES: usize = 32 + 8;
    many_files();
    // Answers only what it is let to, so that connections to it stay in use.
    let target = Raw::start(|mut peer| async move {
        while let Some(path) = peer.request().await {
            if path != "/well" {
                peer.first_byte().await;
                return;
            }
            peer.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        }
    })
    .await;
    // One target under many names: so that its own brakes, which a row of failures puts on, do not
    // come into it.
    let hanging = |n: usize| {
        format!(
            "[targets.t{n}]\nurl = \"http://{}\"\ntimeout = \"1s\"\ndelivery = \"at-most-once\"\n\
             [targets.t{n}.limit]\nrate = \"1000/s\"\nburst = 10\nmax_concurrent = 10\n\
             [targets.t{n}.retry]\nmin_backoff = \"500ms\"\nmax_backoff = \"1s\"\n",
            target.address
        )
    };
    let targets: String = (0..NAMES).map(hanging).collect();
    let daemon = Daemon::start_with_files(&(paced(&target, "1000/s", "") + &targets), 128);
    is_well(&daemon).await;
    let client = Client::new();
    // More attempts than there may be connections to targets.
    let jobs: Vec<Value> = (0..2 * NAMES)
        .map(|n| json!({"target": format!("t{}", n % NAMES), "path": format!("/{n}")}))
        .collect();
    let answer = client.post(daemon.data, "/v1/jobs/batch", &Value::from(jobs)).await.json();
    let ids: Vec<String> = answer["jobs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|job| job["id"].as_str().unwrap().to_owned())
        .collect();
    // More connections than either address may have, each in the middle of a request.
    let mut open = Vec::new();
    for address in [daemon.data, daemon.admin] {
        for _ in 0..200 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let head = "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n";
            let _ = stream.write_all(head.as_bytes()).await;
            open.push(stream);
        }
    }
    // All but those that have a place are told so, or closed.
    let all = open.len();
    let mut reading: JoinSet<()> = JoinSet::new();
    for mut stream in open {
        reading.spawn(async move { drop(stream.read(&mut [0; 12]).await) });
    }
    for _ in 0..all - PLACES {
        reading.join_next().await.unwrap().unwrap();
    }
    // Those that are left go, and what has not been accepted yet stands before whoever comes next.
    reading.shutdown().await;
    for (address, path, status) in
        [(daemon.data, "/v1/jobs/x", 404), (daemon.admin, "/healthz", 200)]
    {
        served_again(address, path, status).await;
    }
    let client = Client::new();
    // No attempt was made twice, and none without a connection counts as one that was sent.
    for id in &ids {
        let job = client.ended(daemon.data, id).await;
        let history = job["history"].to_string();
        let sent = target.got().of(&format!("/{}", ids.iter().position(|i| i == id).unwrap()));
        assert!(sent <= 1, "{job}");
        assert_eq!(job["error"]["code"], "Tollgate.OutcomeUnknown", "{job}");
        assert_eq!(history.matches("\"unknown\"").count(), 1, "{job}");
    }
    let log = daemon.log();
    assert!(!log.contains("panicked"), "{log}");
    is_well(&daemon).await;
}

/// By a connection of its own each time: it is accepted after all that came before it, so once it
/// is served none of them takes anybody's place any more.
async fn served_again(address: SocketAddr, path: &str, status: u16) {
    loop {
        match Client::new().send("GET", address, path, &[], "").await {
            Ok(answer) if answer.status == status => return,
            // It is told that there is no place, or it had one that another took.
            Ok(answer) => assert_eq!(answer.status, 503, "{answer:?}"),
            Err(_) => {}
        }
        nap().await;
    }
}

/// A head that comes byte by byte, and one that never ends.
#[tokio::test(flavor = "multi_thread")]
async fn heads_without_end() {
    let target = target().await;
    let daemon = Daemon::start(&paced(&target, "1000/s", ""));
    for address in [daemon.data, daemon.admin] {
        let answer = endless(address).await;
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    }
    is_well(&daemon).await;
}

async fn endless(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nx: ").await;
    for _ in 0..64 {
        if stream.write_all(&[b'y'; 16 * 1024]).await.is_err() {
            break;
        }
    }
    rest(&mut stream).await
}
