//! Strangers and admitted keys that mean no good, many at a time in a few threads. They come from addresses of their own
//! (127.0.1.x), as strangers do, and come back when they are thrown out.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
use sahara_mpc::channel::Channel;
use sahara_mpc::client::{Committee, JobId, Task};
use sahara_mpc::identity::{self, Identity};
use sahara_mpc::tls;
use sahara_mpc::transcript::sign_requests;
use sahara_mpc::wire::{Hello, Kind, Message, Prepare, Share, header};

/// Longest wait for one step of a hostile connection.
const TIME: Duration = Duration::from_millis(500);
/// Between two turns of a thread over its connections.
const TURN: Duration = Duration::from_millis(200);

/// What a hostile connection does.
#[derive(Clone, Debug)]
pub enum Deed {
    /// Connects and says nothing.
    Silence,
    /// A byte of something like TLS every turn.
    Drip,
    /// Sixteen kilobytes of noise.
    Garbage,
    /// A handshake with a key that is not admitted.
    NoAdmission,
    /// As an admitted key: announces a round's frame of 256 MiB.
    HugeHeader(Arc<Identity>),
    /// As an admitted key: asks for a status over and over, and for packs and jobs of a model, of each of which one half.
    Pester(Arc<Identity>, Task),
}

/// Hostile connections that go on until they are stopped.
pub struct Hostile {
    stop: Arc<AtomicBool>,
    connections: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Hostile {
    /// One connection for each deed, to the nodes in turn, from `addresses` addresses.
    pub fn start(committee: &Committee, deeds: Vec<Deed>, addresses: u8) -> Self {
        let (stop, connections): (Arc<AtomicBool>, Arc<AtomicU64>) = Default::default();
        let mut groups: Vec<Vec<(usize, Deed)>> = vec![Vec::new(); deeds.len().div_ceil(100)];
        let count = groups.len();
        deeds.into_iter().enumerate().for_each(|(n, deed)| groups[n % count].push((n, deed)));
        let threads = groups.into_iter().map(|group| {
            let (stop, connections, committee) = (stop.clone(), connections.clone(), committee.clone());
            std::thread::spawn(move || {
                let mut all: Vec<_> = group.into_iter().map(|(n, deed)| Connection::new(n, deed, addresses)).collect();
                while !stop.load(Ordering::Relaxed) {
                    for one in &mut all {
                        one.turn(&committee, &connections);
                        if stop.load(Ordering::Relaxed) {
                            break;
                        }
                    }
                    std::thread::sleep(TURN);
                }
            })
        });
        let threads = threads.collect();
        Self { stop, connections, threads }
    }

    /// Connections made so far.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Ends all of them; says how many connections were made.
    pub fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
        self.connections.load(Ordering::Relaxed)
    }
}

struct Connection {
    number: usize,
    deed: Deed,
    address: Ipv4Addr,
    open: Option<Open>,
    turns: usize,
}

enum Open {
    Tcp(TcpStream),
    Tls(Box<Channel>),
}

impl Connection {
    fn new(number: usize, deed: Deed, addresses: u8) -> Self {
        let address = Ipv4Addr::new(127, 0, 1, 1 + (number % usize::from(addresses)) as u8);
        Self { number, deed, address, open: None, turns: 0 }
    }

    fn turn(&mut self, committee: &Committee, connections: &AtomicU64) {
        self.turns += 1;
        if self.open.is_none() {
            // Who was thrown out comes back after a while, not all at the same time.
            if self.turns > 1 && !(self.turns + self.number).is_multiple_of(5) {
                return;
            }
            connections.fetch_add(1, Ordering::Relaxed);
            self.open = self.connect(committee).ok();
        } else if self.go_on(committee).is_err() {
            self.open = None;
        }
    }

    fn connect(&self, committee: &Committee) -> io::Result<Open> {
        let member = &committee.members()[self.number % 3];
        let to: SocketAddr = member.address.parse().map_err(io::Error::other)?;
        let mut tcp = connect_from(self.address, to)?;
        tcp.set_nonblocking(true)?;
        let identity = match &self.deed {
            Deed::Silence | Deed::Drip => return Ok(Open::Tcp(tcp)),
            Deed::Garbage => {
                let _ = tcp.write(&[0x5a; 16 << 10]); // as much as goes
                return Ok(Open::Tcp(tcp));
            }
            Deed::NoAdmission => Arc::new(identity::generate().map_err(io::Error::other)?),
            Deed::HugeHeader(identity) | Deed::Pester(identity, _) => identity.clone(),
        };
        let config = tls::client_config(&identity, member.key).map_err(io::Error::other)?;
        let mut channel = Channel::connect(tcp, config, TIME).map_err(io::Error::other)?;
        let hello = Hello { committee: committee.digest() }.encode();
        let hello = [&header(Kind::Hello, hello.len())[..], &hello].concat();
        let more = match &self.deed {
            Deed::HugeHeader(_) => header(Kind::Round, 256 << 20).to_vec(),
            _ => Vec::new(),
        };
        channel.send_all([&hello, &more], TIME).map_err(io::Error::other)?;
        Ok(Open::Tls(Box::new(channel)))
    }

    fn go_on(&mut self, committee: &Committee) -> io::Result<()> {
        match (self.open.as_mut(), &self.deed) {
            (Some(Open::Tcp(tcp)), Deed::Drip) => tcp.write(&[[22, 3, 1, 2, 0, 1][self.turns % 6]]).map(|_| ()),
            (Some(Open::Tcp(tcp)), _) => {
                let mut byte = [0; 1];
                match tcp.peek(&mut byte) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
                    Ok(0) | Err(_) => Err(io::ErrorKind::BrokenPipe.into()),
                    Ok(_) => Ok(()),
                }
            }
            (Some(Open::Tls(channel)), Deed::Pester(_, task)) => {
                let mut answer = [0; 64];
                let heard = channel.receive_exact(&mut answer[..1], Duration::from_millis(1));
                if matches!(heard, Err(sahara_mpc::channel::ChannelError::Closed)) {
                    return Err(io::ErrorKind::BrokenPipe.into());
                }
                let (kind, payload) = self.request(task, committee)?;
                let head = header(kind, payload.len());
                if let Some(Open::Tls(channel)) = self.open.as_mut() {
                    channel.send_all([&head, &payload], TIME).map_err(io::Error::other)?;
                }
                Ok(())
            }
            (Some(Open::Tls(channel)), _) => {
                let heard = channel.receive_exact(&mut [0; 1], Duration::from_millis(1));
                match heard {
                    Ok(()) | Err(sahara_mpc::channel::ChannelError::TimedOut(_)) => Ok(()),
                    Err(error) => Err(io::Error::other(error)),
                }
            }
            (None, _) => Ok(()),
        }
    }

    fn request(&self, task: &Task, committee: &Committee) -> io::Result<(Kind, Vec<u8>)> {
        let Deed::Pester(identity, _) = &self.deed else { return Ok((Kind::Status, Vec::new())) };
        let helper = usize::from(task.assignment.helper());
        Ok(match self.turns % 4 {
            0 if self.number % committee.members().len() == helper => {
                let prepare = Prepare { task: *task, count: 64, consumer: identity.public(), job: None, asked: None };
                (Kind::Prepare, prepare.encode())
            }
            1 if self.number % committee.members().len() != helper => {
                let job = JobId::random().map_err(io::Error::other)?;
                let shares = [Share(Vec::new()), Share(Vec::new())];
                let runs =
                    sign_requests(identity, &committee.digest(), job, *task, &shares).map_err(io::Error::other)?;
                (Kind::Run, runs[0].encode())
            }
            _ => (Kind::Status, Vec::new()),
        })
    }
}

fn connect_from(address: Ipv4Addr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    bind(&socket, &SocketAddrV4::new(address, 0))?;
    connect(&socket, &to)?;
    Ok(socket.into())
}
