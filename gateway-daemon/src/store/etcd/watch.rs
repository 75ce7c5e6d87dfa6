//! A watch of an etcd store: a stream of etcd's that is opened again where it broke.
//!
//! No change is read before it is asked for; what waits, waits in etcd and in the bounded window of the connection.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{self, Instant};
use tonic::Streaming;

use super::Shared;
use super::call::{Call, Failure, failure};
use super::wire::{EventType, WatchCreateRequest, WatchRequest, WatchResponse, path};
use crate::store::key::end_of_prefix;
use crate::store::{Change, Changes, Revision, StoreError, Watch};

const OPEN: Call = Call { path: path::WATCH, doing: "watch", is_repeatable: true };
/// Least and most time between two attempts to open a stream.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

#[derive(Debug)]
pub(super) struct EtcdWatch {
    store: Arc<Shared>,
    prefix: Vec<u8>,
    /// What is up to this revision has been given, or is in `ready`.
    after: Revision,
    stream: Option<Open>,
    ready: VecDeque<Changes>,
    /// How long to wait before a stream is opened again.
    pause: Duration,
}

#[derive(Debug)]
struct Open {
    stream: Streaming<WatchResponse>,
    endpoint: String,
    /// A transaction of which more may come.
    part: Option<Changes>,
}

impl EtcdWatch {
    pub(super) fn new(store: Arc<Shared>, prefix: Vec<u8>, after: Revision) -> Self {
        let (pause, _) = PAUSE;
        Self { store, prefix, after, stream: None, ready: VecDeque::new(), pause }
    }

    /// Opens the stream if it is not, and keeps trying for as long as one endpoint has to answer.
    async fn open(&mut self) -> Result<&mut Open, StoreError> {
        if self.stream.is_none() {
            let give_up = Instant::now() + self.store.endpoints.timeout();
            let opened = loop {
                match open(&self.store, &self.prefix, self.after).await {
                    Ok(opened) => break opened,
                    Err(error @ StoreError::Unreachable { .. }) if Instant::now() >= give_up => {
                        return Err(error);
                    }
                    Err(StoreError::Unreachable { .. }) => self.pause().await,
                    Err(error) => return Err(error),
                }
            };
            self.stream = Some(opened);
        }
        Ok(self.stream.as_mut().expect("opened above"))
    }

    async fn pause(&mut self) {
        time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(PAUSE.1);
    }

    /// Takes what came in; whole transactions become ready.
    fn take(&mut self, response: WatchResponse) -> Result<(), StoreError> {
        let Some(open) = &mut self.stream else { return Ok(()) };
        if response.canceled {
            let endpoint = open.endpoint.clone();
            self.stream = None;
            if response.compact_revision > 0 {
                let kept = Revision::from_signed(response.compact_revision);
                return Err(StoreError::Compacted { asked: self.after, kept });
            }
            if response.cancel_reason.contains("no leader") {
                return Ok(());
            }
            let reason = response.cancel_reason;
            return Err(StoreError::Refused { endpoint, doing: OPEN.doing, reason });
        }
        let mut whole = Vec::new();
        for event in response.events {
            let Some(kv) = event.kv else { continue };
            let revision = Revision::from_signed(kv.mod_revision);
            // The stream begins with what is known; see `open`.
            if revision <= self.after {
                continue;
            }
            let is_deletion = event.kind == EventType::Delete as i32;
            let key = self.store.key(&kv.key)?;
            let change = if is_deletion {
                Change::Deleted(key)
            } else {
                Change::Put(self.store.entry(key, kv)?)
            };
            match &mut open.part {
                Some(part) if part.revision == revision => part.changes.push(change),
                part => whole.extend(part.replace(Changes { revision, changes: vec![change] })),
            }
        }
        if !response.fragment {
            whole.extend(open.part.take());
        }
        for mut changes in whole {
            (self.pause, _) = PAUSE;
            self.after = changes.revision;
            changes.changes.sort_by(|one, other| one.key().cmp(other.key()));
            self.ready.push_back(changes);
        }
        Ok(())
    }
}

#[async_trait]
impl Watch for EtcdWatch {
    async fn next(&mut self) -> Result<Changes, StoreError> {
        loop {
            if let Some(changes) = self.ready.pop_front() {
                return Ok(changes);
            }
            let open = self.open().await?;
            match open.stream.message().await {
                Ok(Some(response)) => self.take(response)?,
                Ok(None) => {
                    self.stream = None;
                    self.pause().await;
                }
                Err(status) => {
                    let endpoint = open.endpoint.clone();
                    self.stream = None;
                    if let Failure::Said(status) = failure(status) {
                        let reason = status.message().to_owned();
                        return Err(StoreError::Refused { endpoint, doing: OPEN.doing, reason });
                    }
                    self.pause().await;
                }
            }
        }
    }
}

/// The oldest revision that can be read, seen by watching from one that cannot.
pub(super) async fn oldest_kept(
    store: &Arc<Shared>,
    asked: Revision,
) -> Result<Revision, StoreError> {
    let mut watch = EtcdWatch::new(Arc::clone(store), store.prefix.clone(), asked);
    // The answer is at hand: the revision is compacted, so that no change is waited for.
    match time::timeout(store.endpoints.timeout(), watch.next()).await {
        Ok(Err(StoreError::Compacted { kept, .. })) => Ok(kept),
        Ok(Err(error)) => Err(error),
        Ok(Ok(_)) | Err(_) => store.revision().await,
    }
}

/// Opens a stream of what comes after a revision. It begins with that revision itself, since etcd (3.4) says that a
/// revision is compacted if it is before the one compacted to, and of that one deletions are gone.
async fn open(store: &Shared, prefix: &[u8], after: Revision) -> Result<Open, StoreError> {
    let create = WatchCreateRequest {
        key: prefix.to_vec(),
        range_end: end_of_prefix(prefix).unwrap_or_else(|| vec![0]),
        start_revision: after.signed().max(1),
        fragment: true,
    };
    let request = WatchRequest { create: Some(create) };
    let answer = store.endpoints.streaming(OPEN, request).await?;
    let (first, stream): (WatchResponse, _) = answer.content;
    if !first.created || first.canceled {
        let reason = first.cancel_reason;
        return Err(StoreError::Refused { endpoint: answer.endpoint, doing: OPEN.doing, reason });
    }
    Ok(Open { stream, endpoint: answer.endpoint, part: None })
}
