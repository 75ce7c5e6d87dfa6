//! `gatewayctl seal`, and the sealers that need a process of its own.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use super::*;

const GATEWAYCTL: &str = env!("CARGO_BIN_EXE_gatewayctl");

fn config(scratch: &Scratch, name: &str, sealer: &str) -> PathBuf {
    let path = scratch.0.join(name);
    let state = scratch.state();
    fs::write(
        &path,
        format!(
            "mode = \"controller\"\n[seal]\ndirectory = {:?}\n{sealer}\n",
            state.display().to_string()
        ),
    )
    .unwrap();
    path
}

fn seal(words: &[&str], input: &[u8], credentials: Option<&Path>) -> Output {
    let mut command = Command::new(GATEWAYCTL);
    command.arg("seal").args(words).env_remove("CREDENTIALS_DIRECTORY");
    if let Some(directory) = credentials {
        command.env("CREDENTIALS_DIRECTORY", directory);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // It may have ended without reading.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

fn text(octets: &[u8]) -> String {
    String::from_utf8(octets.to_vec()).unwrap()
}

fn show(config: &Path, input: &[u8], credentials: Option<&Path>) -> Result<String, String> {
    let output = seal(&["show", "--config", config.to_str().unwrap()], input, credentials);
    match output.status.code() {
        Some(0) => Ok(text(&output.stdout)),
        _ => Err(text(&output.stdout) + &text(&output.stderr)),
    }
}

#[test]
fn it_shows_what_is_sealed_and_what_does_not_open() {
    let scratch = Scratch::new();
    let config = config(&scratch, "c.toml", "path = \"seal.key\"");
    let error = show(&config, b"", None).unwrap_err();
    assert_told(&error, &["directory of sealed files", "there is none"]);
    let strongbox = scratch.create();
    assert_told(&show(&config, b"", None).unwrap(), &["nothing is sealed yet"]);
    strongbox.write(&NAME, CANARY).unwrap();
    let shown = show(&config, b"", None).unwrap();
    let id = strongbox.id().to_string();
    assert_told(&shown, &["identity", "59", "opens", "seal.key", &id]);
    assert!(!shown.contains("canary"), "{shown}");
    strongbox.write(&Purpose::of("ca"), b"x").unwrap();
    fs::copy(strongbox.path(&NAME), strongbox.path(&Purpose::of("ca"))).unwrap();
    let error = show(&config, b"", None).unwrap_err();
    assert_told(&error, &["ca.sealed", "damaged", "1 of the sealed files", "opens"]);
}

#[test]
fn it_seals_with_another_secret_and_back() {
    let scratch = Scratch::new();
    scratch.create().write(&NAME, CANARY).unwrap();
    let by_file = config(&scratch, "file.toml", "path = \"seal.key\"");
    let by_input = config(&scratch, "input.toml", "kind = \"passphrase\"\ndescriptor = 0");
    let paths = [by_file.to_str().unwrap(), by_input.to_str().unwrap()];
    let passphrase = b"correct horse battery\n";
    let output = seal(&["rewrap", "--config", paths[0], "--to", paths[1]], passphrase, None);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_told(&text(&output.stdout), &["the passphrase by descriptor 0", "identity"]);
    assert_told(&show(&by_file, b"", None).unwrap_err(), &["sealed with a passphrase"]);
    assert_told(&show(&by_input, b"wrong horse battery\n", None).unwrap_err(), &["is not the one"]);
    assert_told(&show(&by_input, passphrase, None).unwrap(), &["identity", "opens"]);
    let output = seal(&["rewrap", "--config", paths[1], "--to", paths[0]], passphrase, None);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_told(&show(&by_file, b"", None).unwrap(), &["identity", "opens"]);
}

/// As `LoadCredential=` gives it: a file below a directory that the service manager names.
#[test]
fn a_credential_of_the_service_manager_opens_it() {
    let scratch = Scratch::new();
    scratch.create().write(&NAME, CANARY).unwrap();
    let credentials = scratch.0.join("credentials");
    fs::create_dir(&credentials).unwrap();
    let credential = credentials.join("presence-seal");
    fs::copy(scratch.0.join("seal.key"), &credential).unwrap();
    let by_file = config(&scratch, "file.toml", "path = \"seal.key\"");
    let settings = "kind = \"credential\"\ncredential = \"presence-seal\"";
    let by_credential = config(&scratch, "credential.toml", settings);
    let words =
        ["rewrap", "--config", by_file.to_str().unwrap(), "--to", by_credential.to_str().unwrap()];
    let without = seal(&words, b"", None);
    assert_told(&text(&without.stderr), &["credential presence-seal", "CREDENTIALS_DIRECTORY"]);
    let with = seal(&words, b"", Some(&credentials));
    assert!(with.status.success(), "{}", text(&with.stderr));
    assert_told(&show(&by_credential, b"", Some(&credentials)).unwrap(), &["opens"]);
    fs::remove_file(&credential).unwrap();
    let error = show(&by_credential, b"", Some(&credentials)).unwrap_err();
    assert_told(&error, &["credential presence-seal: cannot read it", "LoadCredentialEncrypted="]);
}

#[test]
fn a_site_file_has_nothing_sealed() {
    let scratch = Scratch::new();
    let site = concat!(env!("CARGO_MANIFEST_DIR"), "/../policies/examples/three-sites/cloud.toml");
    let path = scratch.0.join("site.toml");
    fs::copy(site, &path).unwrap();
    let output = seal(&["show", "--config", path.to_str().unwrap()], b"", None);
    assert_eq!(output.status.code(), Some(2));
    assert_told(&text(&output.stderr), &["site.toml: seal:", "nothing sealed"]);
}
