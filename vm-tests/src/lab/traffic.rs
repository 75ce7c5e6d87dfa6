//! Small servers and clients whose every answer says who was seen: HTTP with bodies that can be
//! checked, echo over TCP and UDP. The `traffic` program serves them in a server's namespace; the
//! demo and the tests use the clients from a thread in a client's.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};

/// Bound on each read and write of a client.
pub const CLIENT_BOUND: Duration = Duration::from_secs(15);

const SERVER_BOUND: Duration = Duration::from_secs(120);
const CHUNK: usize = 64 << 10;
const LONGEST_DATAGRAM: usize = 64 << 10;

/// The bytes of every body: the same sequence each time, cut at the length asked for.
#[derive(Debug, Clone)]
pub struct Body {
    state: u64,
    left: u64,
}

impl Body {
    /// A body of this length.
    pub fn new(length: u64) -> Self {
        Self { state: 1, left: length }
    }

    /// Fills the front of `chunk` and gives how much; 0 at the end.
    pub fn fill(&mut self, chunk: &mut [u8]) -> usize {
        let whole = chunk.len() - chunk.len() % 8;
        let length = usize::try_from(self.left).map_or(whole, |left| left.min(whole));
        for word in chunk[..length].chunks_mut(8) {
            // SplitMix64: no repetition that a lost or doubled segment could hide in.
            self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            word.copy_from_slice(&(mixed ^ (mixed >> 31)).to_le_bytes()[..word.len()]);
        }
        self.left -= length as u64;
        length
    }

    /// Its SHA-256, in hex.
    pub fn digest(mut self) -> String {
        let mut digest = Sha256::new();
        let mut chunk = vec![0; CHUNK];
        loop {
            match self.fill(&mut chunk) {
                0 => return hex(digest),
                length => digest.update(&chunk[..length]),
            }
        }
    }
}

/// The SHA-256 of these bytes, in hex.
pub fn digest_of(bytes: &[u8]) -> String {
    let mut digest = Sha256::new();
    digest.update(bytes);
    hex(digest)
}

/// Serves HTTP: `/bytes/N` a body of N bytes, `/sha256/N` its digest, anything else a line that
/// names this server and the address the client appeared as.
pub fn serve_http(name: &str, listener: &TcpListener) -> Result<()> {
    serve(listener, name, answer_http)
}

/// Serves echo over TCP: first a line `NAME PEER`, then every line back.
pub fn serve_echo(name: &str, listener: &TcpListener) -> Result<()> {
    serve(listener, name, |name, mut stream| {
        stream.write_all(format!("{name} {}\n", stream.peer_addr()?).as_bytes())?;
        for line in BufReader::new(stream.try_clone()?).lines() {
            stream.write_all((line? + "\n").as_bytes())?;
        }
        Ok(())
    })
}

/// Serves echo over UDP: each datagram back with `NAME PEER ` before it.
pub fn serve_datagrams(name: &str, socket: &UdpSocket) -> Result<()> {
    let mut datagram = vec![0; LONGEST_DATAGRAM];
    loop {
        match socket.recv_from(&mut datagram) {
            Ok((length, peer)) => {
                let mut answer = format!("{name} {peer} ").into_bytes();
                answer.extend(&datagram[..length]);
                // A client that is gone does not concern the others.
                let _ = socket.send_to(&answer, peer);
            }
            // Linux reports an earlier answer's ICMP error on the next call.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
            Err(error) => return Err(error).context("receive a datagram"),
        }
    }
}

/// A whole small HTTP answer's body, as text.
pub fn fetch(server: SocketAddrV4, path: &str) -> Result<String> {
    let mut download = Download::open(server, path)?;
    let mut body = String::new();
    download.stream.read_to_string(&mut body).context("read the answer")?;
    Ok(body)
}

/// An HTTP download that goes on only when told to, so that something can happen in its middle.
#[derive(Debug)]
pub struct Download {
    stream: BufReader<TcpStream>,
    digest: Sha256,
    received: u64,
    length: u64,
}

impl Download {
    /// Lets reading fail once nothing has come for so long.
    pub fn stop_after(&self, silence: Duration) -> Result<()> {
        self.stream.get_ref().set_read_timeout(Some(silence)).context("set a time-out")
    }

    /// Asks for `path` and reads the answer's head.
    pub fn open(server: SocketAddrV4, path: &str) -> Result<Self> {
        let mut stream = connect(server)?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).context("send the request")?;
        let mut stream = BufReader::with_capacity(CHUNK, stream);
        let head = read_head(&mut stream)?;
        let status = head.first().map_or("", String::as_str);
        ensure!(status.starts_with("HTTP/1.1 200 "), "{server}{path} answered {status:?}");
        let length = head
            .iter()
            .find_map(|line| line.strip_prefix("Content-Length: "))
            .context("the answer has no Content-Length")?
            .parse()?;
        Ok(Self { stream, digest: Sha256::new(), received: 0, length })
    }

    /// The client's port.
    pub fn port(&self) -> Result<u16> {
        Ok(self.stream.get_ref().local_addr().context("the client's end")?.port())
    }

    /// Reads until `bytes` have come, or the end, and gives how many came so far.
    pub fn read_to(&mut self, bytes: u64) -> Result<u64> {
        while self.received < bytes.min(self.length) {
            let chunk = self.stream.fill_buf().with_context(|| {
                format!("read on after {} of {} bytes", self.received, self.length)
            })?;
            ensure!(!chunk.is_empty(), "ended at {} of {} bytes", self.received, self.length);
            self.digest.update(chunk);
            let length = chunk.len();
            self.received += length as u64;
            self.stream.consume(length);
        }
        Ok(self.received)
    }

    /// Reads the rest and gives the SHA-256 of it all, in hex.
    pub fn finish(mut self) -> Result<String> {
        self.read_to(u64::MAX)?;
        Ok(hex(self.digest))
    }
}

/// A TCP connection to an echo server, kept open.
#[derive(Debug)]
pub struct Conversation {
    stream: BufReader<TcpStream>,
    greeting: String,
}

impl Conversation {
    /// Connects and reads the greeting.
    pub fn open(server: SocketAddrV4) -> Result<Self> {
        let mut stream = BufReader::new(connect(server)?);
        let mut greeting = String::new();
        stream.read_line(&mut greeting).context("read the greeting")?;
        Ok(Self { stream, greeting: greeting.trim().to_owned() })
    }

    /// The server's name and the address it saw.
    pub fn greeting(&self) -> &str {
        &self.greeting
    }

    /// Sends a line and expects it back within the bound.
    pub fn say(&mut self, line: &str, bound: Duration) -> Result<()> {
        let stream = self.stream.get_mut();
        stream.set_read_timeout(Some(bound))?;
        stream.write_all(format!("{line}\n").as_bytes()).context("send a line")?;
        let mut answer = String::new();
        self.stream.read_line(&mut answer).context("read a line back")?;
        ensure!(answer.trim_end() == line, "said {line:?} and got {answer:?} back");
        Ok(())
    }
}

/// Sends datagrams to a UDP echo server, again each second, until one is answered: the answer.
pub fn ask(server: SocketAddrV4, text: &str, bound: Duration) -> Result<String> {
    const RESEND: Duration = Duration::from_secs(1);
    let socket = UdpSocket::bind("0.0.0.0:0").context("open a UDP socket")?;
    socket.connect(server).with_context(|| format!("use {server}"))?;
    socket.set_read_timeout(Some(RESEND.min(bound)))?;
    let mut answer = vec![0; LONGEST_DATAGRAM];
    super::wait::wait_until(format!("an answer from {server}"), bound, || {
        socket.send(text.as_bytes()).context("send")?;
        let length = socket.recv(&mut answer).context("receive")?;
        Ok(Some(String::from_utf8_lossy(&answer[..length]).into_owned()))
    })
}

/// Connects, each wait bounded.
pub fn connect(server: SocketAddrV4) -> Result<TcpStream> {
    connect_within(server, CLIENT_BOUND)
}

/// Connects within a bound of the caller's.
pub fn connect_within(server: SocketAddrV4, bound: Duration) -> Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&SocketAddr::V4(server), bound)
        .with_context(|| format!("connect to {server}"))?;
    stream.set_read_timeout(Some(CLIENT_BOUND))?;
    stream.set_write_timeout(Some(CLIENT_BOUND))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn serve(
    listener: &TcpListener,
    name: &str,
    answer: impl Fn(&str, TcpStream) -> Result<()> + Send + Clone + 'static,
) -> Result<()> {
    loop {
        let (stream, peer) = listener.accept().context("accept a connection")?;
        stream.set_write_timeout(Some(SERVER_BOUND))?;
        stream.set_nodelay(true)?;
        let (name, answer) = (name.to_owned(), answer.clone());
        thread::spawn(move || match answer(&name, stream) {
            Ok(()) => println!("{peer}: served"),
            Err(error) => println!("{peer}: {error:#}"),
        });
    }
}

fn answer_http(name: &str, mut stream: TcpStream) -> Result<()> {
    let peer = stream.peer_addr()?;
    let head = read_head(&mut BufReader::new(stream.try_clone()?))?;
    let Some(path) = head.first().and_then(|line| line.split(' ').nth(1)) else {
        bail!("no request");
    };
    let number = |prefix: &str| path.strip_prefix(prefix).and_then(|text| text.parse().ok());
    if let Some(length) = number("/bytes/") {
        answer_head(&mut stream, length)?;
        let (mut body, mut chunk) = (Body::new(length), vec![0; CHUNK]);
        loop {
            match body.fill(&mut chunk) {
                0 => return Ok(()),
                filled => stream.write_all(&chunk[..filled])?,
            }
        }
    }
    let text = match number("/sha256/") {
        Some(length) => format!("{}\n", Body::new(length).digest()),
        None => format!("{name} {peer}\n"),
    };
    answer_head(&mut stream, text.len() as u64)?;
    Ok(stream.write_all(text.as_bytes())?)
}

fn answer_head(stream: &mut TcpStream, length: u64) -> Result<()> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    Ok(stream.write_all(head.as_bytes())?)
}

fn read_head(stream: &mut impl BufRead) -> Result<Vec<String>> {
    const LONGEST: u64 = 16 << 10;
    let mut lines = Vec::new();
    for line in stream.take(LONGEST).lines() {
        match line.context("read the head")? {
            line if line.is_empty() => return Ok(lines),
            line => lines.push(line),
        }
    }
    bail!("the head has no end")
}

/// The digest of everything so far, in hex.
pub(super) fn hex(digest: Sha256) -> String {
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(length: u64, chunk: usize) -> Vec<u8> {
        let (mut body, mut chunk, mut all) = (Body::new(length), vec![0; chunk], Vec::new());
        loop {
            match body.fill(&mut chunk) {
                0 => return all,
                filled => all.extend(&chunk[..filled]),
            }
        }
    }

    #[test]
    fn a_body_is_the_same_however_it_is_read() {
        assert_eq!(body(1001, 64), body(1001, 1 << 16));
        assert_eq!(body(1001, 64).len(), 1001);
        assert_ne!(body(16, 16)[..8], body(16, 16)[8..]);
    }

    #[test]
    fn a_download_that_pauses_has_the_digest_of_its_body() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let SocketAddr::V4(server) = listener.local_addr().unwrap() else { panic!("not IPv4") };
        thread::spawn(move || serve_http("here", &listener));
        let mut download = Download::open(server, "/bytes/300000").unwrap();
        assert!(download.read_to(100_000).unwrap() >= 100_000);
        let digest = download.finish().unwrap();
        assert_eq!(digest, Body::new(300_000).digest());
        assert_eq!(fetch(server, "/sha256/300000").unwrap().trim(), digest);
        assert!(fetch(server, "/").unwrap().starts_with("here 127.0.0.1:"));
    }

    #[test]
    fn echo_says_who_was_seen() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let SocketAddr::V4(server) = listener.local_addr().unwrap() else { panic!("not IPv4") };
        thread::spawn(move || serve_echo("here", &listener));
        let mut conversation = Conversation::open(server).unwrap();
        assert!(conversation.greeting().starts_with("here 127.0.0.1:"));
        conversation.say("one", CLIENT_BOUND).unwrap();
        conversation.say("two", CLIENT_BOUND).unwrap();
    }
}
