//! A watch: a line with everything there is, then lines with what has changed since the line before.
//!
//! What is sent next is computed when the connection takes more: from what there is then, against what was sent. So
//! a caller who is slow misses nothing that lasts, and what is kept for him is one line and a digest of each resource.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderValue, Uri, header};
use axum::response::Response;
use futures_util::stream;
use gateway_control::resource::Key;
use sha2::{Digest as _, Sha256};
use tokio::sync::watch::Receiver;
use tokio::time::{Instant, sleep_until};

use super::answer::{Held, to_json};
use super::connection::Reader;
use super::serve::{Counted, Server, closed};
use super::wire::{Reference, Selection, View, Watched};
use super::{Refused, parse};
use crate::clock::now;
use crate::controller::Wanted;

/// A watch computes for at most one part of its time in so many.
const LEISURE: u32 = 8;

/// Watch resources
///
/// A stream of lines, each a `Watched`. The first has everything that there is, the next ones what has changed since
/// the line before; several changes may come together. It ends when the controller stops; then watch again.
#[utoipa::path(
    get,
    path = "/v1/watch",
    params(Selection),
    responses((
        status = 200,
        description = "Lines of JSON, without limit and after.",
        body = Watched,
        content_type = "application/x-ndjson",
    ))
)]
pub(super) async fn watch(
    State(server): State<Arc<Server>>,
    Reader(caller): Reader,
    uri: Uri,
) -> Result<Response, Refused> {
    let wanted = parse::watching(&uri)?;
    let place = server.watch(caller.uid)?;
    let mut watch = Watch {
        news: server.controller.news(),
        closing: server.closing.clone(),
        server,
        wanted,
        sent: BTreeMap::new(),
        line: Held::default(),
        not_before: Instant::now(),
        _place: place,
    };
    watch.look(true).await?;
    let mut response = Response::new(Body::from_stream(stream::unfold(watch, next)));
    let media = HeaderValue::from_static("application/x-ndjson");
    response.headers_mut().insert(header::CONTENT_TYPE, media);
    Ok(response)
}

struct Watch {
    server: Arc<Server>,
    wanted: Wanted,
    news: Receiver<u64>,
    closing: Receiver<bool>,
    /// What the caller has been told of each resource, as a digest.
    sent: BTreeMap<Key, [u8; 16]>,
    /// What he has yet to take.
    line: Held,
    /// When the next line may be made.
    not_before: Instant,
    _place: Counted,
}

/// What broke a watch off.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Broken(String);

async fn next(mut watch: Watch) -> Option<(Result<Bytes, Broken>, Watch)> {
    loop {
        if let Some(piece) = watch.line.piece() {
            return Some((Ok(piece), watch));
        }
        let changed = async {
            let changed = watch.news.changed().await;
            sleep_until(watch.not_before).await;
            changed
        };
        tokio::select! {
            () = closed(&mut watch.closing) => return None,
            changed = changed => changed.ok()?,
        }
        if let Err(refused) = watch.look(false).await {
            let broken = Broken(refused.refusal.message);
            tracing::warn!("a watch of the API ends: {broken}");
            return Some((Err(broken), watch));
        }
    }
}

impl Watch {
    /// Makes a line of what has changed; the first one is made even of nothing.
    async fn look(&mut self, first: bool) -> Result<(), Refused> {
        let server = Arc::clone(&self.server);
        let _alone = server.computing.acquire().await;
        let begun = Instant::now();
        self.news.borrow_and_update();
        let listed = self.server.controller.list(&self.wanted, None, usize::MAX, now()).await?;
        let revision = listed.revision.unwrap_or_default().number();
        let watched = self.difference(revision, listed.views)?;
        if first || !watched.put.is_empty() || !watched.deleted.is_empty() {
            let mut line = to_json(&watched)?;
            line.push(b'\n');
            drop(watched);
            self.line = self.server.hold(line).await?;
        }
        let pause = (begun.elapsed() * LEISURE).max(self.server.settings.watch_pause);
        self.not_before = Instant::now() + pause;
        Ok(())
    }

    fn difference(&mut self, revision: u64, views: Vec<View>) -> Result<Watched, Refused> {
        let mut watched = Watched { revision, put: Vec::new(), deleted: Vec::new() };
        let mut sent = BTreeMap::new();
        for view in views {
            let key = key(&view)?;
            let digest = digest(&view)?;
            if self.sent.remove(&key) != Some(digest) {
                watched.put.push(view);
            }
            sent.insert(key, digest);
        }
        let gone = std::mem::replace(&mut self.sent, sent);
        watched.deleted = gone
            .into_keys()
            .map(|key| Reference { kind: key.kind().word().to_owned(), name: key.name() })
            .collect();
        Ok(watched)
    }
}

/// The key of a resource that the controller shows.
pub(super) fn key(view: &View) -> Result<Key, Refused> {
    let Reference { kind, name } = view.reference();
    parse::key(&kind, &name)
}

fn digest(view: &View) -> Result<[u8; 16], Refused> {
    let whole = Sha256::digest(to_json(view)?);
    let mut half = [0; 16];
    half.copy_from_slice(&whole[..16]);
    Ok(half)
}
