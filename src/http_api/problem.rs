//! Stand-in until the data address is merged.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};

#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    title: &'static str,
    detail: String,
    extra: Vec<(&'static str, serde_json::Value)>,
}

impl Problem {
    pub fn new(status: StatusCode, title: &'static str, detail: String) -> Problem {
        Problem { status, title, detail, extra: Vec::new() }
    }

    pub fn with(mut self, name: &'static str, value: impl Into<serde_json::Value>) -> Problem {
        self.extra.push((name, value.into()));
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut json = serde_json::json!({
            "type": "about:blank", "title": self.title,
            "status": self.status.as_u16(), "detail": self.detail,
        });
        for (name, value) in self.extra {
            json[name] = value;
        }
        let mut response = (self.status, json.to_string()).into_response();
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        response
    }
}
