//! Both programs from outside, without root: arguments, output, exit codes.
#![forbid(unsafe_code)]

#[path = "common/scratch.rs"]
mod scratch;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use scratch::Scratch;

const GATEWAYD: &str = env!("CARGO_BIN_EXE_gatewayd");
const GATEWAYCTL: &str = env!("CARGO_BIN_EXE_gatewayctl");

const SITE: &str = r#"
[gateway]
name = "edge-a-gw"
instance = "command-line-test"
[site]
name = "edge-a"
transit = "240.0.16.0/20"
presence_pool = "10.0.0.192/26"
[[lan]]
interface = "no-such-lan"
networks = ["10.0.0.0/24"]
[link]
private_key_file = "link.key"
[[peer]]
site = "cloud"
public_key = "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08="
endpoint = "192.0.2.1:51820"
[[remote_site]]
name = "cloud"
transit = "240.0.0.0/20"
[[allow]]
id = "elsewhere"
from = "cloud"
to = "web.cloud"
"#;

fn run(program: &str, words: &[&str]) -> Output {
    Command::new(program)
        .args(words)
        .env_remove("NOTIFY_SOCKET")
        .output()
        .expect("the program starts")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

impl Scratch {
    fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, text).expect("a file");
        path.to_str().expect("a path of plain characters").to_owned()
    }
}

#[test]
fn check_prints_the_effective_configuration_and_what_to_know_of_it() {
    let scratch = Scratch::new();
    let site = scratch.file("site.toml", SITE);
    let output = run(GATEWAYD, &["--config", &site, "--check"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(text.starts_with("# note: rule elsewhere has no effect: "), "{text}");
    assert!(text.contains("transit_pool = \"240.0.0.0/4\"\n"), "{text}");
    assert!(text.contains("keepalive = \"25s\"\n"), "{text}");
    assert!(text.contains("capacity = 65536\n"), "{text}");
    let again = scratch.file("again.toml", &text);
    let output = run(GATEWAYD, &["--config", &again, "--check"]);
    assert_eq!(stdout(&output), text, "what is printed reads back");
}

#[test]
fn every_fault_of_a_site_file_is_told_and_the_exit_code_is_2() {
    let scratch = Scratch::new();
    let wrong =
        SITE.replace("240.0.16.0/20", "240.0.16.0/21").replace("10.0.0.192/26", "10.0.0.192");
    let site = scratch.file("site.toml", &wrong);
    for words in [&["--config", &site, "--check"][..], &["--config", &site]] {
        let output = run(GATEWAYD, words);
        assert_eq!(output.status.code(), Some(2));
        let text = stderr(&output);
        assert!(text.starts_with(&format!("gatewayd: site file {site}:")), "{text}");
        assert!(text.contains("line 7, column 11") && text.contains("line 8, column 17"), "{text}");
    }
}

#[test]
fn a_site_file_that_cannot_be_read_is_named() {
    let output = run(GATEWAYD, &["--config", "/no/such/site.toml"]);
    assert_eq!(output.status.code(), Some(2));
    let text = stderr(&output);
    assert!(text.contains("/no/such/site.toml") && text.contains("--config"), "{text}");
    assert_eq!(text.matches("os error 2").count(), 1, "{text}");
    let output = run(GATEWAYD, &["--config", "/"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_command_line_without_sense_is_refused() {
    for (program, words) in [
        (GATEWAYD, &[][..]),
        (GATEWAYD, &["--check"]),
        (GATEWAYD, &["--config", "x", "--log-format", "xml"]),
        (GATEWAYCTL, &[]),
        (GATEWAYCTL, &["trace", "--from", "10.0.0.5"]),
        (GATEWAYCTL, &["--instance", "UPPER", "status"]),
        (GATEWAYCTL, &["-o", "xml", "explain"]),
        (GATEWAYCTL, &["flow", "list", "--client", "10.0.0.5/40"]),
        (GATEWAYCTL, &["flow", "list", "--state", "half"]),
        (GATEWAYCTL, &["flow", "list", "--limit", "0"]),
        (GATEWAYCTL, &["flow", "list", "--interval", "1s"]),
    ] {
        let output = run(program, words);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {}", stderr(&output));
    }
}

#[test]
fn explain_needs_neither_root_nor_a_gateway() {
    let output = run(GATEWAYCTL, &["explain", "no-policy"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stdout(&output).starts_with("no-policy (16): "), "{}", stdout(&output));

    let output = run(GATEWAYCTL, &["explain", "-o", "json"]);
    let all: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(all.as_array().unwrap().len(), gateway_common::Reason::ALL.len());

    let output = run(GATEWAYCTL, &["explain", "-o", "yaml"]);
    let same: serde_json::Value = yaml_serde::from_slice(&output.stdout).unwrap();
    assert_eq!(same, all, "YAML has what JSON has");

    let output = run(GATEWAYCTL, &["explain", "bad-weather"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("\"bad-weather\""), "{}", stderr(&output));
}

#[test]
fn without_a_data_path_or_the_right_to_see_it_that_is_said() {
    let output = run(GATEWAYCTL, &["--instance", "command-line-test", "status"]);
    assert_eq!(output.status.code(), Some(1));
    let expected =
        if nix::unistd::geteuid().is_root() { "no gateway data path" } else { "not permitted" };
    assert!(stderr(&output).contains(expected), "{}", stderr(&output));
}

#[test]
fn completions_and_manual_pages_need_neither_root_nor_a_gateway() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        for program in ["gatewayctl", "gatewayd"] {
            let output = run(GATEWAYCTL, &["completions", shell, "--program", program]);
            assert!(output.status.success(), "{}", stderr(&output));
            assert!(stdout(&output).contains(program), "{shell}");
        }
    }
    assert_eq!(run(GATEWAYCTL, &["completions", "cmd"]).status.code(), Some(2));
    let scratch = Scratch::new();
    let directory = scratch.0.join("man8");
    let output = run(GATEWAYCTL, &["man", directory.to_str().unwrap()]);
    assert!(output.status.success(), "{}", stderr(&output));
    for page in ["gatewayd.8", "gatewayctl.8", "gatewayctl-trace.8", "gatewayctl-flow-list.8"] {
        let text = fs::read_to_string(directory.join(page)).expect(page);
        assert!(text.contains(".TH ") && text.contains(".SH OPTIONS"), "{page}: {text}");
    }
    let output = run(GATEWAYCTL, &["man", "/proc/no-such-directory"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("/proc/no-such-directory"), "{}", stderr(&output));
}

#[test]
fn the_reference_is_written_where_it_is_asked_for() {
    let scratch = Scratch::new();
    let directory = scratch.0.join("new");
    let output = run(GATEWAYCTL, &["reference", directory.to_str().unwrap()]);
    assert!(output.status.success(), "{}", stderr(&output));
    for page in ["cli.md", "configuration.md", "maps.md", "reasons.md"] {
        assert!(directory.join(page).is_file(), "{page}");
    }
    let nowhere = Path::new("/proc/no-such-directory");
    let output = run(GATEWAYCTL, &["reference", nowhere.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
}
