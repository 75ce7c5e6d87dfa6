//! One question to a back end. Bounded in time, and in what is read of an answer.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use gateway_control::model::{HealthCheck, Probe};
use nix::errno::Errno;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::link::{Echo, Outcome};

/// An echo of ordinary size: 84 bytes with the IPv4 header, as `ping` sends it.
const ECHO_SIZE: u32 = 84;
/// A status line is shorter.
const LONGEST_STATUS_LINE: usize = 512;

/// What became of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It was answered as it should be.
    Served,
    /// It was not, and why.
    Failed(String),
    /// This host could not ask, and why.
    Unasked(String),
}

/// Asks the host once.
pub(super) async fn ask(address: Ipv4Addr, check: &HealthCheck) -> Answer {
    let patience = Duration::from_secs(check.timeout.seconds().into());
    let asked = match &check.probe {
        Probe::Icmp => return echo(address, patience).await,
        Probe::Tcp { port } => {
            let server = SocketAddrV4::new(address, port.get());
            timeout(patience, async { TcpStream::connect(server).await.map(|_| None) }).await
        }
        Probe::Http { port, path, status } => {
            let server = SocketAddrV4::new(address, port.get());
            timeout(patience, http(server, path.as_str(), *status)).await
        }
    };
    match asked {
        Ok(Ok(None)) => Answer::Served,
        Ok(Ok(Some(why))) => Answer::Failed(format!("{}: {why}", check.probe)),
        Ok(Err(error)) if is_own(&error) => Answer::Unasked(error.to_string()),
        Ok(Err(error)) => Answer::Failed(format!("{}: {error}", check.probe)),
        Err(_) => {
            let seconds = check.timeout.seconds();
            Answer::Failed(format!("{}: no answer within {seconds}s", check.probe))
        }
    }
}

/// Gets a path and gives what is wrong with the answer. Of an answer only its first line is read (RFC
/// 9112 section 4).
async fn http(server: SocketAddrV4, path: &str, status: u16) -> io::Result<Option<String>> {
    let mut stream = TcpStream::connect(server).await?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {server}\r\nUser-Agent: gatewayd\r\nAccept: */*\r\n\
         Connection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut line = Vec::new();
    let mut chunk = [0; LONGEST_STATUS_LINE];
    while !line.contains(&b'\n') && line.len() < LONGEST_STATUS_LINE {
        match stream.read(&mut chunk).await? {
            0 => break,
            length => line.extend(&chunk[..length]),
        }
    }
    Ok(match found_status(&line) {
        Some(found) if found == status => None,
        Some(found) => Some(format!("it answers with status {found}")),
        None => Some("it does not answer with HTTP/1".to_owned()),
    })
}

fn found_status(answer: &[u8]) -> Option<u16> {
    let line = answer.split(|byte| *byte == b'\n').next()?;
    let rest = line.strip_prefix(b"HTTP/1.")?;
    let (digits, after) = rest.get(1..)?.strip_prefix(b" ")?.split_at_checked(3)?;
    let ends = matches!(after.first(), None | Some(b' ' | b'\r'));
    let digits = std::str::from_utf8(digits).ok()?;
    (ends && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok())?
}

async fn echo(address: Ipv4Addr, patience: Duration) -> Answer {
    let asked = spawn_blocking(move || Echo::open(address.into())?.ask(ECHO_SIZE, patience)).await;
    match asked {
        Ok(Ok(Outcome::Answered)) => Answer::Served,
        Ok(Ok(Outcome::Missed)) => {
            Answer::Failed(format!("icmp: no answer within {}s", patience.as_secs()))
        }
        Ok(Ok(Outcome::TooLarge)) => Answer::Unasked("the LAN's MTU is below 84".to_owned()),
        Ok(Err(error)) if is_own(&error) => Answer::Unasked(error.to_string()),
        Ok(Err(error)) => Answer::Failed(format!("icmp: {error}")),
        Err(error) => Answer::Unasked(error.to_string()),
    }
}

/// Whether this host could not ask: no way there, or no room.
fn is_own(error: &io::Error) -> bool {
    use Errno::{
        EACCES, EADDRINUSE, EADDRNOTAVAIL, EMFILE, ENETDOWN, ENETUNREACH, ENFILE, ENOBUFS, ENOMEM,
        EPERM,
    };
    [
        EACCES,
        EADDRINUSE,
        EADDRNOTAVAIL,
        EMFILE,
        ENETDOWN,
        ENETUNREACH,
        ENFILE,
        ENOBUFS,
        ENOMEM,
        EPERM,
    ]
    .iter()
    .any(|errno| error.raw_os_error() == Some(*errno as i32))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;
    use tokio::net::TcpListener;

    fn check(port: u16, kind: &str) -> HealthCheck {
        let site = format!(
            "gateway = {{ name = \"gw\" }}\n\
             site = {{ name = \"here\", transit = \"240.0.16.0/20\", presence_pool = \
             \"127.0.0.192/26\", client_presence = \"127.0.0.250\" }}\n\
             link = {{ private_key_file = \"link.key\" }}\n\
             lan = [{{ interface = \"lan0\", networks = [\"10.0.0.0/24\"] }}]\n\
             [[service]]\nname = \"web\"\nsite = \"here\"\nnumber = 1\nports = [\"tcp/80\"]\n\
             backend = \"10.0.0.10\"\nhealth = {{ kind = \"{kind}\", port = {port} }}\n"
        )
        .replace("127.0.0.", "10.0.0.");
        let model = gateway_control::site_file::parse(&site).unwrap_or_else(|it| panic!("{it}"));
        model.local_services()[0].health.clone().unwrap()
    }

    #[test]
    fn statuses() {
        for (answer, status) in [
            ("HTTP/1.1 200 OK\r\n", Some(200)),
            ("HTTP/1.0 503\r\n", Some(503)),
            ("HTTP/1.1 204", Some(204)),
            ("HTTP/1.1 2000 no\r\n", None),
            ("HTTP/2 200\r\n", None),
            ("SSH-2.0-OpenSSH\r\n", None),
            ("HTTP/1.1 +20 \r\n", None),
            ("", None),
        ] {
            assert_eq!(found_status(answer.as_bytes()), status, "{answer:?}");
        }
    }

    #[tokio::test]
    async fn a_host_serves_if_it_answers_as_asked() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let SocketAddr::V4(server) = listener.local_addr().unwrap() else { panic!("not IPv4") };
        assert_eq!(ask(*server.ip(), &check(server.port(), "tcp")).await, Answer::Served);
        let check = check(server.port(), "http");
        for (answer, served) in
            [("HTTP/1.1 200 OK\r\n\r\n", true), ("HTTP/1.1 500 no\r\n\r\n", false)]
        {
            let asked = tokio::spawn({
                let check = check.clone();
                async move { ask(*server.ip(), &check).await }
            });
            loop {
                // The connection of the TCP check is accepted first, and is closed.
                let (mut stream, _) = listener.accept().await.unwrap();
                if stream.read(&mut [0; 512]).await.unwrap() > 0 {
                    stream.write_all(answer.as_bytes()).await.unwrap();
                    break;
                }
            }
            let found = asked.await.unwrap();
            assert_eq!(found == Answer::Served, served, "{found:?}");
        }
        drop(listener);
        assert!(matches!(ask(*server.ip(), &check).await, Answer::Failed(_)));
    }
}
