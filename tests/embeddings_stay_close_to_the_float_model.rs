//! Quality: the integer model against the original in floating point, on the committed sentences and pairs.

mod common;

use std::fmt::Write as _;

use common::{Home, cosine, data, embeddings};

#[test]
fn cosine_on_varied_sentences() {
    let home = Home::with_model();
    let file = data("sentences.txt");
    let file = file.to_str().expect("a plain path");
    let plain = embeddings(&home.output(&["embed", "--plain", "--json", "--file", file]));
    let float = embeddings(&home.output(&["embed", "--float", "--json", "--file", file]));
    let sentences = common::sentences();
    assert!(sentences.len() >= 240 && plain.len() == sentences.len() && float.len() == sentences.len());

    let similarities: Vec<f64> = plain.iter().zip(&float).map(|(a, b)| cosine(a, b)).collect();
    let mean = similarities.iter().sum::<f64>() / similarities.len() as f64;
    let (worst, sentence) =
        similarities.iter().zip(&sentences).min_by(|a, b| a.0.total_cmp(b.0)).expect("there are sentences");
    println!("cosine to float over {} sentences: mean {mean:.5}, worst {worst:.5} ({sentence:?})", sentences.len());
    assert!(mean >= 0.995, "mean cosine {mean}");
    assert!(*worst >= 0.99, "worst cosine {worst} at {sentence:?}");
}

#[test]
fn ranking_of_pairs() {
    let pairs = pairs();
    assert!(pairs.len() >= 120);
    let home = Home::with_model();
    let mut lines = String::new();
    for (_, first, second) in &pairs {
        writeln!(lines, "{first}\n{second}").expect("writing to memory");
    }
    let file = home.path().join("pairs.txt");
    std::fs::write(&file, lines).expect("a writable home");
    let file = file.to_str().expect("a plain path");

    let labels: Vec<f64> = pairs.iter().map(|(score, _, _)| *score).collect();
    let scores = |engine: &str| -> Vec<f64> {
        let vectors = embeddings(&home.output(&["embed", engine, "--json", "--file", file]));
        vectors.chunks(2).map(|pair| cosine(&pair[0], &pair[1])).collect()
    };
    let (plain, float) = (scores("--plain"), scores("--float"));
    let (ours, theirs) = (spearman(&plain, &labels), spearman(&float, &labels));
    let each_other = spearman(&plain, &float);
    println!("Spearman to the labels: integers {ours:.4}, float {theirs:.4}; to each other {each_other:.5}");
    assert!((ours - theirs).abs() <= 0.005, "Spearman {ours} against {theirs} of the float model");
    assert!(theirs > 0.7, "the float model ranks the pairs sensibly ({theirs}), or it was loaded wrongly");
    assert!(each_other > 0.99, "the two models rank alike: {each_other}");
}

fn pairs() -> Vec<(f64, String, String)> {
    let text = std::fs::read_to_string(data("pairs.tsv")).expect("tests/data/pairs.tsv");
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let mut columns = line.split('\t');
            let mut next = || columns.next().unwrap_or_else(|| panic!("three columns in {line:?}")).to_owned();
            (next().parse().expect("a score"), next(), next())
        })
        .collect()
}

/// Correlation of ranks; equal values share the mean of their ranks.
fn spearman(a: &[f64], b: &[f64]) -> f64 {
    pearson(&ranks(a), &ranks(b))
}

fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|i, j| values[*i].total_cmp(&values[*j]));
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    while start < order.len() {
        let equal = order[start..].iter().take_while(|i| values[**i] == values[order[start]]).count();
        for i in &order[start..start + equal] {
            ranks[*i] = start as f64 + (equal - 1) as f64 / 2.0;
        }
        start += equal;
    }
    ranks
}

fn pearson(a: &[f64], b: &[f64]) -> f64 {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (mean_a, mean_b) = (mean(a), mean(b));
    let centred = |values: &[f64], mean: f64| values.iter().map(|x| x - mean).collect::<Vec<f64>>();
    cosine(&centred(a, mean_a), &centred(b, mean_b))
}

#[test]
fn spearman_agrees_with_a_known_value() {
    // Two tied values; checked against scipy.stats.spearmanr([1, 2, 2, 4, 5], [2, 1, 4, 3, 5]).
    let found = spearman(&[1.0, 2.0, 2.0, 4.0, 5.0], &[2.0, 1.0, 4.0, 3.0, 5.0]);
    assert!((found - 0.666_885_928_9).abs() < 1e-9, "{found}");
}
