//! `sahara whoami`: the public keys by which share nodes know this machine's user.

use serde_json::json;

use super::Context;
use crate::error::Result;
use crate::keys::{self, Role};

pub fn run(context: &mut Context) -> Result<()> {
    let key = |role| Ok(keys::load(&context.home, role)?.public().to_string());
    let (consumer, owner) = (key(Role::Consumer)?, key(Role::Owner)?);
    let (asks, shares) = (line("consumers", &consumer), line("owners", &owner));
    if context.out.json() {
        return context.out.value(&json!({"key": consumer, "line": asks, "owner": owner, "owner_line": shares}));
    }
    context.out.line(&consumer)?;
    context.out.line("")?;
    context.out.line("That is the key you ask with. The operator of a node admits it by this line of")?;
    context.out.line("node.toml (beside others' keys), and you to share models by the second one:")?;
    context.out.line("")?;
    context.out.line(&asks)?;
    context.out.line(&shares)
}

/// The line of a node's configuration that admits a key.
fn line(list: &str, key: &str) -> String {
    format!("{list} = [\"{key}\"]")
}
