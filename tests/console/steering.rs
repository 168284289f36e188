//! What a person may do from the console, and that it asks first.

use serde_json::json;

use crate::Browser;
use crate::scene::{DEAD, Scene};

/// Within the question that is open.
const CONFIRM: &str = "dialog [type=submit]";
const LEAVE: &str = "dialog .buttons .plain";

#[tokio::test(flavor = "multi_thread")]
async fn a_target_is_paused_and_resumed() {
    let scene = Scene::set("").await;
    let Some(browser) = Browser::open(scene.daemon.admin).await else { return };
    browser.go("#/targets/erp").await;
    browser.click("#pause").await;
    browser.until_said("dialog h2", "Pause erp?").await;
    browser.picture("pause").await;
    browser.click(LEAVE).await;
    browser.until("!document.querySelector('dialog')").await;
    assert_eq!(scene.target("erp").await["paused"], false, "a question that is left does nothing");
    browser.click("#pause").await;
    browser.click(CONFIRM).await;
    browser.until_said("#said", "erp is paused.").await;
    browser.until_said(".pill", "Paused").await;
    assert_eq!(scene.target("erp").await["paused"], true);
    // Going on harms nobody: no question.
    browser.click("#resume").await;
    browser.until_said("#said", "erp is resumed.").await;
    browser.until("document.querySelector('#pause')").await;
    assert_eq!(scene.target("erp").await["paused"], false);
    browser.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_jobs_are_grouped_filtered_redriven_and_purged() {
    let scene = Scene::set("").await;
    scene.fill().await;
    let Some(browser) = Browser::open(scene.daemon.admin).await else { return };
    browser.go("#/dead").await;
    browser.click(".links a").await;

    // What they died of, and only those.
    browser.until("document.querySelectorAll('.errors li').length === 2").await;
    browser.until_said(".errors li:first-child", "Tollgate.Http.404").await;
    browser.until_said(".errors li:first-child", &(DEAD - 1).to_string()).await;
    browser.until(&format!("document.querySelectorAll('.jobs tbody tr').length === {DEAD}")).await;
    browser.picture("dead").await;
    browser.click(".errors li:last-child button").await;
    browser.until("location.hash.includes('error=Tollgate.DeadlineExceeded')").await;
    browser.until("document.querySelectorAll('.jobs tbody tr').length === 1").await;
    browser.until_said(".jobs .pill", "expired").await;
    // A sweep is of these alone, and says how many they are.
    browser.click("#redrive-all:not(:disabled)").await;
    browser.until_said("dialog h2", "Redrive 1 dead job?").await;
    browser.until_said("dialog p", "that died of Tollgate.DeadlineExceeded go to").await;
    browser.click(LEAVE).await;

    // One is looked at and sent again.
    browser.click(".jobs tbody th a").await;
    browser.until_said(".verdict", "Tollgate.DeadlineExceeded").await;
    browser.click("#redrive").await;
    browser.until_said("dialog h2", "Redrive 1 dead job?").await;
    browser.click(CONFIRM).await;
    browser.until_said(".history", "Redriven").await;
    browser.until_said("#said", "queued again").await;

    // One is forgotten, from the list.
    browser.go("#/targets/erp/dead").await;
    browser.click(".jobs tbody tr td.actions button:last-child").await;
    browser.until_said("dialog h2", "Purge 1 dead job?").await;
    // Enter does not do what cannot be undone.
    browser.press('\u{E007}').await;
    browser.until("!document.querySelector('dialog')").await;
    let left = DEAD - 1;
    assert_eq!(scene.target("erp").await["dead"], json!(left));
    browser.click(".jobs tbody tr td.actions button:last-child").await;
    browser.click(CONFIRM).await;
    let left = left - 1;
    browser.until_said("#said", "1 job forgotten").await;

    // All of them: the count is named, and has to be typed.
    browser.until(&format!("document.querySelectorAll('.jobs tbody tr').length === {left}")).await;
    browser.until_said(".head", &format!("{left} jobs")).await;
    browser.click("#purge-all").await;
    browser.until_said("dialog h2", &format!("Purge {left} dead jobs?")).await;
    browser.until_said(CONFIRM, &format!("Purge {left} jobs")).await;
    browser.write("dialog input", "4711").await;
    browser.click(CONFIRM).await;
    browser.until_said("dialog [role=alert]", &format!("It is {left}, not 4711")).await;
    browser.picture("purge").await;
    assert_eq!(scene.target("erp").await["dead"], json!(left));
    browser.write("dialog input", &left.to_string()).await;
    browser.click(CONFIRM).await;
    browser.until_said("#said", &format!("{left} jobs forgotten")).await;
    browser.until_said("main", "No job of this target is dead").await;
    assert_eq!(scene.target("erp").await["dead"], 0);
    let log = scene.daemon.log();
    assert!(log.contains("dead job redriven") && log.contains("dead jobs purged"), "{log}");
    browser.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_dead_jobs_are_redriven() {
    let scene = Scene::set("").await;
    scene.fill().await;
    // So that they stay where they are put.
    scene.client.post(scene.daemon.admin, "/v1/targets/erp/pause", &json!({})).await;
    let Some(browser) = Browser::open(scene.daemon.admin).await else { return };
    browser.go("#/targets/erp/dead").await;
    browser.click("#redrive-all").await;
    browser.until_said("dialog h2", &format!("Redrive {DEAD} dead jobs?")).await;
    browser.click(CONFIRM).await;
    browser.until_said("#said", &format!("{DEAD} jobs queued again")).await;
    browser.until_said("main", "No job of this target is dead").await;
    browser.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_job_gets_another_priority_and_is_cancelled() {
    let scene = Scene::set("").await;
    scene.client.post(scene.daemon.admin, "/v1/targets/crm/pause", &json!({})).await;
    let job = crate::scene::job("crm", "BATCH", "/orders");
    let id = scene.client.submit(scene.daemon.data, &job).await;
    let Some(browser) = Browser::open(scene.daemon.admin).await else { return };
    browser.go(&format!("#/jobs/{id}")).await;
    browser.choose("#priority", "HIGH").await;
    browser.until_said(".history", "Priority changed from BATCH to HIGH").await;
    browser.click("#cancel").await;
    browser.until_said("dialog h2", "Cancel 1 job?").await;
    browser.click(CONFIRM).await;
    browser.until_said(".pill", "cancelled").await;
    browser.until_said(".history", "Cancelled").await;
    assert_eq!(browser.count("#cancel").await, 0);
    browser.is_clean().await;
}
