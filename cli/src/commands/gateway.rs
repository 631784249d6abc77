//! `sahara gateway`: an OpenAI-compatible server on the person's own machine.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::signals::stopped;
use super::{Context, ProtocolArgs, paying};
use crate::advice;
use crate::error::{Error, Result};
use crate::market::engine::PaidEngine;
use crate::progress::{Indicator, tell};
use sahara::embedding::Engine;
use sahara::error::one_line;
use sahara::home::Home;
use sahara::models::{self, DEFAULT_MODEL, Model, PINNED};
use sahara::network::{NetworkEngine, NetworkOptions};
use sahara::progress::Progress;
use sahara_gateway::{
    Advice, GatewayConfig, Origins, REQUESTS_PER_CLIENT, ReceiptId, Served, TokenArrays, bind, check_host,
};

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
    /// Answer clients that call this gateway by this name, too: `localhost` and
    /// addresses they may always use (may be repeated)
    #[arg(long, value_name = "NAME")]
    allow_host: Vec<String>,
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
    /// Name of the model, OWNER/NAME of somebody else's on the share nodes, or the
    /// id of an asset for which you have a session
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
    let asked = Arc::new(Asked {
        home: context.home.clone(),
        model: args.model,
        committee: args.committee,
        options: NetworkOptions {
            rounding: args.protocol.mode.into(),
            visibility: args.protocol.weights.map(Into::into),
            ..NetworkOptions::default()
        },
    });
    let paid = asked.paid(&context.progress)?;
    let model = match &paid {
        Some(engine) => engine.model().clone(),
        None => asked.open(&context.progress.events())?,
    };
    let name = model.info.name.clone();
    let runtime = tokio::runtime::Runtime::new().map_err(|e| Error::fault_from("starting the gateway", e))?;
    args.allow_host.iter().try_for_each(|name| check_host(name))?;
    let config = GatewayConfig {
        listen: args.listen,
        allow_remote: args.allow_remote,
        hosts: args.allow_host,
        origins: Origins::parse(&args.allow_origin)?,
        token_arrays: match args.token_arrays {
            TokenArraysArg::Cl100kBase => TokenArrays::Cl100kBase,
            TokenArraysArg::Model => TokenArrays::Model,
        },
        requests_per_client: args.requests_per_client,
        model: name.clone(),
        also: Vec::new(),
        advice: Advice {
            origins: "it was started with --allow-origin and that page's origin".to_owned(),
            hosts: "it was started with --allow-host and the name that you use".to_owned(),
            token_arrays: "start the gateway with --token-arrays model".to_owned(),
            explain: Arc::new(|error| one_line(&advice::sentence(error))),
        },
        receipt_id: paid.as_ref().map(|engine| Arc::new(engine.receipt_id()) as ReceiptId),
    };
    let mut listening = runtime.block_on(bind(config))?;
    let served = match paid {
        Some(engine) => {
            listening.also_as(vec![asked.model.clone()]);
            Served::only(Arc::new(engine))
        }
        None => {
            let engine = asked.connect(model)?;
            context.progress.step(&format!("making sure that the nodes have {}", asked.model));
            if engine.register()? {
                context.progress.note(&engine.handed_over());
            }
            listening.also_as(asked.names(&name, &engine));
            let renew = move || asked.renewed();
            Served::renewed_by(Arc::new(engine), Box::new(renew))
        }
    };
    context.progress.clear();
    if !listening.address().ip().is_loopback() {
        tell("warning: other machines can reach this gateway; it sees every text they send");
    }
    let url = format!("http://{}/v1", listening.address());
    if context.out.json() {
        context.out.value(&json!({"listening": url, "model": name}))?;
    } else {
        context.out.line(&format!("serving {name} at {url} (stop with Ctrl-C)"))?;
    }
    context.out.flush()?;
    runtime.block_on(listening.serve(served, stopped()));
    // Work that did not end in time must not keep the process.
    runtime.shutdown_background();
    Ok(())
}

/// What the gateway was asked to serve.
struct Asked {
    home: Home,
    model: String,
    committee: Option<PathBuf>,
    options: NetworkOptions,
}

impl Asked {
    /// The engine that pays, if a session of this home is for the model; each receipt is in a header, so nothing is told here.
    fn paid(&self, progress: &Indicator) -> Result<Option<PaidEngine>> {
        match self.committee {
            Some(_) => Ok(None),
            None => paying::engine_that(&self.home, &self.model, &self.options, progress, Box::new(|_, _| ())),
        }
    }

    fn open(&self, progress: &Progress) -> sahara::Result<Arc<Model>> {
        models::open(&self.home, &self.model, self.committee.as_deref(), progress).map(Arc::new)
    }

    fn connect(&self, model: Arc<Model>) -> sahara::Result<NetworkEngine> {
        let quiet = Progress::silent();
        NetworkEngine::connect(&self.home, self.committee.as_deref(), model, self.options.clone(), &quiet)
    }

    /// Other names for it: the one that it was asked for by, the nodes', the hub's.
    fn names(&self, model: &str, engine: &NetworkEngine) -> Vec<String> {
        let hub = PINNED.iter().filter(|known| known.name == model).map(|known| known.hub.to_owned());
        [self.model.clone(), engine.sharing()].into_iter().chain(hub).collect()
    }

    /// An engine for the version that is current now.
    fn renewed(&self) -> sahara::Result<Arc<dyn Engine>> {
        let engine = self.connect(self.open(&Progress::silent())?)?;
        engine.register()?;
        Ok(Arc::new(engine))
    }
}
