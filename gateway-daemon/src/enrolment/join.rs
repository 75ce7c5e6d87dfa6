//! `gatewayd join`: makes this host the gateway that a token lets it be. Its keys are made here and stay here.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use gateway_control::identity::{JoinToken, Joined, Joining, Standing, Subject};
use gateway_control::model::Endpoint;
use rustls::pki_types::CertificateDer;
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::clock::now;
use crate::config::{self, Place, Role};
use crate::identity::{Credential, Leaf, LeafKey, Membership, joining_config};
use crate::link::PrivateKey;
use crate::session::{DialSettings, Dialler, ask_to_join};

/// How long controllers have to answer, all together.
const PATIENCE: Duration = Duration::from_secs(30);

/// How to join.
#[derive(Clone, Debug)]
pub struct JoinArguments {
    /// The gateway's file.
    pub config: PathBuf,
    /// Where the token is; `None`: the standard input.
    pub token: Option<PathBuf>,
    /// Where other gateways dial this one.
    pub endpoints: Vec<Endpoint>,
}

/// Joins, and says as whom.
pub async fn join(arguments: &JoinArguments) -> Result<String> {
    let config = &arguments.config;
    let Role::Gateway(file) = Role::load(config)? else {
        bail!("{}: its mode is not \"gateway\"; only gateways join", config.display());
    };
    if let Place::Socket(_) = file.controller {
        bail!(
            "{}: gateway.name and gateway.site are for a gateway on its controller's host; remove them, as joining \
             says who it is",
            config.display()
        );
    }
    let strongbox = file.seal.establish()?;
    if let Some(membership) = Membership::load(&strongbox)? {
        bail!(
            "this host is {} already; if it is to join anew, end its gatewayd and remove {}",
            membership.id,
            file.seal.directory.display()
        );
    }
    let token = token(arguments.token.as_deref())?;
    let (key, link_key) = (LeafKey::generate()?, PrivateKey::generate());
    let joining = Joining {
        secret: token.secret.clone(),
        request: key.request()?,
        link_key: Some(config::public_key_of(&link_key)),
        endpoints: arguments.endpoints.clone(),
    };
    let dialler =
        Dialler::new(token.controllers.clone(), &joining_config(&token)?, DialSettings::default())?;
    let carried = match timeout(PATIENCE, dialler.try_once()).await {
        Ok(Ok(carried)) => carried,
        Ok(Err(why)) => bail!(
            "no controller that the token names could be reached: {why}; see that one runs and that UDP or TCP gets \
             through to it"
        ),
        Err(_) => bail!(
            "no controller that the token names answered within {} s; see that one runs and that UDP or TCP gets \
             through to it",
            PATIENCE.as_secs()
        ),
    };
    let joined = timeout(PATIENCE, ask_to_join(carried, &joining))
        .await
        .map_err(|_| anyhow!("the controller did not answer within {} s", PATIENCE.as_secs()))??;
    let membership = accept(joined, &token, key, link_key)?;
    let (joined, membership) = membership;
    membership.save(&strongbox)?;
    let OwnParts { site, name } = own(&membership)?;
    let next = match joined.standing {
        Standing::Active => "It takes part as soon as its gatewayd runs.".to_owned(),
        Standing::Pending => {
            format!("An operator has to accept it:  gatewayctl gateway accept {name}")
        }
    };
    Ok(format!(
        "this host is gateway {name} of site {site} now ({})\n{next}\n\nStart it:  gatewayd --config {}\n",
        membership.id,
        config.display()
    ))
}

struct OwnParts {
    site: String,
    name: String,
}

fn own(membership: &Membership) -> Result<OwnParts> {
    let own = membership.own_name()?;
    Ok(OwnParts { site: own.site.to_string(), name: own.name.to_string() })
}

/// The token. Not an argument and not in the environment, where others on the host could read it.
fn token(path: Option<&Path>) -> Result<JoinToken> {
    let mut text = Zeroizing::new(String::new());
    let most = JoinToken::MAX_LEN as u64 + 1;
    let (read, place) = match path {
        Some(path) => {
            let file = fs::File::open(path)
                .with_context(|| format!("cannot open the token's file {}", path.display()))?;
            (file.take(most).read_to_string(&mut text), path.display().to_string())
        }
        None => {
            let read = std::io::stdin().lock().take(most).read_to_string(&mut text);
            (read, "the standard input".to_owned())
        }
    };
    read.with_context(|| format!("cannot read the token from {place}"))?;
    text.parse().with_context(|| format!("what {place} holds"))
}

/// What is to be kept, if the answer makes sense. The controller is the deployment's, since it has shown a
/// certificate of the CA that the token names; what it has answered is still looked at.
fn accept(
    joined: Joined,
    token: &JoinToken,
    key: LeafKey,
    link_key: PrivateKey,
) -> Result<(Joined, Membership)> {
    let leaf =
        Leaf::read(&joined.certificate).context("the certificate that the controller gave")?;
    if leaf.key != key.pin() || leaf.id != joined.id || leaf.id.trust_domain != token.trust_domain {
        bail!(
            "the controller gave a certificate for somebody else; see that both are of one version"
        );
    }
    if !matches!(leaf.id.subject, Subject::Gateway(..)) {
        bail!("the token is for {}, and only gateways join by gatewayd", leaf.id);
    }
    leaf.holds(now()).context("the certificate that the controller gave")?;
    let membership = Membership {
        id: leaf.id,
        credential: Credential {
            key,
            certificate: CertificateDer::from(joined.certificate.clone()),
        },
        authorities: joined.authorities.clone(),
        controllers: joined.controllers.clone(),
        next_key: None,
        link_key,
    };
    Ok((joined, membership))
}
