//! How somebody joins over a connection: he says what he wants, with its length before it in four octets, the most
//! significant first; the controller answers, and closes; he closes once he has the answer.

use std::io;

use gateway_control::identity::{JOIN_MAX_LEN, JoinMessageError, Joined, Joining};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use zeroize::Zeroizing;

use super::{Carried, Ending};

/// Why joining came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The connection broke.
    #[error("the connection broke off: {0}")]
    Io(#[from] io::Error),
    /// What came is no such message.
    #[error("what came is {0}; see that both are of one version")]
    Message(#[from] JoinMessageError),
    /// The controller refused, and said why.
    #[error("the controller refused: {0}")]
    Refused(String),
}

/// Asks a controller to be taken in.
pub async fn ask_to_join(mut carried: Carried, joining: &Joining) -> Result<Joined, JoinError> {
    let asked = joining.encode();
    let length = u32::try_from(asked.len()).map_err(|_| JoinMessageError::TooLong(asked.len()))?;
    carried.write_all(&length.to_be_bytes()).await?;
    carried.write_all(&asked).await?;
    carried.flush().await?;
    let mut answer = Vec::new();
    (&mut carried).take(JOIN_MAX_LEN as u64 + 1).read_to_end(&mut answer).await?;
    carried.close(Ending::Done, "");
    Joined::decode_answer(&answer)?.map_err(JoinError::Refused)
}

/// Hears who wants to be taken in.
pub(super) async fn hear(carried: &mut Carried) -> Result<Joining, JoinError> {
    let length = carried.read_u32().await?;
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length > JOIN_MAX_LEN {
        return Err(JoinMessageError::TooLong(length).into());
    }
    let mut asked = Zeroizing::new(Vec::new());
    carried.take(length as u64).read_to_end(&mut asked).await?;
    Ok(Joining::decode(&asked)?)
}

/// Answers, and waits until the other end has the answer: closing earlier could tear it away.
pub(super) async fn answer(
    carried: &mut Carried,
    answer: &Result<Joined, String>,
) -> Result<(), JoinError> {
    carried.write_all(&Joined::encode_answer(answer)).await?;
    carried.shutdown().await?;
    let mut rest = [0; 64];
    while carried.read(&mut rest).await? > 0 {}
    Ok(())
}
