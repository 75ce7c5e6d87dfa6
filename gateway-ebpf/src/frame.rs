//! Packets in the kernel as `gateway_common::frame::Frame`, and the executors that carry a verdict out
//! on them. One of the two files with `unsafe`: every access to packet memory is between `data` and
//! `data_end`, checked right before it, as the verifier demands too.

use core::mem::size_of;

use aya_ebpf::{
    EbpfContext,
    bindings::{
        __sk_buff, BPF_F_MARK_MANGLED_0, BPF_F_PSEUDO_HDR, TC_ACT_SHOT, TC_ACT_UNSPEC,
        bpf_redir_neigh, bpf_redir_neigh__bindgen_ty_1, xdp_action, xdp_md,
    },
    helpers::generated::{
        bpf_l4_csum_replace, bpf_redirect, bpf_redirect_neigh, bpf_skb_change_head,
        bpf_skb_change_tail, bpf_skb_pull_data,
    },
    programs::{TcContext, XdpContext},
};
use gateway_common::{
    Ipv4, Protocol, Reason,
    frame::{Frame, HEADERS},
    map::{Counter, Outcome},
    path::Arrival,
    report::Report,
    tables::Tables,
    verdict::{
        ArpReply, ChecksumEdit, ErrorMessage, Executor, Forward, HOST_LINK_ADDRESS, PortEdit,
        Rewrite, Tell, Way,
    },
    wire::{EtherType, Ethernet, IcmpEcho, IcmpError, Ipv4Header, Tcp, Udp},
};
use zerocopy::FromBytes;

use crate::tables::{Hook, KernelTables, now};

/// Octets of an Ethernet header.
pub(crate) const ETHERNET: u32 = 14;
/// Index of every namespace's loopback device. No program is attached there, so a packet on it comes
/// from `BPF_PROG_TEST_RUN` without a device: a dry run.
const LOOPBACK: u32 = 1;
const PACKET_HOST: u32 = 0;
const AF_INET: u32 = 2;

/// Where packet memory lies.
trait Memory {
    fn start(&self) -> usize;
    fn end(&self) -> usize;
}

/// The `T` at `offset`.
#[inline(always)]
fn load<T: FromBytes + Copy>(memory: &impl Memory, offset: u32) -> Option<T> {
    let at = place::<T>(memory, offset)?;
    // SAFETY: `place` found all of it inside the packet; any bytes are a valid `T`.
    Some(unsafe { at.read_unaligned() })
}

/// Writes `value` at `offset`; `false` if the packet ends before it does.
#[inline(always)]
fn store<T: Copy>(memory: &impl Memory, offset: u32, value: T) -> bool {
    match place::<T>(memory, offset) {
        // SAFETY: `place` found all of it inside the packet, which nobody else holds.
        Some(at) => unsafe {
            at.write_unaligned(value);
            true
        },
        None => false,
    }
}

#[inline(always)]
fn place<T>(memory: &impl Memory, offset: u32) -> Option<*mut T> {
    if offset >= HEADERS {
        return None;
    }
    let at = memory.start() + offset as usize;
    if at + size_of::<T>() > memory.end() { None } else { Some(at as *mut T) }
}

/// A frame before the kernel made a socket buffer of it.
pub(crate) struct XdpFrame {
    context: XdpContext,
}

impl Memory for XdpFrame {
    #[inline(always)]
    fn start(&self) -> usize {
        self.context.data()
    }

    #[inline(always)]
    fn end(&self) -> usize {
        self.context.data_end()
    }
}

impl Frame for XdpFrame {
    #[inline(always)]
    fn length(&self) -> u32 {
        (self.end() - self.start()) as u32
    }

    #[inline(always)]
    fn load<T: FromBytes + Copy>(&self, offset: u32) -> Option<T> {
        load(self, offset)
    }
}

impl XdpFrame {
    #[inline(always)]
    pub(crate) fn new(context: XdpContext) -> Self {
        Self { context }
    }

    /// How it came in. The link-layer address is not looked at, and a tag that the interface took off is
    /// not to be seen: what is not for this host is at worst refused before the host would ignore it.
    #[inline(always)]
    pub(crate) fn arrival(&self) -> Arrival {
        Arrival {
            interface: self.context.ingress_ifindex() as u32,
            ip: ETHERNET,
            for_us: true,
            tagged: false,
            packets: 1,
            now: now(),
        }
    }

    /// The maps, for good or for a dry run.
    #[inline(always)]
    pub(crate) fn tables(&self) -> KernelTables<XdpHook> {
        KernelTables { hook: XdpHook(self.context.ctx) }
    }
}

impl Executor for XdpFrame {
    type Action = u32;

    #[inline(always)]
    fn pass(&self) -> u32 {
        xdp_action::XDP_PASS
    }

    #[inline(always)]
    fn refuse(&self, _: Reason) -> u32 {
        xdp_action::XDP_DROP
    }

    #[inline(always)]
    fn answer(&self, _: &ArpReply) -> u32 {
        xdp_action::XDP_PASS
    }

    #[inline(always)]
    fn tell(&self, _: &Tell) -> u32 {
        xdp_action::XDP_PASS
    }

    #[inline(always)]
    fn forward(&self, _: &Forward) -> u32 {
        xdp_action::XDP_PASS
    }
}

/// A packet as traffic control sees it.
pub(crate) struct Skb {
    context: TcContext,
    /// Octets of link-layer header before the IP header.
    ip: u32,
}

impl Memory for Skb {
    #[inline(always)]
    fn start(&self) -> usize {
        self.context.data()
    }

    #[inline(always)]
    fn end(&self) -> usize {
        self.context.data_end()
    }
}

impl Frame for Skb {
    #[inline(always)]
    fn length(&self) -> u32 {
        self.context.len()
    }

    #[inline(always)]
    fn load<T: FromBytes + Copy>(&self, offset: u32) -> Option<T> {
        load(self, offset)
    }
}

impl Skb {
    /// Octets of IP and TCP header with all options.
    const DEEPEST: u32 = 20 + 60;

    /// The packet with its headers in one piece. `ip` octets of link-layer header come first.
    ///
    /// Packets that are to be cut apart stay as they are. Their headers are in one piece; octets moved in front
    /// of the first cut would be missing behind it, for which the kernel panics where pieces are whole packets
    /// (`skb_segment` with GSO_BY_FRAGS, since 3953c46c3ac7 in 4.8; seen with SCTP on 6.1.192).
    #[inline(always)]
    pub(crate) fn new(context: TcContext, ip: u32) -> Self {
        let wanted = ip + Self::DEEPEST;
        let wanted = if context.len() < wanted { context.len() } else { wanted };
        // SAFETY: the verifier turns a read of the context into a read of the packet's field.
        let is_whole = unsafe { (*context.as_ptr().cast::<__sk_buff>()).gso_size } == 0;
        if is_whole && context.data() + wanted as usize > context.data_end() {
            // SAFETY: the context is the program's own. On failure the headers stay out of reach and
            // the packet is judged by what can be read of it.
            let _ = unsafe { bpf_skb_pull_data(context.skb.skb, wanted) };
        }
        Self { context, ip }
    }

    /// The packet once more, whose headers are in one piece already.
    #[inline(always)]
    pub(crate) fn again(skb: *mut __sk_buff, ip: u32) -> Self {
        Self { context: TcContext::new(skb), ip: ip & 15 }
    }

    /// Octets of link-layer header before the IP header.
    #[inline(always)]
    pub(crate) fn ip(&self) -> u32 {
        self.ip
    }

    #[inline(always)]
    pub(crate) fn raw(&self) -> *mut __sk_buff {
        self.context.as_ptr().cast()
    }

    /// How it came in.
    #[inline(always)]
    pub(crate) fn arrival(&self) -> Arrival {
        // SAFETY: the verifier turns reads of the context into reads of the packet's fields.
        let (interface, kind, tagged, segments, segment) = unsafe {
            let skb = self.raw();
            let (segments, segment) = ((*skb).gso_segs, (*skb).gso_size);
            ((*skb).ingress_ifindex, (*skb).pkt_type, (*skb).vlan_present, segments, segment)
        };
        Arrival {
            interface,
            ip: self.ip,
            for_us: kind == PACKET_HOST,
            // The kernel has taken the tag off the frame before this hook.
            tagged: tagged != 0,
            // Packets from a TUN or virtio device have a segment size alone until something counts
            // (SKB_GSO_DODGY).
            packets: if segments == 0 { 1 + u32::from(segment != 0) } else { segments },
            now: now(),
        }
    }

    /// The maps, for good or for a dry run.
    #[inline(always)]
    pub(crate) fn tables(&self) -> KernelTables<SkbHook> {
        KernelTables { hook: self.hook() }
    }

    #[inline(always)]
    fn hook(&self) -> SkbHook {
        SkbHook(self.context.skb.skb)
    }

    #[inline(always)]
    fn report(&self, report: Report) {
        if !self.hook().is_dry_run() {
            return;
        }
        let [a, b, c, d, e] = report.words();
        // SAFETY: scratch space of the context, for programs to use. Volatile, since the verifier
        // takes only whole words at constant offsets there, not what the compiler may make of a copy.
        unsafe {
            let scratch = &raw mut (*self.raw()).cb;
            (&raw mut (*scratch)[0]).write_volatile(a);
            (&raw mut (*scratch)[1]).write_volatile(b);
            (&raw mut (*scratch)[2]).write_volatile(c);
            (&raw mut (*scratch)[3]).write_volatile(d);
            (&raw mut (*scratch)[4]).write_volatile(e);
        }
    }

    /// The kernel would not do it: the packet is dropped and counted.
    #[inline(always)]
    pub(crate) fn failed(&self) -> i32 {
        self.tables().count(Counter::Refused(Reason::KernelRefused));
        TC_ACT_SHOT
    }

    /// Cuts or extends the packet. A packet whose checksum the kernel has yet to complete is not cut in front
    /// of it (`__bpf_skb_min_len`, since 5293efe62df8 in 4.9).
    #[inline(always)]
    fn resize(&self, length: u32) -> bool {
        // SAFETY: the context is the program's own.
        unsafe { bpf_skb_change_tail(self.raw(), length, 0) == 0 }
    }

    /// Clears the two octets where the kernel will write the checksum that the packet's sender left to it
    /// (`skb_checksum_help`). It writes what is missing for the sum from the transport header on to come
    /// out right, and that is what stood there: the ICMP checksum covers the same octets.
    #[inline(always)]
    fn leave_to_the_kernel(&self, tell: &Tell) -> bool {
        let transport = self.ip + Ipv4Header::LENGTH;
        let offset = match Protocol(tell.message.quoted.protocol) {
            Protocol::TCP => Tcp::CHECKSUM_OFFSET,
            Protocol::UDP => Udp::CHECKSUM_OFFSET,
            // Another checksum than this one, which cannot be left out.
            _ => return false,
        };
        store(self, transport + offset, [0u8; 2])
    }

    /// Exchanges the hardware addresses.
    #[inline(always)]
    fn turn_round(&self) -> bool {
        let Some(header) = load::<Ethernet>(self, 0) else { return false };
        let Ethernet { destination, source, ether_type } = header;
        store(self, 0, Ethernet { destination: source, source: destination, ether_type })
    }

    /// Makes room for a link-layer header if the packet has none: `bpf_redirect_neigh` drops one without
    /// (`__bpf_redirect_neigh`, since b4ab31414970 in 5.10).
    #[inline(always)]
    fn make_ethernet(&self) -> bool {
        // SAFETY: the context is the program's own.
        self.ip != 0 || unsafe { bpf_skb_change_head(self.raw(), ETHERNET, 0) } == 0
    }

    #[inline(always)]
    fn to_lan(&self, interface: u32) -> i32 {
        if !self.make_ethernet() {
            return self.failed();
        }
        // SAFETY: no parameters means that the kernel looks the route up by the destination.
        unsafe { bpf_redirect_neigh(interface, core::ptr::null_mut(), 0, 0) as i32 }
    }

    /// Without a look at the host's routes: the receiver is its own next hop.
    #[inline(always)]
    fn to_neighbour(&self, interface: u32, receiver: Ipv4) -> i32 {
        if !self.make_ethernet() {
            return self.failed();
        }
        let mut hop = bpf_redir_neigh {
            nh_family: AF_INET,
            __bindgen_anon_1: bpf_redir_neigh__bindgen_ty_1 { ipv6_nh: [receiver.word(), 0, 0, 0] },
        };
        let size = size_of::<bpf_redir_neigh>() as i32;
        // SAFETY: the parameters outlive the call, which copies them.
        unsafe { bpf_redirect_neigh(interface, &raw mut hop, size, 0) as i32 }
    }

    /// Both ends of the veth pair towards the host have the same hardware address, so what leaves the far
    /// end is for the host.
    #[inline(always)]
    fn to_host(&self, interface: u32) -> i32 {
        let header = Ethernet {
            destination: HOST_LINK_ADDRESS,
            source: HOST_LINK_ADDRESS,
            ether_type: EtherType::IPV4,
        };
        if !self.make_ethernet() || !store(self, 0, header) {
            return self.failed();
        }
        // SAFETY: takes numbers only.
        unsafe { bpf_redirect(interface, 0) as i32 }
    }

    /// Writes the edits. Header bytes first: the checksum helpers may move the packet.
    #[inline(always)]
    fn edit(&self, rewrite: &Rewrite) -> bool {
        let transport = self.ip + Ipv4Header::LENGTH;
        if !store(self, self.ip + Ipv4Header::TTL_OFFSET, rewrite.header) {
            return false;
        }
        let identifier = transport + IcmpEcho::IDENTIFIER_OFFSET;
        let written = match rewrite.ports {
            PortEdit::Keep => true,
            PortEdit::Both => {
                store(self, transport, [rewrite.source_port, rewrite.destination_port])
            }
            PortEdit::RequestIdentifier => store(self, identifier, rewrite.source_port),
            PortEdit::ReplyIdentifier => store(self, identifier, rewrite.destination_port),
            PortEdit::QuotedKeep
            | PortEdit::QuotedBoth
            | PortEdit::QuotedRequestIdentifier
            | PortEdit::QuotedReplyIdentifier => self.edit_quote(rewrite),
        };
        let edit = rewrite.segment_size;
        if !written || (edit.offset != 0 && !store(self, edit.offset, edit.size)) {
            return false;
        }
        match rewrite.checksum {
            ChecksumEdit::Keep => true,
            ChecksumEdit::Write => store(self, rewrite.checksum_offset, rewrite.new_checksum),
            ChecksumEdit::Ask => self.ask(rewrite),
        }
    }

    /// Writes the edits of the packet that an ICMP error quotes.
    #[inline(always)]
    fn edit_quote(&self, rewrite: &Rewrite) -> bool {
        let quoted = self.ip + Ipv4Header::LENGTH + IcmpError::LENGTH;
        let transport = quoted + Ipv4Header::LENGTH;
        let identifier = transport + IcmpEcho::IDENTIFIER_OFFSET;
        let written = match rewrite.ports {
            PortEdit::QuotedBoth => {
                store(self, transport, [rewrite.destination_port, rewrite.source_port])
            }
            PortEdit::QuotedRequestIdentifier => store(self, identifier, rewrite.destination_port),
            PortEdit::QuotedReplyIdentifier => store(self, identifier, rewrite.source_port),
            PortEdit::Keep
            | PortEdit::Both
            | PortEdit::RequestIdentifier
            | PortEdit::ReplyIdentifier
            | PortEdit::QuotedKeep => true,
        };
        written && store(self, quoted + Ipv4Header::CHECKSUM_OFFSET, rewrite.quote_tail())
    }

    /// Updates a transport checksum that may be partial. The helper knows: it adds to a partial one
    /// what changes in the pseudo-header, and nothing for the rest.
    #[inline(always)]
    fn ask(&self, rewrite: &Rewrite) -> bool {
        let is_udp = Protocol(rewrite.header.protocol) == Protocol::UDP;
        let flags = if is_udp { u64::from(BPF_F_MARK_MANGLED_0) } else { 0 };
        let pseudo = flags | u64::from(BPF_F_PSEUDO_HDR);
        let offset = rewrite.checksum_offset;
        (rewrite.pseudo.is_none() || self.replace(offset, rewrite.pseudo.word(), pseudo))
            && (rewrite.own.is_none() || self.replace(offset, rewrite.own.word(), flags))
    }

    #[inline(always)]
    fn replace(&self, offset: u32, delta: u32, flags: u64) -> bool {
        // SAFETY: the context is the program's own; the helper checks the offset. Size 0 in the flags
        // means that `delta` is a difference.
        unsafe { bpf_l4_csum_replace(self.raw(), offset, 0, u64::from(delta), flags) == 0 }
    }
}

impl Executor for Skb {
    type Action = i32;

    #[inline(always)]
    fn pass(&self) -> i32 {
        self.report(Report::of(Counter::Outcome(Outcome::Passed)));
        // Not "ok", which would keep the packet from other programs at the same hook.
        TC_ACT_UNSPEC
    }

    #[inline(always)]
    fn refuse(&self, reason: Reason) -> i32 {
        self.report(Report::of(Counter::Refused(reason)));
        #[cfg(feature = "debug")]
        aya_log_ebpf::debug!(&self.context, "refused a packet: reason {}", reason as u8);
        TC_ACT_SHOT
    }

    /// Sends the reply out of the interface that the question came in by.
    #[inline(always)]
    fn answer(&self, reply: &ArpReply) -> i32 {
        self.report(Report::of(Counter::Outcome(Outcome::Answered)));
        if !store(self, 0, *reply) {
            return self.failed();
        }
        // SAFETY: takes numbers only.
        unsafe { bpf_redirect((*self.raw()).ifindex, 0) as i32 }
    }

    /// Makes the message of the packet itself and sends it out where that came in.
    #[inline(always)]
    fn tell(&self, tell: &Tell) -> i32 {
        self.report(Report::of(Counter::Refused(tell.reason)));
        let message = self.ip + ErrorMessage::LENGTH;
        let is_partial = !self.resize(self.ip + Ipv4Header::LENGTH + 4);
        if !self.resize(message)
            || !store(self, self.ip, tell.message)
            || (is_partial && !self.leave_to_the_kernel(tell))
            || (self.ip != 0 && !self.turn_round())
        {
            return self.failed();
        }
        // SAFETY: takes numbers only.
        unsafe { bpf_redirect((*self.raw()).ifindex, 0) as i32 }
    }

    #[inline(always)]
    fn forward(&self, forward: &Forward) -> i32 {
        self.report(Report::of_forward(forward));
        if !self.edit(&forward.rewrite) {
            return self.failed();
        }
        let interface = forward.egress.interface;
        match forward.egress.way {
            // SAFETY: takes numbers only. The kernel strips the link-layer header for a device that
            // has none.
            Way::Link | Way::Relay => unsafe { bpf_redirect(interface, 0) as i32 },
            Way::Lan => self.to_lan(interface),
            Way::Neighbour => self.to_neighbour(interface, forward.rewrite.header.destination),
            Way::Host => self.to_host(interface),
        }
    }
}

/// Traffic control, of one packet.
#[derive(Clone, Copy)]
pub(crate) struct SkbHook(pub(crate) *mut __sk_buff);

impl Hook for SkbHook {
    #[inline(always)]
    fn is_dry_run(self) -> bool {
        // SAFETY: the verifier turns reads of the context into reads of the packet's fields.
        unsafe { (&raw const (*self.0).ifindex).read_volatile() == LOOPBACK }
    }
}

/// XDP, of one frame.
#[derive(Clone, Copy)]
pub(crate) struct XdpHook(*mut xdp_md);

impl Hook for XdpHook {
    #[inline(always)]
    fn is_dry_run(self) -> bool {
        // SAFETY: as for `SkbHook`.
        unsafe { (&raw const (*self.0).ingress_ifindex).read_volatile() == LOOPBACK }
    }
}
