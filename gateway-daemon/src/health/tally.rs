//! How often a back end must fail or answer in a row before that counts. Pure.

/// What is held of one back end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tally {
    up: bool,
    against: u32,
    rise: u32,
    fall: u32,
}

impl Tally {
    /// One held to serve or not; `rise` answers bring it back, `fall` failures take it away.
    pub(super) fn new(up: bool, rise: u32, fall: u32) -> Self {
        Self { up, against: 0, rise, fall }
    }

    /// Takes note of an answer or a failure; what is held from now on, if that changes.
    pub(super) fn note(&mut self, served: bool) -> Option<bool> {
        if served == self.up {
            self.against = 0;
            return None;
        }
        self.against += 1;
        let needed = if self.up { self.fall } else { self.rise };
        if self.against < needed {
            return None;
        }
        (self.up, self.against) = (served, 0);
        Some(served)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_many_in_a_row_count() {
        let mut tally = Tally::new(true, 2, 3);
        let notes = |tally: &mut Tally, notes: &str| -> Vec<Option<bool>> {
            notes.chars().map(|it| tally.note(it == '+')).collect()
        };
        assert_eq!(notes(&mut tally, "--+--+++"), [None; 8]);
        assert_eq!(notes(&mut tally, "---"), [None, None, Some(false)]);
        assert_eq!(notes(&mut tally, "-+-+-"), [None; 5]);
        assert_eq!(notes(&mut tally, "++"), [None, Some(true)]);
        assert_eq!(notes(&mut tally, "---"), [None, None, Some(false)]);
        assert_eq!(Tally::new(true, 1, 1).note(false), Some(false));
    }
}
