//! How it stands with Step Functions, as the admin address shows it.

use serde::Serialize;
use utoipa::ToSchema;

use crate::step_functions::{Health, State, Trouble};

use super::AdminState;
use super::error::AdminError;
use super::records::OwedTokens;

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct StepFunctionsJson {
    /// `ok`; `retrying`: something does not get through just now; `held`: somebody has to put
    /// something right, such as credentials; `off`: answers are owed, and the configuration has no
    /// `[step_functions]`.
    #[schema(example = "ok")]
    state: &'static str,
    /// Jobs that have ended and whose task token is not answered yet.
    pending_answers: u64,
    /// Jobs with a task token that have not ended.
    waiting_tasks: u64,
    trouble: Option<TroubleJson>,
}

#[derive(Debug, Serialize, ToSchema)]
struct TroubleJson {
    /// What does not get through: `answers`, `some_answers` or `heartbeats`.
    #[schema(example = "answers")]
    with: &'static str,
    /// RFC 3339.
    since: String,
    /// The last error.
    #[schema(example = "ThrottlingException: Rate exceeded")]
    error: String,
}

impl StepFunctionsJson {
    fn new(health: Option<&Health>, owed: OwedTokens) -> Option<StepFunctionsJson> {
        let state = health.map(Health::state);
        if state.is_none() && owed.answers == 0 {
            return None;
        }
        Some(StepFunctionsJson {
            state: state.as_ref().map_or("off", State::as_str),
            pending_answers: owed.answers,
            waiting_tasks: owed.tasks,
            trouble: state.as_ref().and_then(State::trouble).map(TroubleJson::new),
        })
    }
}

impl TroubleJson {
    fn new(trouble: &Trouble) -> TroubleJson {
        TroubleJson {
            with: trouble.part.as_str(),
            since: trouble.since.to_string(),
            error: trouble.error.clone(),
        }
    }
}

impl AdminState {
    pub(super) async fn step_functions(&self) -> Result<Option<StepFunctionsJson>, AdminError> {
        let owed = self.look(|records| records.owed()).await?;
        Ok(StepFunctionsJson::new(self.step_functions.as_ref(), owed))
    }
}
