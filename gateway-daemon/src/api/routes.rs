//! What there is to call: each route takes what the caller means, asks the controller, and answers in the words of
//! [`wire`](super::wire).

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{Method, StatusCode, Uri};
use axum::response::Response;
use gateway_control::resource::{MAX_LEN, ManagerName};
use nix::unistd::{Uid, User};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::answer::{json, whole};
use super::connection::{Caller, Operator, Reader};
use super::parse::{Applying, Happened, Listing, Removal};
use super::serve::Server;
use super::wire::{
    ApplyQuery, Deletion, DeploymentStatus, ErrorWord, Event, EventQuery, Events, Fate,
    GatewayChange, ItemChange, Outcome, Page, Refusal, Selection, View,
};
use super::{Refused, backup, body, identity, parse, refusal, watch};
use crate::clock::now;
use crate::controller::{self, Author, ControllerError, Done};

/// Octets of JSON after which a page ends though it may have more resources.
const LONG_PAGE: usize = 4 << 20;
/// Longest body that is no text of resources.
const LONGEST: usize = 2 << 20;
/// How long the host may take to name a user.
const NAMING: Duration = Duration::from_secs(2);

/// Every route, with the OpenAPI document of them.
pub(super) fn described() -> OpenApiRouter<Arc<Server>> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(one))
        .routes(routes!(apply))
        .routes(routes!(delete))
        .routes(routes!(watch::watch))
        .routes(routes!(events))
        .routes(routes!(status))
        .routes(routes!(backup::backup))
        .routes(routes!(identity::identity))
        .routes(routes!(identity::revoke))
        .routes(routes!(identity::accept))
        .routes(routes!(openapi))
}

/// Every route, and an answer for what is none.
pub(super) fn router(server: &Arc<Server>) -> Router {
    let (router, _) = described().split_for_parts();
    router.fallback(no_path).method_not_allowed_fallback(no_method).with_state(Arc::clone(server))
}

async fn no_path(uri: Uri) -> Refused {
    let path: String = uri.path().chars().take(200).collect();
    let message = format!("there is no path {path:?}; /v1/openapi.json has all that there are");
    Refused::new(ErrorWord::NotFound, message)
}

async fn no_method(method: Method, uri: Uri) -> Refused {
    let path: String = uri.path().chars().take(200).collect();
    let method: String = method.as_str().chars().take(40).collect();
    let remedy = "use one of those that the answer's Allow has";
    Refused::bad_request(format!("there is no {method:?} of {path:?}; {remedy}"))
        .with_status(StatusCode::METHOD_NOT_ALLOWED)
}

/// List resources
///
/// Those that others refer to come first, then by name. Pages stay right while resources come and go: one that is there
/// all the time is on one page, and none is on two.
#[utoipa::path(
    get,
    path = "/v1/resources",
    params(Selection),
    responses((status = 200, description = "A page of the resources that are selected.", body = Page))
)]
async fn list(State(server): State<Arc<Server>>, _: Reader, uri: Uri) -> Result<Response, Refused> {
    let Listing { wanted, limit, after } = parse::listing(&uri)?;
    let found = server.controller.list(&wanted, after.as_ref(), limit, now()).await?;
    let mut items = found.views;
    let (mut octets, mut fit) = (0, 0_usize);
    for item in &items {
        octets += super::answer::to_json(item)?.len();
        if fit > 0 && octets > LONG_PAGE {
            break;
        }
        fit += 1;
    }
    let last = match items.get(fit.saturating_sub(1)) {
        Some(last) if fit < items.len() => Some(watch::key(last)?),
        _ => found.last,
    };
    items.truncate(fit);
    let revision = found.revision.unwrap_or_default().number();
    let next = last.as_ref().map(parse::token);
    json(&server, &Page { items, revision, next }).await
}

/// Get a resource
#[utoipa::path(
    get,
    path = "/v1/resources/{kind}/{name}",
    params(
        ("kind" = String, Path, description = "Its kind: the word in any case, singular or plural."),
        ("name" = String, Path, description = "Its name; of a service `SERVICE.SITE`."),
    ),
    responses(
        (status = 200, description = "The resource.", body = View),
        (status = 404, description = "There is none of this name.", body = Refusal),
    )
)]
async fn one(
    State(server): State<Arc<Server>>,
    _: Reader,
    path: Result<Path<(String, String)>, PathRejection>,
    uri: Uri,
) -> Result<Response, Refused> {
    parse::nothing(&uri)?;
    let Path((kind, name)) = path.map_err(|error| {
        let why = error.body_text();
        Refused::bad_request(format!("the path: {why}; write /v1/resources/KIND/NAME"))
    })?;
    let key = parse::key(&kind, &name)?;
    let view = server.controller.view(&key, now()).await?;
    json(&server, &view.ok_or_else(|| Refused::no_resource(&key))?).await
}

/// Apply resources
///
/// All of them or none. A field that is stated is set, and held by the manager in whose name it was; one that he stated
/// before and no longer does is removed; those of other managers stay.
#[utoipa::path(
    post,
    path = "/v1/apply",
    params(ApplyQuery),
    request_body(
        content = String,
        content_type = "application/yaml",
        description = "Resources as YAML or JSON, several documents if need be: 64 MiB at most.",
    ),
    responses(
        (status = 200, description = "What it did, or would do.", body = Outcome),
        (status = 408, description = "The body took too long.", body = Refusal),
        (status = 409, description = "Others hold fields that are stated with other values, or a resource was changed since it was read.", body = Refusal),
        (status = 413, description = "The body, or a resource, is too large.", body = Refusal),
        (status = 422, description = "What was sent is no resource, or makes no sense with the others.", body = Refusal),
        (status = 507, description = "The store is full.", body = Refusal),
    )
)]
async fn apply(
    State(server): State<Arc<Server>>,
    Operator(caller): Operator,
    uri: Uri,
    body: Body,
) -> Result<Response, Refused> {
    let Applying { dry_run, force, manager } = parse::applying(&uri)?;
    let whole = body::read(&server, body, MAX_LEN).await?;
    let place = Arc::clone(&caller.place);
    let reading = Arc::clone(&server.reading).acquire_owned().await;
    let read = blocking(move || {
        // Reading goes on without its caller.
        let _places = (place, reading);
        (parse::documents(whole.octets), whole.turn)
    });
    let (declared, turn) = read.await?;
    let declared = declared?;
    let manager = match manager {
        Some(manager) => manager,
        None => user(&server, caller.uid).await,
    };
    let author = Author { manager, force };
    let controller = Arc::clone(&server.controller);
    let done = finished(caller, async move {
        let done = if dry_run {
            controller.preview(&declared, &author, now()).await
        } else {
            controller.apply(&declared, &author, now()).await
        };
        drop(turn);
        done.map_err(|error| Refused::from(error).placed(&refusal::places(&declared)))
    });
    json(&server, &outcome(&done.await?)).await
}

/// Delete resources
///
/// All of them or none. What others refer to is not deleted, unless those are named as well.
#[utoipa::path(
    post,
    path = "/v1/delete",
    request_body = Deletion,
    responses(
        (status = 200, description = "What it did, or would do.", body = Outcome),
        (status = 404, description = "There is none of one of the names.", body = Refusal),
        (status = 408, description = "The body took too long.", body = Refusal),
        (status = 409, description = "Others need one of them; each problem names which.", body = Refusal),
        (status = 413, description = "The body is too large.", body = Refusal),
        (status = 422, description = "What is left would make no sense.", body = Refusal),
        (status = 507, description = "The store is full.", body = Refusal),
    )
)]
async fn delete(
    State(server): State<Arc<Server>>,
    Operator(caller): Operator,
    uri: Uri,
    body: Body,
) -> Result<Response, Refused> {
    parse::nothing(&uri)?;
    let whole = body::read(&server, body, LONGEST).await?;
    let Removal { keys, dry_run } = parse::removal(&whole.octets)?;
    drop(whole);
    let author = Author { manager: user(&server, caller.uid).await, force: false };
    let controller = Arc::clone(&server.controller);
    let done = finished(caller, async move {
        let done = if dry_run {
            controller.preview_deletion(&keys, &author, now()).await
        } else {
            controller.delete(&keys, &author, now()).await
        };
        done.map_err(|error: ControllerError| Refused::from(error))
    });
    json(&server, &outcome(&done.await?)).await
}

/// List events
#[utoipa::path(
    get,
    path = "/v1/events",
    params(EventQuery),
    responses((status = 200, description = "The last events, the oldest first.", body = Events))
)]
async fn events(
    State(server): State<Arc<Server>>,
    _: Reader,
    uri: Uri,
) -> Result<Response, Refused> {
    let Happened { kind, name, limit } = parse::events(&uri)?;
    let about = |event: &Event| {
        kind.is_none_or(|kind| event.about.kind == kind.word())
            && name.as_ref().is_none_or(|name| event.about.name == *name)
    };
    let items = server.controller.events(about, limit, now()).await?;
    json(&server, &Events { items }).await
}

/// The deployment at one look
#[utoipa::path(
    get,
    path = "/v1/status",
    responses((status = 200, description = "How it is.", body = DeploymentStatus))
)]
async fn status(
    State(server): State<Arc<Server>>,
    _: Reader,
    uri: Uri,
) -> Result<Response, Refused> {
    parse::nothing(&uri)?;
    json(&server, &server.controller.status(now()).await?).await
}

/// This document
#[utoipa::path(
    get,
    path = "/v1/openapi.json",
    responses((status = 200, description = "The OpenAPI document.", body = Object))
)]
async fn openapi(
    State(server): State<Arc<Server>>,
    _: Reader,
    uri: Uri,
) -> Result<Response, Refused> {
    parse::nothing(&uri)?;
    whole(&server, server.openapi.clone().into_bytes(), "application/json").await
}

/// Does something to its end, whether the caller stays or not.
pub(super) async fn finished<T: Send + 'static>(
    caller: Caller,
    work: impl Future<Output = Result<T, Refused>> + Send + 'static,
) -> Result<T, Refused> {
    let work = async move {
        let done = work.await;
        drop(caller.place);
        done
    };
    tokio::spawn(work).await.map_err(|error| faulty(&error))?
}

/// Does something that takes its time.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Refused> {
    spawn_blocking(work).await.map_err(|error| faulty(&error))
}

fn faulty(error: &tokio::task::JoinError) -> Refused {
    let message =
        format!("the controller has a fault ({error}); look at what there is, and report it");
    Refused::new(ErrorWord::Internal, message)
}

/// The name of a user, as a manager's name.
pub(super) async fn user(server: &Server, uid: Uid) -> ManagerName {
    let named = async {
        let place = Arc::clone(&server.naming).acquire_owned().await.ok()?;
        let named = spawn_blocking(move || {
            let named = User::from_uid(uid);
            drop(place);
            named
        });
        named.await.ok()?.ok()??.name.parse().ok()
    };
    timeout(NAMING, named).await.ok().flatten().unwrap_or_else(|| {
        format!("uid:{uid}").parse().expect("a word and a number are a manager's name")
    })
}

pub(super) fn outcome(done: &Done) -> Outcome {
    let fate = |fate: controller::Fate| match fate {
        controller::Fate::Created => "created",
        controller::Fate::Changed => "changed",
        controller::Fate::Unchanged => "unchanged",
        controller::Fate::Deleted => "deleted",
    };
    let fates = done.fates.iter().map(|(key, became)| Fate {
        kind: key.kind().word().to_owned(),
        name: key.name(),
        fate: fate(*became).to_owned(),
    });
    let gateways = done.diff.sites().map(|(site, changes)| GatewayChange {
        site: site.to_string(),
        gateway: done.diff.gateway_of(site).map(ToString::to_string),
        items: changes
            .iter()
            .map(|change| ItemChange {
                before: change.before.as_ref().map(ToString::to_string),
                after: change.after.as_ref().map(ToString::to_string),
            })
            .collect(),
    });
    Outcome {
        revision: done.revision.map(|revision| revision.number()),
        resources: fates.collect(),
        gateways: gateways.collect(),
    }
}
