//! The console: a page and its files, all of them in the binary.

use axum::response::{IntoResponse, Response};
use http::Uri;
use http::header::CONTENT_TYPE;

use super::params::{Nothing, Segment, Strict};
use crate::http_api::problem;

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("console/", $name)))),*]
    };
}

/// Everything under `/console/`. No build step: these are the files that people edit.
const FILES: [(&str, &str); 18] = files![
    "api.js",
    "chart.js",
    "console.css",
    "console.js",
    "dead.js",
    "dialog.js",
    "dom.js",
    "edit.js",
    "format.js",
    "icon.svg",
    "job.js",
    "jobs.js",
    "limits.js",
    "live.js",
    "overview.js",
    "pages.css",
    "target.js",
    "timeline.js",
];

fn kind(name: &str) -> &'static str {
    match name.rsplit_once('.') {
        Some((_, "css")) => "text/css; charset=utf-8",
        Some((_, "js")) => "text/javascript; charset=utf-8",
        _ => "image/svg+xml",
    }
}

#[utoipa::path(
    get, path = "/", tag = "console", operation_id = "console",
    summary = "The console: how the targets stand, for people",
    responses((status = 200, content_type = "text/html", body = String)),
)]
pub(super) async fn page(_: Strict<Nothing>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/html; charset=utf-8")], include_str!("console/index.html"))
}

pub(super) async fn file(Segment(name): Segment, uri: Uri) -> Response {
    match FILES.iter().find(|(file, _)| *file == name) {
        Some((name, text)) => ([(CONTENT_TYPE, kind(name))], *text).into_response(),
        None => problem::not_found(uri).await.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_console_is_served_and_makes_no_html_of_text() {
        let here = concat!(env!("CARGO_MANIFEST_DIR"), "/src/admin/console");
        let mut there: Vec<String> = std::fs::read_dir(here)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "index.html")
            .collect();
        there.sort_unstable();
        assert_eq!(there, FILES.map(|(name, _)| name));
        for (name, text) in FILES {
            for way in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
                assert!(!text.contains(way), "{name}: {way} makes HTML or code of text");
            }
            let foreign = text.replace("http://www.w3.org/2000/svg", "");
            assert!(!foreign.contains("://"), "{name} names another host");
            assert!(text.lines().count() <= 500, "{name} is asking to be two");
        }
    }
}
