//! The largest packet a path carries, found by probing: the search of RFC 8899 section 5.3, as a
//! value that is asked what to send next and told what became of it. Pure.

/// Smallest packet worth asking for: every IPv6 link carries it (RFC 8200 section 5), and an IPv4
/// path that does not is rare enough to be told to an operator as one that does not answer.
pub(super) const BASE: u32 = 1280;

/// How often a packet is sent before its size counts as too large: MAX_PROBES of RFC 8899
/// section 5.1.2.
pub(super) const ATTEMPTS: u32 = 3;

/// A search between [`BASE`] and what the first hop carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Search {
    /// The largest that was answered; 0 before any was.
    carried: u32,
    /// The smallest that was not, or one more than the first hop carries.
    refused: u32,
    /// What is being tried.
    trying: u32,
    attempts: u32,
    /// What a router claimed in between, tried before anything is halved.
    hint: Option<u32>,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Send a packet of that size in bytes, IP header included.
    Probe(u32),
    /// The path carries packets of that size and no larger ones.
    Found(u32),
    /// Not even [`BASE`] is answered.
    Silent,
}

impl Search {
    /// A search below what the first hop carries.
    pub(super) fn new(first_hop: u32) -> Self {
        let base = BASE.min(first_hop);
        Self {
            carried: 0,
            refused: first_hop.saturating_add(1),
            trying: base,
            attempts: 0,
            hint: None,
        }
    }

    /// What to send now.
    pub(super) fn step(&self) -> Step {
        if self.trying == 0 {
            return if self.carried == 0 { Step::Silent } else { Step::Found(self.carried) };
        }
        Step::Probe(self.trying)
    }

    /// What is being tried was answered.
    pub(super) fn answered(&mut self) {
        let first = self.carried == 0;
        self.carried = self.carried.max(self.trying);
        // The usual path carries what its first hop does.
        let next = if first { Some(self.refused - 1) } else { self.hint.take().map(|it| it + 1) };
        self.aim(next);
    }

    /// What is being tried was not answered in time. `claimed` is what this host has been told
    /// meanwhile that the path carries, if anything.
    pub(super) fn missed(&mut self, claimed: Option<u32>) {
        self.attempts += 1;
        if self.attempts < ATTEMPTS {
            return;
        }
        self.too_large(claimed);
    }

    /// What is being tried is known not to fit.
    pub(super) fn too_large(&mut self, claimed: Option<u32>) {
        if self.carried == 0 {
            self.trying = 0;
            return;
        }
        self.refused = self.refused.min(self.trying);
        self.hint = claimed.filter(|it| self.is_open(*it));
        self.aim(self.hint);
    }

    fn is_open(&self, size: u32) -> bool {
        self.carried < size && size < self.refused
    }

    fn aim(&mut self, at: Option<u32>) {
        self.attempts = 0;
        let middle = self.carried + (self.refused - self.carried) / 2;
        let aim = at.filter(|size| self.is_open(*size)).unwrap_or(middle);
        self.trying = if self.is_open(aim) { aim } else { 0 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Searches a path that carries `path`; gives the outcome and the number of probes sent.
    fn run(first_hop: u32, path: u32, claimed: Option<u32>) -> (Step, u32) {
        let mut search = Search::new(first_hop);
        let mut probes = 0;
        loop {
            match search.step() {
                Step::Probe(size) if size <= path => search.answered(),
                Step::Probe(size) => {
                    assert!(size <= first_hop);
                    search.missed(claimed);
                }
                end => return (end, probes),
            }
            probes += 1;
            assert!(probes < 100, "{search:?}");
        }
    }

    #[test]
    fn the_usual_path_takes_two_probes() {
        assert_eq!(run(1500, 1500, None), (Step::Found(1500), 2));
        assert_eq!(run(9000, 9000, None), (Step::Found(9000), 2));
    }

    #[test]
    fn every_size_is_found_exactly() {
        for path in 1280..=1500 {
            assert_eq!(run(1500, path, None).0, Step::Found(path));
        }
        assert_eq!(run(9000, 1492, None).0, Step::Found(1492));
    }

    #[test]
    fn what_a_router_claims_is_tried_and_not_believed() {
        // The base, the first hop's, the claimed one, one more: two that are not answered.
        assert_eq!(run(1500, 1400, Some(1400)), (Step::Found(1400), 1 + 3 + 1 + 3));
        assert_eq!(run(1500, 1400, Some(1300)).0, Step::Found(1400));
        assert_eq!(run(1500, 1400, Some(1450)).0, Step::Found(1400));
        assert_eq!(run(1500, 1400, Some(70)).0, Step::Found(1400));
    }

    #[test]
    fn a_path_that_answers_nothing_is_silent_after_three_attempts() {
        assert_eq!(run(1500, 0, None), (Step::Silent, 3));
        assert_eq!(run(1500, 1279, None), (Step::Silent, 3));
    }

    #[test]
    fn a_first_hop_below_the_base_is_probed_as_it_is() {
        assert_eq!(run(1000, 1000, None), (Step::Found(1000), 1));
        assert_eq!(run(1280, 1280, None), (Step::Found(1280), 1));
    }
}
