//! Why the share nodes do not answer, in words for whoever asked: what to do differs between this machine's own network,
//! which whoever asks can start, and a committee, whose operators are to be asked.

use std::path::PathBuf;

use sahara_mpc::client::{Client, ClientError, SharingName, SharingRef, Visibility};
use sahara_mpc::committee::CommitteeError;
use sahara_mpc::identity::PublicKey;
use sahara_mpc::wire::FailCode;

use crate::error::{Error, ErrorKind};

/// Why the share nodes do not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// No committee was named, and there is no network on this machine.
    #[error("no network is up, and no committee file was named")]
    NoCommittee {
        /// Where the local network would have left its committee file.
        local: PathBuf,
    },
    /// A committee file cannot be used.
    #[error("reading the committee: {0}")]
    Committee(#[source] CommitteeError),
    /// A node is not reached.
    #[error("{doing}: {source}")]
    Unreachable {
        /// What was being done.
        doing: String,
        /// Whether it is a node of this machine's own network.
        local: bool,
        /// The cause.
        source: ClientError,
    },
    /// A node does not let the key in.
    #[error("{doing}: {source}: its operator must add your key to the list `{list}` in its node.toml: {key}")]
    NotAdmitted {
        /// What was being done.
        doing: String,
        /// The list that lets a key do that.
        list: &'static str,
        /// The key.
        key: PublicKey,
        /// The cause.
        source: ClientError,
    },
    /// A node has another committee file.
    #[error(
        "{doing}: {source}: get the current committee file from the operators, and compare fingerprints: yours has {fingerprint}"
    )]
    OtherCommittee {
        /// What was being done.
        doing: String,
        /// Fingerprint of the committee file that was used.
        fingerprint: String,
        /// The cause.
        source: ClientError,
    },
    /// Whoever answers at a node's address is not that node.
    #[error(
        "{doing}: {source}: send it nothing; ask the operators by telephone for the current committee file, and compare fingerprints: yours has {fingerprint}"
    )]
    WrongKey {
        /// What was being done.
        doing: String,
        /// Fingerprint of the committee file that was used.
        fingerprint: String,
        /// The cause.
        source: ClientError,
    },
    /// No protocol answers on a committee of this kind.
    #[error("{doing}: {source}")]
    NoProtocol {
        /// What was being done.
        doing: String,
        /// The cause.
        source: ClientError,
    },
    /// A node has too much to do, or is stopping.
    #[error("{doing}: {source}")]
    Busy {
        /// What was being done.
        doing: String,
        /// The cause.
        source: ClientError,
    },
    /// The model is asked for money, and it was not paid.
    #[error("{doing}: {source}")]
    Unpaid {
        /// What was being done.
        doing: String,
        /// The cause.
        source: ClientError,
    },
    /// An answer was to cost no more ε than so much, and would leave without noise.
    #[error("an answer of this model leaves without noise: no ε bounds what it tells of the data behind the model")]
    NoNoise,
    /// An answer costs more ε than whoever asks accepts.
    #[error(
        "an answer costs ε = {cost:.4} at δ = {delta:e} of the privacy budget of the data, more than the {most} that is accepted"
    )]
    CostsMore {
        /// ε of an answer.
        cost: f64,
        /// What is accepted.
        most: f64,
        /// δ of both.
        delta: f64,
    },
    /// The privacy budget of the data behind a model does not suffice for another answer.
    #[error("{doing}: {source}")]
    UsedUp {
        /// What was being done.
        doing: String,
        /// The cause.
        source: ClientError,
    },
    /// The privacy budget of the data behind a model does not suffice for all of many answers: none was asked for.
    #[error(
        "{texts} texts are too many for the privacy budget of the data, which suffices for {answers} more (ε = {spent:.4} of \
         {budget} at δ = {delta:e} is spent)"
    )]
    TooFew {
        /// How many texts were to be answered.
        texts: usize,
        /// For how many the budget suffices.
        answers: u64,
        /// ε of what is spent.
        spent: f64,
        /// ε of the budget.
        budget: f64,
        /// δ of both.
        delta: f64,
    },
    /// A model whose answers are a vote was to be shared without noise, or another one with it.
    #[error("{0}")]
    Noise(&'static str),
    /// What was said of a privacy budget is none.
    #[error("the privacy budget: {0}")]
    Budget(String),
    /// A node refuses what the owner of a model asks.
    #[error("{doing}: {source}")]
    Refused {
        /// What was being done.
        doing: String,
        /// The cause.
        source: ClientError,
    },
    /// A node fails, or answers what makes no sense.
    #[error("{doing}: {source}")]
    Node {
        /// What was being done.
        doing: String,
        /// The cause.
        source: ClientError,
    },
    /// A node takes no more jobs.
    #[error("{0} is shutting down")]
    Stopping(String),
    /// The owner of a model has chosen otherwise whether the nodes know its weights.
    #[error("the owner of {which} shares it with {} weights", if *.chosen == Visibility::Open { "open" } else { "private" })]
    Weights {
        /// The sharing.
        which: SharingRef,
        /// The owner's choice.
        chosen: Visibility,
    },
    /// The model has another version than the one that was asked.
    #[error("the owner has shared another version of {0} meanwhile: ask again")]
    Changed(SharingRef),
    /// A model of one's own is not on the nodes any more.
    #[error("{0} is not on the nodes any more, or no longer for your own key")]
    Gone(SharingName),
    /// There is no such sharing for this key.
    #[error(
        "the nodes have no {which} for your key: its owner has to share it with this committee and put your key on its list: {key}"
    )]
    NotForKey {
        /// The sharing.
        which: SharingRef,
        /// The key.
        key: PublicKey,
    },
    /// A node says that a model of one's own was taken back, others still have it.
    #[error("this model was taken back, says a node, and node {} still has it", list(.still))]
    TakenBack {
        /// The nodes that still have it, by number.
        still: Vec<u8>,
    },
}

impl NetworkError {
    /// Who can put it right.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NoCommittee { .. }
            | Self::Committee(_)
            | Self::NoProtocol { .. }
            | Self::Refused { .. }
            | Self::Weights { .. }
            | Self::NoNoise
            | Self::CostsMore { .. }
            | Self::UsedUp { .. }
            | Self::TooFew { .. }
            | Self::Noise(_)
            | Self::Budget(_)
            | Self::TakenBack { .. } => ErrorKind::Input,
            Self::Unreachable { .. }
            | Self::NotAdmitted { .. }
            | Self::OtherCommittee { .. }
            | Self::WrongKey { .. }
            | Self::Busy { .. } => ErrorKind::Unreachable,
            Self::Gone(_) | Self::NotForKey { .. } => ErrorKind::Missing,
            Self::Changed(_) => ErrorKind::Changed,
            Self::Unpaid { .. } => ErrorKind::Unpaid,
            Self::Node { .. } | Self::Stopping(_) => ErrorKind::Fault,
        }
    }
}

fn list(nodes: &[u8]) -> String {
    nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
}

/// An error of asking for somebody's model.
pub(crate) fn find_error(client: &Client, error: ClientError) -> Error {
    consumers_error(client, "asking the nodes for the model", error)
}

/// There is no such sharing for the key of `consumer`.
pub(crate) fn not_for_us(which: &SharingRef, consumer: &Client) -> Error {
    NetworkError::NotForKey { which: which.clone(), key: consumer.key() }.into()
}

/// An error of the nodes, of whoever asks.
pub(super) fn consumers_error(client: &Client, doing: &str, error: ClientError) -> Error {
    network_error(client, "consumers", doing, error)
}

/// An error of the nodes, of whoever owns a model: what a node refuses is for a person to settle.
pub(super) fn owners_error(owner: &Client, doing: &str, error: ClientError) -> Error {
    match error.code() {
        Some(FailCode::Refused) if !error.is_other_committee() => {
            NetworkError::Refused { doing: doing.to_owned(), source: error }.into()
        }
        _ => network_error(owner, "owners", doing, error),
    }
}

fn network_error(client: &Client, list: &'static str, doing: &str, source: ClientError) -> Error {
    let doing = doing.to_owned();
    let fingerprint = || client.committee().fingerprint();
    let error = match &source {
        ClientError::Stopped => return Error::Stopped,
        ClientError::NoProtocol(_) => NetworkError::NoProtocol { doing, source },
        error if error.is_not_admitted() => NetworkError::NotAdmitted { doing, list, key: client.key(), source },
        error if error.is_unreachable() => NetworkError::Unreachable { doing, local: client.is_local(), source },
        error if error.is_other_committee() => {
            NetworkError::OtherCommittee { doing, fingerprint: fingerprint(), source }
        }
        error if error.is_wrong_key() => NetworkError::WrongKey { doing, fingerprint: fingerprint(), source },
        // What a node cannot do now it can do later.
        error if matches!(error.code(), Some(FailCode::Busy | FailCode::Stopping)) => {
            NetworkError::Busy { doing, source }
        }
        error if error.code() == Some(FailCode::UsedUp) => NetworkError::UsedUp { doing, source },
        error if matches!(error.code(), Some(FailCode::Unpaid | FailCode::Unpresented)) => {
            NetworkError::Unpaid { doing, source }
        }
        _ => NetworkError::Node { doing, source },
    };
    error.into()
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::net::TcpListener;

    use sahara_mpc::client::{ClientOptions, Committee, Member};
    use sahara_mpc::identity;

    use super::*;

    /// A client of three nodes of which none runs.
    fn client() -> Client {
        let member = |n: u8| {
            let closed = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).unwrap();
            Member { name: format!("n{n}"), address: closed.to_string(), key: identity::generate().unwrap().public() }
        };
        let committee = Committee::new([1, 2, 3].map(member)).unwrap();
        Client::new(identity::generate().unwrap(), committee, ClientOptions::default())
    }

    #[test]
    fn a_node_of_a_committee_is_its_operators_to_start_and_one_of_the_devnet_ones_own() {
        let client = client();
        let away = || client.node_status(1).unwrap_err();
        let reached = |error: &Error| match error {
            Error::Network(error) => match **error {
                NetworkError::Unreachable { local, .. } => Some(local),
                _ => None,
            },
            _ => None,
        };
        let said = consumers_error(&client, "asking", away());
        assert_eq!((said.kind(), reached(&said)), (ErrorKind::Unreachable, Some(false)), "{said}");
        assert!(said.to_string().contains("node 2 `n2`"), "{said}");
        let error = away();
        let client = client.local(true);
        assert_eq!(reached(&consumers_error(&client, "asking", error)), Some(true));
    }

    #[test]
    fn a_committee_of_two_is_named_and_no_node_of_it_is_asked() {
        let member = |n: u8| Member {
            name: format!("n{n}"),
            address: "127.0.0.1:1".into(),
            key: identity::generate().unwrap().public(),
        };
        let two = Committee::two([member(1), Member { address: "127.0.0.1:2".into(), ..member(2) }]).unwrap();
        let client = Client::new(identity::generate().unwrap(), two.clone(), ClientOptions::default());
        let answers = client.status();
        assert_eq!(answers.len(), 2);
        for answer in answers {
            let said = consumers_error(&client, "asking", answer.unwrap_err());
            assert_eq!(said.kind(), ErrorKind::Input, "{said}");
            let text = said.to_string();
            assert!(text.contains(&two.fingerprint()) && text.contains("no helper"), "{text}");
        }
        assert!(client.node_status(2).is_err(), "nor is there a third");
    }

    #[test]
    fn another_committee_and_another_key_are_the_persons_to_settle() {
        use sahara_mpc::channel::ChannelError;
        use sahara_mpc::lane::LaneError;
        use sahara_mpc::wire::Fail;
        let client = client();
        let who = || "node 2".to_owned();
        let text = "the committee files of both sides differ (compare the three keys and their order)".into();
        let other = LaneError::Failed { who: who(), fail: Fail { code: FailCode::Refused, text } };
        let key = LaneError::Channel { who: who(), step: "in the handshake".into(), source: ChannelError::WrongKey };
        for error in [other, key] {
            let said = consumers_error(&client, "asking", error.into());
            assert_eq!(said.kind(), ErrorKind::Unreachable, "{said}");
            assert!(said.to_string().contains(&client.committee().fingerprint()), "{said}");
        }
        let broken = ChannelError::Io(io::Error::other("strange"));
        let broken = LaneError::Channel { who: who(), step: "later".into(), source: broken };
        assert_eq!(consumers_error(&client, "asking", broken.into()).kind(), ErrorKind::Fault, "a fault stays one");
    }
}
