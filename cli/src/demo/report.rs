//! What the demo found: one object for programs, a table for people.

use std::fmt::Write;

use serde::Serialize;

use super::market::MarketReport;

/// The demo's result. Times and bytes are those of all sentences together, all parties added up.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Name of the model.
    pub model: String,
    /// `exact` or `faithful`.
    pub mode: &'static str,
    /// `private` or `open`.
    pub weights: &'static str,
    /// Number of sentences.
    pub sentences: usize,
    /// Sentences on the network at once.
    pub batch: usize,
    /// Tokens of all sentences.
    pub tokens: usize,
    /// Padded lengths that occurred, and how often.
    pub buckets: Vec<(u32, usize)>,
    /// Whether every answer's integers equal the reference executor's.
    pub exact_match: bool,
    /// Answers whose integers equal the reference executor's.
    pub equal_answers: usize,
    /// Mean cosine to the float model.
    pub cosine_mean: f64,
    /// Worst cosine to the float model.
    pub cosine_min: f64,
    /// Worst cosine to the reference executor.
    pub cosine_reference_min: f64,
    /// Processor seconds of the three nodes and the client, offline and online.
    pub cpu_seconds_total: f64,
    /// Processor seconds of preprocessing.
    pub cpu_seconds_offline: f64,
    /// Processor seconds from the text to the answer.
    pub cpu_seconds_online: f64,
    /// Of the online seconds, the client's.
    pub cpu_seconds_client: f64,
    /// Wall seconds of preprocessing.
    pub wall_seconds_offline: f64,
    /// Wall seconds from the first text to the last answer.
    pub wall_seconds_online: f64,
    /// Answers a second, online.
    pub sentences_per_second: f64,
    /// Bytes sent by all parties, offline and online.
    pub bytes_total: u64,
    /// Bytes sent for preprocessing.
    pub bytes_offline: u64,
    /// Bytes sent from the text to the answer, the client's included.
    pub bytes_online: u64,
    /// Of the online bytes, those between the client and the nodes.
    pub bytes_client: u64,
    /// Rounds of one answer (the most of all sentences).
    pub rounds: u32,
    /// Rounds a layer.
    pub rounds_per_layer: f64,
    /// Processor seconds of the float model in the clear for the same sentences.
    pub plaintext_cpu_seconds: f64,
    /// Processor seconds of the integer reference in the clear for the same sentences.
    pub reference_cpu_seconds: f64,
    /// Wall seconds to hand the model to the nodes, unless they had it, and to have them load it; once, and in no
    /// other figure.
    pub wall_seconds_setup: f64,
    /// Processor seconds of that.
    pub cpu_seconds_setup: f64,
    /// Bytes of that.
    pub bytes_setup: u64,
    /// Sentence by sentence.
    pub results: Vec<Row>,
    /// The market: a model sold, asked and paid; none with `--quick`.
    #[serde(flatten)]
    pub market: Option<MarketReport>,
}

/// One sentence of the demo.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Position.
    pub index: usize,
    /// The text.
    pub text: String,
    /// Tokens, special ones included.
    pub tokens: usize,
    /// Cosine to the float model.
    pub cosine: f64,
    /// The integers equal the reference executor's.
    pub equal: bool,
    /// The nearest other sentence by the private embeddings.
    pub nearest: Option<usize>,
    /// Cosine to it.
    pub nearest_cosine: Option<f64>,
}

/// Cosine of two vectors.
pub fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |x: &[f32], y: &[f32]| -> f64 { x.iter().zip(y).map(|(&p, &q)| f64::from(p) * f64::from(q)).sum() };
    let norms = (dot(a, a) * dot(b, b)).sqrt();
    if norms == 0.0 { 0.0 } else { dot(a, b) / norms }
}

/// For each vector, the nearest other one and the cosine to it.
pub fn nearest(vectors: &[&[f32]]) -> Vec<Option<(usize, f64)>> {
    (0..vectors.len())
        .map(|i| {
            (0..vectors.len())
                .filter(|&j| j != i)
                .map(|j| (j, cosine(vectors[i], vectors[j])))
                .max_by(|a, b| a.1.total_cmp(&b.1))
        })
        .collect()
}

/// Rows of the table; more are summed up in a line.
const SHOWN: usize = 40;
/// Columns for a sentence.
const TEXT_WIDTH: usize = 24;

impl Report {
    /// The table for people.
    pub fn table(&self) -> String {
        let mut text = String::new();
        self.write(&mut text).unwrap_or_default(); // writing to a string cannot fail
        text
    }

    fn write(&self, to: &mut String) -> std::fmt::Result {
        let plural = if self.sentences == 1 { "sentence" } else { "sentences" };
        writeln!(to)?;
        writeln!(to, "  {} {plural} embedded by three share nodes, none of which saw a word.", self.sentences)?;
        let weights = match self.weights {
            "open" => "open weights (the nodes know the model)",
            _ => "private weights (no node knows the model)",
        };
        writeln!(to, "  {}, {} rounding, {weights}\n", self.model, self.mode)?;
        self.rows(to)?;
        self.findings(to)?;
        self.costs(to)
    }

    fn rows(&self, to: &mut String) -> std::fmt::Result {
        let nearest_title = if self.sentences > 1 { "nearest by meaning" } else { "" };
        writeln!(to, "    # tokens  cosine  equal  {:TEXT_WIDTH$}  {nearest_title}", "sentence")?;
        writeln!(to, "  {}", "─".repeat(29 + 2 * TEXT_WIDTH))?;
        for row in self.results.iter().take(SHOWN) {
            let near = match (row.nearest, row.nearest_cosine) {
                (Some(index), Some(cosine)) => {
                    format!("{cosine:.2} {}", fit(&self.results[index].text, TEXT_WIDTH - 5))
                }
                _ => String::new(),
            };
            let equal = if row.equal { "yes" } else { "±" };
            let line = format!(
                "  {:>3} {:>6}  {:.4}  {equal:<5}  {:TEXT_WIDTH$}  {near}",
                row.index,
                row.tokens,
                row.cosine,
                fit(&row.text, TEXT_WIDTH)
            );
            writeln!(to, "{}", line.trim_end())?;
        }
        if self.results.len() > SHOWN {
            writeln!(to, "  … and {} more (all of them with --json)", self.results.len() - SHOWN)?;
        }
        writeln!(to)
    }

    fn findings(&self, to: &mut String) -> std::fmt::Result {
        let equality = match (self.exact_match, self.mode) {
            (true, _) => "every answer is the plain reference's, integer for integer".to_owned(),
            (false, "faithful") => format!(
                "{} of {} equal the reference's integers; worst cosine {:.6}\n             (faithful rounding may differ in the last place)",
                self.equal_answers, self.sentences, self.cosine_reference_min
            ),
            (false, _) => format!("ONLY {} of {} equal the reference's integers", self.equal_answers, self.sentences),
        };
        writeln!(to, "  equality   {equality}")?;
        writeln!(
            to,
            "  quality    cosine to the float model {:.5} mean, {:.5} worst",
            self.cosine_mean, self.cosine_min
        )?;
        let lengths: Vec<String> = self.buckets.iter().map(|(tokens, count)| format!("{count} × {tokens}")).collect();
        writeln!(
            to,
            "  lengths    {} tokens, padded to {}\n             (the nodes learn these lengths and the timing)\n",
            self.tokens,
            lengths.join(", ")
        )
    }

    fn costs(&self, to: &mut String) -> std::fmt::Result {
        let megabytes = |bytes: u64| bytes as f64 / 1e6;
        writeln!(to, "  all parties           {:>10} {:>10} {:>10}", "ahead", "online", "together")?;
        writeln!(to, "  {}", "─".repeat(53))?;
        let line = |to: &mut String, name: &str, ahead: f64, online: f64, digits: usize| {
            let sum = ahead + online;
            writeln!(to, "  {name:<21} {ahead:>10.digits$} {online:>10.digits$} {sum:>10.digits$}")
        };
        line(to, "seconds on the clock", self.wall_seconds_offline, self.wall_seconds_online, 2)?;
        line(to, "CPU-seconds", self.cpu_seconds_offline, self.cpu_seconds_online, 2)?;
        line(to, "megabytes sent", megabytes(self.bytes_offline), megabytes(self.bytes_online), 1)?;
        writeln!(to, "  {:<21} {:>10} {:>10.1}", "rounds a layer", "", self.rounds_per_layer)?;
        if self.sentences > 1 {
            writeln!(to, "  {:<21} {:>10} {:>10.2}", "sentences a second", "", self.sentences_per_second)?;
            let each = self.sentences as f64;
            let (cpu, bytes) = (self.cpu_seconds_total / each, megabytes(self.bytes_total) / each);
            writeln!(to, "\n  per sentence: {cpu:.3} CPU-seconds and {bytes:.1} MB, all parties, ahead and online")?;
        }
        let times = self.cpu_seconds_total / self.plaintext_cpu_seconds.max(1e-9);
        writeln!(
            to,
            "  in the clear: {:.3} CPU-seconds with the float model,\n  so privacy costs {times:.0} times as much here",
            self.plaintext_cpu_seconds / self.sentences.max(1) as f64
        )?;
        writeln!(
            to,
            "  once at the start, not counted above: {:.1} s, {:.2} CPU-seconds and {:.1} MB\n  to share and load the model",
            self.wall_seconds_setup,
            self.cpu_seconds_setup,
            megabytes(self.bytes_setup)
        )?;
        Ok(())
    }
}

/// The beginning of a text in a column of this width.
fn fit(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut start: String = text.chars().take(width - 1).collect();
    start.push('…');
    start
}

#[cfg(test)]
mod tests {
    use super::*;

    pub fn sample() -> Report {
        let row = |index: usize, nearest| Row {
            index,
            text: format!("Sentence number {index} is here."),
            tokens: 8,
            cosine: 0.9987,
            equal: true,
            nearest: Some(nearest),
            nearest_cosine: Some(0.71),
        };
        Report {
            model: "all-MiniLM-L6-v2".into(),
            mode: "exact",
            weights: "private",
            sentences: 2,
            batch: 2,
            tokens: 16,
            buckets: vec![(16, 2)],
            exact_match: true,
            equal_answers: 2,
            cosine_mean: 0.9987,
            cosine_min: 0.9987,
            cosine_reference_min: 1.0,
            cpu_seconds_total: 0.5,
            cpu_seconds_offline: 0.3,
            cpu_seconds_online: 0.2,
            cpu_seconds_client: 0.01,
            wall_seconds_offline: 0.2,
            wall_seconds_online: 0.1,
            sentences_per_second: 20.0,
            bytes_total: 30_000_000,
            bytes_offline: 20_000_000,
            bytes_online: 10_000_000,
            bytes_client: 1000,
            rounds: 120,
            rounds_per_layer: 20.0,
            plaintext_cpu_seconds: 0.02,
            reference_cpu_seconds: 0.03,
            wall_seconds_setup: 1.5,
            cpu_seconds_setup: 1.0,
            bytes_setup: 1_000_000,
            results: vec![row(0, 1), row(1, 0)],
            market: None,
        }
    }

    #[test]
    fn the_object_has_the_promised_fields() {
        let value = serde_json::to_value(sample()).unwrap();
        for field in [
            "exact_match",
            "cosine_mean",
            "cosine_min",
            "cpu_seconds_total",
            "cpu_seconds_online",
            "wall_seconds_online",
            "bytes_total",
            "bytes_online",
            "rounds_per_layer",
            "tokens",
            "plaintext_cpu_seconds",
            "mode",
            "weights",
            "batch",
            "sentences_per_second",
        ] {
            assert!(value.get(field).is_some(), "{field}");
        }
    }

    #[test]
    fn the_table_says_what_matters() {
        let mut full = sample();
        full.results.iter_mut().for_each(|row| row.text = "long ".repeat(40));
        (full.results[0].index, full.results[0].tokens, full.buckets) =
            (9999, 512, [16, 32, 64, 512].map(|b| (b, 999)).to_vec());
        for line in sample().table().lines().chain(full.table().lines()) {
            assert!(line.chars().count() <= 80, "{line}");
        }
        let table = sample().table();
        for part in ["integer for integer", "0.99870 worst", "0.71 Sentence number 1", "25 times", "30.0"] {
            assert!(table.contains(part), "{part} in {table}");
        }
        let mut wrong = sample();
        (wrong.exact_match, wrong.equal_answers) = (false, 1);
        assert!(wrong.table().contains("ONLY 1 of 2"));
    }

    #[test]
    fn neighbours_are_found_by_direction() {
        let vectors: [&[f32]; 3] = [&[1.0, 0.0], &[0.0, 1.0], &[0.9, 0.1]];
        let near = nearest(&vectors);
        assert_eq!((near[0].unwrap().0, near[1].unwrap().0, near[2].unwrap().0), (2, 2, 0));
        assert_eq!(nearest(&vectors[..1]), [None]);
        assert_eq!(cosine(&[0.0], &[1.0]), 0.0);
    }

    #[test]
    fn long_texts_are_cut_to_their_column() {
        assert_eq!(fit("abcdef", 4), "abc…");
        assert_eq!(fit("abc", 4), "abc");
    }
}
