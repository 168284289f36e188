//! How an address is reached: over TCP, with or without TLS, or by a socket in the file system.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{
    ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream,
};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::{TcpStream, UnixStream};
use tower_service::Service;

use super::error::CliError;
use super::values::{Address, Way};

/// How long a connection may take to stand.
const CONNECT: Duration = Duration::from_secs(5);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

#[derive(Clone)]
pub(super) enum Connector {
    Tcp(Box<HttpsConnector<HttpConnector>>),
    Unix(PathBuf),
}

impl Connector {
    /// `ca_file`: certificates (PEM) to trust in place of the system's.
    pub(super) fn new(address: &Address, ca_file: Option<&Path>) -> Result<Connector, CliError> {
        if let Way::Socket(path) = address.way() {
            return Ok(Connector::Unix(path.clone()));
        }
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(CONNECT));
        tcp.set_nodelay(true);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls(address, ca_file)?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        Ok(Connector::Tcp(Box::new(connector)))
    }
}

/// The system's roots are read only where they are needed: it takes a while.
fn tls(address: &Address, ca_file: Option<&Path>) -> Result<ClientConfig, CliError> {
    let failed =
        |error: &dyn std::fmt::Display| CliError::Failed(format!("cannot set up TLS: {error}"));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(&error))?;
    let config = match ca_file {
        _ if *address.way() != Way::Tls => config.with_root_certificates(RootCertStore::empty()),
        None => config.with_native_roots().map_err(|error| failed(&error))?,
        Some(file) => config.with_root_certificates(roots(file)?),
    };
    Ok(config.with_no_client_auth())
}

fn roots(file: &Path) -> Result<RootCertStore, CliError> {
    let what = |why: String| CliError::Usage(format!("--ca-file {}: {why}", file.display()));
    let certificates =
        CertificateDer::pem_file_iter(file).map_err(|error| what(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        let added = certificate.map_err(|error| what(error.to_string()))?;
        roots.add(added).map_err(|error| what(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(what("there is no certificate (PEM) in it".into()));
    }
    Ok(roots)
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match self {
            Connector::Tcp(tcp) => tcp.poll_ready(cx),
            Connector::Unix(_) => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        match self {
            Connector::Tcp(tcp) => {
                let connected = tcp.call(uri);
                Box::pin(async move { Ok(Stream::Tcp(Box::new(connected.await?))) })
            }
            Connector::Unix(path) => {
                let path = path.clone();
                let connected = async move { UnixStream::connect(path).await };
                Box::pin(async move { Ok(Stream::Unix(TokioIo::new(connected.await?))) })
            }
        }
    }
}

pub(super) enum Stream {
    Tcp(Box<MaybeHttpsStream<TokioIo<TcpStream>>>),
    Unix(TokioIo<UnixStream>),
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        match self {
            Stream::Tcp(stream) => stream.connected(),
            Stream::Unix(_) => Connected::new(),
        }
    }
}

impl Read for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl Write for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
