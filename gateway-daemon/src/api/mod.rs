//! The controller's API: HTTP and JSON on a Unix socket, for `gatewayctl` and other programs of operators.
//!
//! | file | holds |
//! |---|---|
//! | wire | what goes over it, both ways |
//! | client | asks the controller |
//! | access, callers | who may do what, and how much of it at once |
//! | parse, refusal | what a caller means, and what he is told if it cannot be |
//! | listener, serve, connection, stall | the socket, and what holds of every connection and request |
//! | body, answer | bodies of requests and of answers, bounded |
//! | routes, document | what there is to call, and the OpenAPI document of it |
//! | identity | of these, what concerns who takes part |
//! | watch, backup | answers that are streams |
//!
//! What always holds: whatever a caller sends, or does not send or take, the server neither panics nor waits for
//! him without end nor grows beyond [`Settings`]; and a change that has begun is finished, whether its caller
//! stays or not.

pub mod access;
mod answer;
mod backup;
mod body;
mod callers;
pub mod client;
mod connection;
mod document;
mod identity;
mod listener;
pub mod parse;
mod refusal;
mod routes;
mod serve;
mod settings;
mod stall;
mod watch;
pub mod wire;

use std::io;
use std::path::PathBuf;

pub use access::{Access, Role};
pub use callers::{Rate, Share};
pub use document::document;
pub use listener::Listener;
pub use refusal::Refused;
pub use serve::{serve, serve_within};
pub use settings::Settings;

/// Why the API cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// Another controller does already.
    #[error("socket {}: another controller serves it; stop that one (`fuser {}` names it), or choose another path", .path.display(), .path.display())]
    Served {
        /// The socket.
        path: PathBuf,
    },
    /// Something else is there.
    #[error("socket {}: there is a file that is no socket; move it away, or choose another path", .path.display())]
    NoSocket {
        /// The socket.
        path: PathBuf,
    },
    /// A path that the kernel does not take.
    #[error("socket {}: the path is too long; choose one of at most {most} octets", .path.display())]
    PathTooLong {
        /// The socket.
        path: PathBuf,
        /// Longest there may be.
        most: usize,
    },
    /// The system refuses.
    #[error("socket {}: cannot {doing}: {error}; see its directory's rights and room", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// The answer.
        error: io::Error,
    },
}
