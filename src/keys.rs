//! The keys of whoever uses this machine: one to share models with (`owner.key`), one to ask with (`consumer.key`).
//!
//! They are two, so that nodes and other consumers do not learn from a question whose models somebody owns. Both are
//! made when first needed and never leave the home.

use std::fs::File;
use std::path::PathBuf;

use sahara_mpc::client::{Client, ClientOptions, Committee, Stop};
use sahara_mpc::identity::{self, Identity};

use crate::error::{Error, Result};
use crate::home::{Home, create_private_dir, turn};
use crate::network::devnet_committee;
use crate::progress::Progress;

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Sharing models, and taking them back.
    Owner,
    /// Asking.
    Consumer,
}

/// Where a key is kept.
pub fn path(home: &Home, role: Role) -> PathBuf {
    home.path().join(match role {
        Role::Owner => "owner.key",
        Role::Consumer => "consumer.key",
    })
}

/// A key of this home, made if there is none yet.
///
/// # Errors
/// When its file cannot be read or written.
pub fn load(home: &Home, role: Role) -> Result<Identity> {
    create_private_dir(home.path())?;
    let path = path(home, role);
    identity::load_or_generate(&path).map_err(|source| Error::Key { path, source })
}

/// A key of this home if there is one; none is made.
///
/// # Errors
/// When its file cannot be read.
pub fn existing(home: &Home, role: Role) -> Result<Option<Identity>> {
    let path = path(home, role);
    if !path.exists() {
        return Ok(None);
    }
    let identity = identity::load(&path);
    identity.map(Some).map_err(|source| Error::Key { path, source })
}

/// A connection to a committee with a key of this home.
///
/// # Errors
/// When the key's file cannot be read or written.
pub fn client(home: &Home, role: Role, committee: Committee) -> Result<Client> {
    let local = Committee::load(&devnet_committee(home)).is_ok_and(|local| local == committee);
    Ok(Client::new(load(home, role)?, committee, ClientOptions::default()).local(local))
}

/// The turn to share models of this home's owner, until it is dropped: of two processes that shared the same model at
/// once, the nodes would refuse one, because versions only grow.
///
/// # Errors
/// When the lock's file cannot be made, and when `stop` is set meanwhile.
pub fn turn_to_share(home: &Home, stop: &Stop, progress: &Progress) -> Result<File> {
    create_private_dir(home.path())?;
    let mut told = false;
    turn(&home.path().join("owner.lock"), || {
        if !std::mem::replace(&mut told, true) {
            progress.step("waiting for another sahara that is sharing a model");
        }
        stop.check().map_err(|_| Error::Stopped)
    })
}
