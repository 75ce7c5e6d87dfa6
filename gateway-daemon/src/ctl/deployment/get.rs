//! `get` and `describe`: what there is, once or as it changes.

use std::ops::ControlFlow;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use gateway_control::resource::{Kind, Selector};
use tokio::signal::unix::{SignalKind, signal};

use super::Session;
use super::arguments::GetArguments;
use super::change::is_not_found;
use super::describe::Description;
use super::kinds::{self, Wanted};
use super::related::related;
use super::rows::{self, Known};
use super::usage::UsageError;
use crate::api::wire::{EventQuery, Reference, Selection, View, Watched};
use crate::ctl::Output;
use crate::ctl::print::{is_anybody_reading, print, put, say, yaml};

/// Most resources that one answer may have.
const MOST: usize = 1 << 20;
/// How often it is looked whether anybody still reads.
const LOOK: Duration = Duration::from_secs(1);

impl Session {
    /// Lists resources, and goes on if that is asked for.
    pub(super) async fn get(&self, arguments: &GetArguments) -> Result<()> {
        let GetArguments { what, selector, watch } = arguments;
        let wanted = kinds::wanted(what)?;
        if matches!(wanted, Wanted::Named(_)) && selector.is_some() {
            return Err(UsageError::NamesAndSelector.into());
        }
        if *watch {
            return self.watch(&wanted, selector.as_ref()).await;
        }
        let is_one = matches!(&wanted, Wanted::Named(named) if named.len() == 1);
        let views = self.views(&wanted, selector.as_ref()).await?;
        let text = match self.output {
            Output::Table | Output::Wide => {
                let is_wide = self.output == Output::Wide;
                rows::tables(&views, &self.known(&views).await?, is_wide)
            }
            Output::Name => views.iter().map(|view| line(&kinds::of_view(view))).collect(),
            Output::Yaml => {
                let documents = views.iter().map(yaml).collect::<std::io::Result<Vec<_>>>()?;
                documents.join("---\n")
            }
            Output::Json => match views.as_slice() {
                [view] if is_one => serde_json::to_string_pretty(view)? + "\n",
                views => serde_json::to_string_pretty(views)? + "\n",
            },
        };
        say(&text)?;
        Ok(())
    }

    async fn views(&self, wanted: &Wanted, selector: Option<&Selector>) -> Result<Vec<View>> {
        let mut views = Vec::new();
        match wanted {
            Wanted::All => views = self.list(None, selector).await?,
            Wanted::Kinds(kinds) => {
                for kind in kinds {
                    views.extend(self.list(Some(*kind), selector).await?);
                }
            }
            Wanted::Named(named) => {
                for reference in named {
                    views.push(self.view(reference).await?);
                }
            }
        }
        Ok(views)
    }

    /// One resource that is there.
    pub(super) async fn view(&self, reference: &Reference) -> Result<View> {
        let Reference { kind, name } = reference;
        self.client.view(kind, name).await.map_err(|error| match is_not_found(&error) {
            true => anyhow!(
                "there is no {} {name}; `gatewayctl get {}` lists what there is",
                kind.to_lowercase(),
                kinds::plural(kind)
            ),
            false => error.into(),
        })
    }

    /// What tables need to know beside the resources.
    async fn known(&self, views: &[View]) -> Result<Known> {
        match views.iter().any(|view| view.kind == Kind::Service.word()) {
            true => Ok(Known::of(&self.list(Some(Kind::Exposure), None).await?)),
            false => Ok(Known::default()),
        }
    }

    /// Every resource of a kind or of all kinds.
    pub(super) async fn list(
        &self,
        kind: Option<Kind>,
        selector: Option<&Selector>,
    ) -> Result<Vec<View>> {
        let mut selection = Selection {
            kind: kind.map(|kind| kind.word().to_owned()),
            selector: selector.map(ToString::to_string),
            ..Selection::default()
        };
        let mut views = Vec::new();
        loop {
            let page = self.client.page(&selection).await?;
            let is_empty = page.items.is_empty();
            views.extend(page.items);
            if page.next.is_none() {
                return Ok(views);
            }
            if is_empty || views.len() > MOST {
                bail!("the controller's list does not end; use a gatewayctl of its version");
            }
            selection.after = page.next;
        }
    }

    async fn watch(&self, wanted: &Wanted, selector: Option<&Selector>) -> Result<()> {
        let kind = match wanted {
            Wanted::Kinds(kinds) => match kinds.as_slice() {
                [kind] => Some(kind.word().to_owned()),
                _ => None,
            },
            Wanted::Named(named) => {
                let first = named.first().map(|it| it.kind.clone());
                first.filter(|kind| named.iter().all(|it| it.kind == *kind))
            }
            Wanted::All => None,
        };
        let selector = selector.map(ToString::to_string);
        let selection = Selection { kind: kind.clone(), selector, ..Selection::default() };
        if let Wanted::Named(named) = wanted {
            for reference in named {
                // What is not there is an error, as without --watch.
                self.view(reference).await?;
            }
        }
        let mut watching = self.client.watch(&selection).await?;
        let is_wide = self.output == Output::Wide;
        if matches!(self.output, Output::Table | Output::Wide) {
            say(&rows::heading(kind.as_deref(), is_wide))?;
        }
        let mut interrupts = signal(SignalKind::interrupt())?;
        let mut terminations = signal(SignalKind::terminate())?;
        let mut looks = tokio::time::interval(LOOK);
        loop {
            let watched = tokio::select! {
                _ = interrupts.recv() => return Ok(()),
                _ = terminations.recv() => return Ok(()),
                watched = watching.next() => watched?,
                _ = looks.tick() => {
                    if is_anybody_reading() {
                        continue;
                    }
                    return Ok(());
                }
            };
            let Some(watched) = watched else {
                bail!("the controller ended the watch; it may have been stopped or started anew");
            };
            let watched = only(wanted, watched);
            if watched.put.is_empty() && watched.deleted.is_empty() {
                continue;
            }
            if self.show(&watched, kind.as_deref(), is_wide)?.is_break() {
                return Ok(());
            }
        }
    }

    fn show(
        &self,
        watched: &Watched,
        kind: Option<&str>,
        is_wide: bool,
    ) -> Result<ControlFlow<()>> {
        let gone = |what: &Reference| format!("{} deleted\n", kinds::shown(what));
        let gone = watched.deleted.iter().map(gone);
        let text: String = match self.output {
            Output::Table | Output::Wide => {
                watched.put.iter().map(|it| rows::row(it, kind, is_wide)).chain(gone).collect()
            }
            Output::Name => {
                watched.put.iter().map(|it| line(&kinds::of_view(it))).chain(gone).collect()
            }
            Output::Json => serde_json::to_string(watched)? + "\n",
            Output::Yaml => format!("---\n{}", yaml(watched)?),
        };
        Ok(put(text.as_bytes())?)
    }

    /// Shows all about a resource.
    pub(super) async fn describe(&self, kind: &str, name: Option<&str>) -> Result<()> {
        let form = self.output.form()?;
        let reference = kinds::one(kind, name)?;
        let resource = self.view(&reference).await?;
        let Reference { kind, name } = reference;
        let query = EventQuery { kind: Some(kind), name: Some(name), limit: None };
        let events = self.client.events(&query).await?.items;
        let related = related(&resource, &self.list(None, None).await?);
        Ok(print(&Description { resource, related, events }, form)?)
    }
}

fn line(reference: &Reference) -> String {
    kinds::shown(reference) + "\n"
}

/// Of what changes, what is wanted.
fn only(wanted: &Wanted, watched: Watched) -> Watched {
    let is_wanted = |reference: &Reference| match wanted {
        Wanted::All => true,
        Wanted::Kinds(kinds) => kinds.iter().any(|kind| kind.word() == reference.kind),
        Wanted::Named(named) => named.contains(reference),
    };
    let Watched { revision, mut put, mut deleted } = watched;
    put.retain(|view| is_wanted(&kinds::of_view(view)));
    deleted.retain(is_wanted);
    Watched { revision, put, deleted }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn a_watch_shows_what_is_wanted() {
        let all = Watched { revision: 7, put: sample::views(), deleted: vec![] };
        let count = |words: &[&str]| {
            let words: Vec<_> = words.iter().map(|&word| word.to_owned()).collect();
            only(&kinds::wanted(&words).unwrap(), all.clone()).put.len()
        };
        assert_eq!(count(&["all"]), all.put.len());
        assert_eq!(count(&["site,gw"]), 3);
        assert_eq!(count(&["svc", "rabbitmq.cloud"]), 1);
        assert_eq!(count(&["svc", "other.cloud"]), 0);
    }
}
