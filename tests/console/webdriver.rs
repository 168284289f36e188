//! As much of WebDriver (W3C) as is needed here: JSON over HTTP to chromedriver.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::Client;

/// The key under which an element is named (WebDriver, section 12.2).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// One session of one browser; both end with it.
pub(crate) struct WebDriver {
    client: Client,
    driver: Child,
    address: SocketAddr,
    session: String,
    _profile: tempfile::TempDir,
}

impl WebDriver {
    /// `None` where Chromium or its driver is not installed.
    pub(crate) async fn start() -> Option<WebDriver> {
        let found = Command::new("chromium").arg("--version").output();
        found.ok().filter(|output| output.status.success())?;
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let said = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = said.map_while(Result::ok).find_map(|line| {
            let (_, port) = line.split_once("started successfully on port ")?;
            port.trim_end_matches('.').parse::<u16>().ok()
        });
        let address = SocketAddr::from(([127, 0, 0, 1], port.expect("chromedriver says its port")));
        let profile = tempfile::tempdir().unwrap();
        let options = json!({
            "binary": "/usr/bin/chromium",
            "args": [
                "--headless=new",
                // There is no user namespace in most containers, and nothing foreign is loaded.
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--disable-background-networking",
                "--hide-scrollbars",
                "--lang=en",
                format!("--user-data-dir={}", profile.path().display()),
            ],
        });
        let wanted = json!({
            "goog:chromeOptions": options,
            "goog:loggingPrefs": { "browser": "ALL" },
        });
        let mut web = WebDriver {
            client: Client::new(),
            driver,
            address,
            session: String::new(),
            _profile: profile,
        };
        let wanted = json!({ "capabilities": { "alwaysMatch": wanted } });
        let session = web.send("POST", "/session", &wanted).await;
        web.session = format!("/session/{}", session["sessionId"].as_str().unwrap());
        Some(web)
    }

    async fn send(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = if method == "GET" { String::new() } else { body.to_string() };
        let answer = self.client.send(method, self.address, path, &[], body).await;
        let answer = answer.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        let value = answer.json()["value"].clone();
        assert_eq!(answer.status, 200, "{method} {path}: {value}");
        value
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Value {
        self.send("POST", &format!("{}{path}", self.session), body).await
    }

    /// What the function body `script` returns.
    pub(crate) async fn run(&self, script: &str, arguments: &[Value]) -> Value {
        self.post("/execute/sync", &json!({ "script": script, "args": arguments })).await
    }

    /// A command of the DevTools protocol.
    pub(crate) async fn devtools(&self, command: &str, parameters: Value) -> Value {
        let body = json!({ "cmd": command, "params": parameters });
        self.post("/goog/cdp/execute", &body).await
    }

    /// A click as a person does it: on what can be seen and is not covered.
    pub(crate) async fn click(&self, css: &str) {
        let element = self.element(css).await;
        self.post(&format!("/element/{element}/click"), &json!({})).await;
    }

    pub(crate) async fn write(&self, css: &str, text: &str) {
        let element = self.element(css).await;
        self.post(&format!("/element/{element}/clear"), &json!({})).await;
        self.post(&format!("/element/{element}/value"), &json!({ "text": text })).await;
    }

    async fn element(&self, css: &str) -> String {
        let wanted = json!({ "using": "css selector", "value": css });
        let found = self.post("/element", &wanted).await;
        found[ELEMENT].as_str().unwrap().to_owned()
    }

    /// Presses and lets go, whatever has the focus.
    pub(crate) async fn press(&self, key: char) {
        let keys = ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key }));
        let actions = json!({ "actions": [{ "type": "key", "id": "keys", "actions": keys }] });
        self.post("/actions", &actions).await;
    }

    /// What the page's console and the network said since this was last asked.
    pub(crate) async fn log(&self) -> Vec<String> {
        let entries = self.post("/se/log", &json!({ "type": "browser" })).await;
        let line = |entry: &Value| format!("{}: {}", entry["level"], entry["message"]);
        entries.as_array().unwrap().iter().map(line).collect()
    }
}

impl Drop for WebDriver {
    fn drop(&mut self) {
        // The browser ends with its session and not with its driver, whose end it would outlive.
        if let Ok(mut stream) = TcpStream::connect(self.address) {
            let (session, address) = (&self.session, self.address);
            let end = format!(
                "DELETE {session} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n"
            );
            // A driver that hangs must not hang the tests.
            let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
            let _ = stream.write_all(end.as_bytes());
            let _ = stream.read_to_end(&mut Vec::new());
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
