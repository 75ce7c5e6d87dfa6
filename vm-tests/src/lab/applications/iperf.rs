//! iperf3 with data both ways at once. What it is asked is what came, never how fast.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{Application, client};
use crate::lab::Lab;
use crate::lab::namespace::Namespace;
use crate::lab::plan::{CLOUD, SERVER};
use crate::lab::process::Process;
use crate::lab::wait::wait_unless_failed;

/// The cloud's iperf3 server.
pub const IPERF: Application = Application {
    name: "iperf",
    number: 104,
    ports: &["tcp/5201", "udp/5201"],
    presence: std::net::Ipv4Addr::new(10, 0, 0, 243),
};

const SECONDS: &str = "4";
const BOUND: Duration = Duration::from_secs(60);
/// What the end of a stream and its key are called for either direction.
const WAYS: [[&str; 2]; 2] =
    [["sum_received", "sum"], ["sum_received_bidir_reverse", "sum_bidir_reverse"]];

/// Octets that arrived: sent by the client, sent by the server.
pub type BothWays = [u64; 2];

/// Starts it on the cloud's server host, for one exchange. That it listens is known by its word: a
/// connection that only looks is an exchange that failed, after which it makes its listening socket anew and
/// whoever connects meanwhile is reset.
fn serve(lab: &Lab, transport: &str) -> Result<Process> {
    let host = &lab.site(&CLOUD).server;
    let mut server = Command::new("iperf3");
    server.args(["--server", "--one-off", "--forceflush", "--bind", &SERVER.to_string()]);
    let log = lab.directory(&format!("iperf3-{transport}.log"));
    let mut process = host.spawn("iperf3", &mut server, &log)?;
    wait_unless_failed("iperf3 to listen", BOUND, || {
        ensure!(process.ended()?.is_none(), "it ended:\n{}", process.log_tail(25));
        Ok(process.log().contains("Server listening on"))
    })?;
    Ok(process)
}

/// Over two TCP connections for each way.
pub fn tcp(lab: &Lab, from: &Namespace) -> Result<BothWays> {
    let told = exchange(lab, from, "tcp", &["--parallel", "2"])?;
    must_overlap(&told)?;
    let arrived = WAYS.map(|[end, _]| told["end"][end]["bytes"].as_u64());
    both(arrived, &told)
}

/// Datagrams of 1,200 octets at a steady, moderate rate: how many octets arrived.
pub fn udp(lab: &Lab, from: &Namespace) -> Result<BothWays> {
    let told = exchange(lab, from, "udp", &["--udp", "--length", "1200", "--bitrate", "10M"])?;
    must_overlap(&told)?;
    let arrived = WAYS.map(|[end, _]| {
        let sum = &told["end"][end];
        let (sent, lost) = (sum["packets"].as_u64()?, sum["lost_packets"].as_u64()?);
        Some(sent.saturating_sub(lost) * 1200)
    });
    both(arrived, &told)
}

fn exchange(lab: &Lab, from: &Namespace, transport: &str, options: &[&str]) -> Result<Value> {
    let _server = serve(lab, transport)?;
    let mut iperf = Command::new("iperf3");
    iperf.args(["--client", &IPERF.address().to_string(), "--bidir", "--json"]);
    iperf.args(["--time", SECONDS, "--connect-timeout", "10000"]).args(options);
    let told: Value = serde_json::from_str(&client(from, &mut iperf, BOUND)?)
        .context("iperf3 does not answer with JSON")?;
    ensure!(told["error"].is_null(), "iperf3: {}", told["error"]);
    Ok(told)
}

/// Some interval carried data both ways.
fn must_overlap(told: &Value) -> Result<()> {
    let intervals = told["intervals"].as_array().context("iperf3 tells of no intervals")?;
    let both = |it: &&Value| WAYS.iter().all(|[_, sum]| it[sum]["bytes"].as_u64() > Some(0));
    ensure!(intervals.iter().filter(both).count() > 0, "never both ways at once: {told}");
    Ok(())
}

fn both(arrived: [Option<u64>; 2], told: &Value) -> Result<BothWays> {
    let [Some(there), Some(back)] = arrived else {
        anyhow::bail!("iperf3 does not tell what arrived: {}", told["end"]);
    };
    Ok([there, back])
}
