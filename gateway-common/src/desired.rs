//! Everything a gateway's maps should hold, as one plain value: the controller's compiler makes it,
//! the user half of the data path compares it with what is there and applies the difference.

use alloc::{collections::BTreeMap, string::String};

use crate::{
    address::{LocalAddress, TransitAddress},
    map::{
        Allow, AllowKey, Backend, BackendKey, BackendState, Name, NameKey, PortKey, PortMapping,
        Presence, Route, Service, ServiceKind, Settings,
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
    /// Which back ends new flows go to, by slot.
    pub slots: BTreeMap<u32, LocalAddress>,
    /// The back ends that flows may stay on.
    pub backends: BTreeMap<BackendKey, Backend>,
    /// Declared ports.
    pub ports: BTreeMap<PortKey, PortMapping>,
    /// Permissions.
    pub allows: BTreeMap<AllowKey, Allow>,
    /// Names of sites, services and rules.
    pub names: BTreeMap<NameKey, Name>,
}

impl Tables {
    /// Makes `service` one of this site with these back ends, each in one slot, in place of those it had.
    pub fn serve(&mut self, service: TransitAddress, backends: &[LocalAddress]) {
        self.backends.retain(|key, _| key.service != service);
        let first = self.slots.last_key_value().map_or(0, |(last, _)| last + 1);
        for (number, address) in (first..).zip(backends) {
            self.slots.insert(number, *address);
            let key = BackendKey { service, address: *address };
            self.backends.insert(key, Backend::new(BackendState::Active));
        }
        let count = backends.len() as u32;
        self.services.insert(service, Service::new(ServiceKind::Here { first, count }));
    }

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
