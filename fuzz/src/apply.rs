//! Bodies of apply: from any bytes to what two managers make of the resources in them.

use std::collections::BTreeMap;

use gateway_control::resource::{
    Declared, Key, ManagerName, Managers, Resource, merge, read, read_one,
};

type Kept = (Resource, Managers);

/// Applies two bodies in turn: what is before the first octet 0 by one manager, what is after it by another, the
/// same again if there is none. Then the first once more, and both with force.
///
/// # Panics
///
/// If what comes of it is no resource, or of another name; if a field of the other manager changes without force, or
/// a conflict names a field that he does not hold; if force is refused; or if the same applied again changes
/// something.
pub fn apply(data: &[u8]) {
    run(data);
}

/// How many resources were merged, and how many refused.
fn run(data: &[u8]) -> (usize, usize) {
    let (first, second) = match data.iter().position(|octet| *octet == 0) {
        Some(at) => (&data[..at], &data[at + 1..]),
        None => (data, data),
    };
    let bodies = [first, second].map(|body| declared(body).unwrap_or_default());
    let [one, other] = ["root", "gitops"].map(|name| name.parse().expect("a name"));
    let mut stored: BTreeMap<Key, Kept> = BTreeMap::new();
    let (mut merged, mut refused) = (0, 0);
    for (body, by, force) in [
        (&bodies[0], &one, false),
        (&bodies[1], &other, false),
        (&bodies[0], &one, false),
        (&bodies[1], &other, true),
        (&bodies[0], &one, true),
    ] {
        for document in body {
            let key = document.resource.key();
            match applied(stored.get(&key), document, by, force) {
                Some(kept) => {
                    stored.insert(key, kept);
                    merged += 1;
                }
                None => refused += 1,
            }
        }
    }
    (merged, refused)
}

fn declared(body: &[u8]) -> Option<Vec<Declared>> {
    read(std::str::from_utf8(body).ok()?).ok()
}

fn applied(
    stored: Option<&Kept>,
    document: &Declared,
    by: &ManagerName,
    force: bool,
) -> Option<Kept> {
    let before = stored.map(|(resource, managers)| (resource, managers));
    let (resource, managers) = match merge(before, &document.resource, &document.fields, by, force)
    {
        Ok(kept) => kept,
        Err(conflicts) => {
            assert!(!force && !conflicts.is_empty(), "refused without a reason");
            let (_, held) = stored.expect("nothing is in the way of a new resource");
            for conflict in conflicts {
                assert!(conflict.manager != *by, "{conflict}");
                assert!(held.holder(&conflict.field) == Some(&conflict.manager), "{conflict}");
            }
            return None;
        }
    };
    let written = serde_json::to_value(&resource).expect("a resource is text all through");
    match read_one(&written.to_string()) {
        Ok(read) => assert_eq!(read, resource, "it reads back as another"),
        Err(error) => panic!("what was merged is no resource: {error}\n{written}"),
    }
    assert_eq!(resource.key(), document.resource.key(), "another resource");
    let fields = resource.fields();
    assert!(managers.iter().all(|(field, _)| fields.contains(field)), "a field is not there");
    if let Some((before, held)) = stored.filter(|_| !force) {
        let before = serde_json::to_value(before).expect("a resource is text all through");
        for (field, manager) in held.iter().filter(|(_, manager)| *manager != by) {
            assert!(managers.holder(field) == Some(manager), "{field} has changed hands");
            let value = |whole: &serde_json::Value| {
                let (path, name) = match field.to_string() {
                    text if text.starts_with("spec.") => {
                        ("/spec", text["spec.".len()..].to_owned())
                    }
                    text => ("/metadata/labels", text["metadata.labels.".len()..].to_owned()),
                };
                whole.pointer(path).and_then(|part| part.get(name)).cloned()
            };
            assert_eq!(value(&written), value(&before), "{field} has changed");
        }
    }
    let kept = (resource, managers);
    let again = merge(Some((&kept.0, &kept.1)), &document.resource, &document.fields, by, false);
    assert_eq!(again.as_ref(), Ok(&kept), "applied again it is something else");
    Some(kept)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// A corpus in which nobody is in the other's way would find little.
    #[test]
    fn the_corpus_has_bodies_of_all_kinds() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/apply");
        let runs = fs::read_dir(corpus).unwrap();
        let runs: Vec<_> = runs.map(|it| run(&fs::read(it.unwrap().path()).unwrap())).collect();
        let count = |kind: fn(&(usize, usize)) -> bool| runs.iter().filter(|it| kind(it)).count();
        let without_conflict = count(|(merged, refused)| *merged > 0 && *refused == 0);
        let with_conflict = count(|(_, refused)| *refused > 0);
        let unread = count(|run| *run == (0, 0));
        assert!(without_conflict >= 5 && with_conflict >= 5 && unread >= 2, "{runs:?}");
    }
}
