//! ARP for presences: the gateway answers for every address of the pool that stands for something.

use super::{Arrival, packet::address};
use crate::{
    frame::Frame,
    map::{PresenceKind, Settings},
    tables::Tables,
    verdict::ArpReply,
    wire::{Arp, EtherType, Ethernet},
};

/// The reply to an ARP request for a presence; `None` for any other message. Probes for an address
/// already taken are answered like any request, which is how a host learns of the conflict (RFC 5227
/// section 2.1.1).
#[inline(always)]
pub(super) fn reply<F: Frame, T: Tables>(
    frame: &F,
    tables: &T,
    settings: &Settings,
    arrival: Arrival,
) -> Option<ArpReply> {
    let request = frame.load::<Arp>(arrival.ip)?;
    if request.format != Arp::IPV4_OVER_ETHERNET || request.operation != Arp::REQUEST {
        return None;
    }
    let target = address(request.target);
    if !settings.pool.contains(target) {
        return None;
    }
    match tables.presence(settings.pool.offset(target))?.kind() {
        PresenceKind::Nothing => return None,
        PresenceKind::Service(_) | PresenceKind::Client => {}
    }
    let mac = own_mac(settings, arrival.interface)?;
    Some(ArpReply {
        ethernet: Ethernet {
            destination: request.sender_mac,
            source: mac,
            ether_type: EtherType::ARP,
        },
        arp: Arp {
            format: Arp::IPV4_OVER_ETHERNET,
            operation: Arp::REPLY,
            sender_mac: mac,
            sender: request.target,
            target_mac: request.sender_mac,
            target: request.sender,
        },
    })
}

/// The hardware address of `interface`, if a client network is behind it.
#[inline(always)]
fn own_mac(settings: &Settings, interface: u32) -> Option<[u8; 6]> {
    for (index, network) in settings.networks.iter().enumerate() {
        if index as u32 >= settings.network_count {
            return None;
        }
        if network.interface == interface {
            return Some(network.mac);
        }
    }
    None
}
