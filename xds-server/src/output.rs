//! Printing for people and for programs: tables, JSON, YAML; colours only on a terminal.

use std::io::Write;

use anyhow::Context;
use comfy_table::{Cell, Color, ContentArrangement, Table, presets};
use serde::Serialize;

use crate::args::Output;

/// Writes to standard output; a reader that went away (`| head`) is not an error.
pub(crate) fn put(text: &str) -> anyhow::Result<()> {
    let mut out = anstream::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("standard output"),
    }
}

/// Writes a line to standard error, for people.
pub(crate) fn tell(text: &str) {
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}

/// Prints `value` in a machine's format, or what `table` makes of it.
pub(crate) fn print<T: Serialize>(output: Output, value: &T, table: impl FnOnce(bool) -> String) -> anyhow::Result<()> {
    match output {
        Output::Table => put(&table(false)),
        Output::Wide => put(&table(true)),
        Output::Json => put(&format!("{}\n", serde_json::to_string_pretty(value)?)),
        Output::Yaml => put(&serde_saphyr::to_string(value).context("YAML")?),
    }
}

/// A terminal narrower than this is no table's.
const COLUMNS_MIN: u16 = 60;

/// An empty table under these headings.
pub(crate) fn table(headings: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    if !std::io::IsTerminal::is_terminal(&std::io::stdout()) {
        table.force_no_tty().set_content_arrangement(ContentArrangement::Disabled);
    }
    // Lines that wrap are easier to read than columns of single letters.
    if table.width().is_some_and(|columns| columns < COLUMNS_MIN) {
        table.set_content_arrangement(ContentArrangement::Disabled);
    }
    table.set_header(headings.iter().map(|heading| Cell::new(heading.to_uppercase())));
    table
}

/// A cell that is green when good and red when not.
pub(crate) fn verdict(text: impl ToString, good: bool) -> Cell {
    Cell::new(text.to_string()).fg(if good { Color::Green } else { Color::Red })
}

/// The table as text, without blanks at the ends of lines.
pub(crate) fn lines(table: &Table) -> String {
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// How long ago `seconds_since_1970` was, as `3m12s`.
pub(crate) fn age(now: u64, seconds_since_1970: u64) -> String {
    span(now.saturating_sub(seconds_since_1970))
}

/// A length of time in its two largest units.
pub(crate) fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// Whether standard output shows colours: on a terminal, unless NO_COLOR or the like says otherwise.
pub(crate) fn in_colour() -> bool {
    anstream::AutoStream::choice(&std::io::stdout()) != anstream::ColorChoice::Never
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_show_their_two_largest_units() {
        let cases = [(0, "0s"), (59, "59s"), (61, "1m01s"), (3_660, "1h01m"), (90_000, "1d01h")];
        for (seconds, expected) in cases {
            assert_eq!(span(seconds), expected);
        }
    }
}
