//! D1 and D9: what a packet of an established flow costs in `lan_ingress`, by `BPF_PROG_TEST_RUN` with
//! the kernel's own measure of time.
//!
//! Measured is the program alone, its call of `bpf_redirect` included and the redirection itself not: a
//! test run returns the action to the caller. The peer is a program that parses as little as it can,
//! looks one key of four octets up, writes both hardware addresses and redirects.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use aya::programs::SchedClassifier;
use gateway_common::map::{Flows, Map as _};

use super::assembly::{Code, FRAME, LOOKUP, MapPlan, R0, R1, R2, R3, R6, R7, R8, REDIRECT, Width};
use super::peer::Peer;
use super::stand::{Loaded, REPEATS, Stand, frame, run_classifier};
use super::{Row, goals, percentile};

/// Many and short, so that a neighbour who takes the processor for a while spoils few of them.
const ROUNDS: usize = 400;
/// Runs of [`REPEATS`] in a round: 400,000 packets of each program in all.
const CALLS: usize = 4;

const REDIRECTED: u32 = 7;
const SHOT: u32 = 2;
const FEW: u32 = 10;
const MANY: u32 = 100_000;

/// Measures D1.
pub fn established() -> Result<Vec<Row>> {
    Stand::new("d1")?.run(|loaded| {
        loaded.apply(FEW)?;
        let ours = open(loaded)?;
        let empty = Peer::classifier(&Code::default().set(R0, 0).exit(), None)?;
        let mut bare = Peer::classifier(&bare(), Some(BARE_MAP))?;
        let packet = frame(0)?;
        bare.set(packet[30..34].try_into()?, ways_on(loaded.link))?;
        check(&ours, &packet, loaded)?;
        let bare_run = run_classifier(bare.as_classifier()?, &packet, loaded.lan, REPEATS)?;
        ensure!(bare_run.action == REDIRECTED, "the bare program returned {}", bare_run.action);
        let programs = [&ours, bare.as_classifier()?, empty.as_classifier()?];
        let times = interleaved(&programs, [&packet; 3], loaded)?;
        let [ours, bare, empty] = times;
        println!("# D1: ours {ours:.1} ns, bare {bare:.1} ns, empty {empty:.1} ns");
        Ok(vec![goals::ESTABLISHED.measured(ours - empty, bare - empty)])
    })
}

/// Shows how a packet's cost grows along its way: frames that leave the program at one point after the
/// other. In the guest whose clock counts instructions these are counts.
pub fn stages() -> Result<Vec<Row>> {
    const IP: usize = 14;
    Stand::new("stages")?.run(|loaded| {
        loaded.apply(FEW)?;
        let ours = open(loaded)?;
        let whole = frame(0)?;
        check(&ours, &whole, loaded)?;
        let changed = |at: usize, octets: &[u8]| {
            let mut frame = whole.clone();
            frame[at..at + octets.len()].copy_from_slice(octets);
            frame
        };
        for (leaves, frame) in [
            ("not IPv4", changed(12, &[0x86, 0xdd])),
            ("not for the pool", changed(IP + 16, &[10, 9, 9, 9])),
            ("no presence", changed(IP + 16, &[242, 1, 0, 0])),
            ("no hops left", changed(IP + 8, &[1])),
            ("not a client", changed(IP + 12, &[10, 9, 9, 9])),
            ("no rule", frame(FEW - 1)?),
            ("forwarded", whole.clone()),
        ] {
            let mut times = Vec::new();
            for _ in 0..ROUNDS {
                times.push(
                    run_classifier(&ours, &frame, loaded.lan, REPEATS)?.each.as_nanos() as f64
                );
            }
            println!("# lan_ingress, {leaves}: {} ns", percentile(&times, 10));
        }
        Ok(Vec::new())
    })
}

/// Measures D9 and D9b.
pub fn scale() -> Result<Vec<Row>> {
    /// Presences that the client may not use.
    const DENIED: [u32; 2] = [FEW - 1, MANY / 2 + 1];
    Stand::new("d9")?.run(|few| {
        let mut many = few.another(Flows::CAPACITY)?;
        few.apply(FEW)?;
        many.apply(MANY)?;
        let empty = Peer::classifier(&Code::default().set(R0, 0).exit(), None)?;
        let programs = [&open(&many)?, &open(few)?, empty.as_classifier()?];
        let packet = frame(0)?;
        for program in &programs[..2] {
            check(program, &packet, few)?;
        }
        let established = interleaved(&programs, [&packet, &packet, &packet], few)?;
        let [denied_few, denied_many] = [frame(DENIED[0])?, frame(DENIED[1])?];
        let denied = [&denied_many, &denied_few, &denied_few];
        for (program, denied) in programs.iter().zip(denied).take(2) {
            let refused = run_classifier(program, denied, few.lan, 1)?;
            ensure!(refused.action == SHOT, "a packet that no rule allows was not refused");
        }
        let refused = interleaved(&programs, denied, few)?;
        println!("# D9: many, few, empty: {established:.1?} ns; refused {refused:.1?} ns");
        let row = |goal: goals::Goal, times: &[f64]| {
            goal.measured(times[0] - times[2], times[1] - times[2])
        };
        Ok(vec![row(goals::SCALE, &established), row(goals::SCALE_REFUSED, &refused)])
    })
}

/// The pinned program.
fn open(loaded: &Loaded) -> Result<SchedClassifier> {
    SchedClassifier::from_pin(loaded.pin("programs", "lan_ingress")).context("open lan_ingress")
}

/// Fails unless every run of a frame was a translation of an established flow: redirected to the end,
/// one hop less each time, and the addresses changed and changed back.
fn check(program: &SchedClassifier, packet: &[u8], loaded: &Loaded) -> Result<()> {
    // The first two packets open the two flows.
    run_classifier(program, packet, loaded.lan, 2)?;
    let odd = run_classifier(program, packet, loaded.lan, REPEATS - 1)?;
    let even = run_classifier(program, packet, loaded.lan, REPEATS)?;
    ensure!(odd.action == REDIRECTED && even.action == REDIRECTED, "not forwarded: {even:?}");
    ensure!(u32::from(even.frame[22]) == 255 - REPEATS, "{} hops left", even.frame[22]);
    ensure!(even.frame[26..] == packet[26..], "two translations do not lead back");
    ensure!(odd.frame[26..30] != packet[26..30] && odd.frame[30..34] != packet[30..34]);
    Ok(())
}

/// Nanoseconds of one run of each program on its frame: the 10th percentile over interleaved rounds.
fn interleaved<const N: usize>(
    programs: &[&SchedClassifier; N],
    packets: [&Vec<u8>; N],
    loaded: &Loaded,
) -> Result<[f64; N]> {
    let mut rounds = [const { Vec::new() }; N];
    real_time(true);
    for _ in 0..ROUNDS {
        for ((program, packet), rounds) in programs.iter().zip(packets).zip(&mut rounds) {
            let mut sum = 0.0;
            for _ in 0..CALLS {
                let runs = run_classifier(program, packet, loaded.lan, REPEATS)?;
                sum += runs.each.as_nanos() as f64;
            }
            rounds.push(sum / CALLS as f64);
        }
    }
    real_time(false);
    Ok(rounds.map(|rounds| percentile(&rounds, 10)))
}

/// Lets nobody else have this thread's processor meanwhile, where that is permitted.
pub(super) fn real_time(on: bool) {
    let thread = nix::unistd::gettid().to_string();
    let words = if on { ["-f", "-p", "10", &thread] } else { ["-o", "-p", "0", &thread] };
    let done = Command::new("chrt").args(words).output();
    if !done.is_ok_and(|output| output.status.success()) {
        println!("# without SCHED_FIFO: chrt {} did not work", words.join(" "));
    }
}

/// An entry of the bare program's map: hardware addresses and interface.
fn ways_on(interface: u32) -> [u8; 16] {
    let mut value = [2; 16];
    value[12..].copy_from_slice(&interface.to_ne_bytes());
    value
}

const BARE_MAP: MapPlan = MapPlan { kind: 1, key: 4, value: 16, entries: 1024 };

/// Checks for an IPv4 header without options, looks the destination up, writes the hardware addresses
/// found and redirects to the interface found.
fn bare() -> Code {
    const UNSPECIFIED: i32 = -1;
    // `data` and `data_end` of `struct __sk_buff` (linux/bpf.h).
    const DATA: i16 = 76;
    const DATA_END: i16 = 80;
    Code::default()
        .load(Width::Word, R7, R1, DATA)
        .load(Width::Word, R8, R1, DATA_END)
        .copy(R2, R7)
        .add(R2, 34)
        .leave_if_greater(R2, R8)
        .load(Width::Half, R3, R7, 12)
        .leave_unless(R3, 0x0008)
        .load(Width::Octet, R3, R7, 14)
        .leave_unless(R3, 0x45)
        .load(Width::Word, R3, R7, 30)
        .store(Width::Word, FRAME, -4, R3)
        .map(R1)
        .copy(R2, FRAME)
        .add(R2, -4)
        .call(LOOKUP)
        .leave_if(R0, 0)
        .load(Width::Double, R6, R0, 0)
        .store(Width::Double, R7, 0, R6)
        .load(Width::Word, R6, R0, 8)
        .store(Width::Word, R7, 8, R6)
        .load(Width::Word, R1, R0, 12)
        .set(R2, 0)
        .call(REDIRECT)
        .exit()
        .end(UNSPECIFIED)
}
