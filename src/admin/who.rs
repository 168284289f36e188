//! Who asked for a change: every one is in the log, and what is done to a job is in its history,
//! under the name of the token that asked for it.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::request::Parts;

use crate::auth::Caller;
use crate::broker::io;

/// The name of a request's token. Displays as that name, or `-` where the token has none or none
/// is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Who(Option<Arc<str>>);

impl Who {
    pub(super) fn name(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// For the history of a job.
    pub(super) fn by(&self) -> Option<io::Who> {
        self.0.clone()
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name().unwrap_or("-"))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Who {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Who, Infallible> {
        Ok(Who(parts.extensions.get::<Caller>().and_then(|caller| caller.name.clone())))
    }
}
