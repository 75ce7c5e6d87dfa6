//! Every way a packet can be refused. The kernel counts by number, `gatewayctl explain` prints the
//! help. A number is never reused: a retired reason keeps its line, marked retired.

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $label:literal, $help:literal;)+) => {
        /// Why a packet was refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Reason {
            $(#[doc = $help] $variant = $number,)+
        }

        impl Reason {
            /// All of them, by number.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The stable short name that operators see.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)+ }
            }

            /// What it means and what to do, for an operator.
            pub const fn help(self) -> &'static str {
                match self { $(Self::$variant => $help,)+ }
            }
        }
    };
}

reasons! {
    Malformed = 1, "malformed", "A header contradicts itself or the frame's length. Look at the sender; nothing on the gateway changes this.";
    Truncated = 2, "truncated", "The frame ends before its headers do. Look at the sender or a capture limit on the way.";
    IpOptions = 3, "ip-options", "The IPv4 header carries options, which gateways do not carry across sites. Switch them off at the sender.";
    Fragment = 4, "fragment", "The packet is a fragment of an ICMP error, which no host needs to fragment. Look at who sends it, or at a middlebox with a tiny MTU on the way.";
    TtlExpired = 5, "ttl-expired", "The packet has no hop left for the gateway. Raise the sender's TTL, or look for a routing loop.";
    NoPresence = 6, "no-presence", "The address is in the presence pool but stands for nothing. Expose a service there, or correct the client's address or DNS.";
    NotAClient = 7, "not-a-client", "The sender is in none of this site's client networks. Add its network to the site, or stop it from sending here.";
    WrongInterface = 8, "wrong-interface", "The sender's address belongs to a network behind another interface. It is spoofed, or the site file assigns the network to the wrong interface.";
    SpoofedSource = 9, "spoofed-source", "The sender claims an address that cannot come from there: a presence on the LAN, or another site's transit address on a link. Find the host or gateway that sends it.";
    TransitOnLan = 10, "transit-on-lan", "A host on the LAN addressed the transit range, which exists only inside links. Use the presence of the service instead.";
    NotTransit = 11, "not-transit", "A link delivered a packet that is not between transit addresses. The peer gateway is misconfigured or compromised.";
    NoRoute = 12, "no-route", "The transit address belongs to no site this gateway has a link to. Declare the site and the peer that reaches it.";
    RelayOff = 13, "relay-off", "The packet is for another site and this gateway does not relay. Set relay = true on a hub, or link the sites directly.";
    NoService = 14, "no-service", "The transit address stands for no service of this site. The other gateway has a newer or older idea of what exists.";
    PortNotServed = 15, "port-not-served", "The service exists but does not declare this protocol and port. Add it to the service's ports, or correct the client.";
    NoPolicy = 16, "no-policy", "No rule allows this client to use this service. Add an allow rule that names the client's site and the service.";
    NoFlow = 17, "no-flow", "The packet continues a connection this gateway does not know, or answers one that nobody opened. Expected after a time-out or a withdrawn permission; the client must connect anew.";
    IcmpType = 18, "icmp-type", "An ICMP message that is neither echo in the expected direction nor an error about a known flow. Echo needs a service that declares icmp-echo; redirects, timestamps and the like are not carried.";
    FlowTableFull = 19, "flow-table-full", "There is no room for a new flow; established ones live. Raise flows.capacity or find who opens so many.";
    PortsExhausted = 20, "ports-exhausted", "No free port of the client presence towards this back end. Too many clients of one back end at once, or a protocol without ports that two clients use.";
    BackendMoved = 21, "backend-moved", "The service's back end or client presence changed since this connection was opened. The client must connect anew.";
    NotConfigured = 22, "not-configured", "The programs are attached but no settings are in force. Start gatewayd, or look why it could not apply its tables.";
    KernelRefused = 23, "kernel-refused", "The kernel would not edit or send the translated packet, usually for lack of memory. Look at the host's memory and the kernel log.";
    NotAReply = 24, "not-a-reply", "A host addressed a client presence on a port that no flow uses. Servers that open connections of their own to the client do that, as TFTP and FTP in active mode: use a passive mode, or let the client's site offer a service. After a time-out it is a late reply.";
    ClientQuota = 25, "client-quota", "This client has as many flows as one client may have. Look what it opens with gatewayctl flow list, or raise flows.per_client.";
    SiteQuota = 26, "site-quota", "The clients of this site have as many flows here as one site may have. Look what they open with gatewayctl flow list, or raise flows.per_site.";
    NoBackend = 27, "no-backend", "The service has no back end that takes new flows: all are down or draining. Look at gatewayctl backend list and at the servers.";
    FragmentUnknown = 28, "fragment-unknown", "A later fragment of a datagram whose first one did not come before it, was refused, or came more than 30 seconds ago. Expected where fragments are reordered or lost on the way; else send smaller datagrams.";
    FragmentOverlap = 29, "fragment-overlap", "A fragment repeats or overlaps octets of its datagram that came already; the rest of the datagram is refused too. Look for a duplicating network, a sender that reuses identifications within 30 seconds, or an attack.";
    FragmentScattered = 30, "fragment-scattered", "The fragments of a datagram arrive so far out of order that more than four separate parts of it are waited for. Look for what reorders them, or send smaller datagrams.";
}

impl Reason {
    /// One more than the highest number in use; sizes the counter map.
    pub const COUNT: usize = 31;

    /// The reason with this number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| *reason as u8 == number)
    }

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
    fn every_help_says_what_to_do() {
        for reason in Reason::ALL {
            assert!(reason.help().split(". ").count() >= 2, "{}", reason.label());
        }
    }
}
