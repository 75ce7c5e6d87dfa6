//! Asks the controller over its socket: HTTP/1.1, a connection for each call.
//!
//! `gatewayctl` calls it. What always holds: no call waits without end or takes an answer of any length, and an
//! answer that is no success is a [`ClientError`] that says what to do.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::wire::{
    ApplyQuery, Deletion, DeploymentIdentity, DeploymentStatus, EventQuery, Events, Outcome, Page,
    Refusal, Selection, View, Watched,
};

/// How long the controller may take to answer, and a stream that has begun to go on inside of a line.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long a connection may take.
const CONNECTING: Duration = Duration::from_secs(5);
/// Longest answer, and longest line of a watch, in octets.
const LONGEST: usize = 256 << 20;
/// Longest refusal that is read, in octets.
const LONGEST_REFUSAL: usize = 4 << 20;

/// The controller behind a socket.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

/// Why there is no answer, or none that helps.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error(
        "no controller answers at {} ({reason}); start gatewayd with a controller's file, or name the \
         socket with --controller", .socket.display()
    )]
    NoController {
        /// The socket.
        socket: PathBuf,
        /// What the kernel said.
        reason: io::Error,
    },
    /// The socket cannot be used.
    #[error(
        "controller at {}: cannot connect: {reason}; run as root, or as a user whom the controller's file \
         names and who is in the group of the socket", .socket.display()
    )]
    Connect {
        /// The socket.
        socket: PathBuf,
        /// What the kernel said.
        reason: io::Error,
    },
    /// The connection ended before the answer did.
    #[error(
        "controller at {}: the connection ended before the answer ({reason}); look at its log, and ask again",
        .socket.display()
    )]
    Lost {
        /// The socket.
        socket: PathBuf,
        /// What was noticed.
        reason: String,
    },
    /// It takes too long.
    #[error(
        "controller at {}: no answer within {} seconds; look at its log, and ask again",
        .socket.display(), .waited.as_secs()
    )]
    TimedOut {
        /// The socket.
        socket: PathBuf,
        /// How long it was waited for.
        waited: Duration,
    },
    /// It says no.
    #[error("{}", .0.message)]
    Refused(Refusal),
    /// The answer has another form than this version knows.
    #[error(
        "controller at {}: its answer makes no sense here ({finding}); use a gatewayctl of its version",
        .socket.display()
    )]
    OtherVersion {
        /// The socket.
        socket: PathBuf,
        /// What was found.
        finding: String,
    },
    /// The answer does not end.
    #[error(
        "controller at {}: the answer is longer than {most} octets; ask for less", .socket.display()
    )]
    TooLong {
        /// The socket.
        socket: PathBuf,
        /// Longest that is read.
        most: usize,
    },
}

impl Client {
    /// The controller that listens at this socket.
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// Where it listens.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// A page of resources.
    pub async fn page(&self, selection: &Selection) -> Result<Page, ClientError> {
        self.ask("/v1/resources", selection).await
    }

    /// One resource.
    pub async fn view(&self, kind: &str, name: &str) -> Result<View, ClientError> {
        let path = format!("/v1/resources/{}/{}", escaped(kind), escaped(name));
        self.ask(&path, &()).await
    }

    /// Applies resources, as YAML or JSON.
    pub async fn apply(&self, query: &ApplyQuery, body: String) -> Result<Outcome, ClientError> {
        let path = with_query("/v1/apply", query);
        self.send(&path, Some("application/yaml"), body.into()).await
    }

    /// Deletes resources.
    pub async fn delete(&self, deletion: &Deletion) -> Result<Outcome, ClientError> {
        let body = serde_json::to_vec(deletion).expect("names and a flag are JSON");
        self.send("/v1/delete", Some("application/json"), body.into()).await
    }

    /// What somebody who joins has to know of the deployment.
    pub async fn identity(&self) -> Result<DeploymentIdentity, ClientError> {
        self.ask("/v1/identity", &()).await
    }

    /// Revokes a gateway.
    pub async fn revoke(&self, gateway: &str) -> Result<Outcome, ClientError> {
        self.send(&format!("/v1/gateways/{}/revoke", escaped(gateway)), None, Bytes::new()).await
    }

    /// Accepts a gateway that is pending.
    pub async fn accept(&self, gateway: &str) -> Result<Outcome, ClientError> {
        self.send(&format!("/v1/gateways/{}/accept", escaped(gateway)), None, Bytes::new()).await
    }

    /// What happened.
    pub async fn events(&self, query: &EventQuery) -> Result<Events, ClientError> {
        self.ask("/v1/events", query).await
    }

    /// The deployment at one look.
    pub async fn status(&self) -> Result<DeploymentStatus, ClientError> {
        self.ask("/v1/status", &()).await
    }

    /// The API's OpenAPI document.
    pub async fn openapi(&self) -> Result<Value, ClientError> {
        self.ask("/v1/openapi.json", &()).await
    }

    /// What there is, then what changes, until it is dropped.
    pub async fn watch(&self, selection: &Selection) -> Result<Watching, ClientError> {
        let path = with_query("/v1/watch", selection);
        let stream = self.stream(&path).await?;
        Ok(Watching { stream, begun: Vec::new(), searched: 0 })
    }

    /// A backup of the controller's store.
    pub async fn backup(&self) -> Result<Stream, ClientError> {
        self.stream("/v1/backup").await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &impl Serialize,
    ) -> Result<T, ClientError> {
        let path = with_query(path, query);
        self.whole(self.request(Method::GET, &path, None, Bytes::new())).await
    }

    async fn send<T: DeserializeOwned>(
        &self,
        path: &str,
        content: Option<&'static str>,
        body: Bytes,
    ) -> Result<T, ClientError> {
        self.whole(self.request(Method::POST, path, content, body)).await
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        content: Option<&'static str>,
        body: Bytes,
    ) -> Request<Full<Bytes>> {
        let mut request = Request::builder().method(method).uri(path).header(HOST, "controller");
        if let Some(content) = content {
            request = request.header(CONTENT_TYPE, content);
        }
        request.body(Full::new(body)).expect("the path is escaped and the headers are constants")
    }

    /// An answer that is JSON as a whole.
    async fn whole<T: DeserializeOwned>(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<T, ClientError> {
        let answering = async {
            let (response, _connection) = self.call(request).await?;
            let body = self.collected(response.into_body(), LONGEST).await?;
            serde_json::from_slice(&body).map_err(|error| self.other_version(error.to_string()))
        };
        self.soon(answering).await
    }

    async fn stream(&self, path: &str) -> Result<Stream, ClientError> {
        let request = self.request(Method::GET, path, None, Bytes::new());
        let (response, connection) = self.soon(self.call(request)).await?;
        let length = response.headers().get(CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
        Ok(Stream { client: self.clone(), length, body: response.into_body(), connection })
    }

    /// Sends a request; a success whose body is still to be read, or why it is none.
    async fn call(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<(Response<Incoming>, Connection), ClientError> {
        let socket = self.connected().await?;
        let (mut sender, connection) = http1::handshake::<_, Full<Bytes>>(TokioIo::new(socket))
            .await
            .map_err(|error| self.lost(&error))?;
        // Its end shows in the answer.
        let connection = Connection(tokio::spawn(async move {
            let _ = connection.await;
        }));
        let response = sender.send_request(request).await.map_err(|error| self.lost(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok((response, connection));
        }
        let body = self.collected(response.into_body(), LONGEST_REFUSAL).await?;
        Err(self.refusal(status, &body))
    }

    async fn connected(&self) -> Result<UnixStream, ClientError> {
        let failed = |reason: io::Error| {
            let socket = self.socket.clone();
            match reason.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                    ClientError::NoController { socket, reason }
                }
                _ => ClientError::Connect { socket, reason },
            }
        };
        match timeout(CONNECTING, UnixStream::connect(&self.socket)).await {
            Ok(connected) => connected.map_err(failed),
            Err(_) => {
                Err(ClientError::TimedOut { socket: self.socket.clone(), waited: CONNECTING })
            }
        }
    }

    fn refusal(&self, status: StatusCode, body: &[u8]) -> ClientError {
        match serde_json::from_slice(body) {
            Ok(refusal) => ClientError::Refused(refusal),
            Err(error) => self.other_version(format!("{status}: {error}")),
        }
    }

    async fn collected(&self, mut body: Incoming, most: usize) -> Result<Vec<u8>, ClientError> {
        let mut octets = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| self.lost(&error))?;
            octets.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
            if octets.len() > most {
                return Err(ClientError::TooLong { socket: self.socket.clone(), most });
            }
        }
        Ok(octets)
    }

    async fn soon<T>(
        &self,
        work: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        match timeout(PATIENCE, work).await {
            Ok(answer) => answer,
            Err(_) => Err(ClientError::TimedOut { socket: self.socket.clone(), waited: PATIENCE }),
        }
    }

    fn lost(&self, error: &dyn std::error::Error) -> ClientError {
        let reason = match error.source() {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        };
        ClientError::Lost { socket: self.socket.clone(), reason }
    }

    fn other_version(&self, finding: String) -> ClientError {
        ClientError::OtherVersion { socket: self.socket.clone(), finding }
    }
}

/// Ends the task of a connection with its last user.
#[derive(Debug)]
struct Connection(JoinHandle<()>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// An answer that comes in parts.
#[derive(Debug)]
pub struct Stream {
    client: Client,
    length: Option<u64>,
    body: Incoming,
    #[expect(dead_code, reason = "the connection lives as long as the answer is read")]
    connection: Connection,
}

impl Stream {
    /// How many octets it will have, if that was announced.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// The next part as soon as it is there; none at the end. Dropping the future loses nothing.
    pub async fn part(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            let Some(frame) = self.body.frame().await else { return Ok(None) };
            let frame = frame.map_err(|error| self.client.lost(&error))?;
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
    }

    /// As [`Self::part`], where parts follow one another without a wait.
    pub async fn next_part(&mut self) -> Result<Option<Bytes>, ClientError> {
        let client = self.client.clone();
        client.soon(self.part()).await
    }
}

/// What changes, as it does.
#[derive(Debug)]
pub struct Watching {
    stream: Stream,
    begun: Vec<u8>,
    /// How much of it holds no line break.
    searched: usize,
}

impl Watching {
    /// The next change as soon as there is one; none if the controller ends the watch. Dropping the future loses
    /// nothing.
    pub async fn next(&mut self) -> Result<Option<Watched>, ClientError> {
        loop {
            let unsearched = self.begun.get(self.searched..).unwrap_or_default();
            if let Some(at) = unsearched.iter().position(|octet| *octet == b'\n') {
                let rest = self.begun.split_off(self.searched + at + 1);
                let line = std::mem::replace(&mut self.begun, rest);
                self.searched = 0;
                if line.trim_ascii().is_empty() {
                    continue;
                }
                return self.read(&line).map(Some);
            }
            self.searched = self.begun.len();
            if self.searched > LONGEST {
                let socket = self.stream.client.socket.clone();
                return Err(ClientError::TooLong { socket, most: LONGEST });
            }
            match self.stream.part().await? {
                Some(part) => self.begun.extend_from_slice(&part),
                None if self.begun.trim_ascii().is_empty() => return Ok(None),
                None => {
                    let cut = io::Error::other("it ended inside of a line");
                    return Err(self.stream.client.lost(&cut));
                }
            }
        }
    }

    /// A line of a watch that was refused after it had begun is the refusal.
    fn read(&self, line: &[u8]) -> Result<Watched, ClientError> {
        serde_json::from_slice(line).map_err(|error| match serde_json::from_slice(line) {
            Ok(refusal) => ClientError::Refused(refusal),
            Err(_) => self.stream.client.other_version(error.to_string()),
        })
    }
}

/// The path with the fields of `query` that are there.
fn with_query(path: &str, query: &impl Serialize) -> String {
    let fields = serde_json::to_value(query).unwrap_or_default();
    let pairs = fields.as_object().into_iter().flatten().filter_map(|(name, value)| {
        let text = match value {
            Value::Null | Value::Bool(false) => return None,
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        Some(format!("{}={}", escaped(name), escaped(&text)))
    });
    let pairs: Vec<_> = pairs.collect();
    if pairs.is_empty() { path.to_owned() } else { format!("{path}?{}", pairs.join("&")) }
}

/// A text as a part of a path or a query (RFC 3986, section 2.1).
fn escaped(text: &str) -> String {
    let octet = |octet: u8| match octet {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(octet).to_string()
        }
        _ => format!("%{octet:02X}"),
    };
    text.bytes().map(octet).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_have_what_is_there() {
        let none = Selection::default();
        assert_eq!(with_query("/v1/resources", &none), "/v1/resources");
        let some = Selection {
            kind: Some("Site".into()),
            selector: Some("a/b=c,d=é".into()),
            limit: Some(500),
            after: None,
        };
        assert_eq!(
            with_query("/x", &some),
            "/x?kind=Site&limit=500&selector=a%2Fb%3Dc%2Cd%3D%C3%A9"
        );
        let apply = ApplyQuery { dry_run: true, force: false, manager: Some("ci".into()) };
        assert_eq!(with_query("/v1/apply", &apply), "/v1/apply?dry-run=true&manager=ci");
        assert_eq!(with_query("/v1/status", &()), "/v1/status");
    }
}
