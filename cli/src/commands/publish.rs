//! `sahara asset publish`: a ciphertext of what an owner sells whole, and its root on the chain.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use alloy_primitives::{B256, hex};
use clap::Args;
use sahara_market::abi::AssetRegistry;
use sahara_market::{ASSET_REGISTRY, ciphertext};
use sahara_mpc::durable;
use serde_json::json;
use zeroize::{Zeroize, Zeroizing};

use super::Context;
use super::money::{MoneyArgs, Payer, id};
use crate::chain_client::Order;
use crate::error::{Error, Result};
use crate::market::ciphertext::{Sealed, seal};
use crate::market::content::{content, registered};
use sahara::home::{Home, create_private_dir};
use sahara::models::Store;

/// What of a model's folder is made anew by whoever pulls it.
const MADE_ANEW: [&str; 2] = ["compiled", "source.json"];

#[derive(Args, Debug)]
#[command(after_help = "\
The ciphertext goes to buyers by any way; the key stays in ciphertexts/ of
Sahara's folder until `licence deliver` opens it. That makes the key public:
from then on whoever has the ciphertext reads it, so give it to buyers only,
and seal anew for the next sale if others have it.")]
pub struct PublishArgs {
    /// The asset
    #[arg(value_parser = id)]
    asset: B256,
    /// A model of this machine, a folder or a file
    #[arg(value_name = "SOURCE")]
    source: String,
    /// Where the ciphertext goes; one that is there is registered, if its key is here
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    money: MoneyArgs,
}

/// Seals something, and registers the root.
pub fn publish(args: &PublishArgs, context: &mut Context) -> Result<()> {
    let mut payer = args.money.payer(context)?;
    owned(&payer, args.asset)?;
    let (source, leaves_out) = found(args, &payer, context)?;
    let root = match payer.only_tries() {
        // A root that is no other's: what it costs is the same.
        true => B256::repeat_byte(1),
        false => sealed(&source, leaves_out, &args.out, context)?,
    };
    let scheme = ciphertext::scheme(root);
    let known = AssetRegistry::commitmentOfCall { asset: args.asset, scheme };
    let known = payer.chain.call("looking whether it is registered", ASSET_REGISTRY, &known)?;
    if known != root {
        let call = AssetRegistry::setCommitmentCall { asset: args.asset, scheme, root };
        let order = Order::call("registering the ciphertext's root", ASSET_REGISTRY, &call);
        let carried = payer.carry_out(&order, context).map_err(|error| {
            let said = format!(
                "the ciphertext is in {}, and its root is not registered: {}; the same command goes on from here",
                args.out.display(),
                error.report()
            );
            error.saying(said)
        });
        if carried?.is_none() {
            return Ok(());
        }
    }
    let key = key_file(&context.home, root);
    let words = format!(
        "sealed in {}, root {root}; its key is in {}: keep a copy. Offer it with `sahara asset offer {} --kind full-access \
         --details {root} --price AMOUNT`",
        args.out.display(),
        key.display(),
        args.asset
    );
    let value = json!({"asset": args.asset, "root": root, "ciphertext": args.out, "key_file": key});
    payer.tell(&words, value, context)
}

/// Refuses whoever does not own the asset, before anything is made.
fn owned(payer: &Payer, asset: B256) -> Result<()> {
    let owner = payer.chain.call("asking for the owner", ASSET_REGISTRY, &AssetRegistry::ownerOfCall { asset })?;
    match owner == payer.address {
        true => Ok(()),
        false => Err(Error::user(format!("asset {asset} is {owner}'s: sign with that wallet (--wallet)"))),
    }
}

/// The folder or file that is meant, and what of it stays here.
fn found(args: &PublishArgs, payer: &Payer, context: &Context) -> Result<(PathBuf, &'static [&'static str])> {
    let path = Path::new(&args.source);
    let named = !args.source.contains(['/', '\\']) && context.home.models().join(&args.source).is_dir();
    if !named {
        return match path.exists() {
            true => Ok((path.to_owned(), &[])),
            false => Err(Error::user(format!(
                "'{}' is neither a model of this machine (`sahara model ls`) nor a file",
                args.source.escape_debug()
            ))),
        };
    }
    let model = Store::new(&context.home).open(&args.source, &context.progress.events())?;
    let (root, expected) = (content(&model)?.0, registered(&payer.chain, args.asset)?);
    match root == expected {
        true => Ok((model.folder, &MADE_ANEW)),
        false => Err(Error::user(format!(
            "{} is not what was registered as this asset: its weights have the root {root}, the asset's is {expected}",
            args.source
        ))),
    }
}

/// The root of the ciphertext in `out`, which is made unless it is there.
fn sealed(source: &Path, leaves_out: &[&str], out: &Path, context: &Context) -> Result<B256> {
    context.progress.step("sealing");
    if out.exists() {
        let root = Sealed::read(out)?.root();
        key(&context.home, root)?;
        return Ok(root);
    }
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *bytes).map_err(|e| Error::fault(format!("the system gives no random numbers: {e}")))?;
    let mut secret = B256::from(*bytes);
    let root = seal(source, leaves_out, &secret, out).and_then(|root| {
        // A ciphertext without its key is of no use.
        keep_key(&context.home, root, &secret).inspect_err(|_| drop(std::fs::remove_file(out)))?;
        Ok(root)
    });
    secret.0.zeroize();
    root
}

fn keep_key(home: &Home, root: B256, secret: &B256) -> Result<()> {
    let file = key_file(home, root);
    create_private_dir(durable::folder(&file))?;
    let text = Zeroizing::new(hex::encode(secret));
    durable::create(&file, |to| to.write_all(text.as_bytes())).map_err(|e| Error::io("writing the key", &file, e))
}

/// Where the key of a ciphertext is kept.
fn key_file(home: &Home, root: B256) -> PathBuf {
    home.path().join("ciphertexts").join(format!("{root:x}.key"))
}

/// The key of a ciphertext that was sealed here.
///
/// # Errors
/// When it is not here.
pub fn key(home: &Home, root: B256) -> Result<Zeroizing<[u8; 32]>> {
    let file = key_file(home, root);
    if !file.exists() {
        return Err(Error::user(format!(
            "the key of ciphertext {root} is not here: it is where `sahara asset publish` made it, in {}",
            file.display()
        )));
    }
    let mut text = Zeroizing::new(Vec::with_capacity(80));
    let opened = std::fs::File::open(&file).map_err(|e| Error::io("reading", &file, e))?;
    opened.take(80).read_to_end(&mut text).map_err(|e| Error::io("reading", &file, e))?;
    let mut bytes = Zeroizing::new([0; 32]);
    hex::decode_to_slice(text.trim_ascii(), &mut *bytes)
        .map_err(|_| Error::user(format!("{} holds no key of 64 hexadecimal digits", file.display())))?;
    Ok(bytes)
}
