//! One of the two gateways before a case's frame comes: its tables, the flows it carries, and how the frame
//! comes in. What a case's preparation changes.

use super::{
    CLIENT, CLIENTS, EDGE_CLIENT, PING_PORT, PRESENCE, QUERY_PORT, SERVER, SERVICE, SYN_PORT,
};
use crate::{
    frames::{ETHERNET, sctp},
    two_sites::*,
};
use gateway_common::{
    Prefix, desired,
    host::{self, MemoryTables},
    map::{Network, NetworkFlags},
    path::Arrival,
    verdict::Verdict,
};

/// Interfaces of a second LAN and towards the gateway host itself.
pub(super) const OTHER_LAN: u32 = LAN + 1;
pub(super) const HOST: u32 = 5;

/// Which hook of which gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum At {
    EdgeLan,
    CloudLan,
    EdgeLink,
    CloudLink,
}

impl At {
    pub(super) const fn is_lan(self) -> bool {
        matches!(self, Self::EdgeLan | Self::CloudLan)
    }

    const fn is_edge(self) -> bool {
        matches!(self, Self::EdgeLan | Self::EdgeLink)
    }

    pub(super) fn decide(self, frame: &[u8], tables: &MemoryTables, arrival: Arrival) -> Verdict {
        if self.is_lan() {
            host::lan(frame, tables, arrival)
        } else {
            host::link(frame, tables, arrival)
        }
    }
}

/// A gateway that a frame is about to come to.
pub(super) struct Gateway {
    at: At,
    pub(super) tables: MemoryTables,
    pub(super) arrival: Arrival,
}

impl Gateway {
    pub(super) fn new(at: At) -> Self {
        let tables = if at.is_edge() { edge() } else { cloud() };
        let arrival = if at.is_lan() { from_lan() } else { from_link() };
        Self { at, tables, arrival }
    }

    /// Changes the tables, as a reload does: flows are judged anew.
    pub(super) fn reload(&mut self, change: impl FnOnce(&mut desired::Tables)) {
        let mut desired = self.tables.desired.clone();
        change(&mut desired);
        self.tables.replace(desired);
    }

    /// Lets this time pass, rounded down to ticks.
    pub(super) fn wait(&mut self, milliseconds: u64) {
        self.arrival.now.0 += ((milliseconds * 1_000_000) >> 24) as u32;
    }

    /// Lets one tick more than this time pass.
    pub(super) fn wait_longer(&mut self, milliseconds: u64) {
        self.wait(milliseconds);
        self.arrival.now.0 += 1;
    }

    /// Has the next packet told an earlier tick than those before it: its CPU was held up in between.
    pub(super) fn hold_up(&mut self) {
        self.arrival.now.0 -= 1;
    }

    /// Carries a frame that came in on the LAN.
    pub(super) fn carry_from_lan(&self, frame: &[u8]) {
        let arrival = Arrival { now: self.arrival.now, ..from_lan() };
        let verdict = host::lan(frame, &self.tables, arrival);
        assert!(matches!(verdict, Verdict::Forward(_)), "in preparation: {verdict:?}");
    }

    /// Carries a frame, without its Ethernet header, that came out of the link.
    pub(super) fn carry_from_link(&self, frame: &[u8]) {
        let arrival = Arrival { now: self.arrival.now, ..from_link() };
        let verdict = host::link(&frame[ETHERNET..], &self.tables, arrival);
        assert!(matches!(verdict, Verdict::Forward(_)), "in preparation: {verdict:?}");
    }

    /// Carries a packet of the client's.
    fn client(&self, load: &Load, payload: &[u8]) {
        if self.at.is_edge() {
            self.carry_from_lan(&frame(CLIENT, PRESENCE, load, payload));
        } else {
            self.carry_from_link(&frame(EDGE_CLIENT, SERVICE, load, payload));
        }
    }

    /// Carries a packet of the service's.
    fn service(&self, load: &Load, payload: &[u8]) {
        if self.at.is_edge() {
            self.carry_from_link(&frame(SERVICE, EDGE_CLIENT, load, payload));
        } else {
            self.carry_from_lan(&frame(SERVER, CLIENTS, load, payload));
        }
    }

    /// The client's port where the service's packets come in.
    const fn port(&self, at_edge: u16, at_cloud: u16) -> u16 {
        if self.at.is_edge() { at_edge } else { at_cloud }
    }

    fn client_tcp(&self, bits: Bits) {
        self.client(&Load::Tcp(40_000, 5672, bits), b"");
    }

    fn service_tcp(&self, bits: Bits) {
        self.service(&Load::Tcp(5672, self.port(40_000, SYN_PORT), bits), b"");
    }

    /// The client asked for a connection.
    pub(super) fn opening(&mut self) {
        self.client_tcp(Bits::Syn);
    }

    /// The service took it.
    pub(super) fn accepted(&mut self) {
        self.opening();
        self.service_tcp(Bits::SynAck);
    }

    /// The client confirmed it.
    pub(super) fn open(&mut self) {
        self.accepted();
        self.client_tcp(Bits::Ack);
    }

    /// The client has finished.
    pub(super) fn client_closed(&mut self) {
        self.open();
        self.client_tcp(Bits::FinAck);
    }

    /// The service has finished.
    pub(super) fn service_closed(&mut self) {
        self.open();
        self.service_tcp(Bits::FinAck);
    }

    /// Both have.
    pub(super) fn closed(&mut self) {
        self.client_closed();
        self.service_tcp(Bits::FinAck);
    }

    /// The client reset it.
    pub(super) fn reset(&mut self) {
        self.open();
        self.client_tcp(Bits::Rst);
    }

    /// The client sent a datagram.
    pub(super) fn asked(&mut self) {
        self.client(&Load::Udp(4000, 53), b"query");
    }

    /// The service answered it.
    pub(super) fn answered(&mut self) {
        self.asked();
        self.service(&Load::Udp(53, self.port(4000, QUERY_PORT)), b"answer");
    }

    /// The client sent an echo request.
    pub(super) fn pinged(&mut self) {
        self.client(&Load::EchoRequest(77), b"ping");
    }

    /// The service answered it.
    pub(super) fn ponged(&mut self) {
        self.pinged();
        self.service(&Load::EchoReply(self.port(77, PING_PORT)), b"ping");
    }

    /// The client sent a packet of protocol 47.
    pub(super) fn tunnelled(&mut self) {
        self.client(&Load::Other(47), b"gre");
    }

    /// The client asked for an SCTP association.
    pub(super) fn associated(&mut self) {
        self.client(&Load::Other(132), &sctp(5000, 3868, 0, 1));
    }

    /// The gateway host is a client of its own: 10.0.0.1, which is 240.0.17.0 in links at the edge.
    pub(super) fn has_host(&mut self) {
        let host = Network {
            prefix: Prefix::new(address([10, 0, 0, 1]).0, 32),
            first: 256,
            interface: HOST,
            flags: NetworkFlags::HOST,
            ..self.tables.desired.settings.networks[0]
        };
        self.add_first(host);
    }

    /// There is a second LAN, 172.16.0.0/24 from 240.0.17.0 on at the edge, all of whose hosts are its own.
    pub(super) fn has_other_lan(&mut self) {
        let other = Network {
            prefix: Prefix::new(address([172, 16, 0, 0]).0, 24),
            first: 256,
            interface: OTHER_LAN,
            flags: NetworkFlags::ON_LINK,
            ..self.tables.desired.settings.networks[0]
        };
        self.add_first(other);
    }

    fn add_first(&mut self, network: Network) {
        let settings = &mut self.tables.desired.settings;
        settings.networks[1] = settings.networks[0];
        settings.networks[0] = network;
        settings.network_count = 2;
    }
}
