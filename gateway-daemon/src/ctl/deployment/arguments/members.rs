//! The command lines about who takes part in a deployment: gateways, and tokens by which they join.

use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Subcommand};
use gateway_control::identity::ControllerAddress;
use gateway_control::model::{Endpoint, GatewayName, PublicKey, SiteName};
use gateway_control::resource::{Expiry, TokenFault, TokenName, TokenUses};

use super::{NewArguments, Pair, Wait};

/// `gateway`.
#[derive(Debug, Subcommand)]
pub enum GatewayCommand {
    /// Declare a gateway. With -o yaml or json, print it instead.
    Create(CreateGateway),
    /// Accept a gateway that has joined with a token made with --approve.
    Accept(DecideGateway),
    /// Throw a gateway out: its session ends, and no other gateway has anything to do with it any more. For good:
    /// its host joins again with a new token only, under another name.
    Revoke(DecideGateway),
}

/// `gateway create`.
#[derive(Args, Clone, Debug)]
pub struct CreateGateway {
    /// Its name.
    pub name: GatewayName,
    /// Its site.
    #[arg(long)]
    pub site: SiteName,
    /// Its link's public key.
    #[arg(long, value_name = "KEY")]
    pub public_key: PublicKey,
    /// Where other gateways dial it; it dials them if left out. Can be given several times.
    #[arg(long = "endpoint", value_name = "ADDRESS:PORT")]
    pub endpoints: Vec<Endpoint>,
    /// What it is selected by. Can be given several times.
    #[arg(long = "label", value_name = "KEY=VALUE")]
    pub labels: Vec<Pair>,
    /// How.
    #[command(flatten)]
    pub change: NewArguments,
}

/// `gateway accept` and `gateway revoke`.
#[derive(Args, Clone, Debug)]
pub struct DecideGateway {
    /// Its name.
    pub name: GatewayName,
    /// Wait until every gateway that is concerned and connected has it in its kernel, 60s if no time is given, and
    /// say how long that took. If one has not by then, the exit code is 1; the change stays.
    #[arg(
        long, value_name = "DURATION", num_args = 0..=1, require_equals = true,
        default_missing_value = "60s"
    )]
    pub wait: Option<Wait>,
}

/// `token`.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token, and print it: what lets a host join as a site's gateway.
    ///
    /// Standard output has the token alone. It is shown this once; what is kept of it lets nobody in. Whoever has it
    /// may join until it is used or expires, so hand it over as you would a password.
    Create(CreateToken),
}

/// `token create`.
#[derive(Args, Clone, Debug)]
pub struct CreateToken {
    /// The site whose gateway joins with it.
    #[arg(long)]
    pub site: SiteName,
    /// Its name; made of the site's if left out.
    #[arg(long)]
    pub name: Option<TokenName>,
    /// How often it may be used.
    #[arg(long, value_name = "COUNT", default_value = "1", value_parser = uses)]
    pub uses: TokenUses,
    /// How long it may be used, from 1s to 365d, or until when, as 2030-01-31T18:00:00Z.
    #[arg(long, value_name = "DURATION|TIME", default_value = "1h")]
    pub expires: Until,
    /// Let no gateway that joins with it take part before `gatewayctl gateway accept`.
    #[arg(long)]
    pub approve: bool,
    /// Where it is to look for a controller, port 443 if none is given; where the controller says that controllers
    /// are if left out. Can be given several times.
    #[arg(long = "address", value_name = "HOST[:PORT]")]
    pub addresses: Vec<ControllerAddress>,
    /// In whose name it is declared; your user name if left out.
    #[arg(long, value_name = "NAME")]
    pub manager: Option<String>,
}

/// Until when something holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// So long from now on.
    After(Duration),
    /// Until then.
    At(Expiry),
}

impl Until {
    const MOST: u64 = 365 * 24 * 3600;

    /// The moment, seen from this one, in seconds since 1970; `None` if it is not ahead.
    pub fn expiry(self, now: u64) -> Option<Expiry> {
        match self {
            Self::After(span) => Expiry::try_from(now.checked_add(span.as_secs())?).ok(),
            Self::At(expiry) => Some(expiry).filter(|it| it.seconds() > now),
        }
    }
}

impl FromStr for Until {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.ends_with('Z') {
            return text.parse().map(Self::At).map_err(|error: TokenFault| error.to_string());
        }
        let units = [("s", 1), ("m", 60), ("h", 3600), ("d", 24 * 3600)];
        let seconds = units.into_iter().find_map(|(unit, seconds)| {
            text.strip_suffix(unit)?.parse::<u64>().ok()?.checked_mul(seconds)
        });
        let seconds = seconds.filter(|seconds| (1..=Self::MOST).contains(seconds));
        seconds.map(|seconds| Self::After(Duration::from_secs(seconds))).ok_or_else(|| {
            format!(
                "{text:?} is no time from 1s to 365d: write 30m, 1h or 7d, or a time in UTC as \
                 2030-01-31T18:00:00Z"
            )
        })
    }
}

fn uses(text: &str) -> Result<TokenUses, String> {
    let number: i64 =
        text.parse().map_err(|_| format!("{text:?} is no number; write 1 to 1000000"))?;
    TokenUses::try_from(number).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_spans_or_moments() {
        let after = |seconds| Ok(Until::After(Duration::from_secs(seconds)));
        assert_eq!("1s".parse(), after(1));
        assert_eq!("90m".parse(), after(5400));
        assert_eq!("1h".parse(), after(3600));
        assert_eq!("365d".parse(), after(31_536_000));
        let at: Until = "2030-01-31T18:00:00Z".parse().unwrap();
        assert_eq!(at.expiry(0).map(Expiry::seconds), Some(1_896_112_800));
        assert_eq!(at.expiry(1_896_112_799), at.expiry(0));
        assert_eq!(at.expiry(1_896_112_800), None, "it has passed");
        let hour: Until = "1h".parse().unwrap();
        assert_eq!(hour.expiry(1000).map(Expiry::seconds), Some(4600));
        assert_eq!(hour.expiry(u64::MAX), None);
        for wrong in
            ["", "1", "h", "0s", "-1h", "366d", "1y", "99999999999999999999h", "2030-01-31Z", "1H"]
        {
            assert!(wrong.parse::<Until>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn uses_are_counted() {
        assert_eq!(uses("3").map(TokenUses::number), Ok(3));
        for wrong in ["", "0", "-1", "x", "1000001", "99999999999999999999"] {
            assert!(uses(wrong).is_err(), "{wrong}");
        }
    }
}
