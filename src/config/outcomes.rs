//! What a target's answers mean, and how it is asked about work whose outcome is not known.

use std::sync::Arc;

use http::{HeaderName, Method};

use super::item::{Item, describe};
use super::rules::{Rule, When, cases, rules};
use super::schema::{Schema, schema};
use super::table::{Case, Table};
use super::template::{Pointer, Template};
use super::units::{duration, show_duration, size};
use super::{bounds, vocabulary};
use crate::broker::course::Delivery;
use crate::broker::policy::{Completion, DeadRetention, Outcomes};

/// What is the shell's to know of all this; the core's part is in [`Outcomes`].
#[derive(Clone, Debug, PartialEq)]
pub struct Asking {
    /// The first that holds decides what an answer means.
    pub rules: Vec<Rule>,
    /// Of an answer's body, in bytes: so much is kept, and seen by rules.
    pub max_body: usize,
    pub verify: Option<Arc<Verify>>,
    pub completion: Option<Arc<Polling>>,
    /// What the body of a request must be like.
    pub schema: Option<Schema>,
}

impl Default for Asking {
    fn default() -> Asking {
        Asking {
            rules: Vec::new(),
            max_body: MAX_BODY,
            verify: None,
            completion: None,
            schema: None,
        }
    }
}

/// 256 KiB.
const MAX_BODY: usize = 256 * 1024;

/// The question that is asked after an unknown outcome.
#[derive(Clone, Debug, PartialEq)]
pub struct Verify {
    pub method: Method,
    pub path: Template,
    /// Any of these, looked at first.
    pub done: Vec<When>,
    pub not_done: Vec<When>,
}

/// How work that a 202 began is asked after.
#[derive(Clone, Debug, PartialEq)]
pub struct Polling {
    pub address: Address,
    /// Any of these, looked at first.
    pub done: Vec<When>,
    pub failed: Vec<When>,
}

/// Where an answer says at which address its work is asked after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    Header(HeaderName),
    Body(Pointer),
}

pub(super) fn read(table: &Table<'_>) -> (Outcomes, Asking) {
    let delivery = table.get_or("delivery", Delivery::default(), delivery);
    let verify = verify(&table.table("verify"), table.is_set("verify"));
    if delivery == Delivery::Verify && !table.is_set("verify") {
        let message = "\"verify\" needs a table that says how to ask; add [targets.NAME.verify] with \
                       path = \"/orders/{idempotency_key}\", done = \"200\" and not_done = \"404\"";
        table.report("delivery", message.to_owned());
    }
    let response = table.table("response");
    let rules = rules(&response);
    let max_body = response.get_or("max_body", MAX_BODY, |item| {
        usize::try_from(size(bounds::ANSWER_BODY)(item)?).map_err(|error| error.to_string())
    });
    response.finish(vocabulary::RESPONSE.later);
    let (polling, timing) = completion(&table.table("completion"), table.is_set("completion"));
    let reject_if_late = table.get_or("reject_if_late", false, super::auth::truth);
    let outcomes = Outcomes {
        delivery,
        completion: timing,
        dead_retention: dead_retention(table),
        reject_if_late,
    };
    let asking = Asking {
        rules,
        max_body,
        verify: verify.map(Arc::new),
        completion: polling.map(Arc::new),
        schema: table.get("request_schema", schema),
    };
    (outcomes, asking)
}

fn delivery(item: &Item<'_>) -> Result<Delivery, String> {
    let text = item.text("\"at-least-once\", \"at-most-once\" or \"verify\"")?;
    text.value.parse().map_err(|_| {
        format!("{text} is not known here; write \"at-least-once\", \"at-most-once\" or \"verify\"")
    })
}

fn verify(table: &Table<'_>, is_set: bool) -> Option<Verify> {
    if !is_set {
        return None;
    }
    let method = table.get_or("method", Method::GET, |item| {
        let text = item.text("\"GET\" or another method in quotes")?;
        let known = [Method::GET, Method::HEAD, Method::POST, Method::OPTIONS];
        known.into_iter().find(|method| method.as_str() == text.value).ok_or_else(|| {
            format!("{text} cannot ask; write \"GET\", \"HEAD\", \"OPTIONS\" or \"POST\"")
        })
    });
    let example = "path = \"/orders/{idempotency_key}\", which says where to ask";
    let path = table.need("path", example, |item| {
        let text = item.text("a path in quotes, like \"/orders/{idempotency_key}\"")?;
        let template = Template::parse(&text.value).map_err(|why| format!("{text}: {why}"))?;
        crate::dispatch::template::check(&template).map_err(|why| format!("{text} {why}"))?;
        Ok(template)
    });
    let done = needed(table, "done", "done = \"200\", the answer to work that was done");
    let not_done =
        needed(table, "not_done", "not_done = \"404\", the answer to work that was not done");
    table.finish(vocabulary::VERIFY.later);
    Some(Verify { method, path: path?, done: done?, not_done: not_done? })
}

fn needed(table: &Table<'_>, key: &'static str, example: &str) -> Option<Vec<When>> {
    if table.is_set(key) {
        let cases = cases(table, key);
        if cases.is_empty() && table.is_good(key) {
            table.report(key, format!("it is empty, so nothing would ever match; write {example}"));
        }
        return Some(cases);
    }
    table.need(key, example, |_| Ok(Vec::new()))
}

fn completion(table: &Table<'_>, is_set: bool) -> (Option<Polling>, Completion) {
    let default = Completion::default();
    if !is_set {
        return (None, default);
    }
    let address = table.get_or("poll", Address::Header(http::header::LOCATION), |item| {
        let text =
            item.text("a header like \"Location\", or a JSON Pointer like \"/status_url\"")?;
        if text.value.starts_with('/') {
            let pointer = Pointer::parse(&text.value);
            return pointer.map(Address::Body).map_err(|why| format!("{text}: {why}"));
        }
        HeaderName::from_bytes(text.value.as_bytes()).map(Address::Header).map_err(|_| {
            format!("{text} is no header's name, and no JSON Pointer, which begins with /")
        })
    });
    let every = table.get_or("every", default.every, duration(bounds::POLL));
    let timeout = table.get_or("timeout", default.timeout, duration(bounds::MAX_RETRY_DURATION));
    if table.is_good("every") && table.is_good("timeout") && every > timeout {
        let (every, timeout) = (show_duration(every), show_duration(timeout));
        table.report_self(format!("every ({every}) is more than timeout ({timeout})"));
    }
    let done = needed(
        table,
        "done",
        "done = { status = \"200\", body_pointer = \"/state\", body_equals = \"finished\" }",
    );
    let failed = cases(table, "failed");
    table.finish(vocabulary::COMPLETION.later);
    let polling = done.map(|done| Polling { address, done, failed });
    (polling, Completion { every, timeout })
}

/// A duration, or a table of limits.
fn dead_retention(table: &Table<'_>) -> DeadRetention {
    const KEY: &str = "dead_retention";
    const EXPECTED: &str = "expected a duration in quotes, like \"90d\", or a table, like { age = \
                            \"90d\", count = 100000, size = \"1GiB\" }";
    let mut keep = DeadRetention::default();
    match table.case(KEY) {
        None => {}
        Some(Case::Plain(item)) if item.is_text() => match duration(bounds::DEAD_AGE)(&item) {
            Ok(age) => keep.age = Some(age),
            Err(message) => table.report(KEY, message),
        },
        Some(Case::Plain(item)) => {
            table.report(KEY, format!("{EXPECTED}; found {}", describe(item.value)));
        }
        Some(Case::Table(limits)) => {
            keep.age = limits.get("age", duration(bounds::DEAD_AGE));
            keep.count = limits.get("count", |item| item.whole(bounds::DEAD_COUNT));
            keep.size = limits.get("size", size(bounds::DEAD_SIZE));
            if limits.is_empty() {
                limits.report_self(format!("{EXPECTED}; this one sets no limit"));
            }
            limits.finish(&[]);
        }
    }
    keep
}
