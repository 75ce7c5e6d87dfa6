//! Keys and certificates: the deployment's CA, the leaves that it gives, and what a leaf must be to be believed.
//!
//! | file | holds |
//! |---|---|
//! | authority | the CA: made once, signs leaves |
//! | key | a leaf's private key and the request for its certificate |
//! | membership | what a gateway that has joined keeps |
//! | verify | whom the other end of a connection may be |
//! | witness | what a controller shows to whoever only asks |
//! | tls | how connections are secured |
//!
//! What always holds: an identity is the subject of a leaf that the deployment's CA signed, and nothing else in a
//! certificate, a request or a message is one. TLS is 1.3, no connection is resumed, and nothing is sent before the
//! handshake is over.

mod authority;
mod key;
mod membership;
mod tls;
mod verify;
mod witness;

pub use authority::{Authority, AuthorityError, SKEW};
pub use gateway_control::identity::{Leaf, LeafError};
pub use key::{KeyError, LeafKey};
pub use membership::{Membership, MembershipError};
pub use tls::{
    Credential, JOIN_PROTOCOL, SESSION_PROTOCOL, ServerCredential, TlsError, client_config,
    gateways_config, joining_config, operators_config,
};
pub use verify::{Peers, Trust};
pub use witness::{Expected, Shown, Witness, inquiring_config};
