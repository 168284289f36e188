//! A group that its dead job holds: seen, found and let go.

use serde_json::json;
use tollgate::demo::fragile_api::{FragileApi, Fragility, NOWHERE};

use crate::Browser;
use crate::support::{Client, Daemon};

#[tokio::test(flavor = "multi_thread")]
async fn a_held_group_is_seen_and_let_go() {
    let api = FragileApi::start(Fragility::SOUND).await.unwrap();
    let daemon = Daemon::start(&format!(
        "[targets.erp]\nurl = \"http://{}\"\non_group_failure = \"hold\"\nlimit.rate = \"100/s\"\n",
        api.address()
    ));
    let client = Client::new();
    let job = |path: &str| json!({ "target": "erp", "path": path, "group": "customer 42" });
    let first = client.submit(daemon.data, &job(NOWHERE)).await;
    let second = client.submit(daemon.data, &job("/second")).await;
    assert_eq!(client.ended(daemon.data, &first).await["holds_group"], true);
    let Some(browser) = Browser::open(daemon.admin).await else { return };
    browser.until_said(".attention", "1 group held.").await;
    browser.until_said(".attention", "until its dead job is redriven or purged").await;

    // From the one that waits to the one that holds it up.
    browser.go(&format!("#/jobs/{second}")).await;
    browser.until("document.querySelector('.stretch.behind')").await;
    browser.until_said(".legend", "behind others of its group").await;
    browser.until_said(".history", "Behind others of its group").await;
    browser.picture("behind").await;
    browser.click(&format!(".inline a[href$={first:?}]")).await;
    browser.until_said("h1", &first).await;
    browser.until_said(".inline", "customer 42 · held by this job").await;

    browser.click("#purge").await;
    browser.click("dialog [type=submit]").await;
    browser.until("location.hash === '#/targets/erp/dead'").await;
    assert_eq!(client.ended(daemon.data, &second).await["state"], "succeeded");
    browser.go(&format!("#/jobs/{second}")).await;
    browser.until_said(".history", "Its turn in its group came").await;
    browser.go("#/").await;
    browser.until_said(".attention", "Nothing needs you").await;
    browser.is_clean().await;
}
