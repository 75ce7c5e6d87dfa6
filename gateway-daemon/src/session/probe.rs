//! One handshake with one address by one carrier, for `gatewayctl doctor`: what comes of it is told, and nothing follows.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::carrier::{Carried, CarrierError, CarrierKind};
use super::race::{NAME, server_name};
use super::{quic, tcp};

/// Connects to `to` by this carrier alone, within `patience`.
///
/// # Errors
/// Why there is no connection; [`CarrierError::Late`] if nothing answers.
pub async fn probe(
    to: SocketAddr,
    kind: CarrierKind,
    tls: rustls::ClientConfig,
    patience: Duration,
) -> Result<Carried, CarrierError> {
    let tls = Arc::new(tls);
    let connecting = async {
        match kind {
            CarrierKind::Quic => quic::connect(to, quic::client_config(tls)?, NAME).await,
            CarrierKind::Tcp => tcp::connect(to, tls, server_name()).await,
        }
    };
    timeout(patience, connecting).await.map_err(|_| CarrierError::Late(patience))?
}
