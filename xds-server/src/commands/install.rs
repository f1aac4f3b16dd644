//! `windrose install`: what puts Windrose into a cluster, as YAML, or as a Helm chart.

use std::path::Path;

use anyhow::{Context, bail};
use windrose_kube::install::{self, Options};

use crate::args;
use crate::output::put;

pub(crate) fn run(given: &args::Install) -> anyhow::Result<()> {
    if let Some(folder) = &given.helm {
        return write_chart(folder);
    }
    let options = options(&given.setup)?;
    if given.definitions {
        return put(&format!(
            "# The definitions of windrose.dev, version {}.\n{}",
            install::VERSION,
            install::documents(&install::definitions())
        ));
    }
    let objects = install::objects(&options);
    let namespace = &options.namespace;
    put(&format!(
        "# Windrose {}: {} objects.\n\
         #   windrose install | kubectl apply --server-side -f -\n\
         #   kubectl -n {namespace} rollout status deployment/{}\n\
         #   windrose check --namespace {namespace}\n{}",
        install::VERSION,
        objects.len(),
        install::NAME,
        install::documents(&objects)
    ))
}

/// What was typed, checked.
pub(super) fn options(given: &args::Setup) -> anyhow::Result<Options> {
    let args::Setup { namespace, image, replicas, envoy_image, trust_domain, namespace_selector } = given.clone();
    check_namespace(&namespace)?;
    for (flag, image) in [("--image", &image), ("--envoy-image", &envoy_image)] {
        if image.is_empty() || image.contains(|letter: char| letter.is_whitespace() || letter.is_control()) {
            bail!("{flag} {image:?}: not the name of an image");
        }
    }
    windrose_vocab::TrustDomain::parse(&trust_domain).with_context(|| format!("--trust-domain {trust_domain}"))?;
    let namespace_selector = namespace_selector.to_string();
    Ok(Options { namespace, image, replicas, envoy_image, trust_domain, namespace_selector, ..Options::default() })
}

/// A namespace is a DNS label (RFC 1123).
pub(super) fn check_namespace(name: &str) -> anyhow::Result<()> {
    let inner = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
    if name.is_empty() || name.len() > 63 || !name.chars().all(inner) || name.starts_with('-') || name.ends_with('-') {
        bail!("--namespace {name:?}: lower-case letters, digits and dashes, at most 63");
    }
    Ok(())
}

fn write_chart(folder: &Path) -> anyhow::Result<()> {
    let files = install::chart();
    for (name, text) in &files {
        let path = folder.join(name);
        let parent = path.parent().unwrap_or(folder);
        std::fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
        std::fs::write(&path, text).with_context(|| path.display().to_string())?;
    }
    let shown = folder.display();
    let namespace = install::NAMESPACE;
    put(&format!(
        "wrote {} files into {shown}\n\nnext:\n  helm install windrose {shown} --namespace {namespace} --create-namespace\n",
        files.len()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_a_label() {
        for good in ["windrose-system", "a", "0"] {
            check_namespace(good).unwrap();
        }
        for bad in ["", "Windrose", "a.b", "-a", "a-", "a: b", &"a".repeat(64)] {
            assert!(check_namespace(bad).unwrap_err().to_string().contains("--namespace"), "{bad}");
        }
    }
}
