//! Resources as YAML for people, for diffs and for golden files: Envoy's own field names in the order of the protocol,
//! every `Any` by its type, every secret taken out.

mod redact;
mod tree;
mod yaml;

use prost::{Message, Name};
use windrose_vocab::Resource;

/// One resource as a YAML document, without its `---`. What must not be seen is replaced by its size.
#[must_use]
pub fn yaml(resource: &Resource) -> String {
    let mut tree = tree::of(resource.id.kind.type_url(), &resource.bytes);
    redact::secrets(resource.id.kind.type_url(), &mut tree);
    yaml::write(&tree)
}

/// Several resources as a stream of YAML documents, each under a comment with its kind, name and version.
#[must_use]
pub fn documents<'a>(resources: impl IntoIterator<Item = &'a Resource>) -> String {
    let document = |resource: &Resource| format!("---\n# {} @ {}\n{}", resource.id, resource.version, yaml(resource));
    resources.into_iter().map(document).collect()
}

/// A message as YAML that Envoy reads, with everything in it.
pub(crate) fn exact<M: Message + Name>(message: &M) -> String {
    yaml::write(&tree::of(&M::type_url(), &message.encode_to_vec()))
}
