//! Watches: from the start, without gaps, with bounded room for who is slow, and an end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::client::Lines;
use crate::{Api, PATIENCE, Settings, name, services, settings, site, three_sites};

/// What somebody knows who has seen these lines.
#[derive(Default)]
struct Known {
    views: BTreeMap<String, Value>,
    revision: u64,
}

impl Known {
    fn take(&mut self, line: &Value) {
        let revision = line["revision"].as_u64().unwrap();
        assert!(revision >= self.revision, "revisions only grow");
        self.revision = revision;
        for view in line["put"].as_array().into_iter().flatten() {
            let before = self.views.insert(name(view), view.clone());
            assert_ne!(before.as_ref(), Some(view), "it is nothing new");
        }
        for gone in line["deleted"].as_array().into_iter().flatten() {
            let text = |field: &str| gone[field].as_str().unwrap();
            let key = format!("{} {}", text("kind"), text("name"));
            assert!(self.views.remove(&key).is_some(), "{key} was not there");
        }
    }
}

async fn present(api: &Api, query: &str) -> BTreeMap<String, Value> {
    api.all(query).await.into_iter().map(|view| (name(&view), view)).collect()
}

#[tokio::test]
async fn the_first_line_has_everything_and_the_next_what_changes() {
    let api = Api::start().await;
    let mut empty = Lines::of(&api.socket(), "/v1/watch").await;
    let first = empty.next().await.unwrap();
    assert!(first.get("put").is_none() && first["revision"].is_u64(), "{first}");
    let applied = api.declare(three_sites()).await;
    let line = empty.next().await.unwrap();
    assert_eq!(line["revision"], applied["revision"]);
    assert_eq!(
        line["put"].as_array().unwrap().len(),
        applied["resources"].as_array().unwrap().len()
    );

    let mut lines = Lines::of(&api.socket(), "/v1/watch").await;
    let mut known = Known::default();
    known.take(&lines.next().await.unwrap());
    assert_eq!(known.views, present(&api, "").await);
    api.declare(services("web", 1, "", 80)).await;
    known.take(&lines.next().await.unwrap());
    assert!(known.views.contains_key("Service web-0.cloud"));
    let gone = r#"{"resources": [{"kind": "service", "name": "web-0.cloud"}]}"#;
    assert_eq!(api.delete(gone).await.status, 200);
    let line = lines.next().await.unwrap();
    assert_eq!(line["deleted"][0]["name"], "web-0.cloud");
    known.take(&line);
    assert_eq!(known.views, present(&api, "").await);
    // What changes nothing is no news.
    api.declare(three_sites()).await;
    assert!(lines.within(Duration::from_millis(300)).await.is_none());
}

#[tokio::test]
async fn only_what_is_selected_is_shown_and_what_no_longer_is_goes() {
    let api = Api::start().await;
    api.declare(site("cloud")).await;
    let target = "/v1/watch?kind=services&selector=tier%3Dfront";
    let mut lines = Lines::of(&api.socket(), target).await;
    assert!(lines.next().await.unwrap().get("put").is_none());
    api.declare(services("back", 3, "tier: back", 80)).await;
    api.declare(services("front", 2, "tier: front", 80)).await;
    let line = lines.next().await.unwrap();
    let put: Vec<_> = line["put"].as_array().unwrap().iter().map(name).collect();
    assert_eq!(put, ["Service front-0.cloud", "Service front-1.cloud"]);
    api.declare(services("front", 1, "tier: back", 80)).await;
    let line = lines.next().await.unwrap();
    assert_eq!(line["deleted"][0]["name"], "front-0.cloud");
    assert!(line.get("put").is_none());
}

#[tokio::test]
async fn nothing_is_missed_while_several_change_things() {
    let api = Arc::new(Api::start().await);
    api.declare(site("cloud")).await;
    let mut watches = Vec::new();
    for delay in [0, 1, 20] {
        let mut lines = Lines::of(&api.socket(), "/v1/watch?kind=service").await;
        watches.push(tokio::spawn(async move {
            let mut known = Known::default();
            while !known.views.contains_key("Service last-0.cloud") {
                known.take(&lines.next().await.unwrap());
                tokio::time::sleep(Duration::from_millis(delay)).await;
            }
            known
        }));
    }
    let changes = (0..4).map(|by| {
        let api = Arc::clone(&api);
        tokio::spawn(async move {
            for round in 0..12 {
                let first = format!("by-{by}-{}", round % 3);
                api.declare(services(&first, 2, "", 80 + round)).await;
                if round % 4 == 3 {
                    let gone = serde_json::json!({"resources": [{"kind": "service", "name": format!("{first}-1.cloud")}]});
                    assert_eq!(api.delete(gone.to_string()).await.status, 200);
                }
            }
        })
    });
    for change in changes.collect::<Vec<_>>() {
        change.await.unwrap();
    }
    api.declare(services("last", 1, "", 80)).await;
    let present = present(&api, "kind=service").await;
    for watch in watches {
        assert_eq!(watch.await.unwrap().views, present);
    }
}

#[tokio::test]
async fn who_is_slow_costs_one_line_and_misses_nothing_that_lasts() {
    const COUNT: usize = 20;
    const ROUNDS: u16 = 25;
    let api = Api::within(Settings { stall: PATIENCE, ..settings() }).await;
    api.declare(site("cloud")).await;
    let prefix = vec!["a".repeat(60); 4].join(".");
    let labels: Vec<_> = (0..64).map(|n| format!("{prefix}/k{n}: {}", "v".repeat(63))).collect();
    let labels = labels.join(", ");
    api.declare(services("large", COUNT, &labels, 1)).await;
    let mut lines = Lines::of(&api.socket(), "/v1/watch").await;
    for port in 1..=ROUNDS {
        api.declare(services("large", COUNT, &labels, port)).await;
    }
    let (mut known, mut octets) = (Known::default(), 0);
    let last = format!("tcp/{ROUNDS}");
    let is_last = |known: &Known| {
        let mut services = known.views.values().filter(|view| view["kind"] == "Service");
        known.views.len() > COUNT && services.all(|view| view["spec"]["ports"][0] == *last)
    };
    while !is_last(&known) {
        let line = lines.next().await.unwrap();
        octets += line.to_string().len();
        known.take(&line);
    }
    // One that was under way, one since, and what sockets and buffers hold.
    let of_all = COUNT * labels.len();
    assert!(
        octets < 5 * of_all,
        "{octets} octets of {} that were written",
        of_all * usize::from(ROUNDS)
    );
    assert_eq!(known.views, present(&api, "").await);
}

#[tokio::test]
async fn a_watch_ends_whole_when_the_server_does() {
    let mut api = Api::start().await;
    api.declare(three_sites()).await;
    let mut lines = Lines::of(&api.socket(), "/v1/watch").await;
    lines.next().await.unwrap();
    api.end().await;
    assert!(lines.next().await.is_none());
}
