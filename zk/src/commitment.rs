//! Committed polynomials, the prover's side.

use p3_commit::MultilinearPcs;
use p3_dft::Radix2DFTSmallBatch;
use p3_field::{PrimeCharacteristicRing, PrimeField32};
use p3_matrix::dense::RowMajorMatrix;
use p3_multilinear_util::point::Point;
use p3_sumcheck::PrescribedPointPcs;
use p3_sumcheck::layout::{Layout, SuffixProver, Table};
use p3_whir::WhirProverData;
use sahara_circuits::bytes::Writer;
use sahara_zk_verify::field::{E, F};
use sahara_zk_verify::transcript::{Sponge, Transcript};
use sahara_zk_verify::whir::{self, OpeningError, Root, Scheme, Trees};

type Data = WhirProverData<F, E, Trees, SuffixProver<F, E>>;

/// A polynomial, its root, and what opens it. Opening takes a copy, so one commitment serves many proofs.
#[derive(Clone)]
pub(crate) struct Committed {
    root: Root,
    values: Vec<F>,
    data: Option<Data>,
}

impl Committed {
    /// Commits to these values, as many as a power of two.
    pub(crate) fn new(values: Vec<F>) -> Result<Self, OpeningError> {
        let variables = values.len().trailing_zeros() as usize;
        let scheme = scheme(variables)?;
        let folding = whir::config(variables)?.folding_schedule()[0];
        let width = values.len();
        let table = Table::new(RowMajorMatrix::new(values.clone(), width));
        let witness = <SuffixProver<F, E> as Layout<F, E>>::new_witness(vec![table], folding);
        // The root enters the transcript of a proof later: this one is nobody's.
        let mut sponge = Transcript::new(&[0; 32]).sponge;
        let (cap, data) = <Scheme as MultilinearPcs<E, Sponge>>::commit(&scheme, witness, &mut sponge)
            .map_err(|error| OpeningError::Rejected(error.to_string()))?;
        let root = Root::of(&cap).ok_or(OpeningError::Value)?;
        Ok(Self { root, values, data: Some(data) })
    }

    /// A commitment that is opened by showing the values themselves: for tests of everything else.
    pub(crate) fn shown(values: Vec<F>) -> Self {
        let mut hasher = blake3::Hasher::new();
        values.iter().for_each(|x| {
            hasher.update(&x.as_canonical_u32().to_le_bytes());
        });
        let digest = hasher.finalize();
        let element =
            |i: usize| F::from_u16(u16::from_le_bytes([digest.as_bytes()[2 * i], digest.as_bytes()[2 * i + 1]]));
        Self { root: Root(std::array::from_fn(element)), values, data: None }
    }

    pub(crate) fn root(&self) -> Root {
        self.root
    }

    pub(crate) fn values(&self) -> &[F] {
        &self.values
    }

    /// Opens it at a point, and appends the opening.
    pub(crate) fn open(&self, point: &[E], transcript: &mut Transcript, out: &mut Writer) -> Result<(), OpeningError> {
        let Some(data) = self.data.clone() else { return Ok(()) };
        let scheme = scheme(point.len())?;
        let points = [Point::new(point.to_vec())];
        let protocol = whir::protocol(point.len());
        let opening = scheme
            .open_at(data, &protocol, &points, &mut transcript.sponge)
            .map_err(|error| OpeningError::Rejected(error.to_string()))?;
        whir::write(&opening, out);
        Ok(())
    }
}

fn scheme(variables: usize) -> Result<Scheme, OpeningError> {
    whir::scheme(variables, Radix2DFTSmallBatch::new(1 << variables.min(whir::MAX_VARIABLES)))
}
