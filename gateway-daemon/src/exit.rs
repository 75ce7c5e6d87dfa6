//! What an error means for the exit code: 2 when the operator's files or command line must change, else 1.

use std::io::Write as _;
use std::process::ExitCode;

use crate::config::ConfigError;
use crate::ctl;
use crate::gateway::GatewayError;
use crate::link::LinkError;

/// Exit code of a program whose configuration or command line is at fault.
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
            || ctl::is_usage(cause)
            || cause.downcast_ref::<LinkError>().is_some_and(LinkError::is_configuration)
            || cause.downcast_ref::<GatewayError>().is_some_and(GatewayError::is_configuration)
    });
    if configuration { CONFIGURATION } else { FAILURE }
}

fn say(program: &str, text: &str) {
    // Nobody is left to be told if standard error is closed.
    let _ = writeln!(std::io::stderr(), "{program}: {}", shortened(text));
}

/// A text of a readable length: of a kernel that refuses a program, its reasons can be thousands of
/// lines, of which the last ones count.
fn shortened(text: &str) -> String {
    const FIRST: usize = 20;
    const LAST: usize = 30;
    let lines: Vec<&str> = text.lines().collect();
    let Some(left_out) = lines.len().checked_sub(FIRST + LAST).filter(|count| *count > 0) else {
        return text.to_owned();
    };
    let (first, last) = (&lines[..FIRST], &lines[FIRST + left_out..]);
    format!("{}\n[{left_out} lines left out]\n{}", first.join("\n"), last.join("\n"))
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

    #[test]
    fn long_texts_keep_their_ends() {
        let short: String = (0..50).map(|n| format!("{n}\n")).collect();
        assert_eq!(shortened(&short), short);
        let long: String = (0..5000).map(|n| format!("{n}\n")).collect();
        let shown = shortened(&long);
        assert_eq!(shown.lines().count(), 51);
        assert!(shown.starts_with("0\n1\n") && shown.ends_with("4998\n4999"), "{shown}");
        assert!(shown.contains("[4950 lines left out]"), "{shown}");
    }
}
