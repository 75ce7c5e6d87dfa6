//! Every shipped example keeps what its table promises.
#![allow(clippy::unwrap_used, reason = "a test may fail where a file is not there")]

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use gateway_control::deployment::share::LocalFacts;
use gateway_control::deployment::{Change, Desired};
use gateway_control::model::{SiteModel, SiteName};
use gateway_control::resource::{self, Gateway, GatewayState, Labels, Resource};
use gateway_control::site_file;
use policies::{Deployment, DeploymentError, expectations};

fn examples() -> Vec<PathBuf> {
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("examples"))
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn texts(example: &Path, extension: &str) -> Vec<String> {
    files(example)
        .iter()
        .filter(|path| path.extension() == Some(OsStr::new(extension)))
        .map(|path| fs::read_to_string(path).unwrap())
        .collect()
}

fn deployment(texts: &[String]) -> Deployment {
    Deployment::new(texts.iter().map(String::as_str)).unwrap_or_else(|error| panic!("{error}"))
}

/// The site files of an example; of one that has resources instead, what its gateways come to.
fn site_files(example: &Path) -> Vec<String> {
    match texts(example, "toml") {
        files if files.is_empty() => by_shares(&texts(example, "yaml")),
        files => files,
    }
}

/// Sites by their shares, once each has a gateway on a host like that of the other example.
fn by_shares(documents: &[String]) -> Vec<String> {
    let declared = documents.iter().flat_map(|text| resource::read(text).unwrap());
    let mut changes: Vec<_> = declared.map(|it| Change::Put(it.resource)).collect();
    let sites = changes.iter().filter_map(|change| match change {
        Change::Put(Resource::Site(site)) => Some(site.name.clone()),
        _ => None,
    });
    let sites: Vec<_> = sites.collect();
    for (n, site) in (1..).zip(&sites) {
        changes.push(Change::Put(Resource::Gateway(Gateway {
            state: GatewayState::Active,
            name: format!("{site}-gw").parse().unwrap(),
            labels: Labels::default(),
            site: site.clone(),
            public_key: [n; 32].into(),
            endpoints: vec![format!("192.0.2.{n}:51820").parse().unwrap()],
        })));
    }
    let mut desired = Desired::default();
    desired.change(changes, 0).unwrap_or_else(|problems| panic!("{problems:#?}"));
    let host = include_str!("../examples/three-sites/cloud.toml");
    let facts = LocalFacts::of(&site_file::parse(host).unwrap());
    let site_file = |site: &SiteName| {
        let name = format!("{site}-gw").parse().unwrap();
        let draft = desired.share(site).unwrap().draft(&name, &facts).unwrap();
        SiteModel::check(draft).unwrap().to_string()
    };
    sites.iter().map(site_file).collect()
}

#[test]
fn every_expectation_holds() {
    let examples = examples();
    assert!(!examples.is_empty());
    for example in examples {
        let sites = site_files(&example);
        let tables = texts(&example, "expect");
        assert!(!tables.is_empty(), "{} expects nothing", example.display());
        let deployment = deployment(&sites);
        for expected in tables.iter().flat_map(|text| expectations(text).unwrap()) {
            if let Err(error) = deployment.check(&expected) {
                panic!("{}: {error}", example.display());
            }
        }
    }
}

/// Every rule of every example is promised by some line, so that removing one is noticed.
#[test]
fn every_rule_is_expected() {
    for example in examples() {
        let expected = texts(&example, "expect").concat();
        for site in site_files(&example) {
            let model = site_file::parse(&site).unwrap();
            for rule in model.rules().rules() {
                let line = format!("allow {}\n", rule.id);
                assert!(expected.contains(&line), "{}: no {line}", example.display());
            }
        }
    }
}

#[test]
fn a_removed_rule_is_noticed() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/three-sites");
    let line = &expectations("edge-b 10.0.0.9 files.cloud tcp/80 allow edge-b-files").unwrap()[0];
    let mut sites = texts(&example, "toml");
    deployment(&sites).check(line).unwrap();
    for site in &mut sites {
        *site = site.replace("to = \"files.cloud\"", "to = \"rabbitmq.cloud\"");
    }
    let error = deployment(&sites).check(line).unwrap_err();
    assert!(matches!(error, DeploymentError::Otherwise { line: 1, .. }), "{error}");
}
