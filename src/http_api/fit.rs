//! Whether a job fits its target: what no attempt could mend is refused before it is taken in.

use crate::broker::course::Delivery;
use crate::broker::job::JobId;
use crate::broker::payload::Request;
use crate::config::Target;
use crate::dispatch::template;

use super::problem::Problem;

/// `delivery`: the job's own.
pub(crate) fn check(
    target: &Target,
    id: JobId,
    request: &Request,
    delivery: Option<Delivery>,
) -> Result<(), Problem> {
    if delivery.unwrap_or(target.policy.outcomes.delivery) != Delivery::Verify {
        return Ok(());
    }
    let Some(verify) = &target.asking.verify else {
        let name = &target.name;
        let why = format!("is `verify`, and `{name}` has no [targets.{name}.verify] to ask with");
        return Err(Problem::invalid("delivery", why));
    };
    template::fill(&verify.path, id, request).map(|_| ()).map_err(|error| {
        let why = format!("does not say how to verify the job at `{}`: {error}", target.name);
        Problem::invalid("body", why)
    })
}
