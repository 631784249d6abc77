//! Who operates the nodes that read a consumer's questions, as far as two of three do it together: who of them is not independent of
//! the asset, and which sets of three the owner of this home has accepted.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::PathBuf;

use alloy_primitives::{Address, B256};
use sahara_market::abi::{AssetRegistry, OwnershipReceipts};
use sahara_market::{ASSET_REGISTRY, Committee, OWNERSHIP_RECEIPTS};
use sahara_mpc::durable;

use super::content::registration;
use super::{account, proven};
use crate::chain_client::Chain;
use crate::error::{Error, Result};
use sahara::home::{Home, create_private_dir, turn, write_atomic};

/// Longest file of accepted operators.
const MAX_FILE: u64 = 1 << 20;
/// First line of that file.
const HEAD: &str = "sahara-operators = 1";

/// Whose asset it is, proven: its name is a hash of who registered it, whose heir is a word of the chain.
///
/// # Errors
/// When no node answers, what it says is not the asset's, or nothing is proven.
pub fn owner(chain: &Chain, asset: B256) -> Result<Address> {
    proven::heir(chain.light()?, registration(chain, asset)?.0)
}

/// Who lives by an asset, and as what: its owner (proven), whoever contributed, the owners of what it descends from, and who stands
/// for them (as all nodes of the chain that answer say alike).
///
/// # Errors
/// When the chain's nodes do not say, or contradict each other.
pub fn insiders(chain: &Chain, asset: B256) -> Result<BTreeMap<Address, &'static str>> {
    let doing = "asking who is paid for the asset";
    let owner = owner(chain, asset)?;
    let owner_of = |asset| chain.call_alike(doing, ASSET_REGISTRY, &AssetRegistry::ownerOfCall { asset }, 1);
    let contributors = OwnershipReceipts::contributorsOfCall { asset };
    let paid = chain.call_alike(doing, OWNERSHIP_RECEIPTS, &contributors, 1)?;
    let lineage = chain.call_alike(doing, ASSET_REGISTRY, &AssetRegistry::ancestorsCall { asset }, 1)?;
    let mut payees: BTreeSet<Address> = paid.contributors.into_iter().collect();
    for ancestor in lineage.assets {
        payees.insert(owner_of(ancestor)?);
    }
    let heir = |account| chain.call_alike(doing, OWNERSHIP_RECEIPTS, &OwnershipReceipts::heirOfCall { account }, 1);
    let mut all = BTreeMap::new();
    for account in payees {
        all.insert(heir(account)?, "paid for the asset");
        all.insert(account, "paid for the asset");
    }
    all.insert(owner, "the asset's owner");
    Ok(all)
}

/// Why nobody should ask a committee unless it was named: its owner operates a node, or two are operated by who lives by the asset.
pub fn not_independent(operators: &[Address; 3], insiders: &BTreeMap<Address, &'static str>) -> Option<String> {
    let found: Vec<_> = operators.iter().filter_map(|operator| Some((operator, *insiders.get(operator)?))).collect();
    let owns = found.iter().any(|(_, what)| *what == "the asset's owner");
    (owns || found.len() >= 2).then(|| {
        let told: Vec<String> = found.iter().map(|(operator, what)| format!("{operator} is {what}")).collect();
        format!("{}: whoever has two of the three nodes reads what you ask", told.join(", "))
    })
}

/// Sets of operators that the owner of a home lets read what it asks of an asset.
#[derive(Debug)]
pub struct Accepted {
    path: PathBuf,
    sets: BTreeSet<(B256, [Address; 3])>,
}

impl Accepted {
    /// Those of a home.
    ///
    /// # Errors
    /// When their file cannot be read, or is none.
    pub fn load(home: &Home) -> Result<Self> {
        Self::read_from(account::folder(home).join("operators"))
    }

    fn read_from(path: PathBuf) -> Result<Self> {
        let mut sets = BTreeSet::new();
        let file = match std::fs::File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Self { path, sets }),
            Err(e) => return Err(Error::io("reading", &path, e)),
        };
        let mut text = String::new();
        file.take(MAX_FILE + 1).read_to_string(&mut text).map_err(|e| Error::io("reading", &path, e))?;
        let wrong = |line: usize| {
            Error::user(format!(
                "{}: line {line} is no asset with three operators: remove the file, and accept them again with `sahara \
                 session allow SESSION --operators`",
                path.display()
            ))
        };
        let mut lines = text.lines().enumerate();
        if lines.next().is_none_or(|(_, head)| head != HEAD) || text.len() as u64 > MAX_FILE {
            return Err(wrong(1));
        }
        for (number, line) in lines {
            let words: Vec<&str> = line.split(' ').collect();
            let set = match words[..] {
                [asset, a, b, c] => read(asset, [a, b, c]),
                _ => None,
            };
            sets.insert(set.ok_or_else(|| wrong(number + 1))?);
        }
        Ok(Self { path, sets })
    }

    /// Whether this committee's operators were accepted for its asset, in whatever order.
    pub fn has(&self, committee: &Committee) -> bool {
        self.sets.contains(&set(committee))
    }

    /// Whether any were accepted for an asset.
    pub fn knows(&self, asset: B256) -> bool {
        self.sets.iter().any(|(of, _)| *of == asset)
    }

    /// Accepts the operators of a committee for its asset; on disk when this returns.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn accept(&mut self, committee: &Committee) -> Result<()> {
        let folder = durable::folder(&self.path);
        create_private_dir(folder)?;
        // Another process may accept others at the same time.
        let _turn = turn(&folder.join("operators.lock"), || Ok(()))?;
        self.sets = Self::read_from(self.path.clone())?.sets;
        if !self.sets.insert(set(committee)) {
            return Ok(());
        }
        let lines = self.sets.iter().map(|(asset, [a, b, c])| format!("{asset} {a} {b} {c}\n"));
        let text = format!("{HEAD}\n{}", lines.collect::<String>());
        Ok(write_atomic(&self.path, text.as_bytes())?)
    }
}

/// Operators of a committee, for people.
pub fn named(operators: &[Address; 3]) -> String {
    let [a, b, c] = operators;
    format!("{a}, {b} and {c}")
}

fn set(committee: &Committee) -> (B256, [Address; 3]) {
    let mut operators = committee.operators;
    operators.sort_unstable();
    (committee.asset, operators)
}

fn read(asset: &str, operators: [&str; 3]) -> Option<(B256, [Address; 3])> {
    let [a, b, c] = operators.map(|operator| operator.parse::<Address>().ok());
    let mut operators = [a?, b?, c?];
    operators.sort_unstable();
    Some((asset.parse().ok()?, operators))
}

#[cfg(test)]
mod tests {
    use super::super::bill::tests::committee;
    use super::*;

    #[test]
    fn operators_are_accepted_as_a_set_for_one_asset_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::locate(Some(dir.path().to_owned())).unwrap();
        let mut accepted = Accepted::load(&home).unwrap();
        assert!(!accepted.knows(committee().asset) && !accepted.has(&committee()));
        accepted.accept(&committee()).unwrap();
        accepted.accept(&committee()).unwrap();
        let again = Accepted::load(&home).unwrap();
        let [a, b, c] = committee().operators;
        let turned = Committee { operators: [c, a, b], ..committee() };
        assert!(again.knows(committee().asset) && again.has(&turned), "whichever role they have");
        assert!(!again.has(&Committee { operators: [a, b, Address::repeat_byte(9)], ..committee() }));
        assert!(!again.has(&Committee { asset: B256::ZERO, ..committee() }) && !again.knows(B256::ZERO));
        let path = account::folder(&home).join("operators");
        for wrong in ["", "x", &format!("{HEAD}\n0x1 a b c\n"), &format!("{HEAD}\n{} {a} {b}\n", committee().asset)] {
            std::fs::write(&path, wrong).unwrap();
            assert_eq!(Accepted::load(&home).unwrap_err().exit_code(), 2, "{wrong}");
        }
    }

    #[test]
    fn many_that_accept_at_once_lose_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::locate(Some(dir.path().to_owned())).unwrap();
        let of = |n: u8| Committee { asset: B256::repeat_byte(n), ..committee() };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (1..=8u8)
                .map(|n| {
                    let mut accepted = Accepted::load(&home).unwrap();
                    scope.spawn(move || accepted.accept(&of(n)).unwrap())
                })
                .collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        });
        let accepted = Accepted::load(&home).unwrap();
        assert!((1..=8).all(|n| accepted.has(&of(n))));
    }

    #[test]
    fn a_committee_is_not_independent_with_its_owner_or_with_two_who_are_paid() {
        let [owner, heir, payee, a, b, c] = [1, 2, 3, 11, 12, 13].map(Address::repeat_byte);
        let insiders =
            BTreeMap::from([(owner, "the asset's owner"), (heir, "paid for the asset"), (payee, "paid for the asset")]);
        assert_eq!(not_independent(&[a, b, c], &insiders), None);
        assert_eq!(not_independent(&[a, payee, c], &insiders), None);
        assert_eq!(not_independent(&[heir, b, c], &insiders), None);
        assert!(not_independent(&[heir, b, payee], &insiders).unwrap().contains("paid for the asset"));
        assert!(not_independent(&[a, owner, c], &insiders).is_some());
    }
}
