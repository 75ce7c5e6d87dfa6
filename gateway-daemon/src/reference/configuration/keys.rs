//! Every key of the site file with its default, meaning and an example. The page is made of it, and its
//! tests hold it to the parser.

use super::Given::{Absent, Default, Required};
use super::{Key, Table, key};

/// Every table of the site file, in the order of the page.
pub(super) const TABLES: &[Table] = &[
    Table {
        heading: "Top level",
        about: "The same at every gateway of a deployment.",
        keys: &[
            key("mode", Default("\"standalone\""), "\"standalone\"", "That this is a site file."),
            key(
                "transit_pool",
                Default("\"240.0.0.0/4\""),
                "\"240.0.0.0/4\"",
                "Where all transit addresses come from, /4 to /12. Addresses that no site uses itself.",
            ),
        ],
    },
    Table {
        heading: "[gateway]",
        about: "This gateway. Required.",
        keys: &[
            key("name", Required, "\"edge-a-gw\"", "Name of the gateway."),
            key(
                "instance",
                Default("\"default\""),
                "\"edge-a\"",
                "Names the pins and the run directory, so that several gateways can share a host.",
            ),
        ],
    },
    Table {
        heading: "[site]",
        about: "The site that this gateway serves. Required.",
        keys: &[
            key("name", Required, "\"edge-a\"", "Name of the site."),
            key(
                "transit",
                Required,
                "\"240.0.16.0/20\"",
                "The site's transit block, /8 to /20 inside `transit_pool`, overlapping no other \
                 site's. Its lower half is for clients, its upper half for services.",
            ),
            key(
                "presence_pool",
                Required,
                "\"10.0.0.192/26\"",
                "Addresses out of the site's own plan that are reserved for presences, to /30. The \
                 gateway answers ARP for those in use.",
            ),
            key(
                "client_presence",
                Absent("none"),
                "\"10.0.0.250\"",
                "What remote clients appear as here, an address of the pool. Required where the \
                 site has services of its own.",
            ),
        ],
    },
    Table {
        heading: "[[lan]]",
        about: "An interface towards the site's hosts.",
        keys: &[
            key("interface", Required, "\"lan0\"", "The interface. It must exist."),
            key(
                "mode",
                Default("\"auto\""),
                "\"tc\"",
                "`xdp`: refuse early by XDP, translate by TC. `tc`: TC alone. `auto`: XDP where it \
                 costs no offloads. `gatewayctl status` says what was chosen and why.",
            ),
            key(
                "networks",
                Required,
                "[\"10.0.0.0/24\"]",
                "Client networks behind it: their hosts may be clients and back ends. At most eight \
                 in all; together they fit the lower half of `site.transit`.",
            ),
        ],
    },
    Table {
        heading: "[host]",
        about: "Lets the gateway host itself take part: its processes, and the containers that it \
                routes, use presences and serve. Without this table they do not. gatewayd makes a \
                veth pair and a route for the presence pool by it; `gatewayctl detach` removes both.",
        keys: &[
            key(
                "interface",
                Absent("`presence0`"),
                "\"presence0\"",
                "Name of the host's end, at most 11 characters; the end that the programs are on is \
                 called the same with `-far`. Each instance on a host needs its own.",
            ),
            key(
                "addresses",
                Absent("those of the LAN interfaces in client networks"),
                "[\"10.0.0.1\"]",
                "The host's own addresses that are clients and back ends. The first is the sender of \
                 what the host sends to presences.",
            ),
            key(
                "networks",
                Absent("none"),
                "[\"172.17.0.0/24\"]",
                "Client networks that the host routes itself, as those of containers. Their clients \
                 come after those of every `[[lan]]`. At most eight, `addresses` counted. The host \
                 must forward: net.ipv4.ip_forward=1.",
            ),
        ],
    },
    Table {
        heading: "[link]",
        about: "The WireGuard device that carries the traffic to other gateways. Required.",
        keys: &[
            key(
                "interface",
                Default("\"presence\""),
                "\"presence\"",
                "Name of the device; gatewayd makes it.",
            ),
            key(
                "kind",
                Default("\"auto\""),
                "\"kernel\"",
                "`kernel`: the kernel's WireGuard. `userspace`: the embedded one, in a process of \
                 its own. `auto`: the kernel's where it has one.",
            ),
            key(
                "private_key_file",
                Required,
                "\"/etc/presence/link.key\"",
                "The private key as `wg genkey` prints it, in a file of mode 0600. A relative path \
                 starts at the site file.",
            ),
            key(
                "listen_port",
                Absent("any free port"),
                "51820",
                "UDP port. Required where a peer has no `endpoint`.",
            ),
            key(
                "mtu",
                Absent("what the paths to the peers are found to carry"),
                "1420",
                "MTU of the device and towards every peer. Without it the path to each peer is \
                 probed; `gatewayctl link list` says what was found, and how. The link's headers \
                 take 60 octets over IPv4 and 80 over IPv6.",
            ),
            key(
                "relay",
                Default("false"),
                "true",
                "On a hub: carry packets between two other sites.",
            ),
            key(
                "next",
                Absent("one device"),
                "{ private_key_file = \"/etc/presence/next.key\", listen_port = 51821 }",
                "A second device beside the first, while keys are rotated: see below.",
            ),
        ],
    },
    Table {
        heading: "[link.next]",
        about: "The second link device. It takes the traffic of each peer that has a handshake with \
                it. When that is all of them, write its keys into `[link]` and remove this table: \
                the device stays, the other one goes. It is called as `link.interface` with a `2` \
                at the end.",
        keys: &[
            key(
                "private_key_file",
                Absent("that of `[link]`"),
                "\"/etc/presence/next.key\"",
                "The next private key.",
            ),
            key(
                "listen_port",
                Absent("any free port"),
                "51821",
                "Its UDP port, another than that of `[link]`. Required where a peer has no \
                 `next.endpoint`. May stay for good at a gateway that peers dial: they then have \
                 two ports, one for the key in use and one for the next.",
            ),
        ],
    },
    Table {
        heading: "[[peer]]",
        about: "A gateway that this one has a link to.",
        keys: &[
            key("site", Required, "\"cloud\"", "Its site, one of the `[[remote_site]]`s."),
            key(
                "public_key",
                Required,
                "\"(base64)\"",
                "Its public key, as `wg pubkey` prints it.",
            ),
            key(
                "endpoint",
                Absent("it dials this gateway"),
                "\"192.0.2.1:51820\"",
                "Where it is dialled: address and UDP port.",
            ),
            key(
                "endpoints",
                Absent("`endpoint` alone"),
                "[\"192.0.2.1:51820\", \"198.51.100.1:51820\"]",
                "Where it is dialled if it has several underlays, in place of `endpoint`: the first \
                 that works.",
            ),
            key(
                "keepalive",
                Absent("`25s` with an endpoint, else `off`"),
                "\"25s\"",
                "How often something is sent in silence, so that NATs on the way stay open; `off`: \
                 never.",
            ),
            key(
                "reaches",
                Default("[]"),
                "[\"edge-b\"]",
                "Further sites that this peer relays to.",
            ),
            key(
                "next",
                Absent("nothing changes"),
                "{ public_key = \"(base64)\", endpoint = \"192.0.2.1:51821\" }",
                "How it is reached by the second link device, while keys are rotated: see below.",
            ),
        ],
    },
    Table {
        heading: "[peer.next]",
        about: "Inside a `[[peer]]`: the same peer on the second link device. When it is up there, \
                write these keys into `[[peer]]` and remove them here.",
        keys: &[
            key("public_key", Absent("the same"), "\"(base64)\"", "Its next public key."),
            key(
                "endpoint",
                Absent("it dials this gateway"),
                "\"192.0.2.1:51821\"",
                "Where its second device is dialled.",
            ),
            key(
                "endpoints",
                Absent("`endpoint` alone"),
                "[\"192.0.2.1:51821\", \"198.51.100.1:51821\"]",
                "The same, if it has several underlays.",
            ),
        ],
    },
    Table {
        heading: "[[remote_site]]",
        about: "Another site.",
        keys: &[
            key("name", Required, "\"cloud\"", "Its name."),
            key("transit", Required, "\"240.0.0.0/20\"", "Its transit block, as it has it itself."),
            key(
                "client_networks",
                Default("[]"),
                "[\"10.0.0.0/24\"]",
                "Its client networks, in its own order. Needed only for rules that name clients of \
                 that site.",
            ),
        ],
    },
    Table {
        heading: "[[service]]",
        about: "A service of this site, or one of another site that is exposed here.",
        keys: &[
            key("name", Required, "\"rabbitmq\"", "Its name, unique at its site."),
            key("site", Required, "\"cloud\"", "The site whose hosts serve it."),
            key(
                "number",
                Required,
                "1",
                "Fixes its transit address. From 1, unique at its site, and the same wherever the \
                 service is written.",
            ),
            key(
                "ports",
                Required,
                "[\"tcp/5672\", \"icmp-echo\"]",
                "What of it is open: `tcp/PORT`, `tcp/LOW-HIGH`, `tcp/*`, `tcp/PORT->BACKEND` where \
                 the back end listens on another port, the same with `udp`, with `sctp` but for \
                 `->`, `icmp-echo`, `ip/NUMBER`.",
            ),
            key(
                "backend",
                Absent("none"),
                "\"10.0.0.10\"",
                "The one host that serves it. This or `backends` is required if the service is at this \
                 site, both are refused otherwise.",
            ),
            key(
                "backends",
                Absent("none"),
                "[{ address = \"10.0.0.10\", weight = 2 }, { address = \"10.0.0.11\", state = \"drain\" }]",
                "The hosts that serve it, at most 64. `weight`, 1 to 100 (default 1), is a host's share \
                 of new flows. `state` is `use` (default) or `drain`: it keeps its flows and gets no new \
                 ones. One that is removed loses its flows.",
            ),
            key(
                "health",
                Absent("all are held to serve"),
                "{ kind = \"http\", port = 8080, path = \"/healthz\", status = 200, interval = \"2s\", \
                 timeout = \"1s\", rise = 2, fall = 3 }",
                "How the gateway asks each of them, from its own address on the LAN. `kind` is `tcp` \
                 (connects), `http` (GET `path`, default `/`, answered with `status`, default 200) or \
                 `icmp` (echo). `port` may be left out where the service has a single TCP port. Asked \
                 every `interval` (default 2s); an answer may take `timeout` (default 1s). After `fall` \
                 failures in a row (default 3) it gets no new flows, after `rise` answers (default 2) it \
                 does again.",
            ),
            key(
                "presence",
                Absent("none"),
                "\"10.0.0.200\"",
                "Its address here, out of the presence pool. Required if the service is at another \
                 site, refused otherwise.",
            ),
            key(
                "exposures",
                Absent("`client_presence` for the clients of every site"),
                "[{ site = \"cloud\", clients = \"per-client\", from = \"10.0.0.0/28\", presences = \"10.0.0.208/28\" }]",
                "What the clients of other sites appear as at this service, if it is here. \
                 `clients`: `shared`, all as `client_presence`, their ports translated; \
                 `per-client`, each as an address of its own out of `presences`, in the order of \
                 `from`, their ports as they are. Every client that a rule lets in must be in `from`. \
                 Services may share `presences` for the same `site` and `from`; a client's second use \
                 of one port at one port of a back end is refused as `ports-exhausted`.",
            ),
        ],
    },
    Table {
        heading: "[[allow]]",
        about: "A permission. What no rule allows is refused, at the client's gateway and at the \
                service's. Where two rules cover a client, the one with the more specific prefix is \
                named.",
        keys: &[
            key("id", Required, "\"edge-a-rabbitmq\"", "What `gatewayctl trace` names. Unique."),
            key("from", Required, "\"edge-a\"", "The clients' site."),
            key(
                "clients",
                Absent("every client of the site"),
                "[\"10.0.0.5/32\"]",
                "Which of its clients, by their own addresses.",
            ),
            key("to", Required, "\"rabbitmq.cloud\"", "The service, as `SERVICE.SITE`."),
        ],
    },
    Table {
        heading: "[flows]",
        about: "The flow table. A change of its size takes effect after `gatewayctl detach`.",
        keys: &[
            key(
                "capacity",
                Default("65536"),
                "262144",
                "Most flows at a time: a power of two, 1024 to 4194304.",
            ),
            key(
                "per_client",
                Absent("a quarter of `capacity`"),
                "10000",
                "Most flows of one client; more are refused as `client-quota`. `\"off\"`: no limit. \
                 At both ends of a flow, each by its own file.",
            ),
            key(
                "per_site",
                Absent("half of `capacity`"),
                "\"off\"",
                "Most flows of the clients of one other site to services here; more are refused as \
                 `site-quota`. `\"off\"`: no limit.",
            ),
            key(
                "grace",
                Default("\"120s\""),
                "\"5m\"",
                "After a start without the flows of an earlier run, as that after a reboot, TCP \
                 connections may go on without a new SYN for so long: a packet of the client that no \
                 flow is known for opens one, if a rule allows it. At most 1h; `\"0s\"`: not at all. At \
                 both ends of a flow, each by its own file.",
            ),
            key("timeouts", Absent("see below"), "{ open = \"2h\" }", "How long idle flows live."),
        ],
    },
    Table {
        heading: "[flows.timeouts]",
        about: "How long a flow that carries nothing lives, 1s to 720h.",
        keys: TIMEOUTS,
    },
];

const TIMEOUTS: &[Key] = &[
    key("opening", Default("\"30s\""), "\"30s\"", "TCP: the client's SYN is unanswered."),
    key("open", Default("\"7440s\""), "\"2h\"", "TCP: both ends are open."),
    key("half_closed", Default("\"300s\""), "\"5m\"", "TCP: one end has finished sending."),
    key("closed", Default("\"10s\""), "\"10s\"", "TCP: both ends have finished, or one reset."),
    key("datagram", Default("\"120s\""), "\"1m\"", "Everything but TCP: only the client spoke."),
    key("datagram_replied", Default("\"180s\""), "\"3m\"", "Everything but TCP: both ends spoke."),
];
