//! Links that change under traffic, with whole gateways: keys rotated, the underlay's addresses and
//! sizes changed, one of two underlays cut. On the host with the embedded WireGuard, in guests with
//! the kernel's.
#![forbid(unsafe_code)]

mod link_stream;

use std::fs::{self, Permissions};
use std::net::{Ipv4Addr, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use link_stream::Stream;
use serde_json::Value;
use vm_tests::lab::Lab;
use vm_tests::lab::gateway::Choices;
use vm_tests::lab::name::LabName;
use vm_tests::lab::plan::{
    AGENT_B, CLIENT_PRESENCE, CLOUD, ECHO, ECHO_PORT, EDGE_A, EDGE_B, FILES, FILES_PORT, SitePlan,
};
use vm_tests::lab::traffic::{Body, Conversation, Download};
use vm_tests::lab::wait::{wait_for, wait_until};
use wireguard_control::Key;

/// Bound on what takes a handshake, a probe or a second look.
const BOUND: Duration = Duration::from_secs(60);

fn in_a_lab(steps: impl FnOnce(&mut Lab) -> Result<()>) -> Result<()> {
    Lab::network(LabName::unique(), Choices::default())?.during(|lab| {
        lab.start_servers()?;
        steps(lab)
    })
}

/// Changes a gateway's site file.
fn write(lab: &mut Lab, site: &SitePlan, edits: &[(&str, &str)]) -> Result<()> {
    let path = lab.gateway(site).site_file();
    let mut text = fs::read_to_string(&path)?;
    for (from, to) in edits {
        ensure!(text.contains(from), "{from:?} is not in\n{text}");
        text = text.replace(from, to);
    }
    Ok(fs::write(&path, text)?)
}

/// Changes a gateway's site file and has it read again.
fn edit(lab: &mut Lab, site: &SitePlan, edits: &[(&str, &str)]) -> Result<()> {
    write(lab, site, edits)?;
    let logged = lab.gateway(site).reload()?;
    ensure!(!logged.contains("reload failed"), "{}: {logged}", site.name);
    Ok(())
}

/// Puts a new key beside a gateway's site file, as `FILE`; its public half.
fn new_key(lab: &mut Lab, site: &SitePlan, file: &str) -> Result<String> {
    let key = Key::generate_private();
    let path = lab.gateway(site).site_file().with_file_name(file);
    fs::write(&path, key.to_base64())?;
    fs::set_permissions(&path, Permissions::from_mode(0o600))?;
    Ok(key.get_public().to_base64())
}

fn links(lab: &Lab, site: &SitePlan) -> Result<Vec<Value>> {
    let answer = lab.site(site).gateway.ctl("link list")?;
    answer.as_array().cloned().context("link list gives a list")
}

/// The row of `link list` by which `peer` is sent to.
fn sending(lab: &Lab, site: &SitePlan, peer: &SitePlan) -> Result<Value> {
    let rows = links(lab, site)?;
    let row = rows.iter().find(|row| row["site"] == peer.name && row["sends"] == true);
    row.cloned().with_context(|| format!("nothing is sent to {}: {rows:?}", peer.name))
}

fn wait_for_sending(
    lab: &Lab,
    (site, peer): (&SitePlan, &SitePlan),
    what: &str,
    is_right: impl Fn(&Value) -> bool,
) -> Result<Value> {
    wait_until(format!("{} to reach {} {what}", site.name, peer.name), BOUND, || {
        let row = sending(lab, site, peer)?;
        ensure!(is_right(&row), "{row}");
        Ok(Some(row))
    })
}

fn index(lab: &Lab, site: &SitePlan, interface: &Value) -> Result<String> {
    let name = interface.as_str().context("an interface has a name")?;
    let line = lab.site(site).gateway.namespace().ip(&format!("-o link show dev {name}"))?;
    Ok(line.split(':').next().unwrap_or_default().to_owned())
}

/// Waits until nothing of a gateway's is accepted by keys that were replaced; the rows then.
fn wait_until_replaced_keys_are_gone(lab: &Lab, site: &SitePlan) -> Result<Vec<Value>> {
    let what = format!("the replaced keys of {} to go", site.name);
    let rows = wait_until(what, BOUND, || {
        let rows = links(lab, site)?;
        let told = |row: &Value| row["rotation"].as_str().unwrap_or_default().to_owned();
        ensure!(!rows.iter().any(|row| told(row).starts_with("replaced")), "{rows:?}");
        Ok(Some(rows))
    })?;
    // Never before the daemon saw that they carry nothing.
    let log = lab.site(site).gateway.log();
    ensure!(log.contains("nothing comes by the replaced keys any more"), "{log}");
    Ok(rows)
}

/// The hub's key and an edge's change in one go, the other edge's does not, and then both old keys go.
#[test]
fn keys_are_rotated_at_both_ends_without_losing_a_packet() -> Result<()> {
    in_a_lab(|lab| {
        lab.start_gateways()?;
        let streams = [
            Stream::start(&lab.site(&EDGE_A).client, ECHO.at(ECHO_PORT))?,
            Stream::start(&lab.site(&EDGE_B).client, ECHO.at(ECHO_PORT))?,
            // By way of the hub.
            Stream::start(&lab.site(&EDGE_A).client, AGENT_B.at(ECHO_PORT))?,
        ];
        streams.iter().try_for_each(Stream::go_on)?;
        let mut download = lab
            .site(&EDGE_A)
            .client
            .run(|| Download::open(FILES.at(FILES_PORT), "/bytes/4000000"))??;
        download.read_to(1_000_000)?;

        let old_hub = lab.gateway(&CLOUD).public_key();
        let old_edge = lab.gateway(&EDGE_A).public_key();
        let new_hub = new_key(lab, &CLOUD, "new.key")?;
        let new_edge = new_key(lab, &EDGE_A, "new.key")?;
        let key_line = |key: &str| format!("public_key = \"{key}\"");
        let with_next = |key: &str, next: &str| format!("{}\nnext = {{ {next} }}", key_line(key));
        let edge_next = with_next(&old_edge, &format!("public_key = \"{new_edge}\""));
        edit(
            lab,
            &CLOUD,
            &[
                (
                    "[link]",
                    "[link]\nnext = { private_key_file = \"new.key\", listen_port = 51821 }",
                ),
                (&key_line(&old_edge), &edge_next),
            ],
        )?;
        let next = format!("public_key = \"{new_hub}\", endpoint = \"192.0.2.1:51821\"");
        let hub_next = with_next(&old_hub, &next);
        edit(lab, &EDGE_B, &[(&key_line(&old_hub), &hub_next)])?;
        edit(
            lab,
            &EDGE_A,
            &[
                ("[link]", "[link]\nnext = { private_key_file = \"new.key\" }"),
                (&key_line(&old_hub), &hub_next),
            ],
        )?;
        let old_b = lab.gateway(&EDGE_B).public_key();
        for (site, peer, key) in [
            (&CLOUD, &EDGE_A, &new_edge),
            (&CLOUD, &EDGE_B, &old_b),
            (&EDGE_A, &CLOUD, &new_hub),
            (&EDGE_B, &CLOUD, &new_hub),
        ] {
            wait_for_sending(lab, (site, peer), "by its next key", |row| {
                row["public_key"] == **key && row["state"] == "up" && row["rotation"] != Value::Null
            })?;
        }
        // A daemon that starts in the middle of it goes on with it.
        lab.gateway(&CLOUD).kill()?;
        streams.iter().try_for_each(Stream::go_on)?;
        lab.gateway(&CLOUD).start()?;
        let row = sending(lab, &CLOUD, &EDGE_A)?;
        ensure!(row["public_key"] == *new_edge, "{row}");
        streams.iter().try_for_each(Stream::go_on)?;
        let used = [&CLOUD, &EDGE_A, &EDGE_B].map(|site| {
            let peer = if *site == CLOUD { &EDGE_A } else { &CLOUD };
            let interface = sending(lab, site, peer)?["interface"].clone();
            let index = index(lab, site, &interface)?;
            anyhow::Ok((site, peer, interface, index))
        });

        let promoted = format!("{}\n", key_line(&new_hub));
        let at_new_port = ("endpoint = \"192.0.2.1:51820\"", "endpoint = \"192.0.2.1:51821\"");
        let hub_next = format!("{hub_next}\n");
        edit(lab, &EDGE_B, &[(&hub_next, &promoted), at_new_port])?;
        edit(
            lab,
            &EDGE_A,
            &[
                (&hub_next, &promoted),
                at_new_port,
                ("next = { private_key_file = \"new.key\" }\n", ""),
                ("private_key_file = \"link.key\"", "private_key_file = \"new.key\""),
            ],
        )?;
        edit(
            lab,
            &CLOUD,
            &[
                ("next = { private_key_file = \"new.key\", listen_port = 51821 }\n", ""),
                ("private_key_file = \"link.key\"", "private_key_file = \"new.key\""),
                ("listen_port = 51820", "listen_port = 51821"),
                (&edge_next, &key_line(&new_edge)),
            ],
        )?;
        streams.iter().try_for_each(Stream::go_on)?;
        for used in used {
            let (site, peer, interface, before) = used?;
            let rows = wait_until_replaced_keys_are_gone(lab, site)?;
            let devices = rows.iter().all(|row| row["interface"] == interface);
            ensure!(devices, "the old device of {} is still there: {rows:?}", site.name);
            let row = sending(lab, site, peer)?;
            ensure!(row["rotation"] == Value::Null, "{row}");
            let after = index(lab, site, &interface)?;
            ensure!(before == after, "the device was made anew: {before}, {after}");
            let status = lab.site(site).gateway.ctl("status")?;
            ensure!(status["problems"] == Value::Array(Vec::new()), "{status}");
        }
        download.finish()?;
        streams.into_iter().try_for_each(Stream::must_be_whole)
    })
}

/// A hub whose key does not change has two ports for good, and an edge rotates its own key from one to
/// the other and back, as often as it likes.
#[test]
fn an_edge_rotates_its_key_to_and_fro_between_two_ports_of_the_hub() -> Result<()> {
    in_a_lab(|lab| {
        lab.start_gateways()?;
        edit(lab, &CLOUD, &[("[link]", "[link]\nnext = { listen_port = 51821 }")])?;
        let stream = Stream::start(&lab.site(&EDGE_A).client, ECHO.at(ECHO_PORT))?;
        stream.go_on()?;
        let hub = format!("public_key = \"{}\"\n", lab.gateway(&CLOUD).public_key());
        let mut old = (lab.gateway(&EDGE_A).public_key(), "link.key".to_owned(), 51_820);
        for round in 0..2 {
            let file = format!("round-{round}.key");
            let port = if old.2 == 51_820 { 51_821 } else { 51_820 };
            let new = (new_key(lab, &EDGE_A, &file)?, file, port);
            let old_line = format!("public_key = \"{}\"", old.0);
            let at_hub = format!("{old_line}\nnext = {{ public_key = \"{}\" }}", new.0);
            edit(lab, &CLOUD, &[(&old_line, &at_hub)])?;
            let own = format!("[link]\nnext = {{ private_key_file = \"{}\" }}", new.1);
            let way = format!("{hub}next = {{ endpoint = \"192.0.2.1:{}\" }}\n", new.2);
            edit(lab, &EDGE_A, &[("[link]", &own), (&hub, &way)])?;
            for (site, peer) in [(&EDGE_A, &CLOUD), (&CLOUD, &EDGE_A)] {
                wait_for_sending(lab, (site, peer), "with the edge's new key", |row| {
                    let told = row["rotation"].as_str().unwrap_or_default();
                    row["state"] == "up" && told.starts_with("next keys in use")
                })?;
            }
            edit(
                lab,
                &EDGE_A,
                &[
                    (&own, "[link]"),
                    (&way, &hub),
                    (
                        &format!("private_key_file = \"{}\"", old.1),
                        &format!("private_key_file = \"{}\"", new.1),
                    ),
                    (
                        &format!("endpoint = \"192.0.2.1:{}\"", old.2),
                        &format!("endpoint = \"192.0.2.1:{}\"", new.2),
                    ),
                ],
            )?;
            edit(lab, &CLOUD, &[(&at_hub, &format!("public_key = \"{}\"", new.0))])?;
            if round == 0 {
                // What has not gone yet is known to the next daemon, and the next rotation waits for it.
                lab.gateway(&EDGE_A).kill()?;
                lab.gateway(&EDGE_A).start()?;
            }
            stream.go_on()?;
            old = new;
        }
        for site in [&EDGE_A, &CLOUD] {
            wait_until_replaced_keys_are_gone(lab, site)?;
        }
        stream.go_on()?;
        stream.must_be_whole()
    })
}

/// A hub whose daemon is not there goes on sending by the old keys: the edge hears them until it does not.
#[test]
fn a_peer_that_has_not_moved_is_heard_by_the_replaced_keys() -> Result<()> {
    in_a_lab(|lab| {
        lab.start_gateways()?;
        let stream = Stream::start(&lab.site(&EDGE_A).client, ECHO.at(ECHO_PORT))?;
        stream.go_on()?;
        let hub = format!("public_key = \"{}\"\n", lab.gateway(&CLOUD).public_key());
        let old = format!("public_key = \"{}\"", lab.gateway(&EDGE_A).public_key());
        let new = new_key(lab, &EDGE_A, "new.key")?;
        let at_hub = format!("{old}\nnext = {{ public_key = \"{new}\" }}");
        let port = ("[link]", "[link]\nnext = { listen_port = 51821 }");
        edit(lab, &CLOUD, &[port, (&old, &at_hub)])?;
        lab.gateway(&CLOUD).kill()?;

        let own = "[link]\nnext = { private_key_file = \"new.key\" }";
        let way = format!("{hub}next = {{ endpoint = \"192.0.2.1:51821\" }}\n");
        edit(lab, &EDGE_A, &[("[link]", own), (&hub, &way)])?;
        wait_for_sending(lab, (&EDGE_A, &CLOUD), "with the edge's new key", |row| {
            let told = row["rotation"].as_str().unwrap_or_default();
            row["state"] == "up" && told.starts_with("next keys in use")
        })?;
        edit(
            lab,
            &EDGE_A,
            &[
                (own, "[link]"),
                (&way, &hub),
                ("private_key_file = \"link.key\"", "private_key_file = \"new.key\""),
                ("endpoint = \"192.0.2.1:51820\"", "endpoint = \"192.0.2.1:51821\""),
            ],
        )?;
        stream.go_on()?;
        let rows = links(lab, &EDGE_A)?;
        let is_replaced =
            |row: &Value| row["rotation"].as_str().is_some_and(|it| it.starts_with("replaced"));
        ensure!(rows.iter().filter(|row| is_replaced(row)).count() == 1, "{rows:?}");

        lab.gateway(&CLOUD).start()?;
        wait_for_sending(lab, (&CLOUD, &EDGE_A), "with the edge's new key", |row| {
            row["public_key"] == *new
        })?;
        wait_until_replaced_keys_are_gone(lab, &EDGE_A)?;
        edit(lab, &CLOUD, &[(&at_hub, &format!("public_key = \"{new}\""))])?;
        stream.go_on()?;
        stream.must_be_whole()
    })
}

/// An edge with two links, one of which is rotated by the other end: each stays on its device, before
/// and after.
#[test]
fn an_edge_with_two_links_keeps_both_while_one_is_rotated() -> Result<()> {
    in_a_lab(|lab| {
        let [hub, a, b] = [&CLOUD, &EDGE_A, &EDGE_B].map(|site| lab.gateway(site).public_key());
        let edge_b = format!(
            "reaches = []\n\n[[peer]]\nsite = \"edge-b\"\npublic_key = \"{b}\"\nendpoint = \
             \"{}:51820\"\nkeepalive = \"5s\"\n",
            EDGE_B.underlay
        );
        let edge_a = format!("reaches = []\n\n[[peer]]\nsite = \"edge-a\"\npublic_key = \"{a}\"\n");
        write(lab, &EDGE_A, &[("reaches = [\"edge-b\"]", &edge_b)])?;
        let listening = ("[link]", "[link]\nlisten_port = 51820");
        write(lab, &EDGE_B, &[("reaches = [\"edge-a\"]", &edge_a), listening])?;
        lab.start_gateways()?;
        let client = &lab.site(&EDGE_A).client;
        let streams = [
            Stream::start(client, ECHO.at(ECHO_PORT))?,
            Stream::start(client, AGENT_B.at(ECHO_PORT))?,
        ];
        streams.iter().try_for_each(Stream::go_on)?;
        let first = sending(lab, &EDGE_A, &CLOUD)?["interface"].clone();

        let new = new_key(lab, &CLOUD, "new.key")?;
        let next = "[link]\nnext = { private_key_file = \"new.key\", listen_port = 51821 }";
        edit(lab, &CLOUD, &[("[link]", next)])?;
        let old_line = format!("public_key = \"{hub}\"");
        let way = "endpoint = \"192.0.2.1:51821\"";
        let with_next = format!("{old_line}\nnext = {{ public_key = \"{new}\", {way} }}");
        edit(lab, &EDGE_A, &[(&old_line, &with_next)])?;
        edit(lab, &EDGE_B, &[(&old_line, &with_next)])?;
        for (site, peer) in
            [(&EDGE_A, &CLOUD), (&EDGE_B, &CLOUD), (&CLOUD, &EDGE_A), (&CLOUD, &EDGE_B)]
        {
            wait_for_sending(lab, (site, peer), "by the hub's new key", |row| {
                row["state"] == "up"
                    && row["rotation"].as_str().is_some_and(|it| it.starts_with("next keys in use"))
            })?;
        }
        streams.iter().try_for_each(Stream::go_on)?;
        let beside = sending(lab, &EDGE_A, &EDGE_B)?;
        ensure!(beside["interface"] == first, "{beside}");

        let promoted = format!("public_key = \"{new}\"");
        let old_way = "endpoint = \"192.0.2.1:51820\"";
        for edge in [&EDGE_A, &EDGE_B] {
            edit(lab, edge, &[(&with_next, &promoted), (old_way, way)])?;
        }
        for peer in [&CLOUD, &EDGE_B] {
            let row = sending(lab, &EDGE_A, peer)?;
            ensure!(row["state"] == "up" && row["rotation"] == Value::Null, "{row}");
            ensure!((row["interface"] == first) == (*peer == EDGE_B), "{row}");
        }
        let after = [("private_key_file = \"link.key\"", "private_key_file = \"new.key\"")];
        let ports = [("listen_port = 51820", "listen_port = 51821")];
        edit(lab, &CLOUD, &[&[(next, "[link]")], &after[..], &ports[..]].concat())?;
        streams.iter().try_for_each(Stream::go_on)?;
        streams.into_iter().try_for_each(Stream::must_be_whole)
    })
}

#[test]
fn a_second_device_that_cannot_be_leaves_the_first_alone_and_detaching_removes_both() -> Result<()>
{
    in_a_lab(|lab| {
        lab.start_gateways()?;
        let client = lab.site(&EDGE_A).client.clone();
        let mut conversation = client.run(|| Conversation::open(ECHO.at(ECHO_PORT)))??;
        let hub = lab.site(&CLOUD).gateway.namespace().clone();
        let taken = hub.run(|| UdpSocket::bind("0.0.0.0:51821"))??;
        let next = ("[link]", "[link]\nnext = { listen_port = 51821 }");
        let refused = edit(lab, &CLOUD, &[next]).map_err(|error| format!("{error:#}"));
        let message = refused.err().context("a port in use was accepted")?;
        ensure!(message.contains("UDP port 51821 is in use"), "{message}");
        conversation.say("goes on", BOUND)?;
        let devices = || hub.ip("-o link show type tun").map(|it| it.lines().count());
        let before = devices()?;

        drop(taken);
        lab.gateway(&CLOUD).reload()?;
        let rows = links(lab, &CLOUD)?;
        let told = |row: &Value| row["rotation"].as_str().unwrap_or_default().to_owned();
        ensure!(
            rows.len() == 4 && rows.iter().all(|row| told(row).contains("with this key")),
            "{rows:?}"
        );
        ensure!(devices()? > before || before == 0, "there is no second device");
        conversation.say("still goes on", BOUND)?;

        lab.gateway(&CLOUD).kill()?;
        let detached = lab.site(&CLOUD).gateway.ctl_output("detach --yes")?;
        ensure!(detached.status.success(), "{detached:?}");
        let name = lab.site(&CLOUD).gateway.instance().to_owned();
        let left = hub.ip("-o link show")?;
        ensure!(!left.contains(&format!(": {name}")), "{left}");
        let run = std::path::Path::new("/run/presence").join(&name);
        ensure!(!run.exists(), "{} is left", run.display());
        Ok(())
    })
}

#[test]
fn an_edge_whose_address_changes_goes_on() -> Result<()> {
    in_a_lab(|lab| {
        lab.start_gateways()?;
        // Nothing but the daemon makes the edge speak then.
        edit(lab, &EDGE_A, &[("keepalive = \"5s\"", "keepalive = \"10m\"")])?;
        let client = lab.site(&EDGE_A).client.clone();
        let mut conversation = client.run(|| Conversation::open(ECHO.at(ECHO_PORT)))??;
        conversation.say("before", BOUND)?;
        let gateway = lab.site(&EDGE_A).gateway.namespace();
        gateway.ip(&format!("addr del {}/24 dev wan0", EDGE_A.underlay))?;
        gateway.ip("addr add 192.0.2.77/24 dev wan0")?;
        // The edge says by itself where it is now: the hub could not reach it otherwise.
        let moved =
            |row: &Value| row["endpoint"].as_str().is_some_and(|it| it.starts_with("192.0.2.77:"));
        wait_for_sending(lab, (&CLOUD, &EDGE_A), "at its new address", moved)?;
        conversation.say("after", BOUND)?;
        // The peer's next packet may have been first; the daemon sees to it that there is one.
        wait_for("the edge's daemon to dial again", BOUND, || {
            Ok(lab.site(&EDGE_A).gateway.log().contains("dialling a peer again"))
        })
    })
}

#[test]
fn the_first_underlay_that_works_is_used() -> Result<()> {
    const SECOND: [Ipv4Addr; 2] = [Ipv4Addr::new(198, 51, 100, 1), Ipv4Addr::new(198, 51, 100, 2)];
    in_a_lab(|lab| {
        let (hub, edge) = (lab.site(&CLOUD), lab.site(&EDGE_A));
        let hub = hub.gateway.namespace().clone();
        let edge = edge.gateway.namespace().clone();
        edge.ip(&format!("link add wan1 type veth peer name wan1 netns {}", hub.name()))?;
        for (namespace, address) in [(&hub, SECOND[0]), (&edge, SECOND[1])] {
            namespace.ip(&format!("addr add {address}/24 dev wan1"))?;
            namespace.ip("link set wan1 up")?;
        }
        let both = format!("endpoints = [\"192.0.2.1:51820\", \"{}:51820\"]", SECOND[0]);
        write(lab, &EDGE_A, &[("endpoint = \"192.0.2.1:51820\"", &both)])?;
        lab.start_gateways()?;

        let at = |address: &str| {
            let start = format!("{address}:");
            move |row: &Value| {
                row["state"] == "up"
                    && row["endpoint"].as_str().is_some_and(|it| it.starts_with(&start))
            }
        };
        wait_for_sending(lab, (&EDGE_A, &CLOUD), "by the first underlay", at("192.0.2.1"))?;
        let client = lab.site(&EDGE_A).client.clone();
        let mut conversation = client.run(|| Conversation::open(ECHO.at(ECHO_PORT)))??;
        conversation.say("by the first", BOUND)?;

        lab.underlay().ip(&format!("link set {} nomaster", EDGE_A.name))?;
        conversation.say("by the second", BOUND).context("after the first underlay was cut")?;
        let row = sending(lab, &EDGE_A, &CLOUD)?;
        ensure!(at("198.51.100.1")(&row), "{row}");
        ensure!(row["endpoints"].as_array().is_some_and(|all| all.len() == 2), "{row}");

        lab.underlay().ip(&format!("link set {} master br0", EDGE_A.name))?;
        wait_for_sending(lab, (&EDGE_A, &CLOUD), "by the first underlay again", at("192.0.2.1"))?;
        conversation.say("by the first again", BOUND)?;
        Ok(())
    })
}

/// The switch before the hub drops what is longer than 1400 bytes, or 1404 where the bridge leaves room
/// for a VLAN tag (`__is_skb_forwardable`, include/linux/netdevice.h), and tells nobody.
#[test]
fn the_mtu_is_that_of_the_path_and_not_of_the_first_hop() -> Result<()> {
    in_a_lab(|lab| {
        lab.underlay().ip(&format!("link set {} mtu 1400", CLOUD.name))?;
        lab.start_gateways()?;
        let probed = |path: std::ops::RangeInclusive<u64>| {
            move |row: &Value| {
                let packet = row["mtu"].as_u64().map(|mtu| mtu + 60);
                packet.is_some_and(|it| path.contains(&it)) && row["mtu_known"] == "probed"
            }
        };
        for (site, peer) in [(&EDGE_A, &CLOUD), (&CLOUD, &EDGE_A), (&CLOUD, &EDGE_B)] {
            wait_for_sending(lab, (site, peer), "with the path's MTU", probed(1400..=1404))?;
        }
        let mtu = sending(lab, &EDGE_A, &CLOUD)?["mtu"].to_string();
        let device = format!("-o link show dev {}", lab.site(&EDGE_A).gateway.instance());
        wait_for("the device to have that MTU", BOUND, || {
            let shown = lab.site(&EDGE_A).gateway.namespace().ip(&device)?;
            Ok(shown.contains(&format!(" mtu {mtu} ")))
        })?;
        let client = &lab.site(&EDGE_A).client;
        let download = client.run(|| Download::open(FILES.at(FILES_PORT), "/bytes/1000000"))??;
        ensure!(download.finish()? == Body::new(1_000_000).digest(), "it arrived changed");

        let before = lab.site(&EDGE_A).gateway.log().len();
        lab.gateway(&EDGE_A).kill()?;
        lab.gateway(&EDGE_A).start()?;
        let logged = lab.site(&EDGE_A).gateway.log().split_off(before);
        ensure!(!logged.contains("mtu=1440"), "what was probed was forgotten: {logged}");

        lab.site(&EDGE_A).gateway.namespace().ip("link set wan0 mtu 1300")?;
        wait_for_sending(lab, (&EDGE_A, &CLOUD), "with the smaller MTU", probed(1300..=1300))?;
        Ok(())
    })
}

#[test]
fn an_endpoint_that_answers_no_probes_is_told() -> Result<()> {
    in_a_lab(|lab| {
        lab.site(&CLOUD)
            .gateway
            .namespace()
            .run(|| fs::write("/proc/sys/net/ipv4/icmp_echo_ignore_all", "1"))??;
        lab.start_gateways()?;
        let row = wait_for_sending(lab, (&EDGE_A, &CLOUD), "with an assumed MTU", |row| {
            row["mtu_known"] == "assumed, endpoint does not answer probes"
        })?;
        ensure!(row["mtu"] == 1440, "{row}");
        let log = lab.site(&EDGE_A).gateway.log();
        ensure!(log.contains("the endpoint does not answer probes"), "{log}");
        let client = &lab.site(&EDGE_A).client;
        let greeting =
            client.run(|| Conversation::open(ECHO.at(ECHO_PORT)))??.greeting().to_owned();
        ensure!(greeting.contains(&CLIENT_PRESENCE.to_string()), "{greeting}");
        Ok(())
    })
}
