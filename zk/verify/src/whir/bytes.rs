//! The bytes of an opening: field elements one after the other, as many as the parameters say.

use p3_merkle_tree::PrunedMerklePaths;
use p3_multilinear_util::poly::Poly;
use p3_sumcheck::{OpeningBatch, SumcheckData};
use p3_symmetric::MerkleCap;
use p3_whir::{QueryOpenings, RoundConfig, SharedProofOpening, WhirProof, WhirRoundProof};
use sahara_circuits::bytes::{DecodeError, Reader, Writer};

use super::{Config, Digest, MAX_VARIABLES, Opening, Root};
use crate::field::{E, F, read_base, read_extension, write_base, write_extension};

/// Appends an opening; its value is not among the bytes.
pub fn write(opening: &Opening, out: &mut Writer) {
    let proof = &opening.whir;
    proof.initial_ood_answers.iter().for_each(|&x| write_extension(out, x));
    write_sumcheck(&proof.initial_sumcheck, out);
    for round in &proof.rounds {
        let root = round.commitment.as_ref().and_then(Root::of);
        root.unwrap_or(Root([F::default(); 8])).write(out);
        round.ood_answers.iter().for_each(|&x| write_extension(out, x));
        write_base(out, round.pow_witness);
        write_queries(&round.openings, out);
        write_sumcheck(&round.sumcheck, out);
    }
    let last = proof.final_poly.iter().flat_map(Poly::iter);
    last.for_each(|&x| write_extension(out, x));
    write_base(out, proof.final_pow_witness);
    write_queries(&proof.final_openings, out);
    proof.final_sumcheck.iter().for_each(|sumcheck| write_sumcheck(sumcheck, out));
}

pub(super) fn read(config: &Config, value: E, input: &mut Reader<'_>) -> Result<Opening, DecodeError> {
    let schedule = config.folding_schedule();
    let initial_ood_answers = read_extensions(config.commitment_ood_samples(), input)?;
    let initial_sumcheck = read_sumcheck(schedule[0], config.starting_folding_pow_bits(), input)?;
    let mut rounds = Vec::new();
    for (index, round) in config.round_parameters().iter().enumerate() {
        rounds.push(WhirRoundProof {
            commitment: Some(MerkleCap::new(vec![read_digest(input)?])),
            ood_answers: read_extensions(round.ood_samples, input)?,
            pow_witness: read_base(input)?,
            openings: read_queries(index == 0, round, input)?,
            sumcheck: read_sumcheck(schedule[index + 1], round.folding_pow_bits, input)?,
        });
    }
    let left = config.final_sumcheck_rounds();
    let final_poly = Some(Poly::new(read_extensions(1 << left, input)?));
    let final_pow_witness = read_base(input)?;
    let final_openings = read_queries(schedule.len() == 1, &config.final_round_config(), input)?;
    let final_sumcheck = match left {
        0 => None,
        _ => Some(read_sumcheck(left, config.final_folding_pow_bits(), input)?),
    };
    let whir = WhirProof {
        initial_ood_answers,
        initial_sumcheck,
        rounds,
        final_poly,
        final_pow_witness,
        final_openings,
        final_sumcheck,
    };
    Ok(Opening { whir, evals: vec![OpeningBatch::new(vec![value], Vec::new())] })
}

fn write_sumcheck(sumcheck: &SumcheckData<F, E>, out: &mut Writer) {
    sumcheck.polynomial_evaluations.iter().flatten().for_each(|&x| write_extension(out, x));
    sumcheck.pow_witnesses.iter().for_each(|&x| write_base(out, x));
}

fn read_sumcheck(rounds: usize, pow_bits: usize, input: &mut Reader<'_>) -> Result<SumcheckData<F, E>, DecodeError> {
    let mut polynomial_evaluations = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        polynomial_evaluations.push([read_extension(input)?, read_extension(input)?]);
    }
    let witnesses = if pow_bits == 0 { 0 } else { rounds };
    let pow_witnesses = (0..witnesses).map(|_| read_base(input)).collect::<Result<_, _>>()?;
    Ok(SumcheckData { polynomial_evaluations, pow_witnesses })
}

fn write_queries(openings: &QueryOpenings<F, E, PrunedMerklePaths<F, 8>>, out: &mut Writer) {
    let siblings = match openings {
        QueryOpenings::Base(shared) => {
            shared.rows.iter().flatten().for_each(|&x| write_base(out, x));
            &shared.proof.sibling_hashes
        }
        QueryOpenings::Extension(shared) => {
            shared.rows.iter().flatten().for_each(|&x| write_extension(out, x));
            &shared.proof.sibling_hashes
        }
    };
    out.u32(siblings.len() as u32);
    siblings.iter().flatten().for_each(|&x| write_base(out, x));
}

/// As many rows as are asked for; of a domain with no more positions, each once.
fn read_queries(
    base: bool,
    round: &RoundConfig,
    input: &mut Reader<'_>,
) -> Result<QueryOpenings<F, E, PrunedMerklePaths<F, 8>>, DecodeError> {
    let queries = round.num_queries.min(1 << round.log_folded_domain_size);
    let width = 1 << round.folding_factor;
    Ok(if base {
        let rows = read_rows(queries, || (0..width).map(|_| read_base(input)).collect())?;
        QueryOpenings::Base(SharedProofOpening { rows, proof: read_siblings(queries, input)? })
    } else {
        let rows = read_rows(queries, || read_extensions(width, input))?;
        QueryOpenings::Extension(SharedProofOpening { rows, proof: read_siblings(queries, input)? })
    })
}

fn read_rows<T>(
    queries: usize,
    mut row: impl FnMut() -> Result<Vec<T>, DecodeError>,
) -> Result<Vec<Vec<T>>, DecodeError> {
    (0..queries).map(|_| row()).collect()
}

/// At most one path of the deepest tree for each query.
fn read_siblings(queries: usize, input: &mut Reader<'_>) -> Result<PrunedMerklePaths<F, 8>, DecodeError> {
    let count = input.count("digests", queries * (MAX_VARIABLES + 1))?;
    let sibling_hashes = (0..count).map(|_| read_digest(input)).collect::<Result<_, _>>()?;
    Ok(PrunedMerklePaths { sibling_hashes })
}

pub(super) fn read_digest(input: &mut Reader<'_>) -> Result<Digest, DecodeError> {
    let mut digest = Digest::default();
    for x in &mut digest {
        *x = read_base(input)?;
    }
    Ok(digest)
}

fn read_extensions(count: usize, input: &mut Reader<'_>) -> Result<Vec<E>, DecodeError> {
    (0..count).map(|_| read_extension(input)).collect()
}
