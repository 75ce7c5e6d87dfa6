//! What a link device should be: a plain value, compared with what the kernel says.
//!
//! Made by the daemon from the site file; read by everything else in [`super`].

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::str::FromStr;

use ipnet::Ipv4Net;
use wireguard_control::Key;
use zeroize::Zeroize as _;

use super::LinkError;
use crate::netlink::InterfaceName;

/// The link device a gateway should have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkSettings {
    /// Name of the device.
    pub interface: InterfaceName,
    /// Which implementation of WireGuard is wanted.
    pub kind: LinkKind,
    /// This gateway's private key.
    pub private_key: PrivateKey,
    /// UDP port to listen on; `None`: whichever is free.
    pub listen_port: Option<NonZeroU16>,
    /// MTU in bytes that an operator insists on.
    pub mtu: Option<u32>,
    /// MTU in bytes that the paths are found to carry, as far as the device can; `None`: derived from
    /// this host's routes.
    pub found_mtu: Option<u32>,
    /// The gateways at the other ends.
    pub peers: Vec<LinkPeer>,
}

/// One gateway this one has a link to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkPeer {
    /// Name of its site, for messages.
    pub site: String,
    /// Its public key.
    pub public_key: PublicKey,
    /// Where to dial it; `None`: it dials us.
    pub endpoint: Option<SocketAddr>,
    /// Seconds between keepalives; `None`: none are sent.
    pub keepalive: Option<NonZeroU16>,
    /// Transit prefixes it may send from and is sent to.
    pub transit: Vec<Ipv4Net>,
}

/// Which implementation of WireGuard carries the link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LinkKind {
    /// The kernel's where it has one, else the embedded one.
    #[default]
    Auto,
    /// The kernel's or none.
    Kernel,
    /// The embedded one, in a process of its own.
    Userspace,
}

/// Where the daemon keeps what a link needs besides the device itself.
#[derive(Clone, Debug)]
pub struct LinkHost {
    /// The gatewayd executable, started as `PROGRAM link-device --interface NAME` for a
    /// userspace device.
    pub program: PathBuf,
    /// Run directory of this gateway instance: the record of configured endpoints and the
    /// userspace device's log go here. Made if missing.
    pub directory: PathBuf,
}

/// A WireGuard private key. Its `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct PrivateKey(Key);

/// A WireGuard public key. Its `Display` is the usual base64.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

/// A text that is no WireGuard key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a WireGuard key: expected 32 bytes in base64, as `wg genkey` and `wg pubkey` print")]
pub struct InvalidKey;

impl LinkSettings {
    /// Refuses what no device could be set to.
    pub(super) fn check(&self) -> Result<(), LinkError> {
        let refuse =
            |reason: String| Err(LinkError::Settings { interface: self.interface.clone(), reason });
        let own_key = self.private_key.public_key();
        let mut keys = BTreeSet::new();
        let mut prefixes = BTreeSet::new();
        for peer in &self.peers {
            if peer.public_key == own_key {
                return refuse(format!(
                    "the public key of peer {} is this gateway's own; give that gateway a key \
                     pair of its own",
                    peer.site
                ));
            }
            if !keys.insert(peer.public_key) {
                return refuse(format!(
                    "two peers have the public key {}, one of them {}; a peer is known by its \
                     key, so give each its own",
                    peer.public_key, peer.site
                ));
            }
            for prefix in peer.transit.iter().map(Ipv4Net::trunc) {
                if !prefixes.insert(prefix) {
                    return refuse(format!(
                        "transit prefix {prefix} is given to two peers, one of them {}; give it \
                         to one only",
                        peer.site
                    ));
                }
            }
        }
        Ok(())
    }
}

impl LinkHost {
    /// The running executable as the device program, with `directory` as the run directory.
    pub fn of_this_process(directory: PathBuf) -> std::io::Result<Self> {
        let program = match std::env::current_exe()? {
            path if path.exists() => path,
            // The file was replaced or removed since the start; the kernel still has it.
            _ => PathBuf::from("/proc/self/exe"),
        };
        Ok(Self { program, directory })
    }
}

impl PrivateKey {
    /// A new one.
    pub fn generate() -> Self {
        Self(Key::generate_private())
    }

    /// Its octets, for whoever seals it.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0.0
    }

    /// Its public half.
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.0.get_public().0)
    }

    pub(super) fn key(&self) -> Key {
        self.0.clone()
    }
}

impl From<[u8; 32]> for PrivateKey {
    fn from(octets: [u8; 32]) -> Self {
        Self(Key(octets))
    }
}

impl Drop for PrivateKey {
    fn drop(&mut self) {
        self.0.0.zeroize();
    }
}

impl FromStr for PrivateKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        Key::from_base64(text.trim()).map(Self).map_err(|_| InvalidKey)
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(hidden)")
    }
}

impl PublicKey {
    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub(super) fn key(&self) -> Key {
        Key(self.0)
    }
}

impl From<Key> for PublicKey {
    fn from(key: Key) -> Self {
        Self(key.0)
    }
}

impl FromStr for PublicKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        Key::from_base64(text.trim()).map(Self::from).map_err(|_| InvalidKey)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key().to_base64())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRIVATE: &str = "SGb+ojrRNDuMePufwtIYhXzA//k6wF3R21tEBgKlzlM=";
    const PUBLIC: &str = "DD5yKRfzExcV5+kDnTroDgCU15latdMjiQ59j1hEuk8=";

    fn settings(peers: Vec<LinkPeer>) -> LinkSettings {
        LinkSettings {
            interface: "presence".parse().unwrap(),
            kind: LinkKind::Auto,
            private_key: PRIVATE.parse().unwrap(),
            listen_port: None,
            mtu: None,
            found_mtu: None,
            peers,
        }
    }

    fn peer(site: &str, key: u8, transit: &str) -> LinkPeer {
        LinkPeer {
            site: site.into(),
            public_key: PublicKey([key; 32]),
            endpoint: None,
            keepalive: None,
            transit: vec![transit.parse().unwrap()],
        }
    }

    #[test]
    fn a_private_key_yields_its_public_key_and_shows_nothing() {
        let private: PrivateKey = format!("{PRIVATE}\n").parse().unwrap();
        assert_eq!(private.public_key().to_string(), PUBLIC);
        let shown = format!("{:?}", settings(Vec::new()));
        assert!(shown.contains("hidden") && !shown.contains("SGb"), "{shown}");
        assert_eq!("short".parse::<PrivateKey>(), Err(InvalidKey));
        assert_eq!("AAAA".parse::<PublicKey>(), Err(InvalidKey));
    }

    #[test]
    fn ambiguous_peers_are_refused() {
        let a = peer("a", 1, "240.0.16.0/20");
        assert!(settings(vec![a.clone(), peer("b", 2, "240.0.32.0/20")]).check().is_ok());

        let same_key = settings(vec![a.clone(), peer("b", 1, "240.0.32.0/20")]).check();
        assert!(same_key.unwrap_err().to_string().contains("two peers have the public key"));

        let same_prefix = settings(vec![a, peer("b", 2, "240.0.16.1/20")]).check();
        assert!(same_prefix.unwrap_err().to_string().contains("240.0.16.0/20"));

        let mut own = peer("b", 2, "240.0.32.0/20");
        own.public_key = PUBLIC.parse().unwrap();
        let own = settings(vec![own]).check();
        assert!(own.unwrap_err().to_string().contains("this gateway's own"));
    }
}
