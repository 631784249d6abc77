//! Runs that keep what they claim are not contradicted; trainers with a mistake are.

use super::*;
use crate::noise::DiscreteGaussian;
use crate::train::{Clip, Examples, Network, Noise, Optimizer, Rule, Schedule, Step, Wish, sample};

const WAYS: (Rule, Schedule, f32) = (Rule::Sgd { momentum: 0.0 }, Schedule::Constant, 0.1);

struct Task {
    name: &'static str,
    network: Network,
    examples: Examples,
    batch: usize,
    steps: u64,
}

#[expect(clippy::unwrap_used, reason = "shapes of tests fit")]
fn tasks() -> Vec<Task> {
    let task = |name, network: Network, count: usize, batch, steps| {
        let mut random = Generator::from_seed([8; 32]);
        let values = (0..count * network.inputs()).map(|_| random.unit() as f32 - 0.5).collect();
        let classes = (0..count as u32).map(|index| index % network.classes() as u32).collect();
        let examples = Examples::new(network.inputs(), values, classes).unwrap();
        Task { name, network, examples, batch, steps }
    };
    vec![
        // Fewer parameters than canaries: three runs.
        task("logistic regression", Network::logistic(40, 10).unwrap(), 200, 50, 60),
        task("perceptron", Network::perceptron(40, &[32], 10).unwrap(), 200, 50, 60),
        task("images", Network::small_images(10).unwrap(), 60, 15, 40),
    ]
}

impl Task {
    #[expect(clippy::unwrap_used, reason = "plans of tests are possible")]
    fn plan(&self, epsilon: f64) -> Plan {
        let (examples, parameters) = (self.examples.len(), self.network.parameters());
        let clip = Clip::Flat(0.5);
        let (batch, steps) = (self.batch, self.steps);
        Plan::new(Wish { epsilon, delta: 1e-5, examples, batch, steps, clip, parameters }).unwrap()
    }

    fn subject<'a>(&'a self, plan: &'a Plan) -> Subject<'a, Network> {
        Subject { model: &self.network, examples: &self.examples, plan, ways: WAYS, seed: 1 }
    }
}

/// What is wrong with a trainer.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mistake {
    None,
    NoClip,
    NoNoise,
    /// In units of the grid, not times what an example can change.
    NotScaled,
    /// Drawn at the first step, and the same ever after.
    DrawnOnce,
    /// At the first step alone.
    FirstAlone,
}

struct Mutant(Mistake);

struct Mistaken {
    mistake: Mistake,
    gaussian: DiscreteGaussian,
    generator: Generator,
    steps: u64,
}

impl Noise for Mistaken {
    fn fill(&mut self, values: &mut [i64]) {
        match self.mistake {
            Mistake::NoNoise => values.fill(0),
            Mistake::FirstAlone if self.steps > 0 => values.fill(0),
            Mistake::DrawnOnce => self.gaussian.fill(&mut Generator::from_seed([3; 32]), values),
            _ => self.gaussian.fill(&mut self.generator, values),
        }
        self.steps += 1;
    }
}

impl Trainer for Mutant {
    #[expect(clippy::unwrap_used, reason = "noise of tests is possible")]
    fn train<M: Model>(
        &mut self,
        _: (u64, u64),
        model: &M,
        data: &M::Data,
        plan: &Plan,
        see: &mut dyn FnMut(&[f32]),
    ) -> Result<Vec<f32>, AuditError> {
        let mistake = self.0;
        let sigma = if mistake == Mistake::NotScaled { plan.noise } else { plan.sigma };
        let gaussian = DiscreteGaussian::new(sigma).unwrap();
        let mut noise = Mistaken { mistake, gaussian, generator: Generator::from_seed([2; 32]), steps: 0 };
        let clip = if mistake == Mistake::NoClip { Clip::Flat(1e6) } else { plan.wish.clip };
        let mut step = Step::private(model, clip, plan.grid);
        let (mut parameters, mut gradient) = (model.begin(1), vec![0.0; model.parameters()]);
        let mut optimizer = Optimizer::new(WAYS.0, parameters.len());
        let mut random = Generator::from_seed([4; 32]);
        for _ in 0..plan.wish.steps {
            let batch = sample::batch(data.classes().len(), plan.rate, plan.cap, &mut random);
            step.gradient(&parameters, data, &batch, &mut noise, plan.wish.batch as f64, &mut gradient);
            see(&gradient);
            optimizer.change(&mut parameters, &gradient, WAYS.2);
        }
        Ok(parameters)
    }
}

#[test]
fn runs_hide_what_they_claim_to_and_the_audit_sees_a_good_part() {
    for task in tasks() {
        for epsilon in [0.5, 1.0, 8.0] {
            let plan = task.plan(epsilon);
            let folder = tempfile::tempdir().unwrap();
            let mut last = 0;
            let verdict = audit(&task.subject(&plan), None, 1000, folder.path(), |done, all| {
                last = all - done;
                done <= all
            })
            .unwrap();
            let name = task.name;
            eprintln!("{name}, ε = {epsilon}: {verdict:?}");
            assert!(!verdict.contradicts() && verdict.claimed >= epsilon * 0.99, "{name} {epsilon}: {verdict:?}");
            assert!(epsilon < 8.0 || verdict.epsilon() > 0.5, "{name} {epsilon}: {verdict:?}");
            assert!(last == 0 && verdict.gradients.guesses.coins == 1000);
        }
    }
}

#[test]
fn mistaken_trainers_are_contradicted() {
    use Mistake::{DrawnOnce, FirstAlone, NoClip, NoNoise, NotScaled};
    for task in tasks() {
        let plan = task.plan(1.0);
        for mistake in [NoClip, NoNoise, NotScaled, DrawnOnce, FirstAlone, Mistake::None] {
            let coins = Generator::from_seed([6; 32]);
            let verdict = attack(&task.subject(&plan), None, 1000, coins, &mut Mutant(mistake)).unwrap();
            eprintln!("{} {mistake:?}: {verdict:?}", task.name);
            assert_eq!(verdict.contradicts(), mistake != Mistake::None, "{} {mistake:?}: {verdict:?}", task.name);
        }
    }
}
