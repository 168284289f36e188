use std::time::Duration;

use super::stub::{Stub, error, fine, pass};
use super::*;

#[tokio::test(start_paused = true)]
async fn credentials_that_are_refused_are_looked_for_again_and_not_at_every_call() {
    let stub = Stub::new(|call| async move {
        match call.key.as_str() {
            "key-0" | "key-1" => error("ExpiredTokenException"),
            _ => fine(),
        }
    });
    let service = stub.aws().step_functions(None);
    let begin = Instant::now();
    let mut worked = None;
    while worked.is_none() {
        let client = service.client().await;
        match client.send_task_heartbeat().task_token("t").send().await {
            Ok(_) => worked = Some(begin.elapsed()),
            Err(error) => {
                assert!(is_of_identity(&error), "{}", told(&error));
                service.doubt();
                pass(Duration::from_secs(1)).await;
            }
        }
    }
    assert_eq!(worked, Some(AGAIN * 2));
    let mut keys: Vec<_> = stub.calls().into_iter().map(|call| call.key).collect();
    assert_eq!(keys.len(), 61);
    keys.dedup();
    assert_eq!(keys, ["key-0", "key-1", "key-2"]);
}

#[tokio::test(start_paused = true)]
async fn good_credentials_are_kept() {
    let stub = Stub::new(|_| async { fine() });
    let service = stub.aws().step_functions(None);
    for _ in 0..3 {
        let client = service.client().await;
        client.send_task_heartbeat().task_token("t").send().await.unwrap();
        pass(AGAIN * 2).await;
    }
    assert!(stub.calls().iter().all(|call| call.key == "key-0"));
}

#[test]
fn errors_have_kinds() {
    for (status, code, expected) in [
        (400, "ExpiredTokenException", Kind::Identity),
        (403, "RequestTimeTooSkewed", Kind::Identity),
        (400, "AccessDeniedException", Kind::Denied),
        (400, "ThrottlingException", Kind::Passing),
        (400, "RequestTimeout", Kind::Passing),
        (503, "", Kind::Passing),
        (400, "ValidationException", Kind::Refused),
        (404, "", Kind::Refused),
    ] {
        assert_eq!(kind(status, code), expected, "{status} {code}");
    }
}

#[test]
fn the_host_of_a_queue_says_where_it_is() {
    for (url, origin, region) in [
        (
            "https://sqs.eu-west-1.amazonaws.com/1/high",
            "https://sqs.eu-west-1.amazonaws.com",
            Some("eu-west-1"),
        ),
        (
            "https://sqs.cn-north-1.amazonaws.com.cn/1/high",
            "https://sqs.cn-north-1.amazonaws.com.cn",
            Some("cn-north-1"),
        ),
        (
            "https://us-west-2.queue.amazonaws.com/1/high",
            "https://us-west-2.queue.amazonaws.com",
            Some("us-west-2"),
        ),
        ("http://127.0.0.1:4570/000000000000/q", "http://127.0.0.1:4570", None),
        (
            "https://vpce-1.sqs.eu-west-1.vpce.amazonaws.com/1/q",
            "https://vpce-1.sqs.eu-west-1.vpce.amazonaws.com",
            None,
        ),
    ] {
        assert_eq!(place(url), Some((origin.to_owned(), region.map(str::to_owned))), "{url}");
    }
}
