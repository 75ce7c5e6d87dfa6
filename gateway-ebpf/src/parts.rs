//! The parts of the path that are functions of their own, global in the sense of BPF: the verifier follows each
//! by itself, for any arguments (since 51c39bb1d5d1 in 5.6), and after a call knows nothing of what it may have
//! written. Called by the programs of traffic control through `gateway_common::path::Parts`.

use aya_ebpf::bindings::__sk_buff;
use gateway_common::{
    Port, Reason,
    frame::Frame,
    map::{FlowKey, Settings, Side},
    path::{self, Arrival, Packet, Parts, Passage, Refusal},
    tables::Tables,
    wire::Ipv4Header,
};
use zerocopy::transmute;

use crate::{
    frame::Skb,
    tables::{Numbers, given, passing},
};

impl Parts for Skb {
    #[inline(always)]
    fn follow<T: Tables>(
        &self,
        _: &T,
        packet: &mut Packet,
        _: Arrival,
        side: Side,
    ) -> Result<(), Reason> {
        let content = &mut packet.content;
        let ports = u32::from(content.source_port.number()) << 16
            | u32::from(content.destination_port.number());
        let answer = follow(self.raw(), self.ip(), u32::from(side == Side::LINK), ports);
        answered((answer >> 32) as u32)?;
        content.source_port = Port::new((answer >> 16) as u16);
        content.destination_port = Port::new(answer as u16);
        Ok(())
    }

    #[inline(always)]
    fn carry<T: Tables>(
        &self,
        _: &T,
        settings: &Settings,
        key: &FlowKey,
        passage: &mut Passage,
    ) -> Result<bool, Reason> {
        let [first, second]: [u64; 2] = transmute!(*key);
        match carry(self.raw(), settings, first, second, (&raw mut *passage).cast()) {
            UNKNOWN => Ok(false),
            number => answered(number).map(|()| true),
        }
    }

    #[inline(always)]
    fn open<T: Tables>(
        &self,
        _: &T,
        settings: &Settings,
        key: &FlowKey,
        passage: &mut Passage,
    ) -> Result<(), Reason> {
        let [first, second]: [u64; 2] = transmute!(*key);
        answered(open(self.raw(), settings, first, second, (&raw mut *passage).cast()))
    }

    #[inline(always)]
    fn send<F: Frame, T: Tables>(&self, _: &F, _: &T, _: Arrival, passage: &Passage) -> i32 {
        send(self.raw(), self.ip(), (&raw const *passage).cast())
    }

    #[inline(always)]
    fn turn_down<F: Frame, T: Tables>(&self, _: &F, _: &T, _: Arrival, refusal: Refusal) -> i32 {
        let Refusal { reason, side, mtu } = refusal;
        refuse(self.raw(), self.ip(), u32::from(side == Side::LINK), reason as u32, mtu)
    }
}

/// [`path::follow`] for the packet at hand and its two ports, source first. Answers with the ports that it has
/// by its first fragment, under the number of the reason for which it is refused or 0.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn follow(skb: *mut __sk_buff, ip: u32, from_link: u32, ports: u32) -> u64 {
    let packet = Skb::again(skb, ip);
    let tables = packet.tables();
    let Some(header) = packet.load::<Ipv4Header>(ip) else { return refused(Reason::Truncated) };
    let ports = [Port::new((ports >> 16) as u16), Port::new(ports as u16)];
    match path::follow(&tables, &header, ports, packet.arrival().now, side(from_link)) {
        Ok([source, destination]) => {
            u64::from(source.number()) << 16 | u64::from(destination.number())
        }
        Err(reason) => refused(reason),
    }
}

/// The answer of [`carry`] that stands for no reason: the flow is not known.
const UNKNOWN: u32 = 256;

/// [`path::carry`]. The key comes as numbers: Linux 6.1 looks none up that lies in what a function was given.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn carry(
    skb: *mut __sk_buff,
    settings: *const Settings,
    first: u64,
    second: u64,
    passage: *mut Numbers,
) -> u32 {
    let Some((settings, passage)) = given(settings, passage) else {
        return Reason::KernelRefused as u32;
    };
    let key: FlowKey = transmute!([first, second]);
    match path::carry(&Skb::again(skb, 0).tables(), settings, &key, passage) {
        Ok(true) => 0,
        Ok(false) => UNKNOWN,
        Err(reason) => reason as u32,
    }
}

/// [`path::open`]; the key as in [`carry`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn open(
    skb: *mut __sk_buff,
    settings: *const Settings,
    first: u64,
    second: u64,
    passage: *mut Numbers,
) -> u32 {
    let Some((settings, passage)) = given(settings, passage) else {
        return Reason::KernelRefused as u32;
    };
    let key: FlowKey = transmute!([first, second]);
    match path::open(&Skb::again(skb, 0).tables(), settings, &key, passage) {
        Ok(()) => 0,
        Err(reason) => reason as u32,
    }
}

/// [`path::send`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn send(skb: *mut __sk_buff, ip: u32, passage: *const Numbers) -> i32 {
    let packet = Skb::again(skb, ip);
    let Some(passage) = passing(passage) else { return packet.failed() };
    path::send(&packet, &packet.tables(), packet.ip(), passage, &packet)
}

/// [`path::refuse`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn refuse(skb: *mut __sk_buff, ip: u32, from_link: u32, reason: u32, mtu: u32) -> i32 {
    let packet = Skb::again(skb, ip);
    let tables = packet.tables();
    let reason = Reason::from_number(reason as u8).unwrap_or(Reason::KernelRefused);
    let refusal = Refusal { reason, side: side(from_link), mtu };
    path::refuse(&packet, &tables, packet.arrival(), refusal, &packet)
}

#[inline(always)]
fn side(from_link: u32) -> Side {
    if from_link == 0 { Side::LAN } else { Side::LINK }
}

/// The number of a reason, or 0.
#[inline(always)]
fn answered(number: u32) -> Result<(), Reason> {
    if number == 0 {
        return Ok(());
    }
    Err(Reason::from_number(number as u8).unwrap_or(Reason::KernelRefused))
}

#[inline(always)]
const fn refused(reason: Reason) -> u64 {
    (reason as u64) << 32
}
