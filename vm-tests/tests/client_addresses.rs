//! What remote clients appear as: each as an address of its own, with its own ports, where the exposure
//! says so; and a protocol without ports, which several clients can then use at once.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use socket2::{Domain, Protocol, Socket, Type};
use vm_tests::lab::Lab;
use vm_tests::lab::gateway::Choices;
use vm_tests::lab::name::LabName;
use vm_tests::lab::namespace::Namespace;
use vm_tests::lab::plan::{CLIENT, CLOUD, ECHO_PORT, EDGE_A, SITES, SitePlan, VISITOR};
use vm_tests::lab::wait::{wait_for, wait_until};

const BOUND: Duration = Duration::from_secs(15);
const PATIENCE: Duration = Duration::from_millis(500);
/// Presences at the edge of the cloud's services: exposed per client, with one presence for all, and
/// once more per client by another name.
const OWN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 220);
const SHARED: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 221);
const TWIN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 222);
const FIRST_PRESENCE: [u8; 4] = [10, 0, 0, 192];
const PORT: u16 = 30_000;
/// For experiments (RFC 3692, RFC 4727): no ports that anybody knows.
const PROTOCOL: i32 = 253;

/// The visitor, 10.0.0.66, is outside 10.0.0.0/28; here it is 10.0.0.6.
const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 6);

fn services(site: &SitePlan) -> String {
    let own = "exposures = [{ site = \"edge-a\", clients = \"per-client\", from = \"10.0.0.4/30\", \
               presences = \"10.0.0.192/30\" }]";
    let mut text = String::new();
    for (name, number, presence, exposure) in
        [("own", 20, OWN, own), ("shared", 21, SHARED, ""), ("twin", 22, TWIN, own)]
    {
        let end = match site == &CLOUD {
            true => format!("backend = \"10.0.0.10\"\n{exposure}"),
            false => format!("presence = \"{presence}\""),
        };
        text += &format!(
            "[[service]]\nname = \"{name}\"\nsite = \"cloud\"\nnumber = {number}\n\
             ports = [\"tcp/7007\", \"udp/7007\", \"ip/253\"]\n{end}\n\
             [[allow]]\nid = \"{name}\"\nfrom = \"edge-a\"\nclients = [\"10.0.0.4/30\"]\n\
             to = \"{name}.cloud\"\n"
        );
    }
    text
}

fn presence_of(client: Ipv4Addr) -> Ipv4Addr {
    let [a, b, c, first] = FIRST_PRESENCE;
    Ipv4Addr::new(a, b, c, first + client.octets()[3] - 4)
}

fn in_a_lab(steps: impl FnOnce(&Lab) -> Result<()>) -> Result<()> {
    Lab::network(LabName::unique(), Choices::default())?.during(|lab| {
        prepare(lab)?;
        steps(lab)
    })
}

fn prepare(lab: &mut Lab) -> Result<()> {
    for site in SITES {
        let file = lab.gateway(site).site_file();
        if site == &CLOUD || site == &EDGE_A {
            let text = fs::read_to_string(&file)?;
            fs::write(&file, text + &services(site))?;
        }
    }
    let visitor = &lab.site(&EDGE_A).visitor;
    visitor.ip(&format!("address del {VISITOR}/24 dev lan0"))?;
    visitor.ip(&format!("address add {NEIGHBOUR}/24 dev lan0"))?;
    lab.start_gateways()?;
    lab.start_servers()
}

fn clients(lab: &Lab) -> [(&Namespace, Ipv4Addr); 2] {
    let site = lab.site(&EDGE_A);
    [(&site.client, CLIENT), (&site.visitor, NEIGHBOUR)]
}

/// What an echo server saw of a TCP client with this port of its own.
fn greeting(place: &Namespace, client: Ipv4Addr, server: Ipv4Addr) -> Result<String> {
    place.run(|| -> Result<String> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((client, PORT)).into())?;
        socket.set_read_timeout(Some(BOUND))?;
        socket.connect_timeout(&SocketAddr::from((server, ECHO_PORT)).into(), BOUND)?;
        let mut stream = std::net::TcpStream::from(socket);
        stream.write_all(b"hello\n")?;
        let mut seen = [0; 64];
        let length = stream.read(&mut seen)?;
        Ok(String::from_utf8_lossy(&seen[..length]).lines().next().unwrap_or_default().to_owned())
    })?
}

#[test]
fn the_server_sees_each_client_with_its_own_port() -> Result<()> {
    in_a_lab(|lab| {
        for (place, client) in clients(lab) {
            let seen = SocketAddrV4::new(presence_of(client), PORT);
            let greeting = greeting(place, client, OWN).context("TCP")?;
            ensure!(greeting == format!("cloud {seen}"), "{client} was seen as {greeting}");
            let answer = ask(place, client, OWN)?.context("no answer over UDP")?;
            ensure!(answer.starts_with(&format!("cloud {seen} ")), "{client}: {answer}");
            let shared = ask(place, client, SHARED)?.context("no answer from the shared one")?;
            ensure!(shared.starts_with("cloud 10.0.0.250:"), "{client}: {shared}");
        }
        let listed = lab.site(&CLOUD).gateway.ctl("presence list")?;
        for (_, client) in clients(lab) {
            let presence = presence_of(client).to_string();
            let rows = listed.as_array().context("no list")?;
            let row = rows.iter().find(|row| row["address"] == presence.as_str());
            ensure!(row.is_some_and(|row| row["kind"] == "client"), "{presence}: {listed}");
        }
        Ok(())
    })
}

fn ask(place: &Namespace, client: Ipv4Addr, server: Ipv4Addr) -> Result<Option<String>> {
    place.run(|| -> Result<Option<String>> {
        let socket = UdpSocket::bind((client, PORT))?;
        // What comes late of another service is not this one's answer.
        socket.connect((server, ECHO_PORT))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        for _ in 0..6 {
            // Reports an ICMP error that an earlier datagram met.
            let _ = socket.send(b"hello");
            let mut answer = [0; 128];
            if let Ok(length) = socket.recv(&mut answer) {
                return Ok(Some(String::from_utf8_lossy(&answer[..length]).into_owned()));
            }
        }
        Ok(None)
    })?
}

/// By two names the same client with the same port would be two flows of one name at the back end.
#[test]
fn a_port_that_cannot_stay_is_refused() -> Result<()> {
    in_a_lab(|lab| {
        let (place, client) = clients(lab)[0];
        ask(place, client, OWN)?.context("no answer")?;
        let before = lab.site(&CLOUD).gateway.refused("ports-exhausted")?;
        ensure!(ask(place, client, TWIN)?.is_none(), "both flows have one name");
        ensure!(lab.site(&CLOUD).gateway.refused("ports-exhausted")? > before, "another reason");
        Ok(())
    })
}

fn raw(place: &Namespace) -> Result<Socket> {
    place.run(|| -> Result<Socket> {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(PROTOCOL)))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(socket)
    })?
}

/// The sender of the next packet with this text; none if nothing comes for half a second.
fn receive(mut socket: &Socket, text: &str) -> Option<Ipv4Addr> {
    const HEADER: usize = 20;
    let mut packet = [0; 256];
    while let Ok(length) = socket.read(&mut packet) {
        let (header, payload) = packet.get(..length)?.split_at_checked(HEADER)?;
        if payload == text.as_bytes() {
            let source: [u8; 4] = header.get(12..16)?.try_into().ok()?;
            return Some(Ipv4Addr::from(source));
        }
    }
    None
}

fn wait_to_receive(socket: &Socket, text: &str) -> Result<Ipv4Addr> {
    wait_until(format!("{text:?} to come"), BOUND, || Ok(receive(socket, text)))
}

fn send(socket: &Socket, to: Ipv4Addr, text: &str) -> Result<()> {
    socket.send_to(text.as_bytes(), &SocketAddr::from((to, 0)).into())?;
    Ok(())
}

/// Without ports only the client's address tells flows apart: with one presence for all there is room
/// for one client.
#[test]
fn a_protocol_without_ports_carries_several_clients() -> Result<()> {
    in_a_lab(|lab| {
        let server = raw(&lab.site(&CLOUD).server)?;
        let sockets = clients(lab).map(|(place, client)| raw(place).map(|it| (it, client)));
        let [first, second] = sockets;
        let (first, second) = (first?, second?);
        for (socket, client) in [&first, &second] {
            let text = format!("from {client}");
            let seen = wait_until("a packet to come", BOUND, || {
                send(socket, OWN, &text)?;
                Ok(receive(&server, &text))
            })?;
            ensure!(seen == presence_of(*client), "{client} was seen as {seen}");
        }
        // Both ways at once: each answer reaches the client it is for.
        for (_, client) in [&first, &second] {
            send(&server, presence_of(*client), &format!("to {client}"))?;
        }
        for (socket, client) in [&first, &second] {
            let answered = wait_to_receive(socket, &format!("to {client}"))?;
            ensure!(answered == OWN, "{client} was answered by {answered}");
        }
        send(&first.0, SHARED, "first")?;
        let seen = wait_to_receive(&server, "first")?;
        ensure!(seen == Ipv4Addr::new(10, 0, 0, 250), "the first client was seen as {seen}");
        let refused = || lab.site(&CLOUD).gateway.refused("ports-exhausted");
        let before = refused()?;
        send(&second.0, SHARED, "second")?;
        wait_for("the second client to be refused", BOUND, || Ok(refused()? > before))?;
        ensure!(receive(&server, "second").is_none(), "the second client came through");
        Ok(())
    })
}
