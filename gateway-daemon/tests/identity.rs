//! Whom either end of a connection takes for whom: the rules for leaves one by one, and whole handshakes.
#![allow(clippy::unwrap_used, reason = "a test may fail where a value is not there")]

use std::sync::Arc;
use std::time::Duration;

use gateway_control::identity::{JoinToken, Leaf, LeafError, Secret, Serial};
use gateway_daemon::identity::{
    Authority, Credential, LeafKey, SESSION_PROTOCOL, ServerCredential, Trust, client_config,
    gateways_config, joining_config, operators_config,
};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, SerialNumber,
};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, ServerConfig, ServerConnection};

const DAY: u64 = 86_400;
const LIFE: Duration = Duration::from_secs(DAY);
const GRACE: Duration = Duration::from_secs(30 * DAY);
const EDGE: &str = "spiffe://presence.example/site/edge-a/gateway/edge-a-gw1";
const CONTROLLER: &str = "spiffe://presence.example/controller/main";

fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap().as_secs()
}

fn authority(domain: &str) -> Authority {
    Authority::create(domain.parse().unwrap(), now() - 100 * DAY).unwrap()
}

/// A leaf of this CA, made at this time.
fn leaf(authority: &Authority, id: &str, at: u64) -> Credential {
    let key = LeafKey::generate().unwrap();
    let serial = Serial { epoch: at, generation: 1, random: 7 };
    let request = key.request().unwrap();
    let certificate = authority.issue(&id.parse().unwrap(), &request, serial, at, LIFE).unwrap();
    Credential { key, certificate }
}

fn trust(authority: &Authority) -> Trust {
    Trust::new(authority.trust_domain().clone(), [authority.certificate().as_ref()]).unwrap()
}

fn door(authority: &Authority) -> ServerConfig {
    let own = leaf(authority, CONTROLLER, now());
    let own = ServerCredential::new(&own, authority.certificate().clone()).unwrap();
    gateways_config(trust(authority), GRACE, own).unwrap()
}

fn client(trusts: &Authority, own: &Credential) -> ClientConfig {
    client_config(trust(trusts), own, SESSION_PROTOCOL).unwrap()
}

/// What each end says of a handshake between these.
fn shake(
    client: &Arc<ClientConfig>,
    server: &Arc<ServerConfig>,
) -> (Result<HandshakeKind, String>, Result<HandshakeKind, String>) {
    let name = ServerName::try_from("presence").unwrap();
    let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
    let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
    let (mut of_client, mut of_server) = (None, None);
    for _ in 0..8 {
        let mut octets = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut octets).unwrap();
        }
        let mut rest = octets.as_slice();
        while !rest.is_empty() && of_server.is_none() {
            server.read_tls(&mut rest).unwrap();
            of_server = server.process_new_packets().err().map(|error| error.to_string());
        }
        let mut octets = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut octets).unwrap();
        }
        let mut rest = octets.as_slice();
        while !rest.is_empty() && of_client.is_none() {
            client.read_tls(&mut rest).unwrap();
            of_client = client.process_new_packets().err().map(|error| error.to_string());
        }
    }
    let ended = |error: Option<String>, kind: Option<HandshakeKind>| match error {
        Some(error) => Err(error),
        None => kind.ok_or_else(|| "it is not over".to_owned()),
    };
    (ended(of_client, client.handshake_kind()), ended(of_server, server.handshake_kind()))
}

fn refused_by_server(client: ClientConfig, server: ServerConfig) -> String {
    shake(&Arc::new(client), &Arc::new(server)).1.unwrap_err()
}

fn refused_by_client(client: ClientConfig, server: ServerConfig) -> String {
    shake(&Arc::new(client), &Arc::new(server)).0.unwrap_err()
}

#[test]
fn a_gateway_and_a_controller_of_one_deployment_take_each_other() {
    let authority = authority("presence.example");
    let own = leaf(&authority, EDGE, now());
    let (of_client, of_server) =
        shake(&Arc::new(client(&authority, &own)), &Arc::new(door(&authority)));
    assert_eq!((of_client, of_server), (Ok(HandshakeKind::Full), Ok(HandshakeKind::Full)));
}

#[test]
fn nothing_is_resumed_even_where_the_client_would() {
    let authority = authority("presence.example");
    let own = leaf(&authority, EDGE, now());
    let mut config = client(&authority, &own);
    config.resumption = rustls::client::Resumption::in_memory_sessions(8);
    let (config, door) = (Arc::new(config), Arc::new(door(&authority)));
    for _ in 0..3 {
        let (of_client, of_server) = shake(&config, &door);
        assert_eq!((of_client, of_server), (Ok(HandshakeKind::Full), Ok(HandshakeKind::Full)));
    }
}

#[test]
fn a_server_refuses_whom_it_does_not_serve() {
    let (authority, other) = (authority("presence.example"), authority("presence.example"));
    let elsewhere = self::authority("elsewhere.example");
    let cases = [
        (leaf(&other, EDGE, now()), "BadSignature"),
        (
            leaf(&elsewhere, &EDGE.replace("presence.", "elsewhere."), now()),
            "trust domain elsewhere.example",
        ),
        (leaf(&elsewhere, EDGE, now()), "UnknownIssuer"),
        (leaf(&authority, CONTROLLER, now()), "only gateways may be"),
        (leaf(&authority, "spiffe://presence.example/operator/ada", now()), "only gateways may be"),
        (leaf(&authority, EDGE, now() - 40 * DAY), "this host's clock says"),
        (leaf(&authority, EDGE, now() + 2 * DAY), "this host's clock says"),
    ];
    for (own, said) in cases {
        let refused = refused_by_server(client(&authority, &own), door(&authority));
        assert!(refused.contains(said), "{said}: {refused}");
    }
}

#[test]
fn who_was_away_may_come_with_a_certificate_that_ended_within_the_grace() {
    let authority = authority("presence.example");
    for (ago, is_let_in) in [(2, true), (30, true), (32, false)] {
        let own = leaf(&authority, EDGE, now() - ago * DAY);
        let (_, of_server) =
            shake(&Arc::new(client(&authority, &own)), &Arc::new(door(&authority)));
        assert_eq!(of_server.is_ok(), is_let_in, "{ago} days: {of_server:?}");
    }
}

#[test]
fn the_api_takes_operators_and_nobody_without_a_certificate() {
    let authority = authority("presence.example");
    let own = leaf(&authority, CONTROLLER, now());
    let own = ServerCredential::new(&own, authority.certificate().clone()).unwrap();
    let api = operators_config(trust(&authority), own).unwrap();
    let ada = leaf(&authority, "spiffe://presence.example/operator/ada", now());
    let as_http = |own: &Credential| client_config(trust(&authority), own, b"http/1.1").unwrap();
    let (_, of_server) = shake(&Arc::new(as_http(&ada)), &Arc::new(api.clone()));
    assert_eq!(of_server, Ok(HandshakeKind::Full));
    let edge = leaf(&authority, EDGE, now());
    assert!(refused_by_server(as_http(&edge), api.clone()).contains("only operators may be"));
    let token = token(&authority);
    let mut nobody = joining_config(&token).unwrap();
    nobody.alpn_protocols = vec![b"http/1.1".to_vec()];
    assert!(refused_by_server(nobody, api).contains("no certificates"));
}

fn token(authority: &Authority) -> JoinToken {
    JoinToken {
        trust_domain: authority.trust_domain().clone(),
        controllers: vec!["controller.example".parse().unwrap()],
        authority: authority.pin(),
        secret: Secret::new([1; 32]),
    }
}

#[test]
fn a_client_takes_controllers_of_its_deployment_alone() {
    let (authority, other) = (authority("presence.example"), authority("presence.example"));
    let own = leaf(&authority, EDGE, now());
    let shown = |by: &Authority, id: &str, at: u64| {
        let own = leaf(by, id, at);
        let own = ServerCredential::new(&own, by.certificate().clone()).unwrap();
        gateways_config(trust(&authority), GRACE, own).unwrap()
    };
    for (server, said) in [
        (shown(&other, CONTROLLER, now()), "BadSignature"),
        (shown(&authority, EDGE, now()), "only controllers may be"),
        (shown(&authority, CONTROLLER, now() - 2 * DAY), "set the clock"),
        (shown(&authority, CONTROLLER, now() + 2 * DAY), "set the clock"),
    ] {
        let refused = refused_by_client(client(&authority, &own), server);
        assert!(refused.contains(said), "{said}: {refused}");
    }
    for (server, said) in [
        (shown(&other, CONTROLLER, now()), "not signed by the CA that the token names"),
        (shown(&authority, CONTROLLER, now() + 2 * DAY), "set the clock"),
    ] {
        let joining = joining_config(&token(&authority)).unwrap();
        let refused = refused_by_client(joining, server);
        assert!(refused.contains(said), "{said}: {refused}");
    }
    let (of_client, _) = shake(
        &Arc::new(joining_config(&token(&authority)).unwrap()),
        &Arc::new(shown(&authority, CONTROLLER, now())),
    );
    assert_eq!(of_client, Ok(HandshakeKind::Full));
}

/// A certificate with these parameters changed from those of a right leaf.
fn made(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.subject_alt_names = vec![SanType::URI(EDGE.try_into().unwrap())];
    let serial = Serial { epoch: 1, generation: 1, random: 1 };
    params.serial_number = Some(SerialNumber::from_slice(&serial.octets()));
    change(&mut params);
    let issuer = Issuer::new(CertificateParams::default(), KeyPair::generate().unwrap());
    params.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap().der().to_vec()
}

/// A change of a right leaf, with a name.
type Change = (&'static str, fn(&mut CertificateParams));

const WRONG: [Change; 11] = [
    ("no constraints", |it| it.is_ca = IsCa::NoCa),
    ("a CA", |it| it.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)),
    ("no usage", |it| it.key_usages.clear()),
    ("another usage", |it| it.key_usages = vec![KeyUsagePurpose::KeyEncipherment]),
    ("signs", |it| it.key_usages.push(KeyUsagePurpose::KeyCertSign)),
    ("no extended usage", |it| it.extended_key_usages.clear()),
    ("one end", |it| it.extended_key_usages.truncate(1)),
    ("no name", |it| it.subject_alt_names.clear()),
    ("a DNS name", |it| {
        it.subject_alt_names = vec![SanType::DnsName("a.example".try_into().unwrap())];
    }),
    ("two URIs", |it| it.subject_alt_names.push(SanType::URI(CONTROLLER.try_into().unwrap()))),
    ("another serial", |it| it.serial_number = Some(SerialNumber::from_slice(&[1, 2, 3]))),
];

#[test]
fn each_rule_for_leaves_is_kept() {
    assert!(Leaf::read(&made(|_| {})).is_ok());
    for (what, change) in WRONG {
        assert!(Leaf::read(&made(change)).is_err(), "{what}");
    }
    let right = made(|_| {});
    for end in 0..right.len() {
        assert!(Leaf::read(&right[..end]).is_err(), "{end}");
    }
    let long = [right, vec![0]].concat();
    assert_eq!(Leaf::read(&long), Err(LeafError::Certificate));
}
