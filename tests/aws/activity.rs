//! An activity's tasks become jobs.

use serde_json::json;

use crate::api::Api;
use crate::daemon;
use crate::ministack::ministack;
use crate::support::erp;

#[tokio::test(flavor = "multi_thread")]
async fn an_activitys_tasks_become_jobs() {
    let Some(aws) = ministack().await else { return };
    let api = Api::start().await;
    let activity = aws.sfn.create_activity().name("erp-high").send().await.unwrap().activity_arn;
    let definition = json!({
        "StartAt": "Call",
        "States": {"Call": {"Type": "Task", "Resource": activity, "End": true}}
    });
    let machine = aws.machine("by-activity", &definition.to_string()).await;
    let config = erp(api.address, "1000/s", "")
        + &format!(
            "[[sources.activity]]\narn = \"{activity}\"\ntarget = \"erp\"\npriority = \"HIGH\"\n"
        );
    let mut daemon = daemon(&aws, &config);
    for number in 0..6 {
        let input = json!({"Path": format!("/orders/{number}"), "RequestBody": {"n": number}});
        aws.execution(&machine, &input).await;
    }
    let calls = api.called(6).await;
    let mut paths: Vec<&str> = calls.iter().map(|call| call.path.as_str()).collect();
    paths.sort_unstable();
    assert_eq!(paths, [0, 1, 2, 3, 4, 5].map(|n| format!("/orders/{n}")));
    assert!(calls.iter().all(|call| call.priority == "HIGH"), "{calls:?}");
    assert!(daemon.terminate().success());
}
