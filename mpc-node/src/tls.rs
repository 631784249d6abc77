//! TLS 1.3 with mutual authentication by raw Ed25519 public keys (RFC 7250), pinned; no certificate authorities.
//!
//! aws-lc-rs is named explicitly as the provider (other crates link `ring`), with the hybrid X25519MLKEM768 key
//! exchange first. Sessions are never resumed, so every connection proves both keys afresh.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime,
};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible, ServerConfig,
    SignatureScheme,
};

use crate::identity::{Identity, PublicKey};

/// SubjectPublicKeyInfo of an Ed25519 key up to the key itself (RFC 8410).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];

/// Which keys a server lets in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Any key (it still proves that it holds it).
    Any,
    /// These keys only.
    Only(BTreeSet<PublicKey>),
}

impl Admission {
    /// Whether `key` may connect.
    pub fn admits(&self, key: &PublicKey) -> bool {
        match self {
            Self::Any => true,
            Self::Only(keys) => keys.contains(key),
        }
    }
}

thread_local! {
    /// The key that a handshake on this thread was last refused for: rustls has no place for it in its error.
    static REFUSED: Cell<Option<PublicKey>> = const { Cell::new(None) };
}

/// The key that the handshake which has just failed on this thread was refused for, if it was for its key.
pub(crate) fn take_refused() -> Option<PublicKey> {
    REFUSED.take()
}

/// The key that one connection's server side has refused, where threads are no help in telling them apart.
#[cfg(feature = "quic")]
#[derive(Clone, Debug, Default)]
pub(crate) struct Refused(Arc<std::sync::Mutex<Option<PublicKey>>>);

#[cfg(feature = "quic")]
impl Refused {
    /// The key, once.
    pub(crate) fn take(&self) -> Option<PublicKey> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take()
    }
}

/// What both sides of a connection over QUIC call what they speak.
#[cfg(feature = "quic")]
const QUIC_PROTOCOL: &[u8] = b"sahara";

/// Configuration of a connection over TCP to the holder of `peer`.
///
/// # Errors
/// When the key cannot be used for TLS.
pub fn client_config(identity: &Identity, peer: PublicKey) -> Result<Arc<ClientConfig>, Error> {
    Ok(Arc::new(client(identity, peer)?))
}

/// Configuration of a connection over QUIC to the holder of `peer`.
#[cfg(feature = "quic")]
pub(crate) fn quic_client_config(identity: &Identity, peer: PublicKey) -> Result<ClientConfig, Error> {
    let mut config = client(identity, peer)?;
    config.alpn_protocols = vec![QUIC_PROTOCOL.to_vec()];
    Ok(config)
}

fn client(identity: &Identity, peer: PublicKey) -> Result<ClientConfig, Error> {
    let provider = provider();
    let verifier = Arc::new(PinnedServer { peer, algorithms: provider.signature_verification_algorithms });
    let key = certified_key(identity, &provider)?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_cert_resolver(Arc::new(rustls::client::AlwaysResolvesClientRawPublicKeys::new(key)));
    config.resumption = rustls::client::Resumption::disabled();
    config.enable_sni = false;
    Ok(config)
}

/// Configuration of a server over TCP that lets `admission` in.
///
/// # Errors
/// When the key cannot be used for TLS.
pub fn server_config(identity: &Identity, admission: Admission) -> Result<Arc<ServerConfig>, Error> {
    let keys = ServerKeys::new(identity, admission)?;
    Ok(Arc::new(keys.config(AdmittedClient::new(&keys))?))
}

/// What a server is known by, and whom it lets in.
pub(crate) struct ServerKeys {
    provider: Arc<CryptoProvider>,
    key: Arc<CertifiedKey>,
    admission: Arc<Admission>,
}

impl ServerKeys {
    /// Those of `identity`.
    pub(crate) fn new(identity: &Identity, admission: Admission) -> Result<Self, Error> {
        let provider = provider();
        let key = certified_key(identity, &provider)?;
        Ok(Self { provider, key, admission: Arc::new(admission) })
    }

    /// Configuration of one connection over QUIC; the key that it refuses is in `refused` then.
    #[cfg(feature = "quic")]
    pub(crate) fn quic_config(&self, refused: Refused) -> Result<ServerConfig, Error> {
        let mut config = self.config(AdmittedClient { refused: Some(refused), ..AdmittedClient::new(self) })?;
        config.alpn_protocols = vec![QUIC_PROTOCOL.to_vec()];
        Ok(config)
    }

    fn config(&self, verifier: AdmittedClient) -> Result<ServerConfig, Error> {
        let resolver = rustls::server::AlwaysResolvesServerRawPublicKeys::new(self.key.clone());
        let mut config = ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(Arc::new(verifier))
            .with_cert_resolver(Arc::new(resolver));
        // Nothing is resumed, and nothing is taken before the handshake is over: it could be a repetition.
        config.send_tls13_tickets = 0;
        config.max_early_data_size = 0;
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        Ok(config)
    }
}

/// The Ed25519 key in a raw public key "certificate".
pub fn public_key_of(certificate: &CertificateDer<'_>) -> Option<PublicKey> {
    let key = certificate.as_ref().strip_prefix(&SPKI_PREFIX[..])?;
    key.try_into().ok().map(PublicKey)
}

fn provider() -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites = vec![
        aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256,
        aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384,
        aws_lc_rs::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    ];
    Arc::new(provider)
}

fn certified_key(identity: &Identity, provider: &CryptoProvider) -> Result<Arc<CertifiedKey>, Error> {
    let mut spki = SPKI_PREFIX.to_vec();
    spki.extend_from_slice(&identity.public().0);
    let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(identity.pkcs8().to_vec()));
    let signer = provider.key_provider.load_private_key(der)?;
    Ok(Arc::new(CertifiedKey::new(vec![CertificateDer::from(spki)], signer)))
}

fn check_signature(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signature: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    let spki = SubjectPublicKeyInfoDer::from(certificate.as_ref());
    verify_tls13_signature_with_raw_key(message, &spki, signature, algorithms)
}

fn no_tls12<T>() -> Result<T, Error> {
    Err(Error::PeerIncompatible(PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig))
}

/// Checks that a server holds the pinned key.
#[derive(Debug)]
struct PinnedServer {
    peer: PublicKey,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for PinnedServer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if public_key_of(end_entity) == Some(self.peer) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        check_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// Checks that a client holds a key that may connect.
#[derive(Debug)]
struct AdmittedClient {
    admission: Arc<Admission>,
    algorithms: WebPkiSupportedAlgorithms,
    #[cfg(feature = "quic")]
    refused: Option<Refused>,
}

impl AdmittedClient {
    fn new(keys: &ServerKeys) -> Self {
        Self {
            admission: keys.admission.clone(),
            algorithms: keys.provider.signature_verification_algorithms,
            #[cfg(feature = "quic")]
            refused: None,
        }
    }

    /// Keeps a key that is refused where whoever tells of it looks for it.
    fn refuse(&self, key: Option<PublicKey>) {
        #[cfg(feature = "quic")]
        if let Some(Refused(refused)) = &self.refused {
            *refused.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = key;
            return;
        }
        REFUSED.set(key);
    }
}

impl ClientCertVerifier for AdmittedClient {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let key = public_key_of(end_entity);
        if key.is_some_and(|key| self.admission.admits(&key)) {
            return Ok(ClientCertVerified::assertion());
        }
        self.refuse(key);
        Err(CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        check_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
