//! Why a session ended.

use std::io;

use gateway_control::session::CloseReason;
use nix::unistd::Uid;

use super::drive::STALLED;
use crate::controller::ControllerError;

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The connection failed.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    /// The other end closed it.
    #[error("the other end closed the connection")]
    Gone,
    /// The other end takes nothing.
    #[error("it did not take what it was sent within {} s", STALLED.as_secs())]
    Stalled,
    /// One of the two found that it cannot go on.
    #[error(transparent)]
    Closed(#[from] CloseReason),
    /// Somebody else than root.
    #[error("user {uid} is neither root nor the controller's own; run gatewayd as that")]
    Stranger {
        /// His number.
        uid: Uid,
    },
    /// The controller has failed.
    #[error(transparent)]
    Controller(#[from] ControllerError),
}
