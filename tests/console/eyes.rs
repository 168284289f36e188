//! Light and dark, a desk's width and a phone's: nothing sticks out, and everything can be read.

use serde_json::json;

use crate::Browser;
use crate::browser::{DESKTOP, PHONE};
use crate::keyboard::places;
use crate::scene::Scene;

#[tokio::test(flavor = "multi_thread")]
async fn every_page_fits_and_can_be_read_in_light_and_dark() {
    let scene = Scene::set("").await;
    scene.fill().await;
    let Some(browser) = Browser::open(scene.daemon.admin).await else { return };
    let names = ["overview", "target", "paused", "jobs", "job", "dead-job", "dead-all", "dead"];
    let places = places(&scene).await;
    for (size, width) in [(DESKTOP, "desktop"), (PHONE, "phone")] {
        for dark in [false, true] {
            browser.dress(size, dark).await;
            let light = if dark { "dark" } else { "light" };
            for (place, name) in places.iter().zip(names) {
                browser.go(place).await;
                browser.until("document.querySelectorAll('main *').length > 2").await;
                browser
                    .until("!document.querySelector('main').innerText.includes('Looking…')")
                    .await;
                let over = "return document.documentElement.scrollWidth - innerWidth";
                assert_eq!(browser.run(over, &[]).await, 0, "{place} at {width} sticks out");
                let dim = browser.run(DIM, &[]).await;
                assert_eq!(dim, json!([]), "{place}, {light}");
                browser.picture(&format!("{width}-{light}-{name}")).await;
            }
        }
    }
    browser.is_clean().await;
}

/// Text with less contrast than 4.5 : 1 (WCAG 2.2, 1.4.3).
const DIM: &str = r#"
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const rgba = (text) => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = text;
        canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const ground = (one) => {
        for (let node = one; node; node = node.parentElement) {
            const colour = rgba(getComputedStyle(node).backgroundColor);
            if (colour[3] > 200) return colour;
        }
        return rgba("Canvas");
    };
    const light = (colour) => {
        const [red, green, blue] = colour.slice(0, 3).map((part) => {
            const share = part / 255;
            return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    };
    const faults = new Set();
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const one = walker.currentNode.parentElement;
        if (!walker.currentNode.data.trim() || !one.checkVisibility() || one.closest("noscript, .unseen, .skip, option, :disabled")) continue;
        const [a, b] = [light(rgba(getComputedStyle(one).color)), light(ground(one))].sort((x, y) => y - x);
        const contrast = (a + 0.05) / (b + 0.05);
        if (contrast < 4.5) faults.add(`${contrast.toFixed(2)}: ${one.outerHTML.slice(0, 100)}`);
    }
    return [...faults];
"#;
