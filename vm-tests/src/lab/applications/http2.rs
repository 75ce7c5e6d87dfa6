//! HTTP/2 in clear with prior knowledge: nghttp2's server, its clients, and curl.

use std::net::SocketAddrV4;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{Application, client, curl, must_hold_body, wait_until_it_listens, write_body};
use crate::lab::Lab;
use crate::lab::namespace::Namespace;
use crate::lab::plan::{CLOUD, SERVER};
use crate::lab::process::Process;
use crate::lab::sweep::make_private;

/// The cloud's HTTP/2 server.
pub const HTTP2: Application = Application {
    name: "http2",
    number: 103,
    ports: &["tcp/8443"],
    presence: std::net::Ipv4Addr::new(10, 0, 0, 242),
};
/// Its port.
pub const PORT: u16 = 8443;
/// The length of the file it serves as `/body`.
pub const BODY: u64 = 400_000;

const BOUND: Duration = Duration::from_secs(60);

/// Starts it on the cloud's server host.
pub fn start(lab: &Lab) -> Result<Process> {
    let (host, directory) = (&lab.site(&CLOUD).server, lab.directory("http2"));
    make_private(&directory)?;
    write_body(&directory.join("body"), BODY)?;
    let mut server = Command::new("nghttpd");
    server.args(["--no-tls", "--address", &SERVER.to_string(), "--htdocs"]).arg(&directory);
    server.arg(PORT.to_string());
    let mut process = host.spawn("nghttpd", &mut server, &lab.directory("nghttpd.log"))?;
    wait_until_it_listens(host, &mut process, SocketAddrV4::new(SERVER, PORT))?;
    Ok(process)
}

/// Fetches the file with curl, and gives the protocol that curl says was spoken.
pub fn fetch(lab: &Lab, from: &Namespace) -> Result<String> {
    let got = lab.directory("http2.got");
    let mut curl = curl();
    curl.args(["--http2-prior-knowledge", "--max-time", "30"]);
    curl.args(["--write-out", "%{http_version}", "--output"]).arg(&got).arg(url());
    let version = client(from, &mut curl, BOUND)?;
    must_hold_body(&got, BODY)?;
    Ok(version)
}

/// Asks for the file on several streams of one connection, and gives how often the answers' data
/// changed from one stream to another. One after another they would change less often than there are
/// streams.
pub fn interleavings(from: &Namespace, streams: usize) -> Result<usize> {
    let mut nghttp = Command::new("nghttp");
    nghttp.args(["--verbose", "--null-out", "--no-dep", "--timeout=30"]);
    nghttp.arg("--multiply").arg(streams.to_string()).arg(url());
    let heard = client(from, &mut nghttp, BOUND)?;
    let (mut order, mut octets) = (Vec::new(), 0);
    for line in heard.lines().filter(|line| line.contains(" recv DATA frame ")) {
        octets += field(line, "length=")?;
        order.push(field(line, "stream_id=")?);
    }
    ensure!(octets == BODY * streams as u64, "{octets} octets on {streams} streams of {BODY} each");
    Ok(order.windows(2).filter(|pair| pair[0] != pair[1]).count())
}

/// Fetches the file `requests` times over `connections` with `streams` each, and fails unless each came
/// whole.
pub fn load(from: &Namespace, requests: u64, connections: u64, streams: u64) -> Result<()> {
    let mut h2load = Command::new("h2load");
    for (option, number) in [("-n", requests), ("-c", connections), ("-m", streams)] {
        h2load.args([option, &number.to_string()]);
    }
    let report = client(from, h2load.args(["-N", "30s"]).arg(url()), BOUND)?;
    for line in [
        "Application protocol: h2c".to_owned(),
        format!("{requests} succeeded, 0 failed, 0 errored, 0 timeout"),
        format!("({}) data", requests * BODY),
    ] {
        ensure!(report.contains(&line), "h2load does not say {line:?}: {report}");
    }
    Ok(())
}

fn url() -> String {
    format!("http://{}/body", HTTP2.at(PORT))
}

/// The number after `name` in one of nghttp's descriptions of a frame.
fn field(line: &str, name: &str) -> Result<u64> {
    let (_, rest) = line.split_once(name).with_context(|| format!("no {name} in {line:?}"))?;
    let digits = rest.split(|it: char| !it.is_ascii_digit()).next().unwrap_or_default();
    digits.parse().with_context(|| format!("{name} in {line:?}"))
}
