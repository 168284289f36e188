use super::*;
use crate::aws::stub::on_the_network;
use crate::step_functions::stub::{Says, Stub};

const SECRET: &str = "AQCEAAAAKgAAAAMAsecret";

fn token() -> TaskToken {
    TaskToken::new(SECRET).unwrap()
}

fn success() -> TokenAnswer {
    TokenAnswer::Success { output: r#"{"StatusCode":200}"#.into() }
}

#[derive(Debug, PartialEq, Eq)]
enum Is {
    Accepted,
    Gone(Gone),
    TooLarge,
    Hold(Scope),
    Later,
}

/// Without the reason, which is looked at for secrets here.
fn kind(outcome: &Outcome) -> Is {
    let (is, reason) = match outcome {
        Outcome::Accepted => (Is::Accepted, ""),
        Outcome::Gone(gone) => (Is::Gone(*gone), gone.reason()),
        Outcome::TooLarge => (Is::TooLarge, ""),
        Outcome::Hold { reason, of } => (Is::Hold(*of), reason.as_str()),
        Outcome::Later { reason } => (Is::Later, reason.as_str()),
    };
    assert!(!reason.contains("secret"), "{reason}");
    assert!(reason.chars().count() <= 300 && !reason.contains('\n'), "{reason}");
    if matches!(is, Is::Hold(_) | Is::Later) {
        assert!(!reason.is_empty());
    }
    is
}

#[tokio::test]
async fn every_answer_of_the_service_has_its_meaning() {
    let table: [(Says, Is); 20] = [
        (None, Is::Accepted),
        (Some((400, "TaskTimedOut")), Is::Gone(Gone::TimedOut)),
        (Some((400, "TaskDoesNotExist")), Is::Gone(Gone::DoesNotExist)),
        (Some((400, "InvalidToken")), Is::Gone(Gone::InvalidToken)),
        (Some((400, "InvalidOutput")), Is::TooLarge),
        (Some((400, "KmsAccessDeniedException")), Is::Hold(Scope::Job)),
        (Some((400, "KmsInvalidStateException")), Is::Hold(Scope::Job)),
        (Some((400, "KmsThrottlingException")), Is::Later),
        (Some((400, "ThrottlingException")), Is::Later),
        (Some((400, "AccessDeniedException")), Is::Hold(Scope::Service)),
        (Some((400, "ExpiredTokenException")), Is::Hold(Scope::Service)),
        (Some((403, "UnrecognizedClientException")), Is::Hold(Scope::Service)),
        (Some((400, "ValidationException")), Is::Hold(Scope::Job)),
        (Some((400, "NewException")), Is::Hold(Scope::Job)),
        (Some((400, "RequestTimeout")), Is::Later),
        (Some((403, "RequestTimeTooSkewed")), Is::Hold(Scope::Service)),
        (Some((500, "InternalFailure")), Is::Later),
        (Some((503, "")), Is::Later),
        (Some((429, "")), Is::Later),
        (Some((404, "")), Is::Hold(Scope::Service)),
    ];
    let stub = Stub::new();
    let sfn = Sfn::new(stub.aws.aws().step_functions(None));
    let calls = table.len();
    for (says, expected) in table {
        stub.will_say([says]);
        assert_eq!(kind(&sfn.answer(&token(), success()).await), expected, "{says:?}");
    }
    assert_eq!(stub.calls().len(), calls, "the SDK tries nothing again of itself");
}

#[tokio::test]
async fn what_is_sent_is_what_is_meant() {
    let stub = Stub::new();
    let sfn = Sfn::new(stub.aws.aws().step_functions(None));
    let failure = TokenAnswer::Failure { error: "Tollgate.Http.404".into(), cause: "{}".into() };
    for outcome in [
        sfn.answer(&token(), success()).await,
        sfn.answer(&token(), failure).await,
        sfn.heartbeat(&token()).await,
    ] {
        assert_eq!(outcome, Outcome::Accepted);
    }
    let sent: Vec<_> = stub.calls().into_iter().map(|call| (call.operation, call.input)).collect();
    let expected = [
        (
            "SendTaskSuccess",
            serde_json::json!({"taskToken": SECRET, "output": r#"{"StatusCode":200}"#}),
        ),
        (
            "SendTaskFailure",
            serde_json::json!({"taskToken": SECRET, "error": "Tollgate.Http.404", "cause": "{}"}),
        ),
        ("SendTaskHeartbeat", serde_json::json!({"taskToken": SECRET})),
    ];
    assert_eq!(sent, expected.map(|(operation, input)| (operation.to_owned(), input)));
}

#[tokio::test]
async fn what_is_too_large_is_not_even_sent() {
    let stub = Stub::new();
    let sfn = Sfn::new(stub.aws.aws().step_functions(None));
    let answer = TokenAnswer::Success { output: "x".repeat(MAX_OUTPUT + 1) };
    assert_eq!(sfn.answer(&token(), answer).await, Outcome::TooLarge);
    assert!(stub.calls().is_empty());
}

#[tokio::test]
async fn nobody_there_is_for_later_and_no_credentials_are_for_somebody_to_see() {
    // Bound and dropped: a port on which nobody listens.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let away = on_the_network().step_functions(Some(format!("http://{free}")));
    let away = Sfn::new(away);
    assert_eq!(kind(&away.answer(&token(), success()).await), Is::Later);
    let stub = Stub::new();
    let nobody = Sfn::new(stub.aws.aws_without_credentials().step_functions(None));
    assert_eq!(kind(&nobody.heartbeat(&token()).await), Is::Hold(Scope::Service));
    assert!(stub.calls().is_empty());
}
