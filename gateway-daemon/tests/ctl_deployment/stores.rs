//! `backup` of a controller's store that goes on, and `restore` of one.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use std::time::Instant;

use super::{Deployment, PATIENCE, Ran, Scratch};

/// Restores a store that its process has closed. Another test that starts a program at that moment has a copy of every
/// open file, locks included, until that program runs.
fn restored(scratch: &Scratch, file: &str, store: &str) -> Ran {
    let begun = Instant::now();
    loop {
        let ran = scratch.ctl_at("no-socket", &["restore", file, "--store", store], "");
        if !ran.err.contains("a process has it open") || begun.elapsed() > PATIENCE {
            return ran;
        }
    }
}

#[test]
fn a_backup_is_restored_to_what_it_holds() {
    let deployment = Deployment::of_three_sites();
    let file = deployment.scratch.path("backup");
    let told = deployment.ctl(&["backup", &file]).ok();
    assert!(told.starts_with(&format!("{file} written, ")), "{told}");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o600);
    let before = fs::read(&file).unwrap();
    let told = deployment.ctl(&["backup", &file]).fails(1);
    assert!(told.contains("there is such a file already"), "{told}");
    assert_eq!(fs::read(&file).unwrap(), before);
    let beside = fs::read_dir(&deployment.scratch.0).unwrap();
    assert!(
        !beside.into_iter().any(|it| it.unwrap().file_name().to_string_lossy().contains(".part"))
    );

    let store = deployment.scratch.path("store");
    let told = deployment.ctl(&["restore", &file, "--store", &store]).fails(1);
    assert!(told.contains(&store), "{told}");
    deployment.ctl(&["delete", "policy", "edge-b-files"]).ok();

    let scratch = deployment.end();
    let told = restored(&scratch, &file, &store).ok();
    assert!(told.contains("of revision") && told.contains("is kept as"), "{told}");
    let told = scratch.ctl_at("no-socket", &["restore", &store, "--store", &file], "").fails(1);
    assert!(told.contains("backup"), "{told}");
    let json = ["restore", &file, "--store", &scratch.path("other"), "-o", "json"];
    let json = scratch.ctl_at("no-socket", &json, "").json();
    assert_eq!(json["replaced"], serde_json::Value::Null);
    assert!(json["revision"].as_u64().unwrap() > json["revision_of_backup"].as_u64().unwrap());

    let again = Deployment::in_place(scratch);
    let names = again.ctl(&["get", "policies", "-o", "name"]).ok();
    assert!(names.contains("policy/edge-b-files\n"), "{names}");
}
