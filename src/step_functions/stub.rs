//! Step Functions for tests: it answers as it is told.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use crate::aws::stub;
use crate::aws::stub::Answer;

/// One call as it came in.
pub(super) type Call = stub::Call;

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
    pub(super) aws: stub::Stub,
}

#[derive(Default)]
struct Inner {
    /// Goes before the rule.
    script: VecDeque<Says>,
    rule: Option<Rule>,
}

impl Stub {
    pub(super) fn new() -> Stub {
        let inner: Arc<Mutex<Inner>> = Arc::default();
        let told = inner.clone();
        let aws = stub::Stub::new(move |call| {
            let mut inner = told.lock().unwrap();
            let says = inner.script.pop_front();
            let says = says.unwrap_or_else(|| inner.rule.as_ref().and_then(|rule| rule(&call)));
            let answer = answer(says, call.token());
            async { answer }
        });
        Stub { inner, aws }
    }

    pub(super) fn will_say(&self, script: impl IntoIterator<Item = Says>) {
        self.inner.lock().unwrap().script.extend(script);
    }

    pub(super) fn always(&self, rule: impl Fn(&Call) -> Says + Send + 'static) {
        self.inner.lock().unwrap().rule = Some(Box::new(rule));
    }

    pub(super) fn calls(&self) -> Vec<Call> {
        self.aws.calls()
    }
}

fn answer(says: Says, token: &str) -> Answer {
    match says {
        None => stub::fine(),
        Some((status, "")) => (status, "<html>".to_owned()),
        Some((status, error)) => {
            // As AWS does now and then: the message repeats what it was sent.
            let message = format!("not this token: {token}");
            let json = serde_json::json!({
                "__type": format!("com.amazonaws.swf.service.v2.model#{error}"),
                "message": message,
            });
            (status, json.to_string())
        }
    }
}
