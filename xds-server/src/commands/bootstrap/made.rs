//! A folder into which a bootstrap was written before: whose it is, and by what that proxy proves it.

use std::path::Path;

use anyhow::{Context, ensure};
use serde_json::Value;
use windrose_envoy::bootstrap::{BOOTSTRAP_FILE, TOKEN_FILE};
use windrose_vocab::ProxyKey;

use crate::args::IdentityKind;

/// By what the proxy of that folder proves who it is.
///
/// # Errors
/// Where there is no bootstrap in it, one of another proxy, or one that proves it by something else than `wanted`: a new credential
/// would be of no use to whoever runs there.
pub(super) fn identity(folder: &Path, proxy: &ProxyKey, wanted: Option<IdentityKind>) -> anyhow::Result<IdentityKind> {
    let file = folder.join(BOOTSTRAP_FILE);
    let shown = file.display();
    let text = std::fs::read_to_string(&file)
        .with_context(|| format!("--renew: {} has no {BOOTSTRAP_FILE} (leave --renew out to make one)", folder.display()))?;
    let bootstrap: Value = serde_saphyr::from_str(&text).with_context(|| format!("--renew: {shown}"))?;
    let of = bootstrap.pointer("/node/metadata/windrose/proxy").and_then(Value::as_str);
    let of = of.with_context(|| format!("--renew: {shown} is no bootstrap of ours: its node names no proxy"))?;
    ensure!(of == proxy.to_string(), "--renew: {shown} is the bootstrap of {of}, not of {proxy}");
    let there = if text.contains(&format!("/{TOKEN_FILE}")) { IdentityKind::Token } else { IdentityKind::Certificate };
    ensure!(
        wanted.is_none_or(|wanted| wanted == there),
        "--renew: by {shown} the proxy proves who it is by a {}; leave --identity out, or --renew to make another bootstrap",
        match there {
            IdentityKind::Certificate => "certificate",
            IdentityKind::Token => "token",
        }
    );
    Ok(there)
}
