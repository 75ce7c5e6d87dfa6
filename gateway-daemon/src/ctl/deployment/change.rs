//! The commands that change what is declared, and `diff`, which says what they would.

use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow, bail};
use gateway_control::resource::Resource;
use nix::unistd::{User, geteuid};
use serde::Serialize;
use serde_json::Value;

use super::Session;
use super::arguments::{
    ApplyArguments, ChangeArguments, DeleteArguments, DiffArguments, EditArguments,
    ImportArguments, LabelArguments, LabelChange, NewArguments, WaitArguments,
};
use super::build;
use super::edit::{Declaration, edit};
use super::fields::{self, Difference, Differences};
use super::files::Files;
use super::init::documents;
use super::kinds::{self, Wanted};
use super::outcome::{Told, named};
use super::usage::{Incomparable, Refused, UsageError};
use super::wait::{Awaited, wait};
use crate::api::client::ClientError;
use crate::api::wire::{ApplyQuery, Deletion, ErrorWord, Fate, Outcome, Reference, View};
use crate::config::SiteFile;
use crate::ctl::Output;
use crate::ctl::print::{print, say, yaml};

/// Up to so many resources are asked for one by one.
const FEW: usize = 20;
/// How often labels are set anew because somebody else changed the resource meanwhile.
const LABEL_ATTEMPTS: usize = 16;

impl Session {
    /// Applies files.
    pub(super) async fn apply(&self, arguments: &ApplyArguments) -> Result<()> {
        let ApplyArguments { files, change, waiting } = arguments;
        let files = Files::read(&files.files)?;
        let outcome = self.sent(&files, files.body(), &query(change)).await?;
        self.tell(outcome.clone(), change.dry_run)?;
        self.wait_for(outcome, *waiting).await
    }

    /// Waits until gateways have in force what a change did, if that is asked for.
    async fn wait_for(&self, outcome: Outcome, waiting: WaitArguments) -> Result<()> {
        let Some(patience) = waiting.wait else { return Ok(()) };
        let mut awaited = match outcome.revision {
            Some(revision) => {
                let gateways = outcome.gateways.into_iter().filter(|it| it.gateway.is_some());
                Awaited::new(Some(revision), gateways.map(|it| it.site))
            }
            // It was declared before, but may not be in force yet.
            None => Awaited::new(None, self.sites_of(&outcome.resources).await?),
        };
        wait(&self.client, &mut awaited, patience.0).await
    }

    /// The sites whose gateways have a part in resources.
    async fn sites_of(&self, fates: &[Fate]) -> Result<Vec<String>> {
        let views = self.stored(fates).await?;
        let states = views.into_iter().flat_map(|view| view.status.gateways);
        Ok(states.filter(|it| it.gateway.is_some()).map(|it| it.site).collect())
    }

    /// The stored resources of these.
    async fn stored(&self, fates: &[Fate]) -> Result<Vec<View>> {
        let mut views = Vec::new();
        if fates.len() <= FEW {
            for fate in fates {
                match self.client.view(&fate.kind, &fate.name).await {
                    Ok(view) => views.push(view),
                    Err(error) if is_not_found(&error) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            return Ok(views);
        }
        let wanted: std::collections::BTreeSet<_> = fates.iter().map(named).collect();
        views = self.list(None, None).await?;
        views.retain(|view| wanted.contains(&kinds::shown(&kinds::of_view(view))));
        Ok(views)
    }

    async fn sent(&self, files: &Files, body: String, query: &ApplyQuery) -> Result<Outcome> {
        self.client.apply(query, body).await.map_err(|error| files.refused(error))
    }

    /// Says what a change did.
    fn tell(&self, outcome: Outcome, dry_run: bool) -> Result<()> {
        if self.output == Output::Name {
            return names(&outcome);
        }
        Ok(print(&Told { outcome, dry_run }, self.output.form()?)?)
    }

    /// Prints a resource, or declares it if there is none of its name yet.
    pub(super) async fn create(&self, resource: &Resource, arguments: &NewArguments) -> Result<()> {
        if self.prints(resource)? {
            return Ok(());
        }
        self.is_free(resource).await?;
        let NewArguments { dry_run, manager, waiting } = arguments.clone();
        let change = ChangeArguments { dry_run, force: false, manager };
        let outcome = self.declare(resource, &change).await?;
        self.wait_for(outcome, waiting).await
    }

    /// Fails if there is a resource of this one's name already.
    pub(super) async fn is_free(&self, resource: &Resource) -> Result<()> {
        let Reference { kind, name } = kinds::of_key(&resource.key());
        match self.client.view(&kind, &name).await {
            Err(error) if is_not_found(&error) => Ok(()),
            Err(error) => Err(error.into()),
            Ok(_) => {
                let key = resource.key();
                bail!(
                    "{key}: there is one already; change it with `gatewayctl edit`, or delete it first"
                );
            }
        }
    }

    /// Prints what would be applied, if the output is one for that.
    fn prints(&self, resource: &impl Serialize) -> Result<bool> {
        let text = match self.output {
            Output::Yaml => yaml(resource)?,
            Output::Json => serde_json::to_string_pretty(resource)? + "\n",
            Output::Table | Output::Wide | Output::Name => return Ok(false),
        };
        say(&text)?;
        Ok(true)
    }

    async fn declare(
        &self,
        resource: &impl Serialize,
        change: &ChangeArguments,
    ) -> Result<Outcome> {
        let outcome = self.declared(resource, change).await?;
        self.tell(outcome.clone(), change.dry_run)?;
        Ok(outcome)
    }

    /// Declares a resource, and says nothing of it.
    pub(super) async fn declared(
        &self,
        resource: &impl Serialize,
        change: &ChangeArguments,
    ) -> Result<Outcome> {
        let body = serde_json::to_string(resource)?;
        self.sent(&Files::default(), body, &query(change)).await
    }

    /// Sets and removes labels.
    pub(super) async fn label(&self, arguments: &LabelArguments) -> Result<()> {
        for _ in 1..LABEL_ATTEMPTS {
            match self.label_once(arguments).await {
                Err(error) if is_outrun(&error) => {}
                done => return done,
            }
        }
        self.label_once(arguments).await
    }

    /// Fails if the resource is changed between reading and writing it.
    async fn label_once(&self, arguments: &LabelArguments) -> Result<()> {
        let LabelArguments { kind, name, labels, change } = arguments;
        let view = self.view(&kinds::one(kind, Some(name))?).await?;
        let changed = build::relabelled(&view.metadata.labels, labels)?;
        let declaration = Declaration::with_labels(&view, &changed);
        if self.prints(&declaration)? {
            return Ok(());
        }
        let manager = manager(change.manager.as_deref());
        for label in labels {
            let LabelChange::Remove(key) = label else { continue };
            let holder = view.metadata.managers.get(&format!("metadata.labels.{key}"));
            if let Some(holder) = holder.filter(|holder| **holder != manager) {
                bail!(
                    "label {key} was set by {holder}, and what others have set stays; remove it with \
                     --manager {holder}"
                );
            }
        }
        self.declare(&declaration, change).await.map(drop)
    }

    /// Deletes resources.
    pub(super) async fn delete(&self, arguments: &DeleteArguments) -> Result<()> {
        let DeleteArguments { what, files, dry_run, waiting } = arguments;
        let files = Files::read(files)?;
        let resources = match what.as_slice() {
            [] => files.resources()?.iter().map(|it| kinds::of_key(&it.key())).collect(),
            words => match kinds::wanted(words)? {
                Wanted::Named(named) => named,
                Wanted::All | Wanted::Kinds(_) => return Err(UsageError::NoNames.into()),
            },
        };
        let deletion = Deletion { resources, dry_run: *dry_run };
        let outcome = self.client.delete(&deletion).await;
        let outcome = outcome.map_err(|error| Files::default().refused(error))?;
        self.tell(outcome.clone(), *dry_run)?;
        self.wait_for(outcome, *waiting).await
    }

    /// Says what applying files would change; the exit code says whether anything would.
    pub(super) async fn diff(&self, arguments: &DiffArguments) -> Result<ExitCode> {
        let compared = async {
            let form = self.output.form()?;
            let differences = self.differences(arguments).await?;
            print(&differences, form)?;
            Ok(if differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        };
        compared.await.map_err(|error| Incomparable(error).into())
    }

    async fn differences(&self, arguments: &DiffArguments) -> Result<Differences> {
        let DiffArguments { files, force, manager: name } = arguments;
        let files = Files::read(&files.files)?;
        let query = ApplyQuery { dry_run: true, force: *force, manager: name.clone() };
        let outcome = self.sent(&files, files.body(), &query).await?;
        let mut fates = outcome.resources;
        fates.retain(|fate| fate.fate != "unchanged");
        let stored = self.stored(&fates).await?;
        let declared = files.resources()?;
        let manager = manager(name.as_deref());
        let differences = fates.into_iter().map(|fate| {
            let resource = Reference { kind: fate.kind, name: fate.name };
            let view = stored.iter().find(|view| kinds::of_view(view) == resource);
            let file = declared.iter().find(|it| kinds::of_key(&it.key()) == resource);
            let file = file.map(serde_json::to_value).transpose()?.unwrap_or(Value::Null);
            let fields = fields::changes(view, &file, &manager);
            Ok(Difference { resource, fate: fate.fate, fields })
        });
        let resources = differences.collect::<Result<_>>()?;
        Ok(Differences { resources, gateways: outcome.gateways })
    }

    /// Lets the operator edit a resource, and applies what he made of it.
    pub(super) async fn edit(&self, arguments: &EditArguments) -> Result<()> {
        let EditArguments { kind, name, change } = arguments;
        self.output.form()?;
        let reference = kinds::one(kind, name.as_deref())?;
        let view = self.view(&reference).await?;
        let edited = edit(&view)?;
        let path = edited.path;
        let Some(text) = edited.text else {
            std::fs::remove_file(&path)
                .with_context(|| format!("cannot remove {}", path.display()))?;
            say(&format!("{}: nothing was changed\n", kinds::shown(&reference)))?;
            return Ok(());
        };
        let files = Files::one(path.display().to_string(), text);
        let applied = async {
            is_still(&reference, &files)?;
            self.sent(&files, files.body(), &query(change)).await
        };
        let outcome = applied.await.map_err(|error| {
            error.context(format!(
                "nothing was changed; what you wrote is kept in {0}: correct it and run `gatewayctl apply -f {0}`",
                path.display()
            ))
        })?;
        std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        self.tell(outcome, change.dry_run)
    }

    /// Applies the resources that site files come to.
    pub(super) async fn import(&self, arguments: &ImportArguments) -> Result<()> {
        let resources = imported(arguments)?;
        let change = ChangeArguments {
            dry_run: arguments.dry_run,
            force: arguments.force,
            manager: arguments.manager.clone(),
        };
        let body = documents(&resources)?;
        let outcome = self.sent(&Files::default(), body, &query(&change)).await?;
        self.tell(outcome, change.dry_run)
    }
}

/// The resources that site files come to.
pub(super) fn imported(arguments: &ImportArguments) -> Result<Vec<Resource>> {
    let models = arguments.files.iter().map(|path| Ok(SiteFile::load(path)?.model));
    let models = models.collect::<Result<Vec<_>>>()?;
    gateway_control::deployment::import::import(&models).map_err(|errors| {
        let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
        UsageError::Content(errors.join("\n")).into()
    })
}

/// Prints the resources of a change by kind and name.
pub(super) fn names(outcome: &Outcome) -> Result<()> {
    let names = outcome.resources.iter().map(|fate| named(fate) + "\n");
    Ok(say(&names.collect::<String>())?)
}

fn query(change: &ChangeArguments) -> ApplyQuery {
    let ChangeArguments { dry_run, force, manager } = change.clone();
    ApplyQuery { dry_run, force, manager }
}

/// In whose name fields are set, as the controller sees it.
fn manager(named: Option<&str>) -> String {
    let caller = || User::from_uid(geteuid()).ok().flatten().map(|user| user.name);
    named.map(str::to_owned).or_else(caller).unwrap_or_default()
}

/// Whether the controller has nothing of that name.
pub(super) fn is_not_found(error: &ClientError) -> bool {
    matches!(error, ClientError::Refused(refusal) if refusal.error == ErrorWord::NotFound)
}

/// Whether somebody else changed the resource since it was read.
fn is_outrun(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Refused>().is_some_and(|refused| refused.is_outrun)
}

/// What was edited must be what was opened. What cannot be read here is left to the controller to refuse.
fn is_still(opened: &Reference, files: &Files) -> Result<()> {
    let Ok(resources) = files.resources() else { return Ok(()) };
    match resources.as_slice() {
        [one] if kinds::of_key(&one.key()) == *opened => Ok(()),
        _ => Err(anyhow!(
            "it is another resource than {}, or several; kind and name stay as they are",
            kinds::shown(opened)
        )),
    }
}
