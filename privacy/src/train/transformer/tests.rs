use super::super::Noise;
use super::super::model::{Gradients, Model};
use super::super::plan::{Clip, Grid};
use super::super::step::Step;
use super::weights::{LayerWeights, Linear, Norm, Weights};
use super::{Adapters, Classifier, Reading, Target, Texts, Tuning};
use crate::noise::Generator;

const D: usize = 24;
const INNER: usize = 40;
const CLASSES: usize = 3;
const LENGTHS: [usize; 9] = [5, 1, 17, 3, 9, 2, 20, 7, 12];

struct Silence;

impl Noise for Silence {
    fn fill(&mut self, values: &mut [i64]) {
        values.fill(0);
    }
}

/// An encoder of random weights, whose word 0 overflows.
fn weights() -> Weights {
    let mut random = Generator::from_seed([5; 32]);
    let mut values = |count: usize, middle: f64, width: f64| -> Vec<f32> {
        (0..count).map(|_| (middle + (random.unit() - 0.5) * width) as f32).collect()
    };
    let mut words = values(30 * D, 0.0, 2.0);
    words[..D].fill(f32::MAX);
    let mut linear = |inputs: usize, outputs: usize| Linear {
        weight: values(inputs * outputs, 0.0, 0.9),
        bias: values(outputs, 0.0, 0.3),
    };
    let layers = (0..2)
        .map(|_| LayerWeights {
            query: linear(D, D),
            key: linear(D, D),
            value: linear(D, D),
            output: linear(D, D),
            attention_norm: Norm::default(),
            up: linear(D, INNER),
            down: linear(INNER, D),
            output_norm: Norm::default(),
        })
        .collect();
    let pooler = Some(linear(D, D));
    let mut norm = || Norm { gamma: values(D, 1.0, 0.4), beta: values(D, 0.0, 0.4) };
    let mut weights = Weights {
        hidden: D,
        heads: 3,
        inner: INNER,
        epsilon: 1e-12,
        words,
        embedding_norm: norm(),
        layers,
        pooler,
        ..Weights::default()
    };
    weights.layers.iter_mut().for_each(|layer| (layer.attention_norm, layer.output_norm) = (norm(), norm()));
    (weights.positions, weights.segments) = (values(20 * D, 0.0, 0.5), values(D, 0.0, 0.5));
    weights
}

fn classifiers() -> Vec<Classifier> {
    let adapters = |targets: &[Target]| Tuning::Adapters(Adapters { rank: 2, alpha: 3.0, targets: targets.to_vec() });
    [
        (Reading::Mean, adapters(&[Target::Query, Target::Value])),
        (Reading::First, adapters(&[Target::Query, Target::Key, Target::Value])),
        (Reading::Mean, Tuning::All),
        (Reading::First, Tuning::All),
    ]
    .into_iter()
    .map(|(reading, tuning)| Classifier::new(weights(), reading, tuning, CLASSES).unwrap())
    .collect()
}

fn texts() -> Texts {
    let mut random = Generator::from_seed([6; 32]);
    let texts: Vec<Vec<u32>> =
        LENGTHS.iter().map(|&length| (0..length).map(|_| 1 + random.below(29) as u32).collect()).collect();
    let classes = (0..texts.len() as u32).map(|index| index % CLASSES as u32).collect();
    Texts::new(texts.iter().map(Vec::as_slice), classes).unwrap()
}

/// Parameters of which none is 0.
fn parameters(model: &Classifier) -> Vec<f32> {
    let mut random = Generator::from_seed([9; 32]);
    model.begin(4).iter().map(|w| w + (random.unit() as f32 - 0.5) * 0.3).collect()
}

fn gradient(model: &Classifier, clip: Option<Clip>, texts: &Texts, batch: &[usize]) -> Vec<f32> {
    let grid = Grid { unit: 2.0_f64.powi(-30), strand: 256, sensitivity: 0.0 };
    let mut step = match clip {
        Some(clip) => Step::private(model, clip, grid),
        None => Step::plain(model),
    };
    let mut gradient = vec![0.0; model.parameters()];
    step.gradient(&parameters(model), texts, batch, &mut Silence, 1.0, &mut gradient);
    gradient
}

fn norm(values: &[f32]) -> f64 {
    values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt()
}

#[test]
fn gradients_are_those_of_small_differences() {
    let texts = texts();
    for model in classifiers() {
        let exact = gradient(&model, None, &texts, &[0, 1, 2]);
        let weights = parameters(&model);
        let mut gradients = model.gradients(false);
        let mut loss = |weights: &[f32]| {
            gradients.load(weights);
            gradients.outcome(weights, &texts, &[0, 1, 2]).loss
        };
        // Tensor by tensor: a mistake in a small one would drown in the others.
        for (name, range) in model.tensors() {
            let mut random = Generator::from_seed([1; 32]);
            let mut way = vec![0.0; weights.len()];
            way[range.clone()].fill_with(|| random.unit() as f32 - 0.5);
            let size = norm(&way);
            way.iter_mut().for_each(|v| *v *= 2e-2 / size as f32);
            let at = |sign: f32| weights.iter().zip(&way).map(|(w, v)| w + sign * v).collect::<Vec<f32>>();
            let slope = (loss(&at(1.0)) - loss(&at(-1.0))) / 2.0;
            let expected: f64 = exact.iter().zip(&way).map(|(&g, &v)| f64::from(g) * f64::from(v)).sum();
            let scale = norm(&exact[range]) * norm(&way);
            assert!((slope - expected).abs() < 0.02 * scale + 1e-6, "{name}: {slope} {expected} of {scale}");
        }
    }
}

#[test]
fn norms_of_examples_are_those_of_batches_of_one() {
    let texts = texts();
    let all: Vec<usize> = (0..texts.len()).collect();
    for model in classifiers() {
        let weights = parameters(&model);
        let mut together = model.gradients(true);
        together.load(&weights);
        together.compute(&weights, &texts, &all);
        let mut alone = model.gradients(true);
        alone.load(&weights);
        for example in all.clone() {
            let exact = norm(&gradient(&model, None, &texts, &[example]));
            let square = together.squares()[example];
            let known = f64::from(square).sqrt();
            assert!(known > exact * (1.0 - 1e-5) && known < exact * (1.0 + 3e-3), "{example}: {known} {exact}");
            alone.compute(&weights, &texts, &[example]);
            assert_eq!(alone.squares()[0].to_bits(), square.to_bits(), "others in the batch change nothing");
        }
    }
}

#[test]
fn a_clipped_sum_is_that_of_the_clipped_examples_and_none_adds_more_than_the_bound() {
    let texts = texts();
    let all: Vec<usize> = (0..texts.len()).collect();
    for model in classifiers() {
        let apart: Vec<Vec<f32>> = all.iter().map(|&i| gradient(&model, None, &texts, &[i])).collect();
        let bound = apart.iter().map(|one| norm(one)).sum::<f64>() / all.len() as f64;
        for clip in [Clip::Flat(bound), Clip::Automatic(bound)] {
            let mut expected = vec![0.0; model.parameters()];
            for (index, one) in apart.iter().enumerate() {
                let own = gradient(&model, Some(clip), &texts, &[index]);
                assert!(norm(&own) <= bound, "{} of {bound}", norm(&own));
                let factor = match clip {
                    Clip::Flat(_) => (bound / norm(one)).min(1.0),
                    Clip::Automatic(_) => bound / (norm(one) + 0.01),
                };
                expected.iter_mut().zip(one).for_each(|(e, &g)| *e += (factor * f64::from(g)) as f32);
            }
            let sum = gradient(&model, Some(clip), &texts, &all);
            let apart: Vec<f32> = sum.iter().zip(&expected).map(|(a, b)| a - b).collect();
            assert!(norm(&apart) < 4e-3 * all.len() as f64 * bound, "{clip:?}: {} of {bound}", norm(&apart));
        }
    }
}

#[test]
fn every_trained_tensor_changes_in_two_steps() {
    let texts = texts();
    for model in classifiers() {
        let begun = model.begin(1);
        let mut weights = begun.clone();
        let mut step = Step::plain(&model);
        let mut gradient = vec![0.0; weights.len()];
        // The first changes of adapters' A wait for B, which begins at 0.
        for _ in 0..2 {
            step.gradient(&weights, &texts, &[0, 2, 4], &mut Silence, 3.0, &mut gradient);
            weights.iter_mut().zip(&gradient).for_each(|(w, g)| *w -= 0.1 * g);
        }
        let mut counted = 0;
        for (name, range) in model.tensors() {
            counted += range.len();
            let moved = weights[range.clone()].iter().zip(&begun[range.clone()]).filter(|(a, b)| a != b).count();
            // A bias of keys moves no softmax: its gradient is rounding alone.
            assert!(moved * 2 > range.len() || name.ends_with("key.bias"), "{name}: {moved} of {}", range.len());
        }
        assert_eq!(counted, weights.len(), "every parameter is one of a tensor");
    }
}

#[test]
fn a_text_that_leads_to_no_number_adds_nothing() {
    for model in classifiers() {
        let good: &[u32] = &[3, 4, 5];
        let texts = Texts::new([good, &[1, 0, 2, 0], good], vec![0, 1, 2]).unwrap();
        let clip = Some(Clip::Flat(1.0));
        let both = gradient(&model, clip, &texts, &[0, 1, 2]);
        assert!(both.iter().all(|value| value.is_finite()) && norm(&both) > 0.0);
        assert_eq!(both, gradient(&model, clip, &texts, &[0, 2]));
    }
}

#[test]
fn merged_weights_answer_as_adapters_do() {
    let texts = texts();
    for model in classifiers() {
        let weights = parameters(&model);
        let merged = model.merged(&weights);
        let whole = Classifier::new(merged.encoder, model.reading(), Tuning::All, CLASSES);
        let Ok(whole) = whole else { panic!("{whole:?}") };
        let mut again = whole.begin(0);
        again[..(D + 1) * CLASSES].copy_from_slice(&weights[..(D + 1) * CLASSES]);
        let (own, other) = (model.logits(&weights, &texts), whole.logits(&again, &texts));
        let (Ok(own), Ok(other)) = (own, other) else { panic!("texts fit") };
        assert_eq!(own.len(), LENGTHS.len() * CLASSES);
        assert!(own.iter().zip(&other).all(|(a, b)| (a - b).abs() < 1e-5), "{own:?} {other:?}");
        assert_eq!(merged.head.weight[1], weights[CLASSES], "outputs by inputs");
    }
}

#[test]
fn what_cancels_or_overflows_is_bounded_by_its_spread() {
    use super::ghost::{Ghost, Known, SPREAD};
    let known = |x: &[f32], delta: &[f32]| {
        let mut known = Known::default();
        Ghost::default().add(x, 2, delta, 2, &mut known);
        known.bound()
    };
    // Two tokens that cancel: the gradient is 0, and its terms are not.
    let bound = known(&[1.0, 2.0, 1.0, 2.0], &[3.0, 4.0, -3.0, -4.0]);
    assert!((bound - 500.0 / (SPREAD * SPREAD)).abs() < 1e-3, "{bound}");
    let bound = known(&[1.0, 2.0, 1.0, 2.0], &[3.0, 4.0, 3.0, 4.0]);
    assert!((500.0..500.01).contains(&bound), "{bound}");
    for strange in [f32::NAN, f32::INFINITY, 1e15] {
        // The last one is finite, and products of it are not.
        let bound = known(&[strange, 0.0, -strange, 1.0], &[strange, 1.0, strange, 1.0]);
        assert!(!(bound as f32).is_finite(), "{strange}: {bound}");
    }
    // Numbers whose squares are 0 in single precision: of what is multiplied with them nothing would be seen.
    for (x, delta) in [([4e9, 0.0], [1e-23, 0.0]), ([1e-23, 0.0], [0.0, 4e9])] {
        assert!(known(&x, &delta).is_nan(), "{x:?}");
    }
    assert!(known(&[1e9, 0.0], &[1e-9, 0.0]).is_finite());
}

#[test]
fn a_plan_that_does_not_know_of_rounding_within_texts_is_refused() {
    use super::super::{Ledger, Plan, Rule, Run, Schedule, Wish};
    let (texts, folder) = (texts(), tempfile::tempdir().unwrap());
    for (index, model) in classifiers().into_iter().enumerate() {
        let parameters = model.parameters();
        let wish =
            Wish { epsilon: 5.0, delta: 1e-3, examples: 9, batch: 9, steps: 2, clip: Clip::Flat(1.0), parameters };
        let exact = Plan::new(wish).unwrap();
        let plan = Plan::with_rounding(wish, model.rounding()).unwrap();
        let whole = *model.tuning() == Tuning::All;
        assert_eq!(plan.grid.sensitivity > exact.grid.sensitivity, whole);
        let begun = |plan: Plan, name: &str| {
            let ledger = Ledger::create(&folder.path().join(format!("{name}{index}")), &[1; 32]).unwrap();
            Run::begin(&model, &texts, plan, (Rule::ADAM, Schedule::Constant, 0.1), 1, ledger, [1; 32]).is_ok()
        };
        assert!(begun(plan, "a") && begun(exact, "b") != whole);
    }
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let model = &classifiers()[0];
    let long = [1; 21];
    for (text, class, said) in [(&long[..], 0, "places for 20"), (&[30], 0, "token 30"), (&[1], 3, "no class 3")] {
        let texts = Texts::new([text], vec![class]).unwrap();
        assert!(model.fits(&texts).unwrap_err().0.contains(said), "{said}");
    }
    assert!(Texts::new([&[][..]], vec![0]).is_err() && Texts::new([&[1][..]], vec![]).is_err());
    let mut other = weights();
    other.layers[1].up.weight.pop();
    assert!(Classifier::new(other, Reading::Mean, Tuning::All, 2).unwrap_err().to_string().contains("intermediate"));
    let other = Weights { pooler: None, ..weights() };
    assert!(Classifier::new(other, Reading::First, Tuning::All, 2).is_err());
    let twice = Adapters { rank: 1, alpha: 1.0, targets: vec![Target::Query, Target::Query] };
    assert!(Classifier::new(weights(), Reading::Mean, Tuning::Adapters(twice), 2).is_err());
}

#[test]
fn tensors_have_the_names_and_shapes_of_other_libraries() {
    let model = &classifiers()[0];
    let mut weights = parameters(model);
    weights.iter_mut().enumerate().for_each(|(at, weight)| *weight = at as f32);
    let Some(tensors) = model.adapter_tensors(&weights) else { panic!("adapters") };
    let said = |tensor: &super::Tensor| format!("{} {:?}", tensor.name, tensor.shape);
    let expected = [
        "base_model.model.bert.encoder.layer.0.attention.self.query.lora_A.weight [2, 24]",
        "base_model.model.bert.encoder.layer.0.attention.self.query.lora_B.weight [24, 2]",
        "base_model.model.bert.encoder.layer.0.attention.self.value.lora_A.weight [2, 24]",
        "base_model.model.bert.encoder.layer.0.attention.self.value.lora_B.weight [24, 2]",
    ];
    assert_eq!(tensors[..4].iter().map(said).collect::<Vec<_>>(), expected);
    assert_eq!(said(&tensors[8]), "base_model.model.classifier.weight [3, 24]");
    assert_eq!((said(&tensors[9]).as_str(), tensors.len()), ("base_model.model.classifier.bias [3]", 10));
    // After 75 numbers of the linear layer, rows of four: two of queries, two of values.
    assert_eq!(tensors[2].values[..2], [77.0, 81.0], "the third column");
    assert_eq!(tensors[2].values[D], 78.0);
    // And after 96 of those two rows of queries' B, and two of values'.
    assert_eq!(tensors[3].values[..4], [219.0, 243.0, 220.0, 244.0]);
    let mut merged = model.merged(&weights);
    let encoder = merged.encoder("bert.");
    assert_eq!(encoder.len(), 5 + 2 * 16 + 2);
    assert_eq!(said(&encoder[0]), "bert.embeddings.word_embeddings.weight [30, 24]");
    assert_eq!(said(&encoder[15]), "bert.encoder.layer.0.intermediate.dense.weight [40, 24]");
}
