//! What is said while joining: one message of whoever joins, and one answer. The connection has shown by then that the
//! other end is a controller of the deployment that the token names.

use prost::Message as _;
use zeroize::{Zeroize as _, Zeroizing};

use super::{ControllerAddress, Secret, SpiffeId};
use crate::model::{Endpoint, PublicKey};

/// Longest message, in octets.
pub const JOIN_MAX_LEN: usize = 64 << 10;

/// What somebody who joins says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joining {
    /// The token's secret.
    pub secret: Secret,
    /// The request for a certificate (PKCS#10, DER). Of what it says only the key is used.
    pub request: Vec<u8>,
    /// A gateway's: the public key of its link.
    pub link_key: Option<PublicKey>,
    /// Where other gateways dial its link; none: it dials.
    pub endpoints: Vec<Endpoint>,
}

/// Whether somebody may do what he is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// He may.
    Active,
    /// Once an operator accepts him.
    Pending,
}

/// What he hears: who he is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// His identity.
    pub id: SpiffeId,
    /// Whether he is accepted.
    pub standing: Standing,
    /// His certificate (DER).
    pub certificate: Vec<u8>,
    /// The deployment's CAs (DER).
    pub authorities: Vec<Vec<u8>>,
    /// Where its controllers are.
    pub controllers: Vec<ControllerAddress>,
}

/// Why octets are no such message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinMessageError {
    /// Too many.
    #[error("a message of {0} octets, of {JOIN_MAX_LEN} at most")]
    TooLong(usize),
    /// No protobuf message of this kind.
    #[error("no message of this protocol: {0}")]
    Message(String),
    /// A field is missing or makes no sense.
    #[error("{field}: {why}")]
    Field {
        /// Which.
        field: &'static str,
        /// What is wrong with it.
        why: String,
    },
}

#[derive(Clone, PartialEq, prost::Message)]
struct JoiningMessage {
    #[prost(bytes, tag = "1")]
    secret: Vec<u8>,
    #[prost(bytes, tag = "2")]
    request: Vec<u8>,
    #[prost(string, optional, tag = "3")]
    link_key: Option<String>,
    #[prost(string, repeated, tag = "4")]
    endpoints: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct AnswerMessage {
    #[prost(oneof = "AnswerContent", tags = "1, 2")]
    content: Option<AnswerContent>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum AnswerContent {
    #[prost(message, tag = "1")]
    Joined(JoinedMessage),
    #[prost(string, tag = "2")]
    Refused(String),
}

#[derive(Clone, PartialEq, prost::Message)]
struct JoinedMessage {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(bool, tag = "2")]
    pending: bool,
    #[prost(bytes, tag = "3")]
    certificate: Vec<u8>,
    #[prost(bytes, repeated, tag = "4")]
    authorities: Vec<Vec<u8>>,
    #[prost(string, repeated, tag = "5")]
    controllers: Vec<String>,
}

impl Joining {
    /// As octets.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut message = JoiningMessage {
            secret: self.secret.octets().to_vec(),
            request: self.request.clone(),
            link_key: self.link_key.map(|it| it.to_string()),
            endpoints: self.endpoints.iter().map(ToString::to_string).collect(),
        };
        let octets = Zeroizing::new(message.encode_to_vec());
        message.secret.zeroize();
        octets
    }

    /// From octets.
    pub fn decode(octets: &[u8]) -> Result<Self, JoinMessageError> {
        let mut message: JoiningMessage = message(octets)?;
        let secret = Secret::from_octets(&message.secret);
        message.secret.zeroize();
        let link_key = message.link_key.as_deref().map(|it| field("link_key", it)).transpose()?;
        let length = || JoinMessageError::Field {
            field: "secret",
            why: format!("it has not {} octets", Secret::LEN),
        };
        let endpoints = message.endpoints.iter().map(|it| field("endpoints", it));
        let endpoints = endpoints.collect::<Result<_, _>>()?;
        let secret = secret.ok_or_else(length)?;
        Ok(Self { secret, request: message.request, link_key, endpoints })
    }
}

impl Joined {
    /// An answer as octets: what he is now, or why he is nothing, with the remedy.
    pub fn encode_answer(answer: &Result<Self, String>) -> Vec<u8> {
        let content = match answer {
            Ok(joined) => AnswerContent::Joined(JoinedMessage {
                id: joined.id.to_string(),
                pending: joined.standing == Standing::Pending,
                certificate: joined.certificate.clone(),
                authorities: joined.authorities.clone(),
                controllers: joined.controllers.iter().map(ToString::to_string).collect(),
            }),
            Err(why) => AnswerContent::Refused(why.clone()),
        };
        AnswerMessage { content: Some(content) }.encode_to_vec()
    }

    /// An answer from octets.
    pub fn decode_answer(octets: &[u8]) -> Result<Result<Self, String>, JoinMessageError> {
        let message: AnswerMessage = message(octets)?;
        let joined = match message.content {
            Some(AnswerContent::Joined(joined)) => joined,
            Some(AnswerContent::Refused(why)) => return Ok(Err(why)),
            None => return Err(JoinMessageError::Message("it is empty".to_owned())),
        };
        let controllers = joined.controllers.iter().map(|it| field("controllers", it));
        Ok(Ok(Self {
            id: field("id", &joined.id)?,
            standing: if joined.pending { Standing::Pending } else { Standing::Active },
            certificate: joined.certificate,
            authorities: joined.authorities,
            controllers: controllers.collect::<Result<_, _>>()?,
        }))
    }
}

fn message<M: prost::Message + Default>(octets: &[u8]) -> Result<M, JoinMessageError> {
    if octets.len() > JOIN_MAX_LEN {
        return Err(JoinMessageError::TooLong(octets.len()));
    }
    M::decode(octets).map_err(|error| JoinMessageError::Message(error.to_string()))
}

fn field<T: std::str::FromStr<Err: ToString>>(
    field: &'static str,
    text: &str,
) -> Result<T, JoinMessageError> {
    text.parse().map_err(|why: T::Err| JoinMessageError::Field { field, why: why.to_string() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn messages_are_read_as_they_were_written() {
        let joining = Joining {
            secret: Secret::new([9; 32]),
            request: vec![1, 2, 3],
            link_key: Some("3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=".parse().unwrap()),
            endpoints: vec!["192.0.2.1:51820".parse().unwrap()],
        };
        assert_eq!(Joining::decode(&joining.encode()), Ok(joining));
        let joined = Joined {
            id: "spiffe://x.example/site/edge-a/gateway/edge-a-gw1".parse().unwrap(),
            standing: Standing::Pending,
            certificate: vec![4],
            authorities: vec![vec![5], vec![6]],
            controllers: vec!["c.example:443".parse().unwrap()],
        };
        for answer in [Ok(joined), Err("the token is used up".to_owned())] {
            assert_eq!(Joined::decode_answer(&Joined::encode_answer(&answer)), Ok(answer));
        }
    }

    proptest! {
        #[test]
        fn any_octets_are_a_message_or_a_fault(octets in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Joining::decode(&octets);
            let _ = Joined::decode_answer(&octets);
        }
    }
}
