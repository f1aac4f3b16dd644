//! `windrose check`: everything that can be known without running, and, if asked, what the real Envoy says; without a path,
//! what is known of the installation in a cluster.

#[cfg(feature = "kubernetes")]
mod cluster;

use std::fmt::Write;

use anyhow::Context;
use serde::Serialize;
use windrose_files::Finding;
use windrose_ir::Program;
use windrose_plan::{Coverage, Plan, Refused};
use windrose_vocab::{Code, Kind, Severity};

use super::Ending;
use crate::envoy_binary::EnvoyBinary;
use crate::offline::{EnvoyAnswer, Offline};
use crate::output::{self, lines, table, verdict};
use crate::{args, filters};

/// What `-o json` shows.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    errors: usize,
    warnings: usize,
    diagnostics: Vec<windrose_files::print::Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    coverage: Option<Vec<Route>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    envoy: Vec<EnvoyAnswer>,
}

/// One route and what protects it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Route {
    route: String,
    rule: String,
    parent: String,
    coverage: &'static str,
    by: String,
}

pub(crate) fn run(options: &args::Check) -> anyhow::Result<Ending> {
    if options.paths.is_empty() {
        #[cfg(feature = "kubernetes")]
        return super::block_on(cluster::run(options));
        #[cfg(not(feature = "kubernetes"))]
        anyhow::bail!("which folder? (this build knows no Kubernetes: build it without `--no-default-features`)");
    }
    let offline = Offline::load(&options.paths, &options.common.trust_domain)?;
    let plan = windrose_plan::plan(&offline.world.declared, &Refused::default(), &offline.settings);
    let (envoy, refused) = if options.envoy { ask_envoy(options, &offline, &plan)? } else { Default::default() };
    let findings = offline.findings(&plan, &refused, std::time::SystemTime::now());
    let count = |severity| findings.iter().filter(|one| one.diagnostic.severity == severity).count();
    // What can be said of an object is among the findings.
    let unexplained = envoy.iter().filter(|answer| answer.refused.is_some() && answer.objects.is_empty()).count();
    let (errors, warnings) = (count(Severity::Error) + unexplained, count(Severity::Warning));
    let report = Report {
        errors,
        warnings,
        diagnostics: findings.iter().map(windrose_files::print::Json::from).collect(),
        coverage: options.coverage.then(|| coverage(&plan)),
        envoy,
    };
    let (objects, alone) = (offline.world.declared.iter().count(), options.paths.iter().all(|path| path.is_file()));
    output::print(options.output, &report, |_| text(&findings, &report, objects, alone))?;
    let wrong = errors > 0 || (options.strict && warnings > 0);
    Ok(if wrong { Ending::Wrong } else { Ending::Good })
}

/// What Envoy says of each proxy, and the objects for which it refuses any.
fn ask_envoy(options: &args::Check, offline: &Offline, plan: &Plan) -> anyhow::Result<(Vec<EnvoyAnswer>, Refused)> {
    let envoy = EnvoyBinary::find(options.envoy_binary.as_deref())?;
    if let Some(warning) = envoy.version_warning() {
        output::tell(&format!("warning: {warning}"));
    }
    let modules = filters::read(&filters::folder(options.common.filters.as_deref())?)?;
    let (mut answers, mut refused) = (Vec::new(), Refused::default());
    for (proxy, program) in &plan.programs {
        let ask = |program: &Program| offline.ask(&envoy, proxy, program, &modules).with_context(|| proxy.to_string());
        let mut answer = ask(program)?;
        if let Some(words) = &answer.refused {
            let guilty = offline.to_blame(plan, proxy, words, |program| Ok(ask(program)?.refused.is_none()))?;
            answer.objects = guilty.objects.keys().map(|version| version.object.to_string()).collect();
            refused.objects = guilty.objects.union(refused.objects);
        }
        answers.push(answer);
    }
    Ok((answers, refused))
}

/// `alone`: only files were given, no folder.
fn text(findings: &[Finding], report: &Report, objects: usize, alone: bool) -> String {
    let colour = output::in_colour();
    let mut text = String::new();
    for finding in findings {
        let _ = writeln!(text, "{}\n", windrose_files::print::render(finding, colour).trim_end());
    }
    if let Some(routes) = &report.coverage {
        text.push_str(&coverage_table(routes));
        text.push('\n');
    }
    for answer in &report.envoy {
        let _ = match &answer.refused {
            None => writeln!(text, "{}: Envoy {} accepts it", answer.proxy, answer.version),
            Some(words) => writeln!(text, "{}: Envoy {} refuses it: {words}", answer.proxy, answer.version),
        };
    }
    let elsewhere = findings.iter().filter(|one| one.diagnostic.code == Code::RefNotFound).count();
    if alone && elsewhere > 0 {
        let _ = writeln!(text, "{elsewhere} of these are references to what no given file declares: check the folder that has it too");
    }
    let (errors, warnings) = (report.errors, report.warnings);
    let counted = |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    let _ = writeln!(text, "{}, {}, {}", counted(objects, "object"), counted(errors, "error"), counted(warnings, "warning"));
    text
}

/// What is said of a route of a Service that asks for no tokens.
const AT_THE_SERVICE: &str = "no AuthPolicy at its callers; MeshPolicy and AuthorizationPolicy say who may call the Service";

fn coverage(plan: &Plan) -> Vec<Route> {
    let named = |policies: &[windrose_vocab::ObjectRef]| policies.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let row = |covered: &windrose_plan::Covered, coverage: &Coverage| {
        let (word, by) = match coverage {
            Coverage::Protected(policies) => ("protected", named(policies)),
            Coverage::Denied(policies) => ("denied", named(policies)),
            Coverage::Public { policy, reason, approved_by } => ("public", format!("{approved_by} ({policy}): {reason}")),
            Coverage::Redirects => ("redirects", String::new()),
            Coverage::Open if covered.parent.kind == Kind::Service => ("open", AT_THE_SERVICE.to_owned()),
            Coverage::Open => ("open", String::new()),
        };
        let section = covered.section.as_deref().map(|section| format!("#{section}")).unwrap_or_default();
        Route {
            route: covered.route.to_string(),
            rule: covered.rule.to_string(),
            parent: format!("{}{section}", covered.parent),
            coverage: word,
            by,
        }
    };
    plan.coverage.iter().map(|(covered, coverage)| row(covered, coverage)).collect()
}

fn coverage_table(routes: &[Route]) -> String {
    let mut rows = table(&["route", "rule", "at", "coverage", "by"]);
    for route in routes {
        let cell = comfy_table::Cell::new;
        rows.add_row(vec![
            cell(&route.route),
            cell(&route.rule),
            cell(&route.parent),
            verdict(route.coverage, route.coverage != "open"),
            cell(&route.by),
        ]);
    }
    lines(&rows)
}
