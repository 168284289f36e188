//! The example of `config/step-functions/` on a real interpreter of the States Language.

use serde_json::{Value, json};

use crate::api::Api;
use crate::ministack::{MiniStack, ministack};
use crate::support::erp;
use crate::{daemon, source};

const JSON_PATH: &str = include_str!("../../config/step-functions/order.jsonpath.asl.json");
const JSONATA: &str = include_str!("../../config/step-functions/order.jsonata.asl.json");

/// The queues that a definition names, made; the definition with their URLs, and a configuration
/// that takes in what is sent to three of them.
async fn with_queues(aws: &MiniStack, api: &Api, definition: &str) -> (String, String) {
    let (mut config, mut definition) = (erp(api.address, "1000/s", ""), definition.to_owned());
    for priority in ["high", "normal", "batch", "review", "decision"] {
        let url = aws.queue(&format!("tollgate-{priority}")).await;
        definition = definition.replace(&format!("${{{priority}_queue_url}}"), &url);
        if !["review", "decision"].contains(&priority) {
            config.push_str(&source(&url, priority));
        }
    }
    assert!(!definition.contains("${"), "a queue has no URL: {definition}");
    (config, definition)
}

/// Both definitions are taken by the interpreter, and what their task sends is understood.
#[tokio::test(flavor = "multi_thread")]
async fn the_messages_of_both_variants_are_understood() {
    for (name, definition) in [("jsonpath", JSON_PATH), ("jsonata", JSONATA)] {
        let Some(aws) = ministack().await else { return };
        let api = Api::start().await;
        let (config, definition) = with_queues(&aws, &api, definition).await;
        let machine = aws.machine(name, &definition).await;
        let mut daemon = daemon(&aws, &(config + "[step_functions]\n"));
        for (express, nightly) in [(true, false), (false, false), (false, true)] {
            let order = json!({"id": "o-1", "amount": 5, "express": express, "nightly": nightly});
            aws.execution(&machine, &json!({"order": order})).await;
        }
        let calls = api.called(3).await;
        let mut seen: Vec<(&str, &str)> =
            calls.iter().map(|call| (call.priority.as_str(), call.path.as_str())).collect();
        seen.sort_unstable();
        assert_eq!(
            seen,
            [("BATCH", "/orders/o-1"), ("HIGH", "/orders/o-1"), ("NORMAL", "/orders/o-1")],
            "{name}"
        );
        for call in &calls {
            let body: Value = serde_json::from_str(&call.body).unwrap();
            assert_eq!((&body["id"], call.method.as_str()), (&json!("o-1"), "PUT"), "{name}");
        }
        assert!(daemon.terminate().success());
    }
}

/// Runs one execution of a variant to its end, against an API that answers 200.
async fn succeeds(name: &str, definition: &str) {
    let Some(aws) = ministack().await else { return };
    let api = Api::start().await;
    let (config, definition) = with_queues(&aws, &api, definition).await;
    let machine = aws.machine(name, &definition).await;
    let mut daemon = daemon(&aws, &(config + "[step_functions]\n"));
    let order = json!({"id": "o-1", "amount": 5, "express": true, "nightly": false});
    let execution = aws.execution(&machine, &json!({"order": order})).await;
    assert_eq!(aws.ended(&execution).await, "SUCCEEDED");
    assert!(daemon.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_execution_in_jsonpath_succeeds() {
    succeeds("jsonpath", JSON_PATH).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_execution_in_jsonata_succeeds() {
    succeeds("jsonata", JSONATA).await;
}
