//! Without a mouse, and without eyes.

use serde_json::{Value, json};

use crate::Browser;
use crate::scene::{DEAD, Scene};

const TAB: char = '\u{E004}';
const ENTER: char = '\u{E007}';
const ESCAPE: char = '\u{E00C}';

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_reached_by_keys() {
    let scene = Scene::set("").await;
    scene.fill().await;
    let Some(browser) = Browser::open(scene.daemon.admin).await else { return };
    browser.until("document.querySelectorAll('.card').length === 3").await;

    // The first stop leads past the rest.
    browser.press(TAB).await;
    assert_eq!(focused(&browser).await, "Skip to the content");
    browser.picture("skip").await;
    browser.press(ENTER).await;
    browser.until("document.activeElement.id === 'main'").await;

    // To a target by its name, and its title is what has the focus then.
    tab_to(&browser, "erp").await;
    browser.press(ENTER).await;
    browser.until("document.activeElement === document.querySelector('h1')").await;
    assert_eq!(focused(&browser).await, "erp");

    // A question takes the focus, is left by Escape, and gives it back.
    tab_to(&browser, "Pause").await;
    browser.press(ENTER).await;
    browser.until("document.activeElement.closest('dialog')").await;
    for _ in 0..4 {
        browser.press(TAB).await;
        let outside = "return document.activeElement !== document.body && \
                       !document.activeElement.closest('dialog')";
        assert_eq!(browser.run(outside, &[]).await, false, "the focus left the question");
    }
    browser.press(ESCAPE).await;
    browser.until("!document.querySelector('dialog')").await;
    assert_eq!(focused(&browser).await, "Pause");
    assert_eq!(scene.target("erp").await["paused"], false);

    // What changes every second does not take it away.
    let before = browser.run("return document.querySelector('main').innerText", &[]).await;
    browser.until(&format!("document.querySelector('main').innerText !== {before}")).await;
    assert_eq!(focused(&browser).await, "Pause");

    // A slash leads to the first filter of a page.
    browser.go("#/targets/erp/dead").await;
    browser.until(&format!("document.querySelectorAll('.jobs tbody tr').length === {DEAD}")).await;
    browser.press('/').await;
    browser.until("document.activeElement.name === 'error'").await;
    tab_to(&browser, "Purge all").await;
    browser.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_has_names_for_what_is_on_it() {
    let scene = Scene::set("").await;
    scene.fill().await;
    let Some(browser) = Browser::open(scene.daemon.admin).await else { return };
    for place in places(&scene).await {
        browser.go(&place).await;
        browser.until("document.querySelectorAll('main *').length > 2").await;
        let nameless = browser.run(NAMELESS, &[]).await;
        assert_eq!(nameless, json!([]), "{place}");
    }
    browser.is_clean().await;
}

/// Every kind of page.
pub(crate) async fn places(scene: &Scene) -> Vec<String> {
    let dead = scene.client.get(scene.daemon.admin, "/v1/targets/erp/dead").await.json();
    vec![
        "#/".into(),
        "#/targets/erp".into(),
        "#/targets/crm".into(),
        "#/jobs?target=crm&state=queued".into(),
        format!("#/jobs/{}", scene.tried_job().await),
        format!("#/jobs/{}", dead["jobs"][0]["id"].as_str().unwrap()),
        "#/dead".into(),
        "#/targets/erp/dead".into(),
    ]
}

/// What a screen reader could not name, and what is there more than once and may not be.
const NAMELESS: &str = r#"
    const faults = [];
    const label = (one) => [
        one.getAttribute("aria-label"),
        ...(one.getAttribute("aria-labelledby") ?? "").split(" ").map((id) => document.getElementById(id)?.textContent),
        one.labels?.[0]?.textContent, one.textContent, one.getAttribute("alt"),
    ].some((text) => text?.trim());
    for (const one of document.querySelectorAll("a, button, input, select, textarea, [role=img], section, article, nav, [role=region], dialog"))
        if (!label(one)) faults.push(`no name: ${one.outerHTML.slice(0, 120)}`);
    for (const one of document.querySelectorAll("img")) if (!one.hasAttribute("alt")) faults.push("img without alt");
    for (const one of document.querySelectorAll("table")) if (!one.caption) faults.push("table without caption");
    for (const one of document.querySelectorAll("tbody th")) if (one.scope !== "row") faults.push("th without scope");
    const ids = [...document.querySelectorAll("[id]")].map((one) => one.id);
    for (const id of new Set(ids)) if (ids.filter((other) => other === id).length > 1) faults.push(`id twice: ${id}`);
    if (document.querySelectorAll("h1").length !== 1) faults.push("not one h1");
    if (!document.documentElement.lang) faults.push("no lang");
    return faults;
"#;

async fn focused(browser: &Browser) -> String {
    let name: Value = browser.run("return document.activeElement.textContent", &[]).await;
    name.as_str().unwrap().to_owned()
}

async fn tab_to(browser: &Browser, name: &str) {
    let mut passed = Vec::new();
    for _ in 0..60 {
        browser.press(TAB).await;
        let now = focused(browser).await;
        if now == name {
            return;
        }
        passed.push(now.chars().take(30).collect::<String>());
    }
    panic!("no way to {name:?} by Tab; passed {passed:?}");
}
