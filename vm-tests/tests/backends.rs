//! Several back ends of one service with whole gateways: shares by weight, draining, one that dies, one
//! whose host is cut off, all of them, and their return. What was open elsewhere goes on throughout.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use vm_tests::lab::failover;
use vm_tests::lab::gateway::{Choices, Gateway};
use vm_tests::lab::name::LabName;
use vm_tests::lab::namespace::Namespace;
use vm_tests::lab::plan::{CLOUD, ECHO, ECHO_PORT, EDGE_B, SERVER};
use vm_tests::lab::process::Process;
use vm_tests::lab::traffic::{self, Conversation};
use vm_tests::lab::wait::{wait_for, wait_until};
use vm_tests::lab::{Lab, binaries};

const BOUND: Duration = Duration::from_secs(20);
const ANSWER: Duration = Duration::from_secs(20);
/// Two failures a second apart, each known within a second, and as much again for a busy host: sooner than
/// anything but these questions would tell.
const FALL: Duration = Duration::from_secs(8);
const NAMES: [&str; 3] = ["one", "two", "three"];
const OPENED: usize = 200;

/// The hosts of the three back ends, and their servers.
struct Hosts {
    hosts: [Namespace; 3],
    servers: [Option<Process>; 3],
}

fn address(number: usize) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(SERVER) + u32::try_from(number).unwrap_or(u32::MAX))
}

impl Hosts {
    fn up(lab: &Lab) -> Result<Self> {
        let site = lab.site(&CLOUD);
        let host = |number: usize| -> Result<Namespace> {
            let name = lab.name().namespace(&format!("cloud-back{number}"));
            let (host, port) = (Namespace::create(&name)?, format!("back{number}"));
            let lan = site.lan.name();
            host.ip(&format!("link add lan0 type veth peer name {port} netns {lan}"))?;
            site.lan.ip(&format!("link set {port} master br0"))?;
            site.lan.ip(&format!("link set {port} up"))?;
            host.ip(&format!("address add {}/24 dev lan0", address(number)))?;
            host.ip("link set lan0 up")?;
            Ok(host)
        };
        let hosts = [Namespace::existing(site.server.name())?, host(1)?, host(2)?];
        let mut hosts = Self { hosts, servers: [None, None, None] };
        (0..3).try_for_each(|number| hosts.start(lab, number))?;
        Ok(hosts)
    }

    fn start(&mut self, lab: &Lab, number: usize) -> Result<()> {
        let mut command = Command::new(binaries::locate("traffic")?);
        command.args(["serve", NAMES[number], &address(number).to_string()]);
        let log = lab.directory(&format!("back{number}.log"));
        let server = self.hosts[number].spawn(NAMES[number], &mut command, &log)?;
        self.servers[number] = Some(server);
        let at = std::net::SocketAddrV4::new(address(number), ECHO_PORT);
        wait_for(format!("server {} to listen", NAMES[number]), BOUND, || {
            self.hosts[number].run(|| traffic::connect(at).is_ok())
        })
    }

    fn kill(&mut self, number: usize) -> Result<()> {
        self.servers[number].take().context("it runs")?.kill()?;
        Ok(())
    }
}

/// Gives the cloud's echo service three back ends, the third drained or not.
fn declare(gateway: &Gateway, health: &str, third: &str) -> Result<()> {
    let path = gateway.site_file();
    let text = fs::read_to_string(&path)?;
    let at = text.find("name = \"echo\"").context("the echo service is declared")?;
    let (before, stanza) = text.split_at(at);
    let begin = stanza.find("backend").context("it has back ends")?;
    let end = begin + stanza[begin..].find("\n\n").context("a table after it")?;
    let backends = format!(
        "backends = [\n  {{ address = \"{}\", weight = 2 }},\n  {{ address = \"{}\" }},\n  \
         {{ address = \"{}\", state = \"{third}\" }},\n]\nhealth = {health}",
        address(0),
        address(1),
        address(2)
    );
    Ok(fs::write(path, format!("{before}{}{backends}{}", &stanza[..begin], &stanza[end..]))?)
}

const TCP: &str = "{ kind = \"tcp\", interval = \"1s\", timeout = \"1s\", rise = 1, fall = 2 }";

fn open(client: &Namespace) -> Result<Conversation> {
    client.run(|| Conversation::open(ECHO.at(ECHO_PORT)))?
}

fn serves(conversation: &Conversation) -> String {
    conversation.greeting().split(' ').next().unwrap_or_default().to_owned()
}

/// A conversation with the server of that name.
fn open_with(client: &Namespace, name: &str) -> Result<Conversation> {
    wait_until(format!("a connection served by {name}"), BOUND, || {
        Ok(Some(open(client)?).filter(|it| serves(it) == name))
    })
}

/// Who serves so many new connections.
fn served(client: &Namespace, count: usize) -> Result<BTreeMap<String, usize>> {
    let mut served = BTreeMap::new();
    for number in 0..count {
        let conversation = open(client).with_context(|| format!("connection {number}"))?;
        *served.entry(serves(&conversation)).or_default() += 1;
    }
    Ok(served)
}

fn row(gateway: &Gateway, number: usize) -> Result<Value> {
    let rows = gateway.ctl("backend list")?;
    let wanted = address(number).to_string();
    let mut rows = rows.as_array().into_iter().flatten();
    let found = rows.find(|it| it["service"] == "echo.cloud" && it["address"] == *wanted);
    found.cloned().with_context(|| format!("backend list has {wanted}"))
}

fn wait_state(gateway: &Gateway, number: usize, state: &str, bound: Duration) -> Result<()> {
    wait_for(format!("back end {} to be {state}", NAMES[number]), bound, || {
        Ok(row(gateway, number)?["state"] == state)
    })
}

/// Waits until `status` tells of a problem in which all these words are.
fn problem(gateway: &Gateway, words: &[&str]) -> Result<String> {
    wait_until(format!("status to tell {words:?}"), BOUND, || {
        let status = gateway.ctl("status")?;
        let problems = status["problems"].as_array().into_iter().flatten();
        let mut texts = problems.filter_map(|it| it["problem"].as_str());
        Ok(texts.find(|text| words.iter().all(|it| text.contains(it))).map(str::to_owned))
    })
}

fn generation(gateway: &Gateway) -> Result<u64> {
    gateway.ctl("status")?["generation"].as_u64().context("a generation is a number")
}

fn with(health: &str, steps: impl FnOnce(&mut Lab, &mut Hosts) -> Result<()>) -> Result<()> {
    Lab::network(LabName::unique(), Choices::default())?.during(|lab| {
        declare(lab.gateway(&CLOUD), health, "use")?;
        let mut hosts = Hosts::up(lab)?;
        lab.start_gateways()?;
        steps(lab, &mut hosts)
    })
}

#[test]
fn new_flows_go_by_weight_and_around_what_is_drained_or_dead() -> Result<()> {
    with(TCP, |lab, hosts| {
        let client = Namespace::existing(lab.site(&EDGE_B).client.name())?;
        let first = served(&client, OPENED)?;
        let count = |name: &str| first.get(name).copied().unwrap_or(0);
        // Half, a quarter, a quarter; five standard deviations of a binomial either way.
        ensure!((65..=135).contains(&count("one")), "{first:?}");
        ensure!((20..=80).contains(&count("two")), "{first:?}");
        ensure!((20..=80).contains(&count("three")), "{first:?}");

        let mut talks = Vec::new();
        for name in NAMES {
            talks.push(open_with(&client, name)?);
        }
        let [talk_one, talk_two, talk_three] =
            <[Conversation; 3]>::try_from(talks).expect("one for each name");
        let (mut talk_two, mut talk_three) = (talk_two, talk_three);

        declare(lab.gateway(&CLOUD), TCP, "drain")?;
        let logged = lab.gateway(&CLOUD).reload()?;
        ensure!(!logged.contains("reload failed"), "{logged}");
        let drained = row(&lab.site(&CLOUD).gateway, 2)?;
        ensure!(drained["state"] == "draining" && drained["slots"] == 0, "{drained}");
        ensure!(drained["flows"].as_u64() >= Some(1), "{drained}");
        let served_now = served(&client, 40)?;
        ensure!(!served_now.contains_key("three"), "{served_now:?}");
        talk_three.say("drained and still here", ANSWER)?;
        declare(lab.gateway(&CLOUD), TCP, "use")?;
        lab.gateway(&CLOUD).reload()?;
        let before = generation(&lab.site(&CLOUD).gateway)?;

        drop(talk_one);
        hosts.kill(0)?;
        wait_state(&lab.site(&CLOUD).gateway, 0, "down", FALL)?;
        let served_now = served(&client, 40)?;
        ensure!(!served_now.contains_key("one") && served_now.len() == 2, "{served_now:?}");
        talk_two.say("one is dead", ANSWER)?;
        talk_three.say("one is dead", ANSWER)?;

        hosts.hosts[1].ip("link set lan0 down")?;
        wait_state(&lab.site(&CLOUD).gateway, 1, "down", FALL)?;
        let served_now = served(&client, 40)?;
        ensure!(served_now.len() == 1 && served_now.contains_key("three"), "{served_now:?}");
        talk_three.say("two is cut off", ANSWER)?;

        hosts.kill(2)?;
        wait_state(&lab.site(&CLOUD).gateway, 2, "down", FALL)?;
        let refused = lab.site(&CLOUD).gateway.refused("no-backend")?;
        let connected =
            client.run(|| traffic::connect_within(ECHO.at(ECHO_PORT), Duration::from_secs(2)))?;
        ensure!(connected.is_err(), "connected to a service without back ends");
        wait_for("the refusal to be counted", BOUND, || {
            Ok(lab.site(&CLOUD).gateway.refused("no-backend")? > refused)
        })?;

        let gateway = &lab.site(&CLOUD).gateway;
        problem(gateway, &["no back end of echo.cloud serves"])?;
        // Else the kernel holds an address to be reachable for up to 45 s before it asks again.
        gateway.namespace().ip("neigh flush dev lan0")?;
        let unanswered = "nobody on the LAN answers for its address";
        problem(gateway, &[&format!("{} of echo.cloud is down", address(1)), unanswered])?;
        let dead = problem(gateway, &[&format!("{} of echo.cloud is down", address(2))])?;
        ensure!(!dead.contains(unanswered), "{dead}");

        hosts.start(lab, 0)?;
        wait_state(&lab.site(&CLOUD).gateway, 0, "active", FALL)?;
        hosts.hosts[1].ip("link set lan0 up")?;
        wait_state(&lab.site(&CLOUD).gateway, 1, "active", BOUND)?;
        let served_now = served(&client, 40)?;
        ensure!(!served_now.contains_key("three") && served_now.len() == 2, "{served_now:?}");
        talk_two.say("back again", ANSWER)?;
        let after = generation(&lab.site(&CLOUD).gateway)?;
        ensure!(before == after, "every flow was judged anew: generation {before} became {after}");
        Ok(())
    })
}

#[test]
fn health_is_asked_by_http_and_icmp_too_and_known_to_the_next_daemon() -> Result<()> {
    let http =
        "{ kind = \"http\", port = 8080, path = \"/\", interval = \"1s\", rise = 1, fall = 2 }";
    with(http, |lab, hosts| {
        wait_state(&lab.site(&CLOUD).gateway, 0, "active", BOUND)?;
        hosts.kill(0)?;
        wait_state(&lab.site(&CLOUD).gateway, 0, "down", FALL)?;
        let down = row(&lab.site(&CLOUD).gateway, 0)?;
        ensure!(down["why"].as_str().is_some_and(|it| it.contains("refused")), "{down}");
        lab.gateway(&CLOUD).kill()?;
        lab.gateway(&CLOUD).start()?;
        ensure!(row(&lab.site(&CLOUD).gateway, 0)?["state"] == "down");

        let icmp = http.replace("http", "icmp").replace("port = 8080, path = \"/\", ", "");
        declare(lab.gateway(&CLOUD), &icmp, "use")?;
        let logged = lab.gateway(&CLOUD).reload()?;
        ensure!(!logged.contains("reload failed"), "{logged}");
        // The host is up, though its server is not.
        wait_state(&lab.site(&CLOUD).gateway, 0, "active", FALL)?;
        hosts.hosts[2].ip("link set lan0 down")?;
        wait_state(&lab.site(&CLOUD).gateway, 2, "down", BOUND)
    })
}

#[test]
fn a_back_end_that_nobody_asks_about_is_reported_when_its_address_is_not_resolved() -> Result<()> {
    with(TCP, |lab, hosts| {
        let site_file = lab.gateway(&CLOUD).site_file();
        let without = fs::read_to_string(&site_file)?.replace(&format!("health = {TCP}"), "");
        fs::write(&site_file, without)?;
        lab.gateway(&CLOUD).reload()?;
        for number in 0..3 {
            hosts.hosts[number].ip("link set lan0 down")?;
        }
        lab.site(&CLOUD).gateway.namespace().ip("neigh flush dev lan0")?;
        let client = Namespace::existing(lab.site(&EDGE_B).client.name())?;
        wait_for("a back end to be unreachable", BOUND, || {
            client.run(|| {
                traffic::connect_within(ECHO.at(ECHO_PORT), Duration::from_millis(200)).is_ok()
            })?;
            let gateway = &lab.site(&CLOUD).gateway;
            let states = (0..3).map(|number| Ok(row(gateway, number)?["state"] == "unreachable"));
            Ok(states.collect::<Result<Vec<_>>>()?.contains(&true))
        })?;
        let gateway = &lab.site(&CLOUD).gateway;
        wait_for("the log to say so", BOUND, || {
            Ok(gateway.log().contains("the back end is unreachable"))
        })?;
        problem(gateway, &["echo.cloud is unreachable: nobody on the LAN answers"])?;

        for number in 0..3 {
            hosts.hosts[number].ip("link set lan0 up")?;
        }
        wait_for("no back end to be unreachable", BOUND, || {
            client.run(|| {
                traffic::connect_within(ECHO.at(ECHO_PORT), Duration::from_millis(200)).is_ok()
            })?;
            let status = gateway.ctl("status")?;
            Ok(status["counts"]["backends_active"] == status["counts"]["backends"])
        })
    })
}

#[test]
fn the_demo_shows_a_back_end_that_fails_over() -> Result<()> {
    let lab = Lab::up(LabName::unique(), Choices::default())?;
    let told = lab.during(failover::back_end_fails_over)?;
    ensure!(told.contains("20 of 20"), "no connection was counted: {told}");
    Ok(())
}
