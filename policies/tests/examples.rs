//! Every shipped example keeps what its table promises.
#![allow(clippy::unwrap_used, reason = "a test may fail where a file is not there")]

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

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

#[test]
fn every_expectation_holds() {
    let examples = examples();
    assert!(!examples.is_empty());
    for example in examples {
        let sites = texts(&example, "toml");
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
        for site in texts(&example, "toml") {
            let model = gateway_control::site_file::parse(&site).unwrap();
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
