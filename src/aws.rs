//! AWS, for all that speak to it: one place for region, credentials, endpoints, TLS and time
//! limits, and for what an error means.

mod backoff;
mod fault;
#[cfg(test)]
pub(crate) mod stub;
#[cfg(test)]
mod tests;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_sfn::config::SharedHttpClient;
use aws_sdk_sfn::config::retry::RetryConfig;
use aws_sdk_sfn::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use tokio::time::Instant;

pub(crate) use backoff::{Backoff, dice};
use fault::told;
pub(crate) use fault::{Kind, is_of_identity, kind};

const CONNECT: Duration = Duration::from_secs(5);
/// Credentials that were refused are looked for again at most this often.
const AGAIN: Duration = Duration::from_secs(30);

/// Region and credentials by the SDK's own chain. They are looked for at the first call, not
/// before: that can take seconds, and nothing else has to wait for it. Cheap to clone.
#[derive(Clone)]
pub struct Aws(Arc<Inner>);

struct Inner {
    load: Load,
    found: tokio::sync::Mutex<Option<Found>>,
    doubted: AtomicBool,
}

type Load = Box<dyn Fn() -> Pin<Box<dyn Future<Output = SdkConfig> + Send>> + Send + Sync>;

struct Found {
    config: SdkConfig,
    generation: u64,
    at: Instant,
}

impl fmt::Debug for Aws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Aws")
    }
}

impl Default for Aws {
    fn default() -> Aws {
        Aws::new()
    }
}

impl Aws {
    pub fn new() -> Aws {
        // Connections outlive credentials.
        let tls = Provider::Rustls(CryptoMode::Ring);
        let http = Builder::new().tls_provider(tls).build_https();
        Aws::with(Box::new(move || Box::pin(from_chain(http.clone()))))
    }

    fn with(load: Load) -> Aws {
        let found = tokio::sync::Mutex::new(None);
        Aws(Arc::new(Inner { load, found, doubted: AtomicBool::new(false) }))
    }

    async fn config(&self) -> (u64, SdkConfig) {
        let mut found = self.0.found.lock().await;
        let fresh =
            |found: &&Found| found.at.elapsed() < AGAIN || !self.0.doubted.load(Ordering::Relaxed);
        if let Some(found) = found.as_ref().filter(fresh) {
            return (found.generation, found.config.clone());
        }
        self.0.doubted.store(false, Ordering::Relaxed);
        let generation = found.as_ref().map_or(0, |found| found.generation + 1);
        let config = (self.0.load)().await;
        *found = Some(Found { config: config.clone(), generation, at: Instant::now() });
        (generation, config)
    }

    /// Step Functions, at `endpoint_url` or where the chain says.
    pub fn step_functions(&self, endpoint_url: Option<String>) -> Service<aws_sdk_sfn::Client> {
        Service::new(self.clone(), move |sdk| {
            let mut config = aws_sdk_sfn::config::Builder::from(sdk)
                .retry_config(RetryConfig::disabled())
                .timeout_config(within(Duration::from_secs(15)));
            // This service's alone: STS, which may give the credentials, keeps its own.
            if let Some(url) = &endpoint_url {
                config = config.endpoint_url(url);
            }
            aws_sdk_sfn::Client::from_conf(config.build())
        })
    }

    /// SQS at the host of a queue's URL, in the region that the host names, unless
    /// `AWS_ENDPOINT_URL_SQS` or `AWS_ENDPOINT_URL` says otherwise.
    pub fn sqs(&self, queue_url: &str) -> Service<aws_sdk_sqs::Client> {
        let place = place(queue_url);
        Service::new(self.clone(), move |sdk| {
            let mut config = aws_sdk_sqs::config::Builder::from(sdk)
                .retry_config(RetryConfig::disabled())
                .timeout_config(within(Duration::from_secs(10)));
            let overridden = sdk.endpoint_url().is_some()
                || std::env::var_os("AWS_ENDPOINT_URL_SQS").is_some_and(|url| !url.is_empty());
            if !overridden && let Some((origin, region)) = &place {
                config = config.endpoint_url(origin);
                if let Some(region) = region {
                    config = config.region(Region::new(region.clone()));
                }
            }
            aws_sdk_sqs::Client::from_conf(config.build())
        })
    }
}

async fn from_chain(http: SharedHttpClient) -> SdkConfig {
    let found = aws_config::defaults(BehaviorVersion::latest()).http_client(http).load().await;
    if found.region().is_none() {
        tracing::error!(
            "no AWS region is configured, so AWS cannot be called; set AWS_REGION and restart, or \
             write a region into the AWS profile"
        );
    }
    found
}

/// What is tried again, and when, is decided by who calls, never by the SDK: so this is for one
/// try.
pub(crate) fn within(call: Duration) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT)
        .read_timeout(call)
        .operation_attempt_timeout(call)
        .operation_timeout(call)
        .build()
}

/// A client of one service that follows what [`Aws`] finds. Cheap to clone.
#[derive(Clone)]
pub struct Service<C> {
    aws: Aws,
    make: Arc<dyn Fn(&SdkConfig) -> C + Send + Sync>,
    made: Arc<Mutex<Option<(u64, C)>>>,
}

impl<C: Clone> Service<C> {
    fn new(aws: Aws, make: impl Fn(&SdkConfig) -> C + Send + Sync + 'static) -> Service<C> {
        Service { aws, make: Arc::new(make), made: Arc::default() }
    }

    pub(crate) async fn client(&self) -> C {
        let (generation, config) = self.aws.config().await;
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        match &*made {
            Some((of, client)) if *of >= generation => client.clone(),
            _ => {
                let client = (self.make)(&config);
                *made = Some((generation, client.clone()));
                client
            }
        }
    }

    /// A call failed for its credentials or its region: the next one looks for them anew. The SDK
    /// reads a profile once, so keys that were changed in it would never be seen.
    pub(crate) fn doubt(&self) {
        self.aws.0.doubted.store(true, Ordering::Relaxed);
    }

    /// What failed, in one line; if it was for its credentials, they are doubted.
    pub(crate) fn failed<E, R>(&self, error: &SdkError<E, R>) -> String
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        R: fmt::Debug,
    {
        if is_of_identity(error) {
            self.doubt();
        }
        told(error)
    }
}

/// The origin of a queue's URL, and the region where its host names one.
fn place(queue_url: &str) -> Option<(String, Option<String>)> {
    let (scheme, rest) = queue_url.split_once("://")?;
    let authority = rest.split('/').next()?;
    let mut labels = authority.split('.');
    let region = match (labels.next()?, labels.next(), labels.next()) {
        ("sqs" | "sqs-fips", Some(region), Some("amazonaws" | "api")) => Some(region),
        (region, Some("queue"), Some("amazonaws")) => Some(region),
        _ => None,
    };
    Some((format!("{scheme}://{authority}"), region.map(str::to_owned)))
}
