//! What a provider computes for a round of training: a few steps of its own from the common weights, and by how much they moved.

/// How a provider trains on its own rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Local {
    /// Steps, each over all rows.
    pub steps: u32,
    /// Learning rate of a step.
    pub rate: f32,
}

/// By how much multinomial logistic regression moves from `weights` (`inputs × classes`, row-major, and a bias for each class) in
/// a few steps of gradient descent over rows of `inputs` numbers with a class each. Without rows it does not move.
pub fn local_update(weights: &[f32], rows: &[f32], classes: &[u32], outputs: usize, local: Local) -> Vec<f32> {
    if classes.is_empty() || outputs == 0 {
        return vec![0.0; weights.len()];
    }
    let inputs = rows.len() / classes.len();
    let mut moved = weights.to_vec();
    let mut gradient = vec![0.0_f32; weights.len()];
    let mut logits = vec![0.0_f32; outputs];
    for _ in 0..local.steps {
        gradient.fill(0.0);
        for (row, class) in rows.chunks_exact(inputs).zip(classes) {
            let (matrix, bias) = moved.split_at(inputs * outputs);
            logits.copy_from_slice(bias);
            for (x, weights) in row.iter().zip(matrix.chunks_exact(outputs)) {
                logits.iter_mut().zip(weights).for_each(|(logit, w)| *logit += x * w);
            }
            softmax(&mut logits);
            if let Some(own) = logits.get_mut(*class as usize) {
                *own -= 1.0;
            }
            let (matrix, bias) = gradient.split_at_mut(inputs * outputs);
            for (x, gradient) in row.iter().zip(matrix.chunks_exact_mut(outputs)) {
                gradient.iter_mut().zip(&logits).for_each(|(g, delta)| *g += x * delta);
            }
            bias.iter_mut().zip(&logits).for_each(|(g, delta)| *g += delta);
        }
        let rate = local.rate / classes.len() as f32;
        moved.iter_mut().zip(&gradient).for_each(|(w, g)| *w -= rate * g);
    }
    moved.iter_mut().zip(weights).for_each(|(moved, w)| *moved -= w);
    moved
}

fn softmax(logits: &mut [f32]) {
    let greatest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    logits.iter_mut().for_each(|logit| *logit = (*logit - greatest).exp());
    let sum: f32 = logits.iter().sum();
    logits.iter_mut().for_each(|logit| *logit /= sum);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loss(weights: &[f32], rows: &[f32], classes: &[u32]) -> f64 {
        let inputs = rows.len() / classes.len();
        let mut sum = 0.0;
        for (row, class) in rows.chunks_exact(inputs).zip(classes) {
            let mut logits = weights[inputs * 3..].to_vec();
            for (x, w) in row.iter().zip(weights.chunks_exact(3)) {
                logits.iter_mut().zip(w).for_each(|(logit, w)| *logit += x * w);
            }
            softmax(&mut logits);
            sum -= f64::from(logits[*class as usize]).ln();
        }
        sum / classes.len() as f64
    }

    /// One step goes down the gradient, which differences of the loss know, too.
    #[test]
    fn a_step_is_along_the_gradient() {
        let rows: Vec<f32> = (0..20).map(|i| ((i * 7) % 11) as f32 / 5.0 - 1.0).collect();
        let classes = [0, 2, 1, 1, 0];
        let weights: Vec<f32> = (0..15).map(|i| ((i * 5) % 7) as f32 / 10.0 - 0.3).collect();
        let update = local_update(&weights, &rows, &classes, 3, Local { steps: 1, rate: 1.0 });
        for at in 0..weights.len() {
            let shifted = |by: f32| {
                let mut weights = weights.clone();
                weights[at] += by;
                loss(&weights, &rows, &classes)
            };
            let slope = (shifted(1e-2) - shifted(-1e-2)) / 2e-2;
            assert!((f64::from(update[at]) + slope).abs() < 1e-3, "{at}: {} {slope}", update[at]);
        }
        let far = local_update(&weights, &rows, &classes, 3, Local { steps: 50, rate: 1.0 });
        let moved: Vec<f32> = weights.iter().zip(&far).map(|(w, u)| w + u).collect();
        assert!(loss(&moved, &rows, &classes) < loss(&weights, &rows, &classes) - 0.3);
        assert_eq!(local_update(&weights, &[], &[], 3, Local { steps: 1, rate: 1.0 }), vec![0.0; 15]);
    }
}
