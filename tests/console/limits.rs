//! Targets with every kind of limit: what is left of each, what holds them back and until when.

use serde_json::json;
use tollgate::demo::fragile_api::{Failures, FragileApi, Fragility};

use crate::Browser;
use crate::browser::{DESKTOP, PHONE};
use crate::scene::job;
use crate::support::{Client, Daemon};

/// `erp` with a window that is used up, `crm` that shares a limit with it, `night` with a schedule,
/// `billing` with a quota that is used up, and `warehouse`, which fails.
async fn daemon() -> (Vec<FragileApi>, Daemon) {
    let sound = FragileApi::start(Fragility::SOUND).await.unwrap();
    let failures = Failures { error: 1_000, ..Failures::NONE };
    let failing = FragileApi::start(Fragility { failures, ..Fragility::SOUND }).await.unwrap();
    let (good, bad) = (sound.address(), failing.address());
    let daemon = Daemon::start(&format!(
        r#"
[limits.mainframe]
rate = "1000/min"
max_concurrent = 8
windows = ["200000/d"]

[targets.erp]
url = "http://{good}/erp"
share = ["mainframe"]
[targets.erp.limit]
rate = "100/s"
max_concurrent = 4
windows = ["20/h", "5000/d"]
reserve_high = 0.2

[targets.crm]
url = "http://{good}/crm"
share = ["mainframe"]
limit.rate = "50/s"

[targets.night]
url = "http://{good}/night"
limit.rate = "10/s"
[[targets.night.schedule]]
when = "daily 00:00-02:00"
timezone = "Europe/Berlin"
closed = true
[[targets.night.schedule]]
when = "daily 08:00-18:00"
timezone = "Europe/Berlin"
rate = "5/s"

[targets.billing]
url = "http://{good}/billing"
limit = {{ rate = "50/s", quota = {{ count = 3, per = "month", timezone = "Europe/Berlin" }} }}

[targets.warehouse]
url = "http://{bad}"
limit.rate = "50/s"
retry = {{ min_backoff = "50ms", max_backoff = "100ms", max_attempts = 100 }}
breaker = {{ failures = 4, probe_every = "10m" }}
"#
    ));
    (vec![sound, failing], daemon)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_limit_says_what_is_left_of_it() {
    let (_apis, daemon) = daemon().await;
    let client = Client::new();
    let mut jobs = vec![job("erp", "BATCH", "/orders"); 30];
    jobs.extend(vec![job("billing", "NORMAL", "/invoices"); 5]);
    jobs.extend(vec![job("warehouse", "HIGH", "/stock"); 6]);
    assert_eq!(client.post(daemon.data, "/v1/jobs/batch", &json!(jobs)).await.status, 200);
    let blocked = |name: &'static str, on: &'static str| {
        let (client, admin) = (client.clone(), daemon.admin);
        async move {
            let path = format!("/v1/targets/{name}");
            client.until(admin, &path, |target| target["blocked"]["on"] == on).await
        }
    };
    let erp = blocked("erp", "window").await;
    blocked("billing", "quota").await;
    blocked("warehouse", "breaker").await;
    // A fifth of the window is kept for HIGH.
    assert_eq!(erp["limit"]["windows"][0]["left"], 4, "{erp}");

    let Some(browser) = Browser::open(daemon.admin).await else { return };
    browser.until_said(".attention", "Window used up, 20/h, until").await;
    browser.until_said(".attention", "Quota used up, until").await;
    browser.until_said(".attention", "Breaker open, next try at").await;
    browser.until_said(".facts", "Breaker").await;
    browser.picture("limits-overview").await;

    browser.go("#/targets/erp").await;
    for text in [
        "4 of 20 left, for HIGH only",
        "4,984 of 5,000 left, 1,000 for HIGH only",
        "Shared mainframe1000/min · with other targets",
        "0 of 8 places",
        "Window 200000/d",
        "199,984 of 200,000 left",
        "Breakerclosed",
    ] {
        browser.until_said(".limits li", text).await;
    }
    browser.picture("limits-target").await;

    browser.go("#/targets/billing").await;
    browser.until_said(".limits li", "Quota 3 a month, Europe/Berlin0 of 3 left").await;
    browser.until_said(".limits li", "full again at").await;

    browser.go("#/targets/warehouse").await;
    browser.until_said(".pill", "Breaker open").await;
    browser.until_said(".limits li", "open: one job at a time tries").await;
    browser.picture("limits-breaker").await;

    browser.go("#/targets/night").await;
    browser.until_said("#schedule-title", "Europe/Berlin").await;
    browser.until("document.querySelectorAll('.strip .open').length >= 3").await;
    browser.until("document.querySelectorAll('.strip .closed').length === 2").await;
    browser.until("document.querySelector('.strip .now')").await;
    let words = "document.querySelector('.strip').getAttribute('aria-label')";
    let said = browser.run(&format!("return {words}"), &[]).await;
    // What may take 30 s is not begun in the last 30 s before it closes.
    let expected = "00:00 to 02:00: closed; 02:00 to 08:00: 10/s; 08:00 to 18:00: 5/s; \
                    18:00 to 23:59: 10/s; 23:59 to 24:00: closed";
    assert_eq!(said, expected);
    for (size, dark, name) in [(DESKTOP, false, "strip"), (PHONE, true, "strip-phone-dark")] {
        browser.dress(size, dark).await;
        browser.picture(&format!("limits-{name}")).await;
    }
    browser.go("#/targets/erp").await;
    browser.until_said(".limits li", "4 of 20 left").await;
    browser.picture("limits-phone-dark").await;
    browser.is_clean().await;
}
