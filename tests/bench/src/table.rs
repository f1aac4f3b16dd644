//! The report for people.

use std::fmt;

use crate::report::{Line, Report};
use crate::spread::Spread;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let machine = &self.machine;
        writeln!(
            f,
            "{} processors ({}), Linux {}, load before the run {}",
            machine.processors, machine.model, machine.kernel, machine.load
        )?;
        for side in self.measured.first().map_or(&[][..], |one| &one.sides) {
            writeln!(f, "{}: {}", side.name, side.about)?;
        }
        writeln!(f, "transport of both: {}", self.transport)?;
        if let Some(reason) = &self.left_out {
            writeln!(f, "go-control-plane was left out: {reason}")?;
        }
        if self.quick {
            writeln!(f, "a quick run: it shows that everything works; do not quote its figures")?;
        }
        writeln!(f, "\nmedian [least – greatest] of the rounds; ratio = peer / ours\n")?;
        let rows: Vec<[String; 7]> = std::iter::once(head()).chain(self.lines.iter().map(row)).collect();
        table(f, &rows)
    }
}

fn head() -> [String; 7] {
    ["", "what", "windrose", "go-control-plane", "ratio", "target", "met"].map(str::to_owned)
}

fn row(line: &Line) -> [String; 7] {
    let word = |met: &Option<bool>| match met {
        Some(true) => "yes",
        Some(false) => "NO",
        None => "–",
    };
    let met: Vec<&str> = line.met.iter().map(word).collect();
    [
        line.id.to_owned(),
        line.what.clone(),
        figure(line.ours),
        line.peer.map_or("–".into(), figure),
        line.ratio.map_or("–".into(), |ratio| format!("{ratio:.1}×")),
        line.target.clone(),
        met.join(", "),
    ]
}

fn figure(spread: Spread) -> String {
    let digits = match spread.median {
        ..10.0 => 2,
        10.0..100.0 => 1,
        _ => 0,
    };
    let Spread { median, min, max } = spread;
    if min == max { format!("{median:.digits$}") } else { format!("{median:.digits$} [{min:.digits$} – {max:.digits$}]") }
}

fn table(f: &mut fmt::Formatter<'_>, rows: &[[String; 7]]) -> fmt::Result {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..7).map(width).collect();
    for row in rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        writeln!(f, "{}", cells.join("  ").trim_end())?;
    }
    Ok(())
}
