//! Where a gateway's site comes from: a site file, or a controller together with the gateway's own file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, bail};
use gateway_control::deployment::share::{LocalFacts, Share};
use gateway_control::model::SiteModel;
use gateway_control::site_file::{OwnName, ToldGateway};
use tokio::sync::watch;

use crate::config::{self, Role, SiteFile};
use crate::controller::{Identity, Lack, Orders, Report};
use crate::link::PrivateKey;
use crate::store::Revision;

/// Where a gateway's site comes from.
#[derive(Debug)]
pub(super) enum Source {
    /// All of it from the site file at this path.
    File(PathBuf),
    /// From its own file and from what a controller tells.
    Told(Box<Told>),
}

/// A gateway's end of what it and a controller tell each other. Who carries it is the business of the task at
/// the other end.
#[derive(Debug)]
pub(super) struct Told {
    path: PathBuf,
    own: OwnName,
    facts: LocalFacts,
    /// Its link's private key, if that is in no file.
    link_key: Option<PrivateKey>,
    /// `None` until a controller has said something.
    orders: watch::Receiver<Option<Orders>>,
    identity: watch::Sender<Identity>,
    report: watch::Sender<Report>,
}

/// The other end.
#[derive(Clone, Debug)]
pub(super) struct Wire {
    pub(super) orders: watch::Sender<Option<Orders>>,
    pub(super) identity: watch::Receiver<Identity>,
    pub(super) report: watch::Receiver<Report>,
}

/// What a gateway is to bring in force.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) file: SiteFile,
    /// The revision of the share in it; `None` where there is no controller.
    pub(super) revision: Option<Revision>,
}

impl Told {
    /// Both ends, for a gateway whose own file is at `path`.
    pub(super) fn new(path: &Path, gateway: &ToldGateway) -> Result<(Self, Wire)> {
        let Some(own) = &gateway.own else { bail!("{}: who its gateway is", path.display()) };
        let identity = identity(path, own, gateway, None)?;
        Ok(Self::of(path, own, &gateway.facts, None, None, identity))
    }

    /// Both ends, for a gateway that has joined, with what a controller told it last.
    pub(super) fn joined(
        path: &Path,
        own: &OwnName,
        gateway: &ToldGateway,
        link_key: PrivateKey,
        orders: Option<Orders>,
    ) -> Result<(Self, Wire)> {
        let identity = identity(path, own, gateway, Some(&link_key))?;
        Ok(Self::of(path, own, &gateway.facts, Some(link_key), orders, identity))
    }

    fn of(
        path: &Path,
        own: &OwnName,
        facts: &LocalFacts,
        link_key: Option<PrivateKey>,
        last: Option<Orders>,
        identity: Identity,
    ) -> (Self, Wire) {
        let (orders, mut receiver) = watch::channel(last);
        receiver.mark_changed();
        let (identity, its_identity) = watch::channel(identity);
        let (report, its_report) = watch::channel(Report::default());
        let wire = Wire { orders, identity: its_identity, report: its_report };
        let (path, own, facts) = (path.to_owned(), own.clone(), facts.clone());
        (Self { path, own, facts, link_key, orders: receiver, identity, report }, wire)
    }

    fn site(&self, share: &Share) -> Result<SiteFile> {
        let draft = share.draft(&self.own.name, &self.facts)?;
        let model = SiteModel::check(draft).map_err(|problems| {
            let problems: Vec<_> = problems.iter().map(|it| it.error.to_string()).collect();
            anyhow!(
                "what the controller tells and {} do not go together:\n{}",
                self.path.display(),
                problems.join("\n")
            )
        })?;
        Ok(SiteFile { path: self.path.clone(), model, link_key: self.link_key.clone() })
    }
}

fn identity(
    path: &Path,
    own: &OwnName,
    gateway: &ToldGateway,
    link_key: Option<&PrivateKey>,
) -> Result<Identity> {
    let OwnName { name, site } = own.clone();
    let public_key = match link_key {
        Some(key) => config::public_key_of(key),
        None => config::public_key(path, gateway)?,
    };
    Ok(Identity { site, gateway: name, public_key })
}

impl Source {
    /// What is to be in force now; `None` if nobody has said yet.
    pub(super) fn wanted(&mut self) -> Result<Option<Wanted>> {
        match self {
            Self::File(path) => Ok(Some(Wanted { file: SiteFile::load(path)?, revision: None })),
            Self::Told(told) => {
                let orders = told.orders.borrow_and_update().clone();
                let Some(Orders { revision, share }) = orders else { return Ok(None) };
                let share: Arc<Share> = match share {
                    Ok(share) => share,
                    Err(Lack { why, .. }) => {
                        tracing::warn!(why, "the controller has no share for this gateway");
                        return Ok(None);
                    }
                };
                Ok(Some(Wanted { file: told.site(&share)?, revision }))
            }
        }
    }

    /// Reads the gateway's own file again, where that is not all of it.
    pub(super) fn reread(&mut self) -> Result<()> {
        let Self::Told(told) = self else { return Ok(()) };
        let role = Role::load(&told.path)?;
        let Some((_, gateway)) = role.told() else {
            bail!("{}: its gateway is gone; start gatewayd again", told.path.display());
        };
        let keeps = || format!("gateway {} keeps what it has", told.own.name);
        let own = match (&gateway.own, &told.link_key) {
            (Some(own), None) => own.clone(),
            (None, Some(_)) => told.own.clone(),
            (Some(_), Some(_)) | (None, None) => {
                bail!("{}: whether it joins has changed; start gatewayd again", told.path.display())
            }
        };
        let identity =
            identity(&told.path, &own, gateway, told.link_key.as_ref()).with_context(keeps)?;
        (told.own, told.facts) = (own, gateway.facts.clone());
        told.identity.send_if_modified(|now| {
            let changed = *now != identity;
            *now = identity;
            changed
        });
        Ok(())
    }

    /// Waits until something else is to be in force, as far as a controller says it. Cancel safe.
    pub(super) async fn changed(&mut self) {
        if let Self::Told(told) = self
            && told.orders.changed().await.is_ok()
        {
            return;
        }
        // The other end has a parent that notices its end.
        std::future::pending::<()>().await;
    }

    /// Says how far the gateway is.
    pub(super) fn report(&self, change: impl FnOnce(&mut Report)) {
        let Self::Told(told) = self else { return };
        told.report.send_if_modified(|report| {
            let before = report.clone();
            change(report);
            before != *report
        });
    }

    /// Whether a controller says what is to be in force.
    pub(super) fn is_told(&self) -> bool {
        matches!(self, Self::Told(_))
    }
}
