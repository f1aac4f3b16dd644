//! `windrose check` without a path: facts about the cluster that kubectl uses, one line each.

use std::fmt::Write;
use std::time::Duration;

use anyhow::Context;
use serde::Serialize;
use windrose_kube::inspect::{self, Fact, Mark};
use windrose_kube::install::Options;

use crate::args;
use crate::commands::Ending;
use crate::output;

/// Time for all questions together: a cluster that is slower has no use for an answer.
const PATIENCE: Duration = Duration::from_secs(90);

/// What `-o json` shows.
#[derive(Serialize)]
struct Report<'a> {
    good: bool,
    facts: Vec<Line<'a>>,
}

#[derive(Serialize)]
struct Line<'a> {
    section: &'a str,
    result: &'static str,
    fact: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
}

pub(super) async fn run(given: &args::Check) -> anyhow::Result<Ending> {
    crate::commands::install::check_namespace(&given.cluster.namespace)?;
    let cluster = windrose_kube::connect().await.context("without a path the cluster is checked, and for files `windrose check PATH`")?;
    let options = Options { namespace: given.cluster.namespace.clone(), ..Options::default() };
    let asked = async {
        if given.cluster.pre {
            inspect::before(&cluster.client, &options).await
        } else {
            inspect::running(&cluster.client, &given.cluster.namespace).await
        }
    };
    let facts =
        tokio::time::timeout(PATIENCE, asked).await.with_context(|| format!("the cluster has not answered everything in {PATIENCE:?}"))?;
    let worst = facts.iter().map(|fact| fact.mark).max().unwrap_or(Mark::Good);
    let good = worst < if given.strict { Mark::Doubtful } else { Mark::Bad };
    let lines =
        facts.iter().map(|fact| Line { section: fact.section, result: word(fact.mark), fact: &fact.text, hint: fact.hint.as_deref() });
    let report = Report { good, facts: lines.collect() };
    output::print(given.output, &report, |_| text(&facts, output::in_colour()))?;
    Ok(if good { Ending::Good } else { Ending::Wrong })
}

fn word(mark: Mark) -> &'static str {
    match mark {
        Mark::Good => "ok",
        Mark::Doubtful => "warning",
        Mark::Bad => "failed",
    }
}

/// Facts under the heading of their section, in the order they were found; hints below what they cure.
fn text(facts: &[Fact], colour: bool) -> String {
    let mut text = String::new();
    let mut section = "";
    for fact in facts {
        if fact.section != section {
            section = fact.section;
            let _ = writeln!(text, "{section}");
        }
        let (sign, code) = match fact.mark {
            Mark::Good => ("ok", 32),
            Mark::Doubtful => ("!!", 33),
            Mark::Bad => ("xx", 31),
        };
        let sign = if colour { format!("\x1b[{code}m{sign}\x1b[0m") } else { sign.to_owned() };
        let _ = writeln!(text, "  {sign}  {}", fact.text);
        if let Some(hint) = &fact.hint {
            let _ = writeln!(text, "      → {hint}");
        }
    }
    let count = |mark| facts.iter().filter(|fact| fact.mark == mark).count();
    let _ = writeln!(text, "\n{} ok, {} to look at, {} wrong", count(Mark::Good), count(Mark::Doubtful), count(Mark::Bad));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fact_is_a_line_and_what_is_wrong_has_its_cure() {
        let fact = |section, mark, text: &str, hint: Option<&str>| Fact { section, mark, text: text.into(), hint: hint.map(str::to_owned) };
        let facts = [
            fact("cluster", Mark::Good, "it answers", None),
            fact("rights", Mark::Doubtful, "unknown", Some("ask")),
            fact("rights", Mark::Bad, "you may not", Some("be another")),
        ];
        assert_eq!(
            text(&facts, false),
            "cluster\n  ok  it answers\nrights\n  !!  unknown\n      → ask\n  xx  you may not\n      → be another\n\n1 ok, 1 to look at, 1 wrong\n"
        );
    }
}
