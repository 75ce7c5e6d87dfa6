//! Every way a packet can be refused. The kernel counts by number, `gatewayctl explain` prints what
//! is said of it here. A number is never reused: a retired reason keeps its line, marked retired.

macro_rules! reasons {
    ($($variant:ident = $number:literal, $label:literal {
        meaning: $meaning:literal,
        causes: $causes:literal,
        remedy: $remedy:literal,
        look: [$($look:literal),+],
    })+) => {
        /// Why a packet was refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Reason {
            $(#[doc = $meaning] $variant = $number,)+
        }

        impl Reason {
            /// All of them, by number.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The reason with this number.
            #[inline(always)]
            pub const fn from_number(number: u8) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)+ _ => None }
            }

            /// The stable short name that operators see.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)+ }
            }

            /// What it means, for an operator.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)+ }
            }

            /// What usually brings it about.
            pub const fn causes(self) -> &'static str {
                match self { $(Self::$variant => $causes,)+ }
            }

            /// What to do about it.
            pub const fn remedy(self) -> &'static str {
                match self { $(Self::$variant => $remedy,)+ }
            }

            /// Commands that show more, with `ADDRESS`, `SERVICE` and `SITE` for what the operator puts in.
            pub const fn look(self) -> &'static [&'static str] {
                match self { $(Self::$variant => &[$($look),+],)+ }
            }
        }
    };
}

reasons! {
    Malformed = 1, "malformed" {
        meaning: "A header contradicts itself or the frame's length.",
        causes: "A sender with a broken network stack or checksum offload, a tool that forges packets, or an attack.",
        remedy: "Look at the sender; nothing on the gateway changes this.",
        look: ["gatewayctl counters"],
    }
    Truncated = 2, "truncated" {
        meaning: "The frame ends before its headers do.",
        causes: "A broken sender, a forged packet, or something on the way that cuts packets off.",
        remedy: "Look at the sender or a capture limit on the way.",
        look: ["gatewayctl counters"],
    }
    IpOptions = 3, "ip-options" {
        meaning: "The IPv4 header carries options, which gateways do not carry across sites.",
        causes: "Programs that record routes or ask for source routing; multicast tools that send router alerts.",
        remedy: "Switch the options off at the sender.",
        look: ["gatewayctl counters"],
    }
    Fragment = 4, "fragment" {
        meaning: "The packet is a fragment of an ICMP error, which no host needs to fragment.",
        causes: "A middlebox with a tiny MTU on the way, or a forged error.",
        remedy: "Look at who sends it, or at a middlebox with a tiny MTU on the way.",
        look: ["gatewayctl counters"],
    }
    TtlExpired = 5, "ttl-expired" {
        meaning: "The packet has no hop left for the gateway; its sender is told so by an ICMP message from the presence.",
        causes: "A traceroute on its way, a sender whose TTL is very small, or a routing loop.",
        remedy: "Raise the sender's TTL, or look for a routing loop; a traceroute needs nothing.",
        look: ["gatewayctl counters"],
    }
    NoPresence = 6, "no-presence" {
        meaning: "The address is in the presence pool but stands for nothing.",
        causes: "A client with an old or mistyped address, a scan of the pool, or a service that was never exposed here.",
        remedy: "Expose a service there, or correct the client's address or DNS.",
        look: ["gatewayctl presence list"],
    }
    NotAClient = 7, "not-a-client" {
        meaning: "The sender is in none of this site's client networks.",
        causes: "A network behind the LAN that the site file does not list, or a host with a mistaken address.",
        remedy: "Add its network to the site's LAN, or stop it from sending here.",
        look: ["gatewayctl trace --from ADDRESS --to SERVICE --port 1"],
    }
    WrongInterface = 8, "wrong-interface" {
        meaning: "The sender's address belongs to a network behind another interface.",
        causes: "A spoofed address, a host that was moved to another LAN, or a network listed under the wrong interface.",
        remedy: "Correct the interface of the network in the site file, or find the host that takes an address which is not its own.",
        look: ["gatewayctl status"],
    }
    SpoofedSource = 9, "spoofed-source" {
        meaning: "The sender claims an address that cannot come from there: a presence on the LAN, or another site's transit address on a link.",
        causes: "A host that took an address of the presence pool, or a peer gateway with a wrong site file or a hostile one.",
        remedy: "Find the host or gateway that sends it; keep the presence pool out of DHCP.",
        look: ["gatewayctl presence list", "gatewayctl link list"],
    }
    TransitOnLan = 10, "transit-on-lan" {
        meaning: "A host on the LAN addressed the transit range, which exists only inside links.",
        causes: "A client that was given a service's transit address, or a network of the LAN that overlaps the transit pool.",
        remedy: "Use the presence of the service instead.",
        look: ["gatewayctl presence list"],
    }
    NotTransit = 11, "not-transit" {
        meaning: "A link delivered a packet that is not between transit addresses.",
        causes: "A peer gateway whose transit pool differs from this one's, that routes its LAN into the link, or that is compromised.",
        remedy: "Compare transit_pool in both site files; look at the peer gateway.",
        look: ["gatewayctl link list"],
    }
    NoRoute = 12, "no-route" {
        meaning: "The transit address belongs to no site this gateway has a link to.",
        causes: "A site that is not declared here, a peer without that site in `reaches`, or a site that was removed.",
        remedy: "Declare the site and the peer that reaches it.",
        look: ["gatewayctl link list", "gatewayctl map dump routes4"],
    }
    RelayOff = 13, "relay-off" {
        meaning: "The packet is for another site and this gateway does not relay.",
        causes: "A peer that takes this gateway for a hub, or a hub whose site file does not say so.",
        remedy: "Set relay = true on a hub, or link the sites directly.",
        look: ["gatewayctl link list"],
    }
    NoService = 14, "no-service" {
        meaning: "The transit address stands for no service of this site.",
        causes: "The other gateway has a newer or older idea of what exists: site files that differ in a service's number or site.",
        remedy: "Compare the service in the site files of both gateways, and reload the one that is behind.",
        look: ["gatewayctl map dump names", "gatewayctl map dump services4"],
    }
    PortNotServed = 15, "port-not-served" {
        meaning: "The service exists but does not declare this protocol and port.",
        causes: "A client that uses another port than was published, or a service whose ports are incomplete in the site file of either gateway.",
        remedy: "Add it to the service's ports at both gateways, or correct the client.",
        look: ["gatewayctl presence list"],
    }
    NoPolicy = 16, "no-policy" {
        meaning: "No rule allows this client to use this service.",
        causes: "A rule that is missing at either gateway, that lists other clients, or that was withdrawn.",
        remedy: "Add an allow rule that names the client's site and the service, at both gateways.",
        look: ["gatewayctl trace --from ADDRESS --to SERVICE --port 1", "gatewayctl map dump allows4"],
    }
    NoFlow = 17, "no-flow" {
        meaning: "The packet continues a connection this gateway does not know, or answers one that nobody opened.",
        causes: "Expected after a time-out or a withdrawn permission, and after the data path was removed and made again; else an asymmetric route, or a scan.",
        remedy: "The client must connect anew; where idle connections are meant to last, raise the time-out of their state or switch on keepalives.",
        look: ["gatewayctl flow list --client ADDRESS"],
    }
    IcmpType = 18, "icmp-type" {
        meaning: "An ICMP message that is neither echo in the expected direction nor an error about a known flow.",
        causes: "Redirects, timestamps, router discovery and the like, which are not carried; a ping of a service that does not declare it.",
        remedy: "Declare icmp-echo among the service's ports if it is to be pinged; leave the others refused.",
        look: ["gatewayctl presence list"],
    }
    FlowTableFull = 19, "flow-table-full" {
        meaning: "There is no room for a new flow; established ones live.",
        causes: "More connections at once than flows.capacity allows, or a client that opens them without end.",
        remedy: "Raise flows.capacity, which takes a `gatewayctl detach`, or find who opens so many and limit flows.per_client.",
        look: ["gatewayctl status", "gatewayctl flow list --limit 20"],
    }
    PortsExhausted = 20, "ports-exhausted" {
        meaning: "No free port of the client presence towards this back end.",
        causes: "Too many clients of one back end at once, or a protocol without ports that two clients use.",
        remedy: "Add back ends, give clients presences of their own (`exposures` of the service), or shorten the time-outs of idle flows.",
        look: ["gatewayctl backend list", "gatewayctl flow list --service SERVICE --limit 20"],
    }
    BackendMoved = 21, "backend-moved" {
        meaning: "The service's back end or client presence changed since this connection was opened.",
        causes: "A reload that removed the back end, or that changed its port, its presence or the client presence.",
        remedy: "The client must connect anew; drain a back end before it is removed.",
        look: ["gatewayctl backend list"],
    }
    NotConfigured = 22, "not-configured" {
        meaning: "The programs are attached but no settings are in force.",
        causes: "gatewayd is starting for the first time, or could not apply its tables.",
        remedy: "Start gatewayd, or look into its log why it could not apply its tables.",
        look: ["gatewayctl status"],
    }
    KernelRefused = 23, "kernel-refused" {
        meaning: "The kernel would not edit or send the translated packet.",
        causes: "Lack of memory on the host, or a packet of a shape that the kernel does not let programs edit.",
        remedy: "Look at the host's memory and the kernel log.",
        look: ["gatewayctl counters"],
    }
    NotAReply = 24, "not-a-reply" {
        meaning: "A host addressed a client presence on a port that no flow uses.",
        causes: "Servers that open connections of their own to the client, as TFTP and FTP in active mode do; after a time-out, a late reply.",
        remedy: "Use a passive mode, or let the client's site offer a service.",
        look: ["gatewayctl flow list --client ADDRESS"],
    }
    ClientQuota = 25, "client-quota" {
        meaning: "This client has as many flows as one client may have.",
        causes: "A client that opens connections and does not close them, a scan from inside, or a quota that is too small for what the client does.",
        remedy: "Look what it opens, or raise flows.per_client.",
        look: ["gatewayctl flow list --client ADDRESS --limit 20"],
    }
    SiteQuota = 26, "site-quota" {
        meaning: "The clients of this site have as many flows here as one site may have.",
        causes: "Many clients of one site at once, one of them that opens without end, or a quota that is too small for the site.",
        remedy: "Look what they open, or raise flows.per_site.",
        look: ["gatewayctl flow list --site SITE --limit 20"],
    }
    NoBackend = 27, "no-backend" {
        meaning: "The service has no back end that takes new flows: all are down or draining.",
        causes: "The servers are down or fail their health check, or the last back end is being drained.",
        remedy: "Look why the servers are down; let one back end take flows again.",
        look: ["gatewayctl backend list"],
    }
    FragmentUnknown = 28, "fragment-unknown" {
        meaning: "A later fragment of a datagram whose first one did not come before it, was refused, or came more than 30 seconds ago.",
        causes: "Fragments that are reordered or lost on the way; a first fragment that was refused, which has a reason of its own.",
        remedy: "Send smaller datagrams, or find what reorders them; look first whether first fragments are refused.",
        look: ["gatewayctl counters"],
    }
    FragmentOverlap = 29, "fragment-overlap" {
        meaning: "A fragment repeats or overlaps octets of its datagram that came already; the rest of the datagram is refused too.",
        causes: "A network that duplicates packets, a sender that reuses identifications within 30 seconds, or an attack.",
        remedy: "Find the duplicating network or the sender.",
        look: ["gatewayctl counters"],
    }
    FragmentScattered = 30, "fragment-scattered" {
        meaning: "The fragments of a datagram arrive so far out of order that more than four separate parts of it are waited for.",
        causes: "Several paths of different delay on the way, or a forged datagram.",
        remedy: "Find what reorders them, or send smaller datagrams.",
        look: ["gatewayctl counters"],
    }
    TooBig = 31, "too-big" {
        meaning: "The packet is larger than the link, or the LAN behind it, carries, and says that it must not be fragmented.",
        causes: "A sender that looks for the path's MTU, which needs a few such refusals; if it goes on, something keeps ICMP from it.",
        remedy: "Nothing if it stops: the sender is told the size that fits by an ICMP message from the presence. Else let ICMP through to it, lower its MTU, or let it fragment.",
        look: ["gatewayctl link list", "gatewayctl counters"],
    }
}

impl Reason {
    /// One more than the highest number in use; sizes the counter map.
    pub const COUNT: usize = 32;

    /// The reason with this label.
    pub fn from_label(label: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.label() == label)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_labels_are_unique_and_counted() {
        for (index, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(Reason::from_number(*reason as u8), Some(*reason));
            assert_eq!(Reason::from_label(reason.label()), Some(*reason));
            assert!((*reason as usize) < Reason::COUNT);
            assert!(!Reason::ALL[..index].iter().any(|other| *other as u8 == *reason as u8));
        }
    }

    #[test]
    fn every_reason_is_explained_in_words_of_its_own() {
        for (index, reason) in Reason::ALL.iter().enumerate() {
            for text in [reason.meaning(), reason.causes(), reason.remedy()] {
                assert!(text.len() > 20 && text.ends_with('.'), "{}: {text}", reason.label());
            }
            assert!(reason.look().iter().all(|command| command.starts_with("gatewayctl ")));
            for other in &Reason::ALL[..index] {
                assert_ne!(reason.meaning(), other.meaning());
                assert_ne!(reason.causes(), other.causes());
                assert_ne!(reason.remedy(), other.remedy());
            }
        }
    }
}
