//! From a graph's integers to the answer: scale, the last function, unit length or the scores of labels. The functions
//! are those of `libm`, so that every machine prints the same numbers.

use super::settings::{Activation, Label, LabelFunction};

/// What a graph's output is divided by, besides its scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Divisor {
    One,
    /// The number of pooled tokens.
    Count,
    /// Its root.
    RootCount,
}

/// What a graph's output means.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Output {
    /// Elements.
    pub width: usize,
    /// One, in the output's units.
    pub scale: f64,
    pub divisor: Divisor,
    /// The function of the last linear layer.
    pub activation: Activation,
    pub answer: Answer,
}

/// The form of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// An embedding.
    Vector {
        /// Whether it is made to have unit length.
        normalize: bool,
    },
    /// The outputs of a classifier.
    Labels(Classes),
}

/// The labels of a classifier, and what makes scores of its outputs.
#[derive(Clone, Debug, PartialEq)]
pub struct Classes {
    /// The labels, in the order of the outputs.
    pub labels: Vec<Label>,
    /// For classification, as transformers' pipeline has it.
    pub function: LabelFunction,
    /// For the relevance of a pair, as sentence-transformers' cross-encoder has it.
    pub relevance: LabelFunction,
}

impl Classes {
    /// A score for each label.
    pub fn scores(&self, outputs: &[f32]) -> Vec<f32> {
        apply(self.function, outputs)
    }

    /// How relevant the second text of a pair is to the first; `None` if there is more than one label.
    pub fn relevance(&self, outputs: &[f32]) -> Option<f32> {
        match outputs {
            [_] => apply(self.relevance, outputs).pop(),
            _ => None,
        }
    }
}

fn apply(function: LabelFunction, outputs: &[f32]) -> Vec<f32> {
    match function {
        LabelFunction::Identity => outputs.to_vec(),
        LabelFunction::Sigmoid => outputs.iter().map(|&x| (1.0 / (1.0 + libm::exp(-f64::from(x)))) as f32).collect(),
        LabelFunction::Softmax => {
            let largest = outputs.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let powers: Vec<f64> = outputs.iter().map(|&x| libm::exp(f64::from(x) - f64::from(largest))).collect();
            let total: f64 = powers.iter().sum();
            powers.into_iter().map(|p| (p / total) as f32).collect()
        }
    }
}

impl Output {
    pub(crate) fn decode(&self, output: &[i32], pooled: usize) -> Vec<f32> {
        let divisor = match self.divisor {
            Divisor::One => 1.0,
            Divisor::Count => pooled.max(1) as f64,
            Divisor::RootCount => (pooled.max(1) as f64).sqrt(),
        };
        let unit = self.scale * divisor;
        let values: Vec<f64> = output.iter().map(|&x| self.activation.at(f64::from(x) / unit)).collect();
        let length = match self.answer {
            Answer::Vector { normalize: true } => {
                let mut square = 0.0f64;
                for x in &values {
                    square += x * x;
                }
                square.sqrt().max(f64::MIN_POSITIVE)
            }
            _ => 1.0,
        };
        values.into_iter().map(|x| (x / length) as f32).collect()
    }
}

impl Activation {
    /// The function at a point.
    pub(crate) fn at(self, x: f64) -> f64 {
        match self {
            Self::Identity => x,
            Self::Gelu => 0.5 * x * (1.0 + libm::erf(x / std::f64::consts::SQRT_2)),
            Self::GeluTanh => {
                let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
                0.5 * x * (1.0 + libm::tanh(inner))
            }
            Self::Relu => x.max(0.0),
            Self::Tanh => libm::tanh(x),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_have_their_published_values() {
        // Abramowitz and Stegun, table 7.1, for the error function at 1.
        assert!(
            (Activation::Gelu.at(std::f64::consts::SQRT_2) - std::f64::consts::FRAC_1_SQRT_2 * 1.8427007929).abs()
                < 1e-9
        );
        assert!((Activation::Tanh.at(1.0) - 0.761_594_155_955_765).abs() < 1e-12);
        assert_eq!((Activation::Relu.at(-2.0), Activation::Relu.at(3.0)), (0.0, 3.0));
        assert!((Activation::GeluTanh.at(1.0) - 0.841_191_990_608_3).abs() < 1e-9);
    }

    #[test]
    fn scores_are_those_of_the_function() {
        let classes =
            |function, relevance| Classes { labels: vec![Label("a".into()), Label("b".into())], function, relevance };
        let soft = classes(LabelFunction::Softmax, LabelFunction::Identity);
        let scores = soft.scores(&[2.0, 0.0]);
        assert!((scores[0] - 0.880_797).abs() < 1e-5 && (scores.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        assert_eq!(soft.relevance(&[1.0, 2.0]), None);
        assert_eq!(soft.relevance(&[-1.5]), Some(-1.5));
        let sigmoid = classes(LabelFunction::Sigmoid, LabelFunction::Sigmoid);
        assert_eq!(sigmoid.scores(&[0.0]), [0.5]);
    }

    #[test]
    fn an_output_is_scaled_divided_and_made_unit_length() {
        let output = |divisor, normalize| Output {
            width: 2,
            scale: 8.0,
            divisor,
            activation: Activation::Identity,
            answer: Answer::Vector { normalize },
        };
        assert_eq!(output(Divisor::Count, false).decode(&[96, -128], 4), [3.0, -4.0]);
        assert_eq!(output(Divisor::RootCount, false).decode(&[96, -128], 4), [6.0, -8.0]);
        assert_eq!(output(Divisor::One, true).decode(&[96, -128], 4), [0.6, -0.8]);
    }
}
