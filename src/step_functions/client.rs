//! Step Functions itself: three calls, and what each answer means.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sfn::Client;
use aws_sdk_sfn::config::retry::RetryConfig;
use aws_sdk_sfn::config::timeout::TimeoutConfig;
use aws_sdk_sfn::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_http_client::{Builder, tls};
use tokio::sync::OnceCell;

use super::answer::{MAX_OUTPUT, TokenAnswer};
use crate::broker::payload::TaskToken;
use crate::config;

const CONNECT: Duration = Duration::from_secs(5);
/// Of a whole call. An answer that is cut off here may have been taken: its repetition then finds
/// the token answered.
const CALL: Duration = Duration::from_secs(15);

/// What became of a call. A reason never holds the token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Accepted,
    /// For ever.
    Gone(Gone),
    /// The output is none that a task can have.
    TooLarge,
    /// Somebody has to put something right; then it will do.
    Hold {
        reason: String,
        of: Scope,
    },
    /// It will do later.
    Later {
        reason: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gone {
    TimedOut,
    DoesNotExist,
    InvalidToken,
}

impl Gone {
    /// What a job's history says.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Gone::TimedOut => {
                "Step Functions says TaskTimedOut: the token was answered before, or its task is \
                 over"
            }
            Gone::DoesNotExist => {
                "Step Functions says TaskDoesNotExist: the token was answered before, or its task \
                 is over"
            }
            Gone::InvalidToken => {
                "Step Functions says InvalidToken: it is not a token there, or it was answered \
                 before"
            }
        }
    }
}

/// Whether other calls would meet the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    Service,
    Job,
}

/// Cheap to clone. The SDK looks for its region and credentials at the first call, not before: that
/// can take seconds, and nothing else has to wait for it.
#[derive(Clone)]
pub(super) struct Sfn(Arc<Lazy>);

struct Lazy {
    endpoint_url: Option<String>,
    client: OnceCell<Client>,
}

impl Sfn {
    pub(super) fn new(config: &config::StepFunctions) -> Sfn {
        let endpoint_url = config.endpoint_url.as_ref().map(ToString::to_string);
        Sfn(Arc::new(Lazy { endpoint_url, client: OnceCell::new() }))
    }

    /// Of a stub on loopback, with credentials of its own, so that no test needs an environment.
    #[cfg(test)]
    pub(super) fn of_stub(endpoint_url: &str, credentials: bool) -> Sfn {
        use aws_sdk_sfn::config::{BehaviorVersion, Credentials, Region};
        let mut config = aws_sdk_sfn::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-central-1"))
            .endpoint_url(endpoint_url)
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts())
            .http_client(http_client());
        if credentials {
            config = config
                .credentials_provider(Credentials::new("AKIDTEST", "secret", None, None, "test"));
        }
        let client = OnceCell::new_with(Some(Client::from_conf(config.build())));
        Sfn(Arc::new(Lazy { endpoint_url: None, client }))
    }

    async fn client(&self) -> &Client {
        self.0.client.get_or_init(|| load(self.0.endpoint_url.as_deref())).await
    }

    pub(super) async fn answer(&self, token: &TaskToken, answer: TokenAnswer) -> Outcome {
        match answer {
            TokenAnswer::Success { output } => {
                if output.len() > MAX_OUTPUT {
                    return Outcome::TooLarge;
                }
                let call = self.client().await.send_task_success();
                outcome(call.task_token(token.reveal()).output(output).send().await, token)
            }
            TokenAnswer::Failure { error, cause } => {
                let call = self.client().await.send_task_failure();
                let call = call.task_token(token.reveal()).error(error).cause(cause);
                outcome(call.send().await, token)
            }
        }
    }

    pub(super) async fn heartbeat(&self, token: &TaskToken) -> Outcome {
        let call = self.client().await.send_task_heartbeat();
        outcome(call.task_token(token.reveal()).send().await, token)
    }
}

async fn load(endpoint_url: Option<&str>) -> Client {
    let shared = aws_config::from_env().http_client(http_client()).load().await;
    if shared.region().is_none() {
        tracing::error!(
            "no AWS region is configured, so no task token can be answered; set AWS_REGION, or a \
             region in the AWS profile, and restart"
        );
    }
    let mut config = aws_sdk_sfn::config::Builder::from(&shared)
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts());
    // This service's alone: STS, which may give the credentials, keeps its own.
    if let Some(url) = endpoint_url {
        config = config.endpoint_url(url);
    }
    Client::from_conf(config.build())
}

fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder().connect_timeout(CONNECT).operation_timeout(CALL).build()
}

fn http_client() -> aws_sdk_sfn::config::SharedHttpClient {
    let provider = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);
    Builder::new().tls_provider(provider).build_https()
}

fn outcome<T, E>(result: Result<T, SdkError<E>>, token: &TaskToken) -> Outcome
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let Err(error) = result else { return Outcome::Accepted };
    match &error {
        SdkError::TimeoutError(_) => {
            Outcome::Later { reason: format!("no answer within {} seconds", CALL.as_secs()) }
        }
        SdkError::DispatchFailure(failure) if failure.is_io() || failure.is_timeout() => {
            Outcome::Later { reason: chain(&error, token) }
        }
        SdkError::ServiceError(service) => {
            let status = service.raw().status().as_u16();
            by_code(status, service.err().code(), service.err().message(), token)
        }
        SdkError::ResponseError(response) => {
            let status = response.raw().status().as_u16();
            by_code(status, None, None, token)
        }
        // No region, no credentials: nothing was sent.
        _ => Outcome::Hold { reason: chain(&error, token), of: Scope::Service },
    }
}

/// What an error of the service means, by its name (the API reference of SendTaskSuccess, and the
/// errors that all services have in common).
fn by_code(status: u16, code: Option<&str>, message: Option<&str>, token: &TaskToken) -> Outcome {
    let reason = || {
        let mut reason = code.map_or_else(|| format!("HTTP {status}"), str::to_owned);
        // A validation error repeats what it was sent.
        if let Some(message) = message.filter(|_| code != Some("ValidationException")) {
            let _ = write!(reason, ": {message}");
        }
        redacted(&reason, token)
    };
    let hold = |of| Outcome::Hold { reason: reason(), of };
    match code.unwrap_or_default() {
        "TaskTimedOut" => Outcome::Gone(Gone::TimedOut),
        "TaskDoesNotExist" => Outcome::Gone(Gone::DoesNotExist),
        "InvalidToken" => Outcome::Gone(Gone::InvalidToken),
        "InvalidOutput" => Outcome::TooLarge,
        // The key of one state machine.
        "KmsAccessDeniedException" | "KmsInvalidStateException" => hold(Scope::Job),
        "ValidationException" => hold(Scope::Job),
        "AccessDeniedException"
        | "AccessDenied"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "IncompleteSignature"
        | "IncompleteSignatureException"
        | "InvalidClientTokenId"
        | "InvalidSignatureException"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "NotAuthorized"
        | "OptInRequired"
        | "RequestExpired"
        | "SignatureDoesNotMatch"
        | "UnrecognizedClientException" => hold(Scope::Service),
        "KmsThrottlingException"
        | "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "RequestLimitExceeded"
        | "SlowDown"
        | "TooManyRequestsException"
        | "InternalFailure"
        | "InternalError"
        | "ServiceUnavailable"
        | "ServiceUnavailableException" => Outcome::Later { reason: reason() },
        _ if status >= 500 || status == 429 || status < 400 => Outcome::Later { reason: reason() },
        // Not Step Functions at all, or an error that came after this was written.
        "" => hold(Scope::Service),
        _ => hold(Scope::Job),
    }
}

fn chain(error: &(dyn std::error::Error + 'static), token: &TaskToken) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    redacted(&text, token)
}

/// On one line, not too long, and without the token.
fn redacted(text: &str, token: &TaskToken) -> String {
    const MOST: usize = 300;
    let text = text.replace(token.reveal(), "…");
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MOST).collect()
}

#[cfg(test)]
mod tests;
