//! Errors of the nodes in words for whoever asked: what to do differs between this machine's own network, which whoever
//! asks can start, and a committee, whose operators are to be asked.

use sahara_mpc::client::{Client, ClientError};
use sahara_mpc::wire::FailCode;

use crate::error::{Blame, Error};

/// An error of asking for somebody's model, in words for whoever asked.
pub fn find_error(client: &Client, error: ClientError) -> Error {
    network_error(client, "asking the nodes for the model", error)
}

/// An error of the nodes in words for whoever asked.
pub(super) fn network_error(client: &Client, doing: &str, error: ClientError) -> Error {
    if matches!(error, ClientError::Stopped) {
        return Error::stopped();
    }
    if matches!(error, ClientError::NoProtocol(_)) {
        return Error::user(format!("{doing}: {error}"));
    }
    if error.is_not_admitted() {
        return Error::unreachable(format!(
            "{doing}: {error}: its operator must add your key to the list `consumers` in its node.toml: {}",
            client.key()
        ));
    }
    if let Some(advice) = advice(client, &error) {
        return Error::unreachable(format!("{doing}: {error}: {advice}"));
    }
    // What a node cannot do now it can do later.
    let later = matches!(error.code(), Some(FailCode::Busy | FailCode::Stopping));
    Error::wrap(doing, if later { Blame::Unreachable } else { Blame::Fault }, error)
}

/// What to do where a node is not reached as the node of the committee file; none if it is.
fn advice(client: &Client, error: &ClientError) -> Option<String> {
    if error.is_unreachable() {
        return Some(match client.is_local() {
            true => "is the network up? See `sahara devnet status`, or start it with `sahara devnet up`".into(),
            false => "ask its operator whether it runs and is reached at this address (`sahara operator doctor` there \
                      says why not)"
                .into(),
        });
    }
    let said = if error.is_other_committee() {
        "get the current committee file from the operators"
    } else if error.is_wrong_key() {
        "send it nothing; ask the operators by telephone for the current committee file"
    } else {
        return None;
    };
    let fingerprint = client.committee().fingerprint();
    Some(format!("{said}, and compare fingerprints (`sahara operator show`): yours has {fingerprint}"))
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
        let said = network_error(&client, "asking", away());
        assert_eq!(said.exit_code(), 2);
        assert!(said.report().contains("node 2 `n2`") && said.report().contains("ask its operator"), "{said}");
        assert!(!said.report().contains("devnet"), "{said}");
        let error = away();
        let client = client.local(true);
        let said = network_error(&client, "asking", error);
        assert!(said.report().contains("sahara devnet up") && !said.report().contains("operator"), "{said}");
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
            let said = network_error(&client, "asking", answer.unwrap_err());
            assert_eq!(said.exit_code(), 2, "{said}");
            let report = said.report();
            assert!(report.contains(&two.fingerprint()) && report.contains("no helper"), "{report}");
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
            let said = network_error(&client, "asking", error.into());
            assert_eq!(said.exit_code(), 2, "{said}");
            assert!(said.report().contains(&client.committee().fingerprint()), "{said}");
        }
        let broken = ChannelError::Io(io::Error::other("strange"));
        let broken = LaneError::Channel { who: who(), step: "later".into(), source: broken };
        assert_eq!(network_error(&client, "asking", broken.into()).exit_code(), 1, "a fault stays one");
    }
}
