//! The homes of the three nodes: configuration, key and committee, made once and kept.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use sahara_mpc::client::{Client, ClientOptions, Committee, Member};
use sahara_mpc::config::{self, Config, Parties};
use sahara_mpc::identity;
use sahara_mpc::tls::Admission;

use crate::error::{Blame, Error, Result};
use sahara::home::create_private_dir;

/// Makes the nodes' homes and the committee file, for these addresses (of the node, of its metrics). They serve the
/// `own` keys of the local user and whoever is listed already. Keys and configurations that are there and fit are kept.
pub fn write_homes(folder: &Path, addresses: &[(SocketAddr, SocketAddr); 3], own: &Parties) -> Result<()> {
    let mut members = Vec::with_capacity(3);
    for (index, (listen, metrics)) in addresses.iter().enumerate() {
        let home = folder.join(format!("node-{}", index + 1));
        create_private_dir(&home)?;
        let config = node_config(&home, *listen, *metrics, own)?;
        let key = identity::load(&config.key).map_err(|e| broken(&home, e))?.public();
        members.push(Member { name: format!("node {}", index + 1), address: listen.to_string(), key });
    }
    let members: [Member; 3] = members.try_into().map_err(|_| Error::fault("a committee has three nodes"))?;
    let committee = Committee::new(members).map_err(|e| Error::fault(format!("making the local committee: {e}")))?;
    for index in 1..=3 {
        save(&committee, &folder.join(format!("node-{index}")).join("committee.toml"))?;
    }
    save(&committee, &folder.join("committee.toml"))
}

fn node_config(home: &Path, listen: SocketAddr, metrics: SocketAddr, own: &Parties) -> Result<Config> {
    let file = home.join(config::FILE);
    let mut parties = own.clone();
    if file.exists() {
        if let Ok(config) = Config::load(home) {
            parties.owners = joined(&own.owners, &config.owners);
            parties.consumers = joined(&own.consumers, &config.consumers);
            let serves = parties.owners == config.owners && parties.consumers == config.consumers;
            if serves && config.listen == listen && config.metrics == Some(metrics) {
                return Ok(config);
            }
        }
        // Other ports, other keys, or an older format: the file was made by this program and can be made again.
        fs::remove_file(&file).map_err(|e| Error::io("replacing", &file, e))?;
    }
    Config::init(home, listen, Some(metrics), &parties).map_err(|e| broken(home, e))
}

fn joined(a: &Admission, b: &Admission) -> Admission {
    match (a, b) {
        (Admission::Only(a), Admission::Only(b)) => Admission::Only(a.union(b).copied().collect()),
        _ => Admission::Any,
    }
}

fn broken(home: &Path, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::wrap(&format!("setting up {}", home.display()), Blame::User, error)
}

fn save(committee: &Committee, path: &Path) -> Result<()> {
    committee.save(path).map_err(|e| Error::wrap("writing the committee", Blame::Fault, e))
}

/// A client of the local network that only asks for status, as the operator that whoever runs it is.
pub fn client(folder: &Path, committee: Committee) -> Result<Client> {
    let key = folder.join("node-1").join("key");
    let identity =
        identity::load(&key).map_err(|e| Error::wrap(&format!("reading the key {}", key.display()), Blame::User, e))?;
    Ok(Client::new(identity, committee, ClientOptions::default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sahara_mpc::identity::PublicKey;

    fn addresses(port: u16) -> [(SocketAddr, SocketAddr); 3] {
        [0, 1, 2].map(|n| (([127, 0, 0, 1], port + n).into(), ([127, 0, 0, 1], port + 5 + n).into()))
    }

    #[test]
    fn homes_are_made_once_and_follow_the_ports() {
        let dir = tempfile::tempdir().unwrap();
        let key = |n: u8| Admission::Only([PublicKey([n; 32])].into());
        let own = Parties { owners: key(1), consumers: key(2) };
        write_homes(dir.path(), &addresses(7700), &own).unwrap();
        let first = Committee::load(&dir.path().join("committee.toml")).unwrap();
        write_homes(dir.path(), &addresses(7700), &own).unwrap();
        assert_eq!(Committee::load(&dir.path().join("node-2/committee.toml")).unwrap(), first);
        let other = Parties { owners: key(1), consumers: key(3) };
        write_homes(dir.path(), &addresses(9000), &other).unwrap();
        let moved = Committee::load(&dir.path().join("node-3/committee.toml")).unwrap();
        assert_eq!(moved.members()[2].address, "127.0.0.1:9002");
        assert_eq!(moved.digest(), first.digest(), "the keys stay");
        let config = Config::load(&dir.path().join("node-1")).unwrap();
        assert_eq!((config.listen.port(), config.owners), (9000, key(1)));
        assert_eq!(config.consumers, joined(&key(2), &key(3)), "who was served before still is");
    }
}
