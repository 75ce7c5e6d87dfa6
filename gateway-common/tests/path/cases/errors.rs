//! ICMP errors about packets of flows, both ways at both gateways: what they quote is translated too.

use super::{gateway::OTHER_LAN, *};
use crate::frames::{error, sctp, with};

/// A host of the cloud's LAN that is no back end.
const ROUTER: [u8; 4] = [10, 0, 0, 254];

/// Port unreachable from `from`, about a packet that it got.
fn unreachable(from: [u8; 4], about: &[u8]) -> Vec<u8> {
    error(from, 3, 3, &about[ETHERNET..])
}

/// The client's packet as the back end got it.
fn at_server(load: Load) -> Vec<u8> {
    frame(CLIENTS, SERVER, &load, b"eight...")
}

/// The back end's packet as the client got it.
fn at_client(load: Load) -> Vec<u8> {
    frame(PRESENCE, CLIENT, &load, b"eight...")
}

fn query_at_server() -> Vec<u8> {
    at_server(Load::Udp(QUERY_PORT, 53))
}

/// Where the quoted header begins, from the IP header on.
const QUOTED: usize = 28;

pub(super) fn cases() -> Vec<Case> {
    [to_clients(), to_servers(), kinds(), unfit()].into_iter().flatten().collect()
}

/// About packets that the client sent.
fn to_clients() -> Vec<Case> {
    let association = |from, to| frame(from, to, &SCTP, &sctp(5000, 3868, 0, 1));
    vec![
        cloud_lan("the back end has no such udp port", unreachable(SERVER, &query_at_server()))
            .given(Gateway::asked)
            .into_link(
                "icmp 3/3 240.0.8.1 > 240.0.16.5 ttl 63 \
                 about udp 240.0.16.5:4000 > 240.0.8.1:53 ttl 64",
            ),
        edge_link("the service has no such udp port", unreachable(SERVICE, &to_cloud(QUERY, b"")))
            .given(Gateway::asked)
            .onto_lan(
                "icmp 3/3 10.0.0.200 > 10.0.0.5 ttl 63 \
                 about udp 10.0.0.5:4000 > 10.0.0.200:53 ttl 64",
            ),
        cloud_lan("a router before the back end drops a tcp packet", {
            let about = at_server(Load::Tcp(SYN_PORT, 5672, Bits::Ack));
            error(ROUTER, 11, 0, &about[ETHERNET..])
        })
        .given(Gateway::open)
        .into_link(
            "icmp 11/0 240.0.8.1 > 240.0.16.5 ttl 63 \
             about tcp 240.0.16.5:40000 > 240.0.8.1:5672 ttl 64",
        ),
        edge_link(
            "a tcp packet was dropped",
            error(SERVICE, 11, 0, &to_cloud(DATA, b"")[ETHERNET..]),
        )
        .given(Gateway::open)
        .onto_lan(
            "icmp 11/0 10.0.0.200 > 10.0.0.5 ttl 63 \
             about tcp 10.0.0.5:40000 > 10.0.0.200:5672 ttl 64",
        ),
        cloud_lan("a tcp packet is too big for a router", {
            let about = at_server(Load::Tcp(SYN_PORT, 5672, Bits::Ack));
            error(ROUTER, 3, 4, &about[ETHERNET..])
        })
        .given(Gateway::open)
        .into_link(
            "icmp 3/4 mtu 1400 240.0.8.1 > 240.0.16.5 ttl 63 \
             about tcp 240.0.16.5:40000 > 240.0.8.1:5672 ttl 64",
        ),
        edge_link(
            "a tcp packet is too big on its way",
            error(SERVICE, 3, 4, &to_cloud(DATA, b"")[ETHERNET..]),
        )
        .given(Gateway::open)
        .onto_lan(
            "icmp 3/4 mtu 1400 10.0.0.200 > 10.0.0.5 ttl 63 \
             about tcp 10.0.0.5:40000 > 10.0.0.200:5672 ttl 64",
        ),
        cloud_lan("an error about a port served at another", {
            unreachable(SERVER, &at_server(Load::Tcp(WEB_PORT, 8080, Bits::Syn)))
        })
        .given(|gateway| {
            gateway.carry_from_link(&to_cloud(Load::Tcp(40_000, 80, Bits::Syn), b""));
        })
        .into_link(
            "icmp 3/3 240.0.8.1 > 240.0.16.5 ttl 63 \
             about tcp 240.0.16.5:40000 > 240.0.8.1:80 ttl 64",
        ),
        cloud_lan("an error about an echo request", {
            error(ROUTER, 3, 1, &at_server(Load::EchoRequest(PING_PORT))[ETHERNET..])
        })
        .given(Gateway::pinged)
        .into_link(
            "icmp 3/1 240.0.8.1 > 240.0.16.5 ttl 63 \
             about ping 240.0.16.5 > 240.0.8.1 id 77 ttl 64",
        ),
        edge_link(
            "an error about an echo request",
            error(SERVICE, 3, 1, &to_cloud(PING, b"")[ETHERNET..]),
        )
        .given(Gateway::pinged)
        .onto_lan(
            "icmp 3/1 10.0.0.200 > 10.0.0.5 ttl 63 \
             about ping 10.0.0.5 > 10.0.0.200 id 77 ttl 64",
        ),
        cloud_lan("an error about sctp", unreachable(SERVER, &association(CLIENTS, SERVER)))
            .given(Gateway::associated)
            .into_link(
                "icmp 3/3 240.0.8.1 > 240.0.16.5 ttl 63 \
                 about sctp 240.0.16.5:5000 > 240.0.8.1:3868 ttl 64",
            ),
        edge_link("an error about sctp", unreachable(SERVICE, &association(EDGE_CLIENT, SERVICE)))
            .given(Gateway::associated)
            .onto_lan(
                "icmp 3/3 10.0.0.200 > 10.0.0.5 ttl 63 \
                 about sctp 10.0.0.5:5000 > 10.0.0.200:3868 ttl 64",
            ),
        cloud_lan("an error about a protocol by number", {
            error(SERVER, 3, 2, &at_server(GRE)[ETHERNET..])
        })
        .given(Gateway::tunnelled)
        .into_link(
            "icmp 3/2 240.0.8.1 > 240.0.16.5 ttl 63 \
             about ip/47 240.0.16.5 > 240.0.8.1 ttl 64",
        ),
        edge_link("an error about a protocol by number", {
            error(SERVICE, 3, 2, &to_cloud(GRE, b"eight...")[ETHERNET..])
        })
        .given(Gateway::tunnelled)
        .onto_lan("icmp 3/2 10.0.0.200 > 10.0.0.5 ttl 63 about ip/47 10.0.0.5 > 10.0.0.200 ttl 64"),
    ]
}

/// About packets that the service sent.
fn to_servers() -> Vec<Case> {
    vec![
        edge_lan("the client has closed its udp port", {
            unreachable(CLIENT, &at_client(Load::Udp(53, 4000)))
        })
        .given(Gateway::answered)
        .into_link(
            "icmp 3/3 240.0.16.5 > 240.0.8.1 ttl 63 \
             about udp 240.0.8.1:53 > 240.0.16.5:4000 ttl 64",
        ),
        cloud_link("the client has closed its udp port", {
            unreachable(EDGE_CLIENT, &to_edge(Load::Udp(53, 4000), b""))
        })
        .given(Gateway::answered)
        .onto_lan(
            "icmp 3/3 10.0.0.250 > 10.0.0.10 ttl 63 \
             about udp 10.0.0.10:53 > 10.0.0.250:6272 ttl 64",
        ),
        edge_lan("a router before the client drops a tcp packet", {
            let about = at_client(Load::Tcp(5672, 40_000, Bits::Ack));
            error(ROUTER, 11, 0, &about[ETHERNET..])
        })
        .given(Gateway::open)
        .into_link(
            "icmp 11/0 240.0.16.5 > 240.0.8.1 ttl 63 \
             about tcp 240.0.8.1:5672 > 240.0.16.5:40000 ttl 64",
        ),
        cloud_link("the service's tcp packet is too big for a router", {
            let about = to_edge(Load::Tcp(5672, 40_000, Bits::Ack), b"");
            error(EDGE_CLIENT, 3, 4, &about[ETHERNET..])
        })
        .given(Gateway::open)
        .onto_lan(
            "icmp 3/4 mtu 1400 10.0.0.250 > 10.0.0.10 ttl 63 \
             about tcp 10.0.0.10:5672 > 10.0.0.250:6547 ttl 64",
        ),
        cloud_link("an error about a port served at another", {
            unreachable(EDGE_CLIENT, &to_edge(Load::Tcp(80, 40_000, Bits::Ack), b""))
        })
        .given(|gateway| {
            gateway.carry_from_link(&to_cloud(Load::Tcp(40_000, 80, Bits::Syn), b""));
        })
        .onto_lan(
            "icmp 3/3 10.0.0.250 > 10.0.0.10 ttl 63 \
             about tcp 10.0.0.10:8080 > 10.0.0.250:25891 ttl 64",
        ),
        edge_lan("an error about an echo reply", {
            error(ROUTER, 3, 1, &at_client(Load::EchoReply(77))[ETHERNET..])
        })
        .given(Gateway::ponged)
        .into_link(
            "icmp 3/1 240.0.16.5 > 240.0.8.1 ttl 63 \
             about pong 240.0.8.1 > 240.0.16.5 id 77 ttl 64",
        ),
        cloud_link("an error about an echo reply", {
            error(EDGE_CLIENT, 3, 1, &to_edge(Load::EchoReply(77), b"")[ETHERNET..])
        })
        .given(Gateway::ponged)
        .onto_lan(
            "icmp 3/1 10.0.0.250 > 10.0.0.10 ttl 63 \
             about pong 10.0.0.10 > 10.0.0.250 id 33421 ttl 64",
        ),
        edge_lan("an error about sctp of the service's", {
            unreachable(CLIENT, &frame(PRESENCE, CLIENT, &SCTP, &sctp(3868, 5000, 9, 0)))
        })
        .given(Gateway::associated)
        .into_link(
            "icmp 3/3 240.0.16.5 > 240.0.8.1 ttl 63 \
             about sctp 240.0.8.1:3868 > 240.0.16.5:5000 ttl 64",
        ),
        cloud_link("an error about sctp of the service's", {
            unreachable(EDGE_CLIENT, &to_edge(SCTP, &sctp(3868, 5000, 9, 0)))
        })
        .given(Gateway::associated)
        .onto_lan(
            "icmp 3/3 10.0.0.250 > 10.0.0.10 ttl 63 \
             about sctp 10.0.0.10:3868 > 10.0.0.250:5000 ttl 64",
        ),
    ]
}

/// Kinds of ICMP message.
fn kinds() -> Vec<Case> {
    let kind = |name, kind| {
        cloud_lan(name, error(SERVER, kind, 0, &query_at_server()[ETHERNET..]))
            .given(Gateway::asked)
    };
    let ping = |kind, code| with(at_edge(PING, b"ping"), 20, &[kind, code]);
    vec![
        kind("parameter problem", 12).into_link(
            "icmp 12/0 240.0.8.1 > 240.0.16.5 ttl 63 \
             about udp 240.0.16.5:4000 > 240.0.8.1:53 ttl 64",
        ),
        kind("source quench", 4).refused(Reason::IcmpType),
        kind("redirect", 5).refused(Reason::IcmpType),
        edge_lan("redirect", ping(5, 0)).refused(Reason::IcmpType),
        edge_lan("router advertisement", ping(9, 0)).refused(Reason::IcmpType),
        edge_lan("router solicitation", ping(10, 0)).refused(Reason::IcmpType),
        edge_lan("timestamp", ping(13, 0)).refused(Reason::IcmpType),
        edge_lan("address mask", ping(17, 0)).refused(Reason::IcmpType),
        edge_lan("extended echo", ping(42, 0)).refused(Reason::IcmpType),
        edge_lan("an echo request with a code", ping(8, 1)).refused(Reason::IcmpType),
        edge_lan("an echo reply with a code", ping(0, 1)).refused(Reason::IcmpType),
    ]
}

/// Errors that quote too little, what they should not, or packets of no flow.
fn unfit() -> Vec<Case> {
    let cut = |payload: usize| {
        let bytes = unreachable(SERVER, &query_at_server());
        let total = (20 + payload) as u16;
        with(bytes, 2, &total.to_be_bytes())
    };
    let quoting = |name, at: usize, octets: &[u8]| {
        let bytes = with(unreachable(SERVER, &query_at_server()), QUOTED + at, octets);
        cloud_lan(name, bytes).given(Gateway::asked)
    };
    vec![
        cloud_lan("an error without a quote", cut(8))
            .given(Gateway::asked)
            .refused(Reason::Truncated),
        cloud_lan("a quote cut in its header", cut(27))
            .given(Gateway::asked)
            .refused(Reason::Truncated),
        cloud_lan("a quote cut behind its header", cut(28))
            .given(Gateway::asked)
            .refused(Reason::Truncated),
        cloud_lan("a quote cut before its eighth octet", cut(35))
            .given(Gateway::asked)
            .refused(Reason::Truncated),
        quoting("a quote with ip options", 0, &[0x46]).refused(Reason::Malformed),
        quoting("a quote of version 6", 0, &[0x65]).refused(Reason::Malformed),
        quoting("a quote of a later fragment", 6, &[0, 9]).refused(Reason::Malformed),
        quoting("a quote of somebody else's packet", 12, &STRANGER).refused(Reason::Malformed),
        quoting("a quote of a packet to another host", 16, &STRANGER).refused(Reason::NotAReply),
        quoting("a quote of another port", 20, &[9, 9]).refused(Reason::NotAReply),
        quoting("a quote of another protocol", 9, &[6]).refused(Reason::NotAReply),
        cloud_lan("an error about an icmp error", {
            let about =
                unreachable(CLIENTS, &frame(SERVER, CLIENTS, &Load::Udp(53, QUERY_PORT), b""));
            unreachable(SERVER, &about)
        })
        .given(Gateway::asked)
        .refused(Reason::IcmpType),
        cloud_lan("an error about a flow that nobody opened", {
            unreachable(SERVER, &query_at_server())
        })
        .refused(Reason::NotAReply),
        edge_lan("an error about an answer that nobody asked for", {
            unreachable(CLIENT, &at_client(Load::Udp(53, 4000)))
        })
        .refused(Reason::NoFlow),
        edge_lan("an error about a port that is not served", {
            unreachable(CLIENT, &at_client(Load::Udp(54, 4000)))
        })
        .refused(Reason::PortNotServed),
        edge_link("an error about a flow that nobody opened", {
            unreachable(SERVICE, &to_cloud(QUERY, b""))
        })
        .refused(Reason::NoFlow),
        cloud_link("an error about an answer that nobody asked for", {
            unreachable(EDGE_CLIENT, &to_edge(Load::Udp(53, 4000), b""))
        })
        .refused(Reason::NoFlow),
        edge_lan("an error about a packet to a stranger", {
            unreachable(STRANGER, &frame(PRESENCE, STRANGER, &Load::Udp(53, 4000), b""))
        })
        .refused(Reason::NoPolicy),
        edge_lan("an error about a packet to no client", {
            unreachable(CLIENT, &frame(PRESENCE, [192, 0, 2, 1], &Load::Udp(53, 4000), b""))
        })
        .refused(Reason::NotAClient),
        edge_lan("an error about a client behind another interface", {
            unreachable(CLIENT, &at_client(Load::Udp(53, 4000)))
        })
        .given(|gateway| {
            gateway.answered();
            gateway.arrival.interface = OTHER_LAN;
        })
        .refused(Reason::WrongInterface),
        edge_link("an error of a third party in a link", {
            unreachable([240, 0, 8, 2], &to_cloud(QUERY, b""))
        })
        .given(Gateway::asked)
        .refused(Reason::SpoofedSource),
        edge_link("an error of a host that nobody translated", {
            unreachable(SERVER, &to_cloud(QUERY, b""))
        })
        .given(Gateway::asked)
        .refused(Reason::SpoofedSource),
        edge_link("an error by another link", unreachable(SERVICE, &to_cloud(QUERY, b"")))
            .given(|gateway| {
                gateway.asked();
                gateway.arrival.interface = LINK + 1;
            })
            .refused(Reason::SpoofedSource),
    ]
}
