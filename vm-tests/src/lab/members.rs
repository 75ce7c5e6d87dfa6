//! What gateways that have joined show: that they go on without the controller, that they reach it by TCP where UDP is
//! blocked, that who is revoked is out at once, and that a copied disk is noticed. Each gives a line saying what was
//! seen.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::plan::{CLOUD, CONTROLLER_PORT, EDGE_A, EDGE_B, FILES, FILES_PORT, SEALED, SitePlan};
use super::scenario::{edge_calls_edge, edges_call_cloud};
use super::traffic::Download;
use super::wait::wait_for;
use super::{Lab, sweep};

/// Bound on a gateway's having found a controller again, by whichever way.
const FOUND_BOUND: Duration = Duration::from_secs(60);
/// How long a connection may carry nothing before it counts as stopped.
const STOPPED: Duration = Duration::from_secs(3);
/// The goal for a revoked gateway's last octet.
const OUT_WITHIN: Duration = Duration::from_secs(1);
/// More than could be carried while it is looked.
const ENDLESS: u64 = 1 << 40;
const STEP: u64 = 64 << 10;

/// The controller is killed; a gateway that is started from nothing meanwhile comes into full service with what it kept.
pub fn edge_starts_without_the_controller(lab: &mut Lab) -> Result<String> {
    lab.gateway(&CLOUD).kill()?;
    edges_call_cloud(lab).context("without a controller")?;
    let edge = lab.gateway(&EDGE_A);
    edge.kill()?;
    let detached = edge.ctl_output("detach")?;
    ensure!(detached.status.success(), "{}", String::from_utf8_lossy(&detached.stderr));
    ensure!(edges_call_cloud(lab).is_err(), "a detached gateway still carries packets");
    let begun = Instant::now();
    lab.gateway(&EDGE_A).start()?;
    wait_for("edge A to reach the others again", FOUND_BOUND, || Ok(edge_calls_edge(lab).is_ok()))?;
    let took = begun.elapsed();
    edges_call_cloud(lab).context("after a start without a controller")?;
    lab.gateway(&CLOUD).start()?;
    lab.wait_told()?;
    Ok(format!(
        "the controller was killed, edge A's data path removed and its gatewayd started: it reached edge B \
         {:.1} s later; the controller is back and has all of them",
        took.as_secs_f64()
    ))
}

/// UDP to the controller is blocked: the session comes back over TCP, and changes still arrive.
pub fn session_comes_back_over_tcp(lab: &mut Lab) -> Result<String> {
    let blocked = format!("pref 1 ipproto udp dport {CONTROLLER_PORT}");
    let before = lab.gateway(&EDGE_A).log().len();
    lab.gateway(&EDGE_A).namespace().ip(&format!("rule add {blocked} blackhole"))?;
    let begun = Instant::now();
    let found = wait_for("edge A's session over TCP", FOUND_BOUND, || {
        let log = lab.gateway(&EDGE_A).log();
        Ok(log[before..]
            .lines()
            .any(|line| line.contains("a controller answers") && line.contains("TLS over TCP")))
    });
    let took = begun.elapsed();
    let unblocked = lab.gateway(&EDGE_A).namespace().ip(&format!("rule del {blocked} blackhole"));
    found.and(unblocked.map(drop)).with_context(|| lab.gateway(&EDGE_A).log_tail())?;
    lab.wait_told()?;
    Ok(format!(
        "UDP port {CONTROLLER_PORT} was blocked; {:.1} s later the session was there over TCP",
        took.as_secs_f64()
    ))
}

/// Edge B is revoked in the middle of a download; it stops, and the gateway is not let in again. With a new token
/// the same host is another gateway of its site.
pub fn revoked_in_a_download(lab: &mut Lab) -> Result<String> {
    let operator = lab.operator()?.clone();
    let client = lab.site(&EDGE_B).client.clone();
    let path = format!("/bytes/{ENDLESS}");
    let mut download = client.run(|| Download::open(FILES.at(FILES_PORT), &path))??;
    download.stop_after(STOPPED)?;
    download.read_to(STEP * 16).context("before anybody is revoked")?;
    let reading = thread::spawn(move || {
        let (mut last, mut received) = (Instant::now(), 0);
        while let Ok(now) = download.read_to(received + STEP) {
            (last, received) = (Instant::now(), now);
        }
        (last, received)
    });
    let begun = Instant::now();
    operator.run(&["gateway", "revoke", "edge-b-gw1"])?;
    let (last, received) =
        reading.join().map_err(|_| anyhow::anyhow!("the download's thread panicked"))?;
    let took = last.saturating_duration_since(begun);
    ensure!(
        took <= OUT_WITHIN,
        "the last octet came {:.1} s after the revocation",
        took.as_secs_f64()
    );
    let before = lab.gateway(&EDGE_B).log().len();
    lab.gateway(&EDGE_B).kill()?;
    lab.gateway(&EDGE_B).launch()?;
    wait_for("edge B to be told that it was revoked", FOUND_BOUND, || {
        Ok(lab.gateway(&EDGE_B).log()[before..].contains("this gateway was revoked"))
    })
    .with_context(|| lab.gateway(&EDGE_B).log_tail())?;
    rejoin(lab, &EDGE_B, "edge-b-gw2")?;
    edges_call_cloud(lab).context("by the gateway that joined anew")?;
    Ok(format!(
        "the last octet came {:.2} s after `gatewayctl gateway revoke edge-b-gw1`, {received} octets in; its \
         gatewayd was started again and is told that it was revoked; with a new token the host is edge-b-gw2",
        took.as_secs_f64()
    ))
}

/// Edge A's disk is copied, the copy runs, and the original comes back: neither is believed any more.
pub fn a_copied_disk_locks_both(lab: &mut Lab) -> Result<String> {
    let gateway = lab.gateway(&EDGE_A);
    gateway.end()?;
    let (original, copy) = (gateway.sealed(), gateway.sealed().with_file_name("copied"));
    sweep::make_private(&copy)?;
    for entry in fs::read_dir(&original)? {
        let entry = entry?;
        fs::copy(entry.path(), copy.join(entry.file_name()))?;
    }
    let file = gateway.site_file().with_file_name("copied.toml");
    let text = fs::read_to_string(gateway.site_file())?;
    let (before, after) = (format!("\"{SEALED}\""), "\"copied\"");
    ensure!(text.contains(&before), "the file does not say where sealed files are");
    fs::write(&file, text.replace(&before, after))?;

    let certified = gateway.log().len();
    gateway.launch_with(&file)?;
    wait_for("the copy to have renewed its certificate", FOUND_BOUND, || {
        Ok(lab.gateway(&EDGE_A).log()[certified..].contains("has its next certificate"))
    })
    .with_context(|| lab.gateway(&EDGE_A).log_tail())?;
    let mut said = Vec::new();
    for is_copy in [false, true] {
        let gateway = lab.gateway(&EDGE_A);
        gateway.end()?;
        let before = gateway.log().len();
        if is_copy {
            gateway.launch_with(&file)?;
        } else {
            gateway.launch()?;
        }
        wait_for("it to be locked out", FOUND_BOUND, || {
            Ok(lab.gateway(&EDGE_A).log()[before..].contains("this gateway was revoked"))
        })
        .with_context(|| lab.gateway(&EDGE_A).log_tail())?;
        said.push(lab.gateway(&EDGE_A).log()[before..].to_owned());
    }
    ensure!(said[0].contains("two hosts have the keys of gateway edge-a-gw1"), "{}", said[0]);
    rejoin(lab, &EDGE_A, "edge-a-gw2")?;
    edge_calls_edge(lab).context("by the gateway that joined anew")?;
    Ok("the copy had renewed its certificate when the original came back: both are locked out, and told why; with a \
        new token the host is edge-a-gw2"
        .to_owned())
}

/// A site's host joins with a new token, as the gateway of this name.
fn rejoin(lab: &mut Lab, site: &'static SitePlan, name: &str) -> Result<()> {
    let operator = lab.operator()?.clone();
    let gateway = lab.gateway(site);
    gateway.kill()?;
    fs::remove_dir_all(gateway.sealed()).context("remove the sealed files")?;
    let token = operator.run(&["token", "create", "--site", site.name])?;
    let joined = gateway.join(&token)?;
    ensure!(joined.contains(name), "{joined}");
    let again = gateway.join(&token);
    ensure!(again.is_err(), "it joined twice");
    gateway.start()?;
    lab.wait_told()?;
    lab.site(site).gateway.wait_for_handshakes(FOUND_BOUND)
}
