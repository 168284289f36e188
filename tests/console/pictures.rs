//! The pictures of README and docs/: `cargo test --test console -- --ignored pictures` makes them
//! anew, in about two minutes.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tollgate::demo::fragile_api::{Failures, FragileApi, Fragility, Latency, NOWHERE};

use crate::Browser;
use crate::scene::wall_in;
use crate::support::{Client, Daemon, nap};

/// A legacy API on an ordinary afternoon: one target busy, one paused, one that fails, one that has
/// used up its day.
fn targets(good: std::net::SocketAddr, bad: std::net::SocketAddr) -> String {
    format!(
        r#"
[limits.mainframe]
rate = "1000/min"
max_concurrent = 8

[targets.erp]
url = "http://{good}"
share = ["mainframe"]
retry = {{ min_backoff = "500ms", max_backoff = "5s" }}
[targets.erp.limit]
rate = "10/s"
max_concurrent = 4
windows = ["900/min", "50000/d"]
quota = {{ count = 20000, per = "day", timezone = "Europe/Berlin" }}
reserve_high = 0.2
[[targets.erp.schedule]]
when = "daily 08:00-18:00"
timezone = "Europe/Berlin"
rate = "8/s"
[[targets.erp.schedule]]
when = "daily 03:00-04:00"
timezone = "Europe/Berlin"
closed = true

[targets.crm]
url = "http://{good}/crm"
limit.rate = "100/min"

[targets.billing]
url = "http://{good}/billing"
limit = {{ rate = "50/s", windows = ["20/h"] }}

[targets.warehouse]
url = "http://{bad}"
limit.rate = "5/s"
retry = {{ min_backoff = "50ms", max_backoff = "100ms", max_attempts = 100 }}
breaker = {{ failures = 4, probe_every = "2m" }}
"#
    )
}

fn job(target: &str, priority: &str, path: &str) -> Value {
    let body = json!({ "sku": "A-1", "qty": 2, "customer": { "name": "Müller & Söhne" } });
    json!({ "target": target, "priority": priority, "path": path, "body": body })
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "writes the pictures of README and docs/, in two minutes"]
async fn pictures() {
    let latency =
        Latency::Uniform { least: Duration::from_millis(40), most: Duration::from_millis(250) };
    let failures = Failures { unavailable: 10, error: 30, ..Failures::NONE };
    let retry_after = Duration::from_secs(1);
    let sound = Fragility { seed: 24, latency, failures, retry_after, ..Fragility::SOUND };
    let sound = FragileApi::start(sound).await.unwrap();
    let failures = Failures { error: 1_000, ..Failures::NONE };
    let failing = FragileApi::start(Fragility { failures, ..Fragility::SOUND }).await.unwrap();
    let daemon = Daemon::start(&targets(sound.address(), failing.address()));
    let client = Client::new();
    let Some(browser) = Browser::open(daemon.admin).await else { return };

    client.post(daemon.admin, "/v1/targets/crm/pause", &json!({})).await;
    let mut late = job("erp", "BATCH", "/orders");
    late["deadline"] = json!(wall_in(Duration::from_secs(2)));
    let mut jobs = vec![job("erp", "BATCH", "/orders"); 700];
    jobs.extend(vec![late; 3]);
    jobs.extend(vec![job("crm", "BATCH", "/contacts"); 40]);
    jobs.extend(vec![job("crm", "NORMAL", "/contacts"); 12]);
    jobs.extend(vec![job("billing", "NORMAL", "/invoices"); 31]);
    jobs.extend(vec![job("warehouse", "HIGH", "/stock"); 9]);
    jobs.extend(vec![job("crm", "HIGH", "/contacts"); 3]);
    assert_eq!(client.post(daemon.data, "/v1/jobs/batch", &json!(jobs)).await.status, 200);
    // What comes in all the time, until the charts have a minute and a half to show.
    let long = "document.querySelector('.chart polyline.batch')?.points.length >= 90";
    browser.go("#/targets/erp").await;
    for round in 0_u32.. {
        let (priority, path) = match round % 8 {
            0 | 3 | 5 => ("HIGH", "/orders"),
            6 if round % 5 == 0 => ("NORMAL", NOWHERE),
            _ => ("NORMAL", "/orders"),
        };
        client.submit(daemon.data, &job("erp", priority, path)).await;
        for _ in 0..5 {
            nap().await;
        }
        if browser.run(&format!("return {long}"), &[]).await == true {
            break;
        }
    }
    let keep = async |name: &str| {
        browser.picture(name).await;
        let from = Browser::pictures().join(format!("{name}.png"));
        let to = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/pictures");
        std::fs::create_dir_all(&to).unwrap();
        std::fs::copy(from, to.join(format!("{name}.png"))).unwrap();
    };
    keep("target").await;
    browser.go("#/").await;
    browser.until("document.querySelectorAll('.card').length === 4").await;
    keep("overview").await;
    browser.go("#/targets/erp/dead").await;
    browser.until("document.querySelectorAll('.errors li').length >= 1").await;
    keep("dead").await;
    // The one with the longest story.
    let page = "/v1/jobs?target=erp&state=succeeded&limit=500";
    let page = client.get(daemon.admin, page).await.json();
    let jobs = page["jobs"].as_array().unwrap();
    let told = jobs.iter().max_by_key(|job| {
        let passed = job["history"].as_array().map_or(0, Vec::len);
        (job["attempts"].as_u64(), passed)
    });
    browser.go(&format!("#/jobs/{}", told.unwrap()["id"].as_str().unwrap())).await;
    browser.until("document.querySelector('.stretch')").await;
    browser.until("document.querySelector('#request-title')").await;
    keep("job").await;
    browser.is_clean().await;
}
