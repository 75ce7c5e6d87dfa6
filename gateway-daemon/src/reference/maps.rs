//! The page of maps, from their declarations.

use gateway_common::for_each_map;
use gateway_common::map::{
    ABI, Allows, Backends, Clock, Counters, Current, Flows, Fragments, Map, Names, Nats,
    OpeningNats, Openings, Ports, Presences, Routes, Services, SettingsSlots, Slots, Usages,
};

use super::{GENERATED, cell};
use crate::ctl::entry::KeyText;
use crate::ctl::maps::kind;

pub(super) fn page() -> String {
    let mut page = format!(
        "# Maps\n{GENERATED}\n\
         What the programs know and keep, in the order of names. Pinned under \
         `/sys/fs/bpf/presence/INSTANCE/v{ABI}/maps/`; the number is that of these layouts, and a \
         program of another number does not touch them. `gatewayctl map` lists, dumps and looks \
         up.\n\n\
         | name | holds | kind | key, octets | value, octets | entries | a key, for `map lookup` |\n\
         |---|---|---|---|---|---|---|\n"
    );
    let mut rows = Vec::new();
    macro_rules! describe {
        ($($map:ident),+) => { $(rows.push(row::<$map>());)+ };
    }
    for_each_map!(describe);
    rows.sort();
    page.extend(rows);
    page.push_str(
        "\nThe room of `flows4` and `nats4` is `flows.capacity` of the site file; the number above \
         is its default.\n",
    );
    page
}

fn row<M: Map<Key: KeyText>>() -> String {
    let (holds, index) = about(M::NAME);
    format!(
        "| `{}` | {holds} | {} | {} | {} | {} | {} |\n",
        M::NAME,
        kind(M::KIND),
        size_of::<M::Key>(),
        size_of::<M::Value>(),
        M::CAPACITY,
        cell(index.unwrap_or(M::Key::FORM)),
    )
}

/// What a map holds and, where it is an array, what its index counts.
fn about(name: &str) -> (&'static str, Option<&'static str>) {
    match name {
        Allows::NAME => ("who may use which service, and by which rule", None),
        Counters::NAME => ("what became of packets", Some("a label: no-policy")),
        Current::NAME => ("the generation in force", Some("0")),
        Flows::NAME => ("flows, and how they are translated here", None),
        Fragments::NAME => ("datagrams of which not all fragments have come", None),
        Names::NAME => ("names of sites, services and rules, for people", None),
        Nats::NAME => ("which flow a back end's reply belongs to", None),
        Ports::NAME => ("ports that services declare", None),
        Clock::NAME => ("the time of the kernel's last tick, which the programs keep", Some("0")),
        Presences::NAME => {
            ("what an address of the presence pool stands for", Some("its offset in the pool: 8"))
        }
        Routes::NAME => (
            "which site owns a part of the transit pool, and the link that leads there",
            Some("4096 addresses each, counted from the pool's first: 1"),
        ),
        Services::NAME => ("services of this site and others", None),
        Backends::NAME => ("back ends that flows of a service may stay on", None),
        Openings::NAME => ("flows that are not confirmed by both ends yet", None),
        OpeningNats::NAME => ("which of those a back end's reply belongs to", None),
        Slots::NAME => (
            "back ends for new flows",
            Some("a number from the service's first on, as `services4` has it"),
        ),
        Usages::NAME => ("how many flows each client and each site has", None),
        SettingsSlots::NAME => ("the site's settings, in force and before", Some("0 or 1")),
        _ => ("", None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_map_is_described() {
        macro_rules! check {
            ($($map:ident),+) => {
                $(assert!(!about($map::NAME).0.is_empty(), "{}", $map::NAME);)+
            };
        }
        for_each_map!(check);
    }
}
