//! A full flow table: new flows are refused and counted, old ones live, and nothing leaves
//! untranslated.

use std::fs;
use std::net::UdpSocket;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use vm_tests::lab::Lab;
use vm_tests::lab::gateway::Choices;
use vm_tests::lab::name::LabName;
use vm_tests::lab::plan::{CLIENT, CLOUD, ECHO, ECHO_PORT, EDGE_A, SITES};
use vm_tests::lab::traffic::Conversation;
use vm_tests::lab::wait::wait_for;

/// The least a site file may ask for.
const CAPACITY: u32 = 1024;
const EXCHANGES: u16 = 1500;
/// So many at once that their answers fit into a socket's buffer many times over.
const BATCH: u16 = 50;
const FIRST_PORT: u16 = 20_000;
const BOUND: Duration = Duration::from_secs(10);
const FULL: &str = "flow-table-full";

#[test]
fn a_full_flow_table_refuses_new_flows_and_keeps_the_old() -> Result<()> {
    let mut lab =
        Lab::network(LabName::unique(), Choices { flow_capacity: CAPACITY, ..Choices::default() })?;
    for site in SITES {
        // One client alone fills the table here.
        let file = lab.gateway(site).site_file();
        let text = fs::read_to_string(&file)?;
        fs::write(&file, text + "per_client = \"off\"\nper_site = \"off\"\n")?;
    }
    lab.start_gateways()?;
    lab.start_servers()?;
    let outcome = fill(&mut lab).with_context(|| lab.logs());
    lab.down()?;
    outcome
}

fn fill(lab: &mut Lab) -> Result<()> {
    let sniffers = lab.sniff()?;
    let client = lab.site(&EDGE_A).client.clone();
    let mut old = client.run(|| Conversation::open(ECHO.at(ECHO_PORT)))??;
    old.say("before", BOUND)?;

    let refused_before = refused(lab)?;
    let (mut sent, mut answered) = (0, 0);
    while sent < EXCHANGES {
        let sockets = client.run(|| exchanges(FIRST_PORT + sent))??;
        sent += BATCH;
        // Every exchange is either answered or counted as refused; none is lost in between.
        wait_for(format!("{sent} exchanges to be answered or refused"), BOUND, || {
            answered += answers(&sockets);
            let refused = refused(lab)? - refused_before;
            ensure!(
                u64::from(answered) + refused == u64::from(sent),
                "{answered} answered, {refused} refused as {FULL}"
            );
            Ok(true)
        })?;
    }
    ensure!(answered < EXCHANGES, "{EXCHANGES} flows fit into a table of {CAPACITY}");
    ensure!(
        u32::from(answered) > CAPACITY / 2,
        "only {answered} flows fit into a table of {CAPACITY}"
    );
    old.say("after", BOUND).context("a connection older than the flood")?;
    let new = client.run(|| Conversation::open(ECHO.at(ECHO_PORT)))?;
    ensure!(new.is_err(), "a new connection was made although the table is full");
    for (place, sniffer) in sniffers {
        sniffer.finish()?.must_be_clean().context(place)?;
    }
    Ok(())
}

fn exchanges(first_port: u16) -> Result<Vec<UdpSocket>> {
    (first_port..first_port + BATCH)
        .map(|port| {
            let socket = UdpSocket::bind((CLIENT, port)).context("open a UDP socket")?;
            socket.set_nonblocking(true)?;
            socket.send_to(b"hello", ECHO.at(ECHO_PORT)).context("send a datagram")?;
            Ok(socket)
        })
        .collect()
}

/// How many answers have come since the last look.
fn answers(sockets: &[UdpSocket]) -> u16 {
    let mut answer = [0; 128];
    let came = sockets.iter().filter(|socket| socket.recv(&mut answer).is_ok()).count();
    u16::try_from(came).expect("a batch has few sockets")
}

/// How many packets the gateways on the way have refused for want of room.
fn refused(lab: &mut Lab) -> Result<u64> {
    Ok(lab.gateway(&EDGE_A).refused(FULL)? + lab.gateway(&CLOUD).refused(FULL)?)
}
