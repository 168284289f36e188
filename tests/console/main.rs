//! The console in a real browser: headless Chromium, driven over WebDriver, in front of the real
//! daemon and the demo's fragile API. Anything in the browser's log fails a test: an exception, a
//! file that is not there, a breach of the content security policy.
//!
//! They need Debian's `chromium` and `chromium-driver`, and skip with a word where these are
//! missing, but not where `CI=true`. Pictures are left in `target/console-screenshots/`.
//!
//! `cargo test --test console -- --ignored --nocapture` measures what open streams cost.

mod browser;
mod edit;
mod eyes;
mod groups;
mod keyboard;
mod limits;
mod many;
mod pictures;
mod scene;
mod steering;
mod streams;
#[path = "../daemon/support/mod.rs"]
#[allow(dead_code, reason = "shared with another test crate, which needs all of it")]
mod support;
mod tokens;
mod walk;
mod webdriver;

use browser::Browser;
