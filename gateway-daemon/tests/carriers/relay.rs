//! A network between a gateway and a controller, that lets TCP and UDP through or not.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;

/// Stands at an address of its own for a listener's.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    udp: Arc<AtomicBool>,
    _tasks: JoinSet<()>,
}

impl Relay {
    /// Lets TCP through to `to`, and UDP if it is to.
    pub(crate) async fn new(to: SocketAddr, udp: bool) -> Self {
        let (listener, socket) = loop {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            if let Ok(socket) = UdpSocket::bind(listener.local_addr().unwrap()).await {
                break (listener, socket);
            }
        };
        let address = listener.local_addr().unwrap();
        let udp = Arc::new(AtomicBool::new(udp));
        let mut tasks = JoinSet::new();
        tasks.spawn(streams(listener, to));
        tasks.spawn(packets(Arc::new(socket), to, Arc::clone(&udp)));
        Self { address, udp, _tasks: tasks }
    }

    /// Lets UDP through from now on, or not.
    pub(crate) fn let_udp(&self, udp: bool) {
        self.udp.store(udp, Ordering::Relaxed);
    }
}

async fn streams(listener: TcpListener, to: SocketAddr) {
    let mut tasks = JoinSet::new();
    loop {
        let (mut here, _) = listener.accept().await.unwrap();
        tasks.spawn(async move {
            let mut there = TcpStream::connect(to).await.unwrap();
            let _ = copy_bidirectional(&mut here, &mut there).await;
        });
    }
}

async fn packets(here: Arc<UdpSocket>, to: SocketAddr, lets: Arc<AtomicBool>) {
    let mut by_client = HashMap::new();
    let mut tasks = JoinSet::new();
    let mut packet = vec![0; 2048];
    loop {
        let (length, client) = here.recv_from(&mut packet).await.unwrap();
        if !lets.load(Ordering::Relaxed) {
            continue;
        }
        let there = match by_client.entry(client) {
            Entry::Occupied(there) => there.into_mut(),
            Entry::Vacant(vacant) => {
                let there = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
                there.connect(to).await.unwrap();
                let back = back(Arc::clone(&there), Arc::clone(&here), client, Arc::clone(&lets));
                tasks.spawn(back);
                vacant.insert(there)
            }
        };
        there.send(&packet[..length]).await.unwrap();
    }
}

async fn back(
    there: Arc<UdpSocket>,
    here: Arc<UdpSocket>,
    client: SocketAddr,
    lets: Arc<AtomicBool>,
) {
    let mut packet = vec![0; 2048];
    while let Ok(length) = there.recv(&mut packet).await {
        if lets.load(Ordering::Relaxed) {
            here.send_to(&packet[..length], client).await.unwrap();
        }
    }
}
