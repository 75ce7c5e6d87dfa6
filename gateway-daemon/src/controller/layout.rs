//! Resources and allocations as keys and values of the store.
//!
//! | key | value |
//! |---|---|
//! | `turn` | the version of this layout; written by every change |
//! | `resource/KIND/NAME` | the resource and who set its fields, as JSON |
//! | `event/NUMBER` | what one change did, as JSON |
//! | `identity/…` | who joined, and with what: [`super::members`] |
//! | `allocation/SPACE/…` | who holds a range, or held it, as JSON |

use std::num::NonZeroUsize;
use std::str::FromStr as _;

use gateway_control::deployment::allocation::{Record, RecordKey};
use gateway_control::resource::{self, Kind, Managers, Resource};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::ControllerError;
use super::state::Stored;
use crate::api::wire::Event;
use crate::store::{Condition, Entry, Key, Prefix, Revision, Store, Transaction, Value};

const TURN: &str = "turn";
const RESOURCE: &str = "resource/";
const ALLOCATION: &str = "allocation/";
const EVENT: &str = "event/";
pub(super) const IDENTITY: &str = "identity/";
/// The version of the layout.
const VERSION: &str = "1";

/// Entries that are read at once.
const PAGE: NonZeroUsize = NonZeroUsize::new(1000).unwrap();

/// What the store holds, at one revision.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// When any of it was last changed.
    pub(super) turn: Option<Revision>,
    pub(super) resources: Vec<Stored>,
    pub(super) records: Vec<(RecordKey, Record)>,
    pub(super) events: Vec<(u64, Vec<Event>)>,
}

#[derive(Serialize)]
struct Writing<'a> {
    resource: &'a Resource,
    managers: &'a Managers,
}

#[derive(Deserialize)]
struct Reading {
    resource: Box<RawValue>,
    managers: Managers,
}

/// The key that every change writes.
pub(super) fn turn() -> Key {
    Key::new(TURN).expect("neither empty nor long")
}

/// A transaction that holds only if nothing was changed since `last`.
pub(super) fn take_turn(last: Option<Revision>) -> Transaction {
    let condition = last.map_or(Condition::Absent, Condition::Unchanged);
    let version = Value::new(VERSION).expect("a short value");
    Transaction::new().when(turn(), condition).put(turn(), version)
}

/// Also writes a resource, or deletes it.
pub(super) fn write_resource(
    transaction: Transaction,
    key: &resource::Key,
    written: Option<(&Resource, &Managers)>,
) -> Result<Transaction, ControllerError> {
    let at = Key::new(format!("{RESOURCE}{}/{}", key.kind(), key.name()))?;
    let Some((resource, managers)) = written else { return Ok(transaction.delete(at)) };
    let json = serde_json::to_vec(&Writing { resource, managers });
    let json = json.expect("a resource and its managers are text all through");
    let too_large = |reason| ControllerError::TooLarge { key: key.clone(), reason };
    Ok(transaction.put(at, Value::new(json).map_err(too_large)?))
}

/// Also writes an allocation, or deletes it.
pub(super) fn write_record(
    transaction: Transaction,
    key: &RecordKey,
    record: Option<&Record>,
) -> Result<Transaction, ControllerError> {
    let at = Key::new(format!("{ALLOCATION}{key}"))?;
    let Some(record) = record else { return Ok(transaction.delete(at)) };
    let json = serde_json::to_vec(record).expect("a record is numbers and text");
    Ok(transaction.put(at, Value::new(json).expect("a name and three numbers are short")))
}

/// Also writes what a change did, or deletes it.
pub(super) fn write_events(
    transaction: Transaction,
    number: u64,
    events: Option<&[Event]>,
) -> Result<Transaction, ControllerError> {
    // As many digits as the largest number has, so that their order is that of the keys.
    let at = Key::new(format!("{EVENT}{number:020}"))?;
    let Some(events) = events else { return Ok(transaction.delete(at)) };
    let json = serde_json::to_vec(events).expect("events are text and numbers");
    Ok(transaction.put(at, Value::new(json).expect("some names and sentences are short")))
}

/// Reads all of it.
pub(super) async fn read(store: &dyn Store) -> Result<Found, ControllerError> {
    let mut found = Found::default();
    let mut from = None;
    loop {
        let page = store.list(&Prefix::all(), PAGE, from.as_ref()).await?;
        for entry in &page.entries {
            found.take(entry)?;
        }
        from = page.next;
        if from.is_none() {
            return Ok(found);
        }
    }
}

impl Found {
    fn take(&mut self, entry: &Entry) -> Result<(), ControllerError> {
        let alien =
            |finding: String| ControllerError::Alien { key: entry.key.to_string(), finding };
        let value = entry.value.as_bytes();
        let name = str::from_utf8(entry.key.as_bytes()).unwrap_or_default();
        if name == TURN {
            if value != VERSION.as_bytes() {
                let found = value.escape_ascii();
                return Err(alien(format!(
                    "it is of layout {found}, and this version reads {VERSION}"
                )));
            }
            self.turn = Some(entry.modified);
        } else if let Some(key) = name.strip_prefix(ALLOCATION) {
            let record = serde_json::from_slice(value).map_err(|error| alien(error.to_string()))?;
            self.records.push((key.parse()?, record));
        } else if let Some(key) = name.strip_prefix(RESOURCE) {
            let read: Reading =
                serde_json::from_slice(value).map_err(|error| alien(error.to_string()))?;
            let Reading { resource, managers } = read;
            let resource =
                resource::read_one(resource.get()).map_err(|error| alien(error.to_string()))?;
            let named = key
                .split_once('/')
                .and_then(|(kind, name)| resource::Key::new(Kind::from_str(kind).ok()?, name).ok());
            if named.as_ref() != Some(&resource.key()) {
                return Err(alien(format!("its value is {}", resource.key())));
            }
            self.resources.push(Stored { resource, managers, revision: entry.modified });
        } else if let Some(number) = name.strip_prefix(EVENT) {
            let number = number.parse().map_err(|_| alien("its name is no number".to_owned()))?;
            let events = serde_json::from_slice(value).map_err(|error| alien(error.to_string()))?;
            self.events.push((number, events));
        } else if !name.starts_with(IDENTITY) {
            return Err(alien("this version of the controller knows no such key".to_owned()));
        }
        Ok(())
    }
}
