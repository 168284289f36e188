//! A resolver that fails, hangs, changes its mind, or leads where nobody should go.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use super::legacy::{Legacy, get, outgoing, target};
use crate::broker::payload::{Outcome, Report};
use crate::config::Target;
use crate::dispatch::names::Names;
use crate::dispatch::{Dispatcher, tls_versions};

fn resolving(names: Names) -> Dispatcher {
    let config = tls_versions().unwrap().with_root_certificates(rustls::RootCertStore::empty());
    Dispatcher::with(config.with_no_client_auth(), names, 1_024)
}

/// Answers at once, each time with what `answer` says to its number, from 0.
fn answering<F>(answer: F) -> (Dispatcher, Arc<AtomicUsize>)
where
    F: Fn(usize) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static,
{
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let names = Names::new(move |_| {
        let found = answer(count.fetch_add(1, Ordering::SeqCst));
        Box::pin(async move { found })
    });
    (resolving(names), asked)
}

async fn well() -> Legacy {
    Legacy::answering_once("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        .await
}

fn named(legacy: &Legacy) -> Target {
    target(&format!("http://erp.test:{}", legacy.addr.port()))
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn reason(report: &Report) -> &str {
    report.reason.as_deref().unwrap()
}

#[tokio::test]
async fn a_name_is_followed_when_it_changes() {
    let legacy = well().await;
    let (dispatcher, asked) = answering(|nth| match nth {
        0 => Err(io::Error::other("no such name")),
        // Nobody listens there on that port.
        1 => Ok(vec![ip("127.0.0.2")]),
        2 => Ok(Vec::new()),
        _ => Ok(vec![ip("127.0.0.1")]),
    });
    for (outcome, why) in [
        (Outcome::Refused, "failed: no such name"),
        (Outcome::Refused, "failed: connection refused"),
        (Outcome::Refused, "connect to erp.test"),
        (Outcome::Done, ""),
        (Outcome::Done, ""),
    ] {
        let report = dispatcher.attempt(&named(&legacy), outgoing(&get("/"))).await;
        assert_eq!(report.outcome, outcome, "{report:?}");
        assert!(report.reason.as_deref().unwrap_or_default().contains(why), "{report:?}");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 5);
    assert_eq!(legacy.seen().requests.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_resolver_that_hangs_takes_one_thread_however_many_ask() {
    let legacy = well().await;
    let asked = Arc::new(AtomicUsize::new(0));
    let answer = Arc::new(Notify::new());
    let names = Names::new({
        let (asked, answer) = (asked.clone(), answer.clone());
        move |_| {
            asked.fetch_add(1, Ordering::SeqCst);
            let answer = answer.clone();
            Box::pin(async move {
                answer.notified().await;
                Ok(vec![ip("127.0.0.1")])
            })
        }
    });
    let dispatcher = resolving(names);
    let short = Target { timeout: Duration::from_secs(1), ..named(&legacy) };
    for _ in 0..3 {
        let mut attempts = tokio::task::JoinSet::new();
        for _ in 0..100 {
            let (dispatcher, short) = (dispatcher.clone(), short.clone());
            attempts.spawn(async move { dispatcher.attempt(&short, outgoing(&get("/"))).await });
        }
        while let Some(report) = attempts.join_next().await {
            let report = report.unwrap();
            // Nothing was sent, so it certainly did nothing.
            assert_eq!(report.outcome, Outcome::Refused);
            assert!(reason(&report).starts_with("timed out after 1s, connecting to erp.test"));
        }
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    tokio::time::resume();
    answer.notify_one();
    // The next one joins what has come meanwhile, or asks anew.
    answer.notify_one();
    let report = dispatcher.attempt(&named(&legacy), outgoing(&get("/"))).await;
    assert_eq!(report.outcome, Outcome::Done);
    assert_eq!(legacy.seen().requests.len(), 1);
}

#[tokio::test]
async fn a_name_that_leads_to_credentials_is_refused() {
    let legacy = well().await;
    let (dispatcher, _) = answering(|nth| {
        Ok(match nth {
            0 => vec![ip("169.254.169.254")],
            1 => vec![ip("::ffff:169.254.169.254"), ip("fd00:ec2::254")],
            // The others hold.
            _ => vec![ip("169.254.169.254"), ip("127.0.0.1")],
        })
    });
    for _ in 0..2 {
        let report = dispatcher.attempt(&named(&legacy), outgoing(&get("/"))).await;
        assert_eq!(report.outcome, Outcome::Refused);
        assert!(
            reason(&report).contains("169.254.169.254, where machines in a cloud"),
            "{report:?}"
        );
    }
    let report = dispatcher.attempt(&named(&legacy), outgoing(&get("/"))).await;
    assert_eq!(report.outcome, Outcome::Done, "{report:?}");
}

/// An address in the file is what the file says.
#[tokio::test]
async fn an_address_is_not_looked_up() {
    let (dispatcher, asked) = answering(|_| Ok(vec![ip("127.0.0.1")]));
    let timeout = Duration::from_millis(50);
    let literal = Target { timeout, ..target("http://169.254.255.254:9") };
    let report = dispatcher.attempt(&literal, outgoing(&get("/"))).await;
    assert!(!report.reason.unwrap_or_default().contains("cloud"));
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}
