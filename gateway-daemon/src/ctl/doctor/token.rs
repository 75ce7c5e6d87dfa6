//! A token, looked at without using it.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use gateway_control::identity::JoinToken;
use zeroize::Zeroizing;

use super::report::{Check, Finding};

/// The text of a token: of a file, or of the standard input where the path is `-`.
pub(super) fn read(path: &Path) -> io::Result<Zeroizing<String>> {
    match path.as_os_str() == "-" {
        true => text(io::stdin().lock()),
        false => text(File::open(path)?),
    }
}

fn text(from: impl Read) -> io::Result<Zeroizing<String>> {
    let most = JoinToken::MAX_LEN + 1;
    // As large as it will be, so that no part of it is left behind by growing.
    let mut text = Zeroizing::new(String::with_capacity(most + 1));
    from.take(most as u64).read_to_string(&mut text)?;
    Ok(text)
}

/// What a text says as a token, and what is to be said of it.
pub(super) fn judge(text: &str) -> (Option<JoinToken>, Finding) {
    match text.parse::<JoinToken>() {
        Ok(token) => {
            let controllers: Vec<_> = token.controllers.iter().map(ToString::to_string).collect();
            let found = format!(
                "is whole: for deployment {}, whose CA has the key {}, by {}; whether it was used or has expired is \
                 known to the controller alone",
                token.trust_domain,
                token.authority,
                controllers.join(", ")
            );
            (Some(token), Finding::ok(Check::Token, found))
        }
        Err(error) => (None, Finding::error(Check::Token, &error)),
    }
}

#[cfg(test)]
mod tests {
    use gateway_control::identity::{KeyPin, Secret};

    use super::super::report::Verdict;
    use super::*;

    #[test]
    fn a_token_is_read_and_its_secret_not_told() {
        let token = JoinToken {
            trust_domain: "presence.example".parse().unwrap(),
            controllers: vec!["c1.example".parse().unwrap()],
            authority: KeyPin::of(b"key"),
            secret: Secret::new([0xab; 32]),
        };
        let whole = text(token.text().as_bytes()).unwrap();
        let (read, finding) = judge(&whole);
        assert_eq!((read, finding.verdict), (Some(token), Verdict::Ok));
        assert!(!finding.found.contains("abab"), "{finding:?}");
        let (read, finding) = judge(&whole[..whole.len() - 3]);
        assert_eq!((read, finding.verdict), (None, Verdict::Fail));
        assert!(finding.found.contains("damaged"), "{finding:?}");
        assert!(text([0xff; 9].as_slice()).is_err());
    }
}
