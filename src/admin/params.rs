//! Query parameters and path segments, read strictly: what is not known is an error, not noise.

use std::str::FromStr;

use axum::extract::{FromRequestParts, Path, Query};
use http::request::Parts;

use crate::broker::job::{JobId, JobState};

use super::error::AdminError;

/// The parameters of one kind of request.
pub(super) trait FromParams: Sized {
    const NAMES: &'static [&'static str];
    fn from_params(params: &Params) -> Result<Self, AdminError>;
}

/// Reads a `T`, or refuses.
pub(super) struct Strict<T>(pub(super) T);

/// For a request that takes no parameters.
pub(super) struct Nothing;

impl FromParams for Nothing {
    const NAMES: &'static [&'static str] = &[];
    fn from_params(_: &Params) -> Result<Nothing, AdminError> {
        Ok(Nothing)
    }
}

impl<S: Send + Sync, T: FromParams> FromRequestParts<S> for Strict<T> {
    type Rejection = AdminError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, AdminError> {
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
            .map_err(|error| AdminError::Query(error.body_text()))?;
        T::from_params(&Params::checked(pairs, T::NAMES)?).map(Strict)
    }
}

/// Parameters of which each is known and there at most once.
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    fn checked(
        pairs: Vec<(String, String)>,
        known: &'static [&'static str],
    ) -> Result<Params, AdminError> {
        let mut names: Vec<String> = pairs
            .iter()
            .filter(|(name, _)| !known.contains(&name.as_str()))
            .map(|(name, _)| name.clone())
            .collect();
        names.dedup();
        if !names.is_empty() {
            return Err(AdminError::UnknownParameters { names, known });
        }
        for name in known {
            if pairs.iter().filter(|(other, _)| other == name).count() > 1 {
                return Err(AdminError::RepeatedParameter(name));
            }
        }
        Ok(Params(pairs))
    }

    pub(super) fn text(&self, name: &'static str) -> Option<&str> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// `expected` finishes the sentence "must be …".
    pub(super) fn read<T>(
        &self,
        name: &'static str,
        expected: impl Into<String>,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, AdminError> {
        let Some(value) = self.text(name) else { return Ok(None) };
        match read(value) {
            Some(read) => Ok(Some(read)),
            None => {
                let expected = expected.into();
                Err(AdminError::Parameter { name, value: value.to_owned(), expected })
            }
        }
    }

    pub(super) fn parse<T: FromStr>(
        &self,
        name: &'static str,
        expected: &str,
    ) -> Result<Option<T>, AdminError> {
        self.read(name, expected, |text| text.parse().ok())
    }

    pub(super) fn state(&self) -> Result<Option<JobState>, AdminError> {
        let names = JobState::ALL.map(JobState::as_str).join(", ");
        self.read("state", format!("one of {names}"), |text| {
            JobState::ALL.into_iter().find(|state| state.as_str().eq_ignore_ascii_case(text))
        })
    }
}

/// Which part of a list: `limit` and `after`.
#[derive(Clone, Debug)]
pub(super) struct Paging {
    pub(super) limit: usize,
    /// An earlier page's `next`; only the store knows what it means.
    pub(super) after: Option<String>,
}

impl Paging {
    const DEFAULT: usize = 50;
    const MOST: usize = 500;

    pub(super) fn from_params(params: &Params) -> Result<Paging, AdminError> {
        let expected = format!("a whole number from 1 to {}", Paging::MOST);
        let limit = params
            .read("limit", expected, |text| {
                text.parse().ok().filter(|limit| (1..=Paging::MOST).contains(limit))
            })?
            .unwrap_or(Paging::DEFAULT);
        let after = params.text("after").map(str::to_owned);
        Ok(Paging { limit, after })
    }
}

impl FromParams for Paging {
    const NAMES: &'static [&'static str] = &["limit", "after"];
    fn from_params(params: &Params) -> Result<Paging, AdminError> {
        Paging::from_params(params)
    }
}

/// The one variable segment of a path, decoded.
pub(super) struct Segment(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = AdminError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, AdminError> {
        let found = Path::<String>::from_request_parts(parts, state).await;
        found.map(|Path(text)| Segment(text)).map_err(|_| AdminError::Path)
    }
}

/// The id of a job in a path.
pub(super) struct JobSegment(pub(super) JobId);

impl<S: Send + Sync> FromRequestParts<S> for JobSegment {
    type Rejection = AdminError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, AdminError> {
        let Segment(text) = Segment::from_request_parts(parts, state).await?;
        text.parse().map(JobSegment).map_err(|_| AdminError::NotAJob(text))
    }
}
