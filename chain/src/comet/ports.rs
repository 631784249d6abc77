//! Ports on loopback that nobody else takes: a block of neighbours, reserved by listening on its first port.

use std::{
    net::{Ipv4Addr, TcpListener},
    path::Path,
};

use sha2::{Digest, Sha256};

use crate::node::NodeError;

/// Ports in a block: the reservation, and four for each validator.
const BLOCK: u16 = 64;
/// Below the range that systems give to outgoing connections, which would take one now and then.
const FIRST: u16 = 20_032;
const BLOCKS: u16 = 190;

/// The ports of one validator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// Between validators.
    pub p2p: u16,
    /// CometBFT's RPC.
    pub comet_rpc: u16,
    /// Between CometBFT and the ledger.
    pub abci: u16,
    /// Ethereum's JSON-RPC.
    pub rpc: u16,
}

/// A block of ports, reserved as long as this value lives: whoever looks for free ports meanwhile finds others.
#[derive(Debug)]
pub struct PortBlock {
    base: u16,
    _reservation: TcpListener,
}

impl PortBlock {
    /// Validators that a block has ports for.
    pub const VALIDATORS: usize = (BLOCK as usize - 1) / 4;

    /// Reserves a block of which every port is free. The search begins at a place that depends on `folder`, so that
    /// networks that do not run at the same time seldom share ports either.
    ///
    /// # Errors
    /// When no block of free ports is left.
    pub fn reserve(folder: &Path) -> Result<Self, NodeError> {
        let digest = Sha256::digest(folder.as_os_str().as_encoded_bytes());
        let begin = u16::from_be_bytes([digest[0], digest[1]]) % BLOCKS;
        (0..BLOCKS)
            .map(|i| FIRST + (begin + i) % BLOCKS * BLOCK)
            .find_map(|base| {
                let reservation = listen(base).ok()?;
                let free = (base + 1..base + BLOCK).all(|port| listen(port).is_ok());
                free.then_some(Self { base, _reservation: reservation })
            })
            .ok_or_else(|| {
                let last = FIRST + BLOCKS * BLOCK;
                NodeError::Setup(format!("no {BLOCK} free ports next to each other between {FIRST} and {last}"))
            })
    }

    /// The ports of validator `index`, which must be below [`Self::VALIDATORS`].
    pub fn of(&self, index: usize) -> Ports {
        let index = u16::try_from(index).unwrap_or(u16::MAX).min(BLOCK / 4 - 1);
        let first = self.base + 1 + 4 * index;
        Ports { p2p: first, comet_rpc: first + 1, abci: first + 2, rpc: first + 3 }
    }
}

/// Listens on loopback.
pub fn listen(port: u16) -> std::io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_nobody_elses_while_it_is_held() {
        let folder = Path::new("one");
        let first = PortBlock::reserve(folder).unwrap();
        let second = PortBlock::reserve(folder).unwrap();
        assert_ne!(first.base, second.base);
        let last = first.of(PortBlock::VALIDATORS - 1);
        assert!(last.rpc < first.base + BLOCK);
        assert_eq!(first.of(1).p2p, first.of(0).rpc + 1);
    }
}
