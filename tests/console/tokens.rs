//! Where the admin address asks for a token: the page asks for it once, and keeps it to itself.

use serde_json::json;
use tollgate::demo::fragile_api::NOWHERE;

use crate::Browser;
use crate::scene::Scene;

#[tokio::test(flavor = "multi_thread")]
async fn the_token_is_asked_for_once_and_named_in_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("admin");
    std::fs::write(&file, "ops:a-333\n").unwrap();
    let auth = format!("[auth]\nadmin_tokens_file = {:?}\n", file.display().to_string());
    let scene = Scene::set(&auth).await;
    let Some(browser) = Browser::open(scene.daemon.admin).await else { return };

    browser.until_said("dialog h2", "asks for a token").await;
    browser.until("document.activeElement.name === 'token'").await;
    assert_eq!(browser.count("dialog").await, 1, "once, however many requests were refused");
    browser.picture("token").await;
    browser.write("dialog input", "a guess").await;
    browser.click("dialog [type=submit]").await;
    browser.until_said("dialog [role=alert]", "no spaces").await;
    browser.write("dialog input", "guess").await;
    browser.click("dialog [type=submit]").await;
    browser.until_said("dialog", "is not good").await;
    browser.write("dialog input", "a-333").await;
    browser.click("dialog [type=submit]").await;
    browser.until("document.querySelectorAll('.card').length === 3").await;
    browser.until_said("#status", "Live").await;
    browser.is_clean_but_for(&["401 (Unauthorized)"]).await;

    // It is kept for this tab, and is in no address.
    browser.load("#/targets/erp").await;
    browser.until("document.querySelector('#pause')").await;
    let places = "return [location.href, document.cookie, localStorage.length, \
                  performance.getEntriesByType('resource').map((one) => one.name).join()]";
    let places = browser.run(places, &[]).await;
    assert!(!places.to_string().contains("a-333"), "{places}");
    assert_eq!((&places[1], &places[2]), (&json!(""), &json!(0)));

    let dead = crate::scene::job("erp", "HIGH", NOWHERE);
    let dead = scene.client.submit(scene.daemon.data, &dead).await;
    scene.client.ended(scene.daemon.data, &dead).await;
    browser.click("#pause").await;
    browser.click("dialog [type=submit]").await;
    browser.until_said(".pill", "Paused").await;
    let log = scene.daemon.log();
    assert!(log.contains("target paused by=ops target=\"erp\""), "{log}");
    assert!(!log.contains("a-333"));

    // And in the job's own history.
    let id = scene.client.submit(scene.daemon.data, &crate::scene::job("erp", "BATCH", "/")).await;
    browser.go(&format!("#/jobs/{id}")).await;
    browser.choose("#priority", "NORMAL").await;
    browser.until_said(".history", "Priority changed from BATCH to NORMAL by ops").await;
    browser.click("#cancel").await;
    browser.click("dialog [type=submit]").await;
    browser.until_said(".history", "cancelled by ops over the admin address").await;
    let log = scene.daemon.log();
    assert!(log.contains(&format!("job cancelled by=ops job={id} target=\"erp\"")), "{log}");
    browser.go(&format!("#/jobs/{dead}")).await;
    browser.click("#redrive").await;
    browser.click("dialog [type=submit]").await;
    browser.until_said(".history", "Redriven: to the end of its queue by ops").await;
    let log = scene.daemon.log();
    assert!(log.contains(&format!("dead job redriven by=ops job={dead} target=\"erp\"")), "{log}");
    browser.is_clean().await;
}
