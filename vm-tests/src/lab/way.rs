//! What hosts learn of the way to a service by ICMP: its hops by traceroute, and how large a packet it
//! carries. The demo and the tests use the same.

use std::net::Ipv4Addr;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::Lab;
use super::namespace::Namespace;
use super::plan::{AGENT_B, ECHO, ECHO_PORT, EDGE_A, FILES, FILES_PORT};

const BOUND: Duration = Duration::from_secs(60);
/// Octets of IP and ICMP header.
const HEADERS: u32 = 28;

/// Traces the way from edge A's client to a service of the cloud by UDP and TCP, and to one of edge B's by
/// ICMP: each gateway shows itself once, as the presence that the client sent to.
pub fn traceroutes(lab: &Lab) -> Result<String> {
    let client = &lab.site(&EDGE_A).client;
    let (echo, files) = (ECHO_PORT.to_string(), FILES_PORT.to_string());
    traceroute(client, &["-U", "-p", &echo], ECHO.address(), 3).context("by UDP")?;
    traceroute(client, &["-T", "-p", &files], FILES.address(), 3).context("by TCP")?;
    traceroute(client, &["-I"], AGENT_B.address(), 4).context("by ICMP, over the hub")?;
    Ok(format!(
        "from edge A to the cloud by UDP and TCP 3 hops, each {} or {}; to edge B by ICMP 4, each {}",
        ECHO.address(),
        FILES.address(),
        AGENT_B.address(),
    ))
}

/// Runs traceroute, which must find `address` at each of `hops` hops and stop there.
fn traceroute(from: &Namespace, how: &[&str], address: Ipv4Addr, hops: usize) -> Result<()> {
    let mut command = Command::new("traceroute");
    command.args(["-n", "-q", "1", "-w", "10", "-m", "8"]).args(how).arg(address.to_string());
    let output = from.output(&mut command, BOUND)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = text.lines().skip(1).collect();
    let is_there = |line: &&str| line.split_whitespace().nth(1) == Some(&address.to_string());
    ensure!(
        output.status.success() && lines.len() == hops && lines.iter().all(is_there),
        "{address} is not at each of {hops} hops: {text}{complaint}"
    );
    Ok(())
}

/// A packet of 1500 octets that must not be fragmented, from edge A's client to the cloud: its kernel is told
/// what fits, believes it, and from then on keeps to it.
pub fn path_mtu(lab: &Lab) -> Result<String> {
    let client = &lab.site(&EDGE_A).client;
    let to = FILES.address();
    let told = ping(client, 1500, to)?;
    let (_, rest) =
        told.split_once("mtu = ").with_context(|| format!("nothing was told: {told}"))?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    let mtu: u32 = digits.parse().with_context(|| format!("no MTU: {told}"))?;
    ensure!((1280..1500).contains(&mtu), "an MTU of {mtu}: {told}");
    ensure!(told.contains(&format!("From {to}")), "told by another than the presence: {told}");
    let route = client.ip(&format!("route get {to}"))?;
    ensure!(route.contains(&format!("mtu {mtu}")), "the client's kernel does not know: {route}");
    let fits = ping(client, mtu, to)?;
    ensure!(fits.contains(" 0% packet loss"), "{mtu} octets do not fit: {fits}");
    Ok(format!("1500 octets do not fit, says {to}: {mtu} do, and are answered"))
}

/// Sends one echo request of `length` octets that must not be fragmented, and says what ping printed.
fn ping(from: &Namespace, length: u32, to: Ipv4Addr) -> Result<String> {
    let mut ping = Command::new("ping");
    let payload = (length - HEADERS).to_string();
    ping.args(["-n", "-c", "1", "-W", "10", "-M", "do", "-s", &payload, &to.to_string()]);
    let output = from.output(&mut ping, BOUND)?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    Ok(format!("{}{complaint}", String::from_utf8_lossy(&output.stdout)))
}
