//! `windrose upgrade`: the same objects as `install`, after a look at what they change in the cluster that answers.

use std::fmt::Write;

use windrose_kube::inspect::{self, Change, Changes};
use windrose_kube::install;

use super::install::options;
use crate::args;
use crate::output::{put, tell};

pub(crate) async fn run(given: &args::Upgrade) -> anyhow::Result<()> {
    let options = options(&given.setup)?;
    let found = match windrose_kube::connect().await {
        Ok(cluster) => inspect::changes(&cluster.client, &options).await,
        Err(error) => Err(error.to_string()),
    };
    match found {
        Ok(changes) => tell(text(&changes, &options.namespace).trim_end()),
        Err(why) => tell(&format!("warning: what changes is not known: {why}")),
    }
    let objects = install::objects(&options);
    put(&format!(
        "# Windrose {}: {} objects.\n#   windrose upgrade | kubectl apply --server-side -f -\n{}",
        install::VERSION,
        objects.len(),
        install::documents(&objects)
    ))
}

/// What happens, for people; objects that stay the same are counted only.
fn text(changes: &Changes, namespace: &str) -> String {
    let mut text = String::new();
    let _ = match &changes.running {
        None => writeln!(text, "nothing is installed in namespace {namespace}: this is an installation"),
        Some(running) if running == install::VERSION => writeln!(text, "version {running} is installed, and stays"),
        Some(running) => writeln!(text, "version {running} is installed, and becomes {}", install::VERSION),
    };
    if let Some(running) = changes.running.as_deref().filter(|running| is_newer(running)) {
        let _ = writeln!(text, "warning: {running} is newer than this windrose: objects that only it knows may not be understood any more");
    }
    let mut same = 0;
    for (object, change) in &changes.objects {
        let _ = match change {
            Change::Same => {
                same += 1;
                Ok(())
            }
            Change::Made => writeln!(text, "  new      {object}"),
            Change::Changed(fields) => writeln!(text, "  changes  {object}: {}", shortened(fields)),
            Change::Refused(why) => writeln!(text, "  refused  {object}: {why}"),
        };
    }
    let _ = writeln!(text, "  same     {same} of {}", changes.objects.len());
    text
}

fn shortened(fields: &[String]) -> String {
    const SHOWN: usize = 4;
    let mut shown = fields.iter().take(SHOWN).cloned().collect::<Vec<_>>();
    if fields.len() > SHOWN {
        shown.push(format!("and {} more", fields.len() - SHOWN));
    }
    shown.join(", ")
}

/// Whether `running` is newer than we are, by its numbers.
fn is_newer(running: &str) -> bool {
    let numbers = |version: &str| version.split(['.', '-']).map_while(|part| part.parse::<u32>().ok()).collect::<Vec<_>>();
    numbers(running) > numbers(install::VERSION)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_is_told_and_what_stays_is_counted() {
        let objects = vec![
            ("Service windrose".to_owned(), Change::Same),
            ("Role windrose".to_owned(), Change::Made),
            ("Deployment windrose".to_owned(), Change::Changed(vec!["spec.replicas: 2 → 3".to_owned()])),
        ];
        let told = text(&Changes { running: Some("0.0.1".to_owned()), objects }, "windrose-system");
        let lines: Vec<&str> = told.lines().collect();
        assert_eq!(lines[0], format!("version 0.0.1 is installed, and becomes {}", install::VERSION));
        assert_eq!(lines[1..], ["  new      Role windrose", "  changes  Deployment windrose: spec.replicas: 2 → 3", "  same     1 of 3"]);
    }

    #[test]
    fn a_newer_version_is_warned_about() {
        assert!(is_newer("999.0.0"));
        assert!(!is_newer("0.0.1"));
        assert!(!is_newer(install::VERSION));
        assert!(!is_newer("unknown"));
    }
}
