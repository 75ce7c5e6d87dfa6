//! Resources as rows of tables: which columns each kind has, and what stands in them. Pure.

use std::collections::BTreeMap;

use serde_json::Value;

use super::kinds;
use crate::api::wire::{GatewayState, Progress, Truth, View};
use crate::ctl::print::{grid, or_dash, padded};

/// What a column needs to know beside the resource itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// For each service, which sites it is exposed to.
    exposed: BTreeMap<String, Vec<String>>,
}

/// Which columns are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    /// All that there are.
    pub wide: bool,
    /// Rows are printed as they come, so only what a resource tells of itself is.
    pub as_they_come: bool,
}

struct Column {
    name: &'static str,
    /// What most of its cells fit into.
    width: usize,
    when: When,
    cell: fn(&View, &Known) -> String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Always,
    Wide,
    /// Where other resources are known as well.
    Listed,
}

const fn column(name: &'static str, width: usize, cell: fn(&View, &Known) -> String) -> Column {
    Column { name, width, when: When::Always, cell }
}

const fn wide(name: &'static str, width: usize, cell: fn(&View, &Known) -> String) -> Column {
    Column { name, width, when: When::Wide, cell }
}

const NAME: Column = column("name", 24, |view, _| kinds::of_view(view).name);
const APPLIED: Column = column("applied", 12, |view, _| applied(view));
const LABELS: Column = wide("labels", 24, |view, _| labels(view));
const REVISION: Column = wide("revision", 8, |view, _| view.metadata.revision.to_string());

const SITE: &[Column] = &[
    NAME,
    column("role", 5, |view, _| text(view, "role")),
    column("networks", 20, |view, _| list(view, "clientNetworks")),
    column("pool", 18, |view, _| text(view, "presencePool")),
    column("gateway", 16, |view, _| or_dash(own(view).and_then(|it| it.gateway.as_ref()))),
    APPLIED,
    wide("transit", 18, |view, _| allocated(view, "transit")),
    wide("client presence", 15, |view, _| allocated(view, "clientPresence")),
    wide("hub", 12, |view, _| text(view, "hub")),
    LABELS,
    REVISION,
];

const GATEWAY: &[Column] = &[
    NAME,
    column("site", 16, |view, _| text(view, "site")),
    column("endpoints", 22, |view, _| list(view, "endpoints")),
    column("standing", 8, |view, _| standing(view)),
    column("state", 8, |view, _| own(view).map_or_else(|| "-".into(), |it| progress(it.state))),
    column("applied/wanted", 14, |view, _| own(view).map_or_else(|| "-".into(), lag)),
    wide("why", 48, |view, _| or_dash(why(view))),
    wide("public key", 44, |view, _| text(view, "publicKey")),
    LABELS,
    REVISION,
];

const SERVICE: &[Column] = &[
    NAME,
    column("ports", 20, |view, _| list(view, "ports")),
    column("back ends", 20, |view, _| backends(view)),
    Column {
        name: "exposed to",
        width: 20,
        when: When::Listed,
        cell: |view, known| {
            let sites = known.exposed.get(&kinds::of_view(view).name);
            sites.map_or_else(|| "-".into(), |sites| some(sites.iter().cloned()))
        },
    },
    wide("applied", 12, |view, _| applied(view)),
    wide("health", 6, |view, _| {
        let kind = view.spec.pointer("/health/kind").and_then(Value::as_str);
        or_dash(kind)
    }),
    wide("number", 6, |view, _| allocated(view, "number")),
    LABELS,
    REVISION,
];

const EXPOSURE: &[Column] = &[
    NAME,
    column("service", 20, |view, _| text(view, "service")),
    column("to", 16, |view, _| target(view)),
    column("presences", 24, |view, _| presences(view)),
    APPLIED,
    wide("clients", 10, |view, _| text(view, "clients")),
    LABELS,
    REVISION,
];

const POLICY: &[Column] = &[
    NAME,
    column("rules", 48, |view, _| rules(view)),
    wide("applied", 12, |view, _| applied(view)),
    LABELS,
    REVISION,
];

const TOKEN: &[Column] = &[
    NAME,
    column("role", 10, |view, _| text(view, "role")),
    column("site", 16, |view, _| text(view, "site")),
    column("uses", 4, |view, _| text(view, "uses")),
    column("expires", 20, |view, _| text(view, "expires")),
    LABELS,
    REVISION,
];

/// Of kinds that this version knows nothing of.
const OTHER: &[Column] = &[NAME, APPLIED, LABELS, REVISION];

/// Of several kinds together.
const MIXED: &[Column] =
    &[column("name", 32, |view, _| kinds::shown(&kinds::of_view(view))), APPLIED, LABELS, REVISION];

/// The columns of a kind; of several kinds if none is given.
fn columns(kind: Option<&str>) -> &'static [Column] {
    let Some(kind) = kind else { return MIXED };
    match kind {
        "Site" => SITE,
        "Gateway" => GATEWAY,
        "Service" => SERVICE,
        "Exposure" => EXPOSURE,
        "Policy" => POLICY,
        "Token" => TOKEN,
        _ => OTHER,
    }
}

fn shown(kind: Option<&str>, shown: Shown) -> impl Iterator<Item = &'static Column> {
    columns(kind).iter().filter(move |column| match column.when {
        When::Always => true,
        When::Wide => shown.wide,
        When::Listed => !shown.as_they_come,
    })
}

impl Known {
    /// From every exposure there is.
    pub(super) fn of(exposures: &[View]) -> Self {
        let mut exposed: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for exposure in exposures {
            exposed.entry(text(exposure, "service")).or_default().push(target(exposure));
        }
        Self { exposed }
    }
}

/// A table for each kind, in the order that the resources come in.
pub(super) fn tables(views: &[View], known: &Known, is_wide: bool) -> String {
    let kinds = views.iter().map(|view| view.kind.as_str());
    let mut order: Vec<&str> = Vec::new();
    for kind in kinds {
        if !order.contains(&kind) {
            order.push(kind);
        }
    }
    let tables = order.iter().map(|kind| {
        let columns: Vec<_> =
            shown(Some(kind), Shown { wide: is_wide, as_they_come: false }).collect();
        let heading: Vec<_> = columns.iter().map(|column| column.name).collect();
        let rows = views.iter().filter(|view| view.kind == *kind).map(|view| {
            let mut cells: Vec<_> = columns.iter().map(|it| (it.cell)(view, known)).collect();
            if order.len() > 1 {
                cells[0] = kinds::shown(&kinds::of_view(view));
            }
            cells
        });
        grid(&heading, rows, "")
    });
    let tables: Vec<_> = tables.collect();
    if tables.is_empty() { "there are none\n".to_owned() } else { tables.join("\n") }
}

/// The heading above rows that are printed as they come.
pub(super) fn heading(kind: Option<&str>, is_wide: bool) -> String {
    let shown = shown(kind, Shown { wide: is_wide, as_they_come: true });
    padded(shown.map(|column| (column.name.to_uppercase(), column.width)))
}

/// A row that is printed as it comes.
pub(super) fn row(view: &View, kind: Option<&str>, is_wide: bool) -> String {
    let shown = shown(kind, Shown { wide: is_wide, as_they_come: true });
    padded(shown.map(|column| ((column.cell)(view, &Known::default()), column.width)))
}

/// A field of what is declared.
pub(super) fn text(view: &View, field: &str) -> String {
    match view.spec.get(field) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

fn list(view: &View, field: &str) -> String {
    let items = view.spec.get(field).and_then(Value::as_array);
    some(items.into_iter().flatten().filter_map(|item| item.as_str().map(str::to_owned)))
}

/// What was allocated, or else is declared.
fn allocated(view: &View, name: &str) -> String {
    match view.status.allocated.get(name) {
        Some(value) => value.clone(),
        None => text(view, name),
    }
}

fn labels(view: &View) -> String {
    some(view.metadata.labels.iter().map(|(key, value)| format!("{key}={value}")))
}

fn backends(view: &View) -> String {
    let items = view.spec.get("backends").and_then(Value::as_array);
    some(items.into_iter().flatten().map(|backend| {
        let address = backend.get("address").and_then(Value::as_str).unwrap_or("?");
        let weight = backend.get("weight").and_then(Value::as_u64).unwrap_or(1);
        let state = backend.get("state").and_then(Value::as_str).filter(|it| *it == "drain");
        let weight = if weight == 1 { String::new() } else { format!(":{weight}") };
        let state = state.map_or_else(String::new, |state| format!(" ({state})"));
        format!("{address}{weight}{state}")
    }))
}

/// Which sites an exposure is for.
pub(super) fn target(view: &View) -> String {
    let to = view.spec.get("to");
    match to.and_then(|to| to.get("sites")).and_then(Value::as_array) {
        Some(sites) => some(sites.iter().filter_map(|site| site.as_str().map(str::to_owned))),
        None => pairs(to.and_then(|to| to.get("labels"))),
    }
}

fn pairs(labels: Option<&Value>) -> String {
    let labels = labels.and_then(Value::as_object).into_iter().flatten();
    some(labels.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())))
}

fn presences(view: &View) -> String {
    if view.status.allocated.is_empty() {
        return text(view, "address");
    }
    let mut values: Vec<_> = view.status.allocated.values().cloned().collect();
    values.dedup();
    some(values)
}

fn rules(view: &View) -> String {
    let rules = view.spec.get("rules").and_then(Value::as_array);
    some(rules.into_iter().flatten().map(|rule| {
        let from = rule.get("from");
        let site = from.and_then(|from| from.get("site")).and_then(Value::as_str);
        let from_sites = match site {
            Some(site) => site.to_owned(),
            None => pairs(from.and_then(|from| from.get("labels"))),
        };
        let clients = from.and_then(|from| from.get("clients")).and_then(Value::as_array);
        let clients = clients.map_or_else(String::new, |clients| {
            let clients: Vec<_> = clients.iter().filter_map(Value::as_str).collect();
            format!(" [{}]", clients.join(" "))
        });
        let to = rule.get("to").and_then(Value::as_str).unwrap_or("?");
        format!("{from_sites}{clients} -> {to}")
    }))
}

/// Whether what is declared is in the kernels that it concerns.
fn applied(view: &View) -> String {
    let condition = view.status.conditions.iter().find(|it| it.name == "Applied");
    match condition {
        None => "-".to_owned(),
        Some(condition) if condition.status == Truth::True => "yes".to_owned(),
        Some(condition) => condition.reason.clone(),
    }
}

/// Whether a gateway takes part.
fn standing(view: &View) -> String {
    view.spec.get("state").and_then(Value::as_str).unwrap_or("active").to_owned()
}

/// Why a gateway has not applied what is declared, or takes no part.
fn why(view: &View) -> Option<&String> {
    let idle = || {
        let condition = view.status.conditions.iter().find(|it| it.name == "Applied")?;
        (condition.status != Truth::True).then_some(&condition.message)
    };
    match own(view) {
        Some(state) => state.why.as_ref(),
        None => idle(),
    }
}

/// How the gateway is that a resource is first of all about.
fn own(view: &View) -> Option<&GatewayState> {
    let site = match view.kind.as_str() {
        "Gateway" => view.spec.get("site").and_then(Value::as_str)?,
        _ => view.metadata.name.as_str(),
    };
    view.status.gateways.iter().find(|it| it.site == site)
}

/// How far a gateway is, as a word.
pub(super) fn progress(progress: Progress) -> String {
    let word = match progress {
        Progress::Applied => "applied",
        Progress::Pending => "pending",
        Progress::Refused => "refused",
        Progress::Absent => "absent",
        Progress::Missing => "missing",
    };
    word.to_owned()
}

/// The revisions that a gateway has applied and is told.
pub(super) fn lag(state: &GatewayState) -> String {
    format!("{}/{}", or_dash(state.applied), state.wanted)
}

/// Some values, and how many more there are.
fn some(values: impl IntoIterator<Item = String>) -> String {
    const SHOWN: usize = 3;
    let values: Vec<_> = values.into_iter().collect();
    let first = values.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(",");
    match values.len().saturating_sub(SHOWN) {
        0 if first.is_empty() => "-".to_owned(),
        0 => first,
        more => format!("{first},+{more}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn each_kind_has_its_columns() {
        let views = sample::views();
        let exposures: Vec<_> =
            views.iter().filter(|view| view.kind == "Exposure").cloned().collect();
        let text = tables(&views, &Known::of(&exposures), false);
        let expected = "\
NAME         ROLE  NETWORKS     POOL           GATEWAY    APPLIED
site/cloud   cloud 10.0.0.0/24  10.0.0.192/26  cloud-gw   yes
site/edge-a  edge  10.0.0.0/24  10.0.0.192/26  edge-a-gw  Waiting

NAME              SITE   ENDPOINTS        STANDING STATE    APPLIED/WANTED
gateway/cloud-gw  cloud  192.0.2.1:51820  active   applied  7/7

NAME                    PORTS                   BACK ENDS               EXPOSED TO
service/rabbitmq.cloud  tcp/5672,tcp/80->8080   10.0.0.10,10.0.0.11:3   edge-a,tier=edge
";
        let squeeze = |text: &str| {
            let lines = text.lines().map(|it| it.split_whitespace().collect::<Vec<_>>().join(" "));
            lines.collect::<Vec<_>>()
        };
        assert_eq!(squeeze(&text)[..squeeze(expected).len()], squeeze(expected));
        assert!(text.contains("edge-a [10.0.0.5/32] -> rabbitmq.cloud"), "{text}");
        assert!(text.contains("10.0.0.200"), "{text}");
        assert_eq!(tables(&[], &Known::default(), false), "there are none\n");
    }

    #[test]
    fn gateways_that_take_no_part_say_why() {
        let mut view = sample::views().into_iter().find(|view| view.kind == "Gateway").unwrap();
        let table = |view: &View, wide| {
            let text = tables(std::slice::from_ref(view), &Known::default(), wide);
            text.lines().nth(1).unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
        };
        assert!(
            table(&view, true).starts_with("cloud-gw cloud 192.0.2.1:51820 active applied 7/7 - ")
        );
        view.status.gateways[0].why = Some("it is away".to_owned());
        assert!(table(&view, true).contains(" 7/7 it is away 3p7"));
        view.spec["state"] = "revoked".into();
        view.status.gateways.clear();
        let condition = &mut view.status.conditions[0];
        (condition.status, condition.message) = (Truth::False, "it was revoked".to_owned());
        assert_eq!(table(&view, false), "cloud-gw cloud 192.0.2.1:51820 revoked - -");
        assert!(table(&view, true).contains("revoked - - it was revoked 3p7"));
    }

    #[test]
    fn wide_tables_have_more_columns() {
        for view in sample::views() {
            let narrow = tables(std::slice::from_ref(&view), &Known::default(), false);
            let wide = tables(std::slice::from_ref(&view), &Known::default(), true);
            assert!(wide.contains("REVISION") && !narrow.contains("REVISION"), "{wide}");
            assert!(
                !wide.contains('/') || !wide.contains("site/"),
                "one kind needs no prefix: {wide}"
            );
        }
    }

    #[test]
    fn rows_that_come_line_up_with_their_heading() {
        let views = sample::views();
        let site = &views[0];
        let (heading, line) = (heading(Some("Site"), false), row(site, Some("Site"), false));
        let at = heading.find("ROLE").unwrap();
        assert_eq!(line.get(at..at + 5), Some("cloud"), "{heading}{line}");
        let mixed = row(site, None, false);
        assert!(mixed.starts_with("site/cloud "), "{mixed}");
    }

    #[test]
    fn long_lists_are_cut() {
        let values = ["a", "b", "c", "d", "e"].map(String::from);
        assert_eq!(some(values), "a,b,c,+2");
        assert_eq!(some([]), "-");
    }
}
