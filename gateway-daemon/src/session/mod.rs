//! How a controller and the gateways of its host talk: messages with their length before them, over a Unix socket
//! that only root can open.
//!
//! | file | holds |
//! |---|---|
//! | frame | octets with their length before them |
//! | serve | the controller's end |
//! | follow | a gateway's end |
//!
//! Between hosts a session is carried by QUIC, or by TLS over TCP where QUIC does not get through:
//!
//! | file | holds |
//! |---|---|
//! | carrier | a connection that carries a session, whichever it is |
//! | quic, tcp | the two |
//! | listen, admission, refusal | the controller's door: how many may stand in it, and who was not let in |
//! | dial, race | how a gateway reaches a controller: all its addresses, until one answers |
//! | moves | what becomes of it when the host's network changes |

mod admission;
mod carrier;
mod dial;
mod follow;
mod frame;
mod listen;
mod moves;
mod quic;
mod race;
mod refusal;
mod serve;
mod tcp;

pub use carrier::{Carried, CarrierError, CarrierKind, Closer, Ending};
pub use dial::{DialSettings, Dialler};
pub use follow::follow;
pub use listen::{ListenSettings, Listener};
pub use refusal::{Refusal, Refusals};
pub use serve::{SessionError, Sessions};
