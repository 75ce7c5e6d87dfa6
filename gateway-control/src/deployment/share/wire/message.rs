//! The protobuf messages of a share. Numbers are never used again for anything else.

/// Field 1 of a share, which has any number of them.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ItemMessage {
    #[prost(oneof = "Content", tags = "1, 2, 3, 4, 5")]
    pub(super) content: Option<Content>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Content {
    #[prost(message, tag = "1")]
    Own(OwnMessage),
    #[prost(message, tag = "2")]
    Peer(PeerMessage),
    #[prost(message, tag = "3")]
    Remote(RemoteMessage),
    #[prost(message, tag = "4")]
    Service(ServiceMessage),
    #[prost(message, tag = "5")]
    Rule(RuleMessage),
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct OwnMessage {
    #[prost(string, tag = "1")]
    pub(super) transit_pool: String,
    #[prost(string, tag = "2")]
    pub(super) site: String,
    #[prost(string, tag = "3")]
    pub(super) transit: String,
    #[prost(string, tag = "4")]
    pub(super) presence_pool: String,
    #[prost(string, optional, tag = "5")]
    pub(super) client_presence: Option<String>,
    #[prost(string, repeated, tag = "6")]
    pub(super) client_networks: Vec<String>,
    #[prost(bool, tag = "7")]
    pub(super) relay: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PeerMessage {
    #[prost(string, tag = "1")]
    pub(super) site: String,
    #[prost(string, tag = "2")]
    pub(super) public_key: String,
    #[prost(string, repeated, tag = "3")]
    pub(super) endpoints: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct RemoteMessage {
    #[prost(string, tag = "1")]
    pub(super) site: String,
    #[prost(string, tag = "2")]
    pub(super) transit: String,
    #[prost(string, repeated, tag = "3")]
    pub(super) client_networks: Vec<String>,
    #[prost(string, tag = "4")]
    pub(super) via: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ServiceMessage {
    #[prost(string, tag = "1")]
    pub(super) service: String,
    #[prost(uint32, tag = "2")]
    pub(super) number: u32,
    #[prost(string, repeated, tag = "3")]
    pub(super) ports: Vec<String>,
    #[prost(message, repeated, tag = "4")]
    pub(super) backends: Vec<BackendMessage>,
    #[prost(message, optional, tag = "5")]
    pub(super) health: Option<HealthMessage>,
    #[prost(string, optional, tag = "6")]
    pub(super) presence: Option<String>,
    #[prost(message, repeated, tag = "7")]
    pub(super) exposures: Vec<ExposureMessage>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct BackendMessage {
    #[prost(string, tag = "1")]
    pub(super) address: String,
    #[prost(uint32, tag = "2")]
    pub(super) weight: u32,
    #[prost(string, tag = "3")]
    pub(super) turn: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct HealthMessage {
    #[prost(string, tag = "1")]
    pub(super) kind: String,
    #[prost(uint32, tag = "2")]
    pub(super) port: u32,
    #[prost(string, tag = "3")]
    pub(super) path: String,
    #[prost(uint32, tag = "4")]
    pub(super) status: u32,
    #[prost(string, tag = "5")]
    pub(super) interval: String,
    #[prost(string, tag = "6")]
    pub(super) timeout: String,
    #[prost(uint32, tag = "7")]
    pub(super) rise: u32,
    #[prost(uint32, tag = "8")]
    pub(super) fall: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ExposureMessage {
    #[prost(string, tag = "1")]
    pub(super) site: String,
    #[prost(message, optional, tag = "2")]
    pub(super) clients: Option<OwnPresencesMessage>,
}

/// Clients with presences of their own; without it all have one.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct OwnPresencesMessage {
    #[prost(string, tag = "1")]
    pub(super) from: String,
    #[prost(string, tag = "2")]
    pub(super) presences: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct RuleMessage {
    #[prost(string, tag = "1")]
    pub(super) policy: String,
    #[prost(uint32, tag = "2")]
    pub(super) place: u32,
    #[prost(string, tag = "3")]
    pub(super) id: String,
    #[prost(string, tag = "4")]
    pub(super) site: String,
    /// None: all clients of the site.
    #[prost(string, repeated, tag = "5")]
    pub(super) clients: Vec<String>,
    #[prost(string, tag = "6")]
    pub(super) service: String,
}
