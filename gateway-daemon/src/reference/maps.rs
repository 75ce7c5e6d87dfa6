//! The page of maps, from their declarations.

use gateway_common::for_each_map;
use gateway_common::map::{
    ABI, Allows, Counters, Current, Flows, Map, Names, Nats, Ports, Presences, Routes, Services,
    SettingsSlots,
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
         | name | kind | key, octets | value, octets | entries | a key, for `map lookup` |\n\
         |---|---|---|---|---|---|\n"
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
    format!(
        "| `{}` | {} | {} | {} | {} | {} |\n",
        M::NAME,
        kind(M::KIND),
        size_of::<M::Key>(),
        size_of::<M::Value>(),
        M::CAPACITY,
        cell(M::Key::FORM),
    )
}
