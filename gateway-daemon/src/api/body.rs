//! Bodies of requests: read up to a bound and for a bounded time, and what nobody wants of them thrown away, so that
//! a caller who is still sending gets his refusal.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::StatusCode;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout, timeout_at};

use super::Refused;
use super::serve::Server;
use super::wire::ErrorWord;

/// Longest body that is read without waiting for one's turn.
const SMALL: usize = 1 << 20;
/// Most that is thrown away of a body, and for how long.
const UNWANTED: (usize, Duration) = (128 << 20, Duration::from_secs(5));

/// A request's body that its handler has and the connection keeps a hand on.
#[derive(Clone, Debug)]
pub(super) struct Lent(Arc<Mutex<Incoming>>);

/// What was read of a body. Large ones are few at once, as long as this is kept.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) octets: Vec<u8>,
    pub(super) turn: Option<OwnedSemaphorePermit>,
}

impl Lent {
    pub(super) fn new(body: Incoming) -> Self {
        Self(Arc::new(Mutex::new(body)))
    }

    /// Takes what is left of it, within bounds.
    pub(super) async fn discard(mut self) {
        let (most, time) = UNWANTED;
        let taken = async {
            let mut taken = 0;
            while let Some(Ok(frame)) = self.frame().await {
                taken += frame.data_ref().map_or(0, Bytes::len);
                if taken > most {
                    return;
                }
            }
        };
        // What is left then is cut off with the connection.
        let _ = timeout(time, taken).await;
    }
}

impl Body for Lent {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let mut body = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Pin::new(&mut *body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).size_hint()
    }
}

/// All of a body of at most `most` octets.
pub(super) async fn read(
    server: &Server,
    mut body: axum::body::Body,
    most: usize,
) -> Result<Whole, Refused> {
    let too_large = || {
        let message =
            format!("nothing was changed: the body has more than {most} octets; send it in parts");
        Refused::new(ErrorWord::TooLarge, message)
    };
    let too_slow = || {
        let time = server.settings.body_time.as_secs_f64();
        let message = format!(
            "nothing was changed: the body was not there within {time} s; send it without pauses"
        );
        Refused::bad_request(message).with_status(StatusCode::REQUEST_TIMEOUT)
    };
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > most {
        return Err(too_large());
    }
    let deadline = Instant::now() + server.settings.body_time;
    let mut whole = Whole { octets: Vec::with_capacity(announced.min(SMALL)), turn: None };
    loop {
        let frame = timeout_at(deadline, body.frame()).await.map_err(|_| too_slow())?;
        let Some(frame) = frame else { return Ok(whole) };
        let frame = frame.map_err(|error| {
            let message =
                format!("nothing was changed: the body broke off ({error}); send it again");
            Refused::bad_request(message)
        })?;
        let Some(part) = frame.data_ref() else { continue };
        let length = whole.octets.len() + part.len();
        if length > most {
            return Err(too_large());
        }
        if length > SMALL && whole.turn.is_none() {
            whole.turn = Some(server.turn_of_large_body().await?);
        }
        whole.octets.extend_from_slice(part);
    }
}
