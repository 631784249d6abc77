//! Work that goes on beside Python: each job has a thread of its own, and Python looks at it from time to time.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use sahara::embedding::Stop;
use sahara::error::Result;
use sahara::progress::{Event, Progress};

use crate::errors::{fault, raised};

/// Longest wait at a time; who waits longer asks again.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// Makes a value of Python of what a job has found, or an exception, once somebody takes it.
pub type Found = Box<dyn for<'py> FnOnce(Python<'py>) -> PyResult<Bound<'py, PyAny>> + Send>;

/// Something that takes long and goes on without Python's lock.
#[pyclass(frozen, module = "sahara._native")]
pub struct Job(Arc<Work>);

/// What the job's thread and Python share.
#[derive(Default)]
pub struct Work {
    stop: Stop,
    /// Whether the job looks at `stop`.
    heeds: AtomicBool,
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Default)]
struct State {
    step: String,
    done: u64,
    all: u64,
    notes: Vec<String>,
    ended: bool,
    found: Option<Found>,
    /// Called once at the end.
    listener: Option<Py<PyAny>>,
}

impl Job {
    /// Starts work that consists of `all` parts.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start(
        step: &str,
        all: usize,
        work: impl FnOnce(&Arc<Work>) -> Result<Found> + Send + 'static,
    ) -> PyResult<Self> {
        let shared = Arc::new(Work::default());
        {
            let mut state = shared.state();
            state.step = step.to_owned();
            state.all = all as u64;
        }
        let own = shared.clone();
        let thread = thread::Builder::new().name("sahara-job".to_owned());
        let started = thread.spawn(move || {
            // Whoever waits must hear of the end, however it comes; the message of a panic is on standard error.
            own.end(match catch_unwind(AssertUnwindSafe(|| work(&own))) {
                Ok(Ok(found)) => found,
                Ok(Err(error)) => Box::new(|_| Err(raised(error))),
                Err(_) => Box::new(|_| Err(fault("a job panicked, see standard error: this is a fault of Sahara"))),
            });
        });
        started.map_err(|e| PyRuntimeError::new_err(format!("starting a thread for a job: {e}")))?;
        Ok(Self(shared))
    }
}

impl Work {
    /// Set when nobody wants the result any more; for a job that looks at it.
    pub fn stop(&self) -> &Stop {
        self.heeds.store(true, Ordering::Relaxed);
        &self.stop
    }

    /// Where the SDK tells how far it is.
    pub fn progress(self: &Arc<Self>) -> Progress {
        let work = self.clone();
        Progress::new(move |event| work.hear(event))
    }

    fn hear(&self, event: Event<'_>) {
        let mut state = self.state();
        match event {
            Event::Step(step) => {
                state.step = step.to_owned();
                (state.done, state.all) = (0, 0);
            }
            Event::Percent { step, percent } => {
                state.step = step.to_owned();
                (state.done, state.all) = (percent, 100);
            }
            Event::Note(note) => state.notes.push(note.to_owned()),
            _ => {}
        }
    }

    /// One more part is done.
    pub fn tick(&self, step: &str, done: usize, all: usize) {
        let mut state = self.state();
        step.clone_into(&mut state.step);
        (state.done, state.all) = (done as u64, all as u64);
    }

    fn end(&self, found: Found) {
        let mut state = self.state();
        state.ended = true;
        state.found = Some(found);
        let listener = state.listener.take();
        drop(state);
        self.ended.notify_all();
        if let Some(listener) = listener {
            // Nobody is left to hear of it if Python is ending.
            Python::try_attach(|py| call(py, listener));
        }
    }

    fn wait(&self, longest: Duration) -> bool {
        let until = Instant::now() + longest.min(LONGEST_WAIT);
        let mut state = self.state();
        while !state.ended {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.ended.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The jobs of one engine that run. What the engine tells is passed on to one of them: it outlives the job that made it.
#[derive(Clone, Default)]
pub struct Running(Arc<Mutex<Vec<Weak<Work>>>>);

impl Running {
    /// Where the engine tells.
    pub fn progress(&self) -> Progress {
        let running = self.clone();
        Progress::new(move |event| {
            // The longest that runs: each thing is told once.
            if let Some(work) = running.jobs().iter().find_map(Weak::upgrade) {
                work.hear(event);
            }
        })
    }

    /// A job is one of them from now on.
    pub fn add(&self, work: &Arc<Work>) {
        self.jobs().push(Arc::downgrade(work));
    }

    /// Gives all of them up.
    pub fn stop(&self) {
        self.jobs().iter().filter_map(Weak::upgrade).for_each(|work| work.stop.set());
    }

    fn jobs(&self) -> MutexGuard<'_, Vec<Weak<Work>>> {
        let mut jobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.retain(|job| job.upgrade().is_some_and(|job| !job.state().ended));
        jobs
    }
}

/// Calls a listener; what it raises is shown as an exception that nobody can catch.
fn call(py: Python<'_>, listener: Py<PyAny>) {
    if let Err(error) = listener.call0(py) {
        error.write_unraisable(py, Some(listener.bind(py)));
    }
}

#[pymethods]
impl Job {
    /// Waits for the end, at most so many seconds; whether it has come.
    fn wait(&self, py: Python<'_>, seconds: f64) -> bool {
        let longest = Duration::try_from_secs_f64(seconds).unwrap_or_default();
        py.detach(|| self.0.wait(longest))
    }

    /// Gives the job up; whether it ends soon because of that. What cannot be stopped halfway ends by itself.
    fn stop(&self) -> bool {
        self.0.stop.set();
        self.0.heeds.load(Ordering::Relaxed)
    }

    /// What is being done, how many parts of it are done, and of how many (0: unknown).
    fn progress(&self) -> (String, u64, u64) {
        let state = self.0.state();
        (state.step.clone(), state.done, state.all)
    }

    /// What should be remembered, as far as it was not asked for yet.
    fn notes(&self) -> Vec<String> {
        std::mem::take(&mut self.0.state().notes)
    }

    /// Has a function called at the end, from the job's thread; at once if the end has come.
    fn when_ended(&self, py: Python<'_>, listener: Py<PyAny>) {
        let mut state = self.0.state();
        if state.ended {
            drop(state);
            call(py, listener);
        } else {
            state.listener = Some(listener);
        }
    }

    /// What was found, once.
    fn result<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let found = self.0.state().found.take();
        match found {
            Some(found) => found(py),
            None => Err(PyRuntimeError::new_err("the job has not ended, or its result was taken")),
        }
    }
}
