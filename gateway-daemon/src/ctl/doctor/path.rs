//! How large packets may be on the way to somebody, judged.

use std::net::IpAddr;

use super::report::{Check, Finding};

/// The way to an address.
#[derive(Clone, Debug)]
pub(super) struct Way {
    pub(super) to: IpAddr,
    /// The largest packet that the first hop takes, by this host's routes.
    pub(super) first_hop: u32,
    /// The largest one that a router farther on says it takes.
    pub(super) claimed: Option<u32>,
    /// The largest one that was answered.
    pub(super) answered: Option<u32>,
}

/// Octets of the headers before a datagram's content: IP and UDP.
pub(super) fn headers(to: IpAddr) -> u32 {
    match to {
        IpAddr::V4(_) => 28,
        IpAddr::V6(_) => 48,
    }
}

/// What QUIC needs at least (RFC 9000 section 14), without headers.
pub(super) const LEAST: u32 = 1200;
/// Larger packets are not tried.
const MOST: u32 = 9000;

impl Way {
    /// Sizes of packets to try, none larger than the first hop takes.
    pub(super) fn sizes(&self) -> Vec<u32> {
        let least = LEAST + headers(self.to);
        let most = self.first_hop.min(MOST);
        let mut sizes = vec![most, 1500, 1492, 1440, 1400, 1340, 1280, least];
        sizes.retain(|size| (least..=most).contains(size));
        sizes.sort_unstable();
        sizes.dedup();
        sizes
    }

    /// The finding.
    pub(super) fn judge(&self) -> Finding {
        let (to, first_hop, least) = (self.to, self.first_hop, LEAST + headers(self.to));
        if first_hop < least {
            return Finding::fail(
                Check::Path,
                format!(
                    "the first hop takes packets of {first_hop} octets, and QUIC needs {least}"
                ),
                "raise the MTU of the interface or of the route",
            )
            .of(to);
        }
        let known = self.claimed.map_or(first_hop, |claimed| claimed.min(first_hop));
        let farther = match self.claimed {
            Some(claimed) => format!(", a router farther on {claimed}"),
            None => String::new(),
        };
        let tried = known.min(MOST);
        match self.answered {
            None => Finding::ok(
                Check::Path,
                format!("the first hop takes packets of {first_hop} octets{farther}; how it is beyond that is not known"),
            ),
            Some(answered) if answered >= tried => {
                Finding::ok(Check::Path, format!("packets of {answered} octets get through{farther}"))
            }
            Some(answered) => Finding::warn(
                Check::Path,
                format!(
                    "packets of {answered} octets get through; larger ones are lost without a word, though the first \
                     hop takes {first_hop}"
                ),
                "let ICMP \"fragmentation needed\" and \"packet too big\" through, or set the MTU of the route to what \
                 gets through; links find their size by themselves",
            ),
        }
        .of(to)
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::Verdict;
    use super::*;

    fn way(first_hop: u32, claimed: Option<u32>, answered: Option<u32>) -> Way {
        Way { to: "192.0.2.1".parse().unwrap(), first_hop, claimed, answered }
    }

    #[test]
    fn sizes_begin_where_quic_does_and_end_where_the_first_hop_does() {
        assert_eq!(way(1500, None, None).sizes(), [1228, 1280, 1340, 1400, 1440, 1492, 1500]);
        assert_eq!(way(1420, None, None).sizes(), [1228, 1280, 1340, 1400, 1420]);
        assert_eq!(way(65536, None, None).sizes().last(), Some(&9000));
        assert!(way(1000, None, None).sizes().is_empty());
    }

    #[test]
    fn a_path_by_what_gets_through() {
        for (way, verdict, part) in [
            (way(1500, None, Some(1500)), Verdict::Ok, "packets of 1500 octets get through"),
            (way(65536, None, Some(9000)), Verdict::Ok, "9000"),
            (way(1500, Some(1400), Some(1400)), Verdict::Ok, "a router farther on 1400"),
            (way(1500, None, None), Verdict::Ok, "is not known"),
            (way(1500, None, Some(1340)), Verdict::Warn, "lost without a word"),
            (way(1200, None, None), Verdict::Fail, "QUIC needs 1228"),
        ] {
            let finding = way.judge();
            assert_eq!(finding.verdict, verdict, "{finding:?}");
            assert!(finding.found.contains(part), "{finding:?}");
        }
    }
}
