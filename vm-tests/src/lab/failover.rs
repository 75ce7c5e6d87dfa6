//! A back end failing over, as the demo shows it: the cloud's echo service gets a second back end, the
//! host that is otherwise a visitor; that one is killed.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::plan::{CLOUD, ECHO, ECHO_PORT, EDGE_B, SERVER, VISITOR};
use super::traffic::{self, Conversation};
use super::wait::{wait_for, wait_until};
use super::{Lab, binaries};

const BOUND: Duration = Duration::from_secs(20);
const SPARE: &str = "spare";

/// Shares the echo service out among two hosts and kills the server of one.
pub fn back_end_fails_over(lab: &mut Lab) -> Result<String> {
    if let Ok(operator) = lab.operator().cloned() {
        operator.apply(&declared(TWO))?;
        lab.wait_told()?;
        let outcome = fail_over(lab, |_| Ok(()));
        operator.apply(&declared(ONE))?;
        lab.wait_told()?;
        return outcome;
    }
    let path = lab.gateway(&CLOUD).site_file();
    let before = fs::read_to_string(&path)?;
    let outcome = fail_over(lab, |lab| share_out(lab, &before));
    fs::write(&path, before)?;
    lab.gateway(&CLOUD).reload()?;
    outcome
}

const ONE: &str = "backends: [{address: 10.0.0.10}]";
const TWO: &str = "backends: [{address: 10.0.0.10}, {address: 10.0.0.66}]\n  \
                   health: {kind: tcp, interval: 1s, rise: 1, fall: 2}";

/// The echo service as it is declared, with other back ends.
fn declared(backends: &str) -> String {
    let spec = "site: cloud\n  ports: [tcp/7007, udp/7007, sctp/7007]\n  number: 4";
    format!("kind: Service\nmetadata: {{name: echo}}\nspec:\n  {spec}\n  {backends}\n")
}

/// Declares both back ends in the cloud's site file.
fn share_out(lab: &mut Lab, site_file: &str) -> Result<()> {
    let at = site_file.find("name = \"echo\"").context("the echo service is declared")?;
    let (head, stanza) = site_file.split_at(at);
    let several = format!(
        "backends = [{{ address = \"{SERVER}\" }}, {{ address = \"{VISITOR}\" }}]\nhealth = {{ kind = \
         \"tcp\", interval = \"1s\", rise = 1, fall = 2 }}"
    );
    let stanza = stanza.replacen(&format!("backend = \"{SERVER}\""), &several, 1);
    fs::write(lab.gateway(&CLOUD).site_file(), format!("{head}{stanza}"))?;
    let logged = lab.gateway(&CLOUD).reload()?;
    ensure!(!logged.contains("reload failed"), "{logged}");
    Ok(())
}

fn fail_over(lab: &mut Lab, share_out: impl FnOnce(&mut Lab) -> Result<()>) -> Result<String> {
    let mut command = Command::new(binaries::locate("traffic")?);
    command.args(["serve", SPARE, &VISITOR.to_string()]);
    let log = lab.directory("spare.log");
    let mut spare = lab.site(&CLOUD).visitor.spawn(SPARE, &mut command, &log)?;
    wait_for("the spare server to listen", BOUND, || {
        let at = std::net::SocketAddrV4::new(VISITOR, ECHO_PORT);
        lab.site(&CLOUD).visitor.run(|| traffic::connect(at).is_ok())
    })?;
    share_out(lab)?;

    let client = &lab.site(&EDGE_B).client;
    let open = || client.run(|| Conversation::open(ECHO.at(ECHO_PORT)))?;
    let open_with = |name: &str| {
        wait_until(format!("a connection served by {name}"), BOUND, || {
            Ok(Some(open()?).filter(|it| it.greeting().starts_with(&format!("{name} "))))
        })
    };
    let mut kept = open_with(CLOUD.name)?;
    drop(open_with(SPARE)?);
    spare.kill()?;
    let killed = Instant::now();
    wait_for("the dead back end to be down", BOUND, || {
        let rows = lab.site(&CLOUD).gateway.ctl("backend list")?;
        let mut rows = rows.as_array().into_iter().flatten();
        Ok(rows.any(|it| it["address"] == VISITOR.to_string() && it["state"] == "down"))
    })?;
    let noticed = killed.elapsed();
    for _ in 0..20 {
        let greeting = open()?.greeting().to_owned();
        ensure!(greeting.starts_with(&format!("{} ", CLOUD.name)), "served by {greeting:?}");
    }
    kept.say("still here", BOUND)?;
    Ok(format!(
        "noticed after {:.1} s; 20 of 20 new connections went to the other, an old one went on",
        noticed.as_secs_f64()
    ))
}
