// What stands behind the examples in the documentation of this crate, which include it and do not show it: a folder with
// a home that has a small random model, `mine`, and the file of a committee whose three nodes run in this process. They
// end with it.

struct Place {
    home: std::path::PathBuf,
    committee: std::path::PathBuf,
    _folder: tempfile::TempDir,
}

fn three_nodes() -> Place {
    use sahara::mpc::client::{Client, ClientOptions, Committee, Member};
    use sahara::mpc::config::{Config, Parties};
    use sahara::mpc::{identity, node, tls::Admission};

    let folder = tempfile::tempdir().expect("a folder");
    let home = folder.path().join("home");
    let model = folder.path().join("model");
    sahara::circuits::testmodel::TestModel::default().write(&model, 1).expect("a model folder");
    let store = sahara::models::Store::new(&sahara::home::Home::locate(Some(home.clone())).expect("a home"));
    let (model, quiet) = (model.display().to_string(), sahara::progress::Progress::silent());
    store.pull(&model, Some("mine"), sahara::models::Origin::Any, false, &quiet).expect("a model");

    let anybody = Parties { owners: Admission::Any, consumers: Admission::Any };
    let ports = [(); 3].map(|()| std::net::TcpListener::bind("127.0.0.1:0").expect("a port"));
    let ports = ports.map(|port| port.local_addr().expect("an address"));
    let members = [0, 1, 2].map(|number: usize| {
        let place = folder.path().join(format!("node-{number}"));
        let config = Config::init(&place, ports[number], None, &anybody).expect("a node's home");
        let key = config.load_identity().expect("a key").public();
        Member { name: format!("n{number}"), address: ports[number].to_string(), key }
    });
    let committee = Committee::new(members).expect("a committee");
    for number in 0..3 {
        let place = folder.path().join(format!("node-{number}"));
        committee.save(&place.join("committee.toml")).expect("a committee's file");
        let config = Config::load(&place).expect("a configuration");
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(node::run(config, std::future::pending())).expect("a node");
        });
    }
    let asker = Client::new(identity::generate().expect("a key"), committee, ClientOptions::default());
    let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while asker.status().iter().any(Result::is_err) {
        assert!(std::time::Instant::now() < until, "three nodes come up");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    Place { home, committee: folder.path().join("node-0").join("committee.toml"), _folder: folder }
}
