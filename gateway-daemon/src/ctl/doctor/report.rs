//! What `gatewayctl doctor` answers: findings, each with a verdict, what was found and what to do.

use std::fmt;

use jiff::Timestamp;
use serde::Serialize;

use crate::ctl::print::Answer;

/// What a finding says of the deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, and should not stay so.
    Warn,
    /// Something does not work.
    Fail,
}

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Check {
    /// This host's clock.
    Clock,
    /// Names of controllers.
    Name,
    /// QUIC on UDP.
    Udp,
    /// TLS over TCP.
    Tcp,
    /// Sizes of packets on the way.
    Path,
    /// Kernel features and rights.
    Kernel,
    /// The site's interfaces and addresses.
    Address,
    /// This gateway's certificate.
    Certificate,
    /// The deployment's CA.
    Authority,
    /// The token.
    Token,
    /// What seals and is sealed.
    Seal,
    /// The directory of sealed files.
    State,
    /// Room on the disk.
    Disk,
    /// How long what a gateway has may be used.
    Lease,
    /// The controller's store.
    Store,
    /// Sockets that this host should serve, or be served by.
    Socket,
    /// Private keys in files.
    Key,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// How it is.
    pub verdict: Verdict,
    /// What was looked at.
    pub check: Check,
    /// Which of several; none if there is one.
    pub subject: Option<String>,
    /// What was found.
    pub found: String,
    /// What to do, where that is not said by what was found.
    pub remedy: Option<String>,
}

/// All findings.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// In the order they are told.
    pub findings: Vec<Finding>,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

impl Check {
    fn word(self) -> &'static str {
        match self {
            Self::Clock => "clock",
            Self::Name => "name",
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Path => "path",
            Self::Kernel => "kernel",
            Self::Address => "address",
            Self::Certificate => "certificate",
            Self::Authority => "authority",
            Self::Token => "token",
            Self::Seal => "seal",
            Self::State => "state",
            Self::Disk => "disk",
            Self::Lease => "lease",
            Self::Store => "store",
            Self::Socket => "socket",
            Self::Key => "key",
        }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl Finding {
    /// All is well.
    pub(super) fn ok(check: Check, found: impl Into<String>) -> Self {
        Self { verdict: Verdict::Ok, check, subject: None, found: found.into(), remedy: None }
    }

    /// Not as it should be, and what to do. Nothing, if what was found says that.
    pub(super) fn wrong(
        verdict: Verdict,
        check: Check,
        found: impl Into<String>,
        remedy: &str,
    ) -> Self {
        let remedy = Some(remedy.to_owned()).filter(|it| !it.is_empty());
        Self { verdict, check, subject: None, found: found.into(), remedy }
    }

    /// It works, and should not stay so.
    pub(super) fn warn(check: Check, found: impl Into<String>, remedy: &str) -> Self {
        Self::wrong(Verdict::Warn, check, found, remedy)
    }

    /// It does not work.
    pub(super) fn fail(check: Check, found: impl Into<String>, remedy: &str) -> Self {
        Self::wrong(Verdict::Fail, check, found, remedy)
    }

    /// An error whose text says what to do.
    pub(super) fn error(check: Check, error: &impl ToString) -> Self {
        Self::fail(check, error.to_string(), "")
    }

    /// Of this one of several.
    pub(super) fn of(self, subject: impl ToString) -> Self {
        Self { subject: Some(subject.to_string()), ..self }
    }

    /// At most as bad as this.
    pub(super) fn at_most(self, verdict: Verdict) -> Self {
        Self { verdict: self.verdict.min(verdict), ..self }
    }
}

impl Report {
    /// The worst of it.
    pub fn verdict(&self) -> Verdict {
        self.findings.iter().map(|it| it.verdict).max().unwrap_or(Verdict::Ok)
    }

    fn count(&self, verdict: Verdict) -> usize {
        self.findings.iter().filter(|it| it.verdict == verdict).count()
    }
}

impl Answer for Report {
    fn text(&self) -> String {
        let mut text = String::new();
        for finding in &self.findings {
            let Finding { verdict, check, subject, found, remedy } = finding;
            let subject = subject.as_ref().map(|it| format!("{it}: ")).unwrap_or_default();
            text.push_str(&format!("{:<5} {check:<12} {subject}{found}\n", verdict.word()));
            if let Some(remedy) = remedy {
                text.push_str(&format!("{:<19}-> {remedy}\n", ""));
            }
        }
        let (warns, fails) = (self.count(Verdict::Warn), self.count(Verdict::Fail));
        text.push_str(&format!(
            "\n{} looked at: {} ok, {warns} warn, {fails} fail\n",
            self.findings.len(),
            self.count(Verdict::Ok)
        ));
        text
    }
}

/// A moment, in seconds since 1970, for people.
pub(super) fn moment(seconds: u64) -> String {
    let timestamp = i64::try_from(seconds).ok().and_then(|it| Timestamp::from_second(it).ok());
    timestamp.map_or_else(|| format!("{seconds} s after 1970"), |it| it.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_counts_and_every_line_says_what_to_do() {
        let report = Report {
            findings: vec![
                Finding::ok(Check::Clock, "is right"),
                Finding::fail(Check::Udp, "no answer", "let UDP through").of("192.0.2.1:443"),
                Finding::warn(Check::Disk, "is nearly full", "free some"),
            ],
        };
        assert_eq!(report.verdict(), Verdict::Fail);
        assert_eq!(
            report.text(),
            "ok    clock        is right\n\
             fail  udp          192.0.2.1:443: no answer\n                   -> let UDP through\n\
             warn  disk         is nearly full\n                   -> free some\n\n\
             3 looked at: 1 ok, 1 warn, 1 fail\n"
        );
        assert_eq!(Report::default().verdict(), Verdict::Ok);
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["findings"][1]["check"], "udp");
        assert_eq!(json["findings"][1]["verdict"], "fail");
    }
}
