//! A request that is no job's: a webhook. It goes by the same connections, and by the same rules
//! about names, TLS and redirects, as those to targets.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, Uri};

use super::live::Room;
use super::request::Prepared;
use super::{Course, Departure, Dispatcher, retry_after};

/// Of an answer's body, in bytes: nobody reads it, but a connection can be used again only behind
/// its end.
const READ: usize = 16 * 1024;

/// The head of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Posted {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<Duration>,
}

impl Dispatcher {
    /// Sends `body` once, within `timeout`.
    ///
    /// # Errors
    /// Why there is no answer, for people; the request may have arrived all the same. Names no more
    /// of `url` than its host.
    pub(crate) async fn post(
        &self,
        url: &Uri,
        headers: &HeaderMap,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Posted, String> {
        let request = Prepared::post(url, headers, body).map_err(|error| error.to_string())?;
        let room = Room::new(READ, READ, self.live.clone());
        let mut course = Course::default();
        let departure = Departure::default();
        let exchange = self.exchange(&request, room, &mut course, &departure);
        match tokio::time::timeout(timeout, exchange).await {
            Ok(Ok((_, lease))) => {
                if let Some(lease) = lease {
                    lease.finish().await;
                }
            }
            Ok(Err(failed)) => return Err(failed.reason),
            Err(_) => {
                if let Err(failed) = course.timed_out(timeout, &request) {
                    return Err(failed.reason);
                }
            }
        }
        // Whoever has answered has answered, be the end of his answer there or not.
        let answer = course.arriving.ok_or_else(|| "no answer".to_owned())?;
        let retry_after = retry_after::retry_after(answer.headers(), SystemTime::now());
        Ok(Posted { status: answer.status(), retry_after })
    }
}
