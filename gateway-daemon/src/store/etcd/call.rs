//! Calls to etcd: which endpoint, for how long, and what its errors mean.
//!
//! A call goes to the endpoint that answered last. One that does not answer in time is passed over for the next, unless the
//! call may have taken effect and must not take effect twice.

use std::error::Error;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{Stream, stream};
use prost::Message;
use tokio::time;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, ConnectError, Request, Status, Streaming};
use tonic_prost::ProstCodec;

use crate::store::StoreError;

/// Largest answer that is taken. A page with more in it is asked for again in smaller parts.
const ANSWER_BYTES: usize = 32 << 20;

/// What calls go through.
#[derive(Debug)]
pub(super) struct Endpoints {
    all: Vec<Named>,
    /// Where the next call goes.
    preferred: AtomicUsize,
    timeout: Duration,
}

#[derive(Debug)]
struct Named {
    name: String,
    channel: Channel,
}

/// A call and what is said if it fails.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    pub(super) path: &'static str,
    pub(super) doing: &'static str,
    /// Does it do the same if it is done twice?
    pub(super) is_repeatable: bool,
}

/// Why one endpoint gave no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// It did not get the request.
    NotSent(String),
    /// It may have got it.
    Lost(String),
    /// It answers that it has not done it.
    Said(Status),
}

/// An answer with the endpoint that gave it.
#[derive(Debug)]
pub(super) struct Answer<T> {
    pub(super) content: T,
    pub(super) endpoint: String,
}

impl Endpoints {
    pub(super) fn new(
        names: &[String],
        timeout: Duration,
        probe_interval: Duration,
    ) -> Result<Self, StoreError> {
        let all: Result<Vec<Named>, StoreError> = names
            .iter()
            .map(|name| {
                let refused = |reason: &str| StoreError::Endpoint {
                    endpoint: name.clone(),
                    reason: reason.to_owned(),
                };
                if !name.starts_with("http://") {
                    return Err(refused("write it as http://HOST:PORT"));
                }
                let endpoint = Endpoint::from_shared(name.clone())
                    .map_err(|_| refused("it is no address; write it as http://HOST:PORT"))?
                    // Less than a call has, so that it is known that nothing was sent.
                    .connect_timeout(timeout / 2)
                    .tcp_nodelay(true)
                    // A watch is silent as long as nothing changes.
                    .http2_keep_alive_interval(probe_interval)
                    .keep_alive_timeout(timeout)
                    .keep_alive_while_idle(true);
                Ok(Named { name: name.clone(), channel: endpoint.connect_lazy() })
            })
            .collect();
        let all = all?;
        if all.is_empty() {
            return Err(StoreError::Endpoint {
                endpoint: String::new(),
                reason: "there is none; name at least one".to_owned(),
            });
        }
        Ok(Self { all, preferred: AtomicUsize::new(0), timeout })
    }

    /// How long one endpoint has.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// A request with one answer.
    pub(super) async fn unary<Q, A>(&self, call: Call, request: Q) -> Result<Answer<A>, StoreError>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        self.try_each(call, |channel| {
            let request = request.clone();
            async move {
                let mut client = client(channel).await?;
                let codec = ProstCodec::<Q, A>::default();
                let path = PathAndQuery::from_static(call.path);
                let answer = client.unary(with_leader(request), path, codec).await;
                answer.map(tonic::Response::into_inner).map_err(failure)
            }
        })
        .await
    }

    /// A stream of answers to one request, and the first of them.
    pub(super) async fn streaming<Q, A>(
        &self,
        call: Call,
        request: Q,
    ) -> Result<Answer<(A, Streaming<A>)>, StoreError>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        self.try_each(call, |channel| {
            let request = request.clone();
            async move {
                let mut client = client(channel).await?;
                let codec = ProstCodec::<Q, A>::default();
                let path = PathAndQuery::from_static(call.path);
                let requests = once_and_open(request);
                let answer =
                    client.streaming(with_leader(requests), path, codec).await.map_err(failure)?;
                let mut answers = answer.into_inner();
                match answers.message().await.map_err(failure)? {
                    Some(first) => Ok((first, answers)),
                    None => Err(Failure::Lost("it closed the stream".to_owned())),
                }
            }
        })
        .await
    }

    async fn try_each<T, F>(
        &self,
        call: Call,
        attempt: impl Fn(Channel) -> F,
    ) -> Result<Answer<T>, StoreError>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let first = self.preferred.load(Ordering::Relaxed);
        let mut reasons = Vec::new();
        for index in (0..self.all.len()).map(|step| (first + step) % self.all.len()) {
            let Named { name, channel } = &self.all[index];
            let endpoint = name.clone();
            let failed = match time::timeout(self.timeout, attempt(channel.clone())).await {
                Ok(Ok(content)) => {
                    self.preferred.store(index, Ordering::Relaxed);
                    return Ok(Answer { content, endpoint });
                }
                Ok(Err(failed)) => failed,
                Err(_) => {
                    let seconds = self.timeout.as_secs_f32();
                    Failure::Lost(format!("no answer within {seconds} s"))
                }
            };
            let reason = match failed {
                Failure::NotSent(reason) => reason,
                Failure::Lost(reason) if call.is_repeatable => reason,
                Failure::Lost(reason) => {
                    self.preferred.store((index + 1) % self.all.len(), Ordering::Relaxed);
                    return Err(StoreError::Uncertain { store: endpoint, reason });
                }
                Failure::Said(status) => {
                    return Err(StoreError::Refused {
                        endpoint,
                        doing: call.doing,
                        reason: status.message().to_owned(),
                    });
                }
            };
            reasons.push(format!("{endpoint}: {reason}"));
        }
        Err(StoreError::Unreachable {
            endpoints: self.names(),
            doing: call.doing,
            reason: reasons.join("; "),
        })
    }

    pub(super) fn names(&self) -> String {
        self.all.iter().map(|endpoint| endpoint.name.as_str()).collect::<Vec<_>>().join(",")
    }
}

/// What an error of a call or of a stream means.
pub(super) fn failure(status: Status) -> Failure {
    let mut source = status.source();
    while let Some(error) = source {
        if error.is::<ConnectError>() {
            return Failure::NotSent("no connection".to_owned() + &last_cause(error));
        }
        source = error.source();
    }
    match status.code() {
        Code::InvalidArgument
        | Code::NotFound
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Unauthenticated => Failure::Said(status),
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::AlreadyExists
        | Code::Aborted
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => {
            let cause = status.source().map(last_cause).unwrap_or_default();
            Failure::Lost(format!("{}{cause}", status.message()))
        }
    }
}

fn last_cause(error: &(dyn Error + 'static)) -> String {
    let mut last = error;
    while let Some(deeper) = last.source() {
        last = deeper;
    }
    format!(": {last}")
}

async fn client(channel: Channel) -> Result<Grpc<Channel>, Failure> {
    let mut client = Grpc::new(channel)
        .max_decoding_message_size(ANSWER_BYTES)
        .max_encoding_message_size(ANSWER_BYTES);
    client
        .ready()
        .await
        .map_err(|error| Failure::NotSent("no connection".to_owned() + &last_cause(&error)))?;
    Ok(client)
}

/// A member that has lost the others answers at once that it has no leader, in place of waiting.
fn with_leader<T>(content: T) -> Request<T> {
    let mut request = Request::new(content);
    request.metadata_mut().insert("hasleader", MetadataValue::from_static("true"));
    request
}

/// The request, and then nothing: a stream that ends would end the watch.
fn once_and_open<Q: Send + 'static>(request: Q) -> impl Stream<Item = Q> + Send + 'static {
    use futures_util::StreamExt;
    stream::iter([request]).chain(stream::pending())
}
