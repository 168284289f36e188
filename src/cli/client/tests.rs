use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;
use crate::cli::error::Exit;
use crate::cli::values::data_url;

/// Answers one request with these bytes and closes; gives back the request's head and body.
async fn answering(answer: &str) -> (Address, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = answer.to_owned();
    let seen = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !is_whole(&request) {
            let mut part = [0; 4096];
            let read = stream.read(&mut part).await.unwrap();
            assert_ne!(read, 0, "the client hung up within its request");
            request.extend_from_slice(&part[..read]);
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8(request).unwrap()
    });
    (data_url(&url).unwrap().0, seen)
}

fn is_whole(request: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(request) else { return false };
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    body.len() >= length.unwrap_or(0)
}

fn http(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len())
}

async fn got(answer: &str) -> Result<Answer, CliError> {
    let (address, seen) = answering(answer).await;
    let result = Client::new(&address, None, None).unwrap().get("/v1/x").await;
    seen.await.unwrap();
    result
}

#[tokio::test]
async fn json_comes_back_as_it_is() {
    let answer = got(&http("200 OK", "", "{\"n\":1e400, \"a\":[ ]}\n")).await.unwrap();
    assert_eq!(answer.text(), "{\"n\":1e400, \"a\":[ ]}");
    assert_eq!(got(&http("204 No Content", "", "")).await.unwrap().text(), "");
}

#[tokio::test]
async fn the_request_carries_token_and_body() {
    let (address, seen) = answering(&http("202 Accepted", "", "{}")).await;
    let token = Token::parse(" s3cret\n").unwrap();
    let client = Client::new(&address, token, None).unwrap();
    client.post("/v1/jobs", Some("{\"target\":\"erp\"}".into())).await.unwrap();
    let request = seen.await.unwrap();
    assert!(request.starts_with("POST /v1/jobs HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("authorization: Bearer s3cret\r\n"), "{request}");
    assert!(request.contains("content-type: application/json\r\n"), "{request}");
    assert!(request.ends_with("\r\n\r\n{\"target\":\"erp\"}"), "{request}");
}

#[tokio::test]
async fn without_a_token_none_is_sent() {
    let (address, seen) = answering(&http("200 OK", "", "{}")).await;
    Client::new(&address, Token::parse("").unwrap(), None)
        .unwrap()
        .get("/v1/targets")
        .await
        .unwrap();
    assert!(!seen.await.unwrap().to_ascii_lowercase().contains("authorization"));
}

#[test]
fn a_token_is_shown_nowhere() {
    let token = Token::parse("s3cret").unwrap().unwrap();
    assert_eq!(format!("{token:?}"), "Token(…)");
    let error = Token::parse("s3cret\r\nX: y").unwrap_err();
    assert_eq!(error.exit(), Exit::Usage);
    assert!(!error.to_string().contains("s3cret"));
}

#[tokio::test]
async fn a_problem_is_told_in_its_own_words() {
    let body = r#"{"type":"about:blank","title":"queue full","status":429,"detail":"erp has 9"}"#;
    let headers = "content-type: application/problem+json\r\nretry-after: 3\r\n";
    let error = got(&http("429 Too Many Requests", headers, body)).await.unwrap_err();
    assert_eq!(error.to_string(), "queue full (429): erp has 9; try again in 3s");
    assert_eq!(error.exit(), Exit::Failed);
}

#[tokio::test]
async fn a_problem_cannot_steer_the_terminal() {
    let body = r#"{"title":"a\u001b[2Jb","status":400,"detail":"x\u0007\ny"}"#;
    let headers = "content-type: application/problem+json\r\n";
    let error = got(&http("400 Bad Request", headers, body)).await.unwrap_err();
    assert_eq!(error.to_string(), "a\\u{1b}[2Jb (400):\nx\\u{7}\ny");
}

#[tokio::test]
async fn a_missing_token_is_named() {
    let body = r#"{"title":"unauthorized"}"#;
    let headers = "content-type: application/problem+json\r\n";
    let error = got(&http("401 Unauthorized", headers, body)).await.unwrap_err();
    assert_eq!(error.to_string(), "unauthorized (401); TOLLGATE_TOKEN is not set");
}

#[tokio::test]
async fn others_that_listen_there_are_not_taken_for_tollgate() {
    for (answer, said) in [
        (http("200 OK", "content-type: text/html\r\n", "<html>hello</html>"), "<html>hello</html>"),
        (http("404 Not Found", "", "not \u{1b}here"), "not \\u{1b}here"),
        (http("502 Bad Gateway", "", ""), "an empty body"),
        (http("404 Not Found", "content-type: application/json\r\n", "[1]"), "[1]"),
        (http("302 Found", "location: https://x.example/\r\n", ""), "a redirect to https://x.ex"),
    ] {
        let error = got(&answer).await.unwrap_err();
        assert_eq!(error.exit(), Exit::Failed);
        let text = error.to_string();
        assert!(text.contains(said) && text.contains("--url or TOLLGATE_URL"), "{text}");
    }
}

#[tokio::test]
async fn other_json_than_expected_is_no_crash() {
    #[derive(Debug, serde::Deserialize)]
    struct Wanted {
        #[allow(dead_code)]
        id: String,
    }
    let answer = got(&http("200 OK", "", "[1,2]")).await.unwrap();
    let error = answer.read::<Wanted>().unwrap_err();
    assert!(matches!(error, CliError::NotTollgate { status: 200, .. }), "{error}");
}

#[tokio::test]
async fn refused_connections_exit_with_3_and_name_the_address() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let address = data_url(&url).unwrap().0;
    let error = Client::new(&address, None, None).unwrap().get("/v1/jobs").await.unwrap_err();
    assert_eq!(error.exit(), Exit::Unreachable);
    let text = error.to_string();
    assert!(text.contains(&format!("{url}: connection refused")), "{text}");
    assert!(text.contains("--url or TOLLGATE_URL"), "{text}");
}

#[tokio::test]
async fn an_answer_that_breaks_off_or_never_comes_exits_with_3() {
    for answer in ["", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"id\":"] {
        let error = got(answer).await.unwrap_err();
        assert!(matches!(error, CliError::NoAnswer { .. }), "{error}");
        assert_eq!(error.exit(), Exit::Unreachable);
    }

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let client = Client::new(&data_url(&url).unwrap().0, None, None).unwrap();
    let client = client.with_patience(Duration::from_millis(1));
    // The listener takes the connection and nobody reads it.
    let error = client.get("/v1/jobs").await.unwrap_err();
    assert_eq!(error.exit(), Exit::Unreachable);
    assert!(error.to_string().contains("may have been done"), "{error}");
    drop(listener);
}
