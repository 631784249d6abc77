//! Drawing on a dataset's budget, here and on the chain: reserved before anything runs, begun before any noise is drawn.

use std::path::{Path, PathBuf};

use alloy_primitives::{B256, U256};
use alloy_sol_types::SolValue;
use clap::Args;
use sahara::home::write_atomic;
use sahara_market::PRIVACY_BUDGET;
use sahara_market::abi::{Job, PrivacyBudget};
use sahara_market::budget;
use sahara_privacy::budget::{Book, Cost, JobState};
use serde_json::{Value, json};

use super::super::Context;
use super::super::money::{MoneyArgs, Payer, id};
use super::dataset::{Dataset, budget_error};
use super::standing::{Taken, refused, standing, tried};
use crate::chain_client::{Chain, Order};
use crate::error::{Error, Result};

/// How long a reservation on the chain holds, in seconds.
const LASTS: u64 = 3600;
/// States of a job on the chain.
const RESERVED: u64 = 1;
const BEGUN: u64 = 2;

/// On which budgets a job draws.
#[derive(Args, Clone, Debug, Default)]
pub struct DrawArgs {
    /// Name of the dataset whose budget on this machine is drawn on
    #[arg(long, value_name = "NAME")]
    pub dataset: Option<String>,
    /// The dataset's asset: its budget on the chain is drawn on, too
    #[arg(long, value_name = "ASSET", value_parser = id)]
    asset: Option<B256>,
    /// Draw on the allowance of this licence [default: on what the owner allowed the wallet]
    #[arg(long, value_name = "NUMBER", requires = "asset")]
    licence: Option<U256>,
    #[command(flatten)]
    money: MoneyArgs,
}

/// What became of asking for it.
pub enum Reserved {
    /// It is put aside.
    Draw(Box<Draw>),
    /// It was only tried, and said what it would cost.
    Tried,
}

/// A job that is put aside or begun.
pub struct Draw {
    dataset: Dataset,
    name: [u8; 32],
    book: Option<Book>,
    chain: Option<OnChain>,
    begun: bool,
    taken: Option<Taken>,
}

struct OnChain {
    payer: Payer,
    job: Job,
    id: B256,
    begun: bool,
}

impl DrawArgs {
    /// Whether any budget is named.
    pub fn is_given(&self) -> bool {
        self.dataset.is_some() || self.asset.is_some()
    }

    /// Whether nothing is to be spent.
    pub fn only_tries(&self) -> bool {
        self.money.only_tries()
    }

    /// What was given that means nothing without a budget.
    pub fn without_budget(&self) -> Option<&'static str> {
        self.money.given().filter(|_| !self.is_given())
    }

    /// Puts a job aside on the dataset's budget of this machine, and on the chain's if its asset is named. A job of this name
    /// that has begun before is the same job, and costs nothing more.
    pub fn reserve(
        &self,
        dataset: &str,
        unit: &str,
        name: [u8; 32],
        cost: &Cost,
        context: &mut Context,
    ) -> Result<Reserved> {
        if self.asset.is_none() && (self.money.wallet.is_given() || self.money.network.named().is_some()) {
            return Err(Error::user("--wallet, --password-file and --network mean nothing without --asset"));
        }
        let dataset = Dataset::open(dataset, &context.home, &context.progress)?;
        let mut book = dataset.book()?;
        if book.is_none() && self.asset.is_none() {
            return Err(Error::user(format!(
                "{} has no budget: `sahara data budget set {} --epsilon E --delta D` says how much may be learned from it",
                dataset.name, dataset.name
            )));
        }
        if let Some(other) = book.as_ref().map(Book::unit).filter(|known| *known != unit) {
            return Err(Error::user(format!(
                "the budget of {} counts neighbours that differ by {other}, and this counts {unit}: what one tells does not add up \
                 with the other",
                dataset.name
            )));
        }
        if self.only_tries() {
            // One object is printed as JSON: what is sent to the chain, if anything is.
            if let Some(book) = book.as_ref().filter(|_| self.asset.is_none() || !context.out.json()) {
                tried(&dataset.name, book, cost, context)?;
            }
            if let Some(asset) = self.asset {
                let mut payer = self.money.payer(context)?;
                let job = self.job(asset, &payer, name, cost)?;
                payer.carry_out(&reserving(&job), context)?;
            }
            return Ok(Reserved::Tried);
        }
        let taken = book.as_ref().map(|book| Taken::of(book, cost));
        if let Some(book) = &mut book
            && !has_begun(book, &name)
        {
            book.reserve(&name, cost).map_err(|error| refused(&dataset.name, book, cost, error))?;
        }
        let chain = match self.asset.map(|asset| self.on_chain(asset, &dataset, name, cost, context)).transpose() {
            Ok(chain) => chain,
            Err(error) => {
                give_back(book.as_mut(), &name);
                return Err(error);
            }
        };
        Ok(Reserved::Draw(Box::new(Draw { dataset, name, book, chain, begun: false, taken })))
    }

    /// The same for what counts rows, of the dataset that was named.
    pub fn reserve_for_rows(&self, name: [u8; 32], cost: &Cost, context: &mut Context) -> Result<Reserved> {
        let dataset =
            self.dataset.as_ref().ok_or_else(|| Error::user("give the dataset's name with --dataset, too"))?;
        self.reserve(dataset, super::dataset::ROW, name, cost, context)
    }

    fn on_chain(
        &self,
        asset: B256,
        dataset: &Dataset,
        name: [u8; 32],
        cost: &Cost,
        context: &mut Context,
    ) -> Result<OnChain> {
        let mut payer = self.money.payer(context)?;
        let file = file(dataset, &name)?;
        if let Some(job) = read(&file)?.filter(|job| job.dataset == asset && job.spender == payer.address)
            && state(&payer.chain, &job)? == BEGUN
        {
            let id = budget::id(payer.chain.id(), &job);
            return Ok(OnChain { payer, job, id, begun: true });
        }
        let job = self.job(asset, &payer, name, cost)?;
        // Before it is sent, so that a reservation that is there can be given back, whatever happens here.
        write_atomic(&file, &job.abi_encode())?;
        payer.carry_out(&reserving(&job), context)?;
        let id = budget::id(payer.chain.id(), &job);
        Ok(OnChain { payer, job, id, begun: false })
    }

    fn job(&self, asset: B256, payer: &Payer, name: [u8; 32], cost: &Cost) -> Result<Job> {
        Ok(Job {
            dataset: asset,
            spender: payer.address,
            licence: self.licence.unwrap_or_default(),
            name: B256::from(name),
            until: payer.chain.time()?.saturating_add(LASTS),
            failure: cost.failure,
            costs: cost.costs,
        })
    }
}

impl Draw {
    /// The dataset's name.
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// Spends it, for good: on the chain first, then here.
    pub fn begin(&mut self, context: &mut Context) -> Result<()> {
        if let Some(chain) = self.chain.as_mut().filter(|chain| !chain.begun) {
            let call = PrivacyBudget::beginCall { j: chain.job.clone() };
            chain.payer.carry_out(&Order::call("spending of the dataset's budget", PRIVACY_BUDGET, &call), context)?;
            chain.begun = true;
        }
        if let Some(book) = self.book.as_mut().filter(|book| !has_begun(book, &self.name)) {
            book.begin(&self.name).map_err(budget_error)?;
        }
        self.begun = true;
        Ok(())
    }

    /// Gives back what has not begun.
    pub fn release(mut self, context: &mut Context) {
        if let Some(chain) = self.chain.as_mut().filter(|chain| !chain.begun)
            && let Err(error) = release(&mut chain.payer, &chain.job, context)
        {
            let asset = chain.job.dataset;
            context.progress.note(&format!(
                "the reservation on the chain is still there ({}): `sahara data budget release --asset {asset}`",
                error.report()
            ));
        }
        give_back(self.book.as_mut(), &self.name);
    }

    /// What it takes of the budget of this machine, if there is one.
    pub fn taken(&self) -> Option<Taken> {
        self.taken
    }

    /// Writes down what came of it.
    pub fn settle(&mut self, outcome: &[u8; 32]) -> Result<()> {
        match &mut self.book {
            Some(book) if book.job(&self.name).is_some_and(|job| job.state == JobState::Begun) => {
                book.settle(&self.name, outcome).map_err(budget_error)
            }
            _ => Ok(()),
        }
    }

    /// Where the budgets stand, as JSON.
    pub fn standing(&self) -> Result<Value> {
        let here = self.book.as_ref().map(|book| {
            let mut value = standing(book);
            value["taken"] = json!(self.taken.map(|taken| taken.json()));
            value
        });
        let chain = self.chain.as_ref().map(|chain| {
            let mut value = super::budget::on_chain(&chain.payer.chain, chain.job.dataset)?;
            value["job"] = json!(chain.id);
            value["transactions"] = json!(chain.payer.transactions());
            Ok::<_, Error>(value)
        });
        Ok(json!({"here": here, "chain": chain.transpose()?}))
    }
}

/// The jobs of a dataset on the chain that this machine knows of, for one asset.
pub fn jobs(dataset: &Dataset, asset: B256) -> Result<Vec<Job>> {
    let folder = dataset.folder("chain")?;
    let mut all = Vec::new();
    for name in super::dataset::entries(&folder)? {
        all.extend(read(&folder.join(name))?.filter(|job| job.dataset == asset));
    }
    Ok(all)
}

/// Gives a reservation on the chain back, if it is one.
pub fn release(payer: &mut Payer, job: &Job, context: &mut Context) -> Result<bool> {
    if state(&payer.chain, job)? != RESERVED {
        return Ok(false);
    }
    let call = PrivacyBudget::releaseCall { j: job.clone() };
    let order = Order::call("giving back what was reserved of the budget", PRIVACY_BUDGET, &call);
    Ok(payer.carry_out(&order, context)?.is_some())
}

fn state(chain: &Chain, job: &Job) -> Result<u64> {
    let call = PrivacyBudget::jobsCall { job: budget::id(chain.id(), job) };
    let word = chain.call("asking for the job's state", PRIVACY_BUDGET, &call)?;
    Ok((word & U256::from(0xff)).to())
}

fn reserving(job: &Job) -> Order {
    let call = PrivacyBudget::reserveCall { j: job.clone() };
    Order::call("reserving of the dataset's budget", PRIVACY_BUDGET, &call)
}

/// Where a job on the chain is written down.
fn file(dataset: &Dataset, name: &[u8; 32]) -> Result<PathBuf> {
    Ok(dataset.folder("chain")?.join(format!("{:x}.job", B256::from(*name))))
}

fn read(path: &Path) -> Result<Option<Job>> {
    match std::fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("reading", path, error)),
        Ok(bytes) => Job::abi_decode(&bytes)
            .map(Some)
            .map_err(|_| Error::user(format!("{} is no job that was written here: move it away", path.display()))),
    }
}

fn has_begun(book: &Book, name: &[u8; 32]) -> bool {
    book.job(name).is_some_and(|job| matches!(job.state, JobState::Begun | JobState::Settled(_)))
}

fn give_back(book: Option<&mut Book>, name: &[u8; 32]) {
    if let Some(book) = book
        && book.job(name).is_some_and(|job| job.state == JobState::Reserved)
    {
        // If it cannot be written now, it is released when the budget is opened next.
        let _ = book.release(name);
    }
}
