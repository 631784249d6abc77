//! Measures a lane on loopback: CPU time a byte (both ends), and the time of a round.
//!
//! `cargo run --release -p sahara-mpc --example lane_speed`

use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use sahara_mpc::channel::{Channel, Patience, Until};
use sahara_mpc::identity::generate;
use sahara_mpc::meter::process_cpu_nanos;
use sahara_mpc::tls::{Admission, client_config, server_config};

const TIME: Duration = Duration::from_secs(60);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (a, b) = (generate()?, generate()?);
    let client = client_config(&a, b.public())?;
    let server = server_config(&b, Admission::Any)?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let tcp = TcpStream::connect(listener.local_addr()?)?;
    let accepted = listener.accept()?.0;
    let (mut a, mut b) = std::thread::scope(|scope| {
        let b = scope.spawn(|| Channel::accept(accepted, server, TIME));
        let a = Channel::connect(tcp, client, TIME);
        (a, b.join())
    });
    let (a, b) = (a.as_mut().map_err(|e| e.to_string())?, b.as_mut().map_err(|_| "a thread died")?);
    let b = b.as_mut().map_err(|e| e.to_string())?;

    for (what, size, rounds) in [
        ("one-way stream, 1 MiB frames", 1 << 20, 400),
        ("rounds of 64 B", 64, 20_000),
        ("rounds of 16 KiB", 16 << 10, 5_000),
        ("rounds of 200 kB", 200_000, 1_000),
        ("rounds of 2 MB", 2_000_000, 100),
    ] {
        let one_way = what.starts_with("one-way");
        let (cpu, start) = (process_cpu_nanos(), Instant::now());
        std::thread::scope(|scope| {
            let other = scope.spawn(|| run(b, size, rounds, !one_way, true));
            run(a, size, rounds, true, !one_way)?;
            other.join().map_err(|_| "a thread died".to_owned())?
        })?;
        let (cpu, wall) = ((process_cpu_nanos() - cpu) as f64, start.elapsed().as_secs_f64());
        let bytes = (size * rounds * if one_way { 1 } else { 2 }) as f64;
        println!(
            "{what}: {:.2} CPU ns a byte, {:.1} us and {:.1} CPU us a round, {:.0} MB/s",
            cpu / bytes,
            wall / rounds as f64 * 1e6,
            cpu / rounds as f64 * 1e-3,
            bytes / wall * 1e-6
        );
    }
    Ok(())
}

fn run(channel: &mut Channel, size: usize, rounds: usize, sends: bool, receives: bool) -> Result<(), String> {
    let send = vec![7; if sends { size } else { 0 }];
    let mut receive = vec![0; if receives { size } else { 0 }];
    for _ in 0..rounds {
        channel
            .pump([&[], &send], &mut 0, &mut receive, &mut 0, Until::Both, &mut Patience::new(TIME))
            .map_err(|e| e.to_string())?;
    }
    Ok(())
}
