//! Everything a gateway's maps should hold, as one plain value: the controller's compiler makes it,
//! the user half of the data path compares it with what is there and applies the difference.

use alloc::{collections::BTreeMap, string::String};

use crate::{
    address::TransitAddress,
    map::{
        Allow, AllowKey, Name, NameKey, PortKey, PortMapping, Presence, Route, Service, Settings,
    },
};

/// The desired content of every map that configuration determines. Flows, counters and the choice of
/// the generation are not part of it: `settings.generation` is 0 here and is set when applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    /// The site's settings.
    pub settings: Settings,
    /// Assigned addresses of the presence pool, by offset.
    pub presences: BTreeMap<u32, Presence>,
    /// Owned granules of the transit pool.
    pub routes: BTreeMap<u32, Route>,
    /// Services, by transit address.
    pub services: BTreeMap<TransitAddress, Service>,
    /// Declared ports.
    pub ports: BTreeMap<PortKey, PortMapping>,
    /// Permissions.
    pub allows: BTreeMap<AllowKey, Allow>,
    /// Names of sites, services and rules.
    pub names: BTreeMap<NameKey, Name>,
}

impl Tables {
    /// The name of a numbered thing, or its number where it has none.
    pub fn name(&self, key: NameKey) -> String {
        self.names
            .get(&key)
            .map_or_else(|| alloc::format!("#{}", key.number()), |name| String::from(name.as_str()))
    }
}

macro_rules! order_by_bytes {
    ($($key:ident),+) => {
        $(
            impl PartialOrd for $key {
                fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
                    Some(self.cmp(other))
                }
            }

            impl Ord for $key {
                fn cmp(&self, other: &Self) -> core::cmp::Ordering {
                    zerocopy::IntoBytes::as_bytes(self).cmp(zerocopy::IntoBytes::as_bytes(other))
                }
            }
        )+
    };
}

order_by_bytes!(PortKey, AllowKey);

impl core::fmt::Debug for PortKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} {}", self.service(), self.protocol())?;
        match self.range() {
            None => Ok(()),
            Some((first, last)) if first == last => write!(f, "/{first}"),
            Some((first, last)) => write!(f, "/{first}-{last}"),
        }
    }
}

impl core::fmt::Debug for AllowKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let (client, bits) = self.client_prefix();
        write!(f, "{client}/{bits} -> {}", self.service())
    }
}
