//! Callbacks: how they stand, and sending again what they were not told.

use axum::extract::State;
use serde::Serialize;
use tokio::task::JoinSet;
use utoipa::ToSchema;

use crate::broker::callback::CallbackName;
use crate::broker::io::{CommandError, JobCommand};
use crate::broker::job::JobId;
use crate::callbacks::{Standing, Trouble};
use crate::http_api::json::JobJson;
use crate::store::CallbackList;

use super::AdminState;
use super::answer::Json;
use super::error::AdminError;
use super::pages::JobPage;
use super::params::{JobSegment, Nothing, Paging, Segment, Strict};
use super::records::{Part, ReadError};
use super::who::Who;

/// How it stands with one callback.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CallbackStanding {
    #[schema(example = "orders")]
    name: String,
    /// `ok`; `retrying`: something does not get through just now; `held`: somebody has to put
    /// something right at the receiver; `off`: results wait for it, and the configuration does not
    /// name it.
    #[schema(example = "ok")]
    state: &'static str,
    /// Without its query; null where the configuration does not name it.
    #[schema(example = "https://orders.example/hooks/tollgate")]
    url: Option<String>,
    /// Jobs that ended and of which it is to be told, or told again.
    pending: u64,
    /// Jobs of whose end it was not told, and nobody tries any more.
    undelivered: u64,
    trouble: Option<CallbackTrouble>,
}

#[derive(Debug, Serialize, ToSchema)]
struct CallbackTrouble {
    /// RFC 3339.
    since: String,
    /// The last error.
    #[schema(example = "the receiver answered 503")]
    error: String,
}

impl CallbackStanding {
    fn new(standing: Standing) -> CallbackStanding {
        let Standing { name, config, pending, undelivered, trouble } = standing;
        let state = match (&config, &trouble) {
            (None, _) => "off",
            (Some(_), None) => "ok",
            (Some(_), Some(Trouble { held: true, .. })) => "held",
            (Some(_), Some(_)) => "retrying",
        };
        CallbackStanding {
            name: name.to_string(),
            state,
            url: config.map(|config| config.shown_url()),
            pending,
            undelivered,
            trouble: trouble.map(|Trouble { since, error, .. }| CallbackTrouble {
                since: since.to_string(),
                error,
            }),
        }
    }
}

impl CallbackStanding {
    /// For those who need no token to ask.
    pub(super) fn without_url(self) -> CallbackStanding {
        CallbackStanding { url: None, ..self }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CallbackStandings {
    /// By name.
    callbacks: Vec<CallbackStanding>,
}

/// How many are told once more.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ToldAgain {
    redriven: u64,
}

impl AdminState {
    async fn standings(&self) -> Result<Vec<Standing>, AdminError> {
        let callbacks = self.callbacks.clone();
        self.look(move |_| callbacks.standings().map_err(ReadError::from)).await
    }

    pub(super) async fn callbacks(&self) -> Result<Vec<CallbackStanding>, AdminError> {
        Ok(self.standings().await?.into_iter().map(CallbackStanding::new).collect())
    }

    /// One that is configured, or that results wait for.
    async fn callback(&self, name: &str) -> Result<CallbackName, AdminError> {
        let all = self.standings().await?;
        let found = all.iter().find(|known| known.name.as_str() == name);
        found.map(|known| known.name.clone()).ok_or_else(|| AdminError::NoSuchCallback {
            name: name.to_owned(),
            known: all.iter().map(|known| known.name.to_string()).collect(),
        })
    }

    async fn undelivered(
        &self,
        name: &CallbackName,
        after: Option<JobId>,
        limit: usize,
    ) -> Result<Vec<JobId>, AdminError> {
        let (reader, name) = (self.handle.reader().clone(), name.clone());
        let list = CallbackList::Undelivered;
        self.look(move |_| Ok(reader.callbacks(&name, list, after, limit)?)).await
    }
}

#[utoipa::path(
    get, path = "/v1/callbacks", tag = "callbacks", operation_id = "list_callbacks",
    summary = "All callbacks: what they are still to be told, and what they were not told",
    responses((status = 200, body = CallbackStandings)),
)]
pub(super) async fn list(
    State(state): State<AdminState>,
    _: Strict<Nothing>,
) -> Result<Json<CallbackStandings>, AdminError> {
    Ok(Json(CallbackStandings { callbacks: state.callbacks().await? }))
}

#[utoipa::path(
    get, path = "/v1/callbacks/{callback}/undelivered", tag = "callbacks",
    operation_id = "list_undelivered",
    summary = "Jobs of whose end a callback was not told, oldest first",
    params(
        ("callback" = String, Path, description = "The callback's name"),
        ("limit" = Option<u32>, Query, description = "At most so many, up to 500",
         minimum = 1, maximum = 500),
        ("after" = Option<String>, Query, description = "The `next` of the page before"),
    ),
    responses((status = 200, body = JobPage)),
)]
pub(super) async fn undelivered(
    State(state): State<AdminState>,
    Segment(name): Segment,
    Strict(paging): Strict<Paging>,
) -> Result<Json<JobPage>, AdminError> {
    let name = state.callback(&name).await?;
    let after = paging.after.as_deref().map(str::parse).transpose();
    let after = after.map_err(|_| AdminError::Cursor)?;
    let ids = state.undelivered(&name, after, paging.limit).await?;
    let next = ids.last().filter(|_| ids.len() == paging.limit).map(ToString::to_string);
    let part = state
        .look(move |records| {
            let read = ids.iter().filter_map(|id| records.job(*id).transpose());
            Ok(Part { jobs: read.collect::<Result<_, _>>()?, next })
        })
        .await?;
    Ok(Json(JobPage::new(&part, &state.handle.directory())))
}

/// Read at a time, while all of a callback are redriven.
const PAGE: usize = 256;

#[utoipa::path(
    post, path = "/v1/callbacks/{callback}/redrive", tag = "callbacks",
    operation_id = "redrive_callback",
    summary = "Tell a callback of all that it was not told, and retry at once what waits",
    description = "Each message keeps its `webhook-id`.",
    params(("callback" = String, Path, description = "The callback's name")),
    responses((status = 200, body = ToldAgain)),
)]
pub(super) async fn redrive(
    State(state): State<AdminState>,
    Segment(name): Segment,
    _: Strict<Nothing>,
    who: Who,
) -> Result<Json<ToldAgain>, AdminError> {
    let name = state.callback(&name).await?;
    let (mut redriven, mut after) = (0, None);
    loop {
        let page = state.undelivered(&name, after, PAGE).await?;
        let Some(last) = page.last().copied() else { break };
        after = Some(last);
        // Together, so that they share a commit.
        let mut commands = JoinSet::new();
        for job in page {
            let (handle, by) = (state.handle.clone(), who.by());
            commands.spawn(async move { handle.command(JobCommand::TellAgain { job, by }).await });
        }
        for done in commands.join_all().await {
            match done? {
                Ok(_) => redriven += 1,
                // Forgotten, or redriven itself, meanwhile.
                Err(CommandError::NoSuchJob | CommandError::Conflict { .. }) => {}
                Err(CommandError::Draining | CommandError::Overtaken { .. }) => {
                    return Err(AdminError::Draining);
                }
            }
        }
    }
    tracing::info!(by = %who, callback = %name, redriven, "callback redriven");
    state.callbacks.hurry(&name);
    Ok(Json(ToldAgain { redriven }))
}

#[utoipa::path(
    post, path = "/v1/jobs/{id}/callback", tag = "callbacks", operation_id = "redrive_job_callback",
    summary = "Tell the callback of a job once more of its end",
    description = "Be it that it was told or not. The message keeps its `webhook-id`.",
    params(("id" = String, Path, description = "The job's id")),
    responses((status = 200, body = JobJson)),
)]
pub(super) async fn redrive_one(
    State(state): State<AdminState>,
    JobSegment(job): JobSegment,
    _: Strict<Nothing>,
    who: Who,
) -> Result<Json<JobJson>, AdminError> {
    let told = state.change(JobCommand::TellAgain { job, by: who.by() }, &who).await?;
    let name = told.0.callback.as_ref().and_then(|callback| CallbackName::new(&callback.name).ok());
    if let Some(name) = name {
        state.callbacks.hurry(&name);
    }
    Ok(told)
}
