//! The commands of `sahara`, one file each; this file says what they are and how to run them.

mod asset;
mod books;
mod chain;
mod chart;
mod classify;
mod committee;
mod completions;
mod data;
mod demo;
mod devnet;
mod dp;
mod embed;
mod gateway;
mod licence;
mod model;
mod money;
mod network;
mod operator;
mod output;
mod paying;
mod publish;
mod receipt;
mod request;
mod round;
mod session;
mod share;
mod signals;
mod terms;
mod train;
mod transcript;
mod wallet;
mod whoami;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::error::Result;
use crate::progress::{Indicator, tell};
use output::Output;
use sahara::home::Home;
use sahara::network::{Rounding, Visibility};

/// Private inference: a real model answers on three share nodes that never see your text.
#[derive(Parser, Debug)]
#[command(
    name = "sahara",
    version,
    propagate_version = true,
    arg_required_else_help = true,
    max_term_width = output::WIDTH,
    after_help = "\
First steps:
  sahara demo                           see the whole thing work on this machine
  sahara model pull all-MiniLM-L6-v2    bring a model in
  sahara devnet up                      three share nodes and a chain, here
  sahara embed \"good morning\" --json    embed a sentence nobody gets to see
  sahara gateway                        an OpenAI server at 127.0.0.1:8321/v1
  sahara devnet down                    stop the nodes

Files live in $SAHARA_HOME, or ~/.sahara. Exit codes: 0 done, 1 a fault,
2 something for you to fix, 3 sent to the chain with unknown outcome,
4 a run is contradicted by its audit, 130 interrupted."
)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Args, Debug)]
struct Global {
    /// Folder for models, keys and the local network [default: $SAHARA_HOME, else ~/.sahara]
    #[arg(long, global = true, value_name = "DIR")]
    home: Option<PathBuf>,
    /// Print results as JSON
    #[arg(long, global = true)]
    json: bool,
    /// No progress on standard error
    #[arg(long, short, global = true)]
    quiet: bool,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Bring models in and look at them
    #[command(subcommand)]
    Model(model::ModelCommand),
    /// Three share nodes and a chain on this machine, for trying and testing
    #[command(subcommand)]
    Devnet(devnet::DevnetCommand),
    /// Turn sentences into vectors, privately
    Embed(embed::EmbedArgs),
    /// Sort texts into the classes of a classifier, privately
    Classify(classify::ClassifyArgs),
    /// Train models of private data within a privacy budget
    #[command(subcommand)]
    Train(train::TrainCommand),
    /// Train one model with many providers, whose rows stay with them
    #[command(subcommand)]
    Round(round::RoundCommand),
    /// Ask about a table of yours within a privacy budget
    #[command(subcommand)]
    Data(data::DataCommand),
    /// Serve OpenAI clients on this machine
    Gateway(gateway::GatewayArgs),
    /// Everything at once: model, network, private answers, and what they cost
    Demo(demo::DemoArgs),
    /// Plan with differential privacy: what steps spend, and which noise they need
    #[command(subcommand)]
    Dp(dp::DpCommand),
    /// Run the ledger: a development chain, a validator, a network of them
    #[command(subcommand)]
    Chain(sahara_chain::cli::Command),
    /// Run a share node
    #[command(subcommand)]
    Operator(operator::OperatorCommand),
    /// What share nodes have written down of a job, and who is contradicted by it
    #[command(subcommand)]
    Transcript(transcript::TranscriptCommand),
    /// The account that pays: make, bring, look at it
    #[command(subcommand)]
    Wallet(wallet::WalletCommand),
    /// What somebody owns on the chain, and at what price others may use it
    #[command(subcommand)]
    Asset(asset::AssetCommand),
    /// What this wallet may use
    #[command(subcommand)]
    Licence(licence::LicenceCommand),
    /// Deposits from which questions are paid
    #[command(subcommand)]
    Session(session::SessionCommand),
    /// What contracts ask of a model, and people as contracts do
    #[command(subcommand)]
    Request(request::RequestCommand),
    /// What was paid for, and what that proves
    #[command(subcommand)]
    Receipt(receipt::ReceiptCommand),
    /// Whether answers, receipts and money are the same
    Books(books::BooksArgs),
    /// The networks that this machine knows
    #[command(subcommand)]
    Network(network::NetworkCommand),
    /// Show this machine's public key, and how an operator admits it
    Whoami,
    /// Print what makes a shell complete these commands
    Completions(completions::CompletionsArgs),
    /// Write the manual pages of all commands
    Man(completions::ManArgs),
}

/// What every command gets.
struct Context {
    home: Home,
    /// Folder of the operator's node: `--home` of its commands, else `node` in Sahara's folder.
    node_home: PathBuf,
    progress: Indicator,
    out: Output,
}

/// How exactly the network rounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ModeArg {
    /// The same integers as the plain reference, bit for bit
    Exact,
    /// Faster; the last place of a rescaled value may be off by one
    Faithful,
}

impl From<ModeArg> for Rounding {
    fn from(mode: ModeArg) -> Self {
        match mode {
            ModeArg::Exact => Self::Exact,
            ModeArg::Faithful => Self::Faithful,
        }
    }
}

/// Who may know the weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum WeightsArg {
    /// No share node learns the weights
    Private,
    /// The share nodes know the weights (an open model); faster
    Open,
}

impl From<WeightsArg> for Visibility {
    fn from(weights: WeightsArg) -> Self {
        match weights {
            WeightsArg::Private => Self::Private,
            WeightsArg::Open => Self::Open,
        }
    }
}

/// How the network computes, shared by `embed`, `gateway` and `demo`.
#[derive(Args, Debug)]
struct ProtocolArgs {
    /// How exactly the network rounds
    #[arg(long, value_enum, default_value_t = ModeArg::Exact)]
    mode: ModeArg,
    /// Whether the share nodes may know the weights [default: private; for somebody else's model, its owner's choice]
    #[arg(long, value_enum)]
    weights: Option<WeightsArg>,
}

/// The training that a whole command line asks for.
fn training(command: &[String]) -> std::result::Result<train::TrainCommand, String> {
    match Cli::try_parse_from(command).map_err(|error| error.to_string())?.command {
        Command::Train(training) => Ok(training),
        _ => Err("the command does not train".to_owned()),
    }
}

/// Reads the arguments, runs the command, prints the error; the exit code.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is_reader_gone() => ExitCode::SUCCESS,
        Err(error) => {
            tell(&format!("error: {}", error.report()));
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(cli: Cli) -> Result<()> {
    let (home, node_home) = folders(cli.global.home, matches!(cli.command, Command::Operator(_)))?;
    let mut context =
        Context { home, node_home, progress: Indicator::new(cli.global.quiet), out: Output::new(cli.global.json) };
    let done = match cli.command {
        Command::Model(command) => model::run(command, &mut context),
        Command::Devnet(command) => devnet::run(command, &mut context),
        Command::Embed(args) => embed::run(args, &mut context),
        Command::Classify(args) => classify::run(args, &mut context),
        Command::Train(command) => train::run(command, &mut context),
        Command::Round(command) => round::run(command, &mut context),
        Command::Data(command) => data::run(command, &mut context),
        Command::Gateway(args) => gateway::run(args, &mut context),
        Command::Demo(args) => demo::run(args, &mut context),
        Command::Dp(command) => dp::run(command, &mut context),
        Command::Chain(command) => chain::run(command, &context.home),
        Command::Operator(command) => operator::run(command, &mut context),
        Command::Transcript(command) => transcript::run(command, &mut context),
        Command::Wallet(command) => wallet::run(command, &mut context),
        Command::Asset(command) => asset::run(command, &mut context),
        Command::Licence(command) => licence::run(command, &mut context),
        Command::Session(command) => session::run(command, &mut context),
        Command::Request(command) => request::run(command, &mut context),
        Command::Receipt(command) => receipt::run(command, &mut context),
        Command::Books(args) => books::run(&args, &mut context),
        Command::Network(command) => network::run(command, &mut context),
        Command::Whoami => whoami::run(&mut context),
        Command::Completions(args) => completions::completions(&args, &mut context),
        Command::Man(args) => completions::man(&args, &mut context),
    };
    context.progress.clear();
    done.and_then(|()| context.out.flush())
}

/// Sahara's folder and that of the operator's node. For `operator` a folder that is given is the node's: whoever
/// operates it has their own keys where all other commands look for them.
fn folders(given: Option<PathBuf>, operator: bool) -> Result<(Home, PathBuf)> {
    match given {
        Some(node) if operator => {
            let node = Home::locate(Some(node))?;
            let folder = node.path().to_owned();
            // A service may have no place for Sahara's files; its node needs none.
            Ok((Home::locate(None).unwrap_or(node), folder))
        }
        given => {
            let home = Home::locate(given)?;
            let folder = home.path().join("node");
            Ok((home, folder))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    fn parse(line: &str) -> std::result::Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    /// Every command with the words that lead to it.
    fn all(command: &clap::Command, words: &str) -> Vec<(String, clap::Command)> {
        let below = command.get_subcommands().flat_map(|sub| all(sub, &format!("{words} {}", sub.get_name())));
        std::iter::once((words.to_owned(), command.clone())).chain(below).collect()
    }

    #[test]
    fn every_help_fits_eighty_columns_and_nothing_written_by_hand_is_folded() {
        let mut root = Cli::command();
        root.build();
        let commands = all(&root, "sahara");
        assert!(commands.len() > 30, "all commands are looked at, not {}", commands.len());
        for (words, mut command) in commands {
            for help in [command.render_long_help(), command.render_help()] {
                let wide: Vec<String> =
                    help.to_string().lines().filter(|l| l.chars().count() > 80).map(str::to_owned).collect();
                assert!(wide.is_empty(), "{words} --help: {wide:#?}");
            }
            for text in [command.get_after_help(), command.get_after_long_help()].into_iter().flatten() {
                let wide = text.to_string().lines().find(|line| line.chars().count() > 80).map(str::to_owned);
                assert_eq!(wide, None, "{words} --help, its examples");
            }
        }
    }

    /// Commands that send something to the chain, or sign away that somebody else does.
    const MOVES_MONEY: [&str; 37] = [
        "asset register",
        "asset offer",
        "asset publish",
        "asset retract",
        "asset seat",
        "asset unseat",
        "licence buy",
        "licence propose",
        "licence accept",
        "licence deliver",
        "licence dispute",
        "licence complain",
        "licence refund",
        "licence collect",
        "licence withdraw",
        "session open",
        "session close",
        "operator bond",
        "operator quote",
        "operator allow",
        "operator unbond",
        "operator earnings",
        "operator settle",
        "asset ask",
        "model share",
        "request make",
        "request refund",
        "wallet send",
        "data query",
        "train table",
        "train classify",
        "train lora",
        "data budget grant",
        "data budget lower",
        "data budget raise",
        "data budget allow",
        "data budget release",
    ];

    #[test]
    fn every_command_speaks_json_and_what_moves_money_can_be_tried() {
        let mut root = Cli::command();
        root.build();
        let is_help = |words: &str| words.split(' ').any(|word| word == "help");
        let leaves = all(&root, "").into_iter().filter(|(words, command)| {
            command.get_subcommands().all(|sub| sub.get_name() == "help") && !is_help(words)
        });
        let mut moving = std::collections::BTreeSet::new();
        for (words, command) in leaves {
            let words = words.trim();
            let takes = |name: &str| command.get_arguments().any(|argument| argument.get_id() == name);
            assert!(words.is_empty() || takes("json"), "`{words}` takes no --json");
            // Who opens a wallet on a network does so to send something.
            let pays = takes("password_file") && takes("network");
            assert!(!pays || takes("dry_run"), "`{words}` pays, and takes no --dry-run");
            if takes("dry_run") {
                moving.insert(words.to_owned());
            }
        }
        assert_eq!(moving, MOVES_MONEY.map(str::to_owned).into());
    }

    #[test]
    fn the_commands_of_the_readme_are_understood() {
        for line in [
            "sahara model pull all-MiniLM-L6-v2",
            "sahara model pull ./folder --name mine --force",
            "sahara model pull x --from hub --json",
            "sahara model ls --json",
            "sahara model show all-MiniLM-L6-v2",
            "sahara model share all-MiniLM-L6-v2 --access everyone --weights open --as mine",
            "sahara model unshare mine --committee c.toml",
            "sahara model shared --json",
            "sahara model get 1111111111111111111111111111111111111111111111111111111111111111/mine",
            "sahara devnet up --port 9000",
            "sahara devnet status --json",
            "sahara devnet logs 2 --lines 5",
            "sahara devnet down",
            "sahara devnet up --port 9000 --chain-port 9008",
            "sahara devnet logs chain",
            "sahara chain init --home /x",
            "sahara chain start --home /x",
            "sahara chain testnet 4 --home /x --json",
            "sahara chain status --home /x --json",
            "sahara chain keys",
            "sahara chain export",
            "sahara chain snapshot restore",
            "sahara embed one two --json --mode faithful --weights open",
            "sahara embed --file f.txt --plain",
            "sahara embed one --float",
            "sahara gateway --listen 127.0.0.1:9",
            "sahara train table --data d.csv --label ill --labels no,yes --range *=0:1 --values sex=F,M --ignore id --hidden 64,32 --epsilon 3 --delta 1e-5 --epochs 2 --batch 64 --clip 0.5 --seed 7 --out o --resume --json",
            "sahara train classify --data d.tsv --labels bad,good --epsilon 3 --delta 1e-5 --out o",
            "sahara train lora --data d.tsv --labels bad,good --epsilon 3 --delta 1e-5 --rank 4 --alpha 8 --targets q,v --out o",
            "sahara train lora --data d.tsv --labels bad,good --epsilon 3 --delta 1e-5 --all --out o --resume --json",
            "sahara round lead --providers k --test t.csv --label ill --labels no,yes --range *=0:1 --epsilon 4 --delta 1e-6 --out o --rounds 20 --json",
            "sahara round join --data d.csv --leader 1111111111111111111111111111111111111111111111111111111111111111 --epsilon 4 --delta 1e-6 --committee c.toml",
            "sahara round ls --json",
            "sahara demo --tokens 128 --mode exact --weights private --json",
            "sahara demo --sentences 200",
            "sahara operator init --home /x",
            "sahara operator run --home /x",
            "sahara operator doctor --json",
            "sahara operator status",
            "sahara operator init --listen node.example:7700 --advertise node.example:443",
            "sahara embed",
            "sahara dp epsilon --noise 1.1 --sample-rate 0.004 --steps 15000 --delta 1e-5 --accountant rdp --json",
            "sahara dp noise --epsilon 3 --delta 1e-5 --records 60000 --batch 256 --epochs 10",
            "sahara dp plan --epsilon 3 --delta 1e-5 --records 60000 --batch 256 --epochs 10 --picture plan.svg",
            "sahara data describe visits.csv --range age=0:120 --values city=Oasis,Dune --words note --ignore id --person p --rows-per-person 3",
            "sahara data budget set visits --epsilon 3 --delta 1e-6 --person p",
            "sahara data budget show visits --json",
            "sahara data query visits.csv q --epsilon 0.5 --delta 1e-9 --dataset d --dry-run",
            "sahara data query visits.csv q --epsilon 0.5 --asset 0x1111111111111111111111111111111111111111111111111111111111111111 --licence 7",
            "sahara data receipts visits --number 3",
            "sahara data randomise visits.csv --epsilon 4 --out private.csv",
            "sahara data budget grant --asset 0x1111111111111111111111111111111111111111111111111111111111111111 --epsilon 3 --delta 1e-6",
            "sahara data budget raise --asset 0x1111111111111111111111111111111111111111111111111111111111111111 --cancel",
            "sahara data budget release --asset 0x1111111111111111111111111111111111111111111111111111111111111111",
            "sahara model rm mine",
            "sahara whoami --json",
            "sahara transcript show JOB.transcript --json",
            "sahara transcript verify A.transcript B.transcript PACK.dealt",
            "sahara completions zsh",
            "sahara man pages",
            "sahara chain status",
            "sahara chain init --home /x --evm-chain-id 4242",
            "sahara chain join http://203.0.113.7:26657 --home /x --snapshot",
            "sahara chain invite --home /x --out join.json",
            "sahara chain start --cometbft --home /x",
            "sahara books --node /x --from 5 --json",
            "sahara devnet up --free --port 9000",
            "sahara devnet up --model mine",
            "sahara demo --quick",
            "sahara wallet new --password-file p",
            "sahara model share mine --asset 0x1111111111111111111111111111111111111111111111111111111111111111 --network main",
            "sahara model share mine --asset 0x1111111111111111111111111111111111111111111111111111111111111111 --committee auto --epoch 7 --days 30 --yes --dry-run --wallet w.json",
            "sahara session allow ab12 --operators",
            "sahara receipt ls --last 5",
            "sahara receipt show last --json",
            "sahara receipt verify last --explain --offline",
            "sahara asset register mine --card ipfs://x --dry-run",
            "sahara asset register --root 0x1111111111111111111111111111111111111111111111111111111111111111 --kind dataset --parent 0x1111111111111111111111111111111111111111111111111111111111111111:7",
            "sahara asset offer 0x1111111111111111111111111111111111111111111111111111111111111111 --royalty 0.001 --compute 1000gwei --days 30",
            "sahara asset retract 0x1111111111111111111111111111111111111111111111111111111111111111",
            "sahara asset seat 0x1111111111111111111111111111111111111111111111111111111111111111 --as mine --committee c.toml --days 90",
            "sahara asset unseat 0x1111111111111111111111111111111111111111111111111111111111111111",
            "sahara asset ls --all --json",
            "sahara asset show 0x1111111111111111111111111111111111111111111111111111111111111111 --network main",
            "sahara licence buy 0x1111111111111111111111111111111111111111111111111111111111111111 --max-price 2 --deposit 1 --cap-day 0.5 --dry-run",
            "sahara asset ask 0x1111111111111111111111111111111111111111111111111111111111111111 mine --bucket 32 --royalty 0.001 --compute 0.003 --dry-run",
            "sahara request make --asset 0x1111111111111111111111111111111111111111111111111111111111111111 --text hello --public --max-price 1 --dry-run --json",
            "sahara request seal --asset 0x1111111111111111111111111111111111111111111111111111111111111111 --text hello --asker 0x1111111111111111111111111111111111111111 --out f",
            "sahara request show 0x1111111111111111111111111111111111111111111111111111111111111111 --json",
            "sahara request ls",
            "sahara request answer 0x1111111111111111111111111111111111111111111111111111111111111111",
            "sahara request refund 0x1111111111111111111111111111111111111111111111111111111111111111 --wallet w.json",
            "sahara licence ls",
            "sahara asset publish 0x1111111111111111111111111111111111111111111111111111111111111111 mine --out mine.sealed",
            "sahara asset offer 0x1111111111111111111111111111111111111111111111111111111111111111 --kind full-access --price 5 --token 0x7171717171717171717171717171717171717171 --days 12h",
            "sahara licence propose 0x1111111111111111111111111111111111111111111111111111111111111111 --holder 0x7171717171717171717171717171717171717171 --document terms.txt --price 2 --valid 3 --out proposal.json",
            "sahara licence accept proposal.json --deposit 1 --dry-run",
            "sahara licence deliver 7 --wallet owner.json",
            "sahara licence unpack 7 --from mine.sealed --out mine",
            "sahara licence dispute 7 --from mine.sealed",
            "sahara licence refund 7",
            "sahara licence show 7",
            "sahara session open --licence 7 --with 0x1111111111111111111111111111111111111111111111111111111111111111",
            "sahara session ls --json",
            "sahara session allow ab12 --cap-day 3",
            "sahara session close ab12 --wallet w.json",
            "sahara operator bond 100 --home ./node --region here",
            "sahara operator quote 0.0002 --days 30",
            "sahara operator allow 0x1111111111111111111111111111111111111111111111111111111111111111 --not",
            "sahara operator unbond 5",
            "sahara operator earnings --claim",
            "sahara operator settle --owed --home ./node",
            "sahara wallet import key.hex --wallet other.json",
            "sahara wallet address --json",
            "sahara wallet balance --network main",
            "sahara network add main.toml --name main",
            "sahara network make http://127.0.0.1:8545 --height 1",
            "sahara network ls --json",
            "sahara network show main",
            "sahara network rm main",
        ] {
            parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
    }

    #[test]
    fn contradictions_are_refused() {
        for line in [
            "sahara embed a --plain --float",
            "sahara embed a --plain --mode exact",
            "sahara embed a --file f",
            "sahara demo --tokens 0",
            "sahara transcript verify one",
            "sahara transcript verify a b c d",
            "sahara demo --tokens 100000",
            "sahara embed a --mode sloppy",
        ] {
            let error = parse(line).unwrap_err();
            assert_ne!(error.kind(), ErrorKind::DisplayHelp, "{line}");
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }
}
