//! D3, D4, D5, D6 and D6b: the whole path from client to server by two gateways, beside the same path with
//! nftables, with routing alone, and beside a wire.
//!
//! Meant for a guest whose clock counts instructions: there a second is a thousand million of them, so
//! rates are counts, whatever else the host does.

use std::path::Path;
use std::{array, fs};

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};

use super::loads::Ends;
use super::wires::{Way, Wires};
use super::{Row, goals, median};

const ROUNDS: usize = 7;

/// Measures them.
pub fn rows() -> Result<Vec<Row>> {
    run_to_the_end()?;
    let ways: Vec<Wires> = Way::ALL
        .into_iter()
        .map(|way| Wires::lay(way).with_context(|| format!("{way:?}")))
        .collect::<Result<_>>()?;
    let packets = interleaved("packet/s", &ways, Ends::packets)?;
    let latency = interleaved("us", &ways, Ends::latency)?;
    let bulk = interleaved("Mbit/s", &ways, Ends::bulk)?;
    let [ours, nftables, routing, wire] = packets.map(|rate| 1e9 / rate);
    println!("# instructions a packet: {ours:.0} {nftables:.0} {routing:.0}, by wire {wire:.0}");
    Ok(vec![
        goals::PACKETS.measured(packets[0], packets[1]),
        goals::PACKETS_BARE.measured(packets[0], packets[2]),
        goals::BULK.measured(bulk[0], bulk[1]),
        goals::LATENCY.measured(latency[0], latency[1]),
        goals::INSTRUCTIONS.measured(ours - wire, routing - wire),
        goals::INSTRUCTIONS_NFT.measured(ours - wire, nftables - wire),
    ])
}

/// Tells the scheduler to let a task run until it waits or its time is over, even if another wakes up.
///
/// Client, server and the workers of both links share one processor here. Whether a worker that wakes up
/// takes it from the sender after each packet or after many is decided by the tasks' history, differs from
/// way to way and from round to round, and outweighs what the gateways cost.
pub(super) fn run_to_the_end() -> Result<()> {
    const DEBUG: &str = "/sys/kernel/debug";
    let features = format!("{DEBUG}/sched/features");
    if !Path::new(&features).exists() {
        mount(Some("debugfs"), DEBUG, Some("debugfs"), MsFlags::empty(), None::<&str>)
            .context("mount debugfs")?;
    }
    fs::write(&features, "NO_WAKEUP_PREEMPTION").context(features)
}

/// The median of each way over interleaved rounds, in the order of [`Way::ALL`].
fn interleaved(
    unit: &str,
    ways: &[Wires],
    measure: fn(&Ends) -> Result<f64>,
) -> Result<[f64; Way::ALL.len()]> {
    let mut rounds: [Vec<f64>; Way::ALL.len()] = array::from_fn(|_| Vec::new());
    for _ in 0..ROUNDS {
        for (index, wires) in ways.iter().enumerate() {
            let way = Way::ALL[index];
            rounds[index].push(measure(&wires.ends).with_context(|| format!("{unit}, {way:?}"))?);
        }
    }
    for (way, rounds) in Way::ALL.iter().zip(&rounds) {
        println!("# {way:?} {unit}: {rounds:.1?}");
    }
    Ok(rounds.map(|rounds| median(&rounds)))
}
