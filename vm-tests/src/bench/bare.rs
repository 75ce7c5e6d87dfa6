//! What a store is compared with: the same engine without our layer, doing the same durable write.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use rusqlite::{Connection, TransactionBehavior, params};
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

/// An SQLite file with a history of keys, written by rusqlite alone.
#[derive(Debug)]
pub struct BareSqlite(Connection);

impl BareSqlite {
    /// Makes the file: a log ahead of it, and every transaction on the disk before it is answered.
    pub fn new(path: &Path) -> Result<Self> {
        let connection = Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", "full")?;
        connection.execute_batch(
            "CREATE TABLE state (one INTEGER PRIMARY KEY, revision INTEGER NOT NULL) STRICT; \
             INSERT INTO state VALUES (1, 0); \
             CREATE TABLE changes (revision INTEGER NOT NULL, key BLOB NOT NULL, value BLOB) STRICT; \
             CREATE UNIQUE INDEX changes_by_key ON changes (key, revision); \
             CREATE UNIQUE INDEX changes_by_revision ON changes (revision, key)",
        )?;
        Ok(Self(connection))
    }

    /// Gives a key a value under a new revision.
    pub fn write(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let transaction = self.0.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let revision: i64 = transaction
            .prepare_cached("UPDATE state SET revision = revision + 1 RETURNING revision")?
            .query_row([], |row| row.get(0))?;
        transaction
            .prepare_cached("INSERT INTO changes (revision, key, value) VALUES (?, ?, ?)")?
            .execute(params![revision, key, value])?;
        Ok(transaction.commit()?)
    }
}

/// `KV.Put` of etcd (`rpc.proto`, the fields that are used).
#[derive(Clone, PartialEq, prost::Message)]
struct PutRequest {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// What of its answer is looked at: nothing.
#[derive(Clone, PartialEq, prost::Message)]
struct PutResponse {}

/// etcd by a gRPC call alone.
#[derive(Debug, Clone)]
pub struct BareEtcd(Channel);

impl BareEtcd {
    /// Connects.
    pub async fn connect(endpoint: String) -> Result<Self> {
        let endpoint = Endpoint::from_shared(endpoint)?.tcp_nodelay(true);
        Ok(Self(endpoint.connect().await.context("connect to etcd")?))
    }

    /// Gives a key a value.
    pub async fn write(&self, key: Vec<u8>, value: Vec<u8>) -> Result<()> {
        let mut client = Grpc::new(self.0.clone());
        client.ready().await?;
        let codec = ProstCodec::<PutRequest, PutResponse>::default();
        let path = PathAndQuery::from_static("/etcdserverpb.KV/Put");
        let request = tonic::Request::new(PutRequest { key, value });
        let answer = client.unary(request, path, codec).await;
        answer.map(drop).map_err(|status| anyhow!("etcd: {status}"))
    }
}
