//! Packets in the kernel as `gateway_common::frame::Frame`, and the executors that carry a verdict out
//! on them. One of the two files with `unsafe`: every access to packet memory is between `data` and
//! `data_end`, checked right before it, as the verifier demands too.

use core::mem::size_of;

use aya_ebpf::{
    EbpfContext,
    bindings::{
        __sk_buff, BPF_F_MARK_MANGLED_0, BPF_F_PSEUDO_HDR, TC_ACT_OK, TC_ACT_SHOT, xdp_action,
    },
    helpers::generated::{
        bpf_l4_csum_replace, bpf_redirect, bpf_redirect_neigh, bpf_skb_change_head,
        bpf_skb_pull_data,
    },
    programs::{TcContext, XdpContext},
};
use gateway_common::{
    Reason,
    frame::{Frame, HEADERS},
    map::Counter,
    path::Arrival,
    report::Report,
    tables::Tables,
    verdict::{ArpReply, Egress, Forward, PortEdit, Rewrite, TransportChecksum, Verdict},
    wire::{IcmpEcho, Ipv4Header, Tcp, Udp},
};
use zerocopy::FromBytes;

use crate::tables::{KernelTables, now};

/// Octets of an Ethernet header.
pub(crate) const ETHERNET: u32 = 14;
/// Index of every namespace's loopback device. No program is attached there, so a packet on it comes
/// from `BPF_PROG_TEST_RUN` without a device: a dry run.
const LOOPBACK: u32 = 1;
const PACKET_HOST: u32 = 0;

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

    /// How it came in. The link-layer address is not looked at: what is not for this host is at worst
    /// refused before the host would ignore it.
    #[inline(always)]
    pub(crate) fn arrival(&self) -> Arrival {
        Arrival {
            interface: self.context.ingress_ifindex() as u32,
            ip: ETHERNET,
            for_us: true,
            packets: 1,
            now: now(),
        }
    }

    /// The maps, for good or for a dry run.
    #[inline(always)]
    pub(crate) fn tables(&self) -> KernelTables {
        KernelTables { dry_run: self.context.ingress_ifindex() as u32 == LOOPBACK }
    }

    /// Carries a verdict out.
    #[inline(always)]
    pub(crate) fn execute(&self, verdict: &Verdict) -> u32 {
        match verdict {
            Verdict::Pass | Verdict::Forward(_) => xdp_action::XDP_PASS,
            Verdict::Refuse(_) => xdp_action::XDP_DROP,
            Verdict::Answer(reply) => {
                if store::<ArpReply>(self, 0, *reply) {
                    xdp_action::XDP_TX
                } else {
                    xdp_action::XDP_DROP
                }
            }
        }
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
    #[inline(always)]
    pub(crate) fn new(context: TcContext, ip: u32) -> Self {
        let wanted = ip + Self::DEEPEST;
        let wanted = if context.len() < wanted { context.len() } else { wanted };
        if context.data() + wanted as usize > context.data_end() {
            // SAFETY: the context is the program's own. On failure the headers stay out of reach and
            // the packet is judged by what can be read of it.
            let _ = unsafe { bpf_skb_pull_data(context.skb.skb, wanted) };
        }
        Self { context, ip }
    }

    #[inline(always)]
    fn raw(&self) -> *mut __sk_buff {
        self.context.as_ptr().cast()
    }

    /// How it came in.
    #[inline(always)]
    pub(crate) fn arrival(&self) -> Arrival {
        // SAFETY: the verifier turns reads of the context into reads of the packet's fields.
        let (interface, kind, segments) = unsafe {
            ((*self.raw()).ingress_ifindex, (*self.raw()).pkt_type, (*self.raw()).gso_segs)
        };
        Arrival {
            interface,
            ip: self.ip,
            for_us: kind == PACKET_HOST,
            packets: if segments == 0 { 1 } else { segments },
            now: now(),
        }
    }

    /// The maps, for good or for a dry run.
    #[inline(always)]
    pub(crate) fn tables(&self) -> KernelTables {
        KernelTables { dry_run: is_dry_run(&self.context) }
    }

    /// Carries a verdict out.
    #[inline(always)]
    pub(crate) fn execute(&self, tables: KernelTables, verdict: &Verdict) -> i32 {
        if tables.dry_run {
            self.report(Report::of(verdict));
        }
        let action = match verdict {
            Verdict::Pass => TC_ACT_OK,
            Verdict::Refuse(_) => TC_ACT_SHOT,
            Verdict::Answer(reply) => self.answer(reply),
            Verdict::Forward(forward) => self.forward(forward),
        };
        let done = matches!(verdict, Verdict::Refuse(_)) || action != TC_ACT_SHOT;
        if !done {
            tables.count(Counter::Refused(Reason::KernelRefused));
        }
        action
    }

    #[inline(always)]
    fn report(&self, report: Report) {
        let [a, b, c, d, e] = report.words();
        // SAFETY: scratch space of the context, for programs to use.
        unsafe {
            (*self.raw()).cb[0] = a;
            (*self.raw()).cb[1] = b;
            (*self.raw()).cb[2] = c;
            (*self.raw()).cb[3] = d;
            (*self.raw()).cb[4] = e;
        }
    }

    /// Sends the reply out of the interface that the question came in by.
    #[inline(always)]
    fn answer(&self, reply: &ArpReply) -> i32 {
        if !store::<ArpReply>(self, 0, *reply) {
            return TC_ACT_SHOT;
        }
        // SAFETY: takes numbers only.
        unsafe { bpf_redirect((*self.raw()).ifindex, 0) as i32 }
    }

    #[inline(always)]
    fn forward(&self, forward: &Forward) -> i32 {
        if !self.edit(&forward.rewrite) {
            return TC_ACT_SHOT;
        }
        match forward.egress {
            // SAFETY: takes numbers only. The kernel strips the link-layer header for a device that
            // has none.
            Egress::Link { interface, .. } => unsafe { bpf_redirect(interface, 0) as i32 },
            Egress::Lan { interface } => self.to_neighbour(interface),
        }
    }

    #[inline(always)]
    fn to_neighbour(&self, interface: u32) -> i32 {
        // `bpf_redirect_neigh` drops a packet that has no link-layer header in front of its network
        // header (`__bpf_redirect_neigh`, since b4ab31414970 in 5.10), so one is made first.
        if self.ip == 0 {
            // SAFETY: the context is the program's own.
            let code = unsafe { bpf_skb_change_head(self.raw(), ETHERNET, 0) };
            if code != 0 {
                return TC_ACT_SHOT;
            }
        }
        // SAFETY: no parameters means that the kernel looks the neighbour up by the destination.
        unsafe { bpf_redirect_neigh(interface, core::ptr::null_mut(), 0, 0) as i32 }
    }

    /// Writes the edits. Header bytes first: the checksum helpers may move the packet.
    #[inline(always)]
    fn edit(&self, rewrite: &Rewrite) -> bool {
        let transport = self.ip + Ipv4Header::LENGTH;
        if !store(self, self.ip + Ipv4Header::TTL_OFFSET, rewrite.header) {
            return false;
        }
        let written = match rewrite.ports {
            PortEdit::Keep => true,
            PortEdit::Ports { source, destination } => {
                store(self, transport, [source, destination])
            }
            PortEdit::Identifier(identifier) => {
                store(self, transport + IcmpEcho::IDENTIFIER_OFFSET, identifier)
            }
        };
        if !written {
            return false;
        }
        if let Some(edit) = rewrite.segment_size
            && !store(self, edit.offset, edit.size)
        {
            return false;
        }
        match rewrite.transport {
            TransportChecksum::None => true,
            TransportChecksum::Tcp => self.checksum(rewrite, transport + Tcp::CHECKSUM_OFFSET, 0),
            TransportChecksum::Udp => self.checksum(
                rewrite,
                transport + Udp::CHECKSUM_OFFSET,
                u64::from(BPF_F_MARK_MANGLED_0),
            ),
            TransportChecksum::Icmp => {
                rewrite.own.is_none()
                    || self.replace(transport + IcmpEcho::CHECKSUM_OFFSET, rewrite.own.word(), 0)
            }
        }
    }

    /// Updates a transport checksum that covers the pseudo-header. Only the helper knows whether it is
    /// complete, partial or left to hardware.
    #[inline(always)]
    fn checksum(&self, rewrite: &Rewrite, offset: u32, flags: u64) -> bool {
        let pseudo = flags | u64::from(BPF_F_PSEUDO_HDR);
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

/// Whether a packet comes from `BPF_PROG_TEST_RUN` without a device.
#[inline(always)]
pub(crate) fn is_dry_run(context: &TcContext) -> bool {
    // SAFETY: the verifier turns reads of the context into reads of the packet's fields.
    unsafe { (*context.skb.skb).ifindex == LOOPBACK }
}
