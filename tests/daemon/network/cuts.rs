//! An answer that breaks off, at every byte of it.

use std::sync::Arc;

use super::{BROKEN_OFF, Bench, DONE, REJECTED, UNKNOWN, told};
use crate::raw::{Peer, Raw};

/// How a target leaves in the middle of a sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leave {
    Goodbye,
    Reset,
}

/// Says the first `/n` bytes of its answer to the request, and leaves.
async fn cut(answer: Arc<[u8]>, leave: Leave, mut peer: Peer) {
    let Some(path) = peer.request().await else { return };
    let at: usize = path[1..].parse().unwrap();
    peer.say(&answer[..at]).await;
    if leave == Leave::Reset {
        peer.reset();
    }
}

/// A job for each cut of `answer`, from none of it to all; each is sent exactly once.
async fn each_cut(answer: &str, leave: Leave, expected: impl Fn(usize) -> &'static str) {
    let whole: Arc<[u8]> = answer.as_bytes().into();
    let target = Raw::start(move |peer| cut(whole.clone(), leave, peer)).await;
    let bench = Bench::new(target, "");
    let paths: Vec<String> = (0..=answer.len()).map(|at| format!("/{at}")).collect();
    let ended = bench.jobs(&paths).await;
    for (at, job) in ended.iter().enumerate() {
        assert_eq!(told(job), expected(at), "{leave:?} after {:?}: {job}", &answer[..at]);
        assert_eq!(bench.target.got().of(&paths[at]), 1, "{job}");
    }
    println!("{} cuts, {leave:?}", paths.len());
}

fn end_of_head(answer: &str) -> usize {
    answer.find("\r\n\r\n").unwrap() + 4
}

/// Of an answer that says where it ends, nothing but all of it will do.
async fn all_or_nothing(answer: &str) {
    let (head, length) = (end_of_head(answer), answer.len());
    for leave in [Leave::Goodbye, Leave::Reset] {
        each_cut(answer, leave, |at| match at {
            at if at < head => UNKNOWN,
            at if at < length => BROKEN_OFF,
            _ => DONE,
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_answer_that_says_its_length() {
    all_or_nothing(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 11\r\n\r\nhello world",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_answer_in_chunks() {
    all_or_nothing(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
         5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nx-checksum: 1\r\n\r\n",
    )
    .await;
}

/// Where only the end of the connection ends a body, a goodbye in the middle of it cannot be told
/// from one at its end (RFC 9112, section 8). A reset can.
#[tokio::test(flavor = "multi_thread")]
async fn of_an_answer_that_ends_with_its_connection() {
    let answer = "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nhello";
    let head = end_of_head(answer);
    each_cut(answer, Leave::Goodbye, |at| if at < head { UNKNOWN } else { DONE }).await;
    each_cut(answer, Leave::Reset, |at| if at < head { UNKNOWN } else { BROKEN_OFF }).await;
}

/// What says no needs no more than its head.
#[tokio::test(flavor = "multi_thread")]
async fn of_an_answer_that_says_no() {
    let answer = "HTTP/1.1 404 Not Found\r\nContent-Length: 7\r\n\r\nnothing";
    let head = end_of_head(answer);
    for leave in [Leave::Goodbye, Leave::Reset] {
        each_cut(answer, leave, |at| if at < head { UNKNOWN } else { REJECTED }).await;
    }
}

/// An interim answer is none: it is the final one that counts.
#[tokio::test(flavor = "multi_thread")]
async fn of_an_answer_after_an_interim_one() {
    let answer = "HTTP/1.1 102 Processing\r\nx: y\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n";
    let length = answer.len();
    for leave in [Leave::Goodbye, Leave::Reset] {
        each_cut(
            answer,
            leave,
            |at| {
                if at < length { UNKNOWN } else { "enqueued sent(1) done(204)" }
            },
        )
        .await;
    }
}
