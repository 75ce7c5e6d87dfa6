//! The gateway host itself as a client and as a back end, and containers behind it, beside the hosts of
//! its LAN: on this host's kernel, and in guests. Nothing but the lab's own programs and `ip`.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use vm_tests::lab::gateway::Choices;
use vm_tests::lab::name::LabName;
use vm_tests::lab::namespace::Namespace;
use vm_tests::lab::plan::{CLOUD, ECHO, ECHO_PORT, EDGE_A, FILES, FILES_PORT, GATEWAY, SitePlan};
use vm_tests::lab::traffic::{self, Conversation};
use vm_tests::lab::wait::wait_for;
use vm_tests::lab::{Lab, binaries, scenario};

const BOUND: Duration = Duration::from_secs(15);
const REFUSAL_BOUND: Duration = Duration::from_secs(2);
const CONTAINER: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 2);
/// Presences at the cloud: of the gateway host's service, and of the container's.
const HOSTED: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 220), ECHO_PORT);
const BOXED: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 221), ECHO_PORT);

const NETWORKS: &str = "networks = [\"10.0.0.0/24\"]";

/// What both sites know of each other: edge A's host and container are clients and back ends.
fn rules_and_services(site: &SitePlan) -> String {
    let end = |backend: Ipv4Addr, presence: &Ipv4Addr| match site == &EDGE_A {
        true => format!("backend = \"{backend}\""),
        false => format!("presence = \"{presence}\""),
    };
    let services = [("hosted", 7, GATEWAY, HOSTED), ("boxed", 8, CONTAINER, BOXED)];
    let mut text = String::new();
    for (name, number, backend, presence) in services {
        text += &format!(
            "[[service]]\nname = \"{name}\"\nsite = \"edge-a\"\nnumber = {number}\n\
             ports = [\"tcp/7007\", \"udp/7007\"]\n{}\n\
             [[allow]]\nid = \"cloud-{name}\"\nfrom = \"cloud\"\nclients = [\"10.0.0.5/32\"]\n\
             to = \"{name}.edge-a\"\n\
             [[allow]]\nid = \"{name}-echo\"\nfrom = \"edge-a\"\nclients = [\"{backend}/32\"]\n\
             to = \"echo.cloud\"\n",
            end(backend, presence.ip()),
        );
    }
    text
}

fn edit(lab: &mut Lab, site: &'static SitePlan, change: impl Fn(String) -> String) -> Result<()> {
    let file = lab.gateway(site).site_file();
    Ok(fs::write(&file, change(fs::read_to_string(&file)?))?)
}

/// A container behind a bridge of the gateway host, as container engines make them.
fn make_container(lab: &Lab) -> Result<Namespace> {
    let host = lab.site(&EDGE_A).gateway.namespace();
    let container = Namespace::create(&lab.name().namespace("edge-a-box"))?;
    host.ip("link add box0 type bridge")?;
    host.ip("address add 172.17.0.1/24 dev box0")?;
    host.ip("link set box0 up")?;
    host.ip(&format!("link add port0 type veth peer name eth0 netns {}", container.name()))?;
    host.ip("link set port0 master box0 up")?;
    container.ip(&format!("address add {CONTAINER}/24 dev eth0"))?;
    container.ip("link set eth0 up")?;
    container.ip("route add default via 172.17.0.1")?;
    host.run(|| fs::write("/proc/sys/net/ipv4/ip_forward", "1"))??;
    Ok(container)
}

fn serve(lab: &mut Lab, place: &Namespace, name: &str, address: Ipv4Addr) -> Result<()> {
    let mut command = Command::new(binaries::locate("traffic")?);
    command.args(["serve", name, &address.to_string()]);
    let log = lab.directory(&format!("traffic-{name}.log"));
    let server = place.spawn(name, &mut command, &log)?;
    lab.adopt(server);
    wait_for(format!("{name} to listen"), BOUND, || {
        place.run(|| traffic::connect(SocketAddrV4::new(address, ECHO_PORT)).is_ok())
    })
}

/// Runs `steps` in a lab whose edge A has its gateway host and a container taking part.
fn with_host(steps: impl FnOnce(&mut Lab, &Namespace) -> Result<()>) -> Result<()> {
    Lab::network(LabName::unique(), Choices::default())?.during(|lab| {
        let container = make_container(lab)?;
        edit(lab, &EDGE_A, |text| {
            text + "\n[host]\nnetworks = [\"172.17.0.0/24\"]\n" + &rules_and_services(&EDGE_A)
        })?;
        edit(lab, &CLOUD, |text| {
            let edge_a = format!("transit = \"{}\"\nclient_{NETWORKS}", EDGE_A.transit);
            let all = edge_a.replace("/24\"]", "/24\", \"172.17.0.0/24\"]");
            text.replace(&edge_a, &all) + &rules_and_services(&CLOUD)
        })?;
        lab.start_gateways()?;
        lab.start_servers()?;
        let host = lab.site(&EDGE_A).gateway.namespace().clone();
        serve(lab, &host, "hosted", GATEWAY)?;
        serve(lab, &container, "boxed", CONTAINER)?;
        steps(lab, &container)
    })
}

fn use_echo(place: &Namespace, server: SocketAddrV4, name: &str) -> Result<Conversation> {
    let answer = place.run(|| traffic::ask(server, "hello", BOUND))??;
    ensure!(answer.starts_with(&format!("{name} 10.0.0.250:")), "UDP answer {answer:?}");
    let mut conversation = place.run(|| Conversation::open(server))??;
    let greeting = conversation.greeting().to_owned();
    ensure!(greeting.starts_with(&format!("{name} 10.0.0.250:")), "greeting {greeting:?}");
    conversation.say("hello", BOUND)?;
    Ok(conversation)
}

fn refusals(lab: &Lab, reason: &str) -> Result<u64> {
    lab.site(&EDGE_A).gateway.refused(reason)
}

#[test]
fn host_container_and_lan_use_and_serve_at_once() -> Result<()> {
    with_host(|lab, container| {
        let site = lab.site(&EDGE_A);
        let host = site.gateway.namespace();
        let echo = ECHO.at(ECHO_PORT);
        let client = &lab.site(&CLOUD).client;
        let mut open = vec![
            use_echo(host, echo, "cloud").context("the gateway host as a client")?,
            use_echo(container, echo, "cloud").context("the container as a client")?,
            use_echo(&site.client, echo, "cloud").context("a host of the LAN as a client")?,
            use_echo(client, HOSTED, "hosted").context("the gateway host as a back end")?,
            use_echo(client, BOXED, "boxed").context("the container as a back end")?,
        ];
        for round in 0..3 {
            for conversation in &mut open {
                conversation.say(&format!("round {round}"), BOUND)?;
            }
        }
        Ok(())
    })
}

#[test]
fn the_host_is_under_the_same_policy_and_cannot_be_impersonated() -> Result<()> {
    with_host(|lab, container| {
        let site = lab.site(&EDGE_A);
        let host = site.gateway.namespace();
        for place in [host, container] {
            let before = refusals(lab, "no-policy")?;
            let files = FILES.at(FILES_PORT);
            let connected = place.run(|| traffic::connect_within(files, REFUSAL_BOUND))?;
            ensure!(connected.is_err(), "{} reached {files}", place.name());
            ensure!(refusals(lab, "no-policy")? > before, "not refused by policy");
        }
        let before = refusals(lab, "wrong-interface")?;
        site.visitor.ip(&format!("address add {GATEWAY}/32 dev lan0"))?;
        site.visitor.run(|| -> Result<()> {
            let socket = UdpSocket::bind((GATEWAY, 0))?;
            socket.send_to(b"hello", ECHO.at(ECHO_PORT))?;
            Ok(())
        })??;
        wait_for("the impostor to be refused", BOUND, || {
            Ok(refusals(lab, "wrong-interface")? > before)
        })
    })
}

#[test]
fn the_hosts_own_way_in_is_made_again_and_goes_with_the_data_path() -> Result<()> {
    with_host(|lab, _| {
        let host = lab.site(&EDGE_A).gateway.namespace().clone();
        let echo = ECHO.at(ECHO_PORT);
        for damage in ["link del presence0", "route del 10.0.0.192/26", "link set presence0 down"] {
            host.ip(damage)?;
            wait_for(format!("the host to be back after {damage}"), BOUND, || {
                host.run(|| traffic::ask(echo, "hello", REFUSAL_BOUND).is_ok())
            })?;
        }
        // Without the table the host takes no part, and nothing of it is left.
        edit(lab, &EDGE_A, |text| {
            text.replace("[host]\nnetworks = [\"172.17.0.0/24\"]\n", "")
                .replace("backend = \"172.17.0.2\"", "backend = \"10.0.0.9\"")
                .replace("172.17.0.2/32", "10.0.0.9/32")
        })?;
        let logged = lab.gateway(&EDGE_A).reload()?;
        ensure!(!logged.contains("reload failed"), "{logged}");
        ensure!(!host.ip("link show")?.contains("presence0"), "presence0 is left");
        edit(lab, &EDGE_A, |text| text + "\n[host]\n")?;
        lab.gateway(&EDGE_A).reload()?;
        host.run(|| traffic::ask(echo, "hello", BOUND))??;
        lab.gateway(&EDGE_A).kill()?;
        host.run(|| traffic::ask(echo, "hello", BOUND))?.context("with no gatewayd alive")?;
        let detached = lab.gateway(&EDGE_A).ctl_output("detach --yes")?;
        ensure!(detached.status.success(), "{}", String::from_utf8_lossy(&detached.stderr));
        ensure!(!host.ip("link show")?.contains("presence0"), "presence0 is left");
        ensure!(!host.ip("route show")?.contains("10.0.0.192/26"), "the route is left");
        Ok(())
    })
}

/// What the demo shows, on a lab as it is without this test.
#[test]
fn the_host_becomes_a_client_while_traffic_goes_on() -> Result<()> {
    let lab = Lab::up(LabName::unique(), Choices::default())?;
    lab.during(scenario::gateway_host_calls_cloud).map(drop)
}
