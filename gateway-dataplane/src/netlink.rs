//! What aya does not ask of rtnetlink: which filters of traffic control are on an interface, which XDP
//! program, and how to remove a queueing discipline. Messages are built and read as bytes; nothing in
//! an answer is trusted to be as long as it says.

use std::{
    io,
    os::fd::{AsRawFd as _, OwnedFd},
};

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, sendto,
    socket,
};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use nix::libc::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, RTM_DELQDISC, RTM_GETLINK,
    RTM_GETTFILTER, RTM_NEWLINK, RTM_NEWTFILTER,
};

/// A filter that runs a BPF program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Filter {
    pub(crate) priority: u16,
    pub(crate) handle: u32,
    pub(crate) name: String,
    pub(crate) program_id: u32,
}

/// Where a `clsact` queueing discipline has its filters (`linux/pkt_sched.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Side {
    Ingress = 0xffff_fff2,
    Egress = 0xffff_fff3,
}

/// The filters on one side of an interface, of any kind; those without a program have an empty name.
pub(crate) fn filters(interface: u32, side: Side) -> io::Result<Vec<Filter>> {
    let message = TrafficControl { index: interface, parent: side as u32, ..Default::default() };
    let answers = request(RTM_GETTFILTER, NLM_F_DUMP, message.as_bytes())?;
    let mut filters = Vec::new();
    for (kind, body) in answers {
        let Ok((header, attributes)) = TrafficControl::read_from_prefix(&body) else { continue };
        // A dump begins with one entry per priority, without a handle: the place of its filters.
        if kind != RTM_NEWTFILTER || header.handle == 0 {
            continue;
        }
        let mut filter = Filter {
            priority: (header.info >> 16) as u16,
            handle: header.handle,
            name: String::new(),
            program_id: 0,
        };
        for (kind, value) in Attributes(attributes) {
            if kind == TCA_OPTIONS {
                for (kind, value) in Attributes(value) {
                    match kind {
                        TCA_BPF_NAME => filter.name = text(value),
                        TCA_BPF_ID => filter.program_id = number(value),
                        _ => {}
                    }
                }
            }
        }
        filters.push(filter);
    }
    Ok(filters)
}

/// Removes the `clsact` queueing discipline with all its filters.
pub(crate) fn remove_clsact(interface: u32) -> io::Result<()> {
    let message = TrafficControl {
        index: interface,
        handle: 0xffff_0000,
        parent: TC_H_CLSACT,
        ..Default::default()
    };
    request(RTM_DELQDISC, NLM_F_ACK, message.as_bytes()).map(|_| ())
}

/// The XDP program on an interface in driver mode.
pub(crate) fn xdp_program(interface: u32) -> io::Result<Option<u32>> {
    let programs = xdp_attributes(interface)?;
    let program = programs.into_iter().find(|(kind, _)| *kind == IFLA_XDP_DRV_PROG_ID);
    Ok(program.map(|(_, id)| id))
}

/// The XDP programs on an interface in any mode.
pub(crate) fn xdp_programs(interface: u32) -> io::Result<Vec<u32>> {
    let programs = xdp_attributes(interface)?.into_iter();
    let mut ids: Vec<u32> = programs.map(|(_, id)| id).filter(|id| *id != 0).collect();
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

/// Numbers of XDP programs by the attribute that names them.
fn xdp_attributes(interface: u32) -> io::Result<Vec<(u16, u32)>> {
    let message = Link { index: interface, ..Default::default() };
    for (kind, body) in request(RTM_GETLINK, NLM_F_ACK, message.as_bytes())? {
        let Ok((_, attributes)) = Link::read_from_prefix(&body) else { continue };
        if kind != RTM_NEWLINK {
            continue;
        }
        let nested = Attributes(attributes).find(|(kind, _)| *kind == IFLA_XDP);
        let Some((_, nested)) = nested else { continue };
        let programs = Attributes(nested).filter(|(kind, _)| IFLA_XDP_PROG_IDS.contains(kind));
        return Ok(programs.map(|(kind, value)| (kind, number(value))).collect());
    }
    Ok(Vec::new())
}

// linux/rtnetlink.h, linux/pkt_cls.h, linux/pkt_sched.h, linux/if_link.h
const TCA_OPTIONS: u16 = 2;
const TCA_BPF_NAME: u16 = 7;
const TCA_BPF_ID: u16 = 11;
const TC_H_CLSACT: u32 = 0xffff_fff1;
const IFLA_XDP: u16 = 43;
const IFLA_XDP_DRV_PROG_ID: u16 = 5;
/// `IFLA_XDP_PROG_ID` and those of each mode.
const IFLA_XDP_PROG_IDS: std::ops::RangeInclusive<u16> = 4..=7;
/// Flags in an attribute's type: nested, and byte order.
const ATTRIBUTE_KIND: u16 = 0x3fff;

#[derive(Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Header {
    length: u32,
    kind: u16,
    flags: u16,
    sequence: u32,
    port: u32,
}

#[derive(Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct TrafficControl {
    family: u32,
    index: u32,
    handle: u32,
    parent: u32,
    info: u32,
}

#[derive(Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Link {
    family: u16,
    device_type: u16,
    index: u32,
    flags: u32,
    change: u32,
}

/// Sends one request and gathers the answers until the kernel says that there are no more.
fn request(kind: u16, flags: i32, body: &[u8]) -> io::Result<Vec<(u16, Vec<u8>)>> {
    let socket = open()?;
    let header = Header {
        length: (size_of::<Header>() + body.len()) as u32,
        kind,
        flags: (NLM_F_REQUEST | flags) as u16,
        sequence: 1,
        port: 0,
    };
    let message = [header.as_bytes(), body].concat();
    sendto(socket.as_raw_fd(), &message, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
    let mut answers = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let received = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        let mut rest = buffer.get(..received).unwrap_or(&[]);
        while let Ok((header, _)) = Header::read_from_prefix(rest) {
            let length = header.length as usize;
            let Some(body) = rest.get(size_of::<Header>()..length) else {
                return Err(io::Error::from(io::ErrorKind::InvalidData));
            };
            match i32::from(header.kind) {
                NLMSG_DONE => return Ok(answers),
                NLMSG_ERROR => {
                    return match i32::read_from_prefix(body) {
                        Ok((0, _)) => Ok(answers),
                        Ok((code, _)) => Err(io::Error::from_raw_os_error(code.saturating_neg())),
                        Err(_) => Err(io::Error::from(io::ErrorKind::InvalidData)),
                    };
                }
                _ => answers.push((header.kind, body.to_vec())),
            }
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        }
    }
}

fn open() -> io::Result<OwnedFd> {
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkRoute,
    )?;
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
    Ok(socket)
}

/// Attributes one after the other; ends at the first that does not fit.
struct Attributes<'a>(&'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (&[a, b, c, d], _) = self.0.split_first_chunk::<4>()?;
        let length = usize::from(u16::from_ne_bytes([a, b]));
        let value = self.0.get(4..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some((u16::from_ne_bytes([c, d]) & ATTRIBUTE_KIND, value))
    }
}

fn number(value: &[u8]) -> u32 {
    u32::read_from_prefix(value).map_or(0, |(number, _)| number)
}

fn text(value: &[u8]) -> String {
    let text = value.split(|byte| *byte == 0).next().unwrap_or(&[]);
    String::from_utf8_lossy(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_end_where_their_lengths_lie() {
        let mut bytes = vec![8, 0, 7, 0x80, b'a', 0, 0, 0];
        bytes.extend([5, 0, 11, 0, 9, 0, 0, 0]);
        let found: Vec<_> = Attributes(&bytes).collect();
        assert_eq!(found, [(7, &b"a\0\0\0"[..]), (11, &[9][..])]);
        for short in 0..bytes.len() {
            assert!(Attributes(&bytes[..short]).count() <= 2);
        }
        assert_eq!(Attributes(&[3, 0, 1, 0]).count(), 0);
        assert_eq!(Attributes(&[0, 0, 0, 0, 0, 0]).count(), 0);
    }

    #[test]
    fn the_loopback_device_has_no_xdp_program() {
        assert_eq!(xdp_program(1).expect("netlink answers"), None);
    }
}
