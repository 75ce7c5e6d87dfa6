//! How much the server takes and how long it waits: what bounds it whatever callers do.

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use super::{Rate, Share};

/// How much the server takes and how long it waits.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Connections at once; one more is told so and closed.
    pub connections: usize,
    /// Requests in flight at once; one more waits for [`Settings::patience`].
    pub requests: usize,
    /// Watches at once.
    pub watches: usize,
    /// Bodies of more than 1 MiB that are read and applied at once.
    pub large_bodies: usize,
    /// Octets of answers that callers have not taken yet, all together.
    pub held: usize,
    /// What one user may have of it.
    pub share: Share,
    /// Longest head of a request, in octets.
    pub head: usize,
    /// How long a caller may take to begin a request and to send its head.
    pub head_time: Duration,
    /// How long a caller may take to send a body.
    pub body_time: Duration,
    /// How long a caller may take nothing of an answer.
    pub stall: Duration,
    /// How long a request waits for others to be done.
    pub patience: Duration,
    /// How long requests may go on once the server is to end.
    pub grace: Duration,
    /// The least time between two lines of a watch; more where making them takes long.
    pub watch_pause: Duration,
    /// Where backups are written before they are sent.
    pub scratch: PathBuf,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connections: 256,
            requests: 64,
            watches: 64,
            large_bodies: 1,
            held: 256 << 20,
            share: Share {
                connections: 64,
                requests: 32,
                watches: 16,
                reads: Rate { burst: 1000, per_second: 200.0 },
                changes: Rate { burst: 200, per_second: 20.0 },
            },
            head: 32 << 10,
            head_time: Duration::from_secs(30),
            body_time: Duration::from_secs(60),
            stall: Duration::from_secs(60),
            patience: Duration::from_secs(10),
            grace: Duration::from_secs(10),
            watch_pause: Duration::from_millis(100),
            scratch: env::temp_dir(),
        }
    }
}
