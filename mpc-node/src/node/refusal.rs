//! Why a request fails: what the other side is told, and what only this node's log says.

use std::fmt::Display;

use sahara_protocol::ProtocolError;

use crate::accounts::AccountError;
use crate::committee::NoProtocol;
use crate::lane::{Lane, LaneError};
use crate::market::Unlicensed;
use crate::models::ModelError;
use crate::packs::PackError;
use crate::records::NameError;
use crate::wire::FailCode;

/// Why a request failed: what the other side is told, and what only this node's log says.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) code: FailCode,
    pub(super) text: String,
    /// The reason with file names and what the operating system says.
    log: Option<String>,
}

impl Refusal {
    pub(super) fn new(code: FailCode, text: impl Into<String>) -> Self {
        Self { code, text: text.into(), log: None }
    }

    /// Something of this node's own failed. Others learn what it was doing; why it failed names this node's files, or is
    /// what its operating system says, and goes to the log.
    pub(super) fn fault(doing: &str, why: impl Display) -> Self {
        let text = format!("this node cannot {doing}: its operator finds the reason in the node's log");
        Self { code: FailCode::Internal, text, log: Some(why.to_string()) }
    }

    pub(super) fn why(&self) -> &str {
        self.log.as_deref().unwrap_or("as told")
    }
}

/// What ends a request early.
pub(super) enum Trouble {
    /// The other side is told why.
    Refusal(Refusal),
    /// The lane itself is gone or unusable.
    Lane(LaneError),
}

impl From<Refusal> for Trouble {
    fn from(refusal: Refusal) -> Self {
        Self::Refusal(refusal)
    }
}

impl From<NoProtocol> for Refusal {
    fn from(error: NoProtocol) -> Self {
        Self::new(FailCode::Internal, error.to_string())
    }
}

impl From<ModelError> for Refusal {
    fn from(error: ModelError) -> Self {
        let code = match error {
            ModelError::Missing(_) => FailCode::NoModel,
            ModelError::Busy | ModelError::Unready(_) => FailCode::Busy,
            ModelError::Refused(_) | ModelError::TooCostly(_) | ModelError::Graph(_) => FailCode::Refused,
            ModelError::Unlicensed(error) => return error.into(),
            ModelError::Protocol(error) => return Self { code: FailCode::Refused, ..error.into() },
            ModelError::Io { .. } | ModelError::Damaged { .. } => {
                return Self::fault("use its files of this sharing", error);
            }
        };
        Self::new(code, error.to_string())
    }
}

impl From<ModelError> for Trouble {
    fn from(error: ModelError) -> Self {
        Refusal::from(error).into()
    }
}

impl From<Unlicensed> for Refusal {
    fn from(error: Unlicensed) -> Self {
        let code = match error {
            Unlicensed::Unknown(_) => FailCode::Unpresented,
            Unlicensed::Held(_) => FailCode::Busy,
            Unlicensed::Refused(_) | Unlicensed::Behind(_) | Unlicensed::Spent(_) => FailCode::Unpaid,
            Unlicensed::Unable(_) => FailCode::Internal,
        };
        Self::new(code, error.to_string())
    }
}

impl From<Unlicensed> for Trouble {
    fn from(error: Unlicensed) -> Self {
        Refusal::from(error).into()
    }
}

impl From<PackError> for Trouble {
    fn from(error: PackError) -> Self {
        let refusal = match error {
            PackError::Full(text) => Refusal::new(FailCode::Refused, text),
            PackError::Io { .. } | PackError::Damaged { .. } => Refusal::fault("keep or read a pack", error),
        };
        refusal.into()
    }
}

impl From<AccountError> for Refusal {
    fn from(error: AccountError) -> Self {
        let code = match error {
            AccountError::UsedUp { .. } => FailCode::UsedUp,
            AccountError::Held { .. } => FailCode::Busy,
            AccountError::Clear
            | AccountError::Elsewhere { .. }
            | AccountError::Full { .. }
            | AccountError::Beyond { .. } => FailCode::Refused,
            AccountError::Io { dataset, why } => {
                return Self::fault(&format!("count the answers about `{dataset}`"), why);
            }
        };
        Self::new(code, error.to_string())
    }
}

impl From<AccountError> for Trouble {
    fn from(error: AccountError) -> Self {
        Refusal::from(error).into()
    }
}

impl From<ProtocolError> for Refusal {
    fn from(error: ProtocolError) -> Self {
        Self::new(FailCode::Internal, error.to_string())
    }
}

impl From<ProtocolError> for Trouble {
    fn from(error: ProtocolError) -> Self {
        Refusal::from(error).into()
    }
}

impl From<NameError> for Refusal {
    fn from(error: NameError) -> Self {
        let code = match error {
            NameError::Taken | NameError::Time { .. } | NameError::Forgotten { .. } => FailCode::Refused,
            NameError::Full { .. } => FailCode::Busy,
            NameError::Io(error) => return Self::fault("write the job down", error),
        };
        Self::new(code, error.to_string())
    }
}

impl From<NameError> for Trouble {
    fn from(error: NameError) -> Self {
        Refusal::from(error).into()
    }
}

/// Trouble with the lane that carries the request itself.
pub(super) fn own(error: LaneError) -> Trouble {
    Trouble::Lane(error)
}

/// Trouble with another seat, reported to whoever asked. That the other one does not know the asker's session, or what it pays with,
/// is for the asker to put right.
pub(super) fn peer(error: LaneError) -> Trouble {
    let code = match error.fail().map(|fail| fail.code) {
        Some(code @ (FailCode::Unpaid | FailCode::Unpresented | FailCode::UsedUp)) => code,
        _ => FailCode::Peer,
    };
    Refusal { log: Some(error.to_string()), ..Refusal::new(code, error.told()) }.into()
}

/// The operating system gives no random bytes.
pub(super) fn no_random(error: getrandom::Error) -> Refusal {
    Refusal::fault("draw random bytes", error)
}

/// A request that failed, with the lane it came on (if that still exists).
pub(super) struct Ended {
    pub(super) lane: Option<Lane>,
    pub(super) trouble: Trouble,
}

impl Ended {
    pub(super) fn new(lane: Option<Lane>, trouble: impl Into<Trouble>) -> Box<Self> {
        Box::new(Self { lane, trouble: trouble.into() })
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::{Path, PathBuf};

    use sahara_circuits::bytes::DecodeError;

    use super::*;
    use crate::channel::ChannelError;

    /// What an operating system might say, with a path as some of its errors have.
    fn os_error() -> io::Error {
        io::Error::other("/srv/node/key: Permission denied (os error 13)")
    }

    fn path() -> PathBuf {
        Path::new("/srv/node/sharings/file").into()
    }

    fn refusal(trouble: Trouble) -> Refusal {
        match trouble {
            Trouble::Refusal(refusal) => refusal,
            Trouble::Lane(error) => Refusal::new(FailCode::Refused, error.told()),
        }
    }

    #[test]
    fn nobody_is_told_of_files_and_of_what_the_operating_system_says() {
        let damaged = || DecodeError::Truncated { what: "part", at: 0 };
        let channel = |source| LaneError::Channel { who: "node 2".into(), step: "in a step".into(), source };
        let connect = || LaneError::Connect { who: "node 2".into(), source: os_error() };
        let faults: Vec<Trouble> = vec![
            ModelError::Io { action: "open", path: path(), source: os_error() }.into(),
            ModelError::Damaged { path: path(), source: damaged() }.into(),
            PackError::Io { action: "open", path: path(), source: os_error() }.into(),
            PackError::Damaged { path: path(), source: damaged() }.into(),
            Refusal::fault("write the job down", os_error()).into(),
            peer(connect()),
            peer(channel(ChannelError::Io(os_error()))),
        ];
        for trouble in faults {
            let refusal = refusal(trouble);
            assert!(!refusal.text.contains("/srv") && !refusal.text.contains("os error"), "{}", refusal.text);
            assert!(refusal.why().contains("/srv"), "the log has it: {}", refusal.why());
        }
        for lost in [connect(), channel(ChannelError::Io(os_error()))] {
            let told = refusal(own(lost)).text;
            assert!(told.contains("node 2") && !told.contains("/srv") && !told.contains("os error"), "{told}");
        }
        let other = channel(ChannelError::Closed);
        assert_eq!(other.told(), other.to_string(), "what is no system's error is told as it is");
    }

    #[test]
    fn what_a_protocol_cannot_do_with_a_model_is_refused_and_no_fault() {
        let refusal = Refusal::from(ModelError::Protocol(ProtocolError::WeightLength));
        assert_eq!((refusal.code, refusal.why()), (FailCode::Refused, "as told"));
    }
}
