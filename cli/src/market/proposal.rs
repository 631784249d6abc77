//! The file of a partnership: terms that an asset's owner signed for one holder, to be signed and made by that one.

use std::io::Read;
use std::path::Path;

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use sahara_market::abi::{Agreement, Terms};
use sahara_market::{Domain, LICENCES, Partnership};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Version of the file.
const VERSION: u32 = 1;
/// Longest file that is read.
const MAX_FILE: u64 = 512 << 10;
/// Longest document of terms, in bytes.
pub const MAX_DOCUMENT: usize = 64 << 10;
/// The kind of such terms.
const PARTNERSHIP: u8 = 3;

/// The file, JSON: amounts are text in the smallest unit, times seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proposal {
    /// Version of the file.
    sahara_partnership: u32,
    /// The chain (EIP-155).
    pub chain: u64,
    /// The contract of licences.
    licences: Address,
    /// The asset.
    pub asset: B256,
    /// Who may take it.
    pub holder: Address,
    nonce: U256,
    /// Until when.
    pub deadline: u64,
    terms: Written,
    /// The terms in words; the licence binds their hash.
    pub document: String,
    /// The owner's signature.
    owner_signature: Bytes,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    token: Address,
    price: String,
    royalty: String,
    compute: String,
    duration: u64,
    revenue_share: u16,
    transferable: bool,
}

impl Proposal {
    /// What is to be signed: terms (their `details` become the document's hash) of an asset for a holder.
    pub fn new(
        chain: u64,
        asset: B256,
        holder: Address,
        nonce: U256,
        deadline: u64,
        terms: &Terms,
        document: String,
    ) -> Self {
        let terms = Written {
            token: terms.token,
            price: terms.price.to_string(),
            royalty: terms.royalty.to_string(),
            compute: terms.compute.to_string(),
            duration: terms.duration,
            revenue_share: terms.revenueShare,
            transferable: terms.transferable,
        };
        Self {
            sahara_partnership: VERSION,
            chain,
            licences: LICENCES,
            asset,
            holder,
            nonce,
            deadline,
            terms,
            document,
            owner_signature: Bytes::new(),
        }
    }

    /// Reads the file.
    ///
    /// # Errors
    /// When it cannot be read, or is none.
    pub fn read(file: &Path) -> Result<Self> {
        let mut bytes = Vec::new();
        let opened = std::fs::File::open(file).map_err(|e| Error::io("reading", file, e))?;
        opened.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(|e| Error::io("reading", file, e))?;
        let none = |why: String| Error::user(format!("{} is no partnership's file: {why}", file.display()));
        if bytes.len() as u64 > MAX_FILE {
            return Err(none(format!("it is longer than {MAX_FILE} bytes")));
        }
        let proposal: Self = serde_json::from_slice(&bytes).map_err(|e| none(e.to_string()))?;
        if proposal.sahara_partnership != VERSION {
            return Err(none(format!("version {}, only {VERSION} is read", proposal.sahara_partnership)));
        }
        if proposal.licences != LICENCES {
            return Err(none(format!("its licences are those of the contract {}, not {LICENCES}", proposal.licences)));
        }
        if proposal.document.len() > MAX_DOCUMENT {
            return Err(none(format!("its document is longer than {MAX_DOCUMENT} bytes")));
        }
        proposal.terms().map_err(|error| none(error.report()))?;
        Ok(proposal)
    }

    /// The file's bytes, with the owner's signature.
    ///
    /// # Errors
    /// When it has no JSON.
    pub fn signed(mut self, signature: &[u8; 65]) -> Result<Vec<u8>> {
        self.owner_signature = Bytes::copy_from_slice(signature);
        let mut bytes =
            serde_json::to_vec_pretty(&self).map_err(|e| Error::fault_from("encoding the partnership", e))?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// The terms, which name the document by its hash.
    ///
    /// # Errors
    /// When an amount is none.
    pub fn terms(&self) -> Result<Terms> {
        let amount = |name: &str, text: &str| {
            text.parse::<u128>().map_err(|_| Error::user(format!("its {name} '{}' is no amount", text.escape_debug())))
        };
        Ok(Terms {
            kind: PARTNERSHIP,
            token: self.terms.token,
            price: amount("price", &self.terms.price)?,
            royalty: amount("royalty", &self.terms.royalty)?,
            compute: amount("compute", &self.terms.compute)?,
            duration: self.terms.duration,
            revenueShare: self.terms.revenue_share,
            transferable: self.terms.transferable,
            allowance: 0,
            details: keccak256(self.document.as_bytes()),
        })
    }

    /// What both sign.
    ///
    /// # Errors
    /// When an amount is none.
    pub fn digest(&self) -> Result<B256> {
        Ok(self.partnership()?.digest(&self.domain()))
    }

    /// Makes sure that the asset's owner signed exactly this.
    ///
    /// # Errors
    /// When somebody else did, or something of it was changed since.
    pub fn check(&self, owner: Address) -> Result<()> {
        let signer = self.partnership()?.signer(&self.domain(), &self.owner_signature);
        match signer {
            Ok(signer) if signer == owner => Ok(()),
            _ => Err(Error::user(format!(
                "{owner}, who owns the asset, did not sign this, or something of it was changed since: ask for another proposal"
            ))),
        }
    }

    /// What the contract is given, with the holder's signature.
    pub fn agreement(&self, holder_signature: &[u8; 65]) -> Agreement {
        Agreement {
            asset: self.asset,
            holder: self.holder,
            nonce: self.nonce,
            deadline: self.deadline,
            ownerSignature: self.owner_signature.clone(),
            holderSignature: Bytes::copy_from_slice(holder_signature),
        }
    }

    fn partnership(&self) -> Result<Partnership> {
        let terms = self.terms()?.hash(self.asset);
        Ok(Partnership { asset: self.asset, terms, holder: self.holder, nonce: self.nonce, deadline: self.deadline })
    }

    fn domain(&self) -> Domain {
        Domain { chain_id: self.chain, market: LICENCES }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wallet::Secret;

    fn terms() -> Terms {
        Terms {
            kind: PARTNERSHIP,
            token: Address::ZERO,
            price: 5,
            royalty: 6,
            compute: 7,
            duration: 8,
            revenueShare: 9,
            transferable: true,
            allowance: 0,
            details: B256::ZERO,
        }
    }

    #[test]
    fn whatever_is_changed_after_it_was_signed_is_noticed() {
        let secret = Secret::new(&[3; 32]).unwrap();
        let holder = Address::repeat_byte(2);
        let proposal =
            Proposal::new(1337, B256::repeat_byte(1), holder, U256::from(4), 99, &terms(), "both agree".to_owned());
        let digest = proposal.digest().unwrap();
        let signature = secret.wallet(1337).unwrap().sign_hash(digest).unwrap().as_bytes();
        let bytes = proposal.signed(&signature).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("p.json");
        let checked = |text: &str| {
            std::fs::write(&file, text).unwrap();
            Proposal::read(&file).and_then(|proposal| proposal.check(secret.address()))
        };
        let text = String::from_utf8(bytes).unwrap();
        checked(&text).unwrap();
        std::fs::write(&file, &text).unwrap();
        assert_eq!(Proposal::read(&file).unwrap().check(holder).unwrap_err().exit_code(), 2);
        for (from, to) in [
            ("1337", "1338"),
            ("\"5\"", "\"4\""),
            ("\"6\"", "\"5\""),
            ("\"7\"", "\"8\""),
            ("\"duration\": 8", "\"duration\": 9"),
            ("\"revenue_share\": 9", "\"revenue_share\": 0"),
            ("true", "false"),
            ("both agree", "both disagree"),
            ("\"deadline\": 99", "\"deadline\": 100"),
            ("0x0202", "0x0203"),
            ("0x0101", "0x0102"),
            ("\"nonce\": \"0x4\"", "\"nonce\": \"0x5\""),
        ] {
            assert!(text.contains(from), "{from} in {text}");
            assert_eq!(checked(&text.replacen(from, to, 1)).unwrap_err().exit_code(), 2, "{to}");
        }
    }

    #[test]
    fn what_is_no_file_of_a_partnership_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("p.json");
        let good = Proposal::new(1, B256::ZERO, Address::ZERO, U256::ZERO, 0, &terms(), String::new());
        let good = String::from_utf8(good.signed(&[0; 65]).unwrap()).unwrap();
        let changed = |from: &str, to: &str| good.replacen(from, to, 1);
        let (long, licences) =
            ("x".repeat(MAX_DOCUMENT + 1), changed(&format!("{LICENCES:#x}"), &format!("{:#x}", Address::ZERO)));
        for text in [
            "",
            "{}",
            "[]",
            "x",
            &changed("\"sahara_partnership\": 1", "\"sahara_partnership\": 2"),
            &changed("\"chain\"", "\"more\": 1, \"chain\""),
            &changed("\"5\"", "\"-5\""),
            &changed("\"document\": \"\"", &format!("\"document\": \"{long}\"")),
            &licences,
            &"x".repeat(MAX_FILE as usize + 1),
        ] {
            std::fs::write(&file, text).unwrap();
            assert_eq!(Proposal::read(&file).unwrap_err().exit_code(), 2, "{}", &text[..text.len().min(200)]);
        }
    }
}
