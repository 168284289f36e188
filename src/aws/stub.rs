//! AWS for tests, without a network: calls are answered in memory, so that time can be virtual.

use std::pin::Pin;
use std::sync::{Arc, Mutex};

use aws_config::SdkConfig;
use aws_sdk_sfn::config::{
    AsyncSleep, Credentials, SharedCredentialsProvider, SharedHttpClient, Sleep,
};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use serde_json::Value;
use tokio::time::Instant;

use super::*;

/// One call as it came.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) operation: String,
    pub(crate) input: Value,
    /// The access key that signed it.
    pub(crate) key: String,
    pub(crate) at: Instant,
}

/// The status, and the body.
pub(crate) type Answer = (u16, String);

pub(crate) fn fine() -> Answer {
    (200, "{}".to_owned())
}

/// 400 with this name.
pub(crate) fn error(name: &str) -> Answer {
    (400, serde_json::json!({"__type": name, "message": "by the test"}).to_string())
}

type Answers = dyn Fn(Call) -> Pin<Box<dyn Future<Output = Answer> + Send>> + Send + Sync;

#[derive(Clone)]
pub(crate) struct Stub {
    answers: Arc<Answers>,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl fmt::Debug for Stub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stub")
    }
}

impl Stub {
    pub(crate) fn new<F>(answers: impl Fn(Call) -> F + Send + Sync + 'static) -> Stub
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        let answers: Arc<Answers> = Arc::new(move |call| Box::pin(answers(call)));
        Stub { answers, calls: Arc::default() }
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    /// Those of one operation.
    pub(crate) fn calls_of(&self, operation: &str) -> Vec<Call> {
        let mut calls = self.calls();
        calls.retain(|call| call.operation == operation);
        calls
    }

    /// An AWS that is this. Its access keys are `key-0`, `key-1` and so on, a new one at each
    /// look.
    pub(crate) fn aws(&self) -> Aws {
        over(self.http(), true)
    }

    pub(crate) fn aws_without_credentials(&self) -> Aws {
        over(self.http(), false)
    }

    fn http(&self) -> SharedHttpClient {
        let connector = SharedHttpConnector::new(self.clone());
        http_client_fn(move |_, _| connector.clone())
    }
}

/// An AWS on the network, for tests of a network that is not there.
pub(crate) fn on_the_network() -> Aws {
    over(Builder::new().build_http(), true)
}

fn over(http: SharedHttpClient, credentials: bool) -> Aws {
    let looks = Mutex::new(0);
    Aws::with(Box::new(move || {
        let mut looks = looks.lock().unwrap();
        let mut config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-central-1"))
            .sleep_impl(TokioSleep)
            .http_client(http.clone());
        if credentials {
            let key = Credentials::new(format!("key-{looks}"), "secret", None, None, "test");
            config = config.credentials_provider(SharedCredentialsProvider::new(key));
        }
        *looks += 1;
        let config = config.build();
        Box::pin(async move { config })
    }))
}

/// Virtual time goes by.
pub(crate) async fn pass(time: Duration) {
    tokio::time::sleep_until(Instant::now() + time).await;
}

#[derive(Debug)]
struct TokioSleep;

impl AsyncSleep for TokioSleep {
    fn sleep(&self, duration: Duration) -> Sleep {
        Sleep::new(pass(duration))
    }
}

impl HttpConnector for Stub {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let header = |name| request.headers().get(name).unwrap_or_default();
        let operation = header("x-amz-target").rsplit('.').next().unwrap_or_default().to_owned();
        let signed = header("authorization").split_once("Credential=").map(|(_, rest)| rest);
        let key = signed.and_then(|rest| rest.split('/').next()).unwrap_or_default().to_owned();
        let input = serde_json::from_slice(request.body().bytes().unwrap_or_default()).unwrap();
        let call = Call { operation, input, key, at: Instant::now() };
        self.calls.lock().unwrap().push(call.clone());
        let answer = (self.answers)(call);
        HttpConnectorFuture::new(async move {
            let (status, body) = answer.await;
            let status = status.try_into().unwrap();
            Ok(HttpResponse::new(status, body.into()))
        })
    }
}
