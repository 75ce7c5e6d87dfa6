//! The programs by name.

/// One of the kernel half's programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Program {
    /// XDP on a LAN interface: refuses early.
    Guard,
    /// Traffic control, ingress of a LAN interface.
    LanIngress,
    /// Traffic control, ingress of a link device.
    LinkIngress,
}

impl Program {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Guard, Self::LanIngress, Self::LinkIngress];

    /// Its name in the object, in the kernel and among the pins.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Guard => "guard",
            Self::LanIngress => "lan_ingress",
            Self::LinkIngress => "link_ingress",
        }
    }
}

impl std::fmt::Display for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
