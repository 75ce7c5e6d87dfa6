//! The loop of `flow list --follow`: looks at the flow tables at an interval and prints what became of
//! flows, until it is interrupted, nobody reads any more or the limit is reached. Changes nothing.

use std::io::Write as _;
use std::ops::ControlFlow::{self, Break, Continue};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use gateway_common::map::{Current, Flows, Openings};
use gateway_dataplane::{Inspector, Observed, now};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::MissedTickBehavior;

use super::arguments::{FlowListArguments, Form};
use super::filter::Filter;
use super::flows::Row;
use super::follow::{Event, Follower, Told};
use super::print::{Feed, is_anybody_reading};

/// Follows the flows that `arguments` ask for.
pub(super) async fn follow(
    inspector: &Inspector,
    arguments: &FlowListArguments,
    form: Form,
) -> Result<()> {
    let mut watch = Watch {
        inspector,
        observed: inspector.observe()?,
        filter: Filter::default(),
        follower: Follower::new(Follower::ROOM),
        feed: Feed::new(form),
        left: arguments.limit.map_or(u64::MAX, u64::from),
    };
    watch.filter = Filter::resolve(arguments, &watch.observed.tables)?;
    let mut interrupts = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let mut terminations = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut looks = tokio::time::interval(arguments.interval.0);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    if watch.feed.heading::<Told>()?.is_break() {
        return Ok(());
    }
    loop {
        tokio::select! {
            biased;
            _ = interrupts.recv() => return Ok(()),
            _ = terminations.recv() => return Ok(()),
            _ = looks.tick() => {
                if !is_anybody_reading() || watch.look()?.is_break() {
                    return Ok(());
                }
            }
        }
    }
}

/// What is at hand from look to look.
struct Watch<'a> {
    inspector: &'a Inspector,
    observed: Observed,
    filter: Filter,
    follower: Follower,
    feed: Feed,
    left: u64,
}

impl Watch<'_> {
    /// Looks at all flows once.
    fn look(&mut self) -> Result<ControlFlow<()>> {
        self.keep_names()?;
        let inspector = self.inspector;
        for entry in inspector.each_flow() {
            let (key, flow) = entry?;
            if !self.filter.wants(&self.observed.tables, &key, &flow) {
                continue;
            }
            for event in self.follower.see(&key, &flow) {
                if self.tell(&event)?.is_break() {
                    return Ok(Break(()));
                }
            }
        }
        // The walk may have missed some; only a look at each of them tells.
        for key in self.follower.unseen() {
            let found = match inspector.entry::<Flows>(&key)? {
                Some(flow) => Some(flow),
                None => inspector.entry::<Openings>(&key)?,
            };
            let Some(flow) = found else { continue };
            for event in self.follower.see(&key, &flow) {
                if self.tell(&event)?.is_break() {
                    return Ok(Break(()));
                }
            }
        }
        for event in self.follower.end_look() {
            if self.tell(&event)?.is_break() {
                return Ok(Break(()));
            }
        }
        let left_out = self.follower.left_out();
        if left_out > 0 {
            let text = format!(
                "gatewayctl: {left_out} flows are not followed, since there are more than {}; ask for \
                 fewer with --service, --site, --client, --protocol or --port\n",
                Follower::ROOM
            );
            // Nobody is left to be told if standard error is closed.
            let _ = std::io::stderr().write_all(text.as_bytes());
        }
        Ok(Continue(()))
    }

    /// Reads names anew when the tables changed.
    fn keep_names(&mut self) -> Result<()> {
        if self.inspector.entry::<Current>(&0)? != Some(self.observed.generation) {
            self.observed = self.inspector.observe()?;
        }
        Ok(())
    }

    fn tell(&mut self, event: &Event) -> Result<ControlFlow<()>> {
        let Event { change, key, flow } = event;
        if !self.filter.wants_state(flow.state()) {
            return Ok(Continue(()));
        }
        let Observed { tables, generation, .. } = &self.observed;
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let row = Row::of(tables, *generation, key, flow, now());
        self.left -= 1;
        let reading = self.feed.put(&Told::new(*change, row, at))?;
        Ok(if self.left == 0 { Break(()) } else { reading })
    }
}
