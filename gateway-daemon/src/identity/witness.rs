//! What a controller shows of itself to somebody who only wants to know whether it is the right one. `gatewayctl doctor`
//! asks so: as one who joins, and without a certificate, so that the controller learns nobody's identity.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gateway_control::identity::{KeyPin, TrustDomain};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

use super::Leaf;
use super::tls::{TlsError, anonymous_config};
use super::verify::{Pinned, Trust};

/// Whose controller it should be.
#[derive(Clone, Debug)]
pub enum Expected {
    /// That of a deployment whose CAs are known.
    Deployment(Trust),
    /// That of a deployment of which a token says the name and the key of its CA.
    Token {
        /// The deployment.
        trust_domain: TrustDomain,
        /// The hash of its CA's key.
        authority: KeyPin,
    },
}

/// What was shown in a handshake.
#[derive(Clone, Debug)]
pub enum Shown {
    /// A certificate of the right controller.
    Fits(Leaf),
    /// A certificate of the right controller, which by this host's clock does not hold.
    Clock(Leaf),
    /// Something else.
    Stranger(String),
}

/// Sees what the other end of one connection shows.
#[derive(Clone, Debug, Default)]
pub struct Witness(Arc<Mutex<Option<Shown>>>);

impl Witness {
    /// What was shown; `None` if the handshake did not get so far.
    pub fn shown(&self) -> Option<Shown> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// For one connection that says nothing: as who joins begins, with this host's clock at `now` (seconds since 1970).
pub fn inquiring_config(expected: Expected, now: u64) -> Result<(ClientConfig, Witness), TlsError> {
    let inner = match expected {
        Expected::Deployment(trust) => trust.servers(),
        Expected::Token { trust_domain, authority } => Arc::new(Pinned { trust_domain, authority }),
    };
    let witness = Witness::default();
    let verifier = Inquirer { inner, now, witness: witness.clone() };
    Ok((anonymous_config(Arc::new(verifier))?, witness))
}

#[derive(Debug)]
struct Inquirer {
    inner: Arc<dyn ServerCertVerifier>,
    now: u64,
    witness: Witness,
}

impl ServerCertVerifier for Inquirer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let at = |seconds| {
            let time = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
            self.inner.verify_server_cert(end_entity, intermediates, name, ocsp, time)
        };
        let (judged, leaf) = (at(self.now), Leaf::read(end_entity));
        let shown = match (&judged, leaf) {
            (Ok(_), Ok(leaf)) => Shown::Fits(leaf),
            (Err(_), Ok(leaf)) if leaf.holds(self.now).is_err() && at(leaf.renewal()).is_ok() => {
                Shown::Clock(leaf)
            }
            (Err(error), _) => Shown::Stranger(error.to_string()),
            (Ok(_), Err(error)) => Shown::Stranger(error.to_string()),
        };
        *self.witness.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(shown);
        judged
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
