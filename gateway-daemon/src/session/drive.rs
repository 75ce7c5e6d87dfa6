//! Drives one end of a session by a connection of any kind: octets from one to the other, and the time.
//!
//! [`attend`](super::attend) and [`Follower`](super::Follower) call it. Both ways go on at once, so that two ends that
//! have much to say do not wait for each other. In silence no buffer is held.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use gateway_control::session::{End, SILENCE};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::time::{Instant, sleep_until, timeout};

use super::SessionError;

/// How long the other end may take nothing of what it is sent.
pub(super) const STALLED: Duration = SILENCE;
/// How long the other end has to take the last words.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// Most octets that are read at once.
const READ: usize = 16 << 10;

/// An end of a session with its connection.
#[derive(Debug)]
pub struct Driven<S, E> {
    stream: S,
    end: E,
    /// What is being sent, and how much of it is.
    piece: Vec<u8>,
    sent: usize,
    /// Since when it waits, and how long it may.
    waits: Option<Instant>,
    patience: Duration,
    is_flushed: bool,
    /// Why nothing can be sent any more. What the other end has said may still explain it.
    broken: Option<io::Error>,
}

impl<S: AsyncRead + AsyncWrite + Unpin, E: End> Driven<S, E> {
    /// An end by an open connection.
    pub fn new(stream: S, end: E) -> Self {
        Self {
            stream,
            end,
            piece: Vec::new(),
            sent: 0,
            waits: None,
            patience: STALLED,
            is_flushed: true,
            broken: None,
        }
    }

    /// The end, to be told something. What it has to say to that is sent by [`Self::next`].
    pub fn end(&mut self) -> &mut E {
        &mut self.end
    }

    /// The connection.
    pub fn stream(&self) -> &S {
        &self.stream
    }

    /// What happens next. Cancel safe. Not to be called after the end has told that it is closed; then comes
    /// [`Self::finish`].
    pub async fn next(&mut self) -> Result<E::Event, SessionError> {
        loop {
            if let Some(event) = self.end.poll_event() {
                return Ok(event);
            }
            let due = self.end.poll_timeout().map(Instant::from_std);
            let stalled = self.waits.map(|since| since + self.patience);
            let due = due.into_iter().chain(stalled).min();
            tokio::select! {
                // What has come counts although its time is over: this task may have been held up.
                biased;
                carried = self.carry() => carried?,
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
            }
            // Also where so much comes that there is never a pause.
            let now = Instant::now();
            if self.waits.is_some_and(|since| now.duration_since(since) >= self.patience) {
                return Err(SessionError::Stalled);
            }
            if due.is_some_and(|due| due <= now) {
                self.end.handle_timeout(now.into_std());
            }
        }
    }

    /// Sends what is left to say, closes, and waits until the other end has as well; not for ever.
    pub async fn finish(mut self) {
        let finish = async {
            poll_fn(|context| self.send(context)).await?;
            self.stream.shutdown().await?;
            // What comes now is of no interest; but if it were left lying, closing would tear the connection, and
            // the other end might lose the last words (RFC 9293, section 3.6.1).
            while poll_fn(|context| self.discard(context)).await? > 0 {}
            Ok::<(), io::Error>(())
        };
        match timeout(LAST_WORDS, finish).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "a session's connection failed at its end"),
            Err(_) => tracing::debug!("the other end of a session did not close it"),
        }
    }

    /// Returns once something has come. Sends meanwhile what there is to send.
    async fn carry(&mut self) -> Result<(), SessionError> {
        poll_fn(|context| {
            if self.broken.is_none()
                && let Poll::Ready(Err(error)) = self.send(context)
            {
                self.broken = Some(error);
            }
            let was_waiting = self.waits.is_some();
            self.waits = match self.piece.is_empty() {
                true => None,
                false => self.waits.or_else(|| Some(Instant::now())),
            };
            // Another time-out applies.
            let waits_anew = self.waits.is_some() && !was_waiting;
            let mut octets = [MaybeUninit::uninit(); READ];
            let mut octets = ReadBuf::uninit(&mut octets);
            let read = match Pin::new(&mut self.stream).poll_read(context, &mut octets) {
                Poll::Pending if waits_anew => return Poll::Ready(Ok(())),
                read => ready!(read),
            };
            Poll::Ready(match (read, octets.filled(), self.broken.take()) {
                (Ok(()), [], Some(error)) | (Err(_), _, Some(error)) => Err(error.into()),
                (Err(error), _, None) => Err(error.into()),
                (Ok(()), [], None) => Err(SessionError::Gone),
                (Ok(()), come, broken) => {
                    self.broken = broken;
                    self.end.handle_input(Instant::now().into_std(), come);
                    Ok(())
                }
            })
        })
        .await
    }

    /// Reads what is of no interest; gives how many octets.
    fn discard(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut octets = [MaybeUninit::uninit(); READ];
        let mut octets = ReadBuf::uninit(&mut octets);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut octets))?;
        Poll::Ready(Ok(octets.filled().len()))
    }

    /// Ready when all is sent.
    fn send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.piece.is_empty() {
                match self.end.poll_transmit() {
                    Some(piece) => (self.piece, self.sent) = (piece, 0),
                    None => break,
                }
            }
            let rest = &self.piece[self.sent..];
            let written = ready!(Pin::new(&mut self.stream).poll_write(context, rest))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.waits = None;
            self.is_flushed = false;
            self.sent += written;
            if self.sent == self.piece.len() {
                self.piece = Vec::new();
            }
        }
        if !self.is_flushed {
            ready!(Pin::new(&mut self.stream).poll_flush(context))?;
            self.is_flushed = true;
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use gateway_control::deployment::share::{Item, ItemKey, LinkedGateway, Share};
    use gateway_control::session::{
        ControllerEnd, ControllerEvent, Edition, GatewayEnd, GatewayEvent, Hello, Peer, Refusal,
        RefusalKind, Report, VERSION, Wanted,
    };
    use tokio::io::{BufStream, DuplexStream, duplex};

    use super::*;

    fn share(links: u32) -> Arc<Share> {
        let mut share = Share::default();
        for n in 0..links {
            let site: gateway_control::model::SiteName = format!("s{n}").parse().unwrap();
            let mut key = [0; 32];
            key[..4].copy_from_slice(&n.wrapping_mul(2_654_435_761).to_be_bytes());
            let item =
                LinkedGateway { site: site.clone(), public_key: key.into(), endpoints: Vec::new() };
            share.set(ItemKey::Peer(site), Some(Item::Peer(item)));
        }
        Arc::new(share)
    }

    fn wanted(links: u32) -> Wanted {
        Wanted { revision: Some(1), share: Ok(Arc::new(Edition::new(share(links)))) }
    }

    fn gateway<S: AsyncRead + AsyncWrite + Unpin>(stream: S) -> Driven<S, GatewayEnd> {
        let hello = Hello {
            version: VERSION,
            site: "edge-a".parse().unwrap(),
            gateway: "gw".parse().unwrap(),
            public_key: [1; 32].into(),
            program: String::new(),
            holds: None,
        };
        Driven::new(stream, GatewayEnd::new(Instant::now().into_std(), hello, None))
    }

    fn controller(stream: DuplexStream) -> Driven<DuplexStream, ControllerEnd> {
        let mut end = ControllerEnd::new(Instant::now().into_std(), Peer::Host, None);
        end.set_orders(Instant::now().into_std(), wanted(3000));
        Driven::new(stream, end)
    }

    /// A carrier may keep what it was given until it is flushed, and take little at once.
    #[tokio::test]
    async fn both_ways_go_on_by_a_narrow_pipe() {
        let (near, far) = duplex(7);
        let (mut gateway, mut controller) = (gateway(BufStream::new(near)), controller(far));
        let why = Some("x".repeat(30_000));
        gateway.end().report(Report { refused: why.clone(), ..Report::default() });
        let (mut told, mut heard) = (None, None);
        while told.is_none() || heard.is_none() {
            tokio::select! {
                event = gateway.next() => {
                    if let GatewayEvent::Orders { share, .. } = event.unwrap() {
                        told = Some(share.unwrap());
                    }
                }
                event = controller.next() => {
                    if let ControllerEvent::Report(report) = event.unwrap() {
                        heard = Some(report.refused);
                    }
                }
            }
        }
        assert_eq!(told.unwrap().share(), &share(3000));
        assert_eq!(heard, Some(why));
        // So little that it waits in the carrier.
        gateway.end().report(Report::default());
        let heard = async {
            loop {
                tokio::select! {
                    event = gateway.next() => drop(event.unwrap()),
                    event = controller.next() => match event.unwrap() {
                        ControllerEvent::Report(report) if report == Report::default() => return,
                        _ => {}
                    }
                }
            }
        };
        timeout(Duration::from_secs(30), heard).await.expect("heard in time");
    }

    /// What was said before the connection broke is heard, although there is more to say.
    #[tokio::test]
    async fn last_words_are_heard_by_a_broken_connection() {
        let (near, mut far) = duplex(1024);
        let mut gateway = gateway(near);
        let refusal = Refusal { kind: RefusalKind::Revoked, why: "by root".to_owned() };
        let mut controller = controller(duplex(1).0);
        controller.end().refuse(refusal.clone());
        far.write_all(&controller.end().poll_transmit().unwrap()).await.unwrap();
        drop(far);
        let reason = match gateway.next().await {
            Ok(GatewayEvent::Closed(reason)) => reason,
            other => panic!("{other:?}"),
        };
        assert_eq!(reason.to_string(), format!("refused: {refusal}"));
    }

    #[tokio::test]
    async fn who_takes_nothing_is_let_go_and_who_closes_is_noticed() {
        let (near, mut far) = duplex(1024);
        let mut hello = gateway(duplex(1).0);
        far.write_all(&hello.end().poll_transmit().unwrap()).await.unwrap();
        let mut slow = controller(near);
        slow.patience = Duration::from_millis(50);
        let ended = loop {
            match slow.next().await {
                Ok(ControllerEvent::Hello(_)) => {}
                other => break other,
            }
        };
        assert!(matches!(ended, Err(SessionError::Stalled)), "{ended:?}");
        let (near, far) = duplex(64);
        drop(far);
        let ended = controller(near).next().await;
        assert!(matches!(ended, Err(SessionError::Gone)), "{ended:?}");
    }
}
