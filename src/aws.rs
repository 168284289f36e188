//! What both sources from AWS share: the SDK's settings, waiting after a failure, and words for
//! what failed.

use std::error::Error;
use std::time::Duration;

use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use tokio::sync::watch;
use tokio::time::Instant;

/// Region and credentials by the SDK's own chain, over the TLS that the dispatcher uses.
pub async fn sdk_config() -> SdkConfig {
    let tls = Provider::Rustls(CryptoMode::Ring);
    let http = Builder::new().tls_provider(tls).build_https();
    aws_config::defaults(BehaviorVersion::latest()).http_client(http).load().await
}

/// The pause after a failure: random, up to a ceiling that doubles from a second to a minute.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    const CEILING: Duration = Duration::from_secs(60);
    const FLOOR: Duration = Duration::from_millis(100);

    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// Full jitter, but never nothing.
    pub(super) fn next(&mut self) -> Duration {
        let ceiling = Duration::from_secs(1 << self.failures.min(6)).min(Self::CEILING);
        self.failures = self.failures.saturating_add(1);
        jittered(ceiling).max(Self::FLOOR)
    }
}

/// A random part of `ceiling`.
fn jittered(ceiling: Duration) -> Duration {
    // The low bits of a version 4 or 7 UUID are random (RFC 9562).
    let random = uuid::Uuid::now_v7().as_u128() as u32;
    ceiling.mul_f64(f64::from(random) / f64::from(u32::MAX))
}

/// Waits, unless the daemon goes down first.
pub(super) async fn pause(time: Duration, shutdown: &mut watch::Receiver<bool>) {
    tokio::select! {
        () = tokio::time::sleep_until(Instant::now() + time) => {}
        () = begun(shutdown) => {}
    }
}

/// Resolves once the daemon takes nothing new any more.
pub(super) async fn begun(shutdown: &mut watch::Receiver<bool>) {
    // Who dropped the sender is going down as well.
    let _ = shutdown.wait_for(|down| *down).await;
}

pub(super) fn is_down(shutdown: &watch::Receiver<bool>) -> bool {
    *shutdown.borrow() || shutdown.has_changed().is_err()
}

/// What failed, in one line. Never the request, which may carry a task token.
pub(super) fn told<E, R>(error: &SdkError<E, R>) -> String
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_grows_to_a_minute_and_is_never_nothing() {
        let mut backoff = Backoff::default();
        for failure in 0..100_u32 {
            let pause = backoff.next();
            let ceiling = Duration::from_secs(1 << failure.min(6)).min(Backoff::CEILING);
            assert!(pause >= Backoff::FLOOR && pause <= ceiling, "{failure}: {pause:?}");
        }
        backoff.reset();
        assert!(backoff.next() <= Duration::from_secs(1));
    }
}
