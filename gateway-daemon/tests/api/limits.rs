//! What bounds the server: callers that are slow, silent, many, fast or take nothing.

use std::io;
use std::time::{Duration, Instant};

use gateway_daemon::api::Rate;
use tokio::time::timeout;

use crate::client::{Lines, Raw, begin};
use crate::{Api, PATIENCE, Settings, services, settings, site};

const SHORT: Duration = Duration::from_millis(300);

/// Asks until there is another answer than this; the server notices by itself that callers are gone.
async fn until_not(api: &Api, target: &str, status: u16) {
    let other = timeout(PATIENCE, async {
        while begin(&api.socket(), "GET", target, "").await.status() == status {
            tokio::task::yield_now().await;
        }
    });
    other.await.expect("there is room again");
}

#[tokio::test]
async fn a_head_that_does_not_come_ends_the_connection() {
    let api = Api::within(Settings { head_time: SHORT, ..settings() }).await;
    for begun in ["", "G", "GET /v1/status HTTP/1.1\r\nhost: c\r\nx: "] {
        let mut raw = Raw::connect(&api.socket()).await;
        raw.send(begun).await;
        let since = Instant::now();
        raw.rest().await;
        assert!(since.elapsed() >= SHORT / 2 && since.elapsed() < PATIENCE, "{begun:?}");
    }
    // A byte now and then does not help.
    let raw = Raw::connect(&api.socket()).await;
    let dribbled = timeout(PATIENCE, async {
        loop {
            match raw.0.try_write(b"x") {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return,
                _ => tokio::time::sleep(SHORT / 10).await,
            }
        }
    });
    dribbled.await.expect("the server ends the connection");
    // Nor does a request that was answered.
    let mut raw = Raw::connect(&api.socket()).await;
    raw.send("GET /v1/status HTTP/1.1\r\nhost: c\r\n\r\n").await;
    let all = raw.rest().await;
    assert!(all.starts_with("HTTP/1.1 200 "), "{all}");
}

#[tokio::test]
async fn a_head_that_is_too_long_is_refused() {
    let api = Api::start().await;
    for head in [
        format!("GET /v1/status?{} HTTP/1.1\r\n\r\n", "x".repeat(40 << 10)),
        format!("GET /v1/status HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(40 << 10)),
        format!("GET /v1/status HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(100)),
        "GET /v1/status\r\n\r\n".to_owned(),
        "\x16\x03\x01\x02\x00\x01\x00\x01\x7c\x03\x03\r\n\r\n".to_owned(),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
    ] {
        let mut raw = Raw::connect(&api.socket()).await;
        // It may be refused before all of it was taken.
        let _ = raw.0.try_write(head.as_bytes());
        let answer = raw.rest().await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    assert_eq!(api.get("/v1/status").await.status, 200);
}

#[tokio::test]
async fn one_connection_more_than_there_may_be_is_told_so() {
    let api = Api::within(Settings { connections: 3, ..settings() }).await;
    let mut raws = Vec::new();
    for _ in 0..3 {
        let mut raw = Raw::connect(&api.socket()).await;
        raw.send("GET /v1/status HTTP/1.1\r\nhost: c\r\n\r\n").await;
        assert!(raw.answer().await.starts_with("HTTP/1.1 200 "));
        raws.push(raw);
    }
    let answer = Raw::connect(&api.socket()).await.rest().await;
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("too many callers"), "{answer}");
    raws.pop();
    // The server notices by itself.
    timeout(PATIENCE, async {
        loop {
            let mut raw = Raw::connect(&api.socket()).await;
            let sent =
                raw.0.try_write(b"GET /v1/status HTTP/1.1\r\nconnection: close\r\n\r\n").is_ok();
            if sent && raw.rest().await.starts_with("HTTP/1.1 200 ") {
                return;
            }
        }
    })
    .await
    .expect("there is room again");
}

#[tokio::test]
async fn one_user_has_his_share_of_connections() {
    let mut settings = settings();
    settings.share.connections = 2;
    let api = Api::within(settings).await;
    let _first = Raw::connect(&api.socket()).await;
    let _second = Raw::connect(&api.socket()).await;
    let answer = Raw::connect(&api.socket()).await.rest().await;
    assert!(answer.contains("you have too many connections"), "{answer}");
}

#[tokio::test]
async fn who_asks_too_often_is_told_when_to_ask_again() {
    let mut settings = settings();
    settings.share.reads = Rate { burst: 3, per_second: 0.1 };
    settings.share.changes = Rate { burst: 1, per_second: 0.001 };
    let api = Api::within(settings).await;
    for _ in 0..3 {
        assert_eq!(api.get("/v1/status").await.status, 200);
    }
    for target in ["/v1/status", "/v1/resources", "/nowhere"] {
        let mut raw = Raw::connect(&api.socket()).await;
        raw.send(format!("GET {target} HTTP/1.1\r\nhost: c\r\n\r\n")).await;
        let answer = raw.answer().await;
        assert!(
            answer.starts_with("HTTP/1.1 429 ") && answer.contains("retry-after: 10\r\n"),
            "{answer}"
        );
    }
    api.declare(site("cloud")).await;
    let refused = api.apply("", site("cloud")).await;
    assert_eq!(refused.headers["retry-after"], "1000");
    refused.refuses(429, "too-many-requests", "wait 1000 s");
}

#[tokio::test]
async fn requests_in_flight_are_bounded_for_all_and_for_each() {
    for (own, status, says) in
        [(1, 429, "you have 1 requests in flight"), (64, 503, "too many requests")]
    {
        let mut settings =
            Settings { requests: 2 - usize::from(own == 64), patience: SHORT, ..settings() };
        settings.share.requests = own;
        let api = Api::within(settings).await;
        let mut slow = Raw::connect(&api.socket()).await;
        slow.send("POST /v1/apply HTTP/1.1\r\nhost: c\r\ncontent-length: 10\r\nexpect: 100-continue\r\n\r\n").await;
        assert!(slow.answer().await.starts_with("HTTP/1.1 100 "), "it is being read");
        let refused = api.get("/v1/status").await;
        let word = if status == 429 { "too-many-requests" } else { "unavailable" };
        refused.refuses(status, word, says);
        slow.send("0123456789").await;
        assert!(slow.answer().await.starts_with("HTTP/1.1 422 "));
        assert_eq!(api.get("/v1/status").await.status, 200);
    }
}

/// Enough resources that no socket takes a page of them at once.
async fn large(api: &Api) {
    api.declare(site("cloud")).await;
    let prefix = vec!["a".repeat(60); 4].join(".");
    let labels: Vec<_> = (0..64).map(|n| format!("{prefix}/k{n}: {}", "v".repeat(63))).collect();
    api.declare(services("large", 100, &labels.join(", "), 80)).await;
}

#[tokio::test]
async fn who_takes_nothing_of_his_answer_is_cut_off() {
    let api = Api::within(Settings { stall: SHORT, ..settings() }).await;
    large(&api).await;
    let mut raw = Raw::connect(&api.socket()).await;
    raw.send("GET /v1/resources HTTP/1.1\r\nhost: c\r\n\r\n").await;
    let mut settled = 0;
    // Nothing is taken until the server is done with him.
    timeout(PATIENCE, async {
        while raw.0.try_write(b"\r\n").is_ok() || settled == 0 {
            settled += 1;
            tokio::time::sleep(SHORT / 10).await;
        }
    })
    .await
    .expect("the server cuts him off");
    let got = raw.rest().await;
    assert!(got.starts_with("HTTP/1.1 200 ") && got.len() < 1 << 20, "{}", got.len());
}

#[tokio::test]
async fn answers_that_nobody_takes_are_bounded() {
    let settings = Settings { held: 3 << 20, patience: SHORT, stall: PATIENCE, ..settings() };
    let api = Api::within(settings).await;
    large(&api).await;
    let first = begin(&api.socket(), "GET", "/v1/resources", "").await;
    assert_eq!(first.status(), 200);
    let refused = api.get("/v1/resources").await;
    refused.refuses(503, "unavailable", "nobody has taken");
    assert_eq!(api.get("/v1/resources/site/cloud").await.status, 200, "short ones go on");
    drop(first);
    until_not(&api, "/v1/resources", 503).await;
}

#[tokio::test]
async fn watches_are_bounded_for_all_and_for_each() {
    for (own, status) in [(2, 429), (16, 503)] {
        let mut settings = Settings { watches: 2 + usize::from(own == 2), ..settings() };
        settings.share.watches = own;
        let api = Api::within(settings).await;
        let first = Lines::of(&api.socket(), "/v1/watch").await;
        let _second = Lines::of(&api.socket(), "/v1/watch").await;
        assert_eq!(api.get("/v1/watch").await.status, status);
        drop(first);
        until_not(&api, "/v1/watch", status).await;
    }
}

#[tokio::test]
async fn the_server_ends_though_its_callers_do_not() {
    let mut api = Api::within(Settings { grace: SHORT, ..settings() }).await;
    let mut raws = Vec::new();
    for begun in [
        "",
        "GET /v1/status HTTP/1.1\r\nhost: c\r\nx: ",
        "POST /v1/apply HTTP/1.1\r\nhost: c\r\ncontent-length: 10\r\n\r\nkind",
    ] {
        let mut raw = Raw::connect(&api.socket()).await;
        raw.send(begun).await;
        raws.push(raw);
    }
    assert_eq!(api.get("/v1/status").await.status, 200);
    api.end().await;
    assert!(!api.socket().exists());
    for mut raw in raws {
        assert!(!raw.rest().await.starts_with("HTTP/1.1 2"));
    }
}
