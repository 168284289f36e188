//! Reading a request's body: all of it, or the problem.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;

use super::problem::{Kind, Problem};

/// Why a body did not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    #[error("the body is larger than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("the body did not arrive within {within:?}")]
    TooSlow { within: Duration },
    #[error("bodies of other requests fill the memory that there is for them; try again")]
    NoRoom,
    #[error("the body broke off or is badly framed")]
    Broken,
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Problem {
        match error {
            BodyError::TooLarge { limit } => too_large(limit),
            BodyError::TooSlow { .. } => {
                Problem::new(Kind::BodyTooSlow, error.to_string()).closing()
            }
            BodyError::NoRoom => Problem::new(Kind::Overloaded, error.to_string())
                .with_retry_after(Duration::from_secs(1))
                .closing(),
            BodyError::Broken => Problem::new(Kind::Malformed, error.to_string()).closing(),
        }
    }
}

pub(crate) fn too_large(limit: usize) -> Problem {
    let detail = format!("a request's body may have {limit} bytes (`server.max_body`)");
    Problem::new(Kind::BodyTooLarge, detail).closing()
}

/// Copies the body out of the connection's buffers, which a kept piece would pin whole.
pub async fn read(mut body: axum::body::Body, limit: usize) -> Result<Bytes, Problem> {
    let mut all = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            let error = error.into_inner();
            Problem::from(*error.downcast_ref::<BodyError>().unwrap_or(&BodyError::Broken))
        })?;
        if let Ok(data) = frame.into_data() {
            if all.len() + data.len() > limit {
                return Err(too_large(limit));
            }
            all.extend_from_slice(&data);
        }
    }
    Ok(Bytes::from(all))
}
