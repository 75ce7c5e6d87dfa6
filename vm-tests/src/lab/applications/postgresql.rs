//! PostgreSQL, and `pgbench` as the client that finds out whether anything was lost: its transactions
//! keep sums equal that a lost or doubled statement would make differ.

use std::fs;
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{Application, client, directory_for_others, wait_until_it_listens};
use crate::lab::namespace::Namespace;
use crate::lab::plan::{CLIENT_PRESENCE, CLOUD, SERVER};
use crate::lab::process::Process;
use crate::lab::{Lab, namespace};

/// The database server of the cloud.
pub const POSTGRESQL: Application = Application {
    name: "postgresql",
    number: 101,
    ports: &["tcp/5432"],
    presence: std::net::Ipv4Addr::new(10, 0, 0, 240),
};
/// Its port.
pub const PORT: u16 = 5432;

const PROGRAMS: &str = "/usr/lib/postgresql";
const BOUND: Duration = Duration::from_secs(120);

/// Starts it on the cloud's server host. It takes clients from the client presence alone.
pub fn start(lab: &Lab) -> Result<Process> {
    let (programs, host) = (programs()?, &lab.site(&CLOUD).server);
    let place = directory_for_others(lab, "postgresql")?;
    namespace::run(Command::new("chown").arg("postgres:postgres").arg(&place))?;
    let data = place.join("data");
    let mut make = unprivileged(&programs.join("initdb"));
    make.args(["--no-sync", "--no-locale", "--encoding=UTF8", "--auth=reject", "--pgdata"]);
    client(host, make.arg(&data).current_dir(&place), BOUND)?;
    let rules = format!("host all postgres {CLIENT_PRESENCE}/32 trust\n");
    fs::write(data.join("pg_hba.conf"), rules).context("write pg_hba.conf")?;

    let mut server = unprivileged(&programs.join("postgres"));
    server.arg("-D").arg(&data).current_dir(&place);
    for setting in [
        format!("listen_addresses={SERVER}"),
        format!("port={PORT}"),
        "unix_socket_directories=".to_owned(),
        // In the data directory: POSIX shared memory is outside every IPC namespace.
        "dynamic_shared_memory_type=mmap".to_owned(),
        "fsync=off".to_owned(),
    ] {
        server.args(["-c", &setting]);
    }
    let mut process = host.spawn("PostgreSQL", &mut server, &place.join("output"))?;
    wait_until_it_listens(host, &mut process, SocketAddrV4::new(SERVER, PORT))?;
    Ok(process)
}

/// Makes pgbench's tables, of `scale` times 100,000 rows, and fills them through the connection.
pub fn fill(from: &Namespace, scale: u32) -> Result<()> {
    let mut pgbench = tool("pgbench");
    pgbench.args(["--initialize", "--quiet", "--init-steps=dtGvp", "--scale", &scale.to_string()]);
    // Step G makes the rows at the server; the copy of `g` crosses the presence as well.
    client(from, pgbench.arg("postgres"), BOUND)?;
    let mut pgbench = tool("pgbench");
    pgbench.args(["--initialize", "--quiet", "--init-steps=g", "--scale", &scale.to_string()]);
    client(from, pgbench.arg("postgres"), BOUND).map(drop)
}

/// Runs TPC-B-like transactions from `clients` connections at once, and fails unless every one was done
/// and the sums agree afterwards.
pub fn transact(from: &Namespace, clients: u32, transactions_each: u32) -> Result<()> {
    let all = clients * transactions_each;
    let mut pgbench = tool("pgbench");
    pgbench.args(["--jobs=2", "--client", &clients.to_string()]);
    pgbench.args(["--transactions", &transactions_each.to_string(), "postgres"]);
    let report = client(from, &mut pgbench, BOUND)?;
    for line in [
        format!("number of transactions actually processed: {all}/{all}"),
        "number of failed transactions: 0 (0.000%)".to_owned(),
    ] {
        ensure!(report.contains(&line), "pgbench does not say {line:?}: {report}");
    }
    let sums = query(
        from,
        "select count(*), sum(delta) = (select sum(abalance) from pgbench_accounts), \
         sum(delta) = (select sum(bbalance) from pgbench_branches), \
         sum(delta) = (select sum(tbalance) from pgbench_tellers) from pgbench_history",
    )?;
    ensure!(sums == format!("{all}|t|t|t"), "the sums after {all} transactions: {sums}");
    Ok(())
}

/// Asks one question and gives the answer, unaligned.
pub fn query(from: &Namespace, question: &str) -> Result<String> {
    let mut psql = tool("psql");
    psql.args(["--no-psqlrc", "--tuples-only", "--no-align", "--command", question, "postgres"]);
    Ok(client(from, &mut psql, BOUND)?.trim().to_owned())
}

fn tool(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("PGHOST", POSTGRESQL.address().to_string()).env("PGPORT", PORT.to_string());
    command.env("PGUSER", "postgres").env("PGCONNECT_TIMEOUT", "15").env("LC_ALL", "C.UTF-8");
    command
}

/// As the user of Debian's package, since it refuses to run as root, and in an IPC namespace, so that
/// no segment of shared memory outlives it.
fn unprivileged(program: &Path) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--ipc", "--", "setpriv", "--reuid=postgres", "--regid=postgres"]);
    command.args(["--clear-groups", "--"]).arg(program).env("LC_ALL", "C.UTF-8");
    command
}

/// Of the newest release that is installed.
fn programs() -> Result<PathBuf> {
    let releases = fs::read_dir(PROGRAMS).with_context(|| format!("list {PROGRAMS}"))?;
    releases
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|release| Path::new(PROGRAMS).join(format!("{release}/bin/initdb")).exists())
        .max()
        .map(|release| Path::new(PROGRAMS).join(format!("{release}/bin")))
        .with_context(|| format!("no PostgreSQL in {PROGRAMS}; install postgresql"))
}
