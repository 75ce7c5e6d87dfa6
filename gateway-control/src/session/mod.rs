//! What a gateway and a controller say to each other, as octets. Pure: who carries them is the daemon's
//! business, and whom they are from is known by the way they came, not by what they say.
//!
//! Whatever the octets, decoding gives a message or says what is wrong. Fields of a later version are read over.

use gateway_policy::SiteName;
use prost::Message as _;

use crate::deployment::share::{Share, WireError};
use crate::model::{GatewayName, PublicKey};

/// Longest message of a gateway, in octets.
pub const FROM_GATEWAY_MAX_LEN: usize = 64 << 10;
/// Longest message of a controller, in octets.
pub const FROM_CONTROLLER_MAX_LEN: usize = crate::deployment::share::MAX_LEN + (64 << 10);
/// Longest reason that is sent, in octets.
const WHY_MAX_LEN: usize = 32 << 10;

/// What a gateway says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromGateway {
    /// Who it is; first of all.
    Hello(Hello),
    /// How far it is.
    Report(Report),
}

/// Who a gateway is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Its site.
    pub site: SiteName,
    /// Its name.
    pub gateway: GatewayName,
    /// Its link's public key.
    pub public_key: PublicKey,
}

/// How far a gateway is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The revision of the share that its kernel has.
    pub applied: Option<u64>,
    /// Why it could not apply a later one, with the remedy.
    pub refused: Option<String>,
    /// How many of its links are up.
    pub links_up: Option<u32>,
}

/// What a controller says: what the gateway is to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orders {
    /// When it was last changed.
    pub revision: Option<u64>,
    /// The share, or why there is none for it, with the remedy.
    pub share: Result<Share, String>,
}

/// Why octets are no message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Too many octets.
    #[error("a message of {length} octets, of {most} at most")]
    TooLong {
        /// How many there are.
        length: usize,
        /// How many there may be.
        most: usize,
    },
    /// No protobuf message of this kind.
    #[error("no message of this protocol: {0}")]
    Message(String),
    /// A message without content.
    #[error("an empty message, or one of a later version")]
    Empty,
    /// A name or key that is none.
    #[error("hello: {field}: {why}")]
    Hello {
        /// Which.
        field: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// A share that is none.
    #[error(transparent)]
    Share(#[from] WireError),
}

#[derive(Clone, PartialEq, prost::Message)]
struct FromGatewayMessage {
    #[prost(oneof = "GatewayContent", tags = "1, 2")]
    content: Option<GatewayContent>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum GatewayContent {
    #[prost(message, tag = "1")]
    Hello(HelloMessage),
    #[prost(message, tag = "2")]
    Report(ReportMessage),
}

#[derive(Clone, PartialEq, prost::Message)]
struct HelloMessage {
    #[prost(string, tag = "1")]
    site: String,
    #[prost(string, tag = "2")]
    gateway: String,
    #[prost(string, tag = "3")]
    public_key: String,
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
struct FromControllerMessage {
    #[prost(oneof = "ControllerContent", tags = "1")]
    content: Option<ControllerContent>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum ControllerContent {
    #[prost(message, tag = "1")]
    Orders(OrdersMessage),
}

#[derive(Clone, PartialEq, prost::Message)]
struct OrdersMessage {
    #[prost(uint64, optional, tag = "1")]
    revision: Option<u64>,
    #[prost(oneof = "ShareContent", tags = "2, 3")]
    share: Option<ShareContent>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum ShareContent {
    #[prost(bytes, tag = "2")]
    Share(Vec<u8>),
    #[prost(string, tag = "3")]
    Why(String),
}

impl FromGateway {
    /// As octets.
    pub fn encode(&self) -> Vec<u8> {
        let content = match self {
            Self::Hello(hello) => GatewayContent::Hello(HelloMessage {
                site: hello.site.to_string(),
                gateway: hello.gateway.to_string(),
                public_key: hello.public_key.to_string(),
            }),
            Self::Report(report) => GatewayContent::Report(ReportMessage {
                applied: report.applied,
                refused: report.refused.as_deref().map(shortened),
                links_up: report.links_up,
            }),
        };
        FromGatewayMessage { content: Some(content) }.encode_to_vec()
    }

    /// From octets.
    pub fn decode(octets: &[u8]) -> Result<Self, MessageError> {
        let message: FromGatewayMessage = message(octets, FROM_GATEWAY_MAX_LEN)?;
        Ok(match message.content.ok_or(MessageError::Empty)? {
            GatewayContent::Hello(hello) => Self::Hello(Hello {
                site: field("site", &hello.site)?,
                gateway: field("gateway", &hello.gateway)?,
                public_key: field("public_key", &hello.public_key)?,
            }),
            GatewayContent::Report(report) => Self::Report(Report {
                applied: report.applied,
                refused: report.refused.as_deref().map(shortened),
                links_up: report.links_up,
            }),
        })
    }
}

impl Orders {
    /// As octets.
    pub fn encode(&self) -> Vec<u8> {
        let share = match &self.share {
            Ok(share) => ShareContent::Share(share.encode()),
            Err(why) => ShareContent::Why(shortened(why)),
        };
        let orders = OrdersMessage { revision: self.revision, share: Some(share) };
        FromControllerMessage { content: Some(ControllerContent::Orders(orders)) }.encode_to_vec()
    }

    /// From octets.
    pub fn decode(octets: &[u8]) -> Result<Self, MessageError> {
        let message: FromControllerMessage = message(octets, FROM_CONTROLLER_MAX_LEN)?;
        let ControllerContent::Orders(orders) = message.content.ok_or(MessageError::Empty)?;
        let share = match orders.share.ok_or(MessageError::Empty)? {
            ShareContent::Share(octets) => Ok(Share::decode(&octets)?),
            ShareContent::Why(why) => Err(why),
        };
        Ok(Self { revision: orders.revision, share })
    }
}

fn message<M: prost::Message + Default>(octets: &[u8], most: usize) -> Result<M, MessageError> {
    if octets.len() > most {
        return Err(MessageError::TooLong { length: octets.len(), most });
    }
    M::decode(octets).map_err(|error| MessageError::Message(error.to_string()))
}

fn field<T: std::str::FromStr<Err: ToString>>(
    field: &'static str,
    text: &str,
) -> Result<T, MessageError> {
    text.parse().map_err(|why: T::Err| MessageError::Hello { field, why: why.to_string() })
}

/// As much of a text as is sent.
fn shortened(text: &str) -> String {
    let mut end = text.len().min(WHY_MAX_LEN);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: &str = "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=";

    #[test]
    fn messages_are_read_as_they_were_written() {
        let hello = FromGateway::Hello(Hello {
            site: "edge-a".parse().unwrap(),
            gateway: "gw".parse().unwrap(),
            public_key: KEY.parse().unwrap(),
        });
        let refused = Some("interface lan0: there is none".to_owned());
        let report = Report { applied: Some(u64::MAX), refused, links_up: Some(0) };
        for message in [hello, FromGateway::Report(report), FromGateway::Report(Report::default())]
        {
            assert_eq!(FromGateway::decode(&message.encode()), Ok(message));
        }
        for share in [Ok(Share::default()), Err("site x is not declared".to_owned())] {
            let orders = Orders { revision: Some(3), share };
            assert_eq!(Orders::decode(&orders.encode()), Ok(orders));
        }
    }

    #[test]
    fn faults_are_told() {
        assert_eq!(FromGateway::decode(&[]), Err(MessageError::Empty));
        assert!(matches!(FromGateway::decode(&[0xff]), Err(MessageError::Message(_))));
        let long = vec![0; FROM_GATEWAY_MAX_LEN + 1];
        assert!(matches!(FromGateway::decode(&long), Err(MessageError::TooLong { .. })));
        let hello =
            HelloMessage { site: "EDGE".into(), gateway: "g".into(), public_key: KEY.into() };
        let content = Some(GatewayContent::Hello(hello));
        let octets = FromGatewayMessage { content }.encode_to_vec();
        let error = FromGateway::decode(&octets).unwrap_err().to_string();
        assert!(error.starts_with("hello: site: "), "{error}");
        let why = Orders { revision: None, share: Err("é".repeat(WHY_MAX_LEN)) };
        let sent = Orders::decode(&why.encode()).unwrap().share.unwrap_err();
        assert!(sent.len() <= WHY_MAX_LEN && sent.chars().all(|it| it == 'é'));
    }

    proptest! {
        #[test]
        fn any_octets_are_a_message_or_a_fault(octets in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Orders::decode(&octets);
            if let Ok(message) = FromGateway::decode(&octets) {
                prop_assert_eq!(FromGateway::decode(&message.encode()), Ok(message));
            }
        }
    }
}
