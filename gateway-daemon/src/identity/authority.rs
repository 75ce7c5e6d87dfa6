//! The deployment's CA: one key on P-256 and its own certificate, without name constraints (rustls-webpki refuses
//! those on URIs), and leaves under it.

use std::fmt;
use std::time::Duration;

use gateway_control::identity::{KeyPin, Serial, SpiffeId, TrustDomain};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, SanType, SerialNumber,
};
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer};
use x509_parser::prelude::FromDer as _;
use zeroize::Zeroizing;

use super::key::{KeyError, LeafKey};

/// How far clocks may be apart: certificates hold from so long before they are made.
pub const SKEW: Duration = Duration::from_secs(300);
/// How long a CA's own certificate holds.
const LIFE: Duration = Duration::from_secs(10 * 365 * 86_400);

/// The CA, with its private key.
pub struct Authority {
    trust_domain: TrustDomain,
    certificate: CertificateDer<'static>,
    key: LeafKey,
    issuer: Issuer<'static, KeyPair>,
}

/// Why the CA did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A private key could not be made or read.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// No random numbers.
    #[error("the kernel gives no random numbers")]
    Chance,
    /// The request is none.
    #[error("the request for a certificate is no PKCS#10 request signed with its own key")]
    Request,
    /// A key of another kind.
    #[error("the request is for another kind of key than ECDSA on P-256")]
    KeyKind,
    /// The certificate could not be made.
    #[error("the certificate: {0}")]
    Signing(rcgen::Error),
    /// What was kept of the CA is not one.
    #[error("what is kept as the CA of trust domain {0} is no certificate of a CA for it")]
    NotThis(TrustDomain),
}

impl Authority {
    /// A new CA.
    pub fn create(trust_domain: TrustDomain, now: u64) -> Result<Self, AuthorityError> {
        let key = LeafKey::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = name(&format!("{trust_domain} CA"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.subject_alt_names = vec![uri(&trust_domain.own_id())?];
        set_life(&mut params, now, LIFE);
        let pair = key.pair()?;
        let certificate = params.self_signed(&pair).map_err(AuthorityError::Signing)?;
        let certificate = certificate.der().clone();
        Ok(Self { trust_domain, certificate, key, issuer: Issuer::new(params, pair) })
    }

    /// A CA as it was kept.
    pub fn open(
        trust_domain: TrustDomain,
        certificate: Vec<u8>,
        pkcs8: &[u8],
    ) -> Result<Self, AuthorityError> {
        let key = LeafKey::read(pkcs8)?;
        let certificate = CertificateDer::from(certificate);
        if key_of(&certificate) != Some(key.pin()) {
            return Err(AuthorityError::NotThis(trust_domain));
        }
        let issuer = Issuer::from_ca_cert_der(&certificate, key.pair()?);
        let issuer = issuer.map_err(AuthorityError::Signing)?;
        Ok(Self { trust_domain, certificate, key, issuer })
    }

    /// Whose CA it is.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// Its own certificate.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Its private key (PKCS#8, DER), for whoever seals it.
    pub fn pkcs8(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.key.pkcs8().to_vec())
    }

    /// The hash of its key.
    pub fn pin(&self) -> KeyPin {
        self.key.pin()
    }

    /// The key that a request is for, if its sender has it.
    pub fn requested(request: &[u8]) -> Result<KeyPin, AuthorityError> {
        Ok(Self::read_request(request)?.1)
    }

    fn read_request(
        request: &[u8],
    ) -> Result<(CertificateSigningRequestParams, KeyPin), AuthorityError> {
        let der = CertificateSigningRequestDer::from(request);
        let params = CertificateSigningRequestParams::from_der(&der);
        let params = params.map_err(|_| AuthorityError::Request)?;
        if params.public_key.algorithm() != &PKCS_ECDSA_P256_SHA256 {
            return Err(AuthorityError::KeyKind);
        }
        let (_, parsed) =
            x509_parser::certification_request::X509CertificationRequest::from_der(request)
                .map_err(|_| AuthorityError::Request)?;
        let pin = KeyPin::of(parsed.certification_request_info.subject_pki.raw);
        Ok((params, pin))
    }

    /// A leaf for `id`. Nothing but the key is taken from the request.
    pub fn issue(
        &self,
        id: &SpiffeId,
        request: &[u8],
        serial: Serial,
        now: u64,
        life: Duration,
    ) -> Result<CertificateDer<'static>, AuthorityError> {
        let (mut requested, _) = Self::read_request(request)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = name(&self.trust_domain.to_string());
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.subject_alt_names = vec![uri(&id.to_string())?];
        params.serial_number = Some(SerialNumber::from_slice(&serial.octets()));
        params.use_authority_key_identifier_extension = true;
        set_life(&mut params, now, life);
        requested.params = params;
        let signed = requested.signed_by(&self.issuer).map_err(AuthorityError::Signing)?;
        Ok(signed.der().clone())
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authority({}, {})", self.trust_domain, self.pin())
    }
}

/// The hash of a certificate's key; `None` if it is no certificate.
pub(super) fn key_of(certificate: &[u8]) -> Option<KeyPin> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    Some(KeyPin::of(certificate.public_key().raw))
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    // X.520 has room for 64 characters.
    name.push(DnType::CommonName, common.chars().take(64).collect::<String>());
    name
}

fn uri(text: &str) -> Result<SanType, AuthorityError> {
    Ok(SanType::URI(text.try_into().map_err(AuthorityError::Signing)?))
}

fn set_life(params: &mut CertificateParams, now: u64, life: Duration) {
    let at = |seconds: u64| std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    params.not_before = at(now.saturating_sub(SKEW.as_secs())).into();
    params.not_after = at(now.saturating_add(life.as_secs())).into();
}
