//! Blindness at its root: the three state machines run on the real model in one process, with fixed seeds, and
//! every byte that a party would receive is looked at. (Over real connections TLS hides all of this; these are the bytes
//! inside it.)

mod common;

use std::sync::Arc;

use common::{Home, MODEL};
use sahara_circuits::model::CompiledModel;
use sahara_mpc::protocol::{
    Assignment, Dealing, Evaluator, EvaluatorRole, JobSecret, MaskDomain, PackContents, Plan, Rounding, Seed, Step,
    Visibility, WeightMaterial, combine_outputs, mask_weights, prepare, share_inputs,
};

/// Bytes that one kind of message carries, all together, and the length of each message.
#[derive(Default)]
struct Seen {
    bytes: Vec<u8>,
    lengths: Vec<usize>,
}

impl Seen {
    fn message(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.lengths.push(bytes.len());
    }

    fn words(&mut self, words: &[u32]) {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.message(&bytes);
    }
}

/// What the parties receive in one job.
#[derive(Default)]
struct Job {
    /// Steps of the graph that caused an exchange.
    steps: Vec<String>,
    masked_weights: Seen,
    corrections: Seen,
    inputs: [Seen; 2],
    openings: [Seen; 2],
    outputs: [Seen; 2],
    answer: Vec<Vec<i32>>,
}

fn seed(number: u8) -> Seed {
    let mut bytes = [0x5a; 32];
    bytes[0] = number;
    Seed::from_bytes(bytes)
}

/// One answer by a helper and two evaluators; `first_seed` numbers the seeds that this job takes.
fn run(model: &CompiledModel, prompt: &str, rounding: Rounding, first_seed: u8) -> Job {
    let mut job = Job::default();
    let encoded = model.frontend.encode(prompt).expect("a prompt");
    let graph = model.graph(encoded.bucket).expect("a graph");
    let plan = Arc::new(Plan::new(graph.clone(), rounding, Visibility::Private).expect("a plan"));
    let assignment = Assignment::new(2).expect("node 2 helps");
    let weight_seeds = [seed(first_seed), seed(first_seed + 1)];
    let pack_seeds = || [seed(first_seed + 2), seed(first_seed + 3)];

    let masks = MaskDomain::new([7; 32], [8; 32], 1, assignment);
    let masked = mask_weights(&model.weights, &masks, &weight_seeds[0], &weight_seeds[1]);
    job.masked_weights.words(&masked);
    let helper = WeightMaterial::helper_private(&graph, &masks, &weight_seeds[0], &weight_seeds[1]);
    let [one, two] = pack_seeds();
    let mut corrections = Dealing::new(&plan, &helper, [&one, &two]).expect("a dealing").collect().expect("dealing");
    job.corrections.message(&corrections);

    let mut shares = share_inputs(&encoded.inputs, &seed(first_seed + 4)).into_iter();
    let mut machines = Vec::new();
    for (index, (role, pack_seed)) in
        [EvaluatorRole::First, EvaluatorRole::Second].into_iter().zip(pack_seeds()).enumerate()
    {
        let share = shares.next().expect("two shares");
        for tensor in &share {
            job.inputs[index].words(tensor);
        }
        let weights = WeightMaterial::evaluator_private(&graph, &masks, role, &masked, &weight_seeds[index])
            .expect("weights of the graph");
        let corrections = if role == EvaluatorRole::First { Vec::new() } else { std::mem::take(&mut corrections) };
        let prepared = prepare(&plan, &weights, role, &pack_seed, &corrections).expect("preparing");
        let pack = PackContents { seed: pack_seed, corrections, prepared };
        let zero = JobSecret::from_bytes(*seed(first_seed + 5).as_bytes()).zero_sharing(0);
        machines.push(Evaluator::new(plan.clone(), Arc::new(weights), role, pack, share, zero).expect("a machine"));
    }
    let (mut received, mut outputs) = ([None, None], [const { None }; 2]);
    while outputs.iter().any(Option::is_none) {
        let mut sent = [None, None];
        for (index, machine) in machines.iter_mut().enumerate() {
            match machine.step(received[index].take()).expect("a step") {
                Step::Exchange { send, name } => {
                    job.openings[1 - index].message(&send);
                    if index == 0 {
                        job.steps.push(name);
                    }
                    sent[index] = Some(send);
                }
                Step::Done { outputs: share, .. } => {
                    for tensor in &share {
                        job.outputs[index].words(tensor);
                    }
                    outputs[index] = Some(share);
                }
            }
        }
        let [one, two] = sent;
        received = [two, one];
    }
    let [Some(one), Some(two)] = outputs else { unreachable!("the loop ends with both") };
    job.answer = combine_outputs(&one, &two).expect("shares of one shape");
    job
}

fn model() -> CompiledModel {
    let home = Home::with_model();
    CompiledModel::load(&home.path().join("models").join(MODEL).join("compiled")).expect("the pulled model")
}

#[test]
fn received_bytes_are_uniform() {
    let model = model();
    let job = run(&model, "The patient was given 5 mg of the drug.", Rounding::Exact, 1);
    for (what, seen) in [
        ("masked weights, to both evaluators", &job.masked_weights),
        ("corrections, to the second evaluator", &job.corrections),
        ("input share, to the first evaluator", &job.inputs[0]),
        ("input share, to the second evaluator", &job.inputs[1]),
        ("openings, to the first evaluator", &job.openings[0]),
        ("openings, to the second evaluator", &job.openings[1]),
    ] {
        let statistic = chi_squared(&seen.bytes);
        println!("{what}: {} bytes in {} messages, chi-squared {statistic:.0}", seen.bytes.len(), seen.lengths.len());
        // 255 degrees of freedom: mean 255, standard deviation 22.6. The seeds are fixed, so this never flickers.
        assert!(statistic < 400.0, "{what}: chi-squared {statistic}, the bytes are not uniform");
    }
    let plain: Vec<u8> = model.weights.tensors.iter().flatten().flat_map(|word| word.to_le_bytes()).collect();
    assert!(chi_squared(&plain) > 10_000.0, "the test would not notice plain weights");
}

#[test]
fn prompts_of_one_length_cause_the_same_messages() {
    let model = model();
    let (one, two) = ("The patient was given 5 mg of the drug.", "Shares in the chip maker rose.");
    for rounding in [Rounding::Exact, Rounding::Faithful] {
        let (a, b) = (run(&model, one, rounding, 10), run(&model, two, rounding, 20));
        assert_ne!(a.answer, b.answer, "the prompts differ");
        assert_eq!(a.steps, b.steps);
        for (a, b) in a
            .openings
            .iter()
            .chain(&a.inputs)
            .chain(&a.outputs)
            .zip(b.openings.iter().chain(&b.inputs).chain(&b.outputs))
        {
            assert_eq!(a.lengths, b.lengths);
        }
        assert_eq!(a.corrections.lengths, b.corrections.lengths);
        println!("{rounding:?}: {} exchanges, {} bytes each way", a.steps.len(), a.openings[0].bytes.len());
    }
}

/// Pearson's statistic of the byte histogram against the uniform one.
fn chi_squared(bytes: &[u8]) -> f64 {
    let mut counts = [0u64; 256];
    for byte in bytes {
        counts[usize::from(*byte)] += 1;
    }
    let expected = bytes.len() as f64 / 256.0;
    counts.iter().map(|count| (*count as f64 - expected).powi(2) / expected).sum()
}
