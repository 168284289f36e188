//! A daemon with something to show: a fragile API that bears little, one that is away, one that is
//! paused, and jobs of all kinds.

use std::time::Duration;

use serde_json::{Value, json};
use tollgate::demo::fragile_api::{Failures, FragileApi, Fragility, Latency, NOWHERE};

use crate::support::{Client, Daemon};

pub(crate) struct Scene {
    _api: FragileApi,
    pub(crate) daemon: Daemon,
    pub(crate) client: Client,
}

/// Dead jobs of `erp` once [`Scene::set`] is done.
pub(crate) const DEAD: u64 = 7;

impl Scene {
    pub(crate) async fn set(more: &str) -> Scene {
        let fragility = Fragility {
            seed: 24,
            latency: Latency::Uniform {
                least: Duration::from_millis(20),
                most: Duration::from_millis(120),
            },
            failures: Failures { unavailable: 120, error: 150, ..Failures::NONE },
            retry_after: Duration::from_secs(1),
            ..Fragility::SOUND
        };
        let api = FragileApi::start(fragility).await.unwrap();
        let url = api.address();
        let daemon = Daemon::start(&format!(
            "[targets.erp]\nurl = \"http://{url}\"\n\
             limit = {{ rate = \"40/s\", max_concurrent = 3 }}\n\
             retry = {{ min_backoff = \"50ms\", max_backoff = \"2s\" }}\n\
             [targets.crm]\nurl = \"http://{url}/crm\"\nlimit.rate = \"100/min\"\n\
             [targets.warehouse]\nurl = \"http://127.0.0.1:9\"\nlimit.rate = \"2/s\"\n\
             retry = {{ min_backoff = \"20s\", max_backoff = \"1m\" }}\n{more}"
        ));
        Scene { _api: api, daemon, client: Client::new() }
    }

    pub(crate) async fn submit(&self, jobs: Vec<Value>) {
        let answer = self.client.post(self.daemon.data, "/v1/jobs/batch", &json!(jobs)).await;
        assert_eq!(answer.status, 200);
    }

    /// Something in every place; returns once [`DEAD`] jobs of `erp` are dead.
    pub(crate) async fn fill(&self) {
        let admin = self.daemon.admin;
        self.client.post(admin, "/v1/targets/crm/pause", &json!({})).await;
        let nowhere = |priority| job("erp", priority, NOWHERE);
        let mut dead: Vec<Value> = (0..DEAD - 2).map(|_| nowhere("HIGH")).collect();
        dead.push(nowhere("NORMAL"));
        self.submit(dead).await;
        let many =
            |target, priority, count| (0..count).map(move |_| job(target, priority, "/orders"));
        self.submit(many("crm", "BATCH", 400).chain(many("crm", "HIGH", 3)).collect()).await;
        self.submit(many("warehouse", "NORMAL", 12).collect()).await;
        self.submit(many("erp", "BATCH", 900).chain(many("erp", "NORMAL", 60)).collect()).await;
        // One that cannot be sent in time: it goes behind all of these.
        let mut late = job("erp", "BATCH", "/orders");
        late["deadline"] = json!(wall_in(Duration::from_secs(1)));
        self.submit(vec![late]).await;
        let path = "/v1/targets/erp";
        self.client.until(admin, path, |erp| erp["dead"].as_u64() >= Some(DEAD)).await;
    }

    pub(crate) async fn target(&self, name: &str) -> Value {
        self.client.get(self.daemon.admin, &format!("/v1/targets/{name}")).await.json()
    }

    /// A job of `erp` that was tried more than once and succeeded.
    pub(crate) async fn tried_job(&self) -> String {
        let path = "/v1/jobs?target=erp&state=succeeded&limit=500";
        let tried = |page: &Value| {
            let jobs = page["jobs"].as_array().unwrap();
            let most = jobs.iter().max_by_key(|job| job["attempts"].as_u64())?;
            (most["attempts"].as_u64() >= Some(3)).then(|| most["id"].as_str().unwrap().to_owned())
        };
        let page = self.client.until(self.daemon.admin, path, |page| tried(page).is_some()).await;
        tried(&page).unwrap()
    }
}

pub(crate) fn job(target: &str, priority: &str, path: &str) -> Value {
    let body = json!({ "sku": "A-1", "qty": 2, "customer": { "name": "Müller & <b>Söhne</b>" } });
    json!({ "target": target, "priority": priority, "path": path, "body": body })
}

/// The wall clock after so long, RFC 3339.
pub(crate) fn wall_in(after: Duration) -> String {
    humantime::format_rfc3339_millis(std::time::SystemTime::now() + after).to_string()
}
