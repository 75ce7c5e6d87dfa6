//! The OpenAPI document: what the routes say of themselves, and the refusals that any of them may answer with.
//!
//! It is served, and committed as docs/reference/openapi.json.

use utoipa::OpenApi as _;
use utoipa::openapi::path::Operation;
use utoipa::openapi::{Content, Header, OpenApi, Ref, ResponseBuilder, Type};

use super::refusal::status;
use super::routes;
use super::wire::{ErrorWord, Refusal, Watched};

/// Refusals that every route may answer with.
const ANYWHERE: [(ErrorWord, &str); 5] = [
    (ErrorWord::BadRequest, "The request itself is wrong."),
    (ErrorWord::Forbidden, "The caller has not the role that it takes."),
    (ErrorWord::TooManyRequests, "The caller asks too often, or for too much at once."),
    (ErrorWord::Internal, "The controller has a fault, or its store is damaged."),
    (ErrorWord::Unavailable, "The store or other callers are in the way; try again later."),
];

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Presence controller",
        version = "1",
        description = "What operators ask of the controller, as HTTP/1.1 on a Unix socket. Who may do what goes by \
                       the user that asks. Every refusal has a body that says what is wrong and what to do. \
                       Written by `cargo xtask docs`; edit the code it describes.",
        license(name = "Apache-2.0 OR MIT"),
    ),
    components(schemas(Refusal, Watched))
)]
struct Described;

/// The OpenAPI document, as JSON that ends in a line break.
pub fn document() -> String {
    let mut document = Described::openapi();
    document.merge(routes::described().into_openapi());
    document.servers = None;
    refusals(&mut document);
    let mut json = document.to_pretty_json().expect("texts and numbers all through");
    json.push('\n');
    json
}

fn refusals(document: &mut OpenApi) {
    for item in document.paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete];
        for operation in operations.into_iter().flatten() {
            for (word, why) in ANYWHERE {
                refusal(operation, word, why);
            }
        }
    }
}

/// Adds a refusal, unless the route has one of that status already.
fn refusal(operation: &mut Operation, word: ErrorWord, why: &str) {
    let status = status(word).as_u16().to_string();
    let body = Content::new(Some(Ref::from_schema_name("Refusal")));
    let mut response = ResponseBuilder::new().description(why).content("application/json", body);
    if matches!(word, ErrorWord::TooManyRequests | ErrorWord::Unavailable) {
        let mut seconds = Header::new(utoipa::openapi::schema::Object::with_type(Type::Integer));
        seconds.description = Some("After how many seconds to try again.".to_owned());
        response = response.header("retry-after", seconds);
    }
    let responses = &mut operation.responses.responses;
    responses.entry(status).or_insert_with(|| response.build().into());
}
