//! One end against what comes to it: in turn, out of turn, too much, too late, or not at all.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gateway_control::session::{
    Certificate, ControllerEnd, ControllerEvent, Digest, Edition, End, FromController, FromGateway,
    GatewayEnd, GatewayEvent, Held, Hello, Holding, Lease, MERGED, Orders, PING_AFTER, Patch, Peer,
    Refusal, RefusalKind, Renew, Report, SILENCE, Taken, Told, Wanted,
};

use crate::pair::{Pair, hello};
use crate::{links, share};

/// The frame of a message, built by hand: its number, and its content as it is.
fn frame(number: u64, content: &[u8]) -> Vec<u8> {
    let mut envelope = vec![0x08];
    let varint = |mut value: u64, to: &mut Vec<u8>| {
        while value >= 0x80 {
            to.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        to.push(value as u8);
    };
    varint(number, &mut envelope);
    envelope.push(0x12);
    varint(content.len() as u64, &mut envelope);
    envelope.extend_from_slice(content);
    [&(envelope.len() as u32).to_be_bytes()[..], &envelope].concat()
}

fn wanted(revision: u64, count: u16) -> Wanted {
    let edition = Edition::new(share(&links(count)));
    Wanted { revision: Some(revision), share: Ok(Arc::new(edition)) }
}

/// Connected, and told a share of 50 links at revision 1.
fn told() -> Pair {
    let mut pair = Pair::new(Instant::now(), None, None);
    pair.controller.set_orders(pair.now, wanted(1, 50));
    pair.settle();
    assert!(matches!(pair.of_controller[..], [ControllerEvent::Hello(_)]));
    assert_eq!(pair.gateway.holding().unwrap().share(), &share(&links(50)));
    pair.of_gateway.clear();
    pair.of_controller.clear();
    pair
}

fn closed(pair: &Pair) -> String {
    pair.controller_closed().expect("the controller's end is over")
}

#[test]
fn everything_that_is_said_is_heard() {
    let lease = Lease::For(Duration::from_secs(60));
    let mut pair = Pair::new(Instant::now(), None, Some(lease));
    pair.settle();
    assert_eq!(pair.of_controller, [ControllerEvent::Hello(hello())]);
    pair.controller.set_orders(pair.now, wanted(3, 1));
    pair.settle();
    let holding = Holding::new(Some(3), share(&links(1)).encode()).unwrap();
    let orders = GatewayEvent::Orders { revision: Some(3), share: Ok(holding) };
    assert_eq!(pair.of_gateway, [orders, GatewayEvent::Renewed(lease)]);
    pair.of_gateway.clear();
    pair.of_controller.clear();

    let report = Report { applied: Some(3), refused: None, links_up: Some(1) };
    let renew = Renew { generation: 1, request: vec![0x30, 0] };
    pair.gateway.report(report.clone());
    pair.gateway.renew(renew.clone());
    pair.gateway.link_key([9; 32].into());
    let certificate = Certificate { generation: 2, chain: vec![vec![0x30, 0]] };
    pair.controller.certificate(certificate.clone());
    pair.controller.link_key_taken([9; 32].into());
    pair.settle();
    let heard = [
        ControllerEvent::LinkKey([9; 32].into()),
        ControllerEvent::Renew(renew),
        ControllerEvent::Report(report),
    ];
    assert_eq!(pair.of_controller, heard);
    let heard =
        [GatewayEvent::Certificate(certificate), GatewayEvent::LinkKeyTaken([9; 32].into())];
    assert_eq!(pair.of_gateway, heard);
    pair.of_gateway.clear();

    let why = Refusal { kind: RefusalKind::Unknown, why: "site edge-a is not declared".to_owned() };
    pair.controller.set_orders(pair.now, Wanted { revision: Some(4), share: Err(why.clone()) });
    pair.go_on(MERGED);
    let nothing = GatewayEvent::Orders { revision: Some(4), share: Err(why) };
    assert_eq!(pair.of_gateway, [nothing, GatewayEvent::Renewed(lease)]);
    assert_eq!(pair.gateway.holding().unwrap().share(), &share(&links(1)), "it is kept");
    assert!(!pair.is_over());
}

#[test]
fn a_refusal_reaches_the_gateway_and_ends_both() {
    let mut pair = told();
    let refusal = Refusal { kind: RefusalKind::Revoked, why: "by root".to_owned() };
    pair.controller.refuse(refusal.clone());
    pair.gateway.report(Report::default());
    pair.settle();
    assert_eq!(pair.gateway_closed().unwrap(), "refused: revoked: by root");
    assert_eq!(closed(&pair), "refused: revoked: by root");
    assert_eq!(pair.of_controller.len(), 1, "it heard something behind it");
    pair.controller.set_orders(pair.now, wanted(9, 9));
    pair.controller.refuse(refusal);
    pair.go_on(SILENCE * 2);
    assert_eq!(pair.gateway.poll_timeout(), None);
    assert_eq!(pair.controller.poll_timeout(), None);
    assert_eq!((pair.of_controller.len(), pair.of_gateway.len()), (1, 1));
}

#[test]
fn a_gateway_is_who_its_certificate_says() {
    let now = Instant::now();
    let certified = |site: &str, gateway: &str| Peer::Certified {
        site: site.parse().unwrap(),
        gateway: gateway.parse().unwrap(),
    };
    for (site, gateway, is_right) in
        [("edge-a", "gw", true), ("edge-b", "gw", false), ("edge-a", "gx", false)]
    {
        let end = GatewayEnd::new(now, hello(), None);
        let mut pair = Pair::with(now, end, certified(site, gateway), None);
        pair.settle();
        assert_eq!(pair.of_controller == [ControllerEvent::Hello(hello())], is_right);
        if !is_right {
            assert!(closed(&pair).contains("gateway gw of site edge-a"), "{}", closed(&pair));
            let said = pair.gateway_closed().unwrap();
            assert!(said.contains(&format!("gateway {gateway} of site {site}")), "{said}");
        }
    }
}

#[test]
fn another_version_is_refused() {
    let now = Instant::now();
    let end = GatewayEnd::new(now, Hello { version: 2, ..hello() }, None);
    let mut pair = Pair::with(now, end, Peer::Host, None);
    pair.settle();
    assert!(closed(&pair).contains("version 2"), "{}", closed(&pair));
    let said = pair.gateway_closed().unwrap();
    assert!(said.starts_with("refused: version: ") && said.contains("version 2"), "{said}");
}

#[test]
fn who_says_nothing_or_stops_is_let_go() {
    let now = Instant::now();
    let mut silent = ControllerEnd::new(now, Peer::Host, None);
    // Octets that never make a hello are no reason to wait longer.
    silent.handle_input(now + Duration::from_secs(9), &[0, 0, 1]);
    silent.handle_timeout(now + Duration::from_secs(9));
    assert_eq!(silent.poll_event(), None);
    silent.handle_timeout(now + Duration::from_secs(10));
    assert!(matches!(silent.poll_event(), Some(ControllerEvent::Closed(_))));

    // Nothing of the pings arrives.
    let mut pair = told();
    pair.wait(SILENCE - Duration::from_millis(1));
    assert!(!pair.is_over());
    assert_eq!(pair.up.frames.len(), 2, "it pinged once each 15 s");
    pair.wait(Duration::from_millis(1));
    let silence = "nothing was heard for 45 s";
    assert_eq!(pair.gateway_closed().as_deref(), Some(silence));
    assert_eq!(closed(&pair), silence);
    // A host that slept finds it over at once.
    let mut pair = told();
    pair.now += Duration::from_secs(86_400);
    pair.wait(Duration::ZERO);
    assert_eq!(pair.gateway_closed().as_deref(), Some(silence));
}

/// Octets that lead to nothing do not keep a session, and a slow link does not lose one.
#[test]
fn a_frame_that_does_not_end_is_no_sign_of_life() {
    for (piece, is_alive) in [(1, false), (4096, true)] {
        let mut now = Instant::now();
        let mut end = ControllerEnd::new(now, Peer::Host, None);
        end.handle_input(now, &frame(0, &FromGateway::Hello(hello()).encode()));
        // A frame of 61,440 octets begins.
        end.handle_input(now, &[0, 0, 0xf0, 0]);
        for _ in 0..12 {
            now += Duration::from_secs(10);
            end.handle_input(now, &vec![0; piece]);
            end.handle_timeout(now);
        }
        let events: Vec<_> = std::iter::from_fn(|| end.poll_event()).collect();
        let is_over = matches!(events.last(), Some(ControllerEvent::Closed(_)));
        assert_eq!(is_over, !is_alive, "{piece}: {events:?}");
    }
}

#[test]
fn signs_of_life_keep_a_session_and_renew_the_lease() {
    let lease = Lease::For(Duration::from_secs(60));
    let mut pair = Pair::new(Instant::now(), None, Some(lease));
    pair.settle();
    let mut before = pair.of_gateway.len();
    for _ in 0..100 {
        pair.go_on(2 * PING_AFTER);
        assert!(pair.of_gateway[before..].contains(&GatewayEvent::Renewed(lease)));
        before = pair.of_gateway.len();
    }
    assert!(!pair.is_over());
    pair.controller.set_lease(None);
    pair.go_on(2 * PING_AFTER);
    let before = pair.of_gateway.len();
    pair.go_on(4 * PING_AFTER);
    assert_eq!(pair.of_gateway.len(), before, "renewed by who may not");
    assert!(!pair.is_over());
}

#[test]
fn changes_within_a_moment_are_one_message_and_one_is_on_its_way() {
    let mut pair = told();
    let orders = |pair: &Pair| pair.down.frames.len();
    for n in 0..100 {
        pair.controller.set_orders(pair.now, wanted(2 + n, 51));
        pair.wait(Duration::from_micros(150));
    }
    assert_eq!(orders(&pair), 0);
    pair.wait(MERGED);
    assert_eq!(orders(&pair), 1);
    // It is not taken yet, so what comes next waits, the newest alone.
    for n in 0..100 {
        pair.controller.set_orders(pair.now, wanted(102 + n, 52 + (n % 7) as u16));
        pair.wait(MERGED * 2);
    }
    assert_eq!(orders(&pair), 1);
    pair.settle();
    let told = pair.of_gateway.iter().filter_map(|event| match event {
        GatewayEvent::Orders { revision, .. } => *revision,
        _ => None,
    });
    assert_eq!(told.collect::<Vec<_>>(), [101, 201]);
    // What it has already is no message.
    pair.controller.set_orders(pair.now, wanted(201, 52 + 99 % 7));
    pair.go_on(MERGED * 2);
    assert_eq!(pair.of_gateway.len(), 2);
}

#[test]
fn a_flood_is_answered_once() {
    let mut pair = told();
    let mut flood = Vec::new();
    // The controller has heard a hello and a taken.
    for number in 2..10_000 {
        let message = match number % 3 {
            0 => FromGateway::Ping,
            1 => FromGateway::Report(Report { links_up: Some(number as u32), ..Report::default() }),
            _ => FromGateway::Renew(Renew { generation: number, request: vec![1] }),
        };
        flood.extend(frame(number, &message.encode()));
    }
    pair.controller.handle_input(pair.now, &flood);
    pair.collect();
    assert_eq!(pair.of_controller.len(), 2, "{:?}", pair.of_controller);
    assert_eq!(pair.down.frames.len(), 1);
}

#[test]
fn what_is_out_of_turn_ends_the_session() {
    let hello = FromGateway::Hello(hello()).encode();
    let report = FromGateway::Report(Report::default()).encode();
    let taken = FromGateway::Taken(Taken { number: 7, holds: None }).encode();
    let nameless = |octets: &[u8]| {
        let mut end = ControllerEnd::new(Instant::now(), Peer::Host, None);
        end.handle_input(Instant::now(), octets);
        assert_eq!(end.poll_transmit(), None, "somebody is told something");
        let events: Vec<_> = std::iter::from_fn(|| end.poll_event()).collect();
        match events.last() {
            Some(ControllerEvent::Closed(reason)) => reason.to_string(),
            other => panic!("{other:?}"),
        }
    };
    for (octets, why) in [
        (frame(0, &report), "something before the hello came out of turn"),
        ([frame(0, &hello), frame(1, &hello)].concat(), "a second hello came out of turn"),
        ([frame(0, &hello), frame(1, &taken)].concat(), "word of orders that are not on their way"),
        (frame(1, &hello), "frame 1 where frame 0 is due"),
        ([frame(0, &hello), frame(0, &report)].concat(), "frame 0 where frame 1 is due"),
        (frame(0, &[]), "an empty message"),
        (frame(0, &[0xff]), "no message of this protocol"),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "a frame of 1195725856 octets, of 65568 at most"),
        (vec![0, 1, 0, 0x21], "a frame of 65569 octets"),
        ([&[0, 0, 0, 9][..], &[0xff; 9]].concat(), "no frame of this protocol"),
    ] {
        let said = nameless(&octets);
        assert!(said.contains(why), "{said}");
    }
}

/// A controller's frame that the gateway of [`told`] hears next. It has heard one.
fn to_gateway(message: &FromController) -> Pair {
    let mut pair = told();
    pair.gateway.handle_input(pair.now, &frame(1, &message.encode()));
    pair.collect();
    pair
}

#[test]
fn orders_that_do_not_agree_end_the_session_or_are_asked_for_anew() {
    let digest = Digest::of(b"something else");
    let orders = |revision, told| FromController::Orders(Orders { revision, lease: None, told });
    let octets = share(&links(3)).encode();
    let whole = Told::Snapshot { octets: octets.clone(), digest };
    let pair = to_gateway(&orders(Some(2), whole));
    let said = pair.gateway_closed().unwrap();
    assert!(said.contains("do not agree: the share is "), "{said}");
    assert_eq!(pair.of_gateway.len(), 1, "it was told nevertheless");

    let whole = Told::Snapshot { digest: Digest::of(&octets), octets };
    let said = to_gateway(&orders(Some(0), whole)).gateway_closed().unwrap();
    assert!(said.contains("revision 0 came behind revision 1"), "{said}");

    // No share: an item whose site is "E".
    let octets = vec![0x0a, 5, 0x12, 3, 0x0a, 1, b'E'];
    let whole = Told::Snapshot { digest: Digest::of(&octets), octets };
    let said = to_gateway(&orders(Some(2), whole)).gateway_closed().unwrap();
    assert!(said.contains("the share's peer.site"), "{said}");

    let mut fresh = GatewayEnd::new(Instant::now(), hello(), None);
    let patch = Patch { base: digest, edits: Vec::new(), digest };
    let difference = orders(Some(2), Told::Delta(patch));
    fresh.handle_input(Instant::now(), &frame(0, &difference.encode()));
    assert!(matches!(fresh.poll_event(), Some(GatewayEvent::Closed(_))));

    let pair = to_gateway(&difference);
    assert!(matches!(pair.of_gateway[..], [GatewayEvent::Astray(_)]), "{:?}", pair.of_gateway);
    assert_eq!(pair.gateway.holding().unwrap().share(), &share(&links(50)), "it has what it had");
}

/// A gateway whose share is not what the controller takes it for gets there by a snapshot.
#[test]
fn who_is_led_astray_is_told_the_whole() {
    let now = Instant::now();
    let claimed = Edition::new(share(&links(200)));
    let holds = Some(Held { revision: Some(1), digest: claimed.digest() });
    let hello = Hello { holds, ..hello() };
    let mut end = ControllerEnd::new(now, Peer::Host, None);
    end.handle_input(now, &frame(0, &FromGateway::Hello(hello).encode()));
    let mut more = links(200);
    more.insert(300, 1);
    let next = Arc::new(claimed).next(share(&more));
    end.set_orders(now, Wanted { revision: Some(2), share: Ok(Arc::clone(&next)) });
    let delta = end.poll_transmit().unwrap();
    assert!(delta.len() < 200, "{}", delta.len());
    // It says that it has what the difference began with: another difference would lead nowhere else.
    let astray = FromGateway::Taken(Taken { number: 0, holds });
    end.handle_input(now, &frame(1, &astray.encode()));
    let whole = end.poll_transmit().unwrap();
    assert!(whole.len() > 2 * delta.len(), "{}", whole.len());
    let events: Vec<_> = std::iter::from_fn(|| end.poll_event()).collect();
    assert!(matches!(events[..], [ControllerEvent::Hello(_), ControllerEvent::Astray]));
    // Not for ever.
    let astray = FromGateway::Taken(Taken { number: 1, holds: None });
    end.handle_input(now, &frame(2, &astray.encode()));
    assert!(matches!(end.poll_event(), Some(ControllerEvent::Closed(_))));
    assert_eq!(end.poll_transmit(), None);
}

#[test]
fn a_gateway_that_was_away_is_told_the_difference() {
    let mut edition = Arc::new(Edition::new(share(&links(1000))));
    let holding = Holding::new(Some(1), edition.share().encode()).unwrap();
    for n in 0..10 {
        let mut changed = links(1000);
        changed.insert(n, 2);
        edition = edition.next(share(&changed));
    }
    let mut pair = Pair::new(Instant::now(), Some(holding), None);
    pair.controller
        .set_orders(pair.now, Wanted { revision: Some(11), share: Ok(Arc::clone(&edition)) });
    pair.deliver(true, usize::MAX);
    assert_eq!(pair.down.frames.len(), 1);
    let difference = pair.down.frames[0].len();
    assert!(difference < 2000, "{difference}");
    pair.settle();
    assert_eq!(pair.gateway.holding().unwrap().share(), edition.share());
    assert_eq!(pair.gateway.holding().unwrap().revision(), Some(11));
}

/// A large share goes through in pieces, compressed, and what is left in the ends afterwards is as before.
#[test]
fn a_large_share_is_compressed_and_cut() {
    let mut pair = Pair::new(Instant::now(), None, None);
    let edition = Arc::new(Edition::new(share(&links(20_000))));
    let length = edition.share().encode().len();
    pair.controller.set_orders(pair.now, Wanted { revision: Some(1), share: Ok(edition) });
    pair.deliver(true, usize::MAX);
    let sent: usize = pair.down.frames.iter().map(Vec::len).sum();
    assert!(sent < length / 2, "{sent} of {length}");
    assert!(pair.down.frames.iter().all(|piece| piece.len() <= 16 << 10));
    pair.settle();
    assert_eq!(pair.gateway.holding().unwrap().share(), &share(&links(20_000)));
}

/// Five thousand of them are to be in one process.
#[test]
fn an_end_is_small() {
    assert!(size_of::<ControllerEnd>() <= 1024, "{}", size_of::<ControllerEnd>());
}
