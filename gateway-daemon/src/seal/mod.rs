//! Keys and state at rest. A [`Strongbox`] is a directory of sealed files; one random data key seals all of
//! them, and is itself wrapped by what a [`Sealer`] says: the content of a key file, a passphrase, or a
//! credential of the service manager. Without that, the directory tells nothing but names, lengths and times.
//!
//! Used by a controller and by gateways that are told their shares. What always holds: nothing is written in
//! clear, a file is replaced in one step or not at all, and in memory a key is overwritten when it is dropped.
//! What stands where in a file is [`gateway_control::sealed`]'s business.
//!
//! | module | holds |
//! |---|---|
//! | `strongbox` | the data key, and what is sealed with it |
//! | `wrap` | deriving a wrapping key, wrapping and unwrapping the data key |
//! | `sealer` | where the secret of a wrapping key comes from |
//! | `directory` | who may use a directory, and replacing a file in it |
//! | `purpose` | names of what is sealed |
//! | `error` | what is told to an operator |

mod directory;
mod error;
mod purpose;
mod sealer;
mod strongbox;
mod wrap;

pub use error::{SealError, SecretError};
pub use purpose::{InvalidPurpose, Purpose};
pub use sealer::{CredentialName, InvalidCredentialName, PassphraseSource, Sealer};
pub use strongbox::Strongbox;
