//! The UDP socket of a userspace link device: gotatun's own, with room for what arrives while the
//! device's process waits for a processor. Made by [`super::device`].

use std::io;

use gotatun::udp::socket::{UdpSocket, UdpSocketFactory};
use gotatun::udp::{UdpTransportFactory, UdpTransportFactoryParams};
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_recv_buffer_size_force};

/// The room, in octets of which the kernel counts each packet's own and its bookkeeping's (socket(7)).
/// With the usual 208 KiB, which is some ninety packets, the one bulk connection that fills its window
/// loses packets, and others with it. As much as wireguard-go asks for (`socketBufferSize` in
/// conn/controlfns.go).
const ROOM: usize = 7 << 20;

/// Binds gotatun's sockets and gives them room.
#[derive(Debug, Default)]
pub(super) struct Sockets(UdpSocketFactory);

impl UdpTransportFactory for Sockets {
    type Send = UdpSocket;
    type Recv = UdpSocket;

    async fn bind(
        &mut self,
        params: &UdpTransportFactoryParams,
    ) -> io::Result<(UdpSocket, UdpSocket)> {
        let (sender, receiver) = self.0.bind(params).await?;
        if let Err(error) = make_room(&receiver) {
            tracing::warn!(%error, "the link's socket keeps the room for packets that it has");
        }
        Ok((sender, receiver))
    }
}

/// Beyond `net.core.rmem_max` only with CAP_NET_ADMIN in the first user namespace; up to it without.
fn make_room(socket: &UdpSocket) -> io::Result<()> {
    Ok(set_socket_recv_buffer_size_force(socket, ROOM)
        .or_else(|_| set_socket_recv_buffer_size(socket, ROOM))?)
}

#[cfg(test)]
mod tests {
    use rustix::net::sockopt::socket_recv_buffer_size;

    use super::*;

    #[tokio::test]
    async fn a_socket_has_all_the_room_that_may_be_had() {
        let any = UdpTransportFactoryParams { addr: None, port: 0, fwmark: None };
        let (_, receiver) = Sockets::default().bind(&any).await.unwrap();
        let most = std::fs::read_to_string("/proc/sys/net/core/rmem_max").unwrap();
        // The kernel doubles what it is asked for, for its bookkeeping.
        let may = 2 * most.trim().parse::<usize>().unwrap().min(ROOM);
        let has = socket_recv_buffer_size(&receiver).unwrap();
        assert!(has >= may, "{has} of {may}");
    }
}
