//! Random BERT folders, compiled, stored, loaded and run: the proven bounds hold for any input in range, and the
//! answers follow the float model.
#![cfg(feature = "float")]
#![allow(clippy::unwrap_used)]

use safetensors::tensor::{Dtype, TensorView};
use sahara_circuits::float::FloatModel;
use sahara_circuits::graph::{Graph, InputRange, InputSpec};
use sahara_circuits::kernels::Simd;
use sahara_circuits::model::CompiledModel;
use sahara_circuits::reference::ExecOptions;
use sahara_circuits::testgraph::Rng;
use sahara_circuits::testmodel::{SEED, TEXTS as LONGER, TestFolder, TestModel, catalogue};
use serde_json::json;

const TEXTS: [&str; 4] =
    ["hello world", "the quick brown fox", "a", "private network private network hello hello quick quick abc xyz"];

fn compiled(shape: TestModel, seed: u64) -> (tempfile::TempDir, CompiledModel) {
    let folder = tempfile::tempdir().unwrap();
    shape.write(folder.path(), seed).unwrap();
    let model = CompiledModel::compile(folder.path(), "random", &mut |_| {}).unwrap();
    (folder, model)
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

#[test]
fn answers_follow_the_float_model() {
    for (seed, shape) in [
        (1, TestModel::default()),
        (2, TestModel { layers: 1, hidden: 48, heads: 3, ffn: 100, positions: 40 }),
        (3, TestModel { layers: 3, hidden: 64, heads: 2, ffn: 128, positions: 16 }),
    ] {
        let (folder, model) = compiled(shape, seed);
        let float = FloatModel::load(folder.path()).unwrap();
        for text in TEXTS {
            let encoded = model.frontend.encode(text).unwrap();
            let run = model.execute(encoded.bucket, &encoded.inputs, &ExecOptions::default()).unwrap();
            assert_eq!(run.out_of_range, [], "{text}");
            let answer = model.frontend.decode(&encoded, &run.outputs);
            let close = cosine(&answer, &float.embed(text).unwrap());
            assert!(close > 0.985, "seed {seed}, {text:?}: cosine {close}");
        }
    }
}

#[test]
fn bounds_hold_for_hostile_inputs() {
    let names = [
        "bert-mean",
        "bert-cls-max-mean",
        "bert-mean-sqrt-dense",
        "bert-cls-last-three-dense",
        "mpnet-max",
        "bert-classifier",
        "bert-weighted-mean-dense",
        "bert-tanh",
    ];
    for case in catalogue().into_iter().filter(|case| names.contains(&case.name)) {
        let folder = tempfile::tempdir().unwrap();
        case.folder.write(folder.path(), 7).unwrap();
        let model = CompiledModel::compile(folder.path(), case.name, &mut |_| {}).unwrap();
        for bucket in model.buckets() {
            let graph = model.graph(bucket).unwrap();
            for seed in 0..4 {
                let run = model.execute(bucket, &hostile(&graph, seed), &ExecOptions::default()).unwrap();
                let beyond = run.out_of_range.iter().map(|(node, _)| &graph.nodes[node.0 as usize].name);
                assert_eq!(beyond.collect::<Vec<_>>(), [""; 0], "{} {bucket} {seed}", case.name);
            }
        }
    }
}

/// Inputs within their limits that a client who follows no other rule might send: rows as long as allowed, in few or
/// all channels; masks of any strength that leave some token.
fn hostile(graph: &Graph, seed: u64) -> Vec<Vec<i32>> {
    let mut rng = Rng::new(seed);
    let real = 1 + rng.below(u64::from(graph.seq_len)) as usize;
    let input = |spec: &InputSpec| -> Vec<i32> {
        let cols = spec.shape.cols as usize;
        let most = spec.max_abs as i32;
        if spec.range == InputRange::Mask {
            let mut mask: Vec<i32> = (0..cols).map(|i| if i < real { 0 } else { -most }).collect();
            if seed % 2 == 1 {
                mask.iter_mut().for_each(|x| *x = -(rng.below(most as u64 + 1) as i32));
                mask[rng.below(cols as u64) as usize] = 0;
            }
            return mask;
        }
        let norm = f64::from(spec.max_row_norm);
        let mut out = vec![0; spec.shape.len()];
        for row in out.chunks_exact_mut(cols) {
            let each = ((norm / (cols as f64).sqrt()).floor() as i32).min(most);
            match rng.below(3) {
                0 => row[rng.below(cols as u64) as usize] = most.min(norm as i32),
                1 => row.iter_mut().for_each(|x| *x = if rng.below(2) == 0 { each } else { -each }),
                _ => row.iter_mut().for_each(|x| *x = each),
            }
        }
        out
    };
    let inputs: Vec<Vec<i32>> = graph.inputs.iter().map(input).collect();
    graph.inputs.iter().zip(&inputs).for_each(|(spec, input)| spec.check(input).unwrap());
    inputs
}

/// The largest values of the channels may come from as many rows: their length is not that of a row. A layer whose
/// weights have one sign shows it.
#[test]
fn what_follows_the_largest_values_has_room_for_all_of_them() {
    for (name, function) in [("Tanh", "Tanh"), ("ReLU", "ReLU"), ("GELU", "GELU")] {
        let pooling = json!({"word_embedding_dimension": 64, "pooling_mode_max_tokens": true,
            "pooling_mode_mean_tokens": false});
        let dense = |inputs: usize, outputs: usize, class: &str| {
            let class = format!("torch.nn.modules.{class}");
            let config =
                json!({"in_features": inputs, "out_features": outputs, "bias": true, "activation_function": class});
            ("Dense", config)
        };
        let modules = vec![
            ("Pooling", pooling),
            dense(64, 32, &format!("activation.{function}")),
            dense(32, 8, "linear.Identity"),
        ];
        let folder = tempfile::tempdir().unwrap();
        TestFolder { modules, ..TestFolder::default() }.write(folder.path(), SEED).unwrap();
        let values = |value: f32, n: usize| vec![value; n].iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
        let (weight, bias) = (values(0.02, 32 * 64), values(0.0, 32));
        let tensors = [("linear.weight", vec![32, 64], &weight), ("linear.bias", vec![32], &bias)];
        let views = tensors.map(|(name, shape, bytes)| (name, TensorView::new(Dtype::F32, shape, bytes).unwrap()));
        let path = folder.path().join("2_Dense/model.safetensors");
        assert!(path.exists());
        std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
        let model = CompiledModel::compile(folder.path(), name, &mut |_| {}).unwrap();
        let float = FloatModel::load(folder.path()).unwrap();
        for text in TEXTS.iter().chain(&LONGER) {
            let encoded = model.frontend.encode(text).unwrap();
            let run = model.execute(encoded.bucket, &encoded.inputs, &ExecOptions::default()).unwrap();
            assert_eq!(run.out_of_range, [], "{name} {text}");
            let close = cosine(&model.frontend.decode(&encoded, &run.outputs), &float.embed(text).unwrap());
            assert!(close > 0.999, "{name} {text:?}: cosine {close}");
        }
    }
}

#[test]
fn padding_changes_nothing_but_rounding_of_the_softmax() {
    let (_folder, model) = compiled(TestModel::default(), 3);
    let encoded = model.frontend.encode("hello world").unwrap();
    let short = model.execute(16, &encoded.inputs, &ExecOptions::default()).unwrap();
    let mut inputs = encoded.inputs.clone();
    inputs[0].resize(64 * 32, 0);
    inputs[1].resize(64, -(model.graph(64).unwrap().inputs[1].max_abs as i32));
    inputs[2].resize(64, 0);
    let long = model.execute(64, &inputs, &ExecOptions::default()).unwrap();
    let answer = |outputs| model.frontend.decode(&encoded, outputs);
    let close = cosine(&answer(&short.outputs), &answer(&long.outputs));
    assert!(close > 0.9999, "{close}");
}

#[test]
fn stored_and_loaded_models_are_the_same_and_replace_each_other() {
    let (_folder, model) = compiled(TestModel::default(), 1);
    let (_other, second) = compiled(TestModel::default(), 2);
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("random");
    second.save(&dir).unwrap();
    model.save(&dir).unwrap();
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 1, "nothing is left beside the model");
    let again = CompiledModel::load(&dir).unwrap();
    assert_eq!((&again.name, &again.weights, again.buckets()), (&model.name, &model.weights, vec![16, 32, 64]));
    for bucket in model.buckets() {
        assert_eq!(again.graph(bucket).unwrap().id(), model.graph(bucket).unwrap().id());
    }
    for text in TEXTS {
        assert_eq!(again.frontend.encode(text).unwrap(), model.frontend.encode(text).unwrap());
    }
}

#[test]
fn compiling_twice_gives_the_same_graphs_whatever_the_threads_and_kernels_of_a_run() {
    let (_a, first) = compiled(TestModel::default(), 5);
    let (_b, second) = compiled(TestModel::default(), 5);
    assert_eq!(first.graph(64).unwrap().id(), second.graph(64).unwrap().id());
    let encoded = first.frontend.encode(TEXTS[3]).unwrap();
    let run = |threads, simd| {
        let opts = ExecOptions { threads, record_trace: true, simd };
        first.execute(encoded.bucket, &encoded.inputs, &opts).unwrap()
    };
    let expected = run(1, Simd::Auto);
    for (threads, simd) in [(2, Simd::Auto), (7, Simd::Auto), (1, Simd::Scalar), (7, Simd::Scalar)] {
        assert_eq!(run(threads, simd), expected);
    }
}
