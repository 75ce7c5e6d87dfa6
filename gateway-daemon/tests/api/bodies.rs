//! Bodies that are no resources: every one is refused as what it is, in bounded time and room, and nothing is
//! applied.

use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt as _;

use crate::client::{Raw, ask};
use crate::{Api, PATIENCE, settings, site};

fn post(path: &str, head: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: controller\r\n{head}\r\n\r\n")
}

async fn nothing(api: &Api) {
    assert!(api.all("").await.is_empty());
}

#[tokio::test]
async fn texts_that_are_no_resources_are_refused_with_their_place() {
    let api = Api::start().await;
    let laughs = (1..12).fold("a0: &a0 [lol]\n".to_owned(), |text, n| {
        let before = vec![format!("*a{}", n - 1); 10].join(", ");
        format!("{text}a{n}: &a{n} [{before}]\n")
    });
    let many_keys: String = (0..50_000).map(|n| format!("k{n}: &k{n} 1\n")).collect();
    for (text, says) in [
        (String::new(), "there is no resource in it"),
        ("---\n---\n# nothing\n".to_owned(), "there is no resource in it"),
        ("\0".to_owned(), "line 1"),
        ("kind: Site\nkind: Site".to_owned(), "line 2"),
        ("kind: Sit\nmetadata: {name: a}\nspec: {}".to_owned(), "column 7"),
        ("[1, 2]".to_owned(), "a resource is a mapping"),
        ("\"\"".to_owned(), "a resource is a mapping"),
        ("{".to_owned(), "line"),
        ("{\"kind\": \"Site\"".to_owned(), "line"),
        ("kind: !!binary aGk=\nmetadata: {name: a}\nspec: {}".to_owned(), "line 1"),
        ("kind: &a Site\nmetadata: {name: *a}\nspec: {}".to_owned(), "line"),
        ("base: &b {kind: Site}\n<<: *b".to_owned(), "line"),
        (laughs, "line"),
        (many_keys, "line"),
        ("[".repeat(200_000), "line"),
        ("{\"a\":".repeat(200_000), "line"),
        ("- ".repeat(200_000), "line"),
        (
            format!("kind: Site\nmetadata: {{name: {}}}\nspec: {{}}", "n".repeat(1 << 20)),
            "the name",
        ),
        ("kind: Site\u{85}metadata\u{2028}: 1".to_owned(), "line"),
    ] {
        let (begun, start) = (Instant::now(), text.chars().take(40).collect::<String>());
        let refused = api.apply("", text).await;
        let json = refused.json();
        assert_eq!(
            (refused.status, json["error"].as_str()),
            (422, Some("invalid")),
            "{start:?}: {json:#}"
        );
        let message = json["message"].as_str().unwrap();
        assert!(
            says == "the name" || message.contains(says),
            "{start:?}: {says:?} is not in {message:?}"
        );
        assert!(refused.body.len() < 100_000, "{start:?}: {}", refused.body.len());
        assert!(begun.elapsed() < Duration::from_secs(20), "{start:?}: {:?}", begun.elapsed());
    }
    nothing(&api).await;
}

#[tokio::test]
async fn octets_that_are_no_text_are_refused_with_their_line() {
    let api = Api::start().await;
    let body = b"kind: Site\nmetadata: {name: \xff}\n".as_slice();
    let refused = ask(&api.socket(), "POST", "/v1/apply", body).await;
    let refused = refused.refuses(400, "bad-request", "UTF-8");
    assert_eq!(refused["problems"][0]["line"], 2);
    nothing(&api).await;
}

#[tokio::test]
async fn deletions_that_make_no_sense_are_refused() {
    let api = Api::start().await;
    for (body, says) in [
        ("", "write {\"resources\""),
        ("[]", "write {\"resources\""),
        ("{}", "missing field"),
        (r#"{"resources": []}"#, "name one"),
        (r#"{"resources": [{"kind": "site"}]}"#, "missing field"),
        (r#"{"resources": [{"kind": "site", "name": "a", "x": 1}]}"#, "unknown field"),
        (r#"{"resources": [{"kind": "site", "name": "a"}], "dry-run": true}"#, "unknown field"),
        (r#"{"resources": [{"kind": "odd", "name": "a"}]}"#, "the kinds are"),
        (r#"{"resources": [{"kind": "site", "name": "A B"}]}"#, "the name of a site"),
        (r#"{"resources": [{"kind": "service", "name": "web"}]}"#, "the name of a service"),
        (r#"{"resources": [{"kind": 7, "name": "web"}]}"#, "line 1 column"),
        (&"[".repeat(100_000), "line 1 column"),
    ] {
        api.delete(body).await.refuses(400, "bad-request", says);
    }
    api.delete(" ".repeat(3 << 20)).await.refuses(413, "too-large", "in parts");
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_by_what_it_says_and_by_what_comes() {
    let api = Api::start().await;
    let mut raw = Raw::connect(&api.socket()).await;
    let length = (64 << 20) + 1;
    raw.send(post("/v1/apply", &format!("content-length: {length}\r\nexpect: 100-continue"))).await;
    let answer = raw.answer().await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");

    let mut raw = Raw::connect(&api.socket()).await;
    raw.send(post("/v1/apply", "transfer-encoding: chunked")).await;
    let chunk = format!("{:x}\r\n{}\r\n", 1 << 20, "#".repeat(1 << 20));
    for _ in 0..70 {
        raw.send(&chunk).await;
    }
    raw.send("0\r\n\r\n").await;
    let answer = raw.answer().await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    nothing(&api).await;
}

#[tokio::test]
async fn a_large_body_is_taken_whole_and_in_chunks() {
    let api = Api::start().await;
    let text = format!(
        "{}{}",
        "# a line of a comment, as long as lines are\n".repeat(200_000),
        site("cloud")
    );
    api.declare(text.clone()).await;
    let mut raw = Raw::connect(&api.socket()).await;
    raw.send(post("/v1/apply", "transfer-encoding: chunked")).await;
    for part in text.as_bytes().chunks(100_000) {
        raw.send(format!("{:x}\r\n", part.len())).await;
        raw.send(part).await;
        raw.send("\r\n").await;
    }
    raw.send("0\r\n\r\n").await;
    let answer = raw.answer().await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(api.all("").await.len(), 1);
}

#[tokio::test]
async fn lengths_that_are_not_true_and_chunks_that_are_none_apply_nothing() {
    let api =
        Api::within(crate::Settings { body_time: Duration::from_millis(300), ..settings() }).await;
    let text = site("cloud");
    // Longer than what comes, and the caller waits.
    let mut raw = Raw::connect(&api.socket()).await;
    raw.send(post("/v1/apply", "content-length: 10000") + &text).await;
    let answer = raw.answer().await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    // Longer than what comes, and the caller is done.
    let mut raw = Raw::connect(&api.socket()).await;
    raw.send(post("/v1/apply", "content-length: 10000") + &text).await;
    raw.0.shutdown().await.unwrap();
    let answer = raw.rest().await;
    assert!(!answer.starts_with("HTTP/1.1 2"), "{answer}");
    // Shorter than what comes: the rest is no request.
    let mut raw = Raw::connect(&api.socket()).await;
    raw.send(post("/v1/apply", "content-length: 10") + &text).await;
    let answer = raw.rest().await;
    assert!(answer.starts_with("HTTP/1.1 422 ") && answer.contains("HTTP/1.1 400 "), "{answer}");
    for head in [
        "transfer-encoding: chunked\r\n\r\nzz\r\nkind",
        "transfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\nkind",
        "content-length: -1",
        "content-length: 1\r\ncontent-length: 2",
        "content-length: 99999999999999999999999",
        "transfer-encoding: gzip",
    ] {
        let mut raw = Raw::connect(&api.socket()).await;
        raw.send(post("/v1/apply", head)).await;
        let answer = raw.rest().await;
        assert!(answer.starts_with("HTTP/1.1 4"), "{head}: {answer}");
    }
    nothing(&api).await;
}

#[tokio::test]
async fn few_large_bodies_are_read_at_once() {
    let settings = crate::Settings {
        large_bodies: 1,
        patience: Duration::from_millis(200),
        body_time: PATIENCE,
        ..settings()
    };
    let api = Api::within(settings).await;
    let mut first = Raw::connect(&api.socket()).await;
    let text = format!("{}\n{}", "#".repeat(2 << 20), site("cloud"));
    first.send(post("/v1/apply", &format!("content-length: {}", text.len()))).await;
    first.send(&text[..text.len() - 1]).await;
    let second = api.apply("", text.clone()).await;
    second.refuses(503, "unavailable", "large bodies");
    assert_eq!(api.apply("", "").await.status, 422, "small ones go on");
    first.send(&text[text.len() - 1..]).await;
    let answer = first.answer().await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(api.apply("", text).await.status, 200);
}
