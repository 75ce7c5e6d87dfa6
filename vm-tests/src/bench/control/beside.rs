//! What sessions are held against: bare TLS in memory, and octets to bare TCP connections.

use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use gateway_daemon::identity::{
    Authority, SESSION_PROTOCOL, ServerCredential, Trust, client_config, gateways_config,
};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::{FIRST, LIFE, leaf, median, now, own_credential, resident};

/// Bare TLS, in memory.
pub(super) struct Bare {
    /// Octets of a server's connection that says nothing.
    pub(super) memory: f64,
    /// Seconds of a handshake's server half.
    pub(super) handshake: f64,
}

impl Bare {
    /// As a process of its own measures it.
    pub(super) fn elsewhere() -> Result<Self> {
        let output = Command::new(std::env::current_exe()?).arg("bare").output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        let (memory, handshake) =
            said.trim().split_once(' ').with_context(|| said.clone().into_owned())?;
        Ok(Self { memory: memory.parse()?, handshake: handshake.parse()? })
    }

    pub(super) fn measured() -> Result<Self> {
        const COUNT: usize = 2000;
        let authority = Authority::create("bench.example".parse()?, now())?;
        let own = own_credential(&authority)?;
        let trust =
            Trust::new(authority.trust_domain().clone(), [authority.certificate().as_ref()])?;
        let shown = ServerCredential::new(&own, authority.certificate().clone())?;
        let server = Arc::new(gateways_config(trust.clone(), LIFE, shown)?);
        let id = "spiffe://bench.example/site/e/gateway/e-gw1".parse()?;
        let client = Arc::new(client_config(trust, &leaf(&authority, &id)?, SESSION_PROTOCOL)?);
        let mut kept = Vec::with_capacity(COUNT + FIRST);
        let (mut memory, mut times) = (0.0, Vec::new());
        for number in 0..COUNT + FIRST {
            if number == FIRST {
                memory = resident()?;
            }
            let (connection, took) = handshake(&client, &server)?;
            kept.push(connection);
            times.push(took);
        }
        let memory = (resident()? - memory) / COUNT as f64;
        Ok(Self { memory, handshake: median(&times) })
    }
}

/// A handshake in memory: the server's connection, and the seconds that it took of it.
fn handshake(
    client: &Arc<ClientConfig>,
    server: &Arc<ServerConfig>,
) -> Result<(ServerConnection, f64)> {
    let mut client = ClientConnection::new(Arc::clone(client), ServerName::try_from("bench")?)?;
    let (mut took, begun) = (0.0, Instant::now());
    let mut server = ServerConnection::new(Arc::clone(server))?;
    took += begun.elapsed().as_secs_f64();
    while client.is_handshaking() || server.is_handshaking() {
        let mut octets = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut octets)?;
        }
        let begun = Instant::now();
        server.read_tls(&mut octets.as_slice())?;
        server.process_new_packets()?;
        let mut octets = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut octets)?;
        }
        took += begun.elapsed().as_secs_f64();
        let mut rest = octets.as_slice();
        while !rest.is_empty() {
            client.read_tls(&mut rest)?;
            client.process_new_packets()?;
        }
    }
    Ok((server, took))
}

/// So many bare TCP connections, each with somebody at its other end who answers what comes by one octet.
pub(super) struct Fan {
    ends: Vec<tokio::sync::Mutex<TcpStream>>,
    _others: JoinSet<()>,
}

impl Fan {
    pub(super) async fn new(count: usize) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (mut ends, mut others) = (Vec::with_capacity(count), JoinSet::new());
        for _ in 0..count {
            let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
            let mut far = far?.0;
            others.spawn(async move {
                let mut octets = [0; 256];
                while far.read_exact(&mut octets).await.is_ok() {
                    if far.write_all(&[1]).await.is_err() {
                        break;
                    }
                }
            });
            ends.push(tokio::sync::Mutex::new(near?));
        }
        Ok(Self { ends, _others: others })
    }

    /// Milliseconds until all have answered.
    pub(super) async fn round(&self) -> Result<f64> {
        let begun = Instant::now();
        for end in &self.ends {
            end.lock().await.write_all(&[7; 256]).await?;
        }
        for end in &self.ends {
            end.lock().await.read_exact(&mut [0]).await?;
        }
        Ok(begun.elapsed().as_secs_f64() * 1e3)
    }
}
