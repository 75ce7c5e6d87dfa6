//! What a role needs, as a value. Pure but for making directories that rules are about, as a rule is about a
//! directory that is there.

use std::env;
use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use caps::{Capability, CapsHashSet};
use gateway_control::Plan;

use super::calls::Calls;
use crate::config::{ControllerFile, GatewayFile, Role, SiteFile, StoreChoice};
use crate::instance::RUN_DIRECTORY;
use crate::link::SOCKET_DIRECTORY;
use crate::seal::{PassphraseSource, Sealer};

/// What is left of a process's rights.
#[derive(Debug)]
pub(super) struct Needs {
    pub(super) capabilities: CapsHashSet,
    /// Directories that may be read, with all below.
    pub(super) readable: Vec<PathBuf>,
    /// Directories in which files may be made, written and removed as well.
    pub(super) writable: Vec<PathBuf>,
    /// Whether pins are made: entries of the BPF file system.
    pub(super) pins: bool,
    /// Whether the BPF file system is mounted, which goes with no restriction of files.
    pub(super) mounts: bool,
    /// Devices that may be used.
    pub(super) devices: Vec<PathBuf>,
    /// Whether this program may be started anew.
    pub(super) restarts: bool,
    pub(super) calls: Calls,
}

/// What any process reads: itself, libraries, random numbers.
const ANY: [&str; 6] = ["/proc", "/usr", "/lib", "/lib64", "/dev/urandom", "/dev/random"];
/// What resolving a host's or a user's name reads. `/etc/resolv.conf` is replaced while gatewayd runs, so it has
/// to be its directory.
const NAMES: [&str; 3] = ["/etc", "/run/systemd", "/run/resolvconf"];
/// Interfaces, drivers, and the kernel's types.
const SYSTEM: &str = "/sys";
const NULL: &str = "/dev/null";
const TUN: &str = "/dev/net/tun";

impl Needs {
    pub(super) fn of(role: &Role) -> Self {
        match role {
            Role::Standalone(file) => Self::of_standalone(file),
            Role::Controller(file) => Self::of_controller(file),
            Role::Gateway(file) => Self::of_gateway(file),
        }
    }

    /// The process that serves a userspace link device: its device, its control socket, UDP and netlink.
    pub(super) fn of_link_device(sockets: &Path) -> Self {
        let mut needs = Self::none(Calls::LINK_DEVICE);
        // A device is made and followed by netlink; an operator may have given it a low port.
        needs.capabilities.extend([Capability::CAP_NET_ADMIN, Capability::CAP_NET_BIND_SERVICE]);
        needs.write(sockets);
        needs.devices.push(TUN.into());
        needs
    }

    /// The process that mounts the BPF file system again.
    pub(super) fn of_mounter() -> Self {
        let mut needs = Self::none(Calls::MOUNTER);
        needs.capabilities.insert(Capability::CAP_SYS_ADMIN);
        needs.mounts = true;
        needs
    }

    fn of_standalone(file: &SiteFile) -> Self {
        let mut needs = Self::none(Calls::GATEWAY);
        let link = Plan::new(&file.model).link;
        let keys = [Some(&link.current), link.next.as_ref()];
        let keys = keys.into_iter().flatten().map(|device| device.private_key_file.as_str());
        needs.read_beside(&file.path, keys);
        needs.be_gateway();
        needs
    }

    fn of_controller(file: &ControllerFile) -> Self {
        let mut needs = match &file.gateway {
            Some(gateway) => {
                let mut needs = Self::none(Calls::GATEWAY);
                needs.read_beside(&file.path, [gateway.facts.link.private_key_file.as_str()]);
                needs.be_gateway();
                needs
            }
            None => {
                let mut needs = Self::none(Calls::CONTROLLER);
                needs.read_beside(&file.path, []);
                needs
            }
        };
        needs.speak();
        for socket in [&file.socket, &file.sessions] {
            socket.parent().into_iter().for_each(|directory| needs.write(directory));
        }
        if let StoreChoice::File(store, _) = &file.store {
            store.parent().into_iter().for_each(|directory| needs.write(directory));
        }
        // Backups are written there before they are sent, and SQLite sorts there.
        needs.write(&env::temp_dir());
        needs.seal(&file.seal.directory, &file.seal.sealer);
        needs
    }

    fn of_gateway(file: &GatewayFile) -> Self {
        let mut needs = Self::none(Calls::GATEWAY);
        needs.read_beside(&file.path, [file.gateway.facts.link.private_key_file.as_str()]);
        needs.be_gateway();
        needs.speak();
        needs.seal(&file.seal.directory, &file.seal.sealer);
        needs
    }

    fn none(calls: Calls) -> Self {
        Self {
            capabilities: CapsHashSet::new(),
            readable: ANY.iter().map(PathBuf::from).collect(),
            writable: Vec::new(),
            pins: false,
            mounts: false,
            devices: vec![NULL.into()],
            restarts: false,
            calls,
        }
    }

    fn be_gateway(&mut self) {
        self.capabilities.extend([
            Capability::CAP_NET_ADMIN,
            Capability::CAP_BPF,
            // Programs compare pointers to packets and are checked by what the verifier traces.
            Capability::CAP_PERFMON,
            // Programs of others on an interface are named by their numbers, which the kernel gives to nobody
            // else (kernel/bpf/syscall.c, bpf_prog_get_fd_by_id, Linux 6.18).
            Capability::CAP_SYS_ADMIN,
            // ICMP echoes by which paths are probed.
            Capability::CAP_NET_RAW,
        ]);
        self.readable.push(SYSTEM.into());
        for directory in [RUN_DIRECTORY, SOCKET_DIRECTORY] {
            self.write(Path::new(directory));
        }
        self.pins = true;
        self.devices.push(TUN.into());
        self.restarts = true;
    }

    /// Speaks to others over networks, who have names, at ports of which some are low.
    fn speak(&mut self) {
        self.capabilities.insert(Capability::CAP_NET_BIND_SERVICE);
        self.readable.extend(NAMES.map(PathBuf::from));
    }

    /// Sealed files, which were made before gatewayd runs by them.
    fn seal(&mut self, directory: &Path, sealer: &Sealer) {
        self.writable.push(directory.to_owned());
        match sealer {
            Sealer::File(path) | Sealer::Passphrase(PassphraseSource::File(path)) => {
                self.read_beside(path, []);
            }
            Sealer::Passphrase(PassphraseSource::Descriptor(number)) => {
                self.readable.extend(fs::read_link(format!("/proc/self/fd/{number}")));
            }
            Sealer::Credential(_) => {
                self.readable.extend(env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from));
            }
        }
    }

    /// The directory of a file, and those of others that are relative to it.
    fn read_beside<'a>(&mut self, file: &Path, others: impl IntoIterator<Item = &'a str>) {
        let here = file.parent().unwrap_or(Path::new("/"));
        self.readable.push(here.to_owned());
        for other in others {
            self.readable.extend(here.join(other).parent().map(Path::to_owned));
        }
    }

    fn write(&mut self, directory: &Path) {
        // Made, as a rule is about a directory that is there. Whoever needs it says what is wrong if it cannot be.
        let _ = fs::DirBuilder::new().recursive(true).mode(0o755).create(directory);
        self.writable.push(directory.to_owned());
    }
}
