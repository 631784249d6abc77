//! A sharing that is sold: who has paid is answered, with a receipt that all three members signed; who has not gets nothing
//! computed, dealt or used up; and whatever fails, a total is paid once.
#![allow(clippy::unwrap_used)] // a panic is the failure report

mod common;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use common::market::{ASSET, Chain, Disk, PRICE, Till, Wallet};
use common::{Case, Network, case};
use sahara_mpc::client::{Access, Client, Offer, Rounding, Task, Visibility};
use sahara_mpc::identity::{self, Identity};
use sahara_mpc::market::Market;

/// Three nodes that sell one model.
struct Shop {
    chain: Arc<Chain>,
    tills: [Arc<Till>; 3],
    network: Network,
    case: Case,
    task: Task,
}

impl Shop {
    fn open() -> Self {
        let owner = Arc::new(identity::generate().unwrap());
        let chain = Arc::new(Chain::default());
        let tills = [(); 3].map(|()| Till::new(&chain, &Arc::<Disk>::default()));
        let key = owner.public();
        let edit = |toml: String| {
            let toml = toml.replacen("owners = \"any\"", &format!("owners = [\"{key}\"]"), 1);
            let toml = toml.replacen("consumers = \"any\"", "consumers = []\nmarket = \"network.toml\"", 1);
            toml.replacen("\nround = 10", "\nround = 2", 1)
        };
        let markets = tills.clone().map(|till| Some(till as Arc<dyn Market>));
        let network = Network::start_selling(&owner, edit, |_| markets);
        let case = case(3);
        let offer = Offer {
            access: Access::Chain(ASSET),
            client_part: Some(b"the client part"),
            ..case.offer(Visibility::Private)
        };
        let sharing = network.client_of(&owner).share(&offer, &|_, _| ()).unwrap();
        *case.shared[Visibility::Private as usize].lock().unwrap() = Some(sharing);
        let task = case.task(0, Rounding::Exact, Visibility::Private);
        Self { chain, tills, network, case, task }
    }

    /// A consumer with a session of so much, and what it pays with.
    fn customer(&self, cap: u64) -> (Client, Arc<Wallet>) {
        self.customer_of(&Arc::new(identity::generate().unwrap()), cap)
    }

    fn customer_of(&self, identity: &Arc<Identity>, cap: u64) -> (Client, Arc<Wallet>) {
        let wallet = Wallet::open(&self.chain, identity.public(), self.network.committee.digest(), cap);
        let client = self.network.client_of(identity).with_purse(Some(wallet.clone()));
        let sharing = self.case.shared[Visibility::Private as usize].lock().unwrap().clone().unwrap();
        let found = client.find(&sahara_mpc::client::SharingRef::Manifest(sharing.id())).unwrap().unwrap();
        assert_eq!(found, sharing);
        (client, wallet)
    }

    fn totals(&self, wallet: &Wallet) -> [u64; 3] {
        self.tills.each_ref().map(|till| till.disk.total(&wallet.session))
    }
}

#[test]
fn a_stranger_that_has_bought_is_answered_and_all_members_have_its_receipt() {
    let shop = Shop::open();
    let (client, wallet) = shop.customer(100 * PRICE);
    for n in 1..=3 {
        let answer = shop.case.run(&client, shop.task, true).unwrap();
        assert_eq!(answer.outputs, shop.case.expected);
        assert!(answer.receipt.is_some());
        assert_eq!((wallet.total(), shop.totals(&wallet)), (n * PRICE, [n * PRICE; 3]));
    }
    assert_eq!(wallet.sessions_shown.load(Ordering::SeqCst), 1);
    assert!(shop.tills.iter().all(|till| till.proofs.load(Ordering::SeqCst) == 1));
}
