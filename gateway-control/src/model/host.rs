//! The gateway host's own part in its site: how its processes, and the containers that it routes, are
//! joined to the data path.

use std::net::Ipv4Addr;

use super::{InterfaceName, Network};

/// What `[host]` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// The host's end of the pair of devices.
    pub interface: InterfaceName,
    /// Which of the host's addresses are clients and back ends; `None`: those of the LAN interfaces
    /// that lie in client networks.
    pub addresses: Option<Vec<Ipv4Addr>>,
    /// Client networks that the host routes itself, after those of the LAN interfaces.
    pub networks: Vec<Network>,
}

impl Host {
    /// Longest name of the host's end, so that there is room to name the far one.
    pub const MOST: usize = InterfaceName::MAX_LEN - Self::FAR.len();
    const FAR: &str = "-far";

    /// What the end that the programs are on is called: the other's name and `-far`.
    pub fn far_interface(&self) -> InterfaceName {
        let name = self.interface.as_str();
        let room = name.get(..Self::MOST).unwrap_or(name);
        format!("{room}{}", Self::FAR).parse().expect("a shortened name with letters is a name")
    }
}
