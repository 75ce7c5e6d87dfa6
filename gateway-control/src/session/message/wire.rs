//! The protobuf messages, to and fro. Numbers are never used again for anything else.

use std::str::FromStr;
use std::time::Duration;

use prost::Message as _;

use super::{
    CHAIN_MAX_LEN, Certificate, DER_MAX_LEN, Digest, FromController, FromGateway, Held, Hello,
    Lease, MessageError, Orders, PROGRAM_MAX_LEN, Patch, PatchEdit, Refusal, RefusalKind, Renew,
    Report, Taken, Told, WHY_MAX_LEN, shortened,
};
use crate::model::PublicKey;
use crate::session::{FROM_CONTROLLER_MAX_LEN, FROM_GATEWAY_MAX_LEN};

#[derive(Clone, PartialEq, prost::Message)]
struct FromGatewayMessage {
    #[prost(oneof = "GatewayContent", tags = "1, 2, 3, 4, 5, 6, 7")]
    content: Option<GatewayContent>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum GatewayContent {
    #[prost(message, tag = "1")]
    Hello(HelloMessage),
    #[prost(message, tag = "2")]
    Report(ReportMessage),
    #[prost(message, tag = "3")]
    Taken(TakenMessage),
    #[prost(message, tag = "4")]
    Renew(RenewMessage),
    #[prost(bytes, tag = "5")]
    LinkKey(Vec<u8>),
    #[prost(message, tag = "6")]
    Ping(SignOfLifeMessage),
    #[prost(message, tag = "7")]
    Pong(SignOfLifeMessage),
}

#[derive(Clone, PartialEq, prost::Message)]
struct HelloMessage {
    #[prost(string, tag = "1")]
    site: String,
    #[prost(string, tag = "2")]
    gateway: String,
    #[prost(string, tag = "3")]
    public_key: String,
    #[prost(uint32, tag = "4")]
    version: u32,
    #[prost(string, tag = "5")]
    program: String,
    #[prost(message, optional, tag = "6")]
    holds: Option<HeldMessage>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct HeldMessage {
    #[prost(uint64, optional, tag = "1")]
    revision: Option<u64>,
    #[prost(bytes, tag = "2")]
    digest: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ReportMessage {
    #[prost(uint64, optional, tag = "1")]
    applied: Option<u64>,
    #[prost(string, optional, tag = "2")]
    refused: Option<String>,
    #[prost(uint32, optional, tag = "3")]
    links_up: Option<u32>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct TakenMessage {
    #[prost(uint64, tag = "1")]
    number: u64,
    #[prost(message, optional, tag = "2")]
    holds: Option<HeldMessage>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RenewMessage {
    #[prost(uint64, tag = "1")]
    generation: u64,
    #[prost(bytes, tag = "2")]
    request: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct SignOfLifeMessage {
    /// Seconds; 0 is without limit. Only a controller says it.
    #[prost(uint32, optional, tag = "1")]
    lease: Option<u32>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct FromControllerMessage {
    #[prost(oneof = "ControllerContent", tags = "1, 2, 3, 4, 5, 6")]
    content: Option<ControllerContent>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum ControllerContent {
    #[prost(message, tag = "1")]
    Orders(OrdersMessage),
    #[prost(message, tag = "2")]
    Refused(RefusedMessage),
    #[prost(message, tag = "3")]
    Certificate(CertificateMessage),
    #[prost(bytes, tag = "4")]
    LinkKeyTaken(Vec<u8>),
    #[prost(message, tag = "5")]
    Ping(SignOfLifeMessage),
    #[prost(message, tag = "6")]
    Pong(SignOfLifeMessage),
}

#[derive(Clone, PartialEq, prost::Message)]
struct OrdersMessage {
    #[prost(uint64, optional, tag = "1")]
    revision: Option<u64>,
    #[prost(oneof = "ShareContent", tags = "2, 3, 4")]
    share: Option<ShareContent>,
    /// Of the share that comes of it.
    #[prost(bytes, tag = "5")]
    digest: Vec<u8>,
    /// Seconds; 0 is without limit.
    #[prost(uint32, optional, tag = "6")]
    lease: Option<u32>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum ShareContent {
    #[prost(bytes, tag = "2")]
    Snapshot(Vec<u8>),
    #[prost(message, tag = "3")]
    Nothing(RefusedMessage),
    #[prost(message, tag = "4")]
    Delta(DeltaMessage),
}

#[derive(Clone, PartialEq, prost::Message)]
struct DeltaMessage {
    #[prost(bytes, tag = "1")]
    base: Vec<u8>,
    #[prost(message, repeated, tag = "2")]
    edits: Vec<EditMessage>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct EditMessage {
    #[prost(uint32, tag = "1")]
    keep: u32,
    #[prost(uint32, tag = "2")]
    drop: u32,
    #[prost(bytes, repeated, tag = "3")]
    insert: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RefusedMessage {
    #[prost(uint32, tag = "1")]
    kind: u32,
    #[prost(string, tag = "2")]
    why: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct CertificateMessage {
    #[prost(uint64, tag = "1")]
    generation: u64,
    #[prost(bytes, repeated, tag = "2")]
    chain: Vec<Vec<u8>>,
}

pub(super) fn from_gateway(said: &FromGateway) -> Vec<u8> {
    let content = match said {
        FromGateway::Hello(hello) => GatewayContent::Hello(HelloMessage {
            site: hello.site.to_string(),
            gateway: hello.gateway.to_string(),
            public_key: hello.public_key.to_string(),
            version: hello.version,
            program: shortened(&hello.program, PROGRAM_MAX_LEN),
            holds: hello.holds.map(held),
        }),
        FromGateway::Report(report) => GatewayContent::Report(ReportMessage {
            applied: report.applied,
            refused: report.refused.as_deref().map(|why| shortened(why, WHY_MAX_LEN)),
            links_up: report.links_up,
        }),
        FromGateway::Taken(taken) => GatewayContent::Taken(TakenMessage {
            number: taken.number,
            holds: taken.holds.map(held),
        }),
        FromGateway::Renew(renew) => GatewayContent::Renew(RenewMessage {
            generation: renew.generation,
            request: renew.request.clone(),
        }),
        FromGateway::LinkKey(key) => GatewayContent::LinkKey(key.as_bytes().to_vec()),
        FromGateway::Ping => GatewayContent::Ping(SignOfLifeMessage::default()),
        FromGateway::Pong => GatewayContent::Pong(SignOfLifeMessage::default()),
    };
    FromGatewayMessage { content: Some(content) }.encode_to_vec()
}

pub(super) fn read_from_gateway(octets: &[u8]) -> Result<Option<FromGateway>, MessageError> {
    let message: FromGatewayMessage = message(octets, FROM_GATEWAY_MAX_LEN)?;
    let Some(content) = message.content else { return Ok(None) };
    Ok(Some(match content {
        GatewayContent::Hello(hello) => FromGateway::Hello(Hello {
            version: hello.version,
            site: value("hello.site", &hello.site)?,
            gateway: value("hello.gateway", &hello.gateway)?,
            public_key: value("hello.public_key", &hello.public_key)?,
            program: shortened(&hello.program, PROGRAM_MAX_LEN),
            holds: hello.holds.map(|it| read_held("hello.holds", &it)).transpose()?,
        }),
        GatewayContent::Report(report) => FromGateway::Report(Report {
            applied: report.applied,
            refused: report.refused.as_deref().map(|why| shortened(why, WHY_MAX_LEN)),
            links_up: report.links_up,
        }),
        GatewayContent::Taken(taken) => FromGateway::Taken(Taken {
            number: taken.number,
            holds: taken.holds.map(|it| read_held("taken.holds", &it)).transpose()?,
        }),
        GatewayContent::Renew(renew) => FromGateway::Renew(Renew {
            generation: renew.generation,
            request: der("renew.request", renew.request)?,
        }),
        GatewayContent::LinkKey(octets) => FromGateway::LinkKey(key("link_key", &octets)?),
        GatewayContent::Ping(_) => FromGateway::Ping,
        GatewayContent::Pong(_) => FromGateway::Pong,
    }))
}

pub(super) fn from_controller(said: &FromController) -> Vec<u8> {
    let content = match said {
        FromController::Orders(orders) => {
            let (share, digest) = match &orders.told {
                Told::Snapshot { octets, digest } => {
                    (ShareContent::Snapshot(octets.clone()), Some(digest))
                }
                Told::Delta(patch) => (ShareContent::Delta(delta(patch)), Some(&patch.digest)),
                Told::Nothing(refusal) => (ShareContent::Nothing(refused(refusal)), None),
            };
            ControllerContent::Orders(OrdersMessage {
                revision: orders.revision,
                share: Some(share),
                digest: digest.map(|digest| digest.0.to_vec()).unwrap_or_default(),
                lease: orders.lease.map(seconds),
            })
        }
        FromController::Refused(refusal) => ControllerContent::Refused(refused(refusal)),
        FromController::Certificate(certificate) => {
            ControllerContent::Certificate(CertificateMessage {
                generation: certificate.generation,
                chain: certificate.chain.clone(),
            })
        }
        FromController::LinkKeyTaken(key) => {
            ControllerContent::LinkKeyTaken(key.as_bytes().to_vec())
        }
        FromController::Ping(lease) => ControllerContent::Ping(sign_of_life(*lease)),
        FromController::Pong(lease) => ControllerContent::Pong(sign_of_life(*lease)),
    };
    FromControllerMessage { content: Some(content) }.encode_to_vec()
}

pub(super) fn read_from_controller(octets: &[u8]) -> Result<Option<FromController>, MessageError> {
    let message: FromControllerMessage = message(octets, FROM_CONTROLLER_MAX_LEN)?;
    let Some(content) = message.content else { return Ok(None) };
    Ok(Some(match content {
        ControllerContent::Orders(orders) => {
            let digest = || digest("orders.digest", &orders.digest);
            let told = match orders.share.ok_or(MessageError::Empty)? {
                ShareContent::Snapshot(octets) => Told::Snapshot { octets, digest: digest()? },
                ShareContent::Delta(delta) => Told::Delta(read_delta(delta, digest()?)?),
                ShareContent::Nothing(refused) => Told::Nothing(read_refused(&refused)),
            };
            let lease = orders.lease.map(lease);
            FromController::Orders(Orders { revision: orders.revision, lease, told })
        }
        ControllerContent::Refused(refused) => FromController::Refused(read_refused(&refused)),
        ControllerContent::Certificate(CertificateMessage { generation, chain }) => {
            if chain.is_empty() || chain.len() > CHAIN_MAX_LEN {
                let why = format!("{} certificates, of 1 to {CHAIN_MAX_LEN}", chain.len());
                return Err(MessageError::Value { field: "certificate.chain", why });
            }
            let chain: Result<_, _> =
                chain.into_iter().map(|it| der("certificate.chain", it)).collect();
            FromController::Certificate(Certificate { generation, chain: chain? })
        }
        ControllerContent::LinkKeyTaken(octets) => {
            FromController::LinkKeyTaken(key("link_key_taken", &octets)?)
        }
        ControllerContent::Ping(sign) => FromController::Ping(sign.lease.map(lease)),
        ControllerContent::Pong(sign) => FromController::Pong(sign.lease.map(lease)),
    }))
}

fn message<M: prost::Message + Default>(octets: &[u8], most: usize) -> Result<M, MessageError> {
    if octets.len() > most {
        return Err(MessageError::TooLong { length: octets.len(), most });
    }
    if octets.is_empty() {
        return Err(MessageError::Empty);
    }
    M::decode(octets).map_err(|error| MessageError::Message(error.to_string()))
}

fn value<T: FromStr<Err: ToString>>(field: &'static str, text: &str) -> Result<T, MessageError> {
    text.parse().map_err(|why: T::Err| MessageError::Value { field, why: why.to_string() })
}

fn held(held: Held) -> HeldMessage {
    HeldMessage { revision: held.revision, digest: held.digest.0.to_vec() }
}

fn read_held(field: &'static str, held: &HeldMessage) -> Result<Held, MessageError> {
    Ok(Held { revision: held.revision, digest: digest(field, &held.digest)? })
}

fn of_32(field: &'static str, octets: &[u8]) -> Result<[u8; 32], MessageError> {
    let why = || format!("{} octets, of 32", octets.len());
    octets.try_into().map_err(|_| MessageError::Value { field, why: why() })
}

fn digest(field: &'static str, octets: &[u8]) -> Result<Digest, MessageError> {
    of_32(field, octets).map(Digest)
}

fn key(field: &'static str, octets: &[u8]) -> Result<PublicKey, MessageError> {
    of_32(field, octets).map(PublicKey::from)
}

fn der(field: &'static str, octets: Vec<u8>) -> Result<Vec<u8>, MessageError> {
    if octets.is_empty() || octets.len() > DER_MAX_LEN {
        let why = format!("{} octets, of 1 to {DER_MAX_LEN}", octets.len());
        return Err(MessageError::Value { field, why });
    }
    Ok(octets)
}

fn delta(patch: &Patch) -> DeltaMessage {
    let edits = patch.edits.iter().map(|edit| EditMessage {
        keep: edit.keep,
        drop: edit.drop,
        insert: edit.insert.clone(),
    });
    DeltaMessage { base: patch.base.0.to_vec(), edits: edits.collect() }
}

fn read_delta(delta: DeltaMessage, of: Digest) -> Result<Patch, MessageError> {
    let edits = delta.edits.into_iter().map(|edit| PatchEdit {
        keep: edit.keep,
        drop: edit.drop,
        insert: edit.insert,
    });
    Ok(Patch {
        base: digest("orders.delta.base", &delta.base)?,
        edits: edits.collect(),
        digest: of,
    })
}

fn refused(refusal: &Refusal) -> RefusedMessage {
    RefusedMessage { kind: number(refusal.kind), why: shortened(&refusal.why, WHY_MAX_LEN) }
}

fn read_refused(refused: &RefusedMessage) -> Refusal {
    Refusal { kind: kind(refused.kind), why: shortened(&refused.why, WHY_MAX_LEN) }
}

fn sign_of_life(lease: Option<Lease>) -> SignOfLifeMessage {
    SignOfLifeMessage { lease: lease.map(seconds) }
}

/// Less than a second is one, as none would be for ever.
fn seconds(lease: Lease) -> u32 {
    match lease {
        Lease::Unlimited => 0,
        Lease::For(time) => u32::try_from(time.as_secs()).unwrap_or(u32::MAX).max(1),
    }
}

fn lease(seconds: u32) -> Lease {
    match seconds {
        0 => Lease::Unlimited,
        seconds => Lease::For(Duration::from_secs(seconds.into())),
    }
}

fn number(kind: RefusalKind) -> u32 {
    match kind {
        RefusalKind::Other => 0,
        RefusalKind::Revoked => 1,
        RefusalKind::Pending => 2,
        RefusalKind::Unknown => 3,
        RefusalKind::Superseded => 4,
        RefusalKind::Version => 5,
    }
}

fn kind(number: u32) -> RefusalKind {
    match number {
        1 => RefusalKind::Revoked,
        2 => RefusalKind::Pending,
        3 => RefusalKind::Unknown,
        4 => RefusalKind::Superseded,
        5 => RefusalKind::Version,
        _ => RefusalKind::Other,
    }
}
