//! A listening socket: a port, or a socket in the file system.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::task::{Poll, ready};

use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixSocket, UnixStream};
use tokio::runtime::Handle;

use super::stream::Stream;
use crate::config::Listen;

/// For the owner and the group: who may connect is for the file system to say.
const MODE: u32 = 0o660;
/// Connections that wait to be accepted, at most: as many as Linux allows unless told otherwise
/// (`net.core.somaxconn`). A burst beyond it is dropped by the kernel, and who was dropped tries again
/// after 1, 3, 7, … seconds.
const BACKLOG: u32 = 4096;
/// 64 KiB.
const TAKEN_BY_ROUNDS: usize = 16;

#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpListener),
    Unix { listener: UnixListener, _own: OwnPath },
}

/// A connection as it was accepted.
#[derive(Debug)]
pub(super) enum Accepted {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Removes the file of a socket when nobody listens there any more.
#[derive(Debug)]
pub(super) struct OwnPath(PathBuf);

impl Drop for OwnPath {
    fn drop(&mut self) {
        // Whoever took the name meanwhile has removed it already.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Socket {
    /// Also says where it listens: with the port that was chosen, where it was asked for as 0.
    pub(super) fn bind(listen: &Listen) -> io::Result<(Socket, Listen)> {
        match listen {
            Listen::Tcp(address) => {
                let listener = listening(*address)?;
                let address: SocketAddr = listener.local_addr()?;
                Ok((Socket::Tcp(listener), Listen::Tcp(address)))
            }
            Listen::Unix(path) => {
                clear(path)?;
                let (socket, own) = not_yet_listening(path)?;
                let listener = socket.listen(BACKLOG)?;
                Ok((Socket::Unix { listener, _own: own }, Listen::Unix(path.clone())))
            }
        }
    }

    /// A connection that belongs to the threads of `server`.
    pub(super) async fn accept(&self, server: &Handle) -> io::Result<Accepted> {
        poll_fn(|cx| {
            let _there = server.enter();
            match self {
                Socket::Tcp(listener) => {
                    let (stream, _) = ready!(listener.poll_accept(cx))?;
                    // Answers are written whole; there is nothing to wait for.
                    let _ = stream.set_nodelay(true);
                    Poll::Ready(Ok(Accepted::Tcp(stream)))
                }
                Socket::Unix { listener, .. } => {
                    let (stream, _) = ready!(listener.poll_accept(cx))?;
                    Poll::Ready(Ok(Accepted::Unix(stream)))
                }
            }
        })
        .await
    }
}

impl Accepted {
    /// Reads what is there, but for a large body.
    pub(super) fn take_what_came(&self) {
        let mut buffer = [0; 4096];
        for _ in 0..TAKEN_BY_ROUNDS {
            let read = match self {
                Accepted::Tcp(stream) => stream.try_read(&mut buffer),
                Accepted::Unix(stream) => stream.try_read(&mut buffer),
            };
            if !matches!(read, Ok(1..)) {
                break;
            }
        }
    }

    /// A connection that belongs to the threads of the task that calls this.
    pub(super) fn moved_here(self) -> io::Result<Stream> {
        Ok(match self {
            Accepted::Tcp(stream) => Stream::Tcp(TcpStream::from_std(stream.into_std()?)?),
            Accepted::Unix(stream) => Stream::Unix(UnixStream::from_std(stream.into_std()?)?),
        })
    }

    /// As much as can be written without waiting.
    pub(super) fn try_write(&self, bytes: &[u8]) {
        let _ = match self {
            Accepted::Tcp(stream) => stream.try_write(bytes),
            Accepted::Unix(stream) => stream.try_write(bytes),
        };
    }
}

fn listening(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // So that a daemon that was just ended does not keep its next life out.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// In the file system, with its rights. The umask may have made them wider for a moment, in which
/// nobody could connect: that takes a socket that listens (unix(7), connect(2): ECONNREFUSED).
fn not_yet_listening(path: &Path) -> io::Result<(UnixSocket, OwnPath)> {
    let socket = UnixSocket::new_stream()?;
    socket.bind(path)?;
    let own = OwnPath(path.to_owned());
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(MODE))?;
    Ok((socket, own))
}

/// Takes away what a daemon that was killed left behind, and nothing else.
fn clear(path: &Path) -> io::Result<()> {
    let Ok(found) = std::fs::symlink_metadata(path) else { return Ok(()) };
    if !found.file_type().is_socket() {
        let why = format!("{} is there and is no socket", path.display());
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, why));
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path)
        }
        _ => Err(io::Error::from(io::ErrorKind::AddrInUse)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[tokio::test]
    async fn a_socket_in_the_file_system_is_for_its_owner_and_group() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.sock");
        let (socket, _) = Socket::bind(&Listen::Unix(path.clone())).unwrap();
        assert_eq!(mode(&path), 0o660);
        UnixStream::connect(&path).await.unwrap();
        drop(socket);
        assert!(!path.exists());
    }

    /// More than the 128 that are the default of many libraries.
    #[tokio::test]
    async fn a_burst_of_connections_waits_to_be_accepted() {
        let most = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
        let burst = 300.min(most.trim().parse().unwrap());
        let any_port = Listen::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)));
        let (_socket, address) = Socket::bind(&any_port).unwrap();
        let address = address.port().unwrap();
        let connect = |_| std::net::TcpStream::connect_timeout(&address, Duration::from_secs(10));
        let waiting: io::Result<Vec<_>> = (0..burst).map(connect).collect();
        assert_eq!(waiting.unwrap().len(), burst);
    }

    #[tokio::test]
    async fn nobody_connects_before_it_has_its_rights() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.sock");
        let (socket, _own) = not_yet_listening(&path).unwrap();
        assert_eq!(mode(&path), MODE);
        let early = UnixStream::connect(&path).await.unwrap_err();
        assert_eq!(early.kind(), io::ErrorKind::ConnectionRefused);
        let _listener = socket.listen(BACKLOG).unwrap();
        UnixStream::connect(&path).await.unwrap();
    }
}
