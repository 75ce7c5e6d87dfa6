//! Waits until gateways have in their kernels what was declared.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::timeout;

use super::rows::progress;
use crate::api::client::Client;
use crate::api::wire::{GatewayState, Progress, Selection, Watched};

/// The sites whose gateways are waited for. Pure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Awaited {
    /// What they are to have applied; whatever they are told if it is not known.
    revision: Option<u64>,
    /// As far as they have been seen.
    sites: BTreeMap<String, Option<GatewayState>>,
    /// Of these, those that are waited for only while they are connected.
    connected: BTreeSet<String>,
    /// Of these, those who took no part before and may still say so.
    new: BTreeSet<String>,
}

impl Awaited {
    /// These sites' gateways are to apply this revision, or what they are told.
    pub(super) fn new(revision: Option<u64>, sites: impl IntoIterator<Item = String>) -> Self {
        let sites = sites.into_iter().map(|site| (site, None)).collect();
        Self { revision, sites, connected: BTreeSet::new(), new: BTreeSet::new() }
    }

    /// Those of these sites as well, who take part from now on: that one refuses is what it said before.
    pub(super) fn and_new(mut self, sites: impl IntoIterator<Item = String>) -> Self {
        for site in sites {
            self.sites.entry(site.clone()).or_default();
            self.new.insert(site);
        }
        self
    }

    /// Those of these sites as well, but only while they are connected.
    pub(super) fn and_connected(mut self, sites: impl IntoIterator<Item = String>) -> Self {
        for site in sites {
            self.sites.entry(site.clone()).or_default();
            self.connected.insert(site);
        }
        self
    }

    /// Takes note of what a watch of gateways shows.
    pub(super) fn see(&mut self, watched: &Watched) {
        for state in watched.put.iter().flat_map(|gateway| &gateway.status.gateways) {
            if let Some(seen) = self.sites.get_mut(&state.site) {
                *seen = Some(state.clone());
            }
        }
        for gone in &watched.deleted {
            self.sites.retain(|_, state| {
                state.as_ref().is_none_or(|it| it.gateway.as_ref() != Some(&gone.name))
            });
        }
    }

    fn has_applied(&self, state: &GatewayState) -> bool {
        // What one is told that is new may have been the same for long.
        let revision = self.revision.filter(|_| !self.new.contains(&state.site));
        let wanted = revision.unwrap_or(state.wanted);
        let is_current = state.state == Progress::Applied && state.wanted >= wanted;
        is_current || state.applied.is_some_and(|applied| applied >= wanted)
    }

    /// Whether it is away, and is not waited for.
    fn is_absent(&self, state: &GatewayState) -> bool {
        let is_away = matches!(state.state, Progress::Absent | Progress::Missing);
        let is_awaited = !self.connected.contains(&state.site) || self.new.contains(&state.site);
        is_away && !is_awaited && !self.has_applied(state)
    }

    /// How many have applied it.
    pub(super) fn applied(&self) -> usize {
        self.sites.values().flatten().filter(|state| self.has_applied(state)).count()
    }

    /// The gateways that are away, and are not waited for.
    pub(super) fn absent(&self) -> Vec<String> {
        let away = self.sites.values().flatten().filter(|state| self.is_absent(state));
        away.filter_map(|state| state.gateway.clone()).collect()
    }

    /// How many are done, of how many.
    fn count(&self) -> (u64, u64) {
        (self.applied() as u64, self.sites.len() as u64)
    }

    /// Whether there is nothing to wait for: all are done, have refused it, or are away and not waited for.
    fn is_settled(&self) -> bool {
        self.sites.values().all(|state| {
            state.as_ref().is_some_and(|it| {
                let refuses = it.state == Progress::Refused && !self.new.contains(&it.site);
                self.has_applied(it) || refuses || self.is_absent(it)
            })
        })
    }

    /// Those that are not done, a line each.
    fn left(&self) -> Vec<String> {
        let left = self.sites.iter().filter_map(|(site, state)| match state {
            Some(state) if self.has_applied(state) || self.is_absent(state) => None,
            Some(state) => {
                let name = state.gateway.as_deref().unwrap_or("without a name");
                let why = state.why.as_ref().map_or_else(String::new, |why| format!(": {why}"));
                Some(format!("gateway {name} of site {site} is {}{why}", progress(state.state)))
            }
            None => Some(format!("site {site}: its gateway has not been seen")),
        });
        left.collect()
    }
}

/// Waits at most so long; fails with the names of those that have not applied it by then.
pub(super) async fn wait(client: &Client, awaited: &mut Awaited, patience: Duration) -> Result<()> {
    if awaited.sites.is_empty() {
        return Ok(());
    }
    // A gateway's own resource tells of it alone, however many gateways there are.
    let selection = Selection { kind: Some("Gateway".to_owned()), ..Selection::default() };
    // Draws nothing where standard error is no terminal.
    let bar = ProgressBar::new(awaited.count().1);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} gateways have applied it")
    {
        bar.set_style(style);
    }
    let waiting = async {
        let mut watching = client.watch(&selection).await?;
        while !awaited.is_settled() {
            match watching.next().await? {
                Some(watched) => awaited.see(&watched),
                None => bail!("the controller ended the watch; look at `gatewayctl status`"),
            }
            bar.set_position(awaited.count().0);
        }
        Ok(())
    };
    let waited = timeout(patience, waiting).await;
    bar.finish_and_clear();
    if let Ok(waited) = waited {
        waited?;
    }
    let left = awaited.left();
    if left.is_empty() {
        return Ok(());
    }
    let seconds = patience.as_secs();
    bail!("the change stays, but is not applied everywhere after {seconds}s:\n{}", left.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;
    use crate::api::wire::Reference;

    fn state(site: &str, wanted: u64, applied: Option<u64>, state: Progress) -> Watched {
        let mut view = sample::views()[0].clone();
        let gateway = Some(format!("{site}-gw"));
        let why = (state == Progress::Refused).then(|| "no room".to_owned());
        let state = GatewayState { site: site.to_owned(), gateway, wanted, applied, state, why };
        view.status.gateways = vec![state];
        Watched { revision: wanted, put: vec![view], deleted: vec![] }
    }

    #[test]
    fn it_is_settled_when_all_have_applied_it() {
        let mut awaited = Awaited::new(Some(7), ["a".to_owned(), "b".to_owned()]);
        for (seen, count, settled) in [
            (state("a", 6, Some(6), Progress::Applied), 0, false),
            (state("a", 7, Some(6), Progress::Pending), 0, false),
            (state("a", 7, Some(7), Progress::Applied), 1, false),
            (state("c", 7, Some(7), Progress::Applied), 1, false),
            (state("b", 8, Some(7), Progress::Pending), 2, true),
            (state("b", 7, None, Progress::Absent), 1, false),
            (state("b", 7, None, Progress::Refused), 1, true),
        ] {
            awaited.see(&seen);
            assert_eq!((awaited.count(), awaited.is_settled()), ((count, 2), settled), "{seen:?}");
        }
        assert_eq!(awaited.left(), ["gateway b-gw of site b is refused: no room"]);
        let deleted = vec![Reference { kind: "Gateway".into(), name: "b-gw".into() }];
        awaited.see(&Watched { revision: 9, put: vec![], deleted });
        assert_eq!((awaited.count(), awaited.left()), ((1, 1), vec![]));
    }

    #[test]
    fn without_a_revision_it_is_what_they_are_told() {
        let mut awaited = Awaited::new(None, ["a".to_owned()]);
        assert_eq!(awaited.left(), ["site a: its gateway has not been seen"]);
        awaited.see(&state("a", 4, Some(3), Progress::Pending));
        assert!(!awaited.is_settled());
        awaited.see(&state("a", 4, Some(4), Progress::Applied));
        assert!(awaited.is_settled() && awaited.left().is_empty());
    }

    #[test]
    fn who_is_away_is_not_waited_for_unless_it_is_new() {
        let both = || Awaited::new(Some(7), []).and_new(["a".to_owned()]);
        let both = || both().and_connected(["b".to_owned()]);
        let mut awaited = both();
        awaited.see(&state("b", 7, None, Progress::Absent));
        assert_eq!((awaited.absent(), awaited.is_settled()), (vec!["b-gw".to_owned()], false));
        for before in [Progress::Absent, Progress::Refused] {
            awaited.see(&state("a", 7, None, before));
            assert!(!awaited.is_settled(), "{before:?}");
            assert_eq!(awaited.left().len(), 1, "{before:?}");
        }
        awaited.see(&state("a", 3, Some(3), Progress::Applied));
        assert_eq!((awaited.applied(), awaited.is_settled(), awaited.left()), (1, true, vec![]));
        awaited.see(&state("b", 7, Some(6), Progress::Pending));
        assert!(!awaited.is_settled() && awaited.absent().is_empty(), "it is back");
        awaited.see(&state("b", 7, None, Progress::Refused));
        assert!(awaited.is_settled());
        assert_eq!(awaited.left(), ["gateway b-gw of site b is refused: no room"]);
    }
}
