//! Names that only this gateway's host sees.

use std::fmt;
use std::str::FromStr;

use gateway_policy::label_newtype;

use super::ValueError;

label_newtype!(
    /// Name of a gateway.
    GatewayName
);
label_newtype!(
    /// Names a gateway's pins and its runtime directory, so that several can share a host.
    InstanceName
);

/// Name of a network interface, as Linux allows it (`dev_valid_name`, net/core/dev.c), in
/// printable ASCII.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceName(Box<str>);

impl InterfaceName {
    /// Longest name in bytes: `IFNAMSIZ` less the closing zero.
    pub const MAX_LEN: usize = 15;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for InterfaceName {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let shape = (1..=Self::MAX_LEN).contains(&text.len()) && text != "." && text != "..";
        // A `%` would make the kernel number the device itself when we create it.
        let characters =
            text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'/' | b':' | b'%'));
        if shape && characters { Ok(Self(text.into())) } else { Err(ValueError::interface(text)) }
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
