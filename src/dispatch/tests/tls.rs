//! Targets behind TLS.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

use super::legacy::{Legacy, Peer, dispatcher, get, outgoing, post, target};
use crate::broker::payload::Outcome;
use crate::config::Target;
use crate::dispatch::Dispatcher;

/// For localhost and 127.0.0.1, signed by itself, good until 2099. Only these tests trust it.
const CERTIFICATE: &str = "\
MIIBejCCAR+gAwIBAgIBATAKBggqhkjOPQQDAjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwIBcNMjAwMTAxMDAwMDAwWh\
gPMjA5OTEyMzEwMDAwMDBaMBQxEjAQBgNVBAMMCWxvY2FsaG9zdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABAxz\
wicUp8gO8YRzBF5IvUa0QQUXMU2D51J1RXU7DTgwVpplct9uyq21dXM4zhCjU6mYJt1xJUiEF7N1vrU1ea2jYDBeMA\
wGA1UdEwEB/wQCMAAwGgYDVR0RBBMwEYIJbG9jYWxob3N0hwR/AAABMBMGA1UdJQQMMAoGCCsGAQUFBwMBMB0GA1Ud\
DgQWBBSGAtvH9/G2uPcKUi8PFqdSAh2bwjAKBggqhkjOPQQDAgNJADBGAiEA8MHdnnslLNq/v0uH8/Gv2V8Jhv1Awv\
43AfR+taNKY4MCIQCZzlIehPM95cKTNUaJoLibxLSi16WcWWuMwy4Wx3SB7Q==";
const KEY: &str = "\
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgsuJUvpyRGgF3FTQO5OOJIoxjmujZdKV5hUt+ymRZxq\
ChRANCAAQMc8InFKfIDvGEcwReSL1GtEEFFzFNg+dSdUV1Ow04MFaaZXLfbsqttXVzOM4Qo1OpmCbdcSVIhBezdb61\
NXmt";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

pub(super) fn certificate() -> CertificateDer<'static> {
    STANDARD.decode(CERTIFICATE).unwrap().into()
}

pub(super) fn acceptor(protocols: &[&str]) -> TlsAcceptor {
    let key = PrivatePkcs8KeyDer::from(STANDARD.decode(KEY).unwrap());
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(ring)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate()], key.into())
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}

pub(super) fn https(legacy: &Legacy) -> Target {
    target(&format!("https://{}", legacy.addr))
}

async fn answering() -> Legacy {
    let acceptor = acceptor(&["http/1.1"]);
    Legacy::start(move |peer: Peer<_>| {
        let acceptor = acceptor.clone();
        async move {
            let Some(mut peer) = peer.tls(acceptor).await else { return };
            while peer.request().await.is_some() {
                peer.say(OK).await;
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_request_over_tls_is_done_and_its_connection_used_again() {
    let legacy = answering().await;
    let dispatcher = dispatcher();
    for n in 1..=5 {
        let report = dispatcher.attempt(&https(&legacy), outgoing(&post("/", "x"))).await;
        assert_eq!(report.outcome, Outcome::Done, "{report:?}");
        let seen = legacy.seen();
        assert_eq!((seen.connections, seen.requests.len()), (1, n));
    }
}

#[tokio::test]
async fn one_that_was_closed_while_idle_costs_nothing() {
    let acceptor = acceptor(&["http/1.1"]);
    let (close, closed) =
        (Arc::new(tokio::sync::Notify::new()), Arc::new(tokio::sync::Notify::new()));
    let script = {
        let (close, closed) = (close.clone(), closed.clone());
        move |peer: Peer<_>| {
            let (acceptor, close, closed) = (acceptor.clone(), close.clone(), closed.clone());
            async move {
                let mut peer = peer.tls(acceptor).await.unwrap();
                peer.request().await.unwrap();
                peer.say(OK).await;
                close.notified().await;
                tokio::io::AsyncWriteExt::shutdown(&mut peer.stream).await.unwrap();
                closed.notify_one();
            }
        }
    };
    let legacy = Legacy::start(script).await;
    let dispatcher = dispatcher();
    for n in 1..=20 {
        let report = dispatcher.attempt(&https(&legacy), outgoing(&post("/", "x"))).await;
        assert_eq!(report.outcome, Outcome::Done, "{report:?}");
        let seen = legacy.seen();
        assert_eq!((seen.connections, seen.requests.len()), (n, n));
        close.notify_one();
        closed.notified().await;
    }
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_refuses() {
    let legacy = answering().await;
    let dispatcher = Dispatcher::new(8).unwrap();
    let report = dispatcher.attempt(&https(&legacy), outgoing(&post("/", "x"))).await;
    assert_eq!(report.outcome, Outcome::Refused);
    let reason = report.reason.unwrap();
    let expected = format!("TLS with {} failed: invalid peer certificate", legacy.addr);
    assert!(reason.starts_with(&expected), "{reason}");
    assert!(legacy.seen().requests.is_empty());
}

#[tokio::test]
async fn a_target_without_tls_refuses_it() {
    let legacy = Legacy::start(|mut peer| async move {
        peer.say("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
        peer.until_hung_up().await;
    })
    .await;
    let report = dispatcher().attempt(&https(&legacy), outgoing(&get("/"))).await;
    assert_eq!((report.outcome, report.answer), (Outcome::Refused, None));
    let reason = report.reason.unwrap();
    assert!(reason.starts_with(&format!("TLS with {} failed: ", legacy.addr)), "{reason}");
}

#[tokio::test]
async fn a_handshake_that_never_ends_refuses() {
    let legacy = Legacy::start(|mut peer| async move { peer.until_hung_up().await }).await;
    let target = Target { timeout: Duration::from_millis(200), ..https(&legacy) };
    let report = dispatcher().attempt(&target, outgoing(&get("/"))).await;
    assert_eq!((report.outcome, report.answer), (Outcome::Refused, None));
    let expected = format!("timed out after 200ms, connecting to {}", legacy.addr);
    assert_eq!(report.reason, Some(expected));
    legacy.until(|seen| seen.hung_up == 1).await;
}

#[tokio::test]
async fn a_body_that_ends_without_a_goodbye_is_unknown() {
    // Without a length only TLS's close_notify tells an end from a cut (RFC 8446 §6.1).
    let acceptor = acceptor(&["http/1.1"]);
    let legacy = Legacy::start(move |peer: Peer<_>| {
        let acceptor = acceptor.clone();
        async move {
            let mut peer = peer.tls(acceptor).await.unwrap();
            peer.request().await.unwrap();
            peer.say("HTTP/1.1 200 OK\r\n\r\nhalf").await;
        }
    })
    .await;
    let report = dispatcher().attempt(&https(&legacy), outgoing(&get("/"))).await;
    assert_eq!(report.outcome, Outcome::Unknown);
    assert_eq!(&report.answer.unwrap().body[..], b"half");
}
