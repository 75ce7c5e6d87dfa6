//! The keys of a service that concern its back ends.

use toml::Spanned;

use super::{At, Reader};
use crate::lowering::{self, Located, WrittenBackend, WrittenHealth, Wrong};
use crate::model::{Backend, HealthCheck, Ports, ValueError};
use crate::site_file::raw;

const LIST: &str = "backends";
const HEALTH: &str = "health";

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
        if raw.backend.is_some() {
            return self.keep(at, LIST, list.span(), Err(ValueError::BackendTwice));
        }
        let tables = list.as_ref().iter().enumerate().map(|(item, table)| {
            self.spans.0.insert(place.item(item), table.span());
            let raw::Backend { address, weight, state } = table.as_ref();
            WrittenBackend {
                address: located(address),
                weight: weight.as_ref().map(located),
                state: state.as_ref().map(located),
            }
        });
        let tables: Vec<_> = tables.collect();
        self.told(at, LIST, lowering::backends(&tables, list.span()))
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
        let written = WrittenHealth {
            kind: located(&raw.kind),
            port: raw.port.as_ref().map(located),
            path: raw.path.as_ref().map(located),
            status: raw.status.as_ref().map(located),
            interval: raw.interval.as_ref().map(located),
            timeout: raw.timeout.as_ref().map(located),
            rise: raw.rise.as_ref().map(located),
            fall: raw.fall.as_ref().map(located),
        };
        self.told(at, HEALTH, lowering::health(&written, table.span(), ports)).map(Some)
    }

    fn told<T>(&mut self, at: &At, field: &'static str, read: Result<T, Wrong>) -> Option<T> {
        let wrong = match read {
            Ok(value) => return Some(value),
            Err(wrong) => wrong,
        };
        for (span, error) in wrong {
            self.keep::<T>(at, field, span, Err(error));
        }
        None
    }
}

fn located<T: Clone>(raw: &Spanned<T>) -> Located<T> {
    Located { value: raw.as_ref().clone(), span: raw.span() }
}
