//! Whether a job's history explains the state that it is in.

use super::violation::{Checked, ensure};
use crate::broker::job::{End, Failure, Happening, JobState, Place, Says};
use crate::store::JobRecord;

/// Of a history of this length a part may be missing.
const MAY_BE_CUT: usize = 100;

/// What a job must be like, from its history alone.
#[derive(Debug, Default)]
struct Told {
    state: Option<JobState>,
    attempts: u32,
    questions: u32,
    spent: u32,
    refusals: u32,
    rejected: Option<u16>,
}

impl Told {
    fn hear(&mut self, what: &Happening) -> Checked {
        use JobState::{
            Cancelled, Expired, Failed, Queued, Running, Scheduled, Succeeded, Verifying, Waiting,
        };
        let (from, to): (&[JobState], JobState) = match what {
            Happening::Enqueued => (&[], Queued),
            Happening::Scheduled { .. } => (&[Queued], Scheduled),
            Happening::Due => (&[Scheduled, Waiting, Verifying], Queued),
            Happening::Behind | Happening::Headed => (&[Queued], Queued),
            Happening::Sent { attempt, .. } => {
                self.attempts += 1;
                ensure!(*attempt == self.attempts, "attempt {attempt} after {}", self.attempts - 1);
                (&[Queued], Running)
            }
            Happening::NotSent { .. } => {
                self.attempts -= 1;
                (&[Running], Queued)
            }
            Happening::Done { .. } => (&[Running], Succeeded),
            Happening::Rejected { status, .. } => {
                self.rejected = Some(*status);
                (&[Running], Failed)
            }
            // Where the job goes is told next.
            Happening::Refused { .. } => {
                self.refusals += 1;
                (&[Running], Running)
            }
            Happening::Unknown { .. } => {
                self.spent += 1;
                (&[Running], Running)
            }
            Happening::Asked { question, .. } => {
                self.questions += 1;
                ensure!(*question == self.questions, "question {question} is another");
                (&[Queued], Running)
            }
            Happening::NotAsked { .. } => {
                self.questions -= 1;
                (&[Running], Queued)
            }
            Happening::Answered { says: Says::Done, .. } => (&[Running], Succeeded),
            Happening::Answered { says: Says::Failed, status, .. } => {
                self.rejected = *status;
                (&[Running], Failed)
            }
            Happening::Answered { says, .. } => {
                self.refusals += u32::from(*says == Says::Refused);
                (&[Running], Running)
            }
            Happening::Accepted { .. } => {
                self.spent += 1;
                (&[Running], Running)
            }
            // Again, where the wall clock was set back.
            Happening::Verifying { .. } => (&[Running, Verifying], Verifying),
            Happening::Edited { .. } | Happening::Hopeless { .. } => return Ok(()),
            Happening::Waiting { .. } => (&[Running, Waiting], Waiting),
            Happening::PriorityChanged { .. } => match self.state {
                Some(state @ (Scheduled | Queued | Waiting | Verifying)) => {
                    (&[Scheduled, Queued, Waiting, Verifying], state)
                }
                _ => (&[], Queued),
            },
            Happening::Cancelled { .. } => (&[Scheduled, Queued, Waiting, Verifying], Cancelled),
            Happening::Expired => (&[Scheduled, Queued, Waiting, Running], Expired),
            // It was redriven at a pace, and its deadline passed: it may have done its work before.
            Happening::Failed { code } if code == "Tollgate.OutcomeUnknown" => {
                (&[Running, Waiting, Queued, Scheduled], Failed)
            }
            Happening::Failed { .. } => (&[Running, Waiting, Queued], Failed),
            Happening::Unfit { .. } => (&[Queued], Failed),
            Happening::CallbackDelivered { .. }
            | Happening::CallbackUndelivered { .. }
            | Happening::CallbackAgain { .. } => {
                let ended = self.state.is_some_and(JobState::is_final);
                ensure!(ended, "{what:?} happens to a job that has not ended");
                return Ok(());
            }
            Happening::TokenAnswered | Happening::TokenLate { .. } => {
                ensure!(self.state.is_some(), "{what:?} happens to a job that is not there");
                return Ok(());
            }
            Happening::Redriven { .. } => {
                self.spent = 0;
                self.refusals = 0;
                self.rejected = None;
                (&[Failed, Expired], Queued)
            }
        };
        let fits = self.state.map_or(from.is_empty(), |state| from.contains(&state));
        ensure!(fits, "{what:?} happens to a job that is {:?}", self.state);
        self.state = Some(to);
        Ok(())
    }
}

pub(super) fn explains(record: &JobRecord) -> Checked {
    if record.history.len() >= MAY_BE_CUT {
        // A part of it was dropped.
        return Ok(());
    }
    let mut told = Told::default();
    for event in &record.history {
        told.hear(&event.what)?;
    }
    let (id, header) = (record.header.id, &record.header);
    let state = record.place.state();
    let questions = header.course.questions;
    ensure!(told.questions == questions, "{id} counts {questions} questions: {told:?}");
    ensure!(told.state == Some(state), "{id} is {state}, and its history says {:?}", told.state);
    ensure!(
        (told.attempts, told.spent, told.refusals)
            == (header.attempts, header.spent, header.refusals),
        "{id} counts {} attempts, {} spent, {} refused; its history says {told:?}",
        header.attempts,
        header.spent,
        header.refusals
    );
    if let Place::Ended { end: End::Failed(Failure::Rejected { status }), .. } = record.place {
        ensure!(told.rejected == Some(status), "{id} was rejected with {status}: {told:?}");
    }
    Ok(())
}
