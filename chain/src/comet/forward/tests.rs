//! What is handed on to CometBFT, when, and what is not.

use alloy_primitives::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, sync::mpsc};

use super::*;
use crate::ledger::trial::{Chain, transfer};

type Handed = mpsc::UnboundedReceiver<Vec<Bytes>>;

/// Stands for CometBFT: tells what it is handed, batch by batch, and has no room for the first `refused` of them.
async fn comet(refused: usize) -> (SocketAddr, Handed) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, handed) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut left = refused;
        let (stream, _) = listener.accept().await.unwrap();
        let (bodies, mut asked) = mpsc::unbounded_channel();
        let serve = service_fn(move |request: Request<Incoming>| {
            let bodies = bodies.clone();
            async move {
                let body = request.into_body().collect().await?.to_bytes();
                let batch: Vec<Value> = serde_json::from_slice(&body).unwrap();
                let (answer, answered) = tokio::sync::oneshot::channel();
                bodies.send((batch, answer)).unwrap();
                Ok::<_, hyper::Error>(Response::new(Full::new(hyper::body::Bytes::from(answered.await.unwrap()))))
            }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), serve));
        while let Some((batch, answer)) = asked.recv().await {
            let mut txs = vec![];
            let answers: Vec<Value> = batch
                .iter()
                .map(|one| {
                    assert_eq!(one["method"], "broadcast_tx_async");
                    txs.push(STANDARD.decode(one["params"]["tx"].as_str().unwrap()).unwrap().into());
                    if left > 0 {
                        left -= 1;
                        return json!({ "id": one["id"], "error": { "data": "mempool is full: 1 transactions" } });
                    }
                    json!({ "id": one["id"], "result": {} })
                })
                .collect();
            tell.send(txs).unwrap();
            answer.send(Value::Array(answers).to_string()).unwrap();
        }
    });
    (address, handed)
}

async fn next(handed: &mut Handed) -> Vec<Bytes> {
    tokio::time::timeout(Duration::from_secs(20), handed.recv()).await.expect("nothing is handed on").unwrap()
}

/// A chain with a block, and the way into a mempool that has no room for the first `refused`.
async fn way(refused: usize) -> (Chain, Forward, Handed, watch::Sender<u64>) {
    let mut chain = Chain::new();
    chain.block(&[]);
    let (address, handed) = comet(refused).await;
    let (heights, seen) = watch::channel(1);
    let forward = Forward::new(chain.ledger.clone(), address, seen);
    (chain, forward, handed, heights)
}

async fn hand_in(forward: &Forward, bytes: &Bytes) {
    let tx = forward.ledger.decode(bytes, &forward.ledger.head().unwrap()).unwrap();
    forward.submit(tx).await.unwrap();
}

#[tokio::test]
async fn only_what_can_be_in_the_next_block_is_handed_on() {
    let (_chain, forward, mut handed, heights) = way(0).await;
    let (first, second, other) = (transfer(1, 0, 5), transfer(1, 1, 5), transfer(2, 0, 5));
    // One batch: nothing is handed on before this test waits.
    for tx in [&second, &other] {
        hand_in(&forward, tx).await;
    }
    assert_eq!(next(&mut handed).await, [other], "an earlier nonce of the other is missing");
    hand_in(&forward, &first).await;
    assert_eq!(next(&mut handed).await, std::slice::from_ref(&first));
    // The answer is taken, and the heights are looked at again.
    tokio::time::sleep(Duration::from_millis(100)).await;
    // It is looked at again after some blocks, and so is what was handed on and is in none of them.
    heights.send(1 + AGAIN_AFTER - 1).unwrap();
    let soon = transfer(3, 0, 5);
    hand_in(&forward, &soon).await;
    assert_eq!(next(&mut handed).await, [soon], "not before");
    heights.send(1 + AGAIN_AFTER).unwrap();
    let again = next(&mut handed).await;
    assert!([&second, &first].iter().all(|tx| again.contains(tx)), "{again:?}");
}

#[tokio::test]
async fn what_has_left_the_pool_is_not_handed_on_again() {
    let (chain, forward, mut handed, heights) = way(1).await;
    let (gone, late, last) = (transfer(1, 0, 5), transfer(2, 0, 5), transfer(3, 0, 5));
    hand_in(&forward, &gone).await;
    assert_eq!(next(&mut handed).await, std::slice::from_ref(&gone), "there was no room for it");
    let forget = |bytes: &Bytes| {
        let tx = chain.ledger.decode(bytes, &chain.ledger.head().unwrap()).unwrap();
        chain.ledger.pool().remove(&tx);
    };
    forget(&gone);
    hand_in(&forward, &late).await;
    assert_eq!(next(&mut handed).await, std::slice::from_ref(&late));
    forget(&late);
    heights.send(1 + AGAIN_AFTER).unwrap();
    hand_in(&forward, &last).await;
    assert_eq!(next(&mut handed).await, [last]);
}

#[tokio::test]
async fn what_finds_no_room_is_handed_on_again_the_best_payers_first() {
    let (_chain, forward, mut handed, _heights) = way(2).await;
    let txs = [transfer(1, 0, 5), transfer(2, 0, 500), transfer(3, 0, 50)];
    for tx in &txs {
        hand_in(&forward, tx).await;
    }
    assert_eq!(next(&mut handed).await, txs);
    assert_eq!(next(&mut handed).await, [txs[1].clone(), txs[0].clone()], "the third was taken");
}

fn queued(lengths: &[usize]) -> (Queue, Chain) {
    let mut chain = Chain::new();
    chain.block(&[]);
    let tx = chain.ledger.decode(&transfer(1, 0, 5), &chain.ledger.head().unwrap()).unwrap();
    let txs = lengths.iter().map(|length| Arc::new(Tx { bytes: vec![0; *length].into(), ..tx.as_ref().clone() }));
    (Queue { waiting: Mutex::new(txs.collect()), ..Queue::default() }, chain)
}

#[test]
fn a_batch_has_a_number_and_bytes_that_it_does_not_exceed() {
    let sizes = |lengths: &[usize]| {
        let (queue, _chain) = queued(lengths);
        std::iter::from_fn(|| Some(queue.batch().len()).filter(|taken| *taken > 0)).collect::<Vec<_>>()
    };
    assert_eq!(sizes(&vec![100; BATCH + 1]), [BATCH, 1]);
    assert_eq!(sizes(&[BATCH_BYTES / 2; 3]), [2, 1]);
    assert_eq!(sizes(&[BATCH_BYTES / 2, BATCH_BYTES / 2 + 1]), [1, 1]);
}

#[tokio::test]
async fn a_queue_that_is_longer_than_the_pool_forgets_what_has_left_it() {
    for (length, left) in [(QUEUE, 1), (QUEUE - 1, QUEUE)] {
        let (queue, chain) = queued(&vec![0; length]);
        let client = Client::new("127.0.0.1:1".parse().unwrap());
        let headers = Headers::new(client.clone());
        let forward = Forward { ledger: chain.ledger.clone(), queue: Arc::new(queue), client, headers, began: 1 };
        let waiting = transfer(2, 0, 5);
        hand_in(&forward, &waiting).await;
        assert_eq!(forward.queue.waiting().len(), left);
        assert_eq!(forward.queue.waiting().back().map(|tx| tx.bytes.clone()), Some(waiting));
    }
}
