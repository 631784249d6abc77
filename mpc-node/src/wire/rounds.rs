//! Messages about rounds: coordinators open and close them, providers send their shares, nodes deal and agree.

use sahara_circuits::bytes::{DecodeError, Reader, Writer};
use zeroize::Zeroizing;

use super::{Kind, Message};
use crate::engine::Seed;
use crate::rounds::{MOST_PROVIDERS, MOST_TERMS, RoundId, RoundResult, SignedTerms};

/// Most rounds in one list.
pub const MAX_ROUNDS: usize = 256;

/// Asks a node to open a round; after `GoOn` its attachment follows in chunks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenRound(pub SignedTerms);

fn write_terms(w: &mut Writer, terms: &SignedTerms) {
    let bytes = terms.terms().encode();
    w.u32(bytes.len() as u32).bytes(&bytes).bytes(terms.signature());
}

fn read_terms(r: &mut Reader<'_>) -> Result<SignedTerms, DecodeError> {
    let len = r.count("bytes of terms", MOST_TERMS)?;
    let bytes = r.take(len)?;
    SignedTerms::new(bytes, r.array()?)
}

impl Message for OpenRound {
    const KIND: Kind = Kind::OpenRound;
    const NAME: &'static str = "opening of a round";

    fn write(&self, w: &mut Writer) {
        write_terms(w, &self.0);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        read_terms(r).map(Self)
    }
}

fn flag(r: &mut Reader<'_>) -> Result<bool, DecodeError> {
    match r.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(r.field("yes or no")),
    }
}

/// How far a round is at a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoundStage {
    /// It takes contributions.
    Open,
    /// It takes none any more, and has no result.
    Closing,
    /// It has a result.
    Ended,
    /// It came to nothing: what was sent for it is gone.
    Failed,
}

impl RoundStage {
    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        [Self::Open, Self::Closing, Self::Ended, Self::Failed]
            .get(usize::from(r.u8()?))
            .copied()
            .ok_or_else(|| r.field("stage of a round"))
    }
}

/// Asks an evaluator which rounds it has that the asker opened or may take part in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListRounds;

impl Message for ListRounds {
    const KIND: Kind = Kind::ListRounds;
    const NAME: &'static str = "question for rounds";

    fn write(&self, _: &mut Writer) {}

    fn read(_: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self)
    }
}

/// The answer to [`ListRounds`], the oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoundList(pub Vec<(RoundId, RoundStage)>);

impl Message for RoundList {
    const KIND: Kind = Kind::RoundList;
    const NAME: &'static str = "list of rounds";

    fn write(&self, w: &mut Writer) {
        w.u32(self.0.len() as u32);
        for (id, stage) in &self.0 {
            w.bytes(&id.0).u8(*stage as u8);
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let count = r.count("rounds", MAX_ROUNDS)?;
        let rounds = (0..count).map(|_| Ok((RoundId(r.array()?), RoundStage::read(r)?)));
        rounds.collect::<Result<_, _>>().map(Self)
    }
}

/// Asks for one round; its attachment follows the answer in chunks, if it is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShowRound {
    /// Which.
    pub round: RoundId,
    /// Whether the attachment is wanted, too.
    pub attachment: bool,
}

impl Message for ShowRound {
    const KIND: Kind = Kind::ShowRound;
    const NAME: &'static str = "question for a round";

    fn write(&self, w: &mut Writer) {
        w.bytes(&self.round.0).u8(self.attachment.into());
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { round: RoundId(r.array()?), attachment: flag(r)? })
    }
}

/// The answer to [`ShowRound`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoundReply {
    /// The terms, which name it.
    pub terms: SignedTerms,
    /// How far it is.
    pub stage: RoundStage,
    /// How many have sent their share to this node.
    pub contributed: u32,
    /// Whether the asker has.
    pub own: bool,
}

impl Message for RoundReply {
    const KIND: Kind = Kind::RoundReply;
    const NAME: &'static str = "a round";

    fn write(&self, w: &mut Writer) {
        write_terms(w, &self.terms);
        w.u8(self.stage as u8).u32(self.contributed).u8(self.own.into());
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (terms, stage) = (read_terms(r)?, RoundStage::read(r)?);
        Ok(Self { terms, stage, contributed: r.u32()?, own: flag(r)? })
    }
}

/// A provider's share for a round: after `GoOn` a frame of kind `Vector` follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contribute {
    /// Which round.
    pub round: RoundId,
    /// Commitments to both evaluators' shares, [`crate::rounds::share_commitment`].
    pub shares: [[u8; 32]; 2],
    /// Opens the commitment to the share of the evaluator that is asked.
    pub salt: Seed,
    /// The provider's signature, [`crate::rounds::contribution_digest`].
    pub signature: [u8; 64],
}

impl Message for Contribute {
    const KIND: Kind = Kind::Contribute;
    const NAME: &'static str = "contribution to a round";

    fn write(&self, w: &mut Writer) {
        w.bytes(&self.round.0).bytes(&self.shares[0]).bytes(&self.shares[1]);
        w.bytes(self.salt.as_bytes()).bytes(&self.signature);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            round: RoundId(r.array()?),
            shares: [r.array()?, r.array()?],
            salt: Seed::from_bytes(r.array()?),
            signature: r.array()?,
        })
    }
}

/// The coordinator closes a round at its first evaluator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseRound(pub RoundId);

/// Whoever opened it or may take part asks an evaluator for the result of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchRound(pub RoundId);

/// The coordinator gives a round up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbandonRound(pub RoundId);

macro_rules! names_a_round {
    ($message:ident, $name:literal) => {
        impl Message for $message {
            const KIND: Kind = Kind::$message;
            const NAME: &'static str = $name;

            fn write(&self, w: &mut Writer) {
                w.bytes(&self.0.0);
            }

            fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
                Ok(Self(RoundId(r.array()?)))
            }
        }
    };
}
names_a_round!(CloseRound, "closing of a round");
names_a_round!(FetchRound, "question for a result");
names_a_round!(AbandonRound, "end of a round");

fn write_places(w: &mut Writer, places: &[(u16, [u8; 32])]) {
    w.u32(places.len() as u32);
    for (place, digest) in places {
        w.u16(*place).bytes(digest);
    }
}

fn read_places(r: &mut Reader<'_>) -> Result<Vec<(u16, [u8; 32])>, DecodeError> {
    let count = r.count("contributions", MOST_PROVIDERS)?;
    let places: Vec<(u16, [u8; 32])> = (0..count).map(|_| Ok((r.u16()?, r.array()?))).collect::<Result<_, _>>()?;
    if places.is_sorted_by(|a, b| a.0 < b.0) { Ok(places) } else { Err(r.field("order of contributions")) }
}

impl Message for RoundResult {
    const KIND: Kind = Kind::RoundResult;
    const NAME: &'static str = "result of a round";

    fn write(&self, w: &mut Writer) {
        w.bytes(&self.round.0);
        write_places(w, &self.included);
        self.accepted.iter().for_each(|accepted| {
            w.u8((*accepted).into());
        });
        w.bytes(&self.signatures[0]).bytes(&self.signatures[1]);
        w.u32(self.sum.len() as u32).words(&self.sum);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (round, included) = (RoundId(r.array()?), read_places(r)?);
        let accepted = (0..included.len()).map(|_| flag(r)).collect::<Result<_, _>>()?;
        let signatures = [r.array()?, r.array()?];
        let len = r.count("coordinates", sahara_protocol::round::MOST_DIMENSION as usize)?;
        Ok(Self { round, included, accepted, sum: r.words(len)?, signatures })
    }
}

/// The first evaluator closes a round at the second: what it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinRound {
    /// Which round.
    pub round: RoundId,
    /// Places and digests of the contributions that it has, ascending.
    pub contributions: Vec<(u16, [u8; 32])>,
}

impl Message for JoinRound {
    const KIND: Kind = Kind::JoinRound;
    const NAME: &'static str = "closing of a round among evaluators";

    fn write(&self, w: &mut Writer) {
        w.bytes(&self.round.0);
        write_places(w, &self.contributions);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { round: RoundId(r.array()?), contributions: read_places(r)? })
    }
}

/// The answer to [`JoinRound`]: what both have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoundJoined(pub Vec<(u16, [u8; 32])>);

impl Message for RoundJoined {
    const KIND: Kind = Kind::RoundJoined;
    const NAME: &'static str = "contributions that both evaluators have";

    fn write(&self, w: &mut Writer) {
        write_places(w, &self.0);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        read_places(r).map(Self)
    }
}

/// What an evaluator asks the helper of a round for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dealt {
    /// What the check of these vectors takes: the how manieth check, and of how many vectors in all.
    Check(u16, u16),
    /// Its share of the helper's noise.
    Noise,
}

/// An evaluator asks the helper for corrections or noise. The helper gives either once, and to both for the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DealRound {
    /// Which round.
    pub round: RoundId,
    /// For checks [`crate::rounds::included_digest`], for noise [`crate::rounds::outcome_digest`].
    pub digest: [u8; 32],
    /// What.
    pub what: Dealt,
}

impl Message for DealRound {
    const KIND: Kind = Kind::DealRound;
    const NAME: &'static str = "question to the helper of a round";

    fn write(&self, w: &mut Writer) {
        w.bytes(&self.round.0).bytes(&self.digest);
        match self.what {
            Dealt::Check(number, count) => w.u8(0).u16(number).u16(count),
            Dealt::Noise => w.u8(1),
        };
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (round, digest) = (RoundId(r.array()?), r.array()?);
        let what = match r.u8()? {
            0 => Dealt::Check(r.u16()?, r.u16()?),
            1 => Dealt::Noise,
            _ => return Err(r.field("what is dealt")),
        };
        Ok(Self { round, digest, what })
    }
}

/// The answer to [`DealRound`]; to the second evaluator corrections follow in chunks.
#[derive(Clone, PartialEq, Eq)]
pub struct RoundDealt {
    /// The seed that the evaluator shares with the helper; zeros where it gets words instead.
    pub seed: Zeroizing<[u8; 32]>,
    /// How many bytes follow.
    pub len: u64,
}

impl Message for RoundDealt {
    const KIND: Kind = Kind::RoundDealt;
    const NAME: &'static str = "what a helper deals for a round";

    fn write(&self, w: &mut Writer) {
        w.bytes(&self.seed[..]).u64(self.len);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { seed: Zeroizing::new(r.array()?), len: r.u64()? })
    }
}
