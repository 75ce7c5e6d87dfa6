//! D10: what room for a flow costs, by the kernel's own account of its maps.

use std::fs;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::Path;

use anyhow::{Context, Result};
use aya::maps::MapData;
use gateway_common::map::{Flows, Map as _, Nats};

use super::stand::Stand;
use super::{Row, goals};

/// Octets of a `struct nf_conn` in its slab, without extensions: what nftables spends at least.
const CONNTRACK: f64 = 256.0;

/// Measures D10 and D10b: how much more memory a map for twice as many flows takes. Maps of flows are
/// made in advance, so what is in them changes nothing.
pub fn rows() -> Result<Vec<Row>> {
    Stand::new("d10")?.run(|loaded| {
        let larger = loaded.another(2 * Flows::CAPACITY)?;
        let octets = |name: &str| -> Result<f64> {
            let (small, large) =
                (memory(&loaded.pin("maps", name))?, memory(&larger.pin("maps", name))?);
            Ok((large - small) / f64::from(Flows::CAPACITY))
        };
        let (flows, nats) = (octets(Flows::NAME)?, octets(Nats::NAME)?);
        Ok(vec![
            goals::MEMORY.measured(flows, CONNTRACK),
            goals::MEMORY_SERVICE.measured(flows + nats, CONNTRACK),
        ])
    })
}

/// Octets of kernel memory of a map, hash table included.
fn memory(pin: &Path) -> Result<f64> {
    let map = MapData::from_pin(pin).with_context(|| format!("open {}", pin.display()))?;
    let path = format!("/proc/self/fdinfo/{}", map.fd().as_fd().as_raw_fd());
    let text = fs::read_to_string(&path).context(path)?;
    let line = text.lines().find_map(|line| line.strip_prefix("memlock:"));
    Ok(line.context("the kernel does not tell what a map takes")?.trim().parse()?)
}
