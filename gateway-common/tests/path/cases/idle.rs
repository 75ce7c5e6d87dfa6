//! Flows that carried nothing for as long as their state allows, and for a tick longer.

use super::*;
use crate::frames::{error, sctp};
use gateway_common::map::Timeouts;

/// The client's next packet at the edge.
fn data() -> Vec<u8> {
    at_edge(DATA, b"data")
}

const SENT: &str = "tcp 240.0.16.5:40000 > 240.0.8.1:5672 ttl 63 'data'";

fn answer() -> Vec<u8> {
    to_edge(Load::Udp(53, 4000), b"answer")
}

const ANSWERED: &str = "udp 10.0.0.200:53 > 10.0.0.5:4000 ttl 63 'answer'";

pub(super) fn cases() -> Vec<Case> {
    let mut cases = tcp();
    cases.extend(others());
    cases
}

fn tcp() -> Vec<Case> {
    vec![
        edge_lan("a syn unanswered for 30 seconds", data())
            .given(|gateway| {
                gateway.opening();
                gateway.wait(30_000);
            })
            .into_link(SENT),
        edge_lan("a syn unanswered for longer", data())
            .given(|gateway| {
                gateway.opening();
                gateway.wait_longer(30_000);
            })
            .refused(Reason::NoFlow),
        edge_lan("a connection unconfirmed for 30 seconds", data())
            .given(|gateway| {
                gateway.accepted();
                gateway.wait(30_000);
            })
            .into_link(SENT),
        edge_lan("a connection unconfirmed for longer", data())
            .given(|gateway| {
                gateway.accepted();
                gateway.wait_longer(30_000);
            })
            .refused(Reason::NoFlow),
        edge_lan("a connection idle for two hours and four minutes", data())
            .given(|gateway| {
                gateway.open();
                gateway.wait(7_440_000);
            })
            .into_link(SENT),
        edge_lan("a connection idle for longer", data())
            .given(|gateway| {
                gateway.open();
                gateway.wait_longer(7_440_000);
            })
            .refused(Reason::NoFlow),
        cloud_lan("a connection idle for longer", {
            at_cloud(Load::Tcp(5672, SYN_PORT, Bits::Ack), b"more")
        })
        .given(|gateway| {
            gateway.open();
            gateway.wait_longer(7_440_000);
        })
        .refused(Reason::NoFlow),
        edge_lan("five minutes after the client finished", data())
            .given(|gateway| {
                gateway.client_closed();
                gateway.wait(300_000);
            })
            .into_link(SENT),
        edge_lan("longer after the client finished", data())
            .given(|gateway| {
                gateway.client_closed();
                gateway.wait_longer(300_000);
            })
            .refused(Reason::NoFlow),
        edge_lan("five minutes after the service finished", data())
            .given(|gateway| {
                gateway.service_closed();
                gateway.wait(300_000);
            })
            .into_link(SENT),
        edge_lan("longer after the service finished", data())
            .given(|gateway| {
                gateway.service_closed();
                gateway.wait_longer(300_000);
            })
            .refused(Reason::NoFlow),
        edge_lan("ten seconds after both finished", data())
            .given(|gateway| {
                gateway.closed();
                gateway.wait(10_000);
            })
            .into_link(SENT),
        edge_lan("longer after both finished", data())
            .given(|gateway| {
                gateway.closed();
                gateway.wait_longer(10_000);
            })
            .refused(Reason::NoFlow),
        edge_lan("longer after a reset", data())
            .given(|gateway| {
                gateway.reset();
                gateway.wait_longer(10_000);
            })
            .refused(Reason::NoFlow),
        edge_lan("longer after a reset, when the client's port was used again", data())
            .given(|gateway| {
                gateway.reset();
                gateway.carry_from_lan(&at_edge(SYN, b""));
                gateway.wait_longer(10_000);
            })
            .into_link(SENT),
        edge_lan("a syn after the time-out", at_edge(SYN, b""))
            .given(|gateway| {
                gateway.open();
                gateway.wait_longer(7_440_000);
            })
            .into_link("tcp 240.0.16.5:40000 > 240.0.8.1:5672 ttl 63 mss 1380"),
        edge_lan("a packet now and then keeps a connection", data())
            .given(|gateway| {
                gateway.open();
                gateway.wait(7_000_000);
                gateway.carry_from_lan(&data());
                gateway.wait(7_000_000);
            })
            .into_link(SENT),
        edge_lan("a packet overtaken by one of a later tick", data())
            .given(|gateway| {
                gateway.open();
                gateway.hold_up();
            })
            .into_link(SENT),
        edge_lan("time-outs are the site's own", data())
            .given(|gateway| {
                let times = [30_000, 60_000, 300_000, 300_000, 10_000, 120_000, 180_000, 30_000];
                let timeouts = Timeouts::from_milliseconds(times);
                gateway.tables.desired.settings.timeouts = timeouts;
                gateway.open();
                gateway.wait_longer(60_000);
            })
            .refused(Reason::NoFlow),
        cloud_link("errors about a connection do not keep it", to_cloud(DATA, b""))
            .given(|gateway| {
                gateway.open();
                gateway.wait(7_440_000);
                let about = to_edge(Load::Tcp(5672, 40_000, Bits::Ack), b"");
                gateway.carry_from_link(&error(EDGE_CLIENT, 3, 1, &about[ETHERNET..]));
                gateway.wait_longer(0);
            })
            .refused(Reason::NoFlow),
    ]
}

fn others() -> Vec<Case> {
    vec![
        edge_link("a question unanswered for two minutes", answer())
            .given(|gateway| {
                gateway.asked();
                gateway.wait(120_000);
            })
            .onto_lan(ANSWERED),
        edge_link("a question unanswered for longer", answer())
            .given(|gateway| {
                gateway.asked();
                gateway.wait_longer(120_000);
            })
            .refused(Reason::NoFlow),
        cloud_lan("a question unanswered for longer", {
            at_cloud(Load::Udp(53, QUERY_PORT), b"answer")
        })
        .given(|gateway| {
            gateway.asked();
            gateway.wait_longer(120_000);
        })
        .refused(Reason::NoFlow),
        edge_link("an exchange idle for three minutes", answer())
            .given(|gateway| {
                gateway.answered();
                gateway.wait(180_000);
            })
            .onto_lan(ANSWERED),
        edge_link("an answer overtaken by one of a later tick", answer())
            .given(|gateway| {
                gateway.answered();
                gateway.hold_up();
            })
            .onto_lan(ANSWERED),
        edge_link("an exchange idle for longer", answer())
            .given(|gateway| {
                gateway.answered();
                gateway.wait_longer(180_000);
            })
            .refused(Reason::NoFlow),
        edge_lan("another question after the time-out", at_edge(QUERY, b"query"))
            .given(|gateway| {
                gateway.answered();
                gateway.wait_longer(180_000);
            })
            .into_link("udp 240.0.16.5:4000 > 240.0.8.1:53 ttl 63 'query'"),
        cloud_lan("an echo request unanswered for longer", {
            at_cloud(Load::EchoReply(PING_PORT), b"ping")
        })
        .given(|gateway| {
            gateway.pinged();
            gateway.wait_longer(120_000);
        })
        .refused(Reason::NoFlow),
        edge_link("pings answered three minutes ago", to_edge(Load::EchoReply(77), b"ping"))
            .given(|gateway| {
                gateway.ponged();
                gateway.wait(180_000);
            })
            .onto_lan("pong 10.0.0.200 > 10.0.0.5 id 77 ttl 63 'ping'"),
        edge_lan("sctp data after the time-out", at_edge(SCTP, &sctp(5000, 3868, 9, 0)))
            .given(|gateway| {
                gateway.associated();
                gateway.wait_longer(120_000);
            })
            .refused(Reason::NoFlow),
    ]
}
