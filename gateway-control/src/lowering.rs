//! From texts and numbers with their places to the values of the model, for what more than one notation
//! writes: back ends and health checks. The readers of site files and of resources call it; each adds the
//! object's name to what is wrong.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::num::NonZeroU16;
use std::ops::Range;

use crate::model::{
    Backend, Count, HealthCheck, HttpPath, MOST_BACKENDS, PortSpec, Ports, Probe, ProbeKind,
    Timeout, Transport, Turn, ValueError, Weight,
};

/// Where in a text, in bytes.
pub(crate) type Span = Range<usize>;

/// A value and where it stood.
#[derive(Clone, Debug)]
pub(crate) struct Located<T> {
    pub(crate) value: T,
    pub(crate) span: Span,
}

/// Everything that is wrong; empty where it was told already.
pub(crate) type Wrong = Vec<(Span, ValueError)>;

/// A back end as written.
pub(crate) struct WrittenBackend {
    pub(crate) address: Located<String>,
    pub(crate) weight: Option<Located<i64>>,
    pub(crate) state: Option<Located<String>>,
}

/// A health check as written.
pub(crate) struct WrittenHealth {
    pub(crate) kind: Located<String>,
    pub(crate) port: Option<Located<i64>>,
    pub(crate) path: Option<Located<String>>,
    pub(crate) status: Option<Located<i64>>,
    pub(crate) interval: Option<Located<String>>,
    pub(crate) timeout: Option<Located<String>>,
    pub(crate) rise: Option<Located<i64>>,
    pub(crate) fall: Option<Located<i64>>,
}

/// Between questions, and for an answer, in seconds as written.
const INTERVAL: &str = "2s";
const PATIENCE: &str = "1s";
const OK: u16 = 200;

/// A list of back ends: some, not too many, and none twice.
pub(crate) fn backends(list: &[WrittenBackend], span: Span) -> Result<Vec<Backend>, Wrong> {
    match list.len() {
        0 => return Err(vec![(span, ValueError::NoBackends)]),
        found if found > MOST_BACKENDS => {
            return Err(vec![(span, ValueError::TooManyBackends { found, most: MOST_BACKENDS })]);
        }
        _ => {}
    }
    let mut wrong = Wrong::new();
    let mut addresses = BTreeSet::new();
    let read: Vec<_> =
        list.iter().map(|written| backend(written, &mut addresses, &mut wrong)).collect();
    let read: Option<Vec<_>> = read.into_iter().collect();
    read.filter(|_| wrong.is_empty()).ok_or(wrong)
}

fn backend(
    written: &WrittenBackend,
    addresses: &mut BTreeSet<Ipv4Addr>,
    wrong: &mut Wrong,
) -> Option<Backend> {
    let text = &written.address.value;
    let address = text.parse().map_err(|_| ValueError::address(text));
    let address = address.and_then(|address| match addresses.insert(address) {
        true => Ok(address),
        false => Err(ValueError::BackendRepeated { address }),
    });
    let address = keep(&written.address.span, address, wrong);
    let weight = part(written.weight.as_ref(), |it| Weight::try_from(*it), wrong);
    let turn = part(written.state.as_ref(), |text: &String| text.parse(), wrong);
    Some(Backend {
        address: address?,
        weight: weight?.unwrap_or_default(),
        turn: turn?.unwrap_or(Turn::Use),
    })
}

/// A health check of a service with these ports; `None` if they are wrong, which is told already.
pub(crate) fn health(
    written: &WrittenHealth,
    span: Span,
    ports: Option<&Ports>,
) -> Result<HealthCheck, Wrong> {
    let mut wrong = Wrong::new();
    let read = checked_health(written, span, ports, &mut wrong);
    read.filter(|_| wrong.is_empty()).ok_or(wrong)
}

fn checked_health(
    written: &WrittenHealth,
    span: Span,
    ports: Option<&Ports>,
    wrong: &mut Wrong,
) -> Option<HealthCheck> {
    let probe = probe(written, &span, ports, wrong);
    let interval = duration(written.interval.as_ref(), INTERVAL, wrong);
    let timeout = duration(written.timeout.as_ref(), PATIENCE, wrong);
    let rise = part(written.rise.as_ref(), |it| Count::try_from(*it), wrong);
    let fall = part(written.fall.as_ref(), |it| Count::try_from(*it), wrong);
    let (interval, timeout) = (interval?, timeout?);
    if timeout > interval {
        let (timeout, interval) = (timeout.seconds(), interval.seconds());
        wrong.push((span, ValueError::HealthTimes { timeout, interval }));
        return None;
    }
    Some(HealthCheck {
        probe: probe?,
        interval,
        timeout,
        rise: rise?.unwrap_or(Count::RISE),
        fall: fall?.unwrap_or(Count::FALL),
    })
}

fn probe(
    written: &WrittenHealth,
    span: &Span,
    ports: Option<&Ports>,
    wrong: &mut Wrong,
) -> Option<Probe> {
    let kind: ProbeKind = keep(&written.kind.span, written.kind.value.parse(), wrong)?;
    let spans = [
        ("port", written.port.as_ref().map(|it| &it.span)),
        ("path", written.path.as_ref().map(|it| &it.span)),
        ("status", written.status.as_ref().map(|it| &it.span)),
    ];
    let (kind_name, unused) = match kind {
        ProbeKind::Tcp => ("tcp", &spans[1..]),
        ProbeKind::Http => ("http", &[][..]),
        ProbeKind::Icmp => ("icmp", &spans[..]),
    };
    for (key, span) in unused {
        if let Some(span) = span {
            wrong.push(((*span).clone(), ValueError::HealthKey { kind: kind_name, key }));
            return None;
        }
    }
    if kind == ProbeKind::Icmp {
        return Some(Probe::Icmp);
    }
    let port = match (part(written.port.as_ref(), |it| port(*it), wrong)?, ports) {
        (Some(port), _) => port,
        (None, Some(ports)) => keep(span, only_port(ports).ok_or(ValueError::HealthPort), wrong)?,
        (None, None) => return None,
    };
    if kind == ProbeKind::Tcp {
        return Some(Probe::Tcp { port });
    }
    let path = part(written.path.as_ref(), |text: &String| text.parse(), wrong);
    let status = part(written.status.as_ref(), |it| status(*it), wrong);
    let root = || "/".parse::<HttpPath>().expect("it begins with '/'");
    Some(Probe::Http { port, path: path?.unwrap_or_else(root), status: status?.unwrap_or(OK) })
}

/// The port that a service's back ends listen on, if there is just one of TCP.
fn only_port(ports: &Ports) -> Option<NonZeroU16> {
    let mut tcp = ports.specs().iter().filter_map(|spec| match spec {
        PortSpec::One { transport: Transport::Tcp, backend, .. } => Some(*backend),
        _ => None,
    });
    let first = tcp.next();
    if tcp.next().is_some() { None } else { first }
}

/// A port number.
pub(crate) fn port(found: i64) -> Result<NonZeroU16, ValueError> {
    let port = u16::try_from(found).ok().and_then(NonZeroU16::new);
    port.ok_or(ValueError::Number { found, least: 1, most: u16::MAX.into() })
}

fn status(found: i64) -> Result<u16, ValueError> {
    let status = u16::try_from(found).ok().filter(|status| (200..=599).contains(status));
    status.ok_or(ValueError::Number { found, least: 200, most: 599 })
}

fn duration(text: Option<&Located<String>>, default: &str, wrong: &mut Wrong) -> Option<Timeout> {
    match part(text, |text: &String| text.parse(), wrong)? {
        Some(duration) => Some(duration),
        None => default.parse().ok(),
    }
}

fn part<R, T>(
    raw: Option<&Located<R>>,
    read: impl Fn(&R) -> Result<T, ValueError>,
    wrong: &mut Wrong,
) -> Option<Option<T>> {
    let Some(raw) = raw else { return Some(None) };
    keep(&raw.span, read(&raw.value), wrong).map(Some)
}

fn keep<T>(span: &Span, value: Result<T, ValueError>, wrong: &mut Wrong) -> Option<T> {
    value.map_err(|error| wrong.push((span.clone(), error))).ok()
}
