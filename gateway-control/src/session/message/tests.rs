//! Every message reads back, and whatever else comes is a fault that says what it is.

use proptest::prelude::*;

use super::*;
use crate::session::FROM_GATEWAY_MAX_LEN;

const KEY: &str = "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=";

fn hello() -> Hello {
    Hello {
        version: VERSION,
        site: "edge-a".parse().unwrap(),
        gateway: "gw".parse().unwrap(),
        public_key: KEY.parse().unwrap(),
        program: "0.1.0".to_owned(),
        holds: Some(Held { revision: Some(7), digest: Digest::of(b"a") }),
    }
}

fn refusal(why: &str) -> Refusal {
    Refusal { kind: RefusalKind::Pending, why: why.to_owned() }
}

#[test]
fn messages_of_a_gateway_are_read_as_they_were_written() {
    let refused = Some("interface lan0: there is none".to_owned());
    for message in [
        FromGateway::Hello(hello()),
        FromGateway::Hello(Hello { holds: None, ..hello() }),
        FromGateway::Report(Report { applied: Some(u64::MAX), refused, links_up: Some(0) }),
        FromGateway::Report(Report::default()),
        FromGateway::Taken(Taken { number: 0, holds: None }),
        FromGateway::Taken(Taken { number: 9, holds: hello().holds }),
        FromGateway::Renew(Renew { generation: 3, request: vec![0x30, 0] }),
        FromGateway::LinkKey(KEY.parse().unwrap()),
        FromGateway::Ping,
        FromGateway::Pong,
    ] {
        assert_eq!(FromGateway::decode(&message.encode()), Ok(Some(message)));
    }
}

#[test]
fn messages_of_a_controller_are_read_as_they_were_written() {
    let edits = vec![PatchEdit { keep: 3, drop: 0, insert: vec![vec![1, 2], vec![]] }];
    let (base, digest) = (Digest::of(b"a"), Digest::of(b"b"));
    let lease = Some(Lease::For(Duration::from_secs(259_200)));
    let orders = [
        Orders::snapshot(Some(3), None, &Share::default()),
        Orders { revision: Some(4), lease, told: Told::Delta(Patch { base, edits, digest }) },
        Orders { revision: None, lease: None, told: Told::Nothing(refusal("no site x")) },
    ];
    let kinds = [
        RefusalKind::Revoked,
        RefusalKind::Pending,
        RefusalKind::Unknown,
        RefusalKind::Superseded,
        RefusalKind::Version,
        RefusalKind::Other,
    ];
    let refusals = kinds.map(|kind| FromController::Refused(Refusal { kind, why: "x".to_owned() }));
    let rest = [
        FromController::Certificate(Certificate { generation: 1, chain: vec![vec![0x30, 0]; 2] }),
        FromController::LinkKeyTaken(KEY.parse().unwrap()),
        FromController::Ping(lease),
        FromController::Pong(Some(Lease::Unlimited)),
        FromController::Pong(None),
    ];
    for message in orders.map(FromController::Orders).into_iter().chain(refusals).chain(rest) {
        assert_eq!(FromController::decode(&message.encode()), Ok(Some(message)));
    }
}

#[test]
fn faults_are_told() {
    assert_eq!(FromGateway::decode(&[]), Err(MessageError::Empty));
    assert!(matches!(FromGateway::decode(&[0xff]), Err(MessageError::Message(_))));
    let long = vec![0; FROM_GATEWAY_MAX_LEN + 1];
    assert!(matches!(FromGateway::decode(&long), Err(MessageError::TooLong { .. })));
    // A hello whose site, field 1 of field 1, is "E".
    let error = FromGateway::decode(&[0x0a, 3, 0x0a, 1, b'E']).unwrap_err().to_string();
    assert!(error.starts_with("hello.site: "), "{error}");
    let renew = |request| FromGateway::Renew(Renew { generation: 0, request });
    for wrong in [vec![], vec![0; DER_MAX_LEN + 1]] {
        let error = FromGateway::decode(&renew(wrong).encode()).unwrap_err().to_string();
        assert!(error.starts_with("renew.request: "), "{error}");
    }
    for chain in [vec![], vec![vec![1]; CHAIN_MAX_LEN + 1], vec![vec![]]] {
        let message = FromController::Certificate(Certificate { generation: 0, chain });
        let error = FromController::decode(&message.encode()).unwrap_err().to_string();
        assert!(error.starts_with("certificate.chain: "), "{error}");
    }
    // A link key, field 5, of two octets.
    let error = FromGateway::decode(&[0x2a, 2, 0, 0]).unwrap_err().to_string();
    assert_eq!(error, "link_key: 2 octets, of 32");
    let told = Told::Nothing(refusal(&"é".repeat(WHY_MAX_LEN)));
    let sent = FromController::Orders(Orders { revision: None, lease: None, told });
    let Ok(Some(FromController::Orders(Orders {
        told: Told::Nothing(Refusal { why, .. }), ..
    }))) = FromController::decode(&sent.encode())
    else {
        panic!("no orders")
    };
    assert!(why.len() <= WHY_MAX_LEN && why.chars().all(|it| it == 'é'));
}

#[test]
fn what_a_later_version_says_is_read_over() {
    // Field 99, a varint; alone, and behind a ping.
    assert_eq!(FromGateway::decode(&[0x98, 6, 1]), Ok(None));
    assert_eq!(FromController::decode(&[0x98, 6, 1]), Ok(None));
    let ping = [FromGateway::Ping.encode(), vec![0x98, 6, 1]].concat();
    assert_eq!(FromGateway::decode(&ping), Ok(Some(FromGateway::Ping)));
    // A refusal of kind 77.
    let refused = FromController::decode(&[0x12, 2, 0x08, 77]);
    let other = Refusal { kind: RefusalKind::Other, why: String::new() };
    assert_eq!(refused, Ok(Some(FromController::Refused(other))));
}

/// A lease that is cut to whole seconds does not become one without end.
#[test]
fn a_short_lease_stays_one() {
    let ping = FromController::Ping(Some(Lease::For(Duration::from_millis(5))));
    let read = FromController::decode(&ping.encode());
    let second = Lease::For(Duration::from_secs(1));
    assert_eq!(read, Ok(Some(FromController::Ping(Some(second)))));
}

proptest! {
    #[test]
    fn any_octets_are_a_message_or_a_fault(octets in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(Some(message)) = FromController::decode(&octets) {
            prop_assert_eq!(FromController::decode(&message.encode()), Ok(Some(message)));
        }
        if let Ok(Some(message)) = FromGateway::decode(&octets) {
            prop_assert_eq!(FromGateway::decode(&message.encode()), Ok(Some(message)));
        }
    }
}
