//! What a guest says on its serial line, and what follows from it.
//!
//! Fed with raw output, it logs and shows whole lines, notices how far the guest has come and that a
//! kernel has died, and holds the guest's final count.

use std::io::{self, Write};

use crate::tally::Tally;

/// The first words of every line that the guest's init itself writes.
const PREFIX: &str = "guest: ";

/// What the kernel writes when it will not recover. A stall of RCU is not among them: under emulation
/// a busy host causes it by itself.
const DEATHS: [&str; 5] =
    ["Kernel panic", "BUG: soft lockup", "BUG: kernel NULL", "Oops:", "general protection fault"];

/// The state of one guest's console.
#[derive(Debug)]
pub(crate) struct Console<L> {
    name: String,
    log: L,
    partial: Vec<u8>,
    /// Init has spoken: the kernel runs.
    pub(crate) booted: bool,
    /// The line that announced the kernel's death.
    pub(crate) death: Option<String>,
    /// The count that init closed with.
    pub(crate) tally: Option<Tally>,
}

impl<L: Write> Console<L> {
    pub(crate) fn new(name: &str, log: L) -> Self {
        Self {
            name: name.to_owned(),
            log,
            partial: Vec::new(),
            booted: false,
            death: None,
            tally: None,
        }
    }

    /// Takes the next piece of output.
    pub(crate) fn feed(&mut self, piece: &[u8]) -> io::Result<()> {
        self.log.write_all(piece)?;
        for byte in piece {
            match byte {
                b'\n' => self.end_line(),
                b'\r' => {}
                byte => self.partial.push(*byte),
            }
        }
        Ok(())
    }

    /// The output has ended.
    pub(crate) fn close(&mut self) -> io::Result<()> {
        if !self.partial.is_empty() {
            self.end_line();
        }
        self.log.flush()
    }

    fn end_line(&mut self) {
        let line = String::from_utf8_lossy(&self.partial).into_owned();
        self.partial.clear();
        println!("{} | {line}", self.name);
        if let Some(said) = line.strip_prefix(PREFIX) {
            self.booted = true;
            self.tally = Tally::parse(said).or(self.tally);
        }
        if self.death.is_none() && DEATHS.iter().any(|death| line.contains(death)) {
            self.death = Some(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fed(pieces: &[&str]) -> Console<Vec<u8>> {
        let mut console = Console::new("k", Vec::new());
        for piece in pieces {
            console.feed(piece.as_bytes()).unwrap();
        }
        console.close().unwrap();
        console
    }

    #[test]
    fn the_closing_count_is_read_across_pieces() {
        let console =
            fed(&["Linux version 6\r\nguest: run a\r\nguest: 3 pas", "sed, 1 failed\r\n"]);
        assert!(console.booted && console.death.is_none());
        assert_eq!(console.tally, Some(Tally { passed: 3, failed: 1 }));
    }

    #[test]
    fn a_count_in_a_tests_own_output_does_not_count() {
        let console = fed(&["said guest: 3 passed, 0 failed\n", "3 passed, 0 failed\n"]);
        assert!(!console.booted && console.tally.is_none());
    }

    #[test]
    fn a_dying_kernel_is_noticed() {
        let console = fed(&["[ 2.1] Kernel panic - not syncing: Attempted to kill init!"]);
        assert!(console.death.unwrap().contains("Attempted to kill init"));
        assert!(fed(&["watchdog: BUG: soft lockup - CPU#0 stuck"]).death.is_some());
        assert!(fed(&["rcu: INFO: rcu_sched self-detected stall"]).death.is_none());
    }
}
