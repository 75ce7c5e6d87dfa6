//! Programs of the benchmark's own, loaded.

use anyhow::{Context, Result};
use aya::programs::tc::{TcAttachType, qdisc_add_clsact};
use aya::programs::{SchedClassifier, Xdp, XdpMode};
use aya::{Ebpf, EbpfLoader};

use super::assembly::{Code, Hook, MAP, MapPlan, PROGRAM, object};

/// A loaded program; gone when the value is.
pub struct Peer(Ebpf);

impl Peer {
    /// A program for traffic control.
    pub fn classifier(code: &Code, map: Option<MapPlan>) -> Result<Self> {
        let mut peer = Self::load(Hook::Classifier, code, map)?;
        let program: &mut SchedClassifier =
            peer.0.program_mut(PROGRAM).context("it has a program")?.try_into()?;
        program.load().context("verify a program to compare with")?;
        Ok(peer)
    }

    /// A program for XDP.
    pub fn xdp(code: &Code, map: Option<MapPlan>) -> Result<Self> {
        let mut peer = Self::load(Hook::Xdp, code, map)?;
        let program: &mut Xdp =
            peer.0.program_mut(PROGRAM).context("it has a program")?.try_into()?;
        program.load().context("verify a program to compare with")?;
        Ok(peer)
    }

    /// The program for traffic control.
    pub fn as_classifier(&self) -> Result<&SchedClassifier> {
        Ok(self.0.program(PROGRAM).context("it has a program")?.try_into()?)
    }

    /// The program for XDP.
    pub fn as_xdp(&self) -> Result<&Xdp> {
        Ok(self.0.program(PROGRAM).context("it has a program")?.try_into()?)
    }

    /// Attaches a program for traffic control to a device's ingress.
    pub fn at_ingress(&mut self, device: &str) -> Result<()> {
        qdisc_add_clsact(device).with_context(|| format!("clsact on {device}"))?;
        let program: &mut SchedClassifier =
            self.0.program_mut(PROGRAM).context("it has a program")?.try_into()?;
        program.attach(device, TcAttachType::Ingress).context("attach to ingress")?;
        Ok(())
    }

    /// Attaches a program for XDP to a device, in its driver.
    pub fn in_driver(&mut self, device: &str) -> Result<()> {
        let program: &mut Xdp =
            self.0.program_mut(PROGRAM).context("it has a program")?.try_into()?;
        program.attach(device, XdpMode::Driver).context("attach to the driver")?;
        Ok(())
    }

    /// Sets an entry of its map.
    pub fn set(&mut self, key: [u8; 4], value: [u8; 16]) -> Result<()> {
        let map = self.0.map_mut(MAP).context("it has a map")?;
        let mut map: aya::maps::HashMap<_, [u8; 4], [u8; 16]> = map.try_into()?;
        Ok(map.insert(key, value, 0)?)
    }

    fn load(hook: Hook, code: &Code, map: Option<MapPlan>) -> Result<Self> {
        let elf = object(hook, code, map);
        Ok(Self(EbpfLoader::new().load(&elf).context("load a program to compare with")?))
    }
}
