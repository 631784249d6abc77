//! Who asks: seals an input to the evaluators of the committee that an asset's owner names, keeps the key that may fetch the answer,
//! and fetches it.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use alloy_primitives::{Address, B256, U256, keccak256};
use sahara::home::{Home, create_private_dir, write_atomic};
use sahara::keys::{self, Role};
use sahara::models::{self, Model, SharedStore, Store};
use sahara::network::{Committee as Nodes, SharingRef};
use sahara::progress::Progress;
use sahara_circuits::frontend::Encoded;
use sahara_light::Options;
use sahara_market::abi::{Ask, InferenceMarket};
use sahara_market::request::{Binding, MAX_SEALED, Part, Sealed, public_answer, read_answer};
use sahara_market::slots::{self, CommitteeState};
use sahara_market::{Committee, INFERENCE_MARKET};
use sahara_mpc::client::{Client, ClientOptions, halves};
use sahara_mpc::durable;
use sahara_mpc::identity::{self, PublicKey};
use sahara_mpc::manifest::Manifest;
use sahara_mpc::wire::{FailCode, ManifestId, Task};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::half::{self, Form};
use super::hear;
use super::keys::SealingKey;
use super::seal::{self, Context};
use super::slip::{self, Misfit, Slip, Wanted};
use crate::chain_client::Chain;
use crate::error::{Error, Result};
use crate::market::content::is_registered;
use crate::market::engine::nodes_of;
use crate::market::network::Network;
use crate::moment::now;

/// What contracts may ask of an asset, proven, and who answers.
pub struct Offered {
    /// The asset.
    pub asset: B256,
    /// What may be asked.
    pub ask: Ask,
    /// Who answers.
    pub committee: Committee,
}

/// How long what a node of the chain says is waited for to be proven.
const PATIENCE: Duration = Duration::from_secs(8);

/// Finds what contracts may ask of an asset. The words are proven; the committee hashes to its name.
///
/// # Errors
/// When nothing is proven, or its owner lets nobody ask.
pub fn offered(network: &Network, asset: B256) -> Result<Offered> {
    let chain = network.chain();
    let ask = chain.call("asking what contracts may ask", INFERENCE_MARKET, &InferenceMarket::askOfCall { asset })?;
    if ask.lane.is_zero() {
        return Err(Error::user(format!(
            "the owner of asset {asset} lets no contract ask it: `sahara asset ask` is how an owner does"
        )));
    }
    let committee = hear::seated(&chain, ask.lane)?
        .ok_or_else(|| Error::fault(format!("the chain's nodes do not show the committee {}", ask.lane)))?;
    let [lane, graph, parameters, prices] = slots::ask(asset);
    let wanted = [lane, graph, parameters, prices, slots::committee(ask.lane)].map(|slot| (INFERENCE_MARKET, slot));
    let both = U256::from(ask.compute) << 128 | U256::from(ask.royalty);
    let said = [ask.lane, ask.graph, ask.parameters, B256::from(both)];
    // What was changed in the last block is proven under the header of the next.
    let until = Instant::now() + PATIENCE;
    let light = network.light(Options::default());
    let proven = loop {
        let proven = light.words(&wanted);
        let proven = proven.map_err(|e| Error::fault(format!("nothing is proven of the chain: {e}")))?;
        if proven.words.get(..4) == Some(&said[..]) || Instant::now() >= until {
            break proven;
        }
        thread::sleep(Duration::from_millis(300));
    };
    if proven.words.get(..4) != Some(&said[..]) {
        return Err(Error::user(format!(
            "what the chain's node says that contracts may ask of {asset} is not what is proven: it was changed just now, or the \
             node lies; try again"
        )));
    }
    let word = proven.words.get(4).map(|word| U256::from_be_bytes(word.0)).unwrap_or_default();
    match CommitteeState::read(word) {
        Some(state) if state.from > 0 && state.ended == 0 && committee.until > now() => {}
        _ => {
            return Err(Error::user(format!(
                "committee {} does not serve any more: the owner of the asset has to name another one",
                ask.lane
            )));
        }
    }
    Ok(Offered { asset, ask, committee })
}

/// Makes sure that a committee computes what contracts are to ask: its nodes show the owner's manifest to everybody.
///
/// # Errors
/// When the nodes are not reached, hold another sharing, or its owner does not permit the graph or the roles.
pub fn is_computed(home: &Home, chain: &Chain, committee: &Committee, task: &Task) -> Result<()> {
    let client = keys::client(home, Role::Consumer, nodes_of(chain, committee)?)?;
    let found = client.find(&SharingRef::Manifest(task.manifest));
    let found = found.map_err(|e| Error::fault(format!("asking the committee's nodes what they compute: {e}")))?;
    let sharing = found.ok_or_else(|| {
        Error::user(format!(
            "the nodes of committee {} do not hold the version that it was seated for: its owner has to seat the one that they \
             hold (`sahara asset seat`)",
            committee.id()
        ))
    })?;
    permitted(sharing.manifest(), task)
}

/// Whether the owner of a sharing permits what is to be asked.
fn permitted(manifest: &Manifest, task: &Task) -> Result<()> {
    Err(Error::user(match slip::misfit(manifest, task) {
        None => return Ok(()),
        Some(Misfit::Graph) => format!(
            "the shared model '{}' has no graph {}: contracts that ask it would never be answered; `sahara asset ask ASSET MODEL` \
             with the model that was shared, and one of its padded lengths",
            manifest.name, task.graph
        ),
        Some(Misfit::Roles) => format!(
            "the shared model '{}' is not for jobs in which node {} helps: choose another --helper",
            manifest.name,
            task.assignment.helper() + 1
        ),
    }))
}

/// The model that is asked: one of this home by its name, or else what its committee's nodes give to who has a licence, which is
/// everything but the weights; what they gave once is kept.
///
/// # Errors
/// When there is none here of that name, or the nodes do not give it.
pub fn model(
    home: &Home,
    network: &Network,
    offered: &Offered,
    name: Option<&str>,
    progress: &Progress,
) -> Result<Model> {
    if let Some(name) = name {
        return Ok(models::open(home, name, None, progress)?);
    }
    let nodes = nodes_of(&network.chain(), &offered.committee)?;
    let which = SharingRef::Manifest(ManifestId(offered.committee.manifest.0));
    let (model, _) = SharedStore::new(home).open(&which, &nodes, progress).map_err(|why| {
        Error::user(format!(
            "the text has to be encoded here, and the asset's nodes give what does that to who has a licence ({}): name the asset's \
             model, if it is on this machine, with --model, or ask it once with a licence (`sahara embed --model {}`)",
            sahara::error::one_line(&why.to_string()),
            offered.asset
        ))
    })?;
    Ok(model)
}

/// An input that is sealed, and for what.
pub struct SealedInput {
    /// The bytes for the chain.
    pub bytes: Vec<u8>,
    /// What a call costs.
    pub price: u128,
    /// Tokens of the text.
    pub tokens: usize,
}

/// Seals a text for a request, and keeps what fetches its answer.
///
/// # Errors
/// When the model is not the asset's, the text is too long, or a node's sealing key cannot be had.
pub fn sealed(
    home: &Home,
    network: &Network,
    offered: &Offered,
    model: &Model,
    text: &str,
    (asker, callback, is_public): (Address, Address, bool),
) -> Result<SealedInput> {
    let (chain, domain, ask) = (network.chain(), network.domain(), &offered.ask);
    is_registered(&chain, offered.asset, model)?;
    let input = encoded(model, ask.graph, text)?;
    let nodes = nodes_of(&chain, &offered.committee)?;
    let price = ask.royalty.checked_add(ask.compute).ok_or_else(|| Error::user("the price is more than there is"))?;
    let request = sahara_market::request::Request {
        asset: offered.asset,
        ask: ask.clone(),
        input: B256::ZERO,
        asker,
        callback,
        isPublic: is_public,
        until: 0,
        number: U256::ZERO,
    };
    let wanted = Wanted::new(&domain, request, offered.committee.clone());
    let wanted = wanted.map_err(|e| Error::user(format!("the asset cannot be asked: {e}")))?;
    is_computed(home, &chain, &offered.committee, &wanted.task)?;
    let (asking, reading) = (fresh()?, fresh()?);
    let made = halves(&input.inputs).map_err(|e| Error::fault(format!("the system gives no random numbers: {e}")))?;
    let none = || Part { epoch: 0, bytes: Vec::new() };
    let mut sealed = Sealed {
        asker: identity::from_secret(&asking).public().0,
        reader: identity::from_secret(&reading).public().0,
        inputs: made.inputs,
        parts: [none(), none()],
    };
    let binding = Binding { asset: offered.asset, lane: ask.lane, asker, callback, is_public };
    let context = Context::new(&domain, &binding, &sealed);
    // Sealing keys are told to anybody: what is asked later under a key of the request is not joined with whoever asks for them.
    let client = Client::new(identity::from_secret(&*fresh()?), nodes, ClientOptions::default());
    let words = made.shares[0].0.iter().map(Vec::len).collect();
    let forms = [Form::Seed(&made.seed, words), Form::Words(&made.shares[1])];
    for (evaluator, node) in wanted.task.assignment.evaluators().into_iter().enumerate() {
        let label = client.committee().label(node);
        let told =
            client.sealing_key(node).map_err(|e| Error::fault(format!("asking {label} for its sealing key: {e}")))?;
        let member = wanted.keys()[usize::from(node)];
        let key = SealingKey::read(&told, domain.chain_id, &member, now());
        let key = key.map_err(|why| Error::fault(format!("{label}: {why}")))?;
        let plain = half::encode(&asking, &made.salts[evaluator], &forms[evaluator]);
        let bytes = seal::seal(&key.public, &context, evaluator as u8, &plain);
        let bytes = bytes.map_err(|e| Error::fault(format!("sealing to {label}: {e}")))?;
        sealed.parts[evaluator] = Part { epoch: key.epoch, bytes };
    }
    let bytes = sealed.encode();
    if bytes.len() > MAX_SEALED {
        return Err(Error::user(format!(
            "the sealed input has {} bytes, a transaction carries {MAX_SEALED}: the owner of the asset has to let contracts ask \
             with a shorter padded length",
            bytes.len()
        )));
    }
    keep(home, keccak256(&bytes), &reading, &Asked { model: asked_of(model), pooled: input.pooled })?;
    Ok(SealedInput { bytes, price, tokens: input.tokens })
}

/// The text as the graph's input: padded to its length, whatever the text has.
fn encoded(model: &Model, graph: B256, text: &str) -> Result<sahara_circuits::frontend::Encoded> {
    for bucket in model.compiled.buckets() {
        if sahara::embedding::graph(model, bucket)?.id().0 != graph.0 {
            continue;
        }
        let encoded = model.compiled.frontend.encode_padded(text, bucket);
        let encoded = encoded.map_err(|e| Error::user(format!("the text: {e}")))?;
        if encoded.bucket != bucket || encoded.truncated {
            return Err(Error::user(format!(
                "the text has {} tokens or more, and contracts may ask {bucket} of this asset: shorten it",
                encoded.tokens
            )));
        }
        return Ok(encoded);
    }
    Err(Error::user(format!(
        "{} has no graph {graph}: it is another version than the owner lets contracts ask",
        model.info.name
    )))
}

fn fresh() -> Result<Zeroizing<[u8; 32]>> {
    let mut secret = Zeroizing::new([0; 32]);
    getrandom::fill(&mut secret[..]).map_err(|e| Error::fault(format!("the system gives no random numbers: {e}")))?;
    Ok(secret)
}

fn folder(home: &Home) -> PathBuf {
    home.path().join("requests")
}

/// What reads an answer's integers.
#[derive(Serialize, Deserialize)]
struct Asked {
    /// The model's name here.
    model: String,
    /// Tokens that take part in pooling.
    pooled: usize,
}

/// The name under which a model is found again here: of somebody else's, its folder is named by owner and name.
fn asked_of(model: &Model) -> String {
    let owner = model.folder.parent().and_then(|owner| owner.file_name()).map(|owner| owner.to_string_lossy());
    match (&model.shared, owner) {
        (Some(_), Some(owner)) => format!("{owner}/{}", model.info.name),
        _ => model.info.name.clone(),
    }
}

/// The answer that integers stand for, as `embed` gives it; nothing if the text was not sealed here, or its model is here no more.
pub fn decoded(home: &Home, input: B256, words: &[i32]) -> Option<Vec<f32>> {
    let asked: Asked =
        serde_json::from_slice(&std::fs::read(folder(home).join(format!("{input:x}.json"))).ok()?).ok()?;
    let compiled = match models::owned_name(&asked.model).ok()? {
        Some(which) => SharedStore::new(home).here(&which).ok()?.2,
        None => Store::new(home).open(&asked.model, &Progress::silent()).ok()?.compiled,
    };
    let Asked { pooled, .. } = asked;
    let encoded = Encoded { tokens: pooled, bucket: 0, inputs: Vec::new(), truncated: false, pooled };
    Some(compiled.frontend.decode(&encoded, &[words.to_vec()]))
}

/// Keeps the key that fetches an answer, and what reads it, before anybody is asked.
fn keep(home: &Home, input: B256, reading: &[u8; 32], asked: &Asked) -> Result<()> {
    let folder = folder(home);
    create_private_dir(&folder)?;
    let text = serde_json::to_vec(asked).map_err(|e| Error::fault_from("writing down what is asked", e))?;
    write_atomic(&folder.join(format!("{input:x}.json")), &text)?;
    let path = folder.join(format!("{input:x}.key"));
    durable::create(&path, |file| file.write_all(reading))
        .map_err(|e| Error::io("keeping the key of the answer", &path, e))
}

fn reader(home: &Home, input: B256) -> Result<Zeroizing<[u8; 32]>> {
    let path = folder(home).join(format!("{input:x}.key"));
    let mut secret = Zeroizing::new([0; 32]);
    match std::fs::File::open(&path).and_then(|mut file| file.read_exact(&mut secret[..])) {
        Ok(()) => Ok(secret),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Err(Error::user(
            "the request was not sealed here: its answer is for whoever has the key that was kept when it was",
        )),
        Err(e) => Err(Error::io("reading the key of the answer", &path, e)),
    }
}

/// Inputs that were sealed in this home, by their hash.
///
/// # Errors
/// When the folder cannot be read.
pub fn kept(home: &Home) -> Result<Vec<B256>> {
    let folder = folder(home);
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::io("reading", &folder, e)),
    };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    Ok(names.filter_map(|name| format!("0x{}", name.strip_suffix(".key")?).parse().ok()).collect())
}

/// What was answered to a request.
pub struct Answer {
    /// The receipt's digest.
    pub receipt: B256,
    /// The integers of the answer.
    pub words: Vec<i32>,
    /// What they stand for, if the model is here.
    pub values: Option<Vec<f32>>,
}

/// What comes of fetching an answer.
pub enum Fetched {
    /// It is here.
    Answer(Answer),
    /// No node has it.
    NotYet {
        /// Why.
        why: String,
        /// Until when it may be answered: seconds since 1970.
        until: u64,
    },
}

/// Fetches an answer that is not public from both evaluators, and checks the receipt.
///
/// # Errors
/// When the request was not sealed here, nothing is proven of it, or what the nodes give does not fit the receipt that all three signed.
pub fn fetch(home: &Home, network: &Network, id: B256) -> Result<Fetched> {
    let (chain, domain) = (network.chain(), network.domain());
    let (request, bytes) = hear::requested(&chain, &domain, id)?;
    let sealed = Sealed::decode(&bytes).map_err(|e| Error::user(format!("the request: {e}")))?;
    let committee = hear::seated(&chain, request.ask.lane)?
        .ok_or_else(|| Error::fault(format!("the chain's nodes do not show the committee {}", request.ask.lane)))?;
    let wanted = Wanted::new(&domain, request, committee).map_err(|e| Error::user(format!("the request: {e}")))?;
    let reading = reader(home, wanted.request.input)?;
    let nodes: Nodes = nodes_of(&chain, &wanted.committee)?;
    let client = Client::new(identity::from_secret(&reading), nodes, ClientOptions::default());
    let (voucher, task) = (slip::voucher(id), wanted.task);
    let mut why = "no evaluator has computed it yet".to_owned();
    for node in task.assignment.evaluators() {
        let last = match client.last_receipt(node, task.manifest, &voucher) {
            Ok(Some(last)) => last,
            Ok(None) => continue,
            Err(error) => {
                why = match error.code() {
                    // So does a node answer who asks for a request that is not proven to it.
                    Some(FailCode::Unpaid | FailCode::Unpresented) => {
                        format!("{} does not know the request yet", client.committee().label(node))
                    }
                    _ => error.to_string(),
                };
                continue;
            }
        };
        let slip = Slip::of(&domain, &last, &wanted).map_err(|e| Error::fault(format!("the receipt: {e}")))?;
        let mut name = [0; 16];
        name.copy_from_slice(&slip.receipt.job[..16]);
        let job = sahara_mpc::wire::JobId(name);
        let fetched = client.fetch((job, task, sealed.inputs), PublicKey(sealed.asker), &voucher);
        let fetched = fetched.map_err(|e| Error::fault(format!("fetching the answer: {e}")))?;
        let output = match wanted.request.isPublic {
            true => public_answer(&fetched.outputs).map(keccak256),
            false => Some(keccak256(fetched.end.outputs.as_flattened())),
        };
        if output != Some(slip.receipt.output) || fetched.complete != last {
            return Err(Error::fault("the answer is not the one that the receipt is about"));
        }
        let words: Vec<i32> = fetched.outputs.into_iter().flatten().collect();
        let values = decoded(home, wanted.request.input, &words);
        return Ok(Fetched::Answer(Answer { receipt: slip.receipt.digest(&domain), words, values }));
    }
    Ok(Fetched::NotYet { why, until: wanted.request.until })
}

/// The words of an answer that everybody may read, if they are what the request's receipt names.
pub fn public_words(answer: &[u8], output: B256) -> Option<Vec<i32>> {
    (keccak256(answer) == output).then(|| read_answer(answer))?
}
