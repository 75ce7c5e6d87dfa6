//! How the daemon learns that its link device needs it.
//!
//! The userspace device is not persistent: it vanishes with its process, so the kernel's link
//! events tell of both a deleted device and an ended process, also of one that an earlier
//! gatewayd started.

use super::{Device, LinkError};
use crate::netlink::{InterfaceEvent, InterfaceEvents, Netlink};

/// Why [`super::ensure`] should run again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disturbance {
    /// The device is gone.
    Gone,
    /// Somebody set the device down.
    Down,
    /// Somebody changed the device's MTU.
    Mtu,
}

/// A watch over a link device.
#[derive(Debug)]
pub struct LinkWatch {
    events: InterfaceEvents,
    netlink: Netlink,
}

impl LinkWatch {
    /// Starts watching the interfaces of this network namespace. Must be called inside a tokio
    /// runtime.
    pub fn open() -> Result<Self, LinkError> {
        Ok(Self { events: InterfaceEvents::subscribe()?, netlink: Netlink::connect()? })
    }

    /// Waits until `device` is no longer as [`super::ensure`] left it. What happened between
    /// that and this call is noticed too. Cancel safe.
    pub async fn disturbed(&mut self, device: &Device) -> Result<Disturbance, LinkError> {
        loop {
            let found = self.netlink.interface_by_index(device.index).await?;
            match found {
                None => return Ok(Disturbance::Gone),
                Some(interface) if !interface.up => return Ok(Disturbance::Down),
                Some(interface) if interface.mtu != device.mtu => return Ok(Disturbance::Mtu),
                Some(_) => {}
            }
            loop {
                match self.events.next().await {
                    Some(InterfaceEvent::Changed(interface)) if interface.index == device.index => {
                        break;
                    }
                    Some(InterfaceEvent::Gone(index)) if index == device.index => break,
                    Some(InterfaceEvent::Missed) => break,
                    Some(_) => {}
                    None => {
                        self.events = InterfaceEvents::subscribe()?;
                        break;
                    }
                }
            }
        }
    }
}
