//! How a controller and its gateways talk: `gateway_control::session` says what, and this carries it. Any connection
//! will do whose other end is known.
//!
//! | file | holds |
//! |---|---|
//! | drive | one end of a session with its connection |
//! | serve | the controller's end, and the Unix socket that gateways of its host come by |
//! | follow | a gateway's end, and how it finds the controller of its host again |
//! | error | why a session ended |
//!
//! Between hosts a session is carried by QUIC, or by TLS over TCP where QUIC does not get through:
//!
//! | file | holds |
//! |---|---|
//! | carrier | a connection that carries a session, whichever it is |
//! | quic, tcp | the two |
//! | listen, entrance, admission, refusal | the controller's door: how many may stand in it, and who was not let in |
//! | door | who comes in there: sessions of gateways, and those who join |
//! | dial, race | how a gateway reaches a controller: all its addresses, until one answers |
//! | probe | one handshake, to see what comes of it |
//! | joining | how somebody joins over a connection |
//! | keeper | what a gateway keeps beyond its sessions |
//! | moves | what becomes of it when the host's network changes |

mod admission;
mod carrier;
mod dial;
mod door;
mod drive;
mod entrance;
mod error;
mod follow;
mod joining;
mod keeper;
mod listen;
mod moves;
mod probe;
mod quic;
mod race;
mod refusal;
mod serve;
mod tcp;

pub use carrier::{Carried, CarrierError, CarrierKind, Closer, Ending};
pub use dial::{DialSettings, Dialler};
pub use door::Door;
pub use drive::Driven;
pub use error::SessionError;
pub use follow::{Follower, follow};
pub use joining::{JoinError, ask_to_join};
pub use keeper::{Keeper, KeeperError, KeptShare, LeaseAccount};
pub use listen::{ListenSettings, Listener};
pub use probe::probe;
pub use quic::ResetKey;
pub use refusal::{Refusal, Refusals};
pub use serve::{Credentials, Sessions, attend};
