//! C4 and C6: what a deployment costs that is computed as a whole, and what one change in it costs, by the pure
//! half alone: no store, no gateway. One thread, whose own time on a processor is taken.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, anyhow, ensure};
use gateway_control::deployment::allocation::Recorded;
use gateway_control::deployment::share::LocalFacts;
use gateway_control::deployment::{Change, Deployment, Desired, Diff, Problem};
use gateway_control::model::SiteModel;
use gateway_control::{Interface, compile, site_file};
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime};

use super::declared::{Size, exposure, policies, policy, rule};
use super::{Row, goals, median};

/// As many sites as have a block in the transit pool of /4: an array of the data path has an entry for each /20.
const WHOLE: Size = Size { sites: 65_535, services: 10_000, rules: 100_000 };
const TENTH: Size = Size { sites: 6_553, services: 1_000, rules: 10_000 };
const TENTHS: f64 = 10.0;

/// How often a change is made and undone, and in how many rounds in turn.
const CHANGES: usize = 20;
const ROUNDS: usize = 301;

/// Measures C6 to C6d.
pub fn rows() -> Result<Vec<Row>> {
    let mut small = build(TENTH)?;
    let mut large = build(WHOLE)?;
    let (seconds, peer_seconds) = (large.seconds, TENTHS * small.seconds);
    let (mebioctets, peer_mebioctets) = (alone("whole")?, TENTHS * alone("tenth")?);
    let mut rows = vec![
        goals::COMPILE.measured(seconds, peer_seconds),
        goals::COMPILE_MEMORY.measured(mebioctets, peer_mebioctets),
    ];
    let what = [
        ("an allow rule", goals::CHANGE_RULE, changed_rule as fn(Size, usize) -> Result<Change>),
        ("an exposure", goals::CHANGE_EXPOSURE, changed_exposure),
        ("a service's back end", goals::CHANGE_BACKEND, changed_backend),
    ];
    for (name, goal, change) in what {
        let rule = |size: Size| -> Result<[Change; 2]> { Ok([change(size, 0)?, change(size, 1)?]) };
        let (ours, theirs) = (rule(WHOLE)?, rule(TENTH)?);
        let sides = [(&mut large.desired, &ours), (&mut small.desired, &theirs)];
        let ([ours, theirs], items) = in_turn(sides)?;
        println!("# {name}: {items} items of shares, {ours:.1} us of {} sites", WHOLE.sites);
        rows.push(goal.measured(ours, theirs));
    }
    let (ours, theirs) = (tables(&mut large.desired, WHOLE)?, tables(&mut small.desired, TENTH)?);
    rows.push(goals::TABLES.measured(ours, TENTHS * theirs));
    rows.push(goals::REMOVAL.measured(removed(large.desired)?, TENTHS * removed(small.desired)?));
    Ok(rows)
}

/// MiB that a process had at most that did nothing but this, its resources included.
fn alone(size: &str) -> Result<f64> {
    let output = Command::new(std::env::current_exe()?).arg(size).output()?;
    let output = String::from_utf8(output.stdout)?;
    let line = output.lines().find_map(|line| line.strip_prefix(PEAK));
    line.with_context(|| format!("no account of the {size}: {output}"))?.parse().context("a number")
}

/// What the line begins with that tells the most memory of a process.
const PEAK: &str = "peak ";

/// Builds the deployment `whole` or `tenth` in a process that measures nothing else, and tells its memory.
pub fn process(size: &str) -> Result<Vec<Row>> {
    let built = build(if size == "whole" { WHOLE } else { TENTH })?;
    println!("{PEAK}{:.1}", memory("VmHWM:")?);
    drop(built);
    Ok(Vec::new())
}

/// Seconds in which the hub's gateway makes its tables of its share, once every site has a gateway.
fn tables(desired: &mut Desired, size: Size) -> Result<f64> {
    desired.change(size.gateways()?, 0).map_err(said)?;
    let file = include_str!("../../../policies/examples/three-sites/cloud.toml");
    let facts = LocalFacts::of(&site_file::parse(file)?);
    let names = facts.lans.iter().map(|lan| lan.interface.clone());
    let names = names.chain([facts.link.interface.clone()]);
    let interface = |index| Interface { index, mac: [2; 6], mtu: 1420 };
    let interfaces = (1..).zip(names).map(|(n, name)| (name, interface(n))).collect();
    let share = desired.share(&"hub".parse()?).context("the hub has a share")?;
    let begun = Cpu::now()?;
    let draft = share.draft(&"g0".parse()?, &facts)?;
    let model = SiteModel::check(draft).map_err(|problems| {
        let problems: Vec<_> = problems.iter().map(|it| it.error.to_string()).collect();
        anyhow!("{}", problems.join("\n"))
    })?;
    let tables = compile(&model, &interfaces)?;
    let seconds = begun.seconds()?;
    println!(
        "# the hub of {} sites: {} items of its share, {} routes, {} permissions",
        size.sites,
        share.items().len(),
        tables.routes.len(),
        tables.allows.len()
    );
    Ok(seconds)
}

/// Seconds in which all is removed by one change.
fn removed(mut desired: Desired) -> Result<f64> {
    let all = desired.deployment().resources().map(|it| Change::Delete(it.key())).collect();
    let begun = Cpu::now()?;
    desired.change(all, 0).map_err(said)?;
    let seconds = begun.seconds()?;
    ensure!(desired.deployment().resources().next().is_none(), "something is left");
    Ok(seconds)
}

/// Measures C4: the same change among many policies and among few.
pub fn policies_row() -> Result<Vec<Row>> {
    let desired = |count| -> Result<Desired> { Ok(whole(policies(count)?)?.0) };
    let (mut many, mut few) = (desired(100_000)?, desired(1_000)?);
    let both = [policy(7, 1)?, policy(7, 0)?];
    let ([ours, theirs], items) = in_turn([(&mut many, &both), (&mut few, &both)])?;
    println!("# one policy of 100,000: {items} items of shares");
    Ok(vec![goals::POLICIES.measured(ours, theirs)])
}

/// An edge may use a service that it could not use before, and another afterwards.
fn changed_rule(size: Size, turn: usize) -> Result<Change> {
    let (edge, service) = size.pair(100 + turn);
    rule("changed", &edge, &service)
}

/// A service is exposed to one edge, and to another afterwards.
fn changed_exposure(_: Size, turn: usize) -> Result<Change> {
    exposure("changed", "s20.hub", &format!("e{}", 5000 + turn))
}

/// A service has another back end.
fn changed_backend(size: Size, turn: usize) -> Result<Change> {
    size.service(7, 10 + turn)
}

/// What this thread had taken of a processor.
struct Cpu(TimeSpec);

impl Cpu {
    fn now() -> Result<Self> {
        Ok(Self(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?))
    }

    /// Seconds since.
    fn seconds(&self) -> Result<f64> {
        let now = Self::now()?;
        Ok((now.0.tv_sec() - self.0.tv_sec()) as f64
            + (now.0.tv_nsec() - self.0.tv_nsec()) as f64 / 1e9)
    }
}

struct Built {
    desired: Desired,
    seconds: f64,
}

fn build(size: Size) -> Result<Built> {
    let changes = size.changes()?;
    let resources = changes.len();
    let begun = Cpu::now()?;
    let (desired, checked) = whole(changes)?;
    let seconds = begun.seconds()?;
    let shares = desired.deployment().sites().keys().filter_map(|site| desired.share(site));
    let items: usize = shares.map(|share| share.items().len()).sum();
    println!(
        "# {} sites, {} services, {} rules: {resources} resources, {items} items of shares; checked after \
         {checked:.2} s, all computed after {seconds:.2} s",
        size.sites, size.services, size.rules
    );
    Ok(Built { desired, seconds })
}

/// All resources checked, everything allocated, every share computed; and the seconds of the first.
fn whole(changes: Vec<Change>) -> Result<(Desired, f64)> {
    let begun = Cpu::now()?;
    let mut deployment = Deployment::default();
    deployment.apply(changes).map_err(said)?;
    let checked = begun.seconds()?;
    Ok((Desired::new(deployment, Recorded::default(), 0).map_err(said)?, checked))
}

/// Makes both changes again and again, on one side and the other in turn: microseconds of one change, and how
/// many items of shares it changes.
fn in_turn(mut sides: [(&mut Desired, &[Change; 2]); 2]) -> Result<([f64; 2], usize)> {
    let mut times = [const { Vec::new() }; 2];
    let mut items = [0; 2];
    for _ in 0..ROUNDS {
        for (n, (desired, changes)) in sides.iter_mut().enumerate() {
            let turns: Vec<Vec<Change>> =
                (0..CHANGES).map(|turn| vec![changes[turn % 2].clone()]).collect();
            let mut diffs: Vec<Diff> = Vec::with_capacity(CHANGES);
            let begun = Cpu::now()?;
            for changes in turns {
                diffs.push(desired.change(changes, 0).map_err(said)?);
            }
            times[n].push(begun.seconds()? * 1e6 / CHANGES as f64);
            items[n] = diffs.iter().flat_map(Diff::sites).map(|(_, changes)| changes.len()).sum();
            desired.saved();
        }
    }
    let each = items.map(|items: usize| items / CHANGES);
    ensure!(each[0] == each[1] && each[0] > 0, "the two changes differ: {items:?} items");
    Ok((times.map(|times| median(&times)), each[0]))
}

fn said(problems: Vec<Problem>) -> anyhow::Error {
    let first = problems.first().map(ToString::to_string).unwrap_or_default();
    anyhow!("{} problems: {first}", problems.len())
}

/// A line of this process's account, in MiB.
fn memory(line: &str) -> Result<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let found = status.lines().find_map(|it| it.strip_prefix(line));
    let kibioctets = found.and_then(|it| it.trim().trim_end_matches(" kB").parse::<f64>().ok());
    Ok(kibioctets.with_context(|| format!("no {line} in /proc/self/status"))? / 1024.0)
}
