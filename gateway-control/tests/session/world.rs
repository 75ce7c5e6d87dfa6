//! A controller that changes its mind, a gateway that connects again and again, and a network between them that cuts,
//! loses, repeats and swaps: against what must be true of the gateway's share whatever happens.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gateway_control::deployment::share::Share;
use gateway_control::session::{
    ControllerEvent, Edition, GatewayEvent, Holding, Report, SILENCE, Wanted,
};
use proptest::prelude::*;

use crate::pair::Pair;
use crate::share;

/// One thing that happens.
#[derive(Clone, Debug)]
enum Step {
    /// A link of the share gets another key, or goes.
    Change(u16, Option<u8>),
    /// The controller has nothing for the gateway for now.
    Nothing,
    /// So many octets arrive, at the controller or at the gateway.
    Deliver(bool, usize),
    /// All arrives.
    Settle,
    /// Something befalls one of the frames on their way, if there is one.
    Befall(bool, usize, Fault),
    /// So many milliseconds pass, and nothing arrives.
    Wait(u64),
    /// The gateway's host slept.
    Sleep,
    /// The connection breaks, and there is another.
    Cut,
    /// The gateway's kernel has what it was told.
    Apply,
    /// The controller starts anew, and remembers nothing but what is.
    Restart,
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    Lose,
    Repeat,
    /// With the one behind it.
    Swap,
    /// One bit of it, by its place.
    Flip(usize),
}

fn quiet() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..30u16, proptest::option::of(0..3u8)).prop_map(|(site, key)| Step::Change(site, key)),
        1 => Just(Step::Nothing),
        8 => (any::<bool>(), 0..200usize).prop_map(|(up, octets)| Step::Deliver(up, octets)),
        8 => Just(Step::Settle),
        8 => (0..50u64).prop_map(Step::Wait),
        1 => (1000..60_000u64).prop_map(Step::Wait),
        1 => Just(Step::Sleep),
        2 => Just(Step::Cut),
        3 => Just(Step::Apply),
        1 => Just(Step::Restart),
    ]
}

fn troubled() -> impl Strategy<Value = Step> {
    let fault = prop_oneof![
        Just(Fault::Lose),
        Just(Fault::Repeat),
        Just(Fault::Swap),
        any::<usize>().prop_map(Fault::Flip),
    ];
    let befall = (any::<bool>(), any::<usize>(), fault);
    prop_oneof![
        8 => quiet(),
        1 => befall.prop_map(|(up, which, fault)| Step::Befall(up, which, fault)),
    ]
}

struct World {
    pair: Pair,
    links: BTreeMap<u16, u8>,
    revision: u64,
    edition: Arc<Edition>,
    has_share: bool,
    /// Every share that the controller ever had, by its revision.
    had: BTreeMap<u64, Arc<Share>>,
    /// What the gateway was told last, as its events say.
    told: Option<Holding>,
    reported: Option<u64>,
    known: Option<u64>,
    /// Whether octets were changed on their way, so that a number in a message may be another.
    is_flipped: bool,
    sessions: usize,
}

impl World {
    fn new() -> Self {
        let edition = Arc::new(Edition::new(share(&BTreeMap::new())));
        let mut world = Self {
            pair: Pair::new(Instant::now(), None, None),
            links: BTreeMap::new(),
            revision: 1,
            had: BTreeMap::from([(1, Arc::clone(edition.share()))]),
            edition,
            has_share: true,
            told: None,
            reported: None,
            known: None,
            is_flipped: false,
            sessions: 1,
        };
        world.order();
        world
    }

    fn order(&mut self) {
        let share = match self.has_share {
            true => Ok(Arc::clone(&self.edition)),
            false => Err(gateway_control::session::Refusal {
                kind: gateway_control::session::RefusalKind::Other,
                why: "not now".to_owned(),
            }),
        };
        self.pair
            .controller
            .set_orders(self.pair.now, Wanted { revision: Some(self.revision), share });
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Change(site, key) => {
                match key {
                    Some(key) => self.links.insert(site, key),
                    None => self.links.remove(&site),
                };
                self.revision += 1;
                self.has_share = true;
                self.edition = self.edition.next(share(&self.links));
                self.had.insert(self.revision, Arc::clone(self.edition.share()));
                self.order();
            }
            Step::Nothing => {
                self.has_share = false;
                self.order();
            }
            Step::Deliver(up, octets) => self.pair.deliver(up, octets),
            Step::Settle => self.pair.settle(),
            Step::Befall(up, which, fault) => self.befall(up, which, fault),
            Step::Wait(milliseconds) => self.pair.wait(Duration::from_millis(milliseconds)),
            Step::Sleep => {
                self.pair.now += Duration::from_secs(3600);
                self.pair.wait(Duration::ZERO);
            }
            Step::Cut => self.connect(),
            Step::Apply => {
                self.reported = self.told.as_ref().and_then(Holding::revision);
                self.report();
            }
            Step::Restart => {
                self.edition = Arc::new(Edition::new(share(&self.links)));
                self.connect();
            }
        }
        self.look();
    }

    fn report(&mut self) {
        self.pair.gateway.report(Report { applied: self.reported, ..Report::default() });
    }

    fn connect(&mut self) {
        self.look();
        self.pair = Pair::new(self.pair.now, self.told.clone(), None);
        self.sessions += 1;
        self.order();
        self.report();
    }

    fn befall(&mut self, up: bool, which: usize, fault: Fault) {
        self.pair.collect();
        let frames = match up {
            true => &mut self.pair.up.frames,
            false => &mut self.pair.down.frames,
        };
        let Some(which) = which.checked_rem(frames.len()) else { return };
        match fault {
            Fault::Lose => drop(frames.remove(which)),
            Fault::Repeat => frames.insert(which, frames[which].clone()),
            Fault::Swap if which + 1 < frames.len() => frames.swap(which, which + 1),
            Fault::Swap => {}
            Fault::Flip(at) => {
                let frame = &mut frames[which];
                let at = at % (8 * frame.len());
                frame[at / 8] ^= 1 << (at % 8);
                self.is_flipped = true;
            }
        }
    }

    /// Takes note of what the ends told, and sees that it can be true.
    fn look(&mut self) {
        self.pair.collect();
        for event in self.pair.of_gateway.iter().filter_map(|event| match event {
            GatewayEvent::Orders { share: Ok(holding), .. } => Some(holding),
            _ => None,
        }) {
            let is_of_controller = match holding_of(event, &self.had) {
                Some(was) => was == **event.share(),
                None => false,
            };
            let was_ever = self.had.values().any(|was| was == event.share());
            assert!(was_ever, "a share that the controller never had");
            if !self.is_flipped {
                assert!(is_of_controller, "a share of another revision");
                let before = self.told.as_ref().and_then(Holding::revision);
                assert!(event.revision() >= before, "a revision came back");
            }
            self.told = Some(event.clone());
        }
        for event in &self.pair.of_controller {
            if let ControllerEvent::Report(report) = event {
                self.known = report.applied;
                assert!(
                    self.is_flipped || report.applied <= self.reported.max(Some(self.revision))
                );
            }
        }
        let closed = [
            self.pair.of_gateway.iter().filter(|it| matches!(it, GatewayEvent::Closed(_))).count(),
            self.pair
                .of_controller
                .iter()
                .filter(|it| matches!(it, ControllerEvent::Closed(_)))
                .count(),
        ];
        assert!(closed.iter().all(|count| *count <= 1), "closed twice");
        assert_eq!(self.pair.gateway.holding(), self.told.as_ref(), "it keeps another share");
        // Each end has at most one message of each kind under way.
        let bound = 100_000;
        let under_way = |frames: &std::collections::VecDeque<Vec<u8>>| -> usize {
            frames.iter().map(Vec::len).sum()
        };
        assert!(under_way(&self.pair.up.frames) + under_way(&self.pair.down.frames) < bound);
        if !self.pair.is_over() {
            self.pair.of_gateway.clear();
            self.pair.of_controller.clear();
        }
    }

    /// The network is as it should be from now on, and a connection that ends is followed by another. Gives how many
    /// there were.
    fn heal(&mut self) -> usize {
        let before = self.sessions;
        self.has_share = true;
        self.revision += 1;
        self.had.insert(self.revision, Arc::clone(self.edition.share()));
        self.order();
        for _ in 0..(2 * SILENCE.as_secs()) {
            self.pair.go_on(Duration::from_secs(1));
            self.look();
            if self.pair.is_over() {
                self.connect();
            }
        }
        self.reported = self.told.as_ref().and_then(Holding::revision);
        self.report();
        self.pair.go_on(Duration::from_secs(1));
        self.look();
        self.sessions - before
    }
}

fn holding_of(holding: &Holding, had: &BTreeMap<u64, Arc<Share>>) -> Option<Share> {
    Some((**had.get(&holding.revision()?)?).clone())
}

fn run(steps: Vec<Step>) {
    let mut world = World::new();
    for step in steps {
        world.step(step);
    }
    let sessions = world.heal();
    assert!(sessions <= 2, "{sessions} connections until all was well");
    let told = world.told.as_ref().expect("it was told something");
    assert_eq!(told.share(), world.edition.share(), "it does not have the last share");
    assert_eq!(told.revision(), Some(world.revision));
    assert_eq!(world.known, Some(world.revision), "the controller does not know it");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn whatever_happens_the_gateway_gets_there(
        steps in proptest::collection::vec(troubled(), 0..120),
    ) {
        run(steps);
    }

    /// Where nothing is lost, silence alone ends a session.
    #[test]
    fn nothing_ends_by_itself(steps in proptest::collection::vec(quiet(), 0..120)) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
            let (one, other) = (world.pair.gateway_closed(), world.pair.controller_closed());
            for reason in [one, other].into_iter().flatten() {
                let is_silence = reason.starts_with("nothing was heard for")
                    || reason.starts_with("it did not say who it is");
                prop_assert!(is_silence, "{}", reason);
            }
            if world.pair.is_over() {
                world.connect();
            }
        }
    }
}
