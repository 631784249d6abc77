//! A prover who cheats in one place, and a verifier in the same process, without the cost of openings: commitments are
//! opened by showing what is committed to. For tests.

use std::collections::BTreeMap;

use sahara_circuits::bytes::Reader;
use sahara_circuits::graph::Graph;
use sahara_circuits::weights::Weights;
use sahara_zk_verify::field::{E, F, P};
use sahara_zk_verify::mle::eq_table;
use sahara_zk_verify::plan::plan;
use sahara_zk_verify::system::{Definition, Hint, Oracle, System, TensorId};
use sahara_zk_verify::transcript::Transcript;
use sahara_zk_verify::whir::{OpeningError, Root};
use sahara_zk_verify::{Context, Openings, Statement, VerifyError, WeightsKey, verify_system};

use crate::commitment::Committed;
use crate::prover::polynomial;
use crate::values::Values;
use crate::{ProveError, argue, signed_bits};

/// What the prover does otherwise than it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alteration {
    /// Nothing.
    Nothing,
    /// Adds to an element of a column, and goes on from there.
    Column(TensorId, usize, i64),
    /// Adds one to a message, and goes on from there.
    Message(usize),
}

/// What came of it.
pub struct Outcome {
    /// What the verifier said.
    pub verdict: Result<(), VerifyError>,
    /// The inputs that were committed to.
    pub inputs: Vec<Vec<i64>>,
    /// The weights that were committed to.
    pub weights: Vec<Vec<i64>>,
    /// The outputs that were committed to.
    pub outputs: Vec<Vec<i64>>,
    /// Messages of the proof.
    pub messages: usize,
}

/// The prover proves what it makes of `graph`, and says that it is what `claimed` gives.
///
/// # Errors
/// When one of the graphs cannot be proven.
pub fn attack(
    (graph, claimed): (&Graph, &Graph),
    weights: &Weights,
    inputs: &[Vec<i32>],
    alteration: Alteration,
) -> Result<Outcome, ProveError> {
    let bits: Vec<u8> = weights.tensors.iter().map(|tensor| signed_bits(tensor)).collect();
    let (system, judged) = (plan(graph, &bits)?, plan(claimed, &bits)?);
    let column = match alteration {
        Alteration::Column(id, at, by) => Some((id, at, by)),
        _ => None,
    };
    let values = Values::altered(&system, weights, inputs, column);
    let committed =
        Oracle::ALL.map(|oracle| Committed::shown(polynomial(&system, oracle, |id, _| values.of(id).into())));
    let weights = WeightsKey { root: committed[0].root(), bits };
    let (input, output) = (committed[1].root(), committed[2].root());
    let statement = Statement { graph: claimed.id(), weights, input, output, context: Context::default() };
    let message = match alteration {
        Alteration::Message(which) => Some(which),
        _ => None,
    };
    let (proof, messages) = argue(&system, &statement, &values, committed.each_ref(), message)?;
    let shown = Shown(committed.iter().map(|c| (c.root().0.map(|x| x.to_string()), c.values())).collect());
    let verdict = verify_system(&judged, &statement, &proof, &shown).map(|_| ());
    let of = |wanted: &dyn Fn(&Hint) -> bool| columns(&system, &values, wanted);
    Ok(Outcome {
        verdict,
        inputs: of(&|hint| matches!(hint, Hint::Input(_))),
        weights: of(&|hint| matches!(hint, Hint::Weight(_))),
        outputs: system.outputs.iter().map(|columns| joined(&values, columns)).collect(),
        messages,
    })
}

/// The columns of a system, and how many elements each has.
///
/// # Errors
/// When the graph cannot be proven.
pub fn columns_of(graph: &Graph, weights: &Weights) -> Result<Vec<(TensorId, usize)>, ProveError> {
    let bits: Vec<u8> = weights.tensors.iter().map(|tensor| signed_bits(tensor)).collect();
    let system = plan(graph, &bits)?;
    let columns = system.tensors.iter().enumerate();
    let columns = columns.filter(|(_, tensor)| matches!(tensor.definition, Definition::Column { .. }));
    Ok(columns.map(|(id, tensor)| (TensorId(id), tensor.shape.len())).collect())
}

fn columns(system: &System, values: &Values, wanted: &dyn Fn(&Hint) -> bool) -> Vec<Vec<i64>> {
    let tensors = system.tensors.iter().enumerate();
    let columns = tensors.filter(|(_, tensor)| match &tensor.definition {
        Definition::Column { hint, .. } => wanted(hint),
        _ => false,
    });
    columns.map(|(id, _)| values.of(TensorId(id)).iter().map(|&x| centred(x)).collect()).collect()
}

/// The integer of least size that an element of the field stands for.
fn centred(x: i64) -> i64 {
    let (p, half) = (P as i64, P as i64 / 2);
    (x.rem_euclid(p) + half).rem_euclid(p) - half
}

/// An output of its columns.
fn joined(values: &Values, columns: &[TensorId]) -> Vec<i64> {
    match columns {
        [high, low] => {
            let limbs = values.of(*high).iter().zip(values.of(*low));
            limbs.map(|(&high, &low)| (centred(high) << 16) + centred(low)).collect()
        }
        _ => columns.iter().flat_map(|&column| values.of(column)).map(|&x| centred(x)).collect(),
    }
}

/// What each root stands for.
struct Shown<'a>(BTreeMap<[String; 8], &'a [F]>);

impl Openings for Shown<'_> {
    fn verify(
        &self,
        root: &Root,
        point: &[E],
        value: E,
        _: &mut Reader<'_>,
        _: &mut Transcript,
    ) -> Result<(), OpeningError> {
        let values = self.0.get(&root.0.map(|x| x.to_string())).ok_or(OpeningError::Value)?;
        let at: E = eq_table(point).into_iter().zip(*values).map(|(weight, &x)| weight * x).sum();
        if at == value { Ok(()) } else { Err(OpeningError::Value) }
    }
}
