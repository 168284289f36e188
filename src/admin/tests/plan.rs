use serde_json::json;

use super::world::World;

#[tokio::test]
async fn a_plan_says_when_what_waits_and_what_decides() {
    // 5 HIGH, 10 NORMAL and 100 BATCH are queued, at 10 a second.
    let world = World::new();
    let plan = world.get("/v1/targets/erp/plan?jobs=1000&priority=normal").await.json();
    assert_eq!(plan["at"], "2023-11-14T22:13:20.000Z");
    assert_eq!(
        (&plan["jobs"], &plan["priority"], &plan["never"]),
        (&json!(1000), &json!("NORMAL"), &json!(null))
    );
    let seconds = plan["seconds"].as_f64().unwrap();
    // One BATCH job in 21 goes between.
    assert!((101.5..=107.0).contains(&seconds), "{plan}");
    let delay = &plan["delays"][0];
    assert_eq!((&delay["priority"], &delay["jobs"]), (&json!("BATCH"), &json!(100)));
    assert!(delay["delay_seconds"].as_f64().unwrap() > 95.0, "{plan}");
    assert_eq!(plan["delays"].as_array().unwrap().len(), 1, "{plan}");
    assert_eq!(
        (&plan["phases"][0]["by"], &plan["phases"][0]["limit"]),
        (&json!("rate"), &json!("10/s"))
    );
    assert!(world.asked.lock().unwrap().is_empty(), "a plan did something");
}

#[tokio::test]
async fn a_plan_for_later_begins_later() {
    let plan = World::new()
        .get("/v1/targets/erp/plan?jobs=20&priority=HIGH&at=2023-11-15T00:00:00%2B01:00")
        .await
        .json();
    assert_eq!(plan["at"], "2023-11-14T23:00:00.000Z");
    assert_eq!(plan["first_start"], "2023-11-14T23:00:00.000Z");
    assert_eq!((&plan["delays"], &plan["more_phases"]), (&json!([]), &json!(0)));
    // What has passed is now.
    let past = World::new().get("/v1/targets/erp/plan?at=2001-01-01T00:00:00Z").await.json();
    assert_eq!(past["at"], "2023-11-14T22:13:20.000Z");
}

#[tokio::test]
async fn a_plan_that_comes_to_nothing_says_why() {
    let world = World::new();
    let shop = world.get("/v1/targets/shop/plan?jobs=5").await.json();
    assert_eq!(
        (&shop["last_start"], &shop["never"]),
        (&json!(null), &json!("the target is paused"))
    );
    let gone = world.get("/v1/targets/gone/plan").await.json();
    assert!(gone["never"].as_str().unwrap().contains("does not name"), "{gone}");
    let long = world.get("/v1/targets/erp/plan?jobs=1000000000").await.json();
    assert_eq!(long["never"], json!(null));
    assert!(long["seconds"].as_f64().unwrap() > 9.9e7, "{long}");
}

#[tokio::test]
async fn a_plan_for_nonsense_is_refused() {
    let world = World::new();
    for (query, said) in [
        ("jobs=0", "`jobs`"),
        ("jobs=1000000001", "`jobs`"),
        ("jobs=-1", "`jobs`"),
        ("jobs=many", "`jobs`"),
        ("at=tomorrow", "`at`"),
        ("at=2026-11-27T18:00", "`at`"),
        ("at=9999-01-01T00:00:00Z", "at most 366 days ahead"),
        ("priority=urgent", "`priority`"),
    ] {
        let detail = world.get(&format!("/v1/targets/erp/plan?{query}")).await.detail(400);
        assert!(detail.contains(said), "{query}: {detail}");
    }
    world.get("/v1/targets/epr/plan").await.problem(404);
}
