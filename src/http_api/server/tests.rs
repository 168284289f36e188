use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::routing::any;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc, watch};

use super::*;
use crate::http_api::body;
use crate::http_api::problem::{Problem, not_found};

struct Served {
    address: SocketAddr,
    stage: watch::Sender<Stage>,
    task: JoinHandle<()>,
    /// Requests for `/hang` that have reached their handler.
    hanging: mpsc::UnboundedReceiver<()>,
    let_go: Arc<Notify>,
}

/// `/` answers with the size of the body, `/hang` once it is let go, `/big` with 32 MiB.
async fn serve(change: impl FnOnce(&mut Limits)) -> Served {
    let let_go = Arc::<Notify>::default();
    let (arrived, hanging) = mpsc::unbounded_channel();
    let notified = let_go.clone();
    let mut limits = Limits::new(1000, Slots::new(100));
    change(&mut limits);
    let router = Router::new()
        .route(
            "/",
            any(|request: Request| async move {
                let body = body::read(request.into_body(), usize::MAX).await?;
                Ok::<_, Problem>(format!("{} bytes", body.len()))
            }),
        )
        .route(
            "/hang",
            any(move || async move {
                let _ = arrived.send(());
                notified.notified().await;
                "let go"
            }),
        )
        .route("/big", any(|| async { "x".repeat(32 << 20) }))
        .fallback(not_found);
    let bound = bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).await.unwrap();
    let (stage, seen) = watch::channel(Stage::Open);
    let address = bound.address().port().unwrap();
    Served {
        address,
        stage,
        task: bound.serve(router, limits, TlsInForce::default(), seen),
        hanging,
        let_go,
    }
}

async fn plain() -> Served {
    serve(|_| ()).await
}

impl Served {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Everything that comes back until the connection is closed from there.
    async fn exchange(&self, sent: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(sent.as_bytes()).await.unwrap();
        rest(&mut stream).await
    }
}

async fn rest(stream: &mut TcpStream) -> String {
    let mut back = Vec::new();
    stream.read_to_end(&mut back).await.unwrap();
    String::from_utf8(back).unwrap()
}

/// One answer to a GET on a connection that stays open.
async fn get(stream: &mut TcpStream, path: &str) -> String {
    let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut back = Vec::new();
    while !back.ends_with(b"bytes") && !back.ends_with(b"let go") {
        let n = stream.read_buf(&mut back).await.unwrap();
        assert!(n > 0, "closed after {:?}", String::from_utf8_lossy(&back));
    }
    String::from_utf8(back).unwrap()
}

fn is_problem(answer: &str, status: u16, word: &str) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    assert!(answer.contains("content-type: application/problem+json\r\n"), "{answer}");
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    assert!(answer.contains(word), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
}

#[tokio::test]
async fn what_can_be_read_in_two_ways_is_refused_and_closed() {
    let served = plain().await;
    for (request, word) in [
        (
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n\
             0\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
            "Transfer-Encoding",
        ),
        (
            "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n\
             0\r\n\r\n",
            "Transfer-Encoding",
        ),
        ("GET / HTTP/1.1\r\n\r\n", "no Host"),
        ("GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", "more than one Host"),
        ("GET / HTTP/1.1\r\nHost: x y\r\n\r\n", "no host"),
        ("GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n", "one host"),
        ("GET /a#b HTTP/1.1\r\nHost: x\r\n\r\n", "fragment"),
    ] {
        is_problem(&served.exchange(request).await, 400, word);
    }
    let connect = "CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\n\r\n";
    is_problem(&served.exchange(connect).await, 405, "CONNECT");
}

#[tokio::test]
async fn a_good_request_before_a_bad_one_is_served() {
    let both = "GET / HTTP/1.1\r\nHost: x\r\n\r\nPOST / HTTP/1.1\r\nHost: x\r\n\
                Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let answers = plain().await.exchange(both).await;
    assert!(answers.starts_with("HTTP/1.1 200 OK\r\n"), "{answers}");
    assert!(answers.contains("0 bytesHTTP/1.1 400 Bad Request\r\n"), "{answers}");
}

#[tokio::test]
async fn garbage_gets_a_400_and_nothing_else() {
    let served = plain().await;
    for garbage in ["\x16\x03\x01 hello\r\n\r\n", "GET / HTTP/1.1\r\nbad header\r\n\r\n"] {
        let answer = served.exchange(garbage).await;
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
    }
    let long = format!("GET / HTTP/1.1\r\nHost: x\r\nx: {}\r\n\r\n", "y".repeat(60_000));
    let answer = served.exchange(&long).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let many = format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "x: y\r\n".repeat(200));
    let answer = served.exchange(&many).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

#[tokio::test]
async fn a_large_body_is_refused_before_it_comes() {
    // Nothing but the head is sent; and no `100 Continue` asks for more.
    let head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\nExpect: 100-continue\r\n\r\n";
    is_problem(&plain().await.exchange(head).await, 413, "1000 bytes");
}

#[tokio::test]
async fn a_chunked_body_is_cut_at_the_limit() {
    let head = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunk = format!("1f4\r\n{}\r\n", "x".repeat(500));
    let served = plain().await;
    let whole = format!("{head}{chunk}{chunk}0\r\n\r\nGET /nothing HTTP/1.0\r\n\r\n");
    let answers = served.exchange(&whole).await;
    assert!(answers.contains("1000 bytes"), "{answers}");
    assert!(answers.contains("HTTP/1.0 404 ") || answers.contains("HTTP/1.1 404 "), "{answers}");
    let larger = format!("{head}{chunk}{chunk}1\r\nx\r\n");
    is_problem(&served.exchange(&larger).await, 413, "1000 bytes");
}

#[tokio::test]
async fn who_sends_too_much_still_reads_why() {
    let served = plain().await;
    let mut stream = served.connect().await;
    let head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&vec![b'x'; 1_000_000]).await.unwrap();
    // It goes on sending when the answer is there already, as most clients do.
    stream.readable().await.unwrap();
    stream.write_all(&vec![b'x'; 1_000_000]).await.unwrap();
    is_problem(&rest(&mut stream).await, 413, "1000 bytes");
}

#[tokio::test]
async fn who_is_listened_to_after_the_answer_makes_room_too() {
    let served = serve(|l| {
        l.slots = Slots::new(1);
        l.linger = Duration::from_secs(3600);
    })
    .await;
    let mut refused = served.connect().await;
    let head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2000\r\n\r\n";
    refused.write_all(head.as_bytes()).await.unwrap();
    // The answer's end: from now on it is only listened to.
    is_problem(&rest(&mut refused).await, 413, "1000 bytes");
    // The only place is needed: an hour would be too long.
    assert!(served.exchange("GET / HTTP/1.0\r\n\r\n").await.ends_with("0 bytes"));
}

#[tokio::test]
async fn a_body_that_trickles_is_given_up() {
    let served = serve(|l| l.body_within = Duration::from_millis(50)).await;
    let mut stream = served.connect().await;
    let head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\nx";
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut back, mut to) = stream.into_split();
    let trickle = tokio::spawn(async move {
        while to.write_all(b"x").await.is_ok() {
            #[expect(clippy::disallowed_methods, reason = "the trickle itself")]
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let mut answer = String::new();
    back.read_to_string(&mut answer).await.unwrap();
    is_problem(&answer, 408, "arrive");
    trickle.abort();
}

#[tokio::test]
async fn slow_heads_and_idle_connections_are_closed() {
    let served = serve(|l| l.head_within = Duration::from_millis(400)).await;
    let mut silent = served.connect().await;
    let mut slow = served.connect().await;
    slow.write_all(b"GET / HTTP/1.1\r\nHo").await.unwrap();
    let mut idle = served.connect().await;
    get(&mut idle, "/").await;
    assert_eq!(rest(&mut silent).await, "");
    assert_eq!(rest(&mut slow).await, "");
    assert_eq!(rest(&mut idle).await, "");
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_given_up() {
    let served = serve(|l| {
        l.write_within = Duration::from_millis(30);
        l.slots = Slots::new(1);
    })
    .await;
    let mut stream = served.connect().await;
    stream.write_all(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    // It takes one byte, so its request is at work, and then no more.
    stream.read_exact(&mut [0]).await.unwrap();
    // The only place is free again once the connection is gone.
    let mut answer = String::new();
    while !answer.contains("0 bytes") {
        let mut stream = served.connect().await;
        answer.clear();
        // Turned away until then.
        if stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.is_ok() {
            let _ = stream.read_to_string(&mut answer).await;
        }
    }
}

#[tokio::test]
async fn idle_connections_make_room_and_busy_ones_do_not() {
    let mut served = serve(|l| l.slots = Slots::new(2)).await;
    let mut busy = served.connect().await;
    let waiting = tokio::spawn(async move { get(&mut busy, "/hang").await });
    served.hanging.recv().await.unwrap();
    let mut idle = served.connect().await;
    assert!(get(&mut idle, "/").await.ends_with("0 bytes"));
    // The third takes the place of the idle one.
    let mut third = served.connect().await;
    let also_waiting = tokio::spawn(async move { get(&mut third, "/hang").await });
    served.hanging.recv().await.unwrap();
    assert_eq!(rest(&mut idle).await, "");
    // Now both places are at work, and a fourth is told so.
    let mut fourth = served.connect().await;
    fourth.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    is_problem(&rest(&mut fourth).await, 503, "retry-after: 1");
    served.let_go.notify_waiters();
    assert!(waiting.await.unwrap().ends_with("let go"));
    assert!(also_waiting.await.unwrap().ends_with("let go"));
}

/// The threads that serve callers are seconds behind: one is on its way to see how many.
#[tokio::test]
async fn a_new_connection_is_refused_where_it_would_be_heard_too_late() {
    let lateness = Lateness::default();
    let served = serve(|l| {
        l.lateness = lateness.clone();
        l.linger = Duration::from_millis(10);
    })
    .await;
    let mut before = served.connect().await;
    assert!(get(&mut before, "/").await.ends_with("0 bytes"));
    let on_its_way = lateness.let_in();
    lateness.found(Duration::from_secs(4));
    // It has not asked.
    let refused = rest(&mut served.connect().await).await;
    is_problem(&refused, 503, "retry-after: 1");
    assert!(refused.contains("would wait for about 4 s to"), "{refused}");
    assert!(get(&mut before, "/").await.ends_with("0 bytes"), "who is there is served");
    drop(on_its_way);
    assert!(get(&mut served.connect().await, "/").await.ends_with("0 bytes"));
}

/// An answer to nothing is an error for clients with a pool of connections.
#[tokio::test]
async fn who_is_turned_away_is_told_once_he_has_asked() {
    let lateness = Lateness::default();
    let served = serve(|l| {
        l.lateness = lateness.clone();
        l.linger = Duration::from_secs(3600);
    })
    .await;
    let _on_its_way = lateness.let_in();
    lateness.found(Duration::from_secs(4));
    let ask = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    let (mut first, mut second) = (served.connect().await, served.connect().await);
    second.write_all(ask).await.unwrap();
    is_problem(&rest(&mut second).await, 503, "retry-after: 1");
    // Both were accepted by now, the first before the second.
    let told = first.try_read(&mut [0; 1]).map_err(|error| error.kind());
    assert_eq!(told, Err(io::ErrorKind::WouldBlock));
    first.write_all(ask).await.unwrap();
    is_problem(&rest(&mut first).await, 503, "retry-after: 1");
    // Its body comes when the answer is there; it is not reset for that.
    let mut third = served.connect().await;
    third.write_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n").await.unwrap();
    let mut answer = vec![0; 12];
    third.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 503");
    third.write_all(b"1234").await.unwrap();
    rest(&mut third).await;
    third.write_all(b"56789").await.unwrap();
}

#[tokio::test]
async fn going_down_finishes_what_is_under_way_and_no_more() {
    let mut served = serve(|l| l.head_within = Duration::from_secs(3600)).await;
    let mut half = served.connect().await;
    half.write_all(b"GET / HTTP/1.1\r\nHo").await.unwrap();
    let mut idle = served.connect().await;
    get(&mut idle, "/").await;
    let mut busy = served.connect().await;
    busy.write_all(b"GET /hang HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    served.hanging.recv().await.unwrap();
    served.stage.send_replace(Stage::Finishing);
    // A reset is as good an end as any other.
    assert_eq!(half.read(&mut [0]).await.unwrap_or(0), 0);
    assert_eq!(rest(&mut idle).await, "");
    served.let_go.notify_waiters();
    let answer = rest(&mut busy).await;
    assert!(answer.ends_with("let go") && answer.contains("connection: close"), "{answer}");
    served.task.await.unwrap();
    assert!(TcpStream::connect(served.address).await.is_err(), "nothing listens any more");
}

#[tokio::test]
async fn what_does_not_finish_is_cut_off() {
    let mut served = plain().await;
    let mut busy = served.connect().await;
    busy.write_all(b"GET /hang HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    served.hanging.recv().await.unwrap();
    served.stage.send_replace(Stage::Closed);
    served.task.await.unwrap();
    // A reset is as good an end as any other.
    let mut back = Vec::new();
    let _ = busy.read_to_end(&mut back).await;
    assert!(back.is_empty());
}

/// Run by hand: needs 20,000 files or more. `cargo test -- --ignored ten_thousand`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "opens ten thousand connections"]
async fn ten_thousand_idle_connections_disturb_nobody() {
    let files = raise_file_limit();
    // Both ends are ours, so that each connection takes two files.
    let cap = usize::try_from(files / 4).unwrap().min(4000);
    let served = serve(|l| {
        l.slots = Slots::new(cap);
        l.head_within = Duration::from_secs(600);
    })
    .await;
    let resident = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap().to_owned();
        line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap()
    };
    let before = resident();
    let mut idle = Vec::new();
    for n in 0..10_000 {
        let mut stream = served.connect().await;
        stream.write_all(b"GET / HT").await.unwrap();
        idle.push(stream);
        if n % 1000 == 999 {
            let started = std::time::Instant::now();
            assert!(served.exchange("GET / HTTP/1.0\r\n\r\n").await.ends_with("0 bytes"));
            println!("{} open: answered in {:?}", n + 1, started.elapsed());
        }
    }
    println!("{cap} held: {} KiB each", (resident() - before) / cap);
    assert_eq!(rest(&mut idle[0]).await, "", "the oldest made room");
}
