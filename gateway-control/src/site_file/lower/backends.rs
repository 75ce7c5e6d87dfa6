//! The keys of a service that concern its back ends.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::num::NonZeroU16;

use toml::Spanned;

use super::{At, Reader, port};
use crate::model::{
    Backend, Count, HealthCheck, HttpPath, MOST_BACKENDS, PortSpec, Ports, Probe, ProbeKind,
    Timeout, Transport, Turn, ValueError, Weight,
};
use crate::site_file::raw::{self, Text};

const LIST: &str = "backends";
const HEALTH: &str = "health";
/// Between questions, and for an answer.
const INTERVAL: &str = "2s";
const PATIENCE: &str = "1s";
const OK: u16 = 200;

impl Reader {
    pub(super) fn backends(&mut self, at: &At, raw: &raw::Service) -> Option<Vec<Backend>> {
        let place = at.place.field(LIST);
        if let Some(text) = &raw.backend {
            self.spans.0.insert(place, text.span());
        }
        let Some(list) = &raw.backends else {
            let only = self.address(at, "backend", raw.backend.as_ref())?;
            return Some(only.map(Backend::new).into_iter().collect());
        };
        self.spans.0.entry(place).or_insert(list.span());
        let (span, found) = (list.span(), list.as_ref().len());
        if raw.backend.is_some() {
            return self.keep(at, LIST, span, Err(ValueError::BackendTwice));
        }
        match found {
            0 => return self.keep(at, LIST, span, Err(ValueError::NoBackends)),
            _ if found > MOST_BACKENDS => {
                let error = ValueError::TooManyBackends { found, most: MOST_BACKENDS };
                return self.keep(at, LIST, span, Err(error));
            }
            _ => {}
        }
        let mut addresses = BTreeSet::new();
        let mut read = Vec::with_capacity(found);
        for (item, table) in list.as_ref().iter().enumerate() {
            self.spans.0.insert(place.item(item), table.span());
            read.push(self.backend(at, table.as_ref(), &mut addresses));
        }
        read.into_iter().collect()
    }

    fn backend(
        &mut self,
        at: &At,
        raw: &raw::Backend,
        addresses: &mut BTreeSet<Ipv4Addr>,
    ) -> Option<Backend> {
        let text = raw.address.as_ref();
        let address = text.parse().map_err(|_| ValueError::address(text));
        let address = address.and_then(|address| match addresses.insert(address) {
            true => Ok(address),
            false => Err(ValueError::BackendRepeated { address }),
        });
        let address = self.keep(at, LIST, raw.address.span(), address);
        let weight = self.part(at, LIST, raw.weight.as_ref(), |number| Weight::try_from(*number));
        let turn = self.part(at, LIST, raw.state.as_ref(), |text: &String| text.parse());
        Some(Backend {
            address: address?,
            weight: weight?.unwrap_or_default(),
            turn: turn?.unwrap_or(Turn::Use),
        })
    }

    pub(super) fn health(
        &mut self,
        at: &At,
        raw: &raw::Service,
        ports: Option<&Ports>,
    ) -> Option<Option<HealthCheck>> {
        let Some(table) = &raw.health else { return Some(None) };
        self.spans.0.insert(at.place.field(HEALTH), table.span());
        let raw = table.as_ref();
        let probe = self.probe(at, table, ports);
        let interval = self.span(at, raw.interval.as_ref(), INTERVAL);
        let timeout = self.span(at, raw.timeout.as_ref(), PATIENCE);
        let rise = self.part(at, HEALTH, raw.rise.as_ref(), |it| Count::try_from(*it));
        let fall = self.part(at, HEALTH, raw.fall.as_ref(), |it| Count::try_from(*it));
        let (interval, timeout) = (interval?, timeout?);
        if timeout > interval {
            let (timeout, interval) = (timeout.seconds(), interval.seconds());
            let error = ValueError::HealthTimes { timeout, interval };
            return self.keep(at, HEALTH, table.span(), Err(error));
        }
        Some(Some(HealthCheck {
            probe: probe?,
            interval,
            timeout,
            rise: rise?.unwrap_or(Count::RISE),
            fall: fall?.unwrap_or(Count::FALL),
        }))
    }

    fn probe(
        &mut self,
        at: &At,
        table: &Spanned<raw::Health>,
        ports: Option<&Ports>,
    ) -> Option<Probe> {
        let raw = table.as_ref();
        let kind = raw.kind.as_ref().parse();
        let kind: ProbeKind = self.keep(at, HEALTH, raw.kind.span(), kind)?;
        let spans = [
            ("port", raw.port.as_ref().map(Spanned::span)),
            ("path", raw.path.as_ref().map(Spanned::span)),
            ("status", raw.status.as_ref().map(Spanned::span)),
        ];
        let (kind_name, unused) = match kind {
            ProbeKind::Tcp => ("tcp", &spans[1..]),
            ProbeKind::Http => ("http", &[][..]),
            ProbeKind::Icmp => ("icmp", &spans[..]),
        };
        for (key, span) in unused {
            if let Some(span) = span {
                let error = ValueError::HealthKey { kind: kind_name, key };
                return self.keep(at, HEALTH, span.clone(), Err(error));
            }
        }
        if kind == ProbeKind::Icmp {
            return Some(Probe::Icmp);
        }
        let written = self.part(at, HEALTH, raw.port.as_ref(), |number| port(*number))?;
        let port = match (written, ports) {
            (Some(port), _) => port,
            (None, Some(ports)) => {
                let only = only_port(ports).ok_or(ValueError::HealthPort);
                self.keep(at, HEALTH, table.span(), only)?
            }
            // What is wrong with the ports is told already.
            (None, None) => return None,
        };
        if kind == ProbeKind::Tcp {
            return Some(Probe::Tcp { port });
        }
        let path = self.part(at, HEALTH, raw.path.as_ref(), |text: &String| text.parse());
        let status = self.part(at, HEALTH, raw.status.as_ref(), |number| status(*number));
        let root = || "/".parse::<HttpPath>().expect("it begins with '/'");
        Some(Probe::Http { port, path: path?.unwrap_or_else(root), status: status?.unwrap_or(OK) })
    }

    fn span(&mut self, at: &At, text: Option<&Text>, default: &str) -> Option<Timeout> {
        match self.part(at, HEALTH, text, |text: &String| text.parse())? {
            Some(span) => Some(span),
            None => default.parse().ok(),
        }
    }

    /// One value of a table inside the table `at`, whose faults are told at its own place.
    fn part<R, T>(
        &mut self,
        at: &At,
        field: &'static str,
        raw: Option<&Spanned<R>>,
        read: impl Fn(&R) -> Result<T, ValueError>,
    ) -> Option<Option<T>> {
        let Some(raw) = raw else { return Some(None) };
        self.keep(at, field, raw.span(), read(raw.as_ref())).map(Some)
    }
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

fn status(found: i64) -> Result<u16, ValueError> {
    let status = u16::try_from(found).ok().filter(|status| (200..=599).contains(status));
    status.ok_or(ValueError::Number { found, least: 200, most: 599 })
}
