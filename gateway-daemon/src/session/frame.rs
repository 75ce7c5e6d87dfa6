//! Octets with their length before them: four octets, the most significant first.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Reads one frame of at most `most` octets; `None` if the other end has closed between two.
///
/// Not cancel safe.
pub(super) async fn read(
    from: &mut (impl AsyncRead + Unpin),
    most: usize,
) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    if from.read(&mut length[..1]).await? == 0 {
        return Ok(None);
    }
    from.read_exact(&mut length[1..]).await?;
    let length = u32::from_be_bytes(length);
    let too_long = || {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("a frame of {length} octets, of {most} at most"),
        )
    };
    let length =
        usize::try_from(length).ok().filter(|length| *length <= most).ok_or_else(too_long)?;
    // Grows with what comes, so that a length alone takes no memory.
    let mut octets = Vec::new();
    let count = from.take(length as u64).read_to_end(&mut octets).await?;
    if count < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some(octets))
}

/// Writes one frame.
pub(super) async fn write(to: &mut (impl AsyncWrite + Unpin), octets: &[u8]) -> io::Result<()> {
    let length = u32::try_from(octets.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    to.write_all(&length.to_be_bytes()).await?;
    to.write_all(octets).await?;
    to.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_are_read_as_they_were_written() {
        let mut octets = Vec::new();
        for content in [&b"one"[..], b"", b"three"] {
            write(&mut octets, content).await.unwrap();
        }
        let mut from = octets.as_slice();
        for content in [&b"one"[..], b"", b"three"] {
            assert_eq!(read(&mut from, 5).await.unwrap().as_deref(), Some(content));
        }
        assert_eq!(read(&mut from, 5).await.unwrap(), None);
    }

    #[tokio::test]
    async fn what_is_cut_or_too_long_is_refused() {
        let mut octets = Vec::new();
        write(&mut octets, b"three").await.unwrap();
        for cut in 1..octets.len() {
            let error = read(&mut &octets[..cut], 5).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{cut}");
        }
        let error = read(&mut octets.as_slice(), 4).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        let error = read(&mut &[0xff; 4][..], usize::MAX).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
