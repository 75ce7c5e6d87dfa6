//! How a deployment begins and how others come to it: `gatewayd init` makes its CA, `gatewayd join` makes a host one of
//! its gateways.
//!
//! | file | holds |
//! |---|---|
//! | authority | the CA in the store, its key sealed |
//! | init | `gatewayd init` |
//! | join | `gatewayd join` |

mod authority;
mod init;
mod join;

pub use authority::{KeptAuthorityError, open as open_authority};
pub use init::init;
pub use join::{JoinArguments, join};
