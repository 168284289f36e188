//! `[[sources.sqs]]` and `[[sources.activity]]`.

use super::item::{Item, quoted};
use super::table::Table;
use super::types::{ActivitySource, Sources, SqsSource};
use super::url::base_url;
use super::vocabulary;
use crate::broker::job::Priority;
use crate::http_api::fields::nearest;

pub(super) fn sources(root: &Table<'_>) -> Sources {
    let targets = root.table_names("targets");
    let table = root.table("sources");
    let mut sources = Sources::default();
    for one in table.array("sqs") {
        let queue_url = one.need("queue_url", "queue_url = \"https://sqs…/NAME\"", queue_url);
        let (target, priority) = where_to(&one, &targets);
        let twice =
            |url: &String| sources.sqs.iter().any(|other: &SqsSource| other.queue_url == *url);
        if queue_url.as_ref().is_some_and(twice) {
            one.report("queue_url", "this queue is a source already".to_owned());
        }
        one.finish(&[]);
        if let (Some(queue_url), Some(target)) = (queue_url, target) {
            sources.sqs.push(SqsSource { queue_url, target, priority });
        }
    }
    for one in table.array("activity") {
        let arn = one.need("arn", "arn = \"arn:aws:states:REGION:ACCOUNT:activity:NAME\"", arn);
        let (target, priority) = where_to(&one, &targets);
        let twice =
            |arn: &String| sources.activity.iter().any(|other: &ActivitySource| other.arn == *arn);
        if arn.as_ref().is_some_and(twice) {
            one.report("arn", "this activity is a source already".to_owned());
        }
        one.finish(&[]);
        if let (Some(arn), Some(target)) = (arn, target) {
            sources.activity.push(ActivitySource { arn, target, priority });
        }
    }
    table.finish(vocabulary::SOURCES.later);
    sources
}

fn where_to(table: &Table<'_>, targets: &[&str]) -> (Option<String>, Priority) {
    let target = table.need("target", "target = \"NAME\", as in [targets.NAME]", |item| {
        let text = item.text("a target's name in quotes")?;
        if targets.contains(&text.value.as_str()) {
            return Ok(text.value);
        }
        let hint = nearest(&text.value, targets.iter().copied())
            .map_or_else(String::new, |near| format!("; did you mean {}?", quoted(near)));
        Err(format!("there is no target {text} in this file{hint}"))
    });
    let priority = table.get_or("priority", Priority::default(), |item| {
        let text = item.text("\"HIGH\", \"NORMAL\" or \"BATCH\"")?;
        text.value.parse().map_err(|error| format!("{text}: {error}"))
    });
    (target, priority)
}

fn queue_url(item: &Item<'_>) -> Result<String, String> {
    const EXAMPLE: &str = "https://sqs.eu-central-1.amazonaws.com/123456789012/NAME";
    let text = item.text(&format!("the URL of a queue in quotes, like \"{EXAMPLE}\""))?;
    let url = base_url(item)?;
    if url.path() == "/" {
        return Err(format!("{text} names no queue; write its whole URL, like \"{EXAMPLE}\""));
    }
    Ok(url.to_string())
}

fn arn(item: &Item<'_>) -> Result<String, String> {
    const EXAMPLE: &str = "arn:aws:states:eu-central-1:123456789012:activity:NAME";
    let text = item.text(&format!("an ARN in quotes, like \"{EXAMPLE}\""))?;
    let parts: Vec<&str> = text.value.split(':').collect();
    let printable = text.value.bytes().all(|byte| byte.is_ascii_graphic());
    match parts.as_slice() {
        ["arn", partition, "states", region, account, "activity", name]
            if printable && ![partition, region, account, name].iter().any(|p| p.is_empty()) =>
        {
            Ok(text.value)
        }
        _ => Err(format!("{text} is not the ARN of an activity, like \"{EXAMPLE}\"")),
    }
}
