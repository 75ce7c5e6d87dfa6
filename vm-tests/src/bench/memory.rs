//! D10: what room for a flow costs, by the kernel's own account of its maps, and what a million take.

use std::fs;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use aya::maps::{HashMap, Map as AnyMap, MapData, MapError};
use gateway_common::map::{Flow, Flows, Map as _, Nats, OpeningNats, Openings};

use super::stand::Stand;
use super::{Row, goals};

/// Octets of a `struct nf_conn` in its slab, without extensions: what nftables spends at least.
const CONNTRACK: f64 = 256.0;
const MILLION: u32 = 1_000_000;
const MEBIOCTET: f64 = (1 << 20) as f64;

/// Measures D10 and D10b: how much more memory a map for twice as many flows takes; and D10c: what all tables
/// of flows take with a million flows in them.
pub fn rows() -> Result<Vec<Row>> {
    Stand::new("d10")?.run(|loaded| {
        let larger = loaded.another(2 * Flows::CAPACITY)?;
        let octets = |name: &str| -> Result<f64> {
            let (small, large) =
                (memory(&loaded.pin("maps", name))?, memory(&larger.pin("maps", name))?);
            Ok((large - small) / f64::from(Flows::CAPACITY))
        };
        let (flows, nats) = (octets(Flows::NAME)?, octets(Nats::NAME)?);
        drop(larger);
        let most = loaded.another(MILLION)?;
        fill(&most.pin("maps", Flows::NAME))?;
        let names = [Flows::NAME, Nats::NAME, Openings::NAME, OpeningNats::NAME];
        let all = names.iter().map(|name| memory(&most.pin("maps", name)));
        let all = all.sum::<Result<f64>>()? / MEBIOCTET;
        Ok(vec![
            goals::MEMORY.measured(flows, CONNTRACK),
            goals::MEMORY_SERVICE.measured(flows + nats, CONNTRACK),
            goals::MEMORY_MILLION.measured(all, f64::from(MILLION) * CONNTRACK / MEBIOCTET),
        ])
    })
}

/// Enters a million flows, after which there is room for no other.
fn fill(pin: &Path) -> Result<()> {
    const KEY: usize = 16;
    const FLOW: usize = size_of::<Flow>();
    let map = MapData::from_pin(pin).with_context(|| format!("open {}", pin.display()))?;
    let mut flows: HashMap<_, [u8; KEY], [u8; FLOW]> = HashMap::try_from(AnyMap::HashMap(map))?;
    let key = |number: u32| {
        let mut key = [0; KEY];
        key[..4].copy_from_slice(&number.to_be_bytes());
        key
    };
    for number in 0..MILLION {
        flows.insert(key(number), [1; FLOW], 0).with_context(|| format!("enter flow {number}"))?;
    }
    let one_more = flows.insert(key(MILLION), [1; FLOW], 0);
    ensure!(matches!(one_more, Err(MapError::SyscallError(_))), "there is room for more");
    ensure!(flows.get(&key(0), 0)? == [1; FLOW], "the first flow is gone");
    Ok(())
}

/// Octets of kernel memory of a map, hash table included.
fn memory(pin: &Path) -> Result<f64> {
    let map = MapData::from_pin(pin).with_context(|| format!("open {}", pin.display()))?;
    let path = format!("/proc/self/fdinfo/{}", map.fd().as_fd().as_raw_fd());
    let text = fs::read_to_string(&path).context(path)?;
    let line = text.lines().find_map(|line| line.strip_prefix("memlock:"));
    Ok(line.context("the kernel does not tell what a map takes")?.trim().parse()?)
}
