//! A node of a committee that is played by the test: it has the node's key and address, and says what the test likes.

use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use sahara_mpc::channel::Channel;
use sahara_mpc::identity::{self, Identity};
use sahara_mpc::lane::Lane;
use sahara_mpc::meter::{Meter, Traffic};
use sahara_mpc::tls::{Admission, server_config};

use super::Network;

const TIME: Duration = Duration::from_secs(20);

/// A played node, until it is stopped.
pub struct Rogue {
    stop: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<TcpStream>>>,
    address: String,
    thread: JoinHandle<()>,
}

/// The key of one of a network's nodes.
pub fn key(network: &Network, node: usize) -> Identity {
    identity::load(&network.home(node).join("key")).unwrap()
}

impl Rogue {
    /// Plays a node that has been stopped: each lane is handed to `serve` in a thread of its own, and closed after.
    pub fn start(network: &Network, node: usize, serve: impl Fn(Lane) + Send + Sync + 'static) -> Self {
        let committee = network.committee.clone();
        let address = committee.members()[node].address.clone();
        let listener = TcpListener::bind(&address).unwrap();
        let server = server_config(&key(network, node), Admission::Any).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let open = Arc::new(Mutex::new(Vec::new()));
        let (stopped, all, serve) = (stop.clone(), open.clone(), Arc::new(serve));
        let thread = std::thread::spawn(move || {
            for tcp in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let tcp: TcpStream = tcp.unwrap();
                let handle = tcp.try_clone().unwrap();
                all.lock().unwrap().push(tcp.try_clone().unwrap());
                let (server, committee, serve) = (server.clone(), committee.clone(), serve.clone());
                std::thread::spawn(move || {
                    let channel = Channel::accept(tcp, server, TIME).unwrap();
                    let lane = Lane::accept(channel, "caller".into(), &committee, TIME, Arc::new(Meter::default()));
                    let mut lane = lane.unwrap();
                    lane.begin("rogue", Traffic::Setup, TIME);
                    serve(lane);
                    let _ = handle.shutdown(Shutdown::Both);
                });
            }
        });
        Self { stop, open, address, thread }
    }

    /// Closes the port and every lane.
    pub fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(&self.address);
        self.thread.join().unwrap();
        for tcp in self.open.lock().unwrap().iter() {
            let _ = tcp.shutdown(Shutdown::Both);
        }
    }
}
