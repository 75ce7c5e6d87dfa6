//! A gateway that the controller of the same host tells its share, from start to end.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use tokio::task::JoinSet;

use super::source::{Source, Told, Wire};
use super::{Loop, joined};
use crate::config::{GatewayFile, Place};
use crate::instance::Instance;
use crate::session;

/// Serves until it is told to end.
pub(super) async fn serve(file: GatewayFile) -> Result<()> {
    let Place::Socket(controller) = &file.controller else { return joined::serve(file).await };
    let controller = controller.clone();
    let instance = Instance::new(file.gateway.facts.instance.clone());
    let _lock = instance.lock()?;
    let (told, wire) = Told::new(&file.path, &file.gateway)?;
    let looping = Loop::begin(Source::Told(Box::new(told)), instance).await?;
    let mut session = JoinSet::new();
    session.spawn(follow(controller, wire));
    tokio::select! {
        ended = looping.run() => ended,
        Some(ended) = session.join_next() => ended.context("the session's task ended")?,
    }
}

async fn follow(controller: PathBuf, wire: Wire) -> Result<()> {
    session::follow(&controller, wire.orders, wire.identity, wire.report).await
}
