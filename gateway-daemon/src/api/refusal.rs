//! Why a request is refused, as it goes over the wire: every error of the layers below has its status, its word and
//! its problems here, and nowhere else.

use std::fmt::Display;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use gateway_control::deployment::{DeploymentError, Problem};
use gateway_control::resource::{Declared, FaultKind, Key, ResourceError};

use super::wire::{ErrorWord, ProblemView, Refusal};
use crate::controller::{Conflict, ControllerError};
use crate::store::StoreError;

/// Most problems of one answer; further ones are counted.
const SHOWN: usize = 100;
/// After how many seconds a caller may try again whom something passing is in the way of.
const SOON: u64 = 1;

/// An answer that is no success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The HTTP status.
    pub status: StatusCode,
    /// After how many seconds to try again.
    pub retry_after: Option<u64>,
    /// The body.
    pub refusal: Refusal,
}

/// The status of each kind of refusal.
pub(super) fn status(word: ErrorWord) -> StatusCode {
    match word {
        ErrorWord::BadRequest => StatusCode::BAD_REQUEST,
        ErrorWord::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorWord::Forbidden => StatusCode::FORBIDDEN,
        ErrorWord::NotFound => StatusCode::NOT_FOUND,
        ErrorWord::Conflict | ErrorWord::InUse => StatusCode::CONFLICT,
        ErrorWord::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorWord::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
        ErrorWord::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorWord::StoreFull => StatusCode::INSUFFICIENT_STORAGE,
        ErrorWord::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl Refused {
    /// One of this kind, with what is wrong and what to do.
    pub fn new(error: ErrorWord, message: impl Into<String>) -> Self {
        let retry_after = match error {
            ErrorWord::TooManyRequests | ErrorWord::Unavailable => Some(SOON),
            _ => None,
        };
        let refusal = Refusal { error, message: message.into(), problems: Vec::new() };
        Self { status: status(error), retry_after, refusal }
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(ErrorWord::BadRequest, message)
    }

    pub(super) fn no_resource(key: &Key) -> Self {
        let message = format!("there is no {key}; look at what there is by GET /v1/resources");
        Self::new(ErrorWord::NotFound, message)
    }

    pub(super) fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    pub(super) fn with_problem(mut self, problem: ProblemView) -> Self {
        self.refusal.problems.push(problem);
        self
    }

    /// Says where in the body the resources stand that it is about.
    pub(super) fn placed(mut self, places: &[(Key, usize, usize)]) -> Self {
        for problem in &mut self.refusal.problems {
            let (Some(kind), Some(name)) = (&problem.kind, &problem.name) else { continue };
            let place =
                places.iter().find(|(key, ..)| key.kind().word() == kind && key.name() == *name);
            if let Some((_, document, line)) = place {
                (problem.document, problem.line) = (Some(*document), Some(*line));
            }
        }
        self
    }
}

/// Where each resource of a body stands: document and line.
pub(super) fn places(declared: &[Declared]) -> Vec<(Key, usize, usize)> {
    declared.iter().map(|it| (it.resource.key(), it.document, it.line)).collect()
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.refusal)).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<ResourceError> for Refused {
    fn from(error: ResourceError) -> Self {
        let too_long = |kind: &FaultKind| matches!(kind, FaultKind::TooLong { .. });
        let word = match error.faults().iter().any(|fault| too_long(&fault.kind)) {
            true => ErrorWord::TooLarge,
            false => ErrorWord::Invalid,
        };
        let mut refused = Self::new(word, format!("nothing was changed:\n{error}"));
        let problem = |fault: &gateway_control::resource::Fault| ProblemView {
            message: fault.kind.to_string(),
            document: Some(fault.document),
            line: Some(fault.line),
            column: Some(fault.column),
            ..ProblemView::default()
        };
        refused.refusal.problems = error.faults().iter().take(SHOWN).map(problem).collect();
        refused
    }
}

impl From<ControllerError> for Refused {
    fn from(error: ControllerError) -> Self {
        match error {
            ControllerError::Refused { problems } => refused(&problems),
            ControllerError::Conflicts { conflicts } => conflict(&conflicts),
            ControllerError::Contended { .. } => {
                Self::new(ErrorWord::Unavailable, error.to_string())
            }
            ControllerError::TooLarge { ref key, .. } => {
                let problem = ProblemView { message: error.to_string(), ..about(key) };
                Self::new(ErrorWord::TooLarge, error.to_string()).with_problem(problem)
            }
            ControllerError::NoGateway { .. } => Self::new(ErrorWord::NotFound, error.to_string()),
            ControllerError::StaysRevoked { .. } | ControllerError::NotPending { .. } => {
                Self::new(ErrorWord::Conflict, error.to_string())
            }
            ControllerError::Alien { .. }
            | ControllerError::Disagrees { .. }
            | ControllerError::Records(_)
            | ControllerError::Key(_) => Self::new(ErrorWord::Internal, error.to_string()),
            ControllerError::Store(error) => error.into(),
        }
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Self::new(of_store(&error), error.to_string())
    }
}

fn of_store(error: &StoreError) -> ErrorWord {
    match error {
        StoreError::TooManyOperations { .. } | StoreError::TooManyBytes { .. } => {
            ErrorWord::TooLarge
        }
        StoreError::Unwritable { .. } => ErrorWord::StoreFull,
        // https://github.com/etcd-io/etcd/blob/v3.5.9/api/v3rpc/rpctypes/error.go
        StoreError::Refused { reason, .. } if reason.contains("database space exceeded") => {
            ErrorWord::StoreFull
        }
        StoreError::Refused { reason, .. }
            if reason.contains("too many operations") || reason.contains("too large") =>
        {
            ErrorWord::TooLarge
        }
        StoreError::Refused { .. }
        | StoreError::Busy { .. }
        | StoreError::Closed { .. }
        | StoreError::Endpoint { .. }
        | StoreError::Unreachable { .. }
        | StoreError::Uncertain { .. }
        | StoreError::Compacted { .. }
        | StoreError::OldEtcd { .. } => ErrorWord::Unavailable,
        StoreError::Future { .. }
        | StoreError::LeaseEnded { .. }
        | StoreError::File(_)
        | StoreError::Engine { .. }
        | StoreError::AlienKey { .. } => ErrorWord::Internal,
        StoreError::OwnBackup { .. } => ErrorWord::Conflict,
    }
}

fn about(key: &Key) -> ProblemView {
    ProblemView {
        kind: Some(key.kind().word().to_owned()),
        name: Some(key.name()),
        ..ProblemView::default()
    }
}

/// What is most in the way names the refusal: what is not there, then what is in use, then the rest.
fn refused(problems: &[Problem]) -> Refused {
    let any = |wanted: fn(&DeploymentError) -> bool| problems.iter().any(|it| wanted(&it.error));
    let word = if any(|error| matches!(error, DeploymentError::Missing)) {
        ErrorWord::NotFound
    } else if any(|error| matches!(error, DeploymentError::InUse { .. })) {
        ErrorWord::InUse
    } else {
        ErrorWord::Invalid
    };
    let views = problems.iter().map(|problem| ProblemView {
        field: (!problem.field.is_empty()).then(|| problem.field.to_owned()),
        message: problem.error.to_string(),
        ..about(&problem.key)
    });
    let views = views.chain(problems.iter().flat_map(dependants)).take(SHOWN);
    let mut refused = Refused::new(word, said(problems));
    refused.refusal.problems = views.collect();
    refused
}

/// Those that need a resource that is to go.
fn dependants(problem: &Problem) -> Vec<ProblemView> {
    let DeploymentError::InUse { by } = &problem.error else { return Vec::new() };
    let views = by.iter().take(SHOWN).map(|key| ProblemView {
        message: format!("it refers to {}; delete it as well, or change it", problem.key),
        ..about(key)
    });
    views.collect()
}

fn conflict(conflicts: &[Conflict]) -> Refused {
    let views = conflicts.iter().take(SHOWN).map(|conflict| match conflict {
        Conflict::Field(field) => ProblemView {
            field: Some(field.field.to_string()),
            message: conflict.to_string(),
            ..about(&field.key)
        },
        Conflict::Revision { key, .. } => ProblemView {
            field: Some("metadata.revision".to_owned()),
            message: conflict.to_string(),
            ..about(key)
        },
    });
    let mut refused = Refused::new(ErrorWord::Conflict, said(conflicts));
    refused.refusal.problems = views.collect();
    refused
}

fn said(problems: &[impl Display]) -> String {
    let lines = problems.iter().take(SHOWN).map(|problem| format!("\n  {problem}"));
    let more = match problems.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!("\n  and {more} more; correct these first"),
    };
    format!("nothing was changed:{}{more}", lines.collect::<String>())
}
