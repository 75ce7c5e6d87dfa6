//! Bodies of answers. A long one counts against what the server holds for its callers until it is taken.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use futures_util::stream;
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;

use super::Refused;
use super::serve::Server;
use super::wire::ErrorWord;

/// Octets that are handed to a connection at once; an answer that is no longer is not counted.
pub(super) const PIECE: usize = 64 << 10;

/// Octets that a caller has yet to take, and what is counted for them.
#[derive(Debug, Default)]
pub(super) struct Held {
    rest: Bytes,
    _counted: Option<OwnedSemaphorePermit>,
}

impl Held {
    pub(super) fn new(octets: Vec<u8>, counted: Option<OwnedSemaphorePermit>) -> Self {
        Self { rest: octets.into(), _counted: counted }
    }

    /// The next piece, until there is none.
    pub(super) fn piece(&mut self) -> Option<Bytes> {
        let length = self.rest.len().min(PIECE);
        (length > 0).then(|| self.rest.split_to(length))
    }
}

/// A value as JSON.
pub(super) async fn json(server: &Server, value: &impl Serialize) -> Result<Response, Refused> {
    whole(server, to_json(value)?, "application/json").await
}

/// A value as the octets of its JSON.
pub(super) fn to_json(value: &impl Serialize) -> Result<Vec<u8>, Refused> {
    serde_json::to_vec(value).map_err(|error| {
        let message =
            format!("an answer that cannot be written: {error}; see the controller's log");
        Refused::new(ErrorWord::Internal, message)
    })
}

/// Octets that are there already.
pub(super) async fn whole(
    server: &Server,
    octets: Vec<u8>,
    media: &'static str,
) -> Result<Response, Refused> {
    let length = octets.len();
    let mut held = server.hold(octets).await?;
    let first = held.piece().unwrap_or_default();
    let body = if first.len() == length {
        Body::from(first)
    } else {
        Body::from_stream(stream::unfold((Some(first), held), |(first, mut held)| async move {
            let piece = first.or_else(|| held.piece())?;
            Some((Ok::<_, Infallible>(piece), (None, held)))
        }))
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    Ok(response)
}
