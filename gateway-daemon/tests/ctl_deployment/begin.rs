//! What a deployment begins with: `init`, and `import` of site files.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::{Deployment, Scratch, lines};

const ANSWERS: [&str; 10] = [
    "--site",
    "cloud",
    "--lan",
    "eth1",
    "--networks",
    "10.0.0.0/24",
    "--pool",
    "10.0.0.192/26",
    "--endpoint",
    "192.0.2.1:51820",
];

fn init<'a>(directory: &'a str, answers: &[&'a str]) -> Vec<&'a str> {
    [&["init", "--directory", directory], answers].concat()
}

#[test]
fn a_deployment_begins_with_three_files() {
    let deployment = Deployment::empty();
    let directory = deployment.scratch.path("etc");
    let told = deployment.ctl(&init(&directory, &ANSWERS)).ok();
    assert!(told.contains("Next:") && told.contains("gatewayctl apply -f"), "{told}");
    let key = format!("{directory}/link.key");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o7777, 0o600);
    let private = fs::read_to_string(&key).unwrap();
    let private = wireguard_control::Key::from_base64(private.trim()).unwrap();
    let public = private.get_public().to_base64();
    assert!(told.contains(&public) && !told.contains(&private.to_base64()), "{told}");
    let controller: toml::Table =
        fs::read_to_string(format!("{directory}/controller.toml")).unwrap().parse().unwrap();
    assert_eq!(controller["gateway"]["name"].as_str(), Some("cloud-gw"));
    let resources = format!("{directory}/deployment.yaml");
    let told = deployment.ctl(&["apply", "-f", &resources]).ok();
    assert_eq!(told, "site/cloud created\ngateway/cloud-gw created\n");
    let json = deployment.ctl(&["get", "gw/cloud-gw", "-o", "json"]).json();
    assert_eq!(json["spec"]["publicKey"], public);

    let before: Vec<_> = [&key, &resources].map(|path| fs::read(path).unwrap()).to_vec();
    let told = deployment.ctl(&init(&directory, &ANSWERS)).fails(1);
    assert!(told.contains(&key) && told.contains("nothing is overwritten"), "{told}");
    fs::remove_file(&key).unwrap();
    let told = deployment.ctl(&init(&directory, &ANSWERS)).fails(1);
    assert!(told.contains("controller.toml"), "{told}");
    assert!(!Path::new(&key).exists(), "none is written if one is there");
    assert_eq!(fs::read(&resources).unwrap(), before[1]);
}

#[test]
fn answers_are_checked_before_anything_is_written() {
    let scratch = Scratch::new();
    let directory = scratch.path("etc");
    let with = |name: &str, value: &'static str| {
        let mut answers = ANSWERS;
        let at = answers.iter().position(|it| *it == name).unwrap();
        answers[at + 1] = value;
        answers
    };
    for (name, value) in [
        ("--site", "Cloud"),
        ("--lan", "a/b"),
        ("--networks", "10.0.0.0"),
        ("--networks", "10.0.0.0/24,10.0.0.0/25"),
        ("--pool", "10.0.0.0/33"),
        ("--endpoint", "192.0.2.1"),
    ] {
        let answers = with(name, value);
        scratch.ctl_at("x", &init(&directory, &answers), "").fails(2);
    }
    let told = scratch.ctl_at("x", &init(&directory, &ANSWERS[..6]), "").fails(2);
    assert!(told.contains("--pool, --endpoint"), "{told}");
    assert!(!Path::new(&directory).exists());
}

#[test]
fn site_files_become_resources() {
    let deployment = Deployment::empty();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies/examples/three-sites");
    let files: Vec<String> = ["cloud", "edge-a", "edge-b"]
        .map(|site| examples.join(format!("{site}.toml")).to_str().unwrap().to_owned())
        .to_vec();
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let words = |more: &[&'static str]| [&["import"][..], &files, more].concat();
    let yaml = deployment.ctl(&words(&[])).ok();
    assert_eq!(deployment.ctl(&["get", "all"]).ok(), "there are none\n");
    let dry = deployment.ctl(&words(&["--apply", "--dry-run"])).ok();
    assert!(dry.contains("site/edge-b created (dry run)"), "{dry}");
    let told = deployment.ctl(&words(&["--apply"])).ok();
    assert!(told.lines().all(|line| line.ends_with(" created")), "{told}");
    let told = deployment.ctl_with(&["apply", "-f", "-"], &yaml).ok();
    assert!(told.lines().all(|line| line.ends_with(" unchanged")), "{told}");
    let shown = lines(&deployment.ctl(&["get", "site"]).ok());
    assert_eq!(shown.len(), 4, "{shown:?}");
    let told = deployment.ctl(&["import", files[0], files[1]]).fails(2);
    assert!(told.contains("edge-b"), "{told}");
}
