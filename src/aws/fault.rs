//! What went wrong with a call, by the names that AWS's services have in common.

use std::error::Error;

use aws_sdk_sfn::error::{ProvideErrorMetadata, SdkError};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The credentials are missing, expired or not believed; others may do.
    Identity,
    /// They are believed, and not allowed to do this.
    Denied,
    /// It will do later.
    Passing,
    /// Anything else: this call is wrong.
    Refused,
}

/// Of an error with this HTTP status and this name. Throttling and what passes are the names of
/// the SDK's own retry classifiers (aws-runtime, `retries/classifiers.rs`); the others those of
/// "Common errors" in the services' API references.
pub(crate) fn kind(status: u16, code: &str) -> Kind {
    match code {
        "ExpiredToken"
        | "ExpiredTokenException"
        | "IncompleteSignature"
        | "IncompleteSignatureException"
        | "InvalidAccessKeyId"
        | "InvalidClientTokenId"
        | "InvalidSignatureException"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "RequestExpired"
        | "RequestTimeTooSkewed"
        | "SignatureDoesNotMatch"
        | "UnrecognizedClientException" => Kind::Identity,
        "AccessDenied" | "AccessDeniedException" | "NotAuthorized" | "OptInRequired" => {
            Kind::Denied
        }
        "BandwidthLimitExceeded"
        | "EC2ThrottledException"
        | "KmsThrottled"
        | "KmsThrottlingException"
        | "LimitExceededException"
        | "PriorRequestNotComplete"
        | "ProvisionedThroughputExceededException"
        | "RequestLimitExceeded"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "SlowDown"
        | "ThrottledException"
        | "Throttling"
        | "ThrottlingException"
        | "TooManyRequestsException"
        | "TransactionInProgressException" => Kind::Passing,
        "InternalError"
        | "InternalFailure"
        | "RequestTimeout"
        | "RequestTimeoutException"
        | "ServiceUnavailable"
        | "ServiceUnavailableException" => Kind::Passing,
        _ if status >= 500 || status == 408 || status == 429 || status < 400 => Kind::Passing,
        _ => Kind::Refused,
    }
}

/// Whether other credentials, or another region, might help.
pub(crate) fn is_of_identity<E, R>(error: &SdkError<E, R>) -> bool
where
    E: ProvideErrorMetadata,
{
    match error {
        SdkError::ServiceError(service) => {
            // The status says nothing here: what passes is not of interest.
            kind(400, service.err().code().unwrap_or_default()) == Kind::Identity
        }
        // No region, no credentials: nothing was sent.
        SdkError::ConstructionFailure(_) => true,
        SdkError::DispatchFailure(failure) => !failure.is_io() && !failure.is_timeout(),
        _ => false,
    }
}

/// What failed, in one line. Never the request, which may carry a task token.
pub(crate) fn told<E, R>(error: &SdkError<E, R>) -> String
where
    E: ProvideErrorMetadata + Error + 'static,
    R: std::fmt::Debug,
{
    if let Some(service) = error.as_service_error() {
        let code = service.code().unwrap_or("an error without a code");
        return match service.message() {
            Some(message) => format!("{code}: {message}"),
            None => code.to_owned(),
        };
    }
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
