//! What an operator can get wrong on a running gateway: each is one clear error with its exit
//! code, and the running data path stays as it was.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use vm_tests::lab::gateway::{Choices, Gateway};
use vm_tests::lab::name::LabName;
use vm_tests::lab::plan::{CLOUD, ECHO, ECHO_PORT, EDGE_A};
use vm_tests::lab::traffic::Conversation;
use vm_tests::lab::{Lab, binaries, scenario};

const BOUND: Duration = Duration::from_secs(20);
const CONFIGURATION: i32 = 2;
const OTHER: i32 = 1;

/// One mistake: how it changes a good site file, and what must be said about it.
struct Mistake {
    what: &'static str,
    instead_of: &'static str,
    stands: &'static str,
    code: i32,
    named: &'static [&'static str],
}

const MISTAKES: [Mistake; 6] = [
    Mistake {
        what: "an unknown field",
        instead_of: "[flows]",
        stands: "[flows]\ncapacitty = 2048",
        code: CONFIGURATION,
        named: &["capacitty", "line"],
    },
    Mistake {
        what: "a presence outside its pool",
        instead_of: "presence = \"10.0.0.200\"",
        stands: "presence = \"10.0.0.20\"",
        code: CONFIGURATION,
        named: &["10.0.0.20", "10.0.0.192/26"],
    },
    Mistake {
        what: "two services on one address",
        instead_of: "presence = \"10.0.0.201\"",
        stands: "presence = \"10.0.0.200\"",
        code: CONFIGURATION,
        named: &["10.0.0.200", "rabbitmq", "dns"],
    },
    Mistake {
        what: "overlapping transit blocks",
        instead_of: "transit = \"240.0.0.0/20\"",
        stands: "transit = \"240.0.16.0/20\"",
        code: CONFIGURATION,
        named: &["240.0.16.0/20", "overlap"],
    },
    Mistake {
        what: "an interface that does not exist",
        instead_of: "interface = \"lan0\"",
        stands: "interface = \"lan9\"",
        code: OTHER,
        named: &["lan9"],
    },
    Mistake {
        what: "a private key file that does not exist",
        instead_of: "private_key_file = \"link.key\"",
        stands: "private_key_file = \"lost.key\"",
        code: CONFIGURATION,
        named: &["lost.key"],
    },
];

#[test]
fn a_mistake_is_one_clear_error_and_changes_nothing() -> Result<()> {
    in_a_lab(|lab| {
        for mistake in &MISTAKES {
            started(lab, mistake).with_context(|| format!("start with {}", mistake.what))?;
        }
        Ok(())
    })
}

#[test]
fn a_reload_with_a_mistake_changes_nothing() -> Result<()> {
    in_a_lab(|lab| {
        for mistake in &MISTAKES {
            reloaded(lab, mistake).with_context(|| format!("reload with {}", mistake.what))?;
        }
        Ok(())
    })
}

#[test]
fn a_second_gateway_of_an_instance_is_refused() -> Result<()> {
    in_a_lab(|lab| {
        let gateway = &lab.site(&EDGE_A).gateway;
        let output = gateway.try_site_file(&gateway.site_file(), BOUND)?;
        expect(&output, OTHER, &[gateway.instance(), "runs it already"])
    })
}

#[test]
fn a_port_in_use_is_named() -> Result<()> {
    in_a_lab(|lab| {
        let gateway = &lab.site(&CLOUD).gateway;
        gateway.namespace().ip("link add lan1 type veth peer name wall1")?;
        gateway.namespace().ip("link set lan1 up")?;
        let lan = |name: &str| format!("interface = \"{name}\"");
        let file = variant(lab, gateway, |text| text.replace(&lan("lan0"), &lan("lan1")))?;
        ensure!(fs::read_to_string(&file)?.contains(&lan("lan1")), "the site has lan0");
        expect(&gateway.try_site_file(&file, BOUND)?, OTHER, &["51820", "in use"])
    })
}

#[test]
fn an_interface_that_another_instance_serves_is_named_with_it() -> Result<()> {
    in_a_lab(|lab| {
        let gateway = &lab.site(&CLOUD).gateway;
        let file = variant(lab, gateway, |text| text)?;
        let served = format!("lan0 is served by instance {}", gateway.instance());
        expect(&gateway.try_site_file(&file, BOUND)?, OTHER, &[&served])
    })
}

#[test]
fn root_is_asked_for() -> Result<()> {
    const NOBODY: u32 = 65534;
    in_a_lab(|lab| {
        // Others may look into neither the lab's directory nor, perhaps, that of the programs.
        let place = lab.directory("open");
        fs::create_dir(&place)?;
        let (program, file) = (place.join("gatewayd"), place.join("site.toml"));
        fs::copy(binaries::locate("gatewayd")?, &program)?;
        let gateway = &lab.site(&EDGE_A).gateway;
        fs::copy(gateway.site_file(), &file)?;
        for path in place.ancestors().take(2) {
            fs::set_permissions(path, Permissions::from_mode(0o755))?;
        }
        let mut command = Command::new(program);
        command.arg("--config").arg(file).uid(NOBODY).gid(NOBODY);
        let output = gateway.namespace().output(&mut command, BOUND)?;
        expect(&output, OTHER, &["root"])
    })
}

/// Runs `steps` in a lab in which a connection is open; it must live on.
fn in_a_lab(steps: impl FnOnce(&mut Lab) -> Result<()>) -> Result<()> {
    Lab::up(LabName::unique(), Choices::default())?.during(|lab| {
        let client = lab.site(&EDGE_A).client.clone();
        let mut conversation = client.run(|| Conversation::open(ECHO.at(ECHO_PORT)))??;
        conversation.say("before", BOUND)?;
        steps(lab)?;
        conversation.say("after", BOUND).context("a connection older than the mistake")?;
        scenario::edges_call_cloud(lab).context("a new connection after the mistake")?;
        scenario::edge_calls_edge(lab).context("a new connection after the mistake").map(drop)
    })
}

fn started(lab: &Lab, mistake: &Mistake) -> Result<()> {
    let gateway = &lab.site(&EDGE_A).gateway;
    let file = variant(lab, gateway, |text| mistake.make(&text))?;
    expect(&gateway.try_site_file(&file, BOUND)?, mistake.code, mistake.named)
}

fn reloaded(lab: &mut Lab, mistake: &Mistake) -> Result<()> {
    let gateway = lab.gateway(&EDGE_A);
    let file = gateway.site_file();
    let good = fs::read_to_string(&file)?;
    fs::write(&file, mistake.make(&good))?;
    let said = gateway.reload()?;
    fs::write(&file, good)?;
    names(&said, mistake.named)?;
    gateway.reload().map(drop)
}

/// A copy of a gateway's site file, beside it, for another instance with another link device.
fn variant(
    lab: &Lab,
    gateway: &Gateway,
    edit: impl FnOnce(String) -> String,
) -> Result<std::path::PathBuf> {
    let own = gateway.site_file();
    let file = own.with_file_name("variant.toml");
    let other = lab.name().instance("other");
    let text = fs::read_to_string(own)?.replace(gateway.instance(), &other);
    fs::write(&file, edit(text))?;
    Ok(file)
}

impl Mistake {
    fn make(&self, good: &str) -> String {
        assert!(good.contains(self.instead_of), "no {:?} in {good}", self.instead_of);
        good.replace(self.instead_of, self.stands)
    }
}

fn expect(output: &Output, code: i32, named: &[&str]) -> Result<()> {
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() == Some(code),
        "ended with {} instead of {code}, saying: {said}",
        output.status
    );
    ensure!(!said.contains("panicked"), "it panicked: {said}");
    names(&said, named)
}

fn names(said: &str, named: &[&str]) -> Result<()> {
    for name in named {
        ensure!(said.contains(name), "does not name {name:?}: {said}");
    }
    Ok(())
}

#[test]
fn the_site_file_must_be_there() -> Result<()> {
    in_a_lab(|lab| {
        let missing = Path::new("/run/presence-lab/no-such-site.toml");
        let output = lab.site(&EDGE_A).gateway.try_site_file(missing, BOUND)?;
        expect(&output, CONFIGURATION, &["no-such-site.toml"])
    })
}
