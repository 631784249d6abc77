//! Which headers are believed, and why: bytes in, a verdict out. No clock, no socket: whoever calls says what time it is
//! and fetches what is asked for.
//!
//! A header is believed if validators with more than two thirds of the power that a believed header names for its next
//! height signed it (or, at that very height, if it has exactly those), together with more than two thirds of its own.
//! [`Climb`] goes from one to the other, over headers between them where too many validators changed.
//!
//! CometBFT's light clients take a third of the former: then whoever holds a third, signing twice, deceives a client that
//! compares what it is told with nobody. With two thirds nobody need be asked but one; it takes a few headers more.

use std::time::Duration;

use alloy_primitives::{B256, Bytes};
use prost::Message;
use serde::{Deserialize, Serialize};
use tendermint::{
    Time, block::signed_header::SignedHeader, chain::Id, trust_threshold::TrustThresholdFraction, validator::Set,
};
use tendermint_light_client_verifier::{
    PredicateVerifier, Verdict, Verifier,
    errors::VerificationErrorDetail as Detail,
    operations::{CommitValidator, ProvidedVotingPowerCalculator},
    options::Options,
    predicates::VerificationPredicates,
    types::{TrustedBlockState, UntrustedBlockState},
};
use tendermint_proto::v0_38::types::{SignedHeader as RawSignedHeader, ValidatorSet as RawSet};

use crate::signature::{Hasher, Zip215};

/// Bytes of a header with its signatures and validators.
pub const MAX_BLOCK_BYTES: usize = 512 << 10;
/// Validators of one height.
pub const MAX_VALIDATORS: usize = 1_000;
/// Headers that one climb asks for. What it reached is not lost: the next one begins there.
const MAX_STEPS: u32 = 1_024;
/// Letters of what the verifier says.
const MAX_WORDS: usize = 200;

/// A header with what is to show that it was decided, as it travels and is kept: protobuf messages of CometBFT.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LightBlock {
    /// `SignedHeader`: the header and the commit on it.
    pub signed_header: Bytes,
    /// `ValidatorSet` of its height.
    pub validators: Bytes,
    /// `ValidatorSet` of the next height.
    pub next_validators: Bytes,
}

/// Why a header is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// Longer than any header.
    #[error("a header with its signatures has {bytes} bytes, at most {MAX_BLOCK_BYTES} are read")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// Not what CometBFT writes.
    #[error("read a header: {0}")]
    Malformed(String),
    /// More than any chain of this kind has.
    #[error("a header names {count} validators, at most {MAX_VALIDATORS} are read")]
    TooManyValidators {
        /// How many.
        count: usize,
    },
    /// It says so itself.
    #[error("the header at height {height} is of the chain {found:?}, not of {expected:?}")]
    AnotherChain {
        /// Its height.
        height: u64,
        /// Its chain.
        found: String,
        /// The chain of the anchor.
        expected: String,
    },
    /// The header at the anchor's height is not the anchor.
    #[error("the header at height {height} has the hash {found}, the trust anchor says {expected}")]
    NotTheAnchor {
        /// The height.
        height: u64,
        /// Its hash.
        found: B256,
        /// The anchor's.
        expected: B256,
    },
    /// The answer to another question.
    #[error("asked for the header at height {asked}, got that at {found}")]
    WrongHeight {
        /// The height that was asked for.
        asked: u64,
        /// The height that came.
        found: u64,
    },
    /// What is believed is so old that those who signed it may have left with their stake.
    #[error(
        "the newest header that is believed, at height {height}, is older than the trusting period: \
         get a new trust anchor from somebody you trust"
    )]
    Expired {
        /// Its height.
        height: u64,
    },
    /// Its time has not come.
    #[error("the header at height {height} is from the future: is the clock of this machine right?")]
    FromTheFuture {
        /// Its height.
        height: u64,
    },
    /// Somebody's signature is not his.
    #[error("a signature on the header at height {height} is not of the validator it names")]
    WrongSignature {
        /// Its height.
        height: u64,
    },
    /// Fewer than two thirds signed.
    #[error("too few validators signed the header at height {height}: {tally}")]
    TooLittlePower {
        /// Its height.
        height: u64,
        /// Who did, in words.
        tally: String,
    },
    /// It goes against another rule.
    #[error("the header at height {height} is not valid: {why}")]
    Invalid {
        /// Its height.
        height: u64,
        /// The rule, in words of the verifier.
        why: String,
    },
    /// No end in sight.
    #[error("the way to the header at height {height} has more than {MAX_STEPS} steps")]
    TooManySteps {
        /// Its height.
        height: u64,
    },
}

/// By which rules headers are believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Tendermint's name of the chain.
    pub chain: String,
    /// How long a header is a ground to believe others. Shorter than stake is bound after it leaves.
    pub trusting_period: Duration,
    /// How far clocks may be apart.
    pub clock_drift: Duration,
}

/// A header that somebody says was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Untrusted {
    block: LightBlock,
    signed: SignedHeader,
    validators: Set,
    next: Set,
    hash: B256,
    app_hash: B256,
}

/// A header that is believed. There is no other way to one than the functions of this module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified(Untrusted);

impl Untrusted {
    /// Reads a header; nothing of it is believed.
    ///
    /// # Errors
    /// When it is too long, or not what CometBFT writes.
    pub fn read(block: LightBlock) -> Result<Self, HeaderError> {
        let parts = [&block.signed_header, &block.validators, &block.next_validators];
        let bytes = parts.iter().fold(0usize, |sum, part| sum.saturating_add(part.len()));
        if bytes > MAX_BLOCK_BYTES {
            return Err(HeaderError::TooLarge { bytes });
        }
        let raw = RawSignedHeader::decode(block.signed_header.as_ref()).map_err(|e| malformed("signed header", &e))?;
        let signatures = raw.commit.as_ref().map_or(0, |commit| commit.signatures.len());
        if signatures > MAX_VALIDATORS {
            return Err(HeaderError::TooManyValidators { count: signatures });
        }
        let signed = SignedHeader::try_from(raw).map_err(|e| malformed("signed header", &e))?;
        let validators = read_set(&block.validators)?;
        let next = read_set(&block.next_validators)?;
        let hash = B256::from_slice(signed.header.hash_with::<Hasher>().as_bytes());
        let app_hash = B256::try_from(signed.header.app_hash.as_bytes())
            .map_err(|_| malformed("signed header", &"its application hash has not 32 bytes"))?;
        Ok(Self { block, signed, validators, next, hash, app_hash })
    }

    /// Its height.
    pub fn height(&self) -> u64 {
        self.signed.header.height.value()
    }

    /// Its hash.
    pub fn hash(&self) -> B256 {
        self.hash
    }

    /// The chain that it says it is of.
    pub fn chain(&self) -> &str {
        self.signed.header.chain_id.as_str()
    }

    /// Whether it and its validators belong together.
    fn is_whole(&self) -> Result<(), HeaderError> {
        let header = &self.signed.header;
        let invalid = |why: &str| Err(HeaderError::Invalid { height: self.height(), why: why.to_owned() });
        if self.validators.hash_with::<Hasher>() != header.validators_hash {
            return invalid("its validators are others than it says");
        }
        if self.next.hash_with::<Hasher>() != header.next_validators_hash {
            return invalid("the validators after it are others than it says");
        }
        Ok(())
    }
}

impl Verified {
    /// The header with `hash`, which the caller trusts.
    ///
    /// # Errors
    /// When it is another one, of another chain, or does not belong to its validators.
    pub fn trusting(rules: &Rules, offered: Untrusted, height: u64, hash: B256) -> Result<Self, HeaderError> {
        let found = offered.height();
        if found != height {
            return Err(HeaderError::WrongHeight { asked: height, found });
        }
        if offered.hash != hash {
            return Err(HeaderError::NotTheAnchor { height, found: offered.hash, expected: hash });
        }
        same_chain(rules, &offered)?;
        offered.is_whole()?;
        Ok(Self(offered))
    }

    /// Its height.
    pub fn height(&self) -> u64 {
        self.0.height()
    }

    /// When it was made: since 1970.
    pub fn time(&self) -> Duration {
        let nanos = self.0.signed.header.time.unix_timestamp_nanos().max(0).unsigned_abs();
        let (seconds, nanos) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
        Duration::new(u64::try_from(seconds).unwrap_or(u64::MAX), u32::try_from(nanos).unwrap_or(0))
    }

    /// Its hash.
    pub fn hash(&self) -> B256 {
        self.0.hash
    }

    /// The application's hash of the state after the block before it.
    pub fn app_hash(&self) -> B256 {
        self.0.app_hash
    }

    /// Its bytes, to be kept.
    pub fn block(&self) -> &LightBlock {
        &self.0.block
    }
}

/// What a climb wants next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// The header at this height.
    Ask(u64),
    /// Nothing: this header is believed.
    Done(Box<Verified>),
}

/// The way from a header that is believed to one that is not yet.
#[derive(Clone, Debug)]
pub struct Climb {
    rules: Rules,
    trusted: Verified,
    /// The target, and above it what is to be reached before; the last is next.
    ahead: Vec<Untrusted>,
    asked: Option<u64>,
    steps: u32,
}

impl Climb {
    /// From `trusted` to `target`.
    pub fn new(rules: Rules, trusted: Verified, target: Untrusted) -> Self {
        Self { rules, trusted, ahead: vec![target], asked: None, steps: 0 }
    }

    /// Goes as far as it can at `now`, since 1970.
    ///
    /// # Errors
    /// When a header on the way is not to be believed.
    pub fn go(&mut self, now: Duration) -> Result<Next, HeaderError> {
        while let Some(ahead) = self.ahead.last() {
            let (from, to) = (self.trusted.height(), ahead.height());
            if believed(&self.rules, &self.trusted, ahead, now)? {
                if let Some(reached) = self.ahead.pop() {
                    self.trusted = Verified(reached);
                }
                continue;
            }
            self.steps += 1;
            let between = from + (to - from) / 2;
            // Each one that waits is at most half as far away as the one before: there are 64 of them at most.
            if self.steps > MAX_STEPS {
                return Err(HeaderError::TooManySteps { height: to });
            }
            self.asked = Some(between);
            return Ok(Next::Ask(between));
        }
        Ok(Next::Done(Box::new(self.trusted.clone())))
    }

    /// Takes the header that was asked for.
    ///
    /// # Errors
    /// When it is another.
    pub fn take(&mut self, offered: Untrusted) -> Result<(), HeaderError> {
        let found = offered.height();
        match self.asked.take() {
            Some(asked) if asked == found => {
                self.ahead.push(offered);
                Ok(())
            }
            asked => Err(HeaderError::WrongHeight { asked: asked.unwrap_or_default(), found }),
        }
    }

    /// The newest header that is believed on the way.
    pub fn reached(&self) -> &Verified {
        &self.trusted
    }
}

/// Whether `offered` follows from `trusted`; no, if too few of those who were trusted signed it.
fn believed(rules: &Rules, trusted: &Verified, offered: &Untrusted, now: Duration) -> Result<bool, HeaderError> {
    let height = offered.height();
    same_chain(rules, offered)?;
    offered.is_whole()?;
    let chain = Id::try_from(rules.chain.clone()).map_err(|e| malformed("chain id", &e))?;
    let trusted_header = &trusted.0.signed.header;
    let verdict = PredicateVerifier::new(Predicates, ProvidedVotingPowerCalculator::<Zip215>::default(), Whole)
        .verify_update_header(
            UntrustedBlockState {
                signed_header: &offered.signed,
                validators: &offered.validators,
                next_validators: Some(&offered.next),
            },
            TrustedBlockState {
                chain_id: &chain,
                header_time: trusted_header.time,
                height: trusted_header.height,
                next_validators: &trusted.0.next,
                next_validators_hash: trusted_header.next_validators_hash,
            },
            &Options {
                trust_threshold: TrustThresholdFraction::TWO_THIRDS,
                trusting_period: rules.trusting_period,
                clock_drift: rules.clock_drift,
            },
            moment(now)?,
        );
    match verdict {
        Verdict::Success => Ok(true),
        Verdict::NotEnoughTrust(_) if height > trusted.height().saturating_add(1) => Ok(false),
        Verdict::NotEnoughTrust(tally) => Err(HeaderError::TooLittlePower { height, tally: brief(&tally) }),
        Verdict::Invalid(detail) => Err(match detail {
            Detail::NotWithinTrustPeriod(_) => HeaderError::Expired { height: trusted.height() },
            Detail::HeaderFromTheFuture(_) => HeaderError::FromTheFuture { height },
            Detail::InvalidSignature(_) => HeaderError::WrongSignature { height },
            Detail::InsufficientSignersOverlap(e) => HeaderError::TooLittlePower { height, tally: brief(&e.tally) },
            other => HeaderError::Invalid { height, why: brief(&other) },
        }),
    }
}

#[derive(Clone, Copy)]
struct Predicates;

impl VerificationPredicates for Predicates {
    type Sha256 = Hasher;
}

#[derive(Clone, Copy)]
struct Whole;

impl CommitValidator for Whole {}

fn same_chain(rules: &Rules, offered: &Untrusted) -> Result<(), HeaderError> {
    let found = offered.signed.header.chain_id.as_str();
    match found == rules.chain {
        true => Ok(()),
        false => Err(HeaderError::AnotherChain {
            height: offered.height(),
            found: found.to_owned(),
            expected: rules.chain.clone(),
        }),
    }
}

fn read_set(bytes: &[u8]) -> Result<Set, HeaderError> {
    let raw = RawSet::decode(bytes).map_err(|e| malformed("validators", &e))?;
    match raw.validators.len() {
        count if count > MAX_VALIDATORS => Err(HeaderError::TooManyValidators { count }),
        _ => Set::try_from(raw).map_err(|e| malformed("validators", &e)),
    }
}

fn moment(now: Duration) -> Result<Time, HeaderError> {
    let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    Time::from_unix_timestamp(seconds, now.subsec_nanos()).map_err(|e| malformed("clock", &e))
}

fn malformed(what: &str, why: &dyn std::fmt::Display) -> HeaderError {
    HeaderError::Malformed(format!("{what}: {}", brief(&why)))
}

/// The first line of it, not too long.
fn brief(words: &dyn std::fmt::Display) -> String {
    words.to_string().lines().next().unwrap_or_default().chars().take(MAX_WORDS).collect()
}

#[cfg(test)]
mod tests;
