//! What is said while something takes long. Whoever calls decides whether and how it is shown.

use std::sync::Arc;

/// Something that is worth telling whoever waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A new step has begun: what is being done.
    Step(&'a str),
    /// How far a step is.
    Percent {
        /// What is being done.
        step: &'a str,
        /// From 0 to 100; it only grows.
        percent: u64,
    },
    /// Something that should be remembered beyond the step.
    Note(&'a str),
}

/// Hears of events.
type Tell = dyn Fn(Event<'_>) + Send + Sync;

/// Where events go: to a function, or nowhere. Clones share it.
#[derive(Clone, Default)]
pub struct Progress(Option<Arc<Tell>>);

impl Progress {
    /// Tells a function, on whichever thread something happens.
    pub fn new(tell: impl Fn(Event<'_>) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(tell)))
    }

    /// Says nothing at all.
    pub fn silent() -> Self {
        Self(None)
    }

    /// A new step has begun.
    pub fn step(&self, step: &str) {
        self.tell(Event::Step(step));
    }

    /// How far a step is.
    pub fn percent(&self, step: &str, percent: u64) {
        self.tell(Event::Percent { step, percent });
    }

    /// Something that should be remembered beyond the step.
    pub fn note(&self, note: &str) {
        self.tell(Event::Note(note));
    }

    fn tell(&self, event: Event<'_>) {
        if let Some(tell) = &self.0 {
            tell(event);
        }
    }
}

impl std::fmt::Debug for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "Progress" } else { "Progress(silent)" })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn events_reach_whoever_wants_them() {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let progress = {
            let heard = heard.clone();
            Progress::new(move |event| heard.lock().unwrap().push(format!("{event:?}")))
        };
        progress.clone().step("compiling");
        progress.percent("sharing", 50);
        progress.note("shared");
        Progress::silent().note("nobody hears it");
        let expected = ["Step(\"compiling\")", "Percent { step: \"sharing\", percent: 50 }", "Note(\"shared\")"];
        assert_eq!(*heard.lock().unwrap(), expected);
    }
}
