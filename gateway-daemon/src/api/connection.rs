//! One caller's connection: HTTP/1.1 with times and sizes that he cannot stretch, and what holds of each of his requests
//! before it reaches a route.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{Method, Request, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use nix::unistd::Uid;
use tokio::net::UnixStream;
use tower::ServiceExt as _;

use super::body::Lent;
use super::serve::{Counted, Server, closed};
use super::stall::Impatient;
use super::wire::ErrorWord;
use super::{Refused, Role};

/// Most fields of a request's head.
const FIELDS: usize = 64;

/// Who asks, and his place among the requests in flight.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) uid: Uid,
    /// Kept by what goes on without the caller.
    pub(super) place: Arc<Counted>,
}

/// A caller who may look at things.
#[derive(Debug)]
pub(super) struct Reader(pub(super) Caller);

/// A caller who may change things.
#[derive(Debug)]
pub(super) struct Operator(pub(super) Caller);

/// Serves a connection until its other end or the server has enough.
pub(super) async fn connection(
    server: Arc<Server>,
    router: Router,
    stream: UnixStream,
    counted: Counted,
) {
    let settings = &server.settings;
    let uid = counted.uid();
    let io = TokioIo::new(Impatient::new(stream, settings.stall));
    let service = service_fn(|request| answer(&server, &router, uid, request));
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(settings.head_time)
        .max_header_size(settings.head)
        .max_headers(FIELDS);
    let serving = builder.serve_connection(io, service);
    tokio::pin!(serving);
    let mut closing = server.closing.clone();
    let served = tokio::select! {
        served = serving.as_mut() => served,
        () = closed(&mut closing) => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = served {
        tracing::debug!("a connection of uid {uid} to the API broke: {error}");
    }
}

async fn answer(
    server: &Arc<Server>,
    router: &Router,
    uid: Uid,
    request: Request<Incoming>,
) -> Result<Response, Infallible> {
    let (mut parts, body) = request.into_parts();
    let body = Lent::new(body);
    // A caller who waits for a word to send his body sends none when he is refused.
    let waits = parts.headers.contains_key(header::EXPECT);
    let role = match parts.method {
        Method::GET | Method::HEAD => Role::Read,
        _ => Role::Operate,
    };
    let response = match server.request(uid, role).await {
        Ok(place) => {
            parts.extensions.insert(Caller { uid, place: Arc::new(place) });
            let request = Request::from_parts(parts, Body::new(body.clone()));
            router.clone().oneshot(request).await?
        }
        Err(refused) => refused.into_response(),
    };
    let is_slow = response.status() == StatusCode::REQUEST_TIMEOUT;
    if !response.status().is_success() && !waits && !is_slow {
        body.discard().await;
    }
    Ok(response)
}

impl FromRequestParts<Arc<Server>> for Reader {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, server: &Arc<Server>) -> Result<Self, Refused> {
        caller(parts, server, Role::Read).map(Self)
    }
}

impl FromRequestParts<Arc<Server>> for Operator {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, server: &Arc<Server>) -> Result<Self, Refused> {
        caller(parts, server, Role::Operate).map(Self)
    }
}

fn caller(parts: &mut Parts, server: &Server, needed: Role) -> Result<Caller, Refused> {
    let Some(caller) = parts.extensions.remove::<Caller>() else {
        let message = "a request of nobody; report this as a fault of the controller";
        return Err(Refused::new(ErrorWord::Internal, message));
    };
    if server.access.role(caller.uid).is_some_and(|role| role >= needed) {
        return Ok(caller);
    }
    let (uid, deed, list) = (caller.uid, needed.deed(), needed.list());
    Err(Refused::new(
        ErrorWord::Forbidden,
        format!(
            "uid {uid} may not {deed}; add it to {list} under [api] in the controller's file, or ask as root"
        ),
    ))
}

#[cfg(test)]
mod tests {
    use std::{env, fs, process};

    use http_body_util::BodyExt as _;

    use super::*;
    use crate::api::{Access, Settings, document, routes};
    use crate::controller::Controller;
    use crate::store::sqlite::{SqliteSettings, SqliteStore};

    /// What a user is told who asks for nothing that makes sense but is let that far.
    async fn told(
        server: &Arc<Server>,
        uid: u32,
        method: &str,
        path: &str,
    ) -> (StatusCode, String) {
        let uid = Uid::from_raw(uid);
        let place = Arc::new(server.request(uid, Role::Read).await.unwrap());
        let mut request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        request.extensions_mut().insert(Caller { uid, place });
        let response = routes::router(server).oneshot(request).await.unwrap();
        let status = response.status();
        if status.is_success() {
            return (status, String::new());
        }
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn every_route_takes_its_role_and_says_who_may_not_and_what_to_do() {
        let scratch = env::temp_dir().join(format!("presence-api-roles-{}", process::id()));
        fs::create_dir_all(&scratch).unwrap();
        let store = SqliteStore::create(&scratch.join("store"), SqliteSettings::default()).await;
        let controller = Controller::open(Arc::new(store.unwrap()), 0, 0).await.unwrap();
        let uids = |uid| vec![Uid::from_raw(uid)];
        let access = Access::new(Uid::from_raw(900), uids(1), uids(2));
        let (_close, closing) = tokio::sync::watch::channel(false);
        let settings = Settings { scratch: scratch.clone(), ..Settings::default() };
        let server = Server::new(Arc::new(controller), access, settings, closing);
        let server = Arc::new(server);

        let document: serde_json::Value = serde_json::from_str(&document()).unwrap();
        let mut readable = Vec::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            let path = path.replace("{kind}/{name}", "site/a").replace("{name}", "a");
            for method in item.as_object().unwrap().keys().map(|method| method.to_uppercase()) {
                let (status, body) = told(&server, 3, &method, &path).await;
                assert_eq!(status, StatusCode::FORBIDDEN, "{method} {path}");
                for part in ["uid 3 may not", "under [api]", "\"forbidden\""] {
                    assert!(body.contains(part), "{method} {path}: {body}");
                }
                for uid in [0, 900, 1] {
                    let (status, body) = told(&server, uid, &method, &path).await;
                    assert_ne!(status, StatusCode::FORBIDDEN, "{uid} {method} {path}: {body}");
                }
                let (status, body) = told(&server, 2, &method, &path).await;
                if status == StatusCode::FORBIDDEN {
                    assert!(
                        body.contains("uid 2 may not change what is declared; add it to operators")
                    );
                } else {
                    readable.push(format!("{method} {path}"));
                }
            }
        }
        let expected = [
            "events",
            "identity",
            "openapi.json",
            "resources",
            "resources/site/a",
            "status",
            "watch",
        ];
        assert_eq!(readable, expected.map(|path| format!("GET /v1/{path}")));
        drop(server);
        fs::remove_dir_all(&scratch).unwrap();
    }
}
