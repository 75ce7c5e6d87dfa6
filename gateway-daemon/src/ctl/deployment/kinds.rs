//! What operators call resources: words of kinds, names, and several of them on a command line. Pure.

use gateway_control::resource::{Key, Kind};
use serde_json::Value;

use super::usage::UsageError;
use crate::api::wire::{Reference, View};

/// Short words of kinds.
const SHORT: [(&str, &str); 5] = [
    ("Gateway", "gw"),
    ("Service", "svc"),
    ("Exposure", "exp"),
    ("Policy", "pol"),
    ("Token", "tok"),
];

/// What a command line names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Every resource.
    All,
    /// Those of some kinds; one at least, none twice.
    Kinds(Vec<Kind>),
    /// These; one at least.
    Named(Vec<Reference>),
}

/// The kind that is meant by a word.
pub(super) fn kind(word: &str) -> Result<Kind, UsageError> {
    let is_meant = |kind: &Kind| {
        let (singular, plural) = (kind.word().to_lowercase(), plural(kind.word()));
        let short = SHORT.iter().find(|(of, _)| *of == kind.word()).map(|(_, short)| *short);
        let meant = word.to_lowercase();
        meant == singular || meant == plural || short == Some(meant.as_str())
    };
    Kind::ALL.into_iter().find(is_meant).ok_or_else(|| UsageError::Kind {
        found: word.to_owned(),
        known: Kind::ALL.map(|kind| kind.word().to_lowercase()).join(", "),
    })
}

/// The word for several of a kind.
pub(super) fn plural(kind: &str) -> String {
    let singular = kind.to_lowercase();
    match singular.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'i', 'o', 'u']) => format!("{stem}ies"),
        _ => format!("{singular}s"),
    }
}

/// A resource of this kind by its name.
pub(super) fn reference(kind: Kind, name: &str) -> Result<Reference, UsageError> {
    match Key::new(kind, name) {
        Ok(key) => Ok(of_key(&key)),
        Err(error) => Err(UsageError::Name { kind, found: name.to_owned(), error }),
    }
}

/// What the words of a command line name: `all`, `KIND`, `KIND NAME…` or `KIND/NAME…`.
pub(super) fn wanted(words: &[String]) -> Result<Wanted, UsageError> {
    let Some((first, names)) = words.split_first() else { return Err(UsageError::Nothing) };
    if first.contains('/') {
        let named = words.iter().map(|word| match word.split_once('/') {
            Some((of, name)) => reference(kind(of)?, name),
            None => Err(UsageError::Mixed { found: word.clone() }),
        });
        return named.collect::<Result<_, _>>().map(Wanted::Named);
    }
    if first.eq_ignore_ascii_case("all") {
        return match names.first() {
            None => Ok(Wanted::All),
            Some(name) => Err(UsageError::Mixed { found: name.clone() }),
        };
    }
    let mut kinds = Vec::new();
    for word in first.split(',') {
        let kind = kind(word)?;
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    match (kinds.as_slice(), names) {
        (_, []) => Ok(Wanted::Kinds(kinds)),
        ([kind], names) => {
            let named = names.iter().map(|name| match name.contains('/') {
                true => Err(UsageError::Mixed { found: name.clone() }),
                false => reference(*kind, name),
            });
            named.collect::<Result<_, _>>().map(Wanted::Named)
        }
        (_, [name, ..]) => Err(UsageError::Mixed { found: name.clone() }),
    }
}

/// One resource: `KIND NAME` or `KIND/NAME`.
pub(super) fn one(kind: &str, name: Option<&str>) -> Result<Reference, UsageError> {
    let words: Vec<_> = [Some(kind), name].into_iter().flatten().map(str::to_owned).collect();
    match wanted(&words)? {
        Wanted::Named(mut named) if named.len() == 1 => Ok(named.remove(0)),
        Wanted::Named(_) | Wanted::Kinds(_) | Wanted::All => Err(UsageError::OneName),
    }
}

/// How a resource is named on a command line and in answers.
pub(super) fn shown(reference: &Reference) -> String {
    format!("{}/{}", reference.kind.to_lowercase(), reference.name)
}

/// The resource of a key.
pub(super) fn of_key(key: &Key) -> Reference {
    Reference { kind: key.kind().word().to_owned(), name: key.name() }
}

/// What a view is of.
pub(super) fn of_view(view: &View) -> Reference {
    let name = &view.metadata.name;
    let site = view.spec.get("site").and_then(Value::as_str);
    let name = match site {
        Some(site) if view.kind == Kind::Service.word() => format!("{name}.{site}"),
        _ => name.clone(),
    };
    Reference { kind: view.kind.clone(), name }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Result<Wanted, UsageError> {
        wanted(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    fn named(names: &[(&str, &str)]) -> Result<Wanted, UsageError> {
        let reference =
            |(kind, name): &(&str, &str)| Reference { kind: (*kind).into(), name: (*name).into() };
        Ok(Wanted::Named(names.iter().map(reference).collect()))
    }

    #[test]
    fn kinds_have_many_words() {
        for (word, meant) in [
            ("site", Kind::Site),
            ("Sites", Kind::Site),
            ("POLICIES", Kind::Policy),
            ("policy", Kind::Policy),
            ("pol", Kind::Policy),
            ("gw", Kind::Gateway),
            ("Gateways", Kind::Gateway),
            ("exposures", Kind::Exposure),
            ("services", Kind::Service),
            ("svc", Kind::Service),
            ("exp", Kind::Exposure),
        ] {
            assert_eq!(kind(word), Ok(meant), "{word}");
        }
        for wrong in ["", "sitess", "s", "policys"] {
            let told = kind(wrong).unwrap_err().to_string();
            assert!(told.contains("site, gateway, service, exposure, policy"), "{told}");
        }
    }

    #[test]
    fn command_lines_name_resources() {
        assert_eq!(words("all"), Ok(Wanted::All));
        assert_eq!(words("svc"), Ok(Wanted::Kinds(vec![Kind::Service])));
        assert_eq!(words("svc,site,svc"), Ok(Wanted::Kinds(vec![Kind::Service, Kind::Site])));
        assert_eq!(words("site a b"), named(&[("Site", "a"), ("Site", "b")]));
        assert_eq!(words("site/a svc/b.c"), named(&[("Site", "a"), ("Service", "b.c")]));
        for wrong in ["", "all a", "site/a b", "site a site/b", "site,svc a", "svc b", "site A"] {
            assert!(words(wrong).is_err(), "{wrong}");
        }
        assert!(one("site", Some("a")).is_ok() && one("site/a", None).is_ok());
        assert!(one("site", None).is_err() && one("site/a", Some("b")).is_err());
    }
}
