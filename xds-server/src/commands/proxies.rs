//! `windrose proxies`: every connected proxy.

use std::fmt::Write;

use comfy_table::Cell;
use windrose_admin::report::ProxyReport;

use crate::args;
use crate::client::Server;
use crate::output::{self, age, lines, span, table, verdict};

pub(crate) async fn run(options: args::Proxies) -> anyhow::Result<()> {
    let server = Server::find(&options.target)?;
    super::watch(options.watch, async || {
        let report: Vec<ProxyReport> = server.get("/v1/proxies").await?;
        let now = super::now();
        output::print(options.output, &report, |wide| show(&report, wide, now))
    })
    .await
}

/// The report for people.
pub(crate) fn show(report: &[ProxyReport], wide: bool, now: u64) -> String {
    if report.is_empty() {
        return "no proxy is connected (windrose bootstrap --help says how one joins)\n".into();
    }
    let mut headings = vec!["proxy", "node", "synced", "acknowledged", "connected", "credential"];
    if wide {
        headings.extend(["identity", "spiffe id", "types"]);
    }
    let mut rows = table(&headings);
    for proxy in report {
        rows.add_row(row(proxy, wide, now));
    }
    let mut text = lines(&rows);
    for proxy in report {
        for refusal in &proxy.refused {
            let _ = write!(text, "\n{} refused {}:\n  {}\n", proxy.proxy, refusal.resource, refusal.reason);
        }
    }
    text
}

fn row(proxy: &ProxyReport, wide: bool, now: u64) -> Vec<Cell> {
    let (acknowledged, sent) = proxy.types.values().fold((0, 0), |(a, s), counts| (a + counts.acknowledged, s + counts.sent));
    let credential = proxy.credential_expires.map_or_else(|| "-".into(), |end| span(end.saturating_sub(now)));
    let mut cells = vec![
        Cell::new(&proxy.proxy),
        Cell::new(&proxy.node),
        verdict(if proxy.synced { "yes" } else { "no" }, proxy.synced),
        Cell::new(format!("{acknowledged}/{sent}")),
        Cell::new(age(now, proxy.connected)),
        Cell::new(credential),
    ];
    if wide {
        let types = proxy.types.iter().map(|(name, counts)| format!("{name} {}/{}", counts.acknowledged, counts.sent));
        cells.push(Cell::new(&proxy.identity));
        cells.push(Cell::new(proxy.spiffe_id.as_deref().unwrap_or("-")));
        cells.push(Cell::new(types.collect::<Vec<_>>().join(" ")));
    }
    cells
}
