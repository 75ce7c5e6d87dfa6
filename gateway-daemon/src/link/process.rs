//! Starting and finding the process that serves a userspace link device.
//!
//! The process is gatewayd itself with a hidden subcommand (see [`super::device`]), in a session
//! of its own, so that it outlives the daemon that started it. It says on its standard output
//! `ready`, or why it cannot be.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::Pid;
use tokio::sync::oneshot;

use super::LinkError;
use super::record;
use super::settings::LinkHost;
use crate::netlink::InterfaceName;

/// Directory of the control sockets, where `wireguard_control` and `wg` look for them.
pub(super) const SOCKET_DIRECTORY: &str = "/var/run/wireguard";

/// What a device process says when it serves.
pub(super) const READY: &str = "ready\n";

/// Longest wait for a device process to say that it is ready, or to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// A longer report than this is cut.
const LONGEST_REPORT: u64 = 4096;

/// Who answers at the control socket of that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Server {
    /// Nobody.
    None,
    /// A process in this network namespace.
    Here,
    /// A process in another network namespace.
    Elsewhere,
}

/// The control socket of a device.
pub(super) fn socket_path(interface: &InterfaceName) -> PathBuf {
    Path::new(SOCKET_DIRECTORY).join(format!("{interface}.sock"))
}

/// Removes the directory of the control sockets once the last one is gone.
pub(super) fn remove_socket_directory() {
    // Fails while other sockets are in it, and that is right.
    let _ = fs::remove_dir(SOCKET_DIRECTORY);
}

/// Finds out who serves the device of that name.
pub(super) fn server(interface: &InterfaceName) -> Result<Server, LinkError> {
    let path = socket_path(interface);
    let failed = |doing: &'static str, reason: io::Error| match reason.kind() {
        io::ErrorKind::PermissionDenied => LinkError::Permission {
            interface: interface.clone(),
            doing: format!("{doing} {}", path.display()),
        },
        _ => LinkError::File { interface: interface.clone(), doing, path: path.clone(), reason },
    };
    match fs::symlink_metadata(&path) {
        Ok(metadata) if !metadata.file_type().is_socket() => {
            let reason = io::Error::other("it is not a socket; remove it");
            return Err(failed("use", reason));
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Server::None),
        Err(error) => return Err(failed("look at", error)),
    }
    let stream = match UnixStream::connect(&path) {
        Ok(stream) => stream,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound
            ) =>
        {
            return Ok(Server::None);
        }
        Err(error) => return Err(failed("connect to", error)),
    };
    let peer = getsockopt(&stream, PeerCredentials)
        .map_err(|errno| failed("name the process behind", errno.into()))?;
    let namespace = |path: String| fs::metadata(path).map(|found| (found.dev(), found.ino()));
    let ours = namespace("/proc/thread-self/ns/net".into())
        .map_err(|error| failed("compare network namespaces for", error))?;
    match namespace(format!("/proc/{}/ns/net", peer.pid())) {
        Ok(theirs) if theirs == ours => Ok(Server::Here),
        Ok(_) => Ok(Server::Elsewhere),
        // It ended since it answered.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Server::None),
        Err(error) => Err(failed("compare network namespaces for", error)),
    }
}

/// Asks the device for its configuration and waits for the beginning of an answer.
pub(super) fn sign_of_life(interface: &InterfaceName, patience: Duration) -> io::Result<()> {
    let mut stream = UnixStream::connect(socket_path(interface))?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    stream.write_all(b"get=1\n\n")?;
    stream.read_exact(&mut [0])
}

/// Starts a device process and waits until it serves.
pub(super) async fn start(interface: &InterfaceName, host: &LinkHost) -> Result<(), LinkError> {
    if !Path::new("/dev/net/tun").exists() {
        return Err(LinkError::NoTun { interface: interface.clone() });
    }
    let log = log_path(&host.directory, interface);
    let child = spawn(interface, host, &log)?;
    let refused = |reason: String| LinkError::Start { interface: interface.clone(), reason };
    let pid = child.id();
    let report = match tokio::time::timeout(PATIENCE, attend(child)).await {
        Ok(report) => report,
        Err(_) => {
            end(pid);
            return Err(refused(format!("not ready after {} s", PATIENCE.as_secs())));
        }
    };
    match report.as_str() {
        READY => {
            tracing::info!(%interface, pid, "userspace link device started");
            Ok(())
        }
        "" => Err(refused(format!("it ended without a word; see {}", log.display()))),
        reason => Err(refused(reason.trim_end().into())),
    }
}

/// Waits until the device process of that name has let go of its socket.
pub(super) async fn ended(interface: &InterfaceName) -> Result<(), LinkError> {
    let path = socket_path(interface);
    let Ok(mut stream) = UnixStream::connect(&path) else { return Ok(()) };
    let interface = interface.clone();
    let waited = tokio::task::spawn_blocking(move || {
        // The process answers nothing unasked, so this returns when it closes the connection.
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.read(&mut [0])
    });
    match waited.await {
        Ok(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(LinkError::Unresponsive { interface, doing: "end it", waited: PATIENCE })
        }
        _ => Ok(()),
    }
}

/// The log of a device process.
pub(super) fn log_path(directory: &Path, interface: &InterfaceName) -> PathBuf {
    directory.join(format!("link-{interface}.log"))
}

fn spawn(interface: &InterfaceName, host: &LinkHost, log: &Path) -> Result<Child, LinkError> {
    let failed = |doing, path: &Path, reason| LinkError::File {
        interface: interface.clone(),
        doing,
        path: path.into(),
        reason,
    };
    record::make_directory(&host.directory)
        .map_err(|error| failed("make", &host.directory, error))?;
    let errors = fs::OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(log)
        .map_err(|error| failed("write", log, error))?;
    Command::new(&host.program)
        .args(["link-device", "--interface", interface.as_str()])
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(errors)
        .spawn()
        .map_err(|error| failed("run", &host.program, error))
}

/// Hands back the child's report, and reaps the child when it ends, if we still live then.
async fn attend(mut child: Child) -> String {
    let (report, reported) = oneshot::channel();
    std::thread::spawn(move || {
        let text = child.stdout.take().map(read_report).unwrap_or_default();
        // Nobody listens any more if the wait timed out.
        let _ = report.send(text);
        match child.wait() {
            Ok(status) => tracing::warn!(pid = child.id(), %status, "link device process ended"),
            Err(error) => tracing::warn!(pid = child.id(), %error, "link device process lost"),
        }
    });
    reported.await.unwrap_or_default()
}

fn read_report(output: ChildStdout) -> String {
    let mut bytes = Vec::new();
    // What arrived before an error still is the report.
    let _ = output.take(LONGEST_REPORT).read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Ends a child that has not been reaped, so the number is still its own.
fn end(pid: u32) {
    if let Ok(pid) = i32::try_from(pid) {
        // It ended by itself if there is none.
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}
