//! Sessions: an end against any octets, as they are or as the messages of frames that are in turn.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use gateway_control::deployment::share::{Item, ItemKey, LinkedGateway, Share};
use gateway_control::session::{
    ControllerEnd, ControllerEvent, Edition, End, GatewayEnd, GatewayEvent, Hello, Holding, Lease,
    Peer, VERSION, Wanted,
};

/// Puts octets to one end of a session, as another end might send them.
///
/// The first octet says which end it is (bit 0: the gateway's), whether the octets are the contents of frames that are
/// in turn (bit 1), and whether there was a beginning: the controller has heard who the gateway is, the gateway has
/// a share (bit 2). Then come pieces. Before each stand how many seconds passed, and its length, of two octets.
///
/// # Panics
///
/// If an end panics, says something after it is over, has a time that stays due, sends more than it was asked for, or
/// if the gateway has a share that it was not told.
pub fn session(data: &[u8]) {
    run(data);
}

/// What became of the end: the kinds of its events, and why it closed.
fn run(data: &[u8]) -> (BTreeMap<&'static str, usize>, Option<String>) {
    let Some((kind, rest)) = data.split_first() else { return Default::default() };
    let began = kind & 4 != 0;
    match (kind & 1 == 0, kind & 2 == 0) {
        (true, is_raw) => {
            let mut end = ControllerEnd::new(start(), Peer::Host, lease());
            let edition = Arc::new(Edition::new(share(3))).next(share(4));
            end.set_orders(start(), Wanted { revision: Some(2), share: Ok(edition) });
            let hello = began.then(hello_frame);
            put(end, hello.as_deref(), rest, is_raw, of_controller, |_, _| {})
        }
        (false, is_raw) => {
            let holding = began.then(|| Holding::new(Some(1), share(3).encode()).expect("a share"));
            let end = GatewayEnd::new(start(), hello(), holding);
            put(end, None, rest, is_raw, of_gateway, holds_what_it_was_told)
        }
    }
}

type Run = (BTreeMap<&'static str, usize>, Option<String>);

fn put<E: End>(
    mut end: E,
    beginning: Option<&[u8]>,
    mut rest: &[u8],
    is_raw: bool,
    of: fn(&E::Event) -> (&'static str, Option<String>),
    look: impl Fn(&E, &E::Event),
) -> Run {
    let mut now = start();
    let (mut number, mut events, mut closed) = (0, BTreeMap::new(), None);
    let mut sent = 0;
    if let Some(octets) = beginning {
        end.handle_input(now, octets);
        number = 1;
    }
    loop {
        while let Some(event) = end.poll_event() {
            assert!(closed.is_none(), "something happens when all is over");
            let (kind, reason) = of(&event);
            *events.entry(kind).or_default() += 1;
            closed = reason;
            look(&end, &event);
        }
        while let Some(octets) = end.poll_transmit() {
            sent += octets.len();
            assert!(sent < 1 << 20, "it sends without end");
        }
        assert!(closed.is_none() || end.poll_timeout().is_none(), "a time for what is over");
        let [seconds, high, low, tail @ ..] = rest else { break };
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(tail.len());
        let (piece, tail) = tail.split_at(length);
        rest = tail;
        now += Duration::from_secs((*seconds).into());
        match is_raw {
            true => end.handle_input(now, piece),
            false => {
                end.handle_input(now, &frame(number, piece));
                number += 1;
            }
        }
        end.handle_timeout(now);
        assert!(end.poll_timeout().is_none_or(|due| due > now), "a time that stays due");
    }
    (events, closed)
}

fn of_controller(event: &ControllerEvent) -> (&'static str, Option<String>) {
    match event {
        ControllerEvent::Hello(_) => ("hello", None),
        ControllerEvent::Report(_) => ("report", None),
        ControllerEvent::Renew(_) => ("renew", None),
        ControllerEvent::LinkKey(_) => ("link key", None),
        ControllerEvent::Astray => ("astray", None),
        ControllerEvent::Closed(reason) => ("closed", Some(reason.to_string())),
    }
}

fn of_gateway(event: &GatewayEvent) -> (&'static str, Option<String>) {
    match event {
        GatewayEvent::Orders { share: Ok(_), .. } => ("share", None),
        GatewayEvent::Orders { share: Err(_), .. } => ("nothing", None),
        GatewayEvent::Renewed(_) => ("renewed", None),
        GatewayEvent::Astray(_) => ("astray", None),
        GatewayEvent::Certificate(_) => ("certificate", None),
        GatewayEvent::LinkKeyTaken(_) => ("link key taken", None),
        GatewayEvent::Closed(reason) => ("closed", Some(reason.to_string())),
    }
}

fn holds_what_it_was_told(end: &GatewayEnd, event: &GatewayEvent) {
    let GatewayEvent::Orders { share: Ok(told), .. } = event else { return };
    assert_eq!(end.holding(), Some(told), "it holds another share");
    let again = Holding::new(told.revision(), told.octets().to_vec()).expect("it was a share");
    assert_eq!(again.share(), told.share(), "its octets mean another share");
    assert_eq!(again.held(), told.held(), "its octets have another digest");
}

fn start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now)
}

fn lease() -> Option<Lease> {
    Some(Lease::For(Duration::from_secs(60)))
}

fn hello() -> Hello {
    Hello {
        version: VERSION,
        site: "edge-a".parse().expect("a name"),
        gateway: "gw".parse().expect("a name"),
        public_key: [7; 32].into(),
        program: "0.1.0".to_owned(),
        holds: None,
    }
}

fn hello_frame() -> Vec<u8> {
    let mut gateway = GatewayEnd::new(start(), hello(), None);
    gateway.poll_transmit().expect("a gateway says who it is")
}

fn share(links: u8) -> Arc<Share> {
    let mut share = Share::default();
    for n in 0..links {
        let site: gateway_control::model::SiteName = format!("s{n}").parse().expect("a name");
        let item =
            LinkedGateway { site: site.clone(), public_key: [n; 32].into(), endpoints: Vec::new() };
        share.set(ItemKey::Peer(site), Some(Item::Peer(item)));
    }
    Arc::new(share)
}

/// A frame: its length, then an envelope with its number (field 1) and content (field 2).
fn frame(number: u64, content: &[u8]) -> Vec<u8> {
    let mut envelope = vec![0x08];
    varint(number, &mut envelope);
    envelope.push(0x12);
    varint(content.len() as u64, &mut envelope);
    envelope.extend_from_slice(content);
    let length = u32::try_from(envelope.len()).expect("contents are short");
    [&length.to_be_bytes()[..], &envelope].concat()
}

fn varint(mut value: u64, to: &mut Vec<u8>) {
    while value >= 0x80 {
        to.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    to.push(value.to_le_bytes()[0]);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    /// A corpus that only gets ends to close would find little.
    #[test]
    fn the_corpus_reaches_every_event_and_many_ends() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/session");
        let mut seen = BTreeSet::new();
        let mut closed = BTreeSet::new();
        let mut went_on = 0;
        for entry in fs::read_dir(corpus).unwrap() {
            let (events, reason) = run(&fs::read(entry.unwrap().path()).unwrap());
            seen.extend(events.into_keys());
            went_on += usize::from(reason.is_none());
            closed.extend(reason);
        }
        let wanted = BTreeSet::from([
            "astray",
            "certificate",
            "closed",
            "hello",
            "link key",
            "link key taken",
            "nothing",
            "renew",
            "renewed",
            "report",
            "share",
        ]);
        assert_eq!(seen, wanted);
        assert!(went_on >= 5, "{went_on}");
        assert!(closed.len() >= 12, "{closed:#?}");
    }
}
