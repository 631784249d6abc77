//! Connections between validators that can be cut: each goes through a proxy of the test.

use std::{
    io,
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    process::Command,
    sync::{Arc, Mutex},
    thread,
};

use crate::cluster::Cluster;

/// The links of a cluster that has not started yet.
pub struct Links(Vec<(usize, usize, Link)>);

struct Link {
    port: u16,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    cut: bool,
    over: bool,
    streams: Vec<TcpStream>,
}

impl Links {
    /// Leads every connection through a proxy. The validator with the lower number dials: one that is dialled would
    /// otherwise return the call at the other's own port, past the proxy.
    pub fn between(cluster: &Cluster) -> Self {
        let count = cluster.nodes.len();
        let mut links = Vec::new();
        for (from, node) in cluster.nodes.iter().enumerate() {
            let mut peers = Vec::new();
            for to in from + 1..count {
                let other = &cluster.nodes[to];
                let link = Link::to(other.ports.p2p);
                let told = Command::new(&cluster.launch.cometbft)
                    .args(["show-node-id", "--home"])
                    .arg(&other.home)
                    .output()
                    .unwrap();
                peers.push(format!("{}@127.0.0.1:{}", String::from_utf8(told.stdout).unwrap().trim(), link.port));
                links.push((from, to, link));
            }
            node.set("p2p", "persistent_peers", &format!("\"{}\"", peers.join(",")));
            node.set("p2p", "pex", "false");
        }
        Self(links)
    }

    /// Cuts every link between `group` and the others.
    pub fn cut_off(&self, group: &[usize]) {
        for (from, to, link) in &self.0 {
            if group.contains(from) != group.contains(to) {
                link.cut();
            }
        }
    }

    pub fn heal(&self) {
        self.0.iter().for_each(|(_, _, link)| link.state.lock().unwrap().cut = false);
    }
}

impl Link {
    fn to(target: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let state: Arc<Mutex<State>> = Arc::default();
        let shared = state.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let mut state = shared.lock().unwrap();
                if state.over {
                    return;
                }
                if state.cut {
                    continue;
                }
                if let Ok(onward) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)) {
                    pump(&stream, &onward);
                    pump(&onward, &stream);
                    state.streams.extend([stream, onward]);
                }
            }
        });
        Self { port, state }
    }

    fn cut(&self) {
        let mut state = self.state.lock().unwrap();
        state.cut = true;
        for stream in state.streams.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.cut();
        self.state.lock().unwrap().over = true;
        // Wakes the thread that accepts.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

/// Copies bytes until one end closes, and closes the other then.
fn pump(from: &TcpStream, to: &TcpStream) {
    let _ = (from.set_nodelay(true), to.set_nodelay(true));
    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
    thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    });
}
