//! `sahara demo`: the whole thing on this machine, with a table to enjoy.

use std::sync::Arc;

use clap::Args;

use super::devnet::program;
use super::signals::stopped;
use super::{Context, ProtocolArgs};
use crate::demo::{self, Texts};
use crate::devnet::Devnet;
use crate::error::Result;
use crate::progress::Indicator;
use sahara::models::{DEFAULT_MODEL, Store};
use sahara::network::NetworkOptions;

/// Sentences of a run without options.
const DEFAULT_SENTENCES: usize = 24;

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  sahara demo                                 private answers, then a market
  sahara demo --quick                         the table of private answers alone
  sahara demo --tokens 128 --json             one text of 128 tokens, as JSON
  sahara demo --sentences 200 --mode exact    many lengths, compared exactly
  sahara demo --mode faithful --weights open  the fastest profile

The model is pulled if it is not here; three nodes are started if none run, and
stopped again at the end.")]
pub struct DemoArgs {
    /// Number of sentences [default: 24, or 1 with --tokens]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    sentences: Option<u32>,
    /// Embed texts of exactly this many tokens instead
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(3..=4096))]
    tokens: Option<u32>,
    /// Texts on the network at once; with --tokens also their number
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    batch: Option<u16>,
    /// Name of the model
    #[arg(long, default_value = DEFAULT_MODEL)]
    model: String,
    #[command(flatten)]
    protocol: ProtocolArgs,
    /// First port of the three nodes
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// Leave the nodes running at the end
    #[arg(long)]
    keep: bool,
    /// Leave out the market: a model sold, asked, paid, and an operator killed
    #[arg(long)]
    quick: bool,
}

impl DemoArgs {
    fn texts(&self) -> Texts {
        let sentences = self.sentences.map(|count| count as usize);
        match self.tokens {
            Some(tokens) => {
                Texts::Tokens { tokens: tokens as usize, count: sentences.or(self.batch.map(usize::from)).unwrap_or(1) }
            }
            None => Texts::Sentences(sentences.unwrap_or(DEFAULT_SENTENCES)),
        }
    }
}

pub fn run(args: DemoArgs, context: &mut Context) -> Result<()> {
    let progress = &context.progress;
    let model = Arc::new(Store::new(&context.home).open_or_pull(&args.model, &progress.events())?);
    let texts = demo::texts(&model, args.texts())?;
    let mut options = NetworkOptions {
        rounding: args.protocol.mode.into(),
        visibility: args.protocol.weights.map(Into::into),
        ..NetworkOptions::default()
    };
    if let Some(batch) = args.batch {
        options.jobs = batch.into();
    }
    let devnet = Devnet::new(&context.home, program()?);
    let started = devnet.up(args.port, progress)?;
    if started && !args.keep {
        stop_nodes_when_interrupted(Devnet::new(&context.home, program()?));
    }
    let result = demo::run(&context.home, &model, &texts, options, progress);
    if started && !args.keep {
        progress.step("stopping the nodes");
        let stopped = devnet.down(progress);
        progress.clear();
        // A failure of the demo itself says more than one of the clean-up.
        if result.is_ok() {
            stopped?;
        }
    }
    let mut report = result?;
    if !context.out.json() {
        context.out.line(&report.table())?;
        context.out.flush()?;
    }
    if !args.quick {
        let progress = &context.progress;
        report.market = Some(demo::market::run(&context.home, &args.model, program()?, progress)?);
    }
    match (context.out.json(), &report.market) {
        (true, _) => context.out.value(&report),
        (false, Some(market)) => context.out.line(&market.table()),
        (false, None) => Ok(()),
    }
}

/// Nodes that the demo started do not outlive it when a person or the system ends it early.
fn stop_nodes_when_interrupted(devnet: Devnet) {
    std::thread::spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(stopped());
        // The program is ending: there is nobody left to tell of a failure.
        let _ = devnet.down(&Indicator::silent());
        std::process::exit(130);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        demo: DemoArgs,
    }

    fn texts(line: &str) -> Texts {
        Line::try_parse_from(format!("x {line}").split_whitespace()).unwrap().demo.texts()
    }

    #[test]
    fn the_options_choose_the_texts() {
        assert_eq!(texts(""), Texts::Sentences(DEFAULT_SENTENCES));
        assert_eq!(texts("--sentences 200"), Texts::Sentences(200));
        assert_eq!(texts("--tokens 128"), Texts::Tokens { tokens: 128, count: 1 });
        assert_eq!(texts("--tokens 128 --batch 8"), Texts::Tokens { tokens: 128, count: 8 });
        assert_eq!(texts("--tokens 128 --batch 2 --sentences 6"), Texts::Tokens { tokens: 128, count: 6 });
    }
}
