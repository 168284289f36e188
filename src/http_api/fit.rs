//! Whether a job fits its target: what no attempt could mend is refused before it is taken in.

use crate::broker::course::Delivery;
use crate::broker::job::JobId;
use crate::broker::payload::Request;
use crate::config::{Misfit, Target};
use crate::dispatch::template;

use super::problem::{Kind, Problem};

/// RFC 9110, section 9.3: of these, content is expected; of the others it has no meaning.
fn has_body(request: &Request) -> bool {
    !request.body.is_empty() || matches!(request.method.as_str(), "POST" | "PUT" | "PATCH")
}

fn misfit(target: &str, misfits: &[Misfit]) -> Problem {
    const TOLD: usize = 3;
    let told: Vec<String> = misfits
        .iter()
        .take(TOLD)
        .map(|misfit| match misfit.pointer.as_str() {
            "" => misfit.message.clone(),
            pointer => format!("at {pointer}: {}", misfit.message),
        })
        .collect();
    let more = if misfits.len() > TOLD { "; and more" } else { "" };
    let detail = format!("the body does not fit `{target}`: {}{more}", told.join("; "));
    let errors: Vec<serde_json::Value> = misfits
        .iter()
        .map(|Misfit { pointer, message }| {
            serde_json::json!({ "pointer": pointer, "message": message })
        })
        .collect();
    Problem::new(Kind::Schema, detail).with("field", "body").with("errors", errors)
}

/// `delivery`: the job's own.
pub(crate) fn check(
    target: &Target,
    id: JobId,
    request: &Request,
    delivery: Option<Delivery>,
) -> Result<(), Problem> {
    if let Some(schema) = &target.asking.schema
        && has_body(request)
    {
        let misfits = schema.misfits(&request.body);
        if !misfits.is_empty() {
            return Err(misfit(&target.name, &misfits));
        }
    }
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

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;

    fn target(more: &str, file: &Path) -> Arc<Target> {
        let text = format!(
            "[targets.erp]\nurl = \"http://h\"\nlimit.rate = \"1/s\"\n{more}\n\
             [targets.erp.verify]\npath = \"/orders/{{body:/order/id}}\"\n\
             done = \"200\"\nnot_done = \"404\"\n"
        );
        crate::config::parse(&text, file, &|_| None).unwrap().targets["erp"].clone()
    }

    fn post(body: &'static str) -> Request {
        Request {
            method: "POST".into(),
            body: Bytes::from_static(body.as_bytes()),
            ..Request::default()
        }
    }

    #[test]
    fn a_job_that_is_to_be_verified_must_say_how() {
        let verified = target("delivery = \"verify\"", Path::new("t.toml"));
        let ask = |body, delivery| check(&verified, JobId(1), &post(body), delivery);
        assert_eq!(ask(r#"{"order":{"id":7}}"#, None), Ok(()));
        for body in ["", "{}", r#"{"order":{"id":".."}}"#] {
            let problem = ask(body, None).unwrap_err();
            assert_eq!(problem.kind(), Kind::Invalid);
            assert!(problem.detail().contains("how to verify"), "{}", problem.detail());
            assert_eq!(ask(body, Some(Delivery::AtMostOnce)), Ok(()), "it is never asked for");
        }
        let other = target("", Path::new("t.toml"));
        assert_eq!(check(&other, JobId(1), &post(""), None), Ok(()));
        assert!(check(&other, JobId(1), &post(""), Some(Delivery::Verify)).is_err());
        let without = Target { asking: crate::config::Asking::default(), ..(*other).clone() };
        let problem = check(&without, JobId(1), &post(""), Some(Delivery::Verify)).unwrap_err();
        assert!(problem.detail().contains("has no [targets.erp.verify]"), "{}", problem.detail());
    }

    #[test]
    fn a_body_must_fit_the_schema() {
        let folder = tempfile::tempdir().unwrap();
        let schema = r#"{"type":"object","required":["order"]}"#;
        std::fs::write(folder.path().join("order.json"), schema).unwrap();
        let file = folder.path().join("t.toml");
        let target = target("request_schema = \"order.json\"", &file);
        let ask = |request: &Request| check(&target, JobId(1), request, None);
        assert_eq!(ask(&post(r#"{"order":{}}"#)), Ok(()));
        let problem = ask(&post(r#"{"ordr":"hush"}"#)).unwrap_err();
        assert_eq!(problem.kind(), Kind::Schema);
        let problem = serde_json::to_value(&problem).unwrap();
        assert_eq!(problem["status"], 422);
        assert_eq!(problem["errors"][0]["pointer"], "");
        assert!(!problem.to_string().contains("hush"), "{problem}");
        assert!(ask(&post("")).is_err(), "content is expected");
        let get = Request { method: "GET".into(), ..post("") };
        assert_eq!(ask(&get), Ok(()));
        assert!(ask(&Request { method: "GET".into(), ..post("{}") }).is_err());

        std::fs::write(folder.path().join("order.json"), r#"{"type":"ordr"}"#).unwrap();
        let text = "[targets.erp]\nurl = \"http://h\"\nlimit.rate = \"1/s\"\n\
                    request_schema = \"order.json\"\n";
        let errors = crate::config::parse(text, &file, &|_| None).unwrap_err().to_string();
        assert!(errors.contains("request_schema") && errors.contains("/type"), "{errors}");
    }
}
