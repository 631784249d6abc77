//! Whom a node of the local user serves.

use crate::error::{Error, Result};
use sahara::home::Home;
use sahara::keys::{self, Role};
use sahara_mpc::config::Parties;
use sahara_mpc::tls::Admission;

/// Both keys of this home, as the owners and consumers that a node of the same person serves.
///
/// # Errors
/// When a key's file cannot be read or written.
pub fn parties(home: &Home) -> Result<Parties> {
    let only = |role| Ok::<_, Error>(Admission::Only([keys::load(home, role)?.public()].into()));
    Ok(Parties { owners: only(Role::Owner)?, consumers: only(Role::Consumer)? })
}
