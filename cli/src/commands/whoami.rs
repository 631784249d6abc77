//! `sahara whoami`: the public keys by which share nodes know this machine's user.

use serde_json::json;

use super::Context;
use crate::error::Result;
use sahara::keys::{self, Role};

pub fn run(context: &mut Context) -> Result<()> {
    let key = |role| Ok::<_, sahara::Error>(keys::load(&context.home, role)?.public().to_string());
    let (consumer, owner) = (key(Role::Consumer)?, key(Role::Owner)?);
    let (asks, shares) = (line("consumers", &consumer), line("owners", &owner));
    if context.out.json() {
        return context.out.value(&json!({"key": consumer, "line": asks, "owner": owner, "owner_line": shares}));
    }
    context.out.line(&consumer)?;
    context.out.line("")?;
    context.out.line("That is the key you ask with. The operator of a node admits it by the first of")?;
    context.out.line("these lists in node.toml (beside others' keys), and the key you share models")?;
    context.out.line("with by the second:")?;
    context.out.line("")?;
    for (list, key) in [("consumers", &consumer), ("owners", &owner)] {
        context.out.line(&format!("{list} = ["))?;
        context.out.line(&format!("    \"{key}\","))?;
        context.out.line("]")?;
    }
    Ok(())
}

/// The line of a node's configuration that admits a key.
fn line(list: &str, key: &str) -> String {
    format!("{list} = [\"{key}\"]")
}
