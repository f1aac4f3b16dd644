//! `windrose proxies`: every connected proxy, and what it is behind with; and those that nothing is declared of.

use std::collections::BTreeSet;
use std::fmt::Write;

use comfy_table::Cell;
use windrose_admin::report::ProxyReport;

use crate::args;
use crate::client::Server;
use crate::envoy_binary::PINNED;
use crate::output::{self, age, lines, span, table, verdict};

pub(crate) async fn run(options: args::Proxies) -> anyhow::Result<()> {
    let server = Server::find(&options.target)?;
    super::watch(options.watch, options.output, &server, "/v1/proxies", |report: &Vec<ProxyReport>| {
        output::print(options.output, report, |wide| show(report, wide, super::now()))
    })
    .await
}

/// The report for people.
pub(crate) fn show(report: &[ProxyReport], wide: bool, now: u64) -> String {
    if report.is_empty() {
        return "no proxy is connected (windrose bootstrap --help says how one joins)\n".into();
    }
    let mut headings = vec!["proxy", "node", "envoy", "synced", "acknowledged", "behind", "connected", "credential"];
    if wide {
        headings.extend(["stream", "zone", "replica", "identity", "spiffe id", "types"]);
    }
    let mut rows = table(&headings);
    for proxy in report {
        rows.add_row(row(proxy, wide, now));
    }
    let mut text = lines(&rows);
    for refusal in report.iter().flat_map(|proxy| &proxy.refused) {
        let _ = write!(text, "\n{} refused {}:\n  {}\n", refusal.proxy, refusal.resource, refusal.reason);
    }
    let others: BTreeSet<&str> = report.iter().filter_map(|proxy| proxy.envoy.as_deref()).filter(|version| *version != PINNED).collect();
    if !others.is_empty() {
        let others = others.into_iter().collect::<Vec<_>>().join(", ");
        let _ = write!(text, "\nthis Windrose is tested with Envoy {PINNED}: expect refusals of {others}\n");
    }
    for (proxy, why) in report.iter().filter_map(|proxy| Some((proxy, proxy.orphaned.as_ref()?))) {
        let _ = write!(text, "\n{} is turned away: {why}, and it may go on with what it had\n", proxy.identity);
    }
    text
}

fn row(proxy: &ProxyReport, wide: bool, now: u64) -> Vec<Cell> {
    let (acknowledged, wanted) = proxy.types.values().fold((0, 0), |(a, w), counts| (a + counts.acknowledged, w + counts.wanted));
    let credential = proxy.credential_expires.map_or_else(|| "-".into(), |end| span(end.saturating_sub(now)));
    let synced = match (&proxy.orphaned, proxy.synced) {
        (Some(_), _) => "turned away",
        (None, true) => "yes",
        (None, false) => "no",
    };
    let mut cells = vec![
        Cell::new(&proxy.proxy),
        Cell::new(if proxy.node.is_empty() { "-" } else { &proxy.node }),
        proxy.envoy.as_deref().map_or_else(|| Cell::new("-"), |version| verdict(version, version == PINNED)),
        verdict(synced, proxy.synced),
        Cell::new(format!("{acknowledged}/{wanted}")),
        Cell::new(behind(proxy, now)),
        Cell::new(age(now, proxy.connected)),
        Cell::new(credential),
    ];
    if wide {
        let types = proxy.types.iter().map(|(name, counts)| format!("{name} {}/{}", counts.acknowledged, counts.wanted));
        cells.push(Cell::new(proxy.stream));
        cells.push(Cell::new(proxy.zone.as_deref().unwrap_or("-")));
        cells.push(Cell::new(proxy.replica.as_deref().unwrap_or("-")));
        cells.push(Cell::new(&proxy.identity));
        cells.push(Cell::new(proxy.spiffe_id.as_deref().unwrap_or("-")));
        cells.push(Cell::new(types.collect::<Vec<_>>().join(" ")));
    }
    cells
}

/// By how many resources of which types, and for how long: `2 CDS, 1 RDS for 3s`.
fn behind(proxy: &ProxyReport, now: u64) -> String {
    let lacking = proxy.types.iter().filter(|(_, counts)| counts.acknowledged < counts.wanted);
    let types: Vec<_> = lacking.map(|(name, counts)| format!("{} {name}", counts.wanted - counts.acknowledged)).collect();
    let since = proxy.behind_since.filter(|_| !types.is_empty()).map(|since| format!(" for {}", age(now, since)));
    if types.is_empty() { "-".into() } else { types.join(", ") + &since.unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    use windrose_admin::report::TypeReport;

    use super::*;

    #[test]
    fn a_proxy_says_by_how_much_of_what_it_is_behind_and_when_its_credential_ends() {
        let types = [("CDS", 3, 5), ("LDS", 1, 1), ("RDS", 0, 1)];
        let types = types.map(|(name, acknowledged, wanted)| (name.to_owned(), TypeReport { acknowledged, wanted }));
        let proxy = ProxyReport {
            proxy: "gateway/shop/edge".into(),
            types: types.into_iter().collect(),
            behind_since: Some(90),
            credential_expires: Some(100 + 90 * 86_400),
            ..ProxyReport::default()
        };
        let text = show(&[proxy], false, 100);
        for words in ["2 CDS, 1 RDS for 10s", "4/7", "90d00h"] {
            assert!(text.contains(words), "{words} is not in {text}");
        }
    }

    #[test]
    fn an_envoy_of_another_version_than_the_tested_one_is_told() {
        let of = |version: &str| ProxyReport { envoy: Some(version.to_owned()), ..ProxyReport::default() };
        let text = show(&[of(PINNED), of("1.39.2")], false, 100);
        assert!(text.contains("tested with Envoy 1.40.0: expect refusals of 1.39.2\n"), "{text}");
        assert!(!show(&[of(PINNED)], false, 100).contains("expect"));
    }

    #[test]
    fn a_proxy_of_which_nothing_is_declared_is_called_so() {
        let why = Some("its Gateway is not declared".to_owned());
        let (proxy, identity) = ("gateway/shop/edge".to_owned(), "gateway/shop/edge#7f".to_owned());
        let text = show(&[ProxyReport { proxy, identity, connected: 40, orphaned: why, ..ProxyReport::default() }], false, 100);
        for words in
            ["turned away", "1m00s", "gateway/shop/edge#7f is turned away: its Gateway is not declared, and it may go on with what it had"]
        {
            assert!(text.contains(words), "{words} is not in {text}");
        }
    }
}
