//! Progress on standard error: a moving line on a terminal, plain lines elsewhere, nothing when quiet.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Says what is going on, without ever touching standard output.
#[derive(Clone)]
pub struct Progress(Arc<Inner>);

enum Inner {
    Quiet,
    Lines,
    Terminal(ProgressBar),
}

impl Progress {
    /// A terminal gets a spinner or bar, a pipe or file gets lines, `quiet` gets nothing.
    pub fn new(quiet: bool) -> Self {
        if quiet {
            return Self(Arc::new(Inner::Quiet));
        }
        if !std::io::stderr().is_terminal() {
            return Self(Arc::new(Inner::Lines));
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        Self(Arc::new(Inner::Terminal(bar)))
    }

    /// Says nothing at all.
    pub fn silent() -> Self {
        Self(Arc::new(Inner::Quiet))
    }

    /// A new step has begun.
    pub fn step(&self, message: &str) {
        match &*self.0 {
            Inner::Quiet => {}
            Inner::Lines => eprintln!("{message}"),
            Inner::Terminal(bar) => {
                bar.set_length(0);
                bar.set_style(style("{spinner} {msg}"));
                bar.set_message(message.to_owned());
                bar.enable_steady_tick(Duration::from_millis(100));
            }
        }
    }

    /// A counted step has begun.
    pub fn count(&self, message: &str, total: u64) {
        match &*self.0 {
            Inner::Quiet => {}
            Inner::Lines => eprintln!("{message} ({total})"),
            Inner::Terminal(bar) => {
                bar.reset();
                bar.set_length(total);
                bar.set_style(style("{msg} {wide_bar} {pos}/{len} {eta}"));
                bar.set_message(message.to_owned());
            }
        }
    }

    /// One more of the counted step is done.
    pub fn tick(&self) {
        if let Inner::Terminal(bar) = &*self.0 {
            bar.inc(1);
        }
    }

    /// A line that stays.
    pub fn note(&self, message: &str) {
        match &*self.0 {
            Inner::Quiet => {}
            Inner::Lines => eprintln!("{message}"),
            Inner::Terminal(bar) => bar.suspend(|| eprintln!("{message}")),
        }
    }

    /// Clears the moving line.
    pub fn clear(&self) {
        if let Inner::Terminal(bar) = &*self.0 {
            bar.disable_steady_tick();
            bar.finish_and_clear();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Self::Terminal(bar) = self {
            bar.finish_and_clear();
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
