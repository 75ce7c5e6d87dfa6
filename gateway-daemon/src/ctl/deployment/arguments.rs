//! The command lines of what is done to a deployment.

mod members;

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Subcommand, ValueHint};
use gateway_control::model::{
    ClientsAs, Endpoint, InterfaceName, Network, PortSpec, PresencePool, ServiceId, SiteName,
    TransitBlock, Weight,
};
use gateway_control::resource::{ExposureName, LabelKey, LabelValue, PolicyName, Role, Selector};

pub(super) use members::{CreateGateway, CreateToken, DecideGateway, GatewayCommand, TokenCommand};

/// What to do to a deployment.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Declare resources: make those that are new, change those that differ.
    ///
    /// Everything that is given is one change: all of it takes place, or none and every fault is named with its
    /// file and line. A field that was left out since the last time is removed; a field that another manager
    /// has set is kept, and if it is to become another, the change is refused without --force.
    Apply(ApplyArguments),
    /// List resources.
    ///
    /// KIND is site, gateway, service, exposure, policy or token, in any case, in the plural or short (gw, svc,
    /// exp, pol, tok), several separated by commas, or `all`.
    Get(GetArguments),
    /// Show all about a resource: what is declared, what has become of it, what happened, and what refers to it.
    Describe {
        /// Its kind, or kind and name as KIND/NAME.
        #[arg(value_name = "KIND")]
        kind: String,
        /// Its name; of a service, SERVICE.SITE.
        #[arg(value_name = "NAME")]
        name: Option<String>,
    },
    /// Delete resources, all or none. What others refer to is not deleted without those.
    Delete(DeleteArguments),
    /// Compare files with what is declared: each field that would change, and what that does on which gateway.
    ///
    /// Exit codes: 0 nothing differs, 1 something does, 2 they could not be compared.
    Diff(DiffArguments),
    /// Edit a resource in $VISUAL, $EDITOR or vi, and apply it unless somebody changed it meanwhile.
    Edit(EditArguments),
    /// Sites of the deployment.
    #[command(subcommand)]
    Site(SiteCommand),
    /// Services of the deployment.
    #[command(subcommand)]
    Service(ServiceCommand),
    /// Gateways of the deployment.
    #[command(subcommand)]
    Gateway(GatewayCommand),
    /// Tokens, by which hosts join the deployment.
    ///
    /// `get tokens` lists them, and `delete token NAME` withdraws one.
    #[command(subcommand)]
    Token(TokenCommand),
    /// Publish a service to sites: there it gets a local address. Nobody may use it until a policy allows it.
    Expose(ExposeArguments),
    /// Allow clients of sites to use a service.
    Allow(AllowArguments),
    /// Set and remove labels of a resource.
    Label(LabelArguments),
    /// What happened in the deployment.
    #[command(subcommand)]
    Event(EventCommand),
    /// Make resources of the site files of a deployment that is run by files. Prints them, or applies them.
    Import(ImportArguments),
    /// Begin a deployment on this host: asks what it must know, and writes a link key, the controller's file and
    /// the first resources. Asks nothing if all is given.
    Init(InitArguments),
    /// Write a backup of what the controller keeps to a new file.
    Backup {
        /// The file.
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },
    /// Make a backup the controller's store. The controller must not run; needs no controller's socket.
    ///
    /// What was there is kept beside it.
    Restore {
        /// The backup.
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// The store's file, as store.path of the controller's file names it.
        #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath)]
        store: PathBuf,
    },
}

/// How a change is made.
#[derive(Args, Clone, Debug, Default)]
pub struct ChangeArguments {
    /// Only say what would change, and on which gateway.
    #[arg(long)]
    pub dry_run: bool,
    /// Take over fields that other managers have set to something else.
    #[arg(long)]
    pub force: bool,
    /// In whose name fields are set; your user name if left out.
    #[arg(long, value_name = "NAME")]
    pub manager: Option<String>,
}

/// Whether gateways are waited for.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct WaitArguments {
    /// Wait until every gateway that is concerned has it in its kernel, 60s if no time is given. If one has not
    /// by then, the exit code is 1; the change stays.
    #[arg(
        long, value_name = "DURATION", num_args = 0..=1, require_equals = true,
        default_missing_value = "60s", conflicts_with = "dry_run"
    )]
    pub wait: Option<Wait>,
}

/// How something new is declared.
#[derive(Args, Clone, Debug, Default)]
pub struct NewArguments {
    /// Only say what would change, and on which gateway.
    #[arg(long)]
    pub dry_run: bool,
    /// In whose name fields are set; your user name if left out.
    #[arg(long, value_name = "NAME")]
    pub manager: Option<String>,
    /// Whether it is waited for.
    #[command(flatten)]
    pub waiting: WaitArguments,
}

/// Which files.
#[derive(Args, Clone, Debug)]
pub struct FileArguments {
    /// A file of YAML or JSON documents, a directory whose *.yaml, *.yml and *.json are taken, or `-` for standard
    /// input. Can be given several times.
    #[arg(
        short = 'f', long = "file", value_name = "FILE|DIR|-", required = true,
        value_hint = ValueHint::AnyPath
    )]
    pub files: Vec<PathBuf>,
}

/// `apply`.
#[derive(Args, Clone, Debug)]
pub struct ApplyArguments {
    /// What.
    #[command(flatten)]
    pub files: FileArguments,
    /// How.
    #[command(flatten)]
    pub change: ChangeArguments,
    /// Whether it is waited for.
    #[command(flatten)]
    pub waiting: WaitArguments,
}

/// `get`.
#[derive(Args, Clone, Debug)]
pub struct GetArguments {
    /// KIND and names, KIND/NAME, or `all`.
    #[arg(value_name = "KIND[/NAME]|NAME", required = true)]
    pub what: Vec<String>,
    /// Only those with all of these labels.
    #[arg(short = 'l', long, value_name = "KEY=VALUE,…")]
    pub selector: Option<Selector>,
    /// Go on: print what changes until interrupted. With -o json, an object for each change.
    #[arg(short = 'w', long)]
    pub watch: bool,
}

/// `delete`.
#[derive(Args, Clone, Debug)]
pub struct DeleteArguments {
    /// KIND and names, or KIND/NAME.
    #[arg(value_name = "KIND[/NAME]|NAME", required_unless_present = "files")]
    pub what: Vec<String>,
    /// What a file, a directory or standard input (`-`) names. Can be given several times.
    #[arg(
        short = 'f', long = "file", value_name = "FILE|DIR|-", conflicts_with = "what",
        value_hint = ValueHint::AnyPath
    )]
    pub files: Vec<PathBuf>,
    /// Only say what would change, and on which gateway.
    #[arg(long)]
    pub dry_run: bool,
    /// Whether it is waited for.
    #[command(flatten)]
    pub waiting: WaitArguments,
}

/// `diff`.
#[derive(Args, Clone, Debug)]
pub struct DiffArguments {
    /// What.
    #[command(flatten)]
    pub files: FileArguments,
    /// As if fields that others have set were taken over.
    #[arg(long)]
    pub force: bool,
    /// As if applied in this name; your user name if left out.
    #[arg(long, value_name = "NAME")]
    pub manager: Option<String>,
}

/// `edit`.
#[derive(Args, Clone, Debug)]
pub struct EditArguments {
    /// Its kind, or kind and name as KIND/NAME.
    #[arg(value_name = "KIND")]
    pub kind: String,
    /// Its name; of a service, SERVICE.SITE.
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    /// How.
    #[command(flatten)]
    pub change: ChangeArguments,
}

/// `site`.
#[derive(Debug, Subcommand)]
pub enum SiteCommand {
    /// Declare a site. With -o yaml or json, print it instead.
    Create(CreateSite),
}

/// `service`.
#[derive(Debug, Subcommand)]
pub enum ServiceCommand {
    /// Declare a service. With -o yaml or json, print it instead.
    Create(CreateService),
}

/// `event`.
#[derive(Debug, Subcommand)]
pub enum EventCommand {
    /// List events, the latest last.
    List {
        /// Of resources of this kind, or of one as KIND/NAME.
        #[arg(value_name = "KIND")]
        kind: Option<String>,
        /// Of this resource.
        #[arg(value_name = "NAME", requires = "kind")]
        name: Option<String>,
        /// At most so many, the last ones.
        #[arg(
            long, value_name = "COUNT", default_value_t = 100,
            value_parser = clap::value_parser!(u32).range(1..=1000)
        )]
        limit: u32,
    },
}

/// `site create`.
#[derive(Args, Clone, Debug)]
pub struct CreateSite {
    /// Its name.
    pub name: SiteName,
    /// `cloud`, a hub, or `edge`.
    #[arg(long)]
    pub role: Role,
    /// Prefixes whose hosts may be clients or back ends, separated by commas.
    #[arg(long, value_name = "PREFIX,…", value_delimiter = ',', required = true)]
    pub networks: Vec<Network>,
    /// Its addresses for presences, out of its own plan and used by nobody else.
    #[arg(long, value_name = "PREFIX")]
    pub pool: PresencePool,
    /// What remote clients appear as at its services; an address of the pool if left out.
    #[arg(long, value_name = "ADDRESS")]
    pub client_presence: Option<Ipv4Addr>,
    /// The cloud site that it reaches others by; may be left out where there is one.
    #[arg(long, value_name = "SITE")]
    pub hub: Option<SiteName>,
    /// Which transit addresses it is to have; any if left out.
    #[arg(long, value_name = "PREFIX")]
    pub transit: Option<TransitBlock>,
    /// What it is selected by. Can be given several times.
    #[arg(long = "label", value_name = "KEY=VALUE")]
    pub labels: Vec<Pair>,
    /// How.
    #[command(flatten)]
    pub change: NewArguments,
}

/// `service create`.
#[derive(Args, Clone, Debug)]
pub struct CreateService {
    /// Its name and site, NAME.SITE.
    pub name: ServiceId,
    /// What of it is open: tcp/80, tcp/80->8080, udp/5000-5010, icmp-echo and so on. Can be given several times.
    #[arg(long = "port", value_name = "PORT", value_delimiter = ',', required = true)]
    pub ports: Vec<PortSpec>,
    /// A host that serves it, with its weight if not 1. Can be given several times.
    #[arg(
        long = "backend",
        value_name = "ADDRESS[:WEIGHT]",
        value_delimiter = ',',
        required = true
    )]
    pub backends: Vec<BackendArgument>,
    /// What it is selected by. Can be given several times.
    #[arg(long = "label", value_name = "KEY=VALUE")]
    pub labels: Vec<Pair>,
    /// How.
    #[command(flatten)]
    pub change: NewArguments,
}

/// `expose`.
#[derive(Args, Clone, Debug)]
pub struct ExposeArguments {
    /// The service, SERVICE.SITE.
    pub service: ServiceId,
    /// Sites by name, separated by commas, or every site with these labels.
    #[arg(long, value_name = "SITE,…|KEY=VALUE,…")]
    pub to: Sites,
    /// Which address it is to have there; one of the site's pool if left out. Only with one site.
    #[arg(long)]
    pub address: Option<Ipv4Addr>,
    /// What the sites' clients appear as at the service: `shared` (one address) or `per-client`.
    #[arg(long, value_name = "WORD", default_value = "shared")]
    pub clients: ClientsAs,
    /// The exposure's name; made of the service's and the site's if left out.
    #[arg(long)]
    pub name: Option<ExposureName>,
    /// How.
    #[command(flatten)]
    pub change: NewArguments,
}

/// `allow`.
#[derive(Args, Clone, Debug)]
pub struct AllowArguments {
    /// A site, or every site with these labels.
    #[arg(value_name = "SITE|KEY=VALUE,…")]
    pub from: Sites,
    /// The service, SERVICE.SITE.
    pub service: ServiceId,
    /// Which of its clients, separated by commas; all of them if left out.
    #[arg(long, value_name = "PREFIX,…", value_delimiter = ',')]
    pub clients: Vec<Network>,
    /// The policy's name, which verdicts tell; made of the site's and the service's if left out.
    #[arg(long)]
    pub name: Option<PolicyName>,
    /// How.
    #[command(flatten)]
    pub change: NewArguments,
}

/// `label`.
#[derive(Args, Clone, Debug)]
pub struct LabelArguments {
    /// Its kind.
    pub kind: String,
    /// Its name; of a service, SERVICE.SITE.
    pub name: String,
    /// KEY=VALUE sets, KEY- removes.
    #[arg(value_name = "KEY=VALUE|KEY-", required = true)]
    pub labels: Vec<LabelChange>,
    /// How.
    #[command(flatten)]
    pub change: ChangeArguments,
}

/// `import`.
#[derive(Args, Clone, Debug)]
pub struct ImportArguments {
    /// The site files, of all sites.
    #[arg(value_name = "FILE", required = true, value_hint = ValueHint::FilePath)]
    pub files: Vec<PathBuf>,
    /// Apply them instead of printing them.
    #[arg(long)]
    pub apply: bool,
    /// With --apply: only say what would change, and on which gateway.
    #[arg(long, requires = "apply")]
    pub dry_run: bool,
    /// With --apply: take over fields that other managers have set to something else.
    #[arg(long, requires = "apply")]
    pub force: bool,
    /// With --apply: in whose name fields are set; your user name if left out.
    #[arg(long, value_name = "NAME", requires = "apply")]
    pub manager: Option<String>,
}

/// `init`.
#[derive(Args, Clone, Debug)]
pub struct InitArguments {
    /// This host's site.
    #[arg(long)]
    pub site: Option<SiteName>,
    /// The interface towards the site's clients and back ends.
    #[arg(long, value_name = "INTERFACE")]
    pub lan: Option<InterfaceName>,
    /// Prefixes whose hosts may be clients or back ends, separated by commas.
    #[arg(long, value_name = "PREFIX,…", value_delimiter = ',')]
    pub networks: Vec<Network>,
    /// The site's addresses for presences.
    #[arg(long, value_name = "PREFIX")]
    pub pool: Option<PresencePool>,
    /// Where gateways of other sites dial this one.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub endpoint: Option<Endpoint>,
    /// Where the files are written.
    #[arg(long, default_value = "/etc/presence", value_hint = ValueHint::DirPath)]
    pub directory: PathBuf,
}

/// How long is waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait(pub Duration);

impl FromStr for Wait {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let counted = |unit: &str| text.strip_suffix(unit)?.parse::<u64>().ok();
        let seconds = counted("s").or_else(|| counted("m").and_then(|count| count.checked_mul(60)));
        let seconds = seconds.filter(|seconds| (1..=3600).contains(seconds));
        seconds
            .map(|seconds| Self(Duration::from_secs(seconds)))
            .ok_or_else(|| format!("{text:?} is no time from 1s to 60m: write 30s or 5m"))
    }
}

/// A label with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair(pub LabelKey, pub LabelValue);

impl FromStr for Pair {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) =
            text.split_once('=').ok_or_else(|| format!("{text:?} is no label: write KEY=VALUE"))?;
        let wrong = |error: gateway_control::resource::LabelFault| error.to_string();
        Ok(Self(key.parse().map_err(wrong)?, value.parse().map_err(wrong)?))
    }
}

/// What becomes of a label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LabelChange {
    /// It has this value.
    Set(Pair),
    /// It is gone.
    Remove(LabelKey),
}

impl FromStr for LabelChange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_suffix('-').filter(|_| !text.contains('=')) {
            Some(key) => key
                .parse()
                .map(Self::Remove)
                .map_err(|error: gateway_control::resource::LabelFault| error.to_string()),
            None => text.parse().map(Self::Set),
        }
    }
}

/// A back end with its weight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendArgument {
    /// Its address.
    pub address: Ipv4Addr,
    /// Its share.
    pub weight: Weight,
}

impl FromStr for BackendArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (address, weight) = match text.split_once(':') {
            Some((address, weight)) => (address, Some(weight)),
            None => (text, None),
        };
        let wrong = || format!("{text:?} is no back end: write ADDRESS or ADDRESS:WEIGHT");
        let address = address.parse().map_err(|_| wrong())?;
        let weight = match weight {
            None => Weight::default(),
            Some(weight) => {
                let number: i64 = weight.parse().map_err(|_| wrong())?;
                Weight::try_from(number).map_err(|error| error.to_string())?
            }
        };
        Ok(Self { address, weight })
    }
}

/// Sites by name or by label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sites {
    /// One at least.
    Named(Vec<SiteName>),
    /// Those with all of these labels.
    Labelled(Selector),
}

impl FromStr for Sites {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains('=') {
            return text
                .parse()
                .map(Self::Labelled)
                .map_err(|error: gateway_control::resource::LabelFault| error.to_string());
        }
        let names = text.split(',').map(|name| name.parse().map_err(|error| format!("{error}")));
        names.collect::<Result<_, String>>().map(Self::Named)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        assert_eq!("30s".parse(), Ok(Wait(Duration::from_secs(30))));
        assert_eq!("5m".parse(), Ok(Wait(Duration::from_secs(300))));
        for wrong in ["", "0s", "30", "61m", "3601s", "-1s", "99999999999999999999s", "1h"] {
            assert!(wrong.parse::<Wait>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn labels_are_set_and_removed() {
        let pair = |key: &str, value: &str| Pair(key.parse().unwrap(), value.parse().unwrap());
        assert_eq!("tier=edge".parse(), Ok(LabelChange::Set(pair("tier", "edge"))));
        assert_eq!("tier=".parse(), Ok(LabelChange::Set(pair("tier", ""))));
        assert_eq!("a/tier-".parse(), Ok(LabelChange::Remove("a/tier".parse().unwrap())));
        for wrong in ["", "tier", "-", "tier=a-", "=x", "a b-"] {
            assert!(wrong.parse::<LabelChange>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn back_ends_have_weights() {
        let weighted = |text: &str| text.parse().map(|it: BackendArgument| it.weight.number());
        assert_eq!(weighted("10.0.0.10"), Ok(1));
        assert_eq!(weighted("10.0.0.10:7"), Ok(7));
        for wrong in ["", "10.0.0", "10.0.0.10:", "10.0.0.10:x", "10.0.0.10:-1", "10.0.0.10:100000"]
        {
            assert!(weighted(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sites_are_named_or_labelled() {
        let named =
            |names: &[&str]| Sites::Named(names.iter().map(|it| it.parse().unwrap()).collect());
        assert_eq!("a".parse(), Ok(named(&["a"])));
        assert_eq!("a,b-c".parse(), Ok(named(&["a", "b-c"])));
        assert_eq!("t=e,x=y".parse(), Ok(Sites::Labelled("t=e,x=y".parse().unwrap())));
        for wrong in ["", "a,", "A", "=x", "t=e,t=f"] {
            assert!(wrong.parse::<Sites>().is_err(), "{wrong}");
        }
    }
}
