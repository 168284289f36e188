//! The example of `config/step-functions/` on a real interpreter of the States Language.

use aws_sdk_sfn::types::ExecutionStatus;
use serde_json::{Value, json};

use crate::api::{Api, Reply};
use crate::local_aws::LocalAws;
use crate::ministack::ministack;
use crate::support::erp;
use crate::{daemon, source};

pub(crate) const VARIANTS: [(&str, &str); 2] = [("jsonpath", JSON_PATH), ("jsonata", JSONATA)];
pub(crate) const JSON_PATH: &str =
    include_str!("../../config/step-functions/order.jsonpath.asl.json");
const JSONATA: &str = include_str!("../../config/step-functions/order.jsonata.asl.json");

/// The five queues that the example's definitions name.
pub(crate) struct Queues {
    urls: [(&'static str, String); 5],
}

impl Queues {
    pub(crate) async fn new(aws: &LocalAws) -> Queues {
        let mut urls =
            ["high", "normal", "batch", "review", "decision"].map(|n| (n, String::new()));
        for (name, url) in &mut urls {
            *url = aws.queue(&format!("tollgate-{name}")).await;
        }
        Queues { urls }
    }

    pub(crate) fn url(&self, name: &str) -> &str {
        &self.urls.iter().find(|(known, _)| *known == name).unwrap().1
    }

    /// A definition with their URLs.
    pub(crate) fn filled(&self, definition: &str) -> String {
        let mut definition = definition.to_owned();
        for (name, url) in &self.urls {
            definition = definition.replace(&format!("${{{name}_queue_url}}"), url);
        }
        assert!(!definition.contains("${"), "a queue has no URL: {definition}");
        definition
    }

    /// `[[sources.sqs]]` of the broker's three; `by` says at which URL each is reached.
    pub(crate) fn sources(&self, by: impl Fn(&str) -> String) -> String {
        ["high", "normal", "batch"].map(|name| source(&by(self.url(name)), name)).concat()
    }

    pub(crate) async fn all_emptied(&self, aws: &LocalAws) {
        for (_, url) in &self.urls {
            aws.emptied(url).await;
        }
    }
}

/// An order as the example takes it.
pub(crate) fn order(id: &str, express: bool, nightly: bool) -> Value {
    json!({"order": {"id": id, "amount": 5, "express": express, "nightly": nightly}})
}

/// Both definitions are taken by the interpreter, what their task sends is understood, and their
/// executions succeed with what the API answered.
#[tokio::test(flavor = "multi_thread")]
async fn orders_of_both_variants_get_through() {
    for (name, definition) in VARIANTS {
        let Some(aws) = ministack().await else { return };
        let api = Api::start().await;
        let queues = Queues::new(&aws).await;
        let machine = aws.machine(name, &queues.filled(definition)).await;
        let config = erp(api.address, "1000/s", "") + &queues.sources(str::to_owned);
        let mut daemon = daemon(&aws, &(config + "[step_functions]\n"));
        let mut executions = Vec::new();
        for (express, nightly) in [(true, false), (false, false), (false, true)] {
            executions.push(aws.execution(&machine, &order("o-1", express, nightly)).await);
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
        for execution in executions {
            let ended = aws.ended(&execution).await;
            assert_eq!(ended.status, ExecutionStatus::Succeeded, "{name}: {ended:?}");
            let output: Value = serde_json::from_str(ended.output().unwrap()).unwrap();
            assert_eq!(output["erp"]["status"], 200, "{name}: {output}");
            assert_eq!(output["erp"]["body"]["status"], 200, "{name}: {output}");
            assert_eq!(output["order"]["id"], "o-1", "{name}: {output}");
        }
        assert!(daemon.terminate().success());
    }
}

/// An order that makes no sense never gets as far as a queue.
#[tokio::test(flavor = "multi_thread")]
async fn an_order_without_an_amount_is_invalid() {
    for (name, definition) in VARIANTS {
        let Some(aws) = ministack().await else { return };
        let queues = Queues::new(&aws).await;
        let machine = aws.machine(name, &queues.filled(definition)).await;
        let execution = aws.execution(&machine, &json!({"order": {"id": "o-1"}})).await;
        let ended = aws.ended(&execution).await;
        assert_eq!(ended.status, ExecutionStatus::Failed, "{name}");
        assert_eq!(ended.error(), Some("Order.Invalid"), "{name}: {ended:?}");
        queues.all_emptied(&aws).await;
    }
}

/// What becomes of an order whose outcome is unknown: the API takes the call and never answers, and
/// its `delivery` forbids another.
#[tokio::test(flavor = "multi_thread")]
async fn a_person_decides_what_is_unknown() {
    for (name, definition) in VARIANTS {
        let Some(aws) = ministack().await else { return };
        let api = Api::answering(|_, _, _| Reply::Never).await;
        let queues = Queues::new(&aws).await;
        let machine = aws.machine(name, &queues.filled(definition)).await;
        let config = erp(api.address, "1000/s", "") + &queues.sources(str::to_owned);
        let once = "timeout = \"1s\"\ndelivery = \"at-most-once\"";
        let config = config.replace("timeout = \"2s\"", once) + "[step_functions]\n";
        let mut daemon = daemon(&aws, &config);
        let execution = aws.execution(&machine, &order("o-1", true, false)).await;
        let asked = aws.take(queues.url("decision")).await;
        assert_eq!(asked["order"]["id"], "o-1", "{name}: {asked}");
        assert_eq!(asked["error"]["Error"], "Tollgate.OutcomeUnknown", "{name}: {asked}");
        answer(&aws, &asked, json!({"done": false})).await;
        // It was not done: the ERP is called again, and again nobody knows.
        let asked = aws.take(queues.url("decision")).await;
        answer(&aws, &asked, json!({"done": true})).await;
        let ended = aws.ended(&execution).await;
        assert_eq!(ended.status, ExecutionStatus::Succeeded, "{name}: {ended:?}");
        let entered = aws.entered(&execution).await;
        let count = |state| entered.iter().filter(|name| *name == state).count();
        assert_eq!((count("CallErp"), count("Decide")), (2, 2), "{name}: {entered:?}");
        assert_eq!(entered.last().unwrap(), "Done", "{name}: {entered:?}");
        let calls: Vec<usize> = api.by_key().into_values().collect();
        assert_eq!(calls, [1, 1], "{name}: each token was one job, and each job one call");
        assert!(daemon.terminate().success());
    }
}

/// What people try by hand: `orders.py` against a local AWS. It runs in MiniStack's Python.
#[tokio::test(flavor = "multi_thread")]
async fn the_script_tells_how_orders_ended() {
    let Some(aws) = ministack().await else { return };
    let api = Api::start().await;
    assert!(orders(&aws, 0).contains("five queues and two state machines"));
    // They are there already: as the script has made them.
    let queues = Queues::new(&aws).await;
    let config = erp(api.address, "1000/s", "") + &queues.sources(str::to_owned);
    let mut daemon = daemon(&aws, &(config + "[step_functions]\n"));
    let told = orders(&aws, 6);
    assert!(told.contains("    6  SUCCEEDED Done\n"), "{told}");
    let mut seen: Vec<String> = api.calls().into_iter().map(|call| call.priority).collect();
    seen.sort_unstable();
    assert_eq!(seen, ["BATCH", "BATCH", "HIGH", "HIGH", "NORMAL", "NORMAL"]);
    assert!(daemon.terminate().success());
}

fn orders(aws: &LocalAws, count: usize) -> String {
    let output = std::process::Command::new(crate::ministack::python())
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/config/step-functions/orders.py"))
        .arg(count.to_string())
        .env("AWS_ENDPOINT_URL", format!("http://{}", aws.address))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The page shows the task as it is, and names every failure.
#[test]
fn the_page_tells_the_truth_about_the_definitions() {
    let page = include_str!("../../docs/step-functions.md");
    for (name, definition) in VARIANTS {
        let task = definition.split("\n    \"CallErp\": ").nth(1).unwrap();
        let task = task.split("\n    },\n").next().unwrap().replace("\n    ", "\n");
        assert!(page.contains(&format!("\"CallErp\": {task}\n}}\n")), "{name}");
    }
    let names = [
        include_str!("../../src/broker/job.rs"),
        include_str!("../../src/step_functions/answer.rs"),
    ];
    let mut found = 0;
    for text in names.iter().flat_map(|text| text.split("\"Tollgate.").skip(1)) {
        let name = text.split(['"', '{']).next().unwrap();
        assert!(page.contains(&format!("| `Tollgate.{name}")), "Tollgate.{name}");
        found += 1;
    }
    assert!(found >= 6, "{found}");
}

async fn answer(aws: &LocalAws, message: &Value, output: Value) {
    let call = aws.sfn.send_task_success().task_token(message["TaskToken"].as_str().unwrap());
    call.output(output.to_string()).send().await.unwrap();
}
