use axum::body::Body;
use http::{Request, Version};

use super::world::World;

fn pause() -> http::request::Builder {
    Request::post("/v1/targets/erp/pause")
}

async fn status(world: &World, request: http::request::Builder) -> u16 {
    world.call(request.body(Body::empty()).unwrap()).await.status.as_u16()
}

#[tokio::test]
async fn other_names_are_refused_on_every_kind_of_route() {
    let world = World::new();
    for path in ["/", "/metrics", "/healthz", "/v1/targets", "/console/console.js", "/nowhere"] {
        let request = Request::get(path).header("host", "evil.example:7071");
        let answer = world.call(request.body(Body::empty()).unwrap()).await;
        let detail = answer.detail(403);
        assert!(detail.contains("evil.example") && detail.contains("allowed_hosts"), "{detail}");
    }
    for host in ["localhost:7071", "[::1]:7071", "192.168.1.2"] {
        assert_eq!(status(&world, Request::get("/healthz").header("host", host)).await, 200);
    }
}

#[tokio::test]
async fn the_host_must_be_there_once() {
    let world = World::new();
    assert_eq!(status(&world, Request::get("/healthz")).await, 400);
    let old = Request::get("/healthz").version(Version::HTTP_10);
    assert_eq!(status(&world, old).await, 200, "old health checks send none");
    let twice = Request::get("/healthz").header("host", "localhost").header("host", "evil.example");
    assert_eq!(status(&world, twice).await, 400);
    // Absolute form and HTTP/2: the URI says it.
    let uri = Request::get("http://evil.example/healthz").header("host", "localhost");
    assert_eq!(status(&world, uri).await, 403);
    let uri = Request::get("http://localhost:7071/healthz").version(Version::HTTP_2);
    assert_eq!(status(&world, uri).await, 200);
    let odd = http::HeaderValue::from_bytes(b"caf\xe9").unwrap();
    assert_eq!(status(&world, Request::get("/healthz").header("host", odd)).await, 403);
}

#[tokio::test]
async fn a_change_that_another_page_asked_for_is_refused() {
    let world = World::new();
    for (name, value) in [
        ("origin", "https://evil.example"),
        ("origin", "http://127.0.0.1:3000"),
        ("origin", "http://127.0.0.1:7071.evil.example"),
        ("origin", "null"),
        ("origin", ""),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("sec-fetch-site", "something-new"),
    ] {
        for method in ["POST", "DELETE", "PATCH", "PUT"] {
            let request = Request::builder()
                .method(method)
                .uri("/v1/targets/erp/dead")
                .header("host", "127.0.0.1:7071")
                .header(name, value);
            let answer = world.call(request.body(Body::empty()).unwrap()).await;
            assert!(answer.detail(403).contains("page from elsewhere"), "{method} {name}: {value}");
        }
    }
    // One honest header does not make up for the other.
    let mixed = pause()
        .header("host", "localhost")
        .header("origin", "http://localhost")
        .header("sec-fetch-site", "cross-site");
    assert_eq!(status(&world, mixed).await, 403);
    assert!(world.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn own_pages_and_other_clients_may_change_things() {
    let world = World::new();
    let plain = pause().header("host", "localhost:7071");
    assert_eq!(status(&world, plain).await, 200);
    let own = pause()
        .header("host", "localhost:7071")
        .header("origin", "http://localhost:7071")
        .header("sec-fetch-site", "same-origin");
    assert_eq!(status(&world, own).await, 200);
    let typed = pause().header("host", "[::1]:7071").header("sec-fetch-site", "none");
    assert_eq!(status(&world, typed).await, 200);
    assert_eq!(world.asked.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn looking_is_left_to_the_browser_s_own_rules() {
    let world = World::new();
    // Following a link from another site.
    let link = Request::get("/").header("host", "localhost").header("sec-fetch-site", "cross-site");
    assert_eq!(status(&world, link).await, 200);
}
