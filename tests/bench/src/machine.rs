//! On what was measured; figures mean nothing without it.

use serde::Serialize;

/// This machine and moment.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// How many processors there are.
    pub processors: usize,
    /// What they are.
    pub model: String,
    /// The kernel's release.
    pub kernel: String,
    /// The load of the last minute before the run: above 0.5 others were at work, and the figures are worth less.
    pub load: f64,
}

impl Machine {
    /// As the system says; empty where it says nothing.
    #[must_use]
    pub fn look() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let model = read("/proc/cpuinfo");
        let model = model.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
        Self {
            processors: std::thread::available_parallelism().map_or(0, usize::from),
            model: model.trim_start_matches([' ', '\t', ':']).to_owned(),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load: read("/proc/loadavg").split(' ').next().and_then(|load| load.parse().ok()).unwrap_or_default(),
        }
    }
}
