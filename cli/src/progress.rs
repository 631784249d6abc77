//! Progress on standard error: a moving line on a terminal, plain lines elsewhere, nothing when quiet.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use sahara::error::shown;
use sahara::progress::{Event, Progress};

/// Shows what is going on, without ever touching standard output.
#[derive(Clone)]
pub struct Indicator(Arc<Inner>);

struct Inner {
    shown: Shown,
    /// What is being counted, until all of it is done.
    counted: Mutex<Option<String>>,
    done: AtomicU64,
    total: AtomicU64,
}

enum Shown {
    Quiet,
    Lines,
    Terminal(ProgressBar),
}

impl Indicator {
    /// A terminal gets a spinner or bar, a pipe or file gets lines, `quiet` gets nothing.
    pub fn new(quiet: bool) -> Self {
        if quiet {
            return Self::silent();
        }
        if !std::io::stderr().is_terminal() {
            return Self::of(Shown::Lines);
        }
        Self::on(ProgressDrawTarget::stderr())
    }

    /// Says nothing at all.
    pub fn silent() -> Self {
        Self::of(Shown::Quiet)
    }

    /// What the SDK tells, shown here.
    pub fn events(&self) -> Progress {
        let own = self.clone();
        Progress::new(move |event| match event {
            Event::Step(step) => own.step(step),
            Event::Percent { step, percent } => own.percent(step, percent),
            Event::Note(note) => own.note(note),
            _ => {}
        })
    }

    fn on(target: ProgressDrawTarget) -> Self {
        Self::of(Shown::Terminal(ProgressBar::with_draw_target(None, target)))
    }

    fn of(shown: Shown) -> Self {
        Self(Arc::new(Inner { shown, counted: Mutex::default(), done: AtomicU64::new(0), total: AtomicU64::new(0) }))
    }

    /// A new step has begun. Within a counted one the count stays, and the step is shown beside it.
    pub fn step(&self, message: &str) {
        let counted = self.0.counted.lock().unwrap_or_else(PoisonError::into_inner);
        match (&self.0.shown, &*counted) {
            (Shown::Quiet, _) => {}
            (Shown::Lines, None) => tell(message),
            (Shown::Lines, Some(what)) => {
                tell(&format!("{what} {} of {}: {message}", self.done(), self.total()));
            }
            (Shown::Terminal(bar), None) => {
                // The look comes first: each change is drawn.
                bar.set_style(style("{spinner} {wide_msg}"));
                bar.set_message(shown(message).into_owned());
                bar.set_length(0);
                bar.enable_steady_tick(Duration::from_millis(100));
            }
            (Shown::Terminal(bar), Some(_)) => bar.set_message(shown(message).into_owned()),
        }
    }

    /// How far a step is. Where lines stay, only some of them are said.
    pub fn percent(&self, message: &str, percent: u64) {
        if !matches!(self.0.shown, Shown::Lines) || percent.is_multiple_of(25) {
            self.step(&format!("{message}: {percent} %"));
        }
    }

    /// A counted step has begun.
    pub fn count(&self, message: &str, total: u64) {
        *self.0.counted.lock().unwrap_or_else(PoisonError::into_inner) = Some(message.to_owned());
        self.0.done.store(0, Ordering::Relaxed);
        self.0.total.store(total, Ordering::Relaxed);
        match &self.0.shown {
            Shown::Quiet => {}
            Shown::Lines => tell(&format!("{message} ({total})")),
            Shown::Terminal(bar) => {
                // Each change is drawn: nothing is a bar before it has its numbers.
                bar.set_style(style("{spinner} {wide_msg}"));
                bar.set_message(message.to_owned());
                bar.reset();
                bar.set_length(total);
                bar.set_prefix(message.to_owned());
                bar.set_message("");
                bar.set_style(style("{prefix} {bar:16} {pos}/{len} {eta} {wide_msg}"));
                bar.enable_steady_tick(Duration::from_millis(200));
            }
        }
    }

    /// One more of the counted step is done.
    pub fn tick(&self) {
        let done = self.0.done.fetch_add(1, Ordering::Relaxed) + 1;
        if let Shown::Terminal(bar) = &self.0.shown {
            bar.inc(1);
        }
        if done >= self.total() {
            *self.0.counted.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    /// How many of the last counted step are done.
    pub fn done(&self) -> u64 {
        self.0.done.load(Ordering::Relaxed)
    }

    fn total(&self) -> u64 {
        self.0.total.load(Ordering::Relaxed)
    }

    /// A line that stays.
    pub fn note(&self, message: &str) {
        match &self.0.shown {
            Shown::Quiet => {}
            Shown::Lines => tell(message),
            Shown::Terminal(bar) => bar.suspend(|| tell(message)),
        }
    }

    /// Clears the moving line.
    pub fn clear(&self) {
        *self.0.counted.lock().unwrap_or_else(PoisonError::into_inner) = None;
        if let Shown::Terminal(bar) = &self.0.shown {
            bar.disable_steady_tick();
            bar.finish_and_clear();
        }
    }
}

/// Says a line on standard error. Whoever read it may have gone: the work goes on.
pub fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{}", shown(line));
}

impl Drop for Shown {
    fn drop(&mut self) {
        if let Self::Terminal(bar) = self {
            bar.finish_and_clear();
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use indicatif::TermLike;

    /// A terminal of 80 columns that remembers the lines drawn.
    #[derive(Clone, Debug, Default)]
    struct Screen(Arc<Mutex<Vec<String>>>);

    impl TermLike for Screen {
        fn width(&self) -> u16 {
            80
        }
        fn move_cursor_up(&self, _: usize) -> std::io::Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> std::io::Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> std::io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> std::io::Result<()> {
            Ok(())
        }
        fn write_line(&self, line: &str) -> std::io::Result<()> {
            self.write_str(line)
        }
        fn write_str(&self, line: &str) -> std::io::Result<()> {
            if !line.trim().is_empty() {
                self.0.lock().unwrap().push(line.to_owned());
            }
            Ok(())
        }
        fn clear_line(&self) -> std::io::Result<()> {
            Ok(())
        }
        fn flush(&self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_steers_a_terminal_is_written_out() {
        assert_eq!(shown("a\u{1b}]0;x\u{7}b\r\u{202e}\nc"), "a\\u{1b}]0;x\\u{7}b\\u{d}\\u{202e}\nc");
        assert!(matches!(shown("Grüße — 你好\n  caused by"), Cow::Borrowed(_)));
        let screen = Screen::default();
        let progress = Indicator::on(ProgressDrawTarget::term_like_with_hz(Box::new(screen.clone()), 255));
        progress.step("downloading \u{1b}[2Kx.json");
        let Shown::Terminal(bar) = &progress.0.shown else { panic!() };
        bar.force_draw();
        let drawn = screen.0.lock().unwrap().clone();
        assert!(drawn.last().is_some_and(|line| line.contains("\\u{1b}[2Kx.json")), "{drawn:?}");
    }

    #[test]
    fn a_step_within_a_count_keeps_the_count_and_fits_the_terminal() {
        let screen = Screen::default();
        let progress = Indicator::on(ProgressDrawTarget::term_like_with_hz(Box::new(screen.clone()), 255));
        let shown = || {
            let Shown::Terminal(bar) = &progress.0.shown else { panic!() };
            bar.force_draw();
            screen.0.lock().unwrap().last().cloned().unwrap_or_default()
        };
        progress.step("connecting");
        assert!(shown().contains("connecting"), "{}", shown());
        progress.count("embedding", 40);
        (0..17).for_each(|_| progress.tick());
        progress.step(&format!("sharing the model {}", "among the nodes ".repeat(20)));
        let line = shown();
        assert!(line.contains("17/40") && line.contains("sharing the model"), "{line}");
        assert!(line.trim_end().chars().count() <= 80, "{line}");
        assert_eq!(progress.done(), 17);
        (17..40).for_each(|_| progress.tick());
        progress.step("stopping the nodes");
        assert!(!shown().contains("40/40"), "the count is over: {}", shown());
        let drawn = screen.0.lock().unwrap().clone();
        assert!(drawn.iter().all(|line| !line.contains("0/0")), "no bar of nothing: {drawn:#?}");
    }
}
