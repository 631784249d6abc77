//! `sahara whoami`: the public key by which share nodes know this machine's user.

use serde_json::json;

use super::Context;
use crate::error::Result;
use crate::keys::{self, Role};

pub fn run(context: &mut Context) -> Result<()> {
    let key = keys::load(&context.home, Role::Consumer)?.public().to_string();
    if context.out.json() {
        return context.out.value(&json!({"key": key, "line": admission_line(&key)}));
    }
    context.out.line(&key)?;
    context.out.line("")?;
    context.out.line("An operator admits it with this line in node.toml (among others' keys):")?;
    context.out.line(&format!("  {}", admission_line(&key)))
}

/// The line of a node's configuration that admits a consumer.
pub fn admission_line(key: &str) -> String {
    format!("consumers = [\"{key}\"]")
}
