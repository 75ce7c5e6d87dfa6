//! What a gateway that has joined keeps beyond its sessions, sealed: its certificate, which it renews in time, and the
//! share that its kernel has, with which it begins when no controller answers.

use std::sync::Arc;
use std::time::Duration;

use gateway_control::deployment::share::WireError;
use gateway_control::session::{Certificate, Held, Holding, Lease, Renew};
use prost::Message as _;
use rustls::pki_types::CertificateDer;
use tokio::time::{Instant, sleep};

use super::{CarrierError, Dialler};
use crate::clock::now;
use crate::identity::{
    Credential, KeyError, Leaf, LeafError, LeafKey, Membership, MembershipError, SESSION_PROTOCOL,
    TlsError, client_config,
};
use crate::seal::{Purpose, SealError, Strongbox};

/// The sealed file of the share.
const SHARE: Purpose = Purpose::of("share");
/// How often it is looked whether a certificate is due: clocks are set, and hosts sleep.
const LOOK: Duration = Duration::from_secs(30);
/// How long an answer may take before it is asked for again.
const ANSWER: Duration = Duration::from_secs(60);
/// The part of a lease after which it is noted on the disk that it was renewed.
const NOTED: u32 = 64;

/// What a gateway that has joined keeps.
#[derive(Debug)]
pub struct Keeper {
    strongbox: Arc<Strongbox>,
    membership: Membership,
    dialler: Arc<Dialler>,
    lease: LeaseAccount,
    /// What the disk has of it, and of the share.
    noted: u64,
    kept: Option<Held>,
    /// When a certificate was asked for last; `None` if none has been since the start.
    asked: Option<Instant>,
    /// Whether the first certificate since the start has come.
    is_fresh: bool,
}

/// Since when a gateway has not heard of a controller, and how long that may last.
#[derive(Clone, Copy, Debug)]
pub struct LeaseAccount {
    lease: Lease,
    /// In seconds since 1970.
    heard: u64,
    heard_at: Instant,
}

/// The share that a gateway has from before, and until when it may be used.
#[derive(Clone, Debug)]
pub struct KeptShare {
    /// The share.
    pub holding: Holding,
    /// How long it may be used.
    pub lease: LeaseAccount,
}

/// Why something is not kept.
#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    /// The strongbox failed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// What is kept of this gateway's identity failed.
    #[error(transparent)]
    Membership(#[from] MembershipError),
    /// A key failed.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The certificate that came is none for this gateway.
    #[error("the certificate that the controller gave: {0}")]
    Leaf(#[from] LeafError),
    /// The certificate that came is of another key or for another gateway.
    #[error("the controller gave a certificate that was not asked for")]
    NotAsked,
    /// Connections cannot be secured with it.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Nor dialled with it.
    #[error(transparent)]
    Carrier(#[from] CarrierError),
    /// What is sealed as a share is none.
    #[error(
        "what is sealed as this gateway's share is none of this version: {0}; it is told anew by a controller"
    )]
    Share(#[from] WireError),
    /// What is sealed as a share is something else.
    #[error(
        "what is sealed as this gateway's share is something else: {0}; it is told anew by a controller"
    )]
    Content(#[from] prost::DecodeError),
}

#[derive(Clone, PartialEq, prost::Message)]
struct ShareMessage {
    #[prost(uint64, optional, tag = "1")]
    revision: Option<u64>,
    #[prost(bytes, tag = "2")]
    octets: Vec<u8>,
    #[prost(uint64, tag = "3")]
    heard: u64,
    /// Seconds; absent: without end.
    #[prost(uint64, optional, tag = "4")]
    lease: Option<u64>,
}

impl LeaseAccount {
    fn new(lease: Lease, heard: u64) -> Self {
        Self { lease, heard, heard_at: Instant::now() }
    }

    /// How much of it is left; `None` if it has no end. By the clock that has gone further: one may have been set back,
    /// the other stood still while the host slept or was off.
    pub fn rest(&self) -> Option<Duration> {
        let Lease::For(lease) = self.lease else { return None };
        let by_clock = Duration::from_secs(now().saturating_sub(self.heard));
        Some(lease.saturating_sub(by_clock.max(self.heard_at.elapsed())))
    }

    /// How long nothing may be heard.
    pub fn lease(&self) -> Lease {
        self.lease
    }
}

impl KeptShare {
    /// What the strongbox has; `None` if there is nothing.
    pub fn load(strongbox: &Strongbox) -> Result<Option<Self>, KeeperError> {
        let Some(octets) = strongbox.read(&SHARE)? else { return Ok(None) };
        let kept = ShareMessage::decode(octets.as_slice())?;
        let lease = kept.lease.map_or(Lease::Unlimited, |it| Lease::For(Duration::from_secs(it)));
        let mut lease = LeaseAccount::new(lease, kept.heard);
        // What has passed before the start is known by the clock alone.
        lease.heard_at = Instant::now();
        Ok(Some(Self { holding: Holding::new(kept.revision, kept.octets)?, lease }))
    }
}

impl Keeper {
    /// Of a gateway that has joined; `dialler` is to show its certificates.
    pub fn new(
        strongbox: Arc<Strongbox>,
        membership: Membership,
        dialler: Arc<Dialler>,
        kept: Option<&KeptShare>,
    ) -> Self {
        let lease =
            kept.map_or_else(|| LeaseAccount::new(Lease::Unlimited, now()), |kept| kept.lease);
        let (noted, kept) = (lease.heard, kept.map(|kept| kept.holding.held()));
        Self { strongbox, membership, dialler, lease, noted, kept, asked: None, is_fresh: false }
    }

    /// How long what the gateway has may be used.
    pub fn lease(&self) -> LeaseAccount {
        self.lease
    }

    /// Why controllers may not take this gateway's certificate, as far as that can be known here.
    pub fn complaint(&self) -> Option<String> {
        let leaf = self.membership.leaf().and_then(|leaf| Ok(leaf.holds(now())?));
        leaf.err().map(|error| {
            format!("{error}; if it cannot be renewed any more, join with a new token")
        })
    }

    /// Asks for the next certificate as soon as it is due: at half the life of the present one, and once after each
    /// start, which is when a copy of this host's disk would show. Cancel safe.
    pub(super) async fn due(&mut self) -> Result<Renew, KeeperError> {
        loop {
            let is_waiting = self.asked.is_some_and(|asked| asked.elapsed() < ANSWER);
            let is_due = !self.is_fresh || now() >= self.membership.leaf()?.renewal();
            if is_due && !is_waiting {
                return self.ask();
            }
            sleep(LOOK).await;
        }
    }

    fn ask(&mut self) -> Result<Renew, KeeperError> {
        let key = match &self.membership.next_key {
            Some(key) => key.clone(),
            None => {
                let key = LeafKey::generate()?;
                // On the disk before it is asked for: if the answer is lost, so is it not.
                self.membership.next_key = Some(key.clone());
                if let Err(error) = self.membership.save(&self.strongbox) {
                    self.membership.next_key = None;
                    self.asked = Some(Instant::now());
                    return Err(error.into());
                }
                key
            }
        };
        self.asked = Some(Instant::now());
        let generation = self.membership.leaf()?.serial.generation.into();
        Ok(Renew { generation, request: key.request()? })
    }

    /// Another session begins: what was asked for in the last one is not answered any more.
    pub(super) fn begin(&mut self) {
        self.asked = None;
    }

    /// Takes the certificate that was asked for.
    pub(super) fn certificate(&mut self, came: Certificate) -> Result<(), KeeperError> {
        let Some(der) = came.chain.into_iter().next() else { return Err(KeeperError::NotAsked) };
        let leaf = Leaf::read(&der)?;
        let key = self.membership.next_key.clone().ok_or(KeeperError::NotAsked)?;
        if leaf.key != key.pin() || leaf.id != self.membership.id {
            return Err(KeeperError::NotAsked);
        }
        leaf.holds(now())?;
        let credential = Credential { key, certificate: CertificateDer::from(der) };
        let next = Membership { credential, next_key: None, ..self.membership.clone() };
        let config = client_config(next.trust()?, &next.credential, SESSION_PROTOCOL)?;
        // First kept, then shown: whoever has shown it must never go back to the one before.
        next.save(&self.strongbox)?;
        self.dialler.replace(&config)?;
        self.membership = next;
        (self.is_fresh, self.asked) = (true, None);
        tracing::info!(
            generation = leaf.serial.generation,
            "this gateway has its next certificate"
        );
        Ok(())
    }

    /// A controller was heard of, and lets the gateway go on for so long.
    pub(super) fn heard(&mut self, lease: Lease) {
        self.dialler.settled();
        self.lease = LeaseAccount::new(lease, now());
    }

    /// The kernel has this share. Also notes now and then that a controller was heard of.
    pub(super) fn keep(&mut self, holding: &Holding) -> Result<(), KeeperError> {
        if self.kept == Some(holding.held()) && !self.is_unnoted() {
            return Ok(());
        }
        let lease = match self.lease.lease {
            Lease::Unlimited => None,
            Lease::For(lease) => Some(lease.as_secs()),
        };
        let heard = self.lease.heard;
        let octets = holding.octets().to_vec();
        let kept = ShareMessage { revision: holding.revision(), octets, heard, lease };
        self.strongbox.write(&SHARE, &kept.encode_to_vec())?;
        (self.noted, self.kept) = (heard, Some(holding.held()));
        Ok(())
    }

    /// Whether it is time to note on the disk that a controller was heard of.
    pub(super) fn is_unnoted(&self) -> bool {
        match self.lease.lease {
            Lease::Unlimited => false,
            Lease::For(lease) => {
                self.lease.heard.saturating_sub(self.noted) > (lease / NOTED).as_secs().max(1)
            }
        }
    }

    /// What the gateway had is no longer its own.
    pub fn forget_share(&mut self) -> Result<(), KeeperError> {
        self.kept = None;
        Ok(self.strongbox.remove(&SHARE)?)
    }
}
