//! `[[sources.sqs]]` and `[[sources.activity]]`.

use super::*;
use crate::broker::job::Priority;
use crate::config::{ActivitySource, SqsSource};

const URL: &str = "https://sqs.eu-west-1.amazonaws.com/123456789012/orders.fifo";
const ARN: &str = "arn:aws:states:eu-west-1:123456789012:activity:erp";

#[test]
fn sources_name_their_target_and_priority() {
    let config = good(&format!(
        "{ERP}[[sources.sqs]]\nqueue_url = \"{URL}\"\ntarget = \"erp\"\npriority = \"high\"\n\
         [[sources.sqs]]\nqueue_url = \"http://127.0.0.1:4570/000000000000/q\"\ntarget = \"erp\"\n\
         [[sources.activity]]\narn = \"{ARN}\"\ntarget = \"erp\"\npriority = \"BATCH\"\n"
    ));
    let sqs = |queue_url: &str, priority| SqsSource {
        queue_url: queue_url.to_owned(),
        target: "erp".to_owned(),
        priority,
    };
    assert_eq!(
        config.sources.sqs,
        [sqs(URL, Priority::High), sqs("http://127.0.0.1:4570/000000000000/q", Priority::Normal)]
    );
    let (arn, target) = (ARN.to_owned(), "erp".to_owned());
    let activity = ActivitySource { arn, target, priority: Priority::Batch };
    assert_eq!(config.sources.activity, [activity]);
    assert_eq!(good(ERP).sources, crate::config::Sources::default());
}

#[test]
fn whose_messages_bring_tokens_has_them_answered() {
    let sqs = format!("[[sources.sqs]]\nqueue_url = \"{URL}\"\ntarget = \"erp\"\n");
    let activity = format!("[[sources.activity]]\narn = \"{ARN}\"\ntarget = \"erp\"\n");
    for source in [&sqs, &activity] {
        let config = good(&format!("{ERP}{source}"));
        assert_eq!(config.step_functions, Some(crate::config::defaults::step_functions()));
    }
    let config = good(&format!("{ERP}{sqs}[step_functions]\nheartbeat = \"off\"\n"));
    assert_eq!(config.step_functions.and_then(|config| config.heartbeat), None);
    assert_eq!(good(ERP).step_functions, None);
}

#[test]
fn a_fault_of_a_source_is_named_at_its_line() {
    for (more, expected) in [
        (
            "target = \"epr\"",
            "7:10: sources.sqs.target: there is no target \"epr\" in this file; did you mean \"erp\"?",
        ),
        (
            "target = \"erp\"\npriority = \"urgent\"",
            "8:12: sources.sqs.priority: \"urgent\": a priority is HIGH, NORMAL or BATCH",
        ),
        ("target = \"erp\"\nprio = 1", "8:1: sources.sqs.prio: unknown key"),
        (
            "target = \"erp\"\n[[sources.sqs]]\nqueue_url = \"QUEUE\"\ntarget = \"erp\"",
            "9:13: sources.sqs.queue_url: this queue is a source already",
        ),
        ("", "5:1: sources.sqs.target: missing, and it has no default; add target = \"NAME\""),
    ] {
        let more = more.replace("QUEUE", URL);
        let fault = fault(&format!("{ERP}\n[[sources.sqs]]\nqueue_url = \"{URL}\"\n{more}\n"));
        assert!(fault.starts_with(expected), "{more}: {fault}");
    }
    for url in ["", "x", "https://sqs.eu-west-1.amazonaws.com", "ftp://x/y", "https://u:p@x/q"] {
        let text = format!("{ERP}[[sources.sqs]]\nqueue_url = \"{url}\"\ntarget = \"erp\"\n");
        assert!(fault(&text).starts_with("5:13: sources.sqs.queue_url: "), "{url}");
    }
    for arn in
        ["", "x", "arn:aws:states:eu-west-1:1:stateMachine:x", "arn:aws:states::1:activity:x"]
    {
        let text = format!("{ERP}[[sources.activity]]\narn = \"{arn}\"\ntarget = \"erp\"\n");
        assert!(fault(&text).starts_with("5:7: sources.activity.arn: "), "{arn}");
    }
    let single = fault(&format!("{ERP}[sources.sqs]\nqueue_url = \"{URL}\"\n"));
    assert!(single.contains("expected [[sources.sqs]], in double brackets"), "{single}");
}
