//! What an error means for the exit code: 2 when the operator's files must change, else 1.

use std::fmt::Display;
use std::io::Write as _;
use std::process::ExitCode;

use crate::config::ConfigError;
use crate::gateway::GatewayError;
use crate::link::LinkError;

/// Exit code of a program whose configuration is at fault.
pub const CONFIGURATION: u8 = 2;
/// Exit code of a program that failed otherwise.
pub const FAILURE: u8 = 1;

/// Says on standard error why `program` ends, and gives its exit code.
pub fn report(program: &str, error: &anyhow::Error) -> ExitCode {
    say(program, &format!("{error:#}"));
    ExitCode::from(code(error))
}

/// The exit code for an error.
pub fn code(error: &anyhow::Error) -> u8 {
    let configuration = error.chain().any(|cause| {
        cause.is::<ConfigError>()
            || cause.downcast_ref::<LinkError>().is_some_and(LinkError::is_configuration)
            || cause.downcast_ref::<GatewayError>().is_some_and(GatewayError::is_configuration)
    });
    if configuration { CONFIGURATION } else { FAILURE }
}

fn say(program: &str, text: &dyn Display) {
    // Nobody is left to be told if standard error is closed.
    let _ = writeln!(std::io::stderr(), "{program}: {text}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    #[test]
    fn only_faults_of_the_files_are_configuration() {
        let key = ConfigError::KeyOpenToOthers { path: "k".into(), mode: 0o644 };
        let wrapped = Err::<(), _>(key).context("while starting").unwrap_err();
        assert_eq!(code(&wrapped), CONFIGURATION);
        let interface = "presence".parse().unwrap();
        let link = LinkError::Settings { interface, reason: "it contradicts itself".into() };
        assert_eq!(code(&GatewayError::from(link).into()), CONFIGURATION);
        assert_eq!(code(&anyhow::anyhow!("the disk is full")), FAILURE);
    }
}
