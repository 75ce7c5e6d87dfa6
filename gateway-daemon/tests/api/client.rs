//! A client that knows HTTP and nothing of the API: whole answers, and octets as they come.

use std::path::Path;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{HeaderMap, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::{PATIENCE, conform};

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Asserts that it is such a refusal, which says such a thing.
    pub(crate) fn refuses(&self, status: u16, word: &str, says: &str) -> Value {
        let json = self.json();
        assert_eq!((self.status, json["error"].as_str()), (status, Some(word)), "{json:#}");
        let message = json["message"].as_str().unwrap();
        assert!(message.contains(says), "{says:?} is not in {message:?}");
        json
    }
}

/// Asks by a connection of its own, and holds the answer against the OpenAPI document.
pub(crate) async fn ask(
    socket: &Path,
    method: &str,
    target: &str,
    body: impl Into<Bytes>,
) -> Answer {
    let asked = timeout(PATIENCE, async {
        let response = begin(socket, method, target, body).await;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: parts.status.as_u16(), headers: parts.headers, body }
    });
    let answer = asked.await.unwrap();
    conform::check(method, target, &answer);
    answer
}

/// Asks, and gives the answer when its head is there.
pub(crate) async fn begin(
    socket: &Path,
    method: &str,
    target: &str,
    body: impl Into<Bytes>,
) -> hyper::Response<Incoming> {
    let stream = UnixStream::connect(socket).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    // It ends with the answer.
    tokio::spawn(connection);
    let request = Request::builder().method(method).uri(target).header("host", "controller");
    sender.send_request(request.body(Full::new(body.into())).unwrap()).await.unwrap()
}

/// A connection of plain octets.
pub(crate) struct Raw(pub(crate) UnixStream);

impl Raw {
    pub(crate) async fn connect(socket: &Path) -> Self {
        Self(UnixStream::connect(socket).await.unwrap())
    }

    pub(crate) async fn send(&mut self, octets: impl AsRef<[u8]>) {
        self.0.write_all(octets.as_ref()).await.unwrap();
    }

    /// All that comes until the other end closes. A connection that is cut is closed as well.
    pub(crate) async fn rest(&mut self) -> String {
        let mut octets = Vec::new();
        let read = timeout(PATIENCE, async {
            let mut part = [0; 4096];
            while let Ok(length @ 1..) = self.0.read(&mut part).await {
                octets.extend_from_slice(&part[..length]);
            }
        });
        read.await.expect("the server ends the connection");
        String::from_utf8_lossy(&octets).into_owned()
    }

    /// The head of an answer, and what came of its body with it.
    pub(crate) async fn answer(&mut self) -> String {
        let mut octets = Vec::new();
        let read = timeout(PATIENCE, async {
            let mut part = [0; 4096];
            while !octets.windows(4).any(|four| four == b"\r\n\r\n") {
                let length = self.0.read(&mut part).await.unwrap();
                assert!(length > 0, "closed after {octets:?}");
                octets.extend_from_slice(&part[..length]);
            }
        });
        read.await.expect("the server answers");
        String::from_utf8_lossy(&octets).into_owned()
    }
}

/// The lines of a stream.
pub(crate) struct Lines {
    body: Incoming,
    octets: Vec<u8>,
}

impl Lines {
    pub(crate) async fn of(socket: &Path, target: &str) -> Self {
        let response = begin(socket, "GET", target, "").await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "application/x-ndjson");
        Self { body: response.into_body(), octets: Vec::new() }
    }

    /// The next line, or `None` if the stream has ended as it should.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        self.within(PATIENCE).await.expect("a line comes")
    }

    /// The next line, if one comes within a time.
    pub(crate) async fn within(&mut self, time: Duration) -> Option<Option<Value>> {
        timeout(time, self.read()).await.ok()
    }

    async fn read(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.octets.iter().position(|octet| *octet == b'\n') {
                let line: Vec<u8> = self.octets.drain(..=end).collect();
                let line = serde_json::from_slice(&line).unwrap();
                conform::is("Watched", &line);
                return Some(line);
            }
            match self.body.frame().await {
                Some(frame) => self.octets.extend(frame.unwrap().into_data().unwrap()),
                None => {
                    assert!(self.octets.is_empty(), "it ended within a line");
                    return None;
                }
            }
        }
    }
}
