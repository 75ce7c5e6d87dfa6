//! The process that serves one userspace link device: `gatewayd link-device --interface NAME`.
//!
//! Started by [`super::process`], it owns a TUN device, the UDP socket and a control socket that
//! speaks the WireGuard configuration protocol. It outlives the daemon and ends when its device
//! is deleted or it is asked to by SIGTERM; then its TUN device and control socket are gone.
//!
//! It is closed to other users: the control socket is 0600, and the TUN device, having one queue
//! that this process holds, can be opened by nobody else.

use std::fs;
use std::io::{self, Read, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gotatun::device::uapi::{UapiClient, UapiServer};
use gotatun::device::{Device, DeviceBuilder};
use gotatun::tun::tun_async_device::TunDevice;
use nix::sys::stat::{Mode, umask};
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing_subscriber::EnvFilter;

use super::process::{READY, SOCKET_DIRECTORY, Server, server, socket_path};
use super::socket::Sockets;
use crate::netlink::{InterfaceEvent, InterfaceEvents, InterfaceIndex, InterfaceName, Netlink};
use crate::sandbox::{self, Setting, refuse_dumps};

/// Most control connections at a time.
const MOST_CONNECTIONS: usize = 16;
/// A control connection that is silent for so long is closed.
const LONGEST_SILENCE: Duration = Duration::from_secs(10);
/// A control connection may send so much: a configuration of ten thousand peers.
const MOST_SENT: u64 = 4 * 1024 * 1024;

/// Serves the device until it is deleted; the whole of the hidden subcommand.
///
/// Standard output gets one line, `ready` or the reason why not, and is then closed.
pub fn serve_device(interface: &InterfaceName, setting: Setting) -> ExitCode {
    leave_parent();
    let confined = refuse_dumps().map_err(|error| error.to_string()).and_then(|()| {
        sandbox::enter_as_link_device(setting, Path::new(SOCKET_DIRECTORY))
            .map_err(|error| error.to_string())
    });
    let confinement = match confined {
        Ok(confinement) => confinement,
        Err(reason) => {
            report(&format!("{reason}\n"));
            return ExitCode::FAILURE;
        }
    };
    let filter = EnvFilter::try_from_default_env()
        // gotatun reports each packet for a peer that has not dialled in yet.
        .unwrap_or_else(|_| EnvFilter::new("info,gotatun=off"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();
    if let Some(confinement) = confinement {
        tracing::info!(%confinement, "confined");
    }
    let served = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start the runtime: {error}"))
        .and_then(|runtime| runtime.block_on(serve(interface)));
    match served {
        Ok(reason) => {
            tracing::info!(%interface, reason, "link device ended");
            ExitCode::SUCCESS
        }
        Err(reason) => {
            tracing::error!(%interface, reason, "link device failed");
            report(&format!("{reason}\n"));
            ExitCode::FAILURE
        }
    }
}

/// A session of its own, so that what ends the daemon's session does not end the device; and a
/// panic ends the process rather than leave a device that forwards nothing.
fn leave_parent() {
    // Refused only to a group leader, which has its own group already.
    let _ = nix::unistd::setsid();
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        usual(panic);
        std::process::exit(101);
    }));
}

async fn serve(interface: &InterfaceName) -> Result<&'static str, String> {
    let mut terminated = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    let mut events = InterfaceEvents::subscribe().map_err(|error| error.to_string())?;
    let tun = TunDevice::from_name(interface.as_str()).map_err(|error| explain_tun(&error))?;
    let netlink = Netlink::connect().map_err(|error| error.to_string())?;
    let index = match netlink.interface(interface).await {
        Ok(Some(found)) => found.index,
        Ok(None) => return Err(format!("the TUN device {interface} vanished")),
        Err(error) => return Err(error.to_string()),
    };
    let socket = ControlSocket::bind(interface)?;
    let (client, api) = UapiServer::new();
    let mut device = DeviceBuilder::new()
        .with_udp(Sockets::default())
        .with_ip(tun)
        .with_uapi(api)
        .build()
        .await
        .map_err(|error| error.to_string())?;
    report(READY);
    tracing::info!(%interface, %index, "link device serves");
    let ended = async {
        tokio::select! {
            () = gone(&mut events, &netlink, index) => "its device was deleted",
            _ = terminated.recv() => "asked to end",
            () = socket.accept(client) => "its control socket broke",
        }
    };
    tokio::pin!(ended);
    let reason = tokio::select! {
        reason = &mut ended => reason,
        () = device.wait() => match netlink.interface_by_index(index).await {
            Ok(Some(_)) => {
                revive(&device).await?;
                ended.await
            }
            _ => "its device was deleted",
        },
    };
    device.stop().await;
    Ok(reason)
}

/// Starts the forwarding tasks again, with new sessions.
///
/// gotatun 0.10 can report its own rebinding (for a new listen port) as the end of the TUN device,
/// once in its life: stopping the old tasks races with their noticing that their channels closed.
/// Whether they ended for that or for a socket error cannot be told, so they are started anew.
/// They close their socket in the background, so its port may be taken for a moment.
async fn revive(device: &Device<(Sockets, TunDevice, TunDevice)>) -> Result<(), String> {
    const ATTEMPTS: u32 = 50;
    const BETWEEN: Duration = Duration::from_millis(20);
    tracing::warn!("forwarding stopped though the device is there; starting it again");
    let mut last = String::new();
    for _ in 0..ATTEMPTS {
        device.suspend().await;
        match device.resume().await {
            Ok(()) => return Ok(()),
            Err(error) => last = error.to_string(),
        }
        tokio::time::sleep(BETWEEN).await;
    }
    Err(format!("forwarding could not be started again: {last}"))
}

/// Says one thing to the parent and closes standard output.
fn report(text: &str) {
    // A parent that is gone needs no report.
    let _ = io::stdout().write_all(text.as_bytes());
    let _ = io::stdout().flush();
    if let Ok(null) = fs::OpenOptions::new().write(true).open("/dev/null") {
        let _ = nix::unistd::dup2_stdout(null);
    }
}

async fn gone(events: &mut InterfaceEvents, netlink: &Netlink, index: InterfaceIndex) {
    loop {
        match events.next().await {
            Some(InterfaceEvent::Gone(which)) if which == index => return,
            Some(InterfaceEvent::Missed) => {
                if let Ok(None) = netlink.interface_by_index(index).await {
                    return;
                }
            }
            Some(_) => {}
            // Without events the device's own end is still noticed by reading from it.
            None => std::future::pending().await,
        }
    }
}

fn explain_tun(error: &gotatun::tun::tun_async_device::Error) -> String {
    use gotatun::tun::tun_async_device::Error;
    let remedy = match error {
        Error::OpenTun(gotatun::tun::tun::Error::Io(error)) => match error.raw_os_error() {
            Some(libc_errno::EPERM | libc_errno::EACCES) => "; run as root or with CAP_NET_ADMIN",
            Some(libc_errno::ENOENT | libc_errno::ENXIO | libc_errno::ENODEV) => {
                "; load the module (`modprobe tun`), and in a container pass /dev/net/tun in"
            }
            Some(libc_errno::EBUSY | libc_errno::EINVAL) => {
                "; another device has that name, so set link.interface to another or remove it"
            }
            _ => "",
        },
        _ => "",
    };
    format!("cannot make the TUN device: {error}{remedy}")
}

/// Error numbers of Linux, as `raw_os_error` gives them.
mod libc_errno {
    use nix::errno::Errno;

    pub(super) const EPERM: i32 = Errno::EPERM as i32;
    pub(super) const EACCES: i32 = Errno::EACCES as i32;
    pub(super) const ENOENT: i32 = Errno::ENOENT as i32;
    pub(super) const ENXIO: i32 = Errno::ENXIO as i32;
    pub(super) const ENODEV: i32 = Errno::ENODEV as i32;
    pub(super) const EBUSY: i32 = Errno::EBUSY as i32;
    pub(super) const EINVAL: i32 = Errno::EINVAL as i32;
}

/// The bound control socket; removed when dropped.
struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
    identity: (u64, u64),
}

impl ControlSocket {
    fn bind(interface: &InterfaceName) -> Result<Self, String> {
        let path = socket_path(interface);
        match server(interface).map_err(|error| error.to_string())? {
            Server::None => remove_stale(&path)?,
            Server::Here | Server::Elsewhere => {
                return Err(format!(
                    "{} is served by another process; set link.interface to a name no other \
                     gateway on this host uses",
                    path.display()
                ));
            }
        }
        let bound = fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(SOCKET_DIRECTORY)
            .and_then(|()| {
                let before = umask(Mode::from_bits_truncate(0o177));
                let listener = UnixListener::bind(&path);
                umask(before);
                listener
            })
            .and_then(|listener| Ok((listener, identity(&path)?)));
        match bound {
            Ok((listener, identity)) => Ok(Self { listener, path, identity }),
            Err(error) => Err(format!(
                "cannot listen on {}: {error}; run as root and make its directory writable",
                path.display()
            )),
        }
    }

    async fn accept(&self, client: UapiClient) {
        let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            match self.listener.accept().await {
                Ok((stream, _)) => match Connection::new(stream, place) {
                    Ok(connection) => client.clone().wrap_read_write(connection),
                    Err(error) => tracing::warn!(%error, "control connection refused"),
                },
                // Out of file descriptors or memory, for which there is nothing to wait on.
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a control connection");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            }
        }
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        if identity(&self.path).ok() == Some(self.identity) {
            // A socket left behind is found stale by the next process.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}

fn remove_stale(path: &Path) -> Result<(), String> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => fs::remove_file(path)
            .map_err(|error| format!("cannot remove the stale {}: {error}", path.display())),
        _ => Ok(()),
    }
}

/// One control connection, served by a thread of gotatun's; bounded in time and size.
struct Connection {
    stream: UnixStream,
    sent: AtomicU64,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    fn new(stream: tokio::net::UnixStream, place: OwnedSemaphorePermit) -> io::Result<Self> {
        let stream = stream.into_std()?;
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(LONGEST_SILENCE))?;
        stream.set_write_timeout(Some(LONGEST_SILENCE))?;
        Ok(Self { stream, sent: AtomicU64::new(0), _place: place })
    }
}

impl Read for &Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = (&self.stream).read(buffer)?;
        let before = self.sent.fetch_add(read as u64, Ordering::Relaxed);
        if before + read as u64 > MOST_SENT {
            return Err(io::Error::other("more was sent than a configuration can need"));
        }
        Ok(read)
    }
}

impl io::Write for &Connection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&self.stream).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        (&self.stream).flush()
    }
}
