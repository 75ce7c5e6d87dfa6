//! Starting and finding the process that serves a userspace link device.
//!
//! The process is gatewayd itself with a hidden subcommand (see [`super::device`]), in a session
//! of its own, so that it outlives the daemon that started it. It says on its standard output
//! `ready`, or why it cannot be.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::sync::oneshot;

use super::LinkError;
use super::record;
use super::settings::LinkHost;
use crate::netlink::InterfaceName;
use crate::sandbox;

/// Directory of the control sockets, where `wireguard_control` and `wg` look for them.
pub(crate) const SOCKET_DIRECTORY: &str = "/var/run/wireguard";

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
    drop(stream);
    // Which sockets listen in this network namespace. To ask for the namespace of the process behind the socket
    // takes the right to trace it, and a sandbox gives that over nobody but its own children.
    let sockets = fs::read_to_string(SOCKETS_HERE)
        .map_err(|error| failed("compare network namespaces for", error))?;
    let is_here = sockets.lines().filter_map(listening_path).any(|bound| is_same(bound, &path));
    Ok(if is_here { Server::Here } else { Server::Elsewhere })
}

/// The table of Unix sockets of this thread's network namespace.
const SOCKETS_HERE: &str = "/proc/thread-self/net/unix";
/// The flag of a socket that listens (include/linux/net.h, Linux 6.18). One that was connected to has the same
/// path, and is in the namespace of who connected.
const LISTENS: u32 = 1 << 16;

/// The path of a line of the table that is about a listening socket: number, references, protocol, flags, type,
/// state, inode and path.
fn listening_path(line: &str) -> Option<&Path> {
    let mut words = line.split_whitespace();
    let flags = u32::from_str_radix(words.nth(3)?, 16).ok()?;
    let path = words.nth(3)?;
    (flags & LISTENS != 0).then_some(Path::new(path))
}

/// `/var/run` is a link to `/run`, and a socket has the path that it was bound by.
fn is_same(bound: &Path, path: &Path) -> bool {
    let file =
        |path: &Path| Some((path.parent()?.file_name()?.to_owned(), path.file_name()?.to_owned()));
    file(bound) == file(path)
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
    Command::new(program(host))
        .arg0(&host.program)
        .args(["link-device", "--interface", interface.as_str()])
        .args(["--sandbox", sandbox::setting().word()])
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(errors)
        .spawn()
        .map_err(|error| failed("run", &host.program, error))
}

/// What to start. The sandbox lets nothing be started but the running program, and not a file that has taken its
/// place meanwhile, by an upgrade.
fn program(host: &LinkHost) -> PathBuf {
    let running = PathBuf::from("/proc/self/exe");
    let file = |path: &Path| fs::metadata(path).map(|found| (found.dev(), found.ino())).ok();
    match sandbox::in_force().is_some() && file(&host.program) != file(&running) {
        true => running,
        false => host.program.clone(),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_that_listen_are_told_from_those_connected_to() {
        let path = Path::new("/var/run/wireguard/presence.sock");
        let line = |flags: &str, path: &str| {
            format!("ffff8881: 00000002 00000000 {flags} 0001 01 41733 {path}")
        };
        let found = |line: &str| listening_path(line).is_some_and(|bound| is_same(bound, path));
        assert!(found(&line("00010000", "/var/run/wireguard/presence.sock")));
        assert!(found(&line("00010000", "/run/wireguard/presence.sock")));
        assert!(!found(&line("00000000", "/var/run/wireguard/presence.sock")));
        assert!(!found(&line("00010000", "/var/run/wireguard/presence2.sock")));
        assert!(!found(&line("00010000", "")));
        assert!(!found("Num       RefCount Protocol Flags    Type St Inode Path"));
        // The kernel's own table has this form.
        let name = format!("presence-listening-{}.sock", std::process::id());
        let directory =
            std::env::temp_dir().join(format!("presence-listen-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let socket = directory.join(name);
        let _listening = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let table = fs::read_to_string(SOCKETS_HERE).unwrap();
        assert!(table.lines().filter_map(listening_path).any(|bound| is_same(bound, &socket)));
        fs::remove_dir_all(directory).unwrap();
    }
}
