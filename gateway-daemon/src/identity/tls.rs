//! How connections are secured: TLS 1.3 by aws-lc-rs. Sessions are never resumed: rustls takes the client's
//! certificate of a resumed one from the ticket without verifying it again, which would let a revoked gateway in.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use gateway_control::identity::JoinToken;
use rustls::client::Resumption;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{
    ClientHello, NoServerSessionStorage, ResolvesServerCert, VerifierBuilderError,
};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ServerConfig};

use super::key::LeafKey;
use super::verify::{Peers, Pinned, Trust};

/// What a gateway's session is named in the handshake (RFC 7301).
pub const SESSION_PROTOCOL: &[u8] = b"presence/1";
/// What joining is named.
pub const JOIN_PROTOCOL: &[u8] = b"presence-join/1";

/// A leaf and its key.
#[derive(Clone, Debug)]
pub struct Credential {
    /// The key.
    pub key: LeafKey,
    /// The certificate.
    pub certificate: CertificateDer<'static>,
}

/// What a server shows of itself, which is replaced while it runs.
#[derive(Debug)]
pub struct ServerCredential {
    shown: RwLock<Arc<CertifiedKey>>,
    authority: CertificateDer<'static>,
}

/// Why connections cannot be secured.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A CA that is none.
    #[error("a CA's certificate: {0}")]
    Authority(rustls::Error),
    /// A certificate and a key that do not go together, or are of a kind that is not known.
    #[error("the own certificate: {0}")]
    Own(rustls::Error),
    /// No way to judge clients.
    #[error("clients cannot be judged: {0}")]
    Verifier(VerifierBuilderError),
}

/// What all of it is computed with.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

impl Credential {
    fn certified(&self, more: &[CertificateDer<'static>]) -> Result<CertifiedKey, TlsError> {
        let chain = [std::slice::from_ref(&self.certificate), more].concat();
        CertifiedKey::from_der(chain, self.key.der(), &provider()).map_err(TlsError::Own)
    }
}

impl ServerCredential {
    /// Shows this leaf and its CA, which those who join know by its key only.
    pub fn new(
        credential: &Credential,
        authority: CertificateDer<'static>,
    ) -> Result<Arc<Self>, TlsError> {
        let shown = credential.certified(std::slice::from_ref(&authority))?;
        Ok(Arc::new(Self { shown: RwLock::new(Arc::new(shown)), authority }))
    }

    /// Shows another leaf from now on.
    pub fn replace(&self, credential: &Credential) -> Result<(), TlsError> {
        let shown = Arc::new(credential.certified(std::slice::from_ref(&self.authority))?);
        *self.shown.write().unwrap_or_else(PoisonError::into_inner) = shown;
        Ok(())
    }
}

impl ResolvesServerCert for ServerCredential {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.shown.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// For the server of gateways: those of the deployment with their certificates, and those who join without one. A
/// client without a certificate has its business under [`JOIN_PROTOCOL`] alone, and whoever accepts it sees to that.
pub fn gateways_config(
    trust: Trust,
    grace: Duration,
    own: Arc<ServerCredential>,
) -> Result<ServerConfig, TlsError> {
    server_config(
        trust.clients(Peers::Gateways { grace })?,
        own,
        &[SESSION_PROTOCOL, JOIN_PROTOCOL],
    )
}

/// For the server of operators.
pub fn operators_config(
    trust: Trust,
    own: Arc<ServerCredential>,
) -> Result<ServerConfig, TlsError> {
    server_config(trust.clients(Peers::Operators)?, own, &[b"http/1.1"])
}

fn server_config(
    clients: Arc<dyn ClientCertVerifier>,
    own: Arc<ServerCredential>,
    protocols: &[&[u8]],
) -> Result<ServerConfig, TlsError> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(TlsError::Own)?
        .with_client_cert_verifier(clients)
        .with_cert_resolver(own);
    config.alpn_protocols = protocols.iter().map(|it| it.to_vec()).collect();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(config)
}

/// For a client of controllers.
pub fn client_config(
    trust: Trust,
    own: &Credential,
    protocol: &[u8],
) -> Result<ClientConfig, TlsError> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(TlsError::Own)?
        .dangerous()
        .with_custom_certificate_verifier(trust.servers())
        .with_client_auth_cert(vec![own.certificate.clone()], own.key.der())
        .map_err(TlsError::Own)?;
    Ok(unresumed(config, protocol))
}

/// For somebody who joins.
pub fn joining_config(token: &JoinToken) -> Result<ClientConfig, TlsError> {
    let pinned = Pinned { trust_domain: token.trust_domain.clone(), authority: token.authority };
    anonymous_config(Arc::new(pinned))
}

/// For somebody without a certificate, who takes for a controller whom `verifier` does.
pub(super) fn anonymous_config(
    verifier: Arc<dyn ServerCertVerifier>,
) -> Result<ClientConfig, TlsError> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(TlsError::Own)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(unresumed(config, JOIN_PROTOCOL))
}

fn unresumed(mut config: ClientConfig, protocol: &[u8]) -> ClientConfig {
    config.alpn_protocols = vec![protocol.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    // Names mean nothing here, so none is told to whoever listens.
    config.enable_sni = false;
    config
}
