//! What the parties agree on before they begin: who does what, how values are rounded, who may see the weights.

/// How values are rescaled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rounding {
    /// Bit for bit the reference executor.
    Exact,
    /// Values may be one off in the last place, without bias; indices and comparisons stay exact.
    Faithful,
}

/// Who may see the weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Visibility {
    /// Secret-shared among the nodes.
    Private,
    /// Known to the evaluators; only the consumer's input is secret.
    Open,
}

/// Which of the two evaluators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EvaluatorRole {
    /// Derives everything it is dealt from its seed.
    First,
    /// Receives the helper's corrections.
    Second,
}

/// Which of three nodes helps; the other two evaluate, in ascending order of index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Assignment(u8);

impl Assignment {
    /// The three assignments of a committee.
    pub const ALL: [Self; 3] = [Self(0), Self(1), Self(2)];

    /// The assignment with this node (0 to 2) as helper.
    pub const fn new(helper: u8) -> Option<Self> {
        if helper < 3 { Some(Self(helper)) } else { None }
    }

    /// The helper's index.
    pub const fn helper(self) -> u8 {
        self.0
    }

    /// The evaluators' indices: first, second.
    pub const fn evaluators(self) -> [u8; 2] {
        match self.0 {
            0 => [1, 2],
            1 => [0, 2],
            _ => [0, 1],
        }
    }

    /// The role of a node as evaluator, or `None` for the helper and strangers.
    pub fn role(self, node: u8) -> Option<EvaluatorRole> {
        let [first, second] = self.evaluators();
        match node {
            n if n == first => Some(EvaluatorRole::First),
            n if n == second => Some(EvaluatorRole::Second),
            _ => None,
        }
    }
}
