//! Why a session is over. Both ends give it with their last event; the daemon tells it to the operator.

use gateway_policy::SiteName;

use super::holding::PatchError;
use super::{FrameError, HELLO_WITHIN, MessageError, Refusal, SILENCE, VERSION};
use crate::deployment::share::WireError;
use crate::model::GatewayName;

/// Why a session is over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// What came is no frame, or not the one that was due.
    #[error("what came is {0}; see that both are of one version")]
    Frame(#[from] FrameError),
    /// What came is no message.
    #[error("what came is {0}; see that both are of one version")]
    Message(#[from] MessageError),
    /// What came is no share that this version understands.
    #[error("{0}; see that both are of one version")]
    Share(#[from] WireError),
    /// A message that may not come now.
    #[error("{what} came out of turn; see that both are of one version")]
    OutOfTurn {
        /// What came.
        what: &'static str,
    },
    /// The orders do not agree with themselves, or with those before.
    #[error("the controller's orders do not agree: {why}")]
    Orders {
        /// How.
        why: String,
    },
    /// Nothing was heard for too long.
    #[error("nothing was heard for {} s", SILENCE.as_secs())]
    Silent,
    /// A gateway did not begin.
    #[error("it did not say who it is within {} s", HELLO_WITHIN.as_secs())]
    Nameless,
    /// A gateway says that it is another than its certificate says.
    #[error(
        "it says that it is gateway {gateway} of site {site}, and its certificate is of gateway \
         {certified_gateway} of site {certified_site}; correct its file, or let it join anew"
    )]
    Misnamed {
        /// The site that it says.
        site: SiteName,
        /// The name that it says.
        gateway: GatewayName,
        /// The site that is certified.
        certified_site: SiteName,
        /// The name that is certified.
        certified_gateway: GatewayName,
    },
    /// A gateway speaks another version of the protocol.
    #[error(
        "it speaks version {version} of the protocol, and this is {VERSION}; upgrade the older one"
    )]
    Version {
        /// Its version.
        version: u32,
    },
    /// The controller does not serve this gateway.
    #[error("refused: {0}")]
    Refused(Refusal),
}

impl CloseReason {
    /// Whether the other end did what none of this version does.
    pub fn is_misbehaviour(&self) -> bool {
        match self {
            Self::Frame(_)
            | Self::Message(_)
            | Self::Share(_)
            | Self::OutOfTurn { .. }
            | Self::Orders { .. }
            | Self::Misnamed { .. } => true,
            Self::Silent | Self::Nameless | Self::Version { .. } | Self::Refused(_) => false,
        }
    }
}

impl From<PatchError> for CloseReason {
    fn from(error: PatchError) -> Self {
        match error {
            PatchError::Share(error) => Self::Share(error),
            PatchError::Base { .. } | PatchError::Items | PatchError::Digest { .. } => {
                Self::Orders { why: error.to_string() }
            }
        }
    }
}
