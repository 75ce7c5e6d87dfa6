//! What became of flows from one look at the table to the next, for `flow list --follow`. Pure: looks come
//! in, changes go out.
//!
//! Memory is bounded: of more flows than there is room for, those that came last are not followed.

use std::collections::BTreeMap;
use std::time::Duration;

use gateway_common::map::{Flow, FlowKey, FlowState};
use serde::Serialize;
use zerocopy::transmute;

use super::flows::Row;
use super::print::{Line, octets};

/// What became of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Change {
    /// It is there.
    Opened,
    /// Both ends want it.
    Confirmed,
    /// Both ends or one of them ended it, or it timed out.
    Closed,
}

/// A change of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    /// What became of it.
    pub change: Change,
    /// Which flow.
    pub key: FlowKey,
    /// The flow as it was seen last.
    pub flow: Flow,
}

/// The flows that are followed, as they were seen last.
#[derive(Debug)]
pub(crate) struct Follower {
    flows: BTreeMap<[u8; 16], Followed>,
    room: usize,
    look: u32,
    left_out: usize,
}

#[derive(Clone, Copy, Debug)]
struct Followed {
    flow: Flow,
    is_confirmed: bool,
    is_closed: bool,
    /// The look at which it was seen last.
    look: u32,
}

impl Follower {
    /// Most flows that are followed: some 25 MB.
    pub(crate) const ROOM: usize = 1 << 18;

    /// A follower of at most `room` flows. What it sees before the first [`Self::end_look`] is where it
    /// begins, and no change.
    pub(crate) fn new(room: usize) -> Self {
        Self { flows: BTreeMap::new(), room, look: 0, left_out: 0 }
    }

    /// Sees a flow, and gives what became of it since the last look.
    pub(crate) fn see(
        &mut self,
        key: &FlowKey,
        flow: &Flow,
    ) -> impl Iterator<Item = Event> + use<> {
        let event = |change| Event { change, key: *key, flow: *flow };
        let state = flow.state();
        let mut changes = [None; 3];
        let bytes: [u8; 16] = transmute!(*key);
        let is_room = self.flows.len() < self.room;
        let known = match self.flows.get_mut(&bytes) {
            Some(known) => {
                if known.is_reused_by(flow) {
                    let closed = Event { change: Change::Closed, key: *key, flow: known.flow };
                    changes[0] = (!known.is_closed).then_some(closed);
                    *known = Followed::new(flow, self.look);
                    changes[1] = Some(event(Change::Opened));
                }
                known
            }
            None if !is_room => {
                self.left_out += 1;
                return changes.into_iter().flatten();
            }
            None => {
                changes[1] = Some(event(Change::Opened));
                self.flows.entry(bytes).or_insert(Followed::new(flow, self.look))
            }
        };
        (known.flow, known.look) = (*flow, self.look);
        if state == FlowState::Closed {
            changes[2] = (!known.is_closed).then_some(event(Change::Closed));
            known.is_closed = true;
        } else if state.is_confirmed() {
            changes[2] = (!known.is_confirmed).then_some(event(Change::Confirmed));
            known.is_confirmed = true;
        }
        if self.look == 0 {
            changes = [None; 3];
        }
        changes.into_iter().flatten()
    }

    /// The flows that were not seen in this look, which may have been missed.
    pub(crate) fn unseen(&self) -> Vec<FlowKey> {
        let unseen = self.flows.iter().filter(|(_, known)| known.look != self.look);
        unseen.map(|(bytes, _)| transmute!(*bytes)).collect()
    }

    /// Ends a look: the flows that were not seen in it are gone.
    pub(crate) fn end_look(&mut self) -> Vec<Event> {
        let look = self.look;
        let mut gone = Vec::new();
        self.flows.retain(|bytes, known| {
            if known.look != look && !known.is_closed {
                let key = transmute!(*bytes);
                gone.push(Event { change: Change::Closed, key, flow: known.flow });
            }
            known.look == look
        });
        self.look = self.look.wrapping_add(1).max(1);
        gone
    }

    /// How many flows were not followed for want of room since this was asked last.
    pub(crate) fn left_out(&mut self) -> usize {
        std::mem::take(&mut self.left_out)
    }
}

impl Followed {
    fn new(flow: &Flow, look: u32) -> Self {
        Self { flow: *flow, is_confirmed: false, is_closed: false, look }
    }

    /// Whether `now` is another flow under the same key: a client used its port again. Two CPUs that
    /// count at once may set counts back a little, so only less than half is another flow's.
    fn is_reused_by(&self, now: &Flow) -> bool {
        let octets = |flow: &Flow| flow.bytes[0].wrapping_add(flow.bytes[1]);
        let state = now.state();
        let is_reopened = self.is_closed && state != FlowState::Closed;
        let is_new = self.is_confirmed && !state.is_confirmed() && state != FlowState::Closed;
        is_reopened || is_new || octets(now) < octets(&self.flow) / 2
    }
}

/// A change of a flow, as it is printed.
#[derive(Debug, Serialize)]
pub(crate) struct Told {
    /// When it was seen, in milliseconds since 1970.
    pub unix_milliseconds: u64,
    /// What became of the flow.
    pub event: Change,
    /// The flow.
    #[serde(flatten)]
    pub flow: Row,
}

impl Told {
    /// A change of this flow, seen so long after the beginning of 1970.
    pub(crate) fn new(event: Change, flow: Row, at: Duration) -> Self {
        Self { unix_milliseconds: u64::try_from(at.as_millis()).unwrap_or(u64::MAX), event, flow }
    }
}

impl Line for Told {
    const COLUMNS: &'static [(&'static str, usize)] = &[
        ("time", 9),
        ("event", 9),
        ("proto", 6),
        ("client", 21),
        ("of site", 12),
        ("service", 28),
        ("here", 21),
        ("state", 14),
        ("to service", 10),
        ("to client", 0),
    ];

    fn cells(&self) -> Vec<String> {
        let Self { unix_milliseconds, event, flow } = self;
        let seconds = unix_milliseconds / 1000 % 86_400;
        let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        vec![
            format!("{hours:02}:{minutes:02}:{seconds:02}Z"),
            format!("{event:?}").to_lowercase(),
            flow.protocol.clone(),
            format!("{}:{}", flow.local_client, flow.local_client_port),
            super::print::or_dash(flow.client_site.as_ref()),
            format!("{}:{}", flow.service, flow.service_port),
            format!("{}:{}", flow.local_service, flow.local_service_port),
            flow.state.to_owned(),
            octets(flow.bytes_to_service),
            octets(flow.bytes_to_client),
        ]
    }
}

#[cfg(test)]
mod tests {
    use gateway_common::map::Endpoints;
    use gateway_common::{LocalAddress, Port, Protocol, Ticks, TransitAddress};

    use super::super::sample;
    use super::*;

    fn key(port: u16) -> FlowKey {
        let ends = Endpoints {
            client: TransitAddress::from(std::net::Ipv4Addr::new(240, 0, 16, 5)),
            client_port: Port::new(port),
            service: TransitAddress::from(std::net::Ipv4Addr::new(240, 0, 8, 1)),
            service_port: Port::new(5672),
        };
        FlowKey::new(ends, Protocol::TCP)
    }

    fn flow(state: FlowState, octets: u64) -> Flow {
        let local = |last| LocalAddress::from(std::net::Ipv4Addr::new(10, 0, 0, last));
        let ends = Endpoints {
            client: local(5),
            client_port: Port::new(40000),
            service: local(200),
            service_port: Port::new(5672),
        };
        let mut flow = Flow::opening(ends, 1, Ticks(0), state);
        flow.bytes = [octets, 0];
        flow
    }

    /// One look at these flows.
    fn look(follower: &mut Follower, flows: &[(u16, Flow)]) -> Vec<(Change, u16, u64)> {
        let mut events = Vec::new();
        for (port, flow) in flows {
            events.extend(follower.see(&key(*port), flow));
        }
        events.extend(follower.end_look());
        let told = |it: &Event| (it.change, it.key.client_port.number(), it.flow.bytes[0]);
        events.iter().map(told).collect()
    }

    #[test]
    fn a_flow_is_opened_confirmed_and_closed_once() {
        use Change::{Closed, Confirmed, Opened};
        use FlowState as State;
        let mut follower = Follower::new(10);
        assert_eq!(look(&mut follower, &[(1, flow(State::Open, 100))]), [], "where it begins");
        type Step<'a> = (&'a [(u16, Flow)], &'a [(Change, u16, u64)]);
        let steps: [Step<'_>; 8] = [
            (&[(1, flow(State::Open, 120)), (2, flow(State::Opening, 60))], &[(Opened, 2, 60)]),
            (&[(1, flow(State::Open, 120)), (2, flow(State::Accepted, 60))], &[]),
            (&[(1, flow(State::Open, 120)), (2, flow(State::Open, 90))], &[(Confirmed, 2, 90)]),
            (&[(2, flow(State::ClientClosed, 95))], &[(Closed, 1, 120)]),
            (&[(2, flow(State::Closed, 99))], &[(Closed, 2, 99)]),
            (&[(2, flow(State::Closed, 99))], &[]),
            (
                &[(2, flow(State::Opening, 60)), (3, flow(State::Open, 7))],
                &[(Opened, 2, 60), (Opened, 3, 7), (Confirmed, 3, 7)],
            ),
            (&[(2, flow(State::Opening, 20))], &[(Closed, 2, 60), (Opened, 2, 20), (Closed, 3, 7)]),
        ];
        for (flows, expected) in steps {
            assert_eq!(look(&mut follower, flows), expected);
        }
    }

    #[test]
    fn a_flow_that_comes_twice_in_a_look_is_told_once() {
        let mut follower = Follower::new(10);
        look(&mut follower, &[]);
        let twice = [(1, flow(FlowState::Accepted, 60)), (1, flow(FlowState::Open, 100))];
        let changes = look(&mut follower, &twice);
        assert_eq!(changes, [(Change::Opened, 1, 60), (Change::Confirmed, 1, 100)]);
        assert_eq!(look(&mut follower, &[(1, flow(FlowState::Open, 100))]), []);
    }

    #[test]
    fn there_is_no_more_room_than_there_is() {
        let mut follower = Follower::new(2);
        look(&mut follower, &[]);
        let many: Vec<_> = (1..=5).map(|port| (port, flow(FlowState::Open, 1))).collect();
        assert_eq!(look(&mut follower, &many).len(), 4);
        assert_eq!((follower.flows.len(), follower.left_out(), follower.left_out()), (2, 3, 0));
        assert_eq!(look(&mut follower, &many[3..]).len(), 2, "two are gone");
        assert_eq!(look(&mut follower, &many[3..]).len(), 4, "and make room");
    }

    #[test]
    fn flows_that_may_have_been_missed_are_named() {
        let mut follower = Follower::new(10);
        look(&mut follower, &[(1, flow(FlowState::Open, 1)), (2, flow(FlowState::Open, 1))]);
        let _ = follower.see(&key(2), &flow(FlowState::Open, 1));
        assert_eq!(follower.unseen(), [key(1)]);
    }

    #[test]
    fn changes_have_the_fields_of_flows() {
        let row =
            Row::of(&sample::tables(), 1, &key(40000), &flow(FlowState::Open, 2048), Ticks(0));
        let told = Told::new(Change::Confirmed, row, Duration::from_millis(86_400_000 + 3_661_007));
        let json = serde_json::to_value(&told).unwrap();
        assert_eq!(json["event"], "confirmed");
        assert_eq!(json["unix_milliseconds"], 90_061_007);
        assert_eq!(json["service"], "rabbitmq.cloud");
        assert_eq!(json["bytes_to_service"], 2048);
        assert_eq!(told.cells()[..2], ["01:01:01Z", "confirmed"]);
        assert_eq!(told.cells().len(), Told::COLUMNS.len());
    }
}
