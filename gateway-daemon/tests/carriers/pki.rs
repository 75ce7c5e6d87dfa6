//! A CA, a controller and gateways of it, and TLS configurations as both ends have them.

use std::env;
use std::sync::{Arc, LazyLock};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use gateway_control::identity::ControllerAddress;
use gateway_daemon::session::{DialSettings, Dialler, ListenSettings, Listener};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

pub(crate) const PROTOCOL: &[u8] = b"presence/1";

/// Where a test that starts itself again as another process gives it the CA's key.
pub(crate) const CA_KEY: &str = "PRESENCE_TEST_CA_KEY";

/// The deployment's.
pub(crate) static CA: LazyLock<CertifiedIssuer<'static, KeyPair>> = LazyLock::new(|| {
    authority(match env::var(CA_KEY) {
        Ok(text) => KeyPair::try_from(BASE64_STANDARD.decode(text).unwrap()).unwrap(),
        Err(_) => KeyPair::generate().unwrap(),
    })
});

pub(crate) fn authority(key: KeyPair) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, key).unwrap()
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn roots() -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(CA.der().clone()).unwrap();
    Arc::new(roots)
}

/// A leaf of `issuer` by that name, with its key.
fn leaf(
    issuer: &CertifiedIssuer<'static, KeyPair>,
    name: &str,
) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new([name.to_owned()]).unwrap();
    let certificate = params.signed_by(&key, issuer).unwrap();
    (certificate.der().clone(), PrivateKeyDer::try_from(key.serialize_der()).unwrap())
}

/// A controller's configuration, which asks for a certificate of the CA.
pub(crate) fn server_config() -> ServerConfig {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(), provider());
    server_config_with(verifier.build().unwrap())
}

/// One that takes those without a certificate too.
pub(crate) fn open_server_config() -> ServerConfig {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(), provider());
    server_config_with(verifier.allow_unauthenticated().build().unwrap())
}

fn server_config_with(verifier: Arc<dyn ClientCertVerifier>) -> ServerConfig {
    let (certificate, key) = leaf(&CA, "presence");
    let builder = ServerConfig::builder_with_provider(provider());
    let mut config = builder
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![certificate], key)
        .unwrap();
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    config
}

/// A gateway's configuration, with a certificate of `issuer`.
pub(crate) fn client_config_of(issuer: &CertifiedIssuer<'static, KeyPair>) -> ClientConfig {
    let (certificate, key) = leaf(issuer, "gateway");
    let verifier =
        WebPkiServerVerifier::builder_with_provider(roots(), provider()).build().unwrap();
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_webpki_verifier(verifier)
        .with_client_auth_cert(vec![certificate], key)
        .unwrap();
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    config
}

/// The configuration of somebody who has no certificate.
pub(crate) fn stranger_config() -> ClientConfig {
    let verifier =
        WebPkiServerVerifier::builder_with_provider(roots(), provider()).build().unwrap();
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_webpki_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    config
}

/// A gateway's configuration.
pub(crate) fn client_config() -> ClientConfig {
    client_config_of(&CA)
}

pub(crate) fn listener_with(settings: ListenSettings) -> Listener {
    let any = "127.0.0.1:0".parse().unwrap();
    Listener::bind(&[any], &server_config(), settings).unwrap()
}

pub(crate) fn listener() -> Listener {
    listener_with(ListenSettings::default())
}

pub(crate) fn dialler(targets: impl IntoIterator<Item = impl Into<ControllerAddress>>) -> Dialler {
    dialler_with(targets, DialSettings::default())
}

pub(crate) fn dialler_with(
    targets: impl IntoIterator<Item = impl Into<ControllerAddress>>,
    settings: DialSettings,
) -> Dialler {
    let targets = targets.into_iter().map(Into::into).collect();
    Dialler::new(targets, &client_config(), settings).unwrap()
}
