//! Who else listens where a local Envoy listens. Envoys share a port without a word (SO_REUSEPORT), and then requests go to either
//! of them: nobody refuses, so somebody has to look.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::time::Instant;
use windrose_vocab::ProxyKey;

use super::Wanted;

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(2);

/// What is known of others, so that it is said once.
#[derive(Default)]
pub(super) struct Look {
    told: BTreeSet<Holder>,
    pairs: BTreeSet<(String, SocketAddr)>,
    last: Option<(Instant, Wanted)>,
}

/// A listening socket of another process.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Holder {
    /// Where it listens.
    address: SocketAddr,
    inode: u64,
    user: u32,
    /// Number and program, where we may know.
    process: Option<(u32, String)>,
}

impl Look {
    /// Says who listens where an Envoy of `wanted` does and is none of the processes `ours`: now and then, and when that changes.
    pub(super) fn again(&mut self, wanted: &Wanted, ours: impl Iterator<Item = u32>) {
        if self.last.as_ref().is_some_and(|(when, former)| when.elapsed() < INTERVAL && former == wanted) {
            return;
        }
        self.last = Some((Instant::now(), wanted.clone()));
        for (one, other, address) in shared(wanted) {
            if self.pairs.insert((one.to_string(), address)) {
                tracing::error!(%address, "{one} and {other} have one address and port, and both run here: requests go to either of them");
            }
        }
        let held = others(&wanted.values().flat_map(|place| &place.addresses).copied().collect(), &ours.collect::<Vec<_>>());
        for holder in held.difference(&self.told) {
            let holds = |addresses: &BTreeSet<SocketAddr>| addresses.iter().any(|address| meets(*address, holder.address));
            let proxy = wanted.iter().find(|(_, place)| holds(&place.addresses)).map(|(proxy, _)| proxy.to_string());
            tracing::error!(proxy, address = %holder.address, "{holder} listens on a port of a local Envoy: requests may go there");
        }
        for freed in self.told.difference(&held) {
            tracing::info!(address = %freed.address, "{freed} no longer listens there");
        }
        self.told = held;
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.process {
            Some((pid, program)) => write!(f, "process {pid} ({program})"),
            None => write!(f, "a process of user {}", self.user),
        }
    }
}

/// Proxies that would take each other's connections, and where.
fn shared(wanted: &Wanted) -> impl Iterator<Item = (&ProxyKey, &ProxyKey, SocketAddr)> {
    let pairs = wanted.iter().enumerate().flat_map(|(at, one)| wanted.iter().skip(at + 1).map(move |other| (one, other)));
    pairs.filter_map(|((one, place), (other, elsewhere))| {
        let met = place.addresses.iter().find(|address| elsewhere.addresses.iter().any(|other| meets(**address, *other)))?;
        Some((one, other, *met))
    })
}

/// The sockets that listen on one of `addresses` and are not held by a process of `ours`.
fn others(addresses: &BTreeSet<SocketAddr>, ours: &[u32]) -> BTreeSet<Holder> {
    let mut there: Vec<Holder> = listening().into_iter().filter(|holder| addresses.iter().any(|one| meets(*one, holder.address))).collect();
    let known: BTreeSet<u64> = ours.iter().flat_map(|pid| sockets(*pid)).collect();
    there.retain(|holder| !known.contains(&holder.inode));
    if there.is_empty() {
        return BTreeSet::new();
    }
    let processes = processes(&there.iter().map(|holder| holder.inode).collect());
    there.into_iter().map(|holder| Holder { process: processes.get(&holder.inode).cloned(), ..holder }).collect()
}

/// Whether two sockets would take the same connections.
fn meets(one: SocketAddr, other: SocketAddr) -> bool {
    let any = |ip: IpAddr| ip.is_unspecified();
    one.port() == other.port() && (one.ip() == other.ip() || any(one.ip()) || any(other.ip()))
}

fn listening() -> Vec<Holder> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    ["/proc/net/tcp", "/proc/net/tcp6"].iter().flat_map(|path| read(path).lines().filter_map(row).collect::<Vec<_>>()).collect()
}

/// One line of `/proc/net/tcp`, if it is a socket that listens (state 0A).
fn row(line: &str) -> Option<Holder> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let (address, state) = (fields.get(1)?, fields.get(3)?);
    let (ip, port) = address.split_once(':')?;
    let address = SocketAddr::new(ip_of(ip)?, u16::from_str_radix(port, 16).ok()?);
    let holder = Holder { address, user: fields.get(7)?.parse().ok()?, inode: fields.get(9)?.parse().ok()?, process: None };
    (*state == "0A").then_some(holder)
}

/// The kernel writes each 32 bits in the order of the machine.
fn ip_of(text: &str) -> Option<IpAddr> {
    let word = |at: usize| Some(u32::from_str_radix(text.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    match text.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let bytes: Vec<u8> = [word(0)?, word(8)?, word(16)?, word(24)?].concat();
            Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).to_canonical())
        }
        _ => None,
    }
}

fn sockets(pid: u32) -> Vec<u64> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten();
    let targets = entries.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    targets.filter_map(|target| target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()).collect()
}

/// Which processes hold these sockets, as far as we may look into them.
fn processes(inodes: &BTreeSet<u64>) -> BTreeMap<u64, (u32, String)> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten();
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let mut found = BTreeMap::new();
    for pid in pids {
        for inode in sockets(pid).into_iter().filter(|inode| inodes.contains(inode)) {
            let program = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            found.insert(inode, (pid, program.trim().to_owned()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn another_process_that_listens_is_named_and_our_own_is_not() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let wanted = BTreeSet::from([socket.local_addr().unwrap()]);
        let found = others(&wanted, &[]);
        let holder = found.first().unwrap();
        assert_eq!(holder.address, socket.local_addr().unwrap());
        assert!(holder.to_string().starts_with(&format!("process {} (", std::process::id())), "{holder}");
        assert_eq!(others(&wanted, &[std::process::id()]), BTreeSet::new());
        drop(socket);
        assert_eq!(others(&wanted, &[]), BTreeSet::new());
    }

    #[test]
    fn two_proxies_of_one_address_and_port_are_told_apart_from_others() {
        let place = |address: &str| super::super::Place { addresses: [address.parse().unwrap()].into(), zone: None };
        let proxy = |name: &str| ProxyKey::parse(&format!("gateway/shop/{name}")).unwrap();
        let of = |other: &str| Wanted::from([(proxy("a"), place("127.0.0.1:8080")), (proxy("b"), place(other))]);
        let met = |wanted: &Wanted| shared(wanted).map(|(one, other, at)| format!("{one} {other} {at}")).collect::<Vec<_>>();
        assert_eq!(met(&of("0.0.0.0:8080")), ["gateway/shop/a gateway/shop/b 127.0.0.1:8080"]);
        assert_eq!(met(&of("127.0.0.2:8080")), [] as [&str; 0]);
        assert_eq!(met(&of("127.0.0.1:8081")), [] as [&str; 0]);
    }

    #[test]
    fn a_socket_on_all_addresses_meets_each() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert!(meets(address("127.0.0.1:80"), address("0.0.0.0:80")));
        assert!(meets(address("[::]:80"), address("127.0.0.1:80")));
        assert!(!meets(address("127.0.0.1:80"), address("127.0.0.2:80")));
        assert!(!meets(address("127.0.0.1:80"), address("127.0.0.1:81")));
    }

    #[test]
    fn addresses_are_read_as_the_kernel_writes_them() {
        let line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 12345 1 0 100 0 0 10 0";
        #[cfg(target_endian = "little")]
        assert_eq!(
            row(line).map(|holder| (holder.address.to_string(), holder.user, holder.inode)),
            Some(("127.0.0.1:8080".into(), 1000, 12345))
        );
        assert_eq!(row(&line.replace(" 0A ", " 01 ")), None);
        assert_eq!(row("  sl  local_address rem_address   st"), None);
    }
}
