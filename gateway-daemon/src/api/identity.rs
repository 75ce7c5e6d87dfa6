//! Routes about who takes part in the deployment: what somebody who joins has to know, and what operators decide about
//! gateways that have joined.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::Response;
use gateway_control::resource::{GatewayState, Key, Kind};

use super::answer::json;
use super::connection::{Caller, Operator, Reader};
use super::routes::{finished, outcome, user};
use super::serve::Server;
use super::wire::{DeploymentIdentity, ErrorWord, Outcome, Refusal};
use super::{Refused, parse};
use crate::clock::now;
use crate::controller::Author;
use crate::controller::members::MemberError;

type Name = Result<Path<String>, PathRejection>;

/// What somebody who joins has to know
///
/// Together with a token's secret it is all that a host needs to join. None of it is secret.
#[utoipa::path(
    get,
    path = "/v1/identity",
    responses(
        (status = 200, description = "The deployment, as those see it who join.", body = DeploymentIdentity),
        (status = 404, description = "This controller takes nobody in.", body = Refusal),
    )
)]
pub(super) async fn identity(
    State(server): State<Arc<Server>>,
    _: Reader,
    uri: Uri,
) -> Result<Response, Refused> {
    parse::nothing(&uri)?;
    let invitation = server
        .controller
        .invitation()
        .ok_or_else(|| Refused::new(ErrorWord::NotFound, MemberError::NoAuthority.to_string()))?;
    let identity = DeploymentIdentity {
        trust_domain: invitation.trust_domain.to_string(),
        authority: invitation.authority.to_string(),
        controllers: invitation.controllers.iter().map(ToString::to_string).collect(),
    };
    json(&server, &identity).await
}

/// Revoke a gateway
///
/// It is told nothing any more, its session is closed, and every other gateway gives up its link to it. It stays
/// revoked; done again, nothing changes.
#[utoipa::path(
    post,
    path = "/v1/gateways/{name}/revoke",
    params(("name" = String, Path, description = "The gateway's name.")),
    responses(
        (status = 200, description = "What it did.", body = Outcome),
        (status = 404, description = "There is no such gateway.", body = Refusal),
        (status = 409, description = "What others have set is in the way.", body = Refusal),
        (status = 422, description = "What is left would make no sense.", body = Refusal),
        (status = 507, description = "The store is full.", body = Refusal),
    )
)]
pub(super) async fn revoke(
    State(server): State<Arc<Server>>,
    Operator(caller): Operator,
    name: Name,
    uri: Uri,
) -> Result<Response, Refused> {
    decide(&server, caller, name, &uri, GatewayState::Revoked).await
}

/// Accept a gateway
///
/// Only one that is pending, which joined with a token that asks for it.
#[utoipa::path(
    post,
    path = "/v1/gateways/{name}/accept",
    params(("name" = String, Path, description = "The gateway's name.")),
    responses(
        (status = 200, description = "What it did.", body = Outcome),
        (status = 404, description = "There is no such gateway.", body = Refusal),
        (status = 409, description = "It is not pending.", body = Refusal),
        (status = 422, description = "It does not fit what is declared: its site has another gateway by now.", body = Refusal),
        (status = 507, description = "The store is full.", body = Refusal),
    )
)]
pub(super) async fn accept(
    State(server): State<Arc<Server>>,
    Operator(caller): Operator,
    name: Name,
    uri: Uri,
) -> Result<Response, Refused> {
    decide(&server, caller, name, &uri, GatewayState::Active).await
}

async fn decide(
    server: &Arc<Server>,
    caller: Caller,
    name: Name,
    uri: &Uri,
    to: GatewayState,
) -> Result<Response, Refused> {
    parse::nothing(uri)?;
    let Path(name) = name.map_err(|error| {
        let why = error.body_text();
        Refused::bad_request(format!("the path: {why}; write /v1/gateways/NAME/revoke or accept"))
    })?;
    let Key::Gateway(name) = parse::key(Kind::Gateway.word(), &name)? else {
        return Err(Refused::new(ErrorWord::Internal, "a key of another kind; report this"));
    };
    let author = Author { manager: user(server, caller.uid).await, force: false };
    let controller = Arc::clone(&server.controller);
    let done = finished(caller, async move {
        let done = controller.set_gateway_state(&name, to, &author, now()).await;
        done.map_err(Refused::from)
    });
    json(server, &outcome(&done.await?)).await
}
