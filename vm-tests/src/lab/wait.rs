//! Waiting for conditions, each with a bound and a name, so that a failure says what never came.
//! Everything in the lab that depends on another process waits through here.

use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

const BETWEEN_CHECKS: Duration = Duration::from_millis(10);

/// Checks until `check` gives a value, and gives that value. A check that fails counts as "not yet";
/// its last error is part of the message when the bound passes.
pub fn wait_until<T>(
    what: impl fmt::Display,
    bound: Duration,
    mut check: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let begun = Instant::now();
    loop {
        let last = match check() {
            Ok(Some(value)) => return Ok(value),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        if begun.elapsed() >= bound {
            match last {
                Some(error) => bail!("waited {bound:?} for {what}: {error:#}"),
                None => bail!("waited {bound:?} for {what}"),
            }
        }
        thread::sleep(BETWEEN_CHECKS);
    }
}

/// [`wait_until`] for a condition without a value.
pub fn wait_for(
    what: impl fmt::Display,
    bound: Duration,
    mut check: impl FnMut() -> Result<bool>,
) -> Result<()> {
    wait_until(what, bound, || Ok(check()?.then_some(())))
}

/// [`wait_until`] for a condition that may become impossible: an error ends the wait at once.
pub fn wait_unless_failed(
    what: impl fmt::Display,
    bound: Duration,
    mut check: impl FnMut() -> Result<bool>,
) -> Result<()> {
    wait_until(what, bound, || match check() {
        Ok(false) => Ok(None),
        Ok(true) => Ok(Some(Ok(()))),
        Err(error) => Ok(Some(Err(error))),
    })?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_the_value_once_it_is_there() {
        let mut checks = 0;
        let value = wait_until("the third check", Duration::from_secs(5), || {
            checks += 1;
            Ok((checks == 3).then_some(checks))
        });
        assert_eq!(value.unwrap(), 3);
    }

    #[test]
    fn names_what_never_came_and_the_last_error() {
        let waited: Result<()> =
            wait_until("a broker", Duration::from_millis(1), || bail!("refused"));
        let message = waited.unwrap_err().to_string();
        assert!(message.contains("a broker") && message.contains("refused"), "{message}");
    }

    #[test]
    fn a_failed_condition_is_not_waited_for() {
        let waited = wait_unless_failed("a daemon", Duration::from_secs(600), || bail!("ended"));
        assert_eq!(waited.unwrap_err().to_string(), "ended");
    }
}
