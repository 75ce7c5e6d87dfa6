//! D7: packets that may not pass, refused by the guard in a driver, beside a rule of nftables that drops
//! them as early as one can.
//!
//! A program run on live frames sends copies of one frame into a veth; the far end refuses them on the
//! same processor, so the time a packet takes is that of sending and of refusing. What sending and
//! receiving take by themselves is measured with a program that drops everything at once.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use aya::programs::{TestRun as _, TestRunAttrs, TestRunOptions};
use gateway_common::Reason;
use gateway_common::map::Counter;
use nix::net::if_::if_nametoindex;

use super::assembly::{Code, R0, R1, R2, REDIRECT};
use super::established::real_time;
use super::peer::Peer;
use super::stand::{FAR, LAN, POOL, Stand, frame};
use super::wires::nft;
use super::{Row, goals, median};
use crate::lab::namespace::{Namespace, run};

const ROUNDS: usize = 9;
const FRAMES: u32 = 1_000_000;
const BATCH: u32 = 64;
const XDP_DROP: i32 = 1;
/// The presence that the client may not use.
const DENIED: u32 = 9;

/// Measures D7 and D7b.
pub fn rows() -> Result<Vec<Row>> {
    let [guarded, filtered, dropped] =
        ["guard", "nft", "drop"].map(|name| Stand::new(&format!("d7-{name}")));
    let (guarded, filtered, dropped) = (guarded?, filtered?, dropped?);
    let filter = filtered.namespace();
    nft(
        filter,
        &format!(
            "table ip filter {{\nchain prerouting {{ type filter hook prerouting priority raw;\n\
         ip daddr {POOL}/15 counter drop\n}}\n}}\n"
        ),
    )?;
    // Without it a veth takes no frames from XDP.
    filter.run(|| run(Command::new("ethtool").args(["-K", LAN, "gro", "on"])))??;
    let mut drop = Peer::xdp(&Code::default().set(R0, XDP_DROP).exit(), None)?;
    dropped.namespace().run(|| drop.in_driver(LAN))??;
    let frame = frame(DENIED)?;
    let times = guarded.run(|loaded| {
        loaded.apply(10)?;
        let mut times = [const { Vec::new() }; 3];
        real_time(true);
        for _ in 0..ROUNDS {
            let refused = || loaded.counted(Counter::Refused(Reason::NoPolicy));
            for (index, stand) in [&guarded, &filtered, &dropped].into_iter().enumerate() {
                let before = [refused()?, filtered_by(filter)?];
                let took = stand.namespace().run(|| flood(&frame))??;
                let after = [refused()?, filtered_by(filter)?];
                if let (Some(before), Some(after)) = (before.get(index), after.get(index)) {
                    let count = after - before;
                    ensure!(count == u64::from(FRAMES), "{count} of {FRAMES} packets were refused");
                }
                times[index].push(took);
            }
        }
        real_time(false);
        Ok(times)
    })?;
    println!("# D7, ns a packet: guard, nftables, dropped: {times:.0?}");
    let [ours, nftables, dropped] = times.map(|times| median(&times));
    Ok(vec![
        goals::REFUSED.measured(1e9 / ours, 1e9 / nftables),
        goals::REFUSED_ALONE.measured(1e9 / (ours - dropped), 1e9 / (nftables - dropped)),
    ])
}

/// Nanoseconds a frame, sent into the LAN device from its far end.
fn flood(frame: &[u8]) -> Result<f64> {
    let interface = i32::try_from(if_nametoindex(FAR)?)?;
    let sender = Code::default().set(R1, interface).set(R2, 0).call(REDIRECT).exit();
    let sender = Peer::xdp(&sender, None)?;
    let begun = Instant::now();
    sender
        .as_xdp()?
        .test_run(TestRunOptions {
            data_in: Some(frame),
            repeat: FRAMES,
            attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
            ..TestRunOptions::new()
        })
        .context("send live frames")?;
    Ok(begun.elapsed().as_nanos() as f64 / f64::from(FRAMES))
}

/// How many packets the rule has dropped.
fn filtered_by(host: &Namespace) -> Result<u64> {
    let listing = host.run(|| run(Command::new("nft").args(["list", "ruleset"])))??;
    let mut words = listing.split_whitespace().skip_while(|word| *word != "packets");
    Ok(words.nth(1).context("nftables counts no packets")?.parse()?)
}
