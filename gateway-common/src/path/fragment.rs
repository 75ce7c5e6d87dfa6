//! Fragments: a later one has no ports, so it takes those that the first one left in `fragments4`, and
//! goes the first one's way. Called by `lan` and `link` before a flow is looked for, and after a refusal.
//!
//! A later fragment is judged like any packet, by the ports of its first. No octet of a datagram passes
//! twice: what the gateway judged by the first fragment cannot be replaced by a later one (RFC 1858,
//! RFC 3128).

use super::{Arrival, Refusal};
use crate::{
    Port, Protocol, Reason, Ticks,
    frame::Frame,
    map::{FragmentHead, FragmentKey, Fragmented, Side, Span},
    tables::{FragmentSlot, Insertion, Tables},
    wire::Ipv4Header,
};

/// Checks what a fragment's header says of its place in the datagram.
#[inline(always)]
pub(super) const fn check(header: &Ipv4Header) -> Result<(), Reason> {
    let length = header.total() - Ipv4Header::LENGTH;
    // RFC 791 section 3.2: only the last may end elsewhere than at a unit. An empty one is no part of
    // anything, and one that ends behind the longest packet there is would overflow its receiver.
    let is_ragged = header.has_more_fragments() && !length.is_multiple_of(8);
    let is_beyond = header.fragment_offset() * 8 + header.total() > u16::MAX as u32;
    if length == 0 || is_ragged || is_beyond { Err(Reason::Malformed) } else { Ok(()) }
}

/// Before the flow of a fragment is looked for: remembers a first one and its ports, source first, for those
/// that follow, gives a later one the ports of its first, and refuses what overlaps.
#[inline(always)]
pub fn follow<T: Tables>(
    tables: &T,
    header: &Ipv4Header,
    ports: [Port; 2],
    now: Ticks,
    side: Side,
) -> Result<[Port; 2], Reason> {
    let (key, span) = (key(header, side), span(header));
    if header.is_later_fragment() {
        let head = later(tables, &key, span, now)?;
        return Ok([head.source_port, head.destination_port]);
    }
    let [source_port, destination_port] = ports;
    first(tables, &key, span, FragmentHead { source_port, destination_port, since: now })?;
    Ok(ports)
}

/// After a packet was refused: forgets it, if it is a first fragment. So nobody fills the table but who
/// may send. What overlaps stays, since it refuses the rest.
#[inline(always)]
pub(super) fn forget<F: Frame, T: Tables>(
    frame: &F,
    tables: &T,
    arrival: Arrival,
    refusal: Refusal,
) {
    // Read again, so that no packet has to keep it at hand for the case that it is refused.
    let Some(header) = frame.load::<Ipv4Header>(arrival.ip) else { return };
    let is_first = header.is_fragment() && !header.is_later_fragment();
    if is_first && refusal.reason != Reason::FragmentOverlap {
        tables.remove_fragments(&key(&header, refusal.side));
    }
}

#[inline(always)]
fn key(header: &Ipv4Header, side: Side) -> FragmentKey {
    FragmentKey {
        source: header.source,
        destination: header.destination,
        identification: header.identification,
        protocol: Protocol(header.protocol),
        side,
    }
}

/// Remembers a first fragment for those that follow.
#[inline(always)]
fn first<T: Tables>(
    tables: &T,
    key: &FragmentKey,
    span: Span,
    head: FragmentHead,
) -> Result<(), Reason> {
    if let Some(slot) = tables.fragments(key) {
        if is_alive(&slot, head.since) {
            return Err(spoil(&slot));
        }
        tables.remove_fragments(key);
    }
    match tables.add_fragments(key) {
        Insertion::Inserted => {}
        // Another CPU has its double.
        Insertion::Exists => return Err(Reason::FragmentOverlap),
        // The least recently used makes room; that there is none takes more CPUs than entries.
        Insertion::Full => return Err(Reason::KernelRefused),
    }
    if let Some(slot) = tables.fragments(key)
        && slot.may_change()
    {
        slot.set_seen(0, span.word());
        slot.set_head(head);
    }
    Ok(())
}

/// Finds what the first fragment of a later one said, and notes what has come.
#[inline(always)]
fn later<T: Tables>(
    tables: &T,
    key: &FragmentKey,
    span: Span,
    now: Ticks,
) -> Result<FragmentHead, Reason> {
    let Some(slot) = tables.fragments(key) else { return Err(Reason::FragmentUnknown) };
    if !is_alive(&slot, now) {
        tables.remove_fragments(key);
        return Err(Reason::FragmentUnknown);
    }
    let joined = cover(&slot, span)?;
    let head = slot.head();
    // Whole, it is done with: its sender may use the number again at once.
    if joined == Span::WHOLE {
        tables.remove_fragments(key);
    }
    Ok(head)
}

#[inline(always)]
fn is_alive(slot: &impl FragmentSlot, now: Ticks) -> bool {
    !now.is_past(slot.head().since, Fragmented::TIMEOUT)
}

/// The part of the datagram that a fragment carries.
#[inline(always)]
const fn span(header: &Ipv4Header) -> Span {
    let start = header.fragment_offset();
    let units = (header.total() - Ipv4Header::LENGTH) / 8;
    let end = if header.has_more_fragments() { start + units } else { Span::INFINITY };
    Span { start, end }
}

/// What overlaps spoils its datagram as a whole (RFC 5722 says so of IPv6; here for the same reason):
/// all of it counts as seen, so that the rest overlaps too.
#[inline(always)]
fn spoil(slot: &impl FragmentSlot) -> Reason {
    if slot.may_change() {
        slot.set_seen(0, Span::WHOLE.word());
    }
    Reason::FragmentOverlap
}

/// Does something at each place of the list. No loop: one may come out of the compiler in a shape that
/// the verifier of Linux 6.1 refuses ("back-edge", where a loop's head is fallen into from its end).
macro_rules! at_each_place {
    ($place:ident => $act:expr) => {{
        at_each_place!($place => $act, 0);
        at_each_place!($place => $act, 1);
        at_each_place!($place => $act, 2);
        at_each_place!($place => $act, 3);
    }};
    ($place:ident => $act:expr, $number:literal) => {{
        let $place = $number;
        $act;
    }};
}
const _: () = assert!(Fragmented::SPANS == 4, "as many places as `at_each_place` has");

/// Adds `new` to what was seen and gives what it is part of now. No place is kept to come back to: what
/// is computed and then used as an index, the verifier follows value by value.
#[inline(always)]
fn cover(slot: &impl FragmentSlot, new: Span) -> Result<Span, Reason> {
    let mut scan = Scan { joined: new, has_room: false };
    at_each_place!(place => scan.look(slot, place, new)?);
    if !scan.has_room {
        return Err(Reason::FragmentScattered);
    }
    if slot.may_change() {
        let mut is_placed = false;
        at_each_place!(place => put(slot, place, new, scan.joined, &mut is_placed));
    }
    Ok(scan.joined)
}

/// What a new span finds in the list.
struct Scan {
    joined: Span,
    has_room: bool,
}

impl Scan {
    #[inline(always)]
    fn look(&mut self, slot: &impl FragmentSlot, place: usize, new: Span) -> Result<(), Reason> {
        let word = slot.seen(place);
        let seen = Span::from_word(word);
        if new.start < seen.end && seen.start < new.end {
            return Err(spoil(slot));
        }
        if seen.end == new.start {
            self.joined.start = seen.start;
        }
        if seen.start == new.end {
            self.joined.end = seen.end;
        }
        if word == 0 || touch(seen, new) {
            self.has_room = true;
        }
        Ok(())
    }
}

/// Puts `joined` where the first of what it is made of was, else in the first free place.
#[inline(always)]
fn put(slot: &impl FragmentSlot, place: usize, new: Span, joined: Span, is_placed: &mut bool) {
    let word = slot.seen(place);
    if word != 0 && !touch(Span::from_word(word), new) {
        return;
    }
    if *is_placed {
        slot.set_seen(place, 0);
    } else {
        slot.set_seen(place, joined.word());
        *is_placed = true;
    }
}

/// Whether one of two spans ends where the other begins. No span, which is 0, touches none but the first.
#[inline(always)]
const fn touch(a: Span, b: Span) -> bool {
    a.end == b.start || a.start == b.end
}
