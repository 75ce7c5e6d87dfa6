//! The lines of an `.expect` file: site, client, service, port, verdict.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use gateway_common::Reason;
use gateway_control::model::{PortSpec, RuleId, ServiceId, SiteName};

/// One line: who asks for what, and what the answer should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// Its line in the file, counted from 1.
    pub line: usize,
    /// The client's site.
    pub site: SiteName,
    /// The client's address there.
    pub client: Ipv4Addr,
    /// What it asks for.
    pub service: ServiceId,
    /// At which port.
    pub target: Target,
    /// The answer.
    pub verdict: Verdict,
}

/// One protocol and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Number in the IP header.
    pub protocol: u8,
    /// The port; 0 where there is none.
    pub port: u16,
}

/// Allowed by a rule, or refused for a reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Allowed.
    Allow(RuleId),
    /// Refused.
    Deny(Reason),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allow(rule) => write!(f, "allow {rule}"),
            Self::Deny(reason) => write!(f, "deny {}", reason.label()),
        }
    }
}

/// Why a text is no table of expectations.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpectationError {
    /// A line with too few or too many words.
    #[error(
        "line {line}: {words} words; write SITE CLIENT SERVICE.SITE PORT, then allow RULE or deny \
         REASON"
    )]
    Words {
        /// The line.
        line: usize,
        /// How many words it has.
        words: usize,
    },
    /// A word that is not what its column holds.
    #[error("line {line}: {word:?} is not {wanted}")]
    Word {
        /// The line.
        line: usize,
        /// The word.
        word: String,
        /// What the column holds.
        wanted: &'static str,
    },
    /// Nothing is expected at all.
    #[error("no line expects anything; add one, or remove the file")]
    Empty,
}

/// Reads an `.expect` file; `#` starts a comment.
pub fn expectations(text: &str) -> Result<Vec<Expectation>, ExpectationError> {
    let mut read = Vec::new();
    for (line, content) in (1..).zip(text.lines()) {
        let content = content.split('#').next().unwrap_or("");
        let words: Vec<_> = content.split_whitespace().collect();
        match words[..] {
            [] => {}
            [site, client, service, port, verdict, why] => read.push(Expectation {
                line,
                site: word(line, site, "a site")?,
                client: word(line, client, "an IPv4 address")?,
                service: word(line, service, "SERVICE.SITE")?,
                target: target(port).ok_or_else(|| wrong(line, port, "a single port"))?,
                verdict: verdict_of(line, verdict, why)?,
            }),
            _ => return Err(ExpectationError::Words { line, words: words.len() }),
        }
    }
    if read.is_empty() { Err(ExpectationError::Empty) } else { Ok(read) }
}

fn target(text: &str) -> Option<Target> {
    let (protocol, port) = match text.parse().ok()? {
        PortSpec::One { transport, port, backend } if port == backend => {
            (transport.number(), port.get())
        }
        spec @ PortSpec::IcmpEcho => (spec.extent().0, 0),
        PortSpec::Ip(protocol) => (protocol, 0),
        PortSpec::One { .. } | PortSpec::Range { .. } | PortSpec::All(_) => return None,
    };
    Some(Target { protocol, port })
}

fn verdict_of(line: usize, verdict: &str, why: &str) -> Result<Verdict, ExpectationError> {
    match verdict {
        "allow" => Ok(Verdict::Allow(word(line, why, "a rule")?)),
        "deny" => Reason::ALL
            .iter()
            .find(|reason| reason.label() == why)
            .map(|reason| Verdict::Deny(*reason))
            .ok_or_else(|| wrong(line, why, "a reason")),
        _ => Err(wrong(line, verdict, "allow or deny")),
    }
}

fn word<T: FromStr>(line: usize, text: &str, wanted: &'static str) -> Result<T, ExpectationError> {
    text.parse().map_err(|_| wrong(line, text, wanted))
}

fn wrong(line: usize, word: &str, wanted: &'static str) -> ExpectationError {
    ExpectationError::Word { line, word: word.to_owned(), wanted }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let text = "# nothing\n\n a 10.0.0.1 s.b tcp/80 allow r # why\na 10.0.0.1 s.b icmp-echo deny no-policy";
        let read = expectations(text).unwrap();
        assert_eq!(read.len(), 2);
        assert_eq!((read[0].line, read[1].line), (3, 4));
        assert_eq!(read[0].target, Target { protocol: 6, port: 80 });
        assert_eq!(read[0].verdict, Verdict::Allow("r".parse().unwrap()));
        assert_eq!(read[1].target, Target { protocol: 1, port: 0 });
        assert_eq!(read[1].verdict, Verdict::Deny(Reason::NoPolicy));
    }

    #[test]
    fn wrong_lines() {
        for (text, said) in [
            ("", "no line"),
            ("a 10.0.0.1 s.b tcp/80 allow", "line 1: 5 words"),
            ("\nA 10.0.0.1 s.b tcp/80 allow r", "line 2: \"A\" is not a site"),
            ("a 10.0.0.1 s.b tcp/* allow r", "not a single port"),
            ("a 10.0.0.1 s.b tcp/1->2 allow r", "not a single port"),
            ("a 10.0.0.1 s.b tcp/1 refuse r", "not allow or deny"),
            ("a 10.0.0.1 s.b tcp/1 deny r", "not a reason"),
        ] {
            let error = expectations(text).unwrap_err().to_string();
            assert!(error.contains(said), "{text:?}: {error}");
        }
    }
}
