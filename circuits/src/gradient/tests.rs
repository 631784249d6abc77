//! Gradients against floats, and what one row can change.

use super::*;
use crate::reference::execute;
use crate::testgraph::Rng;

const NOISE: u64 = 1 << 20;

struct Data {
    gradient: Gradient,
    rows: Vec<Vec<f32>>,
    labels: Vec<u32>,
}

fn data(seed: u64, count: usize, features: usize, labels: u32, coarser: u8) -> Data {
    let mut rng = Rng::new(seed);
    let rows = (0..count).map(|_| (0..features).map(|_| rng.below(2001) as f32 / 1000.0 - 1.0).collect());
    let rows: Vec<Vec<f32>> = rows.collect();
    let labels_of = rows.iter().map(|row| if row[0] > 0.2 { 1 } else { rng.below(u64::from(labels)) as u32 }).collect();
    Data { gradient: Gradient::new(count, features, labels, coarser).unwrap(), rows, labels: labels_of }
}

impl Data {
    /// With the rows that are not at one of these places.
    fn weights(&self, but: Option<usize>) -> Weights {
        let rows: Vec<&[f32]> = self.rows.iter().map(Vec::as_slice).collect();
        let mut weights = self.gradient.weights(&rows, &self.labels).unwrap();
        if let Some(row) = but {
            let (places, width) = (self.gradient.rows(), self.gradient.width());
            (0..width).for_each(|column| weights.tensors[0][column * places + row] = 0);
            weights.tensors[1].iter_mut().skip(row).step_by(places).for_each(|target| *target = 0);
            weights.tensors[2][row * width..][..width].fill(0);
        }
        weights
    }

    fn answer(&self, weights: &Weights, head: Vec<i32>, noise: Vec<i32>) -> Vec<i32> {
        let mut graph = self.gradient.graph([0; 32], NOISE).unwrap();
        graph.weights_root = weights.root(&graph.weights);
        execute(&graph, weights, &[head, noise], &Default::default()).unwrap().outputs.remove(0)
    }

    /// The mean gradient of the logistic loss, in floats.
    fn float(&self, head: &[f32]) -> Vec<f32> {
        let width = self.gradient.width();
        let mut sum = vec![0.0_f32; self.gradient.numbers()];
        for (row, &label) in self.rows.iter().zip(&self.labels) {
            let length = (row.iter().map(|x| x * x).sum::<f32>() + BIAS * BIAS).sqrt();
            let row: Vec<f32> = row.iter().chain([&BIAS]).map(|x| x / length).collect();
            for (number, (one, sum)) in head.chunks(width).zip(sum.chunks_mut(width)).enumerate() {
                let score: f32 = one.iter().zip(&row).map(|(w, x)| w * x).sum();
                let own = if self.gradient.heads() == 1 { label == 1 } else { label as usize == number };
                let residual = 1.0 / (1.0 + (-score).exp()) - f32::from(u8::from(own));
                sum.iter_mut().zip(&row).for_each(|(sum, x)| *sum += residual * x);
            }
        }
        sum.iter().map(|x| x / self.rows.len() as f32).collect()
    }

    fn head(&self, seed: u64, length: f32) -> Vec<f32> {
        let mut rng = Rng::new(seed);
        let mut head: Vec<f32> = (0..self.gradient.numbers()).map(|_| rng.below(2001) as f32 / 1000.0 - 1.0).collect();
        for one in head.chunks_mut(self.gradient.width()) {
            let own = one.iter().map(|x| x * x).sum::<f32>().sqrt();
            one.iter_mut().for_each(|x| *x *= length / own);
        }
        head
    }
}

#[test]
fn a_gradient_is_that_of_the_logistic_loss_and_known_noise_is_added_exactly() {
    for (seed, count, features, labels) in [(1, 300, 12, 2), (2, 150, 40, 3), (3, 5000, 6, 2), (4, 40, 384, 6)] {
        let data = data(seed, count, features, labels, 2);
        let weights = data.weights(None);
        for reach in [0.0, 1.0, 6.0, 15.9] {
            let head = data.head(seed + 9, reach);
            let plain = data.answer(&weights, data.gradient.input(&head).unwrap(), vec![0; head.len()]);
            let (found, want) = (data.gradient.mean(&plain), data.float(&head));
            let length = |numbers: &[f32]| numbers.iter().map(|x| x * x).sum::<f32>().sqrt();
            let apart: Vec<f32> = found.iter().zip(&want).map(|(found, want)| found - want).collect();
            let (apart, own) = (length(&apart), length(&want));
            assert!(own > 0.05 && apart < 0.03 * own, "{labels} labels, {count} rows: {apart} of {own}");
            let noise: Vec<i32> = (0..head.len() as i32).map(|i| i * 7919 % 2_000_001 - 1_000_000).collect();
            let noisy = data.answer(&weights, data.gradient.input(&head).unwrap(), noise.clone());
            assert!(noisy.iter().zip(&plain).zip(&noise).all(|((noisy, plain), noise)| *noisy == plain + noise));
        }
    }
}

#[test]
fn one_row_changes_no_more_than_is_said_also_for_heads_out_of_range() {
    let mut rng = Rng::new(5);
    let mut most = 0.0_f64;
    for (labels, features, coarser) in [(2, 3, 1), (2, 30, 9), (4, 8, 4), (2, 1, 17)] {
        let data = data(6, 30, features, labels, coarser);
        let (l1, l2_squared) = data.gradient.sensitivity();
        let all = data.weights(None);
        for row in 0..30 {
            let without = data.weights(Some(row));
            let wild = |rng: &mut Rng| (0..data.gradient.numbers()).map(|_| rng.below(1 << 32) as u32 as i32).collect();
            let far = data.head(row as u64, 15.9);
            for head in [data.gradient.input(&far).unwrap(), wild(&mut rng), wild(&mut rng)] {
                let still = vec![0; head.len()];
                let answers = [&all, &without].map(|weights| data.answer(weights, head.clone(), still.clone()));
                let apart: Vec<u64> =
                    answers[0].iter().zip(&answers[1]).map(|(a, b)| u64::from(a.abs_diff(*b))).collect();
                let squares = apart.iter().map(|x| x * x).sum::<u64>();
                assert!(apart.iter().sum::<u64>() <= l1 && squares <= l2_squared, "{apart:?} over {l1}, {l2_squared}");
                most = most.max(squares as f64 / l2_squared as f64);
            }
        }
    }
    assert!(most > 0.8, "the bound is nearly reached: {most}");
}

#[test]
fn no_row_is_longer_than_its_bound_whatever_its_numbers_are() {
    let gradient = Gradient::new(4, 500, 2, 1).unwrap();
    let rows = [vec![1e38_f32; 500], vec![0.0; 500], vec![1e-30; 500], vec![0.04472; 500]];
    let rows: Vec<&[f32]> = rows.iter().map(Vec::as_slice).collect();
    let weights = gradient.weights(&rows, &[0, 1, 0, 1]).unwrap();
    for row in weights.tensors[2].chunks(gradient.width()) {
        let square: i64 = row.iter().map(|x| i64::from(*x) * i64::from(*x)).sum();
        assert!((1 << 19..=1 << 20).contains(&square), "{square}");
    }
}

#[test]
fn as_many_rows_as_there_may_be_do_not_wrap_and_one_more_is_refused() {
    let most = Gradient::most_rows() as usize;
    let gradient = Gradient::new(most, 1, 2, 1).unwrap();
    let rows = vec![&[1000.0_f32][..]; most];
    let data = Data { gradient, rows: Vec::new(), labels: Vec::new() };
    let weights = gradient.weights(&rows, &vec![1; most]).unwrap();
    // All residuals are the same, and as great as they may be.
    let answer = data.answer(&weights, gradient.input(&[-15.9, 0.0]).unwrap(), vec![NOISE as i32; 2]);
    let mean = (f64::from(answer[0]) - NOISE as f64) * gradient.last_place() / most as f64;
    assert!((mean + 1.0).abs() < 1e-3, "{mean}");
    let refused = Gradient::new(most + 1, 1, 2, 1).unwrap_err();
    assert_eq!(refused, GradientError::Rows(most + 1));
    assert!(refused.to_string().contains("too many to be added up in 32 bits"), "{refused}");
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    assert_eq!(Gradient::new(0, 1, 2, 1), Err(GradientError::Rows(0)));
    assert_eq!(Gradient::new(4, 0, 2, 1), Err(GradientError::Width { row: 1, found: 0 }));
    assert_eq!(Gradient::new(4, 1 << 14, 2, 1), Err(GradientError::Width { row: 1, found: 1 << 14 }));
    assert_eq!(Gradient::new(4, 3, 1, 1), Err(GradientError::Labels(1)));
    assert_eq!(Gradient::new(4, 3, 65, 1), Err(GradientError::Labels(65)));
    assert_eq!(Gradient::new(4, 3, 2, 0), Err(GradientError::Coarser(0)));
    assert_eq!(Gradient::new(4, 3, 2, 18), Err(GradientError::Coarser(18)));
    let gradient = Gradient::new(2, 2, 3, 1).unwrap();
    let row = &[0.5_f32, 0.5][..];
    let nan = &[0.5, f32::NAN][..];
    assert_eq!(gradient.weights(&[row, row, row], &[0, 1, 2]), Err(GradientError::Rows(3)));
    assert_eq!(gradient.weights(&[row, row], &[0]), Err(GradientError::Rows(2)));
    assert_eq!(gradient.weights(&[row, &[1.0]], &[0, 1]), Err(GradientError::Width { row: 2, found: 1 }));
    assert_eq!(gradient.weights(&[row, nan], &[0, 1]), Err(GradientError::Number(2)));
    assert_eq!(gradient.weights(&[row, row], &[0, 3]), Err(GradientError::Label { row: 2, label: 3, labels: 3 }));
    let head = |x: f32| gradient.input(&[x, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    assert!(head(LONGEST_HEAD).is_ok());
    for wrong in [head(LONGEST_HEAD + 0.01), head(f32::NAN), gradient.input(&[0.0; 8])] {
        assert_eq!(wrong, Err(GradientError::Head { expected: 9 }));
    }
    let noise = (1 << 31) - (1 << 18);
    assert!(gradient.graph([0; 32], noise - 2).is_ok());
    assert_eq!(gradient.graph([0; 32], noise), Err(GradientError::Noise(noise)));
    assert_eq!(gradient.graph([0; 32], 0), Err(GradientError::Noise(0)));
}

/// With rows of two kinds and no noise: the two kinds are told apart, by one head and by one for each of three labels.
#[test]
fn a_descent_learns_what_tells_rows_apart_and_stays_within_the_graph_s_range() {
    for labels in [2, 3] {
        let mut data = data(8, 200, 4, labels, 2);
        data.labels = data.rows.iter().map(|row| u32::from(row[1] > 0.1)).collect();
        let weights = data.weights(None);
        // Hardly any noise: the rate is the greatest there is.
        let mut descent = Descent::new(data.gradient, 60, 1);
        for step in 0..60 {
            let head = descent.input().unwrap();
            let still = vec![0; head.len()];
            assert_eq!(descent.done(), step);
            descent.step(&data.answer(&weights, head, still)).unwrap();
        }
        let layer = descent.layer();
        assert_eq!(layer.len(), labels as usize);
        let output = |row: &[f32], (weights, bias): &(Vec<f32>, f32)| {
            weights.iter().zip(row).map(|(w, x)| w * x).sum::<f32>() + bias
        };
        let right = data.rows.iter().zip(&data.labels).filter(|(row, label)| {
            let outputs: Vec<f32> = layer.iter().map(|one| output(row, one)).collect();
            (0..layer.len()).max_by(|a, b| outputs[*a].total_cmp(&outputs[*b])) == Some(**label as usize)
        });
        assert!(right.count() >= 185);
        assert_eq!(descent.step(&[0]), Err(GradientError::Head { expected: data.gradient.numbers() }));
        // Whatever nodes answer, the next head is one that the graph takes.
        for wild in [i32::MAX, i32::MIN, 1] {
            descent.step(&vec![wild; data.gradient.numbers()]).unwrap();
            descent.input().unwrap();
        }
    }
}
