//! A job that died with questions about it, changed and sent again.

use serde_json::json;
use tollgate::demo::fragile_api::{Failures, FragileApi, Fragility, NOWHERE};

use crate::Browser;
use crate::browser::{DESKTOP, PHONE};
use crate::support::{Client, Daemon};

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_job_is_changed_and_sent_again() {
    let failures = Failures { error: 1_000, ..Failures::NONE };
    let api = FragileApi::start(Fragility { failures, ..Fragility::SOUND }).await.unwrap();
    let daemon = Daemon::start(&format!(
        "[targets.erp]\nurl = \"http://{}\"\ndelivery = \"verify\"\nlimit.rate = \"50/s\"\n\
         retry = {{ min_backoff = \"200ms\", max_backoff = \"400ms\", max_attempts = 2 }}\n\
         verify = {{ path = \"{NOWHERE}\", done = \"200\", not_done = \"404\" }}\n",
        api.address()
    ));
    let client = Client::new();
    // More digits than a number of the browser's can hold, and a zero that says something.
    let order = r#"{"target":"erp","path":"/orders?dry=1","priority":"BATCH",
        "body":{"sku":"A-1","number":12345678901234567890,"price":1.10}}"#;
    let taken = client.send("POST", daemon.data, "/v1/jobs", &[], order).await.unwrap().json();
    let id = taken["id"].as_str().unwrap().to_owned();
    let dead = client.ended(daemon.data, &id).await;
    assert_eq!(dead["state"], "failed", "{dead}");
    // So that it stays where it is put.
    client.post(daemon.admin, "/v1/targets/erp/pause", &json!({})).await;

    let Some(browser) = Browser::open(daemon.admin).await else { return };
    browser.go(&format!("#/jobs/{id}")).await;
    for text in [
        "Attempt 2 sent",
        "Answered 500: the work may have been done",
        "Question 1 sent",
        "Answered 404: the work is not done",
        "Given up: Tollgate.RetriesExhausted",
    ] {
        browser.until_said(".history", text).await;
    }
    for look in ["sending", "verifying", "asking"] {
        browser.until(&format!("document.querySelector('.stretch.{look}')")).await;
    }
    browser.until_said("h2", "Answer to attempt 1").await;
    browser.until_said("h2", "Answer to question 1").await;
    browser.until_said("pre", "12345678901234567890").await;
    browser.until_said("pre", "1.10").await;
    browser.picture("edit-job").await;

    // What is no JSON any more is not sent, nor what leads away from the target.
    browser.click("#edit").await;
    browser.write("dialog [name=body]", "{ oops").await;
    browser.click("dialog [type=submit]").await;
    browser.until_said("dialog [role=alert]", "not JSON any more").await;
    browser
        .write("dialog [name=body]", r#"{"sku":"B-2","number":12345678901234567891,"price":1.20}"#)
        .await;
    browser.write("dialog [name=path]", "https://elsewhere.example/").await;
    browser.click("dialog [type=submit]").await;
    browser.until_said("dialog [role=alert]", "begins with a slash").await;
    browser.write("dialog [name=path]", "/orders/again").await;
    browser.choose("dialog [name=priority]", "HIGH").await;
    browser.picture("edit").await;
    browser.dress(PHONE, true).await;
    browser.picture("edit-phone-dark").await;
    browser.dress(DESKTOP, false).await;
    browser.click("dialog [type=submit]").await;
    browser.until_said("#said", "Queued again with a changed path, priority, body").await;
    browser.until_said(".pill", "queued").await;
    browser.until_said(".history", "Request changed: priority, path, body").await;
    browser.until_said(".history", "Redriven: to the end of its queue").await;
    browser.until_said("#request-title", "as it was changed").await;
    browser.until_said("#original-title", "as it came").await;
    browser.picture("edit-done").await;

    // Every digit came through.
    let path = format!("/v1/jobs/{id}?request=true");
    let job = client.get(daemon.admin, &path).await;
    let text = String::from_utf8(job.body.to_vec()).unwrap();
    assert!(text.contains("12345678901234567891") && text.contains("1.20"), "{text}");
    let job = job.json();
    assert_eq!(job["request"]["path"], "/orders/again");
    assert_eq!(job["original_request"]["path"], "/orders?dry=1");
    assert_eq!(job["priority"], "HIGH");
    browser.is_clean().await;
}
