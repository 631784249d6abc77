//! A WebSocket: requests, a few at once, and news of what is followed, one message at a time. A client that does not
//! read is left.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use hyper::{Request, StatusCode, body::Incoming, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use soketto::{connection::Error as Broken, handshake::http as handshake};
use tokio::{
    io::{AsyncRead, AsyncWrite, BufReader, BufWriter, ReadBuf},
    sync::mpsc,
    task::JoinSet,
    time::{Instant, Sleep, sleep_until},
};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

use super::{
    Answer, Backend,
    budget::{Budget, Flight, MAX_REQUEST, Reserved, now},
    dispatch::answer,
    error::RpcResult,
    frames::Intake,
    guest::{Guest, Here, time_for},
    reply::{Reply, bare, plain},
    session::Session,
    subscribe,
    topic::{Followed, Topic},
};

/// Requests of one client that are worked on at once; the next ones wait to be read.
const AT_ONCE: usize = 16;
/// Bytes that requests of one client may have under way; one that has more is left.
const UNDER_WAY: usize = 3 * MAX_REQUEST;
/// How often a client is asked whether it is there; after three times without a word it is left.
const PING: Duration = Duration::from_secs(30);
/// How often the pool is looked at for whoever follows it.
const POOL: Duration = Duration::from_millis(100);
/// Blocks that a client may be behind with what it follows.
const BEHIND: u64 = 1_000;

type Socket = Compat<BufWriter<BufReader<Metered>>>;
type Sender = soketto::Sender<Socket>;

/// Whether `request` wants to become a WebSocket.
pub fn wanted(request: &Request<Incoming>) -> bool {
    handshake::is_upgrade_request(request)
}

/// Answers the handshake, and goes on with the WebSocket beside it.
pub fn upgrade(here: Arc<Here>, guest: Arc<Guest>, session: Session, mut request: Request<Incoming>) -> Reply {
    let mut server = handshake::Server::new();
    let reply = match server.receive_request(&request) {
        Ok(reply) => reply,
        Err(e) => return plain(StatusCode::BAD_REQUEST, format!("the handshake of a WebSocket: {e}")),
    };
    tokio::spawn(async move {
        let Ok(upgraded) = hyper::upgrade::on(&mut request).await else { return };
        let mut accounts = here.backend.accounts(guest.account.clone());
        accounts.push(Flight::of("one connection", UNDER_WAY));
        let intake = Intake::new(accounts, here.backend.limits.patience * 2, now());
        let intake = Arc::new(Mutex::new(intake));
        let metered = Metered { stream: TokioIo::new(upgraded), intake: intake.clone(), patience: None };
        let mut builder = server.into_builder(BufWriter::new(BufReader::new(metered)).compat());
        builder.set_max_message_size(MAX_REQUEST);
        builder.set_max_frame_size(MAX_REQUEST);
        let (sender, receiver) = builder.finish();
        let mut stop = here.stop.clone();
        tokio::select! {
            _ = talk(here.backend.clone(), Arc::new(session), sender, receiver, intake) => {}
            _ = stop.changed() => {}
        }
        drop(guest);
    });
    bare(reply)
}

/// Why a WebSocket ends.
#[derive(Debug)]
struct End;

impl From<Broken> for End {
    fn from(_: Broken) -> Self {
        Self
    }
}

async fn talk(
    backend: Arc<Backend>,
    session: Arc<Session>,
    mut sender: Sender,
    receiver: soketto::Receiver<Socket>,
    intake: Arc<Mutex<Intake>>,
) -> Result<(), End> {
    let (hand, mut messages) = mpsc::channel(1);
    let reading = tokio::spawn(read(receiver, intake, hand));
    let _reading = AbortOnDrop(reading.abort_handle());
    let mut working: JoinSet<Option<Answer>> = JoinSet::new();
    let mut heights = backend.heights.clone();
    let mut pings = tokio::time::interval(PING);
    let mut looks = tokio::time::interval(POOL);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let patience = backend.limits.patience;
    let mut silent = 0;
    loop {
        tokio::select! {
            message = messages.recv(), if working.len() < AT_ONCE => match message {
                None => return Ok(()),
                Some(Message::Alive) => silent = 0,
                Some(Message::Text(body, reserved)) => {
                    silent = 0;
                    let (backend, session) = (backend.clone(), session.clone());
                    working.spawn(async move {
                        let told = answer(&backend, &session, &body).await;
                        drop(reserved);
                        told
                    });
                }
            },
            Some(done) = working.join_next() => if let Ok(Some(told)) = done {
                let text = std::str::from_utf8(&told.text).map_err(|_| End)?;
                send(&backend, &mut sender, text).await?;
                for id in &told.subscribed {
                    if let Some(followed) = session.followed().get_mut(id) {
                        followed.announced = true;
                    }
                }
                news(&backend, &session, &mut sender).await?;
            },
            changed = heights.changed() => {
                changed.map_err(|_| End)?;
                heights.borrow_and_update();
                news(&backend, &session, &mut sender).await?;
            }
            _ = looks.tick() => waiting(&backend, &session, &mut sender).await?,
            _ = pings.tick() => {
                silent += 1;
                if silent > 3 {
                    return Ok(());
                }
                let ping = soketto::data::ByteSlice125::try_from(&[][..]).map_err(|_| End)?;
                let sent = async {
                    sender.send_ping(ping).await?;
                    sender.flush().await
                };
                tokio::time::timeout(time_for(0, patience), sent).await.map_err(|_| End)??;
            }
        }
    }
}

struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What came over the socket.
enum Message {
    /// A request; its bytes count until it is answered.
    Text(Vec<u8>, Reserved),
    /// The answer to a ping.
    Alive,
}

async fn read(mut receiver: soketto::Receiver<Socket>, intake: Arc<Mutex<Intake>>, hand: mpsc::Sender<Message>) {
    loop {
        let mut body = Vec::new();
        let message = match receiver.receive(&mut body).await {
            Ok(soketto::Incoming::Data(_)) => {
                let reserved = lock(&intake).pop();
                Message::Text(body, reserved)
            }
            Ok(soketto::Incoming::Pong(_)) => Message::Alive,
            _ => return,
        };
        if hand.send(message).await.is_err() {
            return;
        }
        lock(&intake).resume(now());
    }
}

fn lock(intake: &Mutex<Intake>) -> MutexGuard<'_, Intake> {
    intake.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tells what new blocks have of what is followed.
async fn news(backend: &Arc<Backend>, session: &Session, sender: &mut Sender) -> Result<(), End> {
    loop {
        let newest = *backend.heights.borrow();
        let due = {
            let mut due = None;
            let mut followed = session.followed();
            for (id, followed) in followed.iter_mut().filter(|(_, followed)| followed.announced) {
                if let Some(height) = next_of(followed, newest)? {
                    due = Some((id.clone(), followed.topic.clone(), height));
                    break;
                }
            }
            due
        };
        let Some((id, topic, height)) = due else { return Ok(()) };
        let place = backend.turns.news.acquire().await.map_err(|_| End)?;
        let told = tokio::task::spawn_blocking({
            let (backend, account) = (backend.clone(), session.account.clone());
            move || -> RpcResult<(Answer, Vec<usize>)> {
                let mut budget = Budget::new(backend.accounts(account), &backend.limits);
                let ends = match topic {
                    Topic::Syncing => vec![subscribe::message(&id, &serde_json::json!(false), &mut budget)?],
                    topic => subscribe::in_block(&backend, &topic, &id, height, &mut budget)?,
                };
                Ok((budget.finish(), ends))
            }
        });
        // What cannot be told whole is not told in part: the client asks again.
        let (told, ends) = told.await.map_err(|_| End)?.map_err(|_| End)?;
        drop(place);
        send_each(backend, sender, &told, &ends).await?;
    }
}

/// The block whose news of what is `followed` are due, of those up to the `newest`: it counts as told from now on.
fn next_of(followed: &mut Followed, newest: u64) -> Result<Option<u64>, End> {
    match followed.topic {
        // What is answered here is committed: there is nothing to catch up with.
        Topic::Syncing if followed.told == 0 => {
            followed.told = 1;
            Ok(Some(0))
        }
        Topic::Heads | Topic::Logs(_) => {
            // Blocks were taken back: those that come in their place are news.
            followed.told = followed.told.min(newest);
            if newest - followed.told > BEHIND {
                return Err(End);
            }
            let due = followed.told < newest;
            followed.told += u64::from(due);
            Ok(due.then_some(followed.told))
        }
        Topic::Syncing | Topic::Pending { .. } => Ok(None),
    }
}

/// Tells of transactions that began to wait.
async fn waiting(backend: &Arc<Backend>, session: &Session, sender: &mut Sender) -> Result<(), End> {
    let followed: Vec<(String, bool, u64)> = session
        .followed()
        .iter()
        .filter(|(_, followed)| followed.announced)
        .filter_map(|(id, followed)| match followed.topic {
            Topic::Pending { full } => Some((id.clone(), full, followed.told)),
            _ => None,
        })
        .collect();
    for (id, full, told) in followed {
        let mut budget = backend.budget_of(session);
        let place = backend.turns.news.acquire().await.map_err(|_| End)?;
        let (ends, arrived) = subscribe::waiting(backend, full, told, &id, &mut budget).map_err(|_| End)?;
        drop(place);
        if let Some(followed) = session.followed().get_mut(&id) {
            followed.told = arrived;
        }
        send_each(backend, sender, &budget.finish(), &ends).await?;
    }
    Ok(())
}

async fn send_each(backend: &Backend, sender: &mut Sender, told: &Answer, ends: &[usize]) -> Result<(), End> {
    let mut start = 0;
    for end in ends {
        let text = told.text.get(start..*end).and_then(|text| std::str::from_utf8(text).ok()).ok_or(End)?;
        send(backend, sender, text).await?;
        start = *end;
    }
    Ok(())
}

async fn send(backend: &Backend, sender: &mut Sender, text: &str) -> Result<(), End> {
    let sent = async {
        sender.send_text(text).await?;
        sender.flush().await
    };
    tokio::time::timeout(time_for(text.len(), backend.limits.patience), sent).await.map_err(|_| End)??;
    Ok(())
}

/// A connection whose frames are looked at first: what a message announces counts like what has come, and has its time.
struct Metered {
    stream: TokioIo<Upgraded>,
    intake: Arc<Mutex<Intake>>,
    patience: Option<Pin<Box<Sleep>>>,
}

impl AsyncRead for Metered {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let before = buf.filled().len();
        if let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(cx, buf) {
            read?;
            let fresh = buf.filled().get(before..).unwrap_or_default();
            let taken = lock(&self.intake).take(fresh, now());
            return Poll::Ready(taken.map_err(|e| std::io::Error::other(e.message)));
        }
        let Some(until) = lock(&self.intake).until().map(Instant::from_std) else { return Poll::Pending };
        let sleep = self.patience.get_or_insert_with(|| Box::pin(sleep_until(until)));
        if sleep.deadline() != until {
            sleep.as_mut().reset(until);
        }
        sleep.as_mut().poll(cx).map(|()| Err(std::io::Error::from(std::io::ErrorKind::TimedOut)))
    }
}

impl AsyncWrite for Metered {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is told of `topic`, of which `told` was, while the newest block is each of `heights`; `None` is the end.
    fn told(topic: Topic, told: u64, heights: &[u64]) -> Option<Vec<u64>> {
        let mut followed = Followed { topic, told, announced: true };
        let mut all = vec![];
        for newest in heights {
            while let Some(height) = next_of(&mut followed, *newest).ok()? {
                all.push(height);
                assert!(all.len() < 5_000, "the same is told again and again");
            }
        }
        Some(all)
    }

    #[test]
    fn each_block_is_told_once_and_those_in_the_place_of_others_again() {
        for topic in [Topic::Heads, Topic::Logs(Box::default())] {
            let told = |told_before, heights: &[u64]| told(topic.clone(), told_before, heights);
            assert_eq!(told(3, &[3, 4, 4, 6]), Some(vec![4, 5, 6]));
            assert_eq!(told(3, &[5, 2, 4]), Some(vec![4, 5, 3, 4]), "three blocks were taken back");
            assert_eq!(told(0, &[BEHIND]).map(|all| all.len()), Some(1_000));
            assert_eq!(told(7, &[7 + BEHIND + 1]), None, "whoever is too far behind is left");
            assert_eq!(told(u64::MAX, &[0, 1]), Some(vec![1]));
        }
    }

    #[test]
    fn that_nothing_is_caught_up_with_is_told_once_and_waiting_transactions_are_not_in_blocks() {
        assert_eq!(told(Topic::Syncing, 0, &[9, 10]), Some(vec![0]));
        assert_eq!(told(Topic::Syncing, 1, &[9]), Some(vec![]));
        assert_eq!(told(Topic::Pending { full: true }, 0, &[9_999]), Some(vec![]));
    }

    #[tokio::test]
    async fn nothing_is_read_any_more_once_nobody_listens() {
        let reading = tokio::spawn(std::future::pending::<()>());
        drop(AbortOnDrop(reading.abort_handle()));
        assert!(reading.await.is_err_and(|why| why.is_cancelled()));
    }
}
