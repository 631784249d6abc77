//! A table is described and has a budget, here and on a chain; questions are answered until the budget refuses; processes that race
//! or are killed neither overspend nor forget; receipts are whole or it is said; training draws on the same budget.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::{Finished, Home, PATIENCE, Started, free_port_block, wait_for_port};
use serde_json::Value;

const COUNT: &str = "SELECT COUNT(*) FROM visits WHERE age >= 18";

struct Owner {
    home: Home,
    table: PathBuf,
}

impl Owner {
    fn new(budget: &str) -> Self {
        let home = Home::empty();
        let table = home.path().join("visits.csv");
        let row = |i: u32| {
            format!(
                "{},{},{},{}\n",
                i % 500,
                ["Oasis", "Dune"][i as usize % 2],
                i % 90,
                ["cold", "flu"][i as usize % 2]
            )
        };
        fs::write(&table, format!("id,city,age,note\n{}", (0..2000).map(row).collect::<String>())).expect("a table");
        let owner = Self { home, table };
        let describe =
            ["--range", "age=0:120", "--values", "city=Oasis,Dune", "--words", "note", "--ignore", "id", "--json"];
        owner.home.json(&[&["data", "describe", owner.table()][..], &describe].concat());
        owner.home.json(&["data", "budget", "set", "visits", "--epsilon", budget, "--delta", "1e-6", "--json"]);
        owner
    }

    fn table(&self) -> &str {
        self.table.to_str().expect("a path in UTF-8")
    }

    fn words<'a>(&'a self, question: &'a str, epsilon: &'a str) -> Vec<&'a str> {
        vec!["data", "query", self.table(), question, "--epsilon", epsilon, "--json"]
    }

    fn ask(&self, question: &str, epsilon: &str, more: &[&str]) -> Finished {
        self.home.run(&[&self.words(question, epsilon)[..], more].concat())
    }

    fn spent(&self) -> f64 {
        let standing = self.home.json(&["data", "budget", "show", "visits", "--json"]);
        standing[0]["budget"]["spent"].as_f64().expect("a number")
    }

    fn receipts(&self) -> Value {
        self.home.json(&["data", "receipts", "visits", "--json"])
    }

    fn receipt(&self, number: u32) -> PathBuf {
        self.home.path().join(format!("datasets/visits/receipts/{number:08}.jsonl"))
    }
}

fn value(done: &Finished) -> Value {
    assert_eq!(done.code, Some(0), "{done}");
    serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("{error}: {done}"))
}

fn refused(done: &Finished, why: &str) {
    assert!(done.code == Some(2) && done.stdout.is_empty() && done.stderr.contains(why), "'{why}': {done}");
}

#[test]
fn questions_are_answered_until_the_budget_refuses_and_each_leaves_a_receipt() {
    let owner = Owner::new("2");
    let answer = value(&owner.ask("SELECT city, AVG(age), COUNT(*) FROM visits GROUP BY city", "1", &[]));
    for row in answer["answer"].as_array().expect("rows") {
        let (mean, count) = (&row["AVG(age)"], &row["COUNT(*)"]);
        let number = |of: &Value, what: &str| of[what].as_f64().expect("a number");
        // Of either city: 1,000 rows, whose ages are 0 to 89. Within ten scales of the noise.
        assert!((number(count, "value") - 1000.0).abs() < 20.0 && (number(mean, "value") - 44.4).abs() < 5.0, "{row}");
        assert!(number(count, "low") < number(count, "value") && number(mean, "high") > number(mean, "value"), "{row}");
    }
    let spent = owner.spent();
    assert!(spent > 1.0 && spent < 1.05, "{spent}");
    // A try, a wrong question and a table that is broken cost nothing.
    assert_eq!(owner.ask(COUNT, "0.5", &["--dry-run"]).code, Some(0));
    refused(&owner.ask("SELECT MAX(age) FROM visits", "0.5", &[]), "QUANTILE");
    refused(&owner.ask("SELECT SUM(id) FROM visits", "0.5", &[]), "no column \"id\"");
    refused(&owner.ask("SELECT note, COUNT(*) FROM visits GROUP BY note", "0.5", &[]), "--delta");
    refused(&owner.ask("SELECT COUNT(*) FROM others", "0.5", &[]), "the table is visits");
    let whole = fs::read(&owner.table).expect("the table");
    fs::write(&owner.table, [whole.as_slice(), b"\"1,Oasis\n"].concat()).expect("a broken table");
    refused(&owner.ask(COUNT, "0.5", &[]), "quote");
    fs::write(&owner.table, whole).expect("the table again");
    assert_eq!(owner.spent(), spent);
    let told = value(&owner.ask("SELECT note, COUNT(*) FROM visits GROUP BY note", "0.5", &["--delta", "1e-9"]));
    assert_eq!(told["answer"].as_array().map(Vec::len), Some(2), "{told}");
    refused(&owner.ask(COUNT, "0.6", &[]), "does not suffice");
    // Training draws on the same budget.
    let train = |epsilon: &str, out: &str, more: &[&str]| {
        let out = owner.home.path().join(out);
        let mut command =
            owner.home.sahara(&["train", "table", "--label", "city", "--labels", "Oasis,Dune", "--delta", "1e-6"]);
        command.args([
            "--range",
            "age=0:120",
            "--ignore",
            "id",
            "--ignore",
            "note",
            "--epochs",
            "2",
            "--dataset",
            "visits",
        ]);
        command.args(["--data", owner.table(), "--epsilon", epsilon, "--out"]).arg(&out).args(more);
        (Started::new(&mut command).finish(PATIENCE), out)
    };
    let before = owner.spent();
    for more in [&[][..], &["--provable"]] {
        let (done, out) = train("2", "big", more);
        refused(&done, "does not suffice");
        let (tried, _) = train("0.1", "big", &[more, &["--dry-run"]].concat());
        assert_eq!(tried.code, Some(0), "{tried}");
        assert!(!out.exists() && owner.spent() == before, "nothing was begun");
    }
    let (done, _) = train("0.2", "small", &[]);
    assert_eq!(done.code, Some(0), "{done}");
    let between = owner.spent();
    assert!(between > before);
    refused(&train("0.2", "small", &[]).0, "--resume");
    let (done, _) = train("0.2", "provable", &["--provable"]);
    assert_eq!(done.code, Some(0), "{done}");
    assert!(owner.spent() > between);
    let mut unbounded = owner.home.sahara(&["train", "table", "--label", "city", "--labels", "Oasis,Dune"]);
    unbounded.args(["--range", "age=0:120", "--ignore", "id", "--ignore", "note", "--dataset", "visits", "--provable"]);
    let out = owner.home.path().join("unbounded");
    unbounded.args(["--without-privacy", "--data", owner.table(), "--out"]).arg(&out);
    refused(&Started::new(&mut unbounded).finish(PATIENCE), "without noise a run costs more than any budget has");
    assert!(!out.exists());
    // A lower budget is what is spent at least; then nothing more is answered.
    owner.home.json(&["data", "budget", "set", "visits", "--epsilon", "1", "--delta", "1e-6", "--json"]);
    refused(&owner.ask(COUNT, "0.001", &[]), "does not suffice");
    let receipts = owner.receipts();
    assert_eq!(receipts["receipts"].as_array().map(Vec::len), Some(2), "{receipts}");
    assert_eq!(receipts["jobs_without_receipt"], 2, "the trainings");
}

#[test]
fn receipts_that_were_changed_taken_out_or_put_in_are_told() {
    let owner = Owner::new("5");
    (0..3).for_each(|_| drop(value(&owner.ask(COUNT, "0.1", &[]))));
    assert_eq!(owner.receipts()["receipts"][2]["number"], 3);
    let said = || owner.home.run(&["data", "receipts", "visits"]);
    let (second, third) = (owner.receipt(2), owner.receipt(3));
    let kept = fs::read_to_string(&second).expect("a receipt");
    fs::write(&second, kept.replace("\"epsilon\":0.1", "\"epsilon\":0.2")).expect("written");
    refused(&said(), "was changed");
    fs::remove_file(&second).expect("removed");
    refused(&said(), "does not follow");
    fs::write(&second, &kept).expect("put back");
    // The last one is missed by the budget alone.
    let last = fs::read(&third).expect("a receipt");
    fs::remove_file(&third).expect("removed");
    assert_eq!(owner.receipts()["jobs_without_receipt"], 1);
    fs::write(&third, last).expect("put back");
    fs::write(owner.receipt(4), fs::read(&third).expect("a receipt")).expect("put in");
    refused(&said(), "does not follow");
    fs::remove_file(owner.receipt(4)).expect("removed");
    assert_eq!(owner.receipts()["jobs_without_receipt"], 0);
    // On a file that is no receipt, or another one than its name says, none follows: it is told before anything is spent.
    let spent = owner.spent();
    let third_again = fs::read(&third).expect("a receipt");
    for (name, bytes) in [
        ("00009999.jsonl", b"a\nb\n".as_slice()),
        ("00009999.jsonl", &third_again),
        ("18446744073709551615.jsonl", &third_again),
    ] {
        let path = owner.home.path().join("datasets/visits/receipts").join(name);
        fs::write(&path, bytes).expect("put in");
        refused(&owner.ask(COUNT, "0.1", &[]), "no receipt can follow");
        fs::remove_file(&path).expect("removed");
    }
    assert_eq!(owner.spent(), spent);
    // A budget that was put back from an older copy does not know the receipts.
    let budget = owner.home.path().join("datasets/visits/budget");
    let bytes = fs::read(&budget).expect("the budget");
    // Of each that was refused, that it was put aside and given back; of the last receipt, three entries.
    fs::write(&budget, &bytes[..bytes.len() - (3 * 2 + 3) * 329]).expect("an older one");
    refused(&said(), "has not this receipt");
}

#[test]
fn what_a_question_takes_is_said_and_why_it_is_more_the_first_time() {
    let owner = Owner::new("2");
    let tried = |epsilon| value(&owner.ask(COUNT, epsilon, &["--dry-run"]))["taken"].clone();
    let number = |of: &Value, what: &str| of[what].as_f64().unwrap_or_else(|| panic!("{what} of {of}"));
    let first = tried("0.01");
    let (takes, once) = (number(&first, "epsilon"), number(&first, "once"));
    assert!(takes > 0.01 && once > 0.0 && takes <= 0.01 + once + 1e-8, "{first}");
    let people = ["data", "query", owner.table(), COUNT, "--epsilon", "0.01"];
    let said = owner.home.output(&[&people[..], &["--dry-run"]].concat());
    assert!(said.contains(&format!("{takes:.4} of it by this")) && said.contains(&format!("{once:.4} once")), "{said}");
    let said = owner.home.output(&people);
    assert!(said.contains(&format!("{takes:.4} of it by this")) && said.contains(&format!("{once:.4} once")), "{said}");
    assert!((owner.spent() - takes).abs() < 1e-12, "what was said is what was taken");
    let second = tried("0.01");
    assert!(number(&second, "epsilon") <= 0.01 + 1e-8 && number(&second, "once") == 0.0, "{second}");
    let wide = "SELECT QUANTILE(age, 0.9), HISTOGRAM(age, 8), TOP(city, 1), AVG(age), SUM(age) FROM visits";
    let said = owner.home.output(&["data", "query", owner.table(), wide, "--epsilon", "0.5"]);
    assert!(said.contains("19 times of 20") && !said.contains(" once"), "{said}");
    let lines = said.lines().filter(|line| !line.starts_with("receipt"));
    lines.for_each(|line| assert!(line.chars().count() <= 80, "{line}"));
}

#[test]
fn mistakes_are_refused_with_what_to_do() {
    let owner = Owner::new("2");
    let run = |words: &[&str]| owner.home.run(words);
    let file = |name: &str, head: &str| {
        let path = owner.home.path().join(name);
        fs::write(&path, format!("{head}\n1,2\n")).expect("a table");
        path.to_str().expect("UTF-8").to_owned()
    };
    let (plain, twice) = (file("plain.csv", "a,b"), file("twice.csv", "a,a"));
    refused(&run(&["data", "describe", &plain]), "plain.csv has a, b");
    assert!(!Path::new(&format!("{plain}.toml")).exists(), "nothing was described");
    refused(&run(&["data", "describe", &twice, "--range", "a=0:1"]), "two columns \"a\"");
    refused(&owner.ask("SELECT SUM(id) FROM visits", "0.5", &[]), "describe --replace");
    // A name that is misspelt is no dataset without questions, and does not become one.
    refused(&run(&["data", "receipts", "visit"]), "visit is no dataset");
    refused(&run(&["data", "budget", "show", "visit"]), "visit has no budget");
    assert!(!owner.home.path().join("datasets/visit").exists());
    let set = |name, epsilon| run(&["data", "budget", "set", name, "--epsilon", epsilon, "--delta", "1e-6", "--json"]);
    let wrong = set("my visits", "1");
    refused(&wrong, "is no name of a dataset");
    assert!(!wrong.stderr.contains("--dataset"), "{wrong}");
    refused(&set("visits", "-3"), "ε is -3, and must be");
    refused(&owner.ask(COUNT, "-1", &[]), "ε of the question is -1");
    // What is spent stays spent, and δ is as it was said, whatever ε is.
    value(&owner.ask(COUNT, "0.5", &[]));
    let done = set("visits", "0.1");
    assert!(done.stderr.contains("less than what is spent"), "{done}");
    let budget = value(&done)["budget"].clone();
    assert_eq!(budget["delta"].as_f64(), Some(1e-6), "{budget}");
    assert_eq!((budget["epsilon"].as_f64(), budget["left"].as_f64()), (Some(owner.spent()), Some(0.0)));
    let other = run(&["data", "budget", "set", "visits", "--epsilon", "1", "--delta", "1e-7"]);
    refused(&other, "stays what it was: 1e-6");
    // A curve is drawn as SVG, and nowhere below what is spent.
    let plan = |picture: &str| {
        let picture = owner.home.path().join(picture);
        let mut plan = owner.home.sahara(&["dp", "plan", "--noise", "1.1", "--sample-rate", "0.01", "--steps", "5000"]);
        plan.args(["--delta", "1e-5", "--accountant", "rdp", "--json", "--picture"]).arg(&picture);
        (Started::new(&mut plan).finish(PATIENCE), picture)
    };
    let (done, picture) = plan("plan.png");
    refused(&done, ".svg");
    assert!(!picture.exists());
    let (done, picture) = plan("plan.svg");
    let curve = value(&done)["curve"].as_array().expect("points").len();
    assert!(curve > 36 && fs::read_to_string(picture).expect("a picture").contains("<polyline"), "{curve}");
}

#[test]
fn processes_that_race_or_are_killed_neither_overspend_nor_forget() {
    let owner = Owner::new("1");
    // Each costs 0.32 at the budget's δ, so that three fit.
    let racing: Vec<Started> =
        (0..6).map(|_| Started::new(&mut owner.home.sahara(&owner.words(COUNT, "0.3")))).collect();
    let done: Vec<Finished> = racing.into_iter().map(|one| one.finish(PATIENCE)).collect();
    let answered = done.iter().filter(|one| one.code == Some(0)).count();
    assert!((2..=3).contains(&answered), "{}", done.iter().map(ToString::to_string).collect::<String>());
    done.iter().filter(|one| one.code != Some(0)).for_each(|one| refused(one, "does not suffice"));
    assert_eq!(owner.receipts()["receipts"].as_array().map(Vec::len), Some(answered));
    owner.home.json(&["data", "budget", "set", "visits", "--epsilon", "4", "--delta", "1e-6", "--json"]);
    let before = owner.spent();
    let mut heard = answered;
    for round in 0..25 {
        let one = Started::new(&mut owner.home.sahara(&owner.words(COUNT, "0.01")));
        std::thread::sleep(Duration::from_millis(round));
        common::kill_9(one.pid());
        heard += usize::from(!one.finish(PATIENCE).stdout.is_empty());
    }
    let receipts = owner.receipts();
    let written = receipts["receipts"].as_array().map_or(0, Vec::len);
    let spent = owner.spent();
    // Who heard an answer has a receipt, and who has a receipt has spent; a killed one may have spent and heard nothing.
    assert!(heard <= written && written >= answered, "{heard} {written}");
    let jobs = written + receipts["jobs_without_receipt"].as_u64().map_or(0, |lost| lost as usize);
    assert!(spent >= before && (jobs > answered) == (spent > before), "{spent} {before} {jobs}");
    assert_eq!(owner.ask(COUNT, "0.1", &[]).code, Some(0), "and it goes on");
}

#[test]
fn a_question_draws_on_the_budget_of_the_chain_before_it_is_answered() {
    let owner = Owner::new("5");
    let (home, port) = (&owner.home, free_port_block());
    let (node, rpc) = (home.path().join("chain"), format!("127.0.0.1:{port}"));
    let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    let chain = text(&node);
    home.output(&["chain", "init", "--home", &chain, "--rpc", &rpc, "--block-time-ms", "200"]);
    let _chain = Started::new(&mut home.sahara(&["chain", "start", "--home", &chain]));
    wait_for_port(rpc.parse().expect("an address"), Duration::from_secs(20));
    let (network, key, password) = (home.path().join("net.toml"), home.path().join("key"), home.path().join("pw"));
    fs::write(&network, home.output(&["network", "make", &format!("http://{rpc}"), "--height", "1"])).expect("written");
    home.output(&["network", "add", &text(&network), "--name", "dev"]);
    fs::write(&key, "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80").expect("written");
    fs::write(&password, "devnet").expect("written");
    let pays = ["--password-file", &text(&password)];
    home.output(&[&["wallet", "import", &text(&key)][..], &pays].concat());
    let root = format!("0x{}", "ab".repeat(32));
    let register =
        ["asset", "register", "--root", &root, "--kind", "dataset", "--epsilon", "1", "--delta", "1e-6", "--json"];
    let asset = home.json(&[&register[..], &pays].concat())["asset"].as_str().expect("an asset").to_owned();
    let standing = || home.json(&["data", "budget", "show", "--asset", &asset, "--json"]);
    assert_eq!((standing()["epsilon"].as_f64(), standing()["spent"].as_f64()), (Some(1.0), Some(0.0)));
    let on_chain = [&["--asset", &asset][..], &pays].concat();
    let answer = value(&owner.ask(COUNT, "0.4", &on_chain));
    let spent = standing()["spent"].as_f64().expect("a number");
    assert!(spent > 0.4 && spent < 0.45 && answer["budget"]["chain"]["spent"].as_f64() == Some(spent), "{answer}");
    assert_eq!(answer["budget"]["chain"]["transactions"].as_array().map(Vec::len), Some(2), "reserved, begun");
    // The chain refuses, though this machine's budget would suffice: nothing is answered, and nothing is spent here either.
    let here = owner.spent();
    refused(&owner.ask(COUNT, "0.7", &on_chain), "OverAllowance");
    assert_eq!((owner.spent(), standing()["spent"].as_f64()), (here, Some(spent)));
    // A table that cannot be read gives back what was reserved.
    let whole = fs::read(&owner.table).expect("the table");
    fs::write(&owner.table, "id,city,age,note\n1\n").expect("a broken table");
    refused(&owner.ask(COUNT, "0.3", &on_chain), "line 2");
    assert_eq!(standing()["with_reserved"].as_f64(), Some(spent));
    fs::write(&owner.table, whole).expect("the table again");
    home.json(&[&["data", "budget", "lower", "--asset", &asset, "--epsilon", "0.5", "--json"][..], &pays].concat());
    refused(&owner.ask(COUNT, "0.2", &on_chain), "OverBudget");
    assert_eq!(value(&owner.ask(COUNT, "0.05", &on_chain))["receipt"]["number"], 2);
}
