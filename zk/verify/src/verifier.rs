//! The verifier's side of the script.

use p3_field::PrimeCharacteristicRing;
use sahara_circuits::bytes::{DecodeError, Reader};
use sahara_circuits::graph::Graph;

use crate::field::{E, read_extension};
use crate::mle;
use crate::party::{Fraction, Party, Places, Public, Reduced, Sum};
use crate::plan::{Unprovable, plan};
use crate::proof::{NOTICE, NonHidingProof};
use crate::protocol;
use crate::statement::Statement;
use crate::system::{Oracle, System, TensorId};
use crate::transcript::Transcript;
use crate::whir::{self, OpeningError, Root};

/// What was proven. It can be had from [`verify`] alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifiedNotHiding {
    /// Elements that were looked up in tables.
    pub lookups: u64,
}

impl std::fmt::Display for VerifiedNotHiding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the proof holds ({} lookups); it is {NOTICE}", self.lookups)
    }
}

/// Why a proof is none of a statement.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// Another graph than the statement's.
    #[error("the proof cannot be verified: the graph is not the one that the statement names")]
    Graph,
    /// A graph without a proof.
    #[error(transparent)]
    Unprovable(#[from] Unprovable),
    /// Bytes that are no proof of this graph.
    #[error("the proof is rejected: {0}")]
    Bytes(#[from] DecodeError),
    /// A message that contradicts another one.
    #[error("the proof is rejected: {0} is not what it should be")]
    Rejected(&'static str),
    /// A commitment that does not open.
    #[error("the proof is rejected at the commitment to its {0:?}: {1}")]
    Opening(Oracle, OpeningError),
}

/// Verifies that `proof` is a proof of `statement`, whose graph this is.
///
/// # Errors
/// When it is not, with the first reason that was found.
pub fn verify(graph: &Graph, statement: &Statement, proof: &NonHidingProof) -> Result<VerifiedNotHiding, VerifyError> {
    if graph.id() != statement.graph {
        return Err(VerifyError::Graph);
    }
    let system = plan(graph, &statement.weights.bits)?;
    verify_system(&system, statement, proof, &Whir)
}

/// [`verify`] for a system that is already made, with other openings than WHIR's: for tests of everything else.
///
/// # Errors
/// When the proof is none of the statement.
#[doc(hidden)]
pub fn verify_system(
    system: &System,
    statement: &Statement,
    proof: &NonHidingProof,
    openings: &dyn Openings,
) -> Result<VerifiedNotHiding, VerifyError> {
    let (witness, messages) = proof.messages()?;
    let transcript = statement.transcript(&witness);
    let roots = [statement.weights.root, statement.input, statement.output, witness];
    let mut verifier = Verifier { roots, openings, messages, transcript };
    protocol::run(system, &mut verifier)?;
    verifier.messages.finish()?;
    Ok(VerifiedNotHiding { lookups: system.looked_up() })
}

/// How commitments are opened.
#[doc(hidden)]
pub trait Openings {
    /// Verifies that the polynomial under a root has this value at this point.
    ///
    /// # Errors
    /// When it is not shown.
    fn verify(
        &self,
        root: &Root,
        point: &[E],
        value: E,
        messages: &mut Reader<'_>,
        transcript: &mut Transcript,
    ) -> Result<(), OpeningError>;
}

/// As [`whir`] does it.
struct Whir;

impl Openings for Whir {
    fn verify(
        &self,
        root: &Root,
        point: &[E],
        value: E,
        messages: &mut Reader<'_>,
        transcript: &mut Transcript,
    ) -> Result<(), OpeningError> {
        whir::verify(root, point, value, messages, transcript)
    }
}

struct Verifier<'a> {
    /// In the order of [`Oracle::ALL`].
    roots: [Root; 4],
    openings: &'a dyn Openings,
    messages: Reader<'a>,
    transcript: Transcript,
}

impl Verifier<'_> {
    fn message(&mut self) -> Result<E, VerifyError> {
        let message = read_extension(&mut self.messages)?;
        self.transcript.observe(message);
        Ok(message)
    }

    /// One round of a sum of products of so many factors: the polynomial's values at 0, 2, 3, …; that at 1 follows.
    fn round(&mut self, degree: usize, claim: &mut E) -> Result<E, VerifyError> {
        let first = self.message()?;
        let mut values = vec![first, *claim - first];
        for _ in 2..=degree {
            values.push(self.message()?);
        }
        let challenge = self.transcript.challenge();
        *claim = mle::interpolate(&values, challenge);
        Ok(challenge)
    }

    fn rounds(&mut self, variables: usize, degree: usize, claim: &mut E) -> Result<Vec<E>, VerifyError> {
        (0..variables).map(|_| self.round(degree, claim)).collect()
    }
}

impl Party for Verifier<'_> {
    type Error = VerifyError;

    fn challenge(&mut self) -> E {
        self.transcript.challenge()
    }

    fn evaluation(&mut self, _: TensorId, _: &[E]) -> Result<E, VerifyError> {
        self.message()
    }

    fn equal(&mut self, what: &'static str, a: E, b: E) -> Result<(), VerifyError> {
        if a == b { Ok(()) } else { Err(VerifyError::Rejected(what)) }
    }

    fn total(&mut self, _: &Sum) -> Result<E, VerifyError> {
        self.message()
    }

    fn sum(&mut self, sum: &Sum, claim: E) -> Result<Reduced, VerifyError> {
        let mut claim = claim;
        let point = self.rounds(sum.variables, sum.public.len() + sum.secret.len(), &mut claim)?;
        let values = sum.secret.iter().map(|_| self.message()).collect::<Result<Vec<E>, _>>()?;
        let public: E = sum.public.iter().map(|factor: &Public| factor.at(&point)).product();
        let all = values.iter().fold(public, |product, &value| product * value);
        self.equal(sum.what, all, claim)?;
        Ok(Reduced { point, values })
    }

    fn fractions(&mut self, places: &Places<'_>) -> Result<Fraction, VerifyError> {
        // The sum of all fractions: its numerator is zero, its denominator is not.
        let mut denominator = self.message()?;
        if denominator == E::ZERO {
            return Err(VerifyError::Rejected("the denominator of all lookups"));
        }
        let (mut numerator, mut point) = (E::ZERO, Vec::new());
        for variables in 0..places.variables {
            // Each fraction is the sum of two: (p0·q1 + p1·q0) / (q0·q1).
            let lambda = self.transcript.challenge();
            let mut claim = numerator + lambda * denominator;
            let here = self.rounds(variables, 3, &mut claim)?;
            let [p0, p1, q0, q1] = [self.message()?, self.message()?, self.message()?, self.message()?];
            let both = mle::eq(&point, &here) * (p0 * q1 + p1 * q0 + lambda * q0 * q1);
            self.equal("a sum of fractions", both, claim)?;
            let half = self.transcript.challenge();
            numerator = p0 + half * (p1 - p0);
            denominator = q0 + half * (q1 - q0);
            point = here;
            point.insert(0, half);
        }
        Ok(Fraction { point, numerator, denominator })
    }

    fn open(&mut self, oracle: Oracle, point: &[E], value: E) -> Result<(), VerifyError> {
        let root = self.roots[oracle as usize];
        self.openings
            .verify(&root, point, value, &mut self.messages, &mut self.transcript)
            .map_err(|error| VerifyError::Opening(oracle, error))
    }
}
