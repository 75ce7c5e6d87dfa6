//! `cargo xtask layers`: the crates' arrows, compared with what cargo knows.
//!
//! The tables below are the architecture's drawing in another form; a crate that is not in them, or an
//! arrow that they do not have, is an error.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::artifacts::cargo;
use crate::process;

/// What each crate may use of the workspace.
const ARROWS: [(&str, &[&str]); 10] = [
    ("gateway-common", &[]),
    ("gateway-ebpf", &["gateway-common"]),
    // The kernel half is a build-dependency: cargo has to see its changes.
    ("gateway-dataplane", &["gateway-common", "gateway-ebpf"]),
    ("gateway-policy", &["gateway-common"]),
    ("gateway-control", &["gateway-common", "gateway-policy"]),
    (
        "gateway-daemon",
        &["gateway-common", "gateway-control", "gateway-dataplane", "gateway-policy"],
    ),
    ("xtask", &[]),
    (
        "vm-tests",
        &[
            "gateway-common",
            "gateway-control",
            "gateway-daemon",
            "gateway-dataplane",
            "gateway-policy",
        ],
    ),
    ("policies", &["gateway-common", "gateway-control", "gateway-policy"]),
    ("fuzz", &["gateway-common", "gateway-control", "gateway-policy"]),
];

/// The one arrow that only the build may have.
const BUILD_ONLY: (&str, &str) = ("gateway-dataplane", "gateway-ebpf");

/// Crates that decide and do not act: no runtime, no kernel, no sockets, not even by way of another.
const PURE: [&str; 3] = ["gateway-common", "gateway-control", "gateway-policy"];
const IMPURE: [&str; 12] = [
    "async-io",
    "aya",
    "aya-obj",
    "mio",
    "netlink-sys",
    "nix",
    "quinn",
    "rtnetlink",
    "rustix",
    "socket2",
    "tokio",
    "wireguard-control",
];

/// Who alone may use a crate from outside directly. The benchmarks load programs of their own to compare
/// the shipped ones with, and ask the kernel what each costs.
const RESERVED: [(&str, &[&str]); 2] =
    [("aya", &["gateway-dataplane", "vm-tests"]), ("aya-log", &["gateway-dataplane"])];

/// Fails with every arrow that should not be.
pub(crate) fn check(workspace: &Path) -> Result<()> {
    let metadata = process::output(cargo(workspace).args([
        "metadata",
        "--format-version=1",
        "--locked",
        "--filter-platform",
        &format!("{}-unknown-linux-gnu", std::env::consts::ARCH),
    ]))?;
    let graph = Graph::parse(&serde_json::from_str(&metadata).context("cargo's metadata")?)?;
    let offences = graph.offences();
    if offences.is_empty() { Ok(()) } else { bail!("{}", offences.join("\n  ")) }
}

/// For what a crate uses another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Use {
    Normal,
    Build,
    Test,
}

#[derive(Debug, Default)]
struct Graph {
    /// The crates of the workspace by identifier.
    members: BTreeSet<String>,
    names: BTreeMap<String, String>,
    arrows: BTreeMap<String, Vec<(String, Use)>>,
}

impl Graph {
    fn parse(metadata: &Value) -> Result<Self> {
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let text =
            |value: &Value| value.as_str().map(str::to_owned).context("metadata of another shape");
        let mut graph = Self::default();
        for member in list(&metadata["workspace_members"]) {
            graph.members.insert(text(&member)?);
        }
        for package in list(&metadata["packages"]) {
            graph.names.insert(text(&package["id"])?, text(&package["name"])?);
        }
        for node in list(&metadata["resolve"]["nodes"]) {
            let mut arrows = Vec::new();
            for dependency in list(&node["deps"]) {
                let target = text(&dependency["pkg"])?;
                for kind in list(&dependency["dep_kinds"]) {
                    let purpose = match kind["kind"].as_str() {
                        None => Use::Normal,
                        Some("build") => Use::Build,
                        Some(_) => Use::Test,
                    };
                    arrows.push((target.clone(), purpose));
                }
            }
            graph.arrows.insert(text(&node["id"])?, arrows);
        }
        Ok(graph)
    }

    fn offences(&self) -> Vec<String> {
        let mut offences = BTreeSet::new();
        for member in &self.members {
            let name = self.name(member);
            let Some((_, allowed)) = ARROWS.iter().find(|(known, _)| *known == name) else {
                offences.insert(format!("{name} is not in the drawing"));
                continue;
            };
            for (target, purpose) in self.arrows_of(member) {
                let other = self.name(target);
                if self.members.contains(target) {
                    let itself = other == name && *purpose == Use::Test;
                    if !itself && !allowed.contains(&other) {
                        offences.insert(format!("{name} must not use {other}"));
                    }
                    if (name, other) == BUILD_ONLY && *purpose != Use::Build {
                        offences.insert(format!("{name} may use {other} for its build alone"));
                    }
                } else if let Some((_, owners)) = RESERVED.iter().find(|(known, _)| *known == other)
                    && !owners.contains(&name)
                {
                    let owners = owners.join(" and ");
                    offences.insert(format!("{name} must not use {other}; {owners} alone may"));
                }
            }
            if PURE.contains(&name) {
                offences.extend(self.impurities(member));
            }
        }
        offences.into_iter().collect()
    }

    /// What a pure crate reaches that it must not, with the way there.
    fn impurities(&self, member: &str) -> Vec<String> {
        let mut offences = Vec::new();
        let mut seen = BTreeSet::from([member.to_owned()]);
        let mut ways = vec![vec![member.to_owned()]];
        while let Some(way) = ways.pop() {
            let Some(last) = way.last() else { continue };
            for (target, purpose) in self.arrows_of(last) {
                if *purpose != Use::Normal || !seen.insert(target.clone()) {
                    continue;
                }
                let mut longer = way.clone();
                longer.push(target.clone());
                if IMPURE.contains(&self.name(target)) {
                    let names: Vec<&str> = longer.iter().map(|id| self.name(id)).collect();
                    offences.push(format!("{} must stay pure: {}", names[0], names.join(" -> ")));
                } else {
                    ways.push(longer);
                }
            }
        }
        offences
    }

    fn arrows_of(&self, id: &str) -> &[(String, Use)] {
        self.arrows.get(id).map_or(&[], Vec::as_slice)
    }

    fn name<'a>(&'a self, id: &'a str) -> &'a str {
        self.names.get(id).map_or(id, String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A workspace in which each crate is named by its identifier.
    fn graph(members: &[&str], arrows: &[(&str, &str, Use)]) -> Graph {
        let mut graph = Graph {
            members: members.iter().map(|name| (*name).to_owned()).collect(),
            ..Graph::default()
        };
        for (from, to, purpose) in arrows {
            graph.arrows.entry((*from).to_owned()).or_default().push(((*to).to_owned(), *purpose));
        }
        graph
    }

    const MEMBERS: [&str; 5] = [
        "gateway-common",
        "gateway-control",
        "gateway-dataplane",
        "gateway-ebpf",
        "gateway-policy",
    ];

    #[test]
    fn the_drawn_arrows_are_fine() {
        let graph = graph(
            &MEMBERS,
            &[
                ("gateway-control", "gateway-policy", Use::Normal),
                ("gateway-dataplane", "gateway-ebpf", Use::Build),
                ("gateway-dataplane", "aya", Use::Normal),
                ("gateway-common", "gateway-common", Use::Test),
                ("gateway-control", "serde", Use::Normal),
            ],
        );
        assert_eq!(graph.offences(), Vec::<String>::new());
    }

    #[test]
    fn every_other_arrow_is_an_offence() {
        for (from, to, purpose, expected) in [
            ("gateway-policy", "gateway-control", Use::Normal, "must not use"),
            ("gateway-common", "gateway-policy", Use::Test, "must not use"),
            ("gateway-dataplane", "gateway-ebpf", Use::Normal, "for its build alone"),
            ("gateway-control", "aya", Use::Test, "gateway-dataplane and vm-tests alone"),
            ("gateway-control", "tokio", Use::Normal, "gateway-control -> tokio"),
        ] {
            let offences = graph(&MEMBERS, &[(from, to, purpose)]).offences();
            assert!(
                offences.iter().any(|offence| offence.contains(expected)),
                "{from} {to}: {offences:?}"
            );
        }
        assert_eq!(graph(&["stranger"], &[]).offences(), ["stranger is not in the drawing"]);
    }

    #[test]
    fn a_ban_holds_by_way_of_others() {
        let arrows = [
            ("gateway-policy", "a", Use::Normal),
            ("a", "b", Use::Normal),
            ("b", "mio", Use::Normal),
        ];
        let offences = graph(&MEMBERS, &arrows).offences();
        assert_eq!(offences, ["gateway-policy must stay pure: gateway-policy -> a -> b -> mio"]);
        let arrows = [("gateway-policy", "a", Use::Test), ("a", "mio", Use::Normal)];
        assert!(graph(&MEMBERS, &arrows).offences().is_empty());
    }

    #[test]
    fn metadata_is_read() {
        let metadata = serde_json::json!({
            "workspace_members": ["w#gateway-common"],
            "packages": [{"id": "w#gateway-common", "name": "gateway-common"}, {"id": "r#nix", "name": "nix"}],
            "resolve": {"nodes": [{"id": "w#gateway-common", "deps": [
                {"pkg": "r#nix", "dep_kinds": [{"kind": null, "target": null}]}]}]}
        });
        let offences = Graph::parse(&metadata).unwrap().offences();
        assert_eq!(offences, ["gateway-common must stay pure: gateway-common -> nix"]);
    }
}
