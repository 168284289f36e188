//! Targets by name.

use serde_json::json;

use super::{Bench, DONE, reasons, told};
use crate::raw::Raw;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

async fn well() -> Raw {
    Raw::start(|mut peer| async move {
        while peer.request().await.is_some() {
            peer.say(OK).await;
        }
    })
    .await
}

/// `localhost` has two addresses on most systems, and only one of them answers.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_has_an_address_which_does_not_answer() {
    let target = well().await;
    let port = target.address.port();
    let bench = Bench::new(target, "");
    bench.daemon.configure(&format!(
        "[targets.t0]\nurl = \"http://localhost:{port}\"\n[targets.t0.limit]\nrate = \"100/s\"\n"
    ));
    bench.reload().await;
    let job = bench.job("/").await;
    assert_eq!(told(&job), DONE, "{job}");
}

/// A name that nobody knows is no work done: the job waits, spends no attempt, and goes on once
/// the name is right.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_nobody_knows_is_refused_until_it_is_put_right() {
    let target = well().await;
    let address = target.address;
    let bench = Bench::new(target, "");
    let named = |host: &str| {
        format!(
            "[targets.t0]\nurl = \"http://{host}:{}\"\ndelivery = \"at-most-once\"\n\
             [targets.t0.limit]\nrate = \"100/s\"\n\
             [targets.t0.retry]\nmax_attempts = 1\nmin_backoff = \"100ms\"\nmax_backoff = \"200ms\"\n",
            address.port()
        )
    };
    bench.daemon.configure(&named("nobody.invalid"));
    bench.reload().await;
    let job = json!({"target": "t0", "path": "/x"});
    let id = bench.client.submit(bench.daemon.data, &job).await;
    let path = format!("/v1/jobs/{id}");
    let refused = |job: &serde_json::Value| told(job).matches("refused").count() >= 3;
    let job = bench.client.until(bench.daemon.data, &path, refused).await;
    assert!(reasons(&job).contains("connect to nobody.invalid"), "{job}");
    assert_eq!(bench.target.got().connections, 0);
    bench.daemon.configure(&named("localhost"));
    bench.reload().await;
    let job = bench.client.ended(bench.daemon.data, &id).await;
    assert_eq!(job["state"], "succeeded", "{job}");
    assert!(!told(&job).contains("unknown"), "{job}");
    assert_eq!(bench.target.got().of("/x"), 1);
}
