//! How a link's peers fare, from WireGuard's own handshakes and counters. Pure but for the read.

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use super::peers::ObservedPeer;
use super::settings::PublicKey;

/// A session older than this carries nothing: REJECT-AFTER-TIME, WireGuard whitepaper section 6.1.
pub const REJECT_AFTER_TIME: Duration = Duration::from_secs(180);

/// A peer that is dialled for so long without an answer counts as one that never answered: four
/// attempts, REKEY-TIMEOUT apart.
pub const DIALLING: Duration = Duration::from_secs(20);

/// One peer of a link device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerHealth {
    /// Its public key, the name WireGuard knows it by.
    pub public_key: PublicKey,
    /// Where its last authenticated packet came from, or where it is dialled.
    pub endpoint: Option<SocketAddr>,
    /// Time since the last completed handshake.
    pub last_handshake: Option<Duration>,
    /// Bytes received from it, WireGuard's own included.
    pub received: u64,
    /// Bytes sent to it, WireGuard's own included.
    pub sent: u64,
    /// What these add up to.
    pub state: PeerState,
}

/// What a peer's handshakes say. `Display` gives the reason in a sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerState {
    /// A session is valid now.
    Up,
    /// The session has expired and nothing asks for a new one: no traffic, no keepalives.
    Idle,
    /// The session has expired although keepalives ask for a new one: the peer does not answer.
    Stale,
    /// No handshake yet, and nobody to start one: the peer has to dial first.
    WaitingForPeer,
    /// No handshake yet with a peer that is dialled.
    NeverAnswered,
    /// A session is valid, but what is sent by it is not answered.
    Unanswered,
    /// No handshake yet with a peer that is dialled since less than [`DIALLING`].
    Dialling,
    /// The link device is gone or down.
    Down,
}

impl PeerState {
    /// One word for tables: `up`, `idle`, `dialling`, `stale`, `never` or `down`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Idle => "idle",
            Self::Dialling => "dialling",
            Self::Stale | Self::Unanswered => "stale",
            Self::WaitingForPeer | Self::NeverAnswered => "never",
            Self::Down => "down",
        }
    }

    /// What an operator can do about it, where something is wrong.
    pub fn remedy(self) -> Option<&'static str> {
        match self {
            Self::Up | Self::Idle | Self::Dialling => None,
            Self::Stale | Self::Unanswered => Some(
                "look at the other gateway, and let UDP to the endpoint through; a second entry in \
                 `endpoints` is dialled when the first fails",
            ),
            Self::WaitingForPeer => Some(
                "start the other gateway, correct its endpoint for this one, and let UDP to this \
                 gateway's listen_port through",
            ),
            Self::NeverAnswered => Some(
                "correct the endpoint or the public key here, or this gateway's public key there; \
                 let UDP through",
            ),
            Self::Down => Some("start gatewayd, which makes it; if it runs, look into its log"),
        }
    }

    /// The state of a peer of which the daemon knows more than its device says: whether what is sent
    /// to it is unanswered, and for how long it has been dialled.
    pub fn known(self, unanswered: bool, dialled_for: Option<Duration>) -> Self {
        match self {
            Self::Up if unanswered => Self::Unanswered,
            Self::NeverAnswered if dialled_for.is_some_and(|it| it < DIALLING) => Self::Dialling,
            other => other,
        }
    }
}

impl fmt::Display for PeerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Up => "a handshake completed less than 180 s ago",
            Self::Idle => "the last session expired and there is no traffic to renew it for",
            Self::Unanswered => "what was sent in the last 15 s or longer was not answered",
            Self::Dialling => "dialled since less than 20 s ago, no answer yet",
            Self::Down => "the link device is gone or down",
            Self::Stale => {
                "no handshake for 180 s although keepalives are sent: the peer is down, its key \
                 was changed, or UDP is blocked"
            }
            Self::WaitingForPeer => "the peer has no endpoint here and has not dialled yet",
            Self::NeverAnswered => {
                "no handshake yet: the endpoint does not answer, UDP is blocked, or a key does \
                 not match; a link without keepalive dials at its first packet"
            }
        })
    }
}

/// Judges one peer at `now`.
pub(super) fn judge(public_key: PublicKey, peer: &ObservedPeer, now: SystemTime) -> PeerHealth {
    // A handshake after `now` means the clock was set back: it is at least recent.
    let age = peer.last_handshake.map(|then| now.duration_since(then).unwrap_or_default());
    let state = match (age, peer.keepalive, peer.endpoint) {
        (Some(age), _, _) if age < REJECT_AFTER_TIME => PeerState::Up,
        (Some(_), Some(_), _) => PeerState::Stale,
        (Some(_), None, _) => PeerState::Idle,
        (None, _, None) => PeerState::WaitingForPeer,
        (None, _, Some(_)) => PeerState::NeverAnswered,
    };
    PeerHealth {
        public_key,
        endpoint: peer.endpoint,
        last_handshake: age,
        received: peer.received,
        sent: peer.sent,
        state,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU16;

    #[test]
    fn the_state_follows_the_handshake() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let key = PublicKey::from(wireguard_control::Key([1; 32]));
        let ago = |seconds| now.checked_sub(Duration::from_secs(seconds));
        let dialled = Some("192.0.2.1:51820".parse().unwrap());
        let cases = [
            (ago(0), None, PeerState::Up),
            (ago(179), None, PeerState::Up),
            (ago(180), None, PeerState::Idle),
            (ago(180), NonZeroU16::new(25), PeerState::Stale),
            (now.checked_add(Duration::from_secs(9)), None, PeerState::Up),
            (None, NonZeroU16::new(25), PeerState::NeverAnswered),
        ];
        for (last_handshake, keepalive, expected) in cases {
            let peer = ObservedPeer {
                last_handshake,
                keepalive,
                endpoint: dialled,
                ..ObservedPeer::default()
            };
            assert_eq!(judge(key, &peer, now).state, expected, "{peer:?}");
        }
        assert_eq!(PeerState::Up.known(true, None), PeerState::Unanswered);
        assert_eq!(PeerState::Up.known(false, None), PeerState::Up);
        let lately = Some(Duration::from_secs(19));
        assert_eq!(PeerState::NeverAnswered.known(true, lately), PeerState::Dialling);
        let long = Some(DIALLING);
        assert_eq!(PeerState::NeverAnswered.known(true, long), PeerState::NeverAnswered);
        let silent = judge(key, &ObservedPeer::default(), now);
        assert_eq!(silent.state, PeerState::WaitingForPeer);
        assert_eq!(silent.state.label(), "never");
    }
}
