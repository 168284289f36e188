//! What `POST /v1/jobs` is sent: the fields and their types, not yet their sense.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::fields::{nearest, shown};
use super::problem::{Kind, Problem};

/// Pairs of a JSON object in their order, a name perhaps more than once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pairs(pub(crate) Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Pairs, D::Error> {
        struct PairsVisitor;
        impl<'de> Visitor<'de> for PairsVisitor {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        from.deserialize_map(PairsVisitor)
    }
}

/// Declares the fields once: for reading, and for telling which ones there are. `null` is as good
/// as leaving a field out.
macro_rules! new_job {
    ($( $(#[$meta:meta])* $field:ident: $type:ty, )*) => {
        /// A job to submit. Only `target` is needed.
        #[derive(Clone, Debug, Default, ToSchema)]
        pub(crate) struct NewJob {
            $( $(#[$meta])* pub(crate) $field: Option<$type>, )*
            /// The first field that there is none of.
            #[schema(ignore)]
            pub(crate) unknown: Option<String>,
        }

        impl NewJob {
            pub(crate) const FIELDS: &'static [&'static str] = &[$( stringify!($field), )*];
        }

        impl<'de> Visitor<'de> for NewJobVisitor {
            type Value = NewJob;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a job, which is a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<NewJob, A::Error> {
                let mut job = NewJob::default();
                let mut seen = Vec::new();
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        $( stringify!($field) => {
                            job.$field = map.next_value().map_err(|error| at(&key, &error))?;
                        } )*
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                            job.unknown.get_or_insert(key);
                            continue;
                        }
                    }
                    if seen.contains(&key) {
                        // Readers differ on which of the two counts.
                        return Err(A::Error::custom(format_args!("`{key}` is there twice")));
                    }
                    seen.push(key);
                }
                Ok(job)
            }
        }
    };
}

/// The position that serde_json puts at the end of its messages stays there.
fn at<E: serde::de::Error>(field: &str, error: &E) -> E {
    E::custom(format_args!("`{field}`: {error}"))
}

struct NewJobVisitor;

impl<'de> Deserialize<'de> for NewJob {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<NewJob, D::Error> {
        from.deserialize_map(NewJobVisitor)
    }
}

new_job! {
    /// The target's name in the configuration.
    #[schema(required, nullable = false)]
    target: String,
    /// `HIGH`, `NORMAL` (default) or `BATCH`, in any case.
    priority: String,
    /// `POST` by default.
    method: String,
    /// Below the target's base URL, percent-encoded, with a query if you like; `/` by default.
    path: String,
    /// Name to value, or to an array of values.
    #[schema(value_type = Option<Object>)]
    headers: Pairs,
    /// Name to string, number or boolean, or to an array of those; encoded and appended to `path`.
    #[schema(value_type = Option<Object>)]
    query: Pairs,
    /// Sent as it is written here, as JSON.
    #[schema(value_type = Option<serde_json::Value>)]
    body: Box<RawValue>,
    /// Instead of `body`: base64 of the bytes to send.
    body_base64: String,
    /// Of the body; `application/json` by default where `body` is given.
    content_type: String,
    /// Of a Step Functions task that waits for the job's end (`.waitForTaskToken`).
    #[schema(min_length = 1, max_length = 2048)]
    task_token: String,
    /// A second job with the same one within five minutes, or while the first lives, is the first.
    dedup_id: String,
    /// 1 to 128 bytes. Jobs of a target with the same one go strictly in the order in which they
    /// were acknowledged, one at a time.
    #[schema(min_length = 1, max_length = 128)]
    group: String,
    /// A duration such as `30s`, up to 366 days; not together with `not_before`.
    delay: String,
    /// RFC 3339; the job is not sent before then.
    #[schema(format = DateTime)]
    not_before: String,
    /// RFC 3339; the job is not sent after then.
    #[schema(format = DateTime)]
    deadline: String,
    /// 1 to 1000, includes the first; the target's own by default. Refusals do not count.
    #[schema(minimum = 1, maximum = 1000)]
    max_attempts: i64,
    /// `at-least-once`, `at-most-once` or `verify`: what is done about an attempt of which nobody
    /// knows whether it did its work. The target's own by default.
    delivery: String,
    /// 1 to 64 bytes: on whose account the job goes. Those who share a queue take turns, so that
    /// none of them waits for all that another has there.
    #[schema(min_length = 1, max_length = 64)]
    fairness_key: String,
    /// The name of a callback in the configuration, which is told of the job's end.
    #[schema(example = "orders")]
    callback: String,
}

impl NewJob {
    pub(crate) fn parse(json: &[u8]) -> Result<NewJob, Problem> {
        let job: NewJob = serde_json::from_slice(json).map_err(|error| {
            // 400 is for what is no JSON, 422 for JSON that is something else. The error cannot
            // tell them apart: a field's own is wrapped in another.
            let is_json = serde_json::from_slice::<IgnoredAny>(json).is_ok();
            unfit(if is_json { Kind::Invalid } else { Kind::Malformed }, &error)
        })?;
        let Some(unknown) = &job.unknown else { return Ok(job) };
        let hint = nearest(unknown, NewJob::FIELDS.iter().copied()).map_or_else(
            || format!("; there are {}", NewJob::FIELDS.join(", ")),
            |near| format!("; did you mean `{near}`?"),
        );
        let unknown = shown(unknown);
        Err(Problem::new(Kind::UnknownField, format!("a job has no field `{unknown}`{hint}"))
            .with("field", unknown))
    }
}

pub(crate) fn malformed(error: &serde_json::Error) -> Problem {
    unfit(Kind::Malformed, error)
}

fn unfit(kind: Kind, error: &serde_json::Error) -> Problem {
    Problem::new(kind, format!("the body is not what is asked for: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_type_is_named_with_its_place() {
        let says = |json: &str, kind| {
            let problem = NewJob::parse(json.as_bytes()).unwrap_err();
            assert_eq!(problem.kind(), kind, "{json}");
            problem.detail().to_owned()
        };
        let detail = |json: &str| says(json, Kind::Invalid);
        let broken = |json: &str| says(json, Kind::Malformed);
        assert_eq!(
            detail("{\n \"target\": 5}"),
            "the body is not what is asked for: `target`: invalid type: integer `5`, expected a \
             string at line 2 column 12"
        );
        assert!(detail(r#"{"headers":[]}"#).contains("`headers`: invalid type"));
        assert!(detail(r#"{"max_attempts":1.5}"#).contains("`max_attempts`: invalid type"));
        assert!(detail(r#"{"target":"a","target":"b"}"#).contains("`target` is there twice"));
        assert!(detail("[1]").contains("expected a job"));
        assert!(broken("{\"target\":5").contains("`target`"));
        assert!(broken("{\"path\":\"/").contains("`path`"));
        assert!(broken("{").contains("line 1 column 1"));
        assert!(broken("").contains("EOF"));
        assert!(broken("{} {}").contains("trailing characters"));
        assert!(broken("{\"target\":\"\u{0}\"}").contains("control character"));
    }

    #[test]
    fn an_unknown_field_suggests_the_nearest() {
        let problem = NewJob::parse(br#"{"target":"erp","priorty":"HIGH"}"#).unwrap_err();
        assert_eq!(problem.kind(), Kind::UnknownField);
        assert_eq!(problem.detail(), "a job has no field `priorty`; did you mean `priority`?");
        let problem = NewJob::parse(br#"{"zzz":{"deep":[1]}}"#).unwrap_err();
        assert!(problem.detail().contains("there are target, priority"), "{}", problem.detail());
    }

    #[test]
    fn a_body_keeps_its_text_and_null_is_nothing() {
        let job = NewJob::parse(br#"{"body": {"n": 1.10 }, "path": null}"#).unwrap();
        assert_eq!(job.body.unwrap().get(), r#"{"n": 1.10 }"#);
        assert_eq!(job.path, None);
        assert!(NewJob::parse(br#"{"body":null}"#).unwrap().body.is_none());
    }
}
