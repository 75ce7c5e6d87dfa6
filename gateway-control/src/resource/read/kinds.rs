//! The fields of each kind.

use std::collections::BTreeSet;

use gateway_policy::{Clients, LabelError, RuleId, ServiceId, ServiceIdError, SiteName};

use super::table::{Reader, Table};
use crate::lowering::{self, Located, WrittenBackend, WrittenHealth, Wrong};
use crate::model::{
    Backend, ClientNetworks, ClientsAs, HealthCheck, Network, PortSpec, Ports, ServiceNumber,
    ValueError,
};
use crate::resource::fault::ContentError;
use crate::resource::node::Node;
use crate::resource::{
    AppearAs, Exposure, Gateway, Kind, Labels, Origin, Permission, Policy, PolicyName, Resource,
    Selector, Service, Site, Target, Token, TokenRole, TokenUses,
};

impl From<LabelError> for ContentError {
    fn from(error: LabelError) -> Self {
        Self::Value(error.into())
    }
}

impl From<ServiceIdError> for ContentError {
    fn from(error: ServiceIdError) -> Self {
        Self::Value(error.into())
    }
}

/// `None` where a fault was noted; then every other fault of the document was noted as well.
pub(super) fn read(
    reader: &mut Reader<'_>,
    kind: Kind,
    metadata: &mut Table<'_>,
    mut spec: Table<'_>,
    labels: Option<Labels>,
) -> Option<Resource> {
    let (meta, table) = (metadata, &mut spec);
    let resource = match kind {
        Kind::Site => reader.site(meta, table, labels).map(Resource::Site),
        Kind::Gateway => reader.gateway(meta, table, labels).map(Resource::Gateway),
        Kind::Service => reader.service(meta, table, labels).map(Resource::Service),
        Kind::Exposure => reader.exposure(meta, table, labels).map(Resource::Exposure),
        Kind::Policy => reader.policy(meta, table, labels).map(Resource::Policy),
        Kind::Token => reader.token(meta, table, labels).map(Resource::Token),
    };
    reader.close(spec);
    resource
}

impl Reader<'_> {
    fn site(
        &mut self,
        meta: &mut Table<'_>,
        spec: &mut Table<'_>,
        labels: Option<Labels>,
    ) -> Option<Site> {
        let name = self.text(meta, "name");
        let role = self.text(spec, "role");
        let networks = self.networks(spec, "clientNetworks");
        let presence_pool = self.text(spec, "presencePool");
        let client_presence = self.address(spec, "clientPresence");
        let hub = self.optional(spec, "hub");
        let transit = self.optional(spec, "transit");
        Some(Site {
            name: name?,
            labels: labels?,
            role: role?,
            client_networks: networks?,
            presence_pool: presence_pool?,
            client_presence: client_presence?,
            hub: hub?,
            transit: transit?,
        })
    }

    fn networks(&mut self, spec: &mut Table<'_>, name: &'static str) -> Option<ClientNetworks> {
        let node = self.node(spec, name)?;
        let networks = self.items::<Network>(node, &spec.field(name))?;
        match ClientNetworks::new(networks) {
            Ok(networks) => Some(networks),
            Err((first, second)) => {
                let error = ContentError::Overlap { first, second };
                self.wrong(&node.span, spec.field(name), error)
            }
        }
    }

    fn gateway(
        &mut self,
        meta: &mut Table<'_>,
        spec: &mut Table<'_>,
        labels: Option<Labels>,
    ) -> Option<Gateway> {
        let name = self.text(meta, "name");
        let site = self.text(spec, "site");
        let public_key = self.text(spec, "publicKey");
        let field = spec.field("endpoints");
        let span = spec.span.clone();
        let endpoints = self.list(spec, "endpoints");
        let endpoints = endpoints.and_then(|list| match repeated(&list) {
            None => Some(list),
            Some(name) => self.wrong(&span, field, ContentError::Repeated { name }),
        });
        let state = self.optional(spec, "state");
        Some(Gateway {
            name: name?,
            labels: labels?,
            site: site?,
            public_key: public_key?,
            endpoints: endpoints?,
            state: state?.unwrap_or_default(),
        })
    }

    fn service(
        &mut self,
        meta: &mut Table<'_>,
        spec: &mut Table<'_>,
        labels: Option<Labels>,
    ) -> Option<Service> {
        let name = self.text(meta, "name");
        let site = self.text(spec, "site");
        let ports = self.ports(spec, "ports");
        let backends = self.backends(spec, "backends");
        let health = self.health(spec, "health", ports.as_ref());
        let number = self.number(spec, "number");
        Some(Service {
            id: ServiceId { site: site?, name: name? },
            labels: labels?,
            ports: ports?,
            backends: backends?,
            health: health?,
            number: number?,
        })
    }

    fn number(
        &mut self,
        spec: &mut Table<'_>,
        name: &'static str,
    ) -> Option<Option<ServiceNumber>> {
        let Some(node) = spec.take(name) else { return Some(None) };
        let Located { value, span } = self.raw_number(node, spec.field(name))?;
        match ServiceNumber::try_from(value) {
            Ok(number) => Some(Some(number)),
            Err(error) => self.wrong(&span, spec.field(name), error),
        }
    }

    fn ports(&mut self, spec: &mut Table<'_>, name: &'static str) -> Option<Ports> {
        let node = self.node(spec, name)?;
        let specs = self.items::<PortSpec>(node, &spec.field(name))?;
        match Ports::new(specs) {
            Ok(ports) => Some(ports),
            Err(error) => self.wrong(&node.span, spec.field(name), error),
        }
    }

    fn backends(&mut self, spec: &mut Table<'_>, name: &'static str) -> Option<Vec<Backend>> {
        let node = self.node(spec, name)?;
        let field = spec.field(name);
        let items = self.list_at(node, field.clone())?.iter().enumerate();
        let read: Vec<_> =
            items.map(|(n, item)| self.backend(item, format!("{field}[{n}]"))).collect();
        let read = read.into_iter().collect::<Option<Vec<_>>>()?;
        let read = lowering::backends(&read, node.span.clone());
        self.told(field, read)
    }

    fn backend(&mut self, node: &Node, field: String) -> Option<WrittenBackend> {
        let mut table = self.map_at(node, field)?;
        let address = self.node(&mut table, "address");
        let address = address.and_then(|node| self.raw(node, table.field("address")));
        let weight = self.optional_number(&mut table, "weight");
        let state = self.optional_text(&mut table, "state");
        self.close(table);
        Some(WrittenBackend { address: address?, weight: weight?, state: state? })
    }

    fn health(
        &mut self,
        spec: &mut Table<'_>,
        name: &'static str,
        ports: Option<&Ports>,
    ) -> Option<Option<HealthCheck>> {
        let Some(node) = spec.take(name) else { return Some(None) };
        let field = spec.field(name);
        let mut table = self.map_at(node, field.clone())?;
        let kind = self.node(&mut table, "kind");
        let kind = kind.and_then(|node| self.raw(node, table.field("kind")));
        let port = self.optional_number(&mut table, "port");
        let path = self.optional_text(&mut table, "path");
        let status = self.optional_number(&mut table, "status");
        let interval = self.optional_text(&mut table, "interval");
        let timeout = self.optional_text(&mut table, "timeout");
        let rise = self.optional_number(&mut table, "rise");
        let fall = self.optional_number(&mut table, "fall");
        self.close(table);
        let written = WrittenHealth {
            kind: kind?,
            port: port?,
            path: path?,
            status: status?,
            interval: interval?,
            timeout: timeout?,
            rise: rise?,
            fall: fall?,
        };
        let read = lowering::health(&written, node.span.clone(), ports);
        self.told(field, read).map(Some)
    }

    fn told<T>(&mut self, field: String, read: Result<T, Wrong>) -> Option<T> {
        match read {
            Ok(value) => Some(value),
            Err(wrong) => {
                for (span, error) in wrong {
                    self.wrong::<T>(&span, field.clone(), error);
                }
                None
            }
        }
    }

    fn optional_number(
        &mut self,
        table: &mut Table<'_>,
        name: &'static str,
    ) -> Option<Option<Located<i64>>> {
        let Some(node) = table.take(name) else { return Some(None) };
        self.raw_number(node, table.field(name)).map(Some)
    }

    fn optional_text(
        &mut self,
        table: &mut Table<'_>,
        name: &'static str,
    ) -> Option<Option<Located<String>>> {
        let Some(node) = table.take(name) else { return Some(None) };
        self.raw(node, table.field(name)).map(Some)
    }

    fn exposure(
        &mut self,
        meta: &mut Table<'_>,
        spec: &mut Table<'_>,
        labels: Option<Labels>,
    ) -> Option<Exposure> {
        let name = self.text(meta, "name");
        let service = self.text(spec, "service");
        let to = self.target(spec, "to");
        let address = self.address(spec, "address");
        let clients = self.appear_as(spec);
        let (to, address, clients) = (to?, address?, clients?);
        let presences = match clients {
            AppearAs::PerClient { presences, .. } => presences,
            AppearAs::Shared => None,
        };
        let one = matches!(&to, Target::Sites(sites) if sites.len() == 1);
        if !one && (address.is_some() || presences.is_some()) {
            let field = if address.is_some() { "address" } else { "presences" };
            return self.wrong(&spec.span, spec.field(field), ContentError::OneSite);
        }
        Some(Exposure { name: name?, labels: labels?, service: service?, to, address, clients })
    }

    fn appear_as(&mut self, spec: &mut Table<'_>) -> Option<AppearAs> {
        let word = self.optional(spec, "clients");
        let from = self.optional(spec, "from");
        let presences = self.optional(spec, "presences");
        let (word, from, presences) = (word?, from?, presences?);
        match word.unwrap_or(ClientsAs::Shared) {
            ClientsAs::PerClient => Some(AppearAs::PerClient { from, presences }),
            ClientsAs::Shared if from.is_none() && presences.is_none() => Some(AppearAs::Shared),
            ClientsAs::Shared => {
                let field = if from.is_some() { "from" } else { "presences" };
                self.wrong(&spec.span, spec.field(field), ContentError::PerClientOnly)
            }
        }
    }

    fn target(&mut self, spec: &mut Table<'_>, name: &'static str) -> Option<Target> {
        let mut table = self.map(spec, name)?;
        let (span, field) = (table.span.clone(), spec.field(name));
        let sites = table.take("sites");
        let labels = self.selector(&mut table);
        let target = match (sites, labels?) {
            (Some(node), None) => self.sites(node, table.field("sites")).map(Target::Sites),
            (None, Some(selector)) => Some(Target::Labelled(selector)),
            (Some(_), Some(_)) | (None, None) => {
                let error = ContentError::Either { one: "sites", other: "labels" };
                self.wrong(&span, field, error)
            }
        };
        self.close(table);
        target
    }

    fn sites(&mut self, node: &Node, field: String) -> Option<Vec<SiteName>> {
        let sites = self.items::<SiteName>(node, &field)?;
        if sites.is_empty() {
            return self.wrong(&node.span, field, ContentError::Empty);
        }
        match repeated(&sites) {
            None => Some(sites),
            Some(name) => self.wrong(&node.span, field, ContentError::Repeated { name }),
        }
    }

    /// `labels` of something that selects by them; `Some(None)` if it is not there.
    fn selector(&mut self, table: &mut Table<'_>) -> Option<Option<Selector>> {
        let Some(node) = table.take("labels") else { return Some(None) };
        match Selector::new(self.labels(table, "labels")?) {
            Ok(selector) => Some(Some(selector)),
            Err(error) => self.wrong(&node.span, table.field("labels"), error),
        }
    }

    fn policy(
        &mut self,
        meta: &mut Table<'_>,
        spec: &mut Table<'_>,
        labels: Option<Labels>,
    ) -> Option<Policy> {
        let name: Option<PolicyName> = self.text(meta, "name");
        let node = self.node(spec, "rules");
        let rules = node.and_then(|node| self.rules(node, spec.field("rules")));
        let (name, written) = (name?, rules?);
        let count = written.len();
        let mut rules = Vec::with_capacity(count);
        for (n, (from, clients, to)) in (1..).zip(written) {
            match rule_id(&name, n, count) {
                Ok(id) => rules.push(Permission { id, from, clients, to }),
                Err(_) => {
                    let error = ContentError::LongId { count };
                    return self.wrong(&meta.span, meta.field("name"), error);
                }
            }
        }
        Some(Policy { name, labels: labels?, rules })
    }

    fn rules(&mut self, node: &Node, field: String) -> Option<Vec<(Origin, Clients, ServiceId)>> {
        let items = self.list_at(node, field.clone())?;
        if items.is_empty() {
            return self.wrong(&node.span, field, ContentError::Empty);
        }
        let read: Vec<_> = items
            .iter()
            .enumerate()
            .map(|(n, item)| self.rule(item, format!("{field}[{n}]")))
            .collect();
        read.into_iter().collect()
    }

    fn rule(&mut self, node: &Node, field: String) -> Option<(Origin, Clients, ServiceId)> {
        let mut table = self.map_at(node, field)?;
        let from = self.map(&mut table, "from");
        let from = from.and_then(|from| self.origin(from));
        let to = self.text(&mut table, "to");
        self.close(table);
        let (origin, clients) = from?;
        Some((origin, clients, to?))
    }

    fn origin(&mut self, mut table: Table<'_>) -> Option<(Origin, Clients)> {
        let site = self.optional(&mut table, "site");
        let labels = self.selector(&mut table);
        let node = table.take("clients");
        let clients = match node {
            None => Some(Clients::All),
            Some(node) => {
                let networks = self.items::<Network>(node, &table.field("clients"));
                match networks {
                    Some(list) if list.is_empty() => {
                        self.wrong(&node.span, table.field("clients"), ContentError::Empty)
                    }
                    list => list
                        .map(|list| Clients::In(list.into_iter().map(Network::prefix).collect())),
                }
            }
        };
        let (span, field) = (table.span.clone(), table.field("site"));
        self.close(table);
        let origin = match (site?, labels?) {
            (Some(site), None) => Some(Origin::Site(site)),
            (None, Some(selector)) => Some(Origin::Labelled(selector)),
            (Some(_), Some(_)) | (None, None) => {
                self.wrong(&span, field, ContentError::Either { one: "site", other: "labels" })
            }
        };
        Some((origin?, clients?))
    }

    fn token(
        &mut self,
        meta: &mut Table<'_>,
        spec: &mut Table<'_>,
        labels: Option<Labels>,
    ) -> Option<Token> {
        let name = self.text(meta, "name");
        let role = self.token_role(spec);
        let uses = self.token_uses(spec, "uses");
        let expires = self.text(spec, "expires");
        let approve = self.flag(spec, "approve");
        let secret_hash = self.text(spec, "secretHash");
        Some(Token {
            name: name?,
            labels: labels?,
            role: role?,
            uses: uses?,
            expires: expires?,
            approve: approve?,
            secret_hash: secret_hash?,
        })
    }

    fn token_role(&mut self, spec: &mut Table<'_>) -> Option<TokenRole> {
        let word = self.optional(spec, "role");
        let site = self.optional(spec, "site");
        match TokenRole::new(word?.unwrap_or_default(), site?) {
            Ok(role) => Some(role),
            Err(error) => self.wrong(&spec.span, spec.field("site"), error),
        }
    }

    fn token_uses(&mut self, spec: &mut Table<'_>, name: &'static str) -> Option<TokenUses> {
        let Some(node) = spec.take(name) else { return Some(TokenUses::default()) };
        let Located { value, span } = self.raw_number(node, spec.field(name))?;
        match TokenUses::try_from(value) {
            Ok(uses) => Some(uses),
            Err(error) => self.wrong(&span, spec.field(name), error),
        }
    }
}

/// What the `n`th of `count` rules is called, counted from 1.
fn rule_id(name: &PolicyName, n: usize, count: usize) -> Result<RuleId, ValueError> {
    let id = if count == 1 { name.to_string() } else { format!("{name}-{n}") };
    Ok(id.parse::<RuleId>()?)
}

/// The first that is in a list twice.
fn repeated<T: Ord + ToString>(list: &[T]) -> Option<String> {
    let mut seen = BTreeSet::new();
    list.iter().find(|item| !seen.insert(*item)).map(ToString::to_string)
}
