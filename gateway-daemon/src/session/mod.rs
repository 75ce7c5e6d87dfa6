//! How a controller and the gateways of its host talk: messages with their length before them, over a Unix socket
//! that only root can open.
//!
//! | file | holds |
//! |---|---|
//! | frame | octets with their length before them |
//! | serve | the controller's end |
//! | follow | a gateway's end |

mod follow;
mod frame;
mod serve;

pub use follow::follow;
pub use serve::{SessionError, Sessions};
