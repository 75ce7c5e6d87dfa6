//! The keys of a service that concern what remote clients appear as.

use super::{At, Reader};
use crate::model::{ClientPresences, ClientsAs, Exposure, ValueError};
use crate::site_file::raw;

const LIST: &str = "exposures";

impl Reader {
    pub(super) fn exposures(&mut self, at: &At, raw: &raw::Service) -> Option<Vec<Exposure>> {
        let mut read = Vec::with_capacity(raw.exposures.len());
        for (item, table) in raw.exposures.iter().enumerate() {
            self.spans.0.insert(at.place.field(LIST).item(item), table.span());
            let (exposure, span) = (table.as_ref(), table.span());
            let site = self.value(at, "exposures.site", &exposure.site);
            let clients = self.optional(at, "exposures.clients", exposure.clients.as_ref());
            let from = self.optional(at, "exposures.from", exposure.from.as_ref());
            let presences = self.optional(at, "exposures.presences", exposure.presences.as_ref());
            let (Some(site), Some(clients), Some(from), Some(presences)) =
                (site, clients, from, presences)
            else {
                read.push(None);
                continue;
            };
            let clients = match (clients.unwrap_or(ClientsAs::Shared), from, presences) {
                (ClientsAs::Shared, None, None) => Ok(ClientPresences::Shared),
                (ClientsAs::Shared, _, _) => Err(ValueError::SharedWithPrefixes),
                (ClientsAs::PerClient, Some(from), Some(presences)) => {
                    Ok(ClientPresences::PerClient { from, presences })
                }
                (ClientsAs::PerClient, _, _) => Err(ValueError::PerClientIncomplete),
            };
            let clients = self.keep(at, LIST, span, clients);
            read.push(clients.map(|clients| Exposure { site, clients }));
        }
        read.into_iter().collect()
    }
}
