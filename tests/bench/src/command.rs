//! What the runner tells a server on its standard input, one line each, and the first word of the line that answers.

use std::fmt;

/// A command. The peer in `peers/` reads the same words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Make this resource be of this revision, for all proxies that have it.
    Change {
        /// Which resource.
        index: usize,
        /// Which revision.
        revision: u32,
    },
    /// Say how much CPU the process used so far, in microseconds.
    Usage,
    /// Give unused memory back, where the language keeps some.
    Collect,
    /// Say what is measured.
    About,
}

impl Command {
    /// The command that [`fmt::Display`] wrote.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let command = match (words.next()?, words.next(), words.next()) {
            ("change", Some(index), Some(revision)) => Self::Change { index: index.parse().ok()?, revision: revision.parse().ok()? },
            ("usage", None, None) => Self::Usage,
            ("collect", None, None) => Self::Collect,
            ("about", None, None) => Self::About,
            _ => return None,
        };
        words.next().is_none().then_some(command)
    }

    /// How the answering line begins.
    #[must_use]
    pub fn answer(self) -> &'static str {
        match self {
            Self::Change { .. } => "changed",
            Self::Usage => "usage",
            Self::Collect => "collected",
            Self::About => "about",
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Change { index, revision } => write!(f, "change {index} {revision}"),
            Self::Usage => f.write_str("usage"),
            Self::Collect => f.write_str("collect"),
            Self::About => f.write_str("about"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_print_and_parse_and_other_lines_do_not() {
        for command in [Command::Change { index: 7, revision: 3 }, Command::Usage, Command::Collect, Command::About] {
            assert_eq!(Command::parse(&command.to_string()), Some(command));
        }
        for line in ["", "change 1", "change 1 2 3", "change x 2", "usage 1", "stop"] {
            assert_eq!(Command::parse(line), None, "{line:?}");
        }
    }
}
