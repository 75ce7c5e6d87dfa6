//! Whom the other end of a connection may be. On top of a path's validation to the deployment's CA: its leaf is an
//! X.509-SVID of the same trust domain, and of a kind that has business there. Names of hosts mean nothing.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use gateway_control::identity::{KeyPin, Subject, TrustDomain};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore,
    SignatureScheme,
};

use super::authority::key_of;
use super::tls::{TlsError, provider};
use super::{Leaf, LeafError};

/// Who may be at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peers {
    /// Controllers.
    Controllers,
    /// Gateways; their certificates may have expired this long ago, so that who was away can renew.
    Gateways {
        /// How long ago.
        grace: Duration,
    },
    /// Operators.
    Operators,
}

/// A deployment, to those who are in it.
#[derive(Clone, Debug)]
pub struct Trust {
    trust_domain: TrustDomain,
    roots: Arc<RootCertStore>,
}

impl Peers {
    fn allow(self, subject: &Subject) -> bool {
        matches!(
            (self, subject),
            (Self::Controllers, Subject::Controller(_))
                | (Self::Gateways { .. }, Subject::Gateway(..))
                | (Self::Operators, Subject::Operator(_))
        )
    }

    fn word(self) -> &'static str {
        match self {
            Self::Controllers => "controllers",
            Self::Gateways { .. } => "gateways",
            Self::Operators => "operators",
        }
    }

    fn grace(self) -> Duration {
        match self {
            Self::Gateways { grace } => grace,
            Self::Controllers | Self::Operators => Duration::ZERO,
        }
    }
}

impl Trust {
    /// Trust in what these CAs sign for this trust domain.
    pub fn new<'a>(
        trust_domain: TrustDomain,
        authorities: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        for authority in authorities {
            let added = roots.add(CertificateDer::from(authority.to_vec()));
            added.map_err(TlsError::Authority)?;
        }
        Ok(Self { trust_domain, roots: Arc::new(roots) })
    }

    /// Whether a leaf is one of this deployment, and of somebody who may be there. That it is signed is not judged.
    fn admits(&self, leaf: &Leaf, peers: Peers, now: u64) -> Result<(), LeafError> {
        if leaf.id.trust_domain != self.trust_domain {
            let found = leaf.id.trust_domain.to_string();
            return Err(LeafError::TrustDomain { found, own: self.trust_domain.to_string() });
        }
        if !peers.allow(&leaf.id.subject) {
            return Err(LeafError::Subject { found: leaf.id.clone(), wanted: peers.word() });
        }
        let expired = Duration::from_secs(now.saturating_sub(leaf.not_after));
        if expired <= peers.grace() { leaf.holds(now.min(leaf.not_after)) } else { leaf.holds(now) }
    }

    pub(super) fn servers(self) -> Arc<dyn ServerCertVerifier> {
        Arc::new(Servers { trust: self, algorithms: provider().signature_verification_algorithms })
    }

    pub(super) fn clients(self, peers: Peers) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
        let path = WebPkiClientVerifier::builder_with_provider(Arc::clone(&self.roots), provider());
        let path = path.build().map_err(TlsError::Verifier)?;
        Ok(Arc::new(Clients { trust: self, peers, path }))
    }
}

/// As an error of TLS: the reason stays readable for whoever gets it.
fn refused(error: LeafError) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(Said(error)))))
}

/// Why a certificate was refused, in words also where TLS shows it as it would a value.
struct Said(LeafError);

impl fmt::Debug for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl std::error::Error for Said {}

/// Whom a server takes for its clients.
#[derive(Debug)]
struct Clients {
    trust: Trust,
    peers: Peers,
    path: Arc<dyn ClientCertVerifier>,
}

impl ClientCertVerifier for Clients {
    fn client_auth_mandatory(&self) -> bool {
        match self.peers {
            // Whoever joins has no certificate yet.
            Peers::Gateways { .. } => false,
            Peers::Controllers | Peers::Operators => true,
        }
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // Nobody outside needs to know whose deployment this is.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let leaf = Leaf::read(end_entity).map_err(refused)?;
        self.trust.admits(&leaf, self.peers, now.as_secs()).map_err(refused)?;
        // Within the grace it is judged as of its last second.
        let at = now.as_secs().min(leaf.not_after);
        let at = UnixTime::since_unix_epoch(Duration::from_secs(at));
        self.path.verify_client_cert(end_entity, intermediates, at)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.path.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.path.supported_verify_schemes()
    }
}

/// Whom a client takes for a controller.
struct Servers {
    trust: Trust,
    algorithms: WebPkiSupportedAlgorithms,
}

/// Whom somebody who joins takes for a controller: one whose chain has the CA of this key.
pub(super) struct Pinned {
    pub(super) trust_domain: TrustDomain,
    pub(super) authority: KeyPin,
}

impl Servers {
    fn judge(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let leaf = Leaf::read(end_entity).map_err(refused)?;
        self.trust.admits(&leaf, Peers::Controllers, now.as_secs()).map_err(refused)?;
        verify_server_cert_signed_by_trust_anchor(
            &ParsedCertificate::try_from(end_entity)?,
            &self.trust.roots,
            intermediates,
            now,
            self.algorithms.all,
        )?;
        Ok(ServerCertVerified::assertion())
    }
}

impl ServerCertVerifier for Servers {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.judge(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let authority = intermediates.iter().find(|it| key_of(it) == Some(self.authority));
        let unknown = || refused(LeafError::OtherAuthority);
        let authority = authority.ok_or_else(unknown)?;
        let trust = Trust::new(self.trust_domain.clone(), [authority.as_ref()]);
        let trust = trust.map_err(|_| unknown())?;
        trust.servers().verify_server_cert(end_entity, &[], name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = provider().signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

fn only_tls13() -> Error {
    Error::General("TLS 1.2 is not spoken here".to_owned())
}

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Servers({})", self.trust.trust_domain)
    }
}

impl fmt::Debug for Pinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pinned({}, {})", self.trust_domain, self.authority)
    }
}
