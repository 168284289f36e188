//! Every page is walked, and says what the admin API says.

use serde_json::Value;

use crate::Browser;
use crate::scene::{DEAD, Scene};

#[tokio::test(flavor = "multi_thread")]
async fn every_page_says_what_the_admin_api_says() {
    let scene = Scene::set("").await;
    scene.fill().await;
    let Some(browser) = Browser::open(scene.daemon.admin).await else { return };

    // The overview: each target, what is wrong, live.
    browser.until_said("#status", "Live").await;
    browser.until("document.querySelectorAll('.card').length === 3").await;
    browser.until_said(".attention", "Paused.").await;
    browser.until_said(".attention", "403 jobs wait").await;
    browser.until_said(".attention", "Asked for a pause, until").await;
    browser.until_said(".attention", &format!("{DEAD} dead jobs")).await;
    assert_eq!(browser.text("#target-erp").await, "erp");
    let version = format!("Tollgate {}", env!("CARGO_PKG_VERSION"));
    browser.until_said("#version", &version).await;
    // It moves by itself.
    let before = browser.run("return document.querySelector('main').innerText", &[]).await;
    browser.until(&format!("document.querySelector('main').innerText !== {before}")).await;
    // The line has something to show from the first moment.
    browser.until("document.querySelector('.card .spark polyline')").await;
    browser.picture("overview").await;

    // A target.
    browser.click("#target-erp a").await;
    browser.until_said("h1", "erp").await;
    browser.until("document.title === 'erp – Tollgate'").await;
    browser.until("document.activeElement === document.querySelector('h1')").await;
    browser.until_said(".limits", "40/s").await;
    browser.until_said(".limits", "of 3 places").await;
    browser.until("document.querySelectorAll('.chart polyline.sent').length === 1").await;
    browser.until("document.querySelectorAll('.chart polyline.batch').length === 1").await;
    browser.picture("target").await;

    // Lists of jobs, filtered and paged.
    browser.go("#/jobs?target=crm&state=queued").await;
    browser.until("document.querySelectorAll('tbody tr').length === 50").await;
    browser.click("#more").await;
    browser.until("document.querySelectorAll('tbody tr').length === 100").await;
    browser.choose("select[name=priority]", "HIGH").await;
    browser.until("document.querySelectorAll('tbody tr').length === 3").await;
    browser.until("location.hash === '#/jobs?target=crm&state=queued&priority=HIGH'").await;
    browser.picture("jobs").await;
    browser.click("tbody tr th a").await;
    browser.until_said(".pill", "queued").await;
    browser.until_said("pre", "Müller & <b>Söhne</b>").await;
    assert_eq!(browser.count("pre b").await, 0, "what a caller wrote is no HTML");

    // One job's life, drawn to scale.
    let id = scene.tried_job().await;
    browser.go("#/jobs").await;
    browser.write("input[name=id]", &id).await;
    browser.click(".find button").await;
    browser.until_said("h1", &id).await;
    let job = scene.client.get(scene.daemon.admin, &format!("/v1/jobs/{id}")).await.json();
    let attempts = job["attempts"].as_u64().unwrap();
    browser
        .until(&format!("document.querySelectorAll('.stretch.sending').length === {attempts}"))
        .await;
    browser.until("document.querySelectorAll('.stretch.sending.done').length === 1").await;
    is_to_scale(&browser, &job).await;
    browser.until_said(".history", &format!("Attempt {attempts} sent")).await;
    browser.until_said(".history", "Answered 200: done").await;
    browser.until_said("#answer-title", "Answer").await;
    browser.until_said("pre", "\"accepted\": true").await;
    browser.picture("job").await;

    // Ways that lead nowhere say so.
    browser.go("#/nowhere/at/all").await;
    browser.until_said("h1", "Nothing is here").await;
    browser.go("#/targets/nobody").await;
    browser.until_said("main", "There is no target of this name").await;
    browser.go("#/%ff").await;
    browser.until_said("h1", "Nothing is here").await;
    browser.is_clean().await;
    browser.go("#/jobs/0197a3b0-6d1e-7c55-b1b2-6f5a4f0c9e11").await;
    browser.until_said("[role=alert]", "0197a3b0-6d1e-7c55-b1b2-6f5a4f0c9e11").await;
    browser.is_clean_but_for(&["404 (Not Found)"]).await;
}

/// The stretches follow each other over the whole width, and requests are where they were.
async fn is_to_scale(browser: &Browser, job: &Value) {
    let time = |event: &Value| humantime::parse_rfc3339(event["at"].as_str().unwrap()).unwrap();
    let history = job["history"].as_array().unwrap();
    let (first, last) = (time(&history[0]), time(&history[history.len() - 1]));
    let whole = last.duration_since(first).unwrap().as_secs_f64();
    // One that was called back before it left is no request.
    let left = |index: usize| {
        history[index]["event"] == "sent"
            && history.get(index + 1).is_none_or(|next| next["event"] != "not_sent")
    };
    let sent = (0..history.len()).filter(|index| left(*index)).map(|index| &history[index]);
    let places = "return [...document.querySelectorAll('.stretch.sending')]\
                  .map((one) => parseFloat(one.style.getPropertyValue('--from')))";
    let places = browser.run(places, &[]).await;
    for (event, place) in sent.zip(places.as_array().unwrap()) {
        let share = 100.0 * time(event).duration_since(first).unwrap().as_secs_f64() / whole;
        let drawn = place.as_f64().unwrap();
        assert!((drawn - share).abs() < 0.2, "{event} is drawn at {drawn} %, not {share} %");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_shown_of_a_daemon_that_is_gone_says_that_it_is_old() {
    let mut scene = Scene::set("").await;
    let Some(browser) = Browser::open(scene.daemon.admin).await else { return };
    browser.until_said("#status", "Live").await;
    browser.until("document.querySelectorAll('.card').length === 3").await;
    browser.is_clean().await;
    scene.daemon.terminate();
    browser.until_said("#status", "Not reachable").await;
    browser.until("document.querySelector('main').classList.contains('stale')").await;
    assert_eq!(browser.count(".card").await, 3, "the last that is known is still there");
    browser.picture("gone").await;
    browser.is_clean_but_for(&["net::ERR_"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_daemon_needs_nobody() {
    let scene = Scene::set("").await;
    let Some(browser) = Browser::open(scene.daemon.admin).await else { return };
    browser.until_said(".attention", "Nothing needs you").await;
    browser.go("#/dead").await;
    browser.until_said("main", "No job is dead").await;
    browser.go("#/targets/erp/dead").await;
    browser.until_said("main", "No job of this target is dead").await;
    assert_eq!(browser.count("#purge-all").await, 0);
    browser.is_clean().await;
}
