//! `sahara gateway`: an OpenAI-compatible server on the person's own machine.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::signals::stopped;
use super::{Context, ProtocolArgs};
use crate::error::{Error, Result};
use crate::gateway::{GatewayConfig, Origins, REQUESTS_PER_CLIENT, TokenArrays, bind};
use crate::models::{self, DEFAULT_MODEL};
use crate::network::{NetworkEngine, NetworkOptions};
use crate::progress::Progress;

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  sahara gateway                      serve at http://127.0.0.1:8321/v1
  sahara gateway --listen 127.0.0.1:9000 --mode faithful
  sahara gateway --allow-origin http://localhost:3000     for a page of yours

With OpenAI's Python package:
  client = OpenAI(base_url=\"http://127.0.0.1:8321/v1\", api_key=\"unused\")
  client.embeddings.create(model=\"all-MiniLM-L6-v2\", input=[\"good morning\"])

The gateway reads the text and makes the shares: run it where the text may be
read. The network must be up.")]
pub struct GatewayArgs {
    /// Address to listen on
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8321")]
    listen: SocketAddr,
    /// Accept other machines: whoever runs this gateway then sees their texts
    #[arg(long)]
    allow_remote: bool,
    /// Let web pages of this origin ask, e.g. http://localhost:3000 (may be repeated)
    #[arg(long, value_name = "ORIGIN")]
    allow_origin: Vec<String>,
    /// Whose numbers lists of tokens hold
    #[arg(long, value_enum, default_value_t = TokenArraysArg::Cl100kBase)]
    token_arrays: TokenArraysArg,
    /// Requests of one client that are served at once; more get 429
    #[arg(long, value_name = "N", default_value_t = REQUESTS_PER_CLIENT,
          value_parser = clap::value_parser!(u16).range(1..=64))]
    requests_per_client: u16,
    /// Name of the model, or OWNER/NAME of somebody else's on the share nodes
    #[arg(long, default_value = DEFAULT_MODEL)]
    model: String,
    #[command(flatten)]
    protocol: ProtocolArgs,
    /// Committee file of the share nodes [default: the devnet's]
    #[arg(long, value_name = "FILE")]
    committee: Option<PathBuf>,
}

/// Whose token numbers clients send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum TokenArraysArg {
    /// OpenAI's cl100k_base, which its clients use for models they do not know
    Cl100kBase,
    /// The model's own tokenizer
    Model,
}

pub fn run(args: GatewayArgs, context: &mut Context) -> Result<()> {
    let committee = args.committee.as_deref();
    let model = Arc::new(models::open(&context.home, &args.model, committee, &context.progress)?);
    let config = GatewayConfig {
        listen: args.listen,
        allow_remote: args.allow_remote,
        origins: Origins::parse(&args.allow_origin)?,
        token_arrays: match args.token_arrays {
            TokenArraysArg::Cl100kBase => TokenArrays::Cl100kBase,
            TokenArraysArg::Model => TokenArrays::Model,
        },
        requests_per_client: args.requests_per_client,
        model: model.info.name.clone(),
    };
    let options = NetworkOptions {
        rounding: args.protocol.mode.into(),
        visibility: args.protocol.weights.map(Into::into),
        ..NetworkOptions::default()
    };
    let runtime = tokio::runtime::Runtime::new().map_err(|e| Error::fault_from("starting the gateway", e))?;
    let listening = runtime.block_on(bind(config))?;
    let quiet = Progress::silent();
    let committee = args.committee.as_deref();
    let engine = NetworkEngine::connect(&context.home, committee, model.clone(), options, &quiet)?;
    context.progress.step(&format!("sharing {} among the nodes", args.model));
    engine.register()?;
    context.progress.clear();
    if !listening.address().ip().is_loopback() {
        eprintln!("warning: other machines can reach this gateway; it sees every text they send");
    }
    let url = format!("http://{}/v1", listening.address());
    if context.out.json() {
        context.out.value(&json!({"listening": url, "model": model.info.name}))?;
    } else {
        context.out.line(&format!("serving {} at {url} (stop with Ctrl-C)", model.info.name))?;
    }
    context.out.flush()?;
    runtime.block_on(listening.serve(Arc::new(engine), stopped()));
    // Work that did not end in time must not keep the process.
    runtime.shutdown_background();
    Ok(())
}
