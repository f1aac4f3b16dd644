//! `windrose schema`: what can be written, from the very schemas that the decoder checks with.

use anyhow::Context;
use windrose_api::decode::suggestion;
use windrose_api::{reference, schema};
use windrose_vocab::Kind;

use crate::args;
use crate::output::put;

pub(crate) fn run(options: &args::Schema) -> anyhow::Result<()> {
    if let Some(folder) = &options.reference {
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        for (name, text) in reference::pages() {
            let path = folder.join(name);
            std::fs::write(&path, text).with_context(|| path.display().to_string())?;
        }
        return Ok(());
    }
    let Some(wanted) = &options.kind else {
        let names = Kind::ALL.map(|kind| format!("{:<22}{}\n", kind.as_str(), schema(kind).api_version()));
        return put(&names.concat());
    };
    let known = || {
        let near = suggestion(wanted, Kind::ALL.map(Kind::as_str));
        near.unwrap_or_else(|| format!("there are {}", Kind::ALL.map(Kind::as_str).join(", ")))
    };
    let same = |kind: &Kind| kind.as_str().eq_ignore_ascii_case(wanted);
    let kind = Kind::ALL.into_iter().find(same).with_context(|| format!("no kind `{wanted}`; {}", known()))?;
    put(&format!("{}\n", serde_json::to_string_pretty(&schema(kind).json())?))
}
