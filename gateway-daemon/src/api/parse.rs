//! From what a caller sent to what he means: queries, paths, bodies. Pure; nothing here panics, whatever the
//! octets are, and every refusal says what to write instead.

use axum::extract::Query;
use axum::http::Uri;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gateway_control::resource::{self, Declared, Key, Kind, ManagerName, Selector};
use serde::de::DeserializeOwned;

use super::refusal::Refused;
use super::wire::{ApplyQuery, Deletion, ErrorWord, EventQuery, ProblemView, Reference, Selection};
use crate::controller::Wanted;

/// Most resources of a page.
pub const MOST: usize = 500;
/// Most events of an answer.
pub const MOST_EVENTS: usize = 1000;
/// Events of an answer if nobody says how many.
const EVENTS: usize = 100;
/// Longest part of a text that a refusal repeats, in characters.
const REPEATED: usize = 80;

/// A page of resources that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Which resources.
    pub wanted: Wanted,
    /// At most so many.
    pub limit: usize,
    /// Those after this one.
    pub after: Option<Key>,
}

/// How resources are to be applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applying {
    /// Only say what would change.
    pub dry_run: bool,
    /// Take over fields of others.
    pub force: bool,
    /// In whose name.
    pub manager: Option<ManagerName>,
}

/// Resources that are to be deleted together, each once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    /// Which.
    pub keys: Vec<Key>,
    /// Only say what would change.
    pub dry_run: bool,
}

/// Events that are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happened {
    /// Of resources of this kind.
    pub kind: Option<Kind>,
    /// Of the resource of this name.
    pub name: Option<String>,
    /// At most so many.
    pub limit: usize,
}

/// The query of a list.
pub fn listing(uri: &Uri) -> Result<Listing, Refused> {
    let Selection { kind, selector, limit, after } = query(uri)?;
    Ok(Listing {
        wanted: wanted(kind, selector)?,
        limit: within(limit, MOST, MOST)?,
        after: after.as_deref().map(after_of).transpose()?,
    })
}

/// The query of a watch.
pub fn watching(uri: &Uri) -> Result<Wanted, Refused> {
    let Selection { kind, selector, limit, after } = query(uri)?;
    if limit.is_some() || after.is_some() {
        let message = "a watch shows everything that it is for; leave out limit and after";
        return Err(Refused::bad_request(message));
    }
    wanted(kind, selector)
}

/// The query of an apply.
pub fn applying(uri: &Uri) -> Result<Applying, Refused> {
    let ApplyQuery { dry_run, force, manager } = query(uri)?;
    let read = |name: String| {
        let read = name.parse::<ManagerName>();
        read.map_err(|error| Refused::bad_request(format!("manager: {error}")))
    };
    Ok(Applying { dry_run, force, manager: manager.map(read).transpose()? })
}

/// A call without query.
pub fn nothing(uri: &Uri) -> Result<(), Refused> {
    match uri.query().unwrap_or_default() {
        "" => Ok(()),
        found => {
            let found = repeated(found);
            Err(Refused::bad_request(format!("this call takes no query; leave out {found}")))
        }
    }
}

/// The query of events.
pub fn events(uri: &Uri) -> Result<Happened, Refused> {
    let EventQuery { kind: word, name, limit } = query(uri)?;
    let found = word.as_deref().map(kind).transpose()?;
    let name = match (found, name) {
        (_, None) => None,
        (Some(kind), Some(name)) => Some(key_of(kind, &name)?.name()),
        (None, Some(_)) => {
            let message =
                "name goes with kind, as resources of several kinds may have one name; add kind";
            return Err(Refused::bad_request(message));
        }
    };
    Ok(Happened { kind: found, name, limit: within(limit, EVENTS, MOST_EVENTS)? })
}

/// The resources of an apply's body.
pub fn documents(body: Vec<u8>) -> Result<Vec<Declared>, Refused> {
    let text = String::from_utf8(body).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + before.iter().filter(|octet| **octet == b'\n').count();
        let message = "the octets are no UTF-8; write the resources as UTF-8 text, YAML or JSON";
        let problem =
            ProblemView { message: message.to_owned(), line: Some(line), ..ProblemView::default() };
        Refused::bad_request(format!("nothing was changed: line {line}: {message}"))
            .with_problem(problem)
    })?;
    let declared = resource::read(&text)?;
    if declared.is_empty() {
        let message =
            "nothing was changed: there is no resource in it; write kind, metadata and spec";
        return Err(Refused::new(ErrorWord::Invalid, message));
    }
    Ok(declared)
}

/// A delete's body.
pub fn removal(body: &[u8]) -> Result<Removal, Refused> {
    let Deletion { resources, dry_run } = serde_json::from_slice(body).map_err(|error| {
        let message = format!(
            "{error}; write {{\"resources\": [{{\"kind\": \"Site\", \"name\": \"edge-a\"}}]}}"
        );
        let problem = ProblemView {
            message: message.clone(),
            line: (error.line() > 0).then_some(error.line()),
            column: (error.column() > 0).then_some(error.column()),
            ..ProblemView::default()
        };
        Refused::bad_request(format!("nothing was changed: the body: {message}"))
            .with_problem(problem)
    })?;
    if resources.is_empty() {
        return Err(Refused::bad_request("nothing was changed: resources is empty; name one"));
    }
    let mut keys = Vec::with_capacity(resources.len());
    for Reference { kind, name } in resources {
        keys.push(key(&kind, &name)?);
    }
    let mut seen = std::collections::BTreeSet::new();
    keys.retain(|key| seen.insert(key.clone()));
    Ok(Removal { keys, dry_run })
}

/// A resource's key, of the two parts of its path.
pub fn key(kind: &str, name: &str) -> Result<Key, Refused> {
    key_of(self::kind(kind)?, name)
}

/// A kind by its word, in any case, singular or plural.
pub fn kind(word: &str) -> Result<Kind, Refused> {
    let wanted = word.to_lowercase();
    let matches = |kind: &Kind| {
        let (one, many) = match kind {
            Kind::Site => ("site", "sites"),
            Kind::Gateway => ("gateway", "gateways"),
            Kind::Service => ("service", "services"),
            Kind::Exposure => ("exposure", "exposures"),
            Kind::Policy => ("policy", "policies"),
            Kind::Token => ("token", "tokens"),
        };
        wanted == one || wanted == many
    };
    Kind::ALL.into_iter().find(matches).ok_or_else(|| {
        let known = Kind::ALL.map(Kind::word).join(", ");
        let word = repeated(word);
        Refused::bad_request(format!("there is no kind {word}; the kinds are {known}"))
    })
}

/// Where the page behind this resource begins, as a text that callers hand back as it is.
pub fn token(last: &Key) -> String {
    URL_SAFE_NO_PAD.encode(format!("{}/{}", last.kind(), last.name()))
}

fn after_of(token: &str) -> Result<Key, Refused> {
    let read = || {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
        let (kind, name) = text.split_once('/')?;
        Key::new(kind.parse().ok()?, name).ok()
    };
    read().ok_or_else(|| {
        let token = repeated(token);
        let remedy = "take what the page before had as next, or leave it out to begin anew";
        Refused::bad_request(format!("after is {token}, which no page gave; {remedy}"))
    })
}

fn key_of(kind: Kind, name: &str) -> Result<Key, Refused> {
    Key::new(kind, name).map_err(|error| {
        let word = kind.word().to_lowercase();
        Refused::bad_request(format!("the name of a {word}: {error}"))
    })
}

fn wanted(word: Option<String>, selector: Option<String>) -> Result<Wanted, Refused> {
    let selector = selector.map(|text| {
        let read = text.parse::<Selector>();
        read.map_err(|error| Refused::bad_request(format!("selector: {error}")))
    });
    Ok(Wanted { kind: word.as_deref().map(kind).transpose()?, selector: selector.transpose()? })
}

fn within(limit: Option<u32>, otherwise: usize, most: usize) -> Result<usize, Refused> {
    let limit = limit.map_or(Ok(otherwise), usize::try_from);
    match limit {
        Ok(limit) if (1..=most).contains(&limit) => Ok(limit),
        _ => Err(Refused::bad_request(format!("limit must be 1 to {most}; write such a number"))),
    }
}

fn query<T: DeserializeOwned>(uri: &Uri) -> Result<T, Refused> {
    let read = Query::try_from_uri(uri).map(|Query(query)| query);
    read.map_err(|error| {
        let why: String = error.body_text().chars().take(10 * REPEATED).collect();
        let why = why.escape_debug();
        let message =
            format!("the query: {why}; the OpenAPI document at /v1/openapi.json has what there is");
        Refused::new(ErrorWord::BadRequest, message)
    })
}

/// A text of the caller in a refusal: in quotes, and not all of it if it is long.
fn repeated(text: &str) -> String {
    let shown: String = text.chars().take(REPEATED).collect();
    let more = if shown.len() < text.len() { "…" } else { "" };
    format!("{shown:?}{more}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_read_in_any_form() {
        for found in Kind::ALL {
            let word = found.word();
            let many = if word == "Policy" { "Policies".to_owned() } else { format!("{word}s") };
            for form in
                [word, &word.to_lowercase(), &word.to_uppercase(), &many, &many.to_uppercase()]
            {
                assert_eq!(kind(form), Ok(found), "{form}");
            }
        }
        for wrong in ["", "s", "site ", "sitess", "policys", "\u{17f}ite"] {
            assert!(kind(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_token_is_read_as_the_key_that_it_was_made_of_and_nothing_else_is() {
        for (kind, name) in
            [(Kind::Site, "edge-a"), (Kind::Service, "web.cloud"), (Kind::Policy, "p")]
        {
            let last = Key::new(kind, name).unwrap();
            let made = token(&last);
            assert!(made.bytes().all(|it| it.is_ascii_alphanumeric() || b"-_".contains(&it)));
            assert_eq!(after_of(&made), Ok(last));
        }
        let encoded = |text: &str| URL_SAFE_NO_PAD.encode(text);
        for wrong in [
            "",
            "=",
            "Site/a",
            &encoded("Site"),
            &encoded("site/a"),
            &encoded("Site/A"),
            &encoded("Service/web"),
        ] {
            assert!(after_of(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn deletions_are_read_once_each() {
        let body = br#"{"resources": [{"kind": "sites", "name": "a"}, {"kind": "Site", "name": "a"}], "dry_run": true}"#;
        let keys = vec![Key::new(Kind::Site, "a").unwrap()];
        assert_eq!(removal(body), Ok(Removal { keys, dry_run: true }));
    }

    #[test]
    fn what_a_caller_wrote_is_repeated_on_one_line_and_cut() {
        assert_eq!(repeated("a\n\u{1b}[2J\""), r#""a\n\u{1b}[2J\"""#);
        let long = repeated(&"é".repeat(1000));
        assert_eq!((long.chars().count(), long.ends_with("\"…")), (REPEATED + 3, true));
    }
}
