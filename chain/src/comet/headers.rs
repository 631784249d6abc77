//! Signed headers from CometBFT, for light clients. One question is on its way at a time, whoever asks; the newest headers
//! are asked for once.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex as Held, MutexGuard, PoisonError},
    time::Duration,
};

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tendermint_proto::v0_38::types::{SignedHeader as Decided, Validator, ValidatorSet};
use tokio::sync::Mutex;

use super::{AskError, Client};
use crate::rpc::SignedHeader;

/// CometBFT answers these questions from its store. Who waits for others to have theirs answered is given up as well.
const PATIENCE: Duration = Duration::from_secs(5);
/// Headers that are remembered.
const REMEMBERED: usize = 8;
/// Validators that CometBFT tells at once, and of how many sets of that size one height may have.
const PAGE: usize = 100;
const PAGES: usize = 10;

/// Headers of the CometBFT behind a client.
pub struct Headers {
    client: Client,
    known: Held<VecDeque<(u64, Arc<SignedHeader>)>>,
    /// Who asks for old headers does not hold up those who ask for new ones.
    new: Mutex<()>,
    old: Mutex<()>,
}

impl Headers {
    /// Headers of the CometBFT behind `client`.
    pub fn new(client: Client) -> Self {
        Self { client, known: Held::default(), new: Mutex::default(), old: Mutex::default() }
    }

    /// The header at `height` of a chain whose last block is `last`.
    pub async fn at(&self, height: u64, last: u64) -> Result<Option<Arc<SignedHeader>>, String> {
        if height == 0 || height > last {
            return Ok(None);
        }
        if let Some(known) = self.find(height) {
            return Ok(Some(known));
        }
        let new = last - height < REMEMBERED as u64;
        let asked = tokio::time::timeout(PATIENCE, async {
            let _alone = if new { self.new.lock().await } else { self.old.lock().await };
            if let Some(known) = self.find(height) {
                return Ok(Some(known));
            }
            let found = self.ask(height).await?;
            if let (Some(found), true) = (&found, new) {
                let mut known = self.known();
                known.truncate(REMEMBERED - 1);
                known.push_front((height, found.clone()));
            }
            Ok(found)
        });
        asked.await.unwrap_or_else(|_| Err("CometBFT does not answer: is it stopped, or asked by many?".into()))
    }

    fn find(&self, height: u64) -> Option<Arc<SignedHeader>> {
        self.known().iter().find(|(known, _)| *known == height).map(|(_, found)| found.clone())
    }

    fn known(&self) -> MutexGuard<'_, VecDeque<(u64, Arc<SignedHeader>)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(&self, height: u64) -> Result<Option<Arc<SignedHeader>>, String> {
        let commit = match self.client.ask("commit", json!({ "height": height.to_string() })).await {
            // It has no such block, or none any more.
            Err(AskError::Refused(_)) => return Ok(None),
            answer => answer?,
        };
        let decided: Decided = read(&commit["signed_header"])?;
        let (now, next) = (self.validators(height).await?, self.validators(height + 1).await?);
        Ok(Some(Arc::new(SignedHeader::new(&decided, &now, &next))))
    }

    async fn validators(&self, height: u64) -> Result<ValidatorSet, String> {
        let mut validators: Vec<Validator> = Vec::new();
        for page in 1..=PAGES {
            let question =
                json!({ "height": height.to_string(), "page": page.to_string(), "per_page": PAGE.to_string() });
            let mut answer = self.client.ask("validators", question).await?;
            validators.append(&mut read(&answer["validators"].take())?);
            let total = answer["total"].as_str().and_then(|total| total.parse().ok()).unwrap_or(0);
            if validators.len() >= total {
                return Ok(ValidatorSet { validators, ..ValidatorSet::default() });
            }
        }
        Err(format!("more than {} validators at height {height}", PAGE * PAGES))
    }
}

fn read<T: DeserializeOwned>(value: &Value) -> Result<T, String> {
    T::deserialize(value).map_err(|e| format!("understand the answer of CometBFT: {e}"))
}

#[cfg(test)]
mod tests;
