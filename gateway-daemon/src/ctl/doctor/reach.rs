//! What handshakes with a controller's address have shown, judged: blocked, refused, another deployment, the clock.

use super::report::{Check, Finding, Verdict, moment};
use crate::identity::Leaf;
use crate::session::CarrierKind;

/// What came of a handshake by one carrier.
#[derive(Clone, Debug)]
pub(super) enum Reached {
    /// A controller of the deployment answers.
    Fits(Leaf),
    /// One whose certificate does not hold by this host's clock.
    Clock(Leaf),
    /// Somebody answers with another certificate.
    Stranger(String),
    /// Somebody answers, and no handshake comes of it.
    Odd(String),
    /// Something comes back, and the handshake does not end in time.
    Stuck,
    /// Nothing comes back.
    Silent,
    /// The host, or a router before it, says that nobody is there.
    Refused,
    /// This host cannot send there.
    Unsent(String),
}

/// What came of it by both carriers.
#[derive(Clone, Debug)]
pub(super) struct Both {
    pub(super) udp: Reached,
    pub(super) tcp: Reached,
}

impl Reached {
    /// The controller's certificate, if it showed one of the deployment.
    pub(super) fn leaf(&self) -> Option<&Leaf> {
        match self {
            Self::Fits(leaf) | Self::Clock(leaf) => Some(leaf),
            _ => None,
        }
    }

    fn fits(&self) -> bool {
        matches!(self, Self::Fits(_))
    }
}

impl Both {
    /// A line for each carrier. One that fails is no failure where the other works.
    pub(super) fn judge(&self, now: u64) -> [Finding; 2] {
        let worst = |other: &Reached| if other.fits() { Verdict::Warn } else { Verdict::Fail };
        let udp = judge(CarrierKind::Quic, &self.udp, now).at_most(worst(&self.tcp));
        let tcp = judge(CarrierKind::Tcp, &self.tcp, now).at_most(worst(&self.udp));
        [udp, tcp]
    }
}

fn judge(kind: CarrierKind, reached: &Reached, now: u64) -> Finding {
    let (check, word) = match kind {
        CarrierKind::Quic => (Check::Udp, "UDP"),
        CarrierKind::Tcp => (Check::Tcp, "TCP"),
    };
    let fail = |found: String, remedy: &str| Finding::fail(check, found, remedy);
    match reached {
        Reached::Fits(leaf) => Finding::ok(check, format!("{} answers by {kind}", leaf.id)),
        Reached::Clock(leaf) => fail(
            format!(
                "clock: {} answers, and its certificate holds from {} to {}, where this host's clock says {}",
                leaf.id,
                moment(leaf.not_before),
                moment(leaf.not_after),
                moment(now)
            ),
            "set this host's clock; if it is right, set the controller's",
        ),
        Reached::Stranger(why) => fail(
            format!(
                "other deployment: somebody answers by {kind} who is no controller of this one: {why}"
            ),
            "correct the address, or take a token of the deployment that is there; if both are right, somebody \
             stands in between",
        ),
        Reached::Odd(why) => fail(
            format!("something answers by {word} that is no controller: {why}"),
            "correct the address and the port; take out what stands in between (a proxy, a load balancer)",
        ),
        Reached::Stuck => fail(
            format!("something answers by {word}, and the handshake does not end in time"),
            "see whether large packets are lost on the way (the line path), and whether the controller is overloaded",
        ),
        Reached::Silent => fail(
            format!("blocked: nothing comes back by {word}"),
            match kind {
                CarrierKind::Quic => {
                    "let UDP to this port through every firewall between, and its answers back; sessions go by TCP \
                     meanwhile, if that gets through"
                }
                CarrierKind::Tcp => {
                    "let TCP to this port through every firewall between; see that the host is up and the address \
                     is right"
                }
            },
        ),
        Reached::Refused => fail(
            format!("refused: nobody listens there by {word}"),
            "start the controller's gatewayd; see that its controller.listen has this port, and that no firewall \
             refuses",
        ),
        Reached::Unsent(why) => fail(
            format!("cannot be sent to: {why}"),
            "correct this host's routes and its own firewall",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::certificate::tests::leaf;
    use super::*;

    #[test]
    fn each_outcome_is_told_apart() {
        let outcomes = [
            (Reached::Fits(leaf(0, 9)), Verdict::Ok, "answers by"),
            (Reached::Clock(leaf(0, 9)), Verdict::Fail, "clock: "),
            (Reached::Stranger("x".to_owned()), Verdict::Fail, "other deployment: "),
            (Reached::Odd("x".to_owned()), Verdict::Fail, "no controller: x"),
            (Reached::Stuck, Verdict::Fail, "does not end in time"),
            (Reached::Silent, Verdict::Fail, "blocked: "),
            (Reached::Refused, Verdict::Fail, "refused: "),
            (Reached::Unsent("x".to_owned()), Verdict::Fail, "cannot be sent to: x"),
        ];
        for (reached, verdict, part) in outcomes {
            let both = Both { udp: reached.clone(), tcp: reached };
            for finding in both.judge(5) {
                assert_eq!(finding.verdict, verdict, "{finding:?}");
                assert!(finding.found.contains(part), "{finding:?}");
            }
        }
    }

    #[test]
    fn one_carrier_is_enough() {
        let both = Both { udp: Reached::Silent, tcp: Reached::Fits(leaf(0, 9)) };
        let [udp, tcp] = both.judge(5);
        assert_eq!((udp.verdict, tcp.verdict), (Verdict::Warn, Verdict::Ok));
        assert!(udp.found.contains("blocked") && udp.check == Check::Udp, "{udp:?}");
        let both = Both { udp: Reached::Fits(leaf(0, 9)), tcp: Reached::Refused };
        let [udp, tcp] = both.judge(5);
        assert_eq!((udp.verdict, tcp.verdict), (Verdict::Ok, Verdict::Warn));
    }
}
