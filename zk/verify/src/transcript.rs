//! The transcript that turns messages into challenges: a sponge of Poseidon2 over KoalaBear, 16 elements wide, 8 of
//! them capacity.

use p3_challenger::{CanObserve, DuplexChallenger, FieldChallenger};
use p3_field::PrimeCharacteristicRing;
use p3_koala_bear::{Poseidon2KoalaBear, default_koalabear_poseidon2_16};

use crate::field::{E, F};

/// The sponge underneath, which the openings share.
pub type Sponge = DuplexChallenger<F, Poseidon2KoalaBear<16>, 16, 8>;

/// What the prover has said so far, and the challenges that follow from it.
#[derive(Clone)]
pub struct Transcript {
    /// The sponge.
    pub sponge: Sponge,
}

impl Transcript {
    /// A transcript that begins with a digest of 32 bytes.
    pub fn new(digest: &[u8; 32]) -> Self {
        let mut sponge = Sponge::new(default_koalabear_poseidon2_16());
        // Two bytes an element: every digest has its own.
        digest.as_chunks::<2>().0.iter().for_each(|pair| sponge.observe(F::from_u32(u16::from_le_bytes(*pair).into())));
        Self { sponge }
    }

    /// Takes in a message of the prover.
    pub fn observe(&mut self, message: E) {
        self.sponge.observe_algebra_element(message);
    }

    /// Takes in base field elements, such as a root.
    pub fn observe_base(&mut self, elements: &[F]) {
        elements.iter().for_each(|&x| self.sponge.observe(x));
    }

    /// The next challenge.
    pub fn challenge(&mut self) -> E {
        self.sponge.sample_algebra_element()
    }
}
