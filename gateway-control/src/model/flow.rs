//! The flow table's size, how long idle flows live, and how long connections without a flow may go on.

use std::fmt;
use std::str::FromStr;

use gateway_common::time::{Ticks, ticks};

use super::ValueError;

/// How many flows there may be and how long they live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowSettings {
    /// Room in the flow table.
    pub capacity: FlowCapacity,
    /// Most flows of one client.
    pub per_client: FlowQuota,
    /// Most flows of the clients of one other site.
    pub per_site: FlowQuota,
    /// How long connections without a flow may go on after a start without flows.
    pub grace: Grace,
    /// Time-outs of idle flows.
    pub timeouts: Timeouts,
}

impl Default for FlowSettings {
    fn default() -> Self {
        let capacity = FlowCapacity::default();
        Self {
            capacity,
            per_client: FlowQuota::of_client(capacity),
            per_site: FlowQuota::of_site(capacity),
            grace: Grace::default(),
            timeouts: Timeouts::default(),
        }
    }
}

/// Entries of the flow table: a power of two, 1,024 to 4,194,304.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowCapacity(u32);

impl FlowCapacity {
    const LEAST: u32 = 1024;
    const MOST: u32 = 4_194_304;

    /// The number of entries.
    pub fn entries(self) -> u32 {
        self.0
    }
}

/// Most flows of somebody, or no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowQuota(u32);

impl FlowQuota {
    /// No limit.
    pub const OFF: Self = Self(0);

    /// The number of flows; 0 for no limit.
    pub fn flows(self) -> u32 {
        self.0
    }

    /// What holds for one client if the site file says nothing: a quarter of the room.
    pub fn of_client(capacity: FlowCapacity) -> Self {
        Self(capacity.entries() / 4)
    }

    /// What holds for one site's clients if the site file says nothing: half of the room.
    pub fn of_site(capacity: FlowCapacity) -> Self {
        Self(capacity.entries() / 2)
    }
}

impl TryFrom<i64> for FlowQuota {
    type Error = ValueError;

    fn try_from(found: i64) -> Result<Self, ValueError> {
        let most = FlowCapacity::MOST;
        let quota = u32::try_from(found).ok().filter(|quota| *quota <= most).map(Self);
        quota.ok_or(ValueError::Quota { found: found.to_string(), most })
    }
}

impl FromStr for FlowQuota {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text {
            "off" => Ok(Self::OFF),
            _ => Err(ValueError::Quota { found: super::quoted(text), most: FlowCapacity::MOST }),
        }
    }
}

impl Default for FlowCapacity {
    fn default() -> Self {
        Self(65_536)
    }
}

impl TryFrom<i64> for FlowCapacity {
    type Error = ValueError;

    fn try_from(number: i64) -> Result<Self, ValueError> {
        u32::try_from(number)
            .ok()
            .filter(|n| n.is_power_of_two() && (Self::LEAST..=Self::MOST).contains(n))
            .map(Self)
            .ok_or(ValueError::Capacity { found: number, least: Self::LEAST, most: Self::MOST })
    }
}

/// For how long after a start without flows a TCP connection may go on without a new SYN, in seconds: none
/// to an hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grace(u32);

impl Grace {
    const MOST: u32 = 3600;

    /// In seconds; 0 for none.
    pub fn seconds(self) -> u32 {
        self.0
    }
}

impl Default for Grace {
    fn default() -> Self {
        Self(120)
    }
}

impl FromStr for Grace {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match seconds(text)? {
            seconds @ 0..=Self::MOST => Ok(Self(seconds)),
            seconds => Err(ValueError::Grace { seconds }),
        }
    }
}

impl fmt::Display for Grace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}s", self.0)
    }
}

/// How long an idle flow lives, by what was last seen of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP, not yet answered and acknowledged.
    pub opening: Timeout,
    /// TCP, both ends open.
    pub open: Timeout,
    /// TCP, one end closed.
    pub half_closed: Timeout,
    /// TCP, both ends closed or reset.
    pub closed: Timeout,
    /// Every other protocol, unanswered.
    pub datagram: Timeout,
    /// Every other protocol, answered.
    pub datagram_replied: Timeout,
}

impl Default for Timeouts {
    /// What the data path holds to be the default; RFC 5382 REQ-5 and RFC 4787 REQ-5 ask for no less.
    fn default() -> Self {
        Self {
            opening: Timeout(30),
            open: Timeout(7440),
            half_closed: Timeout(300),
            closed: Timeout(10),
            datagram: Timeout(120),
            datagram_replied: Timeout(180),
        }
    }
}

const _: () = assert!(ticks(Timeout::MOST as u64 * 1000) < Ticks::HORIZON, "the clock can tell");

/// A time-out in seconds: 1 to 30 days.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timeout(u32);

impl Timeout {
    const MOST: u32 = 30 * 24 * 3600;

    /// In seconds.
    pub fn seconds(self) -> u32 {
        self.0
    }
}

impl FromStr for Timeout {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let seconds = seconds(text)?;
        if (1..=Self::MOST).contains(&seconds) {
            Ok(Self(seconds))
        } else {
            Err(ValueError::Timeout { seconds })
        }
    }
}

impl fmt::Display for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}s", self.0)
    }
}

/// Reads `30s`, `5m` or `2h`.
pub(super) fn seconds(text: &str) -> Result<u32, ValueError> {
    let bad = || ValueError::duration(text);
    let unit = match text.bytes().next_back() {
        Some(b's') => 1,
        Some(b'm') => 60,
        Some(b'h') => 3600,
        _ => return Err(bad()),
    };
    let digits = text.get(..text.len() - 1).ok_or_else(bad)?;
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(bad());
    }
    let number: u32 = digits.parse().map_err(|_| bad())?;
    number.checked_mul(unit).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, expected) in [("1s", 1), ("30s", 30), ("5m", 300), ("2h", 7200), ("0s", 0)] {
            assert_eq!(seconds(text), Ok(expected));
        }
        for text in ["", "s", "5", "5d", "-5s", "+5s", " 5s", "5 s", "1.5s", "9999999h", "5é"] {
            assert!(matches!(seconds(text), Err(ValueError::Duration { .. })), "{text:?}");
        }
        assert_eq!("0s".parse::<Timeout>(), Err(ValueError::Timeout { seconds: 0 }));
        assert_eq!("721h".parse::<Timeout>(), Err(ValueError::Timeout { seconds: 721 * 3600 }));
    }

    #[test]
    fn graces() {
        for (text, expected) in [("0s", 0), ("2m", 120), ("90s", 90), ("1h", 3600)] {
            assert_eq!(text.parse::<Grace>().map(Grace::seconds), Ok(expected));
        }
        assert_eq!("2m".parse(), Ok(Grace::default()));
        assert_eq!("3601s".parse::<Grace>(), Err(ValueError::Grace { seconds: 3601 }));
        assert_eq!("2h".parse::<Grace>(), Err(ValueError::Grace { seconds: 7200 }));
        for wrong in ["", "off", "2", "-1s", "2d"] {
            assert!(matches!(wrong.parse::<Grace>(), Err(ValueError::Duration { .. })), "{wrong}");
        }
    }

    #[test]
    fn quotas() {
        for (right, flows) in [(0, 0), (1, 1), (4_194_304, 4_194_304)] {
            assert_eq!(FlowQuota::try_from(right).map(FlowQuota::flows), Ok(flows));
        }
        assert_eq!("off".parse(), Ok(FlowQuota::OFF));
        for wrong in [-1, 4_194_305, i64::MAX] {
            assert!(FlowQuota::try_from(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "OFF", "10", "none"] {
            assert!(wrong.parse::<FlowQuota>().is_err(), "{wrong}");
        }
        let capacity = FlowCapacity::default();
        assert_eq!(FlowQuota::of_client(capacity).flows(), 16_384);
        assert_eq!(FlowQuota::of_site(capacity).flows(), 32_768);
    }

    #[test]
    fn capacities() {
        for right in [1024, 65_536, 4_194_304] {
            assert_eq!(FlowCapacity::try_from(right).map(|c| i64::from(c.entries())), Ok(right));
        }
        for wrong in [0, 512, 65_535, 8_388_608, -1024, i64::MAX] {
            assert!(FlowCapacity::try_from(wrong).is_err(), "{wrong}");
        }
    }
}
