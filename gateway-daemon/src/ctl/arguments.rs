//! The command line of `gatewayctl`.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint, value_parser};
use clap_complete::Shell;
use gateway_common::map::FlowState;
use gateway_control::model::{InstanceName, SiteName};

use super::deployment::Verb;
use super::filter::{self, Clients, Interval, PortRange};
use super::packet::{Flags, TraceProtocol};

/// Where help shows what every command has: behind what it has of its own, before `--help`.
const BEHIND_THE_OWN: usize = 900;

/// Declares what there is in a Presence deployment, and shows, tests and removes the data path of a gateway.
///
/// What concerns the deployment (apply, get, describe, delete, diff, edit, label, expose, allow, site, service,
/// gateway, token, event, import, backup) is asked of the controller, by its socket; the controller judges by your user
/// who may do what.
///
/// What concerns the data path of this host (link, presence, backend, flow, map, trace, counters, detach) is read
/// from the kernel, so it works whether gatewayd runs or not. It must run as root, in the network namespace of
/// the gateway.
///
/// Exit codes: 0 done, 2 a wrong command line or a fault in a file, 1 anything else; of diff, 1 also says that
/// something differs.
#[derive(Debug, Parser)]
#[command(name = "gatewayctl", version)]
pub struct Arguments {
    /// Which gateway of this host (gateway.instance in its site file); may be left out where there
    /// is only one.
    #[arg(long, global = true, value_name = "NAME", display_order = BEHIND_THE_OWN)]
    pub instance: Option<InstanceName>,
    /// The controller's socket; if left out, what PRESENCE_CONTROLLER names, or else
    /// /run/presence/controller.sock.
    #[arg(
        long,
        global = true,
        value_name = "SOCKET",
        value_hint = ValueHint::FilePath,
        display_order = BEHIND_THE_OWN
    )]
    pub controller: Option<PathBuf>,
    /// What the answer looks like.
    #[arg(
        short,
        long,
        global = true,
        value_name = "FORMAT",
        value_enum,
        default_value_t,
        display_order = BEHIND_THE_OWN
    )]
    pub output: Output,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What an answer looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Table,
    /// For people, with more columns; of `get`.
    Wide,
    /// For programs: field names do not change.
    Json,
    /// The same fields as YAML.
    Yaml,
    /// Only kind and name, as KIND/NAME; of `get` and what changes resources.
    Name,
}

/// A form that every answer has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Form {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
    /// The same fields as YAML.
    Yaml,
}

/// A form that an answer does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("-o {0}: this command has no such answer; leave it out, or take table, json or yaml")]
pub(crate) struct UnfitOutput(&'static str);

impl Output {
    /// The form of an answer that has no other.
    pub(crate) fn form(self) -> Result<Form, UnfitOutput> {
        match self {
            Self::Table => Ok(Form::Table),
            Self::Json => Ok(Form::Json),
            Self::Yaml => Ok(Form::Yaml),
            Self::Wide => Err(UnfitOutput("wide")),
            Self::Name => Err(UnfitOutput("name")),
        }
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what is in force, what runs, and what is wrong with it.
    ///
    /// Of the deployment, if a controller answers: its sites, gateways and links, and how far each gateway is with
    /// what is declared. Of this host's gateway, if no controller does or --instance is given.
    Status,
    /// What is asked of the controller.
    #[command(flatten)]
    Deployment(Verb),
    /// Links to other gateways.
    #[command(subcommand)]
    Link(LinkCommand),
    /// Local addresses that stand for remote services and clients.
    #[command(subcommand)]
    Presence(PresenceCommand),
    /// The hosts that serve this site's services.
    #[command(subcommand)]
    Backend(BackendCommand),
    /// Connections and datagram exchanges.
    #[command(subcommand)]
    Flow(FlowCommand),
    /// The kernel's maps, as the programs see them.
    #[command(subcommand)]
    Map(MapCommand),
    /// Keys and state of this host that are sealed on its disk.
    #[command(subcommand)]
    Seal(SealCommand),
    /// Look at what this host's gateway or controller needs, and say what is wrong and what to do.
    ///
    /// Clock, names and addresses of controllers, firewalls, packet sizes, kernel, certificate, sealed files, store.
    /// Changes nothing, and shows nobody this host's certificate. Fails (exit code 1) if anything fails; a warning is
    /// no failure.
    ///
    /// gatewayctl doctor --config /etc/presence/presence.toml
    ///
    /// Before joining: gatewayctl doctor --config /etc/presence/presence.toml --token-file - < token
    Doctor(DoctorArguments),
    /// Ask the programs in force what they would do with a packet.
    ///
    /// Changes nothing: no flow is opened, nothing is counted, nothing is sent. The answer goes hop by hop:
    /// what each program wants to know and what it finds, its verdict, what it changes, the way out, and
    /// what to run at the gateway that gets the packet next. That a table is full shows only when a
    /// flow is really opened.
    Trace(TraceArguments),
    /// Explain why packets are refused.
    Explain {
        /// One reason, by label or number; all of them if left out.
        reason: Option<String>,
    },
    /// Count packets by what became of them, since the data path was made.
    Counters {
        /// Also those that are zero.
        #[arg(long)]
        all: bool,
    },
    /// Remove the data path: programs, maps, flows and link device. Ends all traffic.
    Detach {
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Print what makes a shell complete command lines.
    ///
    /// bash: gatewayctl completions bash > /usr/share/bash-completion/completions/gatewayctl
    ///
    /// zsh: gatewayctl completions zsh > /usr/share/zsh/site-functions/_gatewayctl
    ///
    /// fish: gatewayctl completions fish > /usr/share/fish/vendor_completions.d/gatewayctl.fish
    Completions {
        /// The shell.
        shell: Shell,
        /// Whose command lines.
        #[arg(long, value_enum, default_value_t)]
        program: ProgramName,
    },
    /// Write manual pages of gatewayctl, its commands and gatewayd into a directory.
    ///
    /// For everybody: gatewayctl man /usr/share/man/man8
    Man {
        /// The directory; made if missing.
        #[arg(value_hint = ValueHint::DirPath)]
        directory: PathBuf,
    },
    /// Write the reference pages into a directory.
    #[command(hide = true)]
    Reference {
        /// The directory.
        directory: PathBuf,
    },
}

/// One of the programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ProgramName {
    /// This one.
    #[default]
    Gatewayctl,
    /// The daemon.
    Gatewayd,
}

impl ProgramName {
    /// What it is called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gatewayctl => "gatewayctl",
            Self::Gatewayd => "gatewayd",
        }
    }
}

/// About links.
#[derive(Debug, Subcommand)]
pub enum LinkCommand {
    /// List peers, how they are reached and how they fare.
    List,
}

/// About what is sealed.
#[derive(Debug, Subcommand)]
pub enum SealCommand {
    /// Show what is sealed with what, and whether it opens.
    ///
    /// gatewayctl seal show --config /etc/presence/presence.toml
    Show {
        /// The file that gatewayd runs by; its [seal] says where and with what.
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        config: PathBuf,
    },
    /// Seal with something else, in one step; what is sealed stays as it is.
    ///
    /// Copy the file that gatewayd runs by, change [seal] in the copy, run this, and put the copy in the file's
    /// place. gatewayd may run meanwhile. Whoever has the earlier secret and an earlier copy of the disk can
    /// still open that.
    ///
    /// gatewayctl seal rewrap --config /etc/presence/presence.toml --to /etc/presence/new.toml
    Rewrap {
        /// The file whose [seal] says where and with what it is sealed now.
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        config: PathBuf,
        /// The file whose [seal] says what to seal with from now on; only kind and what goes with it count.
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        to: PathBuf,
    },
}

/// What to look at.
#[derive(Args, Clone, Debug)]
pub struct DoctorArguments {
    /// The file that gatewayd runs by; its mode says which side this is.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: PathBuf,
    /// The file that holds a token which this host is to join by, - for the standard input. It is looked at and not
    /// used.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub token_file: Option<PathBuf>,
    /// The same as -o json.
    #[arg(long)]
    pub json: bool,
}

/// About presences.
#[derive(Debug, Subcommand)]
pub enum PresenceCommand {
    /// List presences and what they stand for.
    List,
}

/// About back ends.
#[derive(Debug, Subcommand)]
pub enum BackendCommand {
    /// List back ends: how they are and why, their share of new flows and the flows they have.
    ///
    /// To drain one, write `state = "drain"` at it in the site file and reload gatewayd; once no flow
    /// of it is left here, remove it there.
    List,
}

/// About flows.
#[derive(Debug, Subcommand)]
pub enum FlowCommand {
    /// List flows, the busiest first, or follow what becomes of them.
    List(FlowListArguments),
}

/// Which flows to show, and for how long. A flow is shown if all that is given holds for it.
#[derive(Args, Clone, Debug)]
pub struct FlowListArguments {
    /// Of this service.
    #[arg(long, value_name = "SERVICE")]
    pub service: Option<String>,
    /// Of clients or services of this site.
    #[arg(long, value_name = "SITE")]
    pub site: Option<String>,
    /// Of these clients, as they are called here or by transit address.
    #[arg(long, value_name = "ADDRESS|PREFIX")]
    pub client: Option<Clients>,
    /// Of this protocol: `tcp`, `udp`, `icmp` or a number.
    #[arg(long)]
    pub protocol: Option<TraceProtocol>,
    /// To these ports of the service, as clients or as its back end has them.
    #[arg(long, value_name = "PORT|LOW-HIGH")]
    pub port: Option<PortRange>,
    /// In one of these states, separated by commas.
    #[arg(long, value_delimiter = ',', value_parser = states())]
    pub state: Vec<FlowState>,
    /// At most so many; with --follow, end after so many lines.
    #[arg(long, value_name = "COUNT", value_parser = value_parser!(u32).range(1..))]
    pub limit: Option<u32>,
    /// Print flows as they are opened, confirmed and closed, until interrupted. With -o json, an object
    /// a line.
    ///
    /// Flows are looked at every --interval: one that lasts for less may be missed, and of one that is
    /// closed, what it carried since the last look is not counted.
    #[arg(long)]
    pub follow: bool,
    /// How often --follow looks, from 100ms to 3600s.
    #[arg(long, default_value = "1s", requires = "follow")]
    pub interval: Interval,
}

/// The states of flows by their labels.
fn states() -> impl TypedValueParser<Value = FlowState> {
    let states = FlowState::ALL.map(|it| PossibleValue::new(it.label()).help(filter::meaning(it)));
    PossibleValuesParser::new(states).try_map(|label| filter::state(&label))
}

/// About maps.
#[derive(Debug, Subcommand)]
pub enum MapCommand {
    /// List the maps.
    List,
    /// Print every entry of a map; of arrays, those that are not zero.
    Dump {
        /// The map.
        name: String,
    },
    /// Print the entry that a program would find, for prefixes the longest that matches.
    Lookup {
        /// The map.
        name: String,
        /// The key, written as `map dump` prints it.
        key: String,
    },
}

/// A part of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FragmentArgument {
    /// The first.
    First,
    /// One behind it.
    Later,
}

/// What an SCTP packet brings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ChunkArgument {
    /// The wish for a new association.
    #[default]
    Init,
    /// Data of an association.
    Data,
}

/// A packet to trace.
#[derive(Args, Clone, Debug)]
pub struct TraceArguments {
    /// Who sends it: a client of this site; with --from-site a client of that site; with --link a
    /// transit address.
    #[arg(long, value_name = "ADDRESS")]
    pub from: Ipv4Addr,
    /// Who gets it: a presence or a service (SERVICE.SITE); with --link a transit address or a
    /// service.
    #[arg(long, value_name = "ADDRESS|SERVICE")]
    pub to: String,
    /// `tcp`, `udp`, `sctp`, `icmp` (an echo request), `icmp-reply` or a protocol number.
    #[arg(long, default_value = "tcp")]
    pub protocol: TraceProtocol,
    /// Port it is sent to. Needed for tcp, udp and sctp.
    #[arg(long)]
    pub port: Option<u16>,
    /// Port it is sent from; of an echo, its identifier.
    #[arg(long, value_name = "PORT", default_value_t = 40000)]
    pub from_port: u16,
    /// TCP flags, separated by commas: syn, ack, fin, rst, psh.
    #[arg(long, default_value = "syn")]
    pub flags: Flags,
    /// What an SCTP packet brings.
    #[arg(long, value_enum, default_value_t)]
    pub chunk: ChunkArgument,
    /// Octets of payload, at most 3000.
    #[arg(long, value_name = "OCTETS", default_value_t = 0)]
    pub size: u16,
    /// Hops left.
    #[arg(long, value_name = "HOPS", default_value_t = 64)]
    pub ttl: u8,
    /// Routers must not fragment it.
    #[arg(long)]
    pub dont_fragment: bool,
    /// It is a fragment: the first of its datagram, or a later one, which has no ports and goes the way of
    /// the first, if that was seen.
    #[arg(long, value_name = "PART", value_enum, conflicts_with = "dont_fragment")]
    pub fragment: Option<FragmentArgument>,
    /// Which datagram a fragment is of.
    #[arg(long, value_name = "NUMBER", default_value_t = 1, requires = "fragment")]
    pub identification: u16,
    /// The packet arrives from a link instead of the LAN.
    #[arg(long)]
    pub link: bool,
    /// The packet arrives from a link and was sent by a client of this site.
    #[arg(long, value_name = "SITE")]
    pub from_site: Option<SiteName>,
}
