//! What the daemon knows of the underlay's paths to its peers, and the surveys under way.
//!
//! Owned by [`super::links`], which says which addresses matter. Surveys run in tasks of their own,
//! a few at a time, and their outcomes are taken in when the next look is taken; nothing waits for
//! them.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;

use super::dial::Answers;
use super::survey::{self, Surveyed};
use crate::netlink::{Netlink, Path};

/// How often a known size is confirmed, so that a path that became smaller is noticed.
pub(super) const CONFIRM_INTERVAL: Duration = Duration::from_secs(60);

/// How often a larger size is looked for: PMTU_RAISE_TIMER of RFC 8899 section 5.1.1.
pub(super) const RAISE_INTERVAL: Duration = Duration::from_secs(600);

/// How often an endpoint that is to be returned to is asked whether it answers.
const WATCH_INTERVAL: Duration = Duration::from_secs(5);

/// Surveys at a time.
const AT_A_TIME: usize = 8;

/// How the size of a path's packets is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// Packets of that size were answered.
    Probed,
    /// The first survey is not over.
    NotYet,
    /// Nothing answers: it is what this host's routes say.
    Unanswered,
    /// This host cannot ask.
    CannotAsk,
}

/// One path.
#[derive(Debug)]
struct Survey {
    path: Path,
    size: Option<u32>,
    known: Known,
    answered: Option<Instant>,
    answers: Answers,
    asking: bool,
    asked: Option<Instant>,
    raised: Option<Instant>,
}

#[derive(Debug)]
struct Outcome {
    to: IpAddr,
    path: Path,
    surveyed: io::Result<Surveyed>,
}

/// All paths that matter.
#[derive(Debug)]
pub(super) struct Paths {
    surveys: BTreeMap<IpAddr, Survey>,
    outcomes: mpsc::Receiver<Outcome>,
    outcome: mpsc::Sender<Outcome>,
    places: Arc<Semaphore>,
    tasks: JoinSet<()>,
    /// When the routes were asked; nothing if they may have changed since.
    asked: Option<Instant>,
    /// What an earlier daemon found.
    recalled: BTreeMap<IpAddr, u32>,
}

impl Paths {
    /// Paths of which an earlier daemon found this.
    pub(super) fn new(recalled: BTreeMap<IpAddr, u32>) -> Self {
        let (outcome, outcomes) = mpsc::channel(AT_A_TIME);
        Self {
            surveys: BTreeMap::new(),
            outcomes,
            outcome,
            places: Arc::new(Semaphore::new(AT_A_TIME)),
            tasks: JoinSet::new(),
            asked: None,
            recalled,
        }
    }

    /// Takes note that addresses or routes changed.
    pub(super) fn changed(&mut self) {
        self.asked = None;
    }

    /// Takes in what surveys found, and begins those that are due. `watched` are addresses that are
    /// only asked whether they answer. Gives the addresses to which packets now go another way.
    pub(super) async fn tend(
        &mut self,
        used: &BTreeSet<IpAddr>,
        watched: &BTreeSet<IpAddr>,
        netlink: &Netlink,
    ) -> Vec<IpAddr> {
        while self.tasks.try_join_next().is_some() {}
        while let Ok(outcome) = self.outcomes.try_recv() {
            self.take_in(outcome);
        }
        self.surveys.retain(|to, _| used.contains(to) || watched.contains(to));
        let ask = self.asked.is_none_or(|asked| asked.elapsed() >= CONFIRM_INTERVAL);
        if ask {
            self.asked = Some(Instant::now());
        }
        let mut moved = Vec::new();
        for to in used.union(watched) {
            if !ask && self.surveys.contains_key(to) {
                self.begin(*to, used.contains(to));
                continue;
            }
            let Ok(path) = netlink.path_to(*to).await else { continue };
            match self.surveys.get_mut(to) {
                Some(survey) if survey.path.differs(&path) => {
                    survey.begin_anew(path);
                    moved.push(*to);
                }
                Some(survey) => survey.path = path,
                None => {
                    let size = self.recalled.remove(to);
                    self.surveys.insert(*to, Survey { size, ..Survey::new(path) });
                }
            }
            self.begin(*to, used.contains(to));
        }
        moved
    }

    /// The largest packet to an address, and how that is known; nothing if there is no way there.
    pub(super) fn size(&self, to: IpAddr) -> Option<(u32, Known)> {
        let survey = self.surveys.get(&to)?;
        let size = survey.size.map(|size| size.min(survey.path.first_hop));
        Some((size.unwrap_or_else(|| survey.path.mtu()), survey.known))
    }

    /// What was found by probing, to be recalled.
    pub(super) fn found(&self) -> BTreeMap<IpAddr, u32> {
        let probed = self.surveys.iter().filter(|(_, it)| it.known == Known::Probed);
        probed.filter_map(|(to, survey)| Some((*to, survey.size?))).collect()
    }

    /// Whether the first survey of a path is not over.
    pub(super) fn awaits(&self, to: IpAddr) -> bool {
        self.surveys.get(&to).is_some_and(|survey| survey.known == Known::NotYet)
    }

    /// Whether an address answers.
    pub(super) fn answers(&self, to: IpAddr) -> Answers {
        self.surveys.get(&to).map_or(Answers::Never, |survey| survey.answers)
    }

    fn take_in(&mut self, Outcome { to, path, surveyed }: Outcome) {
        let Some(survey) = self.surveys.get_mut(&to) else { return };
        survey.asking = false;
        if survey.path.differs(&path) {
            return;
        }
        let before = (survey.size, survey.known);
        match surveyed {
            Ok(Surveyed::Carries(size)) => {
                survey.answers = Answers::Yes;
                survey.answered = Some(Instant::now());
                if size > 0 {
                    (survey.size, survey.known) = (Some(size), Known::Probed);
                }
            }
            Ok(Surveyed::Silent) if survey.answered.is_some() => {
                survey.answers = Answers::NoLonger;
            }
            Ok(Surveyed::Silent) => survey.known = Known::Unanswered,
            Err(error) => {
                if survey.known != Known::CannotAsk {
                    tracing::warn!(%to, %error, "cannot probe the path to a peer");
                }
                survey.known = Known::CannotAsk;
            }
        }
        if (survey.size, survey.known) != before {
            tell(to, survey);
        }
    }

    fn begin(&mut self, to: IpAddr, used: bool) {
        let Some(survey) = self.surveys.get_mut(&to) else { return };
        let passed = |then: Option<Instant>, interval| {
            then.is_none_or(|then: Instant| then.elapsed() >= interval)
        };
        let interval = if used { CONFIRM_INTERVAL } else { WATCH_INTERVAL };
        if survey.asking || !passed(survey.asked, interval) {
            return;
        }
        survey.asking = true;
        survey.asked = Some(Instant::now());
        let anew = used && passed(survey.raised, RAISE_INTERVAL);
        if anew {
            survey.raised = survey.asked;
        }
        let (path, known) = (survey.path, survey.size);
        let (places, outcome) = (Arc::clone(&self.places), self.outcome.clone());
        self.tasks.spawn(async move {
            let Ok(_place) = places.acquire_owned().await else { return };
            let (found, finding) = oneshot::channel();
            // Not one of the runtime's threads: a runtime does not end before all of those do.
            let thread = std::thread::Builder::new().name("survey".into()).spawn(move || {
                let surveyed = if used {
                    survey::survey(to, path, known, anew)
                } else {
                    let answers = survey::answers(to);
                    answers.map(|yes| if yes { Surveyed::Carries(0) } else { Surveyed::Silent })
                };
                // Nobody listens any more when the daemon ends.
                let _ = found.send(surveyed);
            });
            let surveyed = match thread {
                Ok(_) => finding.await.unwrap_or_else(|_| Err(io::Error::other("it panicked"))),
                Err(error) => Err(error),
            };
            // As above.
            let _ = outcome.send(Outcome { to, path, surveyed }).await;
        });
    }
}

impl Survey {
    fn new(path: Path) -> Self {
        Self {
            path,
            size: None,
            known: Known::NotYet,
            answered: None,
            answers: Answers::Never,
            asking: false,
            asked: None,
            raised: None,
        }
    }

    fn begin_anew(&mut self, path: Path) {
        *self = Self {
            asking: self.asking,
            answered: self.answered,
            answers: self.answers,
            ..Self::new(path)
        };
    }
}

fn tell(to: IpAddr, survey: &Survey) {
    match survey.known {
        Known::Probed => {
            tracing::info!(%to, packet = survey.size, "the path to a peer was probed");
        }
        Known::Unanswered => tracing::info!(
            %to,
            packet = survey.path.mtu(),
            "assumed what the path carries: the endpoint does not answer probes"
        ),
        Known::NotYet | Known::CannotAsk => {}
    }
}
