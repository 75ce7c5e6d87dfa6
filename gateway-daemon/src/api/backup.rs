//! A backup as an answer: written to a file that nobody else can open and that has no name any more by the time it is
//! sent, so that nothing is left of it whatever happens to the caller or to the controller.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderValue, Uri, header};
use axum::response::Response;
use futures_util::stream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::spawn_blocking;

use super::connection::Operator;
use super::routes::blocking;
use super::serve::Server;
use super::wire::{ErrorWord, Refusal};
use super::{Refused, parse};

/// The type of a file of SQLite, registered at <https://www.iana.org/assignments/media-types/application/vnd.sqlite3>.
const MEDIA: &str = "application/vnd.sqlite3";
/// Octets that are read at once.
const PIECE: usize = 256 << 10;

/// Back the store up
///
/// A copy of the store as it is at one moment, to be restored on the controller's host. As it has everything that is
/// kept, only those may have it who may change things.
#[utoipa::path(
    get,
    path = "/v1/backup",
    responses(
        (
            status = 200,
            description = "The file; it is whole if it has the length that is announced.",
            body = [u8],
            content_type = "application/vnd.sqlite3",
            headers(("presence-revision" = u64, description = "The revision that it is of.")),
        ),
        (status = 409, description = "The store is backed up by its own means; the message says how.", body = Refusal),
        (status = 507, description = "There is no room to write it.", body = Refusal),
    )
)]
pub(super) async fn backup(
    State(server): State<Arc<Server>>,
    Operator(_caller): Operator,
    uri: Uri,
) -> Result<Response, Refused> {
    parse::nothing(&uri)?;
    let turn = server.wait(&server.backups, 1, "backups").await?;
    let scratch = server.settings.scratch.clone();
    let failed = |error: io::Error, at: &Path| {
        let word = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorWord::StoreFull,
            _ => ErrorWord::Internal,
        };
        let remedy = "see the rights and the room there, or set TMPDIR for the controller";
        Refused::new(word, format!("backup in {}: {error}; {remedy}", at.display()))
    };
    let made = blocking(move || Scratch::new(&scratch).map_err(|error| failed(error, &scratch)));
    let room = made.await??;
    let path = room.0.join("backup");
    let revision = server.controller.backup(&path).await?;
    let opened = blocking(move || {
        let opened = File::open(&path).and_then(|file| Ok((file.metadata()?.len(), file)));
        drop(room);
        opened.map_err(|error| failed(error, &path))
    });
    let (length, file) = opened.await??;
    let mut response = Response::new(Body::from_stream(stream::unfold((file, turn), piece)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert("presence-revision", HeaderValue::from(revision.number()));
    Ok(response)
}

type Rest = (File, OwnedSemaphorePermit);

async fn piece((mut file, turn): Rest) -> Option<(io::Result<Bytes>, Rest)> {
    let read = spawn_blocking(move || {
        let mut octets = vec![0; PIECE];
        let read = file.read(&mut octets).map(|length| {
            octets.truncate(length);
            octets
        });
        (read, file)
    });
    let (read, file) = read.await.ok()?;
    match read {
        Ok(octets) if octets.is_empty() => None,
        read => Some((read.map(Bytes::from), (file, turn))),
    }
}

/// A directory of nobody else's, which goes with all that is in it when this is dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(within: &Path) -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        loop {
            let next = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = within.join(format!("presence-backup-{}-{next}", process::id()));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self(path)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!("{}: cannot remove it: {error}; remove it by hand", self.0.display());
        }
    }
}
