//! Every field of every kind with its type, its default and its meaning, and an example of each kind. The
//! page is made of it, and its tests hold it to the reader.

use super::Given::{Absent, Default, OneOf, Required};
use super::{Field, Given, KindPage, Mapping};

/// What every resource has.
pub(super) const METADATA: &[Field] = &[
    field(
        "name",
        "text",
        Required,
        "Its name, a DNS label: 1 to 63 lower-case letters, digits and inner hyphens. Unique among its kind; a service's at its site. Never changes: another name is another resource.",
    ),
    field(
        "labels",
        "mapping of texts",
        Absent("none"),
        "What it is selected by, at most 64. A key is a name, or a DNS name, `/` and a name; a name and a value have at most 63 letters, digits, `-`, `_` and `.`, with a letter or digit at both ends. A value may be empty.",
    ),
    field(
        "revision",
        "whole number",
        Absent("whatever it is of now"),
        "The revision that this document was made of. If the resource has been changed or removed since, it is refused.",
    ),
];

/// Every kind, those that others refer to first.
pub(super) const KINDS: &[KindPage] = &[
    KindPage {
        name: "Site",
        about: "A place with its own address plan, which may overlap any other site's.",
        mappings: SITE,
        example: SITE_EXAMPLE,
    },
    KindPage {
        name: "Gateway",
        about: "The Linux host that links a site to others. A site has one that takes part. Two gateways with a link between them need an endpoint at one end at least.",
        mappings: GATEWAY,
        example: GATEWAY_EXAMPLE,
    },
    KindPage {
        name: "Service",
        about: "A named set of ports with one or more back ends, at one site. Elsewhere it is called `SERVICE.SITE`.",
        mappings: SERVICE,
        example: SERVICE_EXAMPLE,
    },
    KindPage {
        name: "Exposure",
        about: "A service published to sites: each of them gets a presence of it. What its clients may do with it is for policies. A service is exposed to a site once.",
        mappings: EXPOSURE,
        example: EXPOSURE_EXAMPLE,
    },
    KindPage {
        name: "Policy",
        about: "Who may use what. Nothing is allowed that no policy allows. A verdict names the rule: by the policy's name if it has one rule, otherwise by the name with `-1`, `-2` and so on.",
        mappings: POLICY,
        example: POLICY_EXAMPLE,
    },
    KindPage {
        name: "Token",
        about: "Leave for somebody to join the deployment. Only the hash of its secret is declared, so nobody joins by what is read here.",
        mappings: TOKEN,
        example: TOKEN_EXAMPLE,
    },
];

const SITE: &[Mapping] = &[Mapping {
    path: "spec",
    about: "",
    fields: &[
        field(
            "role",
            "`cloud` or `edge`",
            Required,
            "`cloud`: a hub, linked to every other cloud site and to the edge sites whose hub it is. `edge`: linked to its hub, which relays what goes further.",
        ),
        field(
            "clientNetworks",
            "list of prefixes",
            Required,
            "Prefixes whose hosts may be clients and back ends, at most 16; may be empty. They do not overlap one another, the transit pool or all of the presence pool, and together have at most 8388608 addresses. Their order fixes the transit address of each client.",
        ),
        field(
            "presencePool",
            "prefix, /16 to /30",
            Required,
            "Addresses out of the site's own plan that are reserved for presences.",
        ),
        field(
            "clientPresence",
            "address of the pool",
            Absent("any of the pool"),
            "What clients of other sites appear as at services of this one.",
        ),
        field(
            "hub",
            "name of a cloud site",
            Absent("the only cloud site"),
            "The cloud site that an edge site reaches others by. Required where there are several; a cloud site has none.",
        ),
        field(
            "transit",
            "prefix, /8 to /20",
            Absent("any of the pool, as large as needed"),
            "Which transit addresses it is to have, inside the transit pool and no other site's. Its lower half is for clients, its upper half for services.",
        ),
    ],
}];

const SITE_EXAMPLE: &str = "\
kind: Site
metadata:
  name: edge-a
  labels: {tier: edge}
spec:
  role: edge
  clientNetworks: [10.0.0.0/24]
  presencePool: 10.0.0.192/26
  clientPresence: 10.0.0.250
  hub: cloud
  transit: 240.0.16.0/20
";

const GATEWAY: &[Mapping] = &[Mapping {
    path: "spec",
    about: "",
    fields: &[
        field("site", "name of a site", Required, "The site that it links."),
        field(
            "publicKey",
            "WireGuard key, base64",
            Required,
            "Its link's public key, as `wg pubkey` prints it. No two gateways have the same.",
        ),
        field(
            "endpoints",
            "list of ADDRESS:PORT",
            Absent("it dials"),
            "Where others dial it, by UDP: the first that works. Each is that of one gateway. An IPv6 address stands in brackets.",
        ),
        field(
            "state",
            "`active`, `pending` or `revoked`",
            Default("active"),
            "Whether it takes part. `pending`: not before `gatewayctl gateway accept`. `revoked`: never again under this name; nothing but deleting it ends that.",
        ),
    ],
}];

const GATEWAY_EXAMPLE: &str = "\
kind: Gateway
metadata: {name: cloud-gw}
spec:
  site: cloud
  publicKey: 3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=
  endpoints: ['192.0.2.1:51820', '[2001:db8::1]:51820']
  state: active
";

const SERVICE: &[Mapping] = &[
    Mapping {
        path: "spec",
        about: "",
        fields: &[
            field(
                "site",
                "name of a site",
                Required,
                "The site whose hosts serve it. Part of its name: the same name at another site is another service.",
            ),
            field(
                "ports",
                "list of texts",
                Required,
                "What of it is open, one entry at least: `tcp/PORT`, `tcp/LOW-HIGH`, `tcp/*`, `tcp/PORT->BACKEND` where the back end listens on another port, the same with `udp`, with `sctp` but for `->`, `icmp-echo`, `ip/NUMBER`.",
            ),
            field(
                "backends",
                "list of mappings",
                Required,
                "The hosts that serve it, 1 to 64, each once, in the site's client networks and not in its presence pool. One that is removed loses its flows.",
            ),
            field(
                "health",
                "mapping",
                Absent("all are held to serve"),
                "How the gateway finds out which of them serve, asking from its own address on the LAN.",
            ),
            field(
                "number",
                "whole number, from 1",
                Absent("any that is free"),
                "Which number it is to have at its site; fixes its transit address.",
            ),
        ],
    },
    Mapping {
        path: "spec.backends[]",
        about: "One back end.",
        fields: &[
            field("address", "address", Required, "The host."),
            field(
                "weight",
                "whole number, 1 to 100",
                Default("1"),
                "Its share of new flows, against those of the others.",
            ),
            field(
                "state",
                "`use` or `drain`",
                Default("use"),
                "`drain`: it keeps its flows and gets no new ones.",
            ),
        ],
    },
    Mapping {
        path: "spec.health",
        about: "The health check.",
        fields: &[
            field(
                "kind",
                "`tcp`, `http` or `icmp`",
                Required,
                "`tcp`: connects. `http`: asks for `path` by GET. `icmp`: sends an echo request.",
            ),
            field(
                "port",
                "whole number, 1 to 65535",
                Absent("the back ends' port, where the service has a single TCP port"),
                "The port that is asked; not for `icmp`.",
            ),
            field(
                "path",
                "text",
                Default("/"),
                "Path and query, visible ASCII from `/` on, at most 255 characters; for `http` only.",
            ),
            field(
                "status",
                "whole number, 200 to 599",
                Default("200"),
                "The status of a right answer; for `http` only.",
            ),
            field(
                "interval",
                "duration, 1s to 720h",
                Default("2s"),
                "From one question to the next.",
            ),
            field(
                "timeout",
                "duration, 1s to 720h",
                Default("1s"),
                "How long an answer may take; not longer than `interval`.",
            ),
            field(
                "rise",
                "whole number, 1 to 100",
                Default("2"),
                "After so many right answers in a row it gets new flows again.",
            ),
            field(
                "fall",
                "whole number, 1 to 100",
                Default("3"),
                "After so many failures in a row it gets no new flows.",
            ),
        ],
    },
];

const SERVICE_EXAMPLE: &str = "\
kind: Service
metadata: {name: web}
spec:
  site: edge-a
  ports: [tcp/80->8080, icmp-echo]
  backends:
    - {address: 10.0.0.10}
    - {address: 10.0.0.11, weight: 3, state: drain}
  health: {kind: http, port: 8080, path: /ready, status: 204, interval: 5s, timeout: 2s, rise: 1, fall: 5}
  number: 7
";

const EXPOSURE: &[Mapping] = &[
    Mapping {
        path: "spec",
        about: "",
        fields: &[
            field("service", "SERVICE.SITE", Required, "The service."),
            field("to", "mapping", Required, "The sites that get a presence of it."),
            field(
                "address",
                "address of the site's pool",
                Absent("any of the pool"),
                "Which presence it is to have; only with one site, named in `to.sites`.",
            ),
            field(
                "clients",
                "`shared` or `per-client`",
                Default("shared"),
                "What the sites' clients appear as at the service. `shared`: all as the client presence of the service's site, their ports translated. `per-client`: each as an address of its own, their ports as they are.",
            ),
            field(
                "from",
                "prefix",
                Absent("the site's one client network"),
                "Which clients have addresses of their own; for `per-client` only. Every client that a rule lets use the service must be in it.",
            ),
            field(
                "presences",
                "prefix, at least as large as `from`",
                Absent("any of the pool of the service's site"),
                "Where the first of `from` is to appear, the others in order; for `per-client` only, and with one site, named in `to.sites`.",
            ),
        ],
    },
    Mapping {
        path: "spec.to",
        about: "Which sites.",
        fields: &[
            field(
                "sites",
                "list of names of sites",
                OneOf("this or `labels`"),
                "Those named, each once, and not the service's own.",
            ),
            field(
                "labels",
                "mapping of texts",
                OneOf("this or `sites`"),
                "Every site with all of these labels but the service's own, those declared later among them. One label at least.",
            ),
        ],
    },
];

const EXPOSURE_EXAMPLE: &str = "\
kind: Exposure
metadata: {name: web-to-b}
spec:
  service: web.edge-a
  to: {sites: [edge-b]}
  address: 10.0.0.200
  clients: per-client
  from: 10.0.0.0/28
  presences: 10.0.0.208/28
---
kind: Exposure
metadata: {name: rabbitmq}
spec:
  service: rabbitmq.cloud
  to: {labels: {tier: edge}}
  clients: shared
";

const POLICY: &[Mapping] = &[
    Mapping {
        path: "spec",
        about: "",
        fields: &[field(
            "rules",
            "list of mappings",
            Required,
            "What it allows: one rule at least.",
        )],
    },
    Mapping {
        path: "spec.rules[]",
        about: "One rule.",
        fields: &[
            field("from", "mapping", Required, "Whose clients."),
            field(
                "to",
                "SERVICE.SITE",
                Required,
                "The service that they may use, where it is exposed to their site.",
            ),
        ],
    },
    Mapping {
        path: "spec.rules[].from",
        about: "Whose clients a rule is for.",
        fields: &[
            field("site", "name of a site", OneOf("this or `labels`"), "Those of this site."),
            field(
                "labels",
                "mapping of texts",
                OneOf("this or `site`"),
                "Those of every site with all of these labels but the service's own. One label at least.",
            ),
            field(
                "clients",
                "list of prefixes",
                Absent("all of the site's clients"),
                "Which of them, by their own addresses; one prefix at least, each in a client network of the site and outside its presence pool.",
            ),
        ],
    },
];

const POLICY_EXAMPLE: &str = "\
kind: Policy
metadata: {name: web}
spec:
  rules:
    - {from: {site: edge-b, clients: [10.0.0.5/32]}, to: web.edge-a}
    - {from: {labels: {tier: edge}}, to: rabbitmq.cloud}
";

const TOKEN: &[Mapping] = &[Mapping {
    path: "spec",
    about: "",
    fields: &[
        field(
            "role",
            "`gateway`, `controller` or `operator`",
            Default("gateway"),
            "As what it lets somebody join.",
        ),
        field(
            "site",
            "name of a site",
            OneOf("required for `gateway`, refused otherwise"),
            "The site whose gateway joins.",
        ),
        field("uses", "whole number, 1 to 1000000", Default("1"), "How often it may be used."),
        field(
            "expires",
            "time in UTC, 1970 to 9999",
            Required,
            "Until when, as `2030-01-31T18:00:00Z`. It may be past: the token is kept and lets nobody in.",
        ),
        field(
            "approve",
            "`true` or `false`",
            Default("false"),
            "Whether an operator has to accept who has joined with it.",
        ),
        field(
            "secretHash",
            "64 lower-case hexadecimal digits",
            Required,
            "SHA-256 of its secret. No two tokens have the same.",
        ),
    ],
}];

const TOKEN_EXAMPLE: &str = "\
kind: Token
metadata: {name: edge-b}
spec:
  role: gateway
  site: edge-b
  uses: 3
  expires: 2030-01-31T18:00:00Z
  approve: true
  secretHash: 5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8
";

const fn field(
    name: &'static str,
    shape: &'static str,
    default: Given,
    meaning: &'static str,
) -> Field {
    Field { name, shape, default, meaning }
}
