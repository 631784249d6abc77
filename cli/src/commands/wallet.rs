//! `sahara wallet new | import | address | balance | send`: the account that pays.

use std::path::{Path, PathBuf};

use alloy_primitives::Address;
use clap::{Args, Subcommand};
use serde_json::json;

use super::Context;
use super::money::MoneyArgs;
use super::network::NetworkArgs;
use crate::chain_client::Order;
use crate::error::{Error, Result};
use crate::wallet::amount::Amount;
use crate::wallet::password::PasswordArgs;
use crate::wallet::{self, Secret};

#[derive(Subcommand, Debug)]
#[command(after_help = "\
The wallet is an Ethereum keystore (version 3) that geth, ethers and Foundry
read, too. Its password comes from --password-file, $SAHARA_WALLET_PASSWORD or
you, never from the command line. Keep a copy of the file and the password:
nobody else has them.")]
pub enum WalletCommand {
    /// Make a new account
    New(NewArgs),
    /// Bring an account: a keystore, or a key in hexadecimal
    Import(ImportArgs),
    /// Print the account's address
    Address(FileArgs),
    /// Print what the account has on the chain
    Balance(BalanceArgs),
    /// Send coins to another account
    Send(SendArgs),
}

/// Which wallet.
#[derive(Args, Clone, Debug, Default)]
pub struct FileArgs {
    /// The wallet's file [default: wallet.json in Sahara's folder]
    #[arg(long, value_name = "FILE")]
    wallet: Option<PathBuf>,
}

/// Which wallet, and what opens it.
#[derive(Args, Clone, Debug, Default)]
pub struct WalletArgs {
    #[command(flatten)]
    file: FileArgs,
    #[command(flatten)]
    password: PasswordArgs,
}

#[derive(Args, Debug)]
pub struct NewArgs {
    #[command(flatten)]
    wallet: WalletArgs,
}

#[derive(Args, Debug)]
pub struct ImportArgs {
    /// A keystore, or a file with a key of 64 hexadecimal digits ('-' for standard input)
    #[arg(value_name = "FILE")]
    from: PathBuf,
    /// File with the password of the keystore that is brought [default: the new wallet's]
    #[arg(long, value_name = "FILE")]
    from_password_file: Option<PathBuf>,
    #[command(flatten)]
    wallet: WalletArgs,
}

#[derive(Args, Debug)]
pub struct BalanceArgs {
    #[command(flatten)]
    file: FileArgs,
    #[command(flatten)]
    network: NetworkArgs,
}

#[derive(Args, Debug)]
pub struct SendArgs {
    /// The account: 0x and 40 hexadecimal digits
    #[arg(value_name = "TO", value_parser = account)]
    to: Address,
    /// How much, in coins
    #[arg(value_name = "AMOUNT")]
    amount: Amount,
    #[command(flatten)]
    money: MoneyArgs,
}

impl FileArgs {
    /// The wallet's file.
    pub(super) fn path(&self, context: &Context) -> PathBuf {
        self.wallet.clone().unwrap_or_else(|| wallet::path(&context.home))
    }
}

impl WalletArgs {
    /// The wallet's file, if one was named.
    pub(super) fn named(&self) -> Option<&Path> {
        self.file.wallet.as_deref()
    }

    /// Whether anything was said of it.
    pub(super) fn is_given(&self) -> bool {
        self.file.wallet.is_some() || self.password.is_given()
    }

    /// Opens the wallet.
    pub(super) fn open(&self, context: &Context) -> Result<Secret> {
        wallet::open(&self.file.path(context), &self.password)
    }

    /// Whose it is, without opening it.
    pub(super) fn address(&self, context: &Context) -> Result<Address> {
        wallet::address(&self.file.path(context))
    }
}

pub fn run(command: WalletCommand, context: &mut Context) -> Result<()> {
    match command {
        WalletCommand::New(NewArgs { wallet }) => {
            wallet::free(&wallet.file.path(context))?;
            make(&Secret::random()?, &wallet, context)
        }
        WalletCommand::Import(args) => {
            wallet::free(&args.wallet.file.path(context))?;
            let password = args.from_password_file.map_or(args.wallet.password.clone(), PasswordArgs::file);
            make(&wallet::import(&args.from, &password)?, &args.wallet, context)
        }
        WalletCommand::Address(file) => {
            let address = wallet::address(&file.path(context))?;
            if wallet::is_everybodys(address) {
                context.progress.note("everybody knows this account's key: it is for development chains");
            }
            match context.out.json() {
                true => context.out.value(&json!({"address": address.to_checksum(None)})),
                false => context.out.line(&address.to_string()),
            }
        }
        WalletCommand::Balance(args) => balance(&args, context),
        WalletCommand::Send(args) => send(&args, context),
    }
}

fn make(secret: &Secret, args: &WalletArgs, context: &mut Context) -> Result<()> {
    let path = args.file.path(context);
    let password = args.password.chosen(&path.display().to_string())?;
    wallet::create(&path, secret, &password)?;
    let address = secret.address();
    match context.out.json() {
        true => context.out.value(&json!({"address": address.to_checksum(None), "file": path})),
        false => context.out.line(&format!("{address} in {}", path.display())),
    }
}

fn balance(args: &BalanceArgs, context: &mut Context) -> Result<()> {
    let address = wallet::address(&args.file.path(context))?;
    let network = args.network.find(context)?;
    let balance = network.chain().balance(address)?;
    if context.out.json() {
        let units = balance.0.to_string();
        return context
            .out
            .value(&json!({"address": address.to_checksum(None), "balance": units, "network": network.name()}));
    }
    context.out.folded("", &format!("{address} has {balance} on {}", network.name()))
}

fn send(args: &SendArgs, context: &mut Context) -> Result<()> {
    if args.amount.0.is_zero() {
        return Err(Error::user("0 is nothing to send: say how much"));
    }
    let mut payer = args.money.payer(context)?;
    if payer.carry_out(&Order::payment("sending coins", args.to, args.amount), context)?.is_none() {
        return Ok(());
    }
    let words = format!("{} sent to {}", args.amount, args.to);
    let value = json!({
        "from": payer.address.to_checksum(None),
        "to": args.to.to_checksum(None),
        "amount": args.amount.0.to_string(),
    });
    payer.tell(&words, value, context)
}

/// An account that somebody may have: digits of both cases are a checksum.
pub(super) fn account(text: &str) -> std::result::Result<Address, String> {
    let shown = text.escape_debug();
    let address = text.parse::<Address>().ok().filter(|_| text.starts_with("0x"));
    let address = address.ok_or_else(|| format!("'{shown}' is no account: 0x and 40 hexadecimal digits"))?;
    let digits = &text[2..];
    let both = digits.chars().any(|c| c.is_ascii_uppercase()) && digits.chars().any(|c| c.is_ascii_lowercase());
    if both && Address::parse_checksummed(text, None).is_err() {
        return Err(format!("'{shown}' is mistyped: its upper and lower case letters are a checksum, which is wrong"));
    }
    match address.is_zero() {
        true => Err("nobody has the account of all zeros".to_owned()),
        false => Ok(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coins_go_to_no_mistyped_account() {
        let good = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed";
        let address = account(good).unwrap();
        assert_eq!(account(&good.to_lowercase()), Ok(address));
        let mistyped = good.replacen("0x5a", "0x5A", 1);
        assert!(account(&mistyped).is_err_and(|why| why.contains("checksum")));
        for wrong in ["", "0x", "5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "0x12", &format!("0x{}", "0".repeat(40))] {
            assert!(account(wrong).is_err(), "{wrong}");
        }
    }
}
