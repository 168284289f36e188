use std::collections::BTreeSet;

use serde_json::Value;

use super::world::{World, failed, id, record};
use crate::admin::openapi;

/// CONTRACT §6.
const CONTRACT: [&str; 22] = [
    "GET /",
    "GET /metrics",
    "GET /healthz",
    "GET /readyz",
    "GET /openapi.json",
    "GET /v1/targets",
    "GET /v1/targets/{target}",
    "POST /v1/targets/{target}/pause",
    "POST /v1/targets/{target}/resume",
    "GET /v1/jobs",
    "PATCH /v1/jobs/{id}",
    "POST /v1/jobs/{id}/redrive",
    "POST /v1/jobs/{id}/cancel",
    "GET /v1/targets/{target}/dead",
    "DELETE /v1/targets/{target}/dead",
    "POST /v1/targets/{target}/dead/redrive",
    "POST /v1/reload",
    "GET /v1/events",
    // Beyond it: what the commands `plan`, `jobs show` and `dead purge` ask for.
    "GET /v1/targets/{target}/plan",
    "GET /v1/jobs/{id}",
    "DELETE /v1/jobs/{id}",
    // For the console.
    "GET /v1/targets/{target}/dead/errors",
];

/// Its answer has no end; it has tests of its own.
const STREAM: &str = "/v1/events";

fn operations_of(document: &Value) -> Vec<(String, String, Value)> {
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            all.push((method.to_uppercase(), path.clone(), operation.clone()));
        }
    }
    all
}

/// Method, path and description of every operation of this address.
fn operations() -> Vec<(String, String, Value)> {
    operations_of(&serde_json::to_value(openapi::admin()).unwrap())
}

fn filled(path: &str) -> String {
    path.replace("{target}", "erp").replace("{id}", &id(1).to_string())
}

fn world() -> World {
    let world = World::new();
    world.shelf.put(record(1, failed()));
    world
}

#[tokio::test]
async fn the_document_lists_every_route_of_both_addresses() {
    let document = World::new().get("/openapi.json").await.json();
    let listed: BTreeSet<String> = operations_of(&document)
        .into_iter()
        .map(|(method, path, _)| format!("{method} {path}"))
        .collect();
    let data = operations_of(&serde_json::to_value(crate::sources::openapi()).unwrap());
    assert!(!data.is_empty());
    let data = data.into_iter().map(|(method, path, _)| format!("{method} {path}"));
    for route in CONTRACT.into_iter().map(str::to_owned).chain(data) {
        assert!(listed.contains(&route), "{route} is not in {listed:#?}");
    }
    // The same words for something else there.
    let purge = &document["paths"]["/v1/jobs/{id}"]["delete"];
    assert_eq!(purge["operationId"], "purge_job");
    let description = purge["description"].as_str().unwrap();
    assert!(description.contains("At the data address: Cancel"), "{description}");
    let submit = &document["paths"]["/v1/jobs"]["post"]["tags"];
    assert!(submit.as_array().unwrap().contains(&Value::from("data address")), "{submit}");
    assert_eq!(document["paths"]["/v1/jobs"]["get"]["operationId"], "list_jobs");
}

#[tokio::test]
async fn every_route_of_the_document_is_there() {
    let world = world();
    for (method, path, _) in operations().into_iter().filter(|(_, path, _)| path != STREAM) {
        let answer = world.send(&method, &filled(&path), r#"{"priority":"HIGH"}"#).await;
        // There is no file to reload here; that is an answer of the route all the same.
        let expected = match &*path {
            "/v1/reload" => 422,
            // Nor is there a callback.
            path if path.contains("{callback}") => 404,
            _ => 200,
        };
        assert_eq!(answer.status, expected, "{method} {path}: {answer:?}");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
        assert_eq!(answer.headers["cache-control"], "no-store");
    }
}

#[tokio::test]
async fn every_route_in_the_code_is_in_the_document() {
    let listed: BTreeSet<String> = operations().into_iter().map(|(_, path, _)| path).collect();
    let routes: Vec<&str> = include_str!("../mod.rs")
        .split(".route(\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .filter(|path| !path.starts_with("/console/"))
        .collect();
    assert!(routes.len() >= 15, "{routes:?}");
    for path in routes {
        assert!(listed.contains(path), "{path} is not in {listed:#?}");
    }
}

#[tokio::test]
async fn every_route_knows_its_parameters_and_no_others() {
    let world = world();
    for (method, path, operation) in operations() {
        let none = Vec::new();
        let parameters = operation["parameters"].as_array().unwrap_or(&none);
        let mut names: Vec<&str> = parameters
            .iter()
            .filter(|parameter| parameter["in"] == "query")
            .map(|parameter| parameter["name"].as_str().unwrap())
            .collect();
        names.sort_unstable();
        let asked = format!("{}?nonsense=1", filled(&path));
        let detail = world.send(&method, &asked, r#"{"priority":"HIGH"}"#).await.detail(400);
        let (_, known) = detail.split_once("; known here: ").unwrap();
        let mut known: Vec<&str> = known.split(", ").filter(|name| *name != "none").collect();
        known.sort_unstable();
        assert_eq!(known, names, "{method} {path}");
    }
    assert!(world.asked.lock().unwrap().is_empty(), "a refused request did something");
}

#[tokio::test]
async fn the_document_is_whole() {
    let document = World::new().get("/openapi.json").await;
    let text = document.text().to_owned();
    let document = document.json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3."));
    assert_eq!(document["info"]["title"], "Tollgate");
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    // OpenAPI 3.1: "description. REQUIRED".
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            for (status, response) in operation["responses"].as_object().unwrap() {
                assert!(response["description"].is_string(), "{method} {path}: {status}");
            }
        }
    }
    // Each reference leads somewhere.
    let schemas = &document["components"]["schemas"];
    let references: Vec<&str> = text
        .split("\"#/components/schemas/")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect();
    assert!(references.len() > 20);
    for name in references {
        assert!(schemas[name].is_object(), "{name} is not described");
    }
    let mut ids = BTreeSet::new();
    for (method, path, operation) in operations() {
        assert!(operation["summary"].is_string(), "{method} {path}");
        assert!(operation["responses"]["default"].is_object(), "{method} {path}");
    }
    for (method, path, operation) in operations_of(&document) {
        let id = operation["operationId"].as_str().unwrap().to_owned();
        assert!(ids.insert(id), "{method} {path} shares its operationId");
    }
}

#[tokio::test]
async fn what_is_not_there_and_what_is_not_so_are_problems() {
    let world = World::new();
    assert!(world.get("/v1/nowhere").await.detail(404).contains("/v1/nowhere"));
    world.get("/v1/targets/").await.problem(404);
    let answer = world.send("PUT", "/v1/targets/erp/dead", "").await;
    answer.problem(405);
    let allow: BTreeSet<&str> = answer.headers["allow"].to_str().unwrap().split(',').collect();
    assert_eq!(allow, BTreeSet::from(["GET", "HEAD", "DELETE"]));
    let head = world.send("HEAD", "/v1/targets", "").await;
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
}

#[tokio::test]
async fn the_page_runs_nothing_but_its_own_files() {
    let world = World::new();
    let page = world.get("/").await;
    assert_eq!((page.status.as_u16(), page.kind()), (200, "text/html; charset=utf-8"));
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    for part in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");

    let html = page.text();
    assert!(!html.contains("style=") && !html.contains("<style"), "inline style");
    assert!(!html.contains(" on"), "inline handler");
    for script in html.split("<script").skip(1) {
        assert!(script.contains("src=") && script.contains("></script>"), "inline script");
    }
    // What it refers to is there, and of the right kind.
    let mut links = 0;
    for link in html.split(['"', ' ']).filter(|word| word.starts_with('/')) {
        let answer = world.get(link).await;
        assert_eq!(answer.status, 200, "{link}");
        links += 1;
        let kind = match link.rsplit_once('.') {
            Some((_, "css")) => "text/css; charset=utf-8",
            Some((_, "js")) => "text/javascript; charset=utf-8",
            Some((_, "svg")) => "image/svg+xml",
            _ => continue,
        };
        assert_eq!(answer.kind(), kind, "{link}");
    }
    assert!(links >= 8, "{links} links");
}

#[tokio::test]
async fn every_html_answer_has_a_content_security_policy() {
    let world = world();
    let mut pages = 0;
    let mut paths: Vec<String> =
        operations().into_iter().map(|(_, path, _)| filled(&path)).collect();
    paths.retain(|path| path != STREAM);
    paths.extend(["/nowhere", "/%ff", "/console/icon.svg"].map(str::to_owned));
    for path in paths {
        let answer = world.get(&path).await;
        pages += usize::from(answer.kind().starts_with("text/html"));
        // An image or a JSON that is opened by itself is a document too.
        let policy = &answer.headers["content-security-policy"];
        assert!(policy.to_str().unwrap().starts_with("default-src 'none'"), "{path}");
    }
    assert!(pages > 0);
}
