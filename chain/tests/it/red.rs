//! Red team.
use std::{io::{Read, Write}, net::TcpStream, sync::Arc, time::Duration};

use alloy_primitives::{Address, B256, Bytes, U256};
use sahara_chain::{
    application::{Application, ChainStart, DecidedBlock, Proposal, Verdict},
    beacon::{Commitment, Item, Secret, state},
    evm::abi::selector,
    genesis::{Genesis, GenesisValidator},
    ledger::Ledger,
    rpc::Limits,
    staking,
    store::MemoryStore,
    validator::{ConsensusAddress, ConsensusKey},
    wallet::Payment,
};
use zeroize::Zeroizing;

use crate::{
    common::{CHAIN, Chain, address, pay},
    rpc::Rpc,
    socket::post,
    stake_net::{CREATE, registration, tokens},
};

const TIME: u64 = 1_800_000_000;

fn secret(i: u8) -> Secret {
    Secret::new(Zeroizing::new([i + 1; 32]))
}
fn consensus_key(i: u8) -> ConsensusKey {
    ConsensusKey(ed25519_dalek::SigningKey::from_bytes(&[i + 50; 32]).verifying_key().to_bytes().into())
}
fn named(i: u8) -> Option<ConsensusAddress> {
    Some(consensus_key(i).address())
}
fn first(count: u8, epoch_blocks: u64) -> Genesis {
    let validators = (0..count)
        .map(|i| GenesisValidator { operator: address(usize::from(i)), consensus_key: consensus_key(i), power: 10 })
        .collect();
    let mut genesis = Genesis::development(validators);
    genesis.beacon.epoch_blocks = epoch_blocks;
    genesis.beacon.chains = (0..count).map(|i| (address(usize::from(i)), secret(i).commitment(0))).collect();
    genesis
}
fn ledger(genesis: &Genesis, i: u8) -> Ledger {
    let ledger = Ledger::open(Arc::new(MemoryStore::default())).unwrap().with_beacon(secret(i));
    let app_state = serde_json::to_vec(genesis).unwrap();
    let start = ChainStart { chain_id: CHAIN.into(), time: TIME, app_state, initial_height: 1, evidence: None };
    ledger.init_chain(&start).unwrap();
    ledger
}
fn offer(height: u64, proposer: u8, txs: &[Bytes]) -> Proposal<'_> {
    Proposal { height, time: TIME + height, proposer: named(proposer), txs, max_bytes: 100_000, ..Proposal::default() }
}
fn decide(ledger: &Ledger, proposer: u8, txs: Vec<Bytes>) -> Vec<u32> {
    let height = ledger.info().height + 1;
    let block = DecidedBlock { height, time: TIME + height, proposer: named(proposer), txs, ..DecidedBlock::default() };
    let done = ledger.finalize(&block).unwrap();
    ledger.commit().unwrap();
    done.results.iter().map(|r| r.code).collect()
}

#[test]
fn red_the_sixty_fifth_chain_is_never_found() {
    let mut own = secret(0);
    let c = own.commitment(65);
    assert_eq!(secret(0).number_of(c.tip, c.length, 65), Some(65), "chain 65 of a node that just started");
}

#[test]
fn red_a_chain_halts_after_sixty_five_renewals() {
    let ledger = ledger(&first(1, 1), 0);
    let mut own = secret(0);
    // Every renewal as an honest node makes it, only sooner than at half.
    loop {
        let head = ledger.head();
        let height = ledger.info().height + 1;
        let chain = match &head {
            Some(head) => state::Chain::load(&mut head.view(), address(0)).unwrap().at(height),
            None => state::Chain { tip: own.commitment(0).tip, left: own.commitment(0).length, ..Default::default() },
        };
        if chain.number == 65 {
            break;
        }
        let preimage = own.preimage(chain.number, chain.tip, chain.left).unwrap();
        let next = chain.next.is_none().then(|| own.commitment(chain.number + 1));
        let item = vec![Item { preimage, next }.encode()];
        assert_eq!(ledger.process(&offer(height, 0, &item)), Verdict::Accept);
        decide(&ledger, 0, item);
    }
    let height = ledger.info().height + 1;
    let made = ledger.prepare(&offer(height, 0, &[]));
    eprintln!("at {height}: the honest node proposes {} items", made.len());
    assert_eq!(ledger.process(&offer(height, 0, &made)), Verdict::Accept, "an honest proposal");
}

fn exhausted(i: u8) -> Commitment {
    let mut own = secret(i);
    let Commitment { mut tip, length } = own.commitment(0);
    for left in (2..=length).rev() {
        tip = own.preimage(0, tip, left).unwrap();
    }
    Commitment { tip, length: 1 }
}

#[test]
fn red_a_newcomer_halts_a_chain_whose_beacon_is_exhausted() {
    let mut genesis = first(2, 4);
    genesis.beacon.chains = Default::default();
    let ledger = ledger(&genesis, 0);
    decide(&ledger, 0, vec![]);
    assert_eq!(ledger.process(&offer(2, 0, &[])), Verdict::Accept, "nobody has a chain");
    let signer = ed25519_dalek::SigningKey::from_bytes(&[99; 32]);
    let mut input = selector(CREATE).to_vec();
    registration(&signer, address(5), 0).iter().for_each(|w| input.extend(w.to_be_bytes::<32>()));
    let payment = Payment { to: Some(staking::ADDRESS), value: tokens(1), input: input.into(), gas_limit: 600_000, ..Payment::default() };
    assert_eq!(decide(&ledger, 1, vec![pay(5, payment)]), [0]);
    // The newcomer is in CometBFT's set from block 4 on; block 3 is for 0 or 1 to propose.
    let verdicts = [0, 1].map(|i| ledger.process(&offer(3, i, &ledger.prepare(&offer(3, i, &[])))));
    assert_eq!(verdicts, [Verdict::Accept, Verdict::Accept], "somebody can propose block 3");
    let _ = exhausted;
}

fn upgraded(at: std::net::SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(stream, "GET / HTTP/1.1\r\nHost: {at}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n").unwrap();
    let mut buffer = [0; 1024];
    let n = stream.read(&mut buffer).unwrap();
    assert!(String::from_utf8_lossy(&buffer[..n]).starts_with("HTTP/1.1 101"));
    stream
}

#[test]
fn red_pongs_take_the_account_of_all() {
    let total = 4 << 20;
    let rpc = Rpc::with(Chain::new(), Limits { total, ..Limits::default() });
    let (at, _server) = rpc.serve();
    let mut stream = upgraded(at);
    // An unsolicited pong of 125 bytes.
    let mut pong = vec![0x8a, 0x80 | 125, 0, 0, 0, 0];
    pong.extend([0; 125]);
    let many: Vec<u8> = pong.iter().copied().cycle().take(pong.len() * (total / pong.len() - 8)).collect();
    let _ = stream.write_all(&many);
    std::thread::sleep(Duration::from_secs(2));
    eprintln!("under way: {} of {total}", rpc.backend.under_way());
    let said = post(at, &format!(r#"{{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":[{}]}}"#, " ".repeat(2000)));
    eprintln!("{} {}", said.status, said.body);
    assert_eq!(said.status, 200);
    assert!(said.json().get("error").is_none());
    assert!(rpc.backend.under_way() < total / 2);
}

fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[test]
fn red_fourteen_bytes_take_five_mebibytes() {
    let rpc = Rpc::with(Chain::new(), Limits { total: 1 << 20, ..Limits::default() });
    let (at, _server) = rpc.serve();
    let before = resident();
    let mut open = vec![];
    for _ in 0..60 {
        let mut stream = upgraded(at);
        let mut frame = vec![0x81, 0x80 | 127];
        frame.extend((5u64 << 20).to_be_bytes());
        frame.extend([0; 4]);
        stream.write_all(&frame).unwrap();
        open.push(stream);
    }
    std::thread::sleep(Duration::from_secs(2));
    let grown = resident().saturating_sub(before);
    eprintln!("resident grew by {} MiB, under way {}", grown >> 20, rpc.backend.under_way());
    assert!(grown < 64 << 20, "more than all that is under way may have");
    drop(open);
    let _ = (B256::ZERO, U256::ZERO, Address::ZERO);
}

fn peak() -> usize {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

#[test]
fn red_a_wiped_contract_is_read_whole_for_nothing() {
    let mut genesis = crate::common::genesis();
    let large = Address::repeat_byte(0x77);
    let storage = (1u64..=200_000).map(|i| (U256::from(i), U256::from(i))).collect();
    let account = sahara_chain::genesis::GenesisAccount { nonce: 1, code: Bytes::from_static(&[0]), storage, ..Default::default() };
    genesis.accounts.insert(large, account);
    let chain = Chain::open(Arc::new(MemoryStore::default()), &genesis, crate::common::START);
    let rpc = Rpc::with(chain, Limits::default());
    let (before, was) = (peak(), resident());
    #[expect(clippy::disallowed_methods)]
    let start = std::time::Instant::now();
    let block = serde_json::json!({});
    let first = serde_json::json!({ "stateOverrides": { large.to_string(): { "state": {} } } });
    let blocks: Vec<_> = std::iter::once(first).chain((0..19).map(|_| block.clone())).collect();
    let answer = rpc.try_ask("eth_simulateV1", serde_json::json!([{ "blockStateCalls": blocks }]));
    eprintln!("{} blocks in {:?}; peak {} MiB before (resident {}), {} MiB after; refused: {}", 20, start.elapsed(), before >> 20, was >> 20, peak() >> 20, answer.is_err());
}
