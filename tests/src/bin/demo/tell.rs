//! What a person sees of the walk: a title, the command, the answer, and one line that says why.

use std::io::{BufRead, IsTerminal, Write};

/// Writes to standard output; colours on a terminal only.
pub(crate) struct Teller {
    once: bool,
    colour: bool,
}

impl Teller {
    pub(crate) fn new(once: bool) -> Self {
        Self { once, colour: std::io::stdout().is_terminal() }
    }

    pub(crate) fn say(&self, text: &str) {
        let _ = writeln!(std::io::stdout().lock(), "{text}");
    }

    pub(crate) fn fail(&self, text: &str) {
        let _ = writeln!(std::io::stderr().lock(), "\n{}", self.paint("31;1", &format!("demo: {text}")));
    }

    /// Opens a step; a person says when.
    pub(crate) async fn step(&self, number: usize, title: &str) {
        if !self.once && number > 1 {
            let _ = write!(std::io::stdout().lock(), "{}", self.paint("2", "Enter for the next step "));
            let _ = std::io::stdout().flush();
            enter().await;
        }
        self.say(&format!("\n{}", self.paint("1", &format!("{number}. {title}"))));
    }

    /// A command as a person would type it.
    pub(crate) fn command(&self, text: &str) {
        self.say(&self.paint("36", &format!("  $ {text}")));
    }

    /// What came back.
    pub(crate) fn answer(&self, text: &str) {
        text.trim_end().lines().for_each(|line| self.say(&format!("    {line}")));
    }

    /// Why it is so.
    pub(crate) fn why(&self, text: &str) {
        self.say(&self.paint("32", &format!("  {text}")));
    }

    fn paint(&self, style: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{style}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Waits for a line of standard input. Read on a thread that nobody waits for: Ctrl-C must work meanwhile.
async fn enter() {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = std::io::stdin().lock().read_line(&mut String::new());
        let _ = sender.send(());
    });
    let _ = receiver.await;
}
