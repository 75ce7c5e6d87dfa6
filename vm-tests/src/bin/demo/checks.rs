//! The checks of the demo, in the order they are shown.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, ensure};
use vm_tests::lab::dns;
use vm_tests::lab::failover;
use vm_tests::lab::gateway::Choices;
use vm_tests::lab::members;
use vm_tests::lab::name::LabName;
use vm_tests::lab::plan::{
    CLIENT_PRESENCE, CLOUD, DNS, EDGE_A, EDGE_B, RABBITMQ, SERVER, SITES, SitePlan,
};
use vm_tests::lab::rabbitmq::{self, Broker, Consumer};
use vm_tests::lab::sniffer::Sniffer;
use vm_tests::lab::sweep::leftovers;
use vm_tests::lab::wait::wait_until;
use vm_tests::lab::{Lab, scenario, way};

use crate::report::Report;

const DOWNLOAD: u64 = 100_000_000;

/// Makes the lab, shows everything, removes it.
pub(crate) fn run(name: LabName) -> Result<ExitCode> {
    let mut report = Report::new();
    report.part("Three sites, all of them 10.0.0.0/24, the same addresses in each");
    let choices = Choices { declared: true, ..Choices::default() };
    let mut lab = Lab::network_claimed_elsewhere(name.clone(), choices)?;
    let server = lab.site(&CLOUD).server.clone();
    let mut broker = Broker::launch(&server, SERVER, lab.directory("rabbitmq"))?;
    let gateways = report.check("begin a deployment, and let each edge's gateway join it", || {
        lab.start_gateways()?;
        Ok("gatewayd init; gatewayctl apply -f policies/examples/demo; gatewayctl token create and \
            gatewayd join for each edge; every gateway has it, every link is up"
            .to_owned())
    });
    if gateways {
        let servers = report.check("start RabbitMQ, Knot DNS, HTTP and echo servers", || {
            lab.start_servers()?;
            let dns = dns::start(&server, SERVER, &lab.directory("dns"))?;
            lab.adopt(dns);
            broker.wait_ready(SERVER)?;
            Ok("they answer in their own sites, all at 10.0.0.10".to_owned())
        });
        if servers {
            show(&mut report, &mut lab, &broker)?;
        }
    }
    if report.has_failures() {
        print!("\n{}", lab.logs());
    }
    report.part("The end");
    drop(broker);
    report.check("remove everything", || {
        lab.down()?;
        let left = leftovers(&name)?;
        ensure!(left.is_empty(), "left behind: {}", left.join("; "));
        Ok("no namespace, process, pin or file is left".to_owned())
    });
    Ok(report.end())
}

fn show(report: &mut Report, lab: &mut Lab, broker: &Broker) -> Result<()> {
    let sniffers = lab.sniff()?;

    report.part("Services of other sites, each at an address of one's own site");
    message_broker(report, lab, broker);
    report.check("the cloud calls an HTTP agent in each edge, both really 10.0.0.10", || {
        scenario::cloud_calls_both_agents(lab)
    });
    report.check("edge A calls edge B's agent through the hub", || scenario::edge_calls_edge(lab));
    report.check("both edges call the cloud's HTTP server on port 80, really 8080", || {
        scenario::edges_call_cloud(lab)
    });
    report.check("ping presences", || scenario::pings(lab));
    for edge in [&EDGE_A, &EDGE_B] {
        report.check(&format!("{} asks the cloud's name server over UDP", edge.name), || {
            let answer = dns::ask(&lab.site(edge).client, DNS.address())?;
            ensure!(answer == dns::TEXT, "the answer is {answer:?}");
            Ok(format!("{} is {answer}", dns::NAME))
        });
    }
    report.check("UDP to the echo servers", || scenario::datagrams(lab));
    report.check("UDP datagrams of 8 kB, in fragments", || scenario::large_datagrams(lab));
    report.check("traceroute across two gateways and across three", || way::traceroutes(lab));
    report.check("edge A's client looks how large a packet the cloud gets", || way::path_mtu(lab));
    report.check("edge A downloads 100 MB from the cloud", || scenario::download(lab, DOWNLOAD));
    report.check("edge A downloads 100 MB from edge B, through the hub", || {
        scenario::download_between_edges(lab, DOWNLOAD)
    });

    report.part("Permission");
    report.check("a client that no rule names tries", || scenario::visitor_is_refused(lab));
    report.check("a process on edge A's gateway host calls the cloud", || {
        scenario::gateway_host_calls_cloud(lab)
    });
    match scenario::rule_added_and_removed(lab) {
        Ok([added, removed]) => {
            report.line("a policy for it is declared by gatewayctl", Ok(added));
            report.line("the policy is deleted", Ok(removed));
        }
        Err(error) => {
            report.line("a policy for it is declared and deleted", Err(error));
        }
    }

    report.part("A new service");
    report.check("edge A's agent is exposed to edge B by one command", || {
        scenario::exposed_and_withdrawn(lab)
    });

    report.part("Life without the controller, and by another way to it");
    report.check("the controller is killed, and an edge's gateway starts from nothing", || {
        members::edge_starts_without_the_controller(lab)
    });
    report.check("UDP to the controller is blocked at edge A", || {
        members::session_comes_back_over_tcp(lab)
    });

    report.part("Thrown out");
    report.check("edge B is revoked in a download", || members::revoked_in_a_download(lab));
    report.check("edge A's disk is copied, and the copy runs", || {
        members::a_copied_disk_locks_both(lab)
    });

    report.part("A back end that dies");
    report.check("one of two back ends in the cloud is killed", || {
        failover::back_end_fails_over(lab)
    });

    report.part("A daemon that dies");
    report.check("every gatewayd, the controller too, is killed with -9 in a download", || {
        scenario::killed_in_a_download(lab, DOWNLOAD)
    });
    report.check("every gatewayd is started again in the middle of another", || {
        scenario::started_in_a_download(lab, DOWNLOAD)
    });

    report.part("An upgrade");
    report.check("every gatewayd is replaced by one with another map ABI in a download", || {
        scenario::upgraded_in_a_download(lab, DOWNLOAD)
    });

    report.part("What was on the wires meanwhile");
    for (place, sniffer) in sniffers {
        sniffed(report, place, sniffer);
    }
    Ok(())
}

fn message_broker(report: &mut Report, lab: &Lab, broker: &Broker) {
    let presence = RABBITMQ.at(rabbitmq::PORT);
    let consumers = [&EDGE_A, &EDGE_B].map(|edge| {
        let client = &lab.site(edge).client;
        rabbitmq::declare(client, presence, edge.name)?;
        Consumer::start(client, presence, edge.name, &lab.directory(&format!("{}.got", edge.name)))
    });
    report.check("the broker lists its clients while both edges consume", || {
        const BOUND: Duration = Duration::from_secs(20);
        let peers = wait_until("two clients at the broker", BOUND, || {
            let peers = broker.peers()?;
            Ok((peers.len() >= 2).then_some(peers))
        })?;
        ensure!(peers.iter().all(|it| *it == CLIENT_PRESENCE), "it sees {peers:?}");
        Ok(format!("{peers:?}, all of its own site"))
    });
    for (edge, consumer) in [&EDGE_A, &EDGE_B].into_iter().zip(consumers) {
        let did = format!("{} publishes and consumes at {presence}, its own presence", edge.name);
        report.check(&did, || exchange(lab, edge, consumer?));
    }
}

/// Publishes from an edge what its own consumer then gets.
fn exchange(lab: &Lab, edge: &SitePlan, consumer: Consumer) -> Result<String> {
    let text = format!("an order of {}", edge.name);
    rabbitmq::publish(&lab.site(edge).client, RABBITMQ.at(rabbitmq::PORT), edge.name, &text)?;
    let got = consumer.message()?;
    ensure!(got == text, "got {got:?} instead of {text:?}");
    Ok(format!("got {got:?} back from RabbitMQ in the cloud"))
}

fn sniffed(report: &mut Report, place: &str, sniffer: Sniffer) {
    let did = if SITES.iter().any(|site| site.name == place) {
        format!("sniff every wire of {place}")
    } else {
        format!("sniff the {place}")
    };
    let ours = if place == "underlay" { "all WireGuard or ARP" } else { "no foreign address" };
    report.check(&did, || {
        let findings = sniffer.finish()?;
        findings.must_be_busy_and_clean()?;
        Ok(format!("{} packets, {ours}", findings.packets))
    });
}
