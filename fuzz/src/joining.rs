//! Joining: token strings, and what either end says.

use gateway_control::identity::{JoinToken, Joined, Joining};

/// Reads `data` as a token, as what somebody who joins says, and as the answer to it.
///
/// # Panics
///
/// If anything that is read is written otherwise than it reads, or a refusal of a token shows part of it.
pub fn joining(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        match text.parse::<JoinToken>() {
            Ok(token) => assert_eq!(token.text().parse(), Ok(token)),
            Err(error) => {
                let secret = text.trim().strip_prefix(JoinToken::PREFIX).unwrap_or_default();
                let said = error.to_string();
                assert!(
                    secret.len() < 16 || !said.contains(&secret[..secret.floor_char_boundary(16)]),
                    "{said}"
                );
            }
        }
    }
    if let Ok(joining) = Joining::decode(data) {
        assert_eq!(Joining::decode(&joining.encode()), Ok(joining));
    }
    if let Ok(answer) = Joined::decode_answer(data) {
        assert_eq!(Joined::decode_answer(&Joined::encode_answer(&answer)), Ok(answer));
    }
}
