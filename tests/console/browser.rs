//! A browser as the tests use it: looks, waits for what should come to be, takes pictures, and
//! forgives nothing that is in its log.

use std::net::SocketAddr;
use std::path::PathBuf;

use base64::Engine as _;
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard};

use crate::support::nap;
use crate::webdriver::WebDriver;

/// One browser at a time: two would only be slower.
static ALONE: Mutex<()> = Mutex::const_new(());

pub(crate) struct Browser {
    web: WebDriver,
    console: SocketAddr,
    _alone: MutexGuard<'static, ()>,
}

pub(crate) const DESKTOP: (u32, u32) = (1240, 800);
pub(crate) const PHONE: (u32, u32) = (390, 800);

impl Browser {
    /// In front of the console at `console`. `None`, with a word, where no browser is installed.
    pub(crate) async fn open(console: SocketAddr) -> Option<Browser> {
        let alone = ALONE.lock().await;
        let Some(web) = WebDriver::start().await else {
            let needed = "the console's tests need chromium and chromium-driver (apt-get install)";
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{needed}");
            eprintln!("skipped: {needed}");
            return None;
        };
        let browser = Browser { web, console, _alone: alone };
        browser.dress(DESKTOP, false).await;
        browser.load("#/").await;
        Some(browser)
    }

    /// The size of the window, and whether the person likes it dark.
    pub(crate) async fn dress(&self, (width, height): (u32, u32), dark: bool) {
        let size =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.web.devtools("Emulation.setDeviceMetricsOverride", size).await;
        let value = if dark { "dark" } else { "light" };
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": value }] });
        self.web.devtools("Emulation.setEmulatedMedia", features).await;
    }

    /// The whole page anew, at this place.
    pub(crate) async fn load(&self, place: &str) {
        // A change of the part after `#` alone would load nothing.
        for url in ["about:blank".to_owned(), format!("http://{}/{place}", self.console)] {
            self.web.post("/url", &json!({ "url": url })).await;
        }
    }

    /// By a link of the page itself.
    pub(crate) async fn go(&self, place: &str) {
        self.run("location.hash = arguments[0]", &[json!(place)]).await;
    }

    pub(crate) async fn run(&self, script: &str, arguments: &[Value]) -> Value {
        self.web.run(script, arguments).await
    }

    /// Waits until this expression is true.
    #[track_caller]
    pub(crate) fn until(&self, expression: &str) -> impl Future<Output = ()> + use<'_> {
        let caller = std::panic::Location::caller();
        let script = format!("return Boolean({expression})");
        async move {
            // Patience, so that what never comes is told and does not hang.
            for _ in 0..1_200 {
                if self.run(&script, &[]).await == true {
                    return;
                }
                nap().await;
            }
            let page = self.run("return document.body.innerText", &[]).await;
            let log = self.web.log().await;
            panic!("{caller}: never: {script}\n{}\n{log:#?}", page.as_str().unwrap());
        }
    }

    /// Waits until one of `css` has this text.
    #[track_caller]
    pub(crate) fn until_said(&self, css: &str, text: &str) -> impl Future<Output = ()> + use<'_> {
        let (css, text) = (json!(css), json!(text));
        self.until(&format!(
            "[...document.querySelectorAll({css})].some((one) => one.textContent.includes({text}))"
        ))
    }

    pub(crate) async fn text(&self, css: &str) -> String {
        let script = "return document.querySelector(arguments[0])?.innerText ?? ''";
        self.run(script, &[json!(css)]).await.as_str().unwrap().to_owned()
    }

    /// How many of them are on the page.
    pub(crate) async fn count(&self, css: &str) -> u64 {
        let script = "return document.querySelectorAll(arguments[0]).length";
        self.run(script, &[json!(css)]).await.as_u64().unwrap()
    }

    pub(crate) async fn click(&self, css: &str) {
        self.until(&format!("document.querySelector({})", json!(css))).await;
        self.web.click(css).await;
    }

    pub(crate) async fn write(&self, css: &str, text: &str) {
        self.until(&format!("document.querySelector({})", json!(css))).await;
        self.web.write(css, text).await;
    }

    /// As a person does it in a `<select>`.
    pub(crate) async fn choose(&self, css: &str, value: &str) {
        self.click(&format!("{css} option[value={value:?}]")).await;
    }

    pub(crate) async fn press(&self, key: char) {
        self.web.press(key).await;
    }

    /// Where they are kept.
    pub(crate) fn pictures() -> PathBuf {
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("../console-screenshots")
    }

    /// Keeps a picture of the whole page, up to a length that somebody still looks at.
    pub(crate) async fn picture(&self, name: &str) {
        let script = "const { scrollWidth, scrollHeight } = document.documentElement; \
                      return [scrollWidth, Math.max(scrollHeight, innerHeight)]";
        let size = self.run(script, &[]).await;
        let height = size[1].as_u64().unwrap().min(2_400);
        let clip = json!({ "x": 0, "y": 0, "width": size[0], "height": height, "scale": 1 });
        let wanted = json!({ "captureBeyondViewport": true, "clip": clip });
        let taken = self.web.devtools("Page.captureScreenshot", wanted).await;
        let bytes =
            base64::engine::general_purpose::STANDARD.decode(taken["data"].as_str().unwrap());
        let folder = Browser::pictures();
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("{name}.png")), bytes.unwrap()).unwrap();
    }

    /// Nothing went wrong in the browser since this was last asked, but what has one of these
    /// words in it.
    pub(crate) async fn is_clean_but_for(&self, expected: &[&str]) {
        let mut log = self.web.log().await;
        log.retain(|line| !expected.iter().any(|word| line.contains(word)));
        assert!(log.is_empty(), "{log:#?}");
        // Whatever was loaded came from the console's own address.
        let script = "return performance.getEntriesByType('resource').map((one) => one.name) \
                      .filter((name) => !name.startsWith(location.origin))";
        assert_eq!(self.run(script, &[]).await, json!([]), "loaded from elsewhere");
    }

    pub(crate) async fn is_clean(&self) {
        self.is_clean_but_for(&[]).await;
    }
}
