//! What the daemon tells the service manager (`sd_notify`). Without one, nothing is sent.
//!
//! Telling is never essential: a failure is logged and the daemon goes on.

use std::time::Duration;

use sd_notify::NotifyState;

/// Start-up or a reload is over; `status` is for people.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// A reload begins. [`ready`] must follow, whether it succeeds or not.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// The daemon does something else now, for people.
pub fn status(status: &str) {
    tell(&[NotifyState::Status(status)]);
}

/// The daemon is about to end.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// The daemon is alive.
pub fn alive() {
    tell(&[NotifyState::Watchdog]);
}

/// How often the service manager wants to hear that the daemon is alive, if it does: twice as
/// often as it would wait.
pub fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|patience| patience / 2).filter(|half| !half.is_zero())
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager could not be told");
    }
}
