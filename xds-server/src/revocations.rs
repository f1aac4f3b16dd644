//! Which credentials of a proxy are taken back: all that were issued before a moment, which the state folder remembers. A proxy
//! that stays undeclared loses those it had when it was deleted; `windrose bootstrap --revoke` does it at once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use windrose_pki::{Directory, SystemEntropy};
use windrose_vocab::{Fingerprint, ProxyKey};

/// Folder in the state folder, a file for each proxy.
const FOLDER: &str = "revoked";
/// File in it with the proxies that are declared, and when those that are not were seen last.
const DECLARED: &str = "declared";
/// Bytes of that file: some hundred thousand proxies. A larger one is not ours.
const DECLARED_BYTES_MAX: usize = 32 << 20;
/// A proxy that is absent so long was deleted. Until then it may be an editor's rename, a branch that is switched or a folder
/// that is moved, and revoking would cut off machines that are hard to reach. While it is absent, nobody gets in anyway.
const ABSENCE_MAX: Duration = Duration::from_secs(600);

/// The moments before which credentials are refused, on the disk.
#[derive(Debug)]
pub(crate) struct Revocations {
    directory: Directory,
}

/// The moments before which credentials are refused, by the names of their files.
#[derive(Debug, Default)]
pub(crate) struct Revoked(BTreeMap<String, SystemTime>);

/// The one who follows what is declared and takes back what belongs to proxies that were deleted.
#[derive(Debug)]
pub(crate) struct Absences {
    revocations: Revocations,
    /// What is served: absence from another folder says nothing.
    source: String,
    known: BTreeMap<ProxyKey, Option<Absent>>,
    /// Whether the disk has something else.
    unwritten: bool,
}

/// A proxy that was declared before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Absent {
    /// When it was missed first.
    since: SystemTime,
    /// The same by a clock that does not jump, of this process.
    seen: Instant,
}

impl Revocations {
    /// Those in the state folder.
    pub(crate) fn open(state: &Path) -> anyhow::Result<Self> {
        Ok(Self { directory: Directory::open(state.join(FOLDER))? })
    }

    /// Refuses every credential of `proxy` that was issued before `moment`, from now on; returns the end of that second.
    /// Credentials tell seconds: one that is to stay good has to be issued after it.
    pub(crate) fn revoke(&self, proxy: &ProxyKey, moment: SystemTime) -> anyhow::Result<SystemTime> {
        let own = name(proxy);
        let is_known = self.directory.path(&own).try_exists().with_context(|| format!("{proxy} is not revoked"))?;
        let former = if is_known { self.moment(&own) } else { UNIX_EPOCH };
        let whole = UNIX_EPOCH + Duration::from_secs(seconds(moment));
        let end = if whole < moment { whole + Duration::from_secs(1) } else { whole };
        let line = format!("{proxy} {}\n", seconds(end.max(former)));
        self.directory.write(&own, &line, &SystemEntropy).with_context(|| format!("{proxy} is not revoked"))?;
        Ok(end)
    }

    /// All of them; an error where that cannot be known, for then what was known before has to hold.
    pub(crate) fn all(&self) -> anyhow::Result<Revoked> {
        let folder = self.directory.path("");
        let entries = std::fs::read_dir(&folder).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
        let entries = entries.with_context(|| format!("{}: revocations cannot be read", folder.display()))?;
        let names = entries.into_iter().filter_map(|entry| entry.file_name().into_string().ok());
        let names = names.filter(|name| name != DECLARED && !name.starts_with('.'));
        Ok(Revoked(names.map(|name| (name.clone(), self.moment(&name))).collect()))
    }

    /// Changes whenever [`Self::all`] may.
    pub(crate) fn changed(&self) -> Option<SystemTime> {
        std::fs::metadata(self.directory.path("")).and_then(|folder| folder.modified()).ok()
    }

    /// Damage must let nobody in: a file that does not say when counts from its last change on.
    fn moment(&self, name: &str) -> SystemTime {
        let read = self.directory.read(name).map_err(|error| error.to_string());
        let parsed = read.and_then(|text| {
            let text = text.ok_or("it is gone")?;
            text.trim().split_once(' ').and_then(|(_, at)| moment(at)).ok_or_else(|| "it is damaged".to_owned())
        });
        parsed.unwrap_or_else(|error| {
            let file = self.directory.path(name);
            tracing::error!(file = %file.display(), error, "a revocation cannot be read; it counts from its last change on");
            std::fs::metadata(&file).and_then(|file| file.modified()).unwrap_or_else(|_| SystemTime::now())
        })
    }
}

impl Revoked {
    /// The moment before which credentials of `proxy` are refused, if any.
    pub(crate) fn get(&self, proxy: &ProxyKey) -> Option<SystemTime> {
        self.0.get(&name(proxy)).copied()
    }
}

impl Absences {
    /// What was known before a restart, of this `source`.
    pub(crate) fn open(state: &Path, source: &Path, now: (SystemTime, Instant)) -> anyhow::Result<Self> {
        let revocations = Revocations::open(state)?;
        let source = crate::source::name(source);
        let text = revocations.directory.read_at_most(DECLARED, DECLARED_BYTES_MAX).unwrap_or_else(|error| {
            tracing::warn!(%error, "what was declared before is not known");
            None
        });
        let text = text.map(|text| text.to_string()).unwrap_or_default();
        let known = match text.split_once('\n') {
            Some((of, lines)) if of == source => lines.lines().filter_map(|line| known(line, now)).collect(),
            Some(_) | None => BTreeMap::new(),
        };
        Ok(Self { revocations, source, known, unwritten: false })
    }

    /// Takes the proxies that are declared now, and takes back the credentials of those that have been absent for too long.
    /// Of whom `may_be_there` says that they may be declared all the same, nobody is absent.
    pub(crate) fn follow(
        &mut self,
        declared: &BTreeSet<ProxyKey>,
        may_be_there: impl Fn(&ProxyKey) -> bool,
        (now, clock): (SystemTime, Instant),
    ) {
        for (proxy, absent) in &mut self.known {
            let is = match *absent {
                _ if declared.contains(proxy) || may_be_there(proxy) => None,
                Some(absent) => Some(absent),
                None => Some(Absent { since: now, seen: clock }),
            };
            self.unwritten |= *absent != is;
            *absent = is;
        }
        for proxy in declared {
            if !self.known.contains_key(proxy) {
                self.known.insert(proxy.clone(), None);
                self.unwritten = true;
            }
        }
        let is_deleted = |absent: &Absent| clock.duration_since(absent.seen) >= ABSENCE_MAX;
        let absent = self.known.iter().filter_map(|(proxy, absent)| Some((proxy.clone(), absent.filter(is_deleted)?)));
        for (proxy, absent) in absent.collect::<Vec<_>>() {
            match self.revocations.revoke(&proxy, absent.since.min(now)) {
                Ok(_) => {
                    tracing::info!(%proxy, "was deleted; the credentials that it had are revoked");
                    self.known.remove(&proxy);
                    self.unwritten = true;
                }
                Err(error) => tracing::error!(error = format!("{error:#}"), "trying again"),
            }
        }
        if self.unwritten {
            self.keep();
        }
    }

    /// Whether a proxy was declared before and is not now.
    #[cfg(test)]
    pub(crate) fn is_absent(&self, proxy: &ProxyKey) -> bool {
        self.known.get(proxy).is_some_and(Option::is_some)
    }

    fn keep(&mut self) {
        let line = |(proxy, absent): (&ProxyKey, &Option<Absent>)| match absent {
            Some(absent) => format!("{proxy} {}\n", seconds(absent.since)),
            None => format!("{proxy}\n"),
        };
        let text = format!("{}\n{}", self.source, self.known.iter().map(line).collect::<String>());
        match self.revocations.directory.write(DECLARED, &text, &SystemEntropy) {
            Ok(()) => self.unwritten = false,
            Err(error) => tracing::error!(%error, "a proxy that is deleted while no server runs keeps its credentials"),
        }
    }
}

fn known(line: &str, (now, clock): (SystemTime, Instant)) -> Option<(ProxyKey, Option<Absent>)> {
    let (proxy, since) = line.split_once(' ').map_or((line, None), |(proxy, since)| (proxy, moment(since)));
    Some((ProxyKey::parse(proxy)?, since.map(|since| Absent { since: since.min(now), seen: clock })))
}

/// One file name for each proxy.
fn name(proxy: &ProxyKey) -> String {
    Fingerprint::of("windrose revoked", &proxy.to_string()).to_string()
}

fn seconds(moment: SystemTime) -> u64 {
    moment.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn moment(text: &str) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_secs(text.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(1_800_000_000);

    /// A state folder at a time that only the test moves.
    struct Clocked {
        folder: tempfile::TempDir,
        clock: Instant,
    }

    impl Clocked {
        fn new() -> Self {
            Self { folder: tempfile::tempdir().unwrap(), clock: Instant::now() }
        }

        fn at(&self, minutes: u64) -> (SystemTime, Instant) {
            let since = Duration::from_secs(60 * minutes);
            (UNIX_EPOCH + START + since, self.clock + since)
        }

        fn start(&self, source: &str, minutes: u64) -> Absences {
            Absences::open(self.folder.path(), Path::new(source), self.at(minutes)).unwrap()
        }

        fn revoked(&self) -> Vec<(String, u64)> {
            let all = Revocations::open(self.folder.path()).unwrap().all().unwrap();
            let minute = |at| (seconds(at) - START.as_secs()) / 60;
            proxies(&["a", "b"]).iter().filter_map(|proxy| Some((proxy.to_string(), minute(all.get(proxy)?)))).collect()
        }
    }

    fn proxies(names: &[&str]) -> BTreeSet<ProxyKey> {
        names.iter().map(|name| ProxyKey::parse(&format!("workload/shop/{name}")).unwrap()).collect()
    }

    #[test]
    fn a_proxy_that_stays_away_loses_the_credentials_it_had_when_it_left() {
        let home = Clocked::new();
        let mut absences = home.start("/shop", 0);
        absences.follow(&proxies(&["a", "b"]), |_| false, home.at(0));
        absences.follow(&proxies(&["a"]), |_| false, home.at(5));
        absences.follow(&proxies(&["a"]), |_| false, home.at(14));
        assert!(home.revoked().is_empty());
        absences.follow(&proxies(&["a"]), |_| false, home.at(15));
        assert_eq!(home.revoked(), [("workload/shop/b".to_owned(), 5)]);
        absences.follow(&proxies(&["a", "b"]), |_| false, home.at(20));
        assert_eq!(home.revoked(), [("workload/shop/b".to_owned(), 5)], "it stays so when the name comes back");
    }

    #[test]
    fn a_proxy_that_is_away_for_a_moment_keeps_its_credentials() {
        let home = Clocked::new();
        let mut absences = home.start("/shop", 0);
        for minute in (0..60).step_by(9) {
            absences.follow(&proxies(&["a"]), |_| false, home.at(minute));
            absences.follow(&proxies(&[]), |_| false, home.at(minute));
        }
        assert!(home.revoked().is_empty());
    }

    #[test]
    fn nobody_is_absent_while_something_declared_cannot_be_read() {
        let home = Clocked::new();
        let mut absences = home.start("/shop", 0);
        absences.follow(&proxies(&["a", "b"]), |_| false, home.at(0));
        absences.follow(&proxies(&["a"]), |_| false, home.at(1));
        absences.follow(&proxies(&[]), |_| true, home.at(9));
        absences.follow(&proxies(&[]), |_| true, home.at(99));
        absences.follow(&proxies(&["a"]), |_| false, home.at(100));
        absences.follow(&proxies(&["a"]), |_| false, home.at(109));
        assert!(home.revoked().is_empty());
        absences.follow(&proxies(&["a"]), |_| false, home.at(110));
        assert_eq!(home.revoked(), [("workload/shop/b".to_owned(), 100)], "from when it was surely gone");
    }

    #[test]
    fn a_hundred_thousand_proxies_are_remembered() {
        let home = Clocked::new();
        let names: Vec<String> = (0..100_000).map(|n| format!("a-workload-with-a-long-name-{n}")).collect();
        let many = proxies(&names.iter().map(String::as_str).collect::<Vec<_>>());
        home.start("/shop", 0).follow(&many, |_| false, home.at(0));
        assert_eq!(home.start("/shop", 1).known.len(), many.len());
    }

    #[test]
    fn what_is_deleted_while_no_server_runs_is_noticed_at_the_next_start() {
        let home = Clocked::new();
        home.start("/shop", 0).follow(&proxies(&["a", "b"]), |_| false, home.at(0));
        let mut absences = home.start("/shop", 100);
        absences.follow(&proxies(&["a"]), |_| false, home.at(100));
        home.start("/shop", 105).follow(&proxies(&["a"]), |_| false, home.at(105));
        assert!(home.revoked().is_empty(), "each start looks for itself for a while");
        absences.follow(&proxies(&["a"]), |_| false, home.at(110));
        assert_eq!(home.revoked(), [("workload/shop/b".to_owned(), 100)]);
    }

    #[test]
    fn another_folder_that_is_served_by_mistake_revokes_nothing() {
        let home = Clocked::new();
        home.start("/shop", 0).follow(&proxies(&["a"]), |_| false, home.at(0));
        let mut wrong = home.start("/elsewhere", 1);
        wrong.follow(&proxies(&[]), |_| false, home.at(1));
        wrong.follow(&proxies(&[]), |_| false, home.at(500));
        assert!(home.revoked().is_empty());
    }

    #[test]
    fn a_clock_that_jumps_revokes_nothing() {
        let home = Clocked::new();
        let mut absences = home.start("/shop", 0);
        absences.follow(&proxies(&["a"]), |_| false, home.at(0));
        absences.follow(&proxies(&[]), |_| false, home.at(1));
        absences.follow(&proxies(&[]), |_| false, (home.at(50_000).0, home.at(2).1));
        absences.follow(&proxies(&[]), |_| false, (UNIX_EPOCH, home.at(3).1));
        assert!(home.revoked().is_empty());
    }

    #[test]
    fn a_revocation_that_is_damaged_lets_nobody_in() {
        let home = Clocked::new();
        let revocations = Revocations::open(home.folder.path()).unwrap();
        let proxy = ProxyKey::parse("workload/shop/a").unwrap();
        revocations.revoke(&proxy, UNIX_EPOCH).unwrap();
        std::fs::write(revocations.directory.path(&name(&proxy)), "workload/sh").unwrap();
        let moment = revocations.all().unwrap().get(&proxy).unwrap();
        assert!(moment > SystemTime::now() - Duration::from_secs(60), "{moment:?}");
    }

    #[test]
    fn revocations_that_cannot_be_listed_are_an_error_and_not_none() {
        let home = Clocked::new();
        let revocations = Revocations::open(home.folder.path()).unwrap();
        std::fs::remove_dir_all(revocations.directory.path("")).unwrap();
        assert!(revocations.all().is_err());
    }

    #[test]
    fn what_was_issued_in_the_second_of_the_revocation_is_refused_too() {
        let home = Clocked::new();
        let revocations = Revocations::open(home.folder.path()).unwrap();
        let proxy = ProxyKey::parse("workload/shop/a").unwrap();
        let second = UNIX_EPOCH + START;
        let end = revocations.revoke(&proxy, second + Duration::from_millis(1)).unwrap();
        assert_eq!(end, second + Duration::from_secs(1));
        assert_eq!(revocations.all().unwrap().get(&proxy), Some(end));
    }

    #[test]
    fn a_later_revocation_is_not_taken_back_by_an_earlier_one() {
        let home = Clocked::new();
        let revocations = Revocations::open(home.folder.path()).unwrap();
        let proxy = ProxyKey::parse("workload/shop/a").unwrap();
        revocations.revoke(&proxy, home.at(9).0).unwrap();
        revocations.revoke(&proxy, home.at(3).0).unwrap();
        assert_eq!(home.revoked(), [("workload/shop/a".to_owned(), 9)]);
    }
}
