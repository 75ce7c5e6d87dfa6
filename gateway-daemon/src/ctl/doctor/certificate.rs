//! Certificates and leases: until when, and what is due.

use std::time::Duration;

use gateway_control::session::Lease;

use super::report::{Check, Finding, moment};
use crate::ctl::print::seconds;
use crate::identity::Leaf;

/// A CA that holds for less is told of: everybody is to have the next one before.
const AUTHORITY: u64 = 90 * 86_400;

/// A gateway's own certificate, which may be renewed for `grace` after its end unless its controller says otherwise.
pub(super) fn own(leaf: &Leaf, now: u64, grace: Duration) -> Finding {
    let Leaf { id, serial, not_before, not_after, .. } = leaf;
    let who = format!("generation {} of {id}", serial.generation);
    let rest = not_after.saturating_sub(now);
    if now < *not_before {
        let found = format!("{who}, which holds only from {}", moment(*not_before));
        return Finding::fail(Check::Certificate, found, "set this host's clock");
    }
    if now <= leaf.renewal() {
        let renewal = moment(leaf.renewal());
        let found = format!("{who}, until {}; to be renewed from {renewal}", moment(*not_after));
        return Finding::ok(Check::Certificate, found);
    }
    if now <= *not_after {
        let found = format!(
            "{who} is due for renewal since {} and holds for {} more",
            moment(leaf.renewal()),
            seconds(rest)
        );
        let remedy =
            "see that gatewayd runs and reaches a controller: it renews the certificate by itself";
        return Finding::warn(Check::Certificate, found, remedy);
    }
    let end = not_after.saturating_add(grace.as_secs());
    let ago = seconds(now - not_after);
    let found = format!("{who} has expired {ago} ago, on {}", moment(*not_after));
    if now <= end {
        let remedy = format!(
            "see that gatewayd runs and reaches a controller, which renews it until {} unless its \
             controller.renewal_grace says otherwise",
            moment(end)
        );
        return Finding::warn(Check::Certificate, found, &remedy);
    }
    let remedy = format!(
        "it could be renewed until {} unless controller.renewal_grace says otherwise: if the clock is right, make a \
         token with `gatewayctl token create`, move the directory of sealed files away, and join again",
        moment(end)
    );
    Finding::fail(Check::Certificate, found, &remedy)
}

/// The deployment's CA, which holds until then.
pub(super) fn authority(not_after: u64, now: u64) -> Finding {
    let until = moment(not_after);
    match not_after.checked_sub(now) {
        None => Finding::fail(
            Check::Authority,
            format!("the deployment's CA has expired on {until}"),
            "set the clock if it is wrong; otherwise nobody of this deployment believes anybody",
        ),
        Some(rest) if rest < AUTHORITY => Finding::warn(
            Check::Authority,
            format!("the deployment's CA holds until {until}, for {} more", seconds(rest)),
            "plan a new deployment with a CA of its own before that",
        ),
        Some(_) => {
            Finding::ok(Check::Authority, format!("the deployment's CA holds until {until}"))
        }
    }
}

/// What is left of the time that a gateway may go on with what it was told.
pub(super) fn lease(lease: Lease, rest: Option<Duration>) -> Finding {
    let (Lease::For(whole), Some(rest)) = (lease, rest) else {
        return Finding::ok(Check::Lease, "what controllers told last is good without end");
    };
    let remedy =
        "see that gatewayd runs and reaches a controller: each word of one renews the lease";
    let (left, of) = (seconds(rest.as_secs()), seconds(whole.as_secs()));
    if rest.is_zero() {
        let found = format!(
            "no controller was heard of for {of}, as long as its lease allows: what is of other sites is withdrawn"
        );
        return Finding::fail(Check::Lease, found, remedy);
    }
    let found = format!("what controllers told last is good for {left} of {of}");
    match rest < whole / 4 {
        true => Finding::warn(Check::Lease, found, remedy),
        false => Finding::ok(Check::Lease, found),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use gateway_control::identity::{KeyPin, Serial};

    use super::super::report::Verdict;
    use super::*;

    const DAY: u64 = 86_400;
    const GRACE: Duration = Duration::from_secs(30 * DAY);

    pub(in super::super) fn leaf(not_before: u64, not_after: u64) -> Leaf {
        Leaf {
            id: "spiffe://presence.example/site/edge/gateway/gw".parse().unwrap(),
            serial: Serial { epoch: not_before, generation: 7, random: 1 },
            not_before,
            not_after,
            key: KeyPin::of(b"key"),
        }
    }

    #[test]
    fn a_certificate_by_its_age() {
        let leaf = leaf(10 * DAY, 12 * DAY);
        for (now, verdict, part) in [
            (9 * DAY, Verdict::Fail, "holds only from"),
            (10 * DAY, Verdict::Ok, "generation 7"),
            (11 * DAY, Verdict::Ok, "1970-01-13T00:00:00Z"),
            (11 * DAY + 1, Verdict::Warn, "due for renewal since 1970-01-12"),
            (12 * DAY, Verdict::Warn, "0s more"),
            (12 * DAY + 3, Verdict::Warn, "expired 3s ago"),
            (42 * DAY, Verdict::Warn, "expired 30d ago"),
            (42 * DAY + 1, Verdict::Fail, "expired 30d ago"),
            (u64::MAX, Verdict::Fail, "expired"),
        ] {
            let finding = own(&leaf, now, GRACE);
            assert_eq!(finding.verdict, verdict, "{now}: {finding:?}");
            assert!(finding.found.contains(part), "{now}: {finding:?}");
            assert_eq!(finding.remedy.is_none(), verdict == Verdict::Ok);
        }
    }

    #[test]
    fn an_authority_by_its_age() {
        assert_eq!(authority(1000 * DAY, 0).verdict, Verdict::Ok);
        assert_eq!(authority(89 * DAY, 0).verdict, Verdict::Warn);
        assert_eq!(authority(89 * DAY, 90 * DAY).verdict, Verdict::Fail);
    }

    #[test]
    fn a_lease_by_what_is_left() {
        let whole = Duration::from_secs(3600);
        let rest = |rest| lease(Lease::For(whole), Some(Duration::from_secs(rest))).verdict;
        assert_eq!([rest(3600), rest(600), rest(0)], [Verdict::Ok, Verdict::Warn, Verdict::Fail]);
        assert_eq!(lease(Lease::Unlimited, None).verdict, Verdict::Ok);
    }
}
