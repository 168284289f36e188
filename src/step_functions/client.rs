//! Step Functions itself: three calls, and what each answer means.

use std::fmt::Write as _;

use aws_sdk_sfn::Client;
use aws_sdk_sfn::error::{ProvideErrorMetadata, SdkError};

use super::answer::{MAX_OUTPUT, TokenAnswer};
use crate::aws::{self, Kind, Service};
use crate::broker::payload::TaskToken;

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

/// Cheap to clone.
#[derive(Clone)]
pub(super) struct Sfn(Service<Client>);

impl Sfn {
    pub(super) fn new(service: Service<Client>) -> Sfn {
        Sfn(service)
    }

    pub(super) async fn answer(&self, token: &TaskToken, answer: TokenAnswer) -> Outcome {
        match answer {
            TokenAnswer::Success { output } => {
                if output.len() > MAX_OUTPUT {
                    return Outcome::TooLarge;
                }
                let call = self.0.client().await.send_task_success();
                self.outcome(call.task_token(token.reveal()).output(output).send().await, token)
            }
            TokenAnswer::Failure { error, cause } => {
                let call = self.0.client().await.send_task_failure();
                let call = call.task_token(token.reveal()).error(error).cause(cause);
                self.outcome(call.send().await, token)
            }
        }
    }

    pub(super) async fn heartbeat(&self, token: &TaskToken) -> Outcome {
        let call = self.0.client().await.send_task_heartbeat();
        self.outcome(call.task_token(token.reveal()).send().await, token)
    }

    fn outcome<T, E>(&self, result: Result<T, SdkError<E>>, token: &TaskToken) -> Outcome
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        if result.as_ref().err().is_some_and(aws::is_of_identity) {
            self.0.doubt();
        }
        outcome(result, token)
    }
}

fn outcome<T, E>(result: Result<T, SdkError<E>>, token: &TaskToken) -> Outcome
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let Err(error) = result else { return Outcome::Accepted };
    match &error {
        SdkError::TimeoutError(_) => Outcome::Later { reason: "no answer in time".to_owned() },
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
        name => match aws::kind(status, name) {
            Kind::Identity | Kind::Denied => hold(Scope::Service),
            Kind::Passing => Outcome::Later { reason: reason() },
            // Not Step Functions at all.
            Kind::Refused if name.is_empty() => hold(Scope::Service),
            // An error that came after this was written.
            Kind::Refused => hold(Scope::Job),
        },
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
