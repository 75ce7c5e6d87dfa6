//! What the paths are loaded with: a sender in one namespace and a receiver in another, both threads of
//! this process, and both the same whatever lies between them.
//!
//! The sender never has more than a window of datagrams under way, so nothing is lost and no instruction
//! is spent on what is dropped.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

use super::median;
use crate::lab::namespace::Namespace;

/// The port of every server here.
pub const PORT: u16 = 7007;

/// Octets of payload of a datagram.
const DATAGRAM: usize = 64;
const WINDOW: usize = 64;
const WINDOWS: usize = 60;
const EXCHANGES: usize = 1_000;
const BULK: usize = 12 << 20;
/// What cannot take so long on a path that works.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where a load runs.
#[derive(Debug, Clone)]
pub struct Ends {
    /// The sender's namespace.
    pub client: Namespace,
    /// The receiver's.
    pub server: Namespace,
    /// What the sender calls the receiver.
    pub target: Ipv4Addr,
    /// The receiver's own address.
    pub listens: Ipv4Addr,
}

impl Ends {
    fn target(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.target, PORT)
    }

    fn listens(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.listens, PORT)
    }

    fn server_socket(&self) -> Result<UdpSocket> {
        let socket = self.server.run(|| UdpSocket::bind(self.listens()))?.context("bind")?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(socket)
    }

    /// A socket of a fixed port, so that all rounds are of one flow.
    fn client_socket(&self) -> Result<UdpSocket> {
        let any = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 40_000);
        let socket = self.client.run(|| UdpSocket::bind(any))?.context("bind")?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.connect(self.target())?;
        Ok(socket)
    }

    /// Datagrams of 64 octets a second, one way.
    pub fn packets(&self) -> Result<f64> {
        let (server, client) = (self.server_socket()?, self.client_socket()?);
        let (windows, arrived) = mpsc::channel();
        thread::scope(|scope| {
            let receiving = scope.spawn(move || -> Result<()> {
                let mut datagram = [0; 2048];
                for _ in 0..=WINDOWS {
                    for _ in 0..WINDOW {
                        server.recv(&mut datagram).context("a datagram was lost")?;
                    }
                    windows.send(())?;
                }
                Ok(())
            });
            let window = || -> Result<()> {
                for _ in 0..WINDOW {
                    client.send(&[0x2e; DATAGRAM])?;
                }
                arrived.recv_timeout(PATIENCE).context("a window of datagrams did not arrive")
            };
            // The first opens the flow and finds the neighbours.
            window()?;
            let begun = Instant::now();
            for _ in 0..WINDOWS {
                window()?;
            }
            let took = begun.elapsed();
            joined(receiving.join())?;
            Ok((WINDOW * WINDOWS) as f64 / took.as_secs_f64())
        })
    }

    /// Microseconds from a request to its response, 64 octets each: the median.
    pub fn latency(&self) -> Result<f64> {
        let (server, client) = (self.server_socket()?, self.client_socket()?);
        thread::scope(|scope| {
            let answering = scope.spawn(move || -> Result<()> {
                let mut datagram = [0; DATAGRAM];
                for _ in 0..=EXCHANGES {
                    let (length, peer) = server.recv_from(&mut datagram).context("no request")?;
                    server.send_to(&datagram[..length], peer)?;
                }
                Ok(())
            });
            let mut times = Vec::with_capacity(EXCHANGES);
            let mut datagram = [0x2e; DATAGRAM];
            for number in 0..=EXCHANGES {
                let begun = Instant::now();
                client.send(&datagram)?;
                client.recv(&mut datagram).context("no response")?;
                if number > 0 {
                    times.push(begun.elapsed().as_secs_f64() * 1e6);
                }
            }
            joined(answering.join())?;
            Ok(median(&times))
        })
    }

    /// Megabits a second of one TCP connection, to the server.
    pub fn bulk(&self) -> Result<f64> {
        let listener = self.server.run(|| TcpListener::bind(self.listens()))?.context("listen")?;
        thread::scope(|scope| {
            let receiving = scope.spawn(move || -> Result<usize> {
                let (mut stream, _) = listener.accept()?;
                stream.set_read_timeout(Some(PATIENCE))?;
                let mut buffer = vec![0; 64 << 10];
                let mut received = 0;
                loop {
                    match stream.read(&mut buffer)? {
                        0 => return Ok(received),
                        length => received += length,
                    }
                }
            });
            let target = self.target().into();
            let mut stream = self
                .client
                .run(|| TcpStream::connect_timeout(&target, PATIENCE))?
                .context("connect")?;
            stream.set_write_timeout(Some(PATIENCE))?;
            let chunk = vec![0x2e; 64 << 10];
            let begun = Instant::now();
            for _ in 0..BULK / chunk.len() {
                stream.write_all(&chunk)?;
            }
            drop(stream);
            let received = joined(receiving.join())?;
            let took = begun.elapsed();
            ensure!(received == BULK, "{received} of {BULK} octets arrived");
            Ok(8e-6 * BULK as f64 / took.as_secs_f64())
        })
    }
}

fn joined<T>(ended: thread::Result<Result<T>>) -> Result<T> {
    ended.map_err(|_| anyhow!("the receiver panicked"))?
}
