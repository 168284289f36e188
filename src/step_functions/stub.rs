//! Step Functions for tests: the JSON API on loopback, which answers as it is told.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use http::{HeaderMap, StatusCode};
use serde_json::Value;
use tokio::net::TcpListener;

/// One call as it came in.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) operation: String,
    pub(super) input: Value,
}

impl Call {
    pub(super) fn token(&self) -> &str {
        self.input["taskToken"].as_str().unwrap()
    }
}

/// `None`: accepted. Else the status, and the name of the error.
pub(super) type Says = Option<(u16, &'static str)>;
type Rule = Box<dyn Fn(&Call) -> Says + Send>;

#[derive(Clone)]
pub(super) struct Stub {
    inner: Arc<Mutex<Inner>>,
    pub(super) url: String,
}

#[derive(Default)]
struct Inner {
    calls: Vec<Call>,
    /// Goes before the rule.
    script: VecDeque<Says>,
    rule: Option<Rule>,
}

impl Stub {
    pub(super) async fn start() -> Stub {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stub = Stub { inner: Arc::default(), url };
        let router = Router::new().fallback(answer).with_state(stub.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        stub
    }

    pub(super) fn will_say(&self, script: impl IntoIterator<Item = Says>) {
        self.inner.lock().unwrap().script.extend(script);
    }

    pub(super) fn always(&self, rule: impl Fn(&Call) -> Says + Send + 'static) {
        self.inner.lock().unwrap().rule = Some(Box::new(rule));
    }

    pub(super) fn calls(&self) -> Vec<Call> {
        self.inner.lock().unwrap().calls.clone()
    }
}

async fn answer(
    State(stub): State<Stub>,
    headers: HeaderMap,
    body: axum::body::Bytes,
) -> (StatusCode, String) {
    let target = headers["x-amz-target"].to_str().unwrap();
    let operation = target.strip_prefix("AWSStepFunctions.").unwrap().to_owned();
    assert!(headers["authorization"].to_str().unwrap().starts_with("AWS4-HMAC-SHA256"));
    let call = Call { operation, input: serde_json::from_slice(&body).unwrap() };
    let mut inner = stub.inner.lock().unwrap();
    let says = inner.script.pop_front();
    let says = says.unwrap_or_else(|| inner.rule.as_ref().and_then(|rule| rule(&call)));
    let token = call.token().to_owned();
    inner.calls.push(call);
    match says {
        None => (StatusCode::OK, "{}".to_owned()),
        Some((status, "")) => (StatusCode::from_u16(status).unwrap(), "<html>".to_owned()),
        Some((status, error)) => {
            // As AWS does now and then: the message repeats what it was sent.
            let message = format!("not this token: {token}");
            let json = serde_json::json!({
                "__type": format!("com.amazonaws.swf.service.v2.model#{error}"),
                "message": message,
            });
            (StatusCode::from_u16(status).unwrap(), json.to_string())
        }
    }
}
