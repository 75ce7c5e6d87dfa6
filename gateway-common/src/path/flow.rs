//! How far a flow has come, and whether it is still alive.

use super::{Content, Passage, Transport};
use crate::{
    Ticks,
    map::{Direction, Flow, FlowState, Settings},
    tables::Carried,
    wire::TcpFlags,
};

/// Whether `flow` has not timed out.
#[inline(always)]
pub(super) fn is_alive(flow: &Flow, settings: &Settings, now: Ticks) -> bool {
    !now.is_past(flow.seen, settings.timeouts.of(flow))
}

/// The state of a flow that `packet` opens.
#[inline(always)]
pub(super) const fn first_state(content: &Content) -> FlowState {
    match content.transport {
        Transport::Tcp if content.flags.opens() => FlowState::Opening,
        Transport::Tcp if content.flags.has(TcpFlags::FIN) => FlowState::ClientClosed,
        Transport::Tcp => FlowState::Open,
        Transport::Udp
        | Transport::SctpInit
        | Transport::Sctp
        | Transport::EchoRequest
        | Transport::EchoReply
        | Transport::Error
        | Transport::Other
        | Transport::Later => FlowState::Asked,
    }
}

/// Packets of an exchange of which only the client's are seen, from which on it is taken for a stream that
/// is meant to be one-way.
const STEADY: u32 = 64;

/// Whether an unconfirmed flow that is in `state` now has earned a place of its own: both ends want it, or it
/// carries a steady stream in one direction. A flood of flows with few packets each never gets there.
#[inline(always)]
pub(super) fn is_wanted(flow: &Flow, state: FlowState) -> bool {
    let is_stream = matches!(state, FlowState::Asked);
    state.is_confirmed() || (is_stream && flow.packets[Direction::Forward as usize] >= STEADY)
}

/// What a packet changes in its flow, which was in `state`.
#[inline(always)]
pub(super) fn carried(passage: &Passage, state: FlowState) -> Carried {
    let direction = passage.direction;
    Carried {
        direction,
        packets: passage.packets,
        bytes: passage.total,
        seen: passage.now,
        state: next_state(state, &passage.content, direction),
    }
}

/// The state after a packet.
#[inline(always)]
const fn next_state(state: FlowState, content: &Content, direction: Direction) -> FlowState {
    match content.transport {
        Transport::Tcp => next_tcp_state(state, content.flags, direction),
        Transport::Later => state,
        Transport::Udp
        | Transport::SctpInit
        | Transport::Sctp
        | Transport::EchoRequest
        | Transport::EchoReply
        | Transport::Error
        | Transport::Other => match direction {
            Direction::Forward => state,
            Direction::Reverse => FlowState::Answered,
        },
    }
}

/// A client that reuses its port (RFC 9293 section 3.6.1, RFC 6191) opens the flow anew; a SYN in an
/// open connection changes nothing, the service answers it as it likes (RFC 5961 section 4).
#[inline(always)]
const fn next_tcp_state(state: FlowState, flags: TcpFlags, direction: Direction) -> FlowState {
    use Direction::{Forward, Reverse};
    use FlowState::{
        Accepted, Answered, Asked, ClientClosed, Closed, Open, Opening, ServiceClosed,
    };
    if flags.has(TcpFlags::RST) {
        return Closed;
    }
    match (state, direction) {
        (Opening, Reverse) if flags.has(TcpFlags::SYN | TcpFlags::ACK) => Accepted,
        (Accepted, Forward) if flags.has(TcpFlags::FIN) => ClientClosed,
        (Accepted, Forward) if flags.has(TcpFlags::ACK) => Open,
        (Closed | ClientClosed | ServiceClosed, Forward) if flags.opens() => Opening,
        (Open, Forward) if flags.has(TcpFlags::FIN) => ClientClosed,
        (Open, Reverse) if flags.has(TcpFlags::FIN) => ServiceClosed,
        (ServiceClosed, Forward) if flags.has(TcpFlags::FIN) => Closed,
        (ClientClosed, Reverse) if flags.has(TcpFlags::FIN) => Closed,
        (
            Opening | Accepted | Open | ClientClosed | ServiceClosed | Closed | Asked | Answered,
            Forward | Reverse,
        ) => state,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYN: u8 = TcpFlags::SYN;
    const ACK: u8 = TcpFlags::ACK;
    const FIN: u8 = TcpFlags::FIN;
    const RST: u8 = TcpFlags::RST;

    fn run(packets: &[(Direction, u8)]) -> FlowState {
        packets.iter().fold(FlowState::Opening, |state, (direction, flags)| {
            next_tcp_state(state, TcpFlags(*flags), *direction)
        })
    }

    #[test]
    fn tcp_connections_go_through_their_states() {
        use Direction::{Forward as F, Reverse as R};
        let cases: &[(&[(Direction, u8)], FlowState)] = &[
            (&[(F, SYN)], FlowState::Opening),
            (&[(F, SYN), (R, ACK)], FlowState::Opening),
            (&[(F, SYN), (R, SYN | ACK)], FlowState::Accepted),
            (&[(F, SYN), (R, SYN | ACK), (R, SYN | ACK), (F, SYN)], FlowState::Accepted),
            (&[(F, SYN), (R, SYN | ACK), (F, ACK)], FlowState::Open),
            (&[(F, SYN), (R, RST | ACK)], FlowState::Closed),
            (&[(R, SYN | ACK), (F, ACK), (F, SYN)], FlowState::Open),
            (&[(R, SYN | ACK), (F, FIN | ACK)], FlowState::ClientClosed),
            (&[(R, SYN | ACK), (F, FIN | ACK), (R, ACK)], FlowState::ClientClosed),
            (&[(R, SYN | ACK), (F, FIN | ACK), (R, FIN | ACK)], FlowState::Closed),
            (&[(R, SYN | ACK), (F, ACK), (R, FIN | ACK), (F, FIN | ACK)], FlowState::Closed),
            (&[(R, SYN | ACK), (F, RST)], FlowState::Closed),
            (&[(R, SYN | ACK), (F, RST), (F, SYN)], FlowState::Opening),
            (&[(R, SYN | ACK), (F, FIN | ACK), (R, FIN | ACK), (F, ACK)], FlowState::Closed),
        ];
        for (packets, expected) in cases {
            assert_eq!(run(packets), *expected, "{packets:?}");
        }
    }
}
