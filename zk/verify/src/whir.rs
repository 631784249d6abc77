//! Openings: WHIR (ePrint 2024/1586) as `p3-whir` has it, with one choice of parameters, in the proven (Johnson)
//! regime. Everything generic is made concrete here, once.
//!
//! What `p3-whir` reads from a proof is built here from bytes: every length but one follows from the number of
//! variables, and that one (digests of a Merkle multi-opening) is limited before it is read.

mod bytes;
#[cfg(test)]
mod tests;

use p3_challenger::CanObserve;
use p3_dft::Radix2DFTSmallBatch;
use p3_field::Field;
use p3_koala_bear::{Poseidon2KoalaBear, default_koalabear_poseidon2_16, default_koalabear_poseidon2_24};
use p3_merkle_tree::MerkleTreeMmcs;
use p3_multilinear_util::point::Point;
use p3_sumcheck::layout::SuffixProver;
use p3_sumcheck::{OpeningBatch, OpeningProtocol, PrescribedPointPcs, TableShape, TableSpec};
use p3_symmetric::{MerkleCap, PaddingFreeSponge, TruncatedPermutation};
use p3_whir::{FoldingFactor, PcsProof, ProtocolParameters, SecurityAssumption, WhirConfig, WhirProver};
use sahara_circuits::bytes::{DecodeError, Reader, Writer};

use crate::field::{E, F, write_base};
use crate::transcript::{Sponge, Transcript};

pub use bytes::write;

/// Fewest variables of a committed polynomial; smaller ones are padded.
pub const MIN_VARIABLES: usize = 8;
/// Most variables of a committed polynomial.
pub const MAX_VARIABLES: usize = 26;
/// Bits of every error term of an opening.
pub const TERM_BITS: usize = 112;
/// Bits of those that may come from grinding.
pub const GRINDING_BITS: usize = 16;
/// Variables folded in a round.
const FOLDING: usize = 4;

type Digest = [F; 8];
type Packed = <F as Field>::Packing;
type LeafHash = PaddingFreeSponge<Poseidon2KoalaBear<24>, 24, 16, 8>;
type NodeHash = TruncatedPermutation<Poseidon2KoalaBear<16>, 2, 8, 16>;
/// The Merkle trees of committed polynomials.
pub type Trees = MerkleTreeMmcs<Packed, Packed, LeafHash, NodeHash, 2, 8>;
/// The scheme; its prover's side is used by the prover's crate.
pub type Scheme = WhirProver<E, F, Radix2DFTSmallBatch<F>, Trees, Sponge, SuffixProver<F, E>>;
type Config = WhirConfig<E, F, Sponge>;
/// A proof of one opening.
pub type Opening = PcsProof<F, E, Trees>;

/// The root of a committed polynomial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Root(pub Digest);

impl Root {
    /// Appends its bytes.
    pub fn write(&self, out: &mut Writer) {
        self.0.iter().for_each(|&x| write_base(out, x));
    }

    /// Reads its bytes.
    ///
    /// # Errors
    /// When the bytes end, or an element is not less than `p`.
    pub fn read(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        bytes::read_digest(input).map(Self)
    }

    /// The root as the scheme has it.
    pub fn cap(&self) -> MerkleCap<F, Digest> {
        MerkleCap::new(vec![self.0])
    }

    /// The root of the scheme's.
    pub fn of(cap: &MerkleCap<F, Digest>) -> Option<Self> {
        cap.roots().first().copied().map(Self)
    }

    /// Takes the root into a transcript.
    pub fn observe(&self, transcript: &mut Transcript) {
        transcript.sponge.observe(self.cap());
    }
}

/// Why an opening is no proof.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpeningError {
    /// A polynomial of a size that is not committed to.
    #[error("a polynomial of 2^{0} values cannot be opened: 2^{MIN_VARIABLES} to 2^{MAX_VARIABLES} can")]
    Size(usize),
    /// The bytes.
    #[error(transparent)]
    Bytes(#[from] DecodeError),
    /// The proof.
    #[error("an opening does not verify: {0}")]
    Rejected(String),
    /// Another value than the one that was claimed.
    #[error("an opening is of another value than the one claimed")]
    Value,
}

/// The parameters for so many variables.
///
/// # Errors
/// When the size is not committed to.
pub fn config(variables: usize) -> Result<Config, OpeningError> {
    if !(MIN_VARIABLES..=MAX_VARIABLES).contains(&variables) {
        return Err(OpeningError::Size(variables));
    }
    let parameters = ProtocolParameters {
        starting_log_inv_rate: 1,
        round_log_inv_rates: Vec::new(),
        folding_factor: FoldingFactor::Constant(FOLDING),
        soundness_type: SecurityAssumption::JohnsonBound,
        security_level: TERM_BITS,
        pow_bits: GRINDING_BITS,
    };
    Config::new_with_initial_claims(variables, parameters, 1).map_err(|_| OpeningError::Size(variables))
}

/// The scheme for so many variables. A transform made for no size serves the verifier.
///
/// # Errors
/// When the size is not committed to.
pub fn scheme(variables: usize, transform: Radix2DFTSmallBatch<F>) -> Result<Scheme, OpeningError> {
    let leaf = LeafHash::new(default_koalabear_poseidon2_24());
    let trees = Trees::new(leaf, NodeHash::new(default_koalabear_poseidon2_16()), 0);
    Ok(Scheme::new(config(variables)?, transform, trees))
}

/// One column of so many variables, opened at one point.
pub fn protocol(variables: usize) -> OpeningProtocol {
    let batch = OpeningBatch::new(vec![0], Vec::new());
    OpeningProtocol::new(vec![TableSpec::new(TableShape::new(variables, 1), vec![batch])])
}

/// Verifies that the polynomial under `root`, which the transcript knows, has `value` at `point`.
///
/// # Errors
/// When the bytes are no opening of that size, or it does not verify.
pub fn verify(
    root: &Root,
    point: &[E],
    value: E,
    input: &mut Reader<'_>,
    transcript: &mut Transcript,
) -> Result<(), OpeningError> {
    let variables = point.len();
    let scheme = scheme(variables, Radix2DFTSmallBatch::default())?;
    let opening = bytes::read(&config(variables)?, value, input)?;
    let points = [Point::new(point.to_vec())];
    let opened = scheme
        .verify_at(&root.cap(), &opening, &protocol(variables), &points, &mut transcript.sponge)
        .map_err(|error| OpeningError::Rejected(error.to_string()))?;
    match opened.first().map(OpeningBatch::current) {
        Some(&[opened]) if opened == value => Ok(()),
        _ => Err(OpeningError::Value),
    }
}
