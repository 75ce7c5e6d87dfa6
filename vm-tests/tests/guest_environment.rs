//! A guest has what the other tests take for granted.
//!
//! Runs in guests alone: it demands a kernel with WireGuard and traffic shaping, which hosts may lack.
#![forbid(unsafe_code)]

use std::fs;
use std::path::Path;
use std::process::Command;

fn succeed(line: &str) {
    let mut words = line.split_whitespace();
    let output = Command::new(words.next().expect("a program")).args(words).output().expect(line);
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn file_systems_are_mounted() {
    let mounts = fs::read_to_string("/proc/mounts").expect("/proc is mounted");
    for kind in
        ["bpf /sys/fs/bpf", "cgroup2 /sys/fs/cgroup", "tmpfs /run", "tmpfs /tmp", "devtmpfs /dev"]
    {
        assert!(mounts.lines().any(|line| line.contains(kind)), "{kind} is missing in\n{mounts}");
    }
    assert!(Path::new("/sys/kernel/btf/vmlinux").exists(), "the kernel has no type information");
}

#[test]
fn the_real_programs_come_before_busybox() {
    for (program, argument, word) in
        [("ip", "-V", "iproute2"), ("tc", "-V", "iproute2"), ("ping", "-V", "iputils")]
    {
        let output = Command::new(program).arg(argument).output().expect(program);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains(word), "{program} {argument} says {said}");
    }
}

#[test]
fn every_kind_of_device_can_be_made() {
    for kind in ["wireguard", "dummy", "veth", "bridge"] {
        succeed(&format!("ip link add probe0 type {kind}"));
        succeed("ip link del probe0");
    }
}

#[test]
fn queueing_and_classifiers_are_there() {
    succeed("ip link add probe1 type dummy");
    succeed("tc qdisc add dev probe1 clsact");
    succeed("tc qdisc add dev probe1 root netem delay 10ms");
    succeed("ip link del probe1");
}

#[test]
fn namespaces_reach_each_other() {
    succeed("ip netns add probe");
    succeed("ip link add probe2 type veth peer name probe3 netns probe");
    succeed("ip addr add 192.0.2.1/30 dev probe2");
    succeed("ip link set probe2 up");
    succeed("ip -n probe addr add 192.0.2.2/30 dev probe3");
    succeed("ip -n probe link set probe3 up");
    succeed("ping -c 1 -W 5 192.0.2.2");
    succeed("ip netns del probe");
}

#[test]
fn the_projects_programs_are_there() {
    let directory =
        std::env::var("PRESENCE_BIN_DIR").expect("init names the directory of the programs");
    for program in ["gatewayd", "gatewayctl"] {
        let status = Command::new(Path::new(&directory).join(program))
            .arg("--version")
            .output()
            .expect(program);
        assert!(status.status.success(), "{program} --version: {:?}", status.status);
    }
}
