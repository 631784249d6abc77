//! How commands that ask a model pay for it, when it is somebody's asset: with the sessions of this home.

use std::sync::{Arc, Mutex, PoisonError};

use alloy_primitives::B256;

use crate::error::{Error, Result};
use crate::market::account::Account;
use crate::market::engine::{PaidEngine, accounts};
use crate::market::purse::{HomePurse, short};
use crate::progress::Indicator;
use crate::wallet::amount::Amount;
use sahara::home::Home;
use sahara::network::{NetworkOptions, Purse};

/// What was paid, and for how many answers.
#[derive(Clone, Debug, Default)]
pub struct Tally(Arc<Mutex<Sum>>);

#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    answers: u64,
    paid: u128,
    last: B256,
}

impl Tally {
    /// Tells it.
    pub fn tell(&self, progress: &Indicator) {
        let Sum { answers, paid, last } = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match answers {
            0 => {}
            1 => progress.note(&format!("paid {}, receipt {}", Amount::from(paid), short(last))),
            _ => progress.note(&format!(
                "paid {} for {answers} answers, the last receipt is {}",
                Amount::from(paid),
                short(last)
            )),
        }
    }
}

/// The engine that pays for what is called `model`, and what it comes to; none if no session of this home is for it.
///
/// # Errors
/// When a session cannot be read or no committee answers; when an asset's id is named for which there is no session.
pub fn engine(
    home: &Home,
    model: &str,
    options: &NetworkOptions,
    progress: &Indicator,
) -> Result<Option<(PaidEngine, Tally)>> {
    let tally = Tally::default();
    let sum = tally.clone();
    let heard = move |receipt: B256, paid: u128| {
        let mut sum = sum.0.lock().unwrap_or_else(PoisonError::into_inner);
        *sum = Sum { answers: sum.answers + 1, paid: sum.paid.saturating_add(paid), last: receipt };
    };
    Ok(engine_that(home, model, options, progress, Box::new(heard))?.map(|engine| (engine, tally)))
}

/// The same; `heard` is told each receipt and what was paid with it.
///
/// # Errors
/// As there.
pub fn engine_that(
    home: &Home,
    model: &str,
    options: &NetworkOptions,
    progress: &Indicator,
    heard: crate::market::purse::Heard,
) -> Result<Option<PaidEngine>> {
    let (_, damaged) = Account::all(home)?;
    damaged.iter().for_each(|damaged| progress.note(&format!("skipped: {}", damaged.error.report())));
    let accounts = accounts(home, model)?;
    if accounts.is_empty()
        && let Some(meant) = damaged.into_iter().find(|damaged| damaged.name.as_deref() == Some(model))
    {
        // Whatever else has that name is not what was meant: nobody else is told the texts.
        return Err(meant.error);
    }
    if accounts.is_empty() {
        return match model.strip_prefix("0x").map(str::parse::<B256>) {
            Some(Ok(asset)) => Err(Error::user(format!(
                "you have no session for asset {asset}: see its price with `sahara asset show {asset}`, buy a licence \
                 with `sahara licence buy {asset}`"
            ))),
            _ => Ok(None),
        };
    }
    let (tell, told) = (progress.clone(), progress.clone());
    let purse: Arc<dyn Purse> = Arc::new(HomePurse::new(home, Box::new(move |words| tell.note(words)), heard));
    let tell = Box::new(move |words: &str| told.note(words));
    Ok(Some(PaidEngine::connect(home, model, &accounts, options, &purse, tell, &progress.events())?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::account::Caps;
    use crate::market::bill::tests::{SIGNER, committee, session};
    use crate::wallet::Secret;

    #[test]
    fn texts_for_a_session_that_is_damaged_go_nowhere_else() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::locate(Some(dir.path().to_owned())).unwrap();
        let (caps, signer) = (Caps { call: 12, day: 100 }, Secret::new(&SIGNER.0).unwrap());
        let account = Account::create(&home, 1337, caps, signer, &session(1), &[committee()]).unwrap();
        account.call_it("mine").unwrap();
        let file = account.committee_file(alloy_primitives::B256::ZERO).with_file_name("session");
        std::fs::write(file, b"no session").unwrap();
        let engine = |model: &str| engine(&home, model, &NetworkOptions::default(), &Indicator::silent());
        assert_eq!(engine("mine").err().unwrap().exit_code(), 2);
        assert!(engine("another").unwrap().is_none(), "what is named otherwise is not blocked");
    }
}
