//! What a certificate says, read under the rules for leaves of X.509-SVIDs (X509-SVID.md, sections 2 to 4). That the CA
//! signed it is for the path's validation to find.

use jiff::Timestamp;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{KeyPin, Serial, SerialError, SpiffeError, SpiffeId};

/// What a leaf says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Whom it is of.
    pub id: SpiffeId,
    /// Which of his certificates it is.
    pub serial: Serial,
    /// From when it holds, in seconds since 1970.
    pub not_before: u64,
    /// Until when.
    pub not_after: u64,
    /// The hash of its key.
    pub key: KeyPin,
}

/// Why a certificate is no leaf of a deployment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeafError {
    /// Not a certificate.
    #[error("it is no X.509 certificate of version 3")]
    Certificate,
    /// An extension that a leaf must have is not there, or is twice.
    #[error("it lacks the extension {0}, or has it twice")]
    Extension(&'static str),
    /// A CA.
    #[error("it is the certificate of a CA, which identifies nobody")]
    Authority,
    /// Not for TLS.
    #[error("its key usage is not critical, lacks digitalSignature, or signs certificates")]
    KeyUsage,
    /// Only for one end of TLS.
    #[error("its extended key usage lacks serverAuth or clientAuth")]
    ExtendedKeyUsage,
    /// No URI, or several.
    #[error("it has {0} URIs as subject alternative names, and a leaf has one")]
    Names(usize),
    /// The URI is no identity of a deployment.
    #[error(transparent)]
    Id(#[from] SpiffeError),
    /// Its serial number says nothing.
    #[error(transparent)]
    Serial(#[from] SerialError),
    /// Not at this time.
    #[error(
        "it holds from {} to {}, and this host's clock says {}; set the clock, or if it is right, renew the certificate",
        time(*.not_before), time(*.not_after), time(*.now)
    )]
    Time {
        /// From when.
        not_before: u64,
        /// Until when.
        not_after: u64,
        /// What the clock says.
        now: u64,
    },
    /// Of another deployment.
    #[error("it is of trust domain {found}, and this one is {own}")]
    TrustDomain {
        /// Its trust domain.
        found: String,
        /// That of this end.
        own: String,
    },
    /// None of the certificates that came with it is of the CA that is known beforehand.
    #[error(
        "it is not signed by the CA that the token names: this is another deployment, or somebody stands in between"
    )]
    OtherAuthority,
    /// Somebody else than those who may be there.
    #[error("it is of {found}, where only {wanted} may be")]
    Subject {
        /// Who it is.
        found: SpiffeId,
        /// Who may be there.
        wanted: &'static str,
    },
}

impl Leaf {
    /// Reads a certificate (DER).
    pub fn read(der: &[u8]) -> Result<Self, LeafError> {
        let (rest, certificate) =
            X509Certificate::from_der(der).map_err(|_| LeafError::Certificate)?;
        if !rest.is_empty() || certificate.version.0 != 2 {
            return Err(LeafError::Certificate);
        }
        let once = |name| move |_| LeafError::Extension(name);
        let constraints = certificate.basic_constraints().map_err(once("basicConstraints"))?;
        if constraints.ok_or(LeafError::Extension("basicConstraints"))?.value.ca {
            return Err(LeafError::Authority);
        }
        let usage = certificate.key_usage().map_err(once("keyUsage"))?;
        let usage = usage.ok_or(LeafError::Extension("keyUsage"))?;
        let signs = usage.value.key_cert_sign() || usage.value.crl_sign();
        if !usage.critical || !usage.value.digital_signature() || signs {
            return Err(LeafError::KeyUsage);
        }
        let extended = certificate.extended_key_usage().map_err(once("extKeyUsage"))?;
        let extended = extended.ok_or(LeafError::Extension("extKeyUsage"))?.value;
        if !extended.server_auth || !extended.client_auth {
            return Err(LeafError::ExtendedKeyUsage);
        }
        let names = certificate.subject_alternative_name().map_err(once("subjectAltName"))?;
        let names = names.ok_or(LeafError::Extension("subjectAltName"))?.value;
        let uris: Vec<&str> = names
            .general_names
            .iter()
            .filter_map(|name| match name {
                GeneralName::URI(uri) => Some(*uri),
                _ => None,
            })
            .collect();
        let [uri] = uris.as_slice() else { return Err(LeafError::Names(uris.len())) };
        let seconds = |time: &x509_parser::time::ASN1Time| u64::try_from(time.timestamp());
        let validity = certificate.validity();
        Ok(Self {
            id: uri.parse()?,
            serial: Serial::try_from(certificate.raw_serial())?,
            not_before: seconds(&validity.not_before).map_err(|_| LeafError::Certificate)?,
            not_after: seconds(&validity.not_after).map_err(|_| LeafError::Certificate)?,
            key: KeyPin::of(certificate.public_key().raw),
        })
    }

    /// Whether it holds at this time, in seconds since 1970.
    pub fn holds(&self, now: u64) -> Result<(), LeafError> {
        let Self { not_before, not_after, .. } = *self;
        if (not_before..=not_after).contains(&now) {
            Ok(())
        } else {
            Err(LeafError::Time { not_before, not_after, now })
        }
    }

    /// When its holder is to have another, in seconds since 1970: at half its life.
    pub fn renewal(&self) -> u64 {
        self.not_before + self.not_after.saturating_sub(self.not_before) / 2
    }
}

fn time(seconds: u64) -> String {
    let timestamp = i64::try_from(seconds).ok().and_then(|it| Timestamp::from_second(it).ok());
    timestamp.map_or_else(|| format!("{seconds} s after 1970"), |it| it.to_string())
}
