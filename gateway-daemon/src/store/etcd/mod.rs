//! The store in etcd, 3.4 or later: for a deployment with several controllers.
//!
//! All keys of a deployment lie below `/presence/NAME/`. The etcd may have other users, but they share its revisions, its
//! history and therefore its compaction. A call has a bounded time at each endpoint; connections are without TLS.

mod call;
mod watch;
mod wire;

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::key::end_of_prefix;
use super::{
    Condition, Conflict, Cursor, Entry, Key, Lease, LeaseId, Limits, Operation, Outcome, Page,
    Prefix, Revision, Store, StoreError, Transaction, Value, Watch,
};
use call::{Answer, Call, Endpoints};
use watch::EtcdWatch;
use wire::path;

gateway_policy::label_newtype!(
    /// Name of a deployment.
    DeploymentName
);

/// Where etcd is and how it is used.
#[derive(Clone, Debug)]
pub struct EtcdSettings {
    /// Its members, each as `http://HOST:PORT`.
    pub endpoints: Vec<String>,
    /// Whose keys these are.
    pub deployment: DeploymentName,
    /// How long one member has for an answer.
    pub call_timeout: Duration,
    /// How often to ask a silent connection if it still works. etcd refuses to be asked more often than its
    /// `--grpc-keepalive-min-time` says.
    pub probe_interval: Duration,
    /// What fits into a transaction, by etcd's `--max-txn-ops` and `--max-request-bytes`.
    pub limits: Limits,
}

impl EtcdSettings {
    /// The settings for an etcd that was not configured otherwise.
    pub fn new(endpoints: Vec<String>, deployment: DeploymentName) -> Self {
        Self {
            endpoints,
            deployment,
            call_timeout: Duration::from_secs(5),
            probe_interval: Duration::from_secs(10),
            limits: Limits { operations: 128, bytes: 5 << 18 },
        }
    }
}

/// A deployment's keys in etcd.
#[derive(Debug)]
pub struct EtcdStore {
    shared: Arc<Shared>,
    limits: Limits,
}

#[derive(Debug)]
struct Shared {
    endpoints: Endpoints,
    prefix: Vec<u8>,
}

impl EtcdStore {
    /// Reaches etcd and asks for its version.
    pub async fn connect(settings: EtcdSettings) -> Result<Self, StoreError> {
        let endpoints =
            Endpoints::new(&settings.endpoints, settings.call_timeout, settings.probe_interval)?;
        let call = Call { path: path::STATUS, doing: "ask for its version", is_repeatable: true };
        let answer: Answer<wire::StatusResponse> = endpoints.unary(call, wire::Nothing {}).await?;
        let version = answer.content.version;
        if !is_supported(&version) {
            return Err(StoreError::OldEtcd { endpoint: answer.endpoint, version });
        }
        let prefix = format!("/presence/{}/", settings.deployment).into_bytes();
        Ok(Self { shared: Arc::new(Shared { endpoints, prefix }), limits: settings.limits })
    }
}

fn is_supported(version: &str) -> bool {
    let mut numbers = version.split('.').map_while(|part| part.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(3), Some(4))
}

impl Shared {
    fn full(&self, key: &[u8]) -> Vec<u8> {
        [&self.prefix, key].concat()
    }

    /// The key without what is before it in etcd.
    fn key(&self, full: &[u8]) -> Result<Key, StoreError> {
        full.strip_prefix(self.prefix.as_slice())
            .and_then(|key| Key::new(key).ok())
            .ok_or_else(|| self.alien(full))
    }

    fn entry(&self, key: Key, kv: wire::KeyValue) -> Result<Entry, StoreError> {
        Ok(Entry {
            value: Value::new(&kv.value).map_err(|_| self.alien(&kv.key))?,
            key,
            created: Revision::from_signed(kv.create_revision),
            modified: Revision::from_signed(kv.mod_revision),
            lease: LeaseId::from_signed(kv.lease),
        })
    }

    fn alien(&self, key: &[u8]) -> StoreError {
        StoreError::AlienKey { key: key.escape_ascii().to_string() }
    }

    async fn range(
        &self,
        call: Call,
        request: wire::RangeRequest,
    ) -> Result<(Revision, wire::RangeResponse), StoreError> {
        let answer: Answer<wire::RangeResponse> = self.endpoints.unary(call, request).await?;
        Ok((revision_of(answer.content.header.as_ref()), answer.content))
    }

    async fn revision(&self) -> Result<Revision, StoreError> {
        let call = Call { path: path::RANGE, doing: "ask for its revision", is_repeatable: true };
        let key = self.prefix.clone();
        let request = wire::RangeRequest { key, count_only: true, ..Default::default() };
        Ok(self.range(call, request).await?.0)
    }
}

#[async_trait]
impl Store for EtcdStore {
    fn description(&self) -> String {
        let prefix = String::from_utf8_lossy(&self.shared.prefix);
        format!("etcd {}, keys below {prefix}", self.shared.endpoints.names())
    }

    fn limits(&self) -> Limits {
        self.limits
    }

    async fn revision(&self) -> Result<Revision, StoreError> {
        self.shared.revision().await
    }

    async fn get(&self, key: &Key) -> Result<Option<Entry>, StoreError> {
        let call = Call { path: path::RANGE, doing: "read a key", is_repeatable: true };
        let key = self.shared.full(key.as_bytes());
        let request = wire::RangeRequest { key, ..Default::default() };
        let (_, answer) = self.shared.range(call, request).await?;
        let entry = |kv: wire::KeyValue| self.shared.entry(self.shared.key(&kv.key)?, kv);
        answer.kvs.into_iter().next().map(entry).transpose()
    }

    async fn list(
        &self,
        prefix: &Prefix,
        limit: NonZeroUsize,
        from: Option<&Cursor>,
    ) -> Result<Page, StoreError> {
        /// So that what fits into memory here fits into one answer of etcd.
        const MOST: usize = 1000;
        let call = Call { path: path::RANGE, doing: "list keys", is_repeatable: true };
        let first = self.shared.full(prefix.as_bytes());
        let end = end_of_prefix(&first).unwrap_or_else(|| vec![0]);
        // The least key that is greater than another has one octet more.
        let behind =
            |cursor: &Cursor| [&self.shared.full(cursor.after.as_bytes())[..], &[0]].concat();
        let key = from.map_or(first.clone(), |cursor| behind(cursor).max(first));
        let mut limit = limit.get().min(MOST);
        let (now, answer) = loop {
            let request = wire::RangeRequest {
                key: key.clone(),
                range_end: end.clone(),
                limit: i64::try_from(limit).unwrap_or(i64::MAX),
                revision: from.map_or(0, |cursor| cursor.revision.signed()),
                ..Default::default()
            };
            match self.shared.range(call, request).await {
                Err(StoreError::Refused { reason, .. })
                    if reason.contains("message length too large") && limit > 1 =>
                {
                    limit /= 2;
                }
                Err(StoreError::Refused { reason, .. }) if reason.contains("been compacted") => {
                    let asked = from.map_or(Revision::new(0), |cursor| cursor.revision);
                    let kept = watch::oldest_kept(&self.shared, asked).await?;
                    return Err(StoreError::Compacted { asked, kept });
                }
                answer => break answer?,
            }
        };
        let revision = from.map_or(now, |cursor| cursor.revision);
        let mut entries = Vec::with_capacity(answer.kvs.len());
        for kv in answer.kvs {
            entries.push(self.shared.entry(self.shared.key(&kv.key)?, kv)?);
        }
        let next = match entries.last() {
            Some(last) if answer.more => Some(Cursor { revision, after: last.key.clone() }),
            _ => None,
        };
        Ok(Page { revision, entries, next })
    }

    async fn transact(&self, transaction: Transaction) -> Result<Outcome, StoreError> {
        transaction.check(self.limits)?;
        let call = Call { path: path::TXN, doing: "do a transaction", is_repeatable: false };
        let request = self.request(&transaction);
        let answer: Answer<wire::TxnResponse> =
            match self.shared.endpoints.unary(call, request).await {
                Err(error) if is_lease_missing(&error) => {
                    return Err(self.ended_among(&transaction).await?.unwrap_or(error));
                }
                answer => answer?,
            };
        let Answer { content: answer, endpoint } = answer;
        if answer.succeeded {
            return Ok(Outcome::Committed(revision_of(answer.header.as_ref())));
        }
        let found = answer.responses.into_iter().map(|response| {
            let kv = response.range?.kvs.into_iter().next()?;
            Some(Revision::from_signed(kv.mod_revision))
        });
        let conflict =
            transaction.conditions().iter().zip(found).find_map(|((key, condition), found)| {
                (!condition.holds(found)).then(|| {
                    let (key, condition) = (key.clone(), *condition);
                    Outcome::Conflict(Conflict { key, condition, found })
                })
            });
        conflict.ok_or_else(|| StoreError::Refused {
            endpoint,
            doing: call.doing,
            reason: "it says that a condition failed and shows none".to_owned(),
        })
    }

    async fn watch(&self, prefix: &Prefix, after: Revision) -> Result<Box<dyn Watch>, StoreError> {
        let prefix = self.shared.full(prefix.as_bytes());
        Ok(Box::new(EtcdWatch::new(Arc::clone(&self.shared), prefix, after)))
    }

    async fn grant(&self, ttl: Duration) -> Result<Lease, StoreError> {
        // If it is granted twice, one ends unused.
        let call = Call { path: path::LEASE_GRANT, doing: "grant a lease", is_repeatable: true };
        let seconds = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
        let ttl = i64::from(u32::try_from(seconds).unwrap_or(u32::MAX)).max(1);
        let request = wire::LeaseGrantRequest { ttl };
        let answer: Answer<wire::LeaseGrantResponse> =
            self.shared.endpoints.unary(call, request).await?;
        let id = LeaseId::from_signed(answer.content.id).ok_or_else(|| StoreError::Refused {
            endpoint: answer.endpoint,
            doing: call.doing,
            reason: "it grants one without a number".to_owned(),
        })?;
        Ok(Lease { id, ttl: Duration::from_secs(answer.content.ttl.unsigned_abs()) })
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<Duration, StoreError> {
        let path = path::LEASE_KEEP_ALIVE;
        let call = Call { path, doing: "keep a lease alive", is_repeatable: true };
        let request = wire::LeaseRequest { id: LeaseId::signed(Some(lease)) };
        let answer = self.shared.endpoints.streaming(call, request).await?;
        let (first, _): (wire::LeaseResponse, _) = answer.content;
        match u64::try_from(first.ttl) {
            Ok(seconds @ 1..) => Ok(Duration::from_secs(seconds)),
            _ => Err(StoreError::LeaseEnded { lease }),
        }
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), StoreError> {
        // Done twice it says that the lease has ended, as it would if it had ended by itself.
        let call = Call { path: path::LEASE_REVOKE, doing: "end a lease", is_repeatable: true };
        let request = wire::LeaseRequest { id: LeaseId::signed(Some(lease)) };
        let answer: Result<Answer<wire::Nothing>, _> =
            self.shared.endpoints.unary(call, request).await;
        match answer {
            Err(error) if is_lease_missing(&error) => Err(StoreError::LeaseEnded { lease }),
            answer => answer.map(|_| ()),
        }
    }

    async fn compact(&self, up_to: Revision) -> Result<(), StoreError> {
        let call = Call { path: path::COMPACT, doing: "compact", is_repeatable: true };
        let request = wire::CompactionRequest { revision: up_to.signed() };
        let answer: Result<Answer<wire::Nothing>, _> =
            self.shared.endpoints.unary(call, request).await;
        match answer {
            Ok(_) => Ok(()),
            Err(StoreError::Refused { reason, .. }) if reason.contains("been compacted") => Ok(()),
            Err(StoreError::Refused { reason, .. }) if reason.contains("future revision") => {
                Err(StoreError::Future { asked: up_to, now: self.revision().await? })
            }
            Err(error) => Err(error),
        }
    }

    async fn backup(&self, _to: &Path) -> Result<Revision, StoreError> {
        Err(StoreError::OwnBackup { store: self.description() })
    }
}

impl EtcdStore {
    /// Which lease of the transaction is over: etcd says only that one is.
    async fn ended_among(
        &self,
        transaction: &Transaction,
    ) -> Result<Option<StoreError>, StoreError> {
        let path = path::LEASE_TIME_TO_LIVE;
        let call = Call { path, doing: "look at a lease", is_repeatable: true };
        for operation in transaction.operations().values() {
            let Operation::Put { lease: Some(lease), .. } = operation else { continue };
            let request = wire::LeaseRequest { id: LeaseId::signed(Some(*lease)) };
            let answer: Answer<wire::LeaseResponse> =
                self.shared.endpoints.unary(call, request).await?;
            if answer.content.ttl <= 0 {
                return Ok(Some(StoreError::LeaseEnded { lease: *lease }));
            }
        }
        Ok(None)
    }

    /// The transaction for etcd; if it fails, it reads the keys of the conditions in their order.
    fn request(&self, transaction: &Transaction) -> wire::TxnRequest {
        use wire::{CompareResult, CompareTarget, Request};
        let operation = |request| wire::RequestOp { request: Some(request) };
        let compare = |(key, condition): &(Key, Condition)| {
            // A key that is not there was never modified: etcd compares with 0.
            let (result, with) = match condition {
                Condition::Absent => (CompareResult::Equal, 0),
                Condition::Present => (CompareResult::Greater, 0),
                Condition::Unchanged(revision) => (CompareResult::Equal, revision.signed()),
            };
            wire::Compare {
                result: result.into(),
                target: CompareTarget::Mod.into(),
                key: self.shared.full(key.as_bytes()),
                with: Some(wire::CompareWith::ModRevision(with)),
            }
        };
        let success = |(key, operated): (&Key, &Operation)| {
            let key = self.shared.full(key.as_bytes());
            operation(match operated {
                Operation::Put { value, lease } => Request::Put(wire::PutRequest {
                    key,
                    value: value.as_bytes().to_vec(),
                    lease: LeaseId::signed(*lease),
                }),
                Operation::Delete => Request::Delete(wire::DeleteRangeRequest { key }),
            })
        };
        let failure = |(key, _): &(Key, Condition)| {
            let key = self.shared.full(key.as_bytes());
            operation(Request::Range(wire::RangeRequest {
                key,
                keys_only: true,
                ..Default::default()
            }))
        };
        wire::TxnRequest {
            compare: transaction.conditions().iter().map(compare).collect(),
            success: transaction.operations().iter().map(success).collect(),
            failure: transaction.conditions().iter().map(failure).collect(),
        }
    }
}

fn revision_of(header: Option<&wire::Header>) -> Revision {
    Revision::from_signed(header.map_or(0, |header| header.revision))
}

fn is_lease_missing(error: &StoreError) -> bool {
    matches!(error, StoreError::Refused { reason, .. } if reason.contains("lease not found"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        for (version, expected) in
            [("3.3.27", false), ("3.4.0", true), ("3.10.1", true), ("4.0.0", true), ("", false)]
        {
            assert_eq!(is_supported(version), expected, "{version}");
        }
    }
}
