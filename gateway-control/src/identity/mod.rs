//! Who takes part in a deployment: SPIFFE IDs, the serial numbers of their certificates, and what somebody
//! who joins says and hears. Pure: keys, signatures and clocks are the daemon's.
//!
//! | file | holds |
//! |---|---|
//! | spiffe | trust domains and IDs |
//! | serial | what a certificate's serial number says of its issue |
//! | leaf | what a certificate says, under the rules of X.509-SVIDs |
//! | pin | hashes of keys that are known beforehand |
//! | token | the string that lets somebody join |
//! | join | what is said while joining |
//! | address | where controllers are |

mod address;
mod join;
mod leaf;
mod pin;
mod serial;
mod spiffe;
mod token;

pub use address::{AddressError, ControllerAddress};
pub use join::{JOIN_MAX_LEN, JoinMessageError, Joined, Joining, Standing};
pub use leaf::{Leaf, LeafError};
pub use pin::KeyPin;
pub use serial::{Serial, SerialError};
pub use spiffe::{ControllerName, OperatorName, SpiffeError, SpiffeId, Subject, TrustDomain};
pub use token::{JoinToken, Secret, TokenStringError};
