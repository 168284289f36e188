//! TLS of the listeners (RFC 8446, RFC 5246), with client certificates where they are asked for.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use ring::digest::{Context, SHA256};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

/// A certificate with its key, ready to be served.
#[derive(Clone)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
    /// Of what it was made from, so that two can be told apart.
    digest: [u8; 32],
}

impl PartialEq for ServerTls {
    fn eq(&self, other: &ServerTls) -> bool {
        self.digest == other.digest
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerTls(…)")
    }
}

/// What is wrong with one of the files, for people. Shows nothing of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsFault {
    Certificate(String),
    Key(String),
    ClientCa(String),
}

impl ServerTls {
    /// From PEM: the certificate with the chain after it, its key, and the roots of client
    /// certificates where every client must show one.
    pub fn from_pem(
        certificate: &str,
        key: &str,
        client_ca: Option<&str>,
    ) -> Result<ServerTls, TlsFault> {
        let chain = certificates(certificate).map_err(TlsFault::Certificate)?;
        let private = PrivateKeyDer::from_pem_slice(key.as_bytes())
            .map_err(|_| TlsFault::Key("holds no private key in PEM".to_owned()))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsFault::Certificate(error.to_string()))?;
        let builder = match client_ca {
            None => builder.with_no_client_auth(),
            Some(pem) => {
                let fault = |why: String| TlsFault::ClientCa(why);
                let mut roots = RootCertStore::empty();
                for root in certificates(pem).map_err(fault)? {
                    roots.add(root).map_err(|error| fault(error.to_string()))?;
                }
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                        .build()
                        .map_err(|error| fault(error.to_string()))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder
            .with_single_cert(chain, private)
            .map_err(|error| TlsFault::Key(format!("does not go with the certificate: {error}")))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let mut made_of = Context::new(&SHA256);
        for part in [certificate, key, client_ca.unwrap_or_default()] {
            made_of.update(&(part.len() as u64).to_be_bytes());
            made_of.update(part.as_bytes());
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(made_of.finish().as_ref());
        Ok(ServerTls { config: Arc::new(config), digest })
    }
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let read = read.map_err(|error| format!("cannot be read as PEM: {error}"))?;
    if read.is_empty() { Err("holds no certificate in PEM".to_owned()) } else { Ok(read) }
}

/// What new connections get; clones share it, and a reload puts another in its place.
#[derive(Clone, Debug, Default)]
pub struct TlsInForce(Arc<RwLock<Option<ServerTls>>>);

impl TlsInForce {
    pub fn new(tls: Option<ServerTls>) -> TlsInForce {
        TlsInForce(Arc::new(RwLock::new(tls)))
    }

    /// For connections that come from now on.
    pub fn replace(&self, tls: Option<ServerTls>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = tls;
    }

    pub fn is_on(&self) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    pub(super) fn acceptor(&self) -> Option<TlsAcceptor> {
        let tls = self.0.read().unwrap_or_else(PoisonError::into_inner);
        tls.as_ref().map(|tls| TlsAcceptor::from(tls.config.clone()))
    }
}
