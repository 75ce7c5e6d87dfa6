//! What of a service's address is open: protocols and ports.

use std::fmt;
use std::num::NonZeroU16;
use std::str::FromStr;

use super::ValueError;

/// The protocols whose ports we read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP. Its packets keep their ports: the checksum covers all of a packet.
    Sctp,
}

impl Transport {
    /// The number in the IP header.
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => TCP,
            Self::Udp => UDP,
            Self::Sctp => SCTP,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

/// ICMP's number in the IP header.
pub(crate) const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const DCCP: u8 = 33;
const SCTP: u8 = 132;
const UDP_LITE: u8 = 136;

/// One entry of a service's port list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortSpec {
    /// `tcp/5672`, or `tcp/80->8080` where the back end listens elsewhere.
    One {
        /// The protocol.
        transport: Transport,
        /// The port clients use.
        port: NonZeroU16,
        /// The back end's port; the same unless translated.
        backend: NonZeroU16,
    },
    /// `udp/5000-5999`.
    Range {
        /// The protocol.
        transport: Transport,
        /// The ports.
        ports: PortRange,
    },
    /// `tcp/*`.
    All(Transport),
    /// `icmp-echo`.
    IcmpEcho,
    /// `ip/47`: a protocol without ports that we know of.
    Ip(u8),
}

/// Two ports, the first below the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    low: NonZeroU16,
    high: NonZeroU16,
}

impl PortRange {
    /// Fails unless the range goes up.
    pub fn new(low: NonZeroU16, high: NonZeroU16) -> Result<Self, ValueError> {
        if low >= high {
            return Err(ValueError::PortRange { low: low.get(), high: high.get() });
        }
        Ok(Self { low, high })
    }
}

impl PortSpec {
    /// Protocol number, first and last port covered.
    pub fn extent(self) -> (u8, u16, u16) {
        match self {
            Self::One { transport, port, .. } => (transport.number(), port.get(), port.get()),
            Self::Range { transport, ports } => {
                (transport.number(), ports.low.get(), ports.high.get())
            }
            Self::All(transport) => (transport.number(), 0, u16::MAX),
            Self::IcmpEcho => (ICMP, 0, 0),
            Self::Ip(protocol) => (protocol, 0, u16::MAX),
        }
    }
}

impl FromStr for PortSpec {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let bad = || ValueError::port(text);
        if text == "icmp-echo" {
            return Ok(Self::IcmpEcho);
        }
        let (protocol, ports) = text.split_once('/').ok_or_else(bad)?;
        let transport = match protocol {
            "tcp" => Transport::Tcp,
            "udp" => Transport::Udp,
            "sctp" => Transport::Sctp,
            "ip" => return ip_protocol(decimal(ports).ok_or_else(bad)?),
            _ => return Err(bad()),
        };
        let port = |text| decimal::<u16>(text).and_then(NonZeroU16::new).ok_or_else(bad);
        if ports == "*" {
            Ok(Self::All(transport))
        } else if let Some((port_text, backend)) = ports.split_once("->") {
            let (port, backend) = (port(port_text)?, port(backend)?);
            if transport == Transport::Sctp && port != backend {
                return Err(ValueError::KeptPort { port: port.get(), backend: backend.get() });
            }
            Ok(Self::One { transport, port, backend })
        } else if let Some((low, high)) = ports.split_once('-') {
            Ok(Self::Range { transport, ports: PortRange::new(port(low)?, port(high)?)? })
        } else {
            let port = port(ports)?;
            Ok(Self::One { transport, port, backend: port })
        }
    }
}

/// Digits only: `u16::from_str` would take a sign as well.
fn decimal<T: FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn ip_protocol(protocol: u8) -> Result<PortSpec, ValueError> {
    let instead = match protocol {
        ICMP => "icmp-echo",
        TCP => "tcp/*",
        UDP => "udp/*",
        SCTP => "sctp/*",
        // RFC 4340 section 9.1 and RFC 3828 section 3.1: their checksums cover the IP addresses.
        DCCP | UDP_LITE => return Err(ValueError::AddressBoundProtocol { protocol }),
        _ => return Ok(PortSpec::Ip(protocol)),
    };
    Err(ValueError::NamedProtocol { protocol, instead })
}

impl fmt::Display for PortSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One { transport, port, backend } if port == backend => {
                write!(f, "{}/{port}", transport.name())
            }
            Self::One { transport, port, backend } => {
                write!(f, "{}/{port}->{backend}", transport.name())
            }
            Self::Range { transport, ports } => {
                write!(f, "{}/{}-{}", transport.name(), ports.low, ports.high)
            }
            Self::All(transport) => write!(f, "{}/*", transport.name()),
            Self::IcmpEcho => f.write_str("icmp-echo"),
            Self::Ip(protocol) => write!(f, "ip/{protocol}"),
        }
    }
}

/// A service's port list: not empty, and no two entries cover the same port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ports(Vec<PortSpec>);

impl Ports {
    /// Checks the entries against each other.
    pub fn new(specs: Vec<PortSpec>) -> Result<Self, ValueError> {
        if specs.is_empty() {
            return Err(ValueError::NoPorts);
        }
        let mut sorted = specs.clone();
        sorted.sort_by_key(|spec| spec.extent());
        for pair in sorted.windows(2) {
            let [first, second] = *pair else { continue };
            let ((protocol, _, high), (next, low, _)) = (first.extent(), second.extent());
            if protocol == next && low <= high {
                return Err(ValueError::PortsOverlap { first, second });
            }
        }
        Ok(Self(specs))
    }

    /// The entries, in the order written.
    pub fn specs(&self) -> &[PortSpec] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specs_read_and_write_the_same() {
        for text in [
            "tcp/5672",
            "tcp/80->8080",
            "udp/5000-5999",
            "tcp/*",
            "udp/*",
            "sctp/3868",
            "sctp/1-4095",
            "sctp/*",
            "icmp-echo",
            "ip/47",
            "ip/0",
        ] {
            assert_eq!(text.parse::<PortSpec>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn wrong_specs() {
        for text in [
            "",
            "tcp",
            "tcp/",
            "tcp/0",
            "tcp/65536",
            "tcp/+5",
            "tcp/5-",
            "tcp/1-2->3",
            "tcp/*->5",
            "sctp/0",
            "dccp/5",
            "TCP/5",
            "tcp/5 ",
            "ip/256",
            "ip/*",
            "icmp",
            "tcp/5->0",
        ] {
            let error = text.parse::<PortSpec>().unwrap_err();
            assert!(matches!(error, ValueError::Port { .. }), "{text}: {error}");
        }
        for (text, remedy) in [
            ("ip/1", "icmp-echo"),
            ("ip/6", "tcp/*"),
            ("ip/17", "udp/*"),
            ("ip/132", "sctp/*"),
            ("sctp/80->8080", "sctp/8080"),
        ] {
            assert!(text.parse::<PortSpec>().unwrap_err().to_string().contains(remedy), "{text}");
        }
        assert_eq!("sctp/80->80".parse::<PortSpec>().unwrap().to_string(), "sctp/80");
        for text in ["ip/33", "ip/136"] {
            let error = text.parse::<PortSpec>().unwrap_err();
            assert!(matches!(error, ValueError::AddressBoundProtocol { .. }), "{text}: {error}");
        }
        for text in ["tcp/9-8", "tcp/9-9"] {
            let error = text.parse::<PortSpec>().unwrap_err();
            assert!(matches!(error, ValueError::PortRange { .. }), "{text}: {error}");
        }
    }

    #[test]
    fn overlaps_within_a_service() {
        let ports =
            |texts: &[&str]| Ports::new(texts.iter().map(|text| text.parse().unwrap()).collect());
        assert!(ports(&["tcp/80", "udp/80", "tcp/81-90", "sctp/80", "icmp-echo", "ip/47"]).is_ok());
        for texts in [
            ["tcp/80", "tcp/80->8080"],
            ["tcp/85", "tcp/81-90"],
            ["tcp/*", "tcp/1"],
            ["tcp/1-100", "tcp/100-200"],
            ["icmp-echo", "icmp-echo"],
            ["ip/47", "ip/47"],
        ] {
            let error = ports(&texts).unwrap_err();
            assert!(matches!(error, ValueError::PortsOverlap { .. }), "{texts:?}: {error}");
        }
        assert_eq!(ports(&[]), Err(ValueError::NoPorts));
    }
}
