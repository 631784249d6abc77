//! What an asset is: its name is a hash of who registered it and of its content, so that what anybody says of it can be checked.

use alloy_primitives::{Address, B256, U256, keccak256};
use alloy_sol_types::SolValue;
use sahara_circuits::model::CompiledModel;
use sahara_market::ASSET_REGISTRY;
use sahara_market::abi::AssetRegistry;

use crate::chain_client::Chain;
use crate::error::{Error, Result};
use sahara::models::Model;

/// The id of what `owner` registers with this content.
pub fn asset_id(chain: u64, owner: Address, root: B256) -> B256 {
    keccak256((U256::from(chain), ASSET_REGISTRY, owner, root).abi_encode())
}

/// The content of a model as its owner registers it (the root of its weights), and the identity of its shortest graph.
///
/// # Errors
/// When it has no graph.
pub fn content(model: &Model) -> Result<(B256, B256)> {
    let shortest = model.compiled.buckets().into_iter().min();
    let shortest = shortest.ok_or_else(|| Error::user(format!("{} has no graph", model.info.name)))?;
    let graph = sahara::embedding::graph(model, shortest)?;
    Ok((graph.weights_root.into(), graph.id().0.into()))
}

/// The root of a model's weights, and the identities of all its graphs.
///
/// # Errors
/// When it has no graph, or one cannot be built.
pub fn identity(compiled: &CompiledModel) -> Result<(B256, Vec<B256>)> {
    let mut root = None;
    let mut graphs = Vec::new();
    for bucket in compiled.buckets() {
        let graph = compiled.graph(bucket).map_err(|e| Error::fault_from("building a graph of the model", e))?;
        root = Some(B256::from(graph.weights_root));
        graphs.push(graph.id().0.into());
    }
    let root = root.ok_or_else(|| Error::user("the model has no graph"))?;
    Ok((root, graphs))
}

/// The content of an asset: whoever the chain's node is, it cannot show another.
///
/// # Errors
/// When the node does not answer, or what it shows is not the asset's.
pub fn registered(chain: &Chain, asset: B256) -> Result<B256> {
    Ok(registration(chain, asset)?.1)
}

/// Who registered an asset, and its content: the asset's name is a hash of both.
///
/// # Errors
/// When the node does not answer, or what it shows is not the asset's.
pub fn registration(chain: &Chain, asset: B256) -> Result<(Address, B256)> {
    let facts = chain.call("asking for the asset", ASSET_REGISTRY, &AssetRegistry::assetOfCall { asset })?;
    let root = shown(chain.id(), asset, facts.registrant, facts.contentRoot)?;
    Ok((facts.registrant, root))
}

/// Makes sure that a model is what is registered as an asset: the root of its weights, and its shortest graph if the owner named one.
///
/// # Errors
/// When it is another, or the chain's node does not answer.
pub fn is_registered(chain: &Chain, asset: B256, model: &Model) -> Result<()> {
    let (root, graph) = content(model)?;
    let facts = chain.call("asking for the asset", ASSET_REGISTRY, &AssetRegistry::assetOfCall { asset })?;
    let same = shown(chain.id(), asset, facts.registrant, facts.contentRoot)? == root;
    is_same(&model.info.name, asset, same, (facts.graph, graph))
}

fn is_same(name: &str, asset: B256, same_root: bool, (registered, graph): (B256, B256)) -> Result<()> {
    if !same_root {
        return Err(Error::user(format!(
            "{name} is not the content that is registered as asset {asset}: name its model"
        )));
    }
    if !registered.is_zero() && registered != graph {
        return Err(Error::user(format!(
            "{name} has the weights of asset {asset}, and computes another graph with them than is registered: name its model"
        )));
    }
    Ok(())
}

fn shown(chain: u64, asset: B256, registrant: Address, root: B256) -> Result<B256> {
    match asset_id(chain, registrant, root) == asset {
        true => Ok(root),
        false => {
            Err(Error::fault(format!("the chain's node shows another content for asset {asset}: ask another node")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_weights_in_another_graph_are_another_model() {
        let (asset, graph) = (B256::repeat_byte(1), B256::repeat_byte(2));
        assert!(is_same("m", asset, true, (graph, graph)).is_ok());
        assert!(is_same("m", asset, true, (B256::ZERO, graph)).is_ok(), "its owner named none");
        assert!(is_same("m", asset, false, (graph, graph)).is_err());
        let other = is_same("m", asset, true, (B256::repeat_byte(3), graph)).unwrap_err();
        assert!(other.report().contains("another graph"), "{}", other.report());
    }

    #[test]
    fn nobody_shows_another_content_for_an_asset() {
        let (owner, root) = (Address::repeat_byte(1), B256::repeat_byte(2));
        let asset = asset_id(1337, owner, root);
        assert_eq!(shown(1337, asset, owner, root).unwrap(), root);
        assert!(shown(1, asset, owner, root).is_err());
        assert!(shown(1337, asset, owner, B256::ZERO).is_err());
        assert!(shown(1337, asset, Address::ZERO, root).is_err());
    }
}
