//! Quotas: one client's flood takes what is its own and no more. Another client of its site still gets
//! in, and what was open stays open.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use socket2::{Domain, Socket, Type};
use vm_tests::lab::Lab;
use vm_tests::lab::gateway::Choices;
use vm_tests::lab::name::LabName;
use vm_tests::lab::namespace::Namespace;
use vm_tests::lab::plan::{
    CLIENT, CLOUD, ECHO, ECHO_PORT, EDGE_A, EDGE_B, Rule, SitePlan, VISITOR,
};
use vm_tests::lab::traffic::Conversation;

/// The least a site file may ask for, so that a flood is soon one.
const CAPACITY: u32 = 1024;
const FIRST_PORT: u16 = 20_000;
const FLOOD: u16 = 1500;
const BOUND: Duration = Duration::from_secs(10);

fn limited(
    quotas: &str,
    at: &'static SitePlan,
    steps: impl FnOnce(&mut Lab) -> Result<()>,
) -> Result<()> {
    let choices = Choices { flow_capacity: CAPACITY, ..Choices::default() };
    let mut lab = Lab::network(LabName::unique(), choices)?;
    let outcome =
        prepare(&mut lab, quotas, at).and_then(|()| steps(&mut lab)).with_context(|| lab.logs());
    lab.down()?;
    outcome
}

fn prepare(lab: &mut Lab, quotas: &str, at: &'static SitePlan) -> Result<()> {
    lab.start_gateways()?;
    lab.start_servers()?;
    lab.allow(Rule::new("edge-a-visitor", &EDGE_A, VISITOR, &ECHO))?;
    let file = lab.gateway(at).site_file();
    fs::write(&file, fs::read_to_string(&file)? + quotas)?;
    let logged = lab.gateway(at).reload()?;
    ensure!(!logged.contains("reload failed"), "{logged}");
    Ok(())
}

/// Datagrams from so many ports.
fn flood_datagrams(place: &Namespace, from: Ipv4Addr, count: u16) -> Result<()> {
    place.run(|| -> Result<()> {
        for port in FIRST_PORT..FIRST_PORT + count {
            UdpSocket::bind((from, port))?.send_to(b"flood", ECHO.at(ECHO_PORT))?;
        }
        Ok(())
    })?
}

/// Connections begun from so many ports and never gone on with: the sockets are closed at once, so that
/// an answer to the SYN meets nobody.
fn flood_connections(place: &Namespace, count: u16) -> Result<()> {
    place.run(|| -> Result<()> {
        for _ in 0..count {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            socket.set_nonblocking(true)?;
            // It is under way, which is no error here.
            let _ = socket.connect(&SocketAddr::from((*ECHO.at(ECHO_PORT).ip(), ECHO_PORT)).into());
        }
        Ok(())
    })?
}

fn converse(place: &Namespace) -> Result<Conversation> {
    place.run(|| Conversation::open(ECHO.at(ECHO_PORT)))?
}

#[test]
fn a_client_that_floods_harms_only_itself() -> Result<()> {
    limited("per_client = 200\nper_site = \"off\"\n", &EDGE_A, |lab| {
        let (client, visitor) =
            (lab.site(&EDGE_A).client.clone(), lab.site(&EDGE_A).visitor.clone());
        let mut own = converse(&client)?;
        let mut others = converse(&visitor)?;
        flood_datagrams(&client, CLIENT, FLOOD)?;
        flood_connections(&client, FLOOD)?;
        let refused = lab.gateway(&EDGE_A).refused("client-quota")?;
        ensure!(refused >= u64::from(FLOOD), "only {refused} refusals");
        ensure!(
            lab.gateway(&EDGE_A).refused("flow-table-full")? == 0,
            "the flood filled the table"
        );
        own.say("still here", BOUND).context("the flooding client's own connection")?;
        others.say("still here", BOUND).context("another client's connection")?;
        converse(&visitor).context("a new connection of another client")?;
        Ok(())
    })
}

#[test]
fn a_site_that_floods_harms_only_itself() -> Result<()> {
    limited("per_client = \"off\"\nper_site = 200\n", &CLOUD, |lab| {
        let client = lab.site(&EDGE_A).client.clone();
        let mut own = converse(&client)?;
        let mut others = converse(&lab.site(&EDGE_B).client)?;
        flood_datagrams(&client, CLIENT, 1000)?;
        let refused = lab.gateway(&CLOUD).refused("site-quota")?;
        ensure!(refused > 0, "nothing was refused");
        own.say("still here", BOUND).context("the flooding site's own connection")?;
        others.say("still here", BOUND).context("another site's connection")?;
        converse(&lab.site(&EDGE_B).client).context("a new connection of another site")?;
        Ok(())
    })
}

/// Without a quota a flood of connections that are never made takes the room for those alone.
#[test]
fn connections_that_are_never_made_push_out_none_that_is() -> Result<()> {
    limited("per_client = \"off\"\nper_site = \"off\"\n", &EDGE_A, |lab| {
        let client = lab.site(&EDGE_A).client.clone();
        let mut open = Vec::new();
        for _ in 0..20 {
            open.push(converse(&client)?);
        }
        flood_connections(&lab.site(&EDGE_A).visitor, 5000)?;
        for conversation in &mut open {
            conversation.say("still here", BOUND)?;
        }
        Ok(())
    })
}
