//! Where controllers are.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use crate::model::quoted;

/// Name or address of a controller and its port, UDP and TCP alike; the port is 443 if none is written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ControllerAddress {
    host: Box<str>,
    port: u16,
}

/// A text that is no address of a controller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{found} is no address of a controller; write HOST or HOST:PORT, for example controller.example:443 or \
     [2001:db8::1]:443"
)]
pub struct AddressError {
    found: String,
}

impl ControllerAddress {
    /// The port that is meant where none is written.
    pub const PORT: u16 = 443;
    /// Longest name (RFC 1035 section 2.3.4).
    const HOST_MAX_LEN: usize = 253;

    /// Name or address.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl From<SocketAddr> for ControllerAddress {
    fn from(address: SocketAddr) -> Self {
        Self { host: address.ip().to_string().into(), port: address.port() }
    }
}

impl FromStr for ControllerAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let wrong = || AddressError { found: quoted(text) };
        if let Ok(address) = text.parse::<SocketAddr>() {
            let there = address.port() != 0 && !address.ip().is_unspecified();
            return if there { Ok(address.into()) } else { Err(wrong()) };
        }
        let inner = text.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(text);
        if let Ok(ip) = inner.parse::<std::net::IpAddr>() {
            return Ok(SocketAddr::new(ip, Self::PORT).into());
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().map_err(|_| wrong())?),
            None => (text, Self::PORT),
        };
        let letter = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        let label = |it: &str| (1..=63).contains(&it.len()) && it.bytes().all(letter);
        let is_name = host.len() <= Self::HOST_MAX_LEN && host.split('.').all(label);
        // All digits and dots is an address that has something wrong with it.
        let is_number = host.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        if !is_name || is_number || port == 0 {
            return Err(wrong());
        }
        Ok(Self { host: host.into(), port })
    }
}

impl fmt::Display for ControllerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_names_or_numbers() {
        for (text, written) in [
            ("controller.example", "controller.example:443"),
            ("controller.example:8443", "controller.example:8443"),
            ("192.0.2.1", "192.0.2.1:443"),
            ("192.0.2.1:1", "192.0.2.1:1"),
            ("2001:db8::1", "[2001:db8::1]:443"),
            ("[2001:db8::1]", "[2001:db8::1]:443"),
            ("[2001:db8::1]:9", "[2001:db8::1]:9"),
        ] {
            let address: ControllerAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), written);
            assert_eq!(written.parse(), Ok(address));
        }
        for text in [
            "",
            ":443",
            "a:",
            "a:0",
            "a:70000",
            "a b",
            "a..b",
            "0.0.0.0:1",
            "192.0.2",
            "a/b",
            "http://a",
        ] {
            assert!(text.parse::<ControllerAddress>().is_err(), "{text}");
        }
    }
}
