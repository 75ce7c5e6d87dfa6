//! Interfaces of the gateway and its links to others.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use gateway_policy::SiteName;

use super::{InterfaceName, Network, ValueError};

/// An interface towards hosts of the site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lan {
    /// The interface.
    pub interface: InterfaceName,
    /// Which hooks are used on it.
    pub mode: LanMode,
    /// Client networks behind it.
    pub networks: Vec<Network>,
}

/// Declares an enum whose variants an operator selects by word.
macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$vdoc])* $variant,)+ }

        impl FromStr for $name {
            type Err = ValueError;

            fn from_str(text: &str) -> Result<Self, ValueError> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(ValueError::choice(text, &[$($word),+])),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $word,)+ })
            }
        }
    };
}

choice! {
    /// Which hooks a LAN interface uses.
    LanMode {
        /// XDP where the driver takes it without losing offloads, else TC alone.
        Auto = "auto",
        /// XDP and TC.
        Xdp = "xdp",
        /// TC alone.
        Tc = "tc",
    }
}

choice! {
    /// What kind of device the link is.
    LinkKind {
        /// The kernel's where it has one, else a userspace device.
        Auto = "auto",
        /// The kernel's WireGuard.
        Kernel = "kernel",
        /// A userspace WireGuard.
        Userspace = "userspace",
    }
}

/// This gateway's link device, or both of them while keys are rotated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its name.
    pub interface: InterfaceName,
    /// What it is made of.
    pub kind: LinkKind,
    /// Where the private key is, as written; relative to the site file's directory.
    pub private_key_file: KeyFile,
    /// UDP port to listen on; `None`: any free one.
    pub listen_port: Option<NonZeroU16>,
    /// MTU of the device; `None`: what the paths to the peers are found to carry.
    pub mtu: Option<Mtu>,
    /// Whether packets between two other sites are forwarded.
    pub relay: bool,
    /// The second device, beside this one while keys are rotated.
    pub next: Option<NextLink>,
}

impl Link {
    /// What the second device is called: `interface` and a `2`, or where that has no room with its
    /// last letter in the other case.
    pub fn second_interface(&self) -> InterfaceName {
        let mut name = self.interface.as_str().to_owned();
        if name.len() < InterfaceName::MAX_LEN {
            name.push('2');
        } else {
            let other = match name.pop() {
                Some(letter) if letter.is_ascii_lowercase() => letter.to_ascii_uppercase(),
                Some(letter) if letter.is_ascii_uppercase() => letter.to_ascii_lowercase(),
                Some('2') => '3',
                _ => '2',
            };
            name.push(other);
        }
        name.parse().expect("a name with another last letter is a name")
    }
}

/// The second link device: what differs from the first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NextLink {
    /// Where its private key is; `None`: the same key.
    pub private_key_file: Option<KeyFile>,
    /// UDP port to listen on; `None`: any free one.
    pub listen_port: Option<NonZeroU16>,
}

/// A path as an operator wrote it: not empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFile(Box<str>);

impl KeyFile {
    /// Stands for a key that is in no file of its own, but in memory.
    pub const SEALED: &str = "(sealed)";

    /// The path as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyFile {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        if text.is_empty() || text.contains('\0') {
            return Err(ValueError::KeyFile);
        }
        Ok(Self(text.into()))
    }
}

/// MTU of a link, in octets: 576 (RFC 791 section 3.1) to 65,475, so that the encrypted packet fits
/// an IPv4 packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mtu(u32);

impl Mtu {
    const LEAST: u32 = 576;
    const MOST: u32 = 65_475;

    /// In octets.
    pub fn octets(self) -> u32 {
        self.0
    }
}

impl TryFrom<i64> for Mtu {
    type Error = ValueError;

    fn try_from(number: i64) -> Result<Self, ValueError> {
        let (least, most) = (Self::LEAST, Self::MOST);
        u32::try_from(number)
            .ok()
            .filter(|mtu| (least..=most).contains(mtu))
            .map(Self)
            .ok_or(ValueError::Number { found: number, least: least.into(), most: most.into() })
    }
}

/// Another gateway that this one has a link to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its site.
    pub site: SiteName,
    /// Its link's public key.
    pub public_key: PublicKey,
    /// Where to dial it, the first that works; none: it dials us.
    pub endpoints: Vec<Endpoint>,
    /// How often to send something in silence; `None`: never.
    pub keepalive: Option<Keepalive>,
    /// Further sites that it relays.
    pub reaches: Vec<SiteName>,
    /// How it is reached by the second link device.
    pub next: Option<NextPeer>,
}

/// A peer as the second link device has it: what differs from the first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NextPeer {
    /// Its next public key; `None`: the same key.
    pub public_key: Option<PublicKey>,
    /// Where to dial it; none: it dials us.
    pub endpoints: Vec<Endpoint>,
}

/// A WireGuard public key: 32 bytes, written in base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// The key.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for PublicKey {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl FromStr for PublicKey {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        // 32 bytes are 44 characters of base64; longer input is not worth decoding.
        if text.len() != 44 {
            return Err(ValueError::PublicKey);
        }
        let bytes = BASE64.decode(text).map_err(|_| ValueError::PublicKey)?;
        bytes.try_into().map(Self).map_err(|_| ValueError::PublicKey)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&BASE64.encode(self.0))
    }
}

/// Address and UDP port of a peer on the underlay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint(SocketAddr);

impl Endpoint {
    /// As the standard library writes it.
    pub fn socket_address(self) -> SocketAddr {
        self.0
    }

    /// The address, where it is of IPv4.
    pub(crate) fn ipv4(self) -> Option<Ipv4Addr> {
        match self.0 {
            SocketAddr::V4(address) => Some(*address.ip()),
            SocketAddr::V6(_) => None,
        }
    }
}

impl FromStr for Endpoint {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let address: SocketAddr = text.parse().map_err(|_| ValueError::endpoint(text))?;
        let ip = address.ip();
        if address.port() == 0 || ip.is_unspecified() || ip.is_multicast() {
            return Err(ValueError::endpoint(text));
        }
        Ok(Self(address))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Seconds between keepalives: 1 to 65,535, as WireGuard takes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive(NonZeroU16);

impl Keepalive {
    /// What holds a NAT mapping open by WireGuard's own advice.
    pub const DEFAULT: Self = Self(match NonZeroU16::new(25) {
        Some(seconds) => seconds,
        None => NonZeroU16::MIN,
    });

    /// The interval in seconds.
    pub fn seconds(self) -> NonZeroU16 {
        self.0
    }
}

impl FromStr for Keepalive {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let seconds = super::flow::seconds(text)?;
        u16::try_from(seconds)
            .ok()
            .and_then(NonZeroU16::new)
            .map(Self)
            .ok_or(ValueError::Keepalive { seconds })
    }
}

impl fmt::Display for Keepalive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}s", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_keys() {
        let text = "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=";
        assert_eq!(text.parse::<PublicKey>().unwrap().to_string(), text);
        for wrong in ["", &text[..43], "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK0==", &text[1..]] {
            assert_eq!(wrong.parse::<PublicKey>(), Err(ValueError::PublicKey), "{wrong}");
        }
        let not_canonical = "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK09=";
        assert_eq!(not_canonical.parse::<PublicKey>(), Err(ValueError::PublicKey));
    }

    #[test]
    fn endpoints() {
        for right in ["192.0.2.1:51820", "[2001:db8::1]:51820"] {
            assert_eq!(right.parse::<Endpoint>().unwrap().to_string(), right);
        }
        for wrong in ["192.0.2.1", "192.0.2.1:0", "hub.example:51820", "0.0.0.0:1", "224.0.0.1:1"] {
            assert!(wrong.parse::<Endpoint>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn keepalives() {
        assert_eq!("25s".parse::<Keepalive>().unwrap(), Keepalive::DEFAULT);
        assert_eq!("2m".parse::<Keepalive>().unwrap().to_string(), "120s");
        assert_eq!("19h".parse::<Keepalive>(), Err(ValueError::Keepalive { seconds: 68_400 }));
    }
}
